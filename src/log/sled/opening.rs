//! A start: everything is checked before anything is believed, and what does not check is refused.
//!
//! The order matters. sled rewrites a damaged file while it opens it, and the evidence is gone; so what can
//! be seen from outside is looked at first. Then each store is opened, then every frame it gives back is checked, and
//! the whole against the head record, which sled has never touched. A directory of an earlier format is brought to
//! today's only when all of it was checked.

use std::{collections::VecDeque, path::Path, sync::Arc};

use super::{
    OpenError, StoreRange,
    data_dir::DataDir,
    error::{damaged, io_at},
    frame::{FrameCheck, NO_FRAME},
    head_file::{HeadFile, HeadRecord, StoreRecord},
    recovery::StoreScan,
    sealed_history::{SealedHistory, StartupFold},
    store::SledStore,
    store_files::StoreFiles,
};
use crate::{LogHead, SegmentEvents, ranges::SegmentRanges, segment::Segment, tail::LogTail};
use tenure_core::Position;

/// Number of last stores that keep their pages in memory: these are read most. One that waits to be sealed must not
/// hold its content in memory until then.
const KEPT_PAGES: usize = 2;

/// What a start has found.
pub(super) struct OpenedDirectory {
    pub(super) data: DataDir,
    /// In order; the last one is written to.
    pub(super) stores: Vec<Arc<StoreRange>>,
    pub(super) tail: LogTail,
    pub(super) check: FrameCheck,
    pub(super) head_file: HeadFile,
    /// What the head record says of the last store.
    pub(super) store: StoreRecord,
    pub(super) ranges: SegmentRanges,
    pub(super) segments: Vec<Arc<Segment>>,
    /// The log at the end of each range that is in no segment yet.
    pub(super) ends: VecDeque<LogTail>,
    /// Whether a range ends where the log does.
    pub(super) is_full: bool,
}

/// One store of those that were read.
struct ScannedStore {
    files: StoreFiles,
    store: SledStore,
    record: StoreRecord,
    /// Its last position.
    end: Position,
}

/// See [`SledLog::open`](super::SledLog::open).
pub(super) fn open(
    data_dir: &Path,
    cut: SegmentEvents,
    folding: &mut dyn StartupFold,
) -> Result<OpenedDirectory, OpenError> {
    let data = DataDir::of(data_dir);
    data.make()?;
    let format = data.check_format()?;
    let mut head_file = data.lock_head()?;
    let mut record = match head_file.record() {
        Some(record) => record.clone(),
        None => data.first_record(&mut head_file)?,
    };
    let ranges = SegmentRanges::new(cut.by(record.segment_events)?, Position::ZERO);
    data.remove_spare()?;
    let stores = data.stores(format, &mut record)?;
    for files in &stores {
        files.check_from_outside(&record)?;
    }
    let segments = data.segments()?;
    let known = segments.iter().take_while(|segment| segment.header.last() <= record.position).count();
    let skipped = folding.begin(&SealedHistory::of(&segments, known))?.min(known);
    let mut fold = |stored, leaves: &[[u8; 32]]| folding.add(stored, leaves);
    let mut scan = StoreScan::new(&record, ranges, &mut fold);
    for segment in &segments[..skipped] {
        scan.pass_by(segment)?;
    }
    for segment in &segments[skipped..] {
        scan.segment(segment)?;
    }
    let sealed = scan.tail.position();
    let read = read_all(&mut scan, stores)?;
    scan.check_end()?;
    let is_full = scan.is_at_an_end() && scan.tail.position() > Position::ZERO;
    let (tail, check) = (scan.tail, scan.check.unwrap_or(NO_FRAME));
    let (ranges, ends) = (scan.ranges, scan.ends);
    let mut read = in_use(remove_sealed(&data, read, &record, sealed)?, &record)?;
    if read.iter().any(|read| read.files != data.store(read.files.number)) {
        read = move_to_format_2(&data, read)?;
    }
    let last = read.last().expect("the store of the head record is there");
    let mut store = last.record.clone();
    sync_scanned(&read, &mut store)?;
    data.write_head(&mut head_file, record_at(&tail.head(), check, &record, store.clone()))?;
    let first = |read: ScannedStore| {
        Arc::new(StoreRange {
            number: read.record.number,
            first: read.record.base.position().next(),
            store: read.store,
        })
    };
    let stores = read.into_iter().map(first).collect();
    Ok(OpenedDirectory { data, stores, tail, check, head_file, store, ranges, segments, ends, is_full })
}

