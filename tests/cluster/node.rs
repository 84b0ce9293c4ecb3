//! A node as a process of its own.

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};
use tenure_testing::{lossy_link::LossyLink, network::Machine};
use ureq::{
    Agent,
    http::{HeaderMap, Request},
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
};

use crate::broker::Broker;

/// What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(40);

/// Where nodes of tests listen.
const FIRST_PORT: u16 = 22_500;
const PORTS: u32 = 500;

/// A running node. It is killed when this is dropped.
pub(crate) struct Node {
    child: Child,
    said: Arc<Mutex<String>>,
    hears: Option<thread::JoinHandle<()>>,
    url: String,
    words: Vec<String>,
    elsewhere: Option<Elsewhere>,
}

/// A machine of its own, and the ways to the node there: from this machine, and from its network.
struct Elsewhere {
    machine: Machine,
    _ways: [LossyLink; 2],
}

/// Where a node listens on a machine of its own.
const OWN_PORT: u16 = 7300;

/// Makes the streams, and a directory for each of so many nodes, with the secret that they share.
pub(crate) fn prepare(broker: &Broker, nodes: usize) -> Vec<tempfile::TempDir> {
    prepare_on(&broker.url(), 1, nodes)
}

/// The same at these brokers, each of which keeps everything.
pub(crate) fn prepare_on(brokers: &str, replicas: usize, nodes: usize) -> Vec<tempfile::TempDir> {
    let dirs: Vec<_> = (0..nodes).map(|_| tempfile::tempdir().unwrap()).collect();
    let first = dirs[0].path().join("cluster.secret");
    let (secret, size, replicas) = (first.to_str().unwrap(), "1073741824", replicas.to_string());
    let words = ["init", "--replicas", &replicas, "--max-bytes", size, "--secret-file", secret];
    let begun = stopwatch();
    loop {
        let made = cluster_on(brokers, &words);
        if made.0.success() {
            break;
        }
        // Brokers that have just begun choose a leader of their own first.
        assert!(begun.elapsed() < PATIENCE, "{}", made.1);
        pause(Duration::from_millis(300));
    }
    for other in &dirs[1..] {
        fs::copy(&first, other.path().join("cluster.secret")).unwrap();
    }
    dirs
}

/// Runs `tenure cluster` with these words.
pub(crate) fn cluster(broker: &Broker, words: &[&str]) -> (ExitStatus, String) {
    cluster_on(&broker.url(), words)
}

/// The same at these brokers.
pub(crate) fn cluster_on(brokers: &str, words: &[&str]) -> (ExitStatus, String) {
    run(&[&["cluster"], words, &["--set", &format!("log.url={brokers}")]].concat())
}

/// Runs `tenure` with these words.
pub(crate) fn run(words: &[&str]) -> (ExitStatus, String) {
    let ended = program().args(words).output().unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status, String::from_utf8_lossy(&said).into_owned())
}

fn program() -> Command {
    program_on(None)
}

fn program_on(machine: Option<&Machine>) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_tenure"));
    let mut command = machine.map_or_else(|| Command::new(program), |machine| machine.command(program));
    // Settings in the surroundings must not change what is tested.
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
    command
}

fn begin(words: &[String], machine: Option<&Machine>) -> (Child, Arc<Mutex<String>>, thread::JoinHandle<()>) {
    let mut child =
        program_on(machine).args(words).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (said, stderr) = (Arc::new(Mutex::new(String::new())), child.stderr.take().unwrap());
    let hears = thread::spawn({
        let said = Arc::clone(&said);
        move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                said.lock().unwrap().extend([line.as_str(), "\n"]);
            }
        }
    });
    (child, said, hears)
}

impl Node {
    pub(crate) fn start(broker: &Broker, data: &Path) -> Self {
        Self::start_with(&broker.url(), data, &[])
    }

    /// The same at these brokers, with more settings.
    pub(crate) fn start_with(brokers: &str, data: &Path, settings: &[&str]) -> Self {
        let url = format!("log.url={brokers}");
        let set = settings.iter().copied().chain([&*url]).flat_map(|setting| ["--set", setting]);
        Self::launch(free_port(), data, &set.collect::<Vec<_>>())
    }

