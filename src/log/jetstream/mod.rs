//! The log of several machines, on a NATS JetStream stream that the broker's servers replicate.
//!
//! One node leads and appends, one frame at a time; the others follow. Nothing but the log itself says who may append:
//! each frame is published with the expectation of the exact sequence that its writer has read last, so a node that was
//! frozen, cut off or merely slow is refused whatever it believes (`publisher`). The first frame of a leadership holds
//! no commits: that it is stored is the only proof that its writer has read all there is.
//!
//! The lease only says who should try (`lease`). Each node has a copy of the frames (`copy`): reads are served from
//! it, and a broker that has lost something is noticed by it. Full ranges leave it for segments (`sealing`), as on one
//! machine.

mod broker_reply;
mod cluster_view;
mod connection;
mod copy;
mod heads;
mod identity;
mod key_holders;
mod lease;
mod member;
mod names;
mod nodes;
mod opening;
mod publisher;
mod read_end;
mod rebuilding;
mod refused;
mod sealing;
mod secrets;
mod standby;
mod streams;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, RwLock};
use tenure_protocol::clock::stopwatch;

use self::{
    copy::{LocalCopy, key},
    lease::{HeldLease, LeaseStatus, LeaseStore},
    publisher::{FramePublisher, PublishOutcome},
    read_end::ReadEnd,
    sealing::RangeSearch,
    standby::Standby,
};
use crate::{
    AppendOutcome, EncodedCommit, EventLog, IndexedHistory, LogError, LogHead, SealedFile, SegmentEvents,
    StoredBytes, StoredCommit,
    segment_store::{CommitVisitor, ReadCursor, SegmentStore, bytes_of, commits_of, read_from},
    sled::frame::{self, Frame},
};
use tenure_core::Position;

pub use self::{
    cluster_view::ClusterView,
    connection::{BrokerAccess, BrokerConnection},
    heads::{HeadPut, HeadStream, PublishedHead},
    identity::IdentityFile,
    key_holders::KeyHolder,
    lease::{Leadership, LeaseClaim, LeasePulse},
    member::{ClusterMember, MemberStep, join, join_for},
    names::StreamNames,
    nodes::{NodeRecord, NodeRegistry},
    opening::{is_of_segments, segments_aside, set_segments_aside, untrue_segments},
    rebuilding::FrameReader,
    refused::BrokerError,
    secrets::{AllSecrets, BrokerSecrets, StoredSecret},
    standby::{StandbyStatus, StatusListener},
    streams::{StreamCreation, StreamSettings, StreamStatus, init, status},
};

/// A frame of unknown fate is given up after this time: longer than the brokers need to elect a leader.
const PATIENCE: Duration = Duration::from_secs(15);

/// How a node takes part in a log of several machines.
#[derive(Clone, Debug)]
pub struct JetStreamOptions {
    /// How the broker is reached.
    pub access: BrokerAccess,
    /// What its streams are called.
    pub names: StreamNames,
    /// Who this node is.
    pub claim: LeaseClaim,
    /// By how many events the history is cut into segments.
    pub cut: SegmentEvents,
}

/// The log as this node has it. It takes commits while the node leads.
pub struct JetStreamLog {
    copy: Arc<LocalCopy>,
    segment_store: SegmentStore,
    search: Mutex<RangeSearch>,
    head: RwLock<LogHead>,
    /// `None` while another node leads.
    writer: Mutex<Option<JetStreamWriter>>,
    stopped: OnceLock<String>,
    leadership: RwLock<Option<Arc<Leadership>>>,
    /// Given back at the end. None then, and in tests of what holds without it.
    lease: Mutex<Option<HeldLease>>,
    /// Frames that were sent again, because it was not certain what had become of them.
    resent: Arc<AtomicU64>,
    /// Batches of which it was not certain in the end.
    unknown: AtomicU64,
}

struct JetStreamWriter {
    publisher: FramePublisher,
    end: ReadEnd,
    patience: Duration,
}

/// Appends the frame that begins a leadership.
fn bar(standby: &mut Standby, publisher: &FramePublisher) -> Result<PublishOutcome, String> {
    let end = &mut standby.end;
    let (term, position) = (end.term + 1, end.position().next());
    let (bytes, check) = Frame::barrier(position).seal(term, end.check);
    let put = publisher.put(&bytes, check, end.sequence, PATIENCE);
    if put == PublishOutcome::Stored {
        standby.copy.keep(key(position, end.sequence + 1), &bytes)?;
        end.passed(check, term);
    }
    Ok(put)
}

impl JetStreamLog {
    fn of(
        copy: Arc<LocalCopy>,
        segment_store: SegmentStore,
        cut: SegmentEvents,
        head: LogHead,
        resent: Arc<AtomicU64>,
    ) -> Self {
        let search = Mutex::new(RangeSearch::behind(segment_store.end(), cut));
        Self {
            copy,
            segment_store,
            search,
            head: RwLock::new(head),
            writer: Mutex::new(None),
            stopped: OnceLock::new(),
            leadership: RwLock::new(None),
            lease: Mutex::new(None),
            resent,
            unknown: AtomicU64::new(0),
        }
    }

