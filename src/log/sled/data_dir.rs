//! The files of a data directory that belong to the log: what marks it as ours, its lock, and where its stores are.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use super::{
    OpenError,
    error::{damaged, io_at},
    frame::NO_FRAME,
    head_file::{HeadFile, HeadRecord, StoreRecord},
    store_files::{StoreFiles, names_in},
};
use crate::{LogHead, segment::Segment, tail::LogTail};
use tenure_core::Position;
use tenure_files::replacement::{FileReplacement, PUBLIC, sync_directory};

/// Prefix of the name of a store about to be removed.
const GONE: &str = "gone-";

/// What `FORMAT` says of the whole data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DirectoryFormat {
    /// One store for all of the history: `log` itself.
    One,
    /// A store for each range of it: `log/1` and so on.
    Two,
}

impl DirectoryFormat {
    const ALL: [Self; 2] = [Self::One, Self::Two];

    const fn text(self) -> &'static str {
        match self {
            Self::One => "tenure-data 1\n",
            Self::Two => "tenure-data 2\n",
        }
    }
}

/// The files of a data directory that belong to the log.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    pub(super) dir: PathBuf,
    format: PathBuf,
    head: PathBuf,
    pub(super) log: PathBuf,
    /// The one store of format 1 on its way to its new place.
    moving: PathBuf,
    pub(crate) segments: PathBuf,
    pub(crate) indexes: PathBuf,
}

