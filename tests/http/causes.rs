//! Why: what a refusal says of the event that decided it, and of when the same request could succeed (sections 0
//! and 3).

use serde_json::{Value, json};

use crate::server::{Reply, Server, Session};

/// Every route that takes a session token, with a request that would be granted.
fn calls(server: &Server, session: &Session) -> Vec<Reply> {
    let usage = server.post(&format!("{}/usage", session.path())).json(&json!({ "operation": "pay" }));
    [
        server.get(&session.path()),
        usage,
        server.post("/v1/access-tokens").json(&json!({})),
        server.put(&format!("{}/renew", session.path())),
        // Of an unknown path nothing is told but that of the credential.
        server.get("/v1/nowhere"),
        // No session token is for these; but that it is dead comes first.
        server.get("/v1/sessions"),
        server.get("/v1/credentials/self"),
    ]
    .into_iter()
    .map(|request| request.bearer(&session.token).send())
    .collect()
}

#[track_caller]
fn all_say(replies: Vec<Reply>, code: &str, trigger: &Value, cause: Option<u64>) {
    for reply in replies {
        let reply = reply.refused(401, code);
        let body = reply.json();
        assert_eq!((body.get("trigger"), &body["causedBy"]), (Some(trigger), &json!(cause)), "{reply:?}");
    }
}

/// A holder that was signed out everywhere learned that its session was ended, and not whether by itself, by its
/// owner, or because somebody else signed in.
#[test]
fn the_token_of_an_ended_session_learns_by_what_on_every_route() {
    let mut server = Server::start();
    server.register("a", &json!({ "maxSessions": 1, "onLimit": "evict_oldest" }));
    let first = server.create(&json!({ "subjectId": "a" }));
    let second = server.post("/v1/sessions").bearer(&server.admin).json(&json!({ "subjectId": "a" })).send();
    // The eviction stands before the create that needed its place.
    let evicted = second.position().unwrap() - 1;
    all_say(calls(&server, &first), "SESSION_REVOKED", &json!("evicted"), Some(evicted));
    let second = Session { id: second.text("sessionId"), token: second.text("token") };
    let end = server.delete("/v1/subjects/a/sessions").bearer(&server.admin).send().expect(200);
    all_say(calls(&server, &second), "SESSION_REVOKED", &json!("subject_revoked"), end.position());
    let third = server.create(&json!({ "subjectId": "a" }));
    let body = json!({ "selector": { "all": true }, "reason": "over" });
    let end = server.post("/v1/revocations").bearer(&server.admin).json(&body).send().expect(200);
    all_say(calls(&server, &third), "SESSION_REVOKED", &json!("bulk"), end.position());
    let fourth = server.create(&json!({ "subjectId": "a" }));
    let end = server.delete(&fourth.path()).bearer(&fourth.token).send().expect(200);
    all_say(calls(&server, &fourth), "SESSION_REVOKED", &json!("self"), end.position());
    server.restart();
    all_say(calls(&server, &fourth), "SESSION_REVOKED", &json!("self"), end.position());
}

#[test]
fn a_session_that_ended_by_itself_has_no_trigger() {
    let server = Server::start();
    server.register("a", &json!({}));
    let created = |body: Value| {
        let reply = server.post("/v1/sessions").bearer(&server.admin).json(&body).send().expect(201);
        (Session { id: reply.text("sessionId"), token: reply.text("token") }, reply.position())
    };
    let (idle, since) = created(json!({ "subjectId": "a", "ttl": 600, "idleTimeout": 60 }));
    server.advance(60);
    all_say(calls(&server, &idle), "SESSION_IDLE", &Value::Null, since);
    let (expired, since) = created(json!({ "subjectId": "a", "ttl": 300 }));
    server.advance(300);
    all_say(calls(&server, &expired), "TOKEN_EXPIRED", &Value::Null, since);
    let own = server.delete(&expired.path()).bearer(&expired.token).send();
    all_say(vec![own], "TOKEN_EXPIRED", &Value::Null, since);
}

