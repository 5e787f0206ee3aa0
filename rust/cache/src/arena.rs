use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};
use rustix::io::Errno;

use crate::error::system;
use crate::mapping::Mapping;
use crate::record::Record;
use crate::{Error, Layout, Result};

/// Bytes of an arena if nobody says how many, and the file system is large.
const USUAL_BYTES: u64 = 4 << 30;

/// Part of the file system that it takes otherwise.
const USUAL_SHARE: u64 = 4;

/// The file that holds all items, as its owner has it. It goes when the owner ends; if the owner is killed, the next one
/// finds it by [`sweep`].
#[derive(Debug)]
pub struct Arena {
    path: PathBuf,
    /// Locked, which tells [`sweep`] that the owner lives.
    _file: File,
    mapping: Mapping,
    layout: Layout,
}

impl Arena {
    /// A new file of at most `bytes`, for this user alone, all of it reserved.
    pub fn create(path: &Path, bytes: u64, page_bytes: u64) -> Result<Self> {
        let layout = Layout::new(bytes, page_bytes)?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        let file = create_locked(path)?;
        let made = reserve(&file, directory, layout.bytes())
            .and_then(|()| Mapping::file(file.as_fd(), 0, layout.bytes()))
            .map(|mapping| Self { path: path.to_owned(), _file: file, mapping, layout });
        let arena = made.inspect_err(|_| remove(path))?;
        for record in arena.as_ref() {
            record.clear(0);
        }
        for (index, word) in layout.words().into_iter().enumerate() {
            #[allow(clippy::cast_ptr_alignment)] // mappings begin at pages of the kernel
            // SAFETY: the words are at the file's beginning, and no client knows of it yet.
            unsafe {
                arena.mapping.start().as_ptr().cast::<u64>().add(index).write(word);
            };
        }
        Ok(arena)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where things are in it.
    pub fn layout(&self) -> Layout {
        self.layout
    }
}

/// Its records.
impl AsRef<[Record]> for Arena {
    fn as_ref(&self) -> &[Record] {
        records(&self.mapping, &self.layout)
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// The records of a mapped arena.
#[allow(clippy::cast_ptr_alignment)] // mappings begin at pages of the kernel, and the layout is whole records
pub fn records<'a>(mapping: &'a Mapping, layout: &Layout) -> &'a [Record] {
    // SAFETY: the mapping is the whole file, in which the layout has its records, aligned to their size. They are made of
    // atomics, for which any bits are a value and which may be shared between processes.
    unsafe {
        let first = mapping.start().as_ptr().add(layout.records_at() as usize).cast::<Record>();
        std::slice::from_raw_parts(first, layout.pages() as usize)
    }
}

/// Bytes of an arena in `directory` if nobody says how many: 4 GiB, or a quarter of the file system if that is less.
pub fn default_bytes(directory: &Path) -> Result<u64> {
    let room = statvfs(directory).map_err(system("asking for the size of the file system"))?;
    let size = room.f_blocks * room.f_frsize;
    Ok(if size == 0 { USUAL_BYTES } else { USUAL_BYTES.min(size / USUAL_SHARE) }) // 0: a tmpfs without a bound
}

/// Removes the files in `directory` whose names begin with `prefix`, that are this user's, and whose owners have died.
/// Returns how many.
pub fn sweep(directory: &Path, prefix: &str) -> Result<usize> {
    let failed = |error: &std::io::Error| system("looking for old arenas")(errno(error));
    let mut removed = 0;
    for entry in std::fs::read_dir(directory).map_err(|error| failed(&error))? {
        let entry = entry.map_err(|error| failed(&error))?;
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            continue;
        }
        let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
        let Ok(file) = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(entry.path()) else {
            continue; // another user's, a link, or gone by now
        };
        let ours = file.metadata().is_ok_and(|found| found.is_file() && found.uid() == user());
        if ours && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            removed += usize::from(std::fs::remove_file(entry.path()).is_ok());
        }
    }
    Ok(removed)
}

/// A new file with our lock on it.
fn create_locked(path: &Path) -> Result<File> {
    loop {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|error| system("making the arena")(errno(&error)))?;
        flock(&file, FlockOperation::LockExclusive).map_err(system("locking the arena"))?;
        // Somebody's sweep may have come between the two.
        let links = file.metadata().map_err(|error| system("looking at the arena")(errno(&error)))?.nlink();
        if links > 0 {
            return Ok(file);
        }
    }
}

/// Reserves all of the file: a page that can't be had when it is touched would be a SIGBUS.
fn reserve(file: &File, directory: &Path, needed: u64) -> Result<()> {
    let no_room = || -> Result<Error> {
        let room = statvfs(directory).map_err(system("asking for the size of the file system"))?;
        let (free, size) = (room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize);
        Ok(Error::NoRoom { directory: directory.display().to_string(), needed, free, size })
    };
    let room = statvfs(directory).map_err(system("asking for the size of the file system"))?;
    if room.f_blocks > 0 && room.f_bavail * room.f_frsize < needed {
        return Err(no_room()?); // before the kernel has filled it for the others too
    }
    match fallocate(file, FallocateFlags::empty(), 0, needed) {
        Ok(()) => Ok(()),
        Err(Errno::NOSPC) => Err(no_room()?),
        Err(errno) => Err(system("reserving the arena's memory")(errno)),
    }
}

fn remove(path: &Path) {
    // Nothing can be done about a failure, and a file that is gone already is as good.
    let _ = std::fs::remove_file(path);
}

fn user() -> u32 {
    rustix::process::getuid().as_raw()
}

pub fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
