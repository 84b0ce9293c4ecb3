//! The state on disk, so that a start need not fold what it has folded before.
//!
//! A snapshot is disposable. It is believed only when its own digest holds and the log has, at the snapshot's
//! position, the very record that the snapshot names; otherwise it is ignored and the log is folded whole. One that
//! stands beyond the end of the log is no matter of folding: events are missing, and the start is refused.
//!
//! The file: `tenure-snapshot 2\n`, BLAKE3 of what follows (32 bytes), the record hash at the position (32
//! bytes), the state's canonical bytes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tenure_core::{Position, state::AuthorityState};
use tenure_files::replacement::{FileReplacement, PUBLIC};
use tenure_log::{EventLog, RecordHash};

use crate::projections::history;

const MAGIC: &[u8] = b"tenure-snapshot 2\n";
const FILE: &str = "snapshot";

/// A state, and the record that it stands on.
#[derive(Debug)]
pub struct StateSnapshot {
    /// The state.
    pub state: AuthorityState,
    /// The hash of the record at the state's position.
    pub record: RecordHash,
}

/// Where it is.
pub fn path(data: &Path) -> PathBuf {
    data.join(FILE)
}

/// Writes a snapshot in place of the one before. A crash leaves the one or the other.
///
/// # Errors
/// What the disk says.
pub fn save(data: &Path, snapshot: &StateSnapshot) -> io::Result<()> {
    let state = snapshot.state.to_bytes();
    let mut digest = blake3::Hasher::new();
    digest.update(snapshot.record.as_bytes()).update(&state);
    let digest = digest.finalize();
    let parts = [MAGIC, digest.as_bytes(), snapshot.record.as_bytes(), &state];
    FileReplacement::new(&path(data), ".new", PUBLIC)?.commit_parts(&parts)
}

/// Writes a snapshot of this state, which the log leads to. Nothing depends on it: what the disk does not take, the next
/// start folds.
pub(super) fn save_at_end(data: &Path, log: &dyn EventLog, state: AuthorityState) {
    let Some(record) = record_at(log, state.position) else { return };
    if let Err(error) = save(data, &StateSnapshot { state, record }) {
        tracing::warn!(%error, "the snapshot could not be written; the next start folds the log instead");
    }
}

/// The hash of the record at a position.
pub(super) fn record_at(log: &dyn EventLog, position: Position) -> Option<RecordHash> {
    let stored = history::commit_at(log, position).ok()??;
    stored.record_hashes.get(usize::try_from(position.0 - stored.first.0).ok()?).copied()
}

/// The snapshot in this directory, if there is one that can be believed so far.
pub fn load(data: &Path) -> Option<StateSnapshot> {
    let bytes = fs::read(path(data)).ok()?;
    let parsed = parse(&bytes);
    if parsed.is_none() {
        tracing::warn!("the snapshot is damaged or of another version; the log is folded instead");
    }
    parsed
}

/// Where the snapshot in this directory stands, if there is one that can be believed: without reading the state.
pub fn position(data: &Path) -> Option<Position> {
    let bytes = fs::read(path(data)).ok()?;
    let (_, state) = body(&bytes)?.split_at_checked(32)?;
    let mut decoder = minicbor::Decoder::new(state);
    decoder.array().ok()?;
    decoder.decode().ok()
}

/// The record and the state, if their digest holds.
fn body(bytes: &[u8]) -> Option<&[u8]> {
    let (digest, body) = bytes.strip_prefix(MAGIC)?.split_at_checked(32)?;
    (blake3::hash(body).as_bytes() == digest).then_some(body)
}

fn parse(bytes: &[u8]) -> Option<StateSnapshot> {
    let (record, state) = body(bytes)?.split_at_checked(32)?;
    let record = RecordHash::from_bytes(record.try_into().ok()?);
    Some(StateSnapshot { state: AuthorityState::from_bytes(state).ok()?, record })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_with_one_flipped_byte_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let record = RecordHash::from_bytes([7; 32]);
        save(dir.path(), &StateSnapshot { state: AuthorityState::default(), record }).unwrap();
        assert_eq!(load(dir.path()).unwrap().state, AuthorityState::default());
        assert_eq!(position(dir.path()), Some(Position::ZERO));
        let path = dir.path().join(FILE);
        let good = fs::read(&path).unwrap();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&path, bad).unwrap();
            assert!(load(dir.path()).is_none() && position(dir.path()).is_none(), "byte {place}");
        }
    }
}
