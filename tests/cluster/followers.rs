//! What a node answers that does not lead.

use std::{fs, thread, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::{checkpoints::waits_until, node::Caller, pair::Pair};

#[test]
fn a_follower_answers_checks_and_reads_and_says_how_fresh_they_are() {
    let Some(pair) = Pair::start("that a follower answers checks and reads") else { return };
    let Pair { leader, follower, .. } = &pair;
    let granted = leader.create("agent-1");
    let said = follower.introspects(&granted.token);
    assert_eq!((said.status, &said.body["results"][0]["active"]), (200, &json!(true)), "{}", said.body);
    let stale: u64 = said.header("x-tenure-staleness-ms").unwrap().parse().unwrap();
    assert!(stale < 15_000, "{stale}");
    for path in [
        "/v1/subjects",
        "/v1/subjects/agent-1",
        "/v1/sessions",
        &format!("/v1/sessions/{}", granted.id),
        "/v1/events",
        "/v1/notices",
        "/v1/revocations/feed?after=0",
        "/v1/keys",
    ] {
        let (here, there) = (follower.get(path), leader.get(path));
        let (here, there) = (without_time(here), without_time(there));
        assert_eq!(here, there, "{path}");
    }
    let ready = follower.get("/readyz");
    assert_eq!((&ready["role"], &ready["leader"]), (&json!("follower"), &json!(pair.first.url())), "{ready}");
    assert!(
        ready["term"].as_u64().unwrap() > 0 && ready["stalenessMs"].as_u64().unwrap() < 15_000,
        "{ready}"
    );
    // It watches the disk that its data is on.
    let metrics = follower.text("/metrics").unwrap();
    let free = metrics.lines().find_map(|line| line.strip_prefix("tenure_disk_free_bytes ")).unwrap();
    assert!(free.parse::<f64>().unwrap() < 1e18, "{free}");
    // It is as old as what it is just appending, mostly nothing.
    waits_until("the leader does not say that its state is the newest", || {
        let ready = leader.get("/readyz");
        let said = leader.introspects(&granted.token);
        (&ready["role"], &ready["stalenessMs"], &ready["lag"]) == (&json!("leader"), &json!(0), &json!(0))
            && said.header("x-tenure-staleness-ms") == Some("0")
    });
    // An end is seen there as well, soon.
    assert_eq!(leader.revoke(&granted).unwrap().0, 200);
    let begun = stopwatch();
    while follower.is_active(&granted.token) {
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    // What asks for the newest state gets it at any node.
    let other = leader.create("agent-2");
    assert_eq!(leader.revoke(&other).unwrap().0, 200);
    let strict = json!({ "token": other.token, "consistency": "strict" });
    let said = follower.send("POST", "/v1/introspect", &[], Some(&strict)).unwrap();
    assert_eq!((said.status, &said.body["active"]), (200, &json!(false)), "{}", said.body);
}

/// But for what is said of the moment of the answer, and of uses, which are on their way.
pub(crate) fn without_time(mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.retain(|name, _| {
            !name.starts_with("asOf") && !["now", "expiresIn", "lastSeenAt"].contains(&&**name)
        });
        for value in members.values_mut() {
            *value = without_time(value.take());
        }
    }
    if let Some(items) = value.as_array_mut() {
        for value in items.iter_mut() {
            *value = without_time(value.take());
        }
    }
    value
}

#[test]
fn what_is_written_at_a_follower_is_done_by_the_leader_and_read_at_once() {
    let Some(pair) = Pair::start("that a follower hands writes to the leader") else { return };
    let Pair { leader, follower, .. } = &pair;
    for number in 0..20 {
        let granted = follower.create(&format!("agent-{number}"));
        assert!(follower.is_active(&granted.token));
        let ended = follower.send("DELETE", &format!("/v1/sessions/{}", granted.id), &[], None).unwrap();
        assert_eq!(ended.status, 200, "{}", ended.body);
        assert!(ended.header("x-tenure-position").is_some());
        assert!(!follower.is_active(&granted.token), "an end that this node has passed on is not seen by it");
    }
    assert_eq!(leader.subject("agent-3")["name"], "Agent agent-3");
    // One request is done once, wherever it is repeated.
    let (asked, key) = (json!({ "subjectId": "agent-1" }), [("idempotency-key", "the-same")]);
    let first = follower.send("POST", "/v1/sessions", &key, Some(&asked)).unwrap();
    let again = leader.send("POST", "/v1/sessions", &key, Some(&asked)).unwrap();
    assert_eq!((first.status, again.status), (201, 201), "{} {}", first.body, again.body);
    assert_eq!(first.body["sessionId"], again.body["sessionId"]);
    // A caller without a right has none at the leader either, and its words about itself count for nothing.
    let wrong = [("authorization", "Bearer tnr_key_wrong"), ("tenure-forwarded", "1;127.0.0.1;1;00")];
    let refused = follower.send("POST", "/v1/sessions", &wrong, Some(&asked)).unwrap();
    assert_eq!(refused.status, 401, "{}", refused.body);
    let bold = [("tenure-forwarded", "1;127.0.0.1;1;00")];
    assert_eq!(follower.send("POST", "/v1/sessions", &bold, Some(&asked)).unwrap().status, 201);
}

#[test]
fn a_node_that_does_not_forward_says_where_the_leader_is() {
    let Some(pair) = Pair::start_with(
        "that a node may leave it to callers to find the leader",
        &["cluster.forward=false"],
    ) else {
        return;
    };
    let asked = json!({ "subjectId": "agent-1" });
    let refused = pair.follower.send("POST", "/v1/sessions", &[], Some(&asked)).unwrap();
    assert_eq!((refused.status, &refused.body["code"]), (421, &json!("NOT_THE_LEADER")), "{}", refused.body);
    assert_eq!(refused.header("location"), Some(&*format!("{}/v1/sessions", pair.first.url())));
}

/// A token that the leader has just made is genuine, though a follower may not have heard of it. The follower sleeps, so
/// it looks at the token before it can have heard anything.
#[test]
fn a_token_that_has_not_arrived_yet_is_never_called_false() {
    let Some(pair) = Pair::start("that a follower waits for what it lacks") else { return };
    let Pair { leader, follower, second, .. } = &pair;
    for number in 0..5 {
        second.signal(Signal::STOP);
        let granted = leader.create(&format!("agent-{number}"));
        let asked = thread::spawn({
            let (follower, token) = (follower.clone(), granted.token.clone());
            move || (follower.introspects(&token), own_session(&follower, &granted.id, &token))
        });
        // The request lies there until the node wakes up.
        pause(Duration::from_millis(50));
        second.signal(Signal::CONT);
        let (said, own) = asked.join().unwrap();
        let is_good = said.status == 503 || said.body["results"][0]["active"] == true;
        assert!(is_good, "{} {}", said.status, said.body);
        assert!([200, 503].contains(&own), "its holder was told {own}");
    }
}

fn own_session(follower: &Caller, id: &str, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", &*bearer)];
    follower.send("GET", &format!("/v1/sessions/{id}"), &headers, None).unwrap().status
}

/// Without news of the leader nobody can tell how old the state is.
#[test]
fn a_node_that_hears_nothing_answers_nothing_after_the_bound() {
    let settings = ["cluster.max_staleness=5"];
    let Some(pair) = Pair::start_with("that a node that hears nothing answers nothing", &settings) else {
        return;
    };
    let Pair { broker, leader, follower, .. } = &pair;
    let granted = leader.create("agent-1");
    assert!(follower.is_active(&granted.token));
    broker.freeze();
    let (begun, mut last) = (stopwatch(), Duration::ZERO);
    loop {
        let asked = begun.elapsed();
        let said = follower.introspects(&granted.token);
        if said.status == 503 {
            assert_eq!(said.body["code"], "STALE", "{}", said.body);
            break;
        }
        last = asked;
        assert!(asked < Duration::from_secs(12), "it goes on answering");
        pause(Duration::from_millis(50));
    }
    assert!(last < Duration::from_secs(7), "it answered for {last:?}");
    let garbage = follower.introspects("tnr_sess_v4.local.AAAA.AAAA");
    assert_eq!(garbage.status, 503, "{}", garbage.body);
    assert_eq!(follower.send("GET", "/readyz", &[], None).unwrap().status, 503);
    assert_eq!(follower.send("GET", "/healthz", &[], None).unwrap().status, 200);
    broker.thaw();
    let begun = stopwatch();
    while follower.introspects(&granted.token).status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it does not come back");
        pause(Duration::from_millis(50));
    }
    assert!(follower.is_active(&granted.token));
}

