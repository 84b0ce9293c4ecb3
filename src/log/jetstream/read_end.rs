//! The end of the log as one node knows it: what the next frame must continue.

use super::copy::{CommitFold, key};
use crate::{
    StoredCommit,
    sled::frame::{self, DecodedFrame, FrameCheck, NO_FRAME},
    tail::LogTail,
    tree::leaves,
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
    /// Whether the next frame is the first one behind what is in segments, and may hold some of that too.
    pub(super) is_at_segments: bool,
}

/// A frame as the next ones continue it.
#[derive(Clone, Copy, Debug)]
pub(super) struct FrameMark {
    pub(super) sequence: u64,
    pub(super) check: FrameCheck,
    pub(super) term: u64,
}

impl FrameMark {
    /// The frame before this one, which stands at a sequence; none before the first one.
    pub(super) fn before(frame: &DecodedFrame<'_>, sequence: u64) -> Option<Self> {
        Some(Self { sequence: sequence.checked_sub(1)?, check: frame.previous?, term: frame.term })
    }
}

impl ReadEnd {
    /// Of an empty log.
    #[cfg(test)]
    pub(super) fn new() -> Self {
        Self::behind_segments(LogTail::new())
    }

    /// Of what is in segments, which may be nothing; which frame holds the end of it is not known yet.
    pub(super) const fn behind_segments(tail: LogTail) -> Self {
        Self { tail, check: NO_FRAME, sequence: 0, term: 0, is_at_segments: false }
    }

    /// Whether it is known which frame comes next.
    pub(super) fn is_placed(&self) -> bool {
        self.sequence > 0 || self.position() == Position::ZERO
    }

    /// What is in segments ends in the frame behind this one, or with this one.
    pub(super) const fn stands_behind(&mut self, mark: FrameMark) {
        (self.sequence, self.check, self.term) = (mark.sequence, mark.check, mark.term);
        self.is_at_segments = true;
    }

    pub(super) fn position(&self) -> Position {
        self.tail.position()
    }

    /// Where the next frame is kept.
    pub(super) fn next_key(&self) -> [u8; 16] {
        key(self.position().next(), self.sequence + 1)
    }

    /// Where this frame is kept, if it is the next one.
    pub(super) fn key_of(&self, bytes: &[u8]) -> [u8; 16] {
        key(self.first_of(bytes), self.sequence + 1)
    }

    /// Where the next frame must begin. Other than a segment, a frame may hold the end of one range and the beginning of
    /// the next.
    fn first_of(&self, bytes: &[u8]) -> Position {
        let next = self.position().next();
        let stated = frame::first_of(bytes).filter(|first| self.is_at_segments && *first < next);
        stated.unwrap_or(next)
    }

    /// Whether these bytes are a frame that continues what is known.
    pub(super) fn examine<'b>(&self, bytes: &'b [u8]) -> Result<DecodedFrame<'b>, String> {
        let frame = frame::open(self.first_of(bytes), bytes)?;
        if frame.next < self.position().next() {
            return Err("the frame ends before what is in segments does".to_owned());
        }
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
        let sealed = self.position();
        for (first, bytes) in frame.commits.iter().filter(|(first, _)| *first > sealed) {
            if *first != self.position().next() {
                return Err("a commit of the frame crosses the end of a segment".to_owned());
            }
            let stored = StoredCommit::decode(*first, bytes).map_err(|error| error.to_string())?;
            let leaves = leaves(&stored.record_hashes);
            let followed = self.tail.follow_leaves(stored.commit.recorded_at, &leaves);
            followed.map_err(|error| error.to_string())?;
            fold(stored, &leaves)?;
        }
        self.passed(frame.check, frame.term);
        Ok(())
    }

    /// The next frame was this one; its commits are in the tail.
    pub(super) fn passed(&mut self, check: FrameCheck, term: u64) {
        (self.check, self.term, self.is_at_segments) = (check, term, false);
        self.sequence += 1;
    }
}
