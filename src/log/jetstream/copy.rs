//! This node's own copy of the frames: what reads are served from, and what notices a broker that has lost something.
//!
//! It is synced about once a second, off the path of acknowledgement: what is lacking after a crash is fetched again.
//! The key of a frame is its first position and its sequence in the stream, for a barrier holds no position of its own.
//! What is in segments leaves it (`sealing`), but for the last frame: it says what the broker must still have.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

use super::read_end::{FrameMark, ReadEnd};
use crate::{
    LogError, OpenError, StoredCommit,
    sled::{
        catch_panic::guarded,
        data_dir::lock_alone,
        frame::{self, MAX_FRAME_BYTES},
        waiting_open::open_waiting,
    },
};
use tenure_core::Position;

/// What `FORMAT` says, so that no program takes the directory for one with a log of its own.
const FORMAT: &str = "tenure-data cluster 1\n";
/// Milliseconds between syncs.
const SYNC_EVERY: u64 = 1_000;
/// Pages that the store may keep.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// As of a log on one machine: values of this size must stay inline.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;

/// The copy, in `DATA/copy`.
pub(super) struct LocalCopy {
    path: PathBuf,
    db: ::sled::Db,
    /// Held as long as the copy is open.
    _lock: File,
}

/// A commit's first position, the position behind it, and its bytes.
type CommitBytes<'b> = (Position, Position, &'b [u8]);
/// What becomes of each commit that a start reads, with the leaves that its records are in the tree.
pub(super) type CommitFold<'f> = dyn FnMut(StoredCommit, &[[u8; 32]]) -> Result<(), String> + 'f;

impl LocalCopy {
    /// Opens the copy below this data directory, or begins one. What does not open is set aside: the log has it all.
    pub(super) fn open(data: &Path) -> Result<Self, OpenError> {
        let lock = own(data)?;
        let path = data.join("copy");
        let db = match open_store(&path) {
            Ok(db) => db,
            Err(why) => {
                let aside = set_aside(data, &path)?;
                tracing::error!(why, aside = %aside.display(), "the copy of the log does not open: it is set aside and filled again");
                open_store(&path).map_err(|why| damaged(&path, None, why))?
            }
        };
        Ok(Self { path, db, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The frame before the one in which what is in segments ends, up to this position; none where the copy does not
    /// have that one whole.
    pub(super) fn mark_of(&self, sealed: Position) -> Option<FrameMark> {
        let (key, bytes) = self.frame_of(sealed.next()).ok()?;
        let (first, sequence) = place_of(&key)?;
        let frame = frame::open(first, &bytes).ok().filter(|frame| frame.next > sealed)?;
        FrameMark::before(&frame, sequence)
    }

    /// Removes the frames that hold nothing but what is in segments, up to this position. The last one stays.
    pub(super) fn let_go(&self, sealed: Position) -> Result<(), String> {
        let removed = guarded(|| {
            let Some((last, _)) = self.db.range(..=key(sealed.next(), u64::MAX)).next_back().transpose()?
            else {
                return Ok(());
            };
            // In order, so that no reader takes one for the next.
            self.db.range(..last).keys().try_for_each(|key| self.db.remove(key?).map(drop))
        });
        removed.map_err(|failure| format!("{}: {failure}", self.path.display()))
    }

    /// Removes all of it.
    pub(super) fn clear(&self) -> Result<(), OpenError> {
        let cleared = guarded(|| self.db.clear());
        cleared.map_err(|failure| damaged(&self.path, None, failure.to_string()))
    }

    /// The bytes of its files.
    pub(super) fn len(&self) -> u64 {
        guarded(|| self.db.size_on_disk()).unwrap_or_default()
    }

    /// Hands over all that is behind this end, in order, as far as it is whole. What is behind a hole or a damaged frame
    /// is removed.
    pub(super) fn scan(&self, end: &mut ReadEnd, fold: &mut CommitFold<'_>) -> Result<(), OpenError> {
        let mut doubtful = None;
        let known = end.sequence;
        let frames = self.db.iter().skip_while(|entry| {
            let place = entry.as_ref().ok().and_then(|(key, _)| place_of(key));
            place.is_some_and(|(_, sequence)| sequence <= known)
        });
        for entry in frames {
            let Ok((key, bytes)) = entry else {
                doubtful = Some("the store cannot be read".to_owned());
                break;
            };
            if key.as_ref() != end.key_of(&bytes) {
                doubtful = Some("the next frame is missing".to_owned());
                break;
            }
            if let Err(why) = end.examine(&bytes) {
                doubtful = Some(why);
                break;
            }
            end.follow(&bytes, fold).map_err(|why| damaged(&self.path, Some(end.position().next()), why))?;
        }
        doubtful.map_or(Ok(()), |why| self.cut(end, &why))
    }

    /// Removes everything from the next frame on.
    fn cut(&self, end: &ReadEnd, why: &str) -> Result<(), OpenError> {
        let from = end.next_key();
        tracing::error!(why, position = %end.position().next(), "the copy of the log is damaged there: it is filled again");
        let removed = guarded(|| {
            let keys: Vec<_> = self.db.range(from..).keys().collect::<Result<_, _>>()?;
            keys.iter().try_for_each(|key| self.db.remove(key).map(drop))
        });
        removed.map_err(|failure| damaged(&self.path, None, failure.to_string()))
    }

    /// Keeps a frame of the log.
    pub(super) fn keep(&self, key: [u8; 16], frame: &[u8]) -> Result<(), String> {
        debug_assert!(frame.len() <= MAX_FRAME_BYTES, "it would go to a file of its own");
        let kept = guarded(|| self.db.insert(key, frame).map(drop));
        kept.map_err(|failure| format!("{}: {failure}", self.path.display()))
    }

    pub(super) fn sync(&self) {
        if let Err(failure) = guarded(|| self.db.flush().map(drop)) {
            tracing::warn!(%failure, "the copy of the log is not synced");
        }
    }

    /// Hands over each commit that ends behind `after` and begins at `last` or before, until `take` has enough.
    pub(super) fn read(
        &self,
        after: Position,
        last: Position,
        take: &mut dyn FnMut(CommitBytes<'_>) -> Result<bool, LogError>,
    ) -> Result<(), LogError> {
        let mut next = after.next();
        while next <= last {
            let bytes = self.frame_of(next)?;
            let first = Position(u64::from_be_bytes(*bytes.0.first_chunk().unwrap_or(&[0; 8])));
            let frame = frame::open(first, &bytes.1).map_err(|why| corrupt(first, why))?;
            if frame.next <= next {
                return Err(corrupt(next, "the copy has no frame for it".to_owned()));
            }
            for range in frame.ranges().filter(|(_, end, _)| *end > next) {
                if !take(range)? {
                    return Ok(());
                }
            }
            next = frame.next;
        }
        Ok(())
    }

    /// The last frame that begins at this position or before.
    fn frame_of(&self, position: Position) -> Result<(::sled::IVec, ::sled::IVec), LogError> {
        let found = guarded(|| self.db.range(..=key(position, u64::MAX)).next_back().transpose());
        let found = found.map_err(|failure| corrupt(position, failure.to_string()))?;
        found.ok_or_else(|| corrupt(position, "the copy has no frame for it".to_owned()))
    }
}

impl std::fmt::Debug for LocalCopy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Copy({})", self.path.display())
    }
}

/// The first position and the sequence of the frame that is kept there.
fn place_of(key: &[u8]) -> Option<(Position, u64)> {
    let both = u128::from_be_bytes(key.try_into().ok()?);
    Some((Position(u64::try_from(both >> 64).ok()?), u64::try_from(both & u128::from(u64::MAX)).ok()?))
}

/// Where a frame is kept.
pub(super) fn key(first: Position, sequence: u64) -> [u8; 16] {
    (u128::from(first.0) << 64 | u128::from(sequence)).to_be_bytes()
}

pub(super) fn damaged(path: &Path, position: Option<Position>, why: String) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), position, why }
}

