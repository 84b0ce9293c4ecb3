//! Makes a data directory of a backup.
//!
//! Everything is verified before anything is written. The end of the history must be *proved*: a backup shows one
//! moment of a history that went on, and later events may have revoked what it shows as live. Where the end is proved,
//! the restored authority goes on as if nothing had been; where it is not, another epoch begins.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, BufRead, BufReader},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::{
    BackupError,
    check::{self, CheckedBackup, check},
    destination::BackupDestination,
    keys::{self, KeyFiles, KeyOpener},
    part,
};
use crate::authority::BegunEpoch;
use crate::node::{EpochRequest, Node, NodeOptions, StartError};
use crate::notify::webhooks::Webhooks;
use crate::personal_data::SubjectKeys;
use tenure_audit::{
    HeadKey, SignedHead, VerifierKey,
    transparency::trusted_heads::{heads_in, last_head_in},
    verify::LogCheck,
};
use tenure_core::{Event, Position, SystemEvent};
use tenure_files::{
    key_files::KEY_DIRECTORIES,
    new_directory::{NewDirectory, expect_empty, write_file},
    replacement::sync_directory,
};
use tenure_log::{AppendOutcome, EncodedCommit, EventLog, LogError, SegmentEvents, codec::adopt};
use zeroize::Zeroizing;

/// Commits made durable together.
const BATCH: usize = 1_000;

/// Where the keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// The backup, opened with this.
    Sealed(KeyOpener),
    /// A directory of keys: that of the authority that was backed up.
    Directory(PathBuf),
    /// Nothing was given.
    Unspecified,
}

/// A restore, asked for.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    /// The new data directory.
    pub data: PathBuf,
    /// The keys.
    pub keys: KeySource,
    /// Notes of signed heads, as `audit.head_file` keeps them: the last one is the newest known.
    pub head: Option<String>,
    /// The old data directory, whose log says how the history ended.
    pub tail: Option<PathBuf>,
    /// Whether a new epoch may begin where the end is not proved.
    pub accept_loss: bool,
    /// Whether API keys stay good in a new epoch.
    pub keep_credentials: bool,
    /// A further file for signed heads, `audit.head_file`.
    pub head_file: Option<PathBuf>,
}

/// A data directory that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreSummary {
    /// The last position of the backup.
    pub backup_position: u64,
    /// When that was recorded: what came later is missing, if another epoch began.
    pub backup_recorded_at: String,
    /// The last position of the restored history.
    pub position: u64,
    /// Its epoch.
    pub epoch: u32,
    /// The beginning of that epoch, when it began now.
    pub begun: Option<BegunEpoch>,
    /// The file of the new admin key, when one was made.
    pub admin_key: Option<PathBuf>,
    /// How many subjects are suspended in the restored history.
    pub suspended: u64,
    /// The key that judges the heads from now on.
    pub verifier_key: String,
}

/// What a restore found out before it wrote anything.
struct RestorePlan {
    checked: CheckedBackup,
    keys: KeyFiles,
    /// The commits after the backup, of the old data directory.
    tail: Vec<EncodedCommit>,
    /// The heads that go with the restored history.
    head: Option<String>,
    /// Why the end is not proved; `None` when it is.
    lost: Option<String>,
    /// The highest epoch that is known to have begun, in this history or in one that was lost.
    known_epoch: u32,
}

/// Restores a backup.
///
/// # Errors
/// See [`BackupError`]. What was made of the data directory is removed again.
pub fn restore(from: &dyn BackupDestination, asked: &RestoreRequest) -> Result<RestoreSummary, BackupError> {
    let not_taken = |error: io::Error| {
        if error.kind() == io::ErrorKind::DirectoryNotEmpty {
            return BackupError::NotEmpty(asked.data.display().to_string());
        }
        BackupError::io("the new data directory")(error)
    };
    expect_empty(&asked.data).map_err(not_taken)?;
    let plan = plan(from, asked)?;
    let claimed = NewDirectory::claim(&asked.data).map_err(not_taken)?;
    let restored = build(from, asked, &plan);
    let ended = if restored.is_ok() { claimed.finish() } else { claimed.clear() };
    ended.map_err(not_taken).and(restored)
}

