//! The lease says which node should lead, so that the others need not try. Which node *may*, the log says.
//!
//! A claim is a message that the broker forgets after a few seconds; whoever leads says it again before. It is published
//! with an expectation, so two nodes never both take it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::HeaderMap;
use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};
use tenure_protocol::clock::stopwatch;
use tenure_threads::worker::Worker;

use super::{
    BrokerError, Connection, Names,
    answer::{self, Acknowledged, Message},
};

/// How long a claim holds.
pub(super) const HOLDS: Duration = Duration::from_secs(3);
/// How often it is said again.
const AGAIN: Duration = Duration::from_millis(750);
/// How long one try may take.
const TRY: Duration = Duration::from_millis(500);

/// Who claims to lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The node, which keeps its name over its starts.
    pub node: String,
    /// This one start of it.
    pub start: String,
    /// Where it is reached.
    pub address: String,
}

/// What is known of the lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nobody holds it; a claim must expect this sequence. `released`: the last holder gave it back.
    Free { expect: u64, released: bool },
    /// Somebody does.
    Held { claim: Claim, sequence: u64 },
}

/// The lease's place at the broker.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) connection: Arc<Connection>,
    pub(super) names: Names,
}

impl Place {
    pub(super) fn look(&self) -> Result<Look, BrokerError> {
        let question = json!({ "last_by_subj": self.names.lease() });
        let found = self.connection.message(&self.names.lease_stream(), &question)?;
        Ok(found.map_or(Look::Free { expect: 0, released: false }, |found| read(&found)))
    }

    /// Tries to take or to keep the lease.
    pub(super) fn publish(&self, body: &str, expect: u64, holds: Duration) -> Acknowledged {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", expect.to_string());
        // Always ours: a helper of the client would leave it out behind an expired claim, and nobody could ever lead.
        headers.insert("Nats-TTL", format!("{}s", holds.as_secs()));
        let answered = self.connection.request(&self.names.lease(), headers, body.as_bytes().to_vec(), TRY);
        answered.map_or_else(
            |error| Acknowledged::Unknown(error.to_string()),
            |bytes| answer::acknowledged(&bytes),
        )
    }
}

/// A marker of the broker, and an empty message, say that nobody holds it.
fn read(message: &Message) -> Look {
    let is_marker = message.headers.contains("Nats-Marker-Reason");
    let claim = serde_json::from_slice::<Value>(&message.data).ok().and_then(|value| Claim::read(&value));
    match claim {
        Some(claim) if !is_marker => Look::Held { claim, sequence: message.sequence },
        Some(_) | None => Look::Free { expect: message.sequence, released: !is_marker },
    }
}

impl Claim {
    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Self { node: text("node")?, start: text("start")?, address: text("address")? })
    }

    pub(super) fn body(&self) -> String {
        json!({ "node": self.node, "start": self.start, "address": self.address }).to_string()
    }
}

/// A leadership: whether it still is one, and since when that is certain.
#[derive(Debug)]
pub struct Leadership {
    certain: Mutex<Instant>,
    lost: Mutex<Option<String>>,
    changed: Condvar,
}

impl Leadership {
    pub(super) fn begin() -> Arc<Self> {
        let (certain, lost) = (Mutex::new(stopwatch()), Mutex::new(None));
        Arc::new(Self { certain, lost, changed: Condvar::new() })
    }

    /// It was certain at this moment that nobody else leads: what was asked then has been granted.
    pub(super) fn certain_at(&self, moment: Instant) {
        let mut certain = self.certain.lock();
        *certain = moment.max(*certain);
    }

    /// For how long that has not been certain.
    pub fn uncertain_for(&self) -> Duration {
        self.certain.lock().elapsed()
    }

    /// Why this node leads no more; none while it does.
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

    /// Waits until it is lost, or so long; whether it is.
    pub fn is_lost_within(&self, most: Duration) -> bool {
        let mut lost = self.lost.lock();
        if lost.is_none() {
            self.changed.wait_for(&mut lost, most);
        }
        lost.is_some()
    }
}

/// A lease that is held, and kept until it is dropped; then it is given back.
#[derive(Debug)]
pub(super) struct Held {
    place: Place,
    claim: Claim,
    sequence: Arc<Mutex<u64>>,
    /// None once it is dropped.
    worker: Option<Worker>,
}

/// What one renewal came to.
enum Renewed {
    Yes(u64),
    Unknown,
    Lost(String),
}

impl Held {
    /// Keeps the lease that this claim has at this sequence.
    pub(super) fn keep(
        place: Place,
        claim: Claim,
        sequence: u64,
        leadership: Arc<Leadership>,
    ) -> Result<Self, BrokerError> {
        let sequence = Arc::new(Mutex::new(sequence));
        let worker = Worker::start("tenure-lease", {
            let (place, claim, sequence) = (place.clone(), claim.clone(), Arc::clone(&sequence));
            move |stop| {
                while stop.pause(AGAIN).is_continue() {
                    let begun = stopwatch();
                    let mut last = sequence.lock();
                    match renew(&place, &claim, *last) {
                        Renewed::Yes(now) => {
                            *last = now;
                            leadership.certain_at(begun);
                        }
                        Renewed::Unknown => {}
                        Renewed::Lost(why) => {
                            leadership.lose(&why);
                            return;
                        }
                    }
                }
            }
        });
        let worker = worker.map_err(|error| BrokerError::Thread { why: error.to_string() })?;
        Ok(Self { place, claim, sequence, worker: Some(worker) })
    }
}

fn renew(place: &Place, claim: &Claim, last: u64) -> Renewed {
    match place.publish(&claim.body(), last, HOLDS) {
        Acknowledged::Stored { sequence } => Renewed::Yes(sequence),
        Acknowledged::OtherLast { .. } => match place.look() {
            // A renewal of ours of which nobody knew.
            Ok(Look::Held { claim: holder, sequence }) if holder == *claim => Renewed::Yes(sequence),
            Ok(Look::Held { claim: holder, .. }) => {
                Renewed::Lost(format!("{} ({}) holds the lease", holder.node, holder.address))
            }
            // It ran out, for instance while the broker chose a leader of its own. Who leads goes first.
            Ok(Look::Free { expect, .. }) => match place.publish(&claim.body(), expect, HOLDS) {
                Acknowledged::Stored { sequence } => Renewed::Yes(sequence),
                Acknowledged::OtherLast { .. } | Acknowledged::Full(_) | Acknowledged::Unknown(_) => {
                    Renewed::Unknown
                }
            },
            Err(_) => Renewed::Unknown,
        },
        Acknowledged::Full(_) | Acknowledged::Unknown(_) => Renewed::Unknown,
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.worker.take());
        // With an empty message nobody holds it, and the next one need not wait.
        let given_back = self.place.publish("", *self.sequence.lock(), HOLDS);
        tracing::debug!(?given_back, node = self.claim.node, "the lease is given back");
    }
}

impl Leadership {
    /// Tells, on a thread of its own, when it is lost.
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
