//! A node on its way to lead: it follows the log, waits for the lease, and takes the lead with a frame of its own.

use std::{
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use tenure_core::Position;
use tenure_protocol::clock::{pause, stopwatch};

use super::{
    BrokerConnection, BrokerError, JetStreamOptions, LeaseClaim,
    broker_reply::PublishAck,
    cluster_view::ClusterView,
    connection::ReplayedMessage,
    copy::{LocalCopy, damaged},
    lease::{HOLDS, LeaseStatus, LeaseStore},
    read_end::{FrameMark, ReadEnd},
};
use crate::{OpenError, RecordHash, StoredCommit, sled::frame};

/// Frames fetched at once.
const AT_ONCE: u64 = 32;
/// The second of the subjects that are listened to: what becomes of the lease.
const PULSE: usize = 1;
/// How often a standby looks at the lease.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a broker that does not answer is left alone.
pub(super) const AWAY: Duration = Duration::from_millis(500);
/// How often it is logged that it still does not.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What a node that does not lead yet is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StandbyStatus {
    /// The broker does not answer.
    Away {
        /// What happened.
        why: String,
    },
    /// Another node leads.
    By(LeaseClaim),
    /// It has the lease and takes the lead.
    Taking,
}

/// Takes the commits of one frame, which are in the copy already.
pub(super) type FrameFold<'f> = dyn FnMut(&ReadEnd, Vec<StoredCommit>) -> Result<(), String> + 'f;
/// Hears what a node waits for.
pub type StatusListener = Arc<dyn Fn(&StandbyStatus) + Send + Sync>;

/// A node that follows.
pub(super) struct Standby {
    pub(super) options: JetStreamOptions,
    pub(super) copy: Arc<LocalCopy>,
    pub(super) end: ReadEnd,
    pub(super) sight: ClusterView,
    /// Until then others go first: this node has just given the lead away.
    pub(super) rests_until: Option<Instant>,
    /// Whether others go first while there may be any: this node is not sure of what it has.
    pub(super) hesitates: bool,
    told: StatusListener,
    seen: Option<StandbyStatus>,
    told_at: Instant,
}

/// How long no node has been heard of.
pub(super) struct SilenceTimer {
    since: Instant,
    lease: Option<u64>,
    frames: u64,
}

impl Standby {
    pub(super) fn new(
        options: JetStreamOptions,
        copy: Arc<LocalCopy>,
        end: ReadEnd,
        told: StatusListener,
    ) -> Self {
        let (sight, rests_until, seen) = (ClusterView::default(), None, None);
        Self { options, copy, end, sight, rests_until, hesitates: false, told, seen, told_at: stopwatch() }
    }

    /// Says what is new, and what lasts from time to time.
    pub(super) fn tell(&mut self, standing: StandbyStatus) {
        let kind_is_same = match (&self.seen, &standing) {
            (Some(StandbyStatus::Away { .. }), StandbyStatus::Away { .. }) => true,
            (seen, now) => seen.as_ref() == Some(now),
        };
        let is_away = matches!(standing, StandbyStatus::Away { .. });
        if !kind_is_same || (is_away && self.told_at.elapsed() >= TELL_EVERY) {
            (self.told)(&standing);
            (self.seen, self.told_at) = (Some(standing), stopwatch());
        }
    }

