//! Segments that are damaged or missing are made good from another copy of the same history.
//!
//! What fits is known without believing the other copy: a segment begins where the one before it ends and ends where the
//! next one begins, each with the tree over all of the history up to there. What is put in place is written under
//! another name, synced, read back and renamed, so that a server may be at work meanwhile: it sees the damaged file or
//! the good one. It keeps the header of what it has lost and believes no other.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, chown},
    path::{Path, PathBuf},
};

use super::{
    OpenError,
    data_dir::{DataDir, sync_dir},
    error::io_at,
    head_file::HeadFile,
    store_files::names_in,
};
use crate::{
    LogError, RecordHash, StoredCommit,
    ranges::SegmentRanges,
    segment::{self, Segment, SegmentHeader, SegmentWriter, in_words},
    tail::LogTail,
};
use tenure_core::Position;

/// A part of the history missing from the sound segments of its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedPart {
    /// The damaged file, or the first missing one.
    pub name: String,
    /// The position with which it begins.
    pub first: Position,
    /// Its last position, where something says it.
    pub last: Option<Position>,
    /// What is wrong.
    pub why: String,
    base: LogTail,
    end: Option<LogTail>,
    /// Of a file whose header can be read.
    header: Option<SegmentHeader>,
    log_id: Option<RecordHash>,
    /// By how many events the history is cut.
    cut: u64,
}

/// Why a damage was not made good. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// Nothing in the directory says what the missing part must end with.
    #[error(
        "nothing here says where it must end: a start says more, or the same repair with the server stopped in order"
    )]
    EndUnknown,
    /// The copy holds something else.
    #[error("what the copy holds of these positions does not fit: {why}")]
    Unfit {
        /// In what.
        why: String,
    },
    /// The copy does not reach so far.
    #[error("the copy has no position {0}")]
    Lacking(Position),
    /// The copy cannot be read.
    #[error("the copy cannot be read: {0}")]
    Unreadable(String),
    /// A file of the directory cannot be read or written.
    #[error(transparent)]
    File(#[from] OpenError),
}

/// Takes a commit at its first position, by its bytes; whether it wants another one.
pub type RepairVisitor<'t> = dyn FnMut(Position, &[u8]) -> Result<bool, RepairError> + 't;

/// Another copy of a history.
pub trait HistoryCopy {
    /// Its file of this name, if it has one; nothing is believed of it.
    fn segment(&self, name: &str) -> Option<PathBuf>;

