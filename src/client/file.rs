//! The session file: where the token of a session is kept, for its owner only, and shared by several processes.
//!
//! A reader finds the old content or the new one, never half of it, also after a power cut: each content is written
//! beside the file, synced, and renamed into its place. Writers take turns by a lock on a second file beside it
//! (`FILE.lock`), which goes with the session file; the lock ends with its holder, however that ends. Both are advisory
//! locks of one machine: the file belongs on a local file system.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use serde_json::Value;

use super::{
    file_lock::{FileLock, beside},
    grant::SessionGrant,
};
use tenure_files::replacement::{FileReplacement, PRIVATE};

/// A file beyond this is something else.
const LONGEST: u64 = 64 * 1024;

/// Why a session file cannot be used. No error quotes a content.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system says no.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// Others than its owner can read or write it.
    #[error(
        "{path} is open to others (mode {mode:04o}); its mode must be 0600: chmod 600 {path}, and revoke the session \
         if others may have read its token",
        path = path.display()
    )]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is not a session file.
    #[error("{path} is no session file: {why}; it must be as Tenure wrote it, see docs/client.md", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and what would be right.
        why: String,
    },
    /// It holds something else than a token, or nothing.
    #[error("{path} holds no session's token", path = path.display())]
    NoToken {
        /// The file.
        path: PathBuf,
    },
}

/// The place of a session file.
#[derive(Clone, Debug)]
pub struct SessionFile {
    path: PathBuf,
    /// What would be in the file, where there is none.
    memory: Option<Arc<Mutex<FileContent>>>,
}

#[derive(Debug, Default)]
struct FileContent {
    grant: Option<SessionGrant>,
    version: i64,
}

/// Distinguishes contents without reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStamp {
    inode: u64,
    changed: (i64, i64),
}

/// A session file that no other process writes to before this is dropped.
#[derive(Debug)]
pub struct LockedSessionFile {
    file: SessionFile,
    /// `None` for a session in memory.
    _lock: Option<FileLock>,
}

impl SessionFile {
    /// At this path; a link is followed, so that its target is replaced and not the link.
    pub fn at(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let path = fs::canonicalize(path).or_else(|_| std::path::absolute(path));
        // Only an empty path has neither, and using it fails.
        Self { path: path.unwrap_or_default(), memory: None }
    }

    /// No file at all: the session is known to this process alone, and its token is lost with it.
    pub fn in_memory() -> Self {
        Self { path: PathBuf::from("(memory)"), memory: Some(Arc::default()) }
    }

    /// Whether it holds anything.
    pub fn exists(&self) -> bool {
        self.memory.as_ref().map_or_else(|| self.path.exists(), |memory| memory.lock().grant.is_some())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds.
    pub fn read(&self) -> Result<SessionGrant, FileError> {
        self.read_with_stamp().map(|(grant, _)| grant)
    }

    pub(super) fn read_with_stamp(&self) -> Result<(SessionGrant, FileStamp), FileError> {
        if let Some(memory) = &self.memory {
            return memory.lock().read().ok_or_else(|| self.io(io::ErrorKind::NotFound.into()));
        }
        // Of one and the same file, whatever takes its place meanwhile.
        let file = File::open(&self.path).map_err(|source| self.io(source))?;
        let metadata = file.metadata().map_err(|source| self.io(source))?;
        self.check(&metadata)?;
        let text = io::read_to_string(file).map_err(|source| {
            if source.kind() == io::ErrorKind::InvalidData {
                self.damaged("it is no text")
            } else {
                self.io(source)
            }
        })?;
        let document: Value = serde_json::from_str(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            self.damaged(&format!("it is no JSON from line {line}, column {column} on"))
        })?;
        let grant = SessionGrant::read(&document).map_err(|why| self.damaged(&why))?;
        Ok((grant, FileStamp::of(&metadata)))
    }

    /// The stamp of the present content.
    pub(super) fn stamp(&self) -> Result<FileStamp, FileError> {
        if self.memory.is_some() {
            return self.read_with_stamp().map(|(_, stamp)| stamp);
        }
        fs::metadata(&self.path).map(|metadata| FileStamp::of(&metadata)).map_err(|source| self.io(source))
    }

