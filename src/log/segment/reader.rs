//! A segment open for reading. Nothing of it is believed that its checks do not say; only the header stays in memory.

use std::{
    fs::{self, File},
    io,
    iter::once_with,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;

use super::{
    BlockEntry, MOST_BLOCK_BYTES, check_of_block,
    damage::{DamageFlag, PositionSpan, forget, read_at, second_time},
    error::SegmentError,
    header::{HEADER_BYTES, SegmentHeader},
    index::SegmentIndex,
};
use crate::codec;
use tenure_core::{Position, Timestamp};

/// Where the blocks of a segment are.
type BlockTable = Arc<[BlockEntry]>;

/// How many tables are remembered: some hundred kilobytes.
const REMEMBERED: usize = 8;

/// The tables read last, the latest first, each with the digest that it was found to have. A page of a list reads a
/// commit here and there in a few segments, and would read and judge a table for each of them.
static RECENT: Mutex<Vec<([u8; 32], BlockTable)>> = Mutex::new(Vec::new());

fn remembered(digest: &[u8; 32]) -> Option<BlockTable> {
    let mut recent = RECENT.lock();
    let place = recent.iter().position(|(known, _)| known == digest)?;
    recent[..=place].rotate_right(1);
    Some(Arc::clone(&recent[0].1))
}

fn remember(digest: [u8; 32], table: &BlockTable) {
    let mut recent = RECENT.lock();
    recent.retain(|(known, _)| *known != digest);
    recent.truncate(REMEMBERED - 1);
    recent.insert(0, (digest, Arc::clone(table)));
}

/// A segment by its header.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    /// What was wrong with it when it was last read.
    damage: DamageFlag,
    /// Its index, once there is one.
    pub(super) index: OnceLock<Arc<SegmentIndex>>,
}

/// What distinguishes a file from another one in its place, and from itself once it was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStamp([i64; 5]);

impl Segment {
    /// Reads the header, and looks at the length of the file.
    ///
    /// # Errors
    /// `InvalidData` where it is no segment, or not a whole one.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let file = File::open(&path)?;
        let mut bytes = vec![0; HEADER_BYTES];
        let cut = |error: io::Error| {
            let is_cut = error.kind() == io::ErrorKind::UnexpectedEof;
            if is_cut { io::Error::new(io::ErrorKind::InvalidData, "is cut short") } else { error }
        };
        file.read_exact_at(&mut bytes, 0).map_err(cut)?;
        let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
        let header = SegmentHeader::read(&bytes)
            .ok_or_else(|| damaged("the header's check does not match its bytes"))?;
        if file.metadata()?.len() != header.index_at + header.blocks * BlockEntry::BYTES as u64 {
            return Err(damaged("has another length than it was written with"));
        }
        Ok(Self { path, header, damage: DamageFlag::default(), index: OnceLock::new() })
    }

    /// Looks at the file as it is now, which must have the same header.
    pub(crate) fn again(&self) -> Result<(), SegmentError> {
        let all = (self.header.first(), self.header.last());
        let again = second_time(|_| Self::open(self.path.clone()));
        let again = again.map_err(|error| self.trouble(all, &error))?;
        if again.header == self.header { Ok(()) } else { Err(self.untrue()) }
    }

    /// It is not the segment that it was when it was opened.
    pub(crate) fn untrue(&self) -> SegmentError {
        self.damaged((self.header.first(), self.header.last()), "is not the segment that it was")
    }

    /// What was wrong with it, named below the data directory; `None` if it was sound when it was last read.
    pub(crate) fn damage(&self) -> Option<String> {
        self.damage.said()
    }

    /// All of it was read, and is as it was written.
    pub(crate) fn is_sound(&self) {
        if self.damage.clear() {
            tracing::info!(path = %self.path.display(), "this part of the history reads as it was written again");
        }
    }

    /// What its file looks like from outside; `None` where there is none. Another one is not the same.
    pub(crate) fn seen(&self) -> Option<FileStamp> {
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(&self.path).ok()?;
        Some(FileStamp([
            found.ino().cast_signed(),
            found.mtime(),
            found.mtime_nsec(),
            found.ctime(),
            found.ctime_nsec(),
        ]))
    }

    /// How many bytes it has on disk, with its index.
    pub(crate) fn bytes(&self) -> u64 {
        let index = self.index().map_or(0, |index| index.bytes());
        self.header.index_at + self.header.blocks * BlockEntry::BYTES as u64 + index
    }

    /// Opens it to read all of it, also where its blocks are.
    pub(crate) fn blocks(&self) -> Result<SegmentBlocks<'_>, SegmentError> {
        let file = self.opened()?;
        let all = self.read_table(&file)?;
        Ok(SegmentBlocks { segment: self, file, all })
    }

    /// Opens it to read some blocks. Where they are it may know from the last time.
    pub(crate) fn some_blocks(&self) -> Result<SegmentBlocks<'_>, SegmentError> {
        let file = self.opened()?;
        let digest = self.header.index_digest;
        let all = match remembered(&digest) {
            Some(known) => known,
            None => self.read_table(&file).inspect(|table| remember(digest, table))?,
        };
        Ok(SegmentBlocks { segment: self, file, all })
    }

    fn opened(&self) -> Result<File, SegmentError> {
        let all = (self.header.first(), self.header.last());
        second_time(|_| File::open(&self.path)).map_err(|error| self.trouble(all, &error))
    }

    fn read_table(&self, file: &File) -> Result<BlockTable, SegmentError> {
        let index = self.table_bytes(file)?;
        Ok(index.chunks_exact(BlockEntry::BYTES).filter_map(BlockEntry::read).collect())
    }

    /// The bytes behind the blocks, checked.
    fn table_bytes(&self, file: &File) -> Result<Vec<u8>, SegmentError> {
        let all = (self.header.first(), self.header.last());
        let length =
            usize::try_from(self.header.blocks).unwrap_or(usize::MAX).saturating_mul(BlockEntry::BYTES);
        let digest = &self.header.index_digest;
        let is_good = |index: &[u8]| blake3::hash(index).as_bytes() == digest;
        self.twice(all, |time| read_at(file, self.header.index_at, length, time), is_good, "the index")
    }

    fn twice(
        &self,
        positions: PositionSpan,
        read: impl Fn(usize) -> io::Result<Vec<u8>>,
        is_good: impl Fn(&[u8]) -> bool,
        what: &str,
    ) -> Result<Vec<u8>, SegmentError> {
        self.damage.twice((&self.path, positions), read, is_good, what)
    }

    fn trouble(&self, positions: PositionSpan, error: &io::Error) -> SegmentError {
        self.damage.trouble((&self.path, positions), error)
    }

    fn damaged(&self, positions: PositionSpan, why: &str) -> SegmentError {
        self.damage.note((&self.path, positions), why)
    }
}

