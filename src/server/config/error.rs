//! What is wrong with the settings, and how to put it right.

use std::{fmt, path::PathBuf};

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// It is unset.
    Default,
    /// A line of the settings file; `None` for the whole file.
    File(PathBuf, Option<usize>),
    /// This variable of the environment.
    Environment(String),
    /// This flag of the command line, as it was typed.
    Flag(String),
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, Some(line)) => write!(f, "{} line {line}", path.display()),
            Self::File(path, None) => write!(f, "{}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// The setting, as it was written; empty when the whole source is wrong.
    pub name: String,
    /// The value, as it was written.
    pub value: String,
    /// What would be right.
    pub remedy: String,
    /// Where it is from.
    pub source: ValueSource,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.is_empty() {
            return write!(f, "{}: {}", self.source, self.remedy);
        }
        let shown: String = self.value.chars().take(80).collect();
        write!(f, "{} = {shown} (from {}): {}", self.name, self.source, self.remedy)
    }
}

/// All faults, never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFaults(pub Vec<ConfigFault>);

impl std::error::Error for ConfigFaults {}

/// One fault a line.
impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let before = if index == 0 { "" } else { "\n" };
            write!(f, "{before}{fault}")?;
        }
        Ok(())
    }
}
