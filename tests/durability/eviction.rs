//! Ended sessions leave memory, and nobody sees a difference: what is asked about them is read back from the segments.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::{
    authority::Authority,
    caller::{Caller, Reply},
    checkpoints::until_checkpoint,
    sealing::{MISSING, PATIENCE, SEGMENT, fill, flip, number_of, register, start, until_sealed},
};

/// Ended sessions stay for a minute.
const SOON: [&str; 2] = [SEGMENT, "retention.memory=60"];
/// So large that nothing is sealed.
const NOT_SEALED: &str = "log.segment_events=100000";

/// A session, and all tokens that it ever had.
#[derive(Clone)]
struct Known {
    id: String,
    tokens: Vec<String>,
}

impl Known {
    fn path(&self) -> String {
        format!("/v1/sessions/{}", self.id)
    }

    fn last(&self) -> &str {
        self.tokens.last().unwrap()
    }
}

/// Sessions that ended in every way, and one that did not.
struct Past {
    revoked: Known,
    expired: Known,
    vetoed: Known,
    in_bulk: Known,
    with_all: Known,
    live: Known,
}

impl Past {
    fn all(&self) -> [&Known; 6] {
        [&self.revoked, &self.expired, &self.vetoed, &self.in_bulk, &self.with_all, &self.live]
    }
}

fn create(admin: &Caller, subject: &str, asked: &Value) -> Known {
    let mut body = json!({ "subjectId": subject, "ttl": 600, "metadata": { "job": subject } });
    body.as_object_mut().unwrap().extend(asked.as_object().unwrap().clone());
    let created = admin.post("/v1/sessions", Some(&format!("{subject}-{asked}")), &body).unwrap();
    assert_eq!(created.status, 201, "{created:?}");
    Known { id: created.text("sessionId"), tokens: vec![created.text("token")] }
}

fn renew(admin: &Caller, known: &mut Known) {
    let renewed = admin.renew(&known.id, known.last(), None).unwrap();
    assert_eq!(renewed.status, 200, "{renewed:?}");
    known.tokens.push(renewed.text("token"));
}

fn granted(reply: Reply) -> Reply {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply
}

fn lived(admin: &Caller) -> Past {
    for (subject, owner) in [("ada", "o1"), ("bob", "o2")] {
        let body = json!({ "name": subject, "ownerId": owner, "maxSessions": 9 });
        assert!(admin.put(&format!("/v1/subjects/{subject}"), None, &body).unwrap().status < 300);
    }
    let mut revoked = create(admin, "ada", &json!({ "device": "d1" }));
    let mut expired = create(admin, "ada", &json!({ "device": "d2" }));
    let mut vetoed = create(admin, "ada", &json!({ "device": "d3" }));
    let in_bulk = create(admin, "bob", &json!({ "device": "d4" }));
    admin.advance(350).unwrap();
    for known in [&mut revoked, &mut expired, &mut vetoed] {
        renew(admin, known);
    }
    granted(admin.delete(&format!("{}?rejectRenewal=true&reason=no", vetoed.path()), None).unwrap());
    granted(admin.delete(&format!("{}?rejectRenewal=false&reason=done", revoked.path()), None).unwrap());
    let bulk = json!({ "selector": { "ownerId": "o2" }, "reason": "a drill" });
    granted(admin.post("/v1/revocations", None, &bulk).unwrap());
    admin.advance(700).unwrap();
    let with_all = create(admin, "bob", &json!({ "device": "d5" }));
    granted(admin.delete("/v1/subjects/bob/sessions?device=d5&reason=all", None).unwrap());
    let live = create(admin, "ada", &json!({ "device": "d1", "ttl": 86_400 }));
    Past { revoked, expired, vetoed, in_bulk, with_all, live }
}

