//! A log that lives as long as the process: for tests, and for a server that leaves no trace.

use parking_lot::RwLock;

use super::{
    AppendOutcome, EncodedCommit, EventLog, LogError, LogHead, StoredBytes, StoredCommit, tail::LogTail,
};
use tenure_core::Position;

/// Keeps commits in memory, as the bytes that a disk would hold.
///
/// Its "durable" is "in memory": it forgets all with the process, and keeps every other promise.
#[derive(Debug)]
pub struct MemoryLog {
    state: RwLock<MemoryState>,
}

#[derive(Debug)]
struct MemoryState {
    tail: LogTail,
    commits: Vec<StoredEntry>,
}

#[derive(Debug)]
struct StoredEntry {
    first: Position,
    last: Position,
    bytes: Vec<u8>,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self { state: RwLock::new(MemoryState { tail: LogTail::new(), commits: Vec::new() }) }
    }
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl EventLog for MemoryLog {
    fn append(&self, after: Position, batch: Vec<EncodedCommit>) -> Result<AppendOutcome, LogError> {
        let mut state = self.state.write();
        let mut staged = state.tail.stage(after, batch)?;
        let kept = std::mem::take(&mut staged.accepted).into_iter().map(|(first, commit)| StoredEntry {
            first,
            last: Position(first.0 + commit.count() - 1),
            bytes: commit.bytes,
        });
        state.commits.extend(kept);
        state.tail.admit(staged);
        Ok(AppendOutcome::Appended)
    }

    fn head(&self) -> LogHead {
        self.state.read().tail.head()
    }

    fn read(&self, after: Position, max_events: usize) -> Result<Vec<StoredCommit>, LogError> {
        let stored = self.read_bytes(after, max_events)?;
        stored
            .into_iter()
            .map(|StoredBytes { first, bytes }| {
                StoredCommit::decode(first, &bytes)
                    .map_err(|error| LogError::Corrupt { position: first, why: error.to_string() })
            })
            .collect()
    }

    fn read_bytes(&self, after: Position, max_events: usize) -> Result<Vec<StoredBytes>, LogError> {
        let state = self.state.read();
        let from = state.commits.partition_point(|kept| kept.last <= after);
        let mut found = Vec::new();
        let mut events = 0;
        for kept in &state.commits[from..] {
            if events >= max_events {
                break;
            }
            events += usize::try_from(kept.last.0 - kept.first.0 + 1).unwrap_or(usize::MAX);
            found.push(StoredBytes { first: kept.first, bytes: kept.bytes.clone() });
        }
        Ok(found)
    }

    fn stopped(&self) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance;

    #[test]
    fn it_keeps_the_promises() {
        conformance::check(&|| Box::new(MemoryLog::new()));
    }
}