    /// Hands over the commits behind this position, in order, as long as they are wanted and there are any.
    ///
    /// # Errors
    /// [`RepairError::Unreadable`], and what `take` says.
    fn commits(&self, after: Position, take: &mut RepairVisitor<'_>) -> Result<(), RepairError>;
}

/// Reads every segment of this data directory, and says what is damaged or missing. Changes nothing, and does not mind
/// a server at work.
///
/// # Errors
/// The directory cannot be listed.
pub fn find_damage(data_dir: &Path) -> Result<Vec<DamagedPart>, OpenError> {
    // First of all: a segment sealed meanwhile is found then, not missed.
    let closed = ClosedEnd::of(data_dir);
    let found = segments_of(&data_dir.join("segments"))?;
    let log_id = found.iter().find_map(|found| found.header()).map(|header| header.log_id);
    let damage =
        |base: &LogTail, end: Option<&LogTail>, header: Option<&SegmentHeader>, why: String| DamagedPart {
            name: name_of(base.position().next()),
            first: base.position().next(),
            last: end.map(LogTail::position),
            why,
            base: base.clone(),
            end: end.cloned(),
            header: header.cloned(),
            log_id,
            cut: closed.cut,
        };
    let mut all = Vec::new();
    let mut base = LogTail::new();
    let mut unread: Vec<&FoundSegment> = Vec::new();
    for one in &found {
        let Some(header) = one.header() else {
            unread.push(one);
            continue;
        };
        if header.base.position() > base.position() {
            all.push(damage(&base, Some(&header.base), None, missing(&unread)));
        } else if header.base != base {
            let why = "it does not continue the one before it".to_owned();
            all.push(damage(&header.base, None, None, why));
        }
        if let Some(why) = &one.fault {
            all.push(damage(&header.base, Some(&header.end), Some(header), why.clone()));
        }
        unread.clear();
        base = header.end.clone();
    }
    let closed = closed.end.filter(|end| end.position() > base.position());
    if closed.is_some() || !unread.is_empty() {
        all.push(damage(&base, closed.as_ref(), None, missing(&unread)));
    }
    Ok(all)
}

fn missing(unread: &[&FoundSegment]) -> String {
    let words = unread.iter().filter_map(|found| found.fault.clone());
    words.reduce(|all, why| format!("{all}; {why}")).unwrap_or_else(|| "it is missing".to_owned())
}

/// Makes a damage good from another copy; gives the names of the files that were put in place.
///
/// # Errors
/// See [`RepairError`]: then everything is as it was.
pub fn repair(
    data_dir: &Path,
    damage: &DamagedPart,
    copy: &dyn HistoryCopy,
) -> Result<Vec<String>, RepairError> {
    let end = damage.end.as_ref().ok_or(RepairError::EndUnknown)?;
    DataDir::of(data_dir).make_segments()?;
    let mut making = ReplacementFiles { dir: data_dir.join("segments"), damage, end, copy, made: Vec::new() };
    let done = making.make().and_then(|()| making.put_in_place());
    done.inspect_err(|_| making.remove_unfinished())
}

/// The end of what must be in segments, as the head record says it, and how it is cut.
struct ClosedEnd {
    end: Option<LogTail>,
    cut: u64,
}

impl ClosedEnd {
    /// Without the lock: a server may be writing. What it does meanwhile makes the record and the stores disagree, and
    /// then nothing is said.
    fn of(data_dir: &Path) -> Self {
        let head = File::open(data_dir.join("log.head")).and_then(HeadFile::read);
        let record = head.ok().and_then(|head| head.record().cloned());
        let names = names_in(&data_dir.join("log")).unwrap_or_default();
        let stores: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
        let cut = record.as_ref().map_or(0, |record| record.segment_events);
        let end = record.filter(|record| stores == [record.store.number]).map(|record| record.store.base);
        Self { end, cut: if cut == 0 { u64::MAX } else { cut } }
    }
}

/// A file with the name of a segment.
struct FoundSegment {
    segment: Option<Segment>,
    fault: Option<String>,
}

impl FoundSegment {
    fn header(&self) -> Option<&SegmentHeader> {
        self.segment.as_ref().map(|segment| &segment.header)
    }
}

fn segments_of(dir: &Path) -> Result<Vec<FoundSegment>, OpenError> {
    let mut names = if dir.is_dir() { names_in(dir)? } else { Vec::new() };
    names.retain(|name| name.ends_with(".segment"));
    names.sort_unstable();
    Ok(names.iter().map(|name| found(dir, name)).collect())
}

fn found(dir: &Path, name: &str) -> FoundSegment {
    let unread = |why: String| FoundSegment { segment: None, fault: Some(why) };
    match Segment::open(dir.join(name)) {
        Err(error) => unread(error.to_string()),
        Ok(segment) if name_of(segment.header.first()) != name => unread("is another one".to_owned()),
        Ok(segment) => {
            let fault = segment.read_whole(&mut |_| true).err();
            let fault = fault.map(|trouble| in_words(trouble, &segment));
            FoundSegment { segment: Some(segment), fault }
        }
    }
}

fn name_of(first: Position) -> String {
    let path = segment::path(Path::new(""), first);
    path.display().to_string()
}

/// The files that take the place of what is damaged.
struct ReplacementFiles<'r> {
    dir: PathBuf,
    damage: &'r DamagedPart,
    end: &'r LogTail,
    copy: &'r dyn HistoryCopy,
    /// Each under the name that it is to have.
    made: Vec<PathBuf>,
}

