//! What is granted while a part of the history is damaged: nothing, until the file is put right. What ends something
//! goes on, and so do checks.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::{
    authority::Authority,
    caller::{Caller, Reply},
    checkpoints::until_checkpoint,
    mounted_disk::copy,
    sealing::{flip, in_one_store, number_of, sealed_with},
};

const PATIENCE: Duration = Duration::from_secs(30);
const SECOND: &str = "segments/00000000000000001001.segment";

struct Held {
    id: String,
    token: String,
}

fn held(admin: &Caller) -> Held {
    let created = admin.post("/v1/sessions", None, &json!({ "subjectId": "agent" })).unwrap();
    assert_eq!(created.status, 201, "{created:?}");
    Held { id: created.text("sessionId"), token: created.text("token") }
}

/// Waits until it is ready, or is not.
fn until_ready(authority: &Authority, ready: bool) -> Reply {
    let (admin, begun) = (authority.admin(), stopwatch());
    loop {
        let reply = admin.get("/readyz").unwrap();
        if (reply.status == 200) == ready {
            return reply;
        }
        assert!(begun.elapsed() < PATIENCE, "{reply:?} after {PATIENCE:?}: {}", authority.said());
        pause(Duration::from_millis(50));
    }
}

fn assert_refused(reply: &Reply) {
    assert_eq!((reply.status, reply.code()), (503, "STORAGE_UNAVAILABLE"), "{reply:?}");
    assert_eq!(reply.body["retryable"], true, "{reply:?}");
    let detail = reply.text("detail");
    assert!(detail.contains("nothing is granted") && !detail.contains(".segment"), "{detail}");
}

/// Puts these bytes in place of a file, as a repair does.
fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("good");
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, path).unwrap();
}

/// An authority that had found out that it could not read its own history went on to grant sessions by it.
#[test]
fn damage_stops_grants_and_nothing_else_until_the_file_is_put_right() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    // Nobody scrubs: a reader meets the damage.
    let authority = sealed_with(&data, &["log.scrub_rate=0"]);
    let admin = authority.admin();
    assert_eq!(admin.put("/v1/subjects/agent", None, &json!({ "maxSessions": 100 })).unwrap().status, 201);
    let first = admin.post("/v1/sessions", Some("first"), &json!({ "subjectId": "agent" })).unwrap();
    let (kept, ended) = (held(&admin), held(&admin));
    // Now it could be renewed.
    admin.advance(13 * 3600).unwrap();
    let good = fs::read(data.join(SECOND)).unwrap();
    flip(&data.join(SECOND), 5_000);
    assert_eq!(admin.get("/v1/events?after=1000&limit=10").unwrap().status, 503);
    let unready = until_ready(&authority, false);
    assert_eq!(unready.code(), "STORAGE_UNAVAILABLE", "{unready:?}");
    let named = format!("{SECOND}: positions 1001 to ");
    assert!(unready.text("detail").contains(&named), "{unready:?}");
    assert!(unready.body["alarms"].to_string().contains(&named), "{unready:?}");
    assert_eq!(number_of(&admin, "tenure_ready"), 0);

    for (path, body) in
        [("/v1/sessions", json!({ "subjectId": "agent" })), ("/v1/credentials", json!({ "role": "auditor" }))]
    {
        assert_refused(&admin.post(path, None, &body).unwrap());
    }
    assert_refused(&admin.put("/v1/subjects/other", None, &json!({})).unwrap());
    assert_refused(&admin.renew(&kept.id, &kept.token, None).unwrap());
    assert_refused(&authority.caller(&kept.token).post("/v1/access-tokens", None, &json!({})).unwrap());

    // A repeat grants nothing.
    let again = admin.post("/v1/sessions", Some("first"), &json!({ "subjectId": "agent" })).unwrap();
    assert_eq!((again.status, again.text("sessionId")), (201, first.text("sessionId")), "{again:?}");
    assert_eq!(admin.delete(&format!("/v1/sessions/{}?reason=lost", ended.id), None).unwrap().status, 200);
    let judged = admin.introspect(&[&kept.token, &ended.token]);
    assert_eq!((&judged[0]["active"], &judged[1]["code"]), (&json!(true), &json!("SESSION_REVOKED")));
    let rotation = json!({ "which": "session", "retire": "overlap" });
    let reason = json!({ "reason": "theft" });
    for (path, body) in [
        // Everything about this one is in the damaged segment.
        ("/v1/subjects/agent-001005/suspend", &reason),
        ("/v1/subjects/agent-001005/erase", &reason),
        ("/v1/revocations", &json!({ "selector": { "subjectId": "agent-001006" }, "reason": "lost" })),
        ("/v1/keys/rotate", &rotation),
    ] {
        let reply = admin.post(path, None, body).unwrap();
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
    }
    assert_refused(&admin.post("/v1/subjects/agent-001005/resume", None, &json!({})).unwrap());

    replace(&data.join(SECOND), &good);
    assert_eq!(until_ready(&authority, true).body["alarms"], json!([]));
    let renewed = admin.renew(&kept.id, &kept.token, None).unwrap();
    assert_eq!(renewed.status, 200, "{renewed:?}");
    held(&admin);
    assert_eq!(number_of(&admin, "tenure_scrub_findings"), 0);
    authority.until_said("nothing is granted");
    authority.until_said("grants go on");
    authority.stop_well();
}

