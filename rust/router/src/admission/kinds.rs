//! Finished lengths, apart for requests that are likely to be alike.

use std::collections::BTreeMap;

use super::window::Window;
use super::{Demand, ForecastConfig};

/// What requests are told apart by. Zero stands for what does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    class: u64,
    tenant: u64,
    /// Binary digits of `max_tokens`, and of the prompt's length.
    limit: u32,
    prompt: u32,
}

/// A window of all lengths, and one for each kind. A kind counts once it has enough lengths of its own; until then
/// its requests are taken to be like all.
#[derive(Debug)]
pub(super) struct Kinds {
    by: ForecastConfig,
    all: Window,
    each: BTreeMap<Kind, Window>,
}

impl Kinds {
    /// Kinds that are told apart at most: those that were seen first.
    const MOST: usize = 256;
    /// Lengths that say something of a kind.
    const ENOUGH: usize = 50;

    pub fn new(config: &ForecastConfig) -> Self {
        Self { by: *config, all: Window::new(config.window as usize, 0, 0), each: BTreeMap::new() }
    }

    /// Finished lengths of requests like this one that are longer than what it has generated, shortest first.
    pub fn longer(&self, demand: &Demand) -> &[u32] {
        let own = self.kind(demand).and_then(|kind| self.each.get(&kind));
        let window = own.filter(|window| window.sorted().len() >= Self::ENOUGH).unwrap_or(&self.all);
        window.longer_than(demand.generated)
    }

    pub fn push(&mut self, ended: &Demand) {
        self.all.push(ended.generated);
        let Some(kind) = self.kind(ended) else { return };
        if self.each.len() == Self::MOST && !self.each.contains_key(&kind) {
            return;
        }
        let size = self.by.window as usize;
        self.each.entry(kind).or_insert_with(|| Window::new(size, 0, 0)).push(ended.generated);
    }

    /// None if nothing is told apart.
    fn kind(&self, demand: &Demand) -> Option<Kind> {
        let by = &self.by;
        let kind = Kind {
            class: if by.by_class { demand.class } else { 0 },
            tenant: if by.by_tenant { demand.tenant } else { 0 },
            limit: if by.by_limit { u32::BITS - demand.max_tokens.leading_zeros() } else { 0 },
            prompt: if by.by_prompt { u32::BITS - demand.prompt.leading_zeros() } else { 0 },
        };
        (kind != Kind { class: 0, tenant: 0, limit: 0, prompt: 0 }).then_some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_with_enough_lengths_is_told_apart() {
        let config = ForecastConfig { by_class: true, by_tenant: false, ..ForecastConfig::default() };
        let mut kinds = Kinds::new(&config);
        let demand = |class, generated| Demand { class, generated, tenant: generated.into(), ..Demand::default() };
        for length in 1..=49 {
            kinds.push(&demand(1, length));
            kinds.push(&demand(2, 100 + length));
        }
        assert_eq!(kinds.longer(&demand(1, 40)).len(), 9 + 49, "too few to be told apart");
        kinds.push(&demand(1, 50));
        assert_eq!(kinds.longer(&demand(1, 40)), (41..=50).collect::<Vec<_>>());
        assert_eq!(kinds.longer(&demand(2, 40)).len(), 10 + 49);
        assert_eq!(kinds.longer(&demand(0, 40)).len(), 10 + 49, "no class is like all");
    }

    #[test]
    fn kinds_are_bounded() {
        let mut kinds = Kinds::new(&ForecastConfig { by_tenant: true, ..ForecastConfig::default() });
        for tenant in 1..1000 {
            kinds.push(&Demand { tenant, generated: 5, ..Demand::default() });
        }
        assert_eq!((kinds.each.len(), kinds.all.sorted().len()), (256, 999));
    }
}
