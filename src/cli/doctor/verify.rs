//! `tenure doctor --data DIR --verify`

use std::path::Path;

use super::{Check, examined};
use crate::cli::{
    ambient, audit,
    context::Global,
    failure::{Exit, Failure},
};
use tenure_log::CheckedSegment;

/// Reads all that the log of a stopped server holds, and changes nothing. What one segment says of itself is judged
/// apart from the others, so that each damaged file is named.
pub(super) fn verify(global: &Global, data: &Path) -> Result<(), Failure> {
    let segments = audit::check_segments(data)?;
    let are_sound = segments.iter().all(|segment| segment.fault.is_none());
    let mut checks: Vec<_> = segments.iter().map(of_segment).collect();
    // It reads the segments again, and would name the first of them once more.
    checks.push(if are_sound { of_log(data) } else { Check::new("log", "skip", "the segments come first") });
    examined(global.output(), checks, ambient::now())
}

fn of_segment(segment: &CheckedSegment) -> Check {
    let CheckedSegment { name, range, fault } = segment;
    match (fault, range) {
        (Some(why), _) => {
            let detail = format!("segments/{name}: {why}");
            Check { exit: Exit::VerificationFailed, ..Check::new("segment", "fail", detail) }
        }
        (None, Some((first, last))) => {
            Check::new("segment", "ok", format!("segments/{name}: positions {first} to {last}"))
        }
        (None, None) => Check::new("segment", "ok", format!("segments/{name}")),
    }
}

fn of_log(data: &Path) -> Check {
    match audit::check_log(data) {
        Ok(last) => Check::new("log", "ok", format!("whole up to position {last}")),
        Err(failure) => Check::failed("log", &failure),
    }
}