    fn check(&self, metadata: &Metadata) -> Result<(), FileError> {
        let mode = metadata.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(FileError::OpenToOthers { path: self.path.clone(), mode });
        }
        if !metadata.is_file() || metadata.len() > LONGEST {
            return Err(self.damaged("it is no file, or too long for one"));
        }
        Ok(())
    }

    /// Waits, on this thread, until no other process writes.
    pub fn lock(&self) -> Result<LockedSessionFile, FileError> {
        if self.memory.is_some() {
            // A holder takes one step at a time, and it is the only one.
            return Ok(LockedSessionFile { file: self.clone(), _lock: None });
        }
        Ok(LockedSessionFile { file: self.clone(), _lock: Some(FileLock::of(&self.path)?) })
    }

    /// The same, on a thread that may wait.
    pub(super) async fn locked(&self) -> Result<LockedSessionFile, FileError> {
        let file = self.clone();
        let waiting = tokio::task::spawn_blocking(move || file.lock());
        waiting.await.unwrap_or_else(|stopped| Err(self.io(io::Error::other(stopped))))
    }

    /// A file beside it, with this ending.
    pub(super) fn beside(&self, ending: &str) -> Result<PathBuf, FileError> {
        beside(&self.path, ending)
    }

    fn io(&self, source: io::Error) -> FileError {
        FileError::Io { path: self.path.clone(), source }
    }

    fn damaged(&self, why: &str) -> FileError {
        FileError::Damaged { path: self.path.clone(), why: why.to_owned() }
    }
}

impl FileStamp {
    fn of(metadata: &Metadata) -> Self {
        Self { inode: metadata.ino(), changed: (metadata.ctime(), metadata.ctime_nsec()) }
    }
}

impl FileContent {
    fn read(&self) -> Option<(SessionGrant, FileStamp)> {
        Some((self.grant.clone()?, FileStamp { inode: 0, changed: (self.version, 0) }))
    }

    fn write(&mut self, grant: Option<SessionGrant>) {
        self.grant = grant;
        self.version += 1;
    }
}

impl LockedSessionFile {
    /// What the file holds now.
    pub fn read(&self) -> Result<SessionGrant, FileError> {
        self.file.read()
    }

    /// Replaces what the file holds, or makes it; it is durable when this returns.
    pub fn write(&self, grant: &SessionGrant) -> Result<(), FileError> {
        if let Some(memory) = &self.file.memory {
            memory.lock().write(Some(grant.clone()));
            return Ok(());
        }
        let mut text = serde_json::to_string_pretty(&grant.document()).expect("a document is JSON");
        text.push('\n');
        self.replacement()?.commit(text.as_bytes()).map_err(|source| self.file.io(source))
    }

    /// Finds out whether the file could be written, before something is asked for that must be kept.
    pub fn prepare(&self) -> Result<(), FileError> {
        if self.file.memory.is_some() { Ok(()) } else { self.replacement().map(drop) }
    }

    fn replacement(&self) -> Result<FileReplacement, FileError> {
        FileReplacement::new(&self.file.path, ".new", PRIVATE).map_err(|source| self.file.io(source))
    }

