//! What is pushed instead of asked for: the feed of revocations as a stream, and a session's own stream (section 4).
//!
//! Verifiers and holders asked each second or each quarter of a minute; so long a veto did not bite.

use std::time::Duration;

use serde_json::{Value, json};
use tenure::clock::stopwatch;

use crate::server::{Listener, Server, Session};

const FEED: &str = "/v1/revocations/feed";

/// The next event that is no head, with its name.
fn next(listener: &mut Listener) -> Option<(String, Value)> {
    loop {
        let (name, id, data) = listener.named()?;
        if name != "head" {
            assert_eq!(id, data["position"].as_u64().map(|position| position.to_string()), "{name} {data}");
            return Some((name, data));
        }
    }
}

fn follow(server: &Server, session: &Session) -> Listener {
    server.get(&format!("{}/events", session.path())).bearer(&session.token).listen()
}

fn revoke(server: &Server, session: &Session) -> u64 {
    server.delete(&session.path()).bearer(&server.admin).send().expect(200).position().unwrap()
}

#[test]
fn the_feed_begins_with_the_keys_and_the_past_and_goes_on_as_it_happens() {
    let server = Server::start();
    let (verifier, _) = server.issue_key("verifier", None);
    let sessions: Vec<_> = ["a", "b", "c"].map(|subject| server.session(subject, 1000)).into();
    revoke(&server, &sessions[0]);
    let mut listener = server.get(FEED).bearer(&verifier).listen();
    let (name, keys) = next(&mut listener).unwrap();
    assert_eq!((name.as_str(), keys), ("keys", server.get("/v1/keys").send().json()));
    let mut streamed = vec![next(&mut listener).unwrap().1];
    revoke(&server, &sessions[1]);
    streamed.push(next(&mut listener).unwrap().1);
    let suspend = server.post("/v1/subjects/c/suspend").bearer(&server.admin);
    suspend.json(&json!({})).send().expect(200);
    streamed.push(next(&mut listener).unwrap().1);
    let body = json!({ "selector": { "all": true }, "reason": "over" });
    server.post("/v1/revocations").bearer(&server.admin).json(&body).send().expect(200);
    streamed.push(next(&mut listener).unwrap().1);
    let page = server.get(FEED).bearer(&verifier).send().expect(200).json();
    assert_eq!(json!(streamed), page["items"]);
}

