use super::draws::Draws;
use super::kinds::Kinds;
use super::peak::Peak;
use super::{AdmissionPolicy, Demand, ForecastConfig, Room};

/// Past-Future taken further: it asks not only whether the KV cache would be full in a future, but when.
///
/// As in [`PastFuture`](super::PastFuture), outputs get lengths drawn from those of requests that ended. But whoever
/// waits a little learns a little: an overflow that is near is ruled out by the next few ends, or it comes; one that
/// is far off can still be met by admitting less later, and waiting would hardly tell more of it. So a future in which
/// the cache is full after `t` steps counts `near / (near + t)`, and a candidate is admitted if the mean over the
/// futures is at most `risk`. The mean over futures whose draws are spread evenly and kept over some rounds takes the
/// place of the worst of five that are drawn anew: with luck that changes in every round, a refusal would not last.
///
/// Lengths can be those of requests that are alike (class, tenant, `max_tokens`, length of the prompt), and the risk
/// can follow the evictions seen: an eviction lowers it, and each finish raises it by as much as keeps it level when
/// `target` of those that finish were evicted.
#[derive(Debug)]
pub struct Forecast {
    config: ForecastConfig,
    lengths: Kinds,
    draws: Draws,
    room: u64,
    running: Vec<Demand>,
    /// Sum over `running`.
    held: u64,
    /// One for each future; those in use come first.
    peaks: Vec<Peak>,
    /// How many are in use, once a candidate made it worth drawing them.
    drawn: Option<usize>,
    /// What the risk is multiplied by, for the evictions seen.
    boldness: f64,
}

impl Forecast {
    /// Draws, all futures of a round together, that are about enough: with many running requests one future is much
    /// like another.
    const DRAWS: usize = 512;
    /// Of the risk, however many or few evictions are seen.
    const BOLDNESS: (f64, f64) = (1.0 / 16.0, 4.0);

    /// With settings in their ranges.
    pub fn new(config: ForecastConfig, seed: u64) -> Self {
        Self {
            lengths: Kinds::new(&config),
            draws: Draws::new(seed, config.keep_rounds),
            room: 0,
            running: Vec::new(),
            held: 0,
            peaks: (0..config.futures).map(|_| Peak::default()).collect(),
            drawn: None,
            boldness: 1.0,
            config,
        }
    }

    /// Draws the futures of those that run, and returns how many they are.
    fn draw(&mut self) -> usize {
        let Self { running, peaks, lengths, draws, config, .. } = self;
        let enough = peaks.len().min(Self::DRAWS / running.len().max(1) + 1);
        // Of a power of two, each request's draws are spread evenly.
        let used = 1 << enough.ilog2();
        draws.begin(running, used, |demand, part| length_at(lengths.longer(demand), demand, part, config.bounded));
        for (future, peak) in peaks[..used].iter_mut().enumerate() {
            peak.reset(draws.rests(running, future));
        }
        used
    }

    /// Mean over the futures of how much an overflow counts, if the candidate runs.
    fn risk(&self, candidate: &Demand, used: usize) -> f64 {
        let near = f64::from(self.config.near);
        let peaks = self.peaks[..used].iter().zip(self.rests(candidate));
        let reached = peaks.filter_map(|(peak, rest)| peak.reaches(candidate.held, rest, self.room));
        reached.map(|steps| near / (near + f64::from(steps))).sum::<f64>() / used as f64
    }

    fn change(&mut self, candidate: &Demand, used: usize, change: fn(&mut Peak, u64, u32)) {
        let mut peaks = std::mem::take(&mut self.peaks);
        for (peak, rest) in peaks[..used].iter_mut().zip(self.rests(candidate)) {
            change(peak, candidate.held, rest);
        }
        self.peaks = peaks;
    }

    /// What a candidate adds in each future.
    fn rests(&self, candidate: &Demand) -> impl Iterator<Item = u32> {
        let longer = self.lengths.longer(candidate);
        let draws = self.draws.of_candidate(candidate);
        let bounded = self.config.bounded;
        draws.map(move |part| length_at(longer, candidate, part, bounded).saturating_sub(candidate.generated))
    }
}

/// The length at a part of those beyond what a request has. Where there is none it may be all that is allowed.
fn length_at(longer: &[u32], demand: &Demand, part: f64, bounded: bool) -> u32 {
    let index = (part * longer.len() as f64) as usize;
    let length = longer.get(index).copied().unwrap_or(demand.max_tokens);
    if bounded { length.min(demand.max_tokens) } else { length }
}

impl AdmissionPolicy for Forecast {
    fn begin(&mut self, room: Room, running: &[Demand]) {
        let free = room.capacity as f64 * (1.0 - self.config.reserve) - room.shared as f64;
        self.room = free.max(0.0).ceil() as u64;
        self.running.clear();
        self.running.extend_from_slice(running);
        self.held = running.iter().map(|demand| demand.held).sum();
        self.drawn = None;
    }