#[test]
fn a_token_that_was_replaced_names_the_renewal_and_no_trigger() {
    let server = Server::start();
    let session = server.session("a", 600);
    server.advance(300);
    let renewal = server.renew(&session).send().expect(200);
    let refused = server.get(&session.path()).bearer(&session.token).send().refused(401, "TOKEN_SUPERSEDED");
    assert_eq!(refused.json()["causedBy"], json!(renewal.position()));
    assert_eq!(refused.json().get("trigger"), None);
}

/// `ROTATION_TOO_RECENT` said when, and not after which rotation.
#[test]
fn a_refusal_names_the_event_that_decided_it() {
    let server = Server::start();
    let admin = |request: crate::server::Request| request.bearer(&server.admin).send();
    for which in ["session", "access"] {
        let body = json!({ "which": which, "retire": "overlap" });
        let rotated = admin(server.post("/v1/keys/rotate").json(&body)).expect(200);
        let refused = admin(server.post("/v1/keys/rotate").json(&body)).refused(429, "ROTATION_TOO_RECENT");
        assert_eq!(refused.json()["causedBy"], json!(rotated.position()), "{which}");
        assert!(refused.json()["retryAt"].is_string(), "{refused:?}");
    }

    server.register("a", &json!({ "maxSessions": 2, "maxSessionsPerDevice": 1, "onDeviceLimit": "reject" }));
    let create = |body: Value| admin(server.post("/v1/sessions").json(&body));
    let on_phone = json!({ "subjectId": "a", "device": "phone" });
    let first = create(on_phone.clone()).expect(201);
    let last = create(json!({ "subjectId": "a" })).expect(201);
    let full = create(json!({ "subjectId": "a" })).refused(403, "SESSION_LIMIT_EXCEEDED");
    assert_eq!(full.json()["causedBy"], json!(last.position()));
    let full = create(on_phone).refused(403, "SESSION_LIMIT_EXCEEDED");
    assert_eq!(full.json()["causedBy"], json!(first.position()));

    let keys = admin(server.get("/v1/credentials")).expect(200).json();
    let id = keys["items"][0]["credentialId"].as_str().unwrap().to_owned();
    let last = admin(server.delete(&format!("/v1/credentials/{id}"))).refused(409, "LAST_ADMIN");
    let issued = server.events("CredentialIssued");
    assert_eq!(last.json()["causedBy"], issued[0]["position"]);
    let (_, other) = server.issue_key("admin", None);
    let withdrawn = admin(server.delete(&format!("/v1/credentials/{other}"))).expect(200);
    let last = admin(server.delete(&format!("/v1/credentials/{id}"))).refused(409, "LAST_ADMIN");
    assert_eq!(last.json()["causedBy"], json!(withdrawn.position()));
}

/// What is retryable says when, in the body as in the header.
#[test]
fn a_wrong_credential_too_many_says_when_another_is_judged() {
    let server = Server::with(&["security.limit_loopback=true", "security.wrong_credentials_per_minute=1"]);
    let wrong = || server.get("/v1/sessions").bearer("tnr_key_wrong").send();
    wrong().refused(401, "INVALID_TOKEN");
    let limited = wrong().refused(429, "RATE_LIMITED");
    assert!(limited.header("retry-after").is_some());
    assert!(limited.json()["retryAt"].is_string(), "{limited:?}");
    let clock = server.get("/v1/clock").bearer(&server.admin).send().expect(200).text("now");
    assert!(limited.text("retryAt") > clock);
    let waiting = server.get("/v1/subjects?minPosition=1000").bearer(&server.admin).send();
    let waiting = waiting.refused(503, "POSITION_NOT_REACHED");
    assert!(waiting.json()["retryAt"].is_string() && waiting.header("retry-after").is_some(), "{waiting:?}");
}
