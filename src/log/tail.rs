//! What a log must know of its own end to judge the next commit.

use hashbrown::HashMap;

use super::{
    Head, LogError, Outcome,
    record::{EncodedCommit, RecordHash, StreamKey},
    tree::Tree,
};
use crate::domain::{Position, Timestamp};

/// The end of a log: its head, and the last position of every stream.
#[derive(Debug)]
pub(super) struct Tail {
    end: End,
    streams: HashMap<StreamKey, Position>,
}

/// The part of it that is small enough to be copied for every batch.
#[derive(Clone, Debug)]
struct End {
    recorded_at: Timestamp,
    tree: Tree,
}

/// A batch that was judged, and is not yet written.
#[derive(Debug)]
pub(super) struct Staged {
    /// What to answer once it is durable.
    pub(super) outcomes: Vec<Outcome>,
    /// What to write: each accepted commit with its first position.
    pub(super) accepted: Vec<(Position, EncodedCommit)>,
    /// What the streams that it touches end with.
    touched: HashMap<StreamKey, Position>,
    /// Indices of the conflicts that exist only if commits of this same batch do.
    leaning: Vec<usize>,
    end: End,
}

impl Tail {
    /// Of the empty log.
    pub(super) fn new() -> Self {
        let end = End { recorded_at: Timestamp::ZERO, tree: Tree::new() };
        Self { end, streams: HashMap::new() }
    }

    pub(super) fn head(&self) -> Head {
        self.end.head()
    }

    /// The last position; without the work of computing the root.
    pub(super) fn position(&self) -> Position {
        self.end.position()
    }

    /// Judges each commit against what is durable and against those in front of it. Changes nothing.
    pub(super) fn stage(&self, batch: Vec<EncodedCommit>) -> Result<Staged, LogError> {
        let mut staged = Staged {
            outcomes: Vec::with_capacity(batch.len()),
            accepted: Vec::with_capacity(batch.len()),
            touched: HashMap::new(),
            leaning: Vec::new(),
            end: self.end.clone(),
        };
        for commit in batch {
            let in_batch = staged.touched.get(&commit.stream).copied();
            let actual = in_batch.or_else(|| self.streams.get(&commit.stream).copied()).unwrap_or_default();
            if commit.expected == actual {
                staged.accept(commit)?;
            } else {
                staged.leaning.extend(in_batch.map(|_| staged.outcomes.len()));
                staged.outcomes.push(Outcome::Conflict { actual });
            }
        }
        Ok(staged)
    }

    /// What was staged is durable.
    pub(super) fn admit(&mut self, staged: Staged) -> Vec<Outcome> {
        self.end = staged.end;
        self.streams.extend(staged.touched);
        staged.outcomes
    }

    /// Follows a commit that is durable already, as it is met when the log is read from its start.
    pub(super) fn follow(
        &mut self,
        stream: StreamKey,
        expected: Position,
        recorded_at: Timestamp,
        hashes: &[RecordHash],
    ) -> Result<(), String> {
        let actual = self.streams.get(&stream).copied().unwrap_or_default();
        if expected != actual {
            return Err(format!("its stream ends at {actual}, but the commit continues {expected}"));
        }
        let last = self.end.extend(recorded_at, hashes).map_err(|error| error.to_string())?;
        self.streams.insert(stream, last);
        Ok(())
    }
}

impl Staged {
    /// Whether there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.accepted.is_empty()
    }

    /// The head once it is durable.
    pub(super) fn head(&self) -> Head {
        self.end.head()
    }

    /// What to answer if its writing failed: only conflicts with what was durable before are certain.
    pub(super) fn unknown(mut self) -> Vec<Outcome> {
        for outcome in &mut self.outcomes {
            if matches!(outcome, Outcome::Appended { .. }) {
                *outcome = Outcome::Unknown;
            }
        }
        for index in self.leaning {
            self.outcomes[index] = Outcome::Unknown;
        }
        self.outcomes
    }

    fn accept(&mut self, commit: EncodedCommit) -> Result<(), LogError> {
        let first = self.end.position().next();
        let last = self.end.extend(commit.recorded_at, &commit.record_hashes)?;
        self.touched.insert(commit.stream, last);
        self.outcomes.push(Outcome::Appended { first });
        self.accepted.push((first, commit));
        Ok(())
    }
}

impl End {
    fn position(&self) -> Position {
        Position(self.tree.size())
    }

    fn head(&self) -> Head {
        Head { position: self.position(), recorded_at: self.recorded_at, root: self.tree.root() }
    }

    /// Goes on by one commit; gives its last position.
    fn extend(&mut self, recorded_at: Timestamp, hashes: &[RecordHash]) -> Result<Position, LogError> {
        if recorded_at < self.recorded_at {
            return Err(LogError::OutOfOrder { last: self.recorded_at, given: recorded_at });
        }
        self.recorded_at = recorded_at;
        for hash in hashes {
            self.tree.append(hash);
        }
        Ok(self.position())
    }
}
