//! Requests that compute into the pages that they are given, and checks of what is then in them.

use proptest::prelude::*;

use super::super::*;
use crate::radix::EvictionPolicy;

#[derive(Clone, Debug)]
pub enum Operation {
    /// A request is added and looked up.
    Add {
        salt: u128,
        tokens: Vec<u32>,
    },
    /// A request that waits gets its pages, if they are available.
    Start {
        which: usize,
    },
    /// Computes so many positions, and publishes them at once or with the next ones.
    Compute {
        which: usize,
        positions: usize,
        publish: bool,
    },
    Release {
        which: usize,
    },
    /// The prompt of a request is all computed: another one of the same prompt, with some pages of its own, joins it.
    Fork {
        which: usize,
        own: usize,
    },
    Clear,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    // Two beginnings that many share up to some point, with few tokens of their own.
    let prompt = (1u32..3, 0u32..20, prop::collection::vec(0u32..2, 1..6))
        .prop_map(|(kind, shared, own)| (0..shared).map(|index| index % kind).chain(own).collect());
    let operation = prop_oneof![
        4 => (0u128..2, prompt).prop_map(|(salt, tokens)| Operation::Add { salt, tokens }),
        4 => any::<usize>().prop_map(|which| Operation::Start { which }),
        6 => (any::<usize>(), 1usize..12, prop::bool::weighted(0.8))
            .prop_map(|(which, positions, publish)| Operation::Compute { which, positions, publish }),
        2 => any::<usize>().prop_map(|which| Operation::Release { which }),
        1 => (any::<usize>(), 0usize..3).prop_map(|(which, own)| Operation::Fork { which, own }),
        1 => Just(Operation::Clear),
    ];
    prop::collection::vec(operation, 0..120)
}

#[derive(Clone, Debug)]
pub struct Setting {
    pub config: SchedulerConfig,
    pub operations: Vec<Operation>,
}

pub fn settings() -> impl Strategy<Value = Setting> {
    let policies = prop::sample::select(EvictionPolicy::ALL.to_vec());
    (1u32..30, 1u32..6, prop::bool::weighted(0.8), policies, operations()).prop_map(
        |(pages, page_size, prefix_cache, eviction, operations)| {
            let config = SchedulerConfig { pages, page_size, prefix_cache, eviction, ..SchedulerConfig::default() };
            Setting { config, operations }
        },
    )
}

#[derive(Debug)]
struct Request {
    salt: u128,
    tokens: Vec<u32>,
    found: Option<Match>,
    computed: usize,
    holding: Holding,
}

/// What is looked at after each operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Look {
    /// What is in the pages of requests.
    Contents,
    /// And the numbers that the memory gives.
    Numbers,
    /// And all that is in it.
    Inside,
}

pub struct World {
    pub memory: Memory,
    page_size: usize,
    /// What each position of each page holds: a hash of the salt and the tokens up to there.
    kv: Vec<u64>,
    waiting: Vec<Request>,
    running: Vec<Request>,
    next_salt: u128,
    prefix_cache: bool,
    look: Look,
}

impl World {
    pub fn new(config: &SchedulerConfig, look: Look) -> Self {
        let kv = vec![0; (config.pages * config.page_size) as usize];
        let page_size = config.page_size as usize;
        let (waiting, running) = (Vec::new(), Vec::new());
        Self {
            memory: Memory::new(config),
            page_size,
            kv,
            waiting,
            running,
            next_salt: 100,
            prefix_cache: config.prefix_cache,
            look,
        }
    }

    /// What the positions of these tokens have to hold.
    fn contents(salt: u128, tokens: &[u32]) -> impl Iterator<Item = u64> {
        tokens.iter().scan(salt as u64 + 1, |hash, token| {
            *hash = (*hash ^ u64::from(*token)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
            Some(*hash)
        })
    }

    fn same<T: Copy + PartialEq + std::fmt::Debug>(&self, got: T, expected: T, what: &str) {
        if self.look >= Look::Numbers {
            assert_eq!(got, expected, "{what}");
        }
    }

    fn slot(&self, holding: &Holding, position: usize) -> usize {
        holding.pages[position / self.page_size].index() * self.page_size + position % self.page_size
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Add { mut salt, tokens } => {
                if !self.prefix_cache {
                    salt = self.next_salt;
                    self.next_salt += 1;
                }
                let found = Some(self.memory.find(salt, &tokens, tokens.len() - 1));
                self.waiting.push(Request { salt, tokens, found, computed: 0, holding: Holding::default() });
            }
            Operation::Start { which } if !self.waiting.is_empty() => {
                let request = self.waiting.swap_remove(which % self.waiting.len());
                self.start(request);
            }
            Operation::Compute { which, positions, publish } if !self.running.is_empty() => {
                self.compute(which % self.running.len(), positions, publish);
            }
            Operation::Release { which } if !self.running.is_empty() => {
                let request = self.running.swap_remove(which % self.running.len());
                self.release(request);
            }
            Operation::Fork { which, own } if !self.running.is_empty() => self.fork(which % self.running.len(), own),
            Operation::Clear => {
                let held = self.memory.held();
                self.memory.clear_cache();
                self.same((self.memory.held(), self.memory.evictable_pages()), (held, 0), "what nobody holds is gone");
            }
            _ => {}
        }
    }