    /// Removes the file; a missing file is not an error.
    pub fn remove(&self) -> Result<(), FileError> {
        if let Some(memory) = &self.file.memory {
            memory.lock().write(None);
            return Ok(());
        }
        match fs::remove_file(&self.file.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.file.io(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, sync::mpsc, thread, time::Duration};

    use tempfile::TempDir;

    use super::{super::grant::tests::grant, *};

    fn place() -> (TempDir, SessionFile) {
        let directory = tempfile::tempdir().unwrap();
        let file = SessionFile::at(directory.path().join("agent.session"));
        (directory, file)
    }

    #[test]
    fn a_file_is_its_owners_alone_and_read_back_as_it_was_written() {
        let (directory, file) = place();
        file.lock().unwrap().write(&grant()).unwrap();
        assert_eq!(file.read().unwrap(), grant());
        for entry in fs::read_dir(directory.path()).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "the file and its lock");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_with_the_remedy() {
        let (_directory, file) = place();
        file.lock().unwrap().write(&grant()).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        let said = file.read().unwrap_err().to_string();
        assert!(said.contains("mode 0640") && said.contains("chmod 600"), "{said}");
        assert!(!said.contains("tnr_sess_"), "{said}");
    }

    #[test]
    fn a_damaged_file_is_named_with_the_place_and_without_its_token() {
        let (_directory, file) = place();
        file.lock().unwrap().write(&grant()).unwrap();
        let whole = fs::read_to_string(file.path()).unwrap();
        let cut = &whole[..whole.len() / 2];
        for (content, why) in
            [(cut, "no JSON from line 7"), ("[]", "a JSON object"), ("", "no JSON from line 1")]
        {
            fs::write(file.path(), content).unwrap();
            let said = file.read().unwrap_err().to_string();
            assert!(said.contains("agent.session is no session file") && said.contains(why), "{said}");
            assert!(!said.contains("tnr_sess_"), "{said}");
        }
        fs::write(file.path(), [0xff; 9]).unwrap();
        assert!(file.read().unwrap_err().to_string().contains("no text"));
    }

    #[test]
    fn what_a_crash_left_beside_it_is_in_nobodys_way() {
        let (directory, file) = place();
        let left = directory.path().join("agent.session.new");
        fs::write(&left, "half of").unwrap();
        fs::set_permissions(&left, fs::Permissions::from_mode(0o644)).unwrap();
        file.lock().unwrap().write(&grant()).unwrap();
        assert_eq!(file.read().unwrap(), grant());
        assert!(!left.exists());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_found_out_before() {
        let (directory, file) = place();
        file.lock().unwrap().prepare().unwrap();
        assert!(SessionFile::at(directory.path().join("missing/agent.session")).lock().is_err());
        assert!(SessionFile::at(directory.path()).lock().and_then(|locked| locked.prepare()).is_err());
    }

    #[test]
    fn one_at_a_time_has_the_lock_in_one_process_too() {
        let (_directory, file) = place();
        let first = file.lock().unwrap();
        let (done, waits) = mpsc::channel();
        let other = file.clone();
        let second = thread::spawn(move || done.send(other.lock().map(drop).is_ok()));
        assert!(waits.recv_timeout(Duration::from_millis(100)).is_err(), "the lock is taken");
        drop(first);
        assert!(waits.recv_timeout(Duration::from_secs(10)).unwrap());
        second.join().unwrap().unwrap();
    }

    #[test]
    fn what_is_kept_in_memory_is_read_back() {
        let file = SessionFile::in_memory();
        assert!(!file.exists() && file.read().is_err() && file.stamp().is_err());
        let locked = file.lock().unwrap();
        locked.prepare().unwrap();
        locked.write(&grant()).unwrap();
        let (read, first) = file.clone().read_with_stamp().unwrap();
        assert!(read == grant() && file.exists() && file.stamp().unwrap() == first);
        locked.write(&grant()).unwrap();
        assert_ne!(file.stamp().unwrap(), first);
        locked.remove().unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn every_content_has_its_stamp() {
        let (_directory, file) = place();
        let locked = file.lock().unwrap();
        locked.write(&grant()).unwrap();
        let (_, first) = file.read_with_stamp().unwrap();
        assert_eq!(file.stamp().unwrap(), first);
        locked.write(&grant()).unwrap();
        assert_ne!(file.stamp().unwrap(), first);
        locked.remove().unwrap();
        locked.remove().unwrap();
        assert!(file.stamp().is_err());
    }

    #[test]
    fn a_link_stays_and_its_target_is_replaced() {
        let (directory, file) = place();
        file.lock().unwrap().write(&grant()).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(file.path(), &link).unwrap();
        SessionFile::at(&link).lock().unwrap().write(&grant()).unwrap();
        assert!(link.is_symlink() && file.read().is_ok());
    }
}
