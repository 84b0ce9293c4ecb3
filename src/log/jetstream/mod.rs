//! The log of several machines, on a NATS JetStream stream that the broker's servers replicate.
//!
//! One node leads and appends, one frame at a time; the others follow. Nothing but the log itself says who may append:
//! each frame is published with the expectation of the exact sequence that its writer has read last, so a node that was
//! frozen, cut off or merely slow is refused whatever it believes (`publisher`). The first frame of a leadership holds
//! no commits: that it is stored is the only proof that its writer has read all there is.
//!
//! The lease only says who should try (`lease`). Each node has a copy of all frames (`copy`): reads are served from
//! it, and a broker that has lost something is noticed by it.

mod answer;
mod connection;
mod copy;
mod end;
mod lease;
mod names;
mod publisher;
mod refused;
mod secrets;
mod standby;
mod streams;
#[cfg(test)]
mod tests;

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tenure_protocol::clock::{pause, stopwatch};

use self::{
    copy::{Copy, Fold, key},
    end::End,
    lease::{Held, Look, Place},
    publisher::{Publisher, Put},
    standby::{Fault, Standby},
};
use crate::{
    EncodedCommit, EventLog, Head, LogError, OpenError, Outcome, StoredBytes, StoredCommit, codec,
    sled::frame::{self, Frame},
};
use tenure_core::Position;

pub use self::{
    connection::{Access, Connection},
    lease::{Claim, Leadership},
    names::Names,
    refused::BrokerError,
    secrets::{All, Kept, Secrets},
    standby::Standing,
    streams::{Made, Making, StreamStatus, init, status},
};

/// A frame whose fate the broker does not tell for so long is given up: longer than the broker needs to choose another
/// leader of its own.
const PATIENCE: Duration = Duration::from_secs(15);

/// How a node takes part in a log of several machines.
#[derive(Clone, Debug)]
pub struct Options {
    /// How the broker is reached.
    pub access: Access,
    /// What its streams are called.
    pub names: Names,
    /// Who this node is.
    pub claim: Claim,
}

/// Takes the bytes of the commit at a position.
type Take<'t> = dyn FnMut(Position, &[u8]) -> Result<(), LogError> + 't;

/// A log that this node leads.
pub struct JetStreamLog {
    copy: Arc<Copy>,
    head: RwLock<Head>,
    writer: Mutex<Writer>,
    stopped: OnceLock<String>,
    leadership: Arc<Leadership>,
    /// Given back at the end. None then, and in tests of what holds without it.
    lease: Mutex<Option<Held>>,
}

struct Writer {
    publisher: Publisher,
    end: End,
    patience: Duration,
}

/// Follows the log of these machines until this node leads it; every commit is handed to `fold`, in order, and what it
/// waits for to `told`. Blocks, for as long as another node leads.
///
/// # Errors
/// [`OpenError`]: nothing is repaired but this node's copy, where it is damaged or behind.
pub fn lead(
    data_dir: &Path,
    options: &Options,
    told: &dyn Fn(&Standing),
    fold: &mut Fold<'_>,
) -> Result<JetStreamLog, OpenError> {
    let copy = Copy::open(data_dir)?;
    let mut end = End::new();
    copy.scan(&mut end, fold)?;
    let mut standby = Standby::new(options, &copy, end, told);
    let connection = connect(&mut standby, "log")?;
    let place = Place { connection: Arc::new(connect(&mut standby, "lease")?), names: options.names.clone() };
    checked(&mut standby, |standby| {
        streams::check(&place.connection, &options.names)?;
        standby.compare(&connection)
    })?;
    let tail = checked(&mut standby, |_| Ok(connection.listen(&options.names.tail())?))?;
    let publisher = Publisher::new(connection, options.names.clone());
    let (lease, leadership) = take_the_lead(&mut standby, &place, &publisher, &tail, fold)?;
    let end = standby.end;
    Ok(JetStreamLog {
        head: RwLock::new(end.tail.head()),
        copy: Arc::new(copy),
        writer: Mutex::new(Writer { publisher, end, patience: PATIENCE }),
        stopped: OnceLock::new(),
        leadership,
        lease: Mutex::new(Some(lease)),
    })
}

/// Connects, and goes on trying while there is nobody to connect to.
fn connect(standby: &mut Standby<'_>, what: &str) -> Result<Connection, OpenError> {
    let options = standby.options;
    let name = format!("{}_{what}", options.claim.node);
    checked(standby, |_| Ok(Connection::open(&options.access, &name)?))
}

