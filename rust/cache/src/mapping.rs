use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use crate::error::system;
use crate::{Error, Result};

/// A range of addresses that ends with the value.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is an address and a length, and belongs to no thread. What is in it is reached by raw pointers only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// A part of a file, shared with all who map it.
    pub fn file(fd: BorrowedFd, offset: u64, len: u64) -> Result<Self> {
        let len = usize::try_from(len).map_err(|_| Error::Corrupt("it is larger than the address space"))?;
        // SAFETY: a new mapping where the kernel finds room takes the place of nothing.
        let start = unsafe { mmap(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, fd, offset) };
        Self::new(start.map_err(system("mapping the arena"))?, len)
    }

    /// Parts of a file, one after the other: (offset, bytes) of each.
    pub fn parts(fd: BorrowedFd, parts: &[(u64, u64)]) -> Result<Self> {
        let len: u64 = parts.iter().map(|(_, bytes)| bytes).sum();
        let len = usize::try_from(len).map_err(|_| Error::Corrupt("it is larger than the address space"))?;
        let (nothing, flags) = (ProtFlags::empty(), MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: as in `file`.
        let start = unsafe { mmap_anonymous(null_mut(), len, nothing, flags) };
        let range = Self::new(start.map_err(system("reserving addresses for a view"))?, len)?;
        let mut at = 0;
        for (offset, bytes) in parts {
            let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED | MapFlags::FIXED);
            // SAFETY: the range was just reserved with room for all parts, and nobody else has its address yet.
            let mapped = unsafe {
                let place = range.start.as_ptr().add(at).cast();
                mmap(place, *bytes as usize, protection, flags, fd, *offset)
            };
            mapped.map_err(system("mapping the pages of a view"))?;
            at += *bytes as usize;
        }
        Ok(range)
    }

    fn new(start: *mut std::ffi::c_void, len: usize) -> Result<Self> {
        let start = NonNull::new(start.cast()).ok_or(Error::Corrupt("it is mapped at address 0"))?;
        Ok(Self { start, len })
    }

    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is ours alone, and whoever has a pointer into it keeps the mapping.
        let ended = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        ended.expect("the range was mapped");
    }
}

/// The bytes of an item, contiguous in memory wherever its pages are in the arena.
///
/// They are shared with other processes, so there is no Rust reference to them: the lease says who may read and who may
/// write, and a wrong use shows wrong bytes, but never breaks memory.
#[derive(Debug, Clone)]
pub struct View {
    mapping: Arc<Mapping>,
    at: usize,
    len: usize,
}

impl View {
    /// `len` bytes of a mapping from its byte `at`.
    pub fn new(mapping: Arc<Mapping>, at: usize, len: usize) -> Self {
        assert!(at.checked_add(len).is_some_and(|end| end <= mapping.len()), "a view ends outside of its mapping");
        Self { mapping, at, len }
    }

    /// Its bytes; valid as long as the view lives.
    pub fn as_ptr(&self) -> *mut u8 {
        // SAFETY: `new` has checked that it is inside.
        unsafe { self.mapping.start().as_ptr().add(self.at) }
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes all of it.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        if bytes.len() != self.len {
            return Err(Error::Invalid(format!("{} bytes were reserved, and these are {}", self.len, bytes.len())));
        }
        // SAFETY: both are valid for so many bytes. `bytes` may be in the arena itself: `copy` allows that they overlap.
        unsafe { std::ptr::copy(bytes.as_ptr(), self.as_ptr(), self.len) };
        Ok(())
    }

    /// A copy of all of it.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        // SAFETY: both are valid for so many bytes, and a new vector overlaps with nothing.
        unsafe { std::ptr::copy_nonoverlapping(self.as_ptr(), bytes.as_mut_ptr(), self.len) };
        bytes
    }
}
