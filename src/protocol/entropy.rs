//! Randomness, as an argument: code that needs unguessable bytes holds an [`Entropy`].
//!
//! The ids, jitter and keys made here travel in commands: `decide` draws nothing itself, so the same seed
//! gives the same log.

use parking_lot::Mutex;
use rand::Rng;
use uuid::{Builder, Uuid};

use crate::{CommitId, CredentialId, SessionId, Timestamp, WebhookId};

/// Gives unguessable bytes (but for [`SeededEntropy`]).
pub trait Entropy: Send + Sync {
    /// Fills `out`.
    fn fill(&self, out: &mut [u8]);
}

/// A cryptographic generator per thread, seeded by the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[expect(clippy::disallowed_methods, reason = "the one place that draws")]
    fn fill(&self, out: &mut [u8]) {
        rand::rng().fill_bytes(out);
    }
}

/// The same bytes for the same seed, on every machine and in every version: the output of BLAKE3 keyed by
/// the seed. For tests.
#[derive(Debug)]
pub struct SeededEntropy {
    stream: Mutex<blake3::OutputReader>,
}

impl SeededEntropy {
    /// The stream of this seed, from its beginning.
    pub fn new(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("tenure 2026 seeded entropy");
        hasher.update(&seed.to_le_bytes());
        Self { stream: Mutex::new(hasher.finalize_xof()) }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        self.stream.lock().fill(out);
    }
}

/// `N` bytes.
pub fn bytes<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut drawn = [0; N];
    entropy.fill(&mut drawn);
    drawn
}

/// A new session's id, a UUID of version 7 of this moment (RFC 9562).
pub fn session_id(entropy: &dyn Entropy, at: Timestamp) -> SessionId {
    SessionId::from_bytes(*uuid_v7(entropy, at).as_bytes())
}

/// A new credential's id, a UUID of version 7 of this moment.
pub fn credential_id(entropy: &dyn Entropy, at: Timestamp) -> CredentialId {
    CredentialId::from_bytes(*uuid_v7(entropy, at).as_bytes())
}

/// A new webhook's id, a UUID of version 7 of this moment.
pub fn webhook_id(entropy: &dyn Entropy, at: Timestamp) -> WebhookId {
    WebhookId::from_bytes(*uuid_v7(entropy, at).as_bytes())
}

/// A new access token's name, a UUID of version 7 of this moment.
pub fn token_id(entropy: &dyn Entropy, at: Timestamp) -> String {
    uuid_v7(entropy, at).to_string()
}

/// A new commit's id, a UUID of version 7 of this moment whose last two bytes are zero: they number its events. 58
/// random bits remain for the commits of one millisecond.
pub fn commit_id(entropy: &dyn Entropy, at: Timestamp) -> CommitId {
    let mut id = *uuid_v7(entropy, at).as_bytes();
    id[14..].fill(0);
    CommitId::from_bytes(id)
}

/// Where in its span a `renewAt` falls, from 0 to `u16::MAX`.
pub fn jitter(entropy: &dyn Entropy) -> u16 {
    u16::from_le_bytes(bytes(entropy))
}

fn uuid_v7(entropy: &dyn Entropy, at: Timestamp) -> Uuid {
    let millis = u64::try_from(at.as_millis()).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, &bytes(entropy)).into_uuid()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn moment() -> Timestamp {
        Timestamp::parse("2026-11-21T01:35:00Z").unwrap()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_however_they_are_drawn() {
        let whole: [u8; 48] = bytes(&SeededEntropy::new(7));
        let pieces = SeededEntropy::new(7);
        let (first, second): ([u8; 16], [u8; 32]) = (bytes(&pieces), bytes(&pieces));
        assert_eq!(whole[..], [&first[..], &second[..]].concat());
        assert_ne!(whole, bytes::<48>(&SeededEntropy::new(8)));
    }

    #[test]
    fn a_session_id_is_a_uuid_v7_of_its_moment() {
        let id = session_id(&SeededEntropy::new(1), moment());
        let uuid = Uuid::from_bytes(*id.as_bytes());
        assert_eq!(uuid.get_version_num(), 7);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        let (seconds, nanos) = uuid.get_timestamp().unwrap().to_unix();
        assert_eq!(seconds * 1000 + u64::from(nanos) / 1_000_000, moment().as_millis().unsigned_abs());
    }

    #[test]
    fn a_commit_id_leaves_room_for_the_numbers_of_its_events() {
        let id = commit_id(&SeededEntropy::new(1), moment());
        assert_eq!(Uuid::from_bytes(*id.as_bytes()).get_version_num(), 7);
        assert_eq!(id.as_bytes()[14..], [0, 0]);
    }

    #[test]
    fn ids_of_one_moment_differ() {
        let ids: HashSet<_> = (0..10_000).map(|_| commit_id(&OsEntropy, moment())).collect();
        assert_eq!(ids.len(), 10_000);
    }

    #[test]
    fn jitter_covers_its_range() {
        let drawn: Vec<_> = (0..1_000).map(|_| jitter(&OsEntropy)).collect();
        assert!(drawn.iter().any(|&jitter| jitter < 6_554) && drawn.iter().any(|&jitter| jitter > 58_982));
    }
}
