//! What was typed, for errors that speak of it: a fault of `ttl` is one of `--ttl 90`.

use std::ffi::OsString;

use crate::cli::output::humanize;
use tenure_client::FieldFault;
use tenure_core::Seconds;

/// Fields that hold seconds.
const SPANS: [&str; 5] = ["ttl", "absoluteLifetime", "renewalRejectWindow", "idleTimeout", "expiresIn"];

/// Where the address of a server came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AddressSource {
    /// It was typed, or is in the environment: the name of the option or the variable.
    Named(&'static str),
    /// A context of this name.
    Context(String),
    /// Nothing named a server.
    Default,
}

/// The words of the command line.
#[derive(Debug, Default)]
pub(crate) struct TypedWords {
    words: Vec<String>,
    /// Where the address of a server without an answer came from.
    source: Option<AddressSource>,
}

impl TypedWords {
    /// The words of this command line.
    pub(crate) fn of(args: &[OsString]) -> Self {
        Self { words: args.iter().map(|word| word.to_string_lossy().into_owned()).collect(), source: None }
    }

    /// The same, of a command whose server gave no answer: where its address came from.
    pub(crate) fn with_source(self, source: Option<AddressSource>) -> Self {
        Self { source, ..self }
    }

    /// Where the address of the server came from that gave no answer.
    pub(crate) const fn source(&self) -> Option<&AddressSource> {
        self.source.as_ref()
    }

    /// Whether this option was typed.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.option(name).is_some()
    }

    /// A fault of a field, in the words of the option that gave it.
    pub(crate) fn fault(&self, fault: &FieldFault) -> String {
        let right = fault.message.replace("must be from ", "must be ");
        match options_of(&fault.field).iter().find_map(|option| self.option(option)) {
            Some(option) if SPANS.contains(&fault.field.as_str()) => {
                format!("{option}: {}", in_spans(&right))
            }
            Some(option) => format!("{option}: {right}"),
            None => format!("{}: {}", fault.field, fault.message),
        }
    }

    /// An option as it was typed, with its value.
    fn option(&self, name: &str) -> Option<String> {
        let is_it = |word: &String| word.split('=').next() == Some(name);
        let index = self.words.iter().take_while(|word| *word != "--").position(is_it)?;
        let word = &self.words[index];
        match (word.split_once('='), self.words.get(index + 1)) {
            (Some((_, value)), _) => Some(format!("{name} {value}")),
            (None, Some(value)) if !value.starts_with("--") => Some(format!("{name} {value}")),
            (None, Some(_) | None) => Some(name.to_owned()),
        }
    }
}

/// What the option of a field may be called: `ownerId` is `--owner`, `scopes` is `--scope`.
fn options_of(field: &str) -> [String; 3] {
    let last = field.rsplit('.').next().unwrap_or(field);
    let mut name = String::from("--");
    for c in last.chars() {
        if c.is_ascii_uppercase() {
            name.push('-');
        }
        name.push(c.to_ascii_lowercase());
    }
    let short = name.trim_end_matches("-id").trim_end_matches("-session").to_owned();
    let single = name.trim_end_matches('s').to_owned();
    [name, short, single]
}

/// The seconds in a message as people type them, where exact: `300 to 604800` is `5m to 7d`.
fn in_spans(message: &str) -> String {
    let is_number = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    let words = message.split(' ').filter(|word| *word != "seconds");
    words.map(|word| if is_number(word) { span(word) } else { word.to_owned() }).collect::<Vec<_>>().join(" ")
}

fn span(number: &str) -> String {
    let Ok(seconds) = number.parse() else { return number.to_owned() };
    let told = humanize::duration(u64::from(seconds)).replace(' ', "");
    if humanize::parse_duration(&told) == Ok(Seconds(seconds)) { told } else { format!("{seconds}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str, field: &str, message: &str) -> String {
        let typed = TypedWords::of(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        let fault = serde_json::from_value(serde_json::json!({ "field": field, "message": message }));
        typed.fault(&fault.unwrap())
    }

    #[test]
    fn a_fault_is_one_of_the_option_that_was_typed() {
        for (line, field, message, words) in [
            ("create a --ttl 90", "ttl", "must be from 300 to 604800", "--ttl 90: must be 5m to 7d"),
            ("create a --ttl=90", "ttl", "must be 300 to 5001", "--ttl 90: must be 5m to 5001s"),
            ("put a --owner b", "ownerId", "is too long", "--owner b: is too long"),
            ("create a --scope b", "scopes", "must be", "--scope b: must be"),
            ("logout a --except b", "exceptSessionId", "must be", "--except b: must be"),
            ("put a --max-sessions 0", "maxSessions", "must be 1 to 9", "--max-sessions 0: must be 1 to 9"),
            ("run --subject a -- b --ttl 7", "ttl", "must be 300", "ttl: must be 300"),
            ("create a", "device", "is required", "device: is required"),
        ] {
            assert_eq!(told(line, field, message), words);
        }
    }
}
