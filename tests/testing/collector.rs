//! A collector of traces, which decodes what it receives.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use opentelemetry_proto::tonic::{collector::trace::v1::ExportTraceServiceRequest, trace::v1::Span};
use prost::Message;
use tenure_protocol::clock::{pause, stopwatch};

use crate::server::PATIENCE;

/// A collector that keeps what it is sent.
pub struct Collector {
    /// Where it takes spans.
    pub url: String,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    /// On a port of its own.
    pub fn start() -> Self {
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

    /// What has come.
    pub fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let bodies = self.bodies.lock().unwrap();
        bodies.iter().map(|body| ExportTraceServiceRequest::decode(&body[..]).unwrap()).collect()
    }

    /// All spans that have come.
    pub fn spans(&self) -> Vec<Span> {
        let resources = self.requests().into_iter().flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }

    /// The span of this name, when it has come.
    #[track_caller]
    pub fn wait_for(&self, name: &str) -> Span {
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

    /// All parts of a span that have come, by name, when each of these names is among them.
    #[track_caller]
    pub fn parts_of(&self, whole: &Span, names: &[&str]) -> Vec<Span> {
        let begun = stopwatch();
        loop {
            let mut parts = vec![whole.clone()];
            for span in self.spans() {
                // A part is told of before its whole, or after it: the order of ends.
                let is_new = parts.iter().all(|part| part.span_id != span.span_id);
                if is_new && span.trace_id == whole.trace_id {
                    parts.push(span);
                }
            }
            if names.iter().all(|name| parts.iter().any(|part| part.name == *name)) {
                return parts;
            }
            assert!(begun.elapsed() < PATIENCE, "no {names:?} in {parts:#?}");
            pause(Duration::from_millis(20));
        }
    }

    /// Nothing that was sent holds any of these.
    #[track_caller]
    pub fn holds_none_of(&self, secrets: &[&str]) {
        for body in self.bodies.lock().unwrap().iter() {
            let body = String::from_utf8_lossy(body);
            for secret in secrets {
                assert!(!body.contains(secret), "{secret} in {body}");
            }
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

/// As spans and callers write their names.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}
