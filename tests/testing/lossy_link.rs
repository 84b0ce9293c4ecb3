//! A network that can be cut: what is sent over such a way arrives later or never, as between machines.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use crate::network::{self, Machine};

/// A way to a server on this machine. While it is cut nothing passes, new connections stay without an answer, and
/// the ends of it are told nothing. What was under way arrives once it is mended.
pub struct LossyLink {
    from: LinkEnd,
    shared: Arc<Shared>,
}

/// An address on this machine, or on one of a network.
#[derive(Clone)]
struct LinkEnd {
    machine: Option<Machine>,
    address: SocketAddr,
}

struct Shared {
    to: LinkEnd,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    are_answers_held: bool,
    /// So many more connections pass.
    admitted: Option<usize>,
    /// What is asked with these words in it is lost.
    swallowed: Option<&'static str>,
    /// So many more bytes of answers pass, about.
    answers_left: Option<usize>,
    is_over: bool,
    open: Vec<TcpStream>,
}

impl LossyLink {
    /// To the server at this port, which need not listen yet.
    pub fn to(to: u16) -> Self {
        Self::between(LinkEnd::here(0), LinkEnd::here(to))
    }

    /// From this machine to a server that listens on the loopback of another one.
    pub fn into(machine: &Machine, port: u16) -> Self {
        Self::between(LinkEnd::here(0), LinkEnd::loopback_of(machine, port))
    }

    /// From the network of a machine to a server that listens on its loopback, at the same port.
    pub fn at_the_door_of(machine: &Machine, port: u16) -> Self {
        let address = SocketAddr::from((machine.address(), port));
        let door = LinkEnd { machine: Some(machine.clone()), address };
        Self::between(door, LinkEnd::loopback_of(machine, port))
    }

    fn between(mut from: LinkEnd, to: LinkEnd) -> Self {
        let listener = network::listen(from.machine.as_ref(), from.address).unwrap();
        from.address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { to, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accepts(&listener));
        Self { from, shared }
    }

    /// Where it begins.
    pub fn port(&self) -> u16 {
        self.from.address.port()
    }

    /// Nothing passes any more.
    pub fn cut(&self) {
        self.shared.state.lock().unwrap().is_cut = true;
    }

    /// What the server answers does not come through any more; what it is asked does.
    pub fn hold_answers(&self) {
        self.shared.state.lock().unwrap().are_answers_held = true;
    }

    /// After so many more bytes of answers, about, the rest does not come through.
    pub fn hold_answers_after(&self, bytes: usize) {
        self.shared.state.lock().unwrap().answers_left = Some(bytes);
    }

    /// After so many more connections new ones stay without an answer.
    pub fn admit_only(&self, connections: usize) {
        self.shared.state.lock().unwrap().admitted = Some(connections);
    }

    /// What is asked with these words in it is lost, as if the server had too much to do. Where several questions are
    /// under way at once, others may be lost with it.
    pub fn swallow(&self, words: &'static str) {
        self.shared.state.lock().unwrap().swallowed = Some(words);
    }

    /// It is whole again.
    pub fn mend(&self) {
        let mut state = self.shared.state.lock().unwrap();
        (state.is_cut, state.are_answers_held) = (false, false);
        (state.admitted, state.answers_left, state.swallowed) = (None, None, None);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// All connections end, and what was held is lost.
    pub fn breaks(&self) {
        for stream in self.shared.state.lock().unwrap().open.drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
        self.mend();
    }
}

impl LinkEnd {
    fn here(port: u16) -> Self {
        Self { machine: None, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) }
    }

    fn loopback_of(machine: &Machine, port: u16) -> Self {
        Self { machine: Some(machine.clone()), ..Self::here(port) }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        network::connect(self.machine.as_ref(), self.address)
    }
}

impl Drop for LossyLink {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap();
        state.is_over = true;
        for stream in state.open.drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
        drop(state);
        self.shared.changed.notify_all();
        // It wakes up who waits for connections.
        drop(self.from.connect());
    }
}

impl Shared {
    fn accepts(self: Arc<Self>, listener: &TcpListener) {
        for near in listener.incoming().map_while(Result::ok) {
            if self.state.lock().unwrap().is_over {
                return;
            }
            let shared = Arc::clone(&self);
            thread::spawn(move || shared.joins(near));
        }
    }

    fn joins(self: Arc<Self>, near: TcpStream) {
        if !self.waits_until_admitted() || !self.waits_until_whole(false) {
            return;
        }
        let Ok(far) = self.to.connect() else { return };
        let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { return };
        for stream in [&near, &far] {
            drop(stream.set_nodelay(true));
            self.knows(stream);
        }
        let back = Arc::clone(&self);
        thread::spawn(move || back.passes(far_too, near_too, true));
        self.passes(near, far, false);
    }

    fn knows(&self, stream: &TcpStream) {
        let mut state = self.state.lock().unwrap();
        state.open.retain(|stream| stream.peer_addr().is_ok());
        state.open.extend(stream.try_clone());
    }

    /// One direction of a connection.
    fn passes(&self, mut from: TcpStream, mut to: TcpStream, is_answers: bool) {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let count = match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            if is_answers {
                self.counts(count);
            } else if self.swallows(&bytes[..count]) {
                continue;
            }
            if !self.waits_until_whole(is_answers) || to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        // That one end is gone is not known at the other while the way is cut.
        self.waits_until_whole(is_answers);
        for stream in [from, to] {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    fn swallows(&self, asked: &[u8]) -> bool {
        let swallowed = self.state.lock().unwrap().swallowed;
        swallowed.is_some_and(|words| asked.windows(words.len()).any(|part| part == words.as_bytes()))
    }

    /// So many bytes of an answer are on their way.
    fn counts(&self, bytes: usize) {
        let mut state = self.state.lock().unwrap();
        state.answers_left = state.answers_left.map(|left| left.saturating_sub(bytes));
        if state.answers_left == Some(0) {
            state.are_answers_held = true;
        }
    }

    /// The same of a new connection.
    fn waits_until_admitted(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        while state.admitted == Some(0) && !state.is_over {
            state = self.changed.wait_timeout(state, Duration::from_secs(1)).unwrap().0;
        }
        state.admitted = state.admitted.map(|left| left.saturating_sub(1));
        !state.is_over
    }

    /// False once it is over.
    fn waits_until_whole(&self, is_answers: bool) -> bool {
        let mut state = self.state.lock().unwrap();
        while (state.is_cut || is_answers && state.are_answers_held) && !state.is_over {
            state = self.changed.wait_timeout(state, Duration::from_secs(1)).unwrap().0;
        }
        !state.is_over
    }
}
