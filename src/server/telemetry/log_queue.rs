//! Where log lines go: a bounded queue, and a thread of its own that writes them to standard error.
//!
//! A log line that cannot be written is lost, and nothing else is. Its reader may have ended (`EPIPE`), or be there and
//! read nothing: then a write would wait forever, and with it the part that logs. So nothing but the
//! thread of this module ever waits for standard error, every failure is swallowed, and lost lines are counted.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

/// Maximum lines waiting to be written.
const WAITING: usize = 4_096;

/// What the thread is given.
enum WriterMessage {
    Line(Vec<u8>),
    /// Answer when all before it has been written.
    Flush(SyncSender<()>),
}

/// The writing end; each clone writes to the same place.
#[derive(Clone, Debug)]
pub(super) struct LogQueue {
    queue: SyncSender<WriterMessage>,
    lost: Arc<AtomicU64>,
}

impl LogQueue {
    /// A queue whose lines a thread writes to `to`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn to(to: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, work) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        std::thread::Builder::new()
            .name("tenure-log".into())
            .spawn(move || write_all(to, &work, &counted))
            .map(|_| Self { queue, lost })
    }

    /// Adds a line, without waiting.
    pub(super) fn line(&self, line: &[u8]) {
        if self.queue.try_send(WriterMessage::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all that was added has been written or lost, but not for longer than this.
    pub(super) fn flush(&self, patience: Duration) {
        let (done, wait) = sync_channel(1);
        if self.queue.try_send(WriterMessage::Flush(done)).is_ok() {
            // Too slow, or the thread has ended: either way it cannot be reported.
            _ = wait.recv_timeout(patience);
        }
    }

    /// How many lines were lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// A line comes in one piece; a lost one is counted and not reported, because there is nowhere to report it.
impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_all(mut to: impl Write, work: &Receiver<WriterMessage>, lost: &AtomicU64) {
    while let Ok(work) = work.recv() {
        match work {
            WriterMessage::Line(line) => {
                if to.write_all(&line).is_err() {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            WriterMessage::Flush(done) => _ = done.try_send(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Takes nothing until released, as a full pipe does.
    struct StuckWriter(Receiver<()>);

    impl Write for StuckWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            _ = self.0.recv();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Whose reader has ended.
    struct BrokenWriter;

    impl Write for BrokenWriter {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_nobody_reads_is_lost_and_counted() {
        let queue = LogQueue::to(BrokenWriter).unwrap();
        (0..3).for_each(|_| queue.line(b"said\n"));
        queue.flush(Duration::from_secs(10));
        assert_eq!(queue.lost(), 3);
    }

    #[test]
    fn nobody_waits_for_a_reader_that_does_not_read() {
        let (go_on, stuck): (Sender<()>, _) = channel();
        let queue = LogQueue::to(StuckWriter(stuck)).unwrap();
        (0..WAITING + 100).for_each(|_| queue.line(b"said\n"));
        assert!(queue.lost() >= 99, "{}", queue.lost());
        queue.flush(Duration::from_millis(1));
        drop(go_on);
    }
}
