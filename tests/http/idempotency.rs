//! `Idempotency-Key`: repeats at once, repeats after a crash, and keys that are none.

use serde_json::json;

use crate::server::{Reply, Server, all_at_once, at_once};

/// All that a reply says but for the token, which is sealed anew each time.
fn essence(reply: &Reply) -> (u16, Option<u64>, serde_json::Value) {
    let mut body = reply.json();
    body.as_object_mut().unwrap().remove("token");
    (reply.status, reply.position(), body)
}

#[test]
fn repeats_at_once_have_one_effect_and_get_one_answer_also_after_kill_9() {
    let mut server = Server::start();
    server.register("a", &json!({}));
    let create = |server: &Server| {
        server
            .post("/v1/sessions")
            .bearer(&server.admin)
            .key("k")
            .json(&json!({ "subjectId": "a", "device": "d" }))
    };
    let mut replies = at_once(&create(&server), 16);
    server.kill9();
    replies.extend(at_once(&create(&server), 4));
    for reply in &replies {
        assert_eq!(essence(reply), essence(&replies[0]));
        assert_eq!(reply.status, 201);
        assert_eq!(server.introspect(&reply.text("token")).json()["active"], true);
    }
    assert_eq!(server.events("SessionCreated").len(), 1);
}

#[test]
fn a_key_issued_at_once_is_shown_once() {
    let server = Server::start();
    let request =
        server.post("/v1/credentials").bearer(&server.admin).key("k").json(&json!({ "role": "issuer" }));
    let replies = at_once(&request, 8);
    let shown: Vec<_> = replies.iter().filter(|reply| reply.json()["key"].is_string()).collect();
    assert_eq!(shown.len(), 1, "{replies:?}");
    assert!(replies.iter().all(|reply| reply.json()["credentialId"] == shown[0].json()["credentialId"]));
    server.get("/v1/sessions").bearer(&shown[0].text("key")).send().expect(200);
}

#[test]
fn other_bodies_at_once_under_one_key_leave_one_winner() {
    let server = Server::start();
    let named = |n: usize| {
        let body = json!({ "name": format!("name {n}") });
        server.put("/v1/subjects/a").bearer(&server.admin).key("k").json(&body)
    };
    let replies = all_at_once(&(0..8).map(named).collect::<Vec<_>>());
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1, "{replies:?}");
    assert_eq!(replies.iter().filter(|reply| reply.code() == "IDEMPOTENCY_KEY_REUSED").count(), 7);
}

#[test]
fn a_key_is_1_to_128_visible_characters_given_once() {
    let server = Server::start();
    let session = server.session("a", 1000);
    let put = || server.put("/v1/subjects/a").bearer(&server.admin).json(&json!({}));
    let renew = || server.renew(&session);
    let wrong: [Vec<u8>; 7] = [
        b"".to_vec(),
        b"\"\"".to_vec(),
        b"two words".to_vec(),
        vec![b'k'; 129],
        [&b"\""[..], &[b'k'; 129], b"\""].concat(),
        "sch\u{f6}n".as_bytes().to_vec(),
        b"a\tb".to_vec(),
    ];
    for key in wrong {
        for request in [put(), renew()] {
            let reply = request.header("idempotency-key", key.clone()).send().refused(400, "INVALID_REQUEST");
            assert_eq!(reply.fields(), ["Idempotency-Key"], "{key:?}");
        }
    }
    put().key("one").key("two").send().refused(400, "INVALID_REQUEST");
    put().key(&"k".repeat(128)).send().expect(200);
    put().key(&format!("\"{}\"", "k".repeat(128))).send().expect(200);
    put().key("!~").send().expect(200);
}

/// One caller with many keys made the table forget those of all others, and their repeats had a second effect.
#[test]
fn a_caller_with_many_keys_makes_room_itself() {
    let mut server = Server::with(&["idempotency.max=20"]);
    server.register("a", &json!({ "maxSessions": 100 }));
    let ((greedy, _), (other, _)) = (server.issue_key("issuer", None), server.issue_key("issuer", None));
    let create = |server: &Server, caller: &str, key: &str| {
        server.post("/v1/sessions").bearer(caller).key(key).json(&json!({ "subjectId": "a" })).send()
    };
    let first = create(&server, &greedy, "k0").expect(201).text("sessionId");
    for n in 1..9 {
        create(&server, &greedy, &format!("k{n}")).expect(201);
    }
    let others = create(&server, &other, "k").expect(201);
    let refused = create(&server, &greedy, "k9").refused(429, "RATE_LIMITED");
    let wait: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((60..=62).contains(&wait), "{refused:?}");
    // Without a key it goes on, and so do others with theirs; those of sessions have a half of their own.
    server.post("/v1/sessions").bearer(&greedy).json(&json!({ "subjectId": "a" })).send().expect(201);
    create(&server, &other, "another").expect(201);
    let session = server.create(&json!({ "subjectId": "a" }));
    let usage = server.post(&format!("{}/usage", session.path())).bearer(&session.token).key("k");
    usage.json(&json!({ "operation": "read" })).send().expect(200);
    assert_eq!(create(&server, &greedy, "k0").expect(201).text("sessionId"), first);
    server.advance(61);
    create(&server, &greedy, "k9").expect(201);
    server.kill9();
    let again = create(&server, &other, "k").expect(201);
    assert_eq!(again.text("sessionId"), others.text("sessionId"));
    assert_ne!(create(&server, &greedy, "k0").expect(201).text("sessionId"), first, "it was its oldest");
    let metrics = server.get("/metrics").bearer(&server.admin).send().expect(200).body;
    assert!(metrics.contains("tenure_lost_idempotency_keys_total"), "{metrics}");
}
