//! A node on its way to lead: it follows the log, waits for the lease, and takes the lead with a frame of its own.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tenure_protocol::clock::{pause, stopwatch};

use super::{
    BrokerError, Claim, Connection, Options,
    answer::Acknowledged,
    connection::Said,
    copy::{Copy, damaged},
    end::End,
    lease::{HOLDS, Look, Place},
    sight::Sight,
};
use crate::{OpenError, StoredCommit};

/// So many frames are fetched at once.
const AT_ONCE: u64 = 32;
/// The second of the subjects that are listened to: what becomes of the lease.
const PULSE: usize = 1;
/// How often a standby looks at the lease.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a broker that does not answer is left alone.
pub(super) const AWAY: Duration = Duration::from_millis(500);
/// How often somebody is told that it still does not.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What a node that does not lead yet is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The broker does not answer.
    Away {
        /// What happened.
        why: String,
    },
    /// Another node leads.
    By(Claim),
    /// It has the lease and takes the lead.
    Taking,
}

/// Takes the commits of one frame, which are in the copy already.
pub(super) type Follow<'f> = dyn FnMut(&End, Vec<StoredCommit>) -> Result<(), String> + 'f;
/// Hears what a node waits for.
pub type Told = Arc<dyn Fn(&Standing) + Send + Sync>;

/// A node that follows.
pub(super) struct Standby {
    pub(super) options: Options,
    pub(super) copy: Arc<Copy>,
    pub(super) end: End,
    pub(super) sight: Sight,
    /// Until then others go first: this node has just given the lead away.
    pub(super) rests_until: Option<Instant>,
    /// Whether others go first while there may be any: this node is not sure of what it has.
    pub(super) hesitates: bool,
    told: Told,
    seen: Option<Standing>,
    told_at: Instant,
}

/// How long nobody has been heard of.
pub(super) struct Quiet {
    since: Instant,
    lease: Option<u64>,
    frames: u64,
}

impl Standby {
    pub(super) fn new(options: Options, copy: Arc<Copy>, end: End, told: Told) -> Self {
        let (sight, rests_until, seen) = (Sight::default(), None, None);
        Self { options, copy, end, sight, rests_until, hesitates: false, told, seen, told_at: stopwatch() }
    }

    /// Says what is new, and what lasts from time to time.
    pub(super) fn tell(&mut self, standing: Standing) {
        let kind_is_same = match (&self.seen, &standing) {
            (Some(Standing::Away { .. }), Standing::Away { .. }) => true,
            (seen, now) => seen.as_ref() == Some(now),
        };
        let is_away = matches!(standing, Standing::Away { .. });
        if !kind_is_same || (is_away && self.told_at.elapsed() >= TELL_EVERY) {
            (self.told)(&standing);
            (self.seen, self.told_at) = (Some(standing), stopwatch());
        }
    }

    /// Whether the copy is a part of the broker's log: it must have the copy's last frame in its place.
    pub(super) fn compare(&self, connection: &Connection) -> Result<(), Fault> {
        let sequence = self.end.sequence;
        if sequence == 0 {
            return Ok(());
        }
        let stream = self.options.names.log_stream();
        let refused =
            |why: String| Err(Fault::Lasting(damaged(self.copy.path(), Some(self.end.position()), why)));
        match connection.message(&stream, &json!({ "seq": sequence }))? {
            None => refused(format!(
                "this copy has the frame {sequence}, and {stream} does not: the broker has lost a part of the log"
            )),
            Some(found) if !has_check(&found.data, self.end.check) => refused(format!(
                "the frame {sequence} of {stream} is another one than this copy has: one of the two is not this log"
            )),
            Some(_) => Ok(()),
        }
    }

    /// Fetches and folds what the stream's leader has and this node lacks.
    pub(super) fn fill(&mut self, connection: &Connection, fold: &mut Follow<'_>) -> Result<(), Fault> {
        let stream = self.options.names.log_stream();
        let last = last_of(connection, &stream)?;
        if last < self.end.sequence {
            let why = format!(
                "this copy ends with the frame {}, and {stream} with {last}: the broker has lost a part of the log",
                self.end.sequence
            );
            // A server that has lost its lead may say so for a moment; whoever asks again will see.
            return Err(Fault::Behind(damaged(self.copy.path(), Some(self.end.position()), why)));
        }
        while self.end.sequence < last {
            let next = self.end.sequence + 1;
            let places = next..=last.min(next + AT_ONCE - 1);
            for (place, message) in places.clone().zip(connection.messages(&stream, places)?) {
                let Some(message) = message else {
                    return Err(Fault::Passing(BrokerError::NoAnswer {
                        what: stream,
                        why: format!("it does not have the frame {place} yet"),
                    }));
                };
                self.follow(&message.data, fold)?;
            }
        }
        Ok(())
    }

