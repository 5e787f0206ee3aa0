//! The replay of the Past-Future paper's artifact: three synthetic workloads over a pool of tokens, with the policies
//! that serve, in a loop of its own.
//!
//! Prefill takes no time and an eviction costs nothing, so the number of decode steps alone rewards boldness: read it
//! beside the evictions. The loop: ten decode steps, a round of admission, and so on, until the workload is used up.

mod replay;
mod workload;

use std::time::Instant;

use lightllm_router::{Error, ForecastConfig, PastFutureConfig, PolicyConfig, Result};
use serde::{Deserialize, Serialize};

use replay::Replay;
use workload::DISTRIBUTIONS;

/// Name of the preset.
pub const NAME: &str = "past-future-paper";

/// Tokens of a pool that any machine could have, and more.
const LARGEST_CAPACITY: u64 = 1 << 40;

/// What to replay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PresetSettings {
    /// Seeds of the workloads.
    pub seeds: Vec<u64>,
    /// Tokens that the pool holds, up to 2^40. A policy has to get through with it: a request that is longer, or that
    /// the policy never lets in, is an error.
    pub capacity: u64,
    /// Seed of what policies draw.
    pub policy_seed: u64,
    /// Each gives a row for each workload and seed.
    pub policies: Vec<PolicyConfig>,
}

impl Default for PresetSettings {
    fn default() -> Self {
        Self {
            seeds: vec![1],
            capacity: 120_000,
            policy_seed: 0,
            policies: vec![
                PolicyConfig::Aggressive { watermark: 0.99 },
                PolicyConfig::Conservative,
                PolicyConfig::Oracle,
                PolicyConfig::PastFuture(PastFutureConfig::paper()),
                // A round comes every ten steps here, and after each in service.
                PolicyConfig::Forecast(ForecastConfig { bounded: false, keep_rounds: 4, ..ForecastConfig::default() }),
            ],
        }
    }
}

/// One policy on one workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PresetRow {
    /// Name of the policy.
    pub policy: &'static str,
    /// Name of the workload: dist-1 to dist-3.
    pub workload: &'static str,
    /// Seed of the workload.
    pub seed: u64,
    /// Decode steps until the last request was taken from the workload.
    pub decode_steps: u64,
    /// How often a running request went back to the queue.
    pub evictions: u64,
    /// Requests that ended by then.
    pub finished: u64,
    /// Evictions in percent of the finished requests.
    pub evicted_percent: f64,
    /// Mean of what was held, in percent of the capacity.
    pub mean_kv_utilization: f64,
    /// What the replay itself took.
    pub wall_seconds: f64,
}

/// A policy by name, with the settings that it has in the paper where it is in there.
///
/// [`Error::InvalidConfig`] if there is no such policy.
pub fn preset_policy(name: &str) -> Result<PolicyConfig> {
    let paper = PresetSettings::default().policies.into_iter().find(|policy| policy.name() == name);
    paper.map_or_else(|| PolicyConfig::from_name(name), Ok)
}