fn plan(from: &dyn BackupDestination, asked: &RestoreRequest) -> Result<RestorePlan, BackupError> {
    let manifest = super::manifest::BackupManifest::of_whole(from)?;
    let key = check::key_of(&manifest)?;
    let alone = asked.head.as_ref().filter(|_| asked.tail.is_none());
    let newest = alone.map(|notes| newest(notes, &key)).transpose()?;
    let shared: Vec<_> = asked.head.iter().flat_map(|notes| heads_in(notes, &key)).collect();
    let shared: Vec<_> = shared.into_iter().filter(|head| head.size <= manifest.position).collect();
    let checked = check(from, None, &shared)?;
    let mut keys = key_files(from, asked, &checked)?;
    let (mut tail, mut head) = (vec![], None);
    let (mut position, mut epoch) = (checked.manifest.position, checked.manifest.epoch);
    let lost = match &asked.tail {
        Some(old) => {
            let found = tail_of(old, asked.head.as_deref().unwrap_or_default(), &checked)?;
            (tail, position, epoch) = (found.commits, found.end, found.epoch);
            head = read_if_there(&old.join("head.note"))?;
            if old.join("keys").is_dir() {
                keys.extend(directory_of_keys(&old.join("keys"))?);
            }
            found.lost
        }
        None => not_proved(newest.as_ref(), &checked),
    };
    let known_epoch = known_epoch(asked)?.max(epoch);
    let elsewhere = || format!("the history went on elsewhere: a head tells that epoch {known_epoch} began");
    let lost = lost.or_else(|| (known_epoch > epoch).then(elsewhere));
    match &lost {
        Some(why) if !asked.accept_loss => Err(BackupError::EndNotProved { position, why: why.clone() }),
        Some(_) | None => Ok(RestorePlan { checked, keys, tail, head, lost, known_epoch }),
    }
}

fn newest(notes: &str, key: &VerifierKey) -> Result<SignedHead, BackupError> {
    last_head_in(notes, key)
        .ok_or_else(|| BackupError::Unusable(format!("--head holds no head that {} has signed", key.name())))
}

/// Why nothing shows that the backup reaches the end of the history.
fn not_proved(newest: Option<&SignedHead>, checked: &CheckedBackup) -> Option<String> {
    let position = checked.manifest.position;
    match newest {
        None => Some(format!("nothing shows that the history ends with the backup, at position {position}")),
        Some(head) if head.size > position => Some(format!(
            "the history went on: a head of {} events is signed, and the backup has {position}",
            head.size
        )),
        Some(head) if head.size < position => {
            Some(format!("the newest head given is of {} events, and the backup has {position}", head.size))
        }
        Some(head) if !head.is_closed() => Some(
            "the newest head given was signed while the authority ran, so events may have come after it"
                .to_owned(),
        ),
        Some(_) => None,
    }
}

fn key_files(
    from: &dyn BackupDestination,
    asked: &RestoreRequest,
    checked: &CheckedBackup,
) -> Result<KeyFiles, BackupError> {
    match (&asked.keys, &checked.manifest.keys) {
        (KeySource::Directory(path), _) => directory_of_keys(path),
        (KeySource::Sealed(opener), Some(entry)) => opener.open(&entry.file, &part::read(from, entry)?),
        (KeySource::Sealed(_) | KeySource::Unspecified, None) => Err(BackupError::KeysNeeded),
        (KeySource::Unspecified, Some(_)) => Err(BackupError::OpenerNeeded),
    }
}

fn directory_of_keys(path: &Path) -> Result<KeyFiles, BackupError> {
    let mut files = keys::read_all(path)?;
    let subjects = path.join(SubjectKeys::FILE);
    let bytes = fs::read(&subjects).map_err(BackupError::io(&subjects.display().to_string()))?;
    files.insert(SubjectKeys::FILE.to_owned(), Zeroizing::new(bytes));
    Ok(files)
}

/// What an old data directory has behind the backup.
struct OldTail {
    commits: Vec<EncodedCommit>,
    /// Where it ends.
    end: u64,
    /// The epoch there.
    epoch: u32,
    /// Why it is not the end of the history.
    lost: Option<String>,
}