impl ReplacementFiles<'_> {
    fn make(&mut self) -> Result<(), RepairError> {
        let mut tail = self.damage.base.clone();
        while tail.position() < self.end.position() {
            let path = segment::path(&self.dir, tail.position().next());
            self.made.push(path.clone());
            if !self.copied(&path, &tail)? {
                self.rebuilt(&path, &tail)?;
            }
            tail = self.judged(&path, &tail)?.end;
        }
        if tail == *self.end { Ok(()) } else { Err(unfit("the history that it leads to is another one")) }
    }

    /// Takes the file of this name as it is, if the copy has one that begins here.
    fn copied(&self, path: &Path, base: &LogTail) -> Result<bool, RepairError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let theirs = self.copy.segment(&name).and_then(|path| Segment::open(path).ok());
        let Some(theirs) = theirs.filter(|theirs| self.may_be(&theirs.header, base)) else {
            return Ok(false);
        };
        if theirs.read_whole(&mut |_| true).is_err() {
            // Its commits may be in another file of the copy.
            return Ok(false);
        }
        let to = unfinished(path);
        let unreadable = |error: io::Error| RepairError::Unreadable(error.to_string());
        let mut from = File::open(&theirs.path).map_err(unreadable)?;
        let mut options = File::options();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&to).map_err(io_at(&to))?;
        io::copy(&mut from, &mut file).and_then(|_| file.sync_all()).map_err(io_at(&to))?;
        Ok(true)
    }

    fn may_be(&self, header: &SegmentHeader, base: &LogTail) -> bool {
        let fits = header.base == *base && header.last() <= self.end.position();
        fits && self.damage.header.as_ref().is_none_or(|ours| ours == header)
    }

    /// Makes the file of the commits that the copy has: the same commits make the same bytes.
    fn rebuilt(&self, path: &Path, base: &LogTail) -> Result<(), RepairError> {
        let to = unfinished(path);
        let mut writer = SegmentWriter::begin(&to, base.clone()).map_err(io_at(&to))?;
        let mut tail = base.clone();
        let mut log_id = self.damage.log_id;
        let mut ranges = SegmentRanges::new(self.damage.cut, base.position());
        let mut is_done = false;
        self.copy.commits(base.position(), &mut |first, bytes| {
            if first != tail.position().next() {
                return Err(RepairError::Lacking(tail.position().next()));
            }
            let stored = StoredCommit::decode(first, bytes).map_err(|error| unfit(&error.to_string()))?;
            let at = stored.commit.recorded_at;
            tail.follow(at, &stored.record_hashes).map_err(|error| unfit(&error.to_string()))?;
            log_id = log_id.or_else(|| stored.record_hashes.first().copied());
            writer.add(first, at, bytes).map_err(io_at(&to))?;
            let ends_here = ranges.take(tail.position(), bytes.len()) && self.damage.header.is_none();
            is_done = ends_here || tail.position() >= self.end.position();
            Ok(!is_done)
        })?;
        if !is_done {
            return Err(RepairError::Lacking(tail.position().next()));
        }
        let log_id = log_id.ok_or_else(|| unfit("it is empty"))?;
        writer.end(log_id, tail).map_err(io_at(&to))?;
        Ok(())
    }

    /// What was written reads as it must.
    fn judged(&self, path: &Path, base: &LogTail) -> Result<SegmentHeader, RepairError> {
        let new = unfinished(path);
        let segment = Segment::open(new.clone()).map_err(io_at(&new))?;
        segment.read_whole(&mut |_| true).map_err(|trouble| unfit(&LogError::from(trouble).to_string()))?;
        let is_of_this_log = self.damage.log_id.is_none_or(|log_id| log_id == segment.header.log_id);
        if !is_of_this_log {
            return Err(unfit("it is of another log"));
        }
        if !self.may_be(&segment.header, base) {
            return Err(unfit("it would not be the file that was there"));
        }
        Ok(segment.header)
    }

    fn put_in_place(&mut self) -> Result<Vec<String>, RepairError> {
        let owner = fs::metadata(&self.dir).map_err(io_at(&self.dir))?;
        let mut names = Vec::new();
        for path in &self.made {
            let new = unfinished(path);
            // Who repairs may be another user than the one whose server reads it.
            if fs::metadata(&new).map_err(io_at(&new))?.uid() != owner.uid() {
                chown(&new, Some(owner.uid()), Some(owner.gid())).map_err(io_at(&new))?;
            }
            fs::rename(&new, path).map_err(io_at(path))?;
            names.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
        sync_dir(&self.dir)?;
        Ok(names)
    }

    fn remove_unfinished(&self) {
        for path in &self.made {
            // A start removes what stays.
            drop(fs::remove_file(unfinished(path)));
        }
    }
}

fn unfinished(path: &Path) -> PathBuf {
    path.with_extension("new")
}

fn unfit(why: &str) -> RepairError {
    RepairError::Unfit { why: why.to_owned() }
}

/// The segments of another data directory.
#[derive(Clone, Debug)]
pub struct DirectoryCopy(PathBuf);

impl DirectoryCopy {
    /// Of this one; what is in its stores is not looked at.
    pub fn data_dir(data_dir: &Path) -> Self {
        Self(data_dir.join("segments"))
    }

    /// In this directory itself.
    pub fn dir(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }
}

impl HistoryCopy for DirectoryCopy {
    fn segment(&self, name: &str) -> Option<PathBuf> {
        Some(self.0.join(name)).filter(|path| path.is_file())
    }

    fn commits(&self, after: Position, take: &mut RepairVisitor<'_>) -> Result<(), RepairError> {
        let mut names = if self.0.is_dir() { names_in(&self.0)? } else { Vec::new() };
        names.retain(|name| name.ends_with(".segment"));
        names.sort_unstable();
        for name in names {
            let Ok(segment) = Segment::open(self.0.join(name)) else { continue };
            if segment.header.last() > after && !commits_of(&segment, after, take)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Whether more is wanted.
fn commits_of(segment: &Segment, after: Position, take: &mut RepairVisitor<'_>) -> Result<bool, RepairError> {
    let unreadable = |trouble| RepairError::Unreadable(in_words(trouble, segment));
    let blocks = segment.blocks().map_err(unreadable)?;
    for number in blocks.at(after.next())..blocks.len() {
        let bytes = blocks.read(number).map_err(unreadable)?;
        for (first, _, bytes) in blocks.commits(number, &bytes).map_err(unreadable)? {
            if first > after && !take(first, bytes)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
