//! What several callers do to the same sessions at once: whatever the order, the promises hold and the log says it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::server::{Reply, Request, Server, Session, all_at_once, at_once};

/// All active sessions of a subject, by id.
fn active(server: &Server, subject: &str) -> Vec<String> {
    let path = format!("/v1/sessions?subjectId={subject}&status=active&limit=200");
    let list = server.get(&path).bearer(&server.admin).send().expect(200).json();
    let items = list["items"].as_array().unwrap();
    items.iter().map(|item| item["sessionId"].as_str().unwrap().to_owned()).collect()
}

fn creation(server: &Server, subject: &str) -> Request {
    server.post("/v1/sessions").bearer(&server.admin).json(&json!({ "subjectId": subject }))
}

/// The ids of what was created; none of it was refused.
fn created(replies: Vec<Reply>) -> BTreeSet<String> {
    replies.into_iter().map(|reply| reply.expect(201).text("sessionId")).collect()
}

fn agree(server: &Server) {
    let found = server.get("/v1/audit/check").bearer(&server.admin).send().expect(200).json();
    assert_eq!(found["differences"], json!([]), "{found}");
}

#[test]
fn of_many_created_at_once_where_one_may_live_one_lives_and_each_other_is_evicted_once() {
    const MANY: usize = 48;
    let mut server = Server::start();
    server.register("agent", &json!({ "maxSessions": 1, "onLimit": "evict_oldest" }));
    let all = created(at_once(&creation(&server, "agent"), MANY));
    assert_eq!(all.len(), MANY);

    let live = active(&server, "agent");
    let last = server.events("SessionCreated").pop().unwrap();
    assert_eq!(json!(live), json!([last["sessionId"]]), "the one that came last");
    let evicted = server.events("SessionRevoked");
    assert_eq!(evicted.len(), MANY - 1);
    assert!(evicted.iter().all(|event| event["data"]["trigger"] == "evicted"), "{evicted:?}");
    let ended: BTreeSet<_> =
        evicted.iter().map(|event| event["sessionId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ended.len(), MANY - 1, "none twice");
    assert!(ended.is_subset(&all) && !ended.contains(&live[0]));
    assert_eq!(server.events("SessionsRevoked"), Vec::<Value>::new());
    server.kill9();
    assert_eq!(active(&server, "agent"), live);
    agree(&server);
}

/// More than 256 that make room at once are one event, whoever of the racers it was that needed the room.
#[test]
fn where_many_have_to_make_room_one_of_the_racers_ends_them_all_in_one_event() {
    const BEFORE: usize = 300;
    const MANY: usize = 16;
    let server = Server::start();
    server.register("agent", &json!({ "maxSessions": BEFORE }));
    for _ in 0..BEFORE / 50 {
        created(at_once(&creation(&server, "agent"), 50));
    }
    server.register("agent", &json!({ "maxSessions": 1, "onLimit": "evict_oldest" }));
    created(at_once(&creation(&server, "agent"), MANY));
    assert_eq!(active(&server, "agent").len(), 1);
    let many = server.events("SessionsRevoked");
    let said: Vec<_> = many.iter().map(|event| &event["data"]).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!((&said[0]["matched"], &said[0]["trigger"]), (&json!(BEFORE), &json!("evicted")));
    assert_eq!(server.events("SessionRevoked").len(), MANY - 1);
    agree(&server);
}

#[test]
fn of_renewals_and_a_bulk_revocation_at_once_none_is_granted_after_it_and_none_survives_it() {
    const ROUNDS: usize = 6;
    const EACH: usize = 16;
    let mut server = Server::start();
    let (mut before, mut too_late) = (0, 0);
    for round in 0..ROUNDS {
        let subject = |number| format!("agent-{round}-{number}");
        let sessions: Vec<Session> =
            (0..EACH).map(|number| server.session(&subject(number), 86_400)).collect();
        server.advance(43_200);
        let body = json!({ "selector": { "all": true }, "reason": "an incident" });
        let all = server.post("/v1/revocations").bearer(&server.admin).json(&body);
        // It comes at another place among them each time.
        let mut requests: Vec<Request> = sessions.iter().map(|session| server.renew(session)).collect();
        let place = round * EACH / ROUNDS;
        requests.insert(place, all);
        let mut replies = all_at_once(&requests);
        let ended = replies.remove(place).expect(200);
        assert_eq!(ended.json()["matched"], EACH, "each was live, renewed or not");
        let end = ended.position().unwrap();
        for (session, reply) in sessions.iter().zip(replies) {
            let renewed = outcome(session, reply, end);
            before += usize::from(renewed.is_some());
            too_late += usize::from(renewed.is_none());
            for token in [Some(session), renewed.as_ref()].into_iter().flatten() {
                let judged = server.introspect(&token.token).json();
                assert_eq!(judged, json!({ "active": false, "code": "SESSION_REVOKED" }));
            }
        }
        let late = server.events("SessionRenewed").into_iter().filter(|event| {
            let of_round = sessions.iter().any(|session| event["sessionId"] == session.id);
            of_round && event["position"].as_u64() > Some(end)
        });
        assert_eq!(late.count(), 0);
    }
    assert_eq!(before + too_late, ROUNDS * EACH);
    agree(&server);
    server.kill9();
    agree(&server);
    let list = server.get("/v1/sessions?status=active").bearer(&server.admin).send().expect(200).json();
    assert_eq!(list["items"], json!([]));
}

/// The session as a renewal left it, which was granted before that position; `None` when the end came first.
fn outcome(session: &Session, reply: Reply, end: u64) -> Option<Session> {
    if reply.status == 200 {
        assert!(reply.position().unwrap() < end, "{reply:?}");
        return Some(session.renewed(&reply));
    }
    reply.refused(401, "SESSION_REVOKED");
    None
}

/// Also when the server died between the use and the end, and whether or not it has recorded the use.
#[test]
fn the_end_of_a_session_that_lives_by_its_last_use_is_final() {
    for has_crashed in [false, true] {
        let mut server = Server::start();
        server.register("agent", &json!({}));
        let session = server.create(&json!({ "subjectId": "agent", "idleTimeout": 600 }));
        server.advance(50);
        assert_eq!(server.introspect(&session.token).json()["active"], true);
        assert_eq!(server.events("SessionsSeen"), Vec::<Value>::new(), "it is noted, and not recorded");
        if has_crashed {
            server.kill9();
        }
        server.advance(560);
        // But for that use it would be idle since 600 s.
        let body = json!({ "selector": { "all": true }, "reason": "an incident" });
        let all = server.post("/v1/revocations").bearer(&server.admin).json(&body);
        let ended = all.send().expect(200);
        assert_eq!(ended.json()["matched"], 1);
        let revoked = json!({ "active": false, "code": "SESSION_REVOKED" });
        for seconds in [0, 1, 5, 60, 600] {
            server.advance(seconds);
            assert_eq!(server.introspect(&session.token).json(), revoked);
        }
        let end = ended.position();
        let late: Vec<_> = ["SessionsSeen", "SessionExpired", "SessionRefreshed"]
            .into_iter()
            .flat_map(|kind| server.events(kind))
            .filter(|event| event["position"].as_u64() > end)
            .collect();
        assert_eq!(late, Vec::<Value>::new());
        server.restart();
        assert_eq!(server.introspect(&session.token).json(), revoked);
        server.kill9();
        assert_eq!(server.introspect(&session.token).json(), revoked);
        let told = server.get(&session.path()).bearer(&server.admin).send().expect(200).json();
        assert_eq!((&told["status"], &told["revokedTrigger"]), (&json!("REVOKED"), &json!("bulk")));
        agree(&server);
    }
}
