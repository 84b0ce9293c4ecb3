//! Traces by OpenTelemetry, as a collector receives them: the real binary, and a receiver that decodes what comes.

use std::{net::TcpListener, time::Duration};

use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span, span::SpanKind},
};
use serde_json::json;
use tenure::clock::stopwatch;
use tenure_testing::collector::{Collector, hex};

use crate::server::Server;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn text(attributes: &[KeyValue], name: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == name);
    let value = found.and_then(|attribute| attribute.value.as_ref()?.value.clone());
    match value {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}

fn traced(collector: &Collector) -> Server {
    let endpoint = format!("telemetry.otlp_endpoint={}", collector.url);
    Server::saying("info,tenure::access=info", &[&endpoint])
}

fn register(server: &Server, subject: &str, traceparent: &str) {
    let request = server.put(&format!("/v1/subjects/{subject}")).bearer(&server.admin);
    request.header("traceparent", traceparent).json(&json!({ "name": "Jane Doe" })).send().expect(201);
}

#[test]
fn a_span_continues_the_callers_trace_and_names_what_was_recorded() {
    let collector = Collector::start();
    let mut server = traced(&collector);
    register(&server, "agent-7", &format!("00-{TRACE}-{PARENT}-01"));
    let span = collector.wait_for("PUT /v1/subjects/{subjectId}");
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!((span.kind, span.span_id.len()), (SpanKind::Server as i32, 8));
    assert!(
        span.start_time_unix_nano > 0 && span.start_time_unix_nano <= span.end_time_unix_nano,
        "{span:?}"
    );
    let attribute = |name| text(&span.attributes, name);
    assert_eq!(
        (attribute("http.request.method"), attribute("http.response.status_code")),
        ("PUT".into(), "201".into())
    );
    assert_eq!(
        (attribute("http.route"), attribute("tenure.code")),
        ("/v1/subjects/{subjectId}".into(), "ok".into())
    );
    let recorded = server.events("SubjectRegistered")[0]["correlationId"].as_str().unwrap().to_owned();
    assert_eq!(attribute("tenure.correlation_id"), recorded);
    let resource = collector.requests()[0].resource_spans[0].resource.clone().unwrap();
    assert_eq!(text(&resource.attributes, "service.name"), "tenure");
    // The access log has the same names, once all of it is written.
    server.stop();
    let said = server.said();
    let line = said.lines().find(|line| line.contains(&recorded)).unwrap();
    assert!(line.contains(&format!("trace_id={TRACE}")), "{line}");
    collector.holds_none_of(&["tnr_", "Jane", "agent-7"]);
}

/// A request without a trace begins one; whose caller does not keep its trace leaves none here; what is waiting at a stop
/// is sent.
#[test]
fn the_callers_decision_counts_and_a_stop_sends_what_waits() {
    let collector = Collector::start();
    let mut server = traced(&collector);
    register(&server, "dropped", &format!("00-{TRACE}-{PARENT}-00"));
    server.get("/v1/subjects/nobody").bearer(&server.admin).send().refused(404, "SUBJECT_NOT_FOUND");
    assert!(server.stop().success());
    let spans = collector.spans();
    assert!(spans.iter().all(|span| hex(&span.trace_id) != TRACE), "{spans:?}");
    let own = spans.iter().find(|span| span.name == "GET /v1/subjects/{subjectId}").unwrap();
    assert!(own.parent_span_id.is_empty(), "{own:?}");
    assert_eq!(text(&own.attributes, "tenure.code"), "SUBJECT_NOT_FOUND");
    let said = server.said();
    assert!(said.contains(&format!("trace_id={TRACE}")), "{said}");
    assert!(said.contains(&format!("trace_id={}", hex(&own.trace_id))), "{said}");
}

