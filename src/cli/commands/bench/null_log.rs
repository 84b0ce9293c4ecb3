//! A log that keeps nothing: what an authority costs without its log.

use parking_lot::Mutex;

use tenure_core::{Position, Timestamp};
use tenure_log::{
    AppendOutcome, EncodedCommit, EventLog, LogError, LogHead, RootHash, StoredBytes, StoredCommit,
};

/// Counts, and forgets.
#[derive(Debug)]
pub(super) struct NullLog(Mutex<LogHead>);

impl NullLog {
    pub(super) fn new() -> Self {
        let root = RootHash::from_bytes([0; 32]);
        Self(Mutex::new(LogHead { position: Position::ZERO, recorded_at: Timestamp::ZERO, root }))
    }
}

impl EventLog for NullLog {
    fn append(&self, _: Position, batch: Vec<EncodedCommit>) -> Result<AppendOutcome, LogError> {
        let mut head = self.0.lock();
        for commit in &batch {
            head.position = head.position.plus(commit.count());
            head.recorded_at = commit.recorded_at();
        }
        Ok(AppendOutcome::Appended)
    }

    fn head(&self) -> LogHead {
        *self.0.lock()
    }

    fn read(&self, _: Position, _: usize) -> Result<Vec<StoredCommit>, LogError> {
        Ok(Vec::new())
    }

    fn read_bytes(&self, _: Position, _: usize) -> Result<Vec<StoredBytes>, LogError> {
        Ok(Vec::new())
    }

    fn stopped(&self) -> Option<String> {
        None
    }
}
