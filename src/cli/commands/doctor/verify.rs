//! `tenure doctor --data DIR --verify`

use std::path::Path;

use super::{CheckResult, examined};
use crate::cli::{
    commands::audit,
    context::GlobalArgs,
    environment,
    failure::{CommandError, ExitStatus},
};
use tenure_log::CheckedSegment;
use tenure_server::checkpoint::CheckedCheckpoint;

/// Reads all that the log of a stopped server holds, and changes nothing. What one segment says of itself is judged
/// apart from the others, so that each damaged file is named.
pub(super) fn verify(global: &GlobalArgs, data: &Path) -> Result<(), CommandError> {
    let segments = audit::check_segments(data)?;
    let are_sound = segments.iter().all(|segment| segment.fault.is_none());
    let mut checks: Vec<_> = segments.iter().map(of_segment).collect();
    checks.extend(segments.iter().filter_map(of_index));
    // It reads the segments again, and would name the first of them once more.
    if are_sound {
        checks.extend(of_log(data));
    } else {
        checks.push(CheckResult::new("log", "skip", "the segments come first"));
    }
    examined(global.output(), checks, environment::now())
}

fn of_segment(segment: &CheckedSegment) -> CheckResult {
    let CheckedSegment { name, range, fault, .. } = segment;
    match (fault, range) {
        (Some(why), _) => {
            let detail = format!("segments/{name}: {why}");
            CheckResult {
                exit: ExitStatus::VerificationFailed,
                ..CheckResult::new("segment", "fail", detail)
            }
        }
        (None, Some((first, last))) => {
            CheckResult::new("segment", "ok", format!("segments/{name}: positions {first} to {last}"))
        }
        (None, None) => CheckResult::new("segment", "ok", format!("segments/{name}")),
    }
}

/// What is wrong with the index of a segment: nothing is lost with it.
fn of_index(segment: &CheckedSegment) -> Option<CheckResult> {
    let why = segment.index_fault.as_ref()?;
    let name = segment.name.replace(".segment", ".index");
    let detail = format!("indexes/{name}: {why}; it can be removed, and is made again");
    Some(CheckResult { exit: ExitStatus::VerificationFailed, ..CheckResult::new("index", "fail", detail) })
}

/// The log, and each checkpoint beside a fold of it.
fn of_log(data: &Path) -> Vec<CheckResult> {
    match audit::check_log(data) {
        Ok((last, checkpoints)) => {
            let log = CheckResult::new("log", "ok", format!("whole up to position {last}"));
            [log].into_iter().chain(checkpoints.iter().map(of_checkpoint)).collect()
        }
        Err(failure) => vec![CheckResult::failed("log", &failure)],
    }
}

fn of_checkpoint(checkpoint: &CheckedCheckpoint) -> CheckResult {
    let CheckedCheckpoint { name, position, fault } = checkpoint;
    if let Some(why) = fault {
        let detail = format!("{name}: {why}; it can be removed, and is made again");
        return CheckResult {
            exit: ExitStatus::VerificationFailed,
            ..CheckResult::new("checkpoint", "fail", detail)
        };
    }
    CheckResult::new("checkpoint", "ok", format!("{name}: what the log leads to at position {position}"))
}
