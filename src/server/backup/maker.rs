//! Makes a backup while the authority goes on.
//!
//! One position `P`: the keys are copied, a head is signed, and `P` is what it covers; then the history up to `P` is
//! written, and the keys are copied again. The backup holds both copies, so it has every key that `P` speaks of and
//! every one that came meanwhile. The keys of subjects are taken last, from memory: what was erased meanwhile stays
//! erased.

use std::{collections::HashSet, fs::File, io, path::PathBuf, sync::Arc};

use parking_lot::Mutex;

use super::{
    BackupError,
    backup_record::{BackupRecord, LastBackup},
    destination::BackupDestination,
    keys::{self, KeyProtection},
    manifest::{self, BackupManifest, BackupPart, FileEntry},
    pace::BackupPace,
    part,
};
use crate::authority::Authority;
use crate::node::Node;
use crate::notify::webhooks::Webhooks;
use crate::personal_data::SubjectKeys;
use tenure_audit::{Evidence, SignedHead};
use tenure_core::Position;
use tenure_log::SealedFile;
use zeroize::Zeroizing;

/// Makes backups of an authority at work, one at a time.
pub struct BackupMaker {
    authority: Arc<Authority>,
    evidence: Arc<Evidence>,
    webhooks: Arc<Webhooks>,
    keys: PathBuf,
    known: BackupRecord,
    busy: Mutex<()>,
    has_callers: bool,
}

/// How a backup is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackupMode {
    /// An existing one is brought up to date.
    pub is_incremental: bool,
    /// Segments are given a second name where the place is on the same file system, and not copied.
    pub is_linked: bool,
}

/// A backup that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupSummary {
    /// The last position in it.
    pub position: u64,
    /// The epoch of the history.
    pub epoch: u32,
    /// Number of files.
    pub files: u64,
    /// Bytes in all.
    pub bytes: u64,
}

impl BackupMaker {
    /// Of this node.
    pub fn of(node: &Node) -> Self {
        Self {
            authority: Arc::clone(&node.authority),
            evidence: Arc::clone(&node.evidence),
            webhooks: Arc::clone(&node.webhooks),
            keys: node.data().join("keys"),
            known: BackupRecord::of(node.data()),
            busy: Mutex::default(),
            has_callers: true,
        }
    }

    /// Of this node, which nobody else uses: it need not spare anybody.
    pub fn of_unused(node: &Node) -> Self {
        Self { has_callers: false, ..Self::of(node) }
    }

    /// The last backup of this data directory that was made, wherever it is.
    pub fn last(&self) -> Option<LastBackup> {
        self.known.last()
    }

    /// Makes a backup, or brings one up to date. Reads the whole history, or what is new, and waits for the disk.
    ///
    /// # Errors
    /// See [`BackupError`]. What was written of an unfinished backup is completed by the next attempt.
    pub fn take(
        &self,
        to: &dyn BackupDestination,
        way: BackupMode,
        protection: &KeyProtection,
    ) -> Result<BackupSummary, BackupError> {
        let _one = self.busy.try_lock().ok_or(BackupError::Busy)?;
        protection.check()?;
        let _place = locked(to)?;
        let before = begin(to, way.is_incremental)?;
        let mut key_files = keys::read_all(&self.keys)?;
        let head = self.evidence.keeper.heads().sign()?;
        let before = before.map(|before| self.continued(before, &head)).transpose()?;
        let before = before.map_or_else(Vec::new, |before| before.parts);
        expect_all(to, before.iter().map(|part| &part.entry))?;
        forget_unnamed(to, &before)?;
        let (mut parts, fresh) = continued_by(before, self.authority.log().sealed_files(), head.position());
        let mut pace = if self.has_callers { BackupPace::beside_callers() } else { BackupPace::unhindered() };
        for sealed in fresh {
            parts.push(part::take_segment(to, &sealed, way.is_linked, &mut pace)?);
        }
        let after = Position(parts.last().map_or(0, |part| part.to));
        parts.extend(part::write_parts(self.authority.log(), after, head.position(), to)?);
        key_files.extend(keys::read_all(&self.keys)?);
        let manifest = self.manifest(to, &head, parts, protection, key_files)?;
        manifest.write(to)?;
        remove_replaced(to, &manifest)?;
        expect_all(to, manifest.entries())?;
        self.known.note(LastBackup { at: self.authority.now(), position: head.size });
        let files = manifest.entries().count() as u64 + 1;
        Ok(BackupSummary { position: head.size, epoch: manifest.epoch, files, bytes: manifest.bytes() })
    }

    /// An increment is of the same history.
    fn continued(&self, before: BackupManifest, head: &SignedHead) -> Result<BackupManifest, BackupError> {
        let heads = self.evidence.keeper.heads();
        if before.position > head.size {
            let why = format!("it ends at position {}, and the log at {}", before.position, head.size);
            return Err(BackupError::OtherHistory(why));
        }
        let root = heads.nodes().root(self.authority.log(), before.position);
        let root = root.map_err(tenure_audit::HeadError::from)?;
        if root.to_string() != before.root_hash {
            let why = format!("its root at position {} is not that of the log", before.position);
            return Err(BackupError::OtherHistory(why));
        }
        Ok(before)
    }

