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
    serde_json::from_value(Value::Object(all)).map_err(|error| D::Error::custom(format!("scheduler: {error}")))
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
