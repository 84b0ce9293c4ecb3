//! What is said of faults: what, where, and what would be right; all of them at once, each field one time.

use std::process::Command;

use serde_json::{Value, json};

use crate::server::{Reply, Server};

/// The message for a field.
fn said_of(reply: Reply, field: &str) -> String {
    let body = reply.refused(400, "INVALID_REQUEST").json();
    let errors = body["errors"].as_array().unwrap();
    let of_field: Vec<_> = errors.iter().filter(|error| error["field"] == field).collect();
    assert_eq!(of_field.len(), 1, "{field} in {body}");
    of_field[0]["message"].as_str().unwrap().to_owned()
}

const NO_CONTROLS: &str = "must have no control characters";

/// A name of three characters, one of them a tab, was told that it `must be text of 1 to 128 characters`.
#[test]
fn a_text_with_a_control_character_is_told_so() {
    let server = Server::start();
    let session = server.session("a", 1000);
    let usage = format!("{}/usage", session.path());
    let posts: [(&str, Value, &str); 9] = [
        ("/v1/sessions", json!({ "subjectId": "a", "device": "a\tb" }), "device"),
        (&usage, json!({ "operation": "a\u{1b}[1m" }), "operation"),
        (&usage, json!({ "operation": "pay", "destination": "a\u{7f}" }), "destination"),
        ("/v1/credentials", json!({ "role": "issuer", "name": "a\nb" }), "name"),
        ("/v1/subjects/a/erase", json!({ "reason": "a\r\nb" }), "reason"),
        ("/v1/revocations", json!({ "selector": { "all": true }, "reason": "\u{0}" }), "reason"),
        ("/v1/revocations", json!({ "selector": { "device": "a\tb" }, "reason": "r" }), "selector.device"),
        (
            "/v1/sessions",
            json!({ "subjectId": "a", "constraints": { "allowedOperations": ["a\tb"] } }),
            "constraints.allowedOperations",
        ),
        (
            "/v1/sessions",
            json!({ "subjectId": "a", "constraints": { "allowedDestinations": ["x", "a\tb"] } }),
            "constraints.allowedDestinations",
        ),
    ];
    for (path, body, field) in posts {
        let said = said_of(server.post(path).bearer(&server.admin).json(&body).send(), field);
        assert!(said.ends_with(NO_CONTROLS), "{path} {field}: {said}");
    }
    let named = |name: &str| {
        let body = json!({ "name": name });
        said_of(server.put("/v1/subjects/a").bearer(&server.admin).json(&body).send(), "name")
    };
    assert_eq!(named("a\tb"), NO_CONTROLS);
    assert_eq!(named(""), "must be text of 1 to 128 characters");
    assert_eq!(named(&"\t".repeat(129)), "must be text of 1 to 128 characters without control characters");
    let audience =
        server.post("/v1/access-tokens").bearer(&session.token).json(&json!({ "audience": "a\tb" }));
    assert_eq!(said_of(audience.send(), "audience"), NO_CONTROLS);
    for (target, field) in [
        (format!("{}?reason=a%09b", session.path()), "reason"),
        ("/v1/subjects/a/sessions?reason=a%0Ab".into(), "reason"),
        ("/v1/subjects/a/sessions?device=a%0Ab".into(), "device"),
    ] {
        assert_eq!(
            said_of(server.delete(&target).bearer(&server.admin).send(), field),
            NO_CONTROLS,
            "{target}"
        );
    }
    assert_eq!(
        said_of(server.get("/v1/sessions?device=a%09").bearer(&server.admin).send(), "device"),
        NO_CONTROLS
    );
}

