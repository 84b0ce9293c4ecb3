//! A JSON object, written member by member: what is answered most often is not made into a document first. Names are
//! constants and copied as they are; values are scanned once, many bytes at a time, for what must be escaped.

use serde::Serialize;

use tenure_core::{SessionId, Timestamp};

/// Room for the answer to a check or a renewal.
const USUAL_BYTES: usize = 512;

/// An object in the making.
pub(in crate::http) struct ObjectWriter {
    text: Vec<u8>,
    /// What stands in front of the next member.
    before: u8,
}

impl ObjectWriter {
    /// An object without members.
    pub(in crate::http) fn new() -> Self {
        Self::behind(Vec::with_capacity(USUAL_BYTES))
    }

    /// The same, behind what was written.
    pub(in crate::http) const fn behind(text: Vec<u8>) -> Self {
        Self { text, before: b'{' }
    }

    /// All that was written, the end of the object included.
    pub(in crate::http) fn end(mut self) -> Vec<u8> {
        if self.before == b'{' {
            self.text.push(b'{');
        }
        self.text.push(b'}');
        self.text
    }

    fn name(&mut self, name: &'static str) {
        self.text.extend_from_slice(&[self.before, b'"']);
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":");
        self.before = b',';
    }

    /// A text.
    pub(in crate::http) fn text(mut self, name: &'static str, value: &str) -> Self {
        self.name(name);
        push_text(&mut self.text, value);
        self
    }

    /// A member whose characters need no escapes.
    fn plain(mut self, name: &'static str, value: &[u8]) -> Self {
        self.name(name);
        self.text.push(b'"');
        self.text.extend_from_slice(value);
        self.text.push(b'"');
        self
    }

    /// A text or null.
    pub(in crate::http) fn optional_text(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self.literal(name, "null"),
        }
    }

    /// The id of a session.
    pub(in crate::http) fn session(self, name: &'static str, value: SessionId) -> Self {
        self.plain(name, &value.written())
    }

    /// A moment.
    pub(in crate::http) fn moment(self, name: &'static str, value: Timestamp) -> Self {
        match value.written() {
            Some(text) => self.plain(name, &text),
            None => self.document(name, &value),
        }
    }

    /// A moment or null.
    pub(in crate::http) fn optional_moment(self, name: &'static str, value: Option<Timestamp>) -> Self {
        match value {
            Some(value) => self.moment(name, value),
            None => self.literal(name, "null"),
        }
    }

    /// A number.
    pub(in crate::http) fn number(mut self, name: &'static str, value: impl Into<u64>) -> Self {
        self.name(name);
        push_number(&mut self.text, value.into());
        self
    }

    /// True or false.
    pub(in crate::http) fn flag(self, name: &'static str, value: bool) -> Self {
        self.literal(name, if value { "true" } else { "false" })
    }

    /// A list of texts.
    pub(in crate::http) fn texts<T: AsRef<str>>(mut self, name: &'static str, values: &[T]) -> Self {
        self.name(name);
        self.text.push(b'[');
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                self.text.push(b',');
            }
            push_text(&mut self.text, value.as_ref());
        }
        self.text.push(b']');
        self
    }

    /// Serialized JSON.
    pub(in crate::http) fn literal(mut self, name: &'static str, value: &str) -> Self {
        self.name(name);
        self.text.extend_from_slice(value.as_bytes());
        self
    }

    /// Any document.
    pub(in crate::http) fn document(mut self, name: &'static str, value: &impl Serialize) -> Self {
        self.name(name);
        serde_json::to_writer(&mut self.text, value).expect("our own documents are always JSON");
        self
    }
}

#[expect(
    clippy::needless_bitwise_bool,
    reason = "without branches the processor looks at many bytes at once"
)]
fn push_text(out: &mut Vec<u8>, value: &str) {
    let is_escaped = |found: bool, byte: &u8| found | (*byte < b' ') | (*byte == b'"') | (*byte == b'\\');
    if value.as_bytes().iter().fold(false, is_escaped) {
        return serde_json::to_writer(out, value).expect("a Vec takes every byte");
    }
    out.push(b'"');
    out.extend_from_slice(value.as_bytes());
    out.push(b'"');
}

/// Writes a number in digits.
pub(super) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b"0123456789"[(number % 10) as usize];
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[first..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_is_written_as_the_usual_library_writes_it() {
        assert_eq!(ObjectWriter::new().end(), b"{}");
        for text in
            ["", "plain", "\"", "back\\slash", "line\nfeed", "\u{1}\u{7f}\u{80}ä", "ünicode 🦀 and more text"]
        {
            let written = ObjectWriter::new()
                .text("text", text)
                .optional_text("none", None)
                .texts("list", &[text, "b"])
                .texts::<&str>("empty", &[])
                .flag("flag", true)
                .literal("raw", "{\"a\":1.0}")
                .end();
            let usual = format!(
                r#"{{"text":{0},"none":null,"list":[{0},"b"],"empty":[],"flag":true,"raw":{{"a":1.0}}}}"#,
                json!(text)
            );
            assert_eq!(String::from_utf8(written).unwrap(), usual);
        }
        let id = SessionId::from_bytes([0xa7; 16]);
        assert_eq!(ObjectWriter::new().session("id", id).end(), json!({ "id": id }).to_string().as_bytes());
        for number in [0, 9, 10, 4_294_967_295, u64::MAX] {
            assert_eq!(
                ObjectWriter::new().number("n", number).end(),
                json!({ "n": number }).to_string().as_bytes()
            );
        }
        for millis in [0, -1, 1_795_311_300_123, Timestamp::MAX.as_millis(), i64::MAX] {
            let moment = Timestamp::from_millis(millis);
            let written = ObjectWriter::new().moment("t", moment).optional_moment("n", None).end();
            assert_eq!(written, format!(r#"{{"t":{},"n":null}}"#, json!(moment)).into_bytes());
        }
    }
}
