//! Nothing is sealed, written or synced for a caller before its right to the thing has been judged (section 0).

use serde_json::json;

use crate::server::{Request, Server};

/// How large the file of subject keys is, and where the log ends.
fn traces(server: &Server) -> (u64, u64) {
    let keys = std::fs::metadata(server.data().join("keys/subjects")).unwrap().len();
    let head = server.get("/v1/subjects").bearer(&server.admin).send().expect(200);
    let head = head.json()["items"][0]["asOfPosition"].as_u64().unwrap();
    (keys, head)
}

/// A foreign owner's refused request with a `reason` made a key for the subject, 64 bytes on disk and a sync, and so
/// told by its time that the subject exists.
#[test]
fn a_refused_request_about_a_foreign_or_unknown_subject_leaves_no_key_and_no_event() {
    let server = Server::start();
    let (bob, _) = server.issue_key("owner", Some("bob"));
    let (issuer, _) = server.issue_key("issuer", None);
    server.register("a", &json!({ "ownerId": "alice" }));
    let session = server.create(&json!({ "subjectId": "a" }));
    let before = traces(&server);
    let unknown = "0199a2f0-1111-7111-9111-111111111111";
    let text = json!({ "subjectId": "nobody", "device": "phone", "metadata": { "a": 1 } });
    let by = |credential: &str, request: Request| request.bearer(credential).send();
    for (reply, code) in [
        (by(&bob, server.delete("/v1/subjects/a/sessions?reason=x")), "SUBJECT_NOT_FOUND"),
        (by(&bob, server.delete("/v1/subjects/nobody/sessions?reason=x")), "SUBJECT_NOT_FOUND"),
        (by(&bob, server.delete(&format!("{}?reason=x", session.path()))), "SESSION_NOT_FOUND"),
        (by(&bob, server.delete(&format!("/v1/sessions/{unknown}?reason=x"))), "SESSION_NOT_FOUND"),
        (by(&bob, server.delete(&format!("{}?reason=x&suspend=true", session.path()))), "SESSION_NOT_FOUND"),
        (
            by(&bob, server.post("/v1/subjects/a/suspend").json(&json!({ "reason": "x" }))),
            "SUBJECT_NOT_FOUND",
        ),
        (by(&bob, server.post("/v1/subjects/a/resume").json(&json!({ "reason": "x" }))), "SUBJECT_NOT_FOUND"),
        (
            by(&issuer, server.post("/v1/subjects/nobody/suspend").json(&json!({ "reason": "x" }))),
            "SUBJECT_NOT_FOUND",
        ),
        (by(&issuer, server.delete("/v1/subjects/nobody/sessions?reason=x")), "SUBJECT_NOT_FOUND"),
        (by(&issuer, server.post("/v1/sessions").json(&text)), "SUBJECT_NOT_FOUND"),
        (
            by(&issuer, server.request("PATCH", "/v1/subjects/nobody").json(&json!({ "name": "N" }))),
            "SUBJECT_NOT_FOUND",
        ),
        (
            by(&server.admin, server.post("/v1/subjects/nobody/erase").json(&json!({ "reason": "x" }))),
            "SUBJECT_NOT_FOUND",
        ),
    ] {
        reply.refused(404, code);
        assert_eq!(traces(&server), before, "{code}");
    }
    by(&server.admin, server.delete("/v1/subjects/a/sessions?reason=x")).expect(200);
    assert!(traces(&server).0 > before.0, "what is granted has its key");
}

/// A repeat of what was granted is still answered from its key, now that foreign things are judged first.
#[test]
fn a_repeat_is_answered_as_long_as_the_caller_may_see_the_subject() {
    let server = Server::start();
    let (alice, _) = server.issue_key("owner", Some("alice"));
    server.register("a", &json!({ "ownerId": "alice" }));
    let session = server.create(&json!({ "subjectId": "a" }));
    let end = || server.delete(&format!("{}?reason=x", session.path())).bearer(&alice).key("end-1").send();
    let first = end().expect(200);
    assert_eq!(end().expect(200).position(), first.position());
    server.register("a", &json!({ "ownerId": "bob" }));
    end().refused(404, "SESSION_NOT_FOUND");
}

/// A session token on another session's path was a use of its own session, and wrote one, before it was refused.
#[test]
fn a_token_on_another_sessions_path_is_no_use_of_its_own() {
    let server = Server::start();
    server.register("a", &json!({}));
    let own = server.create(&json!({ "subjectId": "a", "idleTimeout": 100 }));
    let other = server.create(&json!({ "subjectId": "a" }));
    server.advance(50);
    let usage = json!({ "operation": "pay" });
    for request in [
        server.get(&other.path()),
        server.delete(&other.path()),
        server.post(&format!("{}/usage", other.path())).json(&usage),
        server.get("/v1/sessions"),
    ] {
        request.bearer(&own.token).send().refused(403, "FORBIDDEN");
    }
    server.post("/v1/access-tokens").bearer(&own.token).json(&json!({ "ttl": 1 })).send().expect(400);
    assert_eq!(server.events("SessionsSeen"), [] as [serde_json::Value; 0]);
    server.advance(50);
    server.get(&own.path()).bearer(&own.token).send().refused(401, "SESSION_IDLE");
}

/// `tenure run` asks after its session every few seconds, and so no session under it was ever idle.
#[test]
fn a_holder_that_only_looks_at_its_session_does_not_keep_it_alive() {
    let server = Server::start();
    server.register("a", &json!({}));
    let session = server.create(&json!({ "subjectId": "a", "ttl": 3600, "idleTimeout": 100 }));
    for _ in 0..2 {
        server.advance(40);
        server.get(&session.path()).bearer(&session.token).send().expect(200);
    }
    server.advance(20);
    server.get(&session.path()).bearer(&session.token).send().refused(401, "SESSION_IDLE");
}

/// Whatever is a use, and a token that says so of itself keeps its session alive by it.
#[test]
fn usage_minting_introspection_and_renewal_are_uses() {
    let server = Server::start();
    server.register("a", &json!({ "maxSessions": 10 }));
    let uses: [fn(&Server, &crate::server::Session); 5] = [
        |server, session| {
            let usage =
                server.post(&format!("{}/usage", session.path())).json(&json!({ "operation": "pay" }));
            usage.bearer(&session.token).send().expect(200);
        },
        |server, session| {
            let mint = server.post("/v1/access-tokens").json(&json!({}));
            mint.bearer(&session.token).send().expect(200);
        },
        |server, session| assert_eq!(server.introspect(&session.token).json()["active"], json!(true)),
        |server, session| {
            server.renew(session).send().refused(403, "RENEWAL_TOO_EARLY");
        },
        |server, session| {
            let asked = server.get("/v1/forward-auth").header("x-tenure-key", server.admin.as_str());
            asked.bearer(&session.token).send().expect(200);
        },
    ];
    for used in uses {
        let session = server.create(&json!({ "subjectId": "a", "ttl": 3600, "idleTimeout": 100 }));
        server.advance(99);
        used(&server, &session);
        server.advance(99);
        assert_eq!(server.introspect(&session.token).json()["active"], json!(true));
    }
}
