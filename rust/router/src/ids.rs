//! Names of the things that plans speak of.
//!
//! They are newtypes so that a page can't be passed where a slot is meant; the number inside is public because it
//! goes over the wire as it is.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A request, named by the caller. It must be unique among the requests that have not ended.
    RequestId(u64)
}

id! {
    /// A place for one running request in the state that the backend keeps on the device.
    SlotId(u32)
}

id! {
    /// One page of the KV cache: room for `page_size` consecutive positions of one request.
    PageId(u32)
}

impl SlotId {
    /// The slot as an index.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl PageId {
    /// The page as an index.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}
