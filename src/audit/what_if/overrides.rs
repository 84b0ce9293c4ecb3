//! The other limits: a TOML file of `session.*`, `limits.*` and `renewal.*` settings, as a server's own.

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use tenure_core::{
    Policy, Position, Seconds,
    policy::{AT_MOST, OnLimit, OnReuse},
};

/// The settings to change; those left out stay as recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyOverrides {
    numbers: BTreeMap<&'static str, u32>,
    words: BTreeMap<&'static str, &'static str>,
}

/// Why a text is not a valid policy: all its faults, each with the setting's name and what is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongPolicy(Vec<String>);

impl fmt::Display for WrongPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for WrongPolicy {}

/// What a setting may be.
#[derive(Clone, Copy, Debug)]
enum AllowedValue {
    /// A number from the one to the other.
    Number(u32, u32),
    /// One of these words.
    Word(&'static [&'static str]),
}

const ON_LIMIT: AllowedValue = AllowedValue::Word(&["reject", "evict_oldest"]);

/// The ranges are those of a server's settings.
const SETTINGS: [(&str, AllowedValue); 13] = [
    ("session.ttl", AllowedValue::Number(300, 604_800)),
    ("session.ttl_max", AllowedValue::Number(300, 604_800)),
    ("session.max_renewals", AllowedValue::Number(0, 100)),
    ("session.max_renewals_max", AllowedValue::Number(0, 100)),
    ("session.absolute_lifetime", AllowedValue::Number(86_400, 7_776_000)),
    ("session.renewal_reject_window", AllowedValue::Number(300, 86_400)),
    ("session.idle_timeout", AllowedValue::Number(60, 86_400)),
    ("limits.per_subject", AllowedValue::Number(1, 10_000)),
    ("limits.per_device", AllowedValue::Number(1, 10_000)),
    ("limits.on_limit", ON_LIMIT),
    ("limits.on_device_limit", ON_LIMIT),
    ("renewal.on_reuse", AllowedValue::Word(&["reject", "revoke"])),
    ("renewal.reuse_grace", AllowedValue::Number(0, 120)),
];

/// A setting that can be other than it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplaceableSetting {
    /// Its name.
    pub name: &'static str,
    /// What it may be, in words.
    pub range: String,
    /// Those that it may be, if it is one of some words.
    pub words: &'static [&'static str],
}

impl ReplaceableSetting {
    fn of((name, fit): (&'static str, AllowedValue)) -> Self {
        match fit {
            AllowedValue::Number(least, most) => {
                Self { name, range: format!("{least} to {most}"), words: &[] }
            }
            AllowedValue::Word(words) => Self { name, range: words.join(" or "), words },
        }
    }
}

impl PolicyOverrides {
    /// Every setting that can be other than it was.
    pub fn settings() -> impl Iterator<Item = ReplaceableSetting> {
        SETTINGS.into_iter().map(ReplaceableSetting::of)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`WrongPolicy`]: every fault, with the setting's name, and what would be right.
    pub fn parse(text: &str) -> Result<Self, WrongPolicy> {
        let table = DeTable::parse(text).map_err(|error| malformed(text, &error))?;
        let (mut parsed, mut faults) = (Self::default(), Vec::new());
        for entry in entries("", table.get_ref()) {
            if let Err(why) = parsed.take(&entry) {
                let line = 1 + text[..entry.at].matches('\n').count();
                faults.push(format!("line {line}: {why}"));
            }
        }
        if faults.is_empty() { Ok(parsed) } else { Err(WrongPolicy(faults)) }
    }

    fn take(&mut self, entry: &OverrideEntry<'_>) -> Result<(), String> {
        let found = SETTINGS.into_iter().find(|(name, _)| *name == entry.name);
        let (name, fit) = found.ok_or_else(|| unknown(&entry.name))?;
        match fit {
            AllowedValue::Number(least, most) => {
                let number = number(entry.value)
                    .or_else(|| seconds(name, entry.value))
                    .filter(|number| (least..=most).contains(number));
                let number = number.ok_or_else(|| {
                    format!("{name}: must be from {least} to {most}, not {}", values(entry.value))
                })?;
                self.numbers.insert(name, number);
            }
            AllowedValue::Word(words) => {
                let word = entry.value.as_str().and_then(|word| words.iter().find(|known| **known == word));
                let word = word.ok_or_else(|| {
                    format!("{name}: must be {}, not {}", words.join(" or "), values(entry.value))
                })?;
                self.words.insert(name, word);
            }
        }
        Ok(())
    }

