//! Other processes, as the kernel knows them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Clock ticks between the start of the system and that of a process, by which it differs from an earlier one with the
/// same id.
pub fn started(pid: u32) -> io::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in brackets, may have anything in it. Behind it field 3 comes first, and the start is field 22.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_ascii_whitespace());
    let ticks = fields.and_then(|mut fields| fields.nth(22 - 3)).and_then(|field| field.parse().ok());
    ticks.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the kernel tells no start of a process"))
}

/// A process that lived when it was found. However busy, stopped or silent it is, only its end counts as its end.
#[derive(Debug)]
pub struct Watched(OwnedFd);

impl Watched {
    /// The process `pid` that began at `start`; None if it has ended.
    pub fn find(pid: u32, start: u64) -> io::Result<Option<Self>> {
        let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let descriptor = match pidfd_open(id, PidfdFlags::empty()) {
            Ok(descriptor) => descriptor,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The id may have passed to another process before it was opened, but not after.
        match started(pid) {
            Ok(ticks) if ticks == start => Ok(Some(Self(descriptor))),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut watched, Some(&now)).is_ok_and(|ready| ready > 0)
    }
}

/// Readable when it has ended.
impl AsFd for Watched {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_process_is_seen_and_its_id_is_not_enough() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it starts");
        let start = started(child.id()).expect("it lives");
        let watched = Watched::find(child.id(), start).expect("the kernel tells").expect("it lives");
        assert!(!watched.has_ended());
        assert!(Watched::find(child.id(), start + 1).expect("the kernel tells").is_none(), "another start");
        child.kill().expect("it lives");
        let mut ends = [PollFd::new(&watched, PollFlags::IN)];
        poll(&mut ends, None).expect("it ends");
        assert!(watched.has_ended(), "also before anybody has waited for it");
        child.wait().expect("it has ended");
        assert!(Watched::find(child.id(), start).expect("the kernel tells").is_none());
        assert!(Watched::find(0, 0).expect("no process").is_none());
    }
}
