//! A start goes on from the newest checkpoint: the same answers as from the first event, whatever was done before it,
//! and never one from a checkpoint that is damaged, missing or wrong.

use std::{collections::BTreeSet, fs, path::Path, process::Command, time::Duration};

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::{
    ambient::Chance,
    authority::Authority,
    caller::Caller,
    checkpoints::{until_checkpoint, with_checkpoint},
    history::History,
    load::{Appetite, Load},
    sealing::{PATIENCE, SEGMENT, doctor, flip, in_one_store, number_of, segments, start},
};

/// What a start says that goes on from a checkpoint.
const GOES_ON: &str = "the start goes on from a checkpoint";
const ALL: [&str; 2] = [SEGMENT, "log.verify=all"];

/// Everything that can be asked of what is recorded.
fn answers(admin: &Caller) -> Vec<Value> {
    let mut answers = vec![];
    let lists = [
        "sessions?status=all&",
        "sessions?status=active&",
        "sessions?status=revoked&",
        "sessions?status=expired&",
        "subjects?",
        "events?",
        "credentials?",
    ];
    for list in lists {
        for mut item in admin.list(&format!("/v1/{list}limit=200")) {
            // The test clock begins at the wall time when that is later than the last event.
            item["asOfTime"] = Value::Null;
            item["expiresIn"] = Value::Null;
            answers.push(item);
        }
    }
    let head = number_of(admin, "tenure_position");
    for position in (1..head).step_by(211) {
        let proof = admin.get(&format!("/v1/audit/proof?position={position}&size={head}")).unwrap();
        assert_eq!(proof.status, 200, "{proof:?}");
        answers.push(proof.body["path"].clone());
        let past = admin.get(&format!("/v1/sessions?status=all&limit=20&asOfPosition={position}")).unwrap();
        answers.push(past.body["items"].clone());
    }
    answers.push(admin.get("/v1/revocations?after=0&limit=100").unwrap().body["items"].clone());
    answers
}

/// A start with these settings, what it answers, and the state that it writes down when it stops.
fn asked(data: &Path, settings: &[&str], goes_on: bool) -> (Vec<Value>, Vec<u8>) {
    let authority = Authority::start_with(data, settings);
    let answers = answers(&authority.admin());
    assert_eq!(authority.said().contains(GOES_ON), goes_on, "{}", authority.said());
    authority.stop_well();
    (answers, fs::read(data.join("snapshot")).unwrap())
}

/// Callers at work until a checkpoint stands behind some segments, and for a while longer.
fn worked(data: &Path, wanted: usize) {
    let mut chance = Chance::of_this_run("checkpoint");
    let authority = start(data);
    let admin = authority.admin();
    let begun = stopwatch();
    for round in 0.. {
        let load = Load::begin(&admin, &format!("c{round}"), Appetite::MIXED, &mut chance);
        pause(Duration::from_millis(200));
        load.close();
        load.ledger();
        let bulk = json!({ "selector": { "subjectId": format!("c{round}-0-0") }, "reason": "a test" });
        admin.post("/v1/sessions/revoke-matching", None, &bulk).unwrap();
        if segments(data).len() >= wanted {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{:?}: {}", segments(data), authority.said());
    }
    let sealed = number_of(&admin, "tenure_sealed_position");
    let begun = stopwatch();
    while number_of(&admin, "tenure_checkpoint_position") < sealed {
        assert!(begun.elapsed() < PATIENCE, "no checkpoint: {}", authority.said());
        pause(Duration::from_millis(20));
    }
    authority.stop_well();
}

#[test]
fn from_a_checkpoint_and_from_the_first_event_the_answers_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    worked(&data, 2);
    let (answers, state) = asked(&data, &ALL, false);
    let hot = asked(&data, &[SEGMENT], true);
    assert!(hot.0 == answers && hot.1 == state, "from the checkpoint");
    // Without an index of a segment nothing before it can be asked, so all is read; the index is made again.
    for entry in fs::read_dir(data.join("indexes")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let (answers_again, state_again) = asked(&data, &[SEGMENT], false);
    assert!(answers_again == answers && state_again == state, "without an index");
    fs::remove_dir_all(data.join("checkpoints")).unwrap();
    let (answers_again, state_again) = asked(&data, &[SEGMENT], false);
    assert!(answers_again == answers && state_again == state, "without a checkpoint");
}

/// Also what is remembered of requests, and is in no state: a repeat is known as one over the start.
#[test]
fn what_was_acknowledged_survives_kills_between_starts_from_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut chance = Chance::of_this_run("checkpoint-kill");
    let (mut history, mut from_checkpoints) = (History::default(), 0);
    let begun = stopwatch();
    for round in 0.. {
        let mut authority = start(&data);
        let load = Load::begin(&authority.admin(), &format!("k{round}"), Appetite::MIXED, &mut chance);
        pause(Duration::from_millis(300 + chance.below(200)));
        authority.kill();
        let mut ledger = load.ledger();
        let authority = start(&data);
        from_checkpoints += u32::from(authority.said().contains(GOES_ON));
        let admin = authority.admin();
        history.must_survive(&admin, &mut ledger);
        // A head covers the range that is sealed next.
        authority.stop_well();
        if from_checkpoints >= 3 {
            return;
        }
        assert!(begun.elapsed() < 2 * PATIENCE, "{from_checkpoints} starts from a checkpoint");
    }
}

