//! Makes a data directory of a backup.
//!
//! Everything is verified before anything is written. The end of the history must be *proved*: a backup shows one
//! moment of a history that went on, and later events may have revoked what it shows as live. Where the end is proved,
//! the restored authority goes on as if nothing had been; where it is not, another epoch begins.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
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
use crate::node::{EpochRequest, Node, NodeOptions, StartError, UNFINISHED};
use crate::notify::webhooks::Webhooks;
use crate::personal_data::SubjectKeys;
use tenure_audit::{
    SignedHead, VerifierKey,
    transparency::trusted_heads::{heads_in, last_head_in},
    verify::LogCheck,
};
use tenure_core::Position;
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
}

/// Restores a backup.
///
/// # Errors
/// See [`BackupError`]. What was made of the data directory is removed again.
pub fn restore(from: &dyn BackupDestination, asked: &RestoreRequest) -> Result<RestoreSummary, BackupError> {
    let was_there = expect_empty(&asked.data)?;
    let plan = plan(from, asked)?;
    let restored = build(from, asked, &plan);
    if restored.is_err() {
        clear(&asked.data, was_there).map_err(BackupError::io("the new data directory"))?;
    }
    restored
}

fn expect_empty(data: &Path) -> Result<bool, BackupError> {
    match fs::read_dir(data) {
        Ok(mut entries) => match entries.next() {
            Some(_) => Err(BackupError::NotEmpty(data.display().to_string())),
            None => Ok(true),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(BackupError::io("the new data directory")(error)),
    }
}

fn clear(data: &Path, was_there: bool) -> io::Result<()> {
    if data.exists() {
        fs::remove_dir_all(data)?;
    }
    if was_there { DirBuilder::new().mode(0o700).create(data) } else { Ok(()) }
}

fn plan(from: &dyn BackupDestination, asked: &RestoreRequest) -> Result<RestorePlan, BackupError> {
    let manifest = super::manifest::BackupManifest::of_whole(from)?;
    let key = check::key_of(&manifest)?;
    let newest = asked.head.as_ref().map(|notes| newest(notes, &key)).transpose()?;
    let shared: Vec<_> = asked.head.iter().flat_map(|notes| heads_in(notes, &key)).collect();
    let shared: Vec<_> = shared.into_iter().filter(|head| head.size <= manifest.position).collect();
    let checked = check(from, None, &shared)?;
    let mut keys = key_files(from, asked, &checked)?;
    let (mut tail, mut head) = (vec![], None);
    let lost = match &asked.tail {
        Some(old) => {
            tail = tail_of(old, &checked)?;
            head = fs::read_to_string(old.join("head.note")).ok();
            if old.join("keys").is_dir() {
                keys.extend(directory_of_keys(&old.join("keys"))?);
            }
            None
        }
        None => not_proved(newest.as_ref(), &checked),
    };
    match &lost {
        Some(why) if !asked.accept_loss => {
            Err(BackupError::EndNotProved { position: checked.manifest.position, why: why.clone() })
        }
        Some(_) | None => Ok(RestorePlan { checked, keys, tail, head, lost }),
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

/// The commits of the old log behind the backup; the old log must begin with the history that the backup has.
fn tail_of(old: &Path, checked: &CheckedBackup) -> Result<Vec<EncodedCommit>, BackupError> {
    let heads = [checked.head.clone()];
    let mut history = LogCheck::new(&heads);
    let mut fault = None;
    let log = tenure_log::open(old, &mut |stored| {
        fault = fault.take().or_else(|| history.add(&stored).err());
        Ok(())
    })?;
    if let Some(fault) = fault.or_else(|| history.end().err()) {
        return Err(BackupError::Contradicted(format!("{} has another history: {fault}", old.display())));
    }
    let (mut after, mut tail) = (Position(checked.manifest.position), Vec::new());
    while after < log.head().position {
        for stored in log.read_bytes(after, BATCH)? {
            let commit = adopt(stored.bytes);
            let commit = commit.map_err(|error| BackupError::Undecodable(stored.first, error.to_string()))?;
            after = Position(stored.first.0 + commit.count() - 1);
            tail.push(commit);
        }
    }
    Ok(tail)
}

fn build(
    from: &dyn BackupDestination,
    asked: &RestoreRequest,
    plan: &RestorePlan,
) -> Result<RestoreSummary, BackupError> {
    let data = &asked.data;
    if !data.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data)
            .map_err(BackupError::io("the new data directory"))?;
    }
    write_file(
        &data.join(UNFINISHED),
        b"A restore into this directory was not finished: it lacks events or keys.\n",
    )?;
    let end = fill_log(from, data, plan)?;
    write_keys(data, &plan.keys, plan.lost.is_some().then_some(end))?;
    if plan.lost.is_none() {
        let note = plan.head.as_deref().unwrap_or(plan.checked.head.note());
        write_file(&data.join("head.note"), note.as_bytes())?;
    }
    if !plan.checked.trail.is_empty() {
        write_file(&data.join("heads.notes"), plan.checked.trail.as_bytes())?;
    }
    let accounts = part::read(from, &plan.checked.manifest.webhooks)?;
    Webhooks::restore_accounts(data, &accounts, end).map_err(BackupError::Webhooks)?;
    let restored = start(asked, plan)?;
    fs::remove_file(data.join(UNFINISHED)).map_err(BackupError::io(UNFINISHED))?;
    Ok(restored)
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
        write_file(&keys.join(name), cut.as_ref().unwrap_or(bytes))?;
    }
    Ok(())
}

fn damaged_subjects() -> BackupError {
    BackupError::Unusable("the file of the keys of subjects is damaged".to_owned())
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let written =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
    written.map_err(BackupError::io(&path.display().to_string()))
}

/// Starts the restored authority once: the last check, and where another epoch begins.
fn start(asked: &RestoreRequest, plan: &RestorePlan) -> Result<RestoreSummary, BackupError> {
    let begin_epoch = plan.lost.as_ref().map(|why| EpochRequest {
        reason: format!("a restore: {why}"),
        above: plan.checked.manifest.epoch,
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