/// Everything that can be asked of them, without what says of when the answer is.
fn answers(admin: &Caller, past: &Past) -> Vec<(String, Value)> {
    let mut asked: Vec<String> = past.all().iter().map(|known| known.path()).collect();
    for status in ["active", "expired", "revoked", "all"] {
        for filter in ["", "ownerId=o1&", "ownerId=o2&", "device=d1&", "device=d5&", "subjectId=ada&"] {
            asked.push(format!("/v1/sessions?status={status}&{filter}limit=3"));
        }
    }
    for known in past.all() {
        asked.push(format!("/v1/events?limit=200&sessionId={}", known.id));
        asked.push(format!("/v1/notices?limit=200&sessionId={}", known.id));
    }
    for subject in ["ada", "bob"] {
        asked.push(format!("/v1/subjects/{subject}"));
        asked.push(format!("/v1/events?limit=200&subjectId={subject}"));
    }
    let mut answers: Vec<_> = asked.iter().map(|path| (path.clone(), whole(admin, path))).collect();
    let tokens: Vec<_> =
        past.all().iter().flat_map(|known| known.tokens.iter().map(String::as_str)).collect();
    let judged = admin.introspect(&tokens).into_iter().map(timeless).collect();
    answers.push(("the tokens".into(), Value::Array(judged)));
    let feed = granted(admin.get("/v1/revocations/feed?after=0&limit=1000").unwrap());
    answers.push(("the feed".into(), feed.body["items"].clone()));
    answers
}

fn whole(admin: &Caller, path: &str) -> Value {
    if path.contains("limit=") {
        return admin.list(path).into_iter().map(timeless).collect();
    }
    timeless(granted(admin.get(path).unwrap()).body)
}

fn timeless(mut value: Value) -> Value {
    if let Value::Object(members) = &mut value {
        members.retain(|name, _| !["asOfPosition", "asOfTime", "expiresIn"].contains(&name.as_str()));
    }
    value
}

fn compare(admin: &Caller, past: &Past, known: &[(String, Value)]) {
    for ((asked, now), (_, before)) in answers(admin, past).iter().zip(known) {
        assert_eq!(now, before, "{asked}");
    }
}

fn until_gone(authority: &Authority, live: u64) {
    let admin = authority.admin();
    let begun = stopwatch();
    while number_of(&admin, "tenure_sessions") != live {
        let (known, gone) = ("tenure_sessions", "tenure_let_go_sessions_total");
        let found = (number_of(&admin, known), number_of(&admin, gone));
        assert!(begun.elapsed() < PATIENCE, "{found:?} after {PATIENCE:?}: {}", authority.said());
        pause(Duration::from_millis(20));
    }
}

/// A history whose first part is in segments, and an authority from whose memory the ended sessions of it have gone.
fn gone(data: &Path) -> (Authority, Past, Vec<(String, Value)>) {
    let authority = Authority::start_with(data, &[NOT_SEALED]);
    let past = lived(&authority.admin());
    let known = answers(&authority.admin(), &past);
    authority.stop_well();
    fill(data, 2_000 - MISSING);
    let authority = Authority::start_with(data, &SOON);
    let admin = authority.admin();
    register(&admin, MISSING + 8);
    until_sealed(&authority, data, 2);
    admin.advance(120).unwrap();
    // A start begins at the last moment that is recorded.
    admin.put("/v1/subjects/later", None, &json!({})).unwrap();
    until_gone(&authority, 1);
    (authority, past, known)
}

/// A history that others go on with until its sessions are behind the horizon, sealed, and out of memory.
fn left_behind(authority: &Authority, data: &Path, live: u64) {
    let admin = authority.admin();
    let seals = |many: usize| until_sealed(authority, data, many);
    register(&admin, 1_000 + MISSING);
    seals(1);
    admin.advance(200).unwrap();
    admin.put("/v1/subjects/later", None, &json!({})).unwrap();
    until_gone(authority, live);
}

