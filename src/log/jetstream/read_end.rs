//! The end of the log as one node knows it: what the next frame must continue.

use super::copy::{CommitFold, key};
use crate::{
    StoredCommit,
    sled::frame::{self, FrameCheck, NO_FRAME},
    tail::LogTail,
};
use tenure_core::Position;

/// What a node has read, up to its last frame.
#[derive(Clone, Debug)]
pub(super) struct ReadEnd {
    pub(super) tail: LogTail,
    /// The last frame's.
    pub(super) check: FrameCheck,
    /// The last frame's place in the stream.
    pub(super) sequence: u64,
    /// The last frame's leadership.
    pub(super) term: u64,
}

impl ReadEnd {
    /// Of an empty log.
    pub(super) fn new() -> Self {
        Self { tail: LogTail::new(), check: NO_FRAME, sequence: 0, term: 0 }
    }

    pub(super) fn position(&self) -> Position {
        self.tail.position()
    }

    /// Where the next frame is kept.
    pub(super) fn next_key(&self) -> [u8; 16] {
        key(self.position().next(), self.sequence + 1)
    }

    /// Whether these bytes are a frame that continues what is known.
    pub(super) fn examine<'b>(&self, bytes: &'b [u8]) -> Result<frame::DecodedFrame<'b>, String> {
        let frame = frame::open(self.position().next(), bytes)?;
        if frame.previous != Some(self.check) {
            return Err("the frame does not continue the one before it".to_owned());
        }
        if frame.term < self.term {
            return Err(format!("the frame is of term {}, behind one of term {}", frame.term, self.term));
        }
        Ok(frame)
    }

    /// Goes on by a frame, and hands over its commits.
    pub(super) fn follow(&mut self, bytes: &[u8], fold: &mut CommitFold<'_>) -> Result<(), String> {
        let frame = self.examine(bytes)?;
        for (first, bytes) in &frame.commits {
            let stored = StoredCommit::decode(*first, bytes).map_err(|error| error.to_string())?;
            let followed = self.tail.follow(stored.commit.recorded_at, &stored.record_hashes);
            followed.map_err(|error| error.to_string())?;
            fold(stored)?;
        }
        self.passed(frame.check, frame.term);
        Ok(())
    }

    /// The next frame was this one; its commits are in the tail.
    pub(super) fn passed(&mut self, check: FrameCheck, term: u64) {
        (self.check, self.term) = (check, term);
        self.sequence += 1;
    }
}
