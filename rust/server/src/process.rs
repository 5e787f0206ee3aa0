use lightllm_wire::{
    ChildHello, Fatal, PROTOCOL, RankMessage, RankStop, Ready, RouterStart, SupervisorMessage, decode, encode,
};

use crate::ranks::{Capacity, Ranks};
use crate::router::Router;
use crate::sockets::{Inbox, Sockets};
use crate::{Error, Result};

/// Runs the router process until the supervisor says stop. `start`: a [`RouterStart`] frame.
///
/// An error is also told to the supervisor, as the last words of the process.
pub fn run(start: &[u8]) -> Result<()> {
    let start: RouterStart = decode(start)?;
    if start.protocol != PROTOCOL {
        let peer = "the supervisor".to_owned();
        return Err(Error::Protocol { peer, ours: PROTOCOL, theirs: start.protocol });
    }
    let context = zmq::Context::new();
    let sockets = Sockets::open(&context, &start)?;
    let pid = std::process::id();
    sockets.control.send(&encode(&ChildHello { protocol: PROTOCOL, process: start.process.clone(), pid }))?;
    let outcome = serve(&sockets, &start);
    if let Err(error) = &outcome {
        sockets.control.send(&encode(&Fatal { message: error.to_string() }))?;
    }
    outcome
}

fn serve(sockets: &Sockets, start: &RouterStart) -> Result<()> {
    let Some((ranks, capacity)) = wait_for_ranks(sockets, start)? else { return Ok(()) };
    let stop = encode(&RankStop {});
    let peers: Vec<Vec<u8>> = ranks.identities().map(<[u8]>::to_vec).collect();
    let mut router = Router::new(sockets, start, ranks, capacity)?;
    sockets.control.send(&encode(&Ready {}))?;
    let outcome = router.run();
    for rank in peers {
        sockets.plans.send(&rank, &stop)?;
    }
    outcome
}

/// Waits for the hellos of all ranks; None if the supervisor says stop before.
fn wait_for_ranks(sockets: &Sockets, start: &RouterStart) -> Result<Option<(Ranks, Capacity)>> {
    let mut ranks = Ranks::new(start.ranks);
    loop {
        Inbox::wait(&[sockets.plans.inbox(), sockets.control.inbox()], -1)?;
        if stopped(sockets)? {
            return Ok(None);
        }
        while let Some((identity, frame)) = sockets.plans.receive()? {
            // A rank that does not speak the contract can't be served; it and its supervisor must hear of it.
            if let RankMessage::RankHello(hello) = decode(&frame)? {
                ranks.hello(identity.to_vec(), hello)?;
            }
        }
        if let Some(capacity) = ranks.capacity()? {
            return Ok(Some((ranks, capacity)));
        }
    }
}

/// Whether the supervisor has said stop.
pub fn stopped(sockets: &Sockets) -> Result<bool> {
    while let Some(frame) = sockets.control.receive()? {
        if matches!(decode(&frame)?, SupervisorMessage::Stop(_)) {
            return Ok(true);
        }
    }
    Ok(false)
}
