//! Which running requests have the same first pages.
//!
//! Page tables of the requests that the backend knows only grow, and what they grow by is new: how many pages two of
//! them have in common is settled when the later one comes. So the requests are kept in the order of a tree's leaves:
//! any that have their first n pages in common are next to each other, for every n, and it is enough to know how much
//! each has in common with the one before it.

use crate::ids::{PageId, SlotId};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PrefixOrder {
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    slot: SlotId,
    /// Its first page: most have not even that in common.
    first: PageId,
    /// Pages in common with the entry before. 0 for the first.
    common: u32,
}

/// Consecutive ones in the order that have their first pages in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SharedRun {
    /// Index of the first.
    pub first: usize,
    pub count: usize,
    /// First pages that they have in common, in pages.
    pub pages: u32,
}

impl PrefixOrder {
    /// Adds a request that the backend is about to hear of. `pages` gives page tables, none of them empty.
    pub fn insert<'a>(&mut self, slot: SlotId, pages: impl Fn(SlotId) -> &'a [PageId]) {
        let own = pages(slot);
        let (mut best, mut best_common, mut common) = (0, 0, 0);
        for (index, entry) in self.entries.iter().enumerate() {
            let between = entry.common as usize;
            if between < common {
                common = between;
            } else if between == common && (common > 0 || entry.first == own[0]) {
                let others = &pages(entry.slot)[common..];
                common += own[common..].iter().zip(others).take_while(|(own, other)| own == other).count();
            }
            if common > best_common {
                (best, best_common) = (index, common);
            }
        }
        let mut at = self.entries.len();
        if best_common > 0 {
            // Behind those that have more in common with the best than this one has.
            let behind = self.entries[best + 1..].iter();
            at = best + 1 + behind.take_while(|entry| entry.common as usize > best_common).count();
        }
        self.entries.insert(at, Entry { slot, first: own[0], common: best_common as u32 });
    }

    /// Takes one out. Nothing happens if it isn't there.
    pub fn remove(&mut self, slot: SlotId) {
        let Some(index) = self.entries.iter().position(|entry| entry.slot == slot) else { return };
        let gone = self.entries.remove(index);
        if let Some(next) = self.entries.get_mut(index) {
            next.common = next.common.min(gone.common);
        }
    }

    /// Whether any two have so many pages in common.
    pub fn shares(&self, pages: u32) -> bool {
        self.entries.iter().any(|entry| entry.common >= pages)
    }

    /// Writes down those that `takes_part` in order, each with the pages that it has in common with the one before.
    pub fn list(&self, mut takes_part: impl FnMut(SlotId) -> bool, list: &mut Vec<(SlotId, u32)>) {
        list.clear();
        let mut common = 0;
        for entry in &self.entries {
            common = entry.common.min(common);
            if takes_part(entry.slot) {
                list.push((entry.slot, common));
                common = u32::MAX;
            }
        }
    }

    #[cfg(test)]
    fn slots(&self) -> Vec<SlotId> {
        self.entries.iter().map(|entry| entry.slot).collect()
    }

    /// # Panics
    /// If the order is wrong, or not of exactly these requests.
    pub fn check_invariants<'a>(&self, attached: impl Iterator<Item = SlotId>, pages: impl Fn(SlotId) -> &'a [PageId]) {
        let mut slots: Vec<_> = self.entries.iter().map(|entry| entry.slot).collect();
        for (index, entry) in self.entries.iter().enumerate() {
            assert_eq!(entry.first, pages(entry.slot)[0], "first page of slot {}", entry.slot);
            let mut least = usize::MAX;
            // A tree's order: in common with one further back is the least of all between.
            for back in (0..index).rev() {
                least = least.min(self.entries[back + 1].common as usize);
                let both = pages(entry.slot).iter().zip(pages(self.entries[back].slot));
                assert_eq!(both.take_while(|(a, b)| a == b).count(), least, "pages in common");
            }
        }
        assert!(self.entries.first().is_none_or(|entry| entry.common == 0), "nothing comes before the first");
        slots.sort_unstable();
        let mut attached: Vec<_> = attached.collect();
        attached.sort_unstable();
        assert_eq!(slots, attached, "those that are in the order are attached");
    }
}

/// What it is worth that nobody reads a page alone, in reads of a page. Who is left out of a run has the longest part of the
/// step: measured on an H100, 17 us of a layer for 48 pages of 64 tokens, of which its memory delivers 200 in that time.
const ALONE: u64 = 4;

