//! A start: everything is checked before anything is believed, and what does not check is refused.
//!
//! The order matters. sled rewrites a damaged file while it opens it, and the evidence is gone; so what can
//! be seen from outside is looked at first. Then sled opens, then every frame it gives back is checked, and
//! the whole against the head record, which sled has never touched.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use super::{
    OpenError,
    guard::{Failure, guarded},
    head_file::{HeadFile, HeadRecord},
    open_error::{damaged, io_at, missing_or_io},
    scan::{self, Scanned},
    store::Store,
};
use crate::{Head, StoredCommit, tail::Tail};
use tenure_core::Position;

/// 8 MiB, so that a leaf with its frames stays inline (see `frame`). It is fixed when a store is made.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;

/// What sled writes into `conf` for a store of ours; four bytes of CRC-32 follow.
const CONF: &str = "segment_size: 8388608\nuse_compression: false\nversion: 0.34\n";

/// What `FORMAT` holds: the version of the whole data directory.
const FORMAT: &str = "tenure-data 1\n";

/// Pages that sled may keep at run time. Readers follow the end of the log, which is in memory anyway.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// What a start has found.
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) tail: Tail,
    pub(super) head_file: HeadFile,
    pub(super) frame_bytes: u64,
}

/// The files of a data directory that belong to the log.
struct Files {
    data: PathBuf,
    format: PathBuf,
    head: PathBuf,
    log: PathBuf,
    /// A store in the making. It becomes `log` by one rename, so a half-made store is never taken for one.
    unfinished: PathBuf,
    db: PathBuf,
}

/// See [`SledLog::open`](super::SledLog::open).
pub(super) fn open(
    data_dir: &Path,
    fold: &mut dyn FnMut(StoredCommit) -> Result<(), String>,
) -> Result<Opened, OpenError> {
    let files = Files::of(data_dir);
    files.make_data_dir()?;
    files.check_format()?;
    let mut head_file = files.lock_head()?;
    let mut record = match head_file.record() {
        Some(record) => record,
        None => files.first_record(&mut head_file)?,
    };
    if record.position == Position::ZERO && !files.log.exists() {
        files.make_store()?;
        record.file_bytes = 0;
    }
    files.check_from_outside(&record)?;
    files.tighten()?;
    let store = files.open_store()?;
    let reopen = &|store| files.reopen(store);
    let Scanned { store, tail, frame_bytes } = scan::scan(store, reopen, &files.db, record, fold)?;
    files.settle(&store, &mut head_file, tail.head(), frame_bytes)?;
    Ok(Opened { store, tail, head_file, frame_bytes })
}

impl Files {
    fn of(data_dir: &Path) -> Self {
        let log = data_dir.join("log");
        Self {
            data: data_dir.to_owned(),
            format: data_dir.join("FORMAT"),
            head: data_dir.join("log.head"),
            unfinished: data_dir.join("log.new"),
            db: log.join("db"),
            log,
        }
    }

    fn make_data_dir(&self) -> Result<(), OpenError> {
        if self.data.is_dir() {
            return self.check_owner();
        }
        let missing: Vec<_> =
            self.data.ancestors().take_while(|dir| *dir != Path::new("") && !dir.exists()).collect();
        // Names of subjects and the shape of their days are in there: nobody else's business.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.data).map_err(io_at(&self.data))?;
        // A directory is found after a power cut if its name is in the one above it.
        for made in missing {
            let absolute = made.canonicalize().map_err(io_at(made))?;
            sync_dir(absolute.parent().unwrap_or(&absolute))?;
        }
        Ok(())
    }

    /// Anyone who can write to the directory can put other keys and another log into it.
    fn check_owner(&self) -> Result<(), OpenError> {
        let found = fs::metadata(&self.data).map_err(io_at(&self.data))?;
        let path = self.data.clone();
        if ![0, rustix::process::geteuid().as_raw()].contains(&found.uid()) {
            return Err(OpenError::NotOurs { path });
        }
        if found.mode() & 0o022 != 0 {
            return Err(OpenError::OpenToOthers { path, mode: found.mode() & 0o7777 });
        }
        Ok(())
    }

    /// What a start with a wider umask made is for its owner only.
    fn tighten(&self) -> Result<(), OpenError> {
        for (path, right) in [(&self.log, 0o700), (&self.head, 0o600)] {
            let mode = fs::metadata(path).map_err(io_at(path))?.mode();
            if mode & 0o077 != 0 {
                fs::set_permissions(path, fs::Permissions::from_mode(right)).map_err(io_at(path))?;
            }
        }
        Ok(())
    }