#[test]
fn a_collector_that_is_down_delays_nobody_and_no_stop() {
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("telemetry.otlp_endpoint=http://{}", silent.local_addr().unwrap());
    let mut server = Server::with(&[&endpoint]);
    let begun = stopwatch();
    for number in 0..20 {
        register(&server, &format!("agent-{number}"), &format!("00-{TRACE}-{PARENT}-01"));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(server.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn without_a_collector_the_access_log_still_has_the_callers_trace() {
    let mut server = Server::saying("info,tenure::access=info", &[]);
    register(&server, "agent-7", &format!("00-{TRACE}-{PARENT}-01"));
    register(&server, "agent-8", "00-what");
    server.stop();
    let said = server.said();
    let lines: Vec<_> = said.lines().filter(|line| line.contains("/v1/subjects/{subjectId}")).collect();
    let [with, without] = lines[..] else { panic!("{said}") };
    assert!(with.contains(&format!("trace_id={TRACE}")) && !without.contains("trace_id"), "{said}");
}

/// The names from a span up to its whole.
fn way_up<'s>(spans: &'s [Span], name: &str) -> Vec<&'s str> {
    let mut next = spans.iter().find(|span| span.name == name);
    let mut way = Vec::new();
    while let Some(span) = next {
        way.push(span.name.as_str());
        next = spans.iter().find(|other| other.span_id == span.parent_span_id);
    }
    way
}

/// There was one span for a request and none inside: a slow write looked like a slow check, and nobody saw whether it
/// had waited for its turn, for the disk or for its answer.
#[test]
fn a_change_says_where_its_time_went() {
    let collector = Collector::start();
    let server = traced(&collector);
    register(&server, "agent-7", &format!("00-{TRACE}-{PARENT}-01"));
    let whole = collector.wait_for("PUT /v1/subjects/{subjectId}");
    let stages = ["sequencer.wait", "sequencer.decide", "log.append", "sequencer.answer"];
    let all = ["authenticate", "admit", "handle", "reply"];
    let parts = collector.parts_of(&whole, &[&stages[..], &all[..]].concat());
    for stage in stages {
        assert_eq!(way_up(&parts, stage), [stage, "PUT /v1/subjects/{subjectId}"]);
    }
    for part in &parts {
        assert!(part.start_time_unix_nano >= whole.start_time_unix_nano, "{part:?} of {whole:?}");
        assert!(part.end_time_unix_nano <= whole.end_time_unix_nano, "{part:?} of {whole:?}");
    }
    // One begins when the one before it is over.
    let find = |name: &str| parts.iter().find(|part| part.name == name).unwrap();
    for pair in stages.windows(2) {
        assert_eq!(find(pair[0]).end_time_unix_nano, find(pair[1]).start_time_unix_nano, "{pair:?}");
    }
    collector.holds_none_of(&["tnr_", "Jane", "agent-7"]);
}

/// Forward-auth and the console are answered apart from the table of routes, and left no span at all.
#[test]
fn forward_auth_and_the_console_leave_spans_without_names_and_tokens() {
    let collector = Collector::start();
    let server = traced(&collector);
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let asked = server.get("/v1/forward-auth").header("traceparent", parent);
    asked.header("x-tenure-key", server.admin.as_str()).bearer("tnr_sess_planted").send().expect(401);
    let judged = collector.wait_for("GET /v1/forward-auth");
    assert_eq!((hex(&judged.trace_id), hex(&judged.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!(text(&judged.attributes, "http.response.status_code"), "401");
    collector.parts_of(&judged, &["authenticate", "judge"]);

    server.get("/console/veto/tnr_veto_planted").send();
    server.get("/console/subjects/agent-7").send();
    collector.wait_for("GET /console/veto/{id}");
    collector.wait_for("GET /console/subjects/{id}");
    collector.holds_none_of(&["tnr_", "planted", "agent-7"]);
}

/// What a page asks of the API is part of the page's span.
#[test]
fn a_page_has_the_questions_of_it_as_its_parts() {
    let collector = Collector::start();
    let server = traced(&collector);
    let form =
        server.post("/console/sign-in").header("host", "localhost").header("origin", "http://localhost");
    let form = form.header("sec-fetch-site", "same-origin");
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    let signed_in = form.body(format!("key={}", server.admin)).send().expect(303);
    let cookie = signed_in.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    server.get("/console/keys").header("host", "localhost").header("cookie", cookie).send().expect(200);
    let page = collector.wait_for("GET /console/keys");
    let parts = collector.parts_of(&page, &["GET /v1/credentials", "handle"]);
    assert_eq!(way_up(&parts, "handle").last().copied(), Some("GET /console/keys"), "{parts:#?}");
    collector.holds_none_of(&["tnr_"]);
}

#[test]
fn an_attempt_to_deliver_a_webhook_leaves_a_span_that_says_how_it_went() {
    let collector = Collector::start();
    let endpoint = format!("telemetry.otlp_endpoint={}", collector.url);
    let server = Server::with(&[&endpoint, "webhooks.allow_private=true"]);
    // Nothing listens on a port that was free just now.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hook = json!({ "url": format!("http://127.0.0.1:{port}/planted") });
    let made = server.post("/v1/webhooks").bearer(&server.admin).json(&hook).send().expect(201).json();
    let id = made["webhookId"].as_str().unwrap();
    server.post(&format!("/v1/webhooks/{id}/test")).bearer(&server.admin).send();
    let span = collector.wait_for("deliver a webhook");
    assert_eq!(span.kind, SpanKind::Client as i32);
    assert_eq!(
        (text(&span.attributes, "tenure.webhook_id"), text(&span.attributes, "tenure.outcome")),
        (id.to_owned(), "connection_refused".to_owned())
    );
    collector.holds_none_of(&["planted", "127.0.0.1", "tnr_"]);
}
