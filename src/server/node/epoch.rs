//! A start that begins another epoch: the log goes on under another name.
//!
//! To sign another history under the old name would be to sign two that do not agree, and everyone who holds a head of
//! the lost one could show it. So the head key is drawn again, and with it the name, before anything is recorded.

use std::{fs, path::Path};

use super::{NodeOptions, StartError};
use crate::authority::{Authority, BegunEpoch, NewEpoch};
use tenure_audit::{HeadKey, LogLineage, MerkleIndex, SignedHead};
use tenure_core::{Epochs, Position, SubjectId};
use tenure_files::key_files::KeyFileError;

/// Another epoch, asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRequest {
    /// Why it begins.
    pub reason: String,
    /// Its number is above this one, too: that of an epoch which is known to have begun elsewhere.
    pub above: u32,
    /// Whether API keys are held until an admin confirms them.
    pub hold_credentials: bool,
}

/// The key of the heads from now on, and what the log was called before.
pub(super) struct RenamedLog {
    pub(super) key: HeadKey,
    pub(super) lineage: LogLineage,
    pub(super) new: Option<NewEpoch>,
}

/// Draws another head key where another epoch begins.
pub(super) fn renamed(
    options: &NodeOptions,
    keys: &Path,
    key: HeadKey,
    epochs: &Epochs,
    nodes: &MerkleIndex,
) -> Result<RenamedLog, StartError> {
    let former = epochs.begun().iter().map(|epoch| (epoch.previous_name.clone(), epoch.from));
    let mut lineage = LogLineage { former: former.collect(), begins: None };
    let Some(asked) = &options.begin_epoch else { return Ok(RenamedLog { key, lineage, new: None }) };
    let (size, root) = nodes.head();
    let new = NewEpoch {
        epoch: epochs.current().max(asked.above).saturating_add(1),
        reason: asked.reason.clone(),
        previous_name: key.verifier().name().to_owned(),
        previous_head: Some(SignedHead::sign(size, root, &key).note().to_owned()),
        hold_credentials: asked.hold_credentials,
    };
    let path = keys.join(HeadKey::FILE);
    fs::remove_file(&path).map_err(KeyFileError::io(&path))?;
    let drawn = HeadKey::open(keys, &*options.entropy)?;
    lineage.former.push((new.previous_name.clone(), Position(size)));
    lineage.begins = Some((key, new.epoch));
    Ok(RenamedLog { key: drawn, lineage, new: Some(new) })
}

/// Records that the epoch began, and again which text was erased in the history that was lost.
pub(super) fn begin_epoch(
    authority: &Authority,
    new: NewEpoch,
    erased: &[SubjectId],
) -> Result<BegunEpoch, StartError> {
    let begun = authority.begin_epoch(new).map_err(StartError::Record)?;
    authority.erase_again(erased).map_err(StartError::Record)?;
    Ok(begun)
}
