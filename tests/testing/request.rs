//! A plain HTTP/1.1 client: one connection a request, so that what goes over the wire is what a test wrote.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Barrier,
};

use serde_json::Value;

use crate::server::PATIENCE;

/// A request to the server.
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) address: SocketAddr,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// With this credential.
    pub fn bearer(self, credential: &str) -> Self {
        self.header("authorization", format!("Bearer {credential}"))
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with a query; `None` if it is empty.
    pub fn with_query(mut self, query: &str) -> Self {
        if !query.is_empty() {
            self.target = format!("{}?{query}", self.target);
        }
        self
    }

    /// With an idempotency key.
    pub fn key(self, idempotency_key: &str) -> Self {
        self.header("idempotency-key", idempotency_key)
    }

    /// With a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.json_text(&body.to_string())
    }

    /// With a body that is called JSON.
    pub fn json_text(self, body: &str) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    /// With a body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The bytes that are sent.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        if self.headers.iter().all(|(name, _)| name != "host") {
            bytes.extend(b"host: tenure\r\n");
        }
        bytes.extend(b"connection: close\r\n");
        for (name, value) in &self.headers {
            bytes.extend(name.as_bytes());
            bytes.extend(b": ");
            bytes.extend(value);
            bytes.extend(b"\r\n");
        }
        if !self.body.is_empty() || !["GET", "HEAD"].contains(&self.method.as_str()) {
            bytes.extend(format!("content-length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(&self.body);
        bytes
    }

    /// Sends it and waits for the reply.
    pub fn send(&self) -> Reply {
        let bytes = exchange(self.address, &self.bytes());
        let reply = Reply::parse(&bytes);
        reply.unwrap_or_else(|| panic!("no reply to {} {}: {bytes:?}", self.method, self.target))
    }
}

impl Request {
    /// Opens a stream of server-sent events.
    pub fn listen(&self) -> Listener {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&self.clone().header("accept", "text/event-stream").bytes()).unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(lines.read_until(b'\n', &mut head).unwrap() > 0, "no head: {head:?}");
        }
        let reply = Reply::parse(&head).unwrap();
        assert_eq!(reply.header("content-type"), Some("text/event-stream"), "{reply:?}");
        Listener { lines, reply, heartbeats: 0 }
    }
}

/// The reading end of a stream of server-sent events.
pub struct Listener {
    lines: BufReader<TcpStream>,
    /// The head of the reply.
    pub reply: Reply,
    /// So many comments came to keep the connection open.
    pub heartbeats: usize,
}

impl Listener {
    /// The next event's id and data; `None` when the stream has ended, in order or not.
    pub fn next(&mut self) -> Option<(String, Value)> {
        self.named().map(|(_, id, data)| (id.unwrap(), data))
    }

    /// The next event's name, id and data, of a stream whose events have names.
    pub fn named(&mut self) -> Option<(String, Option<String>, Value)> {
        let (mut name, mut id) = (String::new(), None);
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).ok()? == 0 {
                return None;
            }
            // The lengths of chunks stand on lines of their own, and no line of ours is a hexadecimal number.
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.trim_end().to_owned());
            } else if let Some(text) = line.strip_prefix("event: ") {
                text.trim_end().clone_into(&mut name);
            } else if let Some(data) = line.strip_prefix("data: ") {
                return Some((name, id, serde_json::from_str(data).unwrap()));
            } else if line.starts_with(": ") {
                self.heartbeats += 1;
            } else if line == "0\r\n" {
                return None;
            }
        }
    }

    /// So many events.
    pub fn take(&mut self, count: usize) -> Vec<(String, Value)> {
        (0..count).map(|_| self.next().expect("the stream goes on")).collect()
    }

    /// Waits for the next heartbeat, when nothing else is to come.
    pub fn heartbeat(&mut self) {
        let before = self.heartbeats;
        while self.heartbeats == before {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the stream ended");
            assert!(!line.starts_with("id:"), "{line}");
            self.heartbeats += usize::from(line.starts_with(": "));
        }
    }
}

/// Sends all of these requests at the same moment.
pub fn all_at_once(requests: &[Request]) -> Vec<Reply> {
    let start = Barrier::new(requests.len());
    let send = |request: &Request| {
        start.wait();
        request.send()
    };
    std::thread::scope(|scope| {
        let callers: Vec<_> = requests.iter().map(|request| scope.spawn(|| send(request))).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    })
}

/// Sends the same request so many times at the same moment.
pub fn at_once(request: &Request, times: usize) -> Vec<Reply> {
    all_at_once(&vec![request.clone(); times])
}

/// Sends these bytes on a connection of their own, and reads to its end.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    // What waits for others at a gate is answered late on a slow machine.
    stream.set_read_timeout(Some(3 * PATIENCE)).unwrap();
    // The server may answer and close before it has read all of a body that it refuses.
    drop(stream.write_all(bytes));
    let mut reply = Vec::new();
    drop(stream.read_to_end(&mut reply));
    reply
}

/// What the server answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// Reads a reply; `None` if it is not whole.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Self { status, headers, body: body.to_owned() })
    }

    /// The value of the first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// A member that is text.
    pub fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no text {name} in {self:?}")).to_owned()
    }

    /// The code of a problem.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The fields that a 400 names.
    pub fn fields(&self) -> Vec<String> {
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().filter_map(|error| error["field"].as_str()).map(str::to_owned).collect()
    }

    /// The last event that the request appended.
    pub fn position(&self) -> Option<u64> {
        self.header("x-tenure-position").map(|position| position.parse().unwrap())
    }

    /// The reply, which has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Checks that it is this refusal.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{self:?}");
        self
    }
}
