//! Requests that are wrong in form. Each gets its own answer, names the field, and quotes no token.

use serde_json::{Value, json};
use tenure::http::route_facts;

use crate::server::{Reply, Request, Server, Session};

fn create(server: &Server, body: &str) -> Reply {
    server.post("/v1/sessions").bearer(&server.admin).json_text(body).send()
}

#[track_caller]
fn names(reply: Reply, fields: &[&str]) {
    let reply = reply.refused(400, "INVALID_REQUEST");
    assert_eq!(reply.fields(), fields, "{reply:?}");
}

#[test]
fn a_body_that_is_no_json_object_is_named_body() {
    let server = Server::start();
    for body in [
        "",
        " ",
        "{",
        "{\"a\":}",
        "{'a': 1}",
        "{\"a\": 1,}",
        "[]",
        "null",
        "1",
        "\"text\"",
        "{} {}",
        "{}x",
        "{\"ttl\": 1e999}",
        "{\"ttl\": 01}",
        "{\"ttl\": NaN}",
        "\u{feff}{}",
        "{\"a\": \"\\ud800\"}",
    ] {
        names(create(&server, body), &["body"]);
    }
    let not_utf8 = server.post("/v1/sessions").bearer(&server.admin).json_text("");
    names(not_utf8.body(*b"{\"subjectId\": \"\xff\"}").send(), &["body"]);
    // What is nested too deeply is JSON all the same, and its field is named.
    let deep = format!("{{\"metadata\": {}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    names(create(&server, &deep), &["subjectId", "metadata"]);
}

#[test]
fn a_key_that_is_given_twice_is_named_by_its_path() {
    let server = Server::start();
    server.register("a", &json!({}));
    names(create(&server, r#"{"subjectId": "a", "subjectId": "a"}"#), &["subjectId"]);
    names(create(&server, r#"{"subjectId": "a", "ttl": null, "ttl": null}"#), &["ttl"]);
    names(create(&server, r#"{"subjectId": "a", "metadata": {"k": 1, "k": 2}}"#), &["metadata.k"]);
    names(
        create(&server, r#"{"subjectId": "a", "metadata": {"l": [{}, {"k": 1, "k": 1}]}}"#),
        &["metadata.l.1.k"],
    );
    names(create(&server, r#"{"subjectId": "a", "\u0074tl": 300, "ttl": 300}"#), &["ttl"]);
    let reply = server.get("/v1/sessions?status=all&status=all").bearer(&server.admin).send();
    names(reply, &["status"]);
}

#[test]
fn what_is_no_field_is_named_even_when_it_is_null() {
    let server = Server::start();
    names(create(&server, r#"{"subjectId": "a", "colour": null}"#), &["colour"]);
    names(create(&server, r#"{"subjectId": "a", "Ttl": 300}"#), &["Ttl"]);
    for (target, field) in
        [("/v1/sessions?Status=all", "Status"), ("/v1/subjects?limit=1&x", "x"), ("/v1/events?=", "")]
    {
        names(server.get(target).bearer(&server.admin).send(), &[field]);
    }
}

#[test]
fn every_field_of_the_wrong_type_is_named() {
    let server = Server::start();
    server.register("a", &json!({}));
    let cases: [(&str, &str, &[Value]); 4] = [
        (
            "POST",
            "/v1/sessions",
            &[
                json!({"subjectId": 1}),
                json!({"subjectId": "a", "ttl": "300"}),
                json!({"subjectId": "a", "ttl": 300.0}),
                json!({"subjectId": "a", "maxRenewals": true}),
                json!({"subjectId": "a", "device": {}}),
                json!({"subjectId": "a", "scopes": "x"}),
                json!({"subjectId": "a", "metadata": "{}"}),
            ],
        ),
        (
            "PUT",
            "/v1/subjects/a",
            &[
                json!({"name": 1}),
                json!({"name": "x".repeat(129)}),
                json!({"name": "a\nb"}),
                json!({"kind": "Agent"}),
                json!({"ownerId": ".."}),
                json!({"ownerId": "x".repeat(129)}),
                json!({"maxSessions": 0}),
                json!({"maxSessions": 10_001}),
                json!({"maxSessionsPerDevice": -1}),
                json!({"onLimit": "evict"}),
                json!({"onDeviceLimit": null, "onLimit": []}),
            ],
        ),
        (
            "POST",
            "/v1/introspect",
            &[
                json!({}),
                json!({"token": 1}),
                json!({"tokens": []}),
                json!({"tokens": vec!["x"; 101]}),
                json!({"tokens": [1]}),
                json!({"token": "x", "tokens": ["x"]}),
                json!({"token": "x", "include": ["all"]}),
                json!({"tokens": ["x"], "include": ["metadata"]}),
                json!({"token": "x", "include": "metadata"}),
                json!({"token": null}),
            ],
        ),
        (
            "POST",
            "/v1/credentials",
            &[
                json!({"role": "Admin"}),
                json!({"role": null}),
                json!({"role": "issuer", "name": ""}),
                json!({"role": "owner", "ownerId": 1}),
                json!({"role": "owner", "ownerId": "a b"}),
            ],
        ),
    ];
    for (method, path, bodies) in cases {
        for body in bodies {
            let reply = server.request(method, path).bearer(&server.admin).json(body).send();
            let reply = reply.refused(400, "INVALID_REQUEST");
            assert!(!reply.fields().is_empty(), "{body}: {reply:?}");
            let given: Vec<_> =
                body.as_object().unwrap().keys().map(String::as_str).chain(["token", "role"]).collect();
            assert!(reply.fields().iter().all(|field| given.contains(&field.as_str())), "{body}: {reply:?}");
        }
    }
    server
        .post("/v1/introspect")
        .bearer(&server.admin)
        .json(&json!({"tokens": vec!["x"; 100]}))
        .send()
        .expect(200);
}

#[test]
fn a_body_of_64_kib_is_read_and_one_byte_more_is_too_large() {
    let server = Server::start();
    server.register("a", &json!({}));
    let padded = |length: usize| {
        let mut body = r#"{"subjectId": "a"}"#.to_owned();
        body.extend(std::iter::repeat_n(' ', length - body.len()));
        body
    };
    create(&server, &padded(65_536)).expect(201);
    create(&server, &padded(65_537)).refused(413, "PAYLOAD_TOO_LARGE");
    create(&server, &padded(1_000_000)).refused(413, "PAYLOAD_TOO_LARGE");
    // Size is judged after the role, and before media type and syntax.
    let large = || server.post("/v1/sessions").body(vec![b'x'; 65_537]);
    let (verifier, _) = server.issue_key("verifier", None);
    large().send().refused(401, "INVALID_TOKEN");
    large().bearer(&verifier).send().refused(403, "FORBIDDEN");
    large().bearer(&server.admin).send().refused(413, "PAYLOAD_TOO_LARGE");
    // In chunks, without a length.
    let head = format!(
        "POST /v1/sessions HTTP/1.1\r\nhost: t\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        server.admin
    );
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    let in_chunks = |count: usize| [head.clone(), chunk.repeat(count), "0\r\n\r\n".into()].concat();
    Reply::parse(&server.raw(in_chunks(4).as_bytes())).unwrap().refused(400, "INVALID_REQUEST");
    Reply::parse(&server.raw(in_chunks(5).as_bytes())).unwrap().refused(413, "PAYLOAD_TOO_LARGE");
    let server = Server::with(&["server.max_body=32768"]);
    create(&server, &padded(32_769)).refused(413, "PAYLOAD_TOO_LARGE");
}

#[test]
fn a_body_is_json_in_utf_8_and_says_so() {
    let server = Server::start();
    server.register("a", &json!({}));
    let typed = |kind: &str| {
        let request = server.post("/v1/sessions").bearer(&server.admin).header("content-type", kind);
        request.body("{\"subjectId\": \"a\"}").send()
    };
    for right in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=\"UTF-8\"",
    ] {
        typed(right).expect(201);
    }
    for wrong in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "application/json; charset=latin1",
    ] {
        typed(wrong).refused(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    server
        .post("/v1/sessions")
        .bearer(&server.admin)
        .body("{}")
        .send()
        .refused(415, "UNSUPPORTED_MEDIA_TYPE");
}

/// What was garbled on its way met nothing, or was recorded for good.
#[test]
fn a_query_is_utf_8() {
    let server = Server::start();
    let session = server.session("a", 1000);
    let own = session.path();
    for (method, path, name) in [
        ("GET", "/v1/sessions?device=b%FCro".to_owned(), "device"),
        ("DELETE", "/v1/subjects/a/sessions?device=b%FCro".to_owned(), "device"),
        ("DELETE", format!("{own}?reason=gesperrt+f%FCr"), "reason"),
    ] {
        let refused = server.request(method, &path).bearer(&server.admin).send();
        let errors = refused.refused(400, "INVALID_REQUEST").json()["errors"].clone();
        assert_eq!(errors, json!([{ "field": name, "message": "must be UTF-8" }]), "{method} {path}");
    }
    // What says that it could not be read is text like any other.
    server.request("GET", "/v1/sessions?device=%EF%BF%BD+b%C3%BCro").bearer(&server.admin).send().expect(200);
}

#[test]
fn a_fault_of_json_is_found_in_its_place() {
    let server = Server::start();
    let said = |body: &str| {
        let asked = server.post("/v1/sessions").bearer(&server.admin);
        let refused = asked.header("content-type", "application/json").body(body).send();
        refused.refused(400, "INVALID_REQUEST").json()["errors"][0]["message"].as_str().unwrap().to_owned()
    };
    for (body, expected) in [
        ("{\"subjectId\": \"a\",\n  oops}", "is not well-formed JSON at line 2, column 3"),
        (
            "{\"subjectId\": \"a\",\n\n \"metadata\": {\n  \"x\": [1, 1e400]}}",
            "has a number too large to be read at line 4, column 16",
        ),
        ("{\"subjectId\":\n \"a\\ud800\"}", "is not well-formed JSON at line 2, column 10"),
    ] {
        assert_eq!(said(body), expected, "{body}");
    }
}

#[test]
fn a_wrong_method_is_told_the_right_ones() {
    let server = Server::start();
    let facts = route_facts();
    for path in facts.iter().map(|route| &route.path) {
        let right: Vec<_> =
            facts.iter().filter(|route| route.path == *path).map(|route| route.method.as_str()).collect();
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            if right.contains(&method) {
                continue;
            }
            let target = path.replace(['{', '}'], "");
            let reply = server.request(method, &target).bearer(&server.admin).send();
            let reply = reply.refused(405, "METHOD_NOT_ALLOWED");
            let mut allowed: Vec<_> = reply.header("allow").unwrap().split(',').map(str::trim).collect();
            allowed.retain(|method| *method != "HEAD");
            allowed.sort_unstable();
            let mut right = right.clone();
            right.sort_unstable();
            assert_eq!(allowed, right, "{method} {path}");
        }
    }
}

#[test]
fn a_body_where_none_is_known_is_refused() {
    let server = Server::start();
    let session = server.session("a", 1000);
    for facts in route_facts() {
        if facts.method != "GET" && facts.method != "DELETE" {
            continue;
        }
        let target = facts.path.replace("{sessionId}", &session.id).replace("{subjectId}", "a");
        let target = target.replace("{credentialId}", "x");
        let key = if facts.roles.is_empty() && !facts.public { &session.token } else { &server.admin };
        let request = server.request(&facts.method, &target).bearer(key).json_text("{}");
        names(request.send(), &["body"]);
    }
    names(server.renew(&session).json_text("{}").send(), &["body"]);
    names(server.renew(&session).body(" ").send(), &["body"]);
    server.get(&session.path()).bearer(&session.token).send().expect(200);
}

#[test]
fn an_unknown_query_parameter_is_refused_on_every_route() {
    let server = Server::start();
    let session = server.session("a", 1000);
    for facts in route_facts() {
        let target = facts.path.replace("{sessionId}", &session.id).replace("{subjectId}", "a");
        // What else is required, so that only the colour is wrong.
        let required = match facts.path.as_str() {
            "/v1/audit/proof" => "&position=1",
            "/v1/audit/consistency" => "&from=0",
            _ => "",
        };
        let target = format!("{}?colour=red{required}", target.replace("{credentialId}", "x"));
        let credential = if facts.roles.is_empty() && !facts.public { &session.token } else { &server.admin };
        let mut request = server.request(&facts.method, &target).bearer(credential);
        if ["POST", "PUT", "PATCH"].contains(&facts.method.as_str())
            && !target.contains("/renew")
            && !target.contains("/sweep")
            && !target.contains("/handover")
            && !target.contains("/test")
            && !target.contains("/confirm")
        {
            request = request.json_text("{}");
        }
        // With what else is wrong: all faults come at once.
        let reply = request.send().refused(400, "INVALID_REQUEST");
        assert!(reply.fields().contains(&"colour".to_owned()), "{target}: {reply:?}");
    }
}

#[test]
fn ids_that_cannot_be_are_unknown() {
    let server = Server::start();
    let session = server.session("a", 1000);
    let without_hyphens = session.id.replace('-', "");
    for id in [
        "x",
        "..",
        "%00",
        "%ff",
        "%C3%A4",
        "a%20b",
        "a%2Fb",
        &without_hyphens,
        &format!("%7B{}%7D", session.id),
    ] {
        let path = |start: &str, end: &str| format!("{start}{id}{end}");
        let admin = |method: &str, path: String| server.request(method, &path).bearer(&server.admin);
        admin("GET", path("/v1/sessions/", "")).send().refused(404, "SESSION_NOT_FOUND");
        admin("DELETE", path("/v1/sessions/", "")).send().refused(404, "SESSION_NOT_FOUND");
        admin("DELETE", path("/v1/credentials/", "")).send().refused(404, "NOT_FOUND");
        server.get(&path("/v1/sessions/", "")).bearer(&session.token).send().refused(403, "FORBIDDEN");
        let renew = server.put(&path("/v1/sessions/", "/renew")).bearer(&session.token);
        renew.send().refused(403, "SESSION_RENEWAL_MISMATCH");
        server.get(&path("/v1/sessions/", "")).send().refused(401, "INVALID_TOKEN");
        if id.contains(['%', '/']) || id == ".." {
            admin("GET", path("/v1/subjects/", "")).send().refused(404, "SUBJECT_NOT_FOUND");
            admin("DELETE", path("/v1/subjects/", "/sessions")).send().refused(404, "SUBJECT_NOT_FOUND");
            names(admin("PUT", path("/v1/subjects/", "")).json_text("{}").send(), &["subjectId"]);
        }
    }
}

#[test]
fn wrong_query_values_are_named() {
    let server = Server::start();
    let session = server.session("a", 1000);
    for (path, query, field) in [
        ("/v1/sessions", "limit=1.5", "limit"),
        ("/v1/sessions", "limit=+1", "limit"),
        ("/v1/sessions", "limit=0x10", "limit"),
        ("/v1/sessions", "limit=99999999999999999999", "limit"),
        ("/v1/sessions", "minPosition=99999999999999999999", "minPosition"),
        ("/v1/sessions", "minPosition=18446744073709551615", "minPosition"),
        ("/v1/sessions", "asOf=2026-11-21", "asOf"),
        ("/v1/sessions", "asOf=2026-11-21T01:35:00", "asOf"),
        ("/v1/sessions", "asOf=2999-01-01T00:00:00Z", "asOf"),
        ("/v1/sessions", "asOf=1969-12-31T23:59:59Z", "asOf"),
        ("/v1/sessions", "asOfPosition=18446744073709551615", "asOfPosition"),
        ("/v1/sessions", "device=", "device"),
        ("/v1/sessions", "subjectId=a%20b", "subjectId"),
        ("/v1/subjects", "ownerId=", "ownerId"),
        ("/v1/events", "kinds=sessionCreated", "kinds"),
        ("/v1/events", "kinds=SessionCreated,", "kinds"),
        ("/v1/events", "after=x", "after"),
        ("/v1/events", "after=latest", "after"),
    ] {
        names(server.get(&format!("{path}?{query}")).bearer(&server.admin).send(), &[field]);
    }
    let end =
        |query: String| server.delete(&format!("{}?{query}", session.path())).bearer(&server.admin).send();
    names(end("reason=".into()), &["reason"]);
    names(end(format!("reason={}", "x".repeat(501))), &["reason"]);
    names(end("reason=a%0Ab".into()), &["reason"]);
    names(end("rejectRenewal=1".into()), &["rejectRenewal"]);
    // As long as a query may be, in characters of two bytes.
    end(format!("reason={}", "%C3%A4".repeat(340))).expect(200);
}

/// Wherever a token or key is put, nothing that comes back shows it.
#[test]
fn no_reply_quotes_a_token() {
    let server = Server::start();
    let Session { id, token } = server.session("a", 1000);
    let admin = server.admin.clone();
    for secret in [&token, &admin] {
        let as_admin = |method: &str, target: String| server.request(method, &target).bearer(&admin);
        let requests: Vec<Request> = vec![
            as_admin("POST", "/v1/sessions".into()).json(&json!({ secret.as_str(): 1 })),
            as_admin("POST", "/v1/sessions".into())
                .json(&json!({ format!("{}{secret}", "x".repeat(30)): 1 })),
            as_admin("POST", "/v1/sessions".into())
                .json_text(&format!(r#"{{"{secret}": 1, "{secret}": 2}}"#)),
            as_admin("POST", "/v1/sessions".into())
                .json_text(&format!(r#"{{"metadata": {{"{secret}": {{"k": 1, "k": 2}}}}}}"#)),
            as_admin("POST", "/v1/sessions".into()).json_text(&format!("{{\"subjectId\": \"{secret}\"")),
            as_admin("POST", "/v1/sessions".into()).json_text(secret),
            as_admin("POST", "/v1/sessions".into())
                .json(&json!({ "subjectId": secret, "ttl": secret, "scopes": secret })),
            as_admin("PUT", "/v1/subjects/a".into())
                .json(&json!({ "kind": secret, "onLimit": secret, "maxSessions": secret })),
            as_admin("PUT", format!("/v1/subjects/{secret}/")).json_text("{}"),
            as_admin("POST", "/v1/credentials".into()).json(&json!({ "role": secret })),
            as_admin("POST", "/v1/introspect".into()).json(&json!({ "token": secret, "include": [secret] })),
            as_admin("PUT", "/v1/clock".into()).json(&json!({ "to": secret })),
            as_admin("GET", format!("/v1/sessions?{secret}=1")),
            as_admin("GET", format!("/v1/sessions?{secret}=1&{secret}=2")),
            as_admin(
                "GET",
                format!("/v1/sessions?status={secret}&limit={secret}&cursor={secret}&asOf={secret}"),
            ),
            as_admin("GET", format!("/v1/events?kinds={secret}")),
            as_admin("GET", format!("/v1/sessions/{secret}")),
            as_admin("GET", format!("/{secret}")),
            as_admin("GET", "/v1/sessions".into()).header("x-request-id", secret.as_str()),
            as_admin("PUT", "/v1/subjects/a".into())
                .json_text("{}")
                .header("idempotency-key", format!("{secret} x")),
            as_admin(&secret.replace(['.', '_'], "-"), "/v1/sessions".into()),
            server.get("/v1/sessions").header("authorization", format!("Basic {secret}")),
            server.get("/v1/sessions").header("authorization", secret.as_str()),
            server.get("/v1/sessions").bearer(&format!("{secret}x")),
            server.get(&format!("/v1/sessions/{id}x")).bearer(&token),
        ];
        for request in requests {
            let reply = request.send();
            let shown = format!("{reply:?}");
            let hidden = secret.trim_start_matches("tnr_key_").trim_start_matches("tnr_sess_v4.local.");
            assert!(!shown.contains(&hidden[..12]), "{shown}");
            assert!(reply.status < 500, "{shown}");
        }
    }
}

#[test]
fn whatever_is_no_http_is_survived() {
    let mut server = Server::start();
    for bytes in [
        &b"\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /v1/sessions HTTP/1.1\r\nhost: t\r\ncontent-length: -1\r\nconnection: close\r\n\r\n",
        b"POST /v1/sessions HTTP/1.1\r\nhost: t\r\ncontent-length: 1\r\ncontent-length: 2\r\nconnection: close\r\n\r\nx",
        b"GET /\x00 HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
        b"CONNECT tenure:80 HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
        b"GET http://tenure/v1/sessions HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n",
    ] {
        let reply = server.raw(bytes);
        if let Some(reply) = Reply::parse(&reply) {
            assert!((400..500).contains(&reply.status), "{reply:?}");
        }
    }
    server.get("/healthz").send().expect(200);
    assert!(server.is_running());
}
