//! `PUT /v1/sessions/{id}/renew`: exact moments, renewals at once, and replies that get lost on the way.

use std::time::Duration;

use serde_json::json;
use tenure::clock::{pause, stopwatch};

use crate::server::{Request, Server, Session, all_at_once, at_once};

#[test]
fn half_of_a_period_is_rounded_down_and_counted_from_the_latest_renewal() {
    let server = Server::start();
    for (ttl, half) in [(300, 150), (301, 150), (303, 151), (604_800, 302_400)] {
        let subject = format!("ttl-{ttl}");
        let mut session = server.session(&subject, ttl);
        for round in 1..=2 {
            server.advance(half - 1);
            server.renew(&session).send().refused(403, "RENEWAL_TOO_EARLY");
            server.advance(1);
            let reply = server.renew(&session).send().expect(200);
            assert_eq!(reply.json()["renewalCount"], round);
            session = session.renewed(&reply);
        }
    }
}

/// The answer to a repeat promises a period of which an idle session would have had nothing.
#[test]
fn the_answer_to_a_repeated_renewal_is_a_use() {
    let server = Server::start();
    server.register("a", &json!({}));
    let session = server.create(&json!({ "subjectId": "a", "ttl": 300, "idleTimeout": 160 }));
    server.advance(150);
    server.renew(&session).key("lost").send().expect(200);
    server.advance(155);
    let again = server.renew(&session).key("lost").send().expect(200);
    server.advance(6);
    assert_eq!(server.introspect(&again.text("token")).json()["active"], true);
}

#[test]
fn the_last_second_of_a_period_renews_and_its_end_does_not() {
    let server = Server::start();
    let (first, second) = (server.session("a", 300), server.session("b", 300));
    server.advance(299);
    server.renew(&first).send().expect(200);
    server.advance(1);
    server.renew(&second).send().refused(401, "TOKEN_EXPIRED");
}

#[test]
fn of_32_renewals_at_once_with_one_token_exactly_one_wins() {
    let server = Server::start();
    let session = server.session("a", 1000);
    server.advance(500);
    let replies = at_once(&server.renew(&session), 32);
    let won: Vec<_> = replies.iter().filter(|reply| reply.status == 200).collect();
    let lost = replies.iter().filter(|reply| reply.code() == "SESSION_RENEWAL_MISMATCH").count();
    assert_eq!((won.len(), lost), (1, 31), "{replies:?}");
    assert_eq!(server.events("SessionRenewed").len(), 1);
    assert_eq!(server.events("RenewalRejected").len(), 1, "once per session, generation and code");
    assert_eq!(server.introspect(&won[0].text("token")).json()["active"], true);
}

#[test]
fn of_32_renewals_at_once_with_keys_of_their_own_exactly_one_wins() {
    let server = Server::start();
    let session = server.session("a", 1000);
    server.advance(500);
    let requests: Vec<_> = (0..32).map(|n| server.renew(&session).key(&format!("key-{n}"))).collect();
    let replies = all_at_once(&requests);
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1, "{replies:?}");
}

/// A renewal with the key `k` whose reply got lost; the session as its holder still knows it.
fn with_a_lost_reply(server: &Server) -> Session {
    let session = server.session("a", 1000);
    server.advance(500);
    server.renew(&session).key("k").send().expect(200);
    session
}

#[test]
fn repeats_at_once_get_tokens_of_one_generation_and_spend_one_renewal() {
    let server = Server::start();
    let session = server.session("a", 1000);
    server.advance(500);
    let replies = at_once(&server.renew(&session).key("k"), 8);
    for reply in &replies {
        assert_eq!((reply.status, &reply.json()["renewalCount"]), (200, &json!(1)), "{reply:?}");
    }
    let renewed = replies[0].position();
    assert!(renewed.is_some() && replies.iter().all(|reply| reply.position() == renewed), "{replies:?}");
    assert_eq!(server.events("SessionRenewed").len(), 1);
    for reply in &replies {
        assert_eq!(server.introspect(&reply.text("token")).json()["active"], true);
    }
}

#[test]
fn a_lost_reply_is_given_again_after_kill_9() {
    let mut server = Server::start();
    let session = with_a_lost_reply(&server);
    server.kill9();
    let replies = at_once(&server.renew(&session).key("k"), 8);
    assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
    assert_eq!(server.events("SessionRenewed").len(), 1);
    assert_eq!(server.introspect(&replies[7].text("token")).json()["active"], true);
}

