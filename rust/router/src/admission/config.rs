//! Settings of the policies, by name.

use super::{AdmissionPolicy, Aggressive, Conservative, Ema, Forecast, Oracle, PastFuture};
use crate::error::{Error, Result};

/// Which policy, and its settings.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum PolicyConfig {
    /// See [`Conservative`].
    Conservative,
    /// See [`Aggressive`].
    Aggressive {
        /// Part of the KV cache that may be held when a request is admitted, above 0 and at most 1.
        watermark: f64,
    },
    /// See [`Ema`].
    Ema {
        /// Part of the KV cache that is held when the server begins to be busy, from 0 to 1.
        token_ratio: f64,
    },
    /// See [`PastFuture`].
    PastFuture(PastFutureConfig),
    /// See [`Oracle`].
    Oracle,
    /// See [`Forecast`].
    Forecast(ForecastConfig),
}

/// Settings of [`PastFuture`].
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PastFutureConfig {
    /// Finished lengths that are remembered, at least 1.
    pub window: u32,
    /// Lengths in the window before any is known, at most `window`.
    pub prior: u32,
    /// Each of those, in tokens.
    pub prior_length: u32,
    /// Part of the capacity that the peak must leave free, at least 0 and less than 1.
    pub reserve: f64,
    /// Futures that are drawn at most, from 1 to 64; fewer if many requests run.
    pub futures: u32,
    /// Rounds until a request's lengths are drawn anew, at least 1. The paper draws in each round.
    pub keep_rounds: u32,
    /// No output gets longer than it is allowed. In the paper's replay that limit is only an estimate.
    pub bounded: bool,
}

impl Default for PastFutureConfig {
    fn default() -> Self {
        Self { window: 1000, prior: 500, prior_length: 512, reserve: 0.03, futures: 5, keep_rounds: 16, bounded: true }
    }
}

impl PastFutureConfig {
    /// As in the replay of the paper's artifact.
    pub fn paper() -> Self {
        Self { keep_rounds: 1, bounded: false, ..Self::default() }
    }
}

/// Settings of [`Forecast`].
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each tells requests apart by one thing more")]
pub struct ForecastConfig {
    /// Finished lengths that are remembered, of all requests and of each kind; at least 1.
    pub window: u32,
    /// Futures that are drawn at most, from 1 to 256, rounded down to a power of two; fewer if many requests run.
    pub futures: u32,
    /// Rounds until a request's lengths are drawn anew, at least 1.
    pub keep_rounds: u32,
    /// Part of the capacity that counts as full, from 0 to 0.5.
    pub reserve: f64,
    /// Part of the futures that may overflow at once, from 0 to 1; more may if it is later.
    pub risk: f64,
    /// Steps after which an overflow counts half, at least 1.
    pub near: u32,
    /// Part of the risk that an eviction takes away, from 0 to 0.5. 0: the risk does not follow evictions.
    pub gain: f64,
    /// Evictions for each finished request at which the risk stays, from 0 to 1.
    pub target: f64,
    /// No output gets longer than it is allowed. In the replay of the paper that limit is only an estimate.
    pub bounded: bool,
    /// Requests of different classes differ in length.
    pub by_class: bool,
    /// Requests of different tenants differ in length.
    pub by_tenant: bool,
    /// Requests that may get twice as long differ in length.
    pub by_limit: bool,
    /// Requests whose prompts are twice as long differ in length.
    pub by_prompt: bool,
}

impl Default for ForecastConfig {
    fn default() -> Self {
        Self {
            window: 1000,
            futures: 16,
            keep_rounds: 16,
            reserve: 0.029,
            risk: 0.18,
            near: 300,
            gain: 0.0,
            target: 0.03,
            bounded: true,
            by_class: true,
            by_tenant: false,
            by_limit: false,
            by_prompt: false,
        }
    }
}

/// What won the measurements of docs/admission.md.
impl Default for PolicyConfig {
    fn default() -> Self {
        Self::Forecast(ForecastConfig::default())
    }
}

