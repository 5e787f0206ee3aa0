use lightllm_cache::{self as core, Answer, Event, Extent, Key, LeaseState};
use lightllm_wire::cache::{
    CacheReply, Decided, Granted, Leased, Refused, STATE_FAILED, STATE_PENDING, STATE_READY, STATE_WRITE, Want,
};
use serde_bytes::{ByteArray, ByteBuf};

/// The frame of an answer.
pub fn reply(event: Event) -> CacheReply {
    let request = event.request.0;
    match event.answer {
        Answer::Leased(items) => {
            Leased { request, items: items.into_iter().map(|item| Some(granted(item))).collect() }.into()
        }
        Answer::Decided(states) => {
            let failure = |(index, state): (u32, &LeaseState)| match state {
                LeaseState::Failed(reason) => Some((index, reason.to_string())),
                _ => None,
            };
            let failures = (0..).zip(&states).filter_map(failure).collect();
            Decided { request, states: states.iter().map(state).collect::<Vec<u8>>().into(), failures }.into()
        }
        Answer::Refused(error) => refused(request, &error).into(),
    }
}

/// A call that changed nothing.
pub fn refused(request: u64, error: &core::Error) -> Refused {
    let (kind, needed, total) = match error {
        core::Error::TooLarge { needed, total } => ("too_large", *needed, *total),
        _ => ("invalid", 0, 0),
    };
    Refused { request, kind: kind.to_owned(), message: error.to_string(), needed, total }
}

pub fn granted(item: core::Granted) -> Granted {
    Granted {
        lease: item.lease.0,
        key: ByteArray::new(item.key.0),
        state: state(&item.state),
        slot: item.slot,
        generation: item.generation,
        data_len: item.data_len,
        feature_len: item.feature_len,
        pixels: item.pixels,
        recipe: ByteBuf::from(item.recipe.into_vec()),
        data: words(&item.data).into(),
        features: words(&item.features).into(),
    }
}

/// The wants of a frame.
pub fn want(want: Want) -> core::Want {
    core::Want {
        key: key(want.key),
        data_len: want.data_len,
        feature_len: want.feature_len,
        pixels: want.pixels,
        original_pixels: want.original_pixels,
        recipe: want.recipe.into_vec().into_boxed_slice(),
    }
}

pub fn key(key: lightllm_wire::cache::Key) -> Key {
    Key(key.into_array())
}

fn words(extents: &[Extent]) -> Vec<u32> {
    extents.iter().flat_map(|extent| [extent.first, extent.pages]).collect()
}

fn state(state: &LeaseState) -> u8 {
    match state {
        LeaseState::Write => STATE_WRITE,
        LeaseState::Pending => STATE_PENDING,
        LeaseState::Ready => STATE_READY,
        LeaseState::Failed(_) => STATE_FAILED,
    }
}
