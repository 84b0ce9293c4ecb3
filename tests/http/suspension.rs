//! The suspension of a subject (section 2): while it lasts nothing is created for the subject, and no token of its
//! sessions is good on any route but to end its own session.
//!
//! A subject could not be disabled: `maxSessions` is at least 1, and after all its sessions had been ended any issuer
//! created the next one.

use std::{
    io::{Read, Write},
    time::Duration,
};

use serde_json::{Value, json};
use tenure::{clock::pause, http::route_facts};

use crate::{
    routes::{check_reply, request},
    server::{Reply, Request, Server, Session},
};

/// The subject `bot` of alice, with a session.
struct World {
    server: Server,
    session: Session,
    alice: String,
    issuer: String,
}

impl World {
    fn new() -> Self {
        Self::with(&json!({ "subjectId": "bot", "ttl": 1000 }))
    }

    fn with(session: &Value) -> Self {
        let server = Server::start();
        server.register("bot", &json!({ "ownerId": "alice" }));
        let session = server.create(session);
        let (alice, _) = server.issue_key("owner", Some("alice"));
        let (issuer, _) = server.issue_key("issuer", None);
        Self { server, session, alice, issuer }
    }

    fn suspend(&self, key: &str, body: &Value) -> Request {
        self.server.post("/v1/subjects/bot/suspend").bearer(key).json(body)
    }

    fn resume(&self, key: &str) -> Request {
        self.server.post("/v1/subjects/bot/resume").bearer(key).json(&json!({}))
    }

    /// Suspends `bot` as an admin; the position of the event.
    fn suspended(&self, body: &Value) -> u64 {
        self.suspend(&self.server.admin, body).send().expect(200).position().unwrap()
    }

    fn create(&self) -> Reply {
        self.server.post("/v1/sessions").bearer(&self.issuer).json(&json!({ "subjectId": "bot" })).send()
    }

    fn subject(&self, query: &str) -> Value {
        let path = format!("/v1/subjects/bot{query}");
        self.server.get(&path).bearer(&self.server.admin).send().expect(200).json()
    }

    fn now(&self) -> String {
        self.server.get("/v1/clock").bearer(&self.server.admin).send().text("now")
    }

    /// So many seconds from now.
    fn later(&self, seconds: u32) -> String {
        let now = tenure::core::Timestamp::parse(&self.now()).unwrap();
        now.plus(tenure::core::Seconds(seconds)).to_string()
    }

    fn code_of_token(&self) -> Value {
        self.server.introspect(&self.session.token).json()["code"].clone()
    }

    fn suspensions(&self) -> usize {
        self.server.events("SubjectSuspended,SubjectResumed").len()
    }
}

#[test]
fn the_reply_is_the_subject_with_its_suspension_and_so_is_every_view_of_it() {
    let world = World::new();
    let (at, until) = (world.now(), world.later(600));
    assert_eq!(world.subject("")["suspension"], Value::Null);
    let body = json!({ "reason": "it spends too much", "until": until });
    let reply = world.suspend(&world.alice, &body).send().expect(200);
    let (_, alice) = (world.alice.clone(), reply.json()["suspension"]["by"]["id"].clone());
    let expected = json!({
        "at": at, "by": { "kind": "credential", "id": alice }, "reason": "it spends too much", "until": until,
    });
    assert_eq!(reply.json()["suspension"], expected);
    assert_eq!(reply.json()["subjectId"], "bot");
    assert_eq!(reply.json()["activeSessions"], 1, "its sessions go on");
    assert_eq!(world.subject("")["suspension"], expected);
    let listed = world.server.get("/v1/subjects").bearer(&world.alice).send().expect(200).json();
    assert_eq!(listed["items"][0]["suspension"], expected);
    let before = reply.position().unwrap() - 1;
    assert_eq!(world.subject(&format!("?asOfPosition={before}"))["suspension"], Value::Null);
    world.server.advance(601);
    assert_eq!(world.subject("")["suspension"], Value::Null, "its end is reached");
    let then = world.subject(&format!("?asOfPosition={}", before + 1));
    assert_eq!(then["suspension"], expected, "the past is what it was");
}

