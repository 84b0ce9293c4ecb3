//! Rotations: what becomes of every live token, row by row of the table in `docs/keys.md`, also under load.

use std::{
    sync::{Barrier, atomic::AtomicUsize, atomic::Ordering::Relaxed},
    thread,
};

use serde_json::{Value, json};
use tenure::core::Timestamp;

use crate::{
    access_tokens::{judged_by_published_key, keys, kid, minted, now},
    server::{Reply, Request, Server, Session, at_once},
};

fn rotation(server: &Server, which: &str, retire: &str) -> Request {
    let body = json!({ "which": which, "retire": retire });
    server.post("/v1/keys/rotate").bearer(&server.admin).json(&body)
}

fn rotate(server: &Server, which: &str, retire: &str) -> Reply {
    rotation(server, which, retire).send().expect(200)
}

fn is_live(server: &Server, token: &str) -> bool {
    server.introspect(token).json()["active"] == json!(true)
}

/// Whole seconds until a moment. A clock that stands still begins anew with the process, where the log ends or later: on
/// a busy machine some seconds later.
fn seconds_until(server: &Server, moment: Timestamp) -> u64 {
    u64::try_from(moment.millis_since(now(server))).unwrap() / 1000
}

/// Judged invalid, and nothing more is said of it.
fn is_no_token(server: &Server, session: &Session) {
    assert_eq!(server.introspect(&session.token).json(), json!({ "active": false, "code": "INVALID_TOKEN" }));
    server.renew(session).send().refused(401, "INVALID_TOKEN");
    server.get(&session.path()).bearer(&session.token).send().refused(401, "INVALID_TOKEN");
}

fn status(server: &Server, session: &Session) -> String {
    server.get(&session.path()).bearer(&server.admin).send().expect(200).text("status")
}

fn files(server: &Server, which: &str) -> Vec<String> {
    let entries = std::fs::read_dir(server.data().join("keys").join(which)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The id of the key that sealed a session token: the text of its footer.
fn sealer(token: &str) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let footer = token.rsplit('.').next().unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(footer).unwrap()).unwrap()
}

#[test]
fn a_session_key_with_an_overlap_goes_on_opening_until_its_longest_token_has_ended() {
    let mut server = Server::start();
    let long = server.session("long", 3600);
    let reply = rotate(&server, "session", "overlap").json();
    assert_eq!(reply["previousKeyId"], json!(sealer(&long.token)));
    let over = now(&server).plus_millis(3_600_000);
    assert_eq!(reply["retireAt"], json!(over), "the longest ttl that was issued");
    assert_eq!(reply["rotatedAt"], json!(now(&server)));
    let new = server.session("new", 604_800);
    assert_eq!(json!(sealer(&new.token)), reply["keyId"], "what is sealed after the answer");
    assert!(is_live(&server, &long.token) && is_live(&server, &new.token));
    server.kill9();
    assert!(is_live(&server, &long.token) && is_live(&server, &new.token), "also after a crash");
    server.advance(seconds_until(&server, over) - 1);
    assert!(is_live(&server, &long.token));
    assert_eq!(files(&server, "session"), ["0001.paserk", "0002.paserk"]);
    server.advance(2);
    is_no_token(&server, &long);
    assert_eq!(status(&server, &long), "EXPIRED");
    assert!(is_live(&server, &new.token));
    assert_eq!(files(&server, "session"), ["0002.paserk"], "the old key is gone from the disk");
}

#[test]
fn the_overlap_may_be_set_shorter_and_then_ends_tokens_before_their_session() {
    let mut server = Server::with(&["keys.overlap=60"]);
    let session = server.session("agent", 3600);
    let access = minted(&server, &session);
    for which in ["session", "access"] {
        let retire_at = rotate(&server, which, "overlap").text("retireAt");
        assert_eq!(Timestamp::parse(&retire_at), Some(now(&server).plus_millis(60_000)));
    }
    server.advance(59);
    assert!(is_live(&server, &session.token) && judged_by_published_key(&server, &access).is_some());
    server.advance(1);
    is_no_token(&server, &session);
    assert_eq!(judged_by_published_key(&server, &access), None);
    assert_eq!(status(&server, &session), "ACTIVE", "the session itself goes on");
    server.restart();
    is_no_token(&server, &session);
}

