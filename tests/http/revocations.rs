//! `POST /v1/revocations`: the end of all sessions that match, whosever they are (section 3, "Bulk").

use std::time::Duration;

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::server::{Reply, Server, Session};

/// Two sessions of each of three subjects: `a` and `b` are alice's, `c` is nobody's. The first of each is on a
/// laptop, the second on a phone.
struct Fleet {
    server: Server,
    sessions: Vec<Session>,
}

impl Fleet {
    fn new() -> Self {
        let server = Server::start();
        let mut sessions = vec![];
        for (subject, profile) in [
            ("a", json!({ "ownerId": "alice", "name": "First" })),
            ("b", json!({ "ownerId": "alice" })),
            ("c", json!({})),
        ] {
            server.register(subject, &profile);
            for device in ["laptop", "phone"] {
                sessions.push(server.create(&json!({ "subjectId": subject, "device": device })));
                server.advance(1);
            }
        }
        Self { server, sessions }
    }

    fn asked(&self, selector: &Value) -> Reply {
        let body = json!({ "selector": selector, "reason": "the laptops were stolen" });
        self.server.post("/v1/revocations").bearer(&self.server.admin).json(&body).send()
    }

    /// Ends what matches, and checks that exactly these sessions have ended, by what every check says.
    #[track_caller]
    fn ends(&self, selector: &Value, expected: &[usize]) -> Value {
        let reply = self.asked(selector).expect(200);
        let said = reply.json();
        assert_eq!(said["matched"], expected.len(), "{said}");
        assert_eq!(reply.position(), said["position"].as_u64(), "{said}");
        let mut ids: Vec<_> = expected.iter().map(|index| self.sessions[*index].id.clone()).collect();
        ids.sort_unstable();
        assert_eq!(said["sample"], json!(ids));
        for (index, session) in self.sessions.iter().enumerate() {
            let is_ended = expected.contains(&index);
            let judged = self.server.introspect(&session.token).json();
            assert_eq!(judged["active"], !is_ended, "session {index}: {judged}");
            let told = self.read(session, "");
            assert_eq!(told["status"] == "REVOKED", is_ended, "session {index}: {told}");
            if is_ended {
                assert_eq!(judged["code"], "SESSION_REVOKED");
                assert_eq!(told["revokedTrigger"], "bulk");
                assert_eq!(told["revokedReason"], "the laptops were stolen");
            }
        }
        said
    }

    fn read(&self, session: &Session, query: &str) -> Value {
        let path = format!("{}{query}", session.path());
        self.server.get(&path).bearer(&self.server.admin).send().expect(200).json()
    }

    fn head(&self) -> u64 {
        let path = "/v1/sessions?status=all&limit=1";
        let list = self.server.get(path).bearer(&self.server.admin).send().expect(200).json();
        list["items"][0]["asOfPosition"].as_u64().unwrap()
    }
}

/// The commit does not say which sessions ended, so a repeat looks at every one: on a thread that answers checks, until
/// it passed the gate of repeats.
#[test]
fn a_repeat_names_the_same_sessions_and_looks_for_them_behind_a_gate() {
    let fleet = Fleet::new();
    let body = json!({ "selector": { "ownerId": "alice" }, "reason": "the laptops were stolen" });
    let asked =
        || fleet.server.post("/v1/revocations").bearer(&fleet.server.admin).key("k").json(&body).send();
    let read_back = || {
        let text = fleet.server.get("/metrics").bearer(&fleet.server.admin).send().expect(200).body;
        let done =
            |line: &str| line.strip_prefix(r#"tenure_costly_done_total{gate="repeats"} "#)?.parse().ok();
        text.lines().find_map(done).unwrap_or(0_u64)
    };
    let first = asked().expect(200);
    assert_eq!(read_back(), 0);
    let again = asked().expect(200);
    assert_eq!((again.position(), again.json()), (first.position(), first.json()));
    assert_eq!(first.json()["sample"].as_array().unwrap().len(), 4);
    // It is counted when the answer is on its way already.
    let begun = stopwatch();
    while read_back() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "its commit, and whom it ended");
        pause(Duration::from_millis(5));
    }
}