/// What the authority itself said of the other sessions of a subject was not read, and what they went through without
/// it looked false: lists with such a session were refused from then on.
#[test]
fn a_session_that_left_memory_is_read_back_beside_one_that_use_had_kept_alive() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let authority = Authority::start_with(&data, &SOON);
    let admin = authority.admin();
    assert_eq!(admin.put("/v1/subjects/ada", None, &json!({ "ownerId": "o1" })).unwrap().status, 201);
    let ended = create(&admin, "ada", &json!({}));
    let idle = create(&admin, "ada", &json!({ "mode": "sliding", "idleTimeout": 60 }));
    granted(admin.delete(&ended.path(), None).unwrap());
    admin.advance(10).unwrap();
    admin.introspect(&[idle.last()]);
    admin.advance(60).unwrap();
    left_behind(&authority, &data, 0);
    let listed = |filter: &str| -> Vec<_> {
        let listed = admin.list(&format!("/v1/sessions?limit=9&{filter}"));
        listed.iter().map(|session| session["sessionId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed("status=revoked"), [ended.id.as_str()]);
    assert_eq!(listed("status=expired&ownerId=o1"), [idle.id.as_str()]);
    assert_eq!(listed("status=all"), [idle.id.as_str(), ended.id.as_str()]);
    check_of_memory(&admin);
    authority.stop_well();
}

/// Who may not change an owner may name the first one, and that was not seen as a change: the new owner's lists lacked
/// what had left memory, until the next start.
#[test]
fn sessions_that_left_memory_go_to_the_first_owner_whoever_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let authority = Authority::start_with(&data, &SOON);
    let admin = authority.admin();
    let issuer = admin.post("/v1/credentials", None, &json!({ "role": "issuer" })).unwrap().text("key");
    for subject in ["ada", "bob"] {
        assert_eq!(admin.put(&format!("/v1/subjects/{subject}"), None, &json!({})).unwrap().status, 201);
        granted(admin.delete(&create(&admin, subject, &json!({})).path(), None).unwrap());
    }
    left_behind(&authority, &data, 0);
    let issuer = authority.caller(&issuer);
    granted(issuer.put("/v1/subjects/ada", None, &json!({ "ownerId": "alice" })).unwrap());
    granted(admin.put("/v1/subjects/bob", None, &json!({ "ownerId": "alice" })).unwrap());
    assert_eq!(admin.list("/v1/sessions?status=all&ownerId=alice&limit=9").len(), 2);
    authority.stop_well();
}

fn check_of_memory(admin: &Caller) {
    let check = granted(admin.get("/v1/audit/check").unwrap());
    assert_eq!(check.body["agrees"], true, "{check:?}");
}

#[test]
fn what_is_asked_of_sessions_that_left_memory_is_answered_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (authority, past, known) = gone(&data);
    let admin = authority.admin();
    compare(&admin, &past, &known);
    assert_eq!(number_of(&admin, "tenure_sessions"), 1, "what is only read does not come back");
    check_of_memory(&admin);

    // A start from a checkpoint does not put them back, nor does one that reads everything.
    until_checkpoint(&authority, 2_000);
    authority.stop_well();
    for settings in [&SOON[..], &[SEGMENT, "retention.memory=60", "log.verify=all"]] {
        let authority = Authority::start_with(&data, settings);
        assert_eq!(number_of(&authority.admin(), "tenure_sessions"), 1, "{settings:?}");
        compare(&authority.admin(), &past, &known);
        check_of_memory(&authority.admin());
        authority.stop_well();
    }

    // One that keeps them for longer has them again.
    let authority = start(&data);
    assert_eq!(number_of(&authority.admin(), "tenure_sessions"), 6);
    compare(&authority.admin(), &past, &known);
    authority.stop_well();
}

/// A thief who waits until a session is forgotten is told the same as before, and it is recorded once.
#[test]
fn a_command_about_a_session_that_left_memory_is_decided_on_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (authority, past, _) = gone(&data);
    let admin = authority.admin();
    let refusals = || admin.list(&format!("/v1/events?limit=200&sessionId={}", past.expired.id)).len();
    let before = refusals();
    for (known, token, code) in [
        (&past.revoked, 0, "SESSION_REVOKED"),
        (&past.revoked, 1, "SESSION_REVOKED"),
        (&past.in_bulk, 0, "SESSION_REVOKED"),
        (&past.expired, 1, "TOKEN_EXPIRED"),
        (&past.expired, 1, "TOKEN_EXPIRED"),
        (&past.expired, 0, "SESSION_RENEWAL_MISMATCH"),
        (&past.expired, 0, "SESSION_RENEWAL_MISMATCH"),
    ] {
        let refused = admin.renew(&known.id, &known.tokens[token], Some("a-key")).unwrap();
        assert_eq!(refused.code(), code, "{refused:?}");
    }
    assert_eq!(refusals(), before + 2);

    // What had ended is found ended, the exception is known, and a repeat gets the first answer.
    let again = granted(admin.delete(&past.revoked.path(), None).unwrap());
    assert_eq!((again.position, &again.body["trigger"]), (None, &json!("manual_revoke")), "{again:?}");
    let except = format!("/v1/subjects/bob/sessions?exceptSessionId={}", past.in_bulk.id);
    assert_eq!(granted(admin.delete(&except, None).unwrap()).body["matched"], 0);
    assert_eq!(create(&admin, "ada", &json!({ "device": "d1" })).id, past.revoked.id);
    let usage = json!({ "operation": "pay" });
    let refused = admin.post(&format!("{}/usage", past.vetoed.path()), None, &usage).unwrap();
    assert_eq!(refused.code(), "SESSION_NOT_ACTIVE", "{refused:?}");
    // An expired one can still be revoked.
    let revoked = granted(admin.delete(&past.expired.path(), None).unwrap());
    assert!(revoked.position.is_some(), "{revoked:?}");
    assert_eq!(granted(admin.get(&past.expired.path()).unwrap()).body["status"], "REVOKED");
    check_of_memory(&admin);

    authority.stop_well();
    let authority = Authority::start_with(&data, &SOON);
    assert_eq!(granted(authority.admin().get(&past.expired.path()).unwrap()).body["status"], "REVOKED");
    check_of_memory(&authority.admin());
    authority.stop_well();
}

