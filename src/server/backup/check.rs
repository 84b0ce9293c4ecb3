//! Reads a backup and believes nothing of it: every file against its digest, and the history against its signed head.

use std::collections::BTreeSet;

use super::{
    BackupError,
    destination::BackupDestination,
    manifest::{self, BackupManifest},
    part,
};
use tenure_audit::{SignedHead, VerifierKey, transparency::trusted_heads::heads_in, verify::LogCheck};

/// A checked backup.
#[derive(Clone, Debug)]
pub struct CheckedBackup {
    /// What it holds.
    pub manifest: BackupManifest,
    /// The key that judged its heads.
    pub key: VerifierKey,
    /// The head over all of it.
    pub head: SignedHead,
    /// Number of commits.
    pub commits: u64,
    /// Number of heads.
    pub heads: u64,
    /// The earlier heads, as they are kept.
    pub(super) trail: String,
}

/// Checks a backup: its files, its history, and that it is the one of which these heads were signed. Without a key from
/// elsewhere the one is used that the backup itself names.
///
/// # Errors
/// See [`BackupError`]; above all [`BackupError::Damaged`] with the file.
pub fn check(
    from: &dyn BackupDestination,
    trusted: Option<&VerifierKey>,
    known: &[SignedHead],
) -> Result<CheckedBackup, BackupError> {
    let manifest = BackupManifest::of_whole(from)?;
    let key = key_of(&manifest)?;
    if trusted.is_some_and(|trusted| *trusted != key) {
        let why = "the heads of the backup are signed by another key than the trusted one".to_owned();
        return Err(BackupError::Contradicted(why));
    }
    let head = SignedHead::open(&manifest.signed_head, &key);
    let head = head.map_err(|error| at_manifest(format!("its signed head: {error}")))?;
    if (head.size, head.root.to_string()) != (manifest.position, manifest.root_hash.clone()) {
        return Err(at_manifest("its signed head is of another history".to_owned()));
    }
    for entry in manifest.entries() {
        part::read_through(from, entry)?;
    }
    let trail = String::from_utf8_lossy(&part::read(from, &manifest.heads)?).into_owned();
    let mut heads = heads_in(&trail, &key);
    heads.extend(known.iter().chain([&head]).cloned());
    heads.sort_by_key(|head| head.size);
    heads.dedup_by_key(|head| (head.size, head.root));
    let commits = check_history(from, &manifest, &heads)?;
    let heads = heads.iter().map(|head| head.size).collect::<BTreeSet<_>>().len() as u64;
    Ok(CheckedBackup { manifest, key, head, commits, heads, trail })
}

/// The key that a manifest names.
pub(super) fn key_of(manifest: &BackupManifest) -> Result<VerifierKey, BackupError> {
    manifest.verifier_key.parse().map_err(|error| at_manifest(format!("its key: {error}")))
}

fn at_manifest(why: String) -> BackupError {
    BackupError::Damaged { file: manifest::FILE.to_owned(), why }
}

fn check_history(
    from: &dyn BackupDestination,
    manifest: &BackupManifest,
    heads: &[SignedHead],
) -> Result<u64, BackupError> {
    let mut history = LogCheck::new(heads);
    for part in &manifest.parts {
        if part.from != history.head().0 + 1 {
            return Err(at_manifest(format!("the part from position {} does not follow", part.from)));
        }
        part::read_part(from, part, &mut |stored, _| Ok(history.add(&stored)?))?;
    }
    history.end()?;
    let (size, root) = history.head();
    if (size, root.to_string()) != (manifest.position, manifest.root_hash.clone()) {
        return Err(at_manifest("its parts are not the history that it names".to_owned()));
    }
    Ok(history.commits().0)
}