#[test]
fn all_sessions_can_be_ended() {
    let fleet = Fleet::new();
    fleet.ends(&json!({ "all": true }), &[0, 1, 2, 3, 4, 5]);
    let active = fleet.server.get("/v1/subjects/a").bearer(&fleet.server.admin).send().json();
    assert_eq!(active["activeSessions"], 0);
}

#[test]
fn those_of_an_owner_a_subject_a_device_or_a_time_can_be_ended() {
    for (selector, expected) in [
        (json!({ "ownerId": "alice" }), vec![0, 1, 2, 3]),
        (json!({ "subjectId": "c" }), vec![4, 5]),
        (json!({ "device": "laptop" }), vec![0, 2, 4]),
    ] {
        Fleet::new().ends(&selector, &expected);
    }
}

#[test]
fn all_that_is_said_must_hold() {
    for (selector, expected) in [
        (json!({ "ownerId": "alice", "device": "phone" }), vec![1, 3]),
        (json!({ "subjectId": "c", "device": "laptop" }), vec![4]),
        (json!({ "subjectId": "a", "ownerId": "alice" }), vec![0, 1]),
    ] {
        Fleet::new().ends(&selector, &expected);
    }
}

#[test]
fn issued_before_is_about_the_current_token_and_does_not_take_its_own_moment() {
    let fleet = Fleet::new();
    let third = fleet.read(&fleet.sessions[2], "")["createdAt"].clone();
    fleet.ends(&json!({ "issuedBefore": third }), &[0, 1]);

    let fleet = Fleet::new();
    fleet.server.advance(50_000);
    let renewed = fleet.server.renew(&fleet.sessions[0]).send().expect(200);
    let renewed = fleet.sessions[0].renewed(&renewed);
    fleet.server.advance(1);
    let now = fleet.server.get("/v1/clock").bearer(&fleet.server.admin).send().json()["now"].clone();
    let before = fleet.read(&renewed, "")["renewedAt"].clone();
    let said = fleet.asked(&json!({ "issuedBefore": before })).expect(200).json();
    assert_eq!(said["matched"], 5, "the renewed one has a newer token");
    assert_eq!(fleet.server.introspect(&renewed.token).json()["active"], true);
    assert_eq!(fleet.asked(&json!({ "issuedBefore": now })).expect(200).json()["matched"], 1);
}

#[test]
fn what_has_ended_by_itself_or_before_is_not_ended_again() {
    let fleet = Fleet::new();
    let path = fleet.sessions[0].path();
    fleet.server.delete(&path).bearer(&fleet.server.admin).send().expect(200);
    let said = fleet.asked(&json!({ "subjectId": "a" })).expect(200).json();
    assert_eq!(said["matched"], 1);
    assert_eq!(fleet.read(&fleet.sessions[0], "")["revokedTrigger"], "manual_revoke");
    fleet.server.advance(86_400);
    let said = fleet.asked(&json!({ "all": true })).expect(200).json();
    assert_eq!(said, json!({ "matched": 0, "sample": [], "position": null }));
}

#[test]
fn when_nothing_matches_or_it_is_a_dry_run_nothing_is_appended() {
    let fleet = Fleet::new();
    let before = fleet.head();
    for selector in [json!({ "ownerId": "bob" }), json!({ "subjectId": "nobody" }), json!({ "device": "x" })]
    {
        let reply = fleet.asked(&selector).expect(200);
        assert_eq!(reply.json(), json!({ "matched": 0, "sample": [], "position": null }));
        assert_eq!(reply.position(), None);
    }
    let body = json!({ "selector": { "device": "laptop" }, "dryRun": true });
    let reply = fleet.server.post("/v1/revocations").bearer(&fleet.server.admin).json(&body).send();
    let said = reply.expect(200).json();
    assert_eq!((&said["matched"], &said["position"]), (&json!(3), &Value::Null));
    assert_eq!(said["sample"].as_array().unwrap().len(), 3);
    assert_eq!(fleet.head(), before);
    fleet.ends(&json!({ "device": "laptop" }), &[0, 2, 4]);
    assert_eq!(fleet.head(), before + 1, "one event, however many sessions");
}

