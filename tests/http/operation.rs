//! `/healthz`, `/readyz`, `/metrics`, the clock and the stop: what operators and their machines ask.

use std::{
    fmt::Write as _,
    io::{Read, Write},
    process::Command,
    time::Duration,
};

use serde_json::json;
use tenure::clock::stopwatch;

use crate::server::Server;

#[test]
fn a_running_server_is_alive_and_ready() {
    let server = Server::start();
    assert_eq!(server.get("/healthz").send().expect(200).json(), json!({ "status": "ok" }));
    assert_eq!(server.get("/readyz").send().expect(200).json(), json!({ "status": "ready", "alarms": [] }));
    let head = server.request("HEAD", "/healthz").send().expect(200);
    assert!(head.body.is_empty());
}

#[test]
fn the_metrics_are_open_metrics_and_count_what_was_answered() {
    let server = Server::start();
    let session = server.session("a", 1000);
    server.introspect(&session.token);
    server.get("/v1/sessions").bearer("wrong").send().expect(401);
    server.renew(&session).send().refused(403, "RENEWAL_TOO_EARLY");
    let (auditor, _) = server.issue_key("auditor", None);
    let reply = server.get("/metrics").bearer(&auditor).send().expect(200);
    assert!(reply.header("content-type").unwrap().starts_with("application/openmetrics-text"), "{reply:?}");
    assert!(reply.body.ends_with("# EOF\n"), "{reply:?}");
    for line in [
        "tenure_answers_total{code=\"RENEWAL_TOO_EARLY\"} 1",
        "tenure_answers_total{code=\"INVALID_TOKEN\"} 1",
        "tenure_wrong_credentials_total 1",
        "tenure_live_tokens_total 1",
        "tenure_sessions 1",
        "tenure_ready 1",
    ] {
        assert!(reply.body.lines().any(|known| known == line), "no {line} in {}", reply.body);
    }
}

/// What only grows was a gauge, times were milliseconds, and no one could say how long a check takes or which route is
/// busy.
#[test]
fn requests_are_counted_by_route_and_times_are_histograms_in_seconds() {
    let server = Server::start();
    let session = server.session("a", 1000);
    server.introspect(&session.token);
    server.introspect("tnr_sess_wrong");
    server.renew(&session).send().refused(403, "RENEWAL_TOO_EARLY");
    server.get("/v1/no-such-thing").bearer(&server.admin).send().expect(404);
    server.get("/v1/forward-auth").header("x-tenure-key", server.admin.clone()).send().expect(401);
    let text = server.get("/metrics").bearer(&server.admin).send().expect(200).body;
    for line in [
        r#"tenure_http_requests_total{method="POST",route="/v1/introspect",status="2xx"} 2"#,
        r#"tenure_http_requests_total{method="PUT",route="/v1/sessions/{sessionId}/renew",status="4xx"} 1"#,
        r#"tenure_http_requests_total{method="any",route="(none)",status="4xx"} 1"#,
        r#"tenure_http_requests_total{method="any",route="/v1/forward-auth",status="4xx"} 1"#,
        r#"tenure_http_request_duration_seconds_count{operation="check"} 3"#,
        r#"tenure_http_request_duration_seconds_bucket{le="+Inf",operation="check"} 3"#,
        r#"tenure_http_request_duration_seconds_count{operation="renew"} 1"#,
        r#"tenure_http_request_duration_seconds_count{operation="create"} 1"#,
        r#"tenure_events_total{kind="SessionCreated"} 1"#,
        r#"tenure_events_total{kind="RenewalRejected"} 1"#,
        "# TYPE tenure_commits counter",
        "# TYPE tenure_log_append_duration_seconds histogram",
        concat!(r#"tenure_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
        "# TYPE process_cpu_seconds counter",
    ] {
        assert!(text.lines().any(|known| known == line), "no {line} in {text}");
    }
    let number = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    };
    let batches = number("tenure_batch_duration_seconds_count");
    let appended = number("tenure_log_append_duration_seconds_count");
    assert!(batches >= 3.0 && (appended - batches).abs() < 0.5, "{batches} batches, {appended} appended");
    let (whole, log) =
        (number("tenure_batch_duration_seconds_sum"), number("tenure_log_append_duration_seconds_sum"));
    assert!(0.0 < log && log <= whole && whole < 60.0, "{log} of {whole}");
    assert!(number("process_open_fds") > 3.0 && number("process_resident_memory_bytes") > 1e6);
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        assert!(!line.contains("milli") && !line.contains("_total"), "{line}");
    }
}

