//! The one reading of the whole log at a start: every frame, every commit, and the whole against the head
//! record.

use std::{collections::VecDeque, path::PathBuf};

use super::{
    OpenError,
    error::damaged,
    frame::{self, FrameCheck},
    head_file::HeadRecord,
    ordered_work::in_order,
    store::SledStore,
    store_files::StoreFiles,
};
use crate::{
    LogHead, RecordHash, StoredCommit,
    ranges::SegmentRanges,
    segment::{Segment, SegmentBlocks, SegmentError},
    tail::LogTail,
    tree::leaf,
};
use tenure_core::Position;

/// A scan keeps every page that it read, whatever the cache's capacity (1.98 GB were seen after 2 GB of
/// frames). So after this many bytes of frames the handle is dropped and the store opened again: what the
/// allocator got back serves the next part, and a start needs no more memory for a longer history.
const REOPEN_EVERY_BYTES: u64 = 64 * 1024 * 1024;

/// What is done with each commit and the leaves of its records.
pub(super) type CommitFold<'f> = dyn FnMut(StoredCommit, &[[u8; 32]]) -> Result<(), String> + 'f;

/// The reading, store after store.
pub(super) struct StoreScan<'s> {
    pub(super) record: &'s HeadRecord,
    fold: &'s mut CommitFold<'s>,
    /// How far it has come.
    pub(super) tail: LogTail,
    /// The check of the last frame, where it is known.
    pub(super) check: Option<FrameCheck>,
    pub(super) ranges: SegmentRanges,
    /// The log at the end of each range that is in no segment yet, in order.
    pub(super) ends: VecDeque<LogTail>,
    /// Where the last range ends.
    last_end: Position,
    /// Which log it is: the hash of its first record.
    log_id: Option<RecordHash>,
    /// The file being read, for errors.
    db: PathBuf,
}

/// What a start says of a segment that does not read as it was written.
pub(crate) fn troubled(segment: &Segment, trouble: SegmentError) -> OpenError {
    match trouble {
        SegmentError::Damaged { first, last, why, .. } => OpenError::Damaged {
            path: segment.path.clone(),
            position: Some(first),
            why: format!("positions {first} to {last}: {why}"),
        },
        SegmentError::Wanting(why) => {
            OpenError::Io { path: segment.path.clone(), source: std::io::Error::other(why) }
        }
    }
}

/// A commit as it was read, before it is known whether it follows.
struct ReadCommit {
    first: Position,
    /// How many it has.
    bytes: usize,
    /// With the leaves of its records; or why it is none.
    decoded: Result<(StoredCommit, Vec<[u8; 32]>), String>,
}

impl ReadCommit {
    fn of(first: Position, bytes: &[u8]) -> Self {
        let with_leaves = |stored: StoredCommit| {
            let leaves = stored.record_hashes.iter().map(leaf).collect();
            (stored, leaves)
        };
        let decoded = StoredCommit::decode(first, bytes).map(with_leaves).map_err(|error| error.to_string());
        Self { first, bytes: bytes.len(), decoded }
    }

    fn all_of(blocks: &SegmentBlocks<'_>, number: usize) -> Result<Vec<Self>, SegmentError> {
        let bytes = blocks.read(number)?;
        let commits = blocks.commits(number, &bytes)?.into_iter();
        Ok(commits.map(|(first, _, bytes)| Self::of(first, bytes)).collect())
    }
}

/// A frame as it was read.
struct ReadFrame {
    first: Position,
    bytes: u64,
    opened: Result<OpenedFrame, String>,
}

/// What a frame says, and those of its commits that are in no segment.
struct OpenedFrame {
    previous: Option<FrameCheck>,
    check: FrameCheck,
    commits: Vec<ReadCommit>,
}

impl ReadFrame {
    fn of(first: Position, bytes: &[u8], sealed: Position) -> Self {
        Self { first, bytes: bytes.len() as u64, opened: OpenedFrame::of(first, bytes, sealed) }
    }
}

