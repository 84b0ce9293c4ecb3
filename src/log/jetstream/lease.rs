//! The lease says which node should lead, so that the others need not try. Which node *may*, the log says.
//!
//! A claim is a message that the broker forgets after a few seconds; the leader renews it before. It is published
//! with an expectation, so two nodes never both take it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::HeaderMap;
use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};
use tenure_core::{Position, Timestamp};
use tenure_protocol::clock::{stopwatch, wall_time};
use tenure_threads::worker::WorkerThread;

use super::{
    BrokerConnection, BrokerError, StreamNames,
    broker_reply::{self, PublishAck, StoredMessage},
};

/// How long a claim holds.
pub(super) const HOLDS: Duration = Duration::from_secs(3);
/// How often it is said again.
const AGAIN: Duration = Duration::from_millis(750);
/// A lease is not relied on this long before its end.
const MARGIN: Duration = Duration::from_secs(1);
/// How long one try may take.
const TRY: Duration = Duration::from_millis(500);

/// Who claims to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseClaim {
    /// The node, which keeps its name over its starts.
    pub node: String,
    /// This one start of it.
    pub start: String,
    /// Where it is reached.
    pub address: String,
}

/// What is known of the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LeaseStatus {
    /// No node holds it; a claim must expect this sequence. `released`: the last holder gave it back.
    Free { expect: u64, released: bool },
    /// A node holds it.
    Held { claim: LeaseClaim, sequence: u64, pulse: Option<LeasePulse> },
}

/// How far the log had come at a moment, as the leader says with its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasePulse {
    /// The moment, by the leader's clock: all that was acknowledged before it is in these frames.
    pub at: Timestamp,
    /// The last frame.
    pub sequence: u64,
    /// The last event.
    pub position: u64,
    /// The leadership.
    pub term: u64,
    /// The time that the leader decides by, where it is a test that moves the clock.
    pub clock: Option<Timestamp>,
}

/// The lease's place at the broker.
#[derive(Clone, Debug)]
pub(super) struct LeaseStore {
    pub(super) connection: Arc<BrokerConnection>,
    pub(super) names: StreamNames,
}

impl LeaseStore {
    pub(super) fn look(&self) -> Result<LeaseStatus, BrokerError> {
        let question = json!({ "last_by_subj": self.names.lease() });
        let found = self.connection.message(&self.names.lease_stream(), &question)?;
        Ok(found.map_or(LeaseStatus::Free { expect: 0, released: false }, |found| read(&found)))
    }

    /// Tries to take or to keep the lease.
    pub(super) fn publish(&self, body: &str, expect: u64, holds: Duration) -> PublishAck {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", expect.to_string());
        // Always ours: a helper of the client would leave it out behind an expired claim, and no node could ever lead.
        headers.insert("Nats-TTL", format!("{}s", holds.as_secs()));
        let answered = self.connection.request(&self.names.lease(), headers, body.as_bytes().to_vec(), TRY);
        answered.map_or_else(
            |error| PublishAck::Unknown(error.to_string()),
            |bytes| broker_reply::acknowledged(&bytes),
        )
    }
}

/// A marker of the broker, and an empty message, say that no node holds it.
fn read(message: &StoredMessage) -> LeaseStatus {
    let is_marker = message.headers.contains("Nats-Marker-Reason");
    let body = serde_json::from_slice::<Value>(&message.data).ok();
    let claim = body.as_ref().and_then(LeaseClaim::read);
    match claim {
        Some(claim) if !is_marker => {
            let pulse = body.as_ref().and_then(LeasePulse::read);
            LeaseStatus::Held { claim, sequence: message.sequence, pulse }
        }
        Some(_) | None => LeaseStatus::Free { expect: message.sequence, released: !is_marker },
    }
}

impl LeaseClaim {
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Self { node: text("node")?, start: text("start")?, address: text("address")? })
    }

    pub(super) fn body(&self) -> String {
        self.value().to_string()
    }

    fn value(&self) -> Value {
        json!({ "node": self.node, "start": self.start, "address": self.address })
    }

    /// The same, with how far the log has come; before the first frame of a leadership there is nothing to say.
    fn body_with(&self, pulse: Option<LeasePulse>) -> String {
        let mut value = self.value();
        if let (Some(pulse), Some(members)) = (pulse, value.as_object_mut()) {
            members.insert("at".into(), pulse.at.as_millis().into());
            members.insert("sequence".into(), pulse.sequence.into());
            members.insert("position".into(), pulse.position.into());
            members.insert("term".into(), pulse.term.into());
            if let Some(clock) = pulse.clock {
                members.insert("clock".into(), clock.as_millis().into());
            }
        }
        value.to_string()
    }
}