/// Lists by owner are kept in memory, and sessions that had left stayed with the owner that their subject once had.
#[test]
fn sessions_that_left_memory_go_with_their_subject_and_are_erased_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (authority, past, _) = gone(&data);
    let admin = authority.admin();
    let of = |owner: &str| admin.list(&format!("/v1/sessions?status=all&ownerId={owner}&limit=2")).len();
    assert_eq!((of("o1"), of("o2"), of("o3")), (4, 2, 0));
    granted(admin.put("/v1/subjects/ada", None, &json!({ "ownerId": "o3" })).unwrap());
    assert_eq!((of("o1"), of("o2"), of("o3")), (0, 2, 4));

    let erased = admin.post("/v1/subjects/ada/erase", None, &json!({ "reason": "asked for" })).unwrap();
    assert_eq!(erased.status, 200, "{erased:?}");
    let session = granted(admin.get(&past.revoked.path()).unwrap()).body;
    assert_eq!([&session["device"], &session["metadata"], &session["revokedReason"]], [&Value::Null; 3]);
    assert_eq!(session["revokedTrigger"], "manual_revoke");
    assert!(admin.list("/v1/sessions?status=all&device=d3&limit=9").is_empty());
    check_of_memory(&admin);
    authority.stop_well();
}

/// All in memory, as a fold of the whole history makes it.
const EVERYTHING: [&str; 3] = [SEGMENT, "retention.memory=315360000", "log.verify=all"];

/// The same history, and days later a checkpoint in which those sessions stand apart.
fn long_gone(data: &Path) -> (Authority, Past) {
    let (authority, past, _) = gone(data);
    authority.admin().advance(200_000).unwrap();
    until_sealed_up_to(&authority, data, 3);
    (authority, past)
}

/// Registers subjects until so many segments are sealed, with a checkpoint behind them.
fn until_sealed_up_to(authority: &Authority, data: &Path, segments: u64) {
    let admin = authority.admin();
    let missing = (segments * 1_000).saturating_sub(number_of(&admin, "tenure_position")) + 8;
    for number in 0..missing {
        let path = format!("/v1/subjects/filler-{segments}-{number}");
        assert!(admin.put(&path, None, &json!({})).unwrap().status < 300);
    }
    until_sealed(authority, data, usize::try_from(segments).unwrap());
    until_checkpoint(authority, segments * 1_000);
}