    /// A directory without `FORMAT` becomes ours only if no log is in it.
    fn check_format(&self) -> Result<(), OpenError> {
        match fs::read(&self.format) {
            Ok(bytes) if bytes == FORMAT.as_bytes() => Ok(()),
            Ok(bytes) => Err(self.foreign_format(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.log.exists() || self.head.exists() {
                    return Err(damaged(&self.format, None, "is missing, and there is a log beside it"));
                }
                write_new(&self.format, FORMAT.as_bytes())?;
                sync_dir(&self.data)
            }
            Err(error) => Err(io_at(&self.format)(error)),
        }
    }

    fn foreign_format(&self, bytes: &[u8]) -> OpenError {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).trim_end().to_owned();
        let number = text.strip_prefix("tenure-data ").and_then(|number| number.parse::<u64>().ok());
        let why = match number {
            Some(number) if number > 1 => {
                format!(
                    "has data format {number}; this program knows format 1: use the newer program that wrote it"
                )
            }
            Some(_) | None => {
                format!("says {text:?}, not \"tenure-data 1\": this is no data directory of Tenure")
            }
        };
        OpenError::ForeignFormat { path: self.format.clone(), why }
    }

    /// Takes the lock first: another process may be writing what is read next.
    ///
    /// sled locks its file too, but only while it opens it, which is after we have looked and tidied.
    fn lock_head(&self) -> Result<HeadFile, OpenError> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(&self.head).map_err(io_at(&self.head))?;
        self.lock(&file)?;
        HeadFile::read(file).map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                damaged(&self.head, None, &error.to_string())
            } else {
                io_at(&self.head)(error)
            }
        })
    }

    /// Only one process may have the log open. One that is just ending, or that a program has forked and that has
    /// not become another program yet, lets go in a moment.
    fn lock(&self, file: &File) -> Result<(), OpenError> {
        let mut tries = 0;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::WouldBlock) if tries < 25 => {
                    tries += 1;
                    thread::park_timeout(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: self.head.clone() }),
                Err(TryLockError::Error(error)) => return Err(io_at(&self.head)(error)),
            }
        }
    }

    /// Says that the log is empty, before there is one: from here on its absence is noticed.
    fn first_record(&self, head_file: &mut HeadFile) -> Result<HeadRecord, OpenError> {
        if self.log.exists() {
            return Err(damaged(&self.head, None, "is missing or empty, and there is a log beside it"));
        }
        let Head { position, recorded_at, root } = Tail::new().head();
        let record = HeadRecord { position, recorded_at, root, frame_bytes: 0, file_bytes: 0 };
        head_file.write(record).and_then(|()| head_file.sync()).map_err(io_at(&self.head))?;
        sync_dir(&self.data)?;
        Ok(record)
    }

    /// Makes an empty store that survives a power cut. sled itself syncs neither `conf` nor a directory.
    fn make_store(&self) -> Result<(), OpenError> {
        if self.unfinished.exists() {
            // Of an earlier start that was interrupted here. It was never a log.
            fs::remove_dir_all(&self.unfinished).map_err(io_at(&self.unfinished))?;
        }
        let db = open_sled(&self.unfinished).map_err(|failure| self.refused(&failure))?;
        let closed = guarded(|| {
            db.flush()?;
            drop(db);
            Ok(())
        });
        closed.map_err(|failure| self.refused(&failure))?;
        for name in ["conf", "db"] {
            let path = self.unfinished.join(name);
            File::open(&path).and_then(|file| file.sync_all()).map_err(io_at(&path))?;
        }
        sync_dir(&self.unfinished)?;
        fs::rename(&self.unfinished, &self.log).map_err(io_at(&self.log))?;
        sync_dir(&self.data)
    }

    /// What can be seen without sled, which would change it.
    fn check_from_outside(&self, record: &HeadRecord) -> Result<(), OpenError> {
        if !self.log.is_dir() {
            let why = format!("is missing; the log had {} events", record.position);
            return Err(damaged(&self.log, Some(Position(1)), &why));
        }
        self.check_conf()?;
        self.check_length(record)?;
        let blobs = self.log.join("blobs");
        if blobs.is_dir() && fs::read_dir(&blobs).map_err(io_at(&blobs))?.next().is_some() {
            return Err(damaged(&blobs, None, "is not empty; a log of ours keeps nothing there"));
        }
        Ok(())
    }

    /// sled makes a missing `conf` anew with today's settings and only warns of a wrong checksum.
    fn check_conf(&self) -> Result<(), OpenError> {
        let path = self.log.join("conf");
        let conf = fs::read(&path).map_err(missing_or_io(&path, None))?;
        if conf.len() != CONF.len() + 4 || !conf.starts_with(CONF.as_bytes()) {
            return Err(damaged(&path, None, "is not as it was written when the log was made"));
        }
        Ok(())
    }

    /// The store's file may be shorter than it was only by whole segments (see `note_shrinking`), and never
    /// than its content.
    fn check_length(&self, record: &HeadRecord) -> Result<(), OpenError> {
        let length = fs::metadata(&self.db).map_err(missing_or_io(&self.db, Some(Position(1))))?.len();
        let cut_by_sled = length.is_multiple_of(SEGMENT_BYTES as u64);
        if length < record.frame_bytes || (length < record.file_bytes && !cut_by_sled) {
            let why = format!(
                "was cut short: it has {length} bytes and had {} when the log ended at position {}",
                record.file_bytes, record.position
            );
            return Err(damaged(&self.db, None, &why));
        }
        Ok(())
    }

    /// Opens the store; once more without sled's index if that is what it stumbles over.
    ///
    /// `snap.*` only saves sled a scan of its file, and a kill can leave it torn.
    fn open_store(&self) -> Result<Store, OpenError> {
        remove_matching(&self.log, |name| name.starts_with("snap.") && name.ends_with(".generating"))?;
        let db = match open_sled(&self.log) {
            Ok(db) => db,
            Err(failure) => {
                tracing::warn!(%failure, "the store does not open; trying again without its index");
                if self.set_snapshots_aside()? == 0 {
                    return Err(self.refused(&failure));
                }
                open_sled(&self.log).map_err(|failure| self.refused(&failure))?
            }
        };
        Store::new(db, self.log.clone()).map_err(io_at(&self.db))
    }

    fn set_snapshots_aside(&self) -> Result<usize, OpenError> {
        let snapshots = names_in(&self.log)?.into_iter().filter(|name| name.starts_with("snap."));
        let mut moved = 0;
        for name in snapshots {
            // A name that sled does not look at.
            let aside = self.log.join(format!("aside.{name}"));
            fs::rename(self.log.join(&name), &aside).map_err(io_at(&aside))?;
            moved += 1;
        }
        Ok(moved)
    }

    /// Gives back the memory that the scan took.
    fn reopen(&self, store: Store) -> Result<Store, OpenError> {
        drop(store);
        let db = open_sled(&self.log).map_err(|failure| self.refused(&failure))?;
        Store::new(db, self.log.clone()).map_err(io_at(&self.db))
    }

    /// What was scanned may be in the kernel's memory only, if the process before this one was killed. It
    /// is about to be shown, so it must be durable first; and the head record must say so.
    fn settle(
        &self,
        store: &Store,
        head_file: &mut HeadFile,
        head: Head,
        frame_bytes: u64,
    ) -> Result<(), OpenError> {
        remove_matching(&self.log, |name| name.starts_with("aside.snap."))?;
        let Head { position, recorded_at, root } = head;
        let file_bytes = store.len().map_err(io_at(&self.db))?;
        store.sync().map_err(io_at(&self.db))?;
        let record = HeadRecord { position, recorded_at, root, frame_bytes, file_bytes };
        head_file.write(record).and_then(|()| head_file.sync()).map_err(io_at(&self.head))
    }

    fn refused(&self, failure: &Failure) -> OpenError {
        if is_locked(failure) {
            return OpenError::InUse { path: self.db.clone() };
        }
        damaged(&self.db, None, &failure.to_string())
    }
}

/// Opens a store, waiting a moment for one that was just dropped: sled's own threads may still hold its lock.
fn open_sled(dir: &Path) -> Result<::sled::Db, Failure> {
    let config = ::sled::Config::new()
        .path(dir)
        .segment_size(SEGMENT_BYTES)
        .mode(::sled::Mode::HighThroughput)
        .cache_capacity(CACHE_BYTES)
        // We flush. A second flusher would only take the lock at a bad moment.
        .flush_every_ms(None);
    let mut tries = 0;
    loop {
        match guarded(|| config.open()) {
            Err(failure) if is_locked(&failure) && tries < 100 => {
                tries += 1;
                thread::park_timeout(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn is_locked(failure: &Failure) -> bool {
    match failure {
        Failure::Error(::sled::Error::Io(error)) => error.to_string().contains("could not acquire lock"),
        Failure::Error(_) | Failure::Panic(_) => false,
    }
}

fn names_in(dir: &Path) -> Result<Vec<String>, OpenError> {
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

/// Writes a file that is there whole or not at all.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    let unfinished = path.with_extension("new");
    let written = File::create(&unfinished).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&unfinished, path)).map_err(io_at(path))
}

fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_at(dir))
}