impl LeasePulse {
    fn read(value: &Value) -> Option<Self> {
        let number = |name: &str| value[name].as_u64();
        Some(Self {
            at: Timestamp::from_millis(value["at"].as_i64()?),
            sequence: number("sequence")?,
            position: number("position")?,
            term: number("term")?,
            clock: value["clock"].as_i64().map(Timestamp::from_millis),
        })
    }
}

/// A leadership: whether it still is one, and since when this is certain.
#[derive(Debug)]
pub struct Leadership {
    certain: Mutex<Instant>,
    /// When the lease was last granted.
    granted: Mutex<Instant>,
    /// When the batch was begun that is not known here yet, though it may be in the log and be seen by others.
    appending: Mutex<Option<Instant>>,
    /// The last frame and event that are stored, and the term; none before the frame that begins it.
    reached: Mutex<Option<(u64, u64, u64)>>,
    /// What the clock of a test shows here; none without one.
    shown: Mutex<Option<Timestamp>>,
    lost: Mutex<Option<String>>,
    changed: Condvar,
}

impl Leadership {
    pub(super) fn begin() -> Arc<Self> {
        let (certain, granted) = (Mutex::new(stopwatch()), Mutex::new(stopwatch()));
        let (reached, shown, lost) = (Mutex::new(None), Mutex::new(None), Mutex::new(None));
        let appending = Mutex::new(None);
        Arc::new(Self { certain, granted, appending, reached, shown, lost, changed: Condvar::new() })
    }

    /// The log holds this by now.
    pub(super) fn reaches(&self, sequence: u64, position: Position, term: u64) {
        *self.reached.lock() = Some((sequence, position.0, term));
    }

    /// The leadership's number; none before the frame that begins it.
    pub fn term(&self) -> Option<u64> {
        self.reached.lock().map(|(_, _, term)| term)
    }

    /// The clock of a test shows this; the lease says so to the other nodes.
    pub fn shows(&self, clock: Timestamp) {
        *self.shown.lock() = Some(clock);
    }

    fn pulse(&self) -> Option<LeasePulse> {
        // The time first: what is acknowledged after it may be in it too. What is under way may have been seen by others.
        let (now, appending) = (wall_time(), *self.appending.lock());
        let under_way = appending.map_or(0, |since| since.elapsed().as_millis() + 1);
        let at = now.plus_millis(-i64::try_from(under_way).unwrap_or(i64::MAX));
        let (sequence, position, term) = (*self.reached.lock())?;
        Some(LeasePulse { at, sequence, position, term, clock: *self.shown.lock() })
    }

    /// The lease was granted to a request of this moment.
    fn granted_at(&self, moment: Instant) {
        *self.granted.lock() = moment;
        self.certain_at(moment);
    }

    /// Whether no other node can lead now: the lease holds, by a clock that cannot be set, with a margin.
    pub fn is_held(&self) -> bool {
        self.lost().is_none() && self.granted.lock().elapsed() + MARGIN < HOLDS
    }

    /// Whether it was certain at this moment or later that no other node leads.
    pub fn was_certain_since(&self, moment: Instant) -> bool {
        self.is_held() || self.lost().is_none() && *self.certain.lock() >= moment
    }

    /// A batch is being appended since then, or all is known here.
    pub(super) fn appends(&self, since: Option<Instant>) {
        *self.appending.lock() = since;
    }

    /// Whether this node knows all that anyone may have seen of the log before this moment.
    pub fn knows_all_before(&self, moment: Instant) -> bool {
        let is_under_way = self.appending.lock().is_some_and(|since| since < moment);
        !is_under_way && self.was_certain_since(moment)
    }

    /// For how long that has not been so.
    pub fn behind_for(&self) -> Duration {
        let appending = self.appending.lock().map_or(Duration::ZERO, |since| since.elapsed());
        let uncertain = if self.is_held() { Duration::ZERO } else { self.certain.lock().elapsed() };
        appending.max(uncertain)
    }

    /// It was certain at this moment that no other node leads: what was asked then has been granted.
    pub(super) fn certain_at(&self, moment: Instant) {
        let mut certain = self.certain.lock();
        *certain = moment.max(*certain);
    }

    /// Why this node leads no more; `None` while it does.
    pub fn lost(&self) -> Option<String> {
        self.lost.lock().clone()
    }

    /// It is over; the first reason is kept.
    pub(super) fn lose(&self, why: &str) -> String {
        let mut lost = self.lost.lock();
        if lost.is_none() {
            tracing::error!(why, "this node writes no more");
        }
        let why = lost.get_or_insert_with(|| why.to_owned()).clone();
        self.changed.notify_all();
        why
    }

