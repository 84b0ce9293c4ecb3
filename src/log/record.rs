//! What the log knows of a commit apart from its meaning: its bytes, its stream, the hash of each record.

use std::{fmt, sync::LazyLock};

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use serde::{Serialize, Serializer};

use tenure_core::{CommitId, StreamId, Timestamp};

/// Thirty-two bytes that are written in lower-case hex.
macro_rules! digest32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Of these bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
            /// Its bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

digest32! {
    /// Commits to one event and to the header of its commit, as stored. A leaf of the tree is made of it.
    RecordHash
}
digest32! {
    /// The RFC 6962 tree head over a prefix of the log.
    RootHash
}

/// Stands for a stream where its name would be too long: sixteen bytes of BLAKE3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey([u8; 16]);

impl StreamKey {
    /// The key of this stream.
    pub fn of(stream: &StreamId) -> Self {
        match stream {
            StreamId::System => Self::named(None),
            StreamId::Subject(id) => Self::of_subject(id.as_str()),
        }
    }

    /// The key of the stream of this subject.
    pub(crate) fn of_subject(id: &str) -> Self {
        Self::named(Some(id))
    }

    fn named(subject: Option<&str>) -> Self {
        static KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context("tenure v1 stream"));
        let mut hasher = blake3::Hasher::new_from_context_key(&KEY);
        // The first byte keeps the system apart from every subject, whatever the subject is called.
        match subject {
            None => hasher.update(&[0]),
            Some(id) => hasher.update(&[1]).update(id.as_bytes()),
        };
        Self(first_half(&hasher.finalize()))
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The first sixteen bytes of a BLAKE3 hash, which is itself a hash.
pub(super) fn first_half(hash: &blake3::Hash) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_bytes()[..16]);
    half
}

/// A commit ready to be appended, made by [`encode`](super::encode): within the limits, and with what the
/// log must know to judge it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedCommit {
    pub(super) id: CommitId,
    pub(super) recorded_at: Timestamp,
    pub(super) bytes: Vec<u8>,
    pub(super) record_hashes: Vec<RecordHash>,
}

impl EncodedCommit {
    /// Its name, unique over all streams.
    pub const fn id(&self) -> CommitId {
        self.id
    }
    /// When it was decided.
    pub const fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }
    /// How many events it records; never none.
    pub fn count(&self) -> u64 {
        self.record_hashes.len() as u64
    }
    /// Its bytes, as they are stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// The hash of each of its events.
    pub fn record_hashes(&self) -> &[RecordHash] {
        &self.record_hashes
    }
}
