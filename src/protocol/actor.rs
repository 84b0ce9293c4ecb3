//! Who causes what is recorded.

use minicbor::{Decode, Encode};
use serde::Serialize;

/// What kind of caller caused a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// The authority itself.
    #[n(0)]
    Authority,
    /// The holder of an API key.
    #[n(1)]
    Credential,
    /// The holder of a session token.
    #[n(2)]
    Session,
    /// The command line on the data directory of a stopped server.
    #[n(3)]
    Operator,
    /// An owner, by the link in a notice; its id is that notice's.
    #[n(4)]
    Link,
}

impl ActorKind {
    /// Every kind and its name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("authority", Self::Authority),
        ("credential", Self::Credential),
        ("session", Self::Session),
        ("operator", Self::Operator),
        ("link", Self::Link),
    ];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}
