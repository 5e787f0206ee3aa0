use lightllm_cache::{Bounds, ClientId, LeaseId, RequestId, Stats};
use lightllm_wire::cache::{CacheHello, CacheReply, CacheRequest, CacheWelcome, Done, Kept, Leased, StatsAnswer};
use lightllm_wire::{PROTOCOL, decode};

use super::answers::{granted, key, refused, want};
use super::manager::Manager;
use crate::Result;
use crate::peer::Watched;

impl Manager<'_> {
    /// A frame of a client.
    pub fn hear(&mut self, identity: &[u8], frame: &[u8]) -> Result<()> {
        let Ok(message) = decode(frame) else {
            self.telemetry.bad_frame();
            return Ok(());
        };
        if let CacheRequest::CacheHello(hello) = message {
            return self.hello(identity, &hello);
        }
        // One that is gone may have left frames behind.
        let Some(client) = self.clients.find(identity) else { return Ok(()) };
        match message {
            CacheRequest::CacheHello(_) => unreachable!("it was answered above"),
            CacheRequest::Release(release) => self.cache.release(client, &ids(release.leases)),
            CacheRequest::Cancel(cancel) => {
                for request in cancel.requests {
                    self.cache.cancel(client, RequestId(request));
                }
            }
            CacheRequest::Goodbye(_) => self.gone(client, false),
            call => {
                if let Some(reply) = self.call(client, call) {
                    self.tell(client, &reply)?;
                }
            }
        }
        Ok(())
    }

    /// A call, and its answer if that is known at once and is no event.
    fn call(&mut self, client: ClientId, call: CacheRequest) -> Option<CacheReply> {
        let cache = &mut self.cache;
        let (request, outcome) = match call {
            CacheRequest::Acquire(call) => {
                let wants = call.wants.into_iter().map(want).collect();
                (call.request, cache.acquire(client, RequestId(call.request), wants).map(|()| None))
            }
            CacheRequest::Wait(call) => {
                (call.request, cache.wait(client, RequestId(call.request), ids(call.leases)).map(|()| None))
            }
            CacheRequest::Take(call) => {
                let bounds = Bounds {
                    items: call.max_items,
                    pixels: call.max_pixels,
                    original_pixels: call.max_original_pixels,
                };
                (call.request, cache.take(client, RequestId(call.request), bounds).map(|()| None))
            }
            CacheRequest::Keep(call) => {
                let kept = cache.keep(client, &ids(call.leases)).map(|kept| {
                    let kept = kept.into_iter().map(u8::from).collect::<Vec<u8>>().into();
                    Some(Kept { request: call.request, kept }.into())
                });
                (call.request, kept)
            }
            CacheRequest::Publish(call) => {
                (call.request, cache.publish(client, &ids(call.leases)).map(|()| Some(done(call.request))))
            }
            CacheRequest::PublishFeatures(call) => {
                (call.request, cache.publish_features(client, &ids(call.leases)).map(|()| Some(done(call.request))))
            }
            CacheRequest::Fail(call) => {
                let failed = cache.fail(client, LeaseId(call.lease), &call.message);
                (call.request, failed.map(|()| Some(done(call.request))))
            }
            CacheRequest::LeaseReady(call) => {
                let keys: Vec<_> = call.keys.into_iter().map(key).collect();
                let leased = cache.lease(client, &keys).map(|items| {
                    let items = items.into_iter().map(|item| item.map(granted)).collect();
                    Some(Leased { request: call.request, items }.into())
                });
                (call.request, leased)
            }
            CacheRequest::StatsQuery(call) => {
                let values = named(&cache.stats()).map(|(name, value)| (name.to_owned(), value)).to_vec();
                (call.request, Ok(Some(StatsAnswer { request: call.request, values }.into())))
            }
            _ => unreachable!("the others are not answered"),
        };
        outcome.unwrap_or_else(|error| Some(refused(request, &error).into()))
    }

    fn hello(&mut self, identity: &[u8], hello: &CacheHello) -> Result<()> {
        if let Some(former) = self.clients.find(identity) {
            self.gone(former, false);
        }
        if hello.protocol != PROTOCOL {
            self.telemetry.bad_frame(); // it will see from our hello that we do not understand each other
        } else if let Some(process) = Watched::find(hello.pid, hello.started)? {
            let client = self.clients.insert(identity, process);
            self.cache.connect(client);
        } else {
            return Ok(()); // it has died since
        }
        let pid = std::process::id();
        let (started, arena) = (self.started, self.arena_path.clone());
        self.send(identity, &CacheWelcome { protocol: PROTOCOL, pid, started, arena })
    }
}

/// Figures by the names that [`lightllm_wire::cache::StatsAnswer`] has for them.
pub fn named(stats: &Stats) -> [(&'static str, u64); 19] {
    [
        ("queries", stats.queries),
        ("hits", stats.hits),
        ("joins", stats.joins),
        ("encoded", stats.encoded),
        ("failures", stats.failures),
        ("abandoned", stats.abandoned),
        ("evictions", stats.evictions),
        ("waited", stats.waited),
        ("bad_releases", stats.bad_releases),
        ("items", stats.items),
        ("ready", stats.ready),
        ("leases", stats.leases),
        ("clients", stats.clients),
        ("waiters", stats.waiters),
        ("waits", stats.waits),
        ("queued", stats.queued),
        ("total_bytes", stats.total_bytes),
        ("used_bytes", stats.used_bytes),
        ("idle_bytes", stats.idle_bytes),
    ]
}

fn done(request: u64) -> CacheReply {
    Done { request }.into()
}

fn ids(leases: Vec<u64>) -> Vec<LeaseId> {
    leases.into_iter().map(LeaseId).collect()
}