/// Lists by every filter were in memory, 20 to 40 bytes for each session ever, and a start read them all.
#[test]
fn what_a_checkpoint_lists_is_answered_as_if_all_were_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let (authority, past) = long_gone(&data);
    authority.stop_well();
    let authority = Authority::start_with(&data, &SOON);
    let admin = authority.admin();
    check_of_memory(&admin);
    // What is said of them now is in the lists at once, and behind the next start, and behind the next checkpoint.
    granted(admin.delete(&past.expired.path(), None).unwrap());
    granted(admin.put("/v1/subjects/ada", None, &json!({ "ownerId": "o2" })).unwrap());
    let erased = admin.post("/v1/subjects/bob/erase", None, &json!({ "reason": "asked for" })).unwrap();
    assert_eq!(erased.status, 200, "{erased:?}");
    let evicted = answers(&admin, &past);
    check_of_memory(&admin);
    authority.stop_well();
    let whole = Authority::start_with(&data, &EVERYTHING);
    assert_eq!(number_of(&whole.admin(), "tenure_sessions"), 6);
    let known = answers(&whole.admin(), &past);
    whole.stop_well();
    for ((asked, evicted), (_, known)) in evicted.iter().zip(&known) {
        assert_eq!(evicted, known, "{asked}");
    }
    let authority = Authority::start_with(&data, &SOON);
    compare(&authority.admin(), &past, &known);
    check_of_memory(&authority.admin());
    until_sealed_up_to(&authority, &data, 4);
    compare(&authority.admin(), &past, &known);
    authority.stop_well();
    for settings in [&SOON[..], &EVERYTHING, &[SEGMENT]] {
        let authority = Authority::start_with(&data, settings);
        compare(&authority.admin(), &past, &known);
        check_of_memory(&authority.admin());
        authority.stop_well();
    }
    // What has left memory is no difference to the log.
    let mut replay = std::process::Command::new(env!("CARGO_BIN_EXE_tenure"));
    let compared = replay.args(["audit", "replay", "--compare", "--data"]).arg(&data).output().unwrap();
    assert!(compared.status.success(), "{compared:?}");
    // Where the last checkpoint is of before all that was said since, and no newer one can be written.
    let newest = data.join("checkpoints/00000000000000004000.checkpoint");
    fs::remove_file(&newest).unwrap();
    fs::create_dir_all(newest.join("in the way")).unwrap();
    let authority = Authority::start_with(&data, &SOON);
    authority.until_said("the start goes on from a checkpoint");
    compare(&authority.admin(), &past, &known);
    authority.stop_well();
}

/// A start does not read what stands apart, so whoever reads it must find what is wrong.
#[test]
fn a_flipped_byte_in_what_a_checkpoint_lists_is_no_answer_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    long_gone(&data).0.stop_well();
    let path = data.join("checkpoints/00000000000000003000.checkpoint");
    let good = fs::read(&path).unwrap();
    let unscrubbed = [SEGMENT, "retention.memory=60", "log.scrub_rate=0"];
    let authority = Authority::start_with(&data, &unscrubbed);
    let admin = authority.admin();
    let asked = "/v1/sessions?status=revoked&limit=200";
    let expected = granted(admin.get(asked).unwrap()).body;
    let id = uuid(expected["items"][0]["sessionId"].as_str().unwrap());
    let is_id = |(at, part): (usize, &[u8])| (*part == id).then_some(at);
    let places: Vec<_> = good.windows(16).enumerate().filter_map(is_id).collect();
    assert!(
        places.len() >= 4,
        "{places:?} of {}, {expected}: among the sessions, and listed, by owner and by device",
        good.len()
    );
    for at in &places[1..4] {
        flip(&path, *at as u64);
        let begun = stopwatch();
        let refused = admin.get(asked).unwrap();
        assert_eq!((refused.status, refused.code()), (503, "STORAGE_UNAVAILABLE"), "{refused:?}");
        authority.until_said("the digest of rows does not match its bytes");
        authority.until_said("checkpoints/00000000000000003000.checkpoint");
        // It is made again, and then all is well.
        while fs::read(&path).ok().as_ref() != Some(&good) || admin.get(asked).unwrap().status != 200 {
            assert!(begun.elapsed() < PATIENCE, "{}", authority.said());
            pause(Duration::from_millis(20));
        }
        assert_eq!(timeless_page(granted(admin.get(asked).unwrap()).body), timeless_page(expected.clone()));
    }
    authority.stop_well();
    flip(&path, places[1] as u64);
    let authority = Authority::start_with(&data, &unscrubbed);
    authority.until_said("00000000000000003000.checkpoint");
    let page = granted(authority.admin().get(asked).unwrap()).body;
    assert_eq!(timeless_page(page), timeless_page(expected));
    authority.stop_well();
}

fn timeless_page(mut page: Value) -> Vec<Value> {
    page["items"].as_array_mut().unwrap().drain(..).map(timeless).collect()
}

fn uuid(text: &str) -> [u8; 16] {
    let digits: String = text.chars().filter(|digit| *digit != '-').collect();
    u128::from_str_radix(&digits, 16).unwrap().to_be_bytes()
}