    /// The same under a clock that the test moves.
    pub(crate) fn start_under_clock(brokers: &str, data: &Path) -> Self {
        let url = format!("log.url={brokers}");
        Self::launch(free_port(), data, &["--test-clock", "--set", &url])
    }

    /// The same with more settings, and behind a way that leads the other nodes to it.
    pub(crate) fn start_behind_a_way(brokers: &str, data: &Path, settings: &[&str]) -> (Self, LossyLink) {
        let port = free_port();
        let way = LossyLink::to(port);
        let (url, advertised) =
            (format!("log.url={brokers}"), format!("cluster.advertise=http://127.0.0.1:{}", way.port()));
        let set =
            settings.iter().copied().chain([&*url, &*advertised]).flat_map(|setting| ["--set", setting]);
        let words: Vec<_> = ["--test-clock"].into_iter().chain(set).collect();
        (Self::launch(port, data, &words), way)
    }

    /// The same on a machine of its own.
    pub(crate) fn start_on(machine: &Machine, brokers: &str, data: &Path, settings: &[&str]) -> Self {
        let way = LossyLink::into(machine, OWN_PORT);
        let url = format!("http://127.0.0.1:{}", way.port());
        let (log, advertised) = (
            format!("log.url={brokers}"),
            format!("cluster.advertise=http://{}:{OWN_PORT}", machine.address()),
        );
        let set = settings.iter().copied().chain([&*log, &*advertised]).flat_map(|it| ["--set", it]);
        let words: Vec<_> = ["--test-clock"].into_iter().chain(set).collect();
        let ways = [way, LossyLink::at_the_door_of(machine, OWN_PORT)];
        let elsewhere = Elsewhere { machine: machine.clone(), _ways: ways };
        let mut node = Self::launch_at(Some(elsewhere), OWN_PORT, data, &words);
        node.url = url;
        node
    }

    /// The same by TLS, for whose certificates the settings are.
    pub(crate) fn start_encrypted(brokers: &str, data: &Path, settings: &[&str]) -> Self {
        let url = format!("log.url={brokers}");
        let set = settings.iter().copied().chain([&*url]).flat_map(|setting| ["--set", setting]);
        let mut node = Self::launch(free_port(), data, &set.collect::<Vec<_>>());
        node.url = node.url.replace("http://", "https://");
        node
    }

    /// A server of its own, without a broker, under a clock that the test moves.
    pub(crate) fn alone(data: &Path) -> Self {
        Self::launch(free_port(), data, &["--test-clock"])
    }

    /// The others must know where it is before it listens.
    fn launch(port: u16, data: &Path, more: &[&str]) -> Self {
        Self::launch_at(None, port, data, more)
    }

    fn launch_at(elsewhere: Option<Elsewhere>, port: u16, data: &Path, more: &[&str]) -> Self {
        let address = format!("127.0.0.1:{port}");
        let words = ["serve", "--listen", &address, "--data", data.to_str().unwrap()];
        let words: Vec<_> = words.into_iter().chain(more.iter().copied()).map(str::to_owned).collect();
        let (child, said, hears) = begin(&words, elsewhere.as_ref().map(|there| &there.machine));
        Self { child, said, hears: Some(hears), url: format!("http://{address}"), words, elsewhere }
    }

    /// Starts it again, at the same place.
    pub(crate) fn restart(&mut self) {
        let machine = self.elsewhere.as_ref().map(|there| &there.machine);
        let (child, said, hears) = begin(&self.words, machine);
        (self.child, self.said, self.hears) = (child, said, Some(hears));
    }

