//! One store of sled, with its file: what is kept in it, brought to disk, and read back.

use std::{fs::File, io, ops::Bound, path::PathBuf};

use parking_lot::Mutex;
use rustix::fs::Dir;

use super::{catch_panic::guarded, frame};
use crate::LogError;
use tenure_core::Position;

/// The store and its file.
#[derive(Debug)]
pub(super) struct SledStore {
    /// Taken only when the store is dropped.
    db: Option<::sled::Db>,
    /// The store's file, opened by ourselves: to sync it is to sync what sled wrote through its own handle.
    file: File,
    /// `blobs/`, open from the start: a commit opens no file, so a want of descriptors stops no writes.
    blobs: Mutex<Dir>,
    pub(super) dir: PathBuf,
    #[cfg(test)]
    pub(super) faults: faults::InjectedFaults,
}

impl SledStore {
    pub(super) fn new(db: ::sled::Db, dir: PathBuf) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(dir.join("db"))?;
        let blobs = Mutex::new(Dir::new(File::open(dir.join("blobs"))?)?);
        Ok(Self {
            db: Some(db),
            file,
            blobs,
            dir,
            #[cfg(test)]
            faults: faults::InjectedFaults::default(),
        })
    }

    pub(super) fn db(&self) -> &::sled::Db {
        self.db.as_ref().expect("the handle is taken only by drop")
    }

    /// Stores a frame, and looks at it.
    ///
    /// sled splits a page that has become too large when it next comes by, even to read. When it can no
    /// longer write, such a page can no longer be read either. So it comes by here, as long as it can write.
    pub(super) fn insert(&self, key: &[u8], frame: Vec<u8>) -> Result<(), ::sled::Error> {
        #[cfg(test)]
        self.faults.lack()?;
        self.db().insert(key, frame)?;
        self.db().get(key)?;
        Ok(())
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// The barrier itself. Never tried again after a failure.
    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.meet()?;
        self.file.sync_data()
    }

    /// Nothing syncs `blobs/`, so a batch with a value in it must not be called durable.
    ///
    /// Frames are too small to get there; this notices if that reasoning, or sled, is wrong. Listing an empty
    /// directory takes microseconds, where the sync before it takes a hundred times as long.
    pub(super) fn assert_no_blobs(&self) -> Result<(), String> {
        let blobs = self.dir.join("blobs");
        match self.has_blobs() {
            Ok(false) => Ok(()),
            Ok(true) => Err(format!("{}: is not empty, and nothing in it is synced", blobs.display())),
            Err(error) => Err(format!("{}: {error}", blobs.display())),
        }
    }

    fn has_blobs(&self) -> io::Result<bool> {
        let mut blobs = self.blobs.lock();
        blobs.rewind();
        while let Some(entry) = blobs.read() {
            if ![c".", c".."].contains(&entry?.file_name()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Every frame behind the one that begins at `last`, in order; every frame at all if there is none.
    pub(super) fn frames_after(&self, last: Option<Position>) -> FrameIter {
        FrameIter(match last {
            Some(last) => self.db().range((Bound::Excluded(frame::key(last)), Bound::Unbounded)),
            None => self.db().iter(),
        })
    }

    /// Frames in order, from the one that holds `position`.
    pub(super) fn frames_from(&self, position: Position) -> Result<FrameIter, LogError> {
        let start = guarded(|| self.db().range(..=frame::key(position)).next_back().transpose());
        let start = start.map_err(|failure| LogError::Corrupt { position, why: failure.to_string() })?;
        // Without such a frame the first one there is begins too late, and the caller sees that.
        let from = start.map_or(frame::key(position).to_vec(), |(key, _)| key.to_vec());
        Ok(FrameIter(self.db().range(from..)))
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        // sled flushes and panics in its own drop too.
        let closed = guarded(|| {
            drop(self.db.take());
            Ok(())
        });
        if let Err(failure) = closed {
            tracing::warn!(%failure, "the store did not close in good order");
        }
    }
}

/// When this has returned, everything inserted so far survives a power cut; gives the length of the store's file.
pub(super) fn barrier(store: &SledStore) -> Result<u64, String> {
    let db_error = |error: io::Error| format!("{}: {error}", store.dir.join("db").display());
    guarded(|| store.db().flush()).map_err(|failure| failure.to_string())?;
    // Before the sync, which makes this length durable too.
    let file_bytes = store.len().map_err(db_error)?;
    store.sync().map_err(db_error)?;
    store.assert_no_blobs()?;
    Ok(file_bytes)
}

/// The frames of a store, in order.
pub(super) struct FrameIter(::sled::Iter);

impl FrameIter {
    /// The next frame's first position and bytes. `wanted` is the position looked for, named in the error.
    pub(super) fn next(&mut self, wanted: Position) -> Result<(Position, ::sled::IVec), LogError> {
        let missing = || "the store ends before it".to_owned();
        let corrupt = |why| LogError::Corrupt { position: wanted, why };
        self.try_next().map_err(corrupt)?.ok_or_else(|| corrupt(missing()))
    }

    /// The next frame, or none at the end of the store.
    pub(super) fn try_next(&mut self) -> Result<Option<(Position, ::sled::IVec)>, String> {
        let found = guarded(|| self.0.next().transpose()).map_err(|failure| failure.to_string())?;
        let Some((key, value)) = found else { return Ok(None) };
        let key = key.as_ref().try_into().map_err(|_| "a key is not a position".to_owned())?;
        Ok(Some((Position(u64::from_be_bytes(key)), value)))
    }
}

#[cfg(test)]
pub(super) mod faults {
    use std::{
        io,
        sync::atomic::{AtomicBool, Ordering},
    };

    /// A disk that fails on demand: the only way to meet the barrier's failure on a healthy machine.
    #[derive(Debug, Default)]
    pub(in crate::sled) struct InjectedFaults(AtomicBool, AtomicBool);

    impl InjectedFaults {
        pub(in crate::sled) fn next_sync_fails(&self) {
            self.0.store(true, Ordering::SeqCst);
        }

        pub(in crate::sled) fn next_insert_lacks_descriptors(&self) {
            self.1.store(true, Ordering::SeqCst);
        }

        pub(in crate::sled) fn lack(&self) -> io::Result<()> {
            if self.1.swap(false, Ordering::SeqCst) {
                return Err(rustix::io::Errno::MFILE.into());
            }
            Ok(())
        }

        pub(in crate::sled) fn meet(&self) -> io::Result<()> {
            if self.0.swap(false, Ordering::SeqCst) {
                return Err(io::Error::other("the disk did not answer"));
            }
            Ok(())
        }
    }
}
