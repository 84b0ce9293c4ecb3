//! Where settings come from, and the one path from what was written to what is checked.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf, absolute},
};

use tenure_core::policy::AT_MOST;
use toml::de::{DeTable, DeValue};

use super::{
    Config, SETTINGS, Setting,
    error::{ConfigFault, ConfigFaults, ValueSource},
    value_kind::{RawValue, UnfitValue},
};

/// What was written, unchecked.
#[derive(Clone, Debug, Default)]
pub struct RawConfig {
    /// The settings file's name and text.
    pub file: Option<(PathBuf, String)>,
    /// Variables; those without a setting are left alone.
    pub environment: Vec<(String, String)>,
    /// Flags, in the order in which they were typed.
    pub flags: Vec<ConfigFlag>,
}

/// A flag of the command line that sets a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFlag {
    typed: String,
    name: String,
    value: Option<String>,
}

impl ConfigFlag {
    /// `--set name=value`.
    pub fn set(text: &str) -> Self {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let (name, value) = (name.trim().to_owned(), value.map(|value| value.trim().to_owned()));
        Self { typed: format!("--set {text}"), name, value }
    }

    /// A flag of its own for a setting, such as `--listen` for `server.listen`.
    pub fn of_its_own(flag: &str, name: &str, value: &str) -> Self {
        Self { typed: format!("{flag} {value}"), name: name.to_owned(), value: Some(value.to_owned()) }
    }
}

/// The variables of this process that may be settings. The only place that reads the environment.
pub fn environment() -> Vec<(String, String)> {
    let ours = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let name = name.into_string().ok().filter(|name| name.starts_with("TENURE_"))?;
        Some((name, value.to_string_lossy().into_owned()))
    };
    std::env::vars_os().filter_map(ours).collect()
}

impl RawConfig {
    /// Reads the settings file, when there is one.
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: Vec<ConfigFlag>,
    ) -> Result<Self, ConfigFaults> {
        let read = |path: &Path| match fs::read_to_string(path) {
            Ok(text) => Ok((path.to_owned(), text)),
            Err(error) => Err(ConfigFaults(vec![of_source(
                ValueSource::File(path.to_owned(), None),
                &error.to_string(),
            )])),
        };
        let file = file.map(read).transpose()?;
        Ok(Self { file, environment: environment.into_iter().collect(), flags })
    }

    /// Checks everything and completes it with the defaults; returns all faults at once.
    pub fn check(&self) -> Result<Config, ConfigFaults> {
        let mut checked = CheckedConfig::default();
        if let Some((path, text)) = &self.file {
            checked.take_file(path, text);
        }
        checked.take_environment(&self.environment);
        checked.take_flags(&self.flags);
        checked.compare();
        if checked.faults.is_empty() { Ok(checked.config) } else { Err(ConfigFaults(checked.faults)) }
    }
}

/// What was found right and wrong so far.
#[derive(Default)]
struct CheckedConfig {
    config: Config,
    faults: Vec<ConfigFault>,
    /// The settings among the faults: what their values mean together is not judged.
    wrong: BTreeSet<String>,
}

impl CheckedConfig {
    fn take_file(&mut self, path: &Path, text: &str) {
        let line = |start: usize| Some(1 + text[..start].matches('\n').count());
        match DeTable::parse(text) {
            Err(error) => {
                let line = error.span().and_then(|span| line(span.start));
                self.faults.push(of_source(ValueSource::File(path.to_owned(), line), error.message()));
            }
            Ok(table) => {
                for entry in flatten("", table.get_ref()) {
                    let source = ValueSource::File(path.to_owned(), line(entry.span.start));
                    self.take(&entry.name, &entry.value, &text[entry.span], source);
                }
            }
        }
    }