    fn admits(&mut self, candidates: &[Demand]) -> bool {
        let held = self.held + candidates.iter().map(|demand| demand.held).sum::<u64>();
        if held >= self.room {
            // Full at once in every future.
            return false;
        }
        let used = self.drawn.unwrap_or_else(|| self.draw());
        self.drawn = Some(used);
        let most = self.config.risk * self.boldness;
        for (taken, candidate) in candidates.iter().enumerate() {
            if self.risk(candidate, used) > most {
                for candidate in &candidates[..taken] {
                    self.change(candidate, used, Peak::remove);
                }
                return false;
            }
            self.change(candidate, used, Peak::insert);
        }
        self.held = held;
        true
    }

    fn finished(&mut self, ended: &Demand) {
        self.lengths.push(ended);
        let (_, most) = Self::BOLDNESS;
        self.boldness = (self.boldness * (1.0 + self.config.gain * self.config.target)).min(most);
    }

    fn evicted(&mut self, _victim: &Demand) {
        let (least, _) = Self::BOLDNESS;
        self.boldness = (self.boldness * (1.0 - self.config.gain)).max(least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { capacity: 1_000, shared: 100 };

    fn config() -> ForecastConfig {
        ForecastConfig { reserve: 0.1, risk: 0.25, near: 100, gain: 0.0, ..ForecastConfig::default() }
    }

    fn demand(id: u64, held: u64, generated: u32) -> Demand {
        Demand { id, held, generated, max_tokens: 300, ..Demand::default() }
    }

    fn policy(config: ForecastConfig, lengths: &[u32]) -> Forecast {
        let mut policy = Forecast::new(config, 7);
        for length in lengths {
            policy.finished(&demand(0, 0, *length));
        }
        policy
    }

    #[test]
    fn an_overflow_counts_less_the_later_it_is() {
        // One that runs and one that asks, all of them 300 tokens long: full after 300 - 50 - .. steps.
        let mut policy = policy(config(), &[300]);
        policy.begin(ROOM, &[demand(1, 100, 0)]);
        policy.draw();
        let risk = |held| policy.risk(&demand(2, held, 0), 16);
        assert!(risk(99).abs() < 1e-12, "799 of 800 when both end");
        assert!((risk(100) - 100.0 / 400.0).abs() < 1e-12, "800 after 300 steps");
        assert!((risk(500) - 100.0 / 200.0).abs() < 1e-12, "800 after 100 steps");
        assert!(policy.admits(&[demand(2, 100, 0)]), "a quarter is the risk that is taken");
        policy.begin(ROOM, &[demand(1, 100, 0)]);
        assert!(!policy.admits(&[demand(2, 102, 0)]), "a step earlier");
    }

    #[test]
    fn with_nothing_known_outputs_get_as_long_as_they_may() {
        let mut policy = policy(ForecastConfig { risk: 0.0, ..config() }, &[]);
        policy.begin(ROOM, &[demand(1, 100, 0)]);
        assert!(!policy.admits(&[demand(2, 100, 0)]));
        assert!(policy.admits(&[demand(2, 99, 0)]));
        policy.begin(ROOM, &[demand(1, 100, 0)]);
        assert!(policy.admits(&[demand(2, 99, 0)]), "200 beyond what it has");
    }

    #[test]
    fn the_first_of_all_is_admitted_if_it_fits() {
        let mut policy = policy(config(), &[]);
        policy.begin(ROOM, &[]);
        assert!(!policy.admits(&[demand(1, 800, 0)]));
        assert!(policy.admits(&[demand(1, 499, 0)]), "799 when it ends");
    }

    #[test]
    fn a_group_is_admitted_whole_or_leaves_nothing_behind() {
        let mut policy = policy(config(), &[20, 150, 290]);
        policy.begin(ROOM, &[demand(1, 200, 20), demand(2, 100, 200)]);
        assert!(policy.admits(&[demand(3, 50, 0)]));
        let before = format!("{:?}", policy.peaks);
        assert!(!policy.admits(&[demand(4, 10, 0), demand(5, 439, 0)]));
        assert_eq!((format!("{:?}", policy.peaks), policy.held), (before, 350));
    }

    #[test]
    fn evictions_make_it_careful_and_finishes_bold() {
        let mut policy = policy(ForecastConfig { gain: 0.1, target: 0.25, ..config() }, &[]);
        policy.evicted(&demand(1, 0, 0));
        assert!((policy.boldness - 0.9).abs() < 1e-12);
        for _ in 0..4 {
            policy.finished(&demand(1, 0, 10));
        }
        assert!((policy.boldness - 0.9 * 1.025_f64 * 1.025 * 1.025 * 1.025).abs() < 1e-12);
        for _ in 0..1000 {
            policy.evicted(&demand(1, 0, 0));
        }
        assert!((policy.boldness - 1.0 / 16.0).abs() < 1e-12);
    }
}