#[test]
fn a_session_key_retired_now_ends_every_token_of_every_key_before_it_at_once() {
    let mut server = Server::start();
    let oldest = server.session("oldest", 3600);
    rotate(&server, "session", "overlap");
    let old = server.session("old", 3600);
    // The authority has seen both to be genuine, and remembers it.
    assert!(is_live(&server, &oldest.token) && is_live(&server, &old.token));
    let reply = rotate(&server, "session", "now").json();
    assert_eq!(reply["retireAt"], reply["rotatedAt"]);
    for session in [&oldest, &old] {
        is_no_token(&server, session);
        assert_eq!(status(&server, session), "ACTIVE");
    }
    let new = server.session("new", 3600);
    assert!(is_live(&server, &new.token));
    assert_eq!(files(&server, "session"), ["0003.paserk"]);
    server.kill9();
    for session in [&oldest, &old] {
        is_no_token(&server, session);
    }
    assert!(is_live(&server, &new.token));
}

#[test]
fn a_renewal_with_a_token_of_the_old_key_gives_one_of_the_new_key() {
    let server = Server::start();
    let session = server.session("agent", 3600);
    server.advance(1800);
    let new_key = rotate(&server, "session", "overlap").text("keyId");
    let renewed = session.renewed(&server.renew(&session).send().expect(200));
    assert_eq!(sealer(&renewed.token), new_key);
    assert!(is_live(&server, &renewed.token));
}

#[test]
fn a_lost_reply_is_made_good_across_a_rotation_and_a_restart() {
    let mut server = Server::start();
    let session = server.session("agent", 3600);
    server.advance(1800);
    let renewed = server.renew(&session).key("renewal-1").send().expect(200);
    let new_key = rotate(&server, "session", "overlap").text("keyId");
    for _ in 0..2 {
        let repeated = server.renew(&session).key("renewal-1").send().expect(200);
        // Whoever reads at that position reads the renewal.
        assert!(repeated.position().is_some());
        assert_eq!(repeated.position(), renewed.position());
        assert_eq!(repeated.json()["renewalCount"], 1);
        assert_eq!(sealer(&repeated.text("token")), new_key);
        server.kill9();
    }
    let repeated = server.renew(&session).key("renewal-1").send().expect(200);
    assert!(is_live(&server, &repeated.text("token")));
}

/// Nobody who has the old key may have a token sealed anew, so the lost reply is lost.
#[test]
fn a_lost_reply_is_not_made_good_once_its_key_is_retired() {
    let server = Server::start();
    let session = server.session("agent", 3600);
    server.advance(1800);
    server.renew(&session).key("renewal-1").send().expect(200);
    rotate(&server, "session", "now");
    server.renew(&session).key("renewal-1").send().refused(401, "INVALID_TOKEN");
}

#[test]
fn a_create_that_is_repeated_across_a_rotation_gives_a_token_of_the_new_key() {
    let server = Server::start();
    server.register("agent", &json!({}));
    let create = server.post("/v1/sessions").bearer(&server.admin).json(&json!({ "subjectId": "agent" }));
    let create = create.key("order-7");
    let first = create.send().expect(201);
    for (retire, is_first_live) in [("overlap", true), ("now", false)] {
        let new_key = rotate(&server, "session", retire).text("keyId");
        let repeated = create.send().expect(201);
        assert_eq!(repeated.text("sessionId"), first.text("sessionId"));
        assert_eq!(sealer(&repeated.text("token")), new_key);
        assert!(is_live(&server, &repeated.text("token")));
        assert_eq!(is_live(&server, &first.text("token")), is_first_live, "{retire}");
    }
}

