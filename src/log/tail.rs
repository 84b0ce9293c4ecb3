//! What a log must know of its own end to judge the next batch.

use super::{
    LogError, LogHead,
    record::{EncodedCommit, RecordHash},
    tree::TreeEdge,
};
use tenure_core::{Position, Timestamp};

/// The end of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogTail {
    recorded_at: Timestamp,
    tree: TreeEdge,
}

/// A batch that was judged, and is not yet written.
#[derive(Debug)]
pub(super) struct StagedBatch {
    /// What to write: each commit with its first position.
    pub(super) accepted: Vec<(Position, EncodedCommit)>,
    /// The end before it.
    before: LogTail,
    /// The end once it is durable.
    tail: LogTail,
}

impl LogTail {
    /// Of the empty log.
    pub(super) fn new() -> Self {
        Self { recorded_at: Timestamp::ZERO, tree: TreeEdge::new() }
    }

    /// Of a log that ends with this tree, at this recorded time.
    pub(super) const fn of(recorded_at: Timestamp, tree: TreeEdge) -> Self {
        Self { recorded_at, tree }
    }

    pub(super) const fn recorded_at(&self) -> Timestamp {
        self.recorded_at
    }

    pub(super) const fn tree(&self) -> &TreeEdge {
        &self.tree
    }

    pub(super) fn head(&self) -> LogHead {
        LogHead { position: self.position(), recorded_at: self.recorded_at, root: self.tree.root() }
    }

    /// The last position; without the work of computing the root.
    pub(super) fn position(&self) -> Position {
        Position(self.tree.size())
    }

    /// Judges a batch that was decided after this position. Changes nothing.
    pub(super) fn stage(&self, after: Position, batch: Vec<EncodedCommit>) -> Result<StagedBatch, LogError> {
        if after != self.position() {
            return Err(LogError::NotTheEnd { expected: after, actual: self.position() });
        }
        let accepted = Vec::with_capacity(batch.len());
        let mut staged = StagedBatch { accepted, before: self.clone(), tail: self.clone() };
        for commit in batch {
            let first = staged.tail.position().next();
            staged.tail.follow(commit.recorded_at, &commit.record_hashes)?;
            staged.accepted.push((first, commit));
        }
        Ok(staged)
    }

    /// What was staged is durable.
    pub(super) fn admit(&mut self, staged: StagedBatch) {
        *self = staged.tail;
    }

    /// Goes on by one commit.
    pub(super) fn follow(&mut self, recorded_at: Timestamp, hashes: &[RecordHash]) -> Result<(), LogError> {
        self.pass_to(recorded_at)?;
        for hash in hashes {
            self.tree.append(hash);
        }
        Ok(())
    }

    /// The same of a commit whose leaves are known.
    pub(super) fn follow_leaves(
        &mut self,
        recorded_at: Timestamp,
        leaves: &[[u8; 32]],
    ) -> Result<(), LogError> {
        self.pass_to(recorded_at)?;
        for leaf in leaves {
            self.tree.append_leaf(*leaf);
        }
        Ok(())
    }

    fn pass_to(&mut self, recorded_at: Timestamp) -> Result<(), LogError> {
        if recorded_at < self.recorded_at {
            return Err(LogError::OutOfOrder { last: self.recorded_at, given: recorded_at });
        }
        self.recorded_at = recorded_at;
        Ok(())
    }
}

impl StagedBatch {
    /// The end of the log before these, the last ones of what was accepted.
    pub(super) fn end_before(&self, rest: &[(Position, EncodedCommit)]) -> LogTail {
        let mut end = self.before.clone();
        for (_, commit) in &self.accepted[..self.accepted.len() - rest.len()] {
            // It was followed before, when the batch was judged.
            drop(end.follow(commit.recorded_at, &commit.record_hashes));
        }
        end
    }

    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.accepted.is_empty()
    }

    /// The head once it is durable.
    pub(super) fn head(&self) -> LogHead {
        self.tail.head()
    }
}
