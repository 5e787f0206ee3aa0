//! The page pool: which pages of the KV cache are free.

use crate::ids::PageId;

/// Free pages of a fixed set `0..total`.
///
/// A stack, so that pages freed last are used first. The map beside it costs a byte a page and turns a double free,
/// which would let two requests write into one page, into a stop.
#[derive(Debug)]
pub(crate) struct PagePool {
    free: Vec<PageId>,
    is_free: Vec<bool>,
    /// For tests of the tests: what the pool does wrong.
    #[cfg(test)]
    pub fault: Option<Fault>,
}

/// One way to go wrong.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A page that is given back is forgotten.
    LosesPages,
    /// A page that is taken can be taken again.
    GivesPagesTwice,
}

impl PagePool {
    pub fn new(total: u32) -> Self {
        Self {
            free: (0..total).rev().map(PageId).collect(),
            is_free: vec![true; total as usize],
            #[cfg(test)]
            fault: None,
        }
    }

    pub fn total(&self) -> usize {
        self.is_free.len()
    }

    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Takes one page, if there is one.
    pub fn take(&mut self) -> Option<PageId> {
        let page = self.free.pop()?;
        #[cfg(test)]
        if self.fault == Some(Fault::GivesPagesTwice) {
            self.free.insert(0, page);
            return Some(page);
        }
        self.is_free[page.index()] = false;
        Some(page)
    }

    /// Gives a page back.
    ///
    /// # Panics
    /// If it is free already: an owner was lost, and going on would corrupt somebody's text.
    pub fn give(&mut self, page: PageId) {
        #[cfg(test)]
        match self.fault {
            Some(Fault::LosesPages) => return,
            // It was never noted as taken.
            Some(Fault::GivesPagesTwice) => self.is_free[page.index()] = false,
            None => {}
        }
        let is_free = &mut self.is_free[page.index()];
        assert!(!*is_free, "page {page} is given back twice");
        *is_free = true;
        self.free.push(page);
    }

    pub fn is_free(&self, page: PageId) -> bool {
        self.is_free[page.index()]
    }

    pub fn check_invariants(&self) {
        assert_eq!(self.free.len(), self.is_free.iter().filter(|free| **free).count(), "free stack and free map");
        for page in &self.free {
            assert!(self.is_free[page.index()], "page {page} is in the stack but not in the map");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against a set: a page is never out twice, and as many are out as were taken and not given back.
        #[test]
        fn behaves_as_a_set(total in 1u32..20, operations in prop::collection::vec(any::<Option<u8>>(), 0..200)) {
            let mut pool = PagePool::new(total);
            let mut out: BTreeSet<PageId> = BTreeSet::new();
            for operation in operations {
                match operation {
                    None => {
                        let page = pool.take();
                        prop_assert_eq!(page.is_none(), out.len() == total as usize);
                        prop_assert!(page.is_none_or(|page| page.0 < total && out.insert(page)), "out already");
                    }
                    Some(pick) => {
                        if let Some(page) = out.iter().copied().nth(usize::from(pick) % out.len().max(1)) {
                            out.remove(&page);
                            pool.give(page);
                        }
                    }
                }
                pool.check_invariants();
                prop_assert_eq!(pool.free() + out.len(), pool.total());
                prop_assert!((0..total).map(PageId).all(|page| pool.is_free(page) != out.contains(&page)));
            }
        }
    }

    #[test]
    #[should_panic(expected = "given back twice")]
    fn a_double_free_stops() {
        let mut pool = PagePool::new(2);
        let page = pool.take().expect("two are free");
        pool.give(page);
        pool.give(page);
    }
}