/// The commits of the old log behind the backup; the old log must begin with the history that the backup has, and be the
/// one of which the heads in these notes were signed.
fn tail_of(old: &Path, notes: &str, checked: &CheckedBackup) -> Result<OldTail, BackupError> {
    let mut heads = heads_in(notes, &checked.key);
    if !notes.is_empty()
        && let Some(own) = HeadKey::read(&old.join("keys"))?
    {
        // Another epoch may have begun behind the backup.
        heads.extend(heads_in(notes, own.verifier()));
    }
    if !notes.is_empty() && heads.is_empty() {
        let old = old.display();
        return Err(BackupError::Unusable(format!(
            "--head holds no head that the backup or {old} has signed"
        )));
    }
    heads.push(checked.head.clone());
    heads.sort_by_key(|head| head.size);
    heads.dedup_by_key(|head| (head.size, head.root));
    let mut history = LogCheck::new(&heads);
    let (mut fault, mut epoch) = (None, checked.manifest.epoch);
    let log = tenure_log::open(old, &mut |stored| {
        for event in &stored.commit.events {
            if let Event::System(SystemEvent::EpochBegan(begun)) = event {
                epoch = epoch.max(begun.epoch);
            }
        }
        fault = fault.take().or_else(|| history.add(&stored).err());
        Ok(())
    })?;
    let (end, newest) = (log.head().position.0, heads.last().map_or(0, |head| head.size));
    let is_cut = end >= checked.manifest.position && end < newest;
    if let Some(fault) = fault.or_else(|| history.end().err().filter(|_| !is_cut)) {
        return Err(BackupError::Contradicted(format!("{} has another history: {fault}", old.display())));
    }
    let lost = is_cut.then(|| {
        let old = old.display();
        format!("the history went on: a head of {newest} events is signed, and {old} ends at position {end}")
    });
    let (mut after, mut tail) = (Position(checked.manifest.position), Vec::new());
    while after < log.head().position {
        for stored in log.read_bytes(after, BATCH)? {
            let commit = adopt(stored.bytes);
            let commit = commit.map_err(|error| BackupError::Undecodable(stored.first, error.to_string()))?;
            after = Position(stored.first.0 + commit.count() - 1);
            tail.push(commit);
        }
    }
    Ok(OldTail { commits: tail, end, epoch, lost })
}

/// The highest epoch that is known to have begun by a head that was signed at its beginning, 0 if none is. Another restore
/// may have begun one: what was recorded in it is missing here, and the next must not be called like it.
fn known_epoch(asked: &RestoreRequest) -> Result<u32, BackupError> {
    let mut known = 0;
    let mut note = |line: &str| known = known.max(SignedHead::epoch_begun_in(line).unwrap_or(0));
    asked.head.iter().flat_map(|notes| notes.lines()).for_each(&mut note);
    if let Some(path) = &asked.head_file {
        let failed = || BackupError::io(&path.display().to_string());
        match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => {
                for line in BufReader::new(opened.map_err(failed())?).split(b'\n') {
                    note(&String::from_utf8_lossy(&line.map_err(failed())?));
                }
            }
        }
    }
    Ok(known)
}

/// A file that may be missing. One that cannot be read is not.
fn read_if_there(path: &Path) -> Result<Option<String>, BackupError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some).map_err(BackupError::io(&path.display().to_string())),
    }
}

fn build(
    from: &dyn BackupDestination,
    asked: &RestoreRequest,
    plan: &RestorePlan,
) -> Result<RestoreSummary, BackupError> {
    let data = &asked.data;
    let end = fill_log(from, data, plan)?;
    write_keys(data, &plan.keys, plan.lost.is_some().then_some(end))?;
    if plan.lost.is_none() {
        let note = plan.head.as_deref().unwrap_or(plan.checked.head.note());
        write(&data.join("head.note"), note.as_bytes())?;
    }
    if !plan.checked.trail.is_empty() {
        write(&data.join("heads.notes"), plan.checked.trail.as_bytes())?;
    }
    let accounts = part::read(from, &plan.checked.manifest.webhooks)?;
    Webhooks::restore_accounts(data, &accounts, end).map_err(BackupError::Webhooks)?;
    start(asked, plan)
}

