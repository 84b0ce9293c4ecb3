//! The one reading of the whole log at a start: every frame, every commit, and the whole against the head
//! record.

use std::path::Path;

use super::{OpenError, frame, head_file::HeadRecord, open_error::damaged, store::Store};
use crate::{Head, StoredCommit, tail::Tail};
use tenure_core::Position;

/// A scan keeps every page that it read, whatever the cache's capacity (1.98 GB were seen after 2 GB of
/// frames). So after this many bytes of frames the handle is dropped and the store opened again: what the
/// allocator got back serves the next part, and a start needs no more memory for a longer history.
const REOPEN_EVERY_BYTES: u64 = 64 * 1024 * 1024;

/// What has been read, and the store that it was read from.
pub(super) struct Scanned {
    pub(super) store: Store,
    pub(super) tail: Tail,
    pub(super) frame_bytes: u64,
}

/// Reads everything that the store holds and hands each commit to `fold`. `db` names the store in errors.
pub(super) fn scan(
    mut store: Store,
    reopen: &dyn Fn(Store) -> Result<Store, OpenError>,
    db: &Path,
    record: HeadRecord,
    fold: &mut dyn FnMut(StoredCommit) -> Result<(), String>,
) -> Result<Scanned, OpenError> {
    let mut scan = Scan { db, record, tail: Tail::new(), frame_bytes: 0, last_frame: None };
    scan.compare_with_record()?;
    while scan.part(&store, fold)? == Part::More {
        store = reopen(store)?;
    }
    scan.check_end()?;
    Ok(Scanned { store, tail: scan.tail, frame_bytes: scan.frame_bytes })
}

struct Scan<'d> {
    /// The store's file, for errors.
    db: &'d Path,
    record: HeadRecord,
    tail: Tail,
    frame_bytes: u64,
    /// Where the last frame begins that was read.
    last_frame: Option<Position>,
}

#[derive(PartialEq, Eq)]
enum Part {
    More,
    Last,
}

impl Scan<'_> {
    /// Goes on where the part before has stopped.
    fn part(
        &mut self,
        store: &Store,
        fold: &mut dyn FnMut(StoredCommit) -> Result<(), String>,
    ) -> Result<Part, OpenError> {
        let enough = self.frame_bytes + REOPEN_EVERY_BYTES;
        let mut frames = store.frames_after(self.last_frame);
        while self.frame_bytes < enough {
            let Some((first, bytes)) = frames.try_next().map_err(|why| self.damaged(why))? else {
                return Ok(Part::Last);
            };
            self.frame(first, &bytes, fold)?;
        }
        Ok(Part::More)
    }

    fn frame(
        &mut self,
        first: Position,
        bytes: &[u8],
        fold: &mut dyn FnMut(StoredCommit) -> Result<(), String>,
    ) -> Result<(), OpenError> {
        if first != self.next() {
            return Err(self.damaged(format!("is missing; the next frame begins at {first}")));
        }
        for (first, bytes) in frame::open(first, bytes).map_err(|why| self.damaged(why))?.commits {
            self.follow(first, bytes, fold)?;
            self.compare_with_record()?;
        }
        self.last_frame = Some(first);
        self.frame_bytes += bytes.len() as u64;
        Ok(())
    }

    fn follow(
        &mut self,
        first: Position,
        bytes: &[u8],
        fold: &mut dyn FnMut(StoredCommit) -> Result<(), String>,
    ) -> Result<(), OpenError> {
        let stored = StoredCommit::decode(first, bytes).map_err(|error| self.damaged(error.to_string()))?;
        let followed = self.tail.follow(stored.commit.recorded_at, &stored.record_hashes);
        followed.map_err(|error| damaged(self.db, Some(first), &error.to_string()))?;
        fold(stored).map_err(|why| damaged(self.db, Some(first), &why))
    }

    fn next(&self) -> Position {
        self.tail.position().next()
    }

    /// At the position of the head record, the log must be the one that the record was written of.
    fn compare_with_record(&self) -> Result<(), OpenError> {
        if self.tail.position() != self.record.position {
            return Ok(());
        }
        let Head { position, recorded_at, root } = self.tail.head();
        if root != self.record.root || recorded_at != self.record.recorded_at {
            let why = format!(
                "the log up to here is not the one that log.head was written of: root {root}, there {}",
                self.record.root
            );
            return Err(damaged(self.db, Some(position), &why));
        }
        Ok(())
    }

    fn check_end(&self) -> Result<(), OpenError> {
        if self.tail.position() < self.record.position {
            let known = self.record.position;
            return Err(self.damaged(format!("is missing, and all after it; the log had {known} events")));
        }
        Ok(())
    }

    /// At the next position.
    fn damaged(&self, why: String) -> OpenError {
        OpenError::Damaged { path: self.db.to_owned(), position: Some(self.next()), why }
    }
}
