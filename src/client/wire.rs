//! Values of the API as they are read from JSON.

use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error};

use super::secret::Secret;
use tenure_protocol::{Seconds, Timestamp};

/// Whatever has a spelling of its own: ids, amounts.
pub(super) fn parsed<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    // The text is not quoted: it may be a secret in the wrong place.
    text.parse().map_err(|_| D::Error::custom("a text is not of the form that it must have"))
}

/// The same, or null.
pub(super) fn parsed_or_null<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr,
    D: Deserializer<'de>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    let parsed = text.map(|text| text.parse());
    parsed.transpose().map_err(|_| D::Error::custom("a text is not of the form that it must have"))
}

pub(super) fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    moment_or_null(deserializer)?.ok_or_else(|| D::Error::custom("a time is missing"))
}

pub(super) fn moment_or_null<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    Timestamp::parse(&text).map(Some).ok_or_else(|| D::Error::custom("a time is not RFC 3339"))
}

pub(super) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Seconds, D::Error> {
    u32::deserialize(deserializer).map(Seconds)
}

pub(super) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(|text| Secret::new(&text))
}