    /// Waits until it is lost, `most` at the longest; whether it is lost.
    pub fn is_lost_within(&self, most: Duration) -> bool {
        let mut lost = self.lost.lock();
        if lost.is_none() {
            self.changed.wait_for(&mut lost, most);
        }
        lost.is_some()
    }
}

/// A lease held, and kept until it is dropped; then it is given back.
#[derive(Debug)]
pub(super) struct HeldLease {
    place: LeaseStore,
    claim: LeaseClaim,
    sequence: Arc<Mutex<u64>>,
    /// None once it is dropped.
    worker: Option<WorkerThread>,
}

/// What one renewal came to.
enum LeaseRenewal {
    Yes(u64),
    /// By an earlier attempt of unknown outcome: when it was stored is not known.
    Before(u64),
    Unknown,
    Lost(String),
}

impl HeldLease {
    /// Keeps the lease that this claim has at this sequence.
    pub(super) fn keep(
        place: LeaseStore,
        claim: LeaseClaim,
        sequence: u64,
        leadership: &Arc<Leadership>,
    ) -> Result<Self, BrokerError> {
        let sequence = Arc::new(Mutex::new(sequence));
        let worker = WorkerThread::start("tenure-lease", {
            let (place, claim) = (place.clone(), claim.clone());
            let (sequence, leadership) = (Arc::clone(&sequence), Arc::clone(leadership));
            move |stop| {
                while stop.pause(AGAIN).is_continue() {
                    if !keep_once(&place, &claim, &leadership, &sequence) {
                        return;
                    }
                }
            }
        });
        let worker = worker.map_err(|error| BrokerError::Thread { why: error.to_string() })?;
        Ok(Self { place, claim, sequence, worker: Some(worker) })
    }

    /// Renews it now: there is something to say.
    pub(super) fn say(&self, leadership: &Leadership) {
        keep_once(&self.place, &self.claim, leadership, &self.sequence);
    }
}

/// Renews the lease once; whether it may still be this node's.
fn keep_once(place: &LeaseStore, claim: &LeaseClaim, leadership: &Leadership, sequence: &Mutex<u64>) -> bool {
    let begun = stopwatch();
    let mut last = sequence.lock();
    match renew(place, claim, leadership.pulse(), *last) {
        LeaseRenewal::Yes(now) => {
            *last = now;
            leadership.granted_at(begun);
        }
        LeaseRenewal::Before(sequence) => *last = sequence,
        LeaseRenewal::Unknown => {}
        LeaseRenewal::Lost(why) => {
            leadership.lose(&why);
            return false;
        }
    }
    true
}

fn renew(place: &LeaseStore, claim: &LeaseClaim, pulse: Option<LeasePulse>, last: u64) -> LeaseRenewal {
    let body = claim.body_with(pulse);
    match place.publish(&body, last, HOLDS) {
        PublishAck::Stored { sequence } => LeaseRenewal::Yes(sequence),
        PublishAck::OtherLast { .. } => match place.look() {
            Ok(LeaseStatus::Held { claim: holder, sequence, .. }) if holder == *claim => {
                LeaseRenewal::Before(sequence)
            }
            Ok(LeaseStatus::Held { claim: holder, .. }) => {
                LeaseRenewal::Lost(format!("{} ({}) holds the lease", holder.node, holder.address))
            }
            // It ran out, for instance while the broker chose a leader of its own. Who leads goes first.
            Ok(LeaseStatus::Free { expect, .. }) => match place.publish(&body, expect, HOLDS) {
                PublishAck::Stored { sequence } => LeaseRenewal::Yes(sequence),
                PublishAck::OtherLast { .. } | PublishAck::Full(_) | PublishAck::Unknown(_) => {
                    LeaseRenewal::Unknown
                }
            },
            Err(_) => LeaseRenewal::Unknown,
        },
        PublishAck::Full(_) | PublishAck::Unknown(_) => LeaseRenewal::Unknown,
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        drop(self.worker.take());
        // With an empty message no node holds it, and the next one need not wait.
        let given_back = self.place.publish("", *self.sequence.lock(), HOLDS);
        tracing::debug!(?given_back, node = self.claim.node, "the lease is given back");
    }
}

impl Leadership {
    /// Reports, on a thread of its own, when it is lost.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn when_lost(self: &Arc<Self>, tell: impl FnOnce(String) + Send + 'static) -> std::io::Result<()> {
        let (leadership, watched) = (Arc::downgrade(self), Duration::from_millis(200));
        std::thread::Builder::new().name("tenure-leadership".into()).spawn(move || {
            while let Some(leadership) = leadership.upgrade() {
                if leadership.is_lost_within(watched) {
                    tell(leadership.lost().unwrap_or_default());
                    return;
                }
            }
        })?;
        Ok(())
    }
}
