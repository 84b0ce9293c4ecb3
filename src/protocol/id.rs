//! Names of things. What was checked has a type of its own, so that nothing is checked twice.

use std::{fmt, str::FromStr};

use arcstr::ArcStr;
use minicbor::{
    Decode, Decoder, Encode, Encoder, decode,
    encode::{self, Write},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

/// Why a text is not the name it was taken for; says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(pub &'static str);

/// Reads what has one spelling. The error does not quote the text, which may be a secret in the wrong place.
pub(crate) fn parsed<'de, T: FromStr<Err = E>, E: fmt::Display, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
}

/// Sixteen bytes, written as a UUID.
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Of these bytes; ids that the authority makes are UUIDv7.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
            /// Its bytes, as the log stores them.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
            /// Its characters, as it is shown.
            pub fn written(&self) -> [u8; 36] {
                let mut text = [0; 36];
                self.0.hyphenated().encode_lower(&mut text);
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            /// Only the hyphenated form: one id has one spelling.
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if text.len() != 36 {
                    return Err(InvalidId("must be a UUID such as 019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77"));
                }
                Uuid::try_parse(text)
                    .map(Self)
                    .map_err(|_| InvalidId("must be a UUID such as 019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77"))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut buffer = Uuid::encode_buffer();
                serializer.serialize_str(self.0.hyphenated().encode_lower(&mut buffer))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                parsed(deserializer)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
                e.bytes(self.as_bytes())?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                sixteen(d).map(Self::from_bytes)
            }
        }
    };
}

uuid_id! {
    /// Names a session.
    SessionId
}
uuid_id! {
    /// Names an API key; the key itself is never stored.
    CredentialId
}
uuid_id! {
    /// Names a webhook; its URL and its secret are never recorded.
    WebhookId
}
uuid_id! {
    /// Names a commit. Its last two bytes are zero: they number the events in it.
    CommitId
}
uuid_id! {
    /// Names a recorded event, independently of its position.
    EventId
}

impl CommitId {
    /// The id of the event at `index` of this commit: the same bytes, the last two counting.
    pub fn event(self, index: u16) -> EventId {
        let mut bytes = *self.as_bytes();
        bytes[14..].copy_from_slice(&index.to_be_bytes());
        EventId::from_bytes(bytes)
    }
}

/// A keyed digest of sixteen bytes: of a device's name, or of an idempotency key.
///
/// It is compared, never reversed; only a holder of the key can make one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest16([u8; 16]);

impl Digest16 {
    /// Of these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Digest16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest16 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<C> Encode<C> for Digest16 {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Digest16 {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        sixteen(d).map(Self)
    }
}

fn sixteen(d: &mut Decoder<'_>) -> Result<[u8; 16], decode::Error> {
    d.bytes()?.try_into().map_err(|_| decode::Error::message("an id is 16 bytes long"))
}

/// A name that callers chose: 1 to 128 of `A-Z a-z 0-9 . _ : @ -`, neither `.` nor `..`. Every session has one in
/// it: it takes the room of one pointer, and its copies share the text.
macro_rules! chosen_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(ArcStr);

        impl $name {
            /// As it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                check_chosen(text).map(|()| Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                parsed(deserializer)
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
                e.str(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                d.str()?.parse().map_err(|InvalidId(why)| decode::Error::message(why))
            }
        }
    };
}

chosen_id! {
    /// Names a subject: an agent, a user or a service.
    SubjectId
}
chosen_id! {
    /// Names an owner: who answers for subjects.
    OwnerId
}

/// The longest name that callers chose.
pub const LONGEST_CHOSEN: usize = 128;

fn check_chosen(text: &str) -> Result<(), InvalidId> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._:@-".contains(c);
    if text.is_empty() || text.len() > LONGEST_CHOSEN || !text.chars().all(allowed) {
        return Err(InvalidId("must be 1 to 128 of A-Z a-z 0-9 . _ : @ -"));
    }
    if text == "." || text == ".." {
        return Err(InvalidId("must not be . or .."));
    }
    Ok(())
}

/// What a key is called: its PASERK id, which gives nothing of it away.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(ArcStr);

impl KeyId {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let digest = text.strip_prefix("k4.lid.").or_else(|| text.strip_prefix("k4.pid."));
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        match digest {
            Some(digest) if digest.len() == 44 && digest.bytes().all(is_base64) => Ok(Self(text.into())),
            Some(_) | None => Err(InvalidId("must be the id of a key, k4.lid. or k4.pid. and 44 characters")),
        }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parsed(deserializer)
    }
}

impl<C> Encode<C> for KeyId {
    fn encode<W: Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for KeyId {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        d.str()?.parse().map_err(|InvalidId(why)| decode::Error::message(why))
    }
}

/// The place of one event in the total order, dense from 1. `Position(0)` is before the first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Position(#[n(0)] pub u64);

impl FromStr for Position {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse()
            .ok()
            .filter(|_| is_plain)
            .map(Self)
            .ok_or(InvalidId("must be a position, a whole number"))
    }
}

impl Position {
    /// Before the first event: the empty log.
    pub const ZERO: Self = Self(0);

    /// The position `count` events further on.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0 + count)
    }
    /// The position of the next event.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How often a session's token was replaced, from 1. Only tokens of the current generation work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Generation(#[n(0)] pub u32);

impl Generation {
    /// The generation of the token that a session is created with.
    pub const FIRST: Self = Self(1);

    /// How many renewals led to it.
    pub const fn renewals(self) -> u32 {
        self.0 - Self::FIRST.0
    }

    /// The generation after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_name_has_128_characters_at_most() {
        assert!("a".repeat(128).parse::<SubjectId>().is_ok());
        assert!("a".repeat(129).parse::<SubjectId>().is_err());
        assert!("".parse::<SubjectId>().is_err());
    }

    #[test]
    fn a_chosen_name_has_only_the_listed_characters() {
        assert!("svc:build@eu-1.example_x".parse::<OwnerId>().is_ok());
        for wrong in ["a/b", "ä", "a b", ".", "..", "a%20"] {
            assert!(wrong.parse::<OwnerId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_uuid_has_one_spelling() {
        let id: SessionId = "019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77".parse().unwrap();
        assert_eq!(id.to_string(), "019375c1-6a3e-7c52-9d5e-0f2b8a1c4e77");
        assert!("019375c16a3e7c529d5e0f2b8a1c4e77".parse::<SessionId>().is_err());
    }

    #[test]
    fn the_events_of_a_commit_have_ids_of_their_own() {
        let commit = CommitId::from_bytes([7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0]);
        assert_ne!(commit.event(0), commit.event(1));
    }
}
