//! The real binary, on a data directory of its own, and a plain HTTP/1.1 client: one connection a request, so
//! that what goes over the wire is what a test wrote.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Barrier, Mutex, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tenure::clock::{pause, stopwatch};

/// So long a test waits for anything that the server is to do in real time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const ANY_PORT: &str = "127.0.0.1:0";

/// A running server. It is killed when it goes out of scope.
pub(crate) struct Server {
    directory: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    log_filter: &'static str,
    process: Process,
    /// What the processes before the present one said on standard error.
    said_before: String,
    pub(crate) admin: String,
}

struct Process {
    child: Child,
    address: SocketAddr,
    said: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// Where time is that of the machine, and nobody moves it.
    pub(crate) fn on_real_time() -> Self {
        Self::run("info", vec![], vec![])
    }

    /// With some settings, each `name=value`.
    pub(crate) fn with(settings: &[&str]) -> Self {
        Self::saying("info", settings)
    }

    /// With some settings and a log filter.
    pub(crate) fn saying(log_filter: &'static str, settings: &[&str]) -> Self {
        let settings = settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]);
        Self::run(log_filter, ["--test-clock".to_owned()].into_iter().chain(settings).collect(), vec![])
    }

    /// With a variable of the environment; its log says all that it ever says.
    #[allow(dead_code, reason = "only the tests of webhooks need it")]
    pub(crate) fn in_environment(name: &str, value: &str, settings: &[&str]) -> Self {
        let settings = settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]);
        let arguments = ["--test-clock".to_owned()].into_iter().chain(settings).collect();
        Self::run("trace", arguments, vec![(name.to_owned(), value.to_owned())])
    }

    fn run(log_filter: &'static str, arguments: Vec<String>, environment: Vec<(String, String)>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let process = Process::start(&data, ANY_PORT, &arguments, &environment, log_filter);
        let admin = std::fs::read_to_string(directory.path().join("data/admin.key")).unwrap();
        let admin = admin.trim().to_owned();
        Self { directory, arguments, environment, log_filter, process, said_before: String::new(), admin }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// All that it said on standard error so far.
    pub(crate) fn said(&self) -> String {
        format!("{}{}", self.said_before, self.process.said.lock().unwrap())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.process.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Tells it to stop, and waits for its end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.process.wait()
    }

    /// Stops it in order and starts it again.
    pub(crate) fn restart(&mut self) {
        assert!(self.stop().success(), "the server did not stop in order: {}", self.said());
        self.start_again();
    }

    /// Kills it without a warning (kill -9) and starts it again.
    pub(crate) fn kill9(&mut self) {
        self.die();
        self.start_again();
    }

    /// Kills it without a warning (kill -9).
    pub(crate) fn die(&mut self) {
        self.process.child.kill().unwrap();
        self.process.wait();
    }

    /// Stops it in order and starts it again with other settings.
    #[allow(dead_code, reason = "only the tests of webhooks need it")]
    pub(crate) fn restart_with(&mut self, settings: &[&str]) {
        let settings = settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]);
        self.arguments = ["--test-clock".to_owned()].into_iter().chain(settings).collect();
        self.restart();
    }

    /// Stops it in order and starts it again where it was, with that as its public address.
    #[allow(dead_code, reason = "only the tests of the console need it")]
    pub(crate) fn restart_known_by_its_address(&mut self) {
        let address = self.address().to_string();
        self.arguments.extend(["--set".to_owned(), format!("server.public_url=http://{address}")]);
        assert!(self.stop().success(), "the server did not stop in order: {}", self.said());
        self.start_on(&address);
    }

    /// Starts it again after it has stopped.
    pub(crate) fn start_again(&mut self) {
        self.start_on(ANY_PORT);
    }

    /// The same, where its clients look for it.
    #[allow(dead_code, reason = "only the tests of the verifier need it")]
    pub(crate) fn start_again_where_it_was(&mut self) {
        self.start_on(&self.address().to_string());
    }

    fn start_on(&mut self, listen: &str) {
        self.said_before = self.said();
        let (arguments, environment) = (&self.arguments, &self.environment);
        self.process = Process::start(&self.data(), listen, arguments, environment, self.log_filter);
    }

    pub(crate) fn request(&self, method: &str, target: &str) -> Request {
        Request {
            address: self.process.address,
            method: method.into(),
            target: target.into(),
            headers: vec![],
            body: vec![],
        }
    }

    pub(crate) fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    pub(crate) fn post(&self, target: &str) -> Request {
        self.request("POST", target)
    }

    pub(crate) fn put(&self, target: &str) -> Request {
        self.request("PUT", target)
    }

    pub(crate) fn delete(&self, target: &str) -> Request {
        self.request("DELETE", target)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.process.address
    }

    /// How much memory the process has from the system.
    pub(crate) fn resident_kibibytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap().trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// A connection on which nothing was sent.
    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.process.address).unwrap()
    }

    /// Sends bytes as they are; gives back whatever comes until the connection ends.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        exchange(self.process.address, bytes)
    }
}