#[test]
fn a_selector_says_clearly_what_it_means() {
    let fleet = Fleet::new();
    for (selector, field) in [
        (json!({}), "selector.all"),
        (json!({ "all": false }), "selector.all"),
        (json!({ "all": true, "ownerId": "alice" }), "selector.all"),
        (json!({ "owner": "alice" }), "selector.owner"),
        (json!({ "device": "" }), "selector.device"),
        (json!({ "issuedBefore": "2999-01-01T00:00:00.000Z" }), "selector.issuedBefore"),
        (json!({ "issuedBefore": "yesterday" }), "selector.issuedBefore"),
        (json!({ "keyId": "k4.lid.short" }), "selector.keyId"),
        (json!({ "keyId": format!("k4.sid.{}", "A".repeat(44)) }), "selector.keyId"),
        (json!({ "keyId": 4 }), "selector.keyId"),
        (json!({ "all": true, "keyId": format!("k4.lid.{}", "A".repeat(44)) }), "selector.all"),
        (json!({ "ownerId": null }), "selector.all"),
        (json!("all"), "selector"),
    ] {
        let reply = fleet.asked(&selector).refused(400, "INVALID_REQUEST");
        assert!(reply.fields().contains(&field.to_owned()), "{selector}: {reply:?}");
    }
    let send =
        |body: Value| fleet.server.post("/v1/revocations").bearer(&fleet.server.admin).json(&body).send();
    for (body, field) in [
        (json!({ "reason": "x" }), "selector"),
        (json!({ "selector": { "all": true } }), "reason"),
        (json!({ "selector": { "all": true }, "reason": "" }), "reason"),
        (json!({ "selector": { "all": true }, "reason": "x", "dryRun": "yes" }), "dryRun"),
    ] {
        let reply = send(body.clone()).refused(400, "INVALID_REQUEST");
        assert!(reply.fields().contains(&field.to_owned()), "{body}: {reply:?}");
    }
    for session in &fleet.sessions {
        assert_eq!(fleet.server.introspect(&session.token).json()["active"], true);
    }
}

#[test]
fn the_same_key_has_one_effect_and_gets_the_same_answer_also_after_a_restart() {
    let mut fleet = Fleet::new();
    let body = json!({ "selector": { "device": "phone" }, "reason": "lost" });
    let ask =
        |server: &Server| server.post("/v1/revocations").bearer(&server.admin).key("once").json(&body).send();
    let first = ask(&fleet.server).expect(200);
    let session = fleet.server.create(&json!({ "subjectId": "a", "device": "phone" }));
    for _ in 0..2 {
        let again = ask(&fleet.server).expect(200);
        assert_eq!((again.json(), again.position()), (first.json(), first.position()));
        assert_eq!(fleet.server.introspect(&session.token).json()["active"], true);
        fleet.server.restart();
    }
}

