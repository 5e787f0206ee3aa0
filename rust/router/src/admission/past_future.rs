use super::draws::Draws;
use super::peak::Peak;
use super::window::Window;
use super::{AdmissionPolicy, Demand, PastFutureConfig, Room};

/// Draws how long outputs get from how long the last ones were (Gong et al., "Past-Future Scheduler for LLM Serving
/// under SLA Guarantees", ASPLOS 2025).
///
/// In each of a few futures a running request gets a length drawn from the window's lengths beyond what it has
/// generated, and a candidate one from the whole window. A candidate is admitted if the peak of every future stays
/// under the capacity less a reserve.
///
/// Draws may be kept over several rounds: that costs less, and a candidate that was refused isn't asked again with
/// better luck at once.
#[derive(Debug)]
pub struct PastFuture {
    lengths: Lengths,
    draws: Draws,
    reserve: f64,
    room: u64,
    /// One for each future; those in use come first.
    peaks: Vec<Peak>,
    used: usize,
}

impl PastFuture {
    /// Draws, all futures of a round together, that are about enough: with many running requests one future is much
    /// like another.
    const DRAWS: usize = 200;

    /// With settings in their ranges.
    pub fn new(config: PastFutureConfig, seed: u64) -> Self {
        Self {
            lengths: Lengths {
                window: Window::new(config.window as usize, config.prior as usize, config.prior_length),
                bounded: config.bounded,
            },
            draws: Draws::new(seed, config.keep_rounds),
            reserve: config.reserve,
            room: 0,
            peaks: (0..config.futures).map(|_| Peak::default()).collect(),
            used: 0,
        }
    }
}

impl AdmissionPolicy for PastFuture {
    fn begin(&mut self, room: Room, running: &[Demand]) {
        let free = room.capacity as f64 * (1.0 - self.reserve) - room.shared as f64;
        self.room = free.max(0.0).ceil() as u64;
        self.used = match running.len() {
            0 => 1,
            requests => self.peaks.len().min(Self::DRAWS / requests + 1),
        };
        self.draws.begin(running, self.used, |demand, part| self.lengths.running(demand, part));
        for (future, peak) in self.peaks[..self.used].iter_mut().enumerate() {
            peak.reset(self.draws.rests(running, future));
        }
    }

    fn admits(&mut self, candidates: &[Demand]) -> bool {
        let Self { lengths, draws, room, peaks, used, .. } = self;
        let peaks = &mut peaks[..*used];
        let drawn = |demand: &Demand, future| {
            let length = lengths.candidate(demand, draws.draw(demand, future));
            (demand.held, length.saturating_sub(demand.generated))
        };
        // Nearly all refusals end here, where nothing has changed yet.
        if let Some(first) = candidates.first()
            && peaks.iter().enumerate().any(|(future, peak)| {
                let (held, rest) = drawn(first, future);
                peak.with(held, rest) >= *room
            })
        {
            return false;
        }
        for future in 0..peaks.len() {
            let all = candidates.iter().map(|demand| drawn(demand, future));
            if peaks[future].admit(all, *room) {
                continue;
            }
            for (future, peak) in peaks[..future].iter_mut().enumerate() {
                for (held, rest) in candidates.iter().map(|demand| drawn(demand, future)) {
                    peak.remove(held, rest);
                }
            }
            return false;
        }
        true
    }

    fn finished(&mut self, ended: &Demand) {
        self.lengths.window.push(ended.generated);
    }

    fn evicted(&mut self, _victim: &Demand) {}
}

/// How long outputs get.
#[derive(Debug)]
struct Lengths {
    window: Window,
    bounded: bool,
}

impl Lengths {
    fn running(&self, demand: &Demand, part: f64) -> u32 {
        self.bound(demand, length_beyond(self.window.longer_than(demand.generated), demand, part))
    }

    fn candidate(&self, demand: &Demand, part: f64) -> u32 {
        if demand.generated > 0 {
            // It was preempted, and what it has generated is known.
            return self.running(demand, part);
        }
        let lengths = self.window.sorted();
        let index = (part * lengths.len() as f64) as usize;
        self.bound(demand, lengths.get(index).copied().unwrap_or(demand.max_tokens))
    }

