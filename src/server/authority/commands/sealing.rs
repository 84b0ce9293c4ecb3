//! Texts are sealed before their command is decided, and a subject may be erased in between. So all texts of a
//! request are sealed under one key, and the sequencer accepts them only if the subject still has that key.

use crate::personal_data::SubjectKey;
use tenure_core::{SealedText, StreamId, SubjectId, command::Command};
use tenure_log::waiting_for_disk;

use crate::authority::{
    Authority,
    pipeline::request::{CommandError, CommandRequest},
};

/// Seals the texts of one request about a subject.
pub(crate) struct TextSealer<'a> {
    authority: &'a Authority,
    subject: SubjectId,
    key: Option<SubjectKey>,
}

impl<'a> TextSealer<'a> {
    /// For a request about this subject.
    pub(crate) const fn new(authority: &'a Authority, subject: SubjectId) -> Self {
        Self { authority, subject, key: None }
    }

    /// Seals a text, if there is one.
    pub(crate) fn seal(
        &mut self,
        field: &'static str,
        text: Option<&str>,
    ) -> Result<Option<SealedText>, CommandError> {
        let Some(text) = text else { return Ok(None) };
        let key = match self.key.take() {
            Some(key) => key,
            None => self.authority.key_for(&StreamId::Subject(self.subject.clone()))?,
        };
        let sealed = key.seal(field, text);
        self.key = Some(key);
        Ok(Some(sealed))
    }

    /// Seals the reason of an end. One that cannot be kept does not prevent the end: it is left out, and the reply says
    /// so.
    pub(crate) fn seal_reason(&mut self, reason: Option<&str>) -> Option<SealedText> {
        self.seal("reason", reason).unwrap_or_else(|failure| {
            tracing::warn!(%failure, "an end is recorded without its reason");
            None
        })
    }

    /// The command with those texts.
    pub(crate) fn ask(self, command: Command) -> CommandRequest {
        match self.key {
            Some(key) => CommandRequest::Sealed(self.subject, command, key),
            None => CommandRequest::Subject(self.subject, command),
        }
    }
}

impl Authority {
    /// Seals a text of the authority's own stream, which is never erased.
    pub(crate) fn seal_own(&self, field: &'static str, text: &str) -> Result<SealedText, CommandError> {
        Ok(self.key_for(&StreamId::System)?.seal(field, text))
    }

    pub(crate) fn key_for(&self, stream: &StreamId) -> Result<SubjectKey, CommandError> {
        let texts = &self.secrets.texts;
        // A subject's first text makes a key, which waits for the disk.
        let make = || waiting_for_disk(|| texts.key_for(stream, &*self.entropy));
        let key = texts.get(stream).map_or_else(make, Ok);
        key.map_err(|error| {
            tracing::warn!(%error, "the key for texts of a subject cannot be kept");
            CommandError::StorageUnavailable { why: error.to_string() }
        })
    }
}
