//! Shares of owners in what all webhooks have together: an owner who holds what it has for long waits for itself alone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use tenure_core::OwnerId;

/// The shares of all owners, and of the webhooks of none.
pub(crate) struct OwnerShares {
    each: usize,
    owners: Mutex<BTreeMap<Option<OwnerId>, Weak<Semaphore>>>,
}

impl OwnerShares {
    /// So many places for each owner.
    pub(crate) const fn of_each(each: usize) -> Self {
        Self { each, owners: Mutex::new(BTreeMap::new()) }
    }

    /// An owner's share. It is remembered for as long as somebody has it.
    pub(crate) fn of(&self, owner: Option<&OwnerId>) -> Arc<Semaphore> {
        let mut owners = self.owners.lock();
        let owner = owner.cloned();
        if let Some(share) = owners.get(&owner).and_then(Weak::upgrade) {
            return share;
        }
        owners.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.each));
        owners.insert(owner, Arc::downgrade(&share));
        share
    }
}

/// A place, once there is one.
pub(crate) async fn place(share: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(share).acquire_owned().await.expect("the semaphore is never closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_that_has_gone_leaves_nothing() {
        let shares = OwnerShares::of_each(1);
        for number in 0..100 {
            drop(shares.of(Some(&format!("owner-{number}").parse().unwrap())));
        }
        assert!(shares.owners.lock().len() <= 1);
    }
}
