//! The real binary, on a data directory of its own.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tenure_protocol::clock::{pause, stopwatch};

use crate::request::exchange;
pub use crate::request::{Listener, Reply, Request, all_at_once, at_once};

/// So long a test waits for anything that the server is to do in real time.
pub const PATIENCE: Duration = Duration::from_secs(20);
const ANY_PORT: &str = "127.0.0.1:0";

/// A running server. It is killed when it goes out of scope.
pub struct Server {
    directory: TempDir,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    log_filter: &'static str,
    process: Process,
    /// What the processes before the present one said on standard error.
    said_before: String,
    /// The first admin key.
    pub admin: String,
}

struct Process {
    child: Child,
    address: SocketAddr,
    said: Arc<Mutex<String>>,
    listener: Option<JoinHandle<()>>,
}

impl Server {
    /// With the settings that it has by itself, and time that a test moves.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Where time is that of the machine, and nobody moves it.
    pub fn on_real_time() -> Self {
        Self::run("info", vec![], vec![])
    }

    /// With some settings, each `name=value`.
    pub fn with(settings: &[&str]) -> Self {
        Self::saying("info", settings)
    }

    /// With some settings and a log filter.
    pub fn saying(log_filter: &'static str, settings: &[&str]) -> Self {
        let settings = settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]);
        Self::run(log_filter, ["--test-clock".to_owned()].into_iter().chain(settings).collect(), vec![])
    }

    /// With a variable of the environment; its log says all that it ever says.
    pub fn in_environment(name: &str, value: &str, settings: &[&str]) -> Self {
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

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// All that it said on standard error so far.
    pub fn said(&self) -> String {
        format!("{}{}", self.said_before, self.process.said.lock().unwrap())
    }

    /// Whether its process lives.
    pub fn is_running(&mut self) -> bool {
        self.process.child.try_wait().unwrap().is_none()
    }

    /// Sends its process a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.process.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Tells it to stop, and waits for its end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.process.wait()
    }

    /// Stops it in order and starts it again.
    pub fn restart(&mut self) {
        assert!(self.stop().success(), "the server did not stop in order: {}", self.said());
        self.start_again();
    }

    /// Kills it without a warning (kill -9) and starts it again.
    pub fn kill9(&mut self) {
        self.die();
        self.start_again();
    }

    /// Kills it without a warning (kill -9).
    pub fn die(&mut self) {
        self.process.child.kill().unwrap();
        self.process.wait();
    }

    /// Stops it in order and starts it again with other settings.
    pub fn restart_with(&mut self, settings: &[&str]) {
        let settings = settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]);
        self.arguments = ["--test-clock".to_owned()].into_iter().chain(settings).collect();
        self.restart();
    }

    /// Stops it in order and starts it again by the clock of the machine.
    pub fn restart_in_real_time(&mut self) {
        self.arguments.retain(|argument| argument != "--test-clock");
        self.restart();
    }

    /// Stops it in order and starts it again where it was, with that as its public address.
    pub fn restart_known_by_its_address(&mut self) {
        let address = self.address().to_string();
        self.arguments.extend(["--set".to_owned(), format!("server.public_url=http://{address}")]);
        assert!(self.stop().success(), "the server did not stop in order: {}", self.said());
        self.start_on(&address);
    }

    /// Starts it again after it has stopped.
    pub fn start_again(&mut self) {
        self.start_on(ANY_PORT);
    }

    /// The same, where its clients look for it.
    pub fn start_again_where_it_was(&mut self) {
        self.start_on(&self.address().to_string());
    }

    fn start_on(&mut self, listen: &str) {
        self.said_before = self.said();
        let (arguments, environment) = (&self.arguments, &self.environment);
        self.process = Process::start(&self.data(), listen, arguments, environment, self.log_filter);
    }

    /// A request, to be filled in and sent.
    pub fn request(&self, method: &str, target: &str) -> Request {
        Request {
            address: self.process.address,
            method: method.into(),
            target: target.into(),
            headers: vec![],
            body: vec![],
        }
    }

    /// A GET.
    pub fn get(&self, target: &str) -> Request {
        self.request("GET", target)
    }

    /// A POST.
    pub fn post(&self, target: &str) -> Request {
        self.request("POST", target)
    }

    /// A PUT.
    pub fn put(&self, target: &str) -> Request {
        self.request("PUT", target)
    }

    /// A DELETE.
    pub fn delete(&self, target: &str) -> Request {
        self.request("DELETE", target)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.process.address
    }

    /// How much memory the process has from the system.
    pub fn resident_kibibytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap().trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// A connection on which nothing was sent.
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.process.address).unwrap()
    }

    /// Sends bytes as they are; gives back whatever comes until the connection ends.
    pub fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        exchange(self.process.address, bytes)
    }
}

/// What tests say often.
impl Server {
    /// A new API key, and its id.
    pub fn issue_key(&self, role: &str, owner: Option<&str>) -> (String, String) {
        let body = json!({ "role": role, "ownerId": owner });
        let issued = self.post("/v1/credentials").bearer(&self.admin).json(&body).send().expect(201);
        (issued.text("key"), issued.text("credentialId"))
    }

    /// Registers a subject.
    pub fn register(&self, subject: &str, profile: &Value) {
        let reply = self.put(&format!("/v1/subjects/{subject}")).bearer(&self.admin).json(profile).send();
        assert!([200, 201].contains(&reply.status), "{reply:?}");
    }

    /// Creates a session.
    pub fn create(&self, body: &Value) -> Session {
        let reply = self.post("/v1/sessions").bearer(&self.admin).json(body).send().expect(201);
        Session { id: reply.text("sessionId"), token: reply.text("token") }
    }

    /// A session of a subject that is registered for it.
    pub fn session(&self, subject: &str, ttl: u32) -> Session {
        self.register(subject, &json!({}));
        self.create(&json!({ "subjectId": subject, "ttl": ttl }))
    }

    /// A renewal by this token, to be sent.
    pub fn renew(&self, session: &Session) -> Request {
        self.put(&format!("/v1/sessions/{}/renew", session.id)).bearer(&session.token)
    }

    /// Asks about a token as the admin.
    pub fn introspect(&self, token: &str) -> Reply {
        self.post("/v1/introspect").bearer(&self.admin).json(&json!({ "token": token })).send().expect(200)
    }

    /// Moves the time.
    pub fn advance(&self, seconds: u64) {
        let body = json!({ "advance": seconds });
        self.put("/v1/clock").bearer(&self.admin).json(&body).send().expect(200);
    }

    /// Every recorded event of some kinds.
    pub fn events(&self, kinds: &str) -> Vec<Value> {
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
        let mut child = Command::new(binary())
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

/// A session that was created.
#[derive(Clone)]
pub struct Session {
    /// Its id.
    pub id: String,
    /// Its first token.
    pub token: String,
}

impl Session {
    /// The same session with the token of a renewal's reply.
    pub fn renewed(&self, reply: &Reply) -> Self {
        Self { id: self.id.clone(), token: reply.text("token") }
    }

    /// Its path in the API.
    pub fn path(&self) -> String {
        format!("/v1/sessions/{}", self.id)
    }
}

/// The program: cargo puts it one level above the tests that it builds.
fn binary() -> PathBuf {
    let this = std::env::current_exe().expect("a process has a program");
    let built = this.ancestors().nth(2).expect("tests are built into a folder of their own");
    built.join("tenure")
}
