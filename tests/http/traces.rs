//! Traces by OpenTelemetry, as a collector receives them: the real binary, and a receiver that decodes what comes.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;
use serde_json::json;
use tenure::clock::{pause, stopwatch};

use crate::server::{PATIENCE, Server};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector that keeps what it is sent.
struct Collector {
    url: String,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bodies = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bodies);
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || while take(stream.as_ref().unwrap(), &kept) {});
            }
        });
        Self { url, bodies }
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let bodies = self.bodies.lock().unwrap();
        bodies.iter().map(|body| ExportTraceServiceRequest::decode(&body[..]).unwrap()).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let resources = self.requests().into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// The span of this name, when it has come.
    #[track_caller]
    fn wait_for(&self, name: &str) -> Span {
        let begun = stopwatch();
        loop {
            let found = self.spans().into_iter().find(|span| span.name == name);
            if let Some(found) = found {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "no {name} in {:?}", self.spans());
            pause(Duration::from_millis(20));
        }
    }
}

/// One request on a connection; false when there is none.
fn take(stream: &TcpStream, kept: &Mutex<Vec<Vec<u8>>>) -> bool {
    let (mut reader, mut head) = (BufReader::new(stream), String::new());
    while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
    if head.is_empty() {
        return false;
    }
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    let head = head.to_lowercase();
    assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    kept.lock().unwrap().push(body);
    let mut stream = stream;
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
    true
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

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
    for body in collector.bodies.lock().unwrap().iter() {
        let body = String::from_utf8_lossy(body);
        for secret in ["tnr_", "Jane", "agent-7"] {
            assert!(!body.contains(secret), "{secret} in {body}");
        }
    }
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
