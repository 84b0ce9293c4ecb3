//! A server with few descriptors, and clients that call from the address that a test says.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use tenure::clock::{pause, stopwatch};

const PATIENCE: Duration = Duration::from_secs(20);

/// Where a well-meant caller calls from, and where others do.
pub(crate) const FRIEND: Ipv4Addr = Ipv4Addr::LOCALHOST;
pub(crate) const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
pub(crate) const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
pub(crate) const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

/// A running server. It is killed when it goes out of scope.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    directory: TempDir,
    pub(crate) admin: String,
}

/// A connection that stays open.
pub(crate) struct Client(BufReader<TcpStream>);

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Ports to call from, in turn. The system is not asked for a free one: where thousands of calls have just ended it looks
/// for so long, with a processor to itself, that attackers in this process would be all that a probe notices.
const PORTS: std::ops::Range<u32> = 10_000..32_768;

fn next_port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    // Other processes may do the same.
    let begin = std::process::id().wrapping_mul(2_654_435_761) >> 8;
    let place = begin.wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed)) % (PORTS.end - PORTS.start);
    u16::try_from(PORTS.start + place).unwrap()
}

fn connection(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let mut refused = None;
    for _ in PORTS {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        // Also of a port whose last call has just ended.
        socket.set_reuse_address(true)?;
        let bound = socket.bind(&SocketAddr::from((from, next_port())).into());
        match bound.and_then(|()| socket.connect(&to.into())) {
            Err(error) if matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::AddrNotAvailable) => {
                refused = Some(error);
            }
            connected => return connected.map(|()| socket.into()),
        }
    }
    Err(refused.expect("it was tried"))
}

impl Server {
    /// With so many descriptors, and settings that are each `name=value`, or a flag.
    pub(crate) fn with(descriptors: u32, settings: &[&str]) -> Self {
        // Attackers need more descriptors than a login shell gives.
        let own = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: own.maximum, maximum: own.maximum }).unwrap();
        Self::on(tempfile::tempdir().unwrap(), descriptors, settings)
    }

    /// The same, of a data directory to which something was done while no server ran on it.
    pub(crate) fn after(descriptors: u32, settings: &[&str], done: impl FnOnce(&Path)) -> Self {
        let mut first = Self::with(descriptors, settings);
        let pid = Pid::from_child(&first.child);
        kill_process(pid, Signal::TERM).unwrap();
        assert!(first.child.wait().unwrap().success());
        let directory = std::mem::replace(&mut first.directory, tempfile::tempdir().unwrap());
        done(&directory.path().join("data"));
        Self::on(directory, descriptors, settings)
    }

    fn on(directory: TempDir, descriptors: u32, settings: &[&str]) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_tenure"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(directory.path().join("data"))
            .args(settings.iter().flat_map(|setting| {
                if setting.starts_with("--") { vec![*setting] } else { vec!["--set", *setting] }
            }))
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, address) = line.split_once("listening on http")?;
            Some(address.trim_start_matches('s').trim_start_matches("://").trim().parse())
        });
        let address = listening.unwrap().unwrap();
        // Nobody reads the rest; the server must not wait for that.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let admin = std::fs::read_to_string(directory.path().join("data/admin.key")).unwrap();
        Self { child, address, directory, admin: admin.trim().to_owned() }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection from this address; an error if it cannot be made.
    pub(crate) fn try_call(&self, from: Ipv4Addr) -> std::io::Result<Client> {
        let stream = connection(from, self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Client(BufReader::new(stream)))
    }

    /// Callers who have shown who they are, each at work: a hundred with a stream, the others with a request that goes on.
    pub(crate) fn at_work(&self, count: usize) -> Vec<Client> {
        let more = format!("authorization: Bearer {}\r\n", self.admin);
        let half = request("PUT", "/v1/subjects/a", &more, "{", 20);
        let caller = |number| {
            let mut client = self.call(FRIEND);
            if number < 100 {
                client.listen(&self.admin).expect(200);
            } else {
                client.send(&half).unwrap();
            }
            client
        };
        (0..count).map(caller).collect()
    }

    /// A connection whose client takes little at once.
    pub(crate) fn call_deaf(&self, from: Ipv4Addr) -> Client {
        self.try_call_deaf(from).unwrap()
    }

    pub(crate) fn try_call_deaf(&self, from: Ipv4Addr) -> std::io::Result<Client> {
        let client = self.try_call(from)?;
        socket2::SockRef::from(client.0.get_ref()).set_recv_buffer_size(4_096)?;
        Ok(client)
    }

    pub(crate) fn call(&self, from: Ipv4Addr) -> Client {
        self.try_call(from).unwrap()
    }

    /// A new key of this role.
    pub(crate) fn key(&self, role: &str) -> String {
        self.key_of(&json!({ "role": role }))
    }

    /// A new key of this owner.
    pub(crate) fn owner(&self, owner: &str) -> String {
        self.key_of(&json!({ "role": "owner", "ownerId": owner }))
    }

    fn key_of(&self, asked: &Value) -> String {
        let asked = self.call(FRIEND).ask("POST", "/v1/credentials", &self.admin, Some(asked));
        asked.expect(201).json()["key"].as_str().unwrap().to_owned()
    }

    /// A new session of a new subject: its id and its token.
    pub(crate) fn session(&self, subject: &str) -> (String, String) {
        let mut client = self.call(FRIEND);
        let put = client.ask("PUT", &format!("/v1/subjects/{subject}"), &self.admin, Some(&json!({})));
        assert!([200, 201].contains(&put.status), "{put:?}");
        let body = json!({ "subjectId": subject });
        let made = client.ask("POST", "/v1/sessions", &self.admin, Some(&body)).expect(201).json();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("sessionId"), text("token"))
    }

    /// The numbers of `/metrics`, by name with labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.call(FRIEND).ask("GET", "/metrics", &self.admin, None).expect(200).body;
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    /// Waits until a number is what it should be.
    pub(crate) fn until(&self, name: &str, is_right: impl Fn(u64) -> bool) {
        let begun = stopwatch();
        while !is_right(self.metric(name)) {
            assert!(begun.elapsed() < Duration::from_secs(5), "{name} is {}", self.metric(name));
            pause(Duration::from_millis(20));
        }
    }

    /// The most memory that it has had since its start.
    pub(crate) fn peak_mebibytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() / 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        self.child.wait().unwrap();
    }
}

