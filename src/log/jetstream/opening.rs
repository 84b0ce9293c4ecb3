//! What a node has of the log when it starts: segments, and behind them the copy of the frames.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    copy::{LocalCopy, damaged},
    read_end::ReadEnd,
};
use crate::{
    OpenError, SealedHistory, StartupFold, StoredCommit,
    segment::Segment,
    segment_store::SegmentStore,
    sled::{
        data_dir::{DataDir, sync_dir},
        error::io_at,
        recovery::troubled,
    },
    tail::LogTail,
    tree::leaves,
};

/// What was found.
pub(super) struct OpenedCopy {
    pub(super) copy: Arc<LocalCopy>,
    pub(super) segment_store: SegmentStore,
    pub(super) end: ReadEnd,
}

/// Opens what is there and hands it over, in order.
pub(super) fn open(data_dir: &Path, folding: &mut dyn StartupFold) -> Result<OpenedCopy, OpenError> {
    let copy = Arc::new(LocalCopy::open(data_dir)?);
    let data = DataDir::of(data_dir);
    let segments = data.segments()?;
    let skipped = folding.begin(&SealedHistory::of(&segments, segments.len()))?.min(segments.len());
    let tail = read(&segments, skipped, folding)?;
    let mut end = ReadEnd::behind_segments(tail);
    if let Some(mark) = copy.mark_of(end.position()).filter(|_| !segments.is_empty()) {
        end.stands_behind(mark);
    }
    if end.is_placed() {
        copy.scan(&mut end, &mut |stored, leaves| folding.add(stored, leaves))?;
    } else {
        // What it has is of no use without what is between it and the segments.
        copy.clear()?;
    }
    Ok(OpenedCopy { copy, segment_store: SegmentStore::of(data, segments), end })
}

/// Each segment must continue the one before it. Of the first ones only the headers are read.
fn read(
    segments: &[Arc<Segment>],
    skipped: usize,
    folding: &mut dyn StartupFold,
) -> Result<LogTail, OpenError> {
    let mut tail = LogTail::new();
    let mut log_id = None;
    for (number, segment) in segments.iter().enumerate() {
        let header = &segment.header;
        let no = |why: &str| damaged(&segment.path, Some(tail.position().next()), why.to_owned());
        if header.base != tail {
            return Err(no("the segment does not continue the one before it"));
        }
        if *log_id.get_or_insert(header.log_id) != header.log_id {
            return Err(no("the segment is of another log than the one before it"));
        }
        if number >= skipped {
            read_whole(segment, folding)?;
        }
        tail = header.end.clone();
    }
    Ok(tail)
}

fn read_whole(segment: &Segment, folding: &mut dyn StartupFold) -> Result<(), OpenError> {
    let troubled = |trouble| troubled(segment, trouble);
    let mut tail = segment.header.base.clone();
    let blocks = segment.blocks().map_err(troubled)?;
    for number in 0..blocks.len() {
        let bytes = blocks.read(number).map_err(troubled)?;
        for (first, _, bytes) in blocks.commits(number, &bytes).map_err(troubled)? {
            let no = |why: String| damaged(&segment.path, Some(first), why);
            let stored = StoredCommit::decode(first, bytes).map_err(|error| no(error.to_string()))?;
            let leaves = leaves(&stored.record_hashes);
            let followed = tail.follow_leaves(stored.commit.recorded_at, &leaves);
            followed.map_err(|error| no(error.to_string()))?;
            folding.add(stored, &leaves).map_err(no)?;
        }
    }
    if tail == segment.header.end {
        return Ok(());
    }
    let why = "the segment is not the range of the history that it should be".to_owned();
    Err(damaged(&segment.path, Some(segment.header.first()), why))
}

/// Sets the segments of this data directory aside, with their indexes, so that the next start takes all of the history
/// from the broker; whether there were any. Give it when no log is open there.
///
/// # Errors
/// What the system says.
pub fn set_segments_aside(data_dir: &Path) -> Result<bool, OpenError> {
    let data = DataDir::of(data_dir);
    if !data.segments.exists() {
        return Ok(false);
    }
    remove(&data.indexes)?;
    let aside = segments_aside(data_dir);
    remove(&aside)?;
    fs::rename(&data.segments, &aside).map_err(io_at(&data.segments))?;
    sync_dir(data_dir)?;
    Ok(true)
}

/// Whether a start failed over what is in segments, which the broker has too.
pub fn is_of_segments(data_dir: &Path, error: &OpenError) -> bool {
    match error {
        OpenError::Damaged { path, .. } => path.starts_with(&DataDir::of(data_dir).segments),
        OpenError::InUse { .. }
        | OpenError::NotOurs { .. }
        | OpenError::OpenToOthers { .. }
        | OpenError::ForeignFormat { .. }
        | OpenError::CutOtherwise { .. }
        | OpenError::Broker { .. }
        | OpenError::Io { .. } => false,
    }
}

/// Where segments are that could not be used.
pub fn segments_aside(data_dir: &Path) -> PathBuf {
    data_dir.join("segments.damaged")
}

/// That what is in the segments of this directory is not the history.
pub fn untrue_segments(data_dir: &Path, why: String) -> OpenError {
    damaged(&DataDir::of(data_dir).segments, None, why)
}

fn remove(dir: &Path) -> Result<(), OpenError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_at(dir)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
