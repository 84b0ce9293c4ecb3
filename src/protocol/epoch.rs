//! Positions as they are given out: with the epoch of the history that they belong to.
//!
//! A history that was restored may give out positions again that were given out before. From its second epoch on they
//! carry its number, so that none passes for another.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::Position;

/// The epoch in which every history begins.
pub const FIRST: u32 = 1;

/// A position as it is given out: `7` in the first epoch, `2:7` in the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochPosition {
    /// The epoch that it was given out in; what names none was given out in the first.
    pub epoch: u32,
    /// The position.
    pub position: Position,
}

/// Why a text is not a position with an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a position, or <epoch>:<position>")]
pub struct InvalidEpochPosition;

impl fmt::Display for EpochPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", prefix_of(self.epoch), self.position)
    }
}

impl FromStr for EpochPosition {
    type Err = InvalidEpochPosition;

    fn from_str(text: &str) -> Result<Self, InvalidEpochPosition> {
        let (epoch, position) = parted(text).ok_or(InvalidEpochPosition)?;
        let position = position.parse().map_err(|_| InvalidEpochPosition)?;
        Ok(Self { epoch, position })
    }
}

/// A number for the first epoch, as clients have always got it, and a text for the later ones.
impl Serialize for EpochPosition {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.epoch == FIRST { self.position.serialize(serializer) } else { serializer.collect_str(self) }
    }
}

/// What an authority gives out is a number or a text; readers take both from the start.
impl<'de> Deserialize<'de> for EpochPosition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum EpochInput {
            Number(u64),
            Text(String),
        }
        match EpochInput::deserialize(deserializer)? {
            EpochInput::Number(position) => Ok(Self { epoch: FIRST, position: Position(position) }),
            EpochInput::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

/// The prefix of a name given out in an epoch.
pub fn prefix_of(epoch: u32) -> impl fmt::Display {
    fmt::from_fn(move |f| if epoch == FIRST { Ok(()) } else { write!(f, "{epoch}:") })
}

/// The epoch and the rest of a name; `None` for a text that does not begin as names do.
pub fn parted(text: &str) -> Option<(u32, &str)> {
    match text.split_once(':') {
        None => Some((FIRST, text)),
        Some((epoch, rest)) => {
            let number: u32 = epoch.parse().ok()?;
            (number >= FIRST && number.to_string() == epoch).then_some((number, rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_has_one_spelling() {
        for text in ["0", "7", "2:7", "18:18446744073709551615"] {
            assert_eq!(text.parse::<EpochPosition>().unwrap().to_string(), text);
        }
        for wrong in ["", ":7", "2:", "02:7", "0:7", "-1:7", "2:x", "2:3:4", "4294967296:1"] {
            assert!(wrong.parse::<EpochPosition>().is_err(), "{wrong}");
        }
        assert_eq!(serde_json::to_string(&"7".parse::<EpochPosition>().unwrap()).unwrap(), "7");
        assert_eq!(serde_json::to_string(&"2:7".parse::<EpochPosition>().unwrap()).unwrap(), "\"2:7\"");
        for json in ["7", "\"2:7\""] {
            let read: EpochPosition = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), json);
        }
    }
}