/// A request that is as long as its body says, or breaks off before it.
pub(crate) fn request(method: &str, target: &str, more: &str, body: &str, length: usize) -> Vec<u8> {
    format!(
        "{method} {target} HTTP/1.1\r\nhost: t\r\n{more}content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

impl Client {
    /// Asks and waits for the answer; an error if the connection ends before.
    pub(crate) fn try_ask(&mut self, bytes: &[u8]) -> std::io::Result<Answer> {
        self.send(bytes)?;
        self.answer()
    }

    pub(crate) fn ask(&mut self, method: &str, target: &str, key: &str, body: Option<&Value>) -> Answer {
        let more = if key.is_empty() { String::new() } else { format!("authorization: Bearer {key}\r\n") };
        self.ask_saying(method, target, &more, body)
    }

    /// With some lines of the head.
    pub(crate) fn ask_saying(
        &mut self,
        method: &str,
        target: &str,
        more: &str,
        body: Option<&Value>,
    ) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        self.try_ask(&request(method, target, more, &body, body.len())).unwrap()
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Sends what the server takes of it within a moment.
    pub(crate) fn send_some(&mut self, mut bytes: &[u8]) {
        self.0.get_ref().set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        while !bytes.is_empty() {
            match self.0.get_mut().write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(_) => break,
            }
        }
    }

    /// Ends its side of the connection: nothing more is sent, and answers are waited for.
    pub(crate) fn says_no_more(&self) {
        self.0.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    }

    pub(crate) fn answer(&mut self) -> std::io::Result<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body)?;
        Ok(Answer { status, head, body: String::from_utf8(body).unwrap() })
    }

    /// Opens a stream of events; what was answered.
    pub(crate) fn listen(&mut self, key: &str) -> Answer {
        let more = format!("authorization: Bearer {key}\r\naccept: text/event-stream\r\n");
        self.ask_saying("GET", "/v1/events?after=latest", &more, None)
    }

    /// Waits until the server asks for the body, or answers without it: that answer is left to be read.
    pub(crate) fn is_asked_for_its_body(&mut self) {
        const ASKED: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        if self.0.fill_buf().unwrap().starts_with(ASKED) {
            self.0.consume(ASKED.len());
        }
    }

    /// Whether the server has closed the connection, or does so within a moment.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.0.get_ref().set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let read = self.0.get_mut().read(&mut [0; 1]);
        self.0.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        match read {
            Ok(count) => count == 0,
            Err(error) => ![ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()),
        }
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Refused with this code, and told when to come back.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{self:?}");
        let after = self.head.lines().find_map(|line| line.strip_prefix("retry-after: "));
        let after: u32 = after.unwrap_or_else(|| panic!("{self:?}")).parse().unwrap();
        assert!((1..=60).contains(&after), "{self:?}");
        assert!(self.json()["retryAt"].is_string() && self.json()["retryable"] == true, "{self:?}");
        self
    }
}