#[test]
fn the_feed_says_at_least_every_two_seconds_until_when_all_was_heard() {
    let server = Server::start();
    let mut listener = server.get(FEED).bearer(&server.admin).listen();
    let mut heads = vec![];
    let begun = stopwatch();
    while heads.len() < 4 {
        let (name, id, data) = listener.named().unwrap();
        if name == "head" {
            assert_eq!(id, Some(data["head"].to_string()));
            heads.push(data["now"].clone());
        }
        if heads.len() == 2 {
            server.advance(60);
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let clock = server.get("/v1/clock").bearer(&server.admin).send().json();
    assert_eq!(heads[3], clock["now"]);
    assert_ne!(heads[0], clock["now"]);
    assert_eq!(listener.heartbeats, 1, "a comment comes at once, and the next in a quarter of a minute");
}

#[test]
fn a_head_comes_after_everything_up_to_it() {
    let server = Server::start();
    let sessions: Vec<_> = (0..30).map(|n| server.session(&format!("s{n}"), 1000)).collect();
    let mut listener = server.get(FEED).bearer(&server.admin).listen();
    std::thread::scope(|scope| {
        scope.spawn(|| sessions.iter().for_each(|session| _ = revoke(&server, session)));
        let (mut ended, mut heard) = (0, 0);
        while ended < sessions.len() {
            match listener.named().unwrap() {
                (name, _, item) if name == "revocation" => {
                    let position = item["position"].as_u64().unwrap();
                    assert!(position > heard, "{position} came after the head {heard}");
                    ended += 1;
                }
                (name, _, data) if name == "head" => heard = data["head"].as_u64().unwrap(),
                (name, ..) => assert_eq!(name, "keys"),
            }
        }
    });
}

#[test]
fn the_feed_resumes_by_the_last_id_that_was_heard_also_after_a_crash() {
    let mut server = Server::start();
    let sessions: Vec<_> = (0..6).map(|n| server.session(&format!("s{n}"), 1000)).collect();
    let positions: Vec<_> = sessions.iter().map(|session| revoke(&server, session)).collect();
    server.kill9();
    for (index, position) in positions.iter().enumerate() {
        let request = server.get(&format!("{FEED}?after=0")).bearer(&server.admin);
        let mut listener = request.header("last-event-id", position.to_string()).listen();
        assert_eq!(next(&mut listener).unwrap().0, "keys");
        let rest: Vec<_> = (index + 1..positions.len())
            .map(|_| next(&mut listener).unwrap().1["position"].as_u64().unwrap())
            .collect();
        assert_eq!(rest, positions[index + 1..]);
        let (name, _, head) = listener.named().unwrap();
        assert_eq!((name.as_str(), head["head"].as_u64() >= positions.last().copied()), ("head", true));
    }
}

#[test]
fn new_keys_are_told_at_once() {
    let server = Server::start();
    let mut listener = server.get(FEED).bearer(&server.admin).listen();
    assert_eq!(next(&mut listener).unwrap().0, "keys");
    let body = json!({ "which": "access", "retire": "now" });
    server.post("/v1/keys/rotate").bearer(&server.admin).json(&body).send().expect(200);
    let (name, keys) = next(&mut listener).unwrap();
    assert_eq!((name.as_str(), keys), ("keys", server.get("/v1/keys").send().json()));
}

/// A holder heard from its stream that all was well for hours, while no token of its session worked any more.
#[test]
fn the_stream_of_a_session_ends_once_its_tokens_have_stopped_working() {
    let server = Server::start();
    let rotate = |retire: &str| {
        let body = json!({ "which": "session", "retire": retire });
        server.post("/v1/keys/rotate").bearer(&server.admin).json(&body).send().expect(200);
    };
    let session = server.session("a", 3_600);
    let mut listener = follow(&server, &session);
    rotate("overlap");
    listener.heartbeat();
    rotate("now");
    let begun = stopwatch();
    assert_eq!(listener.named(), None);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let again = server.get(&format!("{}/events", session.path())).bearer(&session.token);
    again.header("accept", "text/event-stream").send().refused(401, "INVALID_TOKEN");
}

#[test]
fn the_feed_is_for_those_whom_its_pages_are_for() {
    let server = Server::start();
    server.register("a", &json!({ "ownerId": "alice" }));
    let session = server.create(&json!({ "subjectId": "a" }));
    let feed = |key: &str, query: &str| {
        server.get(&format!("{FEED}{query}")).bearer(key).header("accept", "text/event-stream").send()
    };
    feed(&server.issue_key("owner", Some("alice")).0, "").refused(403, "FORBIDDEN");
    feed(&session.token, "").refused(403, "FORBIDDEN");
    feed("tnr_key_x", "").refused(401, "INVALID_TOKEN");
    feed(&server.admin, "?after=9999").refused(409, "POSITION_BEYOND_END");
    for (query, field) in [("?limit=3", "limit"), ("?after=x", "after"), ("?after=latest", "after")] {
        assert_eq!(feed(&server.admin, query).refused(400, "INVALID_REQUEST").fields(), [field]);
    }
    let resumed = server.get(FEED).bearer(&server.admin).header("last-event-id", "x");
    let refused = resumed.header("accept", "text/event-stream").send().refused(400, "INVALID_REQUEST");
    assert_eq!(refused.fields(), ["Last-Event-ID"]);
}

#[test]
fn the_feed_ends_with_its_credential() {
    let server = Server::start();
    let (key, id) = server.issue_key("verifier", None);
    let mut listener = server.get(FEED).bearer(&key).listen();
    assert_eq!(next(&mut listener).unwrap().0, "keys");
    server.delete(&format!("/v1/credentials/{id}")).bearer(&server.admin).send().expect(200);
    let revoked = stopwatch();
    while listener.named().is_some() {}
    assert!(revoked.elapsed() < Duration::from_secs(5), "{:?}", revoked.elapsed());
}

/// A way to end a session.
type End<'a> = &'a dyn Fn(&Session);

#[test]
fn a_session_hears_of_its_end_whoever_ends_it_and_the_stream_closes() {
    let server = Server::start();
    let ends: [(&str, End<'_>); 5] = [
        ("manual_revoke", &|session| _ = revoke(&server, session)),
        ("self", &|session| _ = server.delete(&session.path()).bearer(&session.token).send().expect(200)),
        ("subject_revoked", &|_| {
            server.delete("/v1/subjects/a/sessions").bearer(&server.admin).send().expect(200);
        }),
        ("bulk", &|_| {
            let body = json!({ "selector": { "subjectId": "a" }, "reason": "over" });
            server.post("/v1/revocations").bearer(&server.admin).json(&body).send().expect(200);
        }),
        ("evicted", &|_| {
            server.register("a", &json!({ "maxSessions": 1, "onLimit": "evict_oldest" }));
            server.create(&json!({ "subjectId": "a" }));
        }),
    ];
    for (trigger, end) in ends {
        let session = server.session("a", 1000);
        let mut listener = follow(&server, &session);
        listener.heartbeat();
        let begun = stopwatch();
        end(&session);
        let (name, told) = next(&mut listener).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        let read = server.get(&session.path()).bearer(&server.admin).send().json();
        assert_eq!(name, "ended");
        assert_eq!(
            told,
            json!({ "position": told["position"], "at": read["revokedAt"], "sessionId": session.id,
                "trigger": trigger, "until": null })
        );
        let events = server.get(&format!("/v1/events?after={}", told["position"].as_u64().unwrap() - 1));
        let event = &events.bearer(&server.admin).send().json()["items"][0];
        assert!(event["kind"].as_str().unwrap().ends_with("Revoked"), "{event}");
        assert_eq!(listener.named(), None, "it closes at the end");
    }
}

#[test]
fn a_session_hears_that_it_has_expired() {
    let server = Server::start();
    for body in [json!({ "subjectId": "a", "ttl": 300 }), json!({ "subjectId": "a", "idleTimeout": 60 })] {
        server.register("a", &json!({}));
        let session = server.create(&body);
        let mut listener = follow(&server, &session);
        listener.heartbeat();
        server.advance(if body["ttl"].is_null() { 60 } else { 300 });
        let (name, told) = next(&mut listener).unwrap();
        assert_eq!((name.as_str(), &told["trigger"]), ("ended", &Value::Null));
        let refused = server.get(&session.path()).bearer(&session.token).send();
        assert_eq!(refused.json()["causedBy"], told["position"]);
        assert_eq!(listener.named(), None);
    }
}

#[test]
fn a_stream_outlives_the_renewal_of_its_session_and_tells_nothing_of_it() {
    let server = Server::start();
    let mut session = server.session("a", 300);
    let mut listener = follow(&server, &session);
    listener.heartbeat();
    for _ in 0..2 {
        server.advance(150);
        session = session.renewed(&server.renew(&session).send().expect(200));
    }
    let other = server.create(&json!({ "subjectId": "a" }));
    revoke(&server, &other);
    let position = revoke(&server, &session);
    let (name, told) = next(&mut listener).unwrap();
    assert_eq!((name.as_str(), &told["position"]), ("ended", &json!(position)));
}

#[test]
fn a_session_hears_of_a_suspension_and_of_its_end_and_hears_it_once() {
    let server = Server::start();
    let session = server.session("a", 1000);
    let mut early = follow(&server, &session);
    early.heartbeat();
    let until = "2100-01-01T00:00:00.000Z";
    let suspend = server.post("/v1/subjects/a/suspend").bearer(&server.admin);
    let suspended = suspend.json(&json!({ "until": until })).send().expect(200).position().unwrap();
    let mut late = follow(&server, &session);
    for listener in [&mut early, &mut late] {
        let (name, told) = next(listener).unwrap();
        assert_eq!(name, "suspended");
        assert_eq!((&told["position"], &told["until"]), (&json!(suspended), &json!(until)));
        assert_eq!((&told["sessionId"], &told["trigger"]), (&json!(session.id), &Value::Null));
    }
    let resume = server.post("/v1/subjects/a/resume").bearer(&server.admin);
    let resumed = resume.json(&json!({})).send().expect(200).position().unwrap();
    let request = server.get(&format!("{}/events", session.path())).bearer(&session.token);
    let mut again = request.header("last-event-id", suspended.to_string()).listen();
    for listener in [&mut early, &mut late, &mut again] {
        let (name, told) = next(listener).unwrap();
        assert_eq!((name.as_str(), &told["position"]), ("resumed", &json!(resumed)));
    }
    revoke(&server, &session);
    for listener in [&mut early, &mut late, &mut again] {
        assert_eq!(next(listener).unwrap().0, "ended");
    }
}

#[test]
fn a_session_does_not_hear_of_what_was_before_it() {
    let server = Server::start();
    server.register("a", &json!({}));
    for verb in ["suspend", "resume"] {
        let asked = server.post(&format!("/v1/subjects/a/{verb}")).bearer(&server.admin);
        asked.json(&json!({})).send().expect(200);
    }
    let session = server.create(&json!({ "subjectId": "a" }));
    let request = server.get(&format!("{}/events?after=0", session.path())).bearer(&session.token);
    let mut listener = request.listen();
    revoke(&server, &session);
    assert_eq!(next(&mut listener).unwrap().0, "ended");
}

#[test]
fn a_sessions_stream_is_for_its_own_current_token() {
    let server = Server::start();
    let session = server.session("a", 300);
    let other = server.session("b", 1000);
    let events = |token: &str, session: &Session| {
        let request = server.get(&format!("{}/events", session.path())).bearer(token);
        request.header("accept", "text/event-stream").send()
    };
    events(&server.admin, &session).refused(403, "FORBIDDEN");
    events(&other.token, &session).refused(403, "FORBIDDEN");
    server.advance(150);
    let renewed = session.renewed(&server.renew(&session).send().expect(200));
    events(&session.token, &session).refused(401, "TOKEN_SUPERSEDED");
    let beyond = server.get(&format!("{}/events?after=9999", session.path())).bearer(&renewed.token);
    beyond.header("accept", "text/event-stream").send().refused(409, "POSITION_BEYOND_END");
    let page = server.get(&format!("{}/events", session.path())).bearer(&renewed.token).send();
    assert_eq!(page.refused(400, "INVALID_REQUEST").fields(), ["Accept"]);
    let position = revoke(&server, &session);
    let refused = events(&renewed.token, &session).refused(401, "SESSION_REVOKED").json();
    assert_eq!((&refused["trigger"], &refused["causedBy"]), (&json!("renewal_rejected"), &json!(position)));
}

/// A reply that was lost can be asked for again until a token of it is presented; the stream is such a presentation. It
/// is no use: who only watches a session does not keep it alive.
#[test]
fn opening_a_stream_presents_the_token_and_is_no_use() {
    let server = Server::start();
    server.register("a", &json!({}));
    let session = server.create(&json!({ "subjectId": "a", "ttl": 300, "idleTimeout": 200 }));
    server.advance(150);
    let renewal = server.renew(&session).header("idempotency-key", "once");
    let renewed = session.renewed(&renewal.send().expect(200));
    renewal.send().expect(200);
    let seen = |session: &Session| {
        let read = server.get(&session.path()).bearer(&server.admin).send().expect(200).json();
        read["lastSeenAt"].clone()
    };
    let before = seen(&session);
    server.advance(50);
    follow(&server, &renewed).heartbeat();
    assert_eq!(seen(&session), before);
    renewal.send().refused(403, "SESSION_RENEWAL_MISMATCH");
}

#[test]
fn a_fifth_stream_of_a_session_ends_its_oldest() {
    let server = Server::start();
    let session = server.session("a", 1000);
    let mut streams: Vec<_> = (0..5)
        .map(|_| {
            let mut listener = follow(&server, &session);
            listener.heartbeat();
            listener
        })
        .collect();
    assert_eq!(streams[0].named(), None);
    revoke(&server, &session);
    for listener in &mut streams[1..] {
        assert_eq!(next(listener).unwrap().0, "ended");
    }
}