/// The blocks of a segment.
pub(crate) struct SegmentBlocks<'s> {
    segment: &'s Segment,
    file: File,
    all: BlockTable,
}

/// A commit: its first position, the position after it, its bytes.
pub(crate) type RawCommit<'b> = (Position, Position, &'b [u8]);

impl SegmentBlocks<'_> {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Which one holds this position.
    pub(crate) fn at(&self, position: Position) -> usize {
        self.all.partition_point(|block| block.first <= position).saturating_sub(1)
    }

    /// The first one that may hold what was recorded at this moment.
    pub(crate) fn at_moment(&self, moment: Timestamp) -> usize {
        self.all.partition_point(|block| block.recorded_at < moment).saturating_sub(1)
    }

    /// The bytes of a block, checked.
    pub(crate) fn read(&self, number: usize) -> Result<Vec<u8>, SegmentError> {
        let block = &self.all[number];
        let is_good = |bytes: &[u8]| check_of_block(bytes) == block.check;
        let length = block.length.min(MOST_BLOCK_BYTES) as usize;
        let read = |time| read_at(&self.file, block.offset, length, time);
        self.segment.twice(self.positions(number), read, is_good, "the block")
    }

    /// The bytes of the whole file, piece by piece, each checked before it is given out.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Result<Vec<u8>, SegmentError>> {
        let header = || self.segment.header.bytes().ok_or_else(|| self.segment.untrue());
        let blocks = (0..self.len()).map(|number| {
            let bytes = self.read(number);
            self.forget(number);
            bytes
        });
        once_with(header).chain(blocks).chain(once_with(|| self.segment.table_bytes(&self.file)))
    }

    /// The commits in the bytes of a block.
    pub(crate) fn commits<'b>(
        &self,
        number: usize,
        bytes: &'b [u8],
    ) -> Result<Vec<RawCommit<'b>>, SegmentError> {
        let positions = self.positions(number);
        let damaged = |why: &str| self.segment.damaged(positions, why);
        let mut next = positions.0;
        let mut rest = bytes;
        let mut commits = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let (bytes, after) =
                after.split_at_checked(length).ok_or_else(|| damaged("a commit reaches beyond its block"))?;
            let events = codec::count(bytes).map_err(|error| damaged(&error.to_string()))?;
            let end = next.plus(events.into());
            commits.push((next, end, bytes));
            (next, rest) = (end, after);
        }
        if rest.is_empty() && next == positions.1.next() {
            Ok(commits)
        } else {
            Err(damaged("the block has other events than the index says"))
        }
    }

    /// Lets the system drop a block from memory that no reader asked for.
    pub(crate) fn forget(&self, number: usize) {
        let block = &self.all[number];
        forget(&self.file, block.offset, block.length.into());
    }

    fn positions(&self, number: usize) -> (Position, Position) {
        let last = self.segment.header.last();
        let next = self.all.get(number + 1).map_or(last.next(), |next| next.first);
        (self.all[number].first, Position(next.0.saturating_sub(1)))
    }
}
