//! Callers of whom none ever waits: hundreds of connections on one thread, so that they take little of the machine that
//! the server needs, and what queues up queues up there.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::{client::request, siege::with};

/// An answer that has not come by then never comes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one caller met.
#[derive(Clone, Default)]
pub(crate) struct Met {
    pub(crate) recorded: u64,
    pub(crate) refused: u64,
    /// Answers that it did not wait for; the request was made again.
    pub(crate) lost: u64,
}

/// A caller with a session that it records the use of, as fast as it goes. When it is refused it asks the same again at
/// once; and every seventh answer gets lost on its way.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) server: SocketAddr,
    pub(crate) from: Ipv4Addr,
    pub(crate) key: String,
    pub(crate) session: String,
}

/// A connection, and what came on it and was not read yet.
struct Line {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Line {
    /// Asks; the status of the answer, and its head.
    async fn ask(&mut self, bytes: &[u8]) -> std::io::Result<(u16, String)> {
        self.stream.write_all(bytes).await?;
        self.bytes.clear();
        loop {
            if let Some(answer) = whole(&self.bytes) {
                return Ok(answer);
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.bytes)).await??;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The status and the head of an answer, once all of it is there.
fn whole(bytes: &[u8]) -> Option<(u16, String)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    let status = head[9..12].parse().unwrap();
    (bytes.len() >= end + length).then(|| (status, head.to_owned()))
}

impl Caller {
    async fn call(&self) -> Line {
        loop {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((self.from, 0).into()).unwrap();
            if let Ok(stream) = socket.connect(self.server).await {
                stream.set_nodelay(true).unwrap();
                return Line { stream, bytes: Vec::new() };
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn works(&self, met: &mut Met, stop: &AtomicBool) {
        let mut line = self.call().await;
        while !stop.load(Ordering::Relaxed) {
            self.records(&mut line, met).await;
        }
    }

    /// One command, asked until it is done.
    async fn records(&self, line: &mut Line, met: &mut Met) {
        let body = json!({ "operation": "read" }).to_string();
        let more = format!("{}idempotency-key: {}.{}\r\n", with(&self.key), self.session, met.recorded);
        let bytes =
            request("POST", &format!("/v1/sessions/{}/usage", self.session), &more, &body, body.len());
        if met.recorded % 7 == 6 && line.stream.write_all(&bytes).await.is_ok() {
            met.lost += 1;
            *line = self.call().await;
        }
        loop {
            match line.ask(&bytes).await {
                Ok((200, _)) => break,
                Ok((status, head)) => {
                    assert!([429, 503].contains(&status), "{head}");
                    assert!(head.contains("retry-after: "), "{head}");
                    met.refused += 1;
                }
                Err(_) => *line = self.call().await,
            }
        }
        met.recorded += 1;
    }
}

/// Lets all of them work until they are told to stop. Each goes on from what it met before.
pub(crate) fn work(callers: &[Caller], met: &mut [Met], stop: &Arc<AtomicBool>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let begin = |(caller, met): (&Caller, &Met)| {
        let (caller, mut met, stop) = (caller.clone(), met.clone(), Arc::clone(stop));
        runtime.spawn(async move {
            caller.works(&mut met, &stop).await;
            met
        })
    };
    let working: Vec<_> = callers.iter().zip(&*met).map(begin).collect();
    for (working, met) in working.into_iter().zip(met) {
        *met = runtime.block_on(working).unwrap();
    }
}