#[test]
fn it_is_told_once_to_each_owner_concerned() {
    let fleet = Fleet::new();
    fleet.server.register("d", &json!({ "ownerId": "dora" }));
    fleet.server.create(&json!({ "subjectId": "d" }));
    let (alice, _) = fleet.server.issue_key("owner", Some("alice"));
    let (dora, _) = fleet.server.issue_key("owner", Some("dora"));
    let position = fleet.ends(&json!({ "device": "laptop" }), &[0, 2, 4])["position"].clone();
    let told = |key: &str| {
        let page = fleet.server.get("/v1/notices?kinds=SESSION_REVOKED").bearer(key).send().expect(200);
        page.json()["items"].as_array().unwrap().clone()
    };
    assert_eq!(told(&dora), Vec::<Value>::new());
    let own = told(&alice);
    assert_eq!(own.len(), 1, "{own:?}");
    assert_eq!(own[0]["position"], position);
    assert_eq!((&own[0]["sessionId"], &own[0]["subjectId"]), (&Value::Null, &Value::Null));
    assert_eq!((&own[0]["ownerId"], &own[0]["matched"]), (&json!("alice"), &json!(2)));
    assert_eq!((&own[0]["trigger"], &own[0]["reason"]), (&json!("bulk"), &json!("the laptops were stolen")));
    assert_eq!(own[0]["actor"]["kind"], "credential");
    let selector = json!({
        "all": false, "ownerId": null, "subjectId": null, "device": "laptop", "exceptSessionId": null,
        "issuedBefore": null, "keyId": null,
    });
    assert_eq!(own[0]["selector"], selector);
    let all = told(&fleet.server.admin);
    let counts: Vec<_> = all.iter().map(|notice| (&notice["ownerId"], &notice["matched"])).collect();
    assert_eq!(counts, [(&Value::Null, &json!(1)), (&json!("alice"), &json!(2))]);
    assert_eq!(all[1]["noticeId"], json!(format!("{position}.2")));

    // It belongs to the story of each session that it ended, and of no other.
    for (index, count) in [(0, 1), (1, 0)] {
        let path = format!("/v1/events?kinds=SessionsRevoked&sessionId={}", fleet.sessions[index].id);
        let found = fleet.server.get(&path).bearer(&fleet.server.admin).send().expect(200).json();
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{found}");
    }
    for (subject, count) in [("a", 1), ("d", 0)] {
        let path = format!("/v1/events?kinds=SessionsRevoked&subjectId={subject}");
        let found = fleet.server.get(&path).bearer(&fleet.server.admin).send().expect(200).json();
        assert_eq!(found["items"].as_array().unwrap().len(), count, "{found}");
    }
}

#[test]
fn whoever_changes_its_owner_before_or_after_is_judged_by_the_owner_of_that_moment() {
    let fleet = Fleet::new();
    fleet.server.register("c", &json!({ "ownerId": "alice" }));
    fleet.server.register("b", &json!({ "ownerId": "bob" }));
    fleet.ends(&json!({ "ownerId": "alice" }), &[0, 1, 4, 5]);
    // Who comes later is not ended, and who goes later does not revive.
    fleet.server.register("b", &json!({ "ownerId": "alice" }));
    fleet.server.register("a", &json!({ "ownerId": "bob" }));
    for (index, session) in fleet.sessions.iter().enumerate() {
        let is_ended = [0, 1, 4, 5].contains(&index);
        assert_eq!(fleet.server.introspect(&session.token).json()["active"], !is_ended, "session {index}");
    }
}

#[test]
fn the_past_before_it_is_as_it_was() {
    let fleet = Fleet::new();
    let position = fleet.ends(&json!({ "all": true }), &[0, 1, 2, 3, 4, 5])["position"].as_u64().unwrap();
    for (at, status) in [(position - 1, "ACTIVE"), (position, "REVOKED")] {
        let told = fleet.read(&fleet.sessions[0], &format!("?asOfPosition={at}"));
        assert_eq!(told["status"], status, "at {at}: {told}");
        for of in ["", "&subjectId=b"] {
            let path = format!("/v1/sessions?status=active&asOfPosition={at}{of}");
            let list = fleet.server.get(&path).bearer(&fleet.server.admin).send().expect(200).json();
            let is_empty = list["items"].as_array().unwrap().is_empty();
            assert_eq!(is_empty, status == "REVOKED", "at {at}{of}: {list}");
        }
    }
}

#[test]
fn it_holds_after_a_restart_with_and_without_a_snapshot() {
    let mut fleet = Fleet::new();
    fleet.ends(&json!({ "ownerId": "alice" }), &[0, 1, 2, 3]);
    let judge = |fleet: &Fleet| -> Vec<Value> {
        let judged = fleet.sessions.iter().map(|session| fleet.server.introspect(&session.token).json());
        judged.map(|judged| judged["active"].clone()).collect()
    };
    let expected = [false, false, false, false, true, true];
    let reads = |fleet: &Fleet| fleet.read(&fleet.sessions[0], "")["revokedReason"].clone();
    fleet.server.restart();
    assert_eq!(judge(&fleet), expected);
    assert_eq!(reads(&fleet), "the laptops were stolen");
    fleet.server.kill9();
    assert_eq!(judge(&fleet), expected);
    assert!(fleet.server.stop().success());
    std::fs::remove_file(fleet.server.data().join("snapshot")).unwrap();
    fleet.server.start_again();
    assert_eq!(judge(&fleet), expected);
    assert_eq!(reads(&fleet), "the laptops were stolen");
}