/// Whether the holder of a renewed token has it decides what becomes of the one before; and sessions must not seem
/// idle because they are used at another node.
#[test]
fn what_a_follower_notes_is_recorded_by_the_leader() {
    let Some(pair) = Pair::start("that uses at a follower are recorded") else { return };
    let Pair { leader, follower, .. } = &pair;
    leader.create("agent-1");
    let asked = json!({ "subjectId": "agent-1", "idleTimeout": 60 });
    let created = leader.send("POST", "/v1/sessions", &[], Some(&asked)).unwrap();
    assert_eq!(created.status, 201, "{}", created.body);
    let id = created.body["sessionId"].as_str().unwrap();
    let seen_at = |caller: &Caller| caller.get(&format!("/v1/sessions/{id}"))["lastSeenAt"].clone();
    let before = seen_at(leader);
    let begun = stopwatch();
    // A use is worth a record once it is a tenth of the idle time later.
    while seen_at(leader) == before {
        assert!(begun.elapsed() < Duration::from_secs(20), "its uses are not seen at the leader");
        assert!(follower.is_active(created.body["token"].as_str().unwrap()));
        pause(Duration::from_millis(200));
    }
}

/// The leader heard of such uses only that it had to record: others did not count, and the session ended too soon.
#[test]
fn a_session_that_is_used_at_a_follower_ends_when_its_idle_time_is_over_after_that() {
    let Some(pair) = Pair::start_under_clock("that each use at a follower counts") else { return };
    let Pair { leader, follower, .. } = &pair;
    leader.create("agent-1");
    let asked = json!({ "subjectId": "agent-1", "idleTimeout": 600 });
    let created = leader.send("POST", "/v1/sessions", &[], Some(&asked)).unwrap();
    assert_eq!(created.status, 201, "{}", created.body);
    let token = created.body["token"].as_str().unwrap();
    let advance = |seconds: u32| {
        let moved = leader.send("PUT", "/v1/clock", &[], Some(&json!({ "advance": seconds }))).unwrap();
        assert_eq!(moved.status, 200, "{}", moved.body);
    };
    // Less than a tenth of the idle time after the last recorded use.
    advance(50);
    // Its clock follows in a moment, and a moment after that the leader hears of it.
    for _ in 0..20 {
        assert!(follower.is_active(token));
        pause(Duration::from_millis(100));
    }
    advance(560);
    assert!(leader.is_active(token) && follower.is_active(token), "it was used 560 s ago");
    assert_eq!(leader.get("/v1/events?kinds=SessionExpired")["items"], json!([]));
}