    fn follow(&mut self, bytes: &[u8], fold: &mut Follow<'_>) -> Result<(), Fault> {
        let (key, position) = (self.end.next_key(), self.end.position().next());
        let lasting = |why: String| Fault::Lasting(damaged(self.copy.path(), Some(position), why));
        let frame = self.end.sequence + 1;
        let unreadable = |why: String| {
            lasting(format!("the frame {frame} of {} cannot be read: {why}", self.options.names.log_stream()))
        };
        let mut commits = Vec::new();
        let mut gather = |stored| {
            commits.push(stored);
            Ok(())
        };
        self.end.follow(bytes, &mut gather).map_err(unreadable)?;
        // Whoever hears of a commit may read it.
        self.copy.keep(key, bytes).map_err(lasting)?;
        fold(&self.end, commits).map_err(unreadable)
    }

    /// Looks once at the log and at the lease; gives back the sequence of a lease that is this node's now.
    pub(super) fn once(
        &mut self,
        place: &Place,
        quiet: &mut Quiet,
        fold: &mut Follow<'_>,
    ) -> Result<Option<u64>, Fault> {
        self.fill(&place.connection, fold)?;
        let look = place.look()?;
        quiet.note(&look, self.end.sequence);
        let rests = self.rests_until.is_some_and(|until| stopwatch() < until);
        match look {
            // An earlier process of this node cannot be alive: this one has locked its directory.
            Look::Held { claim, sequence, .. } if claim.node == self.options.claim.node => {
                Ok((!rests).then(|| self.claim(place, sequence)).flatten())
            }
            Look::Held { claim, pulse, .. } => {
                self.rests_until = None;
                if self.sight.note(&claim, pulse) {
                    self.fill(&place.connection, fold)?;
                }
                self.sight.reached(&self.end);
                self.tell(Standing::By(claim));
                Ok(None)
            }
            Look::Free { expect, released } => {
                self.sight.leader = None;
                let may_try = if self.hesitates {
                    quiet.is_longer_than(2 * HOLDS)
                } else {
                    released || expect == 0 || quiet.is_longer_than(HOLDS.saturating_sub(self.headstart()))
                };
                Ok((may_try && !rests).then(|| self.claim(place, expect)).flatten())
            }
        }
    }

    fn claim(&mut self, place: &Place, expect: u64) -> Option<u64> {
        match place.publish(&self.options.claim.body(), expect, HOLDS) {
            Acknowledged::Stored { sequence } => Some(sequence),
            // If it was ours after all, the next look says so.
            Acknowledged::OtherLast { .. } | Acknowledged::Full(_) | Acknowledged::Unknown(_) => None,
        }
    }

    /// The broker has seen no claim for a whole term when it says so, and this node has heard of the last one a moment
    /// later. Not all try at once.
    fn headstart(&self) -> Duration {
        let digest = blake3::hash(self.options.claim.start.as_bytes());
        Duration::from_millis(100 + u64::from(digest.as_bytes()[0]) / 2)
    }

    /// Folds what the broker says again, until it is time to look: after a while, and when something has become of the
    /// lease. What is missed is fetched then.
    pub(super) fn listen(&mut self, tail: &Receiver<Said>, fold: &mut Follow<'_>) -> Result<(), Fault> {
        let begun = stopwatch();
        while let Some(left) = LOOK_EVERY.checked_sub(begun.elapsed()) {
            match tail.recv_timeout(left) {
                Ok(said) if said.subject == PULSE => break,
                Ok(said) if said.sequence == self.end.sequence + 1 => self.follow(&said.data, fold)?,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => pause(left),
            }
        }
        Ok(())
    }
}

impl Quiet {
    pub(super) fn new(frames: u64) -> Self {
        Self { since: stopwatch(), lease: None, frames }
    }

    /// Whoever may have been heard of meanwhile has a whole term again.
    pub(super) fn restart(&mut self) {
        self.since = stopwatch();
    }

    fn note(&mut self, look: &Look, frames: u64) {
        let lease = match look {
            Look::Held { sequence, .. } => Some(*sequence),
            Look::Free { .. } => self.lease,
        };
        if lease != self.lease || frames != self.frames {
            (self.since, self.lease, self.frames) = (stopwatch(), lease, frames);
        }
    }

    fn is_longer_than(&self, length: Duration) -> bool {
        self.since.elapsed() >= length
    }
}

/// Why a node cannot follow.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The broker does not answer now.
    #[error(transparent)]
    Passing(BrokerError),
    /// It answers that it has less than this node. That may pass while it chooses a leader.
    #[error(transparent)]
    Behind(OpenError),
    /// It will not pass.
    #[error(transparent)]
    Lasting(OpenError),
}

impl From<BrokerError> for Fault {
    fn from(error: BrokerError) -> Self {
        if error.passes() { Self::Passing(error) } else { Self::Lasting(error.into()) }
    }
}

/// The stream's last sequence, as its leader says.
pub(super) fn last_of(connection: &Connection, stream: &str) -> Result<u64, BrokerError> {
    let subject = format!("$JS.API.STREAM.INFO.{stream}");
    let info = connection.ask(&subject, &json!({}))?;
    let last = info["state"]["last_seq"].as_u64();
    last.ok_or_else(|| BrokerError::Strange { what: subject, why: "it has no last sequence".to_owned() })
}

fn has_check(bytes: &[u8], check: crate::sled::frame::Check) -> bool {
    crate::sled::frame::check_of(bytes).is_ok_and(|found| found == check)
}