    /// How often a frame was sent again since the start, because it was not certain what had become of it.
    pub fn resent(&self) -> u64 {
        self.resent.load(Ordering::Relaxed)
    }

    /// Batches since the start of which it was not certain in the end.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// This node's leadership, which may be lost by now; `None` while another one leads.
    pub fn leadership(&self) -> Option<Arc<Leadership>> {
        self.leadership.read().clone()
    }

    /// The leadership that this one is; `None` while another node leads.
    pub fn term(&self) -> Option<u64> {
        self.writer.lock().as_ref().map(|writer| writer.end.term)
    }

    /// Gives the lead back, so that the next node need not wait. From here on this process writes nothing.
    pub fn release(&self) {
        self.copy.sync();
        self.stopped.get_or_init(|| "the node is stopping".to_owned());
        drop(self.lease.lock().take());
    }

    /// Why this process can take part no more; `None` while it can, leading or not.
    pub fn broken(&self) -> Option<String> {
        self.stopped.get().cloned()
    }

    fn refuse_if_stopped(&self) -> Result<(), LogError> {
        if let Some(why) = self.stopped.get() {
            return Err(LogError::Stopped { why: why.clone() });
        }
        self.lost().map_or(Ok(()), |why| Err(LogError::Deposed { why }))
    }

    /// Why the leadership is over; `None` while it is not, and where there is none.
    fn lost(&self) -> Option<String> {
        self.leadership.read().as_ref().and_then(|leadership| leadership.lost())
    }

    /// From here on this process writes nothing, but for another leadership.
    fn lose(&self, why: &str) -> String {
        let leadership = self.leadership();
        leadership.map_or_else(|| why.to_owned(), |leadership| leadership.lose(why))
    }

    /// From here on this process writes nothing.
    fn stop(&self, why: &str) {
        tracing::error!(why, "the log is stopped: nothing is written until a restart");
        self.stopped.get_or_init(|| why.to_owned());
        self.lose(why);
    }

    /// Appends each frame of a batch, and keeps it. How many were stored, and what became of the next one.
    fn put_all(
        &self,
        writer: &mut JetStreamWriter,
        frames: Vec<(Position, Frame)>,
    ) -> (usize, PublishOutcome) {
        for (index, (first, frame)) in frames.into_iter().enumerate() {
            let begun = stopwatch();
            let (end, next) = (&mut writer.end, frame.next());
            let (bytes, check) = frame.seal(end.term, end.check);
            let put = writer.publisher.put(&bytes, check, end.sequence, writer.patience);
            if put != PublishOutcome::Stored {
                return (index, put);
            }
            if let Err(why) = self.copy.keep(key(first, end.sequence + 1), &bytes) {
                return (index + 1, PublishOutcome::Broken(why));
            }
            end.passed(check, end.term);
            if let Some(leadership) = &*self.leadership.read() {
                leadership.reaches(end.sequence, Position(next.0 - 1), end.term);
                leadership.certain_at(begun);
            }
        }
        (0, PublishOutcome::Stored)
    }

    fn appends(&self, since: Option<Instant>) {
        if let Some(leadership) = &*self.leadership.read() {
            leadership.appends(since);
        }
    }

    /// What becomes of a batch not stored whole.
    fn unfinished(&self, stored: usize, put: PublishOutcome) -> Result<AppendOutcome, LogError> {
        let is_untouched = stored == 0;
        match put {
            PublishOutcome::Full(why) if is_untouched => {
                self.appends(None);
                Err(LogError::Full { why })
            }
            PublishOutcome::Deposed if is_untouched => {
                let why = self.lose("another node has appended to the log: this one leads no more");
                Err(LogError::Deposed { why })
            }
            PublishOutcome::Broken(why) => {
                self.unknown.fetch_add(1, Ordering::Relaxed);
                self.stop(&format!("the fate of a batch is not known: {why}"));
                Ok(AppendOutcome::Unknown)
            }
            PublishOutcome::Full(why) | PublishOutcome::Unknown(why) => {
                self.unknown.fetch_add(1, Ordering::Relaxed);
                self.lose(&format!("the fate of a batch is not known: {why}"));
                Ok(AppendOutcome::Unknown)
            }
            PublishOutcome::Deposed | PublishOutcome::Stored => {
                self.unknown.fetch_add(1, Ordering::Relaxed);
                self.lose("another node has appended to the log amid a batch of this one");
                Ok(AppendOutcome::Unknown)
            }
        }
    }

