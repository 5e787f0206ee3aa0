use std::path::{Component, Path};

use crate::{Error, Result};

/// Where control groups are mounted.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// What the control groups of version 1 say where nothing is set: the largest number of whole pages.
const UNLIMITED: u64 = 1 << 62;

/// Files of one version of control groups, and the entries of `memory.stat` that the kernel gives up for others: pages of
/// files, but not of shared memory.
struct Version {
    limit: &'static str,
    used: &'static str,
    files: [&'static str; 2],
}

const FIRST: Version = Version {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    files: ["total_inactive_file", "total_active_file"],
};
const SECOND: Version =
    Version { limit: "memory.max", used: "memory.current", files: ["inactive_file", "active_file"] };

/// Refuses `needed` bytes that a control group of this process does not have: reserving them would get it killed.
///
/// `root`: where control groups are mounted. `groups`: what `/proc/self/cgroup` says.
///
/// # Errors
/// [`Error::NoMemory`], with the sum.
pub fn check_memory(root: &Path, groups: &str, needed: u64) -> Result<()> {
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (mount, version) = match controllers {
            "" => (root.to_path_buf(), SECOND),
            list if list.split(',').any(|name| name == "memory") => (root.join("memory"), FIRST),
            _ => continue,
        };
        // A limit may be set for the group or for any above it. In a container the path may be the host's: what is
        // mounted there is the container's own group.
        let inside: Vec<_> = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_))).collect();
        for depth in 0..=inside.len() {
            let folder = inside[..depth].iter().fold(mount.clone(), |folder, part| folder.join(part));
            check_group(&folder, &version, needed)?;
        }
    }
    Ok(())
}

fn check_group(folder: &Path, version: &Version, needed: u64) -> Result<()> {
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let number = |name: &str| text(name)?.trim().parse::<u64>().ok();
    // A file that is not there, or says "max", is no limit.
    let Some(limit) = number(version.limit).filter(|limit| *limit < UNLIMITED) else { return Ok(()) };
    let Some(used) = number(version.used) else { return Ok(()) };
    let stat = text("memory.stat").unwrap_or_default();
    let entry = |wanted: &str| {
        let found = stat.lines().find_map(|line| line.strip_prefix(wanted)?.strip_prefix(' '));
        found.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let files: u64 = version.files.iter().map(|name| entry(name)).sum();
    let free = limit.saturating_sub(used.saturating_sub(files));
    if free < needed { Err(Error::NoMemory { needed, free, limit }) } else { Ok(()) }
}
