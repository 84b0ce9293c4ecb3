//! Brokers and nodes on this machine, each a process of its own.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tenure_protocol::clock::{pause, stopwatch};

use super::{super::failed, cut_link::CutLink};
use crate::cli::failure::CommandError;

/// What takes longer has failed.
pub(super) const TIMEOUT: Duration = Duration::from_mins(1);
/// How often it is looked whether something has come about.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// Brokers that keep the log.
pub(super) const BROKERS: usize = 3;

/// A process that ends with this.
struct ChildProcess {
    program: PathBuf,
    words: Vec<String>,
    child: Option<Child>,
}

impl ChildProcess {
    fn new(program: &Path, words: Vec<String>) -> Self {
        Self { program: program.to_owned(), words, child: None }
    }

    fn begin(&mut self) -> Result<(), CommandError> {
        let mut command = Command::new(&self.program);
        // Settings in the surroundings must not change what is measured.
        command.args(&self.words).env_clear().stdout(Stdio::null()).stderr(Stdio::null());
        self.child =
            Some(command.spawn().map_err(|error| failed(format!("{}: {error}", self.program.display())))?);
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// How long processors have worked on it; nothing where the system does not say.
    fn worked(&self) -> Duration {
        let child = self.child.as_ref().map(Child::id);
        child.and_then(worked_on).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) -> Result<(), CommandError> {
        let child = self.child.as_ref().ok_or_else(|| failed("the process does not run"))?;
        kill_process(Pid::from_child(child), signal).map_err(failed)
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three brokers that keep the log together.
pub(super) struct BrokerCluster {
    processes: Vec<ChildProcess>,
    ports: Vec<u16>,
    dir: PathBuf,
}

impl BrokerCluster {
    pub(super) fn start(program: &Path, dir: &Path) -> Result<Self, CommandError> {
        let (ports, routes) = (free_ports(BROKERS)?, free_ports(BROKERS)?);
        let mut brokers = Self { processes: vec![], ports, dir: dir.to_owned() };
        for number in 0..BROKERS {
            let config = dir.join(format!("broker-{number}.conf"));
            let words = vec!["-c".to_owned(), config.display().to_string()];
            write(&config, &brokers.config(number, &routes))?;
            brokers.processes.push(ChildProcess::new(program, words));
        }
        brokers.begin_all()?;
        until("the brokers make the streams", || brokers.make_streams())?;
        Ok(brokers)
    }

    fn config(&self, number: usize, routes: &[u16]) -> String {
        let (port, route, store) =
            (self.ports[number], routes[number], self.dir.join(format!("broker-{number}")));
        let to = routes.iter().map(|route| format!("nats-route://127.0.0.1:{route}")).collect::<Vec<_>>();
        // A client that knew the others would bypass the links that can be cut.
        format!(
            "listen: \"127.0.0.1:{port}\"\nserver_name: n{number}\n\
             jetstream {{ store_dir: \"{}\", sync_interval: always, max_file_store: 64GB }}\n\
             cluster {{ name: bench, listen: \"127.0.0.1:{route}\", no_advertise: true, routes: [{}] }}\n",
            store.display(),
            to.join(", ")
        )
    }

    fn make_streams(&self) -> Result<bool, CommandError> {
        let secret = self.secret();
        let secret = secret.display().to_string();
        let words = ["cluster", "init", "--max-bytes", "8589934592", "--secret-file", &secret];
        Ok(self.tenure(&words)?.status.success())
    }

    fn tenure(&self, words: &[&str]) -> Result<Output, CommandError> {
        let mut command = Command::new(this_program()?);
        command.args(words).args(["--set", &format!("log.url={}", self.url())]).env_clear();
        command.output().map_err(failed)
    }

    /// How long processors have worked on them.
    pub(super) fn worked(&self) -> Duration {
        self.processes.iter().map(ChildProcess::worked).sum()
    }

    /// The secret that the nodes share.
    pub(super) fn secret(&self) -> PathBuf {
        self.dir.join("cluster.secret")
    }

    pub(super) fn url(&self) -> String {
        url(&self.ports)
    }

    pub(super) fn begin_all(&mut self) -> Result<(), CommandError> {
        for number in 0..BROKERS {
            self.begin(number)?;
        }
        Ok(())
    }

    pub(super) fn begin(&mut self, number: usize) -> Result<(), CommandError> {
        self.processes[number].begin()?;
        let port = self.ports[number];
        until("a broker takes connections", || Ok(TcpStream::connect(("127.0.0.1", port)).is_ok()))
    }

    pub(super) fn kill(&mut self, number: usize) {
        self.processes[number].kill();
    }

    pub(super) fn kill_all(&mut self) {
        self.processes.iter_mut().for_each(ChildProcess::kill);
    }

    fn status(&self) -> Result<Option<Value>, CommandError> {
        let told = self.tenure(&["cluster", "status", "-o", "json"])?;
        Ok(serde_json::from_slice(&told.stdout).ok().filter(|_| told.status.success()))
    }

    /// The one that leads the log.
    pub(super) fn leader(&self) -> Result<usize, CommandError> {
        let mut leader = None;
        until("the brokers have a leader", || {
            let status = self.status()?.unwrap_or_default();
            let name = status["items"][0]["leader"].as_str().and_then(|name| name.strip_prefix('n'));
            leader = name.and_then(|name| name.parse().ok());
            Ok(leader.is_some())
        })?;
        leader.ok_or_else(|| failed("the brokers have no leader"))
    }

    /// Waits until each of them has everything.
    pub(super) fn are_whole(&self) -> Result<(), CommandError> {
        until("all brokers have the log", || {
            let status = self.status()?.unwrap_or_default();
            Ok(status["items"][0]["current"].as_u64().is_some_and(|current| current == BROKERS as u64))
        })
    }
}

/// A node, on ways that can be cut.
pub(super) struct NodeProcess {
    process: ChildProcess,
    /// Host and port, past all ways.
    pub(super) host: String,
    to_brokers: Vec<CutLink>,
    to_it: CutLink,
}

impl NodeProcess {
    /// Starts a node of its own directory.
    pub(super) fn start(brokers: &BrokerCluster, data: &Path) -> Result<Self, CommandError> {
        private_directory(data)?;
        let port = free_ports(1)?[0];
        let to_brokers =
            brokers.ports.iter().map(|port| CutLink::to(*port)).collect::<Result<Vec<_>, _>>()?;
        let (to_it, host) = (CutLink::to(port)?, format!("127.0.0.1:{port}"));
        let ports: Vec<_> = to_brokers.iter().map(CutLink::port).collect();
        let settings = [
            format!("log.url={}", url(&ports)),
            format!("cluster.advertise=http://127.0.0.1:{}", to_it.port()),
            format!("cluster.secret_file={}", brokers.secret().display()),
        ];
        let mut words: Vec<_> = ["serve", "--test-clock", "--listen", &host].map(str::to_owned).into();
        words.extend(["--data".to_owned(), data.display().to_string()]);
        words.extend(settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]));
        let mut process = ChildProcess::new(&this_program()?, words);
        process.begin()?;
        Ok(Self { process, host, to_brokers, to_it })
    }

    pub(super) fn begin(&mut self) -> Result<(), CommandError> {
        self.process.begin()
    }

    pub(super) fn kill(&mut self) {
        self.process.kill();
    }

    pub(super) fn freeze(&self) -> Result<(), CommandError> {
        self.process.signal(Signal::STOP)
    }

    pub(super) fn thaw(&self) -> Result<(), CommandError> {
        self.process.signal(Signal::CONT)
    }

    pub(super) fn cut(&self) {
        self.to_brokers.iter().for_each(CutLink::cut);
        self.to_it.cut();
    }

    pub(super) fn mend(&self) {
        self.to_brokers.iter().for_each(CutLink::mend);
        self.to_it.mend();
    }
}

/// A node on its own ways to the brokers, which are never cut.
pub(super) struct DirectNode {
    process: ChildProcess,
    /// Host and port.
    pub(super) host: String,
}

impl DirectNode {
    /// Starts a node of its own directory.
    pub(super) fn start(brokers: &BrokerCluster, data: &Path) -> Result<Self, CommandError> {
        let host = format!("127.0.0.1:{}", free_ports(1)?[0]);
        let words = ["serve", "--test-clock", "--listen", &host, "--data"].map(str::to_owned).into_iter();
        let settings = [
            format!("log.url={}", brokers.url()),
            format!("cluster.secret_file={}", brokers.secret().display()),
        ];
        let settings = settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]);
        let words = words.chain([data.display().to_string()]).chain(settings);
        let mut process = ChildProcess::new(&this_program()?, words.collect());
        process.begin()?;
        Ok(Self { process, host })
    }

    /// How long processors have worked on it.
    pub(super) fn worked(&self) -> Duration {
        self.process.worked()
    }
}