/// A key that was destroyed at the leader is none at a follower, in memory and on its disk.
#[test]
fn a_text_that_was_erased_is_gone_at_a_follower_too() {
    let Some(pair) = Pair::start("that erased text is gone at a follower") else { return };
    let Pair { leader, follower, dirs, .. } = &pair;
    leader.create("agent-1");
    leader.create("agent-2");
    assert_eq!(follower.subject("agent-1")["name"], "Agent agent-1");
    let file = |dir: usize| fs::read(dirs[dir].path().join("keys/subjects")).unwrap();
    let before = file(1);
    leader.erase("agent-1");
    let begun = stopwatch();
    while !follower.subject("agent-1")["name"].is_null() || file(1) != file(0) {
        assert!(begun.elapsed() < Duration::from_secs(10), "its key is still there");
        pause(Duration::from_millis(20));
    }
    assert_ne!(file(1), before);
    assert_eq!(follower.subject("agent-2")["name"], "Agent agent-2");
}

/// A body that a follower could not read was answered as one that is too large.
#[test]
fn a_body_that_cannot_be_read_is_refused_as_the_leader_refuses_it() {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };
    let Some(pair) = Pair::start("that a follower says what is wrong with a body") else { return };
    let key = fs::read_to_string(pair.dirs[0].path().join("admin.key")).unwrap();
    let refused = |url: &str| {
        let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
        let head = format!(
            "POST /v1/sessions HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
             transfer-encoding: chunked\r\nconnection: close\r\n\r\nthis is no size of a chunk\r\n",
            key.trim()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut said = String::new();
        drop(stream.read_to_string(&mut said));
        let body = said.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned();
        let problem: Value = serde_json::from_str(&body).unwrap_or_default();
        (problem["status"].clone(), problem["errors"].clone())
    };
    let told = (json!(400), json!([{ "field": "body", "message": "could not be read" }]));
    assert_eq!(refused(pair.first.url()), told);
    assert_eq!(refused(pair.second.url()), told);
}