    /// `TENURE_KEY` and others without `__` are not settings. But a setting's name with one `_` missing was meant as
    /// that setting, and would be ignored silently.
    fn take_environment(&mut self, variables: &[(String, String)]) {
        for (variable, value) in variables {
            let meant = |setting: &&Setting| setting.variable().replace("__", "_") == *variable;
            let source = ValueSource::Environment(variable.clone());
            let Some(rest) = variable.strip_prefix("TENURE_") else { continue };
            if let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == *variable) {
                self.take(setting.name(), &RawValue::Untyped(value.clone()), value, source);
            } else if rest.contains("__") {
                let name = rest.replacen("__", ".", 1).to_lowercase();
                self.blame(&name, value, unknown(&name), source);
            } else if let Some(setting) = SETTINGS.iter().find(meant) {
                self.blame(setting.name(), value, format!("must be written {}", setting.variable()), source);
            }
        }
    }

    fn take_flags(&mut self, flags: &[ConfigFlag]) {
        for flag in flags {
            let source = ValueSource::Flag(flag.typed.clone());
            match &flag.value {
                Some(value) => self.take(&flag.name, &RawValue::Untyped(value.clone()), value, source),
                None => self.faults.push(of_source(source, "must be --set name=value")),
            }
        }
    }

    fn take(&mut self, name: &str, value: &RawValue, written: &str, source: ValueSource) {
        let Some(setting) = Setting::named(name) else {
            return self.blame(name, written, unknown(name), source);
        };
        match setting.kind.set(&mut self.config, value) {
            Ok(()) => _ = self.config.sources.insert(setting.name(), source),
            Err(UnfitValue) => self.blame(name, written, format!("must be {}", setting.range()), source),
        }
    }

    fn blame(&mut self, name: &str, value: &str, remedy: String, source: ValueSource) {
        self.wrong.insert(name.to_owned());
        self.faults.push(ConfigFault { name: name.to_owned(), value: value.to_owned(), remedy, source });
    }

    /// The rules between two settings: the first is at most the second.
    fn compare(&mut self) {
        const NODE: [&str; 3] = ["cluster.node_ca", "cluster.node_cert", "cluster.node_key"];
        for (name, bound) in AT_MOST {
            if self.wrong.contains(name) || self.wrong.contains(bound) {
                continue;
            }
            let (value, most) = (self.number(name), self.number(bound));
            if value > most {
                let remedy = format!("must be at most {bound}, {most} (from {})", self.config.source(bound));
                let fault = ConfigFault {
                    name: name.to_owned(),
                    value: value.to_string(),
                    remedy,
                    source: self.config.source(name),
                };
                self.faults.push(fault);
            }
        }
        self.needs("server.tls_cert", "server.tls_key", "certificate and key go together");
        self.needs("server.tls_key", "server.tls_cert", "certificate and key go together");
        self.needs("cluster.tls_cert", "cluster.tls_key", "certificate and key go together");
        self.needs("cluster.tls_key", "cluster.tls_cert", "certificate and key go together");
        self.excludes("log.creds_file", "log.nkey_file", "a node shows one of them");
        for (name, other) in [(0, 1), (1, 2), (2, 0)].map(|(one, next)| (NODE[one], NODE[next])) {
            self.needs(name, other, "authority, certificate and key of a node go together");
        }
        self.needs(NODE[0], "server.tls_cert", "without TLS nobody can show a certificate");
        self.leads_to_tls("cluster.advertise", NODE[0]);
        self.is_outside_of_data("audit.head_file");
    }

    /// A file that must not share the fate of the data directory.
    fn is_outside_of_data(&mut self, name: &'static str) {
        let Some(file) = &self.config.audit.head_file else { return };
        let is_inside = match (absolute(file), absolute(&self.config.data_dir)) {
            (Ok(file), Ok(data)) => file.starts_with(data),
            (Ok(_) | Err(_), _) => false,
        };
        if is_inside && !self.wrong.contains(name) {
            let (value, source) = (file.display().to_string(), self.config.source(name));
            let remedy =
                "must be outside of data.dir: an older copy of that would bring an older head with it".into();
            self.faults.push(ConfigFault { name: name.to_owned(), value, remedy, source });
        }
    }

    /// Where other nodes show certificates, they come by TLS.
    fn leads_to_tls(&mut self, address: &'static str, with: &'static str) {
        let value = |name| Setting::named(name).map_or_else(String::new, |s| s.value_in(&self.config));
        let value = |name| if self.wrong.contains(name) { String::new() } else { value(name) };
        if !value(with).is_empty() && value(address).starts_with("http://") {
            let (value, source) = (value(address), self.config.source(address));
            let remedy = format!("must begin with https:// where {with} is set");
            self.faults.push(ConfigFault { name: address.to_owned(), value, remedy, source });
        }
    }

    /// Two settings of which one is too many.
    fn excludes(&mut self, name: &'static str, other: &'static str, why: &str) {
        let value = |name| Setting::named(name).map_or_else(String::new, |s| s.value_in(&self.config));
        let is_both = !value(other).is_empty() && !self.wrong.contains(other);
        let (value, source) = (value(name), self.config.source(name));
        if !value.is_empty() && is_both {
            let remedy = format!("must not be set together with {other}: {why}");
            self.faults.push(ConfigFault { name: name.to_owned(), value, remedy, source });
        }
    }

    /// A setting that means nothing without another one.
    fn needs(&mut self, name: &'static str, other: &'static str, why: &str) {
        let value = |name| Setting::named(name).map_or_else(String::new, |s| s.value_in(&self.config));
        let is_missing = value(other).is_empty() && !self.wrong.contains(other);
        let (value, source) = (value(name), self.config.source(name));
        if !value.is_empty() && is_missing {
            let remedy = format!("needs {other} too: {why}");
            self.faults.push(ConfigFault { name: name.to_owned(), value, remedy, source });
        }
    }

    fn number(&mut self, name: &str) -> u32 {
        let number = Setting::named(name).and_then(|setting| setting.kind.number(&mut self.config));
        number.expect("only numbers are compared")
    }
}