/// One that is damaged is named; the start goes on from the one before, or from the first event.
#[test]
fn a_start_uses_no_checkpoint_that_is_damaged() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    with_checkpoint(&data).stop_well();
    let path = data.join("checkpoints/00000000000000003000.checkpoint");
    let good = fs::read(&path).unwrap();
    let (right, state) = asked(&data, &ALL, false);
    let mut chance = Chance::of_this_run("flips");
    let places: BTreeSet<u64> = [3, 45, 4_080, 4_100, good.len() as u64 - 1]
        .into_iter()
        .chain((0..3).map(|_| 4_096 + chance.below(good.len() as u64 - 4_096)))
        .collect();
    for at in places {
        flip(&path, at);
        let authority = start(&data);
        authority.until_said("00000000000000003000.checkpoint");
        authority.until_said("is not to be believed");
        let said = authority.said();
        assert!(!said.contains("why=checkpoints/"), "byte {at}: it names the file twice: {said}");
        assert!(!said.contains("goes on from a checkpoint position=3000"), "byte {at}: {said}");
        assert!(answers(&authority.admin()) == right, "byte {at}");
        until_checkpoint(&authority, 3_000);
        authority.stop_well();
        assert!(fs::read(&path).unwrap() == good, "byte {at}: it is made again");
        assert!(fs::read(data.join("snapshot")).unwrap() == state, "byte {at}");
    }
    assert!(asked(&data, &[SEGMENT], true).0 == right);
}

/// A checkpoint with another subject in it, and digests that fit.
fn forge(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let number = |bytes: &[u8], at: usize| {
        usize::try_from(u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap()
    };
    let table_at = number(&bytes, 56);
    let place = bytes.windows(12).position(|window| window == b"agent-000500").unwrap();
    let digest_in = |table: &[u8], section: &[u8]| {
        let digest = blake3::hash(section);
        table.windows(32).position(|window| window == digest.as_bytes())
    };
    let section_from = |bytes: &[u8], begin: usize| {
        let mut ends = begin + 1..=table_at;
        ends.find_map(|end| Some((end, digest_in(&bytes[table_at..], &bytes[begin..end])?))).unwrap()
    };
    let mut begin = 4_096;
    let (end, digest_at) = loop {
        let (end, digest_at) = section_from(&bytes, begin);
        if end > place {
            break (end, digest_at);
        }
        begin = end;
    };
    bytes[place + 11] = b'x';
    let digest = blake3::hash(&bytes[begin..end]);
    bytes[table_at + digest_at..][..32].copy_from_slice(digest.as_bytes());
    let table = blake3::hash(&bytes[table_at..]);
    bytes[72..104].copy_from_slice(table.as_bytes());
    let check =
        blake3::Hasher::new_derive_key("tenure v1 checkpoint header").update(&bytes[..4_064]).finalize();
    bytes[4_064..4_096].copy_from_slice(check.as_bytes());
    fs::write(path, bytes).unwrap();
}

fn forged(data: &Path) -> Authority {
    forge(&data.join("checkpoints/00000000000000003000.checkpoint"));
    start(data)
}

/// Its digests are right and its content is not: only a fold of the history can tell.
#[test]
fn a_checkpoint_to_which_the_history_does_not_lead_is_found_by_the_scrub_and_by_the_doctor() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    with_checkpoint(&data).stop_well();
    let copy = dir.path().join("copy");
    crate::mounted_disk::copy(&data, &copy);
    forge(&copy.join("checkpoints/00000000000000003000.checkpoint"));
    let (exit, checks) = doctor(&copy);
    let said = "checkpoints/00000000000000003000.checkpoint: is not what the history leads to: subjects";
    let found: Vec<_> = checks.iter().filter(|check| check["result"] == "fail").collect();
    assert!(exit == 6 && found.len() == 1 && found[0]["check"] == "checkpoint", "{checks:?}");
    assert!(found[0]["detail"].as_str().unwrap().starts_with(said), "{checks:?}");
    let good = fs::read(data.join("checkpoints/00000000000000003000.checkpoint")).unwrap();
    let authority = forged(&data);
    let begun = stopwatch();
    let path = data.join("checkpoints/00000000000000003000.checkpoint");
    while fs::read(&path).ok().as_ref() != Some(&good) {
        assert!(begun.elapsed() < PATIENCE, "{}", authority.said());
        pause(Duration::from_millis(20));
    }
    authority.until_said("is not what the history leads to: subjects");
    assert!(path.with_extension("damaged").exists());
    nothing_is_granted_until_a_restart(authority, &data);
    let (exit, checks) = doctor(&data);
    assert!(exit == 0 && checks.iter().any(|check| check["check"] == "checkpoint"), "{checks:?}");
}