impl DataDir {
    pub(crate) fn of(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            format: dir.join("FORMAT"),
            head: dir.join("log.head"),
            log: dir.join("log"),
            moving: dir.join("log.moving"),
            segments: dir.join("segments"),
            indexes: dir.join("indexes"),
        }
    }

    pub(super) fn make(&self) -> Result<(), OpenError> {
        if self.dir.is_dir() {
            return self.check_owner();
        }
        let missing: Vec<_> =
            self.dir.ancestors().take_while(|dir| *dir != Path::new("") && !dir.exists()).collect();
        // Names of subjects and the shape of their days are in there.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(io_at(&self.dir))?;
        // A directory is found after a power cut if its name is in the one above it.
        for made in missing {
            let absolute = made.canonicalize().map_err(io_at(made))?;
            sync_dir(absolute.parent().unwrap_or(&absolute))?;
        }
        Ok(())
    }

    /// Anyone who can write to the directory can put other keys and another log into it.
    fn check_owner(&self) -> Result<(), OpenError> {
        let found = fs::metadata(&self.dir).map_err(io_at(&self.dir))?;
        let path = self.dir.clone();
        if ![0, rustix::process::geteuid().as_raw()].contains(&found.uid()) {
            return Err(OpenError::NotOurs { path });
        }
        if found.mode() & 0o022 != 0 {
            return Err(OpenError::OpenToOthers { path, mode: found.mode() & 0o7777 });
        }
        Ok(())
    }

    /// A directory without `FORMAT` becomes ours only if no log is in it.
    pub(super) fn check_format(&self) -> Result<DirectoryFormat, OpenError> {
        match fs::read(&self.format) {
            Ok(bytes) => {
                let known = DirectoryFormat::ALL.into_iter().find(|format| bytes == format.text().as_bytes());
                known.ok_or_else(|| self.foreign_format(&bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.log.exists() || self.head.exists() {
                    return Err(damaged(&self.format, None, "is missing, and there is a log beside it"));
                }
                self.write_format()?;
                Ok(DirectoryFormat::Two)
            }
            Err(error) => Err(io_at(&self.format)(error)),
        }
    }

    /// From here on no program that knows format 1 only opens the directory.
    fn write_format(&self) -> Result<(), OpenError> {
        write_new(&self.format, DirectoryFormat::Two.text().as_bytes())?;
        sync_dir(&self.dir)
    }

    fn foreign_format(&self, bytes: &[u8]) -> OpenError {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).trim_end().to_owned();
        let number = text.strip_prefix("tenure-data ").and_then(|number| number.parse::<u64>().ok());
        let why = match number {
            Some(number) if number > 2 => format!(
                "has data format {number}; this program knows formats 1 and 2: use the newer program that wrote it"
            ),
            Some(_) | None if text.starts_with("tenure-data cluster") => {
                format!("says {text:?}: it is of a node of several; set log.url, or ask the running cluster")
            }
            Some(_) | None => {
                format!("says {text:?}, not \"tenure-data 2\": this is no data directory of Tenure")
            }
        };
        OpenError::ForeignFormat { path: self.format.clone(), why }
    }

    /// Takes the lock first: another process may be writing what is read next.
    ///
    /// sled locks its file too, but only while it opens it, which is after we have looked and tidied.
    pub(super) fn lock_head(&self) -> Result<HeadFile, OpenError> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        let file = options.open(&self.head).map_err(io_at(&self.head))?;
        lock_alone(&file, &self.head)?;
        HeadFile::read(file).map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                damaged(&self.head, None, &error.to_string())
            } else {
                io_at(&self.head)(error)
            }
        })
    }

    /// Says that the log is empty, before there is one: from here on its absence is noticed.
    pub(super) fn first_record(&self, head_file: &mut HeadFile) -> Result<HeadRecord, OpenError> {
        if self.log.exists() {
            return Err(damaged(&self.head, None, "is missing or empty, and there is a log beside it"));
        }
        let LogHead { position, recorded_at, root } = LogTail::new().head();
        let store = StoreRecord::new(1, LogTail::new(), NO_FRAME);
        let (check, term, sequence, segment_events) = (Some(NO_FRAME), 0, 0, 0);
        let record = HeadRecord { position, recorded_at, root, check, term, sequence, segment_events, store };
        self.write_head(head_file, record.clone())?;
        sync_dir(&self.dir)?;
        Ok(record)
    }

    pub(super) fn write_head(&self, head_file: &mut HeadFile, record: HeadRecord) -> Result<(), OpenError> {
        head_file.write(record).and_then(|()| head_file.sync()).map_err(io_at(&self.head))
    }

    /// The stores that there are, in the order in which they were filled. The first one of an empty log is made.
    pub(super) fn stores(
        &self,
        format: DirectoryFormat,
        record: &mut HeadRecord,
    ) -> Result<Vec<StoreFiles>, OpenError> {
        if record.position == Position::ZERO && !self.log.exists() {
            if format == DirectoryFormat::One {
                self.write_format()?;
            }
            self.make_log_dir()?;
        }
        tighten(&self.head, 0o600)?;
        if format == DirectoryFormat::One && record.position > Position::ZERO {
            expect_dir(&self.log, record)?;
            return Ok(vec![StoreFiles::of(1, self.log.clone())]);
        }
        self.finish_moving()?;
        expect_dir(&self.log, record)?;
        let mut stores = self.found()?;
        if stores.is_empty() && record.position == Position::ZERO {
            self.store(1).make()?;
            record.store.file_bytes = 0;
            stores.push(self.store(1));
        }
        expect_dir(&self.store(record.store.number).dir, record)?;
        tighten(&self.log, 0o700)?;
        Ok(stores)
    }

    fn found(&self) -> Result<Vec<StoreFiles>, OpenError> {
        let mut numbers: Vec<u64> =
            names_in(&self.log)?.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers.into_iter().map(|number| self.store(number)).collect())
    }

    /// The store of this number, whether it is there or not.
    pub(super) fn store(&self, number: u64) -> StoreFiles {
        StoreFiles::of(number, self.log.join(number.to_string()))
    }

    /// The segments that there are, in order. What was not finished is removed.
    pub(crate) fn segments(&self) -> Result<Vec<Arc<Segment>>, OpenError> {
        if !self.segments.is_dir() {
            return Ok(Vec::new());
        }
        tighten(&self.segments, 0o700)?;
        self.tidy_indexes()?;
        let (mut whole, unfinished): (Vec<_>, Vec<_>) =
            names_in(&self.segments)?.into_iter().partition(|name| name.ends_with(".segment"));
        for name in unfinished.iter().filter(|name| Path::new(name).extension() == Some("new".as_ref())) {
            let path = self.segments.join(name);
            fs::remove_file(&path).map_err(io_at(&path))?;
            tracing::info!(path = %path.display(), "the making of a segment was interrupted: it begins again");
        }
        whole.sort_unstable();
        whole.iter().map(|name| self.segment(name)).collect()
    }

    fn segment(&self, name: &str) -> Result<Arc<Segment>, OpenError> {
        let path = self.segments.join(name);
        let position = name.strip_suffix(".segment").and_then(|first| first.parse().ok()).map(Position);
        let segment = Segment::open(path.clone()).map_err(|error| {
            let is_damaged = error.kind() == io::ErrorKind::InvalidData;
            if is_damaged { damaged(&path, position, &error.to_string()) } else { io_at(&path)(error) }
        })?;
        if position != Some(segment.header.first()) {
            let why = format!("the segment says that it begins at {}", segment.header.first());
            return Err(damaged(&path, position, &why));
        }
        segment.attach_index();
        Ok(Arc::new(segment))
    }

    /// The directory of segments, made when it is not there.
    pub(crate) fn make_segments(&self) -> Result<(), OpenError> {
        self.make_dir(&self.segments)
    }

    /// The same of their indexes.
    pub(crate) fn make_indexes(&self) -> Result<(), OpenError> {
        self.make_dir(&self.indexes)
    }

    fn make_dir(&self, dir: &Path) -> Result<(), OpenError> {
        if !dir.is_dir() {
            DirBuilder::new().mode(0o700).create(dir).map_err(io_at(dir))?;
            sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// Removes the index whose making was interrupted.
    fn tidy_indexes(&self) -> Result<(), OpenError> {
        if !self.indexes.is_dir() {
            return Ok(());
        }
        tighten(&self.indexes, 0o700)?;
        for path in names_in(&self.indexes)?.iter().map(|name| self.indexes.join(name)) {
            if path.extension() == Some("new".as_ref()) {
                fs::remove_file(&path).map_err(io_at(&path))?;
            }
        }
        Ok(())
    }

    /// Removes a store, which is closed. By its name it is none any more before anything of it goes.
    pub(super) fn remove_store(&self, files: &StoreFiles) -> Result<(), OpenError> {
        let gone = self.log.join(format!("{GONE}{}", files.number));
        fs::rename(&files.dir, &gone).map_err(io_at(&files.dir))?;
        sync_dir(&self.log)?;
        fs::remove_dir_all(&gone).map_err(io_at(&gone))
    }

    /// Ends the removal of stores that a crash has cut short.
    pub(super) fn remove_gone(&self) -> Result<(), OpenError> {
        for name in names_in(&self.log)?.iter().filter(|name| name.starts_with(GONE)) {
            let path = self.log.join(name);
            fs::remove_dir_all(&path).map_err(io_at(&path))?;
        }
        Ok(())
    }

    fn make_log_dir(&self) -> Result<(), OpenError> {
        DirBuilder::new().mode(0o700).create(&self.log).map_err(io_at(&self.log))?;
        sync_dir(&self.dir)
    }

    /// Brings a directory of format 1, all of which was checked, to format 2. Its store must be closed.
    pub(super) fn move_to_format_2(&self) -> Result<(), OpenError> {
        self.write_format()?;
        self.finish_moving()?;
        tracing::info!(path = %self.log.display(), "the log was brought to data format 2");
        Ok(())
    }

    /// Gives the one store of format 1 its place as the first of format 2, from wherever a crash has left it.
    fn finish_moving(&self) -> Result<(), OpenError> {
        if self.log.join("conf").exists() && !self.moving.exists() {
            fs::rename(&self.log, &self.moving).map_err(io_at(&self.log))?;
            sync_dir(&self.dir)?;
        }
        if !self.moving.exists() {
            return Ok(());
        }
        if !self.log.exists() {
            self.make_log_dir()?;
        }
        let first = self.store(1).dir;
        fs::rename(&self.moving, &first).map_err(io_at(&first))?;
        sync_dir(&self.log)?;
        sync_dir(&self.dir)
    }
}

fn expect_dir(dir: &Path, record: &HeadRecord) -> Result<(), OpenError> {
    if dir.is_dir() {
        return Ok(());
    }
    let why = format!("is missing; the log had {} events", record.position);
    Err(damaged(dir, Some(record.store.base.position().next()), &why))
}

/// What a start with a wider umask made is for its owner only.
pub(super) fn tighten(path: &Path, right: u32) -> Result<(), OpenError> {
    let mode = fs::metadata(path).map_err(io_at(path))?.mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(right)).map_err(io_at(path))?;
    }
    Ok(())
}

/// Writes a file all or nothing.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    let unfinished = path.with_extension("new");
    FileReplacement::by_way_of(path, unfinished, PUBLIC)
        .and_then(|replacement| replacement.commit(bytes))
        .map_err(io_at(path))
}

pub(crate) fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    sync_directory(dir).map_err(io_at(dir))
}

/// Only one process may have the log open. A process that is ending, or a fork that has not called exec yet, releases the
/// lock in a moment.
pub(crate) fn lock_alone(file: &File, path: &Path) -> Result<(), OpenError> {
    let mut tries = 0;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if tries < 25 => {
                tries += 1;
                thread::park_timeout(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(io_at(path)(error)),
        }
    }
}
