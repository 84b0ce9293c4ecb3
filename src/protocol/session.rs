//! The one-word properties of a session: how it is kept alive, how it stands, what ended it.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use serde::{Deserialize, Serialize};

/// How a session is kept alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionMode {
    /// By renewals, each with a new token.
    #[default]
    Fixed,
    /// By use behind a proxy, which refreshes it with the same token.
    Sliding,
}

impl SessionMode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Fixed, Self::Sliding];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Sliding => "sliding",
        }
    }
}

/// A `fixed` session is recorded as before there were other modes.
impl<C> Encode<C> for SessionMode {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.u8(*self as u8)?.ok()
    }

    fn is_nil(&self) -> bool {
        *self == Self::Fixed
    }
}

impl<'b, C> Decode<'b, C> for SessionMode {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        match d.u8()? {
            0 => Ok(Self::Fixed),
            1 => Ok(Self::Sliding),
            other => Err(decode::Error::unknown_variant(i64::from(other))),
        }
    }

    fn nil() -> Option<Self> {
        Some(Self::Fixed)
    }
}

/// What a session is at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SessionStatus {
    /// Its current token works.
    Active,
    /// Its period is over, or it was not used for its idle time.
    Expired,
    /// It was ended.
    Revoked,
}

/// What ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum EndTrigger {
    /// An admin, an issuer or its owner revoked it.
    #[n(0)]
    ManualRevoke,
    /// Its owner vetoed its renewal.
    #[n(1)]
    RenewalRejected,
    /// Its own holder ended it.
    #[n(2)]
    #[serde(rename = "self")]
    Own,
    /// A newer session needed its place.
    #[n(3)]
    Evicted,
    /// A token of an earlier generation came back.
    #[n(4)]
    TokenReuse,
    /// All sessions of its subject, or of a device, were ended.
    #[n(5)]
    SubjectRevoked,
    /// It was one of those of any subjects that were ended at once.
    #[n(6)]
    Bulk,
    /// The history was restored, and may lack what became of the session.
    #[n(7)]
    Restore,
}

impl EndTrigger {
    /// Every trigger with its name in the API, in the order of their numbers.
    pub const ALL: [(&str, Self); 8] = [
        ("manual_revoke", Self::ManualRevoke),
        ("renewal_rejected", Self::RenewalRejected),
        ("self", Self::Own),
        ("evicted", Self::Evicted),
        ("token_reuse", Self::TokenReuse),
        ("subject_revoked", Self::SubjectRevoked),
        ("bulk", Self::Bulk),
        ("restore", Self::Restore),
    ];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}
