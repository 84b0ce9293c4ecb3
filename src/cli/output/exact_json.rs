//! Replies as they were written, for the numbers' sake: metadata may hold any, and an account of 23 digits must not be
//! shown as a float that names another account.
//!
//! A number that no [`Value`] keeps with its digits stands in it as text behind a mark, and is written without it. The
//! mark is no character of any text (Unicode, section 23.7).

use std::collections::BTreeMap;

use serde_json::{Number, Value, value::RawValue};

const MARK: char = '\u{fdd0}';
/// Maximum levels read. Deeper parts stay as their text, so that one such item does not make a whole list unreadable.
const LEVELS: usize = 64;

/// Reads a document; `None` if it is not JSON.
pub(in crate::cli) fn read(text: &str) -> Option<Value> {
    value_of(serde_json::from_str(text).ok()?, LEVELS)
}

/// Writes a document, every number with the digits that it was read with.
pub(in crate::cli) fn compact(value: &Value) -> String {
    unmarked(&value.to_string())
}

/// The same, over several lines.
pub(in crate::cli) fn pretty(value: &Value) -> String {
    unmarked(&format!("{value:#}"))
}

fn value_of(raw: &RawValue, levels: usize) -> Option<Value> {
    let text = raw.get();
    match text.as_bytes().first()? {
        b'{' | b'[' if levels == 0 => Some(Value::String(text.to_owned())),
        b'{' => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            let read = |(name, raw)| Some((name, value_of(raw, levels - 1)?));
            members.into_iter().map(read).collect::<Option<_>>().map(Value::Object)
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            items.into_iter().map(|raw| value_of(raw, levels - 1)).collect::<Option<_>>().map(Value::Array)
        }
        b'-' | b'0'..=b'9' => {
            let number = serde_json::from_str::<Number>(text).ok();
            let kept = number.filter(|number| number.to_string() == text).map(Value::Number);
            Some(kept.unwrap_or_else(|| Value::String(format!("{MARK}{text}"))))
        }
        _ => serde_json::from_str(text).ok(),
    }
}

/// Removes the marks, and the quotes around a marked number.
fn unmarked(text: &str) -> String {
    let open = format!("\"{MARK}");
    let mut parts = text.split(open.as_str());
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end =
            part.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E')).unwrap_or(part.len());
        match part[end..].strip_prefix('"') {
            Some(rest) if end > 0 => whole.extend([&part[..end], rest]),
            Some(_) | None => whole.extend([open.as_str(), part]),
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_written_with_the_digits_that_it_was_read_with() {
        let text = r#"{"account":12345678901234567890123,"far":1e999,"rate":1.10,"small":[0,-7,1.5,-0]}"#;
        assert_eq!(compact(&read(text).unwrap()), text);
        assert_eq!(pretty(&read(r#"{"a":1.10}"#).unwrap()), "{\n  \"a\": 1.10\n}");
    }

    #[test]
    fn a_text_that_only_looks_marked_stays_a_text() {
        for text in ["\u{fdd0}", "\u{fdd0}1,\"a\":2", "\u{fdd0}x"] {
            let document = Value::from(text).to_string();
            let shown = compact(&read(&document).unwrap());
            assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), text, "{shown}");
        }
    }

    #[test]
    fn what_is_nested_too_deeply_is_read_as_its_text() {
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        let read =
            read(&format!(r#"{{"items":[{{"id":1,"metadata":{{"a":{deep}}}}},{{"id":2}}]}}"#)).unwrap();
        assert_eq!((&read["items"][0]["id"], &read["items"][1]["id"]), (&1.into(), &2.into()));
        assert!(read["items"][0]["metadata"].to_string().contains("[[["), "{read}");
        for wrong in ["nginx", "", r#"{"a":1"#, r#"{"a":01}"#] {
            assert_eq!(super::read(wrong), None, "{wrong}");
        }
    }
}
