//! What a request is for, by which it is let in before others.

/// The classes of requests. A route says its own in the table of routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestClass {
    /// Judges tokens, serves keys and revocations to those who judge them, or shows how things stand.
    Check,
    /// Ends something: a session, a key, a subject's being served.
    End,
    /// Records anything else.
    Change,
    /// Only looks.
    Read,
}

impl RequestClass {
    /// Every class, with its name in metrics.
    pub(crate) const ALL: [(&str, Self); 4] =
        [("check", Self::Check), ("end", Self::End), ("change", Self::Change), ("read", Self::Read)];

    /// Whether a part of the whole is kept for it.
    pub(super) const fn goes_first(self) -> bool {
        match self {
            Self::Check | Self::End => true,
            Self::Change | Self::Read => false,
        }
    }
}