#[test]
fn memory_and_log_agree_after_it() {
    let fleet = Fleet::new();
    fleet.ends(&json!({ "device": "laptop" }), &[0, 2, 4]);
    fleet.server.create(&json!({ "subjectId": "a" }));
    fleet.asked(&json!({ "ownerId": "alice" })).expect(200);
    let found = fleet.server.get("/v1/audit/check").bearer(&fleet.server.admin).send().expect(200).json();
    assert_eq!(found["differences"], json!([]), "{found}");
}

#[test]
fn only_an_admin_may() {
    let fleet = Fleet::new();
    let body = json!({ "selector": { "all": true }, "reason": "x" });
    for (role, owner) in [("issuer", None), ("owner", Some("alice")), ("verifier", None), ("auditor", None)] {
        let (key, _) = fleet.server.issue_key(role, owner);
        fleet.server.post("/v1/revocations").bearer(&key).json(&body).send().refused(403, "FORBIDDEN");
    }
}

// The feed

fn feed(server: &Server, query: &str) -> Value {
    server.get(&format!("/v1/revocations/feed{query}")).bearer(&server.admin).send().expect(200).json()
}

#[test]
fn the_feed_tells_every_end_with_what_an_offline_verifier_needs() {
    let fleet = Fleet::new();
    let ids: Vec<_> = fleet.sessions.iter().map(|session| session.id.clone()).collect();
    assert_eq!(feed(&fleet.server, "")["items"], json!([]));
    let end = |path: &str| {
        let reply = fleet.server.delete(path).bearer(&fleet.server.admin).send().expect(200);
        reply.position().unwrap()
    };
    let first = end(&fleet.sessions[0].path());
    let second = end(&format!("/v1/subjects/b/sessions?exceptSessionId={}", ids[2]));
    fleet.server.advance(5);
    let third = fleet.asked(&json!({ "device": "laptop" })).expect(200).position().unwrap();
    let page = feed(&fleet.server, "");
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 3, "{page}");
    assert_eq!((&items[0]["position"], &items[0]["sessionId"]), (&json!(first), &json!(ids[0])));
    assert_eq!((&items[1]["position"], &items[1]["sessionIds"]), (&json!(second), &json!([ids[3]])));
    assert_eq!(items[1]["selector"]["subjectId"], "b");
    assert_eq!(items[1]["selector"]["exceptSessionId"], json!(ids[2]));
    assert_eq!((&items[2]["position"], &items[2]["sessionIds"]), (&json!(third), &json!([ids[2], ids[4]])));
    assert_eq!(items[2]["selector"]["all"], false);
    assert!(items[2]["selector"]["deviceDigest"].is_string() && items[2].get("sessionId").is_none());
    assert_eq!(items[2]["at"], page["now"], "time stands still: {page}");
    assert_eq!((&page["nextAfter"], &page["head"]), (&json!(third), &json!(third)));
}

#[test]
fn the_feed_is_read_in_pages_and_goes_on_where_it_ended() {
    let fleet = Fleet::new();
    for session in &fleet.sessions[..3] {
        fleet.server.delete(&session.path()).bearer(&fleet.server.admin).send().expect(200);
    }
    fleet.asked(&json!({ "all": true })).expect(200);
    let (mut after, mut seen) = (0, vec![]);
    loop {
        let page = feed(&fleet.server, &format!("?limit=1&after={after}"));
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|item| item["position"].as_u64().unwrap()));
        after = page["nextAfter"].as_u64().unwrap();
        if items.is_empty() {
            assert_eq!(page["nextAfter"], page["head"]);
            break;
        }
    }
    assert_eq!(seen.len(), 4);
    assert!(seen.is_sorted(), "{seen:?}");
    let all: Vec<_> = feed(&fleet.server, "")["items"].as_array().unwrap().clone();
    assert_eq!(all.iter().map(|item| item["position"].as_u64().unwrap()).collect::<Vec<_>>(), seen);
    assert_eq!(all[3]["selector"]["all"], true);
    // A later event that ends nothing moves the end along.
    fleet.server.register("x", &json!({}));
    let page = feed(&fleet.server, &format!("?after={after}"));
    assert_eq!((&page["items"], &page["nextAfter"]), (&json!([]), &json!(after + 1)));
}