#[test]
fn nothing_is_created_for_a_suspended_subject_until_it_is_resumed() {
    let world = World::new();
    let until = world.later(5_000);
    let position = world.suspended(&json!({ "until": until }));
    let refused = world.create().refused(403, "SUBJECT_SUSPENDED").json();
    assert_eq!(refused["causedBy"], position);
    assert_eq!((&refused["retryAt"], &refused["retryable"]), (&json!(until), &json!(false)));
    // Neither a registration nor an erasure lifts it.
    world.server.register("bot", &json!({ "ownerId": "alice", "name": "Bot" }));
    let patch = world.server.request("PATCH", "/v1/subjects/bot").bearer(&world.server.admin);
    patch.json(&json!({ "kind": "agent" })).send().expect(200);
    let erase = world.server.post("/v1/subjects/bot/erase").bearer(&world.server.admin);
    erase.json(&json!({ "reason": "asked" })).send().expect(200);
    world.create().refused(403, "SUBJECT_SUSPENDED");
    let reply = world.resume(&world.server.admin).send().expect(200);
    assert_eq!(reply.json()["suspension"], Value::Null);
    assert!(reply.position().is_some());
    world.create().expect(201);
}

#[test]
fn no_route_takes_the_token_of_a_suspended_subject_but_to_end_its_own_session() {
    let world = World::new();
    let position = world.suspended(&json!({}));
    let path = world.session.path();
    let post = |path: &str, body: Value| world.server.post(path).bearer(&world.session.token).json(&body);
    let requests = [
        world.server.get(&path).bearer(&world.session.token),
        world.server.renew(&world.session),
        world.server.renew(&world.session).key("again"),
        post(&format!("{path}/usage"), json!({ "operation": "pay" })),
        post("/v1/access-tokens", json!({})),
        world.server.get("/v1/sessions").bearer(&world.session.token),
        world.server.get("/v1/nowhere").bearer(&world.session.token),
    ];
    for request in requests {
        let refused = request.send().refused(401, "SUBJECT_SUSPENDED");
        let challenge = refused.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        let body = refused.json();
        assert_eq!((&body["causedBy"], &body["retryAt"]), (&json!(position), &Value::Null), "{body}");
        assert_eq!(body["retryable"], false);
        assert_eq!(refused.position(), None, "nothing is recorded of it");
    }
    assert_eq!(world.server.events("RenewalRejected"), Vec::<Value>::new());
    assert_eq!(world.code_of_token(), "SUBJECT_SUSPENDED");
    let batch = json!({ "tokens": [world.session.token, "x"] });
    let batch = world.server.post("/v1/introspect").bearer(&world.server.admin).json(&batch).send().json();
    assert_eq!(batch["results"][0], json!({ "active": false, "code": "SUBJECT_SUSPENDED" }));
    let on_behalf = world.server.post(&format!("{path}/usage")).bearer(&world.issuer);
    let refused = on_behalf.json(&json!({ "operation": "pay" })).send().refused(403, "SUBJECT_SUSPENDED");
    assert_eq!(refused.json()["causedBy"], position);
    world.server.delete(&path).bearer(&world.session.token).send().expect(200);
    world.server.delete(&path).bearer(&world.session.token).send().expect(200);
    world.server.get(&path).bearer(&world.session.token).send().refused(401, "SESSION_REVOKED");
}

#[test]
fn every_route_refuses_it_before_it_asks_for_anything_else() {
    let world = World::new();
    world.suspended(&json!({}));
    for facts in route_facts().into_iter().filter(|facts| !facts.public) {
        let is_own_end = facts.method == "DELETE" && facts.path == "/v1/sessions/{sessionId}";
        // It may hear of its resumption.
        let is_own_stream = facts.path == "/v1/sessions/{sessionId}/events";
        if !is_own_end && !is_own_stream {
            let asked = request(&world.server, &facts, &world.session.id).bearer(&world.session.token);
            let refused = asked.send().refused(401, "SUBJECT_SUSPENDED");
            check_reply(&refused);
        }
    }
}