/// One with nobody there, two with a webhook: the authority counted its own readers.
#[test]
fn only_open_streams_are_subscribers() {
    let server = Server::start();
    let webhook = json!({ "url": "https://192.0.2.1/hook" });
    server.post("/v1/webhooks").bearer(&server.admin).json(&webhook).send();
    let counted = || {
        let metrics = server.get("/metrics").bearer(&server.admin).send().expect(200).body;
        let line = metrics.lines().find_map(|line| line.strip_prefix("tenure_subscribers "));
        line.unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(counted(), 0);
    let mut streams =
        ["/v1/events", "/v1/notices"].map(|list| server.get(list).bearer(&server.admin).listen());
    assert!(streams[0].next().is_some());
    streams[1].heartbeat();
    assert_eq!(counted(), 2);
    drop(streams);
    let begun = stopwatch();
    while counted() > 0 {
        assert!(begun.elapsed() < crate::server::PATIENCE, "they are counted on");
        server.register(&format!("s{}", begun.elapsed().as_nanos()), &json!({}));
    }
}

#[test]
fn addresses_that_are_allowed_to_need_no_credential_for_the_metrics() {
    let server = Server::with(&["metrics.allow=127.0.0.1"]);
    server.get("/metrics").send().expect(200);
    server.get("/v1/events").send().refused(401, "INVALID_TOKEN");
    let server = Server::with(&["metrics.allow=192.0.2.1"]);
    server.get("/metrics").header("x-forwarded-for", "192.0.2.1").send().refused(401, "INVALID_TOKEN");
}

#[test]
fn a_stop_waits_for_nobody_who_dawdles() {
    let mut server = Server::start();
    server.session("a", 1000);
    let (idle, mut silent, mut half) = (server.connect(), server.connect(), server.connect());
    silent.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
    let head = format!(
        "POST /v1/sessions HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        server.admin
    );
    half.write_all(head.as_bytes()).unwrap();
    let begun = stopwatch();
    assert!(server.stop().success(), "{}", server.said());
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    drop(idle);
}

/// Several requests on one connection, one of them refused before its body is read.
#[test]
fn a_connection_serves_one_request_after_the_other() {
    let server = Server::start();
    let mut connection = server.connect();
    let mut sent = String::new();
    for credential in [server.admin.as_str(), "wrong", server.admin.as_str()] {
        let _ = write!(
            sent,
            "PUT /v1/subjects/a HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {credential}\r\n\
             content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        );
    }
    sent.push_str("GET /healthz HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
    connection.write_all(sent.as_bytes()).unwrap();
    let mut replies = String::new();
    connection.read_to_string(&mut replies).unwrap();
    let statuses: Vec<_> =
        replies.match_indices("HTTP/1.1 ").map(|(at, _)| &replies[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["201", "401", "200", "200"], "{replies}");
}

#[test]
fn without_a_test_clock_there_is_none_to_move() {
    let server = Server::on_real_time();
    server.get("/v1/clock").bearer(&server.admin).send().refused(404, "NOT_FOUND");
    let request = server.put("/v1/clock").bearer(&server.admin).json(&json!({ "advance": 1 }));
    request.send().refused(404, "NOT_FOUND");
}

#[test]
fn time_that_stands_still_is_not_shown_to_the_world() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tenure"))
        .args(["serve", "--listen", "0.0.0.0:0", "--test-clock", "--data"])
        .arg(directory.path().join("data"))
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--test-clock"), "{said}");
    assert!(!directory.path().join("data").exists(), "nothing was begun");
}

/// Time that goes on to the end of what RFC 3339 can write once gave a session ends such as `253402300800000ms`.
#[test]
fn the_clock_ends_before_the_times_that_cannot_be_written() {
    let server = Server::start();
    server.register("a", &json!({}));
    let set = |to: &str| server.put("/v1/clock").bearer(&server.admin).json(&json!({ "to": to })).send();
    for beyond in ["9999-01-01T00:00:00.001Z", "9999-12-30T21:59:59Z", "9999-12-31T23:59:59Z"] {
        assert_eq!(set(beyond).refused(400, "INVALID_REQUEST").fields(), ["to"]);
    }
    set("9999-01-01T00:00:00Z").expect(200);
    let advance = server.put("/v1/clock").bearer(&server.admin).json(&json!({ "advance": 1 }));
    assert_eq!(advance.send().refused(400, "INVALID_REQUEST").fields(), ["advance"]);
    let created = server.create(&json!({ "subjectId": "a", "ttl": 604_800 }));
    let session = server.get(&created.path()).bearer(&created.token).send().expect(200);
    assert_eq!(session.text("expiresAt"), "9999-01-08T00:00:00.000Z");
    assert_eq!(session.text("absoluteExpiresAt"), "9999-01-31T00:00:00.000Z");
}

/// Time that a wrong clock had recorded stood still without a word.
#[test]
fn a_clock_that_is_behind_what_was_recorded_is_an_alarm() {
    let mut server = Server::start();
    server.advance(864_000);
    server.register("a", &json!({}));
    server.restart_in_real_time();
    let alarms = server.get("/readyz").send().expect(200).json()["alarms"].to_string();
    assert!(alarms.contains("behind the last recorded moment"), "{alarms}");
    assert!(server.said().contains("the clock is behind the last recorded moment"), "{}", server.said());
}
