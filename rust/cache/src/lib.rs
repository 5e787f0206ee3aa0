//! The cache of images and their features: an arena in shared memory, and the book of who holds what.
//!
//! [`Arena`] makes the file, [`SharedArena`] maps it in another process and gives contiguous [`View`]s of items whose
//! pages lie anywhere. [`Cache`] decides: which pages an item gets, who writes it, who waits, what goes first under
//! pressure. It knows no sockets and no clock, and the same calls give the same answers.
//!
//! Life of an item:
//!
//! ```text
//!           acquire             publish           take               publish_features
//! (nothing) -------> reserved ----------> written ----> encoding --------------------> ready
//!               writer gone: the next      ^               |  \                          |
//!               holder writes, or it goes  +- encoder gone-+   +--- fail ---> failed     + evicted when
//!                                                                                          nobody holds it
//! ```

mod arena;
mod cache;
mod cgroup;
mod error;
mod item;
mod layout;
mod mapping;
mod pages;
mod record;
mod shared;
mod slots;
mod waits;
mod work;

pub use arena::{Arena, default_bytes, sweep};
pub use cache::{Answer, BYPASS_LIMIT, Cache, Event, Granted, MAX_ITEMS, MAX_RECIPE_BYTES, Stats, Want};
pub use cgroup::{CGROUPS, check_memory};
pub use error::{Error, Result};
pub use item::{ClientId, Key, LeaseId, LeaseState, MAX_DEATHS, RequestId};
pub use layout::{Layout, PAGE_BYTES};
pub use mapping::View;
pub use pages::{Extent, Pages};
pub use record::{Header, Phase, Record};
pub use shared::SharedArena;
pub use work::Bounds;
