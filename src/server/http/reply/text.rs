//! Texts about people in replies: opened when a reply is made, and null once they were erased.

use serde_json::value::RawValue;

use crate::authority::Authority;
use tenure_core::{SealedText, StreamId, SubjectId, session::Session};

/// Opens the texts of one stream.
pub(crate) struct TextOpener<'a> {
    authority: &'a Authority,
    stream: StreamId,
}

impl<'a> TextOpener<'a> {
    /// Of a subject.
    pub(crate) fn of(authority: &'a Authority, subject: &SubjectId) -> Self {
        Self::of_stream(authority, StreamId::Subject(subject.clone()))
    }

    /// Of any stream.
    pub(crate) const fn of_stream(authority: &'a Authority, stream: StreamId) -> Self {
        Self { authority, stream }
    }

    /// A text; null when there is none, and when it was erased.
    pub(crate) fn open(&self, field: &'static str, text: Option<&SealedText>) -> Option<String> {
        self.authority.open_text(&self.stream, field, text?)
    }

    /// The name of a session's device.
    pub(crate) fn device(&self, session: &Session) -> Option<String> {
        self.open("device", session.device_name())
    }

    /// A session's metadata.
    pub(crate) fn metadata(&self, session: &Session) -> Option<Box<RawValue>> {
        let metadata = session.details()?.metadata.as_ref();
        self.open("metadata", metadata).map(kept_object)
    }
}

/// Kept metadata, as it is shown: its own text. An older version kept what it had read, which is JSON too.
pub(crate) fn kept_object(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
