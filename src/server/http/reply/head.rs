//! The head of an answer: as a value, or straight as the bytes that a connection is written.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::object::push_number;

/// What headers of an answer are put into. Each name is put once.
pub(super) trait ReplyHead {
    /// A header.
    fn put(&mut self, name: HeaderName, value: HeaderValue);

    /// A header of visible characters.
    fn put_text(&mut self, name: HeaderName, value: &[u8]);

    /// A number.
    fn put_number(&mut self, name: HeaderName, number: u64);
}

impl ReplyHead for HeaderMap {
    fn put(&mut self, name: HeaderName, value: HeaderValue) {
        self.insert(name, value);
    }

    fn put_text(&mut self, name: HeaderName, value: &[u8]) {
        self.insert(name, HeaderValue::from_bytes(value).expect("its characters are visible"));
    }

    fn put_number(&mut self, name: HeaderName, number: u64) {
        self.insert(name, number.into());
    }
}

/// The bytes of a head, written one behind the other.
pub(super) struct HeadBytes<'o>(&'o mut Vec<u8>);

impl<'o> HeadBytes<'o> {
    /// A head with this status, behind what was written.
    pub(super) fn begin(out: &'o mut Vec<u8>, status: StatusCode) -> Self {
        if status == StatusCode::OK {
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        } else {
            let reason = status.canonical_reason().unwrap_or_default();
            out.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
        }
        Self(out)
    }
}

impl ReplyHead for HeadBytes<'_> {
    fn put(&mut self, name: HeaderName, value: HeaderValue) {
        write_header(self.0, name.as_str(), value.as_bytes());
    }

    fn put_text(&mut self, name: HeaderName, value: &[u8]) {
        write_header(self.0, name.as_str(), value);
    }

    fn put_number(&mut self, name: HeaderName, number: u64) {
        write_number(self.0, name.as_str(), number);
    }
}

/// Writes a header behind what was written.
pub(crate) fn write_header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// The same of a number.
pub(crate) fn write_number(out: &mut Vec<u8>, name: &str, number: u64) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    push_number(out, number);
    out.extend_from_slice(b"\r\n");
}