    fn start(&mut self, mut request: Request) {
        let tokens = &request.tokens;
        let found = request.found.as_mut().expect("it was looked up");
        self.memory.refresh(found, request.salt, tokens, tokens.len() - 1);
        let found = *found;
        self.same(found, self.memory.find(request.salt, tokens, tokens.len() - 1), "as good as a new match");
        let (available, held) = (self.memory.available(Some(&found)), self.memory.held());
        let pages = tokens.len().div_ceil(self.page_size);
        if pages - found.pages > available {
            return self.waiting.push(request);
        }
        request.holding = self.memory.hold(request.salt, Some(&found), pages);
        request.computed = found.pages * self.page_size;
        assert_eq!(request.holding.pages.len(), pages);
        self.same(self.memory.held() <= held + pages, true, "no more is held than was asked for");
        let left = self.memory.total_pages() - self.memory.held();
        self.same(left, available - (pages - found.pages), "what is available was told");
        self.running.push(request);
    }

    fn compute(&mut self, which: usize, positions: usize, publish: bool) {
        let mut request = self.running.swap_remove(which);
        for _ in 0..positions {
            if request.computed == request.tokens.len() {
                // A generated token.
                request.tokens.push(request.computed as u32 % 3 / 2);
            }
            let page = request.computed / self.page_size;
            if page == request.holding.pages.len() {
                let all_held = self.memory.held() == self.memory.total_pages();
                if !self.memory.grow(&mut request.holding) {
                    self.same(all_held, true, "no page could be had");
                    return self.release(request);
                }
            }
            let content = Self::contents(request.salt, &request.tokens).nth(request.computed);
            let slot = self.slot(&request.holding, request.computed);
            self.kv[slot] = content.expect("the token is known");
            request.computed += 1;
        }
        if publish {
            let held = self.memory.held();
            self.memory.publish(&mut request.holding, &request.tokens, request.computed);
            self.same(self.memory.held(), held, "publishing holds nothing");
        }
        self.running.push(request);
    }

    fn release(&mut self, request: Request) {
        let (held, exclusive) = (self.memory.held(), self.memory.exclusive(&request.holding));
        self.memory.release(request.holding);
        self.same(self.memory.held() + exclusive, held, "what it alone held can be had again");
    }

    fn fork(&mut self, which: usize, own: usize) {
        let leader = &self.running[which];
        let tokens = leader.tokens.clone();
        let found = self.memory.find(leader.salt, &tokens, tokens.len() - 1);
        if found.pages == 0 || own > self.memory.available(Some(&found)) {
            return;
        }
        let mut holding = self.memory.hold(leader.salt, None, own);
        let salt = leader.salt;
        let found = self.memory.find(salt, &tokens, tokens.len() - 1);
        let (held, unlocked) = (self.memory.held(), self.memory.available(None) - self.memory.available(Some(&found)));
        self.memory.join(&mut holding, salt, &found);
        self.same(self.memory.held(), held + unlocked, "what nobody held is held now");
        assert_eq!(holding.pages.len(), found.pages + own);
        self.running.push(Request { salt, tokens, found: None, computed: found.pages * self.page_size, holding });
    }

    fn check(&self) {
        let memory = &self.memory;
        let sum: usize = self.running.iter().map(|request| memory.exclusive(&request.holding)).sum();
        self.same(sum <= memory.held() && memory.held() <= memory.total_pages(), true, "all is held by somebody");
        for request in &self.running {
            for (position, content) in Self::contents(request.salt, &request.tokens[..request.computed]).enumerate() {
                let slot = self.slot(&request.holding, position);
                assert_eq!(self.kv[slot], content, "position {position} of {request:?}");
            }
        }
        if self.look == Look::Inside {
            let holdings = self.running.iter().map(|request| (&request.holding, request.tokens.as_slice()));
            memory.check_invariants(holdings);
        }
    }

    pub fn run(mut self, operations: Vec<Operation>) {
        for operation in operations {
            self.apply(operation);
            self.check();
        }
        while let Some(request) = self.running.pop() {
            self.release(request);
            self.check();
        }
        self.memory.clear_cache();
        assert_eq!(self.memory.free_pages(), self.memory.total_pages(), "all pages are back");
    }
}
