//! A key or token on this side: a type that does not show what it holds.

use std::{convert::Infallible, fmt, str::FromStr};

use zeroize::Zeroizing;

/// An API key or a token. `Debug` hides it, it is wiped when dropped, and it leaves by [`Secret::expose`] only.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Of a text; white space around it is not part of it.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.trim().to_owned()))
    }

    /// What it is.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it is no secret at all, such as what `TENURE_KEY=` gives.
    pub fn is_empty(&self) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(format!("{:?}", Secret::new(" tnr_key_abc \n")), "Secret(hidden)");
        assert_eq!(Secret::new(" tnr_key_abc \n").expose(), "tnr_key_abc");
    }
}