fn corrupt(position: Position, why: String) -> LogError {
    LogError::Corrupt { position, why }
}

/// Makes the directory this node's, if it is no other's, and locks it.
fn own(data: &Path) -> Result<File, OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    crate::sled::make_data_dir(data)?;
    let format = data.join("FORMAT");
    match fs::read(&format) {
        Ok(said) if said == FORMAT.as_bytes() => {}
        Ok(said) => {
            let said = String::from_utf8_lossy(&said).trim_end().to_owned();
            let why = format!(
                "says {said:?}: the directory has a log of its own. A node of a cluster begins with an empty directory"
            );
            return Err(OpenError::ForeignFormat { path: format, why });
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let written = File::create(&format).and_then(|mut file| {
                file.write_all(FORMAT.as_bytes())?;
                file.sync_all()
            });
            written.map_err(io(&format))?;
        }
        Err(error) => return Err(io(&format)(error)),
    }
    let lock = File::options().read(true).write(true).open(&format).map_err(io(&format))?;
    lock_alone(&lock, &format)?;
    Ok(lock)
}

fn open_store(path: &Path) -> Result<::sled::Db, String> {
    let config = ::sled::Config::new()
        .path(path)
        .segment_size(SEGMENT_BYTES)
        .mode(::sled::Mode::HighThroughput)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(Some(SYNC_EVERY));
    open_waiting(&config).map_err(|failure| failure.to_string())
}

/// Gives what does not open another name, once.
fn set_aside(data: &Path, path: &Path) -> Result<PathBuf, OpenError> {
    let aside = data.join("copy.damaged");
    let moved = if aside.exists() { fs::remove_dir_all(&aside) } else { Ok(()) };
    let moved = moved.and_then(|()| fs::rename(path, &aside));
    moved.map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    Ok(aside)
}
