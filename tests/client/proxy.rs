//! A network that loses: it stands between clients and the server, and decides the fate of each request.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    /// The server answers, and the answer is lost: the connection ends instead.
    LoseReply,
    /// The server answers, and the client waits for the answer as long as it lives.
    HoldReply,
    /// The server never hears of it, and the client waits.
    HoldRequest,
    /// The server never hears of it, and the client is told that it has too much to do.
    Overload,
}

const OVERLOADED: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
    content-length: 91\r\n\r\n{\"code\":\"OVERLOADED\",\"title\":\"Too many requests are waiting\",\"status\":503,\
    \"retryable\":true}";

/// Listens on an address of its own.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
}

impl Proxy {
    /// Asks for the fate of each request by its first line, before it is passed on.
    pub(crate) fn before(server: SocketAddr, fate_of: impl Fn(&str) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let fate_of = Arc::new(fate_of);
        // It ends with the process.
        thread::spawn(move || {
            for client in listener.incoming() {
                let fate_of = Arc::clone(&fate_of);
                thread::spawn(move || relay(&client.unwrap(), server, &*fate_of));
            }
        });
        Self { address }
    }

    /// The first renewal meets this fate, and all that follows passes. Each renewal is heard of before its fate.
    pub(crate) fn where_the_first_renewal_meets(
        fate: Fate,
        server: SocketAddr,
    ) -> (Self, mpsc::Receiver<()>) {
        let (heard, renewals) = mpsc::channel();
        let (heard, is_first) = (Mutex::new(heard), AtomicBool::new(true));
        let proxy = Self::before(server, move |first| {
            if !first.starts_with("PUT ") {
                return Fate::Pass;
            }
            let _ = heard.lock().unwrap().send(());
            if is_first.swap(false, Ordering::Relaxed) { fate } else { Fate::Pass }
        });
        (proxy, renewals)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Passes on one message after the other, until either side or fate ends it.
fn relay(mut client: &TcpStream, server: SocketAddr, fate_of: &dyn Fn(&str) -> Fate) -> Option<()> {
    let mut server = TcpStream::connect(server).ok()?;
    let mut requests = BufReader::new(client);
    let mut replies = BufReader::new(server.try_clone().ok()?);
    loop {
        let request = message(&mut requests)?;
        let first = String::from_utf8_lossy(&request).lines().next()?.to_owned();
        let fate = fate_of(&first);
        if fate == Fate::Overload {
            client.write_all(OVERLOADED.as_bytes()).ok()?;
            continue;
        }
        if fate != Fate::HoldRequest {
            server.write_all(&request).ok()?;
            let reply = message(&mut replies)?;
            if fate == Fate::Pass {
                client.write_all(&reply).ok()?;
            }
        }
        match fate {
            Fate::Pass | Fate::Overload => {}
            Fate::LoseReply => return None,
            Fate::HoldReply | Fate::HoldRequest => {
                // Until the client is gone.
                let _ = requests.read(&mut [0]);
                return None;
            }
        }
    }
}

/// Head and body of a request or reply; `None` when the connection has ended.
fn message(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    while !message.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut message).ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&message).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
    let begin = message.len();
    message.resize(begin + length.unwrap_or(0), 0);
    stream.read_exact(&mut message[begin..]).ok()?;
    Some(message)
}