    /// Hands over the bytes of each commit that [`EventLog::read`] promises, which gives back how many events it has.
    fn try_read(
        &self,
        after: Position,
        max_events: usize,
        take: &mut CommitVisitor<'_>,
    ) -> Result<(), LogError> {
        let last = self.head().position;
        if after >= last {
            return Ok(());
        }
        let mut reading = ReadCursor { next: after.next(), last, wanted: max_events };
        loop {
            let segments = self.segment_store.all();
            reading.read_segments(&segments, take)?;
            if reading.is_done() {
                return Ok(());
            }
            let from = Position(reading.next.0 - 1);
            let read = self.copy.read(from, last, &mut |(first, end, bytes)| {
                if first > last {
                    return Ok(false);
                }
                reading.offer(first, end, bytes, take)?;
                Ok(!reading.is_done())
            });
            // What was in the copy a moment ago may be in a segment by now.
            if read.is_ok() || self.segment_store.all().len() == segments.len() {
                return read;
            }
        }
    }

    /// Hands over the bytes of the commits that hold these positions; neighbours in a segment are read together.
    fn try_read_commits(&self, positions: &[Position], take: &mut CommitVisitor<'_>) -> Result<(), LogError> {
        let head = self.head().position;
        let there = positions.iter().copied().filter(|position| (Position(1)..=head).contains(position));
        let segments = self.segment_store.all();
        let mut wanted = there.peekable();
        while let Some(position) = wanted.peek().copied() {
            let number = segments.partition_point(|segment| segment.header.last() < position);
            if let Some(segment) = segments.get(number) {
                read_from(segment, &mut wanted, take)?;
                continue;
            }
            let mut end = position;
            self.try_read(Position(position.0 - 1), 1, &mut |first, bytes| {
                let events = take(first, bytes)?;
                end = first.plus(events as u64);
                Ok(events)
            })?;
            wanted.next();
            while wanted.next_if(|position| *position < end).is_some() {}
        }
        Ok(())
    }
}

impl EventLog for JetStreamLog {
    fn append(&self, after: Position, batch: Vec<EncodedCommit>) -> Result<AppendOutcome, LogError> {
        let mut writer = self.writer.lock();
        self.refuse_if_stopped()?;
        let Some(writer) = writer.as_mut() else {
            return Err(LogError::Deposed { why: "this node does not lead".to_owned() });
        };
        let (sequence, check) = (writer.end.sequence, writer.end.check);
        let staged = writer.end.tail.stage(after, batch)?;
        if staged.is_empty() {
            return Ok(AppendOutcome::Appended);
        }
        let frames = frame::pack(&staged.accepted).into_iter().map(|frame| (frame.first(), frame)).collect();
        self.appends(Some(stopwatch()));
        match self.put_all(writer, frames) {
            (_, PublishOutcome::Stored) => {
                let head = staged.head();
                writer.end.tail.admit(staged);
                *self.head.write() = head;
                Ok(AppendOutcome::Appended)
            }
            (stored, put) => {
                // The next attempt reads all of it again, as the log has it.
                (writer.end.sequence, writer.end.check) = (sequence, check);
                self.unfinished(stored, put)
            }
        }
    }

    fn head(&self) -> LogHead {
        *self.head.read()
    }

    fn read(&self, after: Position, max_events: usize) -> Result<Vec<StoredCommit>, LogError> {
        commits_of(|take| self.try_read(after, max_events, take))
    }

    fn read_commits(&self, positions: &[Position]) -> Result<Vec<StoredCommit>, LogError> {
        commits_of(|take| self.try_read_commits(positions, take))
    }

    fn read_bytes(&self, after: Position, max_events: usize) -> Result<Vec<StoredBytes>, LogError> {
        bytes_of(|take| self.try_read(after, max_events, take))
    }

    fn indexed(&self) -> IndexedHistory {
        self.segment_store.indexed()
    }

    fn damage(&self) -> Vec<String> {
        self.segment_store.damage()
    }

    fn sealed_files(&self) -> Vec<SealedFile> {
        self.segment_store.files()
    }

    fn stopped(&self) -> Option<String> {
        self.stopped.get().cloned().or_else(|| self.lost())
    }

    fn note_published(&self) {
        self.appends(None);
    }
}

impl Drop for JetStreamLog {
    fn drop(&mut self) {
        self.copy.sync();
        drop(self.lease.lock().take());
    }
}

/// Who holds the lease now, and how far the log had come when it said so last.
///
/// # Errors
/// See [`BrokerError`].
pub fn holder(
    connection: Arc<BrokerConnection>,
    names: &StreamNames,
) -> Result<Option<(LeaseClaim, Option<LeasePulse>)>, BrokerError> {
    let place = LeaseStore { connection, names: names.clone() };
    Ok(match place.look()? {
        LeaseStatus::Held { claim, pulse, .. } => Some((claim, pulse)),
        LeaseStatus::Free { .. } => None,
    })
}

impl std::fmt::Debug for JetStreamLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JetStreamLog({:?})", self.copy)
    }
}