/// A body may take half a minute to arrive. The token was judged before it, and what was minted after it bore a time
/// that no verifier refuses: neither for a suspension nor for a revocation of many that came in between.
#[test]
fn a_body_that_dawdles_mints_nothing_for_what_was_suspended_or_ended_meanwhile() {
    for (end, code) in [("suspend", "SUBJECT_SUSPENDED"), ("sessions", "SESSION_REVOKED")] {
        let world = World::new();
        let minting = world.server.post("/v1/access-tokens").bearer(&world.session.token).json(&json!({}));
        let bytes = minting.bytes();
        let (head, body) = bytes.split_at(bytes.len() - 2);
        let mut connection = world.server.connect();
        connection.write_all(head).unwrap();
        // So that it is admitted before.
        pause(Duration::from_millis(300));
        let path = format!("/v1/subjects/bot/{end}");
        let method = if end == "suspend" { "POST" } else { "DELETE" };
        let ending = world.server.request(method, &path).bearer(&world.server.admin);
        let ending = if end == "suspend" { ending.json(&json!({})) } else { ending };
        ending.send().expect(200);
        world.server.advance(6);
        connection.write_all(body).unwrap();
        let mut reply = Vec::new();
        connection.read_to_end(&mut reply).unwrap();
        Reply::parse(&reply).unwrap().refused(401, code);
    }
}

/// What is said of a token is the first that applies; the suspension stands between the end and the renewal.
#[test]
fn a_revocation_is_told_before_the_suspension_and_all_else_after_it() {
    let world = World::new();
    world.server.advance(500);
    let renewed = world.session.renewed(&world.server.renew(&world.session).send().expect(200));
    world.suspended(&json!({}));
    assert_eq!(world.code_of_token(), "SUBJECT_SUSPENDED", "the token is superseded, too");
    let old = world.server.renew(&world.session).send();
    old.refused(401, "SUBJECT_SUSPENDED");
    world.server.advance(1_000);
    assert_eq!(world.code_of_token(), "SUBJECT_SUSPENDED", "the session has expired, too");
    world.server.delete(&renewed.path()).bearer(&world.server.admin).send().expect(200);
    assert_eq!(world.code_of_token(), "SESSION_REVOKED");
    world.server.renew(&renewed).send().refused(401, "SESSION_REVOKED");
}

/// The lost reply is not lost by a suspension: once it is over, the repeat gets its token.
#[test]
fn a_repeated_renewal_is_refused_while_the_subject_is_suspended_and_granted_after() {
    let world = World::new();
    world.server.advance(500);
    world.server.renew(&world.session).key("lost").send().expect(200);
    world.suspended(&json!({}));
    world.server.renew(&world.session).key("lost").send().refused(401, "SUBJECT_SUSPENDED");
    world.resume(&world.alice).send().refused(403, "FORBIDDEN");
    world.resume(&world.server.admin).send().expect(200);
    let again = world.server.renew(&world.session).key("lost").send().expect(200);
    assert_eq!(world.server.introspect(&again.text("token")).json()["active"], true);
}

#[test]
fn a_suspension_ends_by_the_clock_and_the_sweep_records_it() {
    let world = World::new();
    let until = world.later(60);
    world.suspended(&json!({ "until": until }));
    world.server.advance(59);
    assert_eq!(world.code_of_token(), "SUBJECT_SUSPENDED");
    world.server.advance(1);
    assert_eq!(world.code_of_token(), Value::Null);
    let resumed = world.server.events("SubjectResumed");
    assert_eq!(resumed.len(), 1, "{resumed:?}");
    assert_eq!(resumed[0]["actor"]["kind"], "authority");
    assert_eq!(
        resumed[0]["data"],
        json!({ "by": { "kind": "authority", "id": null }, "role": null, "reason": null })
    );
    let again = world.resume(&world.alice).send().expect(200);
    assert_eq!((again.position(), &again.json()["suspension"]), (None, &Value::Null));
}

