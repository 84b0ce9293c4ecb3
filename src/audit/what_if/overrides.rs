//! The other limits: a TOML file of `session.*`, `limits.*` and `renewal.*` settings, as a server's own.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::{
    Policy, Seconds,
    policy::{OnLimit, OnReuse},
};

/// The settings that shall be other than they were; those left out stay as they were recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    session: SessionSettings,
    limits: LimitSettings,
    renewal: RenewalSettings,
}

/// Why a text is no policy to ask about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongPolicy {
    /// It is no TOML of these settings.
    #[error("{0}")]
    Malformed(String),
    /// A value is out of its range.
    #[error("{name}: must be from {least} to {most}, not {given}")]
    OutOfRange {
        /// Which setting.
        name: &'static str,
        /// The least that it may be.
        least: u32,
        /// The most that it may be.
        most: u32,
        /// What it is.
        given: u32,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SessionSettings {
    ttl: Option<u32>,
    ttl_max: Option<u32>,
    max_renewals: Option<u32>,
    max_renewals_max: Option<u32>,
    absolute_lifetime: Option<u32>,
    renewal_reject_window: Option<u32>,
    idle_timeout: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LimitSettings {
    per_subject: Option<u32>,
    per_device: Option<u32>,
    on_limit: Option<OnLimitWord>,
    on_device_limit: Option<OnLimitWord>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RenewalSettings {
    on_reuse: Option<OnReuseWord>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnLimitWord {
    Reject,
    EvictOldest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnReuseWord {
    Reject,
    Revoke,
}

impl Overrides {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`WrongPolicy`] with the setting's name, and what would be right.
    pub fn parse(text: &str) -> Result<Self, WrongPolicy> {
        let parsed: Self = toml::from_str(text).map_err(|error| malformed(text, &error))?;
        for (name, given, least, most) in parsed.numbers() {
            if let Some(given) = given.filter(|given| !(least..=most).contains(given)) {
                return Err(WrongPolicy::OutOfRange { name, least, most, given });
            }
        }
        Ok(parsed)
    }

    /// The ranges are those of a server's settings.
    const fn numbers(&self) -> [(&'static str, Option<u32>, u32, u32); 9] {
        let Self { session, limits, .. } = self;
        [
            ("session.ttl", session.ttl, 300, 604_800),
            ("session.ttl_max", session.ttl_max, 300, 604_800),
            ("session.max_renewals", session.max_renewals, 0, 100),
            ("session.max_renewals_max", session.max_renewals_max, 0, 100),
            ("session.absolute_lifetime", session.absolute_lifetime, 86_400, 7_776_000),
            ("session.renewal_reject_window", session.renewal_reject_window, 300, 86_400),
            ("session.idle_timeout", session.idle_timeout, 60, 86_400),
            ("limits.per_subject", limits.per_subject, 1, 10_000),
            ("limits.per_device", limits.per_device, 1, 10_000),
        ]
    }

    /// The limits that were recorded, with these in their place.
    pub(super) fn over(&self, recorded: &Policy) -> Policy {
        let Self { session, limits, renewal } = self;
        Policy {
            ttl: session.ttl.map_or(recorded.ttl, Seconds),
            ttl_max: session.ttl_max.map_or(recorded.ttl_max, Seconds),
            max_renewals: session.max_renewals.unwrap_or(recorded.max_renewals),
            max_renewals_max: session.max_renewals_max.unwrap_or(recorded.max_renewals_max),
            absolute_lifetime: session.absolute_lifetime.map_or(recorded.absolute_lifetime, Seconds),
            renewal_reject_window: session
                .renewal_reject_window
                .map_or(recorded.renewal_reject_window, Seconds),
            idle_timeout: session.idle_timeout.map(Seconds).or(recorded.idle_timeout),
            per_subject: limits.per_subject.unwrap_or(recorded.per_subject),
            per_device: limits.per_device.unwrap_or(recorded.per_device),
            on_limit: limits.on_limit.map_or(recorded.on_limit, OnLimitWord::policy),
            on_device_limit: limits.on_device_limit.map_or(recorded.on_device_limit, OnLimitWord::policy),
            on_reuse: renewal.on_reuse.map_or(recorded.on_reuse, OnReuseWord::policy),
            ..recorded.clone()
        }
    }

    /// The settings with their values.
    pub(super) fn told(&self) -> BTreeMap<String, Value> {
        let numbers = self.numbers().map(|(name, given, ..)| (name, given.map(Value::from)));
        let on_limit = |word: OnLimitWord| json!(word.policy());
        let words = [
            ("limits.on_limit", self.limits.on_limit.map(on_limit)),
            ("limits.on_device_limit", self.limits.on_device_limit.map(on_limit)),
            ("renewal.on_reuse", self.renewal.on_reuse.map(|word| json!(word.policy()))),
        ];
        let all = numbers.into_iter().chain(words);
        all.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

/// In one line: the parser's own words draw the place in several.
fn malformed(text: &str, error: &toml::de::Error) -> WrongPolicy {
    let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
    let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
    WrongPolicy::Malformed(format!("{place}{}", error.message().replace('\n', "; ")))
}

impl OnLimitWord {
    const fn policy(self) -> OnLimit {
        match self {
            Self::Reject => OnLimit::Reject,
            Self::EvictOldest => OnLimit::EvictOldest,
        }
    }
}

impl OnReuseWord {
    const fn policy(self) -> OnReuse {
        match self {
            Self::Reject => OnReuse::Reject,
            Self::Revoke => OnReuse::Revoke,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stays_as_it_was_recorded() {
        let overrides = Overrides::parse("[session]\nttl = 600\n[renewal]\non_reuse = 'revoke'\n").unwrap();
        let policy = overrides.over(&Policy::default());
        assert_eq!(policy, Policy { ttl: Seconds(600), on_reuse: OnReuse::Revoke, ..Policy::default() });
        assert_eq!(overrides.told().into_keys().collect::<Vec<_>>(), ["renewal.on_reuse", "session.ttl"]);
        assert_eq!(Overrides::parse("").unwrap().over(&Policy::default()), Policy::default());
    }

    #[test]
    fn what_no_server_would_take_is_refused_by_its_name() {
        for (text, said) in [
            ("session.ttl = 1", "session.ttl: must be from 300"),
            ("session.tll = 600", "tll"),
            ("server.listen = 'x'", "server"),
            ("limits.on_limit = 'explode'", "explode"),
            ("[session]\nttl = 600\nttl_mx = 9", "line 3: unknown field `ttl_mx`"),
            ("[session]\nttl = 'soon'", "line 2: "),
            ("[session\n", "line 1: "),
        ] {
            let error = Overrides::parse(text).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
