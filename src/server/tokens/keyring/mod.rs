//! The keys that prove tokens: those of session tokens in `DATA/keys/session`, those of access tokens in
//! `DATA/keys/access`. How they are stored and replaced is up to the key store.

use std::{path::Path, sync::Arc};

use super::{
    key_store::{KeyMaterial, KeyStore},
    paseto::{SealingKey, SigningKey},
};
use tenure_core::{KeyId, KeyUse, Timestamp, keys::KeyHistory};
use tenure_files::key_files::{KeyFileError, WriteHealth};
use tenure_protocol::entropy::Entropy;

/// The keys of all tokens, at least one of each use. Cheap to clone; clones see each other's changes.
#[derive(Clone, Debug)]
pub struct TokenKeyring {
    pub(super) session: Arc<KeyStore<SealingKey>>,
    pub(super) access: Arc<KeyStore<SigningKey>>,
}

/// A key that was drawn and is not in use yet.
#[derive(Debug)]
pub struct NewKey(NewMaterial);

#[derive(Debug)]
enum NewMaterial {
    Session(SealingKey),
    Access(SigningKey),
}

impl NewKey {
    /// A new key for this use.
    pub fn draw(which: KeyUse, entropy: &dyn Entropy) -> Self {
        Self(match which {
            KeyUse::Session => NewMaterial::Session(SealingKey::draw(entropy)),
            KeyUse::Access => NewMaterial::Access(SigningKey::draw(entropy)),
        })
    }

    /// Its id.
    pub fn id(&self) -> &KeyId {
        match &self.0 {
            NewMaterial::Session(key) => key.id(),
            NewMaterial::Access(key) => key.id(),
        }
    }
}

impl TokenKeyring {
    /// Reads the keys below `keys` (`DATA/keys`) that these facts name; makes and stores the first ones where there
    /// are none yet. Files of keys that the facts do not name, or whose time is over, are removed.
    ///
    /// Fails when a file or directory is open to others, is damaged, or is named as no key is, and when the key that
    /// seals is not there.
    pub fn open(
        keys: &Path,
        known: &KeyHistory,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyFileError> {
        let session = KeyStore::open(keys, known.of(KeyUse::Session), now, entropy)?;
        let access = KeyStore::open(keys, known.of(KeyUse::Access), now, entropy)?;
        Ok(Self { session: Arc::new(session), access: Arc::new(access) })
    }

    /// The same where another epoch begins, and with it other keys seal: those of the facts may be gone.
    pub(crate) fn open_to_rotate(
        keys: &Path,
        known: &KeyHistory,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyFileError> {
        let session = KeyStore::open_to_rotate(keys, known.of(KeyUse::Session), now, entropy)?;
        let access = KeyStore::open_to_rotate(keys, known.of(KeyUse::Access), now, entropy)?;
        Ok(Self { session: Arc::new(session), access: Arc::new(access) })
    }

    /// The id of the key that seals.
    pub fn active(&self, which: KeyUse) -> KeyId {
        match which {
            KeyUse::Session => self.session.ring().active.key.id().clone(),
            KeyUse::Access => self.access.ring().active.key.id().clone(),
        }
    }

    /// The ids of all keys whose tokens open here.
    pub(crate) fn ids(&self) -> Vec<KeyId> {
        self.session.ring().ids().chain(self.access.ring().ids()).cloned().collect()
    }

    /// Writes a new key. It is durable when this returns, and seals nothing before the fact that admits it is
    /// [followed](Self::follow).
    pub fn keep(&self, key: NewKey) -> Result<(), KeyFileError> {
        match key.0 {
            NewMaterial::Session(key) => self.session.keep(key),
            NewMaterial::Access(key) => self.access.keep(key),
        }
    }

    /// How the writing of the key files of each use has been going.
    pub fn writes(&self) -> [&WriteHealth; 2] {
        [&self.session.writes, &self.access.writes]
    }

    /// Reads the files again: another machine's keys may have been put there. None of them works before it is
    /// [followed](Self::follow).
    ///
    /// # Errors
    /// A file is damaged.
    pub(crate) fn recheck(&self) -> Result<(), KeyFileError> {
        self.session.recheck()?;
        self.access.recheck()
    }

    /// Lets those keys work that the facts name now. Returns whether those that seal are there; otherwise the ones
    /// before go on.
    pub fn follow(&self, known: &KeyHistory, now: Timestamp) -> bool {
        self.session.follow(known.of(KeyUse::Session), now)
            & self.access.follow(known.of(KeyUse::Access), now)
    }

    /// Lets keys work that came here after the facts that name them.
    pub(crate) fn catch_up(&self, known: &KeyHistory, now: Timestamp) {
        self.session.catch_up(known.of(KeyUse::Session), now);
        self.access.catch_up(known.of(KeyUse::Access), now);
    }

    /// Removes the keys whose time is over, from memory and from disk.
    pub fn remove_over(&self, now: Timestamp) {
        self.session.remove_over(now);
        self.access.remove_over(now);
    }

    /// The public key (PASERK `k4.public`) of the access key with this id; `None` if it is not in the ring.
    pub fn public(&self, id: &KeyId, now: Timestamp) -> Option<String> {
        let ring = self.access.ring();
        ring.key(id.as_str(), || now).map(|placed| placed.key.public().to_owned())
    }
}

#[cfg(test)]
mod tests;
