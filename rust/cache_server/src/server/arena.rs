use std::path::Path;

use lightllm_cache::{Arena, PAGE_BYTES, default_bytes, sweep};
use lightllm_wire::cache::CacheStart;

use crate::Result;

/// Beginning of the names of all arenas.
const PREFIX: &str = "lightllm-rs-";

/// A new arena, after those of killed owners are gone: what they had must not count against it, and one of them may have
/// had the same name.
pub fn make(start: &CacheStart) -> Result<Arena> {
    let path = Path::new(&start.arena);
    let directory = path.parent().unwrap_or(Path::new("/"));
    sweep(directory, PREFIX)?;
    if let Some(name) = path.file_name() {
        sweep(directory, &name.to_string_lossy())?;
    }
    let bytes = if start.bytes == 0 { default_bytes(directory)? } else { start.bytes };
    Ok(Arena::create(path, bytes, PAGE_BYTES)?)
}