    fn manifest(
        &self,
        to: &dyn BackupDestination,
        head: &SignedHead,
        parts: Vec<BackupPart>,
        protection: &KeyProtection,
        mut key_files: keys::KeyFiles,
    ) -> Result<BackupManifest, BackupError> {
        let heads = self.evidence.keeper.heads();
        let name = |what| part::fresh_name(to, what, head.size);
        // Under load further ones were signed while the history was written.
        let mut trail = heads.trail()?;
        trail.retain(|signed| signed.size <= head.size);
        let trail: String = trail.iter().flat_map(|head| ["\n", head.note()].map(str::to_owned)).collect();
        let heads_entry = part::write(to, &name("heads")?, trail.as_bytes())?;
        let accounts = self.webhooks.accounts().map_err(BackupError::Webhooks)?;
        let webhooks = part::write(to, &name("webhooks")?, &accounts)?;
        // Last of all: a key destroyed from now on is destroyed for an event beyond the backup.
        key_files.insert(SubjectKeys::FILE.to_owned(), self.authority.subject_keys());
        let sealed = protection.encrypt(&key_files)?;
        let keys = sealed.map(|sealed| part::write(to, &name("keys")?, &sealed)).transpose()?;
        let recorded_at = self.recorded_at(head.position())?;
        let epochs = &self.authority.live().system().system.epochs;
        Ok(BackupManifest {
            format: BackupManifest::format(),
            epoch: epochs.of(head.position()),
            position: head.size,
            recorded_at,
            root_hash: head.root.to_string(),
            signed_head: head.note().to_owned(),
            verifier_key: heads.verifier().to_string(),
            parts,
            heads: heads_entry,
            webhooks,
            keys,
        })
    }

    fn recorded_at(&self, position: Position) -> Result<String, BackupError> {
        let stored = self.authority.log().read_commits(&[position])?;
        let at = stored.first().map_or(tenure_core::Timestamp::ZERO, |stored| stored.commit.recorded_at);
        Ok(at.to_string())
    }
}

/// The parts that stay, and the segments that follow them: what was in parts of our own and is sealed by now is taken
/// as the segment that it is in.
fn continued_by(
    before: Vec<BackupPart>,
    sealed: Vec<SealedFile>,
    to: Position,
) -> (Vec<BackupPart>, Vec<SealedFile>) {
    let kept = before.iter().take_while(|part| part.is_segment()).count();
    let behind = before[..kept].last().map_or(0, |part| part.to);
    let is_new = |sealed: &SealedFile| sealed.first().0 > behind && sealed.last() <= to;
    let fresh: Vec<_> = sealed.into_iter().filter(is_new).collect();
    if fresh.first().is_none_or(|first| first.first().0 != behind + 1) {
        return (before, Vec::new());
    }
    (before.into_iter().take(kept).collect(), fresh)
}

/// Two that write to one place would each remove what the other has not named yet.
fn locked(to: &dyn BackupDestination) -> Result<Option<File>, BackupError> {
    to.lock().map_err(|error| {
        if error.kind() == io::ErrorKind::WouldBlock {
            return BackupError::Busy;
        }
        BackupError::io("the place of the backup")(error)
    })
}

/// A backup without a file that it names is none, and who makes it is the first to know.
fn expect_all<'e>(
    to: &dyn BackupDestination,
    mut entries: impl Iterator<Item = &'e FileEntry>,
) -> Result<(), BackupError> {
    let names: HashSet<_> =
        to.list().map_err(BackupError::io("the place of the backup"))?.into_iter().collect();
    match entries.find(|entry| !names.contains(&entry.file)) {
        Some(missing) => Err(part::missing(&missing.file)),
        None => Ok(()),
    }
}

/// What is there already. Files of a backup that was not finished do no harm; any other file does.
fn begin(to: &dyn BackupDestination, is_incremental: bool) -> Result<Option<BackupManifest>, BackupError> {
    let before = BackupManifest::read(to)?;
    match &before {
        Some(before) if !is_incremental => Err(BackupError::Exists(before.position)),
        Some(_) => Ok(before),
        None => {
            let names = to.list().map_err(BackupError::io("the place of the backup"))?;
            match names.into_iter().find(|name| !manifest::is_of_a_backup(name)) {
                Some(other) => Err(BackupError::NotOurs(other)),
                None => Ok(None),
            }
        }
    }
}

/// Removes parts that no manifest names: an attempt before was not finished.
fn forget_unnamed(to: &dyn BackupDestination, parts: &[BackupPart]) -> Result<(), BackupError> {
    let is_named = |name: &String| parts.iter().any(|part| part.entry.file == *name);
    for name in to.list().map_err(BackupError::io("the place of the backup"))? {
        let is_part = name.starts_with("part-") || name.starts_with(BackupPart::SEGMENT);
        if is_part && !is_named(&name) {
            to.remove(&name).map_err(BackupError::io(&name))?;
        }
    }
    Ok(())
}

/// Removes what the new manifest replaced: above all older keys, with which erased text could be read.
fn remove_replaced(to: &dyn BackupDestination, manifest: &BackupManifest) -> Result<(), BackupError> {
    let is_named = |name: &str| manifest.entries().any(|entry: &FileEntry| entry.file == name);
    for name in to.list().map_err(BackupError::io("the place of the backup"))? {
        if manifest::is_of_a_backup(&name) && name != manifest::FILE && !is_named(&name) {
            to.remove(&name).map_err(BackupError::io(&name))?;
        }
    }
    Ok(())
}

impl Authority {
    /// The file of the keys of subjects, as it would be written now.
    fn subject_keys(&self) -> Zeroizing<Vec<u8>> {
        self.texts().written()
    }
}
