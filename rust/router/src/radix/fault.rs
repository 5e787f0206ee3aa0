//! What a tree can be told to do wrong, so that the tests are seen to notice. Outside of tests nothing of it is left.

use super::PrefixCache;

/// One way to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "never set"))]
pub(crate) enum Fault {
    /// A match is taken without a lock.
    ForgetsLocks,
    /// A match of a node that is another by now is taken for a good one.
    TrustsStaleMatches,
    /// Pages that others hold are given up for those of a publisher.
    ReplacesHeldPages,
    /// All trees are one, whatever their salts.
    MixesSalts,
    /// All pages have the same hash. This one must do no harm.
    SameHash,
}

impl PrefixCache {
    #[cfg(test)]
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "as in tests")]
    pub(super) const fn has(&self, _fault: Fault) -> bool {
        false
    }
}
