//! The checkpoints of a data directory: the last two, and what a crash left of another.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::{
    Checkpoint, CheckpointError, FoldPace,
    fold::{io_at, make, next_of},
};
use tenure_core::Position;
use tenure_files::replacement::{put_in_place, sync_directory};
use tenure_log::{EventLog, SegmentEnd};

/// Checkpoints kept: when the last one cannot be believed, there is the one before.
const KEPT: usize = 2;

/// `DATA/checkpoints/`.
#[derive(Clone, Debug)]
pub struct CheckpointFolder {
    dir: PathBuf,
    #[cfg(test)]
    pub(super) on_step: Option<fn(&Path, &str)>,
}

/// Why a checkpoint does not fit these ends of segments.
pub(super) fn unfit(checkpoint: &Checkpoint, ends: &[SegmentEnd]) -> String {
    let position = checkpoint.end().position;
    match ends.iter().find(|end| end.position == position) {
        None => format!("no segment ends at position {position}, at which it stands"),
        Some(end) if end.log_id != checkpoint.end().log_id => "is of another log".to_owned(),
        Some(_) => format!("is not of the history that the segment up to position {position} ends"),
    }
}

impl CheckpointFolder {
    /// That of this data directory.
    pub fn of(data: &Path) -> Self {
        Self {
            dir: data.join("checkpoints"),
            #[cfg(test)]
            on_step: None,
        }
    }

    /// The files of checkpoints, newest first, each with where it says it stands.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn files(&self) -> io::Result<Vec<(Position, PathBuf)>> {
        self.files_ending("checkpoint")
    }

    fn files_ending(&self, ending: &str) -> io::Result<Vec<(Position, PathBuf)>> {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            if let Some(number) = stem.filter(|_| path.extension().is_some_and(|own| own == ending)) {
                found.push((Position(number), path));
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// The checkpoints that stand at one of these ends of segments, newest first, by their headers and tables. Each
    /// other one is named with what is wrong with it.
    pub fn find(&self, ends: &[SegmentEnd], doubt: &mut dyn FnMut(&str, String)) -> Vec<Checkpoint> {
        let files = match self.files() {
            Ok(files) => files,
            Err(error) => {
                doubt("checkpoints", error.to_string());
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for (_, path) in files {
            match Checkpoint::open(&path) {
                Ok(checkpoint) if ends.contains(checkpoint.end()) => found.push(checkpoint),
                Ok(checkpoint) => doubt(checkpoint.name(), unfit(&checkpoint, ends)),
                Err(CheckpointError::Damaged { name, why }) => doubt(&name, why),
                Err(error) => tracing::warn!(%error, "a checkpoint cannot be read now"),
            }
        }
        found
    }

    /// Makes the next checkpoint behind this one, as far as these ends of segments reach in one go; `None` if there is
    /// nothing behind it.
    ///
    /// # Errors
    /// See [`CheckpointError`]; the next call begins again.
    pub fn advance(
        &self,
        log: &dyn EventLog,
        before: Option<&Checkpoint>,
        ends: &[SegmentEnd],
        pace: &mut FoldPace<'_>,
    ) -> Result<Option<Checkpoint>, CheckpointError> {
        let known = before.map_or(Position::ZERO, |before| before.end().position);
        let new = &ends[ends.partition_point(|end| end.position <= known)..];
        let Some(end) = next_of(new) else { return Ok(None) };
        let at = |source| io_at(&self.dir, source);
        self.make_dir().map_err(at)?;
        let path = self.dir.join(format!("{:020}.checkpoint", end.position.0));
        let unfinished = path.with_extension("new");
        // What was begun would take room from what has to be written.
        make(log, before, end, &unfinished, pace).inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
        self.step("written");
        put_in_place(&unfinished, &path).map_err(at)?;
        self.step("renamed");
        self.remove_old().map_err(at)?;
        Checkpoint::open(&path).map(Some)
    }

    /// Where a checkpoint may be folded again, apart from those that there are.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn place_for_a_fold(&self) -> Result<PathBuf, CheckpointError> {
        self.make_dir().map_err(|source| io_at(&self.dir, source))?;
        Ok(self.dir.join("scrub.new"))
    }

    /// Removes what interrupted makings left.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_unfinished(&self) -> Result<(), CheckpointError> {
        let at = |source| io_at(&self.dir, source);
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(at(error)),
        };
        for entry in entries {
            let path = entry.map_err(at)?.path();
            if path.extension().is_some_and(|own| own == "new" || own == "next") {
                fs::remove_file(&path).map_err(at)?;
            }
        }
        Ok(())
    }

    /// Sets a distrusted file aside, and keeps it for an investigation.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_aside(&self, name: &str) -> Result<(), CheckpointError> {
        let Some(file) = Path::new(name).file_name() else { return Ok(()) };
        let path = self.dir.join(file);
        match fs::rename(&path, path.with_extension("damaged")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_at(&path, error)),
            Ok(()) | Err(_) => sync_directory(&self.dir).map_err(|source| io_at(&self.dir, source)),
        }
    }

    /// Removes all but the last ones, and what was set aside before them.
    fn remove_old(&self) -> io::Result<()> {
        let files = self.files()?;
        let Some((oldest, _)) = files.get(KEPT - 1) else { return Ok(()) };
        let aside = self.files_ending("damaged")?.into_iter().filter(|(position, _)| position < oldest);
        for (_, path) in files[KEPT..].iter().cloned().chain(aside) {
            fs::remove_file(path)?;
            self.step("removed");
        }
        Ok(())
    }

    fn make_dir(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            Err(_) => Ok(()),
            Ok(()) => self.dir.parent().map_or(Ok(()), sync_directory),
        }
    }

    /// Where a test takes a copy of what a crash would leave.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "only a test looks at the steps"))]
    fn step(&self, name: &str) {
        #[cfg(test)]
        if let Some(on_step) = self.on_step {
            on_step(&self.dir, name);
        }
        tracing::trace!(name, "checkpoint");
    }
}
