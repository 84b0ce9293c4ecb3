//! The history becomes segments while the real program serves: a directory with one store is taken over, and a kill -9
//! at each step of it loses nothing.

use std::{ffi::OsStr, fs, os::unix::fs::FileExt, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use tenure::{
    clock::{pause, stopwatch},
    core::{
        Actor, Commit, CommitId, Event, Position, StreamId, SubjectEvent, Timestamp,
        event::{SubjectProfile, SubjectRegistered},
    },
    log::{self, AppendOutcome, EncodedCommit, EventLog, SegmentEvents, encode},
};

use crate::{
    ambient::not_run,
    authority::{Authority, admin_key, serve, serve_through},
    caller::Caller,
    mounted_disk::{copy, has_program},
};

/// What a segment holds in these tests.
pub(crate) const SEGMENT: &str = "log.segment_events=1000";
/// The history ends so many events before the third range is full.
pub(crate) const MISSING: u64 = 8;
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A stopped directory whose history is in one store, as an earlier version leaves it, and nearly fills three ranges.
pub(crate) fn in_one_store() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fill_one_store(&dir.path().join("data"), 3_000 - MISSING);
    dir
}

/// A stopped directory with so many events in one store.
pub(crate) fn fill_one_store(data: &Path, events: u64) {
    Authority::start(data).stop_well();
    fill(data, events);
}

/// Has the history of a stopped directory end at this position.
pub(crate) fn fill(data: &Path, last: u64) {
    let log = log::open_cut(data, SegmentEvents::Uncut, &mut |_| Ok(())).unwrap();
    let head = log.head();
    let batch: Vec<_> =
        (head.position.0 + 1..=last).map(|number| registered(number, head.recorded_at)).collect();
    for commits in batch.chunks(500) {
        assert_eq!(log.append(log.head().position, commits.to_vec()), Ok(AppendOutcome::Appended));
    }
    log.close().unwrap();
}

fn registered(number: u64, at: Timestamp) -> EncodedCommit {
    let event = SubjectRegistered { profile: SubjectProfile::default() };
    let commit = Commit {
        id: CommitId::from_bytes((0x7000_u128 << 64 | u128::from(number) << 16).to_be_bytes()),
        stream: StreamId::Subject(format!("agent-{number:06}").parse().unwrap()),
        expected: Position::ZERO,
        recorded_at: at,
        actor: Actor::AUTHORITY,
        correlation_id: None,
        idempotency: None,
        events: vec![Event::Subject(SubjectEvent::SubjectRegistered(event))],
    };
    encode(&commit).unwrap()
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else { return vec![] };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

pub(crate) fn segments(data: &Path) -> Vec<String> {
    names(&data.join("segments"))
}

fn stores(data: &Path) -> Vec<String> {
    names(&data.join("log"))
}

/// Registers subjects until there are so many of these, which is acknowledged one by one, and has all of it signed.
pub(crate) fn register(admin: &Caller, many: u64) -> u64 {
    let mut last = 0;
    for number in 0..many {
        let Ok(reply) = admin.put(&format!("/v1/subjects/late-{number}"), None, &json!({})) else { break };
        last = reply.position.unwrap_or(last);
    }
    last
}

/// Waits until all full ranges are sealed and one store is left. Each look has what is recorded signed.
pub(crate) fn until_sealed(authority: &Authority, data: &Path, many: usize) {
    let admin = authority.admin();
    let begun = stopwatch();
    while segments(data).len() != many || stores(data).len() != 1 {
        let found = (segments(data), stores(data));
        assert!(begun.elapsed() < PATIENCE, "{found:?} after {PATIENCE:?}: {}", authority.said());
        admin.advance(2).unwrap();
        pause(Duration::from_millis(20));
    }
}

pub(crate) fn start(data: &Path) -> Authority {
    Authority::start_with(data, &[SEGMENT])
}

/// Starts on a history in one store, and waits until all of it is in three segments.
fn start_sealed(data: &Path) -> (Authority, Caller) {
    let authority = start(data);
    let admin = authority.admin();
    register(&admin, MISSING + 4);
    until_sealed(&authority, data, 3);
    (authority, admin)
}

/// An authority on the directory of [`in_one_store`], all three ranges of which it has sealed.
pub(crate) fn sealed_with(data: &Path, settings: &[&str]) -> Authority {
    let authority = Authority::start_with(data, &[&[SEGMENT], settings].concat());
    register(&authority.admin(), MISSING + 4);
    until_sealed(&authority, data, 3);
    authority
}

pub(crate) fn number_of(admin: &Caller, name: &str) -> u64 {
    let text = admin.text("/metrics");
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    found.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[test]
fn a_history_in_one_store_is_brought_into_segments_and_says_so() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    let authority = start(&data);
    let admin = authority.admin();
    register(&admin, MISSING + 4);
    until_sealed(&authority, &data, 3);
    assert_eq!(stores(&data), ["2"]);
    assert_eq!(number_of(&admin, "tenure_segments"), 3);
    assert_eq!(number_of(&admin, "tenure_sealed_position"), 3_000);
    assert_eq!(number_of(&admin, "tenure_unsealed_ranges"), 0);
    assert!(number_of(&admin, "tenure_log_bytes") > 100_000);
    authority.until_said("the history is brought into segments");
    authority.until_said("the history is in segments up to this position last=3000");
    // The size is recorded, once.
    let recorded = admin.list("/v1/events?kinds=LogSegmented&limit=10");
    assert_eq!(recorded.len(), 1, "{recorded:?}");
    assert_eq!(recorded[0]["data"]["segmentEvents"], 1_000);
    // What is in segments reads as before.
    let first = admin.get("/v1/events?after=0&limit=1").unwrap();
    assert_eq!(first.body["items"][0]["position"], 1);
    assert_eq!(admin.get("/v1/subjects/agent-000500").unwrap().status, 200);
    authority.stop_well();
    // And after a restart, which finds nothing left to do.
    let authority = start(&data);
    assert_eq!(authority.admin().list("/v1/events?kinds=LogSegmented&limit=10").len(), 1);
    assert_eq!(authority.admin().get("/v1/subjects/late-0").unwrap().status, 200);
    assert!(!authority.said().contains("is brought into segments"), "{}", authority.said());
    authority.stop_well();
}

#[test]
fn another_size_of_segments_is_refused_by_name_once_a_range_is_sealed() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    // Nothing is full yet: the size may still be chosen.
    Authority::start_with(&data, &["log.segment_events=5000"]).stop_well();
    let authority = start(&data);
    register(&authority.admin(), MISSING + 4);
    until_sealed(&authority, &data, 3);
    authority.stop_well();
    refuses(&data, "2000", "1000");
    start(&data).stop_well();
}

