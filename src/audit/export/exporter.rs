//! Makes an export of a log as a stream, without holding more of it than a page.

use std::io::{self, Write};

use super::{
    line::{EndLine, hex},
    writer::ExportWriter,
};
use crate::transparency::compact_range::CompactRange;
use tenure_core::Position;
use tenure_log::{EventLog, LogError, RecordHash, StoredBytes, StoredCommit};

/// Events per read of the log.
const PAGE: usize = 1_000;

/// The signed heads that go into an export, as C2SP notes.
#[derive(Clone, Debug)]
pub struct ExportSignatures {
    /// The key by which they are checked, as a vkey.
    pub verifier_key: String,
    /// The head that vouches for the whole, and its size.
    pub last: (u64, String),
    /// Earlier heads with their sizes, ascending: a forged record is then found between two of them.
    pub earlier: Vec<(u64, String)>,
}

/// Why an export cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What is asked for is not there, or no signed head covers it yet.
    #[error("the positions must be from 1 to {size}, the last one that a signed head covers, and in order")]
    Range {
        /// The size of the head.
        size: u64,
    },
    /// It cannot be written where it should be.
    #[error("the export cannot be written: {0}")]
    Write(#[from] io::Error),
}

/// The commits that an export holds: those with the events from `from` to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportSpan {
    /// The first position; its commit comes whole.
    pub from: u64,
    /// The last position; its commit comes whole.
    pub to: u64,
}

impl ExportSpan {
    /// What was asked for, within what the head covers.
    ///
    /// # Errors
    /// [`ExportError::Range`].
    pub fn new(from: Option<u64>, to: Option<u64>, size: u64) -> Result<Self, ExportError> {
        let span = Self { from: from.unwrap_or(1), to: to.unwrap_or(size) };
        let is_whole = span.from == 1 && span.to == size;
        if is_whole || (1 <= span.from && span.from <= span.to && span.to <= size) {
            Ok(span)
        } else {
            Err(ExportError::Range { size })
        }
    }
}

/// Writes an export of these commits of the log.
///
/// What is in front of them and behind them is read too, for its hashes: the cost is that of the whole history up
/// to the head.
///
/// # Errors
/// See [`ExportError`]. What was written until then is an unfinished export, and marks itself as one.
pub fn export<W: Write>(
    log: &dyn EventLog,
    span: ExportSpan,
    heads: &ExportSignatures,
    out: W,
) -> Result<W, ExportError> {
    let mut reading = CommitReader { log, at: Position::ZERO, page: Vec::new().into_iter() };
    let mut range = CompactRange::starting(0);
    let mut next = reading.next(heads.last.0)?;
    while let Some(commit) = next.take_if(|commit| commit.last() < span.from) {
        commit.append_to(&mut range);
        next = reading.next(heads.last.0)?;
    }
    let from = range.end() + 1;
    let before = range.hashes().map(in_hex).collect();
    let mut writer = ExportWriter::begin_at(out, from, before, Some(heads.verifier_key.clone()))?;
    let mut earlier = heads.earlier.iter().filter(|(size, _)| *size >= from).peekable();
    let mut to = from - 1;
    while let Some(commit) = next.take_if(|commit| commit.stored.first.0 <= span.to) {
        writer.known_commit(commit.stored.first, &commit.hashes, &commit.stored.bytes)?;
        to = commit.last();
        while let Some((size, note)) = earlier.next_if(|(size, _)| *size <= to) {
            // One that was signed inside of a commit, or of the same history as the last, says nothing more.
            if *size == to && to < heads.last.0 {
                writer.head(note)?;
            }
        }
        next = reading.next(heads.last.0)?;
    }
    let mut behind = CompactRange::starting(to);
    while let Some(commit) = next {
        commit.append_to(&mut behind);
        next = reading.next(heads.last.0)?;
    }
    let after = behind.hashes().map(in_hex).collect();
    Ok(writer.end(&EndLine { to, after, head: heads.last.1.clone() })?)
}

fn in_hex(hash: [u8; 32]) -> String {
    hex(&hash).iter().map(|digit| char::from(*digit)).collect()
}

/// A log on its way, commit by commit.
struct CommitReader<'l> {
    log: &'l dyn EventLog,
    at: Position,
    page: std::vec::IntoIter<StoredBytes>,
}

struct HashedCommit {
    stored: StoredBytes,
    hashes: Vec<RecordHash>,
}

impl CommitReader<'_> {
    /// The next commit that the head covers.
    fn next(&mut self, size: u64) -> Result<Option<HashedCommit>, LogError> {
        if self.at.0 >= size {
            return Ok(None);
        }
        if self.page.len() == 0 {
            self.page = self.log.read_bytes(self.at, PAGE)?.into_iter();
        }
        let missing =
            || LogError::Corrupt { position: self.at.next(), why: "a signed head covers it".into() };
        let stored = self.page.next().ok_or_else(missing)?;
        let decoded = StoredCommit::decode(stored.first, &stored.bytes);
        let decoded =
            decoded.map_err(|error| LogError::Corrupt { position: stored.first, why: error.to_string() })?;
        self.at = decoded.last();
        Ok(Some(HashedCommit { stored, hashes: decoded.record_hashes }))
    }
}

impl HashedCommit {
    fn last(&self) -> u64 {
        self.stored.first.0 + self.hashes.len() as u64 - 1
    }

    fn append_to(&self, range: &mut CompactRange) {
        self.hashes.iter().for_each(|hash| range.append(hash));
    }
}