#[test]
fn the_same_words_again_append_nothing_and_a_free_subject_is_not_resumed() {
    let world = World::new();
    let body = json!({ "reason": "odd", "until": world.later(600) });
    assert_eq!(world.resume(&world.alice).send().expect(200).position(), None);
    let first = world.suspend(&world.alice, &body).key("k").send().expect(200);
    let repeat = world.suspend(&world.alice, &body).key("k").send().expect(200);
    assert_eq!((repeat.position(), repeat.json()), (first.position(), first.json()));
    let again = world.suspend(&world.alice, &body).send().expect(200);
    assert_eq!((again.position(), &again.json()["suspension"]), (None, &first.json()["suspension"]));
    world.server.advance(10);
    let shorter = json!({ "reason": "odd", "until": world.later(60) });
    let shorter = world.suspend(&world.alice, &shorter).send().expect(200);
    assert!(shorter.position() > first.position());
    assert_eq!(world.suspensions(), 2);
    world.resume(&world.alice).send().expect(200);
    let another = world.suspend(&world.alice, &body).key("k").send().expect(200);
    assert_eq!(another.json(), first.json(), "a key is good for its one effect");
    assert_eq!(world.suspensions(), 3);
}

#[test]
fn who_may_not_lift_a_suspension_can_only_lengthen_it() {
    let world = World::new();
    let until = |seconds: u32| json!({ "until": world.later(seconds) });
    world.suspended(&until(600));
    for key in [&world.alice, &world.issuer] {
        let refused = world.suspend(key, &until(599)).send().refused(403, "FORBIDDEN");
        assert_eq!(refused.position(), None);
        world
            .suspend(key, &json!({ "until": world.later(600), "reason": "other words" }))
            .send()
            .refused(403, "FORBIDDEN");
    }
    world.resume(&world.alice).send().refused(403, "FORBIDDEN");
    world.suspend(&world.alice, &until(700)).send().expect(200);
    // To lengthen it does not make it one's own.
    world.resume(&world.alice).send().refused(403, "FORBIDDEN");
    world.suspend(&world.alice, &until(650)).send().refused(403, "FORBIDDEN");
    world.suspend(&world.issuer, &json!({})).send().expect(200);
    world.suspend(&world.alice, &json!({ "reason": "me too" })).send().refused(403, "FORBIDDEN");
    world.resume(&world.issuer).send().refused(403, "FORBIDDEN");
    world.suspend(&world.server.admin, &until(5)).send().expect(200);
    world.resume(&world.server.admin).send().expect(200);
    // That of an owner or issuer is for the owner to lift; an issuer lifts none.
    for key in [&world.issuer, &world.alice] {
        world.suspend(key, &until(100)).send().expect(200);
        world.suspend(&world.issuer, &until(99)).send().refused(403, "FORBIDDEN");
        world.resume(&world.issuer).send().refused(403, "FORBIDDEN");
        world.suspend(&world.alice, &until(99)).send().expect(200);
        world.resume(&world.alice).send().expect(200);
    }
    // An admin who says the same makes it an admin's.
    let words = until(300);
    world.suspend(&world.alice, &words).send().expect(200);
    assert!(world.suspend(&world.server.admin, &words).send().expect(200).position().is_some());
    assert_eq!(world.suspend(&world.alice, &words).send().expect(200).position(), None);
    world.resume(&world.alice).send().refused(403, "FORBIDDEN");
}

#[test]
fn who_may_not_lift_a_suspension_does_not_take_its_reason_away() {
    let world = World::new();
    world.suspended(&json!({ "until": world.later(600), "reason": "fraud case 12" }));
    let reason = |body: &Value| {
        let told = world.suspend(&world.alice, body).send().expect(200).json();
        told["suspension"]["reason"].clone()
    };
    assert_eq!(reason(&json!({ "until": world.later(700) })), json!("fraud case 12"));
    assert_eq!(reason(&json!({ "until": world.later(800), "reason": "mine" })), json!("mine"));
}