/// A range was sealed and no store begun after it, so that no record of the log said by how many events it is cut: the
/// start with another number took its segment for a damaged one.
#[test]
fn another_size_is_refused_by_name_when_one_store_still_holds_the_history() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    let authority = Authority::start_with(&data, &["log.segment_events=2000"]);
    until_sealed(&authority, &data, 1);
    assert_eq!(stores(&data), ["1"]);
    authority.stop_well();
    refuses(&data, "1000", "2000");
    Authority::start_with(&data, &["log.segment_events=2000"]).stop_well();
}

fn refuses(data: &Path, asked: &str, recorded: &str) {
    let mut command = serve(data);
    command.args(["--set", &format!("log.segment_events={asked}")]);
    let said = Authority::launch(command, data).map(drop).unwrap_err().said;
    let named = format!("log.segment_events is {asked}");
    assert!(said.contains(&named) && said.contains(recorded), "{said}");
}

pub(crate) fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x20], at).unwrap();
}

/// A damaged page of the one store stopped the authority. What is closed cannot do that: who reads it is told where, the
/// operator is told which file, and everything else goes on.
#[test]
fn a_flipped_byte_in_a_segment_is_named_and_everything_else_goes_on() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    let (authority, admin) = start_sealed(&data);
    let segment = data.join("segments/00000000000000001001.segment");
    flip(&segment, 5_000);
    let refused = admin.get("/v1/events?after=1000&limit=10").unwrap();
    assert_eq!((refused.status, refused.code()), (503, "STORAGE_UNAVAILABLE"), "{refused:?}");
    assert_eq!(refused.body["retryable"], false, "{refused:?}");
    let detail = refused.text("detail");
    assert!(detail.starts_with("positions 1001 to ") && !detail.contains(".segment"), "{detail}");
    let alarms = admin.get("/readyz").unwrap().body["alarms"].to_string();
    assert!(alarms.contains("segments/00000000000000001001.segment: positions 1001 to "), "{alarms}");
    for sound in ["/v1/events?after=0&limit=10", "/v1/events?after=2000&limit=10"] {
        assert_eq!(admin.get(sound).unwrap().body["items"].as_array().unwrap().len(), 10, "{sound}");
    }
    // What grants nothing goes on (`finding`).
    let reason = json!({ "reason": "theft" });
    assert_eq!(admin.post("/v1/subjects/agent-000500/suspend", None, &reason).unwrap().status, 200);
    authority.stop_well();
    let mut command = serve(&data);
    command.args(["--set", SEGMENT]);
    let said = Authority::launch(command, &data).map(drop).unwrap_err().said;
    assert!(said.contains("00000000000000001001.segment: position 1001"), "{said}");
    // Each damaged file is named, and what is sound beside it.
    flip(&data.join("segments/00000000000000002001.segment"), 5_000);
    let (exit, checks) = doctor(&data);
    assert_eq!(exit, 6, "{checks:?}");
    let (sound, damaged) = (&checks[0], &checks[1..3]);
    assert_eq!((&sound["result"], checks.len()), (&json!("ok"), 4), "{checks:?}");
    for (check, first) in damaged.iter().zip([1_001, 2_001]) {
        let detail = check["detail"].as_str().unwrap();
        let named = format!("segments/{first:020}.segment: positions {first} to ");
        assert!(check["result"] == "fail" && detail.starts_with(&named), "{checks:?}");
    }
    flip(&data.join("segments/00000000000000002001.segment"), 5_000);
    flip(&segment, 5_000);
    let (exit, checks) = doctor(&data);
    assert!(exit == 0 && checks.iter().all(|check| check["result"] == "ok"), "{checks:?}");
    start(&data).stop_well();
}

