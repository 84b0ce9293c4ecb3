//! A file of the history, read a part at a time, and the damage found in it.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

use parking_lot::Mutex;
use rustix::{
    fs::{Advice, fadvise},
    io::Errno,
};

use super::SegmentError;
use tenure_core::Position;

/// What was wrong with a file when it was last read.
#[derive(Debug, Default)]
pub(super) struct DamageFlag {
    said: Mutex<Option<String>>,
    is_of_index: bool,
}

/// The first and the last position that a part of a file says something of.
pub(super) type PositionSpan = (Position, Position);

impl DamageFlag {
    /// Of an index, which is made again when it is damaged.
    pub(super) fn of_index() -> Self {
        Self { is_of_index: true, ..Self::default() }
    }

    /// Named below the data directory; `None` if it was sound when it was last read.
    pub(super) fn said(&self) -> Option<String> {
        self.said.lock().clone()
    }

    /// All of it was read, and is as it was written; whether it was not before.
    pub(super) fn clear(&self) -> bool {
        self.said.lock().take().is_some()
    }

    /// What was read, if it is good; else once more, because a cable may have been at fault and not the disk.
    pub(super) fn twice(
        &self,
        (path, positions): (&Path, PositionSpan),
        read: impl Fn(usize) -> io::Result<Vec<u8>>,
        is_good: impl Fn(&[u8]) -> bool,
        what: &str,
    ) -> Result<Vec<u8>, SegmentError> {
        let mut why = None;
        for time in 0..2 {
            match read(time) {
                Ok(bytes) if is_good(&bytes) => return Ok(bytes),
                Ok(_) => why = None,
                Err(error) if is_wanting(&error) => return Err(self.trouble((path, positions), &error)),
                Err(error) => why = Some(error),
            }
        }
        Err(why.map_or_else(
            || self.note((path, positions), &format!("the check of {what} does not match its bytes")),
            |error| self.trouble((path, positions), &error),
        ))
    }

    /// What the system said, when it does not give what is asked for.
    pub(super) fn trouble(
        &self,
        (path, positions): (&Path, PositionSpan),
        error: &io::Error,
    ) -> SegmentError {
        if is_wanting(error) {
            return SegmentError::Wanting(format!("{}: {error}", path.display()));
        }
        self.note((path, positions), &error.to_string())
    }

    /// Remembers, and writes to the log once, what is wrong.
    pub(super) fn note(&self, (path, (first, last)): (&Path, PositionSpan), why: &str) -> SegmentError {
        let alarm = format!("{}: positions {first} to {last}: {why}", below_data(path));
        let why = format!("{}: {why}", path.display());
        let before = self.said.lock().replace(alarm.clone());
        if before.as_ref() != Some(&alarm) {
            tracing::error!(%first, %last, %why, "a file of the history does not read as it was written");
        }
        let index = self.is_of_index.then(|| below_data(path));
        SegmentError::Damaged { first, last, why, index }
    }
}

/// Its name below the data directory.
pub(super) fn below_data(path: &Path) -> String {
    let dir = path.parent().and_then(Path::file_name).unwrap_or_default();
    Path::new(dir).join(path.file_name().unwrap_or_default()).display().to_string()
}

/// Whether only descriptors or memory were wanting: that says nothing of the file.
fn is_wanting(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| [Errno::MFILE, Errno::NFILE, Errno::NOMEM].contains(&errno))
}

/// Does something once more if it fails, unless nothing but descriptors or memory were wanting.
pub(super) fn second_time<T>(mut work: impl FnMut(usize) -> io::Result<T>) -> io::Result<T> {
    work(0).or_else(|error| if is_wanting(&error) { Err(error) } else { work(1) })
}

/// The second time it is read from the disk, and not from what the system has kept of the first.
pub(super) fn read_at(file: &File, offset: u64, length: usize, time: usize) -> io::Result<Vec<u8>> {
    if time > 0 {
        forget(file, offset, length as u64);
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// Ignored advice costs only memory.
pub(super) fn forget(file: &File, offset: u64, length: u64) {
    if let Err(error) = fadvise(file, offset, std::num::NonZeroU64::new(length), Advice::DontNeed) {
        tracing::debug!(%error, "the system keeps what was read once");
    }
}
