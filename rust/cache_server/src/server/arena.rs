use std::path::Path;
use std::time::{Duration, Instant};

use lightllm_cache::{Arena, CGROUPS, PAGE_BYTES, check_memory, default_bytes, sweep};
use lightllm_wire::cache::CacheStart;

use crate::Result;

/// Beginning of the names of all arenas.
const PREFIX: &str = "lightllm-rs-";

/// A killed owner's lock outlives it for a moment: who reads of a process in `/proc` keeps its memory, and that the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A new arena, after those of killed owners are gone: what they had must not count against it, and one of them may have
/// had the same name.
pub fn make(start: &CacheStart) -> Result<Arena> {
    let path = Path::new(&start.arena);
    let directory = path.parent().unwrap_or(Path::new("/"));
    sweep(directory, PREFIX)?;
    let until = Instant::now() + LOCK_PATIENCE;
    while let Some(name) = path.file_name().filter(|_| path.exists()) {
        sweep(directory, &name.to_string_lossy())?;
        if !path.exists() || Instant::now() > until {
            break;
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    let bytes = if start.bytes == 0 { default_bytes(directory)? } else { start.bytes };
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default(); // a kernel without them has no limits
    check_memory(Path::new(CGROUPS), &groups, bytes)?;
    Ok(Arena::create(path, bytes, PAGE_BYTES)?)
}
