use lightllm_router::{OrderConfig, PolicyConfig, SchedulerConfig};
use lightllm_wire::Scheduling;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as Unknown, StrDeserializer};

use crate::ranks::Capacity;
use crate::{Error, Result};

/// The settings of the scheduler, from what the operator wants and what the backend can hold.
pub fn scheduler_config(wanted: &Scheduling, capacity: Capacity) -> Result<SchedulerConfig> {
    let mut policy = PolicyConfig::from_name(&wanted.policy)?;
    for (parameter, value) in &wanted.policy_parameters {
        policy = policy.with(parameter, *value)?;
    }
    Ok(SchedulerConfig {
        pages: capacity.pages,
        page_size: capacity.page_size,
        slots: capacity.slots,
        context: capacity.context,
        step_tokens: wanted.step_tokens.max(capacity.slots),
        step_ns: wanted.max_step_us.saturating_mul(1000),
        plan_lead_ns: wanted.plan_lead_us.saturating_mul(1000),
        balance_tokens: wanted.balance_tokens,
        prefill_chunk: wanted.prefill_chunk,
        queue_requests: wanted.queue_requests as usize,
        queue_tokens: wanted.queue_tokens.max(u64::from(capacity.context)),
        prefix_cache: wanted.prefix_cache,
        mode: named("mode", &wanted.mode)?,
        max_wait_tokens: wanted.max_wait_tokens,
        policy,
        order: OrderConfig {
            priority_age_ns: wanted.priority_age_us.saturating_mul(1000),
            tenant_quantum: wanted.tenant_quantum,
            ttft_target_ns: wanted.ttft_target_us.saturating_mul(1000),
            refuse_late: wanted.refuse_late,
            bypass_limit: wanted.bypass_limit,
            group_tokens: wanted.group_tokens,
        },
        eviction: named("eviction", &wanted.eviction)?,
        seed: wanted.seed,
        debug_checks: wanted.debug_checks,
        ..SchedulerConfig::default()
    })
}

/// The value of an enumeration that has this name.
fn named<'de, T: Deserialize<'de>>(setting: &'static str, name: &'de str) -> Result<T> {
    let name: StrDeserializer<'de, Unknown> = name.into_deserializer();
    T::deserialize(name).map_err(|error| Error::Setting { setting, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use lightllm_router::ScheduleMode;

    use super::*;

    const CAPACITY: Capacity =
        Capacity { pages: 100, page_size: 16, slots: 8, vocab: 1000, context: 512, images: false };

    fn wanted() -> Scheduling {
        Scheduling {
            step_tokens: 4,
            prefill_chunk: 4,
            max_step_us: 80_000,
            plan_lead_us: 2500,
            balance_tokens: 1024,
            queue_requests: 10,
            queue_tokens: 100,
            prefix_cache: true,
            mode: "decode_first".to_owned(),
            max_wait_tokens: 3,
            policy: "past_future".to_owned(),
            policy_parameters: vec![("reserve".to_owned(), 0.25)],
            priority_age_us: 5,
            tenant_quantum: 7,
            ttft_target_us: 9,
            refuse_late: true,
            bypass_limit: 11,
            group_tokens: 13,
            eviction: "lru".to_owned(),
            seed: 17,
            debug_checks: false,
        }
    }

    #[test]
    fn what_is_wanted_arrives() {
        let config = scheduler_config(&wanted(), CAPACITY).expect("all is known");
        assert_eq!(config.validate(), Ok(()), "the backend's slots and context raise what is too low");
        assert_eq!((config.mode, config.max_wait_tokens), (ScheduleMode::DecodeFirst, 3));
        assert_eq!(
            config.policy,
            PolicyConfig::from_name("past_future").and_then(|p| p.with("reserve", 0.25)).expect("known")
        );
        let order = config.order;
        assert_eq!((order.priority_age_ns, order.ttft_target_ns, order.refuse_late), (5000, 9000, true));
        assert_eq!((order.tenant_quantum, order.bypass_limit, order.group_tokens), (7, 11, 13));
        assert_eq!((config.step_ns, config.plan_lead_ns, config.balance_tokens), (80_000_000, 2_500_000, 1024));
        assert_eq!(config.seed, 17);
    }

    #[test]
    fn what_is_not_known_is_named() {
        let cases = [
            (Scheduling { mode: "fifo".to_owned(), ..wanted() }, "mode"),
            (Scheduling { eviction: "fifo".to_owned(), ..wanted() }, "eviction"),
            (Scheduling { policy: "fifo".to_owned(), ..wanted() }, "policy"),
            (Scheduling { policy_parameters: vec![("fifo".to_owned(), 1.0)], ..wanted() }, "fifo"),
            (Scheduling { policy_parameters: vec![("reserve".to_owned(), 2.0)], ..wanted() }, "reserve"),
        ];
        for (wanted, name) in cases {
            let error = scheduler_config(&wanted, CAPACITY).expect_err(name).to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
