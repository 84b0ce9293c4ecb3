//! The keys that the authority shows: what they signed is taken, until they retire.

use std::{collections::HashMap, sync::Arc};

use super::paseto::PublicKey;
use tenure_protocol::Timestamp;

/// Keys by their ids. What is not in it signs nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySet(HashMap<Arc<str>, VerificationKey>);

/// A key, and until when it counts.
#[derive(Clone, Debug)]
pub(super) struct VerificationKey {
    pub(super) key: PublicKey,
    /// When it stops counting.
    pub(super) retire_at: Option<Timestamp>,
}

impl KeySet {
    pub(super) fn of(keys: impl IntoIterator<Item = VerificationKey>) -> Self {
        Self(keys.into_iter().map(|key| (Arc::clone(key.key.id()), key)).collect())
    }

    /// The key of this id, when it is one of the authority's and not retired.
    pub(super) fn key(&self, id: &str, now: Timestamp) -> Option<&PublicKey> {
        let found = self.0.get(id)?;
        let is_retired = found.retire_at.is_some_and(|retire_at| now >= retire_at);
        (!is_retired).then_some(&found.key)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
