//! `tenure doctor --data DIR --repair-from COPY`

use std::path::Path;

use super::{CheckResult, examined};
use crate::cli::{
    commands::{audit, backup::failed},
    context::GlobalArgs,
    environment,
    failure::{CommandError, ExitStatus},
};
use tenure_log::{DamagedPart, DirectoryCopy, HistoryCopy, RepairError, find_damage, repair};
use tenure_server::backup::{BackupCopy, BackupFolder};

/// Puts the same bytes in the place of each damaged or missing segment, of a stopped or a running server.
pub(super) fn repair_from(global: &GlobalArgs, data: &Path, from: &Path) -> Result<(), CommandError> {
    audit::expect_data(data)?;
    let copy = copy_at(from)?;
    let damages = find_damage(data).map_err(|error| CommandError::Server(error.to_string()))?;
    let mut checks: Vec<_> = damages.iter().map(|damage| mended(data, damage, &*copy, from)).collect();
    if checks.is_empty() {
        checks.push(CheckResult::new("segments", "ok", "all read as they were written: nothing to repair"));
    }
    examined(global.output(), checks, environment::now())
}

/// A backup has a manifest, a data directory has segments.
fn copy_at(from: &Path) -> Result<Box<dyn HistoryCopy>, CommandError> {
    if from.join("manifest").is_file() {
        return Ok(Box::new(BackupCopy::open(BackupFolder::at(from)).map_err(failed)?));
    }
    if from.join("segments").is_dir() {
        return Ok(Box::new(DirectoryCopy::data_dir(from)));
    }
    let why = format!("{} is neither a backup nor a data directory with segments", from.display());
    Err(CommandError::Missing(why))
}

fn mended(data: &Path, damage: &DamagedPart, copy: &dyn HistoryCopy, from: &Path) -> CheckResult {
    let what = in_words(damage);
    match repair(data, damage, copy) {
        Ok(names) => {
            let names: Vec<_> = names.iter().map(|name| format!("segments/{name}")).collect();
            let detail = format!("{what}; {} put in place from {}", names.join(", "), from.display());
            CheckResult::new("segment", "ok", detail)
        }
        Err(error) => {
            let exit = exit_of(&error);
            CheckResult {
                exit,
                ..CheckResult::new("segment", "fail", format!("{what}; not repaired: {error}"))
            }
        }
    }
}

fn in_words(damage: &DamagedPart) -> String {
    let DamagedPart { name, first, last, why, .. } = damage;
    let positions = last
        .map_or_else(|| format!("from position {first} on"), |last| format!("positions {first} to {last}"));
    format!("segments/{name}, {positions}, was damaged: {why}")
}

const fn exit_of(error: &RepairError) -> ExitStatus {
    match error {
        RepairError::EndUnknown
        | RepairError::Unfit { .. }
        | RepairError::Lacking(_)
        | RepairError::Unreadable(_) => ExitStatus::VerificationFailed,
        RepairError::File(_) => ExitStatus::Server,
    }
}
