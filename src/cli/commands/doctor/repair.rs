//! `tenure doctor --data DIR --repair-from COPY`

use std::path::Path;

use super::{Check, examined};
use crate::cli::{
    ambient,
    commands::{audit, backup::failed},
    context::Global,
    failure::{Exit, Failure},
};
use tenure_log::{Damage, HistoryCopy, RepairError, SegmentsOf, find_damage, repair};
use tenure_server::backup::{BackupCopy, Folder};

/// Puts the same bytes in the place of each segment that is damaged or missing, of a stopped server or a running one.
pub(super) fn repair_from(global: &Global, data: &Path, from: &Path) -> Result<(), Failure> {
    audit::expect_data(data)?;
    let copy = copy_at(from)?;
    let damages = find_damage(data).map_err(|error| Failure::Server(error.to_string()))?;
    let mut checks: Vec<_> = damages.iter().map(|damage| mended(data, damage, &*copy, from)).collect();
    if checks.is_empty() {
        checks.push(Check::new("segments", "ok", "all read as they were written: nothing to repair"));
    }
    examined(global.output(), checks, ambient::now())
}

/// A backup has a manifest, a data directory has segments.
fn copy_at(from: &Path) -> Result<Box<dyn HistoryCopy>, Failure> {
    if from.join("manifest").is_file() {
        return Ok(Box::new(BackupCopy::open(Folder::at(from)).map_err(failed)?));
    }
    if from.join("segments").is_dir() {
        return Ok(Box::new(SegmentsOf::data_dir(from)));
    }
    let why = format!("{} is neither a backup nor a data directory with segments", from.display());
    Err(Failure::Missing(why))
}

fn mended(data: &Path, damage: &Damage, copy: &dyn HistoryCopy, from: &Path) -> Check {
    let what = in_words(damage);
    match repair(data, damage, copy) {
        Ok(names) => {
            let names: Vec<_> = names.iter().map(|name| format!("segments/{name}")).collect();
            let detail = format!("{what}; {} put in place from {}", names.join(", "), from.display());
            Check::new("segment", "ok", detail)
        }
        Err(error) => {
            let exit = exit_of(&error);
            Check { exit, ..Check::new("segment", "fail", format!("{what}; not repaired: {error}")) }
        }
    }
}

fn in_words(damage: &Damage) -> String {
    let Damage { name, first, last, why, .. } = damage;
    let positions = last
        .map_or_else(|| format!("from position {first} on"), |last| format!("positions {first} to {last}"));
    format!("segments/{name}, {positions}, was damaged: {why}")
}

const fn exit_of(error: &RepairError) -> Exit {
    match error {
        RepairError::EndUnknown
        | RepairError::Unfit { .. }
        | RepairError::Lacking(_)
        | RepairError::Unreadable(_) => Exit::VerificationFailed,
        RepairError::File(_) => Exit::Server,
    }
}