#[test]
fn the_feed_knows_evictions_and_vetoes_and_is_the_same_after_a_restart() {
    let mut fleet = Fleet::new();
    fleet.server.register("c", &json!({ "maxSessions": 1, "onLimit": "evict_oldest" }));
    fleet.server.create(&json!({ "subjectId": "c" }));
    fleet.server.advance(50_000);
    fleet.server.renew(&fleet.sessions[1]).send().expect(200);
    let veto = format!("{}?rejectRenewal=true", fleet.sessions[1].path());
    fleet.server.delete(&veto).bearer(&fleet.server.admin).send().expect(200);
    fleet.asked(&json!({ "ownerId": "alice", "device": "phone" })).expect(200);
    let before = feed(&fleet.server, "")["items"].clone();
    let ids: Vec<_> = before.as_array().unwrap().iter().map(|item| item["sessionId"].clone()).collect();
    assert_eq!(ids[..3], [4, 5, 1].map(|index: usize| json!(fleet.sessions[index].id)), "{before}");
    assert_eq!(before[3]["sessionIds"], json!([fleet.sessions[3].id]));
    fleet.server.restart();
    assert_eq!(feed(&fleet.server, "")["items"], before);
}

#[test]
fn a_place_beyond_the_end_of_the_log_is_of_another_log() {
    let server = Server::start();
    let head = feed(&server, "")["head"].as_u64().unwrap();
    let beyond = format!("/v1/revocations/feed?after={}", head + 1);
    let reply = server.get(&beyond).bearer(&server.admin).send().refused(409, "POSITION_BEYOND_END");
    assert_eq!((&reply.json()["end"], &reply.json()["retryable"]), (&json!(head), &json!(false)));
    for wrong in ["limit=0", "limit=1001", "after=x", "cursor=x"] {
        let path = format!("/v1/revocations/feed?{wrong}");
        server.get(&path).bearer(&server.admin).send().refused(400, "INVALID_REQUEST");
    }
}

/// Its former owner went on to read the name that the next one gave it.
#[test]
fn the_notice_of_a_revocation_of_one_subject_is_its_present_owners() {
    let server = Server::start();
    server.register("a", &json!({ "name": "Old", "ownerId": "alice" }));
    server.create(&json!({ "subjectId": "a" }));
    let (alice, _) = server.issue_key("owner", Some("alice"));
    let (bob, _) = server.issue_key("owner", Some("bob"));
    let ended = json!({ "selector": { "subjectId": "a" }, "reason": "a drill" });
    server.post("/v1/revocations").bearer(&server.admin).json(&ended).send().expect(200);
    let told = |key: &str| {
        let read = server.get("/v1/notices").bearer(key).send().expect(200).json();
        let items = read["items"].as_array().unwrap().iter();
        items.filter(|notice| notice["kind"] == "SESSION_REVOKED").count()
    };
    assert_eq!((told(&alice), told(&bob)), (1, 0));
    let moved = json!({ "name": "New", "ownerId": "bob" });
    server.put("/v1/subjects/a").bearer(&server.admin).json(&moved).send().expect(200);
    assert_eq!((told(&alice), told(&bob)), (0, 1));
    // And what is asked of a foreign subject is answered as of one that is not there.
    for list in ["events", "notices"] {
        let asked = |id: &str| {
            server.get(&format!("/v1/{list}?subjectId={id}")).bearer(&alice).send().expect(200).json()
        };
        assert_eq!(asked("a"), asked("unknown"));
    }
}
