use lightllm_wire::{PROTOCOL, RankHello};

use crate::{Error, Result};

/// The backend ranks, as far as they have said hello.
pub struct Ranks {
    hellos: Vec<Option<(Vec<u8>, RankHello)>>,
}

/// What all ranks can do together.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    pub pages: u32,
    pub page_size: u32,
    pub slots: u32,
    pub vocab: u32,
    pub context: u32,
    /// The model takes images.
    pub images: bool,
}

impl Ranks {
    pub fn new(world: u32) -> Self {
        Self { hellos: (0..world).map(|_| None).collect() }
    }

    /// A rank is there.
    pub fn hello(&mut self, identity: Vec<u8>, hello: RankHello) -> Result<()> {
        if hello.protocol != PROTOCOL {
            let peer = format!("backend rank {}", hello.rank);
            return Err(Error::Protocol { peer, ours: PROTOCOL, theirs: hello.protocol });
        }
        let world = self.hellos.len();
        let rank = hello.rank;
        if hello.world as usize != world {
            return Err(Error::Rank { rank, what: format!("says that there are {} ranks, not {world}", hello.world) });
        }
        let Some(place) = self.hellos.get_mut(rank as usize) else {
            return Err(Error::Rank { rank, what: format!("is not one of {world} ranks") });
        };
        if place.is_some() {
            return Err(Error::Rank { rank, what: "said hello twice".to_owned() });
        }
        *place = Some((identity, hello));
        Ok(())
    }

    /// What they can do together, once all are there: the minimum over ranks.
    pub fn capacity(&self) -> Result<Option<Capacity>> {
        let mut all: Option<Capacity> = None;
        for place in &self.hellos {
            let Some((_, hello)) = place else { return Ok(None) };
            let one = Capacity {
                pages: hello.pages,
                page_size: hello.page_size,
                slots: hello.slots,
                vocab: hello.vocab,
                context: hello.context,
                images: hello.images,
            };
            let so_far = all.unwrap_or(one);
            if (so_far.page_size, so_far.vocab) != (one.page_size, one.vocab) {
                let what = "has another page size or vocabulary than rank 0".to_owned();
                return Err(Error::Rank { rank: hello.rank, what });
            }
            all = Some(Capacity {
                pages: so_far.pages.min(one.pages),
                slots: so_far.slots.min(one.slots),
                context: so_far.context.min(one.context),
                images: so_far.images && one.images,
                ..one
            });
        }
        Ok(all)
    }

    /// The rank of a peer.
    pub fn rank_of(&self, identity: &[u8]) -> Option<u32> {
        let is_it = |place: &Option<(Vec<u8>, RankHello)>| place.as_ref().is_some_and(|(other, _)| other == identity);
        self.hellos.iter().position(is_it).map(|rank| rank as u32)
    }

    /// The peers, in the order of their ranks.
    pub fn identities(&self) -> impl Iterator<Item = &[u8]> {
        self.hellos.iter().flatten().map(|(identity, _)| identity.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(rank: u32, pages: u32, page_size: u32) -> RankHello {
        RankHello {
            protocol: PROTOCOL,
            rank,
            world: 2,
            pages,
            page_size,
            slots: 8,
            vocab: 100,
            context: 64,
            images: rank == 0,
        }
    }

    #[test]
    fn the_smallest_rank_decides() {
        let mut ranks = Ranks::new(2);
        ranks.hello(b"rank-1".to_vec(), hello(1, 50, 16)).expect("fits");
        assert!(ranks.capacity().expect("no quarrel yet").is_none());
        ranks.hello(b"rank-0".to_vec(), hello(0, 70, 16)).expect("fits");
        let capacity = ranks.capacity().expect("they agree").expect("both are there");
        assert_eq!((capacity.pages, capacity.page_size, capacity.images), (50, 16, false));
        assert_eq!(ranks.identities().collect::<Vec<_>>(), [b"rank-0", b"rank-1"]);
        assert_eq!(ranks.rank_of(b"rank-1"), Some(1));
    }

    #[test]
    fn quarrels_are_errors() {
        let mut ranks = Ranks::new(2);
        ranks.hello(b"rank-0".to_vec(), hello(0, 70, 16)).expect("fits");
        assert!(ranks.hello(b"again".to_vec(), hello(0, 70, 16)).is_err());
        assert!(ranks.hello(b"rank-2".to_vec(), hello(2, 70, 16)).is_err());
        ranks.hello(b"rank-1".to_vec(), hello(1, 70, 32)).expect("page sizes are compared later");
        assert!(ranks.capacity().is_err());
        let old = RankHello { protocol: 0, ..hello(1, 1, 1) };
        assert!(matches!(Ranks::new(2).hello(Vec::new(), old), Err(Error::Protocol { .. })));
    }
}