/// What tests say often.
impl Server {
    /// A new API key, and its id.
    pub(crate) fn issue_key(&self, role: &str, owner: Option<&str>) -> (String, String) {
        let body = json!({ "role": role, "ownerId": owner });
        let issued = self.post("/v1/credentials").bearer(&self.admin).json(&body).send().expect(201);
        (issued.text("key"), issued.text("credentialId"))
    }

    pub(crate) fn register(&self, subject: &str, profile: &Value) {
        let reply = self.put(&format!("/v1/subjects/{subject}")).bearer(&self.admin).json(profile).send();
        assert!([200, 201].contains(&reply.status), "{reply:?}");
    }

    pub(crate) fn create(&self, body: &Value) -> Session {
        let reply = self.post("/v1/sessions").bearer(&self.admin).json(body).send().expect(201);
        Session { id: reply.text("sessionId"), token: reply.text("token") }
    }

    /// A session of a subject that is registered for it.
    pub(crate) fn session(&self, subject: &str, ttl: u32) -> Session {
        self.register(subject, &json!({}));
        self.create(&json!({ "subjectId": subject, "ttl": ttl }))
    }

    pub(crate) fn renew(&self, session: &Session) -> Request {
        self.put(&format!("/v1/sessions/{}/renew", session.id)).bearer(&session.token)
    }

    pub(crate) fn introspect(&self, token: &str) -> Reply {
        self.post("/v1/introspect").bearer(&self.admin).json(&json!({ "token": token })).send().expect(200)
    }

    pub(crate) fn advance(&self, seconds: u64) {
        let body = json!({ "advance": seconds });
        self.put("/v1/clock").bearer(&self.admin).json(&body).send().expect(200);
    }

    /// Every recorded event of some kinds.
    pub(crate) fn events(&self, kinds: &str) -> Vec<Value> {
        let target = format!("/v1/events?limit=200&kinds={kinds}");
        let page = self.get(&target).bearer(&self.admin).send().expect(200).json();
        assert!(page["nextCursor"].is_null(), "more than a page");
        page["items"].as_array().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.child.kill());
        self.process.wait();
    }
}

impl Process {
    fn start(
        data: &Path,
        listen: &str,
        arguments: &[String],
        environment: &[(String, String)],
        log_filter: &str,
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tenure"))
            .args(["serve", "--listen", listen, "--data"])
            .arg(data)
            .args(arguments)
            .env_clear()
            .env("TENURE_LOG", log_filter)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        let said = Arc::new(Mutex::new(String::new()));
        let (found, address) = mpsc::channel();
        let kept = Arc::clone(&said);
        let listener = std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if let Some((_, url)) = line.split_once("listening on http") {
                    let (_, address) = url.split_once("://").unwrap();
                    // Nobody waits for it any more when the start was given up.
                    let _ = found.send(address.trim().parse::<SocketAddr>().unwrap());
                }
                let mut said = kept.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        let Ok(address) = address.recv_timeout(PATIENCE) else {
            drop(child.kill());
            panic!("the server does not listen; it said: {}", said.lock().unwrap());
        };
        Self { child, address, said, listener: Some(listener) }
    }