fn read_all(scan: &mut StoreScan<'_>, stores: Vec<StoreFiles>) -> Result<Vec<ScannedStore>, OpenError> {
    let count = stores.len();
    let read = (0..count).zip(stores).map(|(place, files)| {
        let is_cut_here = files.number == 1 || scan.is_at_an_end();
        let (base, base_check) = (scan.tail.clone(), scan.check.unwrap_or(NO_FRAME));
        let (base, base_check) = if files.number == scan.record.store.number {
            (scan.record.store.base.clone(), scan.record.store.base_check)
        } else {
            (base, base_check)
        };
        let (mut store, frame_bytes) = scan.store(&files)?;
        if place + KEPT_PAGES < count {
            store = files.reopen(store)?;
        }
        if !is_cut_here && frame_bytes > 0 {
            let why = "begins where no segment ends: log.segment_events was another number".to_owned();
            return Err(damaged(&files.dir, Some(base.position().next()), &why));
        }
        let record = StoreRecord { frame_bytes, ..StoreRecord::new(files.number, base, base_check) };
        let end = scan.tail.position();
        Ok(ScannedStore { files, store, record, end })
    });
    read.collect()
}

/// Without the stores that were left behind when all that they hold was sealed. They go now.
fn remove_sealed(
    data: &DataDir,
    read: Vec<ScannedStore>,
    record: &HeadRecord,
    sealed: Position,
) -> Result<Vec<ScannedStore>, OpenError> {
    let (gone, left): (Vec<_>, Vec<_>) =
        read.into_iter().partition(|read| read.end <= sealed && read.record.number < record.store.number);
    for ScannedStore { files, store, .. } in gone {
        drop(store);
        data.remove_store(&files)?;
        tracing::info!(path = %files.dir.display(), "a store whose history is in segments was left: removed");
    }
    data.remove_gone()?;
    Ok(left)
}

/// Without a store that stood ready to be filled next: it is empty, and nothing was ever in it.
fn in_use(mut read: Vec<ScannedStore>, record: &HeadRecord) -> Result<Vec<ScannedStore>, OpenError> {
    while let Some(spare) =
        read.pop_if(|read| read.record.frame_bytes == 0 && read.record.number > record.store.number)
    {
        let dir = spare.files.dir.clone();
        drop(spare);
        std::fs::remove_dir_all(&dir).map_err(io_at(&dir))?;
    }
    for pair in read.windows(2) {
        let [before, read] = pair else { continue };
        if read.record.number != before.record.number + 1 {
            let why = format!("is there, and the store {} before it is missing", read.record.number - 1);
            return Err(damaged(&read.files.dir, None, &why));
        }
    }
    Ok(read)
}

fn move_to_format_2(data: &DataDir, read: Vec<ScannedStore>) -> Result<Vec<ScannedStore>, OpenError> {
    // An open store writes by its path.
    let closed: Vec<_> = read.into_iter().map(|read| (read.record, read.end)).collect();
    data.move_to_format_2()?;
    let reopened = closed.into_iter().map(|(record, end)| {
        let files = data.store(record.number);
        Ok(ScannedStore { store: files.open()?, files, record, end })
    });
    reopened.collect()
}

/// What was scanned may be in the kernel's memory only, if the process before this one was killed. It
/// is about to be shown, so it must be durable first.
fn sync_scanned(read: &[ScannedStore], last: &mut StoreRecord) -> Result<(), OpenError> {
    for ScannedStore { files, store, .. } in read {
        files.tidy()?;
        last.file_bytes = store.len().map_err(io_at(&files.db))?;
        store.sync().map_err(io_at(&files.db))?;
    }
    Ok(())
}

/// The head record of a log that ends like this, and is otherwise as another record says.
pub(super) fn record_at(
    head: &LogHead,
    check: FrameCheck,
    before: &HeadRecord,
    store: StoreRecord,
) -> HeadRecord {
    let LogHead { position, recorded_at, root } = *head;
    let HeadRecord { term, sequence, segment_events, .. } = *before;
    HeadRecord { position, recorded_at, root, check: Some(check), term, sequence, segment_events, store }
}