    /// Where it is reached.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said this.
    pub(crate) fn waits_to_say(&mut self, words: &str) -> String {
        let begun = stopwatch();
        loop {
            let said = self.said();
            if said.contains(words) {
                return said;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it has ended: {said}");
            assert!(begun.elapsed() < PATIENCE, "it does not say {words:?}: {said}");
            pause(Duration::from_millis(20));
        }
    }

    /// Waits until it serves; gives a caller with the first admin key, which is in this directory.
    pub(crate) fn admin(&mut self, keys: &Path) -> Caller {
        self.waits_to_say("listening on http://");
        let key = fs::read_to_string(keys.join("admin.key")).unwrap();
        Caller::new(&self.url, key.trim())
    }

    /// The same by TLS: trusts these authorities, and shows this.
    pub(crate) fn admin_trusting(&mut self, keys: &Path, roots: &[&str], shown: Option<Shown<'_>>) -> Caller {
        self.waits_to_say("listening on https://");
        self.caller(keys, roots, shown)
    }

    /// The same of a node that serves.
    pub(crate) fn caller(&self, keys: &Path, roots: &[&str], shown: Option<Shown<'_>>) -> Caller {
        let key = fs::read_to_string(keys.join("admin.key")).unwrap();
        Caller { agent: agent_trusting(roots, shown), url: self.url.clone(), key: key.trim().to_owned() }
    }

    /// Waits until it has said this so often.
    pub(crate) fn waits_to_say_times(&mut self, words: &str, times: usize) {
        let begun = stopwatch();
        while self.said().matches(words).count() < times {
            assert!(begun.elapsed() < PATIENCE, "it does not say {words:?} {times} times: {}", self.said());
            pause(Duration::from_millis(20));
        }
    }

    /// The same once it leads.
    pub(crate) fn leader(&mut self, keys: &Path) -> Caller {
        let caller = self.admin(keys);
        caller.waits_for_role("leader");
        caller
    }

    /// The same once it follows.
    pub(crate) fn follower(&mut self, keys: &Path) -> Caller {
        let caller = self.admin(keys);
        caller.waits_for_role("follower");
        caller
    }

    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        let begun = stopwatch();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // Its last words are heard.
                drop(self.hears.take().map(thread::JoinHandle::join));
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end: {}", self.said());
            pause(Duration::from_millis(20));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Asks with one credential.
#[derive(Clone)]
pub(crate) struct Caller {
    agent: Agent,
    url: String,
    key: String,
}

/// What a caller shows of itself by TLS, in PEM.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) cert: &'a str,
    pub(crate) key: &'a str,
}

/// What came back.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    /// A header, as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A session that was granted.
#[derive(Clone)]
pub(crate) struct Granted {
    pub(crate) id: String,
    pub(crate) token: String,
}

impl Caller {
    pub(crate) fn new(url: &str, key: &str) -> Self {
        Self { agent: agent(20), url: url.to_owned(), key: key.to_owned() }
    }

    /// The same, that waits for an answer for so many seconds.
    pub(crate) fn patient(self, seconds: u64) -> Self {
        Self { agent: agent(seconds), ..self }
    }

    /// A text, if it is there.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let request = Request::builder().uri(format!("{}{path}", self.url));
        let request = request.header("authorization", format!("Bearer {}", self.key)).body(()).unwrap();
        let mut reply = self.agent.run(request).ok().filter(|reply| reply.status().as_u16() == 200)?;
        reply.body_mut().read_to_string().ok()
    }