    /// What no server would start with, if these are put in the place of limits that were recorded.
    pub(super) fn contradiction(&self, recorded: &Policy, position: Position) -> Option<WrongPolicy> {
        let policy = self.over(recorded);
        let value = |name: &str| match name {
            "session.ttl" => policy.ttl.0,
            "session.ttl_max" => policy.ttl_max.0,
            "session.absolute_lifetime" => policy.absolute_lifetime.0,
            "session.max_renewals" => policy.max_renewals,
            _ => policy.max_renewals_max,
        };
        let is_given = |name: &str| self.numbers.contains_key(name);
        let source = |name: &str| {
            let recorded = || format!(" (as recorded at position {position}; give it, too)");
            if is_given(name) { String::new() } else { recorded() }
        };
        let contradicts =
            |(name, bound): &(&str, &str)| (is_given(name) || is_given(bound)) && value(name) > value(bound);
        AT_MOST.into_iter().find(contradicts).map(|(name, bound)| {
            let (value, most) = (value(name), value(bound));
            let why =
                format!("{name} = {value}{}: must be at most {bound}, {most}{}", source(name), source(bound));
            WrongPolicy(vec![why])
        })
    }

    /// The limits that were recorded, with these in their place.
    pub(super) fn over(&self, recorded: &Policy) -> Policy {
        let number = |name: &str, recorded: u32| self.numbers.get(name).copied().unwrap_or(recorded);
        let seconds = |name: &str, recorded: Seconds| Seconds(number(name, recorded.0));
        let idle = self.numbers.get("session.idle_timeout").copied().map(Seconds);
        Policy {
            ttl: seconds("session.ttl", recorded.ttl),
            ttl_max: seconds("session.ttl_max", recorded.ttl_max),
            max_renewals: number("session.max_renewals", recorded.max_renewals),
            max_renewals_max: number("session.max_renewals_max", recorded.max_renewals_max),
            absolute_lifetime: seconds("session.absolute_lifetime", recorded.absolute_lifetime),
            renewal_reject_window: seconds("session.renewal_reject_window", recorded.renewal_reject_window),
            idle_timeout: idle.or(recorded.idle_timeout),
            per_subject: number("limits.per_subject", recorded.per_subject),
            per_device: number("limits.per_device", recorded.per_device),
            on_limit: self.on_limit("limits.on_limit").unwrap_or(recorded.on_limit),
            on_device_limit: self.on_limit("limits.on_device_limit").unwrap_or(recorded.on_device_limit),
            on_reuse: self.on_reuse().unwrap_or(recorded.on_reuse),
            reuse_grace: seconds("renewal.reuse_grace", recorded.reuse_grace),
            ..recorded.clone()
        }
    }

    fn on_limit(&self, name: &str) -> Option<OnLimit> {
        let word = *self.words.get(name)?;
        Some(if word == "evict_oldest" { OnLimit::EvictOldest } else { OnLimit::Reject })
    }

    fn on_reuse(&self) -> Option<OnReuse> {
        let word = *self.words.get("renewal.on_reuse")?;
        Some(if word == "revoke" { OnReuse::Revoke } else { OnReuse::Reject })
    }

    /// The settings with their values.
    pub(super) fn values(&self) -> BTreeMap<String, Value> {
        let numbers = self.numbers.iter().map(|(name, number)| ((*name).to_owned(), json!(number)));
        let words = self.words.iter().map(|(name, word)| ((*name).to_owned(), json!(word)));
        numbers.chain(words).collect()
    }
}

/// A setting as it was written, and where.
struct OverrideEntry<'t> {
    name: String,
    value: &'t DeValue<'t>,
    at: usize,
}

/// The settings of a table and of those in it; an empty table is none.
fn entries<'t>(prefix: &str, table: &'t DeTable<'t>) -> Vec<OverrideEntry<'t>> {
    let mut found = Vec::new();
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        let value = value.get_ref();
        if let Some(inner) = value.as_table().filter(|inner| !inner.is_empty()) {
            found.extend(entries(&format!("{name}."), inner));
        } else if !(value.is_table() && SECTIONS.contains(&name.as_str())) {
            found.push(OverrideEntry { name, value, at: key.span().start });
        }
    }
    found.sort_by_key(|entry| entry.at);
    found
}

const SECTIONS: [&str; 3] = ["session", "limits", "renewal"];

fn unknown(name: &str) -> String {
    let (section, field) = name.split_once('.').unwrap_or((name, name));
    let known = SETTINGS.iter().filter_map(|(name, _)| name.strip_prefix(section)?.strip_prefix('.'));
    let known: Vec<_> = known.collect();
    if known.is_empty() {
        format!("unknown section `{section}`: there are {}", SECTIONS.join(", "))
    } else {
        format!("unknown field `{field}` of `{section}`: there are {}", known.join(", "))
    }
}