#[test]
fn foreign_and_unknown_subjects_are_404_and_other_roles_403() {
    let world = World::new();
    let (bob, _) = world.server.issue_key("owner", Some("bob"));
    let (auditor, _) = world.server.issue_key("auditor", None);
    let (verifier, _) = world.server.issue_key("verifier", None);
    world.suspend(&bob, &json!({ "reason": "mine" })).send().refused(404, "SUBJECT_NOT_FOUND");
    world.resume(&bob).send().refused(404, "SUBJECT_NOT_FOUND");
    for subject in ["nobody", "no%20name"] {
        for verb in ["suspend", "resume"] {
            let path = format!("/v1/subjects/{subject}/{verb}");
            let asked = world.server.post(&path).bearer(&world.server.admin).json(&json!({ "reason": "x" }));
            asked.send().refused(404, "SUBJECT_NOT_FOUND");
        }
    }
    for key in [&auditor, &verifier] {
        world.suspend(key, &json!({})).send().refused(403, "FORBIDDEN");
        world.resume(key).send().refused(403, "FORBIDDEN");
    }
    assert_eq!(world.suspensions(), 0);
}

/// A text is sealed under a key of its subject, which is written to disk with the first: not before it is known that
/// its author may say it.
#[test]
fn nothing_is_sealed_for_a_caller_who_may_not_suspend_or_resume() {
    let world = World::new();
    world.suspended(&json!({}));
    let (bob, _) = world.server.issue_key("owner", Some("bob"));
    let keys = || {
        let file = std::fs::read(world.server.data().join("keys/subjects")).unwrap_or_default();
        blake3::hash(&file).to_hex().to_string()
    };
    let before = keys();
    let words = json!({ "reason": "text that nobody may seal", "until": world.later(60) });
    for key in [&bob, &world.alice, &world.issuer] {
        let status = world.suspend(key, &words).send().status;
        assert!([403, 404].contains(&status), "{status}");
        let path = "/v1/subjects/bot/resume";
        let status = world.server.post(path).bearer(key).json(&json!({ "reason": "text" })).send().status;
        assert!([403, 404].contains(&status), "{status}");
    }
    assert_eq!(keys(), before);
    world.suspend(&world.server.admin, &words).send().expect(200);
    assert_ne!(keys(), before, "the file is the one that is looked at");
}

/// A create for a suspended subject wrote a key for its texts before it was refused, and so did a resumption of a
/// subject that was not suspended.
#[test]
fn nothing_is_sealed_for_what_is_refused_or_changes_nothing() {
    let world = World::new();
    let keys = || std::fs::read(world.server.data().join("keys/subjects")).unwrap_or_default();
    let before = keys();
    let path = "/v1/subjects/bot/resume";
    let resumed =
        world.server.post(path).bearer(&world.alice).json(&json!({ "reason": "all is well" })).send();
    assert_eq!(resumed.expect(200).position(), None);
    assert!(keys() == before, "nothing is resumed");
    let position = world.suspended(&json!({}));
    let create = |body: Value| world.server.post("/v1/sessions").bearer(&world.issuer).json(&body).send();
    let body = json!({ "subjectId": "bot", "device": "d1", "metadata": { "a": "b" } });
    assert_eq!(create(body).refused(403, "SUBJECT_SUSPENDED").json()["causedBy"], position);
    let body = json!({ "subjectId": "bot", "device": "d1", "ttl": 999_999_999 });
    create(body).refused(400, "INVALID_REQUEST");
    assert!(keys() == before, "nothing is created");
    let resumed =
        world.server.post(path).bearer(&world.server.admin).json(&json!({ "reason": "all is well" }));
    assert!(resumed.send().expect(200).position().is_some());
    assert!(keys() != before, "the file is the one that is looked at");
}

