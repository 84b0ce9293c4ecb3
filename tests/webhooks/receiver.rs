//! A receiver of webhooks, on a socket of its own, that does what a test tells it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::server::{PATIENCE, Server};

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// It answers with this status, and a header more.
    Answers(u16, &'static str),
    /// It takes the request and never says a word.
    Hangs,
    /// It takes the request and closes the connection.
    Closes,
    /// It answers after a while.
    Dawdles(Duration),
}

pub(crate) const OK: Manner = Manner::Answers(200, "");
pub(crate) const BROKEN: Manner = Manner::Answers(500, "");

/// A request that was received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether it was answered with success.
    pub(crate) accepted: bool,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn id(&self) -> String {
        self.header("webhook-id").to_owned()
    }

    /// A member of the notice in the standard format.
    pub(crate) fn data(&self, name: &str) -> Value {
        self.json()["data"][name].clone()
    }
}

/// A receiver; it ends with the process.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    manner: Mutex<Manner>,
    received: Mutex<Vec<Received>>,
    arrived: Condvar,
    /// How many are being answered now, and how many were at most.
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Receiver {
    pub(crate) fn start(manner: Manner) -> Self {
        Self::serving(manner, None)
    }

    /// One that proves who it is.
    pub(crate) fn with_tls(manner: Manner, config: Arc<ServerConfig>) -> Self {
        Self::serving(manner, Some(config))
    }

    fn serving(manner: Manner, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            manner: Mutex::new(manner),
            received: Mutex::default(),
            arrived: Condvar::new(),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, tls) = (Arc::clone(&serving), tls.clone());
                std::thread::spawn(move || match tls {
                    None => shared.serve(stream),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        shared.serve(StreamOwned::new(connection, stream));
                    }
                });
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap() = manner;
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Those that were answered with success.
    pub(crate) fn accepted(&self) -> Vec<Received> {
        self.received().into_iter().filter(|request| request.accepted).collect()
    }

    /// How many were on their way at the same time, at most.
    pub(crate) fn most_at_once(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }

    /// Waits until so many have come.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Received> {
        self.wait_until(&format!("{count} requests"), |received| received.len() >= count)
    }

    /// Waits until so many different ones were accepted.
    #[track_caller]
    pub(crate) fn wait_for_accepted(&self, count: usize) -> Vec<Received> {
        self.wait_until(&format!("{count} accepted notices"), |received| {
            let ids = received.iter().filter(|request| request.accepted).map(Received::id);
            ids.collect::<std::collections::BTreeSet<_>>().len() >= count
        });
        self.accepted()
    }

    #[track_caller]
    fn wait_until(&self, what: &str, is_enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let begun = stopwatch();
        let mut received = self.shared.received.lock().unwrap();
        while !is_enough(&received) {
            assert!(begun.elapsed() < PATIENCE, "no {what}, but {received:#?}");
            received = self.shared.arrived.wait_timeout(received, Duration::from_millis(100)).unwrap().0;
        }
        received.clone()
    }
}

impl Shared {
    fn serve(&self, mut stream: impl Read + Write) {
        let Some(mut request) = read_request(&mut stream) else { return };
        let manner = self.manner.lock().unwrap().clone();
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        request.accepted = match &manner {
            Manner::Answers(status, _) => (200..300).contains(status),
            Manner::Dawdles(_) => true,
            Manner::Hangs | Manner::Closes => false,
        };
        let mut reply = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned();
        match manner {
            Manner::Answers(status, header) => {
                reply =
                    format!("HTTP/1.1 {status} So\r\n{header}content-length: 0\r\nconnection: close\r\n\r\n");
            }
            Manner::Dawdles(time) => pause(time),
            Manner::Hangs | Manner::Closes => reply.clear(),
        }
        self.received.lock().unwrap().push(request);
        self.arrived.notify_all();
        if matches!(manner, Manner::Hangs) {
            // Until the other side gives up.
            drop(stream.read(&mut [0; 1]));
        }
        // Before the reply: with the last byte of it the other side may send the next request.
        self.now.fetch_sub(1, Ordering::SeqCst);
        // The other side may have given up.
        drop(stream.write_all(reply.as_bytes()).and_then(|()| stream.flush()));
    }
}

fn read_request(stream: &mut impl Read) -> Option<Received> {
    let mut bytes = Vec::new();
    let mut page = [0; 4_096];
    let head_end = loop {
        let read = stream.read(&mut page).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&page[..read]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let target = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse::<usize>().unwrap();
    let mut body = bytes[head_end + 4..].to_vec();
    while body.len() < length {
        let read = stream.read(&mut page).ok().filter(|read| *read > 0)?;
        body.extend_from_slice(&page[..read]);
    }
    Some(Received { target, headers, body, accepted: false })
}

/// A place where nobody takes connections.
pub(crate) fn nobody() -> String {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!("http://{address}/hook")
}

/// Where receivers may be on this machine.
pub(crate) const INSIDE: &str = "webhooks.allow_private=true";

/// A webhook that was made.
pub(crate) struct Webhook {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl Webhook {
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v1/webhooks/{}{rest}", self.id)
    }
}

/// What tests of webhooks ask a server.
pub(crate) trait Webhooks {
    /// A webhook of the admin's, with whatever else is asked for.
    fn webhook(&self, url: &str, more: &Value) -> Webhook;

    /// What became of a webhook's notices, oldest first.
    fn deliveries(&self, webhook: &Webhook) -> Vec<Value>;

    /// Waits until the deliveries are as a test wants them.
    fn wait_for_deliveries(&self, webhook: &Webhook, is_right: impl Fn(&[Value]) -> bool) -> Vec<Value>;

    /// A metric's value.
    fn metric(&self, name: &str) -> u64;
}

impl Webhooks for Server {
    fn webhook(&self, url: &str, more: &Value) -> Webhook {
        let mut body = json!({ "url": url });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.post("/v1/webhooks").bearer(&self.admin).json(&body).send().expect(201);
        Webhook { id: made.text("webhookId"), secret: made.text("secret") }
    }

    fn deliveries(&self, webhook: &Webhook) -> Vec<Value> {
        let page =
            self.get(&webhook.path("/deliveries?limit=200")).bearer(&self.admin).send().expect(200).json();
        let mut items = page["items"].as_array().unwrap().clone();
        items.reverse();
        items
    }

    #[track_caller]
    fn wait_for_deliveries(&self, webhook: &Webhook, is_right: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let begun = stopwatch();
        loop {
            let deliveries = self.deliveries(webhook);
            if is_right(&deliveries) {
                return deliveries;
            }
            assert!(begun.elapsed() < PATIENCE, "{deliveries:#?}");
            pause(Duration::from_millis(10));
        }
    }

    fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").bearer(&self.admin).send().expect(200).body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }
}
