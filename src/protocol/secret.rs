//! A key or token, in a type that does not show what it holds.

use std::{convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serializer};
use zeroize::Zeroizing;

/// An API key or a token. `Debug` hides it, it is wiped when dropped, and it leaves by [`Secret::expose`] only.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Of a text; white space around it is not part of it.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.trim().to_owned()))
    }

    /// Of a text as it was written: white space counts.
    pub const fn as_written(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// What it is.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is empty, such as the value of `TENURE_KEY=`.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes it as it is. There is no [`serde::Serialize`]: each field that may show a secret says so by name.
    pub(crate) fn serialize_exposed<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }

    /// The same of one that may be missing.
    #[expect(clippy::ref_option, reason = "serde gives a reference to the field")]
    pub(crate) fn serialize_exposed_option<S: Serializer>(
        secret: &Option<Self>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match secret {
            Some(secret) => serializer.serialize_some(secret.expose()),
            None => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self::new(&Zeroizing::new(text)))
    }
}

impl FromStr for Secret {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::new(" tnr_key_abc \n")), "Secret(hidden)");
        assert_eq!(Secret::new(" tnr_key_abc \n").expose(), "tnr_key_abc");
    }
}
