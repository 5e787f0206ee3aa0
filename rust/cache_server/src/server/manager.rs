use lightllm_cache::{Arena, Cache, ClientId};
use lightllm_process::{Clock, Inbox};
use lightllm_wire::cache::CacheStart;
use lightllm_wire::encode;
use serde::Serialize;

use super::answers::reply;
use super::clients::Clients;
use super::telemetry::Telemetry;
use super::{Sockets, inboxes, stopped};
use crate::Result;
use crate::peer::started;

/// Time between two heartbeats.
const BEAT_NS: u64 = 1_000_000_000;

/// The same while nothing happens: beats are all that an idle process costs.
const IDLE_BEAT_NS: u64 = 2 * BEAT_NS;

/// The loop between sockets and cache. What it hears from clients is in `calls`.
pub struct Manager<'a> {
    sockets: &'a Sockets,
    clock: Clock,
    pub cache: Cache,
    pub clients: Clients,
    pub telemetry: Telemetry,
    pub arena_path: String,
    /// When this process began, see [`started`].
    pub started: u64,
    debug_checks: bool,
}

impl<'a> Manager<'a> {
    pub fn new(sockets: &'a Sockets, start: &CacheStart, arena: Arena) -> Result<Self> {
        let layout = arena.layout();
        Ok(Self {
            sockets,
            clock: Clock::start(),
            arena_path: arena.path().display().to_string(),
            cache: Cache::new(layout.pages(), layout.page_bytes(), Box::new(arena)),
            clients: Clients::default(),
            telemetry: Telemetry::new(start.process.clone()),
            started: started(std::process::id())?,
            debug_checks: start.debug_checks,
        })
    }

    /// Serves until the supervisor says stop.
    pub fn run(&mut self) -> Result<()> {
        let sockets = self.sockets;
        let (mut last_beat, mut active) = (None, true);
        loop {
            let now = self.clock.now();
            let period = if active { BEAT_NS } else { IDLE_BEAT_NS };
            let next_beat = last_beat.map_or(now, |last: u64| last + period);
            let wait_ms = if now < next_beat {
                (next_beat - now).div_ceil(1_000_000)
            } else {
                active = self.beat()?;
                last_beat = Some(now);
                period / 1_000_000
            };
            let (ids, ends) = self.clients.ends();
            let ended = Inbox::wait_or(&inboxes(sockets), &ends, wait_ms as i32)?;
            let ended: Vec<ClientId> = ended.into_iter().map(|index| ids[index]).collect();
            // First what they said before their end: a publish counts.
            while let Some((identity, frame)) = sockets.clients.receive()? {
                self.hear(&identity, &frame)?;
                self.answer()?;
            }
            for client in ended {
                if self.clients.identity(client).is_some() {
                    self.gone(client, true);
                    self.telemetry.client_died();
                }
            }
            self.answer()?;
            if stopped(&sockets.control)? {
                return Ok(());
            }
        }
    }

    /// Sends the answers that calls have come to.
    fn answer(&mut self) -> Result<()> {
        if self.debug_checks {
            self.cache.check();
        }
        for event in self.cache.take_events() {
            self.tell(event.client, &reply(event))?;
        }
        Ok(())
    }

    /// A client is there no more. `died`: it did not say so itself.
    pub fn gone(&mut self, client: ClientId, died: bool) {
        self.clients.forget(client);
        self.cache.disconnect(client, died);
    }

    pub fn tell<T: Serialize>(&self, client: ClientId, message: &T) -> Result<()> {
        match self.clients.identity(client) {
            Some(identity) => self.send(identity, message),
            None => Ok(()),
        }
    }

    pub fn send<T: Serialize>(&self, identity: &[u8], message: &T) -> Result<()> {
        // Whether a client that can't be reached has ended, the kernel says.
        self.sockets.clients.send(identity, &encode(message))?;
        Ok(())
    }

    /// Tells health and metric server how things are; whether anything has happened since the last time.
    fn beat(&mut self) -> Result<bool> {
        let stats = self.cache.stats();
        if let Some(health) = &self.sockets.health {
            health.send(&encode(&self.telemetry.heartbeat(&stats)))?;
        }
        let Some(report) = self.telemetry.report(stats) else { return Ok(false) };
        if let Some(metrics) = &self.sockets.metrics {
            metrics.send(&encode(&report))?;
        }
        Ok(true)
    }
}
