//! Times, lengths of time and texts of people, as a page shows them. A template gives references or values, so both are taken.

use std::borrow::{Borrow, Cow};

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

/// The beginning of a long text.
pub(super) fn clipped(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}

/// The end of an id, which differs from the ends of others: their beginnings are times.
pub(super) fn id_end(id: &str) -> String {
    match id.rsplit_once('-') {
        Some((_, end)) => format!("…{end}"),
        None => id.to_owned(),
    }
}

/// A moment on a page: UTC in the markup, in the reader's zone where a script may run.
pub(super) trait PageTime {
    /// For `datetime`.
    fn iso(&self) -> String;

    /// For people: `2026-11-21 01:35:00 UTC`.
    fn utc(&self) -> String;
}

impl PageTime for Timestamp {
    fn iso(&self) -> String {
        self.to_string()
    }

    fn utc(&self) -> String {
        let iso = self.iso();
        format!("{} {} UTC", iso.get(..10).unwrap_or_default(), iso.get(11..19).unwrap_or_default())
    }
}

/// A part of a sentence: some text, and the moment that follows.
pub(super) struct SentencePart {
    pub(super) text: String,
    pub(super) time: Option<Timestamp>,
}

/// A sentence with its moments, which a page shows in the reader's zone.
pub(super) fn sentence(mut text: &str) -> Vec<SentencePart> {
    let mut parts = Vec::new();
    while let Some((before, time, after)) = first_time(text) {
        parts.push(SentencePart { text: before.to_owned(), time: Some(time) });
        text = after;
    }
    parts.push(SentencePart { text: text.to_owned(), time: None });
    parts
}

/// The first moment in a text, and what stands before and behind it.
fn first_time(text: &str) -> Option<(&str, Timestamp, &str)> {
    const DAY: usize = "2026-11-21".len();
    const WHOLE: usize = "2026-11-21T01:35:00.000Z".len();
    let mut begins = text.match_indices('T').filter_map(|(middle, _)| middle.checked_sub(DAY));
    begins.find_map(|begin| {
        let time = Timestamp::parse(text.get(begin..begin + WHOLE)?)?;
        Some((&text[..begin], time, &text[begin + WHOLE..]))
    })
}

/// A length of time in words, the two largest units from the first non-zero one; the second only where it is not 0.
pub(super) fn length(seconds: impl Borrow<u64>) -> String {
    let seconds = *seconds.borrow();
    if seconds < 60 {
        return format!("{seconds}s");
    }
    let words = crate::notify::notice::remaining(seconds);
    match words.split_once(' ') {
        Some((first, rest)) if rest.starts_with('0') => first.to_owned(),
        Some(_) | None => words,
    }
}

/// How long it is until a moment, in words.
pub(super) fn within(moment: impl Borrow<Timestamp>, now: impl Borrow<Timestamp>) -> String {
    length(moment.borrow().seconds_since(*now.borrow()))
}

/// How far ahead a moment is, in words.
pub(super) fn ahead(moment: impl Borrow<Timestamp>, now: impl Borrow<Timestamp>) -> String {
    let (moment, now) = (moment.borrow(), now.borrow());
    if moment <= now { "now".to_owned() } else { format!("in {}", within(moment, now)) }
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
    fn a_sentence_is_parted_at_its_moments() {
        let parts = |text: &str| -> Vec<_> {
            let parts = sentence(text).into_iter();
            parts.map(|part| (part.text, part.time.map(|time| time.utc()).unwrap_or_default())).collect()
        };
        assert_eq!(
            parts("Until 2026-11-21T01:35:00.000Z, at 2026-11-22T00:00:00.250Z"),
            [
                ("Until ".into(), "2026-11-21 01:35:00 UTC".into()),
                (", at ".into(), "2026-11-22 00:00:00 UTC".into()),
                (String::new(), String::new()),
            ]
        );
        for plain in ["", "The Token", "日本の夜の夜の夜Tの夜の夜の夜", "2026-13-21T01:35:00.000Z"]
        {
            assert_eq!(parts(plain), [(plain.to_owned(), String::new())]);
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(clipped("Night shift", 11), "Night shift");
        assert_eq!(clipped("Night shift", 6), "Night…");
        assert_eq!(clipped("日本の夜", 2), "日本…");
    }

    #[test]
    fn a_length_of_time_has_two_units_at_most() {
        let shown: Vec<_> = [0u64, 59, 60, 3_600, 3_660, 86_400, 100_000].into_iter().map(length).collect();
        assert_eq!(shown, ["0s", "59s", "1m", "1h", "1h 1m", "1d", "1d 3h"]);
    }
}
