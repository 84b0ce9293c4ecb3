//! sled and nothing else: the same bytes, the same frames, the same barrier, and no authority.
//!
//! Callers wait in a queue as those of the authority do; one thread puts what waits into a frame, makes it
//! durable and answers. What the authority reaches of this is what deciding, hashing, sealing and publishing
//! leave of the disk's speed.

use std::{
    fs::File,
    io,
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{failed, rounds::BenchCaller};
use crate::cli::failure::CommandError;

/// As the authority's log has them.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
const FRAME_BYTES: usize = 100 * 1024 - 1;
const BATCH: usize = 512;

type AppendReply = oneshot::Sender<Result<(), String>>;

/// What callers and the writer share.
struct AppendQueue {
    waiting: Mutex<(Vec<AppendReply>, bool)>,
    arrived: Condvar,
}

/// The writer, as long as it is wanted.
pub(super) struct BaselineLog {
    queue: Arc<AppendQueue>,
    writer: Option<JoinHandle<()>>,
}

impl BaselineLog {
    /// A store in this directory, to which each caller appends these bytes again and again.
    pub(super) fn open(dir: &Path, payload: Vec<u8>) -> Result<Self, CommandError> {
        let config = ::sled::Config::new().path(dir).segment_size(SEGMENT_BYTES).cache_capacity(CACHE_BYTES);
        let db = config.mode(::sled::Mode::HighThroughput).flush_every_ms(None).open().map_err(failed)?;
        let file = File::options().write(true).open(dir.join("db")).map_err(failed)?;
        let queue = Arc::new(AppendQueue { waiting: Mutex::default(), arrived: Condvar::new() });
        let shared = Arc::clone(&queue);
        let writer = thread::Builder::new()
            .name("bench-bare".into())
            .spawn(move || write(&shared, &db, &file, &payload))
            .map_err(failed)?;
        Ok(Self { queue, writer: Some(writer) })
    }

    /// One that appends `per_lap` times in a lap.
    pub(super) fn caller(&self, per_lap: usize) -> AppendCaller {
        AppendCaller { queue: Arc::clone(&self.queue), per_lap }
    }
}

impl Drop for BaselineLog {
    fn drop(&mut self) {
        self.queue.waiting.lock().1 = true;
        self.queue.arrived.notify_one();
        if let Some(writer) = self.writer.take() {
            // It answered its waiting callers with the error.
            drop(writer.join());
        }
    }
}

/// Appends and waits.
pub(super) struct AppendCaller {
    queue: Arc<AppendQueue>,
    per_lap: usize,
}

impl BenchCaller for AppendCaller {
    fn len(&self) -> usize {
        self.per_lap
    }

    async fn call(&mut self, _: usize) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        self.queue.waiting.lock().0.push(answer);
        self.queue.arrived.notify_one();
        answered.await.map_err(|_| "the writer has gone".to_owned())?
    }
}

fn write(queue: &AppendQueue, db: &::sled::Db, file: &File, payload: &[u8]) {
    let mut next = 1_u64;
    loop {
        let batch = {
            let mut waiting = queue.waiting.lock();
            while waiting.0.is_empty() {
                if waiting.1 {
                    return;
                }
                queue.arrived.wait(&mut waiting);
            }
            let most = waiting.0.len().min(BATCH);
            waiting.0.drain(..most).collect::<Vec<_>>()
        };
        let written = append(db, file, payload, batch.len(), next).map_err(|error| error.to_string());
        next += batch.len() as u64;
        for answer in batch {
            drop(answer.send(written.clone()));
        }
    }
}

fn append(db: &::sled::Db, file: &File, payload: &[u8], count: usize, first: u64) -> io::Result<()> {
    let in_frame = (FRAME_BYTES / payload.len()).max(1);
    let mut done = 0;
    while done < count {
        let part = (count - done).min(in_frame);
        db.insert((first + done as u64).to_be_bytes(), payload.repeat(part))?;
        done += part;
    }
    db.flush()?;
    file.sync_data()
}
