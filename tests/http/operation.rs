//! `/healthz`, `/readyz`, `/metrics`: what operators and their machines ask.

use serde_json::json;

use crate::server::Server;

#[test]
fn a_running_server_is_alive_and_ready() {
    let server = Server::start();
    assert_eq!(server.get("/healthz").send().expect(200).json(), json!({ "status": "ok" }));
    assert_eq!(server.get("/readyz").send().expect(200).json(), json!({ "status": "ready" }));
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

#[test]
fn addresses_that_are_allowed_to_need_no_credential_for_the_metrics() {
    let server = Server::with(&["metrics.allow=127.0.0.1"]);
    server.get("/metrics").send().expect(200);
    server.get("/v1/events").send().refused(401, "INVALID_TOKEN");
    let server = Server::with(&["metrics.allow=192.0.2.1"]);
    server.get("/metrics").header("x-forwarded-for", "192.0.2.1").send().refused(401, "INVALID_TOKEN");
}
