//! Each acknowledgement waits for a sync of the log's file: seen from outside, by the system calls.
//!
//! sled's own `flush()` ends in `sync_file_range`, which brings neither the file's length nor the disk's
//! cache to safety. Neither a kill nor a test of ours could tell the difference on a machine that stays on.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use crate::{
    ambient::not_run,
    authority::{Authority, serve_through},
    mounted_disk::has_program,
};

const RENEWALS: usize = 20;

#[test]
fn every_acknowledgement_waits_for_a_sync_of_the_log() {
    let Some(calls) = traced(renew) else { return };
    let mut synced_replies = 0;
    let mut log = Log::Quiet;
    for call in &calls {
        match call {
            Call::Writes { file } if is_db(file) => log = Log::Written,
            Call::Syncs { file, begin: true } if is_db(file) && log == Log::Written => log = Log::Syncing,
            Call::Syncs { file, begin: false } if is_db(file) && log == Log::Syncing => log = Log::Synced,
            Call::AcknowledgesRenewal => {
                assert!(log == Log::Synced, "reply {synced_replies} left while the log was {log:?}");
                synced_replies += 1;
                log = Log::Quiet;
            }
            Call::Writes { .. } | Call::Syncs { .. } => {}
        }
    }
    assert_eq!(synced_replies, RENEWALS);
}

/// At a first start nothing that later acknowledgements rest on may be lost: the store's files, the names
/// that lead to them, and the keys.
#[test]
fn a_first_start_syncs_files_and_their_names() {
    let Some(calls) = traced(|_| ()) else { return };
    let synced = |end: &str| {
        let is_it = |call: &Call| matches!(call, Call::Syncs { file, begin: false } if file.ends_with(end));
        assert!(calls.iter().any(is_it), "nothing synced {end}: {calls:#?}");
    };
    for name in [
        // The directories above it that were there or were made.
        "parent",
        "parent/new",
        "log/1.new/conf",
        "log/1.new/db",
        "log/1.new",
        "FORMAT.new",
        "log.head",
        "data",
        "keys/digests.key.tmp",
        "keys/session/0001.paserk.tmp",
        "keys/session",
        "keys/subjects",
        "keys",
        "admin.key.new",
    ] {
        synced(name);
    }
}

fn renew(authority: &Authority) {
    let admin = authority.admin();
    admin.put("/v1/subjects/agent", None, &json!({})).unwrap();
    let body = json!({ "subjectId": "agent", "ttl": 3_600, "maxRenewals": 100 });
    let session = admin.post("/v1/sessions", None, &body).unwrap();
    let (id, mut token) = (session.text("sessionId"), session.text("token"));
    for number in 0..RENEWALS {
        admin.advance(1_800).unwrap();
        let renewed = admin.renew(&id, &token, Some(&format!("key-{number}"))).unwrap();
        assert_eq!(renewed.status, 200, "{renewed:?}");
        token = renewed.text("token");
    }
}

/// What the log's file is in, between two replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    Quiet,
    Written,
    Syncing,
    Synced,
}

/// A system call that matters here, when it begins or ends.
#[derive(Debug)]
enum Call {
    Writes {
        file: PathBuf,
    },
    /// It ends only when it succeeds.
    Syncs {
        file: PathBuf,
        begin: bool,
    },
    AcknowledgesRenewal,
}

fn is_db(file: &Path) -> bool {
    file.ends_with("log/1/db")
}

/// The calls of an authority that does this and stops; `None` where there is no `strace`.
fn traced(work: impl FnOnce(&Authority)) -> Option<Vec<Call>> {
    if !has_program("strace") {
        not_run("barrier", "strace is missing: apt-get install strace");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let (data, trace) = (dir.path().join("parent/new/data"), dir.path().join("trace"));
    fs::create_dir(dir.path().join("parent")).unwrap();
    let runner = [
        // The tracer is the grandchild, so that the authority itself is ours to stop.
        "strace -D -f -y -s 2000 -e trace=fdatasync,fsync,write,pwrite64,writev,sendto,sendmsg -o",
        trace.to_str().unwrap(),
    ];
    let runner: Vec<&OsStr> = runner.iter().flat_map(|words| words.split(' ')).map(OsStr::new).collect();
    let authority = match Authority::launch(serve_through(&runner, &data), &data) {
        Ok(authority) => authority,
        Err(ended) if ended.said.contains("strace:") => {
            not_run("barrier", &ended.said);
            return None;
        }
        Err(ended) => panic!("{ended:?}"),
    };
    work(&authority);
    authority.stop_well();
    Some(read(&fs::read_to_string(&trace).unwrap()))
}

/// The lines of `strace -f -y`: a call is on one line, or begins on one (`<unfinished ...>`) and ends on
/// another of the same thread (`resumed`).
fn read(trace: &str) -> Vec<Call> {
    let mut calls = vec![];
    let mut unfinished: HashMap<&str, &str> = HashMap::new();
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(char::is_whitespace) else { continue };
        let rest = rest.trim_start();
        if rest.starts_with("<... ") {
            if let Some(begun) = unfinished.remove(thread) {
                calls.extend(ends(begun, rest));
            }
        } else {
            calls.extend(begins(rest));
            if rest.ends_with("<unfinished ...>") {
                unfinished.insert(thread, rest);
            } else {
                calls.extend(ends(rest, rest));
            }
        }
    }
    calls
}

fn begins(call: &str) -> Option<Call> {
    match name_and_file(call)? {
        ("fsync" | "fdatasync", file) => Some(Call::Syncs { file, begin: true }),
        ("pwrite64", file) => Some(Call::Writes { file }),
        // The only reply with such a member.
        _ if call.contains("HTTP/1.1 200") && call.contains("clampedBy") => Some(Call::AcknowledgesRenewal),
        _ => None,
    }
}

fn ends(begun: &str, end: &str) -> Option<Call> {
    match name_and_file(begun)? {
        ("fsync" | "fdatasync", file) if end.ends_with("= 0") => Some(Call::Syncs { file, begin: false }),
        _ => None,
    }
}

/// Of `name(7</the/file>, …`.
fn name_and_file(call: &str) -> Option<(&str, PathBuf)> {
    let (name, rest) = call.split_once('(')?;
    let file = rest.split_once('<')?.1.split_once('>')?.0;
    Some((name, file.into()))
}