/// Replays all: rows by policy, then workload, then seed.
///
/// [`Error::InvalidConfig`] if a setting is out of its range, or the capacity too small for a policy and a workload.
pub fn run_preset(settings: &PresetSettings) -> Result<Vec<PresetRow>> {
    let capacity = settings.capacity;
    let wrong = |reason| Error::InvalidConfig { setting: "capacity", reason };
    if !(1..=LARGEST_CAPACITY).contains(&capacity) {
        return Err(wrong(format!("is {capacity}: it must be from 1 to {LARGEST_CAPACITY} tokens")));
    }
    let mut rows = Vec::new();
    for policy in &settings.policies {
        policy.validate()?;
        for (distribution, number) in DISTRIBUTIONS.iter().zip(1..) {
            for &seed in &settings.seeds {
                let begin = Instant::now();
                let workload = distribution.draw(number, seed);
                let Some(figures) = Replay::new(&workload, capacity, *policy, settings.policy_seed).run() else {
                    let (policy, workload) = (policy.name(), distribution.name);
                    return Err(wrong(format!(
                        "is {capacity}: {policy} does not get through {workload} of seed {seed} with so few tokens"
                    )));
                };
                rows.push(PresetRow {
                    policy: policy.name(),
                    workload: distribution.name,
                    seed,
                    decode_steps: figures.decode_steps,
                    evictions: figures.evictions,
                    finished: figures.finished,
                    evicted_percent: 100.0 * figures.evictions as f64 / figures.finished.max(1) as f64,
                    mean_kv_utilization: 100.0 * figures.mean_held / capacity as f64,
                    wall_seconds: begin.elapsed().as_secs_f64(),
                });
            }
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(settings: &PresetSettings) -> Vec<(&'static str, &'static str, u64, u64)> {
        let rows = run_preset(settings).expect("the settings are valid");
        rows.iter().map(|row| (row.policy, row.workload, row.decode_steps, row.evictions)).collect()
    }

    #[test]
    fn policies_that_draw_nothing_take_exactly_the_published_steps() {
        let policies = ["aggressive", "conservative", "oracle"];
        let policies = policies.map(|name| preset_policy(name).expect("a policy")).to_vec();
        let expected = [
            ("aggressive", "dist-1", 284_390, 2_834),
            ("aggressive", "dist-2", 611_670, 2_885),
            ("aggressive", "dist-3", 230_890, 1_058),
            ("conservative", "dist-1", 486_940, 0),
            ("conservative", "dist-2", 837_290, 0),
            ("conservative", "dist-3", 381_070, 0),
            ("oracle", "dist-1", 295_700, 0),
            ("oracle", "dist-2", 651_730, 0),
            ("oracle", "dist-3", 234_540, 0),
        ];
        assert_eq!(rows(&PresetSettings { policies, ..PresetSettings::default() }), expected);
    }

    #[test]
    fn past_future_is_where_it_was_measured() {
        let policies = vec![preset_policy("past_future").expect("a policy")];
        let rows = run_preset(&PresetSettings { policies, ..PresetSettings::default() }).expect("valid");
        for (row, (steps, evicted)) in rows.iter().zip([(299_950.0, 7.8), (651_900.0, 7.1), (239_750.0, 3.2)]) {
            let off = row.decode_steps as f64 / steps - 1.0;
            assert!(off.abs() < 0.012 && (row.evicted_percent - evicted).abs() < 2.5, "{row:?}");
        }
    }

    #[test]
    fn forecast_takes_fewer_steps_at_fewer_evictions() {
        let policies = ["past_future", "forecast"].map(|name| preset_policy(name).expect("a policy")).to_vec();
        let rows = run_preset(&PresetSettings { policies, seeds: vec![1, 2], ..PresetSettings::default() });
        let rows = rows.expect("valid");
        let of = |policy| {
            let rows = rows.iter().filter(|row| row.policy == policy);
            rows.fold((0, 0), |(steps, evictions), row| (steps + row.decode_steps, evictions + row.evictions))
        };
        let (past_future, forecast) = (of("past_future"), of("forecast"));
        assert!(forecast.0 < past_future.0 && forecast.1 < past_future.1, "{forecast:?} {past_future:?}");
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let none = PresetSettings { capacity: 0, ..PresetSettings::default() };
        let error = run_preset(&none).expect_err("too small").to_string();
        assert_eq!(error, "capacity: is 0: it must be from 1 to 1099511627776 tokens");
        let policies = vec![PolicyConfig::Aggressive { watermark: 2.0 }];
        assert!(run_preset(&PresetSettings { policies, ..PresetSettings::default() }).is_err());
        assert!(preset_policy("fifo").is_err());
    }

    #[test]
    fn a_pool_is_large_enough_where_the_longest_request_gets_through() {
        let policies = ["oracle", "past_future"].map(|name| preset_policy(name).expect("a policy")).to_vec();
        let settings = PresetSettings { capacity: 10_600, policies, ..PresetSettings::default() };
        assert!(run_preset(&settings).expect("enough").iter().all(|row| row.finished > 2_900));
        // The longest prompts and 4,096 tokens are more.
        let small = PresetSettings { capacity: 9_000, ..PresetSettings::default() };
        let error = run_preset(&small).expect_err("too small").to_string();
        let expected = "capacity: is 9000: conservative does not get through dist-2 of seed 1 with so few tokens";
        assert_eq!(error, expected);
        for policy in PresetSettings::default().policies {
            let tiny = PresetSettings { capacity: 1, policies: vec![policy], ..PresetSettings::default() };
            assert!(run_preset(&tiny).expect_err("too small").to_string().contains(policy.name()));
        }
    }
}