/// What is put in its place is believed when it reads as the segment that was there, and not before.
#[test]
fn another_segment_in_the_place_of_a_damaged_one_mends_nothing() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    let authority = sealed_with(&data, &[]);
    let good = fs::read(data.join(SECOND)).unwrap();
    let other = fs::read(data.join("segments/00000000000000000001.segment")).unwrap();
    fs::remove_file(data.join(SECOND)).unwrap();
    let missing = until_ready(&authority, false);
    assert!(missing.body["alarms"].to_string().contains("No such file"), "{missing:?}");
    replace(&data.join(SECOND), &other);
    let begun = stopwatch();
    loop {
        let alarms = until_ready(&authority, false).body["alarms"].to_string();
        if alarms.contains("is not the segment that it was") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{alarms}");
        pause(Duration::from_millis(50));
    }
    replace(&data.join(SECOND), &good);
    until_ready(&authority, true);
    authority.stop_well();
}

/// Descriptors that are wanting say nothing of the file.
#[test]
fn want_of_descriptors_is_no_finding() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    let authority = sealed_with(&data, &["log.scrub_rate=268435456"]);
    let admin = authority.admin();
    // What is made in the background needs descriptors too.
    until_checkpoint(&authority, 3_000);
    let process = authority.id().to_string();
    let limit = |to: &str| {
        let set = std::process::Command::new("prlimit").args(["--pid", &process, to]).status();
        assert!(set.unwrap().success());
    };
    limit("--nofile=3:4096");
    let begun = stopwatch();
    let wanting = |said: &str| said.contains("could not be read again; it is tried in the next round");
    while !wanting(&authority.said()) {
        assert!(begun.elapsed() < PATIENCE, "{}", authority.said());
        pause(Duration::from_millis(50));
    }
    limit("--nofile=1024:4096");
    let ready = until_ready(&authority, true);
    assert!(!ready.body["alarms"].to_string().contains(": positions "), "{ready:?}");
    let findings: Value = number_of(&admin, "tenure_scrub_findings").into();
    assert_eq!(findings, 0);
    authority.stop_well();
}

/// What `tenure doctor --repair-from` comes to: its exit code, and each check.
fn repair(data: &Path, from: &Path) -> (i32, Vec<Value>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    let command = command.args(["doctor", "-o", "json", "--data"]).arg(data).arg("--repair-from").arg(from);
    let out = command.output().unwrap();
    let document: Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out.stderr)));
    (out.status.code().unwrap(), document["items"].as_array().unwrap().clone())
}

/// The damaged file had to be found by hand in a copy of the directory, while the server went on with it.
#[test]
fn doctor_mends_the_history_of_a_running_server_from_a_copy_and_from_a_backup() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    let backups = dir.path().join("backups");
    fs::create_dir(&backups).unwrap();
    let setting = format!("backup.dir={}", backups.display());
    sealed_with(&data, &[]).stop_well();
    let twin = dir.path().join("twin");
    copy(&data, &twin);
    let authority = Authority::start_with(&data, &["log.segment_events=1000", &setting]);
    let backup = json!({ "name": "nightly", "withoutKeys": true });
    assert_eq!(authority.admin().post("/v1/backup", None, &backup).unwrap().status, 200);
    let good = fs::read(data.join(SECOND)).unwrap();

    // In a block, in a block and the header, and missing.
    let nightly = backups.join("nightly");
    let ways: [&[u64]; 3] = [&[5_000], &[100, 5_000], &[]];
    for (from, flipped) in [&twin, &nightly].into_iter().flat_map(|from| ways.map(|way| (from, way))) {
        for at in flipped {
            flip(&data.join(SECOND), *at);
        }
        if flipped.is_empty() {
            fs::remove_file(data.join(SECOND)).unwrap();
        }
        assert_eq!(authority.admin().get("/v1/events?after=1000&limit=10").unwrap().status, 503);
        until_ready(&authority, false);
        let (exit, checks) = repair(&data, from);
        assert_eq!((exit, checks.len()), (0, 1), "{checks:?}");
        let detail = checks[0]["detail"].as_str().unwrap();
        let named = format!("{SECOND}, positions 1001 to 2000, was damaged: ");
        assert!(
            detail.starts_with(&named) && detail.contains(&format!("{SECOND} put in place from ")),
            "{detail}"
        );
        assert_eq!(checks[0]["result"], "ok");
        assert!(fs::read(data.join(SECOND)).unwrap() == good, "other bytes from {}", from.display());
        until_ready(&authority, true);
    }
    let (exit, checks) = repair(&data, &twin);
    assert!(exit == 0 && checks[0]["detail"].as_str().unwrap().contains("nothing to repair"), "{checks:?}");
    let read = authority.admin().get("/v1/events?after=1000&limit=200").unwrap();
    assert_eq!(read.body["items"].as_array().map(Vec::len), Some(200), "{read:?}");
    authority.stop_well();
}

#[test]
fn doctor_refuses_what_does_not_fit_and_changes_nothing() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    sealed_with(&data, &[]).stop_well();
    let other = in_one_store();
    sealed_with(&other.path().join("data"), &[]).stop_well();
    flip(&data.join(SECOND), 5_000);
    let before = fs::read(data.join(SECOND)).unwrap();
    let (exit, checks) = repair(&data, &other.path().join("data"));
    assert_eq!((exit, &checks[0]["result"]), (6, &json!("fail")), "{checks:?}");
    assert!(checks[0]["detail"].as_str().unwrap().contains("does not fit"), "{checks:?}");
    assert!(fs::read(data.join(SECOND)).unwrap() == before);
    // Nor from what holds no history at all.
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    let out =
        command.args(["doctor", "--data"]).arg(&data).arg("--repair-from").arg(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(4) && said.contains("neither a backup nor a data directory"), "{said}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    let out = command.args(["doctor", "--repair-from"]).arg(&data).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
}
