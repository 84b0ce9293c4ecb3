//! What a subject is.

use minicbor::{Decode, Encode};
use serde::Serialize;

/// What a subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// A program that acts by itself.
    #[n(0)]
    Agent,
    /// A person.
    #[n(1)]
    User,
    /// A program that others call.
    #[n(2)]
    Service,
}

impl SubjectKind {
    /// Each with its name.
    pub const ALL: [(&'static str, Self); 3] =
        [("agent", Self::Agent), ("user", Self::User), ("service", Self::Service)];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}
