//! Policies on the workloads of the Past-Future paper, each paired with the first one over the same seeds.
//!
//! `cargo run --release -p lightllm-simulator --example admission_study -- FIRST_SEED..LAST_SEED POLICY[:parameter=value[,..]]..`

#![allow(clippy::print_stdout, reason = "figures are printed")]

use std::error::Error;

use lightllm_router::PolicyConfig;
use lightllm_simulator::{PresetRow, PresetSettings, preset_policy, run_preset};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let seeds = arguments.next().ok_or("give FIRST_SEED..LAST_SEED, then policies")?;
    let (begin, end) = seeds.split_once("..").ok_or("seeds are FIRST..LAST")?;
    let (begin, end): (u64, u64) = (begin.parse()?, end.parse()?);
    let seeds = end - begin + 1;
    let specifications: Vec<String> = arguments.collect();
    let mut first: Option<Vec<PresetRow>> = None;
    println!(
        "| policy | workload | decode steps | evicted % | memory % | steps to the first, % | evicted to the first, points |"
    );
    println!("|---|---|---|---|---|---|---|");
    for specification in &specifications {
        let settings = PresetSettings {
            seeds: (begin..=end).collect(),
            policies: vec![read(specification)?],
            policy_seed: begin,
            ..PresetSettings::default()
        };
        let rows = run_preset(&settings)?;
        let first = first.get_or_insert_with(|| rows.clone());
        for (rows, first) in rows.chunks(seeds as usize).zip(first.chunks(seeds as usize)) {
            let pairs = || rows.iter().zip(first);
            let steps = pairs().map(|(row, other)| 100.0 * (row.decode_steps as f64 / other.decode_steps as f64 - 1.0));
            let evicted = pairs().map(|(row, other)| row.evicted_percent - other.evicted_percent);
            println!(
                "| {specification} | {} | {:.0} | {:.2} | {:.2} | {} | {} |",
                rows[0].workload,
                rows.iter().map(|row| row.decode_steps as f64).sum::<f64>() / seeds as f64,
                rows.iter().map(|row| row.evicted_percent).sum::<f64>() / seeds as f64,
                rows.iter().map(|row| row.mean_kv_utilization).sum::<f64>() / seeds as f64,
                interval(&steps.collect::<Vec<_>>()),
                interval(&evicted.collect::<Vec<_>>()),
            );
        }
    }
    Ok(())
}

fn read(specification: &str) -> Result<PolicyConfig, Box<dyn Error>> {
    let (name, parameters) = specification.split_once(':').unwrap_or((specification, ""));
    let mut policy = preset_policy(name)?;
    for parameter in parameters.split(',').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or("parameters are name=value")?;
        policy = policy.with(name, value.parse()?)?;
    }
    Ok(policy)
}

/// Mean and half of the 95 % interval of Student's t.
fn interval(values: &[f64]) -> String {
    // Quantiles for 1 to 30 degrees of freedom; beyond, 1.96 is near.
    const T: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    if values.len() < 2 {
        return format!("{mean:+.2}");
    }
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (count - 1.0);
    let quantile = T.get(values.len() - 2).copied().unwrap_or(1.96);
    format!("{mean:+.2} ± {:.2}", quantile * (variance / count).sqrt())
}