/// Does it until the broker answers.
fn checked<T>(
    standby: &mut Standby<'_>,
    mut work: impl FnMut(&mut Standby<'_>) -> Result<T, Fault>,
) -> Result<T, OpenError> {
    loop {
        match work(standby) {
            Ok(done) => return Ok(done),
            Err(Fault::Passing(error)) => {
                standby.tell(Standing::Away { why: error.to_string() });
                pause(Duration::from_millis(500));
            }
            Err(Fault::Behind(error) | Fault::Lasting(error)) => return Err(error),
        }
    }
}

fn take_the_lead(
    standby: &mut Standby<'_>,
    place: &Place,
    publisher: &Publisher,
    tail: &std::sync::mpsc::Receiver<connection::Said>,
    fold: &mut Fold<'_>,
) -> Result<(Held, Arc<Leadership>), OpenError> {
    loop {
        let taken = stopwatch();
        let sequence = standby.wait_for_lease(place, tail, fold).map_err(lasting)?;
        standby.tell(Standing::Taking);
        let leadership = Leadership::begin();
        let claim = standby.options.claim.clone();
        let lease = Held::keep(place.clone(), claim, sequence, Arc::clone(&leadership))?;
        tracing::debug!(after = ?taken.elapsed(), "the lease is this node's");
        while leadership.lost().is_none() {
            let barred = standby.fill(publisher.connection(), fold).map(|()| bar(standby, publisher));
            match barred {
                Ok(Ok(Put::Stored)) => return Ok((lease, leadership)),
                // Somebody was quicker by a frame, or the broker is away for the moment.
                Ok(Ok(Put::Deposed)) => {}
                Ok(Ok(Put::Unknown(why) | Put::Full(why))) => away(standby, why),
                Ok(Ok(Put::Broken(why)) | Err(why)) => return Err(OpenError::Broker { why }),
                Err(Fault::Lasting(error)) => return Err(error),
                Err(fault @ (Fault::Passing(_) | Fault::Behind(_))) => away(standby, fault.to_string()),
            }
        }
    }
}

fn away(standby: &mut Standby<'_>, why: String) {
    standby.tell(Standing::Away { why });
    pause(Duration::from_millis(500));
}

fn lasting(fault: Fault) -> OpenError {
    match fault {
        Fault::Passing(error) => error.into(),
        Fault::Behind(error) | Fault::Lasting(error) => error,
    }
}

/// Appends the frame that begins a leadership.
fn bar(standby: &mut Standby<'_>, publisher: &Publisher) -> Result<Put, String> {
    let end = &mut standby.end;
    let (term, position) = (end.term + 1, end.position().next());
    let (bytes, check) = Frame::barrier(position).seal(term, end.check);
    let put = publisher.put(&bytes, check, end.sequence, PATIENCE);
    if put == Put::Stored {
        standby.copy.keep(key(position, end.sequence + 1), &bytes)?;
        end.passed(check, term);
    }
    Ok(put)
}

impl JetStreamLog {
    /// Whether this node still leads, and since when that is certain.
    pub fn leadership(&self) -> &Arc<Leadership> {
        &self.leadership
    }

    /// The leadership that this one is.
    pub fn term(&self) -> u64 {
        self.writer.lock().end.term
    }

    /// Gives the lead back, so that the next node need not wait. From here on this process writes nothing.
    pub fn release(&self) {
        let lease = self.lease.lock().take();
        if lease.is_some() {
            self.copy.sync();
            self.stopped.get_or_init(|| "the node is stopping".to_owned());
        }
        drop(lease);
    }

    fn refuse_if_stopped(&self) -> Result<(), LogError> {
        if let Some(why) = self.stopped.get() {
            return Err(LogError::Stopped { why: why.clone() });
        }
        self.leadership.lost().map_or(Ok(()), |why| Err(LogError::Deposed { why }))
    }

    /// From here on this process writes nothing.
    fn stop(&self, why: &str) -> String {
        tracing::error!(why, "the log is stopped: nothing is written until a restart");
        self.leadership.lose(why);
        self.stopped.get_or_init(|| why.to_owned()).clone()
    }

    /// Appends each frame of a batch, and keeps it. How many were stored, and what became of the next one.
    fn put_all(&self, writer: &mut Writer, frames: Vec<(Position, Frame)>) -> (usize, Put) {
        for (index, (first, frame)) in frames.into_iter().enumerate() {
            let begun = stopwatch();
            let end = &mut writer.end;
            let (bytes, check) = frame.seal(end.term, end.check);
            let put = writer.publisher.put(&bytes, check, end.sequence, writer.patience);
            if put != Put::Stored {
                return (index, put);
            }
            self.leadership.certain_at(begun);
            if let Err(why) = self.copy.keep(key(first, end.sequence + 1), &bytes) {
                return (index + 1, Put::Broken(why));
            }
            end.passed(check, end.term);
        }
        (0, Put::Stored)
    }

    /// What a batch comes to that is not stored whole.
    fn unfinished(&self, stored: usize, put: Put) -> Result<Outcome, LogError> {
        let is_untouched = stored == 0;
        match put {
            Put::Full(why) if is_untouched => Err(LogError::Exhausted { why }),
            Put::Deposed if is_untouched => {
                let why = self.stop("another node has appended to the log: this one leads no more");
                Err(LogError::Deposed { why })
            }
            Put::Full(why) | Put::Unknown(why) | Put::Broken(why) => {
                self.stop(&format!("the fate of a batch is not known: {why}"));
                Ok(Outcome::Unknown)
            }
            Put::Deposed | Put::Stored => {
                self.stop("another node has appended to the log amid a batch of this one");
                Ok(Outcome::Unknown)
            }
        }
    }

    fn try_read(&self, after: Position, max_events: usize, take: &mut Take<'_>) -> Result<(), LogError> {
        let mut wanted = u64::try_from(max_events).unwrap_or(u64::MAX);
        let last = self.head().position;
        if wanted == 0 || after >= last {
            return Ok(());
        }
        self.copy.read(after, last, &mut |(first, end, bytes)| {
            if first > last {
                return Ok(false);
            }
            take(first, bytes)?;
            wanted = wanted.saturating_sub(end.0 - first.0);
            Ok(wanted > 0)
        })
    }
}

impl EventLog for JetStreamLog {
    fn append(&self, after: Position, batch: Vec<EncodedCommit>) -> Result<Outcome, LogError> {
        let mut writer = self.writer.lock();
        self.refuse_if_stopped()?;
        let staged = writer.end.tail.stage(after, batch)?;
        if staged.is_empty() {
            return Ok(Outcome::Appended);
        }
        let frames = frame::pack(&staged.accepted).into_iter().map(|frame| (frame.first(), frame)).collect();
        match self.put_all(&mut writer, frames) {
            (_, Put::Stored) => {
                let head = staged.head();
                writer.end.tail.admit(staged);
                *self.head.write() = head;
                Ok(Outcome::Appended)
            }
            (stored, put) => self.unfinished(stored, put),
        }
    }

    fn head(&self) -> Head {
        *self.head.read()
    }

    fn read(&self, after: Position, max_events: usize) -> Result<Vec<StoredCommit>, LogError> {
        let mut found = Vec::new();
        self.try_read(after, max_events, &mut |first, bytes| {
            found.push(decoded(first, bytes)?);
            Ok(())
        })?;
        Ok(found)
    }

    fn read_bytes(&self, after: Position, max_events: usize) -> Result<Vec<StoredBytes>, LogError> {
        let mut found = Vec::new();
        self.try_read(after, max_events, &mut |first, bytes| {
            codec::count(bytes)
                .map_err(|error| LogError::Corrupt { position: first, why: error.to_string() })?;
            found.push(StoredBytes { first, bytes: bytes.to_vec() });
            Ok(())
        })?;
        Ok(found)
    }

    fn stopped(&self) -> Option<String> {
        self.stopped.get().cloned().or_else(|| self.leadership.lost())
    }
}

fn decoded(first: Position, bytes: &[u8]) -> Result<StoredCommit, LogError> {
    let commit = StoredCommit::decode(first, bytes);
    commit.map_err(|error| LogError::Corrupt { position: first, why: error.to_string() })
}

impl Drop for JetStreamLog {
    fn drop(&mut self) {
        self.copy.sync();
        drop(self.lease.lock().take());
    }
}

/// Who holds the lease now.
///
/// # Errors
/// See [`BrokerError`].
pub fn holder(connection: Connection, names: &Names) -> Result<Option<Claim>, BrokerError> {
    let place = Place { connection: Arc::new(connection), names: names.clone() };
    Ok(match place.look()? {
        Look::Held { claim, .. } => Some(claim),
        Look::Free { .. } => None,
    })
}

impl std::fmt::Debug for JetStreamLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "JetStreamLog({:?})", self.copy)
    }
}