    /// Whether the copy is a part of the broker's log: it must have the copy's last frame in its place.
    pub(super) fn compare(&self, connection: &BrokerConnection) -> Result<(), FollowError> {
        let sequence = self.end.sequence;
        if sequence == 0 {
            return Ok(());
        }
        let stream = self.options.names.log_stream();
        let refused = |why: String| {
            Err(FollowError::Lasting(damaged(self.copy.path(), Some(self.end.position()), why)))
        };
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

    /// Whether the segments are of this log: its first record must be theirs.
    pub(super) fn compare_first(
        &self,
        connection: &BrokerConnection,
        (id, segments): (RecordHash, &Path),
    ) -> Result<(), FollowError> {
        let stream = self.options.names.log_stream();
        let last = last_of(connection, &stream)?;
        for sequence in 1..=last {
            let Some(found) = connection.message(&stream, &json!({ "seq": sequence }))? else { break };
            let unreadable = |why| FollowError::Lasting(damaged(self.copy.path(), Some(Position(1)), why));
            let frame = frame::open(Position(1), &found.data).map_err(unreadable)?;
            let Some((first, bytes)) = frame.commits.first() else { continue };
            let stored =
                StoredCommit::decode(*first, bytes).map_err(|error| unreadable(error.to_string()))?;
            if stored.record_hashes.first() == Some(&id) {
                return Ok(());
            }
            break;
        }
        let why = format!("the segments are of another log than {stream}");
        Err(FollowError::Lasting(damaged(segments, None, why)))
    }

    /// Finds the frame in which what is in segments ends, where the copy does not have it.
    pub(super) fn find_place(&mut self, connection: &BrokerConnection) -> Result<(), FollowError> {
        let (stream, sealed) = (self.options.names.log_stream(), self.end.position());
        let last = last_of(connection, &stream)?;
        let (mut low, mut high, mut mark) = (1, last + 1, None);
        while low < high {
            let middle = low + (high - low) / 2;
            let (is_behind, before, own) = self.marks_at(connection, middle, sealed)?;
            if is_behind {
                (high, mark) = (middle, before);
            } else {
                low = middle + 1;
                // The log may end where the segments do.
                mark = if middle == last { own } else { mark };
            }
        }
        let Some(mark) = mark else {
            let why = format!(
                "the segments of this node end with position {sealed}, and {stream} ends before that: the broker has \
                 lost a part of the log, or the segments are of another one"
            );
            return Err(FollowError::Lasting(damaged(self.copy.path(), Some(sealed), why)));
        };
        self.end.stands_behind(mark);
        Ok(())
    }

    /// Whether the frame at this sequence reaches beyond a position; the frame before it, and itself if it ends there.
    fn marks_at(
        &self,
        connection: &BrokerConnection,
        sequence: u64,
        sealed: Position,
    ) -> Result<(bool, Option<FrameMark>, Option<FrameMark>), FollowError> {
        let stream = self.options.names.log_stream();
        let Some(found) = connection.message(&stream, &json!({ "seq": sequence }))? else {
            let why = format!("it does not have the frame {sequence} yet");
            return Err(FollowError::Passing(BrokerError::NoAnswer { what: stream, why }));
        };
        let opened = frame::first_of(&found.data).ok_or_else(|| "the frame is cut short".to_owned());
        let frame = opened.and_then(|first| frame::open(first, &found.data)).map_err(|why| {
            let why = format!("the frame {sequence} of {stream} cannot be read: {why}");
            FollowError::Lasting(damaged(self.copy.path(), None, why))
        })?;
        let own = FrameMark { sequence, check: frame.check, term: frame.term };
        let own = (frame.next == sealed.next()).then_some(own);
        Ok((frame.next > sealed.next(), FrameMark::before(&frame, sequence), own))
    }

    /// Fetches and folds what the stream's leader has and this node lacks.
    pub(super) fn fill(
        &mut self,
        connection: &BrokerConnection,
        fold: &mut FrameFold<'_>,
    ) -> Result<(), FollowError> {
        let stream = self.options.names.log_stream();
        let last = last_of(connection, &stream)?;
        if last < self.end.sequence {
            let why = format!(
                "this copy ends with the frame {}, and {stream} with {last}: the broker has lost a part of the log",
                self.end.sequence
            );
            // A server that has lost its lead may say so for a moment; asking again will show.
            return Err(FollowError::Behind(damaged(self.copy.path(), Some(self.end.position()), why)));
        }
        while self.end.sequence < last {
            let next = self.end.sequence + 1;
            let places = next..=last.min(next + AT_ONCE - 1);
            for (place, message) in places.clone().zip(connection.messages(&stream, places)?) {
                let Some(message) = message else {
                    return Err(FollowError::Passing(BrokerError::NoAnswer {
                        what: stream,
                        why: format!("it does not have the frame {place} yet"),
                    }));
                };
                self.follow(&message.data, fold)?;
            }
        }
        Ok(())
    }

    fn follow(&mut self, bytes: &[u8], fold: &mut FrameFold<'_>) -> Result<(), FollowError> {
        let (key, position) = (self.end.key_of(bytes), self.end.position().next());
        let lasting = |why: String| FollowError::Lasting(damaged(self.copy.path(), Some(position), why));
        let frame = self.end.sequence + 1;
        let unreadable = |why: String| {
            lasting(format!("the frame {frame} of {} cannot be read: {why}", self.options.names.log_stream()))
        };
        let mut commits = Vec::new();
        let mut gather = |stored, _: &[[u8; 32]]| {
            commits.push(stored);
            Ok(())
        };
        self.end.follow(bytes, &mut gather).map_err(unreadable)?;
        // An announced commit can be read.
        self.copy.keep(key, bytes).map_err(lasting)?;
        fold(&self.end, commits).map_err(unreadable)
    }

    /// Looks once at the log and at the lease; gives back the sequence of a lease this node holds now.
    pub(super) fn once(
        &mut self,
        place: &LeaseStore,
        quiet: &mut SilenceTimer,
        fold: &mut FrameFold<'_>,
    ) -> Result<Option<u64>, FollowError> {
        self.fill(&place.connection, fold)?;
        let look = place.look()?;
        quiet.note(&look, self.end.sequence);
        let rests = self.rests_until.is_some_and(|until| stopwatch() < until);
        match look {
            // An earlier process of this node cannot be alive: this one has locked its directory.
            LeaseStatus::Held { claim, sequence, .. } if claim.node == self.options.claim.node => {
                Ok((!rests).then(|| self.claim(place, sequence)).flatten())
            }
            LeaseStatus::Held { claim, pulse, .. } => {
                self.rests_until = None;
                if self.sight.note(&claim, pulse) {
                    self.fill(&place.connection, fold)?;
                }
                self.sight.reached(&self.end);
                self.tell(StandbyStatus::By(claim));
                Ok(None)
            }
            LeaseStatus::Free { expect, released } => {
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

    fn claim(&mut self, place: &LeaseStore, expect: u64) -> Option<u64> {
        match place.publish(&self.options.claim.body(), expect, HOLDS) {
            PublishAck::Stored { sequence } => Some(sequence),
            // If it was ours after all, the next look says so.
            PublishAck::OtherLast { .. } | PublishAck::Full(_) | PublishAck::Unknown(_) => None,
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
    pub(super) fn listen(
        &mut self,
        tail: &Receiver<ReplayedMessage>,
        fold: &mut FrameFold<'_>,
    ) -> Result<(), FollowError> {
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

impl SilenceTimer {
    pub(super) fn new(frames: u64) -> Self {
        Self { since: stopwatch(), lease: None, frames }
    }

    /// A node that may have been heard of meanwhile has a whole term again.
    pub(super) fn restart(&mut self) {
        self.since = stopwatch();
    }

    fn note(&mut self, look: &LeaseStatus, frames: u64) {
        let lease = match look {
            LeaseStatus::Held { sequence, .. } => Some(*sequence),
            LeaseStatus::Free { .. } => self.lease,
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
pub(super) enum FollowError {
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

impl From<BrokerError> for FollowError {
    fn from(error: BrokerError) -> Self {
        if error.passes() { Self::Passing(error) } else { Self::Lasting(error.into()) }
    }
}

/// The stream's last sequence, as its leader says.
pub(super) fn last_of(connection: &BrokerConnection, stream: &str) -> Result<u64, BrokerError> {
    let subject = format!("$JS.API.STREAM.INFO.{stream}");
    let info = connection.ask(&subject, &json!({}))?;
    let last = info["state"]["last_seq"].as_u64();
    last.ok_or_else(|| BrokerError::Strange { what: subject, why: "it has no last sequence".to_owned() })
}

fn has_check(bytes: &[u8], check: crate::sled::frame::FrameCheck) -> bool {
    crate::sled::frame::check_of(bytes).is_ok_and(|found| found == check)
}