    fn bound(&self, demand: &Demand, length: u32) -> u32 {
        if self.bounded { length.min(demand.max_tokens) } else { length }
    }
}

/// The length at that part of the way from what has been generated, over the lengths beyond it, to the longest that
/// is allowed (or the last of the lengths, if that is more).
fn length_beyond(longer: &[u32], demand: &Demand, part: f64) -> u32 {
    let point = |index: usize| match index.checked_sub(1).map(|index| longer.get(index)) {
        None => demand.generated,
        Some(Some(length)) => *length,
        Some(None) => demand.max_tokens.max(longer.last().copied().unwrap_or(demand.generated)),
    };
    let way = part * (longer.len() + 1) as f64;
    let index = way as usize;
    let (from, to) = (f64::from(point(index)), f64::from(point(index + 1)));
    (from + (to - from) * (way - index as f64)).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { capacity: 1_000, shared: 100 };

    fn policy(config: PastFutureConfig) -> PastFuture {
        PastFuture::new(PastFutureConfig { prior: 4, prior_length: 50, ..config }, 7)
    }

    fn demand(id: u64, held: u64, generated: u32) -> Demand {
        Demand { id, held, generated, max_tokens: 80, ..Demand::default() }
    }

    #[test]
    fn lengths_beyond_are_interpolated() {
        let demand = Demand { generated: 10, max_tokens: 100, ..Demand::default() };
        let at = |part| length_beyond(&[20, 60], &demand, part);
        assert_eq!([at(0.0), at(0.2), at(0.5), at(0.999)], [10, 16, 40, 100]);
        assert_eq!(length_beyond(&[20, 160], &demand, 0.9), 160, "the last length is more than what is allowed");
        assert_eq!(length_beyond(&[], &demand, 0.5), 55);
    }

    #[test]
    fn one_future_over_the_room_refuses() {
        let mut policy = policy(PastFutureConfig { reserve: 0.1, ..PastFutureConfig::default() });
        policy.begin(ROOM, &[]);
        assert!(!policy.admits(&[demand(1, 750, 0)]), "800 of 800 in the only future");
        assert!(policy.admits(&[demand(1, 749, 0)]));
        assert!(!policy.admits(&[demand(2, 1, 0)]), "it counts");
    }

    #[test]
    fn a_group_is_admitted_whole_or_leaves_nothing_behind() {
        for id in 0..50 {
            let mut policy = policy(PastFutureConfig::default());
            policy.begin(ROOM, &[demand(id, 100, 20)]);
            assert_eq!(policy.used, 5);
            let before = format!("{:?}", policy.peaks);
            let group = [demand(id + 1, 400, 0), demand(id + 2, 170, 40)];
            if !policy.admits(&group) {
                assert_eq!(format!("{:?}", policy.peaks), before);
            }
        }
    }

    #[test]
    fn a_length_is_never_less_than_what_there_is_nor_more_than_allowed() {
        let mut policy = policy(PastFutureConfig::default());
        for length in [5, 500] {
            policy.finished(&Demand { generated: length, ..Demand::default() });
        }
        for part in 0..200 {
            let part = f64::from(part) / 200.0;
            assert!((70..=80).contains(&policy.lengths.running(&demand(1, 0, 70), part)));
            assert!(policy.lengths.candidate(&demand(1, 0, 0), part) <= 80);
        }
    }

    #[test]
    fn a_candidate_asks_with_the_same_draw_until_it_is_renewed() {
        let mut policy = policy(PastFutureConfig { keep_rounds: 8, ..PastFutureConfig::default() });
        let mut draws = Vec::new();
        for _ in 0..17 {
            policy.begin(ROOM, &[]);
            draws.push(policy.draws.draw(&demand(1, 0, 0), 0));
        }
        draws.dedup();
        assert!(draws.len() == 3 || draws.len() == 4, "{draws:?}");
    }
}
