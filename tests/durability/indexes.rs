//! What the real program tells of the past: from memory while the history is in its store, and from the indexes of the
//! segments once it is in them.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::{
    authority::Authority,
    caller::Caller,
    sealing::{MISSING, PATIENCE, fill, flip, in_one_store, names, register, start, until_sealed},
};

/// So large that nothing is sealed.
const NOT_SEALED: &str = "log.segment_events=100000";

/// Sessions of one subject, of which one is renewed and marked, one revoked, and the rest ended with a reason.
fn live_a_little(admin: &Caller) -> Vec<String> {
    let create = || {
        let asked = json!({ "subjectId": "ada", "ttl": 600, "idleTimeout": 400 });
        admin.post("/v1/sessions", None, &asked).unwrap()
    };
    admin.put("/v1/subjects/ada", None, &json!({ "name": "Ada" })).unwrap();
    let sessions = [create(), create(), create()];
    admin.advance(350).unwrap();
    let token = sessions[0].text("token");
    let renewed = admin.renew(&sessions[0].text("sessionId"), &token, None).unwrap();
    admin.advance(300).unwrap();
    admin.introspect(&[&renewed.text("token")]);
    let path = |session: &crate::caller::Reply| format!("/v1/sessions/{}", session.text("sessionId"));
    admin.delete(&path(&sessions[1]), None).unwrap();
    let last = create();
    let all = json!({ "selector": { "all": true }, "reason": "a drill" });
    assert_eq!(admin.post("/v1/revocations", None, &all).unwrap().status, 200);
    sessions.iter().chain([&last]).map(path).collect()
}

/// What is asked about the past, of a place up to which everything is recorded.
fn questions(sessions: &[String], last: u64) -> Vec<String> {
    let mut asked: Vec<_> = (0..=14)
        .map(|back| format!("/v1/subjects/ada?asOfPosition={}", last - back))
        .chain((0..=14).map(|back| format!("{}?asOfPosition={}", sessions[0], last - back)))
        .collect();
    asked.extend(sessions.iter().cloned());
    for size in [last, 2_900, 1_500, 700] {
        asked.push(format!("/v1/audit/proof?position={}&size={size}", size / 2));
        asked.push(format!("/v1/audit/consistency?from={}&to={size}", size / 3));
    }
    let lists = [
        "events?subjectId=ada&limit=200",
        "events?subjectId=agent-000400",
        "sessions?subjectId=ada&status=all",
    ];
    asked.extend(lists.map(|list| format!("/v1/{list}")));
    asked.push(format!("/v1/events?sessionId={}", &sessions[0]["/v1/sessions/".len()..]));
    asked
}

/// Every answer, without what says of when it is.
fn answers(admin: &Caller, asked: &[String]) -> BTreeMap<String, Value> {
    let answer = |path: &String| {
        let mut reply = admin.get(path).unwrap();
        assert!([200, 404].contains(&reply.status), "{path}: {reply:?}");
        settle(&mut reply.body);
        (path.clone(), reply.body)
    };
    asked.iter().map(answer).chain([("feed".to_owned(), feed(admin))]).collect()
}

fn settle(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| {
                !["asOfPosition", "asOfTime", "head", "now", "requestId"].contains(&name.as_str())
            });
            members.values_mut().for_each(settle);
        }
        Value::Array(items) => items.iter_mut().for_each(settle),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn feed(admin: &Caller) -> Value {
    admin.get("/v1/revocations/feed?after=0&limit=1000").unwrap().body["items"].clone()
}

fn compare(answers: &BTreeMap<String, Value>, known: &BTreeMap<String, Value>) {
    for (asked, known) in known {
        assert_eq!(answers.get(asked), Some(known), "{asked}");
    }
}

fn indexes(data: &Path) -> Vec<String> {
    names(&data.join("indexes"))
}

/// All four segments have one.
fn until_indexed(data: &Path) {
    let begun = stopwatch();
    while indexes(data).len() != 4 || indexes(data).iter().any(|name| name.ends_with("new")) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", indexes(data));
        pause(Duration::from_millis(20));
    }
}

/// What `tenure doctor --verify` comes to: its exit code, and what it says of faults.
fn verified(data: &Path) -> (i32, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tenure"));
    let done = command.args(["doctor", "--verify", "--data"]).arg(data).output().unwrap();
    (done.status.code().unwrap(), String::from_utf8(done.stderr).unwrap())
}

#[test]
fn the_past_is_told_from_indexes_as_it_was_from_memory_and_a_damaged_index_is_made_again() {
    let dir = in_one_store();
    let data = dir.path().join("data");
    let authority = Authority::start_with(&data, &[NOT_SEALED]);
    let admin = authority.admin();
    let sessions = live_a_little(&admin);
    let last = register(&admin, 4);
    let asked = questions(&sessions, last);
    let known = answers(&admin, &asked);
    let told = known.values().filter(|answer| answer.get("code").is_none()).count();
    assert!(told > 35 && known["feed"].as_array().unwrap().len() >= 2);
    assert_eq!(known[&sessions[3]]["revokedReason"], "a drill");
    authority.stop_well();
    fill(&data, 4_000 - MISSING);

    let authority = start(&data);
    let admin = authority.admin();
    register(&admin, MISSING + 8);
    until_sealed(&authority, &data, 4);
    until_indexed(&data);
    compare(&answers(&admin, &asked), &known);

    // Every page of one kind, so that the one is met that is asked.
    let index = data.join("indexes/00000000000000000001.index");
    let good = fs::read(&index).unwrap();
    for page in 1..4 {
        flip(&index, page * 4_096 + 77);
    }
    let of_one = "/v1/events?subjectId=agent-000400";
    let refused = admin.get(of_one).unwrap();
    assert_eq!((refused.status, refused.code()), (503, "STORAGE_UNAVAILABLE"), "{refused:?}");
    assert!(refused.text("detail").starts_with("positions 1 to 1000 "), "{refused:?}");
    // The answer said that to ask again was no use, although it was a second or two later, and named no file.
    assert!(refused.text("detail").contains("indexes/00000000000000000001.index is damaged"), "{refused:?}");
    assert_eq!(refused.body["retryable"], true, "{refused:?}");
    authority.until_said("00000000000000000001.index");
    // It follows from its segment, so nothing is lost, and what is granted does not wait for it.
    let granted = admin.post("/v1/sessions", None, &json!({ "subjectId": "late-1" })).unwrap();
    assert_eq!(granted.status, 201, "{granted:?}");
    let begun = stopwatch();
    while admin.get(of_one).unwrap().status != 200 {
        assert!(begun.elapsed() < PATIENCE, "{}", authority.said());
        pause(Duration::from_millis(20));
    }
    assert!(fs::read(&index).unwrap() == good);
    compare(&answers(&admin, &asked), &known);
    authority.stop_well();

    // The doctor reads it too: it said that all was well.
    assert_eq!(verified(&data), (0, String::new()));
    flip(&index, 4_096 + 77);
    let (code, stderr) = verified(&data);
    let named = "indexes/00000000000000000001.index: the check of a page of the index does not match its bytes; it can be";
    assert!(code == 6 && stderr.contains(named), "{code}: {stderr}");

    // One that is missing, and one that is damaged where a start sees it, are made again.
    fs::remove_file(&index).unwrap();
    flip(&data.join("indexes/00000000000000001001.index"), 50);
    let authority = start(&data);
    until_indexed(&data);
    compare(&answers(&authority.admin(), &asked), &known);
    authority.stop_well();
}
