use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use crate::arena::{errno, records};
use crate::error::system;
use crate::mapping::Mapping;
use crate::{Error, Extent, Layout, Phase, Result, View};
use crate::{Header, Key};

/// An arena in another process than its owner's. It stays as it is when the owner ends.
#[derive(Debug)]
pub struct SharedArena {
    file: File,
    mapping: Arc<Mapping>,
    layout: Layout,
}

impl SharedArena {
    /// Maps the arena at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
        let file = opened.map_err(|error| system("opening the arena")(errno(&error)))?;
        let bytes = file.metadata().map_err(|error| system("looking at the arena")(errno(&error)))?.len();
        if bytes < 4096 {
            return Err(Error::Corrupt("it is too short"));
        }
        let mapping = Mapping::file(file.as_fd(), 0, bytes)?;
        #[allow(clippy::cast_ptr_alignment)] // mappings begin at pages of the kernel
        // SAFETY: the file is longer than that, mappings are aligned, and its owner wrote the words before it told of it.
        let words = unsafe { mapping.start().as_ptr().cast::<[u64; 3]>().read() };
        let layout = Layout::from_words(words, bytes)?;
        Ok(Self { file, mapping: Arc::new(mapping), layout })
    }

    /// Where things are in it.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The bytes of an item that lie on `extents`, without a copy: inside of the arena's own mapping if it is one
    /// extent, and otherwise mapped anew, one after the other.
    pub fn view(&self, extents: &[Extent], len: u64) -> Result<View> {
        if !self.layout.holds(extents, len) {
            return Err(Error::Corrupt("an item's pages do not fit its length"));
        }
        let bytes = len as usize;
        match extents {
            [] => Ok(View::new(Arc::clone(&self.mapping), 0, 0)),
            [one] => Ok(View::new(Arc::clone(&self.mapping), self.layout.span(*one).0 as usize, bytes)),
            several => {
                let parts: Vec<(u64, u64)> = several.iter().map(|extent| self.layout.span(*extent)).collect();
                Ok(View::new(Arc::new(Mapping::parts(self.file.as_fd(), &parts)?), 0, bytes))
            }
        }
    }

    /// Looks whether a record is of the item that the cache manager says; returns how far the item is.
    pub fn verify(&self, slot: u32, generation: u32, key: Key, data_len: u64, feature_len: u64) -> Result<Phase> {
        let records = records(&self.mapping, &self.layout);
        let record = records.get(slot as usize).ok_or(Error::Corrupt("there is no such record"))?;
        let found = record.read()?;
        let expected = Header { phase: found.phase, generation, key, data_len, feature_len };
        if found == expected { Ok(found.phase) } else { Err(Error::Corrupt("a record is of another item")) }
    }
}