/// The start went on from it, so what is in memory is as wrong. It went on to grant sessions by that.
fn nothing_is_granted_until_a_restart(authority: Authority, data: &Path) {
    let admin = authority.admin();
    let begun = stopwatch();
    let unready = loop {
        let reply = admin.get("/readyz").unwrap();
        if reply.status == 503 && reply.body["alarms"].to_string().contains("restart the server") {
            break reply;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", authority.said());
        pause(Duration::from_millis(20));
    };
    assert!(unready.text("detail").contains(".checkpoint: the start went on from it"), "{unready:?}");
    let create =
        |admin: &Caller| admin.post("/v1/sessions", None, &json!({ "subjectId": "agent-000700" })).unwrap();
    assert_eq!((create(&admin).status, create(&admin).code()), (503, "STORAGE_UNAVAILABLE"));
    let lost = json!({ "selector": { "subjectId": "agent-000501" }, "reason": "lost" });
    assert_eq!(admin.post("/v1/revocations", None, &lost).unwrap().status, 200);
    authority.stop_well();
    let authority = start(data);
    assert_eq!(create(&authority.admin()).status, 201);
    authority.stop_well();
}

/// What comes behind it cannot follow from it: then it is the checkpoint that is doubted, not the log.
#[test]
fn a_start_whose_checkpoint_contradicts_what_follows_goes_on_without_it() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    let authority = with_checkpoint(&data);
    let renamed = json!({ "name": "another" });
    assert_eq!(authority.admin().put("/v1/subjects/agent-000500", None, &renamed).unwrap().status, 200);
    authority.stop_well();
    let (right, _) = asked(&data, &ALL, false);
    let authority = forged(&data);
    authority.until_said("what follows does not follow from this checkpoint");
    assert!(answers(&authority.admin()) == right);
    authority.stop_well();
}

/// What is before the checkpoint is not read: who asks for it is told, and a start that reads everything refuses.
#[test]
fn damage_before_the_checkpoint_is_found_by_a_start_that_reads_everything() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    with_checkpoint(&data).stop_well();
    let segment = data.join("segments/00000000000000001001.segment");
    flip(&segment, 5_000);
    let authority = Authority::start_with(&data, &[SEGMENT, "log.scrub_rate=0"]);
    authority.until_said(GOES_ON);
    let refused = authority.admin().get("/v1/events?after=1000&limit=10").unwrap();
    assert_eq!((refused.status, refused.code()), (503, "STORAGE_UNAVAILABLE"), "{refused:?}");
    authority.stop_well();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
    command.args(["serve", "--verify", "all", "--test-clock", "--listen", "127.0.0.1:0", "--set", SEGMENT]);
    let out = command.arg("--data").arg(&data).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("00000000000000001001.segment: position 1001"), "{said}");
    flip(&segment, 5_000);
    start(&data).stop_well();
}

/// It was said of a snapshot, which the start from a checkpoint does not fold: events are missing all the same.
#[test]
fn a_log_that_ends_before_the_snapshot_is_refused_also_from_a_checkpoint() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    with_checkpoint(&data).stop_well();
    let copy = dir.path().join("copy");
    crate::mounted_disk::copy(&data, &copy);
    let authority = start(&data);
    authority.admin().put("/v1/subjects/later", None, &json!({})).unwrap();
    authority.stop_well();
    fs::copy(data.join("snapshot"), copy.join("snapshot")).unwrap();
    let mut command = crate::authority::serve(&copy);
    command.args(["--set", SEGMENT]);
    let said = Authority::launch(command, &copy).map(drop).unwrap_err().said;
    assert!(said.contains("events are missing"), "{said}");
}

/// A list of the past over all subjects folded the whole history, also that of yesterday.
#[test]
fn a_list_of_the_past_is_folded_from_the_checkpoint_before_it() {
    let dir = in_one_store();
    let authority = with_checkpoint(&dir.path().join("data"));
    let admin = authority.admin();
    let head = number_of(&admin, "tenure_position");
    let folded = || number_of(&admin, "tenure_costly_folded_events_total");
    assert!(head > 3_000 && folded() == 0);
    let list = |position| {
        let reply = admin.get(&format!("/v1/sessions?status=all&limit=20&asOfPosition={position}")).unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
    };
    list(head - 1);
    assert_eq!(folded(), head - 1 - 3_000);
    // Before every checkpoint it is folded from the first event, as ever.
    let before = folded();
    list(700);
    assert_eq!(folded() - before, 700);
    authority.stop_well();
}