    /// What comes back; none without an answer.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Option<Reply> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {}", self.key));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request =
            if body.is_some() { request.header("content-type", "application/json") } else { request };
        let request = request.body(body.map_or_else(String::new, Value::to_string)).unwrap();
        let mut reply = self.agent.run(request).ok()?;
        let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
        let text = reply.body_mut().read_to_string().ok()?;
        Some(Reply { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::Null) })
    }

    /// Status and body; none without an answer.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Option<(u16, Value)> {
        self.send(method, path, &[], body).map(|reply| (reply.status, reply.body))
    }

    /// A page or a thing, which must be there.
    pub(crate) fn get(&self, path: &str) -> Value {
        let reply = self.send("GET", path, &[], None).unwrap();
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        reply.body
    }

    /// Waits until the node says that it has this role.
    pub(crate) fn waits_for_role(&self, role: &str) {
        let begun = stopwatch();
        while !self.has_role(role) {
            let said = self.send("GET", "/readyz", &[], None).map(|ready| ready.body);
            assert!(begun.elapsed() < PATIENCE, "{} is no {role}: {said:?}", self.url);
            pause(Duration::from_millis(20));
        }
    }

    /// Whether the node is ready, and says that it has this role.
    pub(crate) fn has_role(&self, role: &str) -> bool {
        let ready = self.send("GET", "/readyz", &[], None);
        ready.is_some_and(|ready| ready.status == 200 && ready.body["role"] == role)
    }

    /// A session of a subject with a name.
    pub(crate) fn create(&self, subject: &str) -> Granted {
        let named = json!({ "kind": "agent", "name": format!("Agent {subject}") });
        let (status, body) = self.ask_again("PUT", &format!("/v1/subjects/{subject}"), &named);
        assert!([200, 201].contains(&status), "{status} {body}");
        let asked = json!({ "subjectId": subject });
        let (status, body) = self.ask_again("POST", "/v1/sessions", &asked);
        assert_eq!(status, 201, "{body}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Granted { id: text(&body["sessionId"]), token: text(&body["token"]) }
    }

    /// Asks again while the node says to try again, as clients do: on a busy machine a leader
    /// may lose its broker for a moment.
    fn ask_again(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let begun = stopwatch();
        loop {
            let (status, said) = self.ask(method, path, Some(body)).unwrap();
            let is_refused = status == 503 && said["retryable"] == true;
            if !is_refused || begun.elapsed() > PATIENCE {
                return (status, said);
            }
            pause(Duration::from_millis(50));
        }
    }

    /// Ends a session.
    pub(crate) fn revoke(&self, granted: &Granted) -> Option<(u16, Value)> {
        self.ask("DELETE", &format!("/v1/sessions/{}", granted.id), None)
    }

    /// What is said of a token.
    pub(crate) fn introspects(&self, token: &str) -> Reply {
        self.send("POST", "/v1/introspect", &[], Some(&json!({ "tokens": [token] }))).unwrap()
    }

    /// Whether a token is good.
    pub(crate) fn is_active(&self, token: &str) -> bool {
        let said = self.introspects(token);
        assert_eq!(said.status, 200, "{}", said.body);
        said.body["results"][0]["active"].as_bool().unwrap()
    }

    /// A subject as it is shown.
    pub(crate) fn subject(&self, id: &str) -> Value {
        let (status, body) = self.ask("GET", &format!("/v1/subjects/{id}"), None).unwrap();
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Forgets all text about a subject.
    pub(crate) fn erase(&self, id: &str) -> Value {
        let path = format!("/v1/subjects/{id}/erase");
        let (status, body) = self.ask("POST", &path, Some(&json!({ "reason": "asked for" }))).unwrap();
        assert_eq!(status, 200, "{body}");
        body
    }
}

fn agent(seconds: u64) -> Agent {
    let config = Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(seconds))).build().new_agent()
}

fn agent_trusting(roots: &[&str], shown: Option<Shown<'_>>) -> Agent {
    let certificate = |pem: &str| Certificate::from_pem(pem.as_bytes()).unwrap();
    let roots: Vec<_> = roots.iter().map(|pem| certificate(pem)).collect();
    let shown = shown.map(|Shown { cert, key }| {
        ClientCert::new_with_certs(&[certificate(cert)], PrivateKey::from_pem(key.as_bytes()).unwrap())
    });
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).client_cert(shown).build();
    let config = Agent::config_builder().http_status_as_error(false).tls_config(tls);
    config.timeout_global(Some(Duration::from_secs(20))).build().new_agent()
}

/// A port that nobody listens on now, below those that connections are given: one of these might be taken before the
/// node listens.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let of_process = u16::try_from(std::process::id() * 31 % PORTS).unwrap();
    loop {
        let next = of_process + NEXT.fetch_add(1, Ordering::SeqCst);
        let port = FIRST_PORT + next % u16::try_from(PORTS).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Copies all files below a directory to another one, for nobody else to read.
pub(crate) fn copy_all(from: &Path, to: &Path) {
    for file in files(from) {
        let copy = to.join(file.strip_prefix(from).unwrap());
        fs::DirBuilder::new().recursive(true).mode(0o700).create(copy.parent().unwrap()).unwrap();
        fs::copy(&file, copy).unwrap();
    }
}

/// What is in all files below a directory, for a search in it. Who owns them is at work: what was renamed or removed since
/// they were listed is among the others, or nowhere.
pub(crate) fn contents(dir: &Path) -> impl Iterator<Item = (PathBuf, Vec<u8>)> {
    files(dir).into_iter().filter_map(|file| match fs::read(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        read => Some((file, read.unwrap())),
    })
}

/// All files below a directory.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(dir).unwrap().map_while(Result::ok) {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
