//! An authority that says what a test tells it to: keys, revocations, and the judgement of session tokens.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use serde_json::{Value, json};
use tenure::{
    clock::{pause, stopwatch},
    core::Timestamp,
    verify::{AuthorityConnection, FeedFollower, Verifier, VerifierConfig},
};
use tokio::runtime::Runtime;

use crate::tokens::{Key, noon, session_id};

/// So long a test waits for what is to happen in real time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const API_KEY: &str = "tnr_key_of_a_test";

/// An authority on a socket of this machine.
pub(crate) struct Fake {
    address: SocketAddr,
    told: Arc<Mutex<Told>>,
    /// None while it is stopped.
    runtime: Option<Runtime>,
}

impl Drop for Fake {
    /// A runtime that waits for its tasks cannot be dropped in a task.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What it says.
pub(crate) struct Told {
    pub(crate) keys: Vec<Value>,
    /// Whether it gives its keys a tag.
    pub(crate) etag: bool,
    /// Revocations in the order of their positions.
    pub(crate) items: Vec<Value>,
    pub(crate) head: u64,
    pub(crate) now: Timestamp,
    /// So many items at most are in a page.
    pub(crate) page: usize,
    /// What it says of every session token.
    pub(crate) judgement: Value,
    /// It answers all requests with this status, if any.
    pub(crate) failing: Option<u16>,
    /// The status for what goes on beyond its end.
    pub(crate) beyond: u16,
    /// It keeps each request for so long.
    pub(crate) dawdling: Duration,
    /// What it was asked, each with the status of the answer.
    pub(crate) asked: Vec<(String, u16)>,
}

impl Fake {
    /// It shows the first key, and has revoked nothing.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let told = Told {
            keys: vec![Key::number(1).shown(None)],
            etag: false,
            items: vec![],
            head: 0,
            now: noon(),
            page: 200,
            judgement: json!({ "active": false, "code": "INVALID_TOKEN" }),
            failing: None,
            beyond: 409,
            dawdling: Duration::ZERO,
            asked: vec![],
        };
        let told = Arc::new(Mutex::new(told));
        let address = listener.local_addr().unwrap();
        let runtime = Some(serve(listener, Arc::clone(&told)));
        Self { address, told, runtime }
    }

    /// Ends it and every connection to it.
    pub(crate) fn stop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
        let begun = stopwatch();
        while std::net::TcpStream::connect(self.address).is_ok() {
            assert!(begun.elapsed() < PATIENCE, "it does not stop");
            pause(Duration::from_millis(5));
        }
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        self.runtime = Some(serve(listener, Arc::clone(&self.told)));
    }

    pub(crate) fn tell<T>(&self, change: impl FnOnce(&mut Told) -> T) -> T {
        change(&mut self.told.lock().unwrap())
    }

    /// Adds a revocation at noon.
    pub(crate) fn revoke(&self, whom: &Value) {
        self.tell(|told| {
            told.head += 1;
            let mut item = json!({ "position": told.head, "at": told.now });
            item.as_object_mut().unwrap().extend(whom.as_object().unwrap().clone());
            told.items.push(item);
        });
    }

    /// How many requests to a path it has answered with this status.
    pub(crate) fn answered(&self, path: &str, status: u16) -> usize {
        self.tell(|told| told.asked.iter().filter(|asked| asked.0 == path && asked.1 == status).count())
    }

    pub(crate) fn connection(&self) -> AuthorityConnection {
        AuthorityConnection::to(&self.url(), API_KEY).unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A verifier that has heard it.
    pub(crate) async fn followed(&self, verifier: &Verifier) -> FeedFollower {
        let follower = verifier.follow(self.connection());
        tokio::time::timeout(PATIENCE, verifier.ready()).await.expect("it gets ready");
        follower
    }
}

/// The usual rules, in a hurry.
pub(crate) fn hurried() -> VerifierConfig {
    VerifierConfig { poll: Duration::from_millis(20), ..VerifierConfig::of("tenure") }
}

/// A session that was there at noon, and its token by the first key.
pub(crate) fn token_of(number: u32) -> (String, String) {
    let session = session_id(noon().plus_millis(-60_000), number);
    let token = Key::number(1).sign(&crate::tokens::claims(&session));
    (session, token)
}

/// Waits until it is so.
#[track_caller]
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let begun = stopwatch();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        pause(Duration::from_millis(2));
    }
}

fn serve(listener: TcpListener, told: Arc<Mutex<Told>>) -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    listener.set_nonblocking(true).unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let router = Router::new().fallback(answer).with_state(told);
        axum::serve(listener, router).await.unwrap();
    });
    runtime
}

async fn answer(State(told): State<Arc<Mutex<Told>>>, request: Request) -> Response {
    let dawdling = told.lock().unwrap().dawdling;
    tokio::time::sleep(dawdling).await;
    if request.headers().get("accept").is_some_and(|accept| accept == "text/event-stream") {
        // It is an authority that has no streams; whoever wants one asks it again and again instead.
        return Response::builder().status(406).body(Body::empty()).unwrap();
    }
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let bearer = request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let tag = request.headers().get("if-none-match").cloned();
    drop(to_bytes(request.into_body(), 1 << 20).await.unwrap());
    let mut told = told.lock().unwrap();
    let is_known = bearer.is_some_and(|bearer| bearer == format!("Bearer {API_KEY}"));
    let (status, body) = match &*path {
        _ if told.failing.is_some() => (told.failing.unwrap(), json!({})),
        "/v1/keys" if told.etag && tag.is_some_and(|tag| tag == told.tag().as_str()) => (304, Value::Null),
        "/v1/keys" => (200, json!({ "keys": told.keys })),
        _ if !is_known => (401, json!({})),
        "/v1/revocations/feed" if number(&query, "after") > told.head => (told.beyond, json!({})),
        "/v1/revocations/feed" => (200, told.feed(&query)),
        "/v1/introspect" => (200, told.judgement.clone()),
        _ => (404, json!({})),
    };
    told.asked.push((path, status));
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let mut response = Response::builder().status(status);
    if told.etag {
        response = response.header("etag", told.tag());
    }
    response.header("x-tenure-time", told.now.to_string()).body(body).unwrap()
}

impl Told {
    fn tag(&self) -> String {
        format!("\"{}\"", json!(self.keys).to_string().len())
    }

    fn feed(&self, query: &str) -> Value {
        let limit = usize::try_from(number(query, "limit")).unwrap().min(self.page);
        let after = number(query, "after");
        let behind = self.items.iter().filter(|item| item["position"].as_u64().unwrap() > after);
        let items: Vec<_> = behind.clone().take(limit).cloned().collect();
        let last = items.last().map(|item| item["position"].as_u64().unwrap());
        let is_all = behind.count() == items.len();
        let next_after = last.filter(|_| !is_all).unwrap_or(self.head);
        json!({ "items": items, "nextAfter": next_after, "head": self.head, "now": self.now })
    }
}

fn number(query: &str, name: &str) -> u64 {
    let found = form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name);
    found.unwrap().1.parse().unwrap()
}