impl PolicyConfig {
    /// Names of all policies.
    pub const NAMES: [&'static str; 6] = ["conservative", "aggressive", "ema", "past_future", "forecast", "oracle"];

    /// The policy of that name with its default settings. Any other name is [`Error::InvalidConfig`].
    pub fn from_name(name: &str) -> Result<Self> {
        match name {
            "conservative" => Ok(Self::Conservative),
            "aggressive" => Ok(Self::Aggressive { watermark: 0.97 }),
            "ema" => Ok(Self::Ema { token_ratio: 0.85 }),
            "past_future" => Ok(Self::PastFuture(PastFutureConfig::default())),
            "oracle" => Ok(Self::Oracle),
            "forecast" => Ok(Self::Forecast(ForecastConfig::default())),
            _ => {
                let reason = format!("there is no {name:?}: take one of {}", Self::NAMES.join(", "));
                Err(Error::InvalidConfig { setting: "policy", reason })
            }
        }
    }

    /// What [`from_name`](Self::from_name) reads.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conservative => "conservative",
            Self::Aggressive { .. } => "aggressive",
            Self::Ema { .. } => "ema",
            Self::PastFuture(_) => "past_future",
            Self::Oracle => "oracle",
            Self::Forecast(_) => "forecast",
        }
    }

    /// Names and values of its settings; switches are 0 or 1.
    pub fn parameters(&self) -> Vec<(&'static str, f64)> {
        let mut copy = *self;
        copy.settings().into_iter().map(|setting| (setting.name, setting.get())).collect()
    }

    /// The same policy with one setting changed. A name that it has not, or a value out of its range, is
    /// [`Error::InvalidConfig`]. What depends on two settings is checked by [`validate`](Self::validate).
    pub fn with(mut self, parameter: &str, value: f64) -> Result<Self> {
        let policy = self.name();
        let mut settings = self.settings();
        let names: Vec<&str> = settings.iter().map(|setting| setting.name).collect();
        let Some(setting) = settings.iter_mut().find(|setting| setting.name == parameter) else {
            let allowed =
                if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
            let reason = format!("{policy} has no parameter {parameter:?}: {allowed}");
            return Err(Error::InvalidConfig { setting: "policy", reason });
        };
        setting.set(value)?;
        Ok(self)
    }

    /// Checks every range.
    pub fn validate(&self) -> Result<()> {
        let mut copy = *self;
        for setting in copy.settings() {
            setting.check(setting.get())?;
        }
        if let Self::PastFuture(config) = self
            && config.prior > config.window
        {
            let reason = format!("{} lengths do not fit into a window of {}: lower it", config.prior, config.window);
            return Err(Error::InvalidConfig { setting: "prior", reason });
        }
        Ok(())
    }

    /// A new policy with these settings, which must be valid. The same seed and the same calls give the same answers.
    pub fn build(self, seed: u64) -> Box<dyn AdmissionPolicy> {
        match self {
            Self::Conservative => Box::new(Conservative::new()),
            Self::Aggressive { watermark } => Box::new(Aggressive::new(watermark)),
            Self::Ema { token_ratio } => Box::new(Ema::new(token_ratio)),
            Self::PastFuture(config) => Box::new(PastFuture::new(config, seed)),
            Self::Oracle => Box::new(Oracle::new()),
            Self::Forecast(config) => Box::new(Forecast::new(config, seed)),
        }
    }

    fn settings(&mut self) -> Vec<Setting<'_>> {
        match self {
            Self::Conservative | Self::Oracle => Vec::new(),
            Self::Aggressive { watermark } => vec![Setting::part("watermark", watermark)],
            Self::Ema { token_ratio } => vec![Setting::part("token_ratio", token_ratio)],
            Self::PastFuture(config) => vec![
                Setting::count("window", &mut config.window, 1, 1 << 20),
                Setting::count("prior", &mut config.prior, 0, 1 << 20),
                Setting::count("prior_length", &mut config.prior_length, 1, 1 << 24),
                Setting::number("reserve", &mut config.reserve, 0.0, 0.5),
                Setting::count("futures", &mut config.futures, 1, 64),
                Setting::count("keep_rounds", &mut config.keep_rounds, 1, 1 << 20),
                Setting::switch("bounded", &mut config.bounded),
            ],
            Self::Forecast(config) => vec![
                Setting::count("window", &mut config.window, 1, 1 << 20),
                Setting::count("futures", &mut config.futures, 1, 256),
                Setting::count("keep_rounds", &mut config.keep_rounds, 1, 1 << 20),
                Setting::number("reserve", &mut config.reserve, 0.0, 0.5),
                Setting::number("risk", &mut config.risk, 0.0, 1.0),
                Setting::count("near", &mut config.near, 1, 1 << 24),
                Setting::number("gain", &mut config.gain, 0.0, 0.5),
                Setting::number("target", &mut config.target, 0.0, 1.0),
                Setting::switch("bounded", &mut config.bounded),
                Setting::switch("by_class", &mut config.by_class),
                Setting::switch("by_tenant", &mut config.by_tenant),
                Setting::switch("by_limit", &mut config.by_limit),
                Setting::switch("by_prompt", &mut config.by_prompt),
            ],
        }
    }
}