#[test]
fn an_access_key_with_an_overlap_is_published_as_retiring_until_its_longest_token_has_ended() {
    let mut server = Server::start();
    let session = server.session("agent", 86_400);
    let old = minted(&server, &session);
    let reply = rotate(&server, "access", "overlap").json();
    let listed = keys(&server);
    let summary: Vec<_> = listed.iter().map(|key| (&key["keyId"], &key["state"], &key["retireAt"])).collect();
    let over = json!(now(&server).plus_millis(1_800_000));
    let (retiring, active) = (json!("retiring"), json!("active"));
    assert_eq!(summary, [(&json!(kid(&old)), &retiring, &over), (&reply["keyId"], &active, &json!(null))]);
    let new = minted(&server, &session);
    assert_eq!(json!(kid(&new)), reply["keyId"]);
    server.kill9();
    assert_eq!(keys(&server), listed);
    let over = Timestamp::parse(over.as_str().unwrap()).unwrap();
    server.advance(seconds_until(&server, over) - 1);
    assert_eq!(keys(&server), listed);
    server.advance(2);
    assert_eq!(keys(&server).len(), 1);
    let published = keys(&server);
    let is_published = |token: &str| published.iter().any(|key| key["keyId"] == json!(kid(token)));
    assert!(!is_published(&old) && is_published(&minted(&server, &session)));
    assert_eq!(files(&server, "access"), ["0002.paserk"]);
    assert!(is_live(&server, &session.token), "session tokens are left alone");
}

#[test]
fn an_access_key_retired_now_is_published_no_more() {
    let mut server = Server::start();
    let session = server.session("agent", 3600);
    let oldest = minted(&server, &session);
    rotate(&server, "access", "overlap");
    let old = minted(&server, &session);
    rotate(&server, "access", "now");
    for token in [&oldest, &old] {
        assert_eq!(judged_by_published_key(&server, token), None);
    }
    assert!(judged_by_published_key(&server, &minted(&server, &session)).is_some());
    assert_eq!(files(&server, "access"), ["0003.paserk"]);
    server.kill9();
    assert_eq!(keys(&server).len(), 1);
    assert!(is_live(&server, &session.token));
}

#[test]
fn rotations_of_the_access_key_leave_sessions_and_their_renewals_alone() {
    let server = Server::start();
    let session = server.session("agent", 3600);
    server.advance(1800);
    rotate(&server, "access", "overlap");
    server.renew(&session).key("renewal-1").send().expect(200);
    rotate(&server, "access", "now");
    let renewed = session.renewed(&server.renew(&session).key("renewal-1").send().expect(200));
    assert!(is_live(&server, &renewed.token));
}

#[test]
fn rotations_leave_access_tokens_of_other_keys_api_keys_heads_and_texts_alone() {
    let server = Server::start();
    let access = minted(&server, &server.session("agent", 3600));
    server.register("agent", &json!({ "name": "Seven" }));
    let verifier_key =
        || server.get("/v1/audit/head").bearer(&server.admin).send().expect(200).text("verifierKey");
    let before = verifier_key();
    rotate(&server, "session", "now");
    rotate(&server, "access", "overlap");
    assert!(judged_by_published_key(&server, &access).is_some());
    assert_eq!(verifier_key(), before);
    let subject = server.get("/v1/subjects/agent").bearer(&server.admin).send().expect(200);
    assert_eq!(subject.text("name"), "Seven");
}

#[test]
fn a_second_overlap_within_300_seconds_is_refused_and_now_never_is() {
    let server = Server::start();
    server.session("agent", 3600);
    rotate(&server, "session", "overlap");
    let earliest = now(&server).plus_millis(300_000);
    server.advance(299);
    let refused = rotation(&server, "session", "overlap").send().refused(429, "ROTATION_TOO_RECENT");
    assert_eq!(refused.json()["retryAt"], json!(earliest));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!((&refused.json()["retryable"], refused.position()), (&json!(true), None));
    assert_eq!(files(&server, "session").len(), 2, "no key is left of it");
    rotate(&server, "access", "overlap");
    rotate(&server, "session", "now");
    rotate(&server, "session", "now");
    server.advance(1);
    rotate(&server, "session", "overlap");
}

#[test]
fn a_rotation_that_is_repeated_under_its_key_is_done_once() {
    let mut server = Server::start();
    let asked = rotation(&server, "session", "now").key("incident-7");
    let replies = at_once(&asked, 8);
    server.restart();
    let again = rotation(&server, "session", "now").key("incident-7").send().expect(200);
    for reply in &replies {
        assert_eq!((reply.status, reply.json(), reply.position()), (200, again.json(), again.position()));
    }
    assert_eq!(files(&server, "session"), ["0002.paserk"]);
    let other = rotation(&server, "access", "now").key("incident-7").send();
    other.refused(422, "IDEMPOTENCY_KEY_REUSED");
}