/// An issuer whose reply was lost asked again and got 201 with a token that was no good, as if the agent could begin.
#[test]
fn a_repeated_create_is_refused_while_its_subject_is_suspended() {
    let world = World::new();
    let keys = ["plain", "with-text"];
    let create = |key: &str| {
        let mut body = json!({ "subjectId": "bot" });
        if key == "with-text" {
            body["device"] = json!("d1");
        }
        world.server.post("/v1/sessions").bearer(&world.issuer).key(key).json(&body).send()
    };
    let made = keys.map(|key| create(key).expect(201).text("sessionId"));
    let position = world.suspended(&json!({ "until": world.later(100) }));
    for key in keys {
        let refused = create(key).refused(403, "SUBJECT_SUSPENDED");
        assert_eq!(refused.json()["causedBy"], position);
        assert_eq!(refused.json()["retryAt"], world.subject("")["suspension"]["until"]);
    }
    world.resume(&world.server.admin).send().expect(200);
    // The key is that of the first request still: nothing is created a second time.
    assert_eq!(keys.map(|key| create(key).expect(201).text("sessionId")), made);
    assert_eq!(world.server.events("SessionCreated").len(), 3);
}

#[test]
fn the_end_of_a_suspension_lies_ahead_and_a_reason_is_text() {
    let world = World::new();
    for (body, fields) in [
        (json!({ "until": world.now() }), vec!["until"]),
        (json!({ "until": "2020-01-01T00:00:00.000Z", "reason": "" }), vec!["reason", "until"]),
        (json!({ "until": 5 }), vec!["until"]),
        (json!({ "forever": true }), vec!["forever"]),
    ] {
        let refused = world.suspend(&world.alice, &body).send().refused(400, "INVALID_REQUEST");
        let mut named = refused.fields();
        named.sort_unstable();
        assert_eq!(named, fields, "{body}");
    }
    let path = "/v1/subjects/bot/resume";
    let refused = world.server.post(path).bearer(&world.alice).json(&json!({ "until": null, "x": 1 })).send();
    assert!(refused.refused(400, "INVALID_REQUEST").fields().contains(&"x".to_owned()));
    assert_eq!(world.suspensions(), 0);
    // A repeat is answered as the first time, also when its `until` has passed.
    let body = json!({ "until": world.later(10) });
    let first = world.suspend(&world.alice, &body).key("k").send().expect(200);
    world.server.advance(20);
    let repeat = world.suspend(&world.alice, &body).key("k").send().expect(200);
    assert_eq!(repeat.json(), first.json());
}

#[test]
fn an_owner_or_admin_ends_a_session_and_suspends_its_subject_in_one_step() {
    let world = World::new();
    let ending = |key: &str| {
        let path = format!("{}?suspend=true&reason=stolen", world.session.path());
        world.server.delete(&path).bearer(key)
    };
    ending(&world.issuer).send().refused(403, "FORBIDDEN");
    ending(&world.session.token).send().refused(403, "FORBIDDEN");
    assert_eq!(world.code_of_token(), Value::Null);
    let reply = ending(&world.alice).send().expect(200);
    assert_eq!(reply.json()["status"], "REVOKED");
    let position = reply.position().unwrap();
    assert_eq!(world.server.events("SessionRevoked")[0]["position"], position - 1);
    assert_eq!(world.server.events("SubjectSuspended")[0]["position"], position);
    let suspension = world.subject("")["suspension"].clone();
    assert_eq!((&suspension["reason"], &suspension["until"]), (&json!("stolen"), &Value::Null));
    world.create().refused(403, "SUBJECT_SUSPENDED");
    assert_eq!(ending(&world.alice).send().expect(200).position(), None, "both are so already");
    // Also a session that has ended already.
    world.resume(&world.alice).send().expect(200);
    let again = ending(&world.alice).send().expect(200);
    assert_eq!((again.json(), again.position()), (reply.json(), Some(position + 2)));
    let refused = world.server.delete(&format!("{}?suspend=perhaps", world.session.path()));
    assert_eq!(refused.bearer(&world.alice).send().refused(400, "INVALID_REQUEST").fields(), ["suspend"]);
}

