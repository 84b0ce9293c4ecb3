//! When a session was last used: its idle end, and the refreshes of a sliding one.
//!
//! A session with an `idleTimeout` is idle exactly when `now >= lastSeenAt + idleTimeout`. There are too many uses to
//! record each one. What is recorded is enough: no decision depends on an unrecorded use. See `docs/decisions/` on
//! uses.

use minicbor::{Decode, Encode};
use serde::Serialize;

pub use tenure_protocol::session::SessionMode;

use super::{
    commit::EventMeta,
    id::{Position, SessionId},
    session::{GrantedPeriod, OneTimeFact, Session},
    time::{Seconds, Timestamp},
};

/// What is known of the use of a session with an `idleTimeout`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct SessionActivity {
    /// When it was last seen in use; its creation, renewals and refreshes count.
    #[n(0)]
    pub seen_at: Timestamp,
    /// The event that recorded it.
    #[n(1)]
    pub seen: Position,
    /// When it was last refreshed.
    #[n(2)]
    pub refreshed_at: Option<Timestamp>,
}

impl SessionActivity {
    /// Of a session that begins, or is seen for the first time since its creation.
    pub const fn beginning(recorded: EventMeta) -> Self {
        Self { seen_at: recorded.at, seen: recorded.position, refreshed_at: None }
    }
}

/// A sliding session was refreshed: its period begins again, its token stays.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct SessionRefreshed {
    /// The session.
    #[n(0)]
    pub session_id: SessionId,
    /// The end of the new period.
    #[n(1)]
    pub expires_at: Timestamp,
}

/// Sessions were seen in use.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
pub struct SessionsSeen {
    /// Each once, in the order of their ids.
    #[n(0)]
    pub seen: Vec<SessionSeen>,
}

/// A session was seen in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct SessionSeen {
    /// The session.
    #[n(0)]
    pub session_id: SessionId,
    /// When it was last used.
    #[n(1)]
    pub seen_at: Timestamp,
}

/// How far a use may move its idle end before it is recorded: a tenth of the idle time, in milliseconds.
const fn tenth_millis(idle_timeout: Seconds) -> i64 {
    idle_timeout.0 as i64 * 100
}

impl Session {
    /// What is known of its use; `None` for a session without an `idleTimeout`.
    pub fn activity(&self) -> Option<&SessionActivity> {
        self.terms.idle_timeout?;
        self.details()?.activity.as_deref()
    }

    /// When it was last seen in use; `None` for a session without an `idleTimeout`.
    pub fn last_seen_at(&self) -> Option<Timestamp> {
        self.activity().map(|activity| activity.seen_at)
    }

    /// When it was last refreshed.
    pub fn refreshed_at(&self) -> Option<Timestamp> {
        self.activity()?.refreshed_at
    }

    /// The moment from which on it is idle, unless it is used before.
    pub fn idle_end(&self) -> Option<Timestamp> {
        Some(self.last_seen_at()?.plus(self.terms.idle_timeout?))
    }

    /// Whether it was not used for its idle time.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.idle_end().is_some_and(|end| now >= end)
    }

    /// The moment at which it ends if nothing else happens to it.
    pub fn ends_at(&self) -> Timestamp {
        self.idle_end().map_or(self.expires_at(), |idle| idle.min(self.expires_at()))
    }

    /// Whether it has ended by itself, by its period or by its idle time.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        now >= self.ends_at()
    }

    /// The moment from which a request behind a proxy refreshes it: half of its idle time or half of its period,
    /// whichever is shorter, after the last refresh, rounded down to a second. `None` if the session is not sliding
    /// or its period cannot grow any more.
    pub fn refresh_at(&self) -> Option<Timestamp> {
        if self.terms.mode == SessionMode::Fixed || self.expires_at() >= self.absolute_expires_at() {
            return None;
        }
        let last = self.refreshed_at().unwrap_or(self.created_at());
        // A period shorter than half of the idle time would never be refreshed.
        let shorter = self.terms.idle_timeout?.min(self.terms.ttl);
        Some(last.plus(shorter.half()))
    }

    /// Where its period ends when it is refreshed now.
    pub fn refreshed_until(&self, now: Timestamp) -> Timestamp {
        now.plus(self.terms.ttl).min(self.absolute_expires_at())
    }

    /// Whether a use at this moment is late enough after the last recorded one to be recorded.
    pub fn is_worth_recording(&self, seen_at: Timestamp) -> bool {
        self.latest_unrecorded_use().is_some_and(|latest| seen_at >= latest)
    }

    /// The moment up to which a use may be unrecorded.
    pub fn latest_unrecorded_use(&self) -> Option<Timestamp> {
        Some(self.last_seen_at()?.plus_millis(tenth_millis(self.terms.idle_timeout?)))
    }

    /// Whether a use says anything of it: it has an idle time and has not ended for the record.
    pub fn can_be_seen(&self) -> bool {
        self.activity().is_some() && self.revocation().is_none() && !self.said.contains(OneTimeFact::Expired)
    }

    /// Counts as seen by this event; nothing without an `idleTimeout`.
    pub(super) fn see(&mut self, seen_at: Timestamp, position: Position) {
        if self.terms.idle_timeout.is_none() {
            return;
        }
        let recorded = EventMeta { position, at: seen_at };
        let details = self.details_mut();
        let activity = details.activity.get_or_insert_with(|| Box::new(SessionActivity::beginning(recorded)));
        if activity.seen_at <= seen_at {
            (activity.seen_at, activity.seen) = (seen_at, position);
        }
    }

    /// The same session, seen at this moment by an unrecorded use.
    #[must_use]
    pub fn seen_unrecorded(&self, seen_at: Timestamp) -> Self {
        let mut session = self.clone();
        let position = self.activity().map_or(self.created(), |activity| activity.seen);
        session.see(seen_at, position);
        session
    }

    /// Begins its period again.
    pub(super) fn refresh(&mut self, period: GrantedPeriod, recorded: EventMeta) {
        self.see(recorded.at, recorded.position);
        self.prolong(period);
        if let Some(activity) = &mut self.details_mut().activity {
            activity.refreshed_at = Some(recorded.at);
        }
    }
}
