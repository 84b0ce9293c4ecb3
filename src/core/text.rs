//! Text about people, as the log keeps it: sealed under a key of its subject, so that it can be forgotten.

use std::{fmt, ops::RangeInclusive};

use minicbor::{Decode, Encode};

/// A text sealed under its subject's key. Destroying that key destroys the text; every digest over it holds.
///
/// Sealing is deterministic: the same text in the same field of the same subject gives the same bytes, so
/// that equality can be judged without opening it.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct SealedText(#[cbor(n(0), with = "minicbor::bytes")] Vec<u8>);

impl SealedText {
    /// Of the bytes that the sealing gave.
    pub const fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The sealed bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What is wrong with a text that a caller chose, in words that follow its name: too short, too long, or with control
/// characters, which would reach terminals and log lines.
pub fn fault_of_text(text: &str, length: RangeInclusive<usize>) -> Option<String> {
    let has_controls = text.contains(char::is_control);
    if length.contains(&text.chars().count()) {
        return has_controls.then(|| NO_CONTROLS.to_owned());
    }
    let also = if has_controls { " without control characters" } else { "" };
    Some(format!("must be text of {} to {} characters{also}", length.start(), length.end()))
}

/// What is asked of a text of the right length.
pub const NO_CONTROLS: &str = "must have no control characters";

impl fmt::Debug for SealedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedText({} bytes)", self.0.len())
    }
}
