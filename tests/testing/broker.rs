//! A real broker to test with: the server that `tests/run` fetches.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tenure_protocol::clock::{pause, stopwatch};

use crate::{
    lossy_link::LossyLink,
    network::{self, Machine},
    surroundings::{not_run, variable},
};

/// The server's program; without it the test says that it was not run.
pub fn program(test: &str) -> Option<PathBuf> {
    let found = variable("TENURE_TEST_NATS").map(PathBuf::from).filter(|path| path.exists());
    if found.is_none() {
        not_run(
            test,
            "there is no nats-server; tests/run fetches one and says where it is (TENURE_TEST_NATS)",
        );
    }
    found
}

/// One server, or one of several that keep the same streams.
pub struct Broker {
    program: PathBuf,
    port: u16,
    config: PathBuf,
    child: Option<Child>,
    /// Where it runs, and the way there from this machine.
    elsewhere: Option<(Machine, LossyLink)>,
    _dir: Option<tempfile::TempDir>,
}

/// Where it takes clients and the other brokers of a cluster, on a machine of its own.
const CLIENTS: u16 = 4222;
const ROUTES: u16 = 6222;

impl Broker {
    /// Starts a server of its own.
    pub fn start(program: &Path) -> Self {
        Self::start_with(program, "")
    }

    /// The same, with more lines in its settings.
    pub fn start_with(program: &Path, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = write_config(dir.path(), &format!("127.0.0.1:{port}"), more);
        Self { program: program.to_owned(), port, config, child: None, elsewhere: None, _dir: Some(dir) }
            .begun()
    }

    fn begun(mut self) -> Self {
        self.begin();
        self
    }

    /// Starts one on each of these machines. They replicate, unless there is only one.
    pub fn on(machines: &[Machine], program: &Path) -> Vec<Self> {
        let routes = machines.iter().map(|machine| format!("nats-route://{}:{ROUTES}", machine.address()));
        let routes = routes.collect::<Vec<_>>().join(", ");
        let start = |(name, machine): (usize, &Machine)| {
            let cluster = format!(
                "server_name: n{name}\ncluster {{ name: c, listen: \"{}:{ROUTES}\", no_advertise: true, \
                 routes: [{routes}] }}",
                machine.address()
            );
            let cluster = if machines.len() > 1 { &*cluster } else { "" };
            let dir = tempfile::tempdir().unwrap();
            let config = write_config(dir.path(), &format!("0.0.0.0:{CLIENTS}"), cluster);
            let way = LossyLink::into(machine, CLIENTS);
            let (port, elsewhere) = (way.port(), Some((machine.clone(), way)));
            Self { program: program.to_owned(), port, config, child: None, elsewhere, _dir: Some(dir) }
                .begun()
        };
        machines.iter().enumerate().map(start).collect()
    }

    /// Where clients on other machines of its network connect.
    pub fn address_of(machine: &Machine) -> String {
        format!("{}:{CLIENTS}", machine.address())
    }

    /// Starts three that replicate.
    pub fn three(program: &Path) -> Vec<Self> {
        let routes: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let all = routes.iter().map(|port| format!("nats-route://127.0.0.1:{port}"));
        let all = all.collect::<Vec<_>>().join(", ");
        let start = |(name, route): (usize, &u16)| {
            let cluster = format!(
                "server_name: n{name}\ncluster {{ name: c, listen: \"127.0.0.1:{route}\", routes: [{all}] }}"
            );
            Self::start_with(program, &cluster)
        };
        routes.iter().enumerate().map(start).collect()
    }

    /// The same, on ways to each other that can be cut.
    pub fn three_apart(program: &Path) -> (Vec<Self>, Mesh) {
        let routes: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let (mut brokers, mut mesh) = (vec![], Mesh(vec![]));
        for (name, route) in routes.iter().enumerate() {
            let others = (0..3).filter(|other| *other != name);
            let ways: Vec<_> =
                others.map(|other| Between(name, other, LossyLink::to(routes[other]))).collect();
            let to = ways.iter().map(|between| format!("nats-route://127.0.0.1:{}", between.2.port()));
            // What they would tell each other and their clients of their addresses leads past these ways.
            let cluster = format!(
                "server_name: n{name}\ncluster {{ name: c, listen: \"127.0.0.1:{route}\", advertise: \"127.0.0.1:1\", \
                 no_advertise: true, routes: [{}] }}",
                to.collect::<Vec<_>>().join(", ")
            );
            brokers.push(Self::start_with(program, &cluster));
            mesh.0.extend(ways);
        }
        (brokers, mesh)
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.config.parent().unwrap()
    }

    /// The port of its clients.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it, and waits until it takes connections.
    pub fn begin(&mut self) {
        let (mut command, machine, port) = match &self.elsewhere {
            None => (Command::new(&self.program), None, self.port),
            Some((machine, _)) => (machine.command(&self.program), Some(machine), CLIENTS),
        };
        command.arg("-c").arg(&self.config).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let begun = stopwatch();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        while network::connect(machine, address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the server takes no connections");
            pause(Duration::from_millis(20));
        }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// It answers nothing any more, and keeps its connections.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.as_ref().unwrap().id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }
}

/// The ways between several brokers.
pub struct Mesh(Vec<Between>);

/// From one to another.
struct Between(usize, usize, LossyLink);

impl Mesh {
    /// This one hears nothing of the others, nor they of it.
    pub fn cut_off(&self, broker: usize) {
        self.0.iter().filter(|way| way.0 == broker || way.1 == broker).for_each(|way| way.2.cut());
    }

    /// All hear each other again.
    pub fn mend(&self) {
        self.0.iter().for_each(|way| way.2.mend());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn write_config(dir: &Path, listen: &str, more: &str) -> PathBuf {
    let store = dir.join("store");
    let config = dir.join("nats.conf");
    let text = format!(
        "listen: \"{listen}\"\njetstream {{ store_dir: \"{}\", sync_interval: always, max_file_store: 64GB }}\n{more}\n",
        store.display()
    );
    fs::write(&config, text).unwrap();
    config
}

/// A port that nobody has now.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
