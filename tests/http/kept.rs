//! What a caller gives us to keep comes back as it was given (section 0).

use serde_json::{Value, json};

use crate::server::{Reply, Server};

const METADATA: &str =
    r#"{"order":18446744073709551617,"account":12345678901234567890123,"rate":1.10,"zero":-0}"#;

fn create(server: &Server, metadata: &str) -> Reply {
    let body = format!(r#"{{"subjectId":"bot","metadata":{metadata}}}"#);
    server.post("/v1/sessions").bearer(&server.admin).json_text(&body).send()
}

/// An account number was put in as an integer and read back, in every list and for good, as a float that names
/// another account.
#[test]
fn the_numbers_of_metadata_come_back_digit_for_digit_wherever_it_is_shown() {
    let server = Server::start();
    server.register("bot", &json!({}));
    let created = create(&server, METADATA).expect(201);
    let (id, token) = (created.text("sessionId"), created.text("token"));
    let get = |target: &str| server.get(target).bearer(&server.admin).send().expect(200).body;
    let shown = format!(r#""metadata":{METADATA}"#);
    let position = created.position().unwrap();
    for target in [
        format!("/v1/sessions/{id}"),
        format!("/v1/sessions/{id}?asOfPosition={position}"),
        "/v1/sessions".to_owned(),
        "/v1/sessions?subjectId=bot".to_owned(),
        "/v1/events?kinds=SessionCreated".to_owned(),
    ] {
        assert!(get(&target).contains(&shown), "{target}: {}", get(&target));
    }
    let own = server.get(&format!("/v1/sessions/{id}")).bearer(&token).send().expect(200);
    assert!(own.body.contains(&shown), "{own:?}");
    let asked = json!({ "token": token, "include": ["metadata"] });
    let live = server.post("/v1/introspect").bearer(&server.admin).json(&asked).send().expect(200);
    assert!(live.body.contains(&shown), "{live:?}");
    let mut events = server.get("/v1/events?kinds=SessionCreated").bearer(&server.admin).listen();
    let (_, event) = events.next().unwrap();
    assert_eq!(event["data"]["metadata"]["rate"], json!(1.1));
}

#[test]
fn white_space_between_members_is_no_part_of_metadata() {
    let server = Server::start();
    server.register("bot", &json!({}));
    let id =
        create(&server, " { \"b\" : [ 1 , 2 ] , \"a\" : \"\\u00e4 \\n\" } ").expect(201).text("sessionId");
    let shown = server.get(&format!("/v1/sessions/{id}")).bearer(&server.admin).send().expect(200).body;
    assert!(shown.contains("\"metadata\":{\"b\":[1,2],\"a\":\"ä \\n\"}"), "{shown}");
}

fn nested(levels: usize) -> String {
    format!("{}{}", r#"{"a":"#.repeat(levels - 1) + "{}", "}".repeat(levels - 1))
}

/// An issuer that passes a user's metadata on took 126 levels of it, and every list with that session was one that
/// no reader with a limit could read.
#[test]
fn metadata_is_nested_sixteen_levels_deep_at_most() {
    let server = Server::start();
    server.register("bot", &json!({ "maxSessions": 100 }));
    let id = create(&server, &nested(16)).expect(201).text("sessionId");
    let shown = server.get(&format!("/v1/sessions/{id}")).bearer(&server.admin).send().expect(200);
    assert_eq!(shown.json()["metadata"].to_string(), nested(16));
    for deep in
        [nested(17), nested(126), nested(700), format!(r#"{{"a":{}}}"#, "[".repeat(16) + &"]".repeat(16))]
    {
        let refused = create(&server, &deep).refused(400, "INVALID_REQUEST");
        assert_eq!(refused.fields(), ["metadata"], "{refused:?}");
    }
    // At most 16 levels are read of any field, and what lies below is no reason to fail in another way.
    let deep = "[".repeat(30_000) + &"]".repeat(30_000);
    let body = format!(r#"{{"subjectId":"bot","constraints":{{"allowedOperations":{deep}}}}}"#);
    let refused = server.post("/v1/sessions").bearer(&server.admin).json_text(&body).send();
    assert_eq!(refused.refused(400, "INVALID_REQUEST").fields(), ["constraints"]);
    let body = format!(r#"{{"subjectId":"bot","device":{deep}}}"#);
    let refused = server.post("/v1/sessions").bearer(&server.admin).json_text(&body).send();
    assert_eq!(refused.refused(400, "INVALID_REQUEST").fields(), ["device"]);
}

/// A limit that was given as "12.50" was read back as "12.5".
#[test]
fn amounts_of_constraints_come_back_digit_for_digit_wherever_they_are_shown() {
    let mut server = Server::start();
    server.register("bot", &json!({}));
    let limits = json!({ "maxAmountPerTx": "12.50", "maxTotalAmount": "100.00" });
    let session = server.create(&json!({ "subjectId": "bot", "constraints": limits }));
    let using = json!({ "operation": "pay", "amount": "12.50" });
    let usage = server.post(&format!("{}/usage", session.path())).bearer(&session.token).json(&using);
    assert_eq!(usage.send().expect(200).json()["usage"]["totalAmount"], "12.5", "a sum is ours");
    let told = r#""maxAmountPerTx":"12.50","maxTotalAmount":"100.00""#;
    for _ in 0..2 {
        for target in [&session.path(), "/v1/sessions", "/v1/events?kinds=SessionCreated"] {
            let shown = server.get(target).bearer(&server.admin).send().expect(200).body;
            assert!(shown.contains(told), "{target}: {shown}");
        }
        server.restart();
    }
    let recorded = server.events("UsageRecorded");
    assert_eq!(recorded[0]["data"]["amount"], "12.50");
}

/// Equal constraints are kept once in memory, and amounts are equal by their value.
#[test]
fn sessions_with_equal_amounts_show_each_as_it_was_given() {
    let mut server = Server::start();
    server.register("bot", &json!({}));
    let given = ["12.50", "12.5", "12.500"];
    let sessions = given
        .map(|most| server.create(&json!({ "subjectId": "bot", "constraints": { "maxTotalAmount": most } })));
    for _ in 0..2 {
        for (session, most) in sessions.iter().zip(given) {
            let shown = server.get(&session.path()).bearer(&server.admin).send().expect(200).json();
            assert_eq!(shown["constraints"]["maxTotalAmount"], most);
        }
        server.restart();
    }
}

#[test]
fn empty_constraints_are_none() {
    let server = Server::start();
    server.register("bot", &json!({}));
    for empty in [json!({}), Value::Null, json!({ "maxTransactions": null })] {
        let id = server.create(&json!({ "subjectId": "bot", "constraints": empty })).id;
        let read = server.get(&format!("/v1/sessions/{id}")).bearer(&server.admin).send().expect(200);
        assert_eq!(read.json()["constraints"], Value::Null, "{empty}");
    }
}

/// 40 scopes of 128 characters were granted, and the documented proxy answered 500 to every request of the session:
/// the head of the answer did not fit into its buffer.
#[test]
fn scopes_have_two_kibibytes_in_all_joined_by_blanks() {
    let server = Server::start();
    server.register("bot", &json!({ "maxSessions": 100 }));
    let ask = |scopes: &[String]| {
        let body = json!({ "subjectId": "bot", "scopes": scopes });
        server.post("/v1/sessions").bearer(&server.admin).json(&body).send()
    };
    // 15 of 128 bytes with their blanks are 1935; 113 more and no blank behind them are 2048.
    let mut scopes = vec!["s".repeat(128); 15];
    scopes.push("s".repeat(113));
    assert_eq!(scopes.join(" ").len(), 2048);
    ask(&scopes).expect(201);
    scopes[15].push('s');
    let refused = ask(&scopes).refused(400, "INVALID_REQUEST");
    assert_eq!(refused.fields(), ["scopes"]);
    assert!(refused.body.contains("2048"), "{refused:?}");
    let many = vec!["s".repeat(31); 64];
    assert_eq!(many.join(" ").len(), 2047);
    ask(&many).expect(201);
    assert_eq!(ask(&vec!["s".repeat(32); 64]).refused(400, "INVALID_REQUEST").fields(), ["scopes"]);
}
