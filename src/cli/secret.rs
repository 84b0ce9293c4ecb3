//! Keys and tokens on this side: a type that does not show what it holds, and a look-out for those that slip
//! into a message.

use std::{convert::Infallible, fmt, str::FromStr};

use zeroize::Zeroizing;

/// How every key and token of Tenure begins.
const PREFIX: &str = "tnr_";

/// An API key or a token. `Debug` hides it; it leaves by [`Secret::reveal`] only.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    /// Of a text; white space around it is not part of it.
    pub(crate) fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.trim().to_owned()))
    }

    /// What it is.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether nothing was given, such as by `TENURE_KEY=`.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
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

/// The text without what looks like a key or token, for everything that is said on stderr.
pub(crate) fn redacted(text: &str) -> String {
    let mut pieces = text.split(PREFIX);
    let mut clean = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| !is_part_of_a_secret(c)).unwrap_or(piece.len());
        clean.push_str(PREFIX);
        clean.push('…');
        clean.push_str(&piece[end..]);
    }
    clean
}

fn is_part_of_a_secret(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.~+/=".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::new(" tnr_key_abc \n")), "Secret(hidden)");
        assert_eq!(Secret::new(" tnr_key_abc \n").reveal(), "tnr_key_abc");
    }

    #[test]
    fn a_message_loses_its_secrets_and_keeps_its_words() {
        assert_eq!(redacted("unexpected 'tnr_sess_v4.local-a_b' here"), "unexpected 'tnr_…' here");
        assert_eq!(redacted("tnr_key_a tnr_key_b"), "tnr_… tnr_…");
        assert_eq!(redacted("no secret"), "no secret");
    }
}