impl OpenedFrame {
    fn of(first: Position, bytes: &[u8], sealed: Position) -> Result<Self, String> {
        let frame = frame::open(first, bytes)?;
        // What is in a segment already was read there.
        let commits = frame.ranges().filter(|(first, _, _)| *first > sealed);
        let commits = commits.map(|(first, _, bytes)| ReadCommit::of(first, bytes)).collect();
        Ok(Self { previous: frame.previous, check: frame.check, commits })
    }
}

/// How far one store was read.
struct ScannedPart {
    /// Where its last frame begins that was read.
    last_frame: Option<Position>,
    frame_bytes: u64,
    is_all: bool,
}

impl<'s> StoreScan<'s> {
    pub(super) fn new(record: &'s HeadRecord, ranges: SegmentRanges, fold: &'s mut CommitFold<'s>) -> Self {
        Self {
            record,
            fold,
            tail: LogTail::new(),
            check: Some(frame::NO_FRAME),
            ranges,
            ends: VecDeque::new(),
            last_end: Position::ZERO,
            log_id: None,
            db: PathBuf::new(),
        }
    }

    /// Whether a range ends where the reading is.
    pub(super) fn is_at_an_end(&self) -> bool {
        self.tail.position() == self.last_end
    }

    /// Goes on behind this segment, of which only the header was read: it continues the one before it, and says what
    /// the log is at its end.
    pub(super) fn pass_by(&mut self, segment: &Segment) -> Result<(), OpenError> {
        self.expect_next(segment)?;
        let header = &segment.header;
        if self.log_id.is_some_and(|id| id != header.log_id) {
            return Err(self.damaged("the segment is of another log than the one before it".to_owned()));
        }
        (self.log_id, self.check) = (Some(header.log_id), None);
        self.tail = header.end.clone();
        self.last_end = header.last();
        self.ranges = SegmentRanges::new(self.ranges.events(), header.last());
        Ok(())
    }

    fn expect_next(&mut self, segment: &Segment) -> Result<(), OpenError> {
        self.db.clone_from(&segment.path);
        let header = &segment.header;
        if header.first() != self.next() {
            return Err(self.damaged(format!("is missing; the next segment begins at {}", header.first())));
        }
        if header.base != self.tail {
            return Err(self.damaged("the segment does not continue the one before it".to_owned()));
        }
        Ok(())
    }

    /// Reads everything that this segment holds, with every check.
    pub(super) fn segment(&mut self, segment: &Segment) -> Result<(), OpenError> {
        self.expect_next(segment)?;
        let header = &segment.header;
        self.compare_with_record()?;
        self.check = None;
        self.commits_of(segment)?;
        let is_whole = header.end == self.tail && self.log_id == Some(header.log_id);
        if !is_whole || !self.is_at_an_end() || self.ends.len() != 1 {
            return Err(
                self.damaged("the segment is not the range of the history that it should be".to_owned())
            );
        }
        self.ends.clear();
        Ok(())
    }

    fn commits_of(&mut self, segment: &Segment) -> Result<(), OpenError> {
        let troubled = |trouble| troubled(segment, trouble);
        let blocks = segment.blocks().map_err(troubled)?;
        let mut numbers = 0..blocks.len();
        in_order(
            || numbers.next(),
            |number| ReadCommit::all_of(&blocks, number),
            |read| read.map_err(troubled)?.into_iter().try_for_each(|commit| self.next_commit(commit)),
        )
    }

    fn next_commit(&mut self, commit: ReadCommit) -> Result<(), OpenError> {
        if commit.first != self.next() {
            return Err(self.damaged(format!("is missing; the next commit begins at {}", commit.first)));
        }
        self.follow(commit)?;
        self.compare_with_record()
    }

    /// Reads everything that this store holds; gives it back with the sum of its frames.
    pub(super) fn store(&mut self, files: &StoreFiles) -> Result<(SledStore, u64), OpenError> {
        self.db.clone_from(&files.db);
        if files.number == self.record.store.number && self.tail == self.record.store.base {
            self.check = self.check.or(Some(self.record.store.base_check));
        }
        self.compare_with_record()?;
        let mut store = files.open()?;
        let mut part = ScannedPart { last_frame: None, frame_bytes: 0, is_all: false };
        self.part(&store, &mut part)?;
        while !part.is_all {
            store = files.reopen(store)?;
            self.part(&store, &mut part)?;
        }
        Ok((store, part.frame_bytes))
    }

