//! Which sessions bulk revocations ended, remembered because every verifier asks about the same ones.

use std::collections::HashMap;

use parking_lot::Mutex;

use tenure_core::{Position, SessionId};

/// Maximum bulk revocations that are remembered.
const REMEMBERED: usize = 64;

/// The sessions that the bulk revocations asked about lately ended, by the position of each.
#[derive(Debug, Default)]
pub(crate) struct EndedSessions(Mutex<HashMap<Position, Vec<SessionId>>>);

impl EndedSessions {
    /// Those that the revocation at this position ended; found once.
    pub(crate) fn by(&self, position: Position, find: impl FnOnce() -> Vec<SessionId>) -> Vec<SessionId> {
        let mut known = self.0.lock();
        if known.len() >= REMEMBERED && !known.contains_key(&position) {
            known.clear();
        }
        known.entry(position).or_insert_with(find).clone()
    }
}