/// Runs of at least `count` that have at least `pages` in common, where each belongs to one run at most. Of runs within
/// runs those are taken that save the most reads of pages: all but one of each run need not read what is in common. A
/// wider run may save somewhat less than those within it if these leave one out.
pub(crate) fn shared_runs(list: &[(SlotId, u32)], count: usize, pages: u32, runs: &mut Vec<SharedRun>) {
    /// A run that is not at its end yet.
    struct Open {
        first: usize,
        pages: u32,
        /// Reads saved by the runs within it, and where they begin in the list of runs.
        saved: u64,
        within: usize,
    }
    runs.clear();
    let mut open: Vec<Open> = Vec::new();
    for index in 1..=list.len() {
        let common = list.get(index).map_or(0, |(_, common)| *common);
        let common = if common >= pages { common } else { 0 };
        let (mut first, mut saved, mut within) = (index - 1, 0, runs.len());
        while let Some(run) = open.pop_if(|run| run.pages > common) {
            let members = index - run.first;
            let own = (members as u64 - 1) * u64::from(run.pages);
            let taken: usize = runs[run.within..].iter().map(|run| run.count).sum();
            let alone = if taken < members { ALONE * u64::from(run.pages) } else { 0 };
            let wider = members >= count && own + alone >= run.saved;
            if wider {
                runs.truncate(run.within);
                runs.push(SharedRun { first: run.first, count: members, pages: run.pages });
            }
            saved = if wider { own } else { run.saved };
            (first, within) = (run.first, run.within);
            if let Some(outer) = open.last_mut().filter(|outer| outer.pages >= common) {
                outer.saved += saved;
                saved = 0;
            }
        }
        if common > 0 && open.last().is_none_or(|run| run.pages < common) {
            open.push(Open { first, pages: common, saved, within });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    fn order(tables: &[Vec<PageId>]) -> PrefixOrder {
        let mut order = PrefixOrder::default();
        for slot in 0..tables.len() {
            order.insert(SlotId(slot as u32), |slot| &tables[slot.index()]);
        }
        order
    }

    fn tables(tables: &[&[u32]]) -> Vec<Vec<PageId>> {
        tables.iter().map(|table| table.iter().copied().map(PageId).collect()).collect()
    }

    fn runs(order: &PrefixOrder, count: usize, pages: u32) -> Vec<SharedRun> {
        let (mut list, mut runs) = (Vec::new(), Vec::new());
        order.list(|_| true, &mut list);
        shared_runs(&list, count, pages, &mut runs);
        runs
    }

    #[test]
    fn those_that_share_most_are_next_to_each_other() {
        let tables = tables(&[&[1, 2, 3, 10], &[7], &[1, 2, 11], &[1, 2, 3, 12], &[7, 8], &[1, 13]]);
        let mut order = order(&tables);
        assert_eq!(order.slots(), [0, 3, 2, 5, 1, 4].map(SlotId));
        order.check_invariants((0..6).map(SlotId), |slot| &tables[slot.index()]);
        assert!(order.shares(3) && !order.shares(4));
        order.remove(SlotId(3));
        order.remove(SlotId(3));
        assert_eq!(
            runs(&order, 2, 1),
            [SharedRun { first: 0, count: 3, pages: 1 }, SharedRun { first: 3, count: 2, pages: 1 }]
        );
        assert_eq!(runs(&order, 3, 1), [SharedRun { first: 0, count: 3, pages: 1 }]);
        assert_eq!(runs(&order, 4, 1), []);
    }

    /// Three with 40 pages in common save 80 reads; the six with two of them, 10.
    #[test]
    fn the_runs_that_save_most_are_taken() {
        let list = |commons: &[u32]| commons.iter().map(|common| (SlotId(0), *common)).collect::<Vec<_>>();
        let mut found = Vec::new();
        shared_runs(&list(&[0, 40, 40, 2, 2, 2]), 3, 1, &mut found);
        assert_eq!(found, [SharedRun { first: 0, count: 3, pages: 40 }]);
        shared_runs(&list(&[0, 10, 10, 5, 5, 5]), 3, 1, &mut found);
        assert_eq!(found, [SharedRun { first: 0, count: 6, pages: 5 }]);
        shared_runs(&list(&[0, 4, 4, 49, 49, 4, 48, 48]), 3, 4, &mut found);
        assert_eq!(found, [SharedRun { first: 2, count: 3, pages: 49 }, SharedRun { first: 5, count: 3, pages: 48 }]);
        let mut many = vec![48; 64];
        (many[0], many[63]) = (0, 47);
        shared_runs(&list(&many), 4, 4, &mut found);
        assert_eq!(found, [SharedRun { first: 0, count: 64, pages: 47 }], "one would read 47 pages alone");
        (many[10], many[63]) = (47, 48);
        shared_runs(&list(&many), 4, 4, &mut found);
        let (few, most) = (SharedRun { first: 0, count: 10, pages: 48 }, SharedRun { first: 10, count: 54, pages: 48 });
        assert_eq!(found, [few, most], "two runs leave nobody out");
        shared_runs(&list(&[0, 3, 3, 3]), 2, 4, &mut found);
        assert_eq!(found, [], "too few pages");
        shared_runs(&[], 2, 1, &mut found);
        assert_eq!(found, []);
    }

    /// Tables of a random tree come and go, and grow by pages of their own.
    #[test]
    fn any_order_of_coming_and_going_keeps_a_trees_order() {
        let mut draws = SplitMix64::new(5);
        let mut tables: Vec<Option<Vec<PageId>>> = vec![None; 24];
        let (mut order, mut fresh) = (PrefixOrder::default(), 1000);
        for _ in 0..2000 {
            let slot = draws.range(0, 23) as usize;
            if tables[slot].take().is_some() {
                order.remove(SlotId(slot as u32));
            } else {
                // The page at depth d after those before it: one of two, for the whole path a number of its own.
                let (mut path, mut table) = (1, Vec::new());
                for _ in 0..draws.range(0, 5) {
                    path = path * 2 + draws.range(0, 1);
                    table.push(PageId(path));
                }
                fresh += 1;
                table.push(PageId(fresh));
                tables[slot] = Some(table);
                order.insert(SlotId(slot as u32), |slot| tables[slot.index()].as_deref().expect("it is there"));
            }
            let grows = draws.range(0, 23) as usize;
            if let Some(table) = &mut tables[grows] {
                fresh += 1;
                table.push(PageId(fresh));
            }
            let present = (0..24).filter(|slot| tables[*slot].is_some()).map(|slot| SlotId(slot as u32));
            let table = |slot: SlotId| tables[slot.index()].as_deref().expect("it is there");
            order.check_invariants(present, table);
            for run in runs(&order, 2, 1) {
                let slots = &order.slots()[run.first..run.first + run.count];
                let first = &table(slots[0])[..run.pages as usize];
                assert!(slots.iter().all(|slot| table(*slot).starts_with(first)), "{run:?}");
            }
        }
    }
}
