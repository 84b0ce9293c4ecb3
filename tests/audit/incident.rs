//! The export that all is tested on, taken to pieces and put together again.

use std::{fs, ops::ControlFlow, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tenure::{
    audit::{
        VerifierKey,
        verify::{ExportLocation, TrustAnchors, VerifiedExport, VerifyError, verify},
    },
    core::Position,
    log::StoredCommit,
};

pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/exports").join(name)
}

pub(crate) fn bytes() -> Vec<u8> {
    fs::read(path("incident.export")).unwrap()
}

pub(crate) fn vkey() -> String {
    fs::read_to_string(path("incident.vkey")).unwrap().trim().to_owned()
}

pub(crate) fn key() -> VerifierKey {
    vkey().parse().unwrap()
}

pub(crate) fn lines() -> Vec<String> {
    String::from_utf8(bytes()).unwrap().lines().map(str::to_owned).collect()
}

pub(crate) fn joined(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>().into_bytes()
}

/// The commits of an export, in order.
pub(crate) fn commits() -> Vec<StoredCommit> {
    let mut found = Vec::new();
    verify(&bytes()[..], TrustAnchors { key: Some(&key()), known: &[] }, &mut |stored, _| {
        found.push(stored);
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

pub(crate) fn verified(bytes: &[u8]) -> Result<VerifiedExport, VerifyError> {
    let trust = TrustAnchors { key: Some(&key()), known: &[] };
    verify(bytes, trust, &mut |_, _| ControlFlow::Continue(()))
        .map(|verdict| verdict.expect("nothing stops it"))
}

/// The positions that a fault leaves possible; `None` when it is no matter of positions.
pub(crate) fn named(fault: &VerifyError) -> Option<(u64, u64)> {
    match fault {
        VerifyError::Untrue { place: ExportLocation::Position(at), .. } => Some((at.0, at.0)),
        VerifyError::Untrue { place: ExportLocation::Positions(first, last), .. } => Some((first.0, last.0)),
        VerifyError::Untrue { place: ExportLocation::End(last), .. } | VerifyError::Cut { last, .. } => {
            Some((last.0 + 1, last.0 + 1))
        }
        VerifyError::Untrue { place: ExportLocation::Header | ExportLocation::Head(_), .. }
        | VerifyError::Unreadable(_) => None,
    }
}

/// A line of a commit: where it begins, and its bytes.
pub(crate) fn opened(line: &str) -> Option<(u64, Vec<u8>)> {
    let line: Value = serde_json::from_str(line).unwrap();
    Some((line["first"].as_u64()?, STANDARD.decode(line["commit"].as_str()?).unwrap()))
}

/// A line as a forger would write it: the hashes are those of the bytes.
pub(crate) fn forged(first: u64, bytes: &[u8]) -> Option<String> {
    let stored = StoredCommit::decode(Position(first), bytes).ok()?;
    let records = json!(stored.record_hashes);
    Some(format!(r#"{{"first":{first},"records":{records},"commit":"{}"}}"#, STANDARD.encode(bytes)))
}