    /// Waits for its end, and for its last words.
    fn wait(&mut self) -> ExitStatus {
        let begun = stopwatch();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                drop(self.child.kill());
            }
            pause(Duration::from_millis(5));
        };
        if let Some(listener) = self.listener.take() {
            drop(listener.join());
        }
        status
    }
}

#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) token: String,
}

impl Session {
    /// The same session with the token of a renewal's reply.
    pub(crate) fn renewed(&self, reply: &Reply) -> Self {
        Self { id: self.id.clone(), token: reply.text("token") }
    }

    pub(crate) fn path(&self) -> String {
        format!("/v1/sessions/{}", self.id)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn bearer(self, credential: &str) -> Self {
        self.header("authorization", format!("Bearer {credential}"))
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with a query; none if it is empty.
    #[allow(dead_code, reason = "only the tests of the API need it")]
    pub(crate) fn with_query(mut self, query: &str) -> Self {
        if !query.is_empty() {
            self.target = format!("{}?{query}", self.target);
        }
        self
    }

    pub(crate) fn key(self, idempotency_key: &str) -> Self {
        self.header("idempotency-key", idempotency_key)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.json_text(&body.to_string())
    }

    pub(crate) fn json_text(self, body: &str) -> Self {
        self.header("content-type", "application/json").body(body)
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
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

    pub(crate) fn send(&self) -> Reply {
        let bytes = exchange(self.address, &self.bytes());
        let reply = Reply::parse(&bytes);
        reply.unwrap_or_else(|| panic!("no reply to {} {}: {bytes:?}", self.method, self.target))
    }
}

impl Request {
    /// Opens a stream of server-sent events.
    pub(crate) fn listen(&self) -> Listener {
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
pub(crate) struct Listener {
    lines: BufReader<TcpStream>,
    pub(crate) reply: Reply,
    pub(crate) heartbeats: usize,
}

impl Listener {
    /// The next event's id and data; none when the stream has ended, in order or not.
    pub(crate) fn next(&mut self) -> Option<(String, Value)> {
        self.named().map(|(_, id, data)| (id.unwrap(), data))
    }

    /// The next event's name, id and data, of a stream whose events have names.
    pub(crate) fn named(&mut self) -> Option<(String, Option<String>, Value)> {
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
    pub(crate) fn take(&mut self, count: usize) -> Vec<(String, Value)> {
        (0..count).map(|_| self.next().expect("the stream goes on")).collect()
    }

    /// Waits for the next heartbeat, when nothing else is to come.
    pub(crate) fn heartbeat(&mut self) {
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
pub(crate) fn all_at_once(requests: &[Request]) -> Vec<Reply> {
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
pub(crate) fn at_once(request: &Request, times: usize) -> Vec<Reply> {
    all_at_once(&vec![request.clone(); times])
}

fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may answer and close before it has read all of a body that it refuses.
    drop(stream.write_all(bytes));
    let mut reply = Vec::new();
    drop(stream.read_to_end(&mut reply));
    reply
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
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

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// A member that is text.
    pub(crate) fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no text {name} in {self:?}")).to_owned()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The fields that a 400 names.
    pub(crate) fn fields(&self) -> Vec<String> {
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().filter_map(|error| error["field"].as_str()).map(str::to_owned).collect()
    }

    /// The last event that the request appended.
    pub(crate) fn position(&self) -> Option<u64> {
        self.header("x-tenure-position").map(|position| position.parse().unwrap())
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{self:?}");
        self
    }
}