/// A follower that could not write a new key at once went without it for good, and when it led, the key was gone from the
/// broker, too.
#[test]
fn a_key_that_a_follower_cannot_write_at_first_is_there_later() {
    let Some(mut pair) = Pair::start("that a follower gets a key that it could not write at first") else {
        return;
    };
    let before = pair.leader.create("agent-1");
    // In the way of the file by way of which the key is put in its place.
    let in_the_way = pair.dirs[1].path().join("keys/session/0002.paserk.tmp");
    fs::create_dir(&in_the_way).unwrap();
    let rotate = json!({ "which": "session" });
    let rotated = pair.leader.send("POST", "/v1/keys/rotate", &[], Some(&rotate)).unwrap();
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    let granted = pair.leader.create("agent-2");
    pair.second.waits_to_say("a key of tokens was rotated, and the new one is not here yet");
    fs::remove_dir(&in_the_way).unwrap();
    let is_active = |caller: &Caller, token: &str| {
        let said = caller.introspects(token);
        said.status == 200 && said.body["results"][0]["active"] == true
    };
    waits_until("the follower never gets the key", || is_active(&pair.follower, &granted.token));
    pair.first.kill();
    pair.follower.waits_for_role("leader");
    for token in [&before.token, &granted.token, &pair.follower.create("agent-3").token] {
        assert!(is_active(&pair.follower, token));
    }
    // What it brings to the broker is what the next node begins with.
    pair.first.restart();
    let first = pair.first.follower(pair.dirs[0].path());
    assert!(is_active(&first, &granted.token));
}

/// An owner withdraws keys that nobody uses, and looks at any node.
#[test]
fn the_last_use_of_a_key_is_known_to_all_nodes() {
    let Some(pair) = Pair::start("that all nodes know when a key was used") else { return };
    let Pair { first: mut at_first, mut second, leader, follower, dirs, .. } = pair;
    let issue = |name: &str| {
        let issued =
            leader.send("POST", "/v1/credentials", &[], Some(&json!({ "role": "auditor", "name": name })));
        let issued = issued.unwrap();
        assert_eq!(issued.status, 201, "{}", issued.body);
        issued.body["key"].as_str().unwrap().to_owned()
    };
    let (here, there) = (issue("of the leader"), issue("of the follower"));
    let uses = |caller: &Caller, key: &str| {
        let key = format!("Bearer {key}");
        let read = caller.send("GET", "/v1/sessions", &[("authorization", &key)], None).unwrap();
        assert_eq!(read.status, 200, "{}", read.body);
    };
    let is_known = |caller: &Caller, name: &str| {
        let listed = caller.get("/v1/credentials");
        let mut keys = listed["items"].as_array().unwrap().iter();
        keys.find(|key| key["name"] == name).is_some_and(|key| key["lastUsedAt"].is_string())
    };
    uses(&leader, &here);
    waits_until("the key is not known at the follower", || {
        let key = format!("Bearer {there}");
        let read = follower.send("GET", "/v1/sessions", &[("authorization", &key)], None).unwrap();
        read.status == 200
    });
    waits_until("a use at a follower is not known to the leader", || is_known(&leader, "of the follower"));
    at_first.kill();
    let admin = second.leader(dirs[0].path());
    assert!(is_known(&admin, "of the leader"), "{}", admin.get("/v1/credentials"));
}