/// Nobody may ask for a part of the past for years.
#[test]
fn damage_that_nobody_reads_is_found_and_is_over_when_the_file_is_put_right() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    let (authority, admin) = start_sealed(&data);
    let segment = data.join("segments/00000000000000002001.segment");
    let until = |findings: u64| {
        let begun = stopwatch();
        while number_of(&admin, "tenure_scrub_findings") != findings {
            assert!(begun.elapsed() < PATIENCE, "not {findings} findings: {}", authority.said());
            pause(Duration::from_millis(50));
        }
    };
    flip(&segment, 5_000);
    until(1);
    let alarms = admin.get("/readyz").unwrap().body["alarms"].to_string();
    assert!(alarms.contains("segments/00000000000000002001.segment: positions 2001 to "), "{alarms}");
    flip(&segment, 5_000);
    until(0);
    assert!(number_of(&admin, "tenure_scrub_age_seconds") < 30);
    authority.stop_well();
}

/// What `tenure doctor --verify` says of a stopped server: its exit code, and each check.
pub(crate) fn doctor(data: &Path) -> (i32, Vec<Value>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.args(["doctor", "--verify", "-o", "json", "--data"]).arg(data);
    let out = command.output().unwrap();
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    (out.status.code().unwrap(), document["items"].as_array().unwrap().clone())
}

/// Where the process is killed: as it begins this call on this file.
const STEPS: [(&str, &str); 7] = [
    ("fsync", "segments/00000000000000000001.new"),
    ("rename", "segments/00000000000000000001.new"),
    ("fsync", "segments"),
    ("rename", "segments/00000000000000001001.new"),
    ("rename", "log/1"),
    ("fsync", "log"),
    ("unlinkat", "log/gone-1"),
];

/// A copy of the directory dies at each step, in the real program; the next start ends what was begun.
#[test]
fn a_kill_at_any_step_of_sealing_loses_nothing() {
    let killed = die_at_each("sealing", &STEPS, |authority, data, step| {
        assert_eq!(stores(data), ["2"], "{step}");
        let names = authority.admin().list("/v1/events?after=2900&limit=200");
        assert!(names.iter().enumerate().all(|(at, event)| event["position"] == 2_901 + at), "{names:?}");
        authority.stop_well();
        start(data).stop_well();
    });
    assert!(killed.is_none_or(|killed| killed >= STEPS.len() - 1), "only {killed:?} steps were met");
}

/// Has a copy of a directory die at each of these steps, and gives what the next start has made of it: all that was
/// acknowledged is there, and all of it is sealed. How many steps were met; `None` where they cannot be.
pub(crate) fn die_at_each(
    test: &str,
    steps: &[(&str, &str)],
    look: impl Fn(Authority, &Path, &str),
) -> Option<usize> {
    if !has_program("strace") {
        not_run(test, "strace is missing: apt-get install strace");
        return None;
    }
    let dir = in_one_store();
    let mut killed = 0;
    for (number, (call, file)) in steps.iter().enumerate() {
        let data = dir.path().join(format!("copy-{number}"));
        copy(&dir.path().join("data"), &data);
        let (last, died) = killed_at(&data, call, file)?;
        killed += usize::from(died);
        let (authority, step) = (start(&data), format!("killed at {call} of {file}"));
        let admin = authority.admin();
        let position = number_of(&admin, "tenure_position");
        assert!(position >= last, "{step}: acknowledged {last}, there {position}");
        register(&admin, MISSING + 4);
        until_sealed(&authority, &data, 3);
        look(authority, &data, &step);
    }
    Some(killed)
}

/// Serves until this call, and gives the last acknowledged position, and whether it was killed there.
fn killed_at(data: &Path, call: &str, file: &str) -> Option<(u64, bool)> {
    let out = data.with_extension("calls");
    let words = format!("strace -D -f -e trace={call} -e inject={call}:signal=KILL -o");
    let runner: Vec<&OsStr> =
        words.split(' ').map(OsStr::new).chain([out.as_os_str(), OsStr::new("-P")]).collect();
    let path = data.join(file);
    let runner: Vec<&OsStr> = runner.into_iter().chain([path.as_os_str()]).collect();
    let mut command = serve_through(&runner, data);
    command.args(["--set", SEGMENT]);
    let authority = match Authority::launch(command, data) {
        Ok(authority) => authority,
        Err(ended) if ended.said.contains("strace:") => {
            not_run("sealing", &ended.said);
            return None;
        }
        // It was killed before it listened.
        Err(_) => return Some((0, true)),
    };
    let admin = Caller::new(&authority.url(), &admin_key(data));
    let last = register(&admin, MISSING + 4);
    let begun = stopwatch();
    while admin.advance(2).is_ok() && begun.elapsed() < Duration::from_secs(20) {
        pause(Duration::from_millis(20));
    }
    let died = admin.advance(1).is_err();
    drop(authority);
    Some((last, died))
}
