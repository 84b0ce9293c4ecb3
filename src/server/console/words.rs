//! Times, lengths of time and texts of people, as a page shows them. A template gives references or values, so both are taken.

use std::borrow::{Borrow, Cow};

use serde::{Deserialize, Deserializer};
use tenure_core::Timestamp;

/// A text that people chose, with its invisible characters, and those that turn the direction of text, made visible.
pub(super) fn plain(text: String) -> String {
    if !text.chars().any(is_hidden) {
        return text;
    }
    text.chars().map(shown).collect()
}

fn shown(c: char) -> Cow<'static, str> {
    if is_hidden(c) { format!("\u{27e8}U+{:04X}\u{27e9}", u32::from(c)).into() } else { c.to_string().into() }
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A moment on a page: UTC in the markup, in the reader's zone where a script may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PageTime(pub(super) Timestamp);

impl PageTime {
    /// For `datetime`.
    pub(super) fn iso(self) -> String {
        self.0.to_string()
    }

    /// For people: `2026-11-21 01:35:00 UTC`.
    pub(super) fn utc(self) -> String {
        let iso = self.iso();
        format!("{} {} UTC", iso.get(..10).unwrap_or_default(), iso.get(11..19).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for PageTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse(&text).map(Self).ok_or_else(|| serde::de::Error::custom("not a time"))
    }
}

/// A length of time in words, the two largest units from the first non-zero one.
pub(super) fn length(seconds: impl Borrow<u64>) -> String {
    let seconds = *seconds.borrow();
    if seconds < 60 {
        return format!("{seconds}s");
    }
    crate::notify::notice::remaining(seconds)
}

/// How long it is until a moment, in words.
pub(super) fn within(moment: impl Borrow<PageTime>, now: impl Borrow<Timestamp>) -> String {
    length(moment.borrow().0.seconds_since(*now.borrow()))
}

/// How far ahead a moment is, in words.
pub(super) fn ahead(moment: impl Borrow<PageTime>, now: impl Borrow<Timestamp>) -> String {
    let (moment, now) = (moment.borrow(), now.borrow());
    if moment.0 <= *now { "now".to_owned() } else { format!("in {}", within(moment, now)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_or_turns_text_is_shown_as_such() {
        assert_eq!(plain("Night shift".into()), "Night shift");
        assert_eq!(plain("a\u{202e}b\nc\u{200b}".into()), "a⟨U+202E⟩b⟨U+000A⟩c⟨U+200B⟩");
        assert_eq!(plain("Zoë 日本 🦊".into()), "Zoë 日本 🦊");
    }

    #[test]
    fn a_length_of_time_has_two_units_at_most() {
        let shown: Vec<_> = [0u64, 59, 60, 3_660, 100_000].into_iter().map(length).collect();
        assert_eq!(shown, ["0s", "59s", "1m", "1h 1m", "1d 3h"]);
    }
}
