//! What holds for every reply of the API, whatever it answers: challenges, caching, time, ids, and how faults are told.

use serde_json::json;
use tenure::http::route_facts;

use crate::server::{Reply, Server};

/// Both challenges were a bare `Bearer`. RFC 6750 demands a parameter, and without `error` a client cannot tell "send a
/// token" from "this token is dead".
#[test]
fn a_challenge_says_whether_a_credential_was_refused_or_none_was_sent() {
    let server = Server::start();
    let session = server.session("a", 1000);
    server.delete(&session.path()).bearer(&session.token).send().expect(200);
    let challenge = |reply: Reply| reply.expect(401).header("www-authenticate").unwrap().to_owned();
    for nothing in ["/v1/sessions", "/v1/nowhere", "/metrics", &session.path()] {
        assert_eq!(challenge(server.get(nothing).send()), r#"Bearer realm="tenure""#, "{nothing}");
    }
    let basic = server.get("/v1/sessions").header("authorization", "Basic YTpi").send();
    assert_eq!(challenge(basic), r#"Bearer realm="tenure""#);
    for dead in ["tnr_key_wrong", "tnr_sess_wrong", "?", &session.token] {
        let reply = server.get("/v1/sessions").bearer(dead).send();
        assert_eq!(challenge(reply), r#"Bearer realm="tenure", error="invalid_token""#, "{dead}");
    }
}

#[track_caller]
fn is_of_this_moment(reply: &Reply, now: &str) {
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{reply:?}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{reply:?}");
    assert_eq!(reply.header("x-tenure-time"), Some(now), "{reply:?}");
}

/// Lists of sessions, with names, devices and metadata, could be kept by any cache on the way.
#[test]
fn no_reply_may_be_kept_but_the_keys_and_the_description() {
    let server = Server::start();
    server.advance(7);
    let now = server.get("/v1/clock").bearer(&server.admin).send().expect(200).text("now");
    for facts in route_facts() {
        let target = facts.path.replace("{sessionId}", "x").replace("{subjectId}", "nobody");
        let target = target.replace("{credentialId}", "none").replace("{webhookId}", "none");
        if !["/v1/keys", "/openapi.json"].contains(&facts.path.as_str()) {
            is_of_this_moment(&server.request(&facts.method, &target).bearer(&server.admin).send(), &now);
        }
        is_of_this_moment(&server.request(&facts.method, &format!("{target}?x=1")).send(), &now);
    }
    for reply in [
        server.get("/v1/nowhere").bearer(&server.admin).send().expect(404),
        server.request("PATCH", "/v1/keys").bearer(&server.admin).send().expect(405),
        server.get("/v1/forward-auth").header("x-tenure-key", server.admin.as_str()).send().expect(401),
        server.get("/v1/forward-auth/below").send().expect(403),
        server.get("/v1/events").bearer(&server.admin).listen().reply,
        server.get("/v1/notices").bearer(&server.admin).listen().reply,
    ] {
        is_of_this_moment(&reply, &now);
    }
    let description = server.get("/openapi.json").send().expect(200);
    assert_eq!(description.header("cache-control"), Some("public, max-age=60"));
    assert_eq!(description.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(description.header("x-tenure-time"), None, "a kept reply has an old time");
}

/// The list of public keys said nothing of how long it may be kept, so caches chose for themselves, some of them a day: a
/// key that was taken away went on being handed out.
#[test]
fn the_keys_may_be_kept_by_whoever_asks_each_time_whether_they_changed() {
    let server = Server::start();
    let keys = server.get("/v1/keys").send().expect(200);
    let tag = keys.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    assert_eq!(keys.header("cache-control"), Some("public, no-cache"));
    assert_eq!(keys.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(keys.header("x-tenure-time"), None);
    assert_eq!(server.get("/v1/keys").send().header("etag"), Some(tag.as_str()));
    for known in [tag.as_str(), &format!("W/{tag}"), &format!("\"x\", {tag}"), "*"] {
        let same = server.get("/v1/keys").header("if-none-match", known).send().expect(304);
        assert_eq!((same.header("etag"), same.body.as_str()), (Some(tag.as_str()), ""), "{known}");
        assert_eq!(same.header("cache-control"), Some("public, no-cache"));
    }
    let rotation = json!({ "which": "access", "retire": "now" });
    server.post("/v1/keys/rotate").bearer(&server.admin).json(&rotation).send().expect(200);
    let other = server.get("/v1/keys").header("if-none-match", tag.as_str()).send().expect(200);
    assert_ne!(other.header("etag"), Some(tag.as_str()));
}

/// The caller's `x-request-id` was recorded as it came, and so outlived the erasure of whom it named.
#[test]
fn what_a_caller_calls_its_request_is_echoed_and_never_recorded() {
    let mut server = Server::saying("debug", &[]);
    server.register("ada", &json!({ "name": "Ada Example" }));
    let name = "login-of-ada@example.org";
    let with_id = |request: crate::server::Request| request.header("x-request-id", name).send();
    let create = server
        .post("/v1/sessions")
        .bearer(&server.admin)
        .json(&json!({ "subjectId": "ada", "mode": "sliding" }));
    let created = with_id(create).expect(201);
    assert_eq!(created.header("x-request-id"), Some(name));
    let refused = with_id(server.get("/v1/nowhere").bearer(&server.admin)).expect(404);
    assert_eq!((refused.header("x-request-id"), refused.text("requestId")), (Some(name), name.to_owned()));
    server.advance(900);
    let ask = server.get("/v1/forward-auth").header("x-tenure-key", server.admin.as_str());
    let refreshed = with_id(ask.bearer(&created.text("token"))).expect(200);
    assert!(
        refreshed.position().is_some() && refreshed.header("x-request-id") == Some(name),
        "{refreshed:?}"
    );
    let erasure =
        server.post("/v1/subjects/ada/erase").bearer(&server.admin).json(&json!({ "reason": "asked" }));
    with_id(erasure).expect(200);
    let unnamed = server.put("/v1/subjects/b").bearer(&server.admin).json(&json!({})).send().expect(201);

    let events = server.get("/v1/events?limit=200").bearer(&server.admin).send().expect(200);
    assert!(!events.body.contains("ada@example.org"), "{events:?}");
    let items = events.json()["items"].as_array().unwrap().clone();
    for event in items.iter().filter(|event| !event["correlationId"].is_null()) {
        assert_eq!(event["correlationId"].as_str().unwrap().len(), 36, "{event}");
    }
    // Without an id of the caller's the two are one, and the log lines tell both of the others.
    let own = unnamed.header("x-request-id").unwrap();
    assert!(items.iter().any(|event| event["correlationId"] == own));
    let of_ada =
        items.iter().find(|event| event["kind"] == "SessionCreated").unwrap()["correlationId"].clone();
    let said = server.said();
    let line = said.lines().find(|line| line.contains(of_ada.as_str().unwrap()));
    assert!(line.is_some_and(|line| line.contains(name)), "{said}");
    server.stop();
    assert!(!everything_in(&server.data()).contains("ada@example.org"));
}

fn everything_in(directory: &std::path::Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        let text = if entry.is_dir() {
            everything_in(&entry)
        } else {
            String::from_utf8_lossy(&std::fs::read(&entry).unwrap()).into_owned()
        };
        all.push_str(&text);
    }
    all
}

/// 16,000 names in a query without a credential cost a quarter of a second, and an answer 28 times as long.
#[test]
fn a_query_that_no_route_could_read_is_refused_unread() {
    let server = Server::start();
    let names = |count: usize| (0..count).map(|n| format!("p{n}")).collect::<Vec<_>>().join("&");
    for path in ["/healthz", "/readyz", "/v1/keys", "/openapi.json"] {
        for query in [names(33), names(10_000), "x".repeat(2_049), "a".repeat(30_000)] {
            let reply = server.get(&format!("{path}?{query}")).send().refused(400, "INVALID_REQUEST");
            assert_eq!(reply.fields(), ["query"], "{path}");
        }
        let most = server.get(&format!("{path}?{}", names(32))).send().refused(400, "INVALID_REQUEST");
        assert_eq!(most.fields().len(), 20, "{most:?}");
        let longest = server.get(&format!("{path}?{}", "x".repeat(2_048))).send();
        assert_eq!(longest.refused(400, "INVALID_REQUEST").fields(), ["x".repeat(64)]);
    }
    let long = format!("?{}", names(33));
    // The credential comes first, and what an application asks of itself is its own.
    server.get(&format!("/v1/sessions{long}")).send().refused(401, "INVALID_TOKEN");
    let (verifier, _) = server.issue_key("verifier", None);
    server.get(&format!("/v1/sessions{long}")).bearer(&verifier).send().refused(403, "FORBIDDEN");
    let reply = server.get(&format!("/v1/sessions{long}")).bearer(&server.admin).send();
    assert_eq!(reply.refused(400, "INVALID_REQUEST").fields(), ["query"]);
    let create = server.post(&format!("/v1/sessions{long}")).bearer(&server.admin).json(&json!({}));
    assert_eq!(create.send().refused(400, "INVALID_REQUEST").fields(), ["query"]);
    let session = server.session("a", 1000);
    let asked = server.get(&format!("/v1/forward-auth{long}")).header("x-tenure-key", verifier.as_str());
    asked.bearer(&session.token).send().expect(200);
}