/// A thief who recorded the request replays it when the holder has gone on.
#[test]
fn once_the_new_token_was_presented_the_replay_is_refused_also_after_kill_9() {
    let mut server = Server::start();
    let session = with_a_lost_reply(&server);
    let new = server.renew(&session).key("k").send().expect(200).text("token");
    assert_eq!(server.introspect(&new).json()["active"], true);
    server.renew(&session).key("k").send().refused(403, "SESSION_RENEWAL_MISMATCH");
    let begun = stopwatch();
    while server.events("TokensPresented").is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(5), "the mark is recorded within 5 s");
        pause(Duration::from_millis(20));
    }
    server.kill9();
    server.renew(&session).key("k").send().refused(403, "SESSION_RENEWAL_MISMATCH");
    assert_eq!(server.introspect(&new).json()["active"], true);
}

/// However it is presented: as a credential, and also where it is refused.
#[test]
fn the_new_token_is_presented_on_every_route() {
    let server = Server::start();
    let uses: [fn(&Server, &Session) -> Request; 4] = [
        |server, own| server.get(&own.path()).bearer(&own.token),
        |server, own| server.get("/v1/events").bearer(&own.token),
        |server, own| server.renew(own),
        |server, own| {
            server.post("/v1/introspect").bearer(&server.admin).json(&json!({ "tokens": [own.token] }))
        },
    ];
    for present in uses {
        let session = with_a_lost_reply(&server);
        let reply = server.renew(&session).key("k").send().expect(200);
        present(&server, &session.renewed(&reply)).send();
        server.renew(&session).key("k").send().refused(403, "SESSION_RENEWAL_MISMATCH");
    }
}

#[test]
fn from_the_reply_on_the_old_token_works_nowhere() {
    let server = Server::start();
    let session = server.session("a", 1000);
    server.advance(500);
    let new = session.renewed(&server.renew(&session).send().expect(200));
    let old = &session.token;
    server.renew(&session).send().refused(403, "SESSION_RENEWAL_MISMATCH");
    server.get(&session.path()).bearer(old).send().refused(401, "TOKEN_SUPERSEDED");
    server.delete(&session.path()).bearer(old).send().refused(401, "TOKEN_SUPERSEDED");
    for facts in
        tenure::http::route_facts().iter().filter(|facts| !facts.public && !facts.path.ends_with("renew"))
    {
        let target = facts.path.replace("{sessionId}", &session.id).replace('{', "x").replace('}', "");
        let reply = server.request(&facts.method, &target).bearer(old).send();
        reply.refused(401, "TOKEN_SUPERSEDED");
    }
    assert_eq!(server.introspect(old).json(), json!({ "active": false, "code": "TOKEN_SUPERSEDED" }));
    server.get(&new.path()).bearer(&new.token).send().expect(200);
}

/// Renewals of many sessions while others read: every acknowledged renewal is visible to what starts after it.
#[test]
fn what_was_acknowledged_is_seen_by_every_check_that_starts_after_it() {
    let server = Server::start();
    let sessions: Vec<_> = (0..8).map(|n| server.session(&format!("s{n}"), 1000)).collect();
    server.advance(500);
    std::thread::scope(|scope| {
        for session in &sessions {
            scope.spawn(|| {
                let new = session.renewed(&server.renew(session).send().expect(200));
                assert_eq!(server.introspect(&session.token).json()["code"], "TOKEN_SUPERSEDED");
                assert_eq!(server.introspect(&new.token).json()["active"], true);
                server.delete(&new.path()).bearer(&new.token).send().expect(200);
                assert_eq!(server.introspect(&new.token).json()["code"], "SESSION_REVOKED");
            });
        }
    });
}

#[test]
fn a_token_that_was_tampered_with_is_no_token() {
    let server = Server::start();
    let session = server.session("a", 1000);
    server.advance(500);
    let middle = session.token.len() / 2;
    for at in ["tnr_sess_".len(), "tnr_sess_v4.local.".len(), middle, session.token.len() - 1] {
        let mut bytes = session.token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let token = String::from_utf8(bytes).unwrap();
        let forged = Session { id: session.id.clone(), token };
        server.renew(&forged).send().refused(401, "INVALID_TOKEN");
        assert_eq!(server.introspect(&forged.token).json()["code"], "INVALID_TOKEN");
    }
    assert!(server.events("RenewalRejected").is_empty(), "without a genuine token nothing is recorded");
    for more in [format!("{} ", session.token), format!("{}A", session.token), session.token.to_uppercase()] {
        assert_eq!(server.introspect(&more).json()["code"], "INVALID_TOKEN", "{more}");
    }
}