/// The end is what matters: it is not refused because the subject is suspended already, by whomever.
#[test]
fn an_owner_ends_a_session_with_suspension_although_an_admin_has_suspended_the_subject() {
    let world = World::new();
    world.suspended(&json!({ "reason": "under inquiry" }));
    let path = format!("{}?suspend=true&reason=stolen", world.session.path());
    world.server.delete(&path).bearer(&world.alice).send().expect(200);
    assert_eq!(world.code_of_token(), "SESSION_REVOKED");
    assert_eq!(world.subject("")["suspension"]["reason"], "under inquiry");
    world.resume(&world.alice).send().refused(403, "FORBIDDEN");
}

/// An admin who ended a session with suspension and gave no reason took away the reason that the owner had given.
#[test]
fn an_admin_takes_a_suspension_over_with_its_reason() {
    let world = World::new();
    world.suspend(&world.alice, &json!({ "reason": "it spends too much" })).send().expect(200);
    let path = format!("{}?suspend=true", world.session.path());
    world.server.delete(&path).bearer(&world.server.admin).send().expect(200);
    assert_eq!(world.subject("")["suspension"]["reason"], "it spends too much");
    world.resume(&world.alice).send().refused(403, "FORBIDDEN");
}

/// The reply said that the reason was not recorded, because the session had ended before: it was, with the suspension.
#[test]
fn the_reason_of_a_suspension_is_recorded_though_the_session_had_ended_before() {
    let world = World::new();
    world.server.delete(&world.session.path()).bearer(&world.session.token).send().expect(200);
    let path = format!("{}?suspend=true&reason=stolen", world.session.path());
    let ending = || world.server.delete(&path).bearer(&world.alice).key("once").send().expect(200).json();
    assert_eq!(ending()["reasonRecorded"], true);
    assert_eq!(world.subject("")["suspension"]["reason"], "stolen");
    assert_eq!(ending()["reasonRecorded"], true, "and so says the repeat");
}

/// Who may not ask for it is told so first: an unknown session was 404, and a known one 403.
#[test]
fn the_role_is_judged_before_the_session_is_looked_for() {
    let world = World::new();
    for id in ["0199a2f0-0000-7000-8000-000000000000", "nonsense"] {
        let path = format!("/v1/sessions/{id}?suspend=true");
        world.server.delete(&path).bearer(&world.issuer).send().refused(403, "FORBIDDEN");
        world.server.delete(&path).bearer(&world.alice).send().refused(404, "SESSION_NOT_FOUND");
    }
}

/// The token of a suspended subject is good for its own end alone. On the end of another session it was told that it
/// is for its own session only, as if it were good.
#[test]
fn a_token_that_is_no_good_is_told_so_on_the_end_of_another_session() {
    let world = World::new();
    let other = world.server.create(&json!({ "subjectId": "bot" }));
    let ending = |path: &str| world.server.delete(path).bearer(&world.session.token).send();
    ending(&other.path()).refused(403, "FORBIDDEN");
    world.suspended(&json!({}));
    for path in [&other.path(), "/v1/sessions/nonsense"] {
        ending(path).refused(401, "SUBJECT_SUSPENDED");
    }
    ending(&world.session.path()).expect(200);
    ending(&other.path()).refused(401, "SESSION_REVOKED");
    ending(&world.session.path()).expect(200);
}

#[test]
fn a_veto_may_suspend_the_subject_with_it() {
    let world = World::new();
    world.server.advance(500);
    let renewed = world.session.renewed(&world.server.renew(&world.session).send().expect(200));
    let path = format!("{}?suspend=true", renewed.path());
    world.server.delete(&path).bearer(&world.alice).send().expect(200);
    let kinds: Vec<_> = world
        .server
        .events("RenewalRejected,SessionRevoked,SubjectSuspended")
        .iter()
        .map(|event| event["kind"].clone())
        .collect();
    assert_eq!(kinds, ["RenewalRejected", "SessionRevoked", "SubjectSuspended"]);
}