/// How long processors have worked on a process: the fourteenth and fifteenth fields of its `stat`, in hundredths of a
/// second. The name of the program, before them, is in parentheses.
fn worked_on(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let ticks = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    ticks.sum::<Result<u64, _>>().ok().map(|ticks| Duration::from_millis(ticks * 10))
}

/// Waits until it is so.
pub(super) fn until(
    what: &str,
    mut is_so: impl FnMut() -> Result<bool, CommandError>,
) -> Result<(), CommandError> {
    let begun: Instant = stopwatch();
    while !is_so()? {
        if begun.elapsed() > TIMEOUT {
            return Err(failed(format!("it does not come about that {what}")));
        }
        pause(LOOK);
    }
    Ok(())
}

pub(super) fn private_directory(path: &Path) -> Result<(), CommandError> {
    tenure_files::key_files::private_directory(path).map_err(failed)
}

fn this_program() -> Result<PathBuf, CommandError> {
    std::env::current_exe().map_err(failed)
}

fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    fs::write(path, text).map_err(|source| CommandError::File { path: path.into(), source })
}

fn url(ports: &[u16]) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("nats://{}", hosts.join(","))
}

/// Ports free at the moment.
fn free_ports(count: usize) -> Result<Vec<u16>, CommandError> {
    let listeners = (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect::<Result<Vec<_>, _>>();
    let addresses =
        listeners.map_err(failed)?.iter().map(TcpListener::local_addr).collect::<Result<Vec<_>, _>>();
    Ok(addresses.map_err(failed)?.iter().map(std::net::SocketAddr::port).collect())
}
