//! A way to a server on this machine that can be cut, as a network between machines can.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use parking_lot::{Condvar, Mutex};

use super::super::failed;
use crate::cli::failure::CommandError;

/// Bytes per read.
const BUFFER: usize = 64 * 1024;

/// While it is cut nothing passes, and neither end notices. It goes on for as long as the process does.
pub(super) struct CutLink {
    port: u16,
    gate: Arc<LinkGate>,
}

#[derive(Default)]
struct LinkGate {
    is_cut: Mutex<bool>,
    mended: Condvar,
}

impl CutLink {
    pub(super) fn to(port: u16) -> Result<Self, CommandError> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        let way =
            Self { port: listener.local_addr().map_err(failed)?.port(), gate: Arc::new(LinkGate::default()) };
        let gate = Arc::clone(&way.gate);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let gate = Arc::clone(&gate);
                thread::spawn(move || join(&gate, &near, port));
            }
        });
        Ok(way)
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn cut(&self) {
        *self.gate.is_cut.lock() = true;
    }

    pub(super) fn mend(&self) {
        *self.gate.is_cut.lock() = false;
        self.gate.mended.notify_all();
    }
}

impl LinkGate {
    fn wait(&self) {
        let mut is_cut = self.is_cut.lock();
        while *is_cut {
            self.mended.wait(&mut is_cut);
        }
    }
}

fn join(gate: &Arc<LinkGate>, near: &TcpStream, port: u16) {
    gate.wait();
    let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { return };
    for stream in [near, &far] {
        // It would only be slower.
        drop(stream.set_nodelay(true));
    }
    let (Ok(from), Ok(to)) = (far.try_clone(), near.try_clone()) else { return };
    let back = Arc::clone(gate);
    thread::spawn(move || pass(&back, &from, &to));
    pass(gate, near, &far);
}

fn pass(gate: &LinkGate, mut from: &TcpStream, mut to: &TcpStream) {
    let mut bytes = vec![0; BUFFER];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        gate.wait();
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    gate.wait();
    for stream in [from, to] {
        // It may be closed already.
        drop(stream.shutdown(Shutdown::Both));
    }
}