fn of_source(source: ValueSource, problem: &str) -> ConfigFault {
    ConfigFault { name: String::new(), value: String::new(), remedy: problem.to_owned(), source }
}

fn unknown(name: &str) -> String {
    let section = name.split('.').next().unwrap_or_default();
    let inside: Vec<_> = SETTINGS.iter().filter(|s| s.section() == section).map(Setting::name).collect();
    if inside.is_empty() {
        let sections: BTreeSet<_> = SETTINGS.iter().map(Setting::section).collect();
        let sections = sections.into_iter().collect::<Vec<_>>().join(", ");
        return format!("there is no such setting; the sections are {sections}");
    }
    format!("there is no such setting; in {section} there are {}", inside.join(", "))
}

/// One value of the settings file.
struct SettingEntry {
    name: String,
    value: RawValue,
    span: std::ops::Range<usize>,
}

/// The values of a table and the tables in it, by their dotted names.
fn flatten(prefix: &str, table: &DeTable<'_>) -> Vec<SettingEntry> {
    let mut entries = Vec::new();
    for (key, value) in table {
        let name =
            if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        match value.get_ref().as_table() {
            Some(inner) if !inner.is_empty() || is_section(&name) => entries.extend(flatten(&name, inner)),
            Some(_) | None => {
                entries.push(SettingEntry { name, value: read(value.get_ref()), span: value.span() });
            }
        }
    }
    entries.sort_by_key(|entry| entry.span.start);
    entries
}

fn is_section(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.section() == name)
}

fn read(value: &DeValue<'_>) -> RawValue {
    match value {
        DeValue::String(text) => RawValue::Text(text.to_string()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or(RawValue::Other, |number| RawValue::Number(number.to_string())),
        DeValue::Boolean(flag) => RawValue::Flag(*flag),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<_>>().map_or(RawValue::Other, RawValue::List)
        }
        DeValue::Float(number) => RawValue::Number(number.as_str().to_owned()),
        DeValue::Datetime(_) | DeValue::Table(_) => RawValue::Other,
    }
}