/// The name of a key that is made beside a stopped server was never looked at.
#[test]
fn a_name_is_judged_alike_on_the_command_line_and_beside_a_stopped_server() {
    let mut server = Server::start();
    let url = format!("http://{}", server.address());
    let tenure = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
        let output = command.args(arguments).env_clear().env("TENURE_KEY", &server.admin).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = tenure(&["subject", "put", "a", "--name", "a\tb", "--url", &url]);
    assert!(code == Some(1) && said.contains(NO_CONTROLS), "{code:?} {said}");
    server.stop();
    let data = server.data();
    let beside = |name: &str| {
        let arguments = ["credential", "create", "--role", "issuer", "--name", name, "--data"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
        let output = command.args(arguments).arg(&data).env_clear().output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = beside("a\tb");
    assert!(code == Some(1) && said.contains(NO_CONTROLS), "{code:?} {said}");
    let (code, said) = beside("");
    assert!(code == Some(1) && said.contains("1 to 128 characters"), "{code:?} {said}");
    assert_eq!(beside("night shift").0, Some(0));
}

/// A query turns a plus into a blank, so a time with an offset was told to be what it looked like.
#[test]
fn a_time_whose_plus_became_a_blank_is_told_how_to_write_it() {
    let server = Server::start();
    server.session("a", 1000);
    for (path, name) in [
        ("/v1/subjects/a", "asOf"),
        ("/v1/sessions", "asOf"),
        ("/v1/events", "since"),
        ("/v1/notices", "since"),
    ] {
        let ask = |time: &str| server.get(&format!("{path}?{name}={time}")).bearer(&server.admin).send();
        let said = said_of(ask("2020-11-28T10:00:00+01:00"), name);
        assert!(said.contains("%2B"), "{path}: {said}");
        let said = said_of(ask("yesterday+evening"), name);
        assert!(!said.contains("%2B"), "{path}: {said}");
    }
    server.get("/v1/events?since=2020-11-28T10:00:00%2B01:00").bearer(&server.admin).send().expect(200);
}

#[track_caller]
fn names(reply: Reply, fields: &[&str]) {
    let reply = reply.refused(400, "INVALID_REQUEST");
    assert_eq!(reply.fields(), fields, "{reply:?}");
}

/// Of `{"ttl": 1, "idleTimeout": 1, "device": ""}` only the device was named: what is judged by the settings was told in
/// a second round.
#[test]
fn every_fault_of_a_session_is_told_at_once() {
    let server = Server::start();
    server.register("ada", &json!({}));
    let create = |body: &Value| server.post("/v1/sessions").bearer(&server.admin).json(body).send();
    names(
        create(&json!({ "subjectId": "ada", "ttl": 1, "idleTimeout": 1, "device": "" })),
        &["device", "ttl", "idleTimeout"],
    );
    names(
        create(
            &json!({ "ttl": 1, "maxRenewals": 101, "mode": "odd", "scopes": [""], "metadata": 1, "x": 1 }),
        ),
        &["subjectId", "mode", "scopes", "metadata", "x", "ttl"],
    );
    // How it stands to a ttl that nobody could read is not said, and no field is named twice.
    names(create(&json!({ "subjectId": "ada", "ttl": "1", "absoluteLifetime": 500 })), &["ttl"]);
    names(
        create(&json!({ "subjectId": "ada", "ttl": 604_801, "absoluteLifetime": 2_592_001, "device": 1 })),
        &["device", "ttl", "absoluteLifetime"],
    );
    names(
        create(&json!({ "subjectId": "ada", "constraints": { "maxTotalAmount": 1, "x": 1 }, "ttl": 1 })),
        &["constraints.maxTotalAmount", "constraints.x", "ttl"],
    );
}

#[test]
fn faults_of_body_query_and_key_come_together_on_every_route() {
    let server = Server::start();
    let session = server.session("a", 1000);
    let admin = |request: crate::server::Request| request.bearer(&server.admin);
    let post = |target: &str, body: &str| admin(server.post(target)).json_text(body);
    names(
        post("/v1/sessions?a=1", r#"{"ttl": true, "ttl": 1, "b": 1, "b": 2}"#).key("a b").send(),
        &["ttl", "b", "Idempotency-Key", "a", "subjectId"],
    );
    names(post("/v1/sessions?a=1", "{").send(), &["body", "a"]);
    names(
        admin(server.put("/v1/subjects/a%20b"))
            .json_text(r#"{"name": "", "kind": 1, "ownerId": "."}"#)
            .send(),
        &["name", "kind", "ownerId", "subjectId"],
    );
    names(post("/v1/credentials", r#"{"ownerId": "a b", "name": ""}"#).send(), &["role", "ownerId", "name"]);
    names(post("/v1/credentials", r#"{"role": "owner", "ownerId": "a b"}"#).send(), &["ownerId"]);
    names(
        post("/v1/webhooks", r#"{"kinds": ["x"], "format": "x", "secret": "x"}"#).send(),
        &["url", "kinds", "format", "secret"],
    );
    names(
        post("/v1/revocations", r#"{"selector": {"device": "", "keyId": "x", "all": false}, "dryRun": 1}"#)
            .send(),
        &["selector.device", "selector.keyId", "selector.all", "dryRun", "reason"],
    );
    names(post("/v1/keys/rotate", r#"{"which": "x", "retire": "x"}"#).send(), &["which", "retire"]);
    names(
        post("/v1/introspect", r#"{"token": 1, "tokens": [], "include": 1}"#).send(),
        &["token", "include", "tokens"],
    );
    names(post("/v1/subjects/a/erase?x", r#"{"reason": ""}"#).send(), &["x", "reason"]);
    let mint = server.post("/v1/access-tokens").bearer(&session.token);
    names(
        mint.json_text(r#"{"ttl": 1, "audience": ""}"#).key("a b").send(),
        &["Idempotency-Key", "ttl", "audience"],
    );
    let delete = |target: &str| admin(server.delete(target)).key("a b").send();
    names(
        delete(&format!("{}?reason=&rejectRenewal=1&x", session.path())),
        &["Idempotency-Key", "reason", "rejectRenewal", "x"],
    );
    names(
        delete("/v1/subjects/a/sessions?device=&exceptSessionId=x&reason="),
        &["Idempotency-Key", "device", "reason"],
    );
    for (target, fields) in [
        (
            "/v1/sessions?subjectId=.&ownerId=.&device=&status=x&limit=0&cursor=%00&asOf=x&asOfPosition=x&minPosition=x",
            &[
                "subjectId",
                "ownerId",
                "device",
                "status",
                "minPosition",
                "asOf",
                "asOfPosition",
                "limit",
                "cursor",
            ][..],
        ),
        (
            "/v1/events?after=x&since=x&kinds=x&subjectId=.&limit=0&cursor=%00&minPosition=x",
            &["kinds", "subjectId", "minPosition", "since", "after", "limit", "cursor"],
        ),
        ("/v1/revocations/feed?after=x&limit=0&minPosition=x", &["after", "limit", "minPosition"]),
        ("/v1/audit/proof?size=x&minPosition=x", &["position", "size", "minPosition"]),
        ("/v1/sessions?a=1&a=2&b=1&b=2", &["a", "b"]),
    ] {
        names(admin(server.get(target)).send(), fields);
    }
}

/// A body full of unknown fields was answered with a line for each.
#[test]
fn no_more_than_twenty_faults_are_told() {
    let server = Server::start();
    let body: serde_json::Map<_, _> = (0..4_000).map(|n| (format!("f{n}"), json!(1))).collect();
    let reply = server.post("/v1/sessions").bearer(&server.admin).json(&body.into()).send();
    assert_eq!(reply.refused(400, "INVALID_REQUEST").fields().len(), 20);
    let twice =
        format!("{{{}}}", (0..50).map(|n| format!("\"f{n}\":1,\"f{n}\":2")).collect::<Vec<_>>().join(","));
    let reply = server.post("/v1/sessions").bearer(&server.admin).json_text(&twice).send();
    assert_eq!(reply.refused(400, "INVALID_REQUEST").fields().len(), 20);
}
