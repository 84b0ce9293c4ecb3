//! Machines of their own, as the kernel has them: each is a network namespace, and a bridge joins them. What is sent to
//! or from one that is cut off is lost in the kernel, and nobody is told.

use std::{
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd as _,
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::surroundings::say;

/// The states of a bridge's port in which nothing passes, and in which all does.
const DISABLED: &str = "0";
const FORWARDING: &str = "3";

/// Machines, and the network between them. Both go when it is dropped, which is after all that runs there.
pub struct Network {
    /// The namespace of the bridge, so that none of it is seen beside other networks of this machine.
    hub: String,
    machines: Vec<Machine>,
}

/// One of the machines.
#[derive(Clone)]
pub struct Machine(Arc<Namespace>);

struct Namespace {
    name: String,
    address: Ipv4Addr,
    space: File,
}

impl Network {
    /// Of so many machines. None where that takes rights or tools that are not here, which it says.
    pub fn of(machines: usize) -> Option<Self> {
        let made = Self::make(machines);
        if let Err(why) = &made {
            say(&format!("there are no network namespaces here, so connections are cut instead: {why}"));
        }
        made.ok()
    }

    fn make(machines: usize) -> Result<Self, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::SeqCst);
        let prefix = format!("tenure-{}-{number}", std::process::id());
        let mut network = Self { hub: format!("{prefix}-hub"), machines: vec![] };
        let hub = network.hub.clone();
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", "hub", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "hub", "up"])?;
        for index in 0..machines {
            let (name, port) = (format!("{prefix}-{index}"), port(index));
            ip(&["netns", "add", &name])?;
            let space = File::open(Path::new("/run/netns").join(&name)).map_err(|error| error.to_string())?;
            let address = Ipv4Addr::new(10, 0, 0, u8::try_from(index + 1).unwrap());
            network.machines.push(Machine(Arc::new(Namespace { name: name.clone(), address, space })));
            ip(&["-n", &hub, "link", "add", &port, "type", "veth", "peer", "name", "net", "netns", &name])?;
            ip(&["-n", &hub, "link", "set", &port, "master", "hub", "up"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            ip(&["-n", &name, "address", "add", &format!("{address}/24"), "dev", "net"])?;
            ip(&["-n", &name, "link", "set", "net", "up"])?;
        }
        Ok(network)
    }

    /// The machines.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// Nothing reaches this machine any more, or comes from it.
    pub fn cut_off(&self, machine: usize) {
        self.set(machine, DISABLED);
    }

    /// The same of nobody.
    pub fn mend(&self) {
        (0..self.machines.len()).for_each(|machine| self.set(machine, FORWARDING));
    }

    fn set(&self, machine: usize, state: &str) {
        let set = ["-n", &self.hub, "link", "set", "dev", &port(machine), "state", state];
        done(Command::new("bridge").args(set).output()).unwrap();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let names = self.machines.iter().map(|machine| &machine.0.name).chain([&self.hub]);
        for name in names {
            drop(ip(&["netns", "delete", name]));
        }
    }
}

impl Machine {
    /// Where the others reach it.
    pub fn address(&self) -> Ipv4Addr {
        self.0.address
    }

    /// A program that runs there.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0.name]).arg(program);
        command
    }
}

/// Listens on this machine, or on one of a network.
pub(crate) fn listen(at: Option<&Machine>, address: SocketAddr) -> io::Result<TcpListener> {
    on(at, || TcpListener::bind(address))
}

/// Connects from this machine, or from one of a network.
pub(crate) fn connect(from: Option<&Machine>, address: SocketAddr) -> io::Result<TcpStream> {
    on(from, || TcpStream::connect(address))
}

/// A socket belongs to the namespace of the thread that makes it, wherever it is used.
fn on<T: Send>(machine: Option<&Machine>, make: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let Some(machine) = machine else { return make() };
    let there = || {
        move_into_link_name_space(machine.0.space.as_fd(), Some(LinkNameSpaceType::Network))?;
        make()
    };
    thread::scope(|scope| scope.spawn(there).join().unwrap())
}

/// The bridge's end of a machine's cable.
fn port(machine: usize) -> String {
    format!("port{machine}")
}

fn ip(words: &[&str]) -> Result<(), String> {
    done(Command::new("ip").args(words).output())
}

fn done(output: io::Result<Output>) -> Result<(), String> {
    let output = output.map_err(|error| format!("iproute2: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}