#[test]
fn the_feed_tells_the_subject_and_when() {
    let world = World::new();
    let at = world.now();
    let position = world.suspended(&json!({}));
    let feed = world.server.get("/v1/revocations/feed").bearer(&world.issuer).send().expect(200).json();
    let item = &feed["items"][0];
    assert_eq!((&item["position"], &item["at"]), (&json!(position), &json!(at)));
    assert_eq!((&item["selector"]["subjectId"], &item["selector"]["all"]), (&json!("bot"), &json!(false)));
    assert_eq!(item["sessionIds"], Value::Null);
    world.resume(&world.server.admin).send().expect(200);
    let feed = world.server.get("/v1/revocations/feed").bearer(&world.issuer).send().expect(200).json();
    assert_eq!(feed["items"].as_array().unwrap().len(), 1, "a resumption brings no token back");
}

#[test]
fn subscribers_are_told_who_suspended_and_resumed_and_why() {
    let world = World::new();
    let until = world.later(60);
    world.suspend(&world.alice, &json!({ "reason": "odd", "until": until })).send().expect(200);
    let path = "/v1/subjects/bot/resume";
    world.server.post(path).bearer(&world.alice).json(&json!({ "reason": "all well" })).send().expect(200);
    let path = "/v1/notices?kinds=SUBJECT_SUSPENDED,SUBJECT_RESUMED";
    let notices = world.server.get(path).bearer(&world.alice).send().expect(200).json();
    let [suspended, resumed] = notices["items"].as_array().unwrap().as_slice() else { panic!("{notices}") };
    assert_eq!((&suspended["kind"], &suspended["reason"]), (&json!("SUBJECT_SUSPENDED"), &json!("odd")));
    assert_eq!((&suspended["until"], &suspended["sessionId"]), (&json!(until), &Value::Null));
    assert_eq!((&suspended["subjectId"], &suspended["ownerId"]), (&json!("bot"), &json!("alice")));
    assert_eq!(suspended["actor"]["kind"], "credential");
    assert_eq!((&resumed["kind"], &resumed["reason"]), (&json!("SUBJECT_RESUMED"), &json!("all well")));
    assert_eq!((&resumed["until"], &resumed["sessionId"]), (&Value::Null, &Value::Null));
    let events = world.server.get("/v1/events?kinds=SubjectSuspended&subjectId=bot").bearer(&world.alice);
    assert_eq!(events.send().expect(200).json()["items"][0]["data"]["reason"], "odd");
}

#[test]
fn a_suspension_survives_an_orderly_stop_and_a_kill_and_its_reason_an_erasure_only_without_words() {
    let mut world = World::new();
    world.suspended(&json!({ "reason": "odd" }));
    let before = world.subject("")["suspension"].clone();
    for step in 0..3 {
        if step == 1 {
            world.server.restart();
        } else {
            world.server.kill9();
        }
        assert_eq!(world.subject("")["suspension"], before);
        assert_eq!(world.code_of_token(), "SUBJECT_SUSPENDED");
        world.create().refused(403, "SUBJECT_SUSPENDED");
    }
    let erase = world.server.post("/v1/subjects/bot/erase").bearer(&world.server.admin);
    erase.json(&json!({ "reason": "asked" })).send().expect(200);
    world.server.restart();
    let after = world.subject("")["suspension"].clone();
    assert_eq!((&after["reason"], &after["at"]), (&Value::Null, &before["at"]));
    let check = world.server.get("/v1/audit/check").bearer(&world.server.admin).send().expect(200).json();
    assert_eq!(check["agrees"], true, "{check}");
}

/// A holder that only looks keeps nothing alive, and one that is refused does not either.
#[test]
fn a_refused_token_is_no_use_and_the_clocks_of_a_suspended_session_go_on() {
    let world = World::with(&json!({ "subjectId": "bot", "ttl": 1000, "idleTimeout": 100 }));
    world.suspended(&json!({}));
    world.server.advance(60);
    assert_eq!(world.code_of_token(), "SUBJECT_SUSPENDED");
    world.server.renew(&world.session).send().refused(401, "SUBJECT_SUSPENDED");
    world.server.advance(60);
    world.resume(&world.server.admin).send().expect(200);
    assert_eq!(world.code_of_token(), "SESSION_IDLE");
}