#[test]
fn a_rotation_is_recorded_with_the_ids_of_the_keys_and_never_with_a_key() {
    let server = Server::start();
    let reply = rotate(&server, "access", "overlap");
    let events = server.events("KeyRotated");
    let firsts: Vec<_> = events[..2].iter().map(|event| &event["data"]).collect();
    for (first, which) in firsts.iter().zip(["session", "access"]) {
        assert_eq!((&first["which"], &first["previousKeyId"]), (&json!(which), &json!(null)));
    }
    assert_eq!(events.len(), 3);
    assert_eq!(events[2]["position"], json!(reply.position().unwrap()));
    assert_eq!(events[2]["data"]["keyId"], reply.json()["keyId"]);
    assert_eq!(events[2]["data"]["previousKeyId"], firsts[1]["keyId"]);
    let told = serde_json::to_string(&events).unwrap();
    assert!(
        !told.contains("k4.secret") && !told.contains("k4.local") && !told.contains("k4.public"),
        "{told}"
    );
    for secret in ["k4.secret.", "k4.local."] {
        for file in ["log/1/db", "snapshot"] {
            let bytes = std::fs::read(server.data().join(file)).unwrap_or_default();
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} in {file}");
        }
    }
}

#[test]
fn only_an_admin_rotates_and_only_what_there_is() {
    let server = Server::start();
    for role in ["issuer", "verifier", "auditor"] {
        let (key, _) = server.issue_key(role, None);
        let asked = server.post("/v1/keys/rotate").bearer(&key).json(&json!({ "which": "session" }));
        asked.send().refused(403, "FORBIDDEN");
    }
    let ask = |body: &Value| server.post("/v1/keys/rotate").bearer(&server.admin).json(body).send();
    for (body, field) in [
        (json!({}), "which"),
        (json!({ "which": "head" }), "which"),
        (json!({ "which": "session", "retire": "later" }), "retire"),
        (json!({ "which": "session", "at": 1 }), "at"),
    ] {
        assert_eq!(ask(&body).refused(400, "INVALID_REQUEST").fields(), [field], "{body}");
    }
    assert_eq!(ask(&json!({ "which": "session" })).expect(200).json()["retire"], json!("overlap"));
}

/// One holder: it looks at its token all the time, renews it, loses the reply and asks again, while keys rotate.
fn renew_and_look(server: &Server, session: &Session, round: usize, checks: &AtomicUsize) -> Session {
    let look = |token: &str| {
        for _ in 0..10 {
            let reply = server.introspect(token).expect(200);
            assert_eq!(reply.json()["active"], json!(true), "round {round}: {reply:?}");
            checks.fetch_add(1, Relaxed);
        }
    };
    look(&session.token);
    let key = format!("renewal-{round}");
    server.renew(session).key(&key).send().expect(200);
    let renewed = session.renewed(&server.renew(session).key(&key).send().expect(200));
    look(&renewed.token);
    renewed
}

#[test]
fn no_renewal_and_no_check_fails_because_session_keys_rotate() {
    const HOLDERS: usize = 8;
    const ROUNDS: usize = 6;
    let server = Server::start();
    let sessions: Vec<_> = (0..HOLDERS).map(|n| server.session(&format!("agent-{n}"), 600)).collect();
    let checks = AtomicUsize::new(0);
    let round = Barrier::new(HOLDERS + 1);
    thread::scope(|scope| {
        for session in &sessions {
            scope.spawn(|| {
                let mut session = session.clone();
                for number in 0..ROUNDS {
                    round.wait();
                    session = renew_and_look(&server, &session, number, &checks);
                    round.wait();
                }
                assert!(is_live(&server, &session.token));
            });
        }
        for _ in 0..ROUNDS {
            server.advance(301);
            round.wait();
            rotate(&server, "session", "overlap");
            round.wait();
        }
    });
    assert_eq!(checks.load(Relaxed), HOLDERS * ROUNDS * 20);
    assert_eq!(server.events("KeyRotated").len(), 2 + ROUNDS);
    assert_eq!(server.events("SessionRenewed").len(), HOLDERS * ROUNDS);
}