/// One setting: where it is kept, and what it may be.
struct Setting<'a> {
    name: &'static str,
    place: Place<'a>,
    low: f64,
    high: f64,
}

enum Place<'a> {
    Number(&'a mut f64),
    Count(&'a mut u32),
    Switch(&'a mut bool),
}

impl<'a> Setting<'a> {
    fn number(name: &'static str, place: &'a mut f64, low: f64, high: f64) -> Self {
        Self { name, place: Place::Number(place), low, high }
    }

    /// Above 0, or there would be room for nothing.
    fn part(name: &'static str, place: &'a mut f64) -> Self {
        Self::number(name, place, 0.01, 1.0)
    }

    fn count(name: &'static str, place: &'a mut u32, low: u32, high: u32) -> Self {
        Self { name, place: Place::Count(place), low: low.into(), high: high.into() }
    }

    fn switch(name: &'static str, place: &'a mut bool) -> Self {
        Self { name, place: Place::Switch(place), low: 0.0, high: 1.0 }
    }

    fn get(&self) -> f64 {
        match &self.place {
            Place::Number(value) => **value,
            Place::Count(value) => f64::from(**value),
            Place::Switch(value) => f64::from(u8::from(**value)),
        }
    }

    fn set(&mut self, value: f64) -> Result<()> {
        self.check(value)?;
        match &mut self.place {
            Place::Number(place) => **place = value,
            Place::Count(place) => **place = value as u32,
            Place::Switch(place) => **place = value > 0.0,
        }
        Ok(())
    }

    fn check(&self, value: f64) -> Result<()> {
        let whole = !matches!(self.place, Place::Number(_));
        if (self.low..=self.high).contains(&value) && (!whole || value.fract() == 0.0) {
            return Ok(());
        }
        let kind = if whole { "a whole number" } else { "a number" };
        let reason = format!("is {value}: it must be {kind} from {} to {}", self.low, self.high);
        Err(Error::InvalidConfig { setting: self.name, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for name in PolicyConfig::NAMES {
            let config = PolicyConfig::from_name(name).expect("a listed name");
            assert_eq!((config.name(), config.validate()), (name, Ok(())));
        }
        let error = PolicyConfig::from_name("fifo").expect_err("it is none").to_string();
        assert!(error.starts_with("policy: there is no \"fifo\"") && error.contains("past_future"), "{error}");
    }

    #[test]
    fn parameters_rebuild_a_policy() {
        for name in PolicyConfig::NAMES {
            let config = PolicyConfig::from_name(name).expect("a listed name");
            let mut other = config;
            for (parameter, value) in config.parameters() {
                let changed = [0.0, 0.5, 1.0].map(|value| config.with(parameter, value));
                assert!(changed.iter().flatten().any(|changed| *changed != config), "{name} {parameter}");
                other = other.with(parameter, value).expect("its own value");
            }
            assert_eq!(other, config);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let config = PolicyConfig::from_name("past_future").expect("a listed name");
        let cases = [
            ("reserve", -0.1, "reserve: is -0.1: it must be a number from 0 to 0.5"),
            ("reserve", f64::NAN, "reserve: is NaN"),
            ("window", 0.0, "window: is 0: it must be a whole number from 1"),
            ("futures", 1.5, "futures: is 1.5: it must be a whole number"),
            ("watermark", 0.5, "policy: past_future has no parameter \"watermark\": it has window, "),
        ];
        for (parameter, value, expected) in cases {
            let error = config.with(parameter, value).expect_err(expected).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let error = PolicyConfig::Oracle.with("window", 1.0).expect_err("it has none").to_string();
        assert!(error.ends_with("it has none"), "{error}");
        let error =
            config.with("window", 100.0).expect("in range").validate().expect_err("the prior is 500").to_string();
        assert!(error.starts_with("prior: "), "{error}");
    }
}