fn fill_log(from: &dyn BackupDestination, data: &Path, plan: &RestorePlan) -> Result<Position, BackupError> {
    // The authority that serves it will cut it, by its own setting.
    let log = tenure_log::open_cut(data, SegmentEvents::Uncut, &mut |_| Ok(()))?;
    let mut batch = Vec::new();
    for part in &plan.checked.manifest.parts {
        part::read_part(from, part, &mut |stored, bytes| {
            let commit = adopt(bytes);
            let commit = commit.map_err(|error| BackupError::Undecodable(stored.first, error.to_string()))?;
            batch.push(commit);
            if batch.len() >= BATCH { append(&log, std::mem::take(&mut batch)) } else { Ok(()) }
        })?;
    }
    append(&log, batch)?;
    for commits in plan.tail.chunks(BATCH) {
        append(&log, commits.to_vec())?;
    }
    let end = log.head().position;
    log.close()?;
    Ok(end)
}

fn append(log: &impl EventLog, batch: Vec<EncodedCommit>) -> Result<(), BackupError> {
    match log.append(log.head().position, batch)? {
        AppendOutcome::Appended => Ok(()),
        AppendOutcome::Unknown => Err(LogError::Stopped { why: log.stopped().unwrap_or_default() }.into()),
    }
}

fn write_keys(data: &Path, files: &KeyFiles, cut: Option<Position>) -> Result<(), BackupError> {
    let keys = data.join("keys");
    let make = |path: &Path| match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(BackupError::io("keys")(error)),
        Ok(()) | Err(_) => Ok(()),
    };
    make(&keys)?;
    for (name, bytes) in files {
        if let Some((below, _)) = name.rsplit_once('/') {
            make(&keys.join(below))?;
        }
        let cut = cut.filter(|_| name == SubjectKeys::FILE);
        let cut = cut
            .map(|end| SubjectKeys::with_marks_cut(bytes, end).ok_or_else(damaged_subjects))
            .transpose()?;
        write(&keys.join(name), cut.as_ref().unwrap_or(bytes))?;
    }
    for below in KEY_DIRECTORIES.iter().map(|below| keys.join(below)).filter(|below| below.is_dir()) {
        sync_directory(&below).map_err(BackupError::io("keys"))?;
    }
    Ok(())
}

fn damaged_subjects() -> BackupError {
    BackupError::Unusable("the file of the keys of subjects is damaged".to_owned())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    write_file(path, bytes).map_err(BackupError::io(&path.display().to_string()))
}

/// Starts the restored authority once: the last check, and where another epoch begins.
fn start(asked: &RestoreRequest, plan: &RestorePlan) -> Result<RestoreSummary, BackupError> {
    let begin_epoch = plan.lost.as_ref().map(|why| EpochRequest {
        reason: format!("a restore: {why}"),
        above: plan.known_epoch,
        hold_credentials: !asked.keep_credentials,
    });
    let head_file = asked.head_file.clone();
    let segment_events = SegmentEvents::Uncut;
    let options = NodeOptions {
        begin_epoch,
        head_file,
        segment_events,
        restoring: true,
        ..NodeOptions::new(&asked.data)
    };
    let node = Node::open(options).map_err(|error: StartError| BackupError::Start(Box::new(error)))?;
    let live = node.authority.live();
    let now = node.authority.now();
    let mut suspended = 0;
    live.for_each_subject(|subject| suspended += u64::from(subject.suspension_at(now).is_some()));
    let restored = RestoreSummary {
        backup_position: plan.checked.manifest.position,
        backup_recorded_at: plan.checked.manifest.recorded_at.clone(),
        position: live.position().0,
        epoch: live.system().system.epochs.current(),
        begun: node.begun,
        admin_key: node.first_key.clone(),
        suspended,
        verifier_key: node.evidence.keeper.heads().verifier().to_string(),
    };
    node.stop();
    Ok(restored)
}
