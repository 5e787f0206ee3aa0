//! The scheduler's settings as they are written in a setup.

use lightllm_router::{PolicyConfig, SchedulerConfig};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// What a server with a model of 8B parameters in bf16 with grouped queries has on a GPU of 80 GB; but for that, the
/// scheduler's own defaults.
pub(crate) fn default_config() -> SchedulerConfig {
    SchedulerConfig { pages: 28_672, context: 131_072, ..SchedulerConfig::default() }
}

/// Reads the settings that are given over the default ones. A policy may be a name alone, or an object with `name`
/// and those parameters that differ from its defaults.
pub(crate) fn read_config<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SchedulerConfig, D::Error> {
    let mut given = Map::deserialize(deserializer)?;
    if let Some(policy) = given.remove("policy") {
        let policy = read_policy(policy).map_err(D::Error::custom)?;
        given.insert("policy".to_owned(), serde_json::to_value(policy).map_err(D::Error::custom)?);
    }
    let Value::Object(mut all) = serde_json::to_value(default_config()).map_err(D::Error::custom)? else {
        unreachable!("a struct is an object");
    };
    all.extend(given);
    serde_path_to_error::deserialize(Value::Object(all)).map_err(|error| {
        let path = error.path().to_string();
        let dot = if path == "." { "" } else { "." };
        D::Error::custom(format!("scheduler{dot}{}: {}", path.trim_matches('.'), error.inner()))
    })
}

fn read_policy(policy: Value) -> Result<PolicyConfig, String> {
    let (name, parameters) = match policy {
        Value::String(name) => (name, Map::new()),
        Value::Object(mut object) => match object.remove("name") {
            Some(Value::String(name)) => (name, object),
            _ => return Err("scheduler.policy: an object must have a name".to_owned()),
        },
        _ => return Err("scheduler.policy: give a name, or an object with a name and parameters".to_owned()),
    };
    let mut policy = PolicyConfig::from_name(&name).map_err(|error| format!("scheduler.{error}"))?;
    for (parameter, value) in parameters {
        let value = match value {
            Value::Bool(on) => f64::from(u8::from(on)),
            value => value.as_f64().ok_or_else(|| format!("scheduler.policy.{parameter}: must be a number"))?,
        };
        policy = policy.with(&parameter, value).map_err(|error| format!("scheduler.{error}"))?;
    }
    Ok(policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &Value) -> SchedulerConfig {
        read_config(settings.clone()).expect("the settings can be read")
    }

    #[test]
    fn what_is_written_is_read() {
        for name in PolicyConfig::NAMES {
            let policy = PolicyConfig::from_name(name).expect("a listed name");
            let config = SchedulerConfig { pages: 5, policy, ..default_config() };
            assert_eq!(read(&serde_json::to_value(config).expect("plain data")), config);
        }
    }

    #[test]
    fn what_is_left_out_is_as_it_was() {
        assert_eq!(read(&serde_json::json!({})), default_config());
        let some = read(&serde_json::json!({"slots": 7, "order": {"bypass_limit": 3}, "policy": "ema"}));
        assert_eq!((some.slots, some.order.bypass_limit, some.policy.name()), (7, 3, "ema"));
        assert_eq!(some.order.tenant_quantum, default_config().order.tenant_quantum);
        assert_eq!(some.pages, default_config().pages);
        let policy = read(&serde_json::json!({"policy": {"name": "past_future", "reserve": 0.1}})).policy;
        assert_eq!(
            policy,
            PolicyConfig::from_name("past_future").and_then(|it| it.with("reserve", 0.1)).expect("known")
        );
    }
}
