//! Sending and receiving and nothing else: what as many readers cost callers on this machine, whatever sends.
//!
//! One thread writes to each connection as often, in as many groups and as much as a server's news does to a thousand
//! readers of a hundred events a second; another thread reads. There is no HTTP, no log and nothing to choose from.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{background::BackgroundThread, failed};
use crate::cli::failure::CommandError;

/// Each connection is written to once in this time: as the feed does with a thousand readers.
const PERIOD: Duration = Duration::from_millis(30);
const GROUPS: u32 = 8;
/// Three events.
const BYTES: [u8; 1_300] = [b'x'; 1_300];
/// Bytes per read.
const BUFFER: usize = 16 * 1024;
/// How often to check whether the round is over.
const LOOK: Duration = Duration::from_millis(50);

/// Both ends, at work.
pub(super) struct BaselineFanOut {
    sender: BackgroundThread<()>,
    reader: BackgroundThread<()>,
}

impl BaselineFanOut {
    /// To this many readers.
    pub(super) fn start(readers: u16) -> Result<Self, CommandError> {
        let (tell_address, address) = oneshot::channel();
        let (tell_ready, ready) = oneshot::channel();
        let sender = BackgroundThread::start(move |stop| async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.map_err(text)?;
            // The receiver may have given up.
            let _ = tell_address.send(listener.local_addr().map_err(text)?);
            let mut connections = Vec::new();
            for _ in 0..readers {
                let (connection, _) = listener.accept().await.map_err(text)?;
                connection.set_nodelay(true).map_err(text)?;
                connections.push(connection);
            }
            let _ = tell_ready.send(());
            send(&connections, &stop).await;
            Ok(())
        })?;
        let reader = BackgroundThread::start(move |stop| async move {
            let address = address.await.map_err(text)?;
            for _ in 0..readers {
                tokio::spawn(read(TcpStream::connect(address).await.map_err(text)?));
            }
            while !stop.load(Ordering::SeqCst) {
                sleep(LOOK).await;
            }
            Ok(())
        })?;
        let both = Self { sender, reader };
        if ready.blocking_recv().is_err() {
            both.stop()?;
            return Err(failed("the bare readers could not connect"));
        }
        Ok(both)
    }

    pub(super) fn stop(self) -> Result<(), CommandError> {
        let sent = self.sender.stop();
        self.reader.stop()?;
        sent
    }
}

fn text(error: impl std::error::Error) -> String {
    error.to_string()
}

async fn send(connections: &[TcpStream], stop: &AtomicBool) {
    let mut turns = interval(PERIOD / GROUPS);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let group = connections.len().div_ceil(GROUPS as usize).max(1);
    for group in connections.chunks(group).cycle() {
        turns.tick().await;
        if stop.load(Ordering::SeqCst) {
            return;
        }
        for connection in group {
            // What a full connection does not take is not missed.
            drop(connection.try_write(&BYTES));
        }
    }
}

async fn read(connection: TcpStream) {
    let mut buffer = vec![0; BUFFER];
    while connection.readable().await.is_ok() {
        if matches!(connection.try_read(&mut buffer), Ok(0)) {
            return;
        }
    }
}
