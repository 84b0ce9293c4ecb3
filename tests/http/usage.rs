//! Budgets: exact under concurrency, and after whatever may happen to the server.

use serde_json::{Value, json};

use crate::server::{Reply, Request, Server, Session, at_once};

fn session(server: &Server, constraints: &Value) -> Session {
    server.register("a", &json!({}));
    server.create(&json!({ "subjectId": "a", "ttl": 1000, "constraints": constraints }))
}

fn usage(server: &Server, session: &Session, body: &Value) -> Request {
    server.post(&format!("{}/usage", session.path())).bearer(&session.token).json(body)
}

fn shown(server: &Server, session: &Session, query: &str) -> Value {
    let reply = server.get(&format!("{}{query}", session.path())).bearer(&server.admin).send().expect(200);
    reply.json()["usage"].clone()
}

fn count(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

#[test]
fn of_64_uses_at_once_exactly_as_many_are_granted_as_the_budget_has_room_for() {
    for (constraint, limit) in [("maxTotalAmount", json!("1")), ("maxTransactions", json!(10))] {
        let server = Server::start();
        let session = session(&server, &json!({ constraint: limit }));
        let paying = usage(&server, &session, &json!({ "operation": "pay", "amount": "0.1" }));
        let replies = at_once(&paying, 64);
        assert_eq!((count(&replies, 200), count(&replies, 403)), (10, 54), "{replies:?}");
        for refused in replies.into_iter().filter(|reply| reply.status != 200) {
            let refused = refused.refused(403, "CONSTRAINT_VIOLATED");
            assert_eq!((refused.text("constraint").as_str(), refused.position()), (constraint, None));
        }
        let after = shown(&server, &session, "");
        assert_eq!((&after["transactions"], &after["totalAmount"]), (&json!(10), &json!("1")));
        assert_eq!(server.events("UsageRecorded").len(), 10);
    }
}

/// A renewal, an orderly stop and a kill spend nothing and forget nothing.
#[test]
fn usage_survives_renewal_restart_and_kill_9_and_the_past_stays_what_it_was() {
    let mut server = Server::start();
    let mut session = session(&server, &json!({ "maxTotalAmount": "0.4" }));
    let paying = json!({ "operation": "pay", "amount": "0.1" });
    let mut positions = vec![];
    for step in 0..4_u32 {
        let reply = usage(&server, &session, &paying).send().expect(200);
        assert_eq!(reply.json()["usage"]["transactions"], step + 1);
        positions.push(reply.position().unwrap());
        match step {
            0 => {}
            1 => server.restart(),
            _ => server.kill9(),
        }
        server.advance(600);
        session = session.renewed(&server.renew(&session).send().expect(200));
        assert_eq!(shown(&server, &session, ""), reply.json()["usage"]);
    }
    let refused = usage(&server, &session, &paying).send().refused(403, "CONSTRAINT_VIOLATED");
    assert_eq!(refused.text("constraint"), "maxTotalAmount");
    for (position, total) in positions.into_iter().zip(["0.1", "0.2", "0.3", "0.4"]) {
        assert_eq!(shown(&server, &session, &format!("?asOfPosition={position}"))["totalAmount"], total);
        let before = shown(&server, &session, &format!("?asOfPosition={}", position - 1));
        assert_ne!(before["totalAmount"], total);
    }
}

#[test]
fn a_use_that_is_repeated_under_its_key_counts_once_also_after_kill_9() {
    let mut server = Server::start();
    let session = session(&server, &json!({ "maxTotalAmount": "1" }));
    let paying = json!({ "operation": "pay", "amount": "0.6" });
    let first = |server: &Server| usage(server, &session, &paying).key("order-7");
    let mut replies = at_once(&first(&server), 16);
    // What comes between does not change the first answer.
    usage(&server, &session, &json!({ "operation": "pay", "amount": "0.4" })).send().expect(200);
    server.kill9();
    replies.extend(at_once(&first(&server), 4));
    for reply in &replies {
        assert_eq!((reply.status, reply.json(), reply.position()), {
            (200, replies[0].json(), replies[0].position())
        });
        assert_eq!(reply.json()["usage"]["totalAmount"], "0.6");
    }
    assert_eq!(shown(&server, &session, "")["totalAmount"], "1");
    let other = usage(&server, &session, &json!({ "operation": "take", "amount": "0.6" })).key("order-7");
    other.send().refused(422, "IDEMPOTENCY_KEY_REUSED");
}

#[test]
fn amounts_are_decimal_text_of_at_most_38_digits() {
    let server = Server::start();
    let session = session(&server, &json!({}));
    let most = "9".repeat(38);
    for wrong in [
        json!(1),
        json!(0.1),
        json!(""),
        json!("-1"),
        json!("1e3"),
        json!("01"),
        json!(".5"),
        json!("1."),
        json!(" 1"),
        json!(true),
        json!([]),
        json!(format!("{most}9")),
        json!(format!("{most}.0")),
    ] {
        let body = json!({ "operation": "pay", "amount": wrong });
        let refused = usage(&server, &session, &body).send().refused(400, "INVALID_REQUEST");
        assert_eq!(refused.fields(), ["amount"], "{wrong}");
        for limit in ["maxAmountPerTx", "maxTotalAmount"] {
            let body = json!({ "subjectId": "a", "constraints": { limit: wrong } });
            let refused = server.post("/v1/sessions").bearer(&server.admin).json(&body).send();
            let refused = refused.refused(400, "INVALID_REQUEST");
            assert_eq!(refused.fields(), [format!("constraints.{limit}")], "{wrong}");
        }
    }
    for (amount, total) in [(most.as_str(), most.clone()), ("1", format!("1{}", "0".repeat(38)))] {
        let reply =
            usage(&server, &session, &json!({ "operation": "pay", "amount": amount })).send().expect(200);
        assert_eq!(reply.json()["usage"]["totalAmount"], total);
    }
}

#[test]
fn every_fault_of_a_use_or_of_constraints_is_named() {
    let server = Server::start();
    let session = session(&server, &json!({}));
    for (body, fields) in [
        (json!({}), vec!["operation"]),
        (json!({ "operation": "" }), vec!["operation"]),
        (json!({ "operation": "x".repeat(129) }), vec!["operation"]),
        (json!({ "operation": "a\nb" }), vec!["operation"]),
        (json!({ "operation": "pay", "destination": "x".repeat(257) }), vec!["destination"]),
        (json!({ "operation": "pay", "amout": "1" }), vec!["amout"]),
    ] {
        let refused = usage(&server, &session, &body).send().refused(400, "INVALID_REQUEST");
        assert_eq!(refused.fields(), fields, "{body}");
    }
    for (constraints, fields) in [
        (json!([]), vec!["constraints"]),
        (json!({ "allowedOperations": vec!["x".repeat(100); 90] }), vec!["constraints"]),
        (json!({ "maxAmount": "1" }), vec!["constraints.maxAmount"]),
        (json!({ "maxTransactions": -1 }), vec!["constraints.maxTransactions"]),
        (json!({ "maxTransactions": 1.5 }), vec!["constraints.maxTransactions"]),
        (json!({ "maxTransactions": 9_007_199_254_740_992_u64 }), vec!["constraints.maxTransactions"]),
        (json!({ "allowedOperations": "pay" }), vec!["constraints.allowedOperations"]),
        (json!({ "allowedOperations": [""] }), vec!["constraints.allowedOperations"]),
        (json!({ "allowedDestinations": [1] }), vec!["constraints.allowedDestinations"]),
        (json!({ "tnr_key_x": 1 }), vec!["constraints.(hidden)"]),
    ] {
        let body = json!({ "subjectId": "a", "constraints": constraints });
        let refused = server.post("/v1/sessions").bearer(&server.admin).json(&body).send();
        assert_eq!(refused.refused(400, "INVALID_REQUEST").fields(), fields, "{constraints}");
    }
    let twice = r#"{"subjectId": "a", "constraints": {"maxTransactions": 1, "maxTransactions": 2}}"#;
    let refused = server.post("/v1/sessions").bearer(&server.admin).json_text(twice).send();
    assert_eq!(refused.refused(400, "INVALID_REQUEST").fields(), ["constraints.maxTransactions"]);
    assert!(server.events("UsageRecorded").is_empty());
}

#[test]
fn a_use_is_no_notice() {
    let server = Server::start();
    let session = session(&server, &json!({}));
    usage(&server, &session, &json!({ "operation": "pay" })).send().expect(200);
    let notices = server.get("/v1/notices").bearer(&server.admin).send().expect(200).json();
    let kinds: Vec<_> = notices["items"].as_array().unwrap().iter().map(|notice| &notice["kind"]).collect();
    assert_eq!(kinds, ["SESSION_CREATED"]);
}