    /// Goes on where the part before has stopped.
    fn part(&mut self, store: &SledStore, part: &mut ScannedPart) -> Result<(), OpenError> {
        let mut frames = match part.last_frame {
            None => store.frames_from(self.next()).map_err(|error| self.damaged(error.to_string()))?,
            last => store.frames_after(last),
        };
        let (mut taken, mut is_all) = (0, false);
        let next = || {
            let read = (taken < REOPEN_EVERY_BYTES).then(|| frames.try_next().transpose());
            is_all = matches!(read, Some(None));
            read.flatten().inspect(|read| taken += read.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64))
        };
        let sealed = self.tail.position();
        in_order(
            next,
            |read| read.map(|(first, bytes)| ReadFrame::of(first, &bytes, sealed)),
            |read| {
                let read = read.map_err(|why| self.damaged(why))?;
                (part.last_frame, part.frame_bytes) = (Some(read.first), part.frame_bytes + read.bytes);
                self.frame(read)
            },
        )?;
        part.is_all = is_all;
        Ok(())
    }

    fn frame(&mut self, read: ReadFrame) -> Result<(), OpenError> {
        let first = read.first;
        if first > self.next() || (first < self.next() && self.check.is_some()) {
            let hint = if self.check.is_none() && first > self.next() {
                format!(": a file before this one is gone, such as segments/{:020}.segment", self.next().0)
            } else {
                String::new()
            };
            return Err(self.damaged(format!("is missing; the next frame begins at {first}{hint}")));
        }
        let frame = read.opened.map_err(|why| self.damaged(why))?;
        if let (Some(stated), Some(known)) = (frame.previous, self.check)
            && stated != known
        {
            return Err(self.damaged("the frame does not continue the one before it".to_owned()));
        }
        for commit in frame.commits {
            self.follow(commit)?;
            self.compare_with_record()?;
        }
        self.check = Some(frame.check);
        if self.tail.position() == self.record.position
            && self.record.check.is_some_and(|is| is != frame.check)
        {
            let why = "the frame up to here is not the one that log.head was written of";
            return Err(damaged(&self.db, Some(self.tail.position()), why));
        }
        Ok(())
    }

    fn follow(&mut self, commit: ReadCommit) -> Result<(), OpenError> {
        let ReadCommit { first, bytes, decoded } = commit;
        let (stored, leaves) = decoded.map_err(|why| self.damaged(why))?;
        let followed = self.tail.follow_leaves(stored.commit.recorded_at, &leaves);
        followed.map_err(|error| damaged(&self.db, Some(first), &error.to_string()))?;
        self.log_id = self.log_id.or_else(|| stored.record_hashes.first().copied());
        if self.ranges.take(self.tail.position(), bytes) {
            self.last_end = self.tail.position();
            self.ends.push_back(self.tail.clone());
        }
        (self.fold)(stored, &leaves).map_err(|why| damaged(&self.db, Some(first), &why))
    }

    fn next(&self) -> Position {
        self.tail.position().next()
    }

    /// At the position of the head record, the log must be the one that the record was written of.
    fn compare_with_record(&self) -> Result<(), OpenError> {
        if self.tail.position() != self.record.position {
            return Ok(());
        }
        let LogHead { position, recorded_at, root } = self.tail.head();
        if root != self.record.root || recorded_at != self.record.recorded_at {
            let why = format!(
                "the log up to here is not the one that log.head was written of: root {root}, there {}",
                self.record.root
            );
            return Err(damaged(&self.db, Some(position), &why));
        }
        Ok(())
    }

    /// That the log is no shorter than it was.
    pub(super) fn check_end(&self) -> Result<(), OpenError> {
        if self.tail.position() < self.record.position {
            let known = self.record.position;
            return Err(self.damaged(format!("is missing, and all after it; the log had {known} events")));
        }
        Ok(())
    }

    /// At the next position.
    fn damaged(&self, why: String) -> OpenError {
        OpenError::Damaged { path: self.db.clone(), position: Some(self.next()), why }
    }
}
