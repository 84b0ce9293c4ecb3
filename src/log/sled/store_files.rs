//! The directory of one store: made, looked at from outside, opened.
//!
//! sled rewrites a damaged file while it opens it, and the evidence is gone; so what can be seen from outside is looked
//! at first.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use super::{
    OpenError,
    catch_panic::{StoreFailure, guarded},
    data_dir::{sync_dir, tighten},
    error::{damaged, io_at, missing_or_io},
    head_file::HeadRecord,
    store::SledStore,
    waiting_open::{is_locked, open_waiting},
};
use tenure_core::Position;
use tenure_files::replacement::put_in_place;

/// 8 MiB, so that a leaf with its frames stays inline (see `frame`). It is fixed when a store is made.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;

/// What sled writes into `conf` with the log's settings; four bytes of CRC-32 follow.
const CONF: &str = "segment_size: 8388608\nuse_compression: false\nversion: 0.34\n";

/// Pages that sled may keep at run time. Readers follow the end of the log, which is in memory anyway.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// Where a store is, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoreFiles {
    /// Stores are filled in the order of their numbers, which begin at 1.
    pub(super) number: u64,
    pub(super) dir: PathBuf,
    /// The file with all its content.
    pub(super) db: PathBuf,
}

impl StoreFiles {
    pub(super) fn of(number: u64, dir: PathBuf) -> Self {
        Self { number, db: dir.join("db"), dir }
    }

    /// Makes an empty store that survives a power cut. sled itself syncs neither `conf` nor a directory.
    ///
    /// It becomes what it is by one rename, so a half-made store is never taken for one.
    pub(super) fn make(&self) -> Result<(), OpenError> {
        let unfinished = self.dir.with_extension("new");
        if unfinished.exists() {
            // Of an earlier attempt that was interrupted here. It was never a store.
            fs::remove_dir_all(&unfinished).map_err(io_at(&unfinished))?;
        }
        let db = open_sled(&unfinished).map_err(|failure| self.refused(&failure))?;
        let closed = guarded(|| {
            db.flush()?;
            drop(db);
            Ok(())
        });
        closed.map_err(|failure| self.refused(&failure))?;
        tighten(&unfinished, 0o700)?;
        for name in ["conf", "db"] {
            let path = unfinished.join(name);
            File::open(&path).and_then(|file| file.sync_all()).map_err(io_at(&path))?;
        }
        sync_dir(&unfinished)?;
        put_in_place(&unfinished, &self.dir).map_err(io_at(&self.dir))
    }

    /// What can be seen without sled, which would change it.
    pub(super) fn check_from_outside(&self, record: &HeadRecord) -> Result<(), OpenError> {
        self.check_conf()?;
        let length = fs::metadata(&self.db).map_err(missing_or_io(&self.db, Some(Position(1))))?.len();
        if self.number == record.store.number {
            self.check_length(length, record)?;
        }
        let blobs = self.dir.join("blobs");
        if blobs.is_dir() && fs::read_dir(&blobs).map_err(io_at(&blobs))?.next().is_some() {
            return Err(damaged(&blobs, None, "is not empty, but a log keeps nothing there"));
        }
        Ok(())
    }

    /// sled writes a missing `conf` again, with today's settings, and only warns of a wrong checksum.
    fn check_conf(&self) -> Result<(), OpenError> {
        let path = self.dir.join("conf");
        let conf = fs::read(&path).map_err(missing_or_io(&path, None))?;
        if conf.len() != CONF.len() + 4 || !conf.starts_with(CONF.as_bytes()) {
            return Err(damaged(&path, None, "is not as it was written when the log was made"));
        }
        Ok(())
    }

    /// The store's file may be shorter than it was only by whole segments (see `note_shrinking`), and never
    /// than its content.
    fn check_length(&self, length: u64, record: &HeadRecord) -> Result<(), OpenError> {
        let cut_by_sled = length.is_multiple_of(SEGMENT_BYTES as u64);
        let was = record.store.file_bytes;
        if length < record.store.frame_bytes || (length < was && !cut_by_sled) {
            let why = format!(
                "was cut short: it has {length} bytes and had {was} when the log ended at position {}",
                record.position
            );
            return Err(damaged(&self.db, None, &why));
        }
        Ok(())
    }

    /// Opens the store; once more without sled's index if the index is the trouble.
    ///
    /// `snap.*` only saves sled a scan of its file, and a kill can leave it torn.
    pub(super) fn open(&self) -> Result<SledStore, OpenError> {
        remove_matching(&self.dir, |name| name.starts_with("snap.") && name.ends_with(".generating"))?;
        let db = match open_sled(&self.dir) {
            Ok(db) => db,
            Err(failure) => {
                tracing::warn!(%failure, "the store does not open; trying again without its index");
                if self.set_snapshots_aside()? == 0 {
                    return Err(self.refused(&failure));
                }
                open_sled(&self.dir).map_err(|failure| self.refused(&failure))?
            }
        };
        SledStore::new(db, self.dir.clone()).map_err(io_at(&self.db))
    }

    fn set_snapshots_aside(&self) -> Result<usize, OpenError> {
        let snapshots = names_in(&self.dir)?.into_iter().filter(|name| name.starts_with("snap."));
        let mut moved = 0;
        for name in snapshots {
            // A name that sled does not look at.
            let aside = self.dir.join(format!("aside.{name}"));
            fs::rename(self.dir.join(&name), &aside).map_err(io_at(&aside))?;
            moved += 1;
        }
        Ok(moved)
    }

    /// Removes what `open` set aside, once all that it stands for was read.
    pub(super) fn tidy(&self) -> Result<(), OpenError> {
        remove_matching(&self.dir, |name| name.starts_with("aside.snap."))
    }

    /// Gives back the memory that a scan took.
    pub(super) fn reopen(&self, store: SledStore) -> Result<SledStore, OpenError> {
        drop(store);
        let db = open_sled(&self.dir).map_err(|failure| self.refused(&failure))?;
        SledStore::new(db, self.dir.clone()).map_err(io_at(&self.db))
    }

    fn refused(&self, failure: &StoreFailure) -> OpenError {
        if is_locked(failure) {
            return OpenError::InUse { path: self.db.clone() };
        }
        damaged(&self.db, None, &failure.to_string())
    }
}

/// Opens a store.
fn open_sled(dir: &Path) -> Result<::sled::Db, StoreFailure> {
    let config = ::sled::Config::new()
        .path(dir)
        .segment_size(SEGMENT_BYTES)
        .mode(::sled::Mode::HighThroughput)
        .cache_capacity(CACHE_BYTES)
        // We flush. A second flusher would only take the lock at a bad moment.
        .flush_every_ms(None);
    open_waiting(&config)
}

pub(super) fn names_in(dir: &Path) -> Result<Vec<String>, OpenError> {
    let entries = fs::read_dir(dir).map_err(io_at(dir))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect::<io::Result<_>>().map_err(io_at(dir))
}

fn remove_matching(dir: &Path, doomed: impl Fn(&str) -> bool) -> Result<(), OpenError> {
    for name in names_in(dir)?.into_iter().filter(|name| doomed(name)) {
        let path = dir.join(name);
        fs::remove_file(&path).map_err(io_at(&path))?;
    }
    Ok(())
}