fn number(value: &DeValue<'_>) -> Option<u32> {
    let DeValue::Integer(integer) = value else { return None };
    u32::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// Settings in seconds are also taken as a duration, as a server takes them.
fn seconds(name: &str, value: &DeValue<'_>) -> Option<u32> {
    const IN_SECONDS: [&str; 6] = [
        "session.ttl",
        "session.ttl_max",
        "session.absolute_lifetime",
        "session.renewal_reject_window",
        "session.idle_timeout",
        "renewal.reuse_grace",
    ];
    let text = value.as_str().filter(|_| IN_SECONDS.contains(&name))?;
    text.parse::<Seconds>().ok().map(|seconds| seconds.0)
}

/// What was written, in a few words.
fn values(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(moment) => moment.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// In one line: the parser's own words draw the place in several.
fn malformed(text: &str, error: &toml::de::Error) -> WrongPolicy {
    let line = error.span().map(|span| 1 + text[..span.start].matches('\n').count());
    let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
    WrongPolicy(vec![format!("{place}{}", error.message().replace('\n', "; "))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stays_as_it_was_recorded() {
        let overrides =
            PolicyOverrides::parse("[session]\nttl = 600\n[renewal]\non_reuse = 'revoke'\n").unwrap();
        let policy = overrides.over(&Policy::default());
        assert_eq!(policy, Policy { ttl: Seconds(600), on_reuse: OnReuse::Revoke, ..Policy::default() });
        assert_eq!(overrides.values().into_keys().collect::<Vec<_>>(), ["renewal.on_reuse", "session.ttl"]);
        assert_eq!(PolicyOverrides::parse("").unwrap().over(&Policy::default()), Policy::default());
    }

    #[test]
    fn what_no_server_would_take_is_refused_by_its_name() {
        for (text, said) in [
            ("session.ttl = 1", "session.ttl: must be from 300"),
            ("session.ttl = \"1s\"", "session.ttl: must be from 300"),
            ("limits.per_subject = \"1h\"", "limits.per_subject: must be from 1"),
            ("session.tll = 600", "tll"),
            ("server.listen = 'x'", "server"),
            ("limits.on_limit = 'explode'", "explode"),
            ("[session]\nttl = 600\nttl_mx = 9", "line 3: unknown field `ttl_mx`"),
            ("[session]\nttl = 'soon'", "line 2: "),
            ("[session\n", "line 1: "),
        ] {
            let error = PolicyOverrides::parse(text).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains('\n'), "{text}: {error}");
        }
    }

    /// `max_renewals = -7` was answered with `invalid value: integer -7, expected u32`: no setting, no range, and of
    /// several faults the first alone.
    #[test]
    fn every_fault_is_told_at_once_with_its_setting_and_what_is_right() {
        let text = "[session]\nmax_renewals = -7\nttl = 1.5\nidle_timeout = 4294967296\n[limits]\nper_subject = true\n\
                    on_limit = 3\n[renewal]\non_reuse = 'explode'\non_use = 1\n[server]\n";
        let error = PolicyOverrides::parse(text).unwrap_err().to_string();
        assert_eq!(
            error.split("; ").collect::<Vec<_>>(),
            [
                "line 2: session.max_renewals: must be from 0 to 100, not -7",
                "line 3: session.ttl: must be from 300 to 604800, not 1.5",
                "line 4: session.idle_timeout: must be from 60 to 86400, not 4294967296",
                "line 6: limits.per_subject: must be from 1 to 10000, not true",
                "line 7: limits.on_limit: must be reject or evict_oldest, not 3",
                "line 9: renewal.on_reuse: must be reject or revoke, not \"explode\"",
                "line 10: unknown field `on_use` of `renewal`: there are on_reuse, reuse_grace",
                "line 11: unknown section `server`: there are session, limits, renewal",
            ]
        );
    }

    #[test]
    fn every_setting_is_obeyed_at_both_ends_of_its_range_and_refused_beyond() {
        for (name, fit) in SETTINGS {
            let AllowedValue::Number(least, most) = fit else { continue };
            for (given, is_right) in [
                (i64::from(least), true),
                (i64::from(most), true),
                (i64::from(least) - 1, false),
                (i64::from(most) + 1, false),
            ] {
                let parsed = PolicyOverrides::parse(&format!("{name} = {given}\n"));
                let told = parsed.as_ref().map(|parsed| parsed.values()[name].clone());
                assert_eq!(told.ok(), is_right.then(|| json!(given)), "{name} = {given}");
                let range = format!("{name}: must be from {least} to {most}, not {given}");
                assert!(parsed.err().is_none_or(|error| error.to_string().contains(&range)), "{name}");
            }
        }
    }
}
