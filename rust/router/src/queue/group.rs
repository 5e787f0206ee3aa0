//! Prefix groups: requests that will compute the same pages.

use crate::order::Ticket;
use crate::sequence::Sequence;

/// How requests are told to share a prefix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grouping {
    page_size: usize,
    /// Tokens that they must share beyond what is cached: whole pages. None if groups don't count.
    span: Option<usize>,
}

impl Grouping {
    /// Groups share `tokens` at least, rounded up to pages; 0 for none.
    pub fn new(page_size: u32, tokens: u32) -> Self {
        let span = (tokens > 0).then(|| tokens.next_multiple_of(page_size) as usize);
        Self { page_size: page_size as usize, span }
    }

    /// What the order knows of a sequence.
    pub fn ticket(&self, sequence: &Sequence) -> Ticket {
        let cached = self.cached(sequence);
        Ticket {
            arrival: sequence.arrival,
            added_ns: sequence.added_ns,
            priority: sequence.priority,
            deadline: sequence.deadline,
            tenant: sequence.tenant,
            tokens: (sequence.tokens.len() - cached) as u32,
            group: self.key(sequence, cached),
            resumes: sequence.resumes,
        }
    }

    /// Tokens that the cache has, as of the last look.
    pub fn cached(&self, sequence: &Sequence) -> usize {
        sequence.cached_pages() * self.page_size
    }

    /// Equal for requests that share all up to `span` tokens past what is cached. Two groups with one key, by chance
    /// or by somebody's design, cost nothing but an order that helps nobody.
    fn key(&self, sequence: &Sequence, cached: usize) -> Option<u64> {
        // Without a match, pages are not shared at all.
        sequence.found?;
        let end = cached + self.span?;
        // The last token is computed by each itself.
        let shared = sequence.tokens[..sequence.most_cached()].get(..end)?;
        let salt = mix(sequence.salt as u64, (sequence.salt >> 64) as u64);
        let mut words = shared.chunks_exact(2);
        let hash = words.by_ref().fold(salt, |hash, word| mix(hash, u64::from(word[0]) << 32 | u64::from(word[1])));
        Some(words.remainder().iter().fold(hash, |hash, token| mix(hash, u64::from(*token))))
    }
}

/// The two halves of a product of 128 bits, folded into one.
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0x9E37_79B9_7F4A_7C15) * u128::from(b ^ 0xD1B5_4A32_D192_ED03);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SchedulerConfig;
    use crate::ids::RequestId;
    use crate::memory::Memory;
    use crate::request::Request;

    fn sequence(memory: &Memory, tokens: Vec<u32>, salt: u128) -> Sequence {
        let request = Request { cache_salt: salt, ..Request::new(RequestId(0), tokens, 1) };
        let mut sequence = Sequence::new(request, 0, 0);
        sequence.found = Some(memory.find(salt, &sequence.tokens, sequence.most_cached()));
        sequence
    }

    #[test]
    fn a_group_shares_whole_uncached_pages() {
        let config = SchedulerConfig { page_size: 4, pages: 64, ..SchedulerConfig::default() };
        let memory = Memory::new(&config);
        let grouping = Grouping::new(4, 6);
        let key = |tokens: Vec<u32>, salt| grouping.ticket(&sequence(&memory, tokens, salt)).group;
        let first = key((0..20).collect(), 0);
        assert!(first.is_some());
        assert_eq!(first, key((0..8).chain([9, 9]).collect(), 0), "eight tokens are alike");
        assert_ne!(first, key((0..7).chain([9, 9]).collect(), 0), "only seven are");
        assert_ne!(first, key((0..20).collect(), 1), "under another salt");
        assert_eq!(key((0..8).collect(), 0), None, "the last token is not shared");
    }

    #[test]
    fn what_is_cached_is_not_computed() {
        let config = SchedulerConfig { page_size: 4, pages: 64, ..SchedulerConfig::default() };
        let mut memory = Memory::new(&config);
        let tokens: Vec<u32> = (0..20).collect();
        let found = memory.find(0, &tokens, 20);
        let mut holding = memory.hold(0, Some(&found), 5);
        memory.publish(&mut holding, &tokens, 8);
        let ticket = |span| Grouping::new(4, span).ticket(&sequence(&memory, tokens.clone(), 0));
        assert_eq!(ticket(4).tokens, 12);
        assert!(ticket(8).group.is_some(), "eight of the twelve, and one more");
        assert_eq!(ticket(12).group, None);
        assert_eq!(ticket(0).group, None, "groups are turned off");
        memory.release(holding);
    }

    #[test]
    fn without_a_prefix_cache_nothing_is_shared() {
        let sequence = Sequence::new(Request::new(RequestId(0), (0..99).collect(), 1), 0, 0);
        let ticket = Grouping::new(16, 16).ticket(&sequence);
        assert_eq!((ticket.group, ticket.tokens), (None, 99));
    }
}
