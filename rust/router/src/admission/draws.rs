//! Lengths that outputs are given at random, and how long they are kept.

use super::Demand;
use crate::random;

/// A draw is a hash of the seed, the request, the future and the number of the draw, so that answers do not depend on
/// the order of asking. Each request gets new draws after so many rounds, some of the requests in each round; and
/// before that when it has outgrown what it was given.
#[derive(Debug)]
pub(super) struct Draws {
    seed: u64,
    keep_rounds: u64,
    rounds: u64,
    /// Of those that ran in the last round, in their order, and in the round before.
    kept: Kept,
    last: Kept,
}

/// `futures` lengths for each request.
#[derive(Debug, Default)]
struct Kept {
    futures: usize,
    /// Request, and the round in which it gets new ones.
    names: Vec<(u64, u64)>,
    lengths: Vec<u32>,
}

impl Draws {
    /// Requests that may have left together without those behind them being drawn anew.
    const GONE: usize = 64;

    pub fn new(seed: u64, keep_rounds: u32) -> Self {
        Self {
            seed: random::mix(seed),
            keep_rounds: keep_rounds.into(),
            rounds: 0,
            kept: Kept::default(),
            last: Kept::default(),
        }
    }

    /// A new round, in which these run. `length_at` gives the length at a part, from 0 to 1, of those that a
    /// request may have.
    pub fn begin(&mut self, running: &[Demand], futures: usize, length_at: impl Fn(&Demand, f64) -> u32) {
        self.rounds += 1;
        std::mem::swap(&mut self.kept, &mut self.last);
        let mut kept = std::mem::take(&mut self.kept);
        kept.futures = futures;
        kept.names.clear();
        kept.lengths.clear();
        let (last, same) = (&self.last, self.last.futures == futures);
        let mut seen = 0;
        for demand in running {
            let ahead = last.names[seen..].iter().take(Self::GONE);
            let gone = ahead.into_iter().position(|(id, _)| same && *id == demand.id);
            if let Some(index) = gone.map(|gone| seen + gone) {
                seen = index + 1;
                let until = last.names[index].1;
                if self.rounds < until {
                    kept.names.push((demand.id, until));
                    for (future, &length) in last.lengths[index * futures..][..futures].iter().enumerate() {
                        let outgrown = length <= demand.generated;
                        kept.lengths.push(if outgrown {
                            length_at(demand, draw(self.key(demand.id, until), future, futures))
                        } else {
                            length
                        });
                    }
                    continue;
                }
            }
            let until = self.until(demand.id);
            let key = self.key(demand.id, until);
            kept.names.push((demand.id, until));
            kept.lengths.extend((0..futures).map(|future| length_at(demand, draw(key, future, futures))));
        }
        self.kept = kept;
    }

    /// What those that run still add in that future, in their order.
    pub fn rests(&self, running: &[Demand], future: usize) -> impl Iterator<Item = (u64, u32)> {
        let lengths = self.kept.lengths.iter().skip(future).step_by(self.kept.futures);
        running.iter().zip(lengths).map(|(demand, length)| (demand.held, length.saturating_sub(demand.generated)))
    }

    /// The draw of a request that does not run yet.
    pub fn draw(&self, demand: &Demand, future: usize) -> f64 {
        draw(self.key(demand.id, self.until(demand.id)), future, self.kept.futures)
    }

    /// All its draws, one for each future, without end.
    pub fn of_candidate(&self, demand: &Demand) -> impl Iterator<Item = f64> + Clone + use<> {
        let key = self.key(demand.id, self.until(demand.id));
        let futures = self.kept.futures;
        (0..).map(move |future| draw(key, future, futures))
    }

    /// The round in which the request gets new draws. It names those that it has.
    fn until(&self, id: u64) -> u64 {
        let phase = random::mix(id) % self.keep_rounds;
        ((self.rounds + phase) / self.keep_rounds + 1) * self.keep_rounds - phase
    }

    fn key(&self, id: u64, until: u64) -> u64 {
        random::mix(self.seed ^ until) ^ random::mix(id)
    }
}

/// If the futures are a power of two, each draws from a stratum of its own, so that a few are about as good as many:
/// strata are given out by an odd multiplier and an offset that are the request's own.
fn draw(key: u64, future: usize, futures: usize) -> f64 {
    let within = random::uniform(key, future as u64);
    if !futures.is_power_of_two() {
        return within;
    }
    let (multiplier, offset) = (key >> 32 | 1, key & u64::from(u32::MAX));
    let stratum = (future as u64).wrapping_mul(multiplier).wrapping_add(offset) & (futures as u64 - 1);
    (stratum as f64 + within) / futures as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demands(ids: &[u64], generated: u32) -> Vec<Demand> {
        ids.iter().map(|&id| Demand { id, generated, ..Demand::default() }).collect()
    }

    /// Lengths by request, of draws that stand for lengths from 100 to 1100.
    fn lengths(draws: &mut Draws, running: &[Demand]) -> Vec<Vec<u32>> {
        draws.begin(running, 3, |demand, part| demand.generated.max(100) + (part * 1000.0) as u32);
        draws.kept.lengths.chunks(3).map(<[u32]>::to_vec).collect()
    }

    #[test]
    fn lengths_stay_with_their_request_when_others_come_and_go() {
        let mut draws = Draws::new(1, 1 << 20);
        let before = lengths(&mut draws, &demands(&[5, 2, 9, 4], 10));
        let after = lengths(&mut draws, &demands(&[2, 4, 7], 11));
        assert_eq!((&after[0], &after[1]), (&before[1], &before[3]));
        assert!(before.iter().flatten().any(|length| *length != before[0][0]), "draws differ");
    }

    #[test]
    fn only_what_was_outgrown_is_drawn_anew() {
        let mut draws = Draws::new(1, 1 << 20);
        let ids: Vec<u64> = (0..100).collect();
        let before = lengths(&mut draws, &demands(&ids, 10));
        let after = lengths(&mut draws, &demands(&ids, 500));
        for (before, after) in before.into_iter().flatten().zip(after.into_iter().flatten()) {
            assert!(if before > 500 { after == before } else { after >= 500 }, "{before} {after}");
        }
    }

    #[test]
    fn each_future_draws_from_a_stratum_of_its_own() {
        for key in 0..100 {
            let mut strata: Vec<u32> =
                (0..16).map(|future| (draw(random::mix(key), future, 16) * 16.0) as u32).collect();
            strata.sort_unstable();
            assert_eq!(strata, (0..16).collect::<Vec<_>>());
        }
    }

    #[test]
    fn some_are_renewed_in_each_round_and_all_in_time() {
        let mut draws = Draws::new(1, 4);
        let running = demands(&(0..400).collect::<Vec<_>>(), 10);
        let mut before = lengths(&mut draws, &running);
        let mut renewed = vec![0; 400];
        for _ in 0..8 {
            let after = lengths(&mut draws, &running);
            let changed: Vec<bool> = before.iter().zip(&after).map(|(before, after)| before != after).collect();
            let count = changed.iter().filter(|changed| **changed).count();
            assert!((50..150).contains(&count), "{count} of 400");
            for (renewed, changed) in renewed.iter_mut().zip(changed) {
                *renewed += u32::from(changed);
            }
            before = after;
        }
        assert!(renewed.iter().all(|renewed| *renewed == 2), "every four rounds");
    }

    #[test]
    fn drawing_in_every_round_shares_nothing_with_the_last() {
        let mut draws = Draws::new(1, 1);
        let running = demands(&[1, 2], 10);
        assert_ne!(lengths(&mut draws, &running), lengths(&mut draws, &running));
    }
}
