//! One subject and its sessions: the state of one stream, all that a decision about it needs.

use std::{cell::RefCell, ops::Deref, sync::Arc, thread::LocalKey};

use super::{
    commit::EventMeta,
    event::SubjectProfile,
    id::{Digest16, Position, SessionId, SubjectId},
    interned::{Interned, RecentValues, Shareable},
    packed::{NO_POSITION, NO_TIME, PackedPosition, PackedTime},
    policy::{OnLimit, Policy},
    session::Session,
    suspension::SubjectSuspension,
    time::Timestamp,
};

/// So many sessions created at once may stand otherwise by their ids than by their positions.
const NEAR: usize = 32;

/// A subject with no more sessions than this has few.
const FEW: usize = 8;

/// A subject, as the facts up to some position leave it. It holds its sessions.
///
/// There are many of these, and few that leave: it takes 64 bytes without its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its name.
    pub id: SubjectId,
    /// Its sessions, ended ones included, by id.
    pub sessions: Vec<Session>,
    /// `None` before it is first registered; then the next three say nothing.
    standing: Option<Interned<ProfileAndSuspension>>,
    registered_at: PackedTime,
    updated_at: PackedTime,
    registered: PackedPosition,
    pub(super) version: PackedPosition,
}

/// A session, as some version of its subject holds it or as it is seen apart from it; cheap to clone.
#[derive(Clone, Debug)]
pub struct SharedSession(Holder);

#[derive(Clone, Debug)]
enum Holder {
    /// It is the one at this place.
    Subject(Arc<Subject>, usize),
    Nobody(Arc<Session>),
}

impl SharedSession {
    /// The session of this id; `None` if the subject does not hold it.
    pub fn of(subject: Arc<Subject>, id: SessionId) -> Option<Self> {
        let place = subject.found_at(id)?;
        Some(Self(Holder::Subject(subject, place)))
    }

    /// The subject that holds it; `None` if it is seen apart from it.
    pub fn holder(&self) -> Option<&Subject> {
        match &self.0 {
            Holder::Subject(subject, _) => Some(subject),
            Holder::Nobody(_) => None,
        }
    }
}

impl From<Session> for SharedSession {
    fn from(session: Session) -> Self {
        Self(Holder::Nobody(Arc::new(session)))
    }
}

impl AsRef<Session> for SharedSession {
    fn as_ref(&self) -> &Session {
        self
    }
}

impl Deref for SharedSession {
    type Target = Session;
    fn deref(&self) -> &Session {
        match &self.0 {
            Holder::Subject(subject, place) => &subject.sessions[*place],
            Holder::Nobody(session) => session,
        }
    }
}

impl PartialEq for SharedSession {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SharedSession {}

/// What is registered of a subject, and since when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectRegistration {
    /// What is registered, and whether it is suspended.
    pub standing: Interned<ProfileAndSuspension>,
    /// When it was first registered.
    pub created_at: Timestamp,
    /// When its registration was last replaced.
    pub updated_at: Timestamp,
    /// The position of its first registration.
    pub created: Position,
}

/// What is registered of a subject, and its suspension. Many subjects are registered in the same words, and few are
/// suspended, so equal ones are kept once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileAndSuspension {
    /// What was said of it.
    pub profile: SubjectProfile,
    /// Its suspension, until lifted or its end is recorded.
    pub suspension: Option<SubjectSuspension>,
}

/// One limit on active sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimit {
    /// How many may be active.
    pub most: u32,
    /// What happens to one more.
    pub on_limit: OnLimit,
}

thread_local! {
    static RECENT_STANDINGS: RecentValues<ProfileAndSuspension> = const { RefCell::new(Vec::new()) };
}

impl Shareable for ProfileAndSuspension {
    fn recent() -> &'static LocalKey<RecentValues<Self>> {
        &RECENT_STANDINGS
    }
}

impl Subject {
    /// A subject of which nothing is known yet.
    pub const fn new(id: SubjectId) -> Self {
        Self {
            id,
            sessions: Vec::new(),
            standing: None,
            registered_at: PackedTime::ZERO,
            updated_at: PackedTime::ZERO,
            registered: PackedPosition::ZERO,
            version: PackedPosition::ZERO,
        }
    }

    /// The last position of its stream; 0 for none.
    pub const fn version(&self) -> Position {
        self.version.position()
    }

    /// Its stream goes up to this position now.
    ///
    /// # Errors
    /// No log reaches the position.
    pub fn advance_to(&mut self, version: Position) -> Result<(), &'static str> {
        self.version = PackedPosition::of(version).ok_or(NO_POSITION)?;
        Ok(())
    }

    /// Whether it was ever registered.
    pub const fn is_registered(&self) -> bool {
        self.standing.is_some()
    }

    /// Its registration; `None` before the first.
    pub fn registration(&self) -> Option<SubjectRegistration> {
        Some(SubjectRegistration {
            standing: self.standing.clone()?,
            created_at: self.registered_at.moment(),
            updated_at: self.updated_at.moment(),
            created: self.registered.position(),
        })
    }

    /// Has this registration from now on. On an error it is unchanged.
    pub(super) fn register(&mut self, registration: SubjectRegistration) -> Result<(), &'static str> {
        let SubjectRegistration { standing, created_at, updated_at, created } = registration;
        let (registered_at, updated_at) = (PackedTime::of(created_at), PackedTime::of(updated_at));
        let registered = PackedPosition::of(created).ok_or(NO_POSITION)?;
        (self.registered_at, self.updated_at) = registered_at.zip(updated_at).ok_or(NO_TIME)?;
        (self.registered, self.standing) = (registered, Some(standing));
        Ok(())
    }

    /// What is registered of it, to be changed by a fact.
    pub(super) const fn standing_mut(&mut self) -> Option<&mut Interned<ProfileAndSuspension>> {
        self.standing.as_mut()
    }

    /// Its registration's content.
    pub fn profile(&self) -> Option<&SubjectProfile> {
        self.standing.as_ref().map(|standing| &standing.profile)
    }

    /// Its suspension as it was last recorded, which may have ended by itself since.
    pub fn suspension(&self) -> Option<&SubjectSuspension> {
        self.standing.as_ref()?.suspension.as_ref()
    }

    /// The suspension in force at this moment.
    pub fn suspension_at(&self, now: Timestamp) -> Option<&SubjectSuspension> {
        self.suspension().filter(|suspension| suspension.is_in_force(now))
    }

    /// Whether its suspension has ended by itself, which is not recorded yet.
    pub fn awaits_resumption(&self, now: Timestamp) -> bool {
        self.suspension().is_some_and(|suspension| !suspension.is_in_force(now))
    }

    /// Whether there is text about people in it or in one of its sessions.
    pub fn has_text(&self) -> bool {
        self.profile().is_some_and(|profile| profile.name.is_some())
            || self.suspension().is_some_and(|suspension| suspension.reason.is_some())
            || self.sessions.iter().any(Session::has_text)
    }

    /// One of its sessions.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.found_at(id).map(|index| &self.sessions[index])
    }

    /// The one of its sessions that began at this position. Ids are drawn in the order of time, so it stands where the
    /// order of the positions would put it, or nearly there.
    pub fn session_begun_at(&self, began: Position) -> Option<&Session> {
        let place = self.sessions.partition_point(|session| session.created() < began);
        let near = place.saturating_sub(NEAR)..self.sessions.len().min(place + NEAR);
        let mut all = self.sessions[near].iter().chain(&self.sessions);
        all.find(|session| session.created() == began)
    }

    /// Where a session stands in the list. Of few, it costs less to look at all.
    fn found_at(&self, id: SessionId) -> Option<usize> {
        if self.sessions.len() <= FEW {
            self.sessions.iter().position(|session| session.id == id)
        } else {
            self.place_of(id).ok()
        }
    }

    /// Where a session stands in the list, or where it would have to be put.
    pub(super) fn place_of(&self, id: SessionId) -> Result<usize, usize> {
        self.sessions.binary_search_by(|session| session.id.cmp(&id))
    }

    /// One of its sessions, to be changed by a fact.
    pub(super) fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let index = self.found_at(id)?;
        Some(&mut self.sessions[index])
    }

    /// Its active sessions, oldest first; of one device when a digest is given.
    pub fn active(&self, device: Option<Digest16>, now: Timestamp) -> Vec<&Session> {
        let matches = |session: &&Session| {
            session.is_live(now) && (device.is_none() || session.device_digest() == device)
        };
        let mut found: Vec<_> = self.sessions.iter().filter(matches).collect();
        found.sort_by_key(|session| (session.created_at(), session.id));
        found
    }

    /// How many of its sessions are active.
    pub fn active_count(&self, now: Timestamp) -> usize {
        self.sessions.iter().filter(|session| session.is_live(now)).count()
    }

    /// How many of its active sessions are of this device.
    pub fn active_count_of(&self, device: Digest16, now: Timestamp) -> usize {
        let is_counted = |session: &&Session| session.device_digest() == Some(device) && session.is_live(now);
        self.sessions.iter().filter(is_counted).count()
    }

    /// How many of its sessions were active right after this event, as any later state shows: what had ended by then
    /// stays ended, and what had ended is never extended.
    pub fn active_count_after(&self, event: EventMeta) -> usize {
        let was_active = |session: &&Session| {
            let end = session.revocation();
            let was_ended = end.is_some_and(|end| end.position <= event.position);
            session.created() <= event.position && !was_ended && !session.has_ended(event.at)
        };
        self.sessions.iter().filter(was_active).count()
    }

    /// The sessions that the event at this position ended, oldest first.
    pub fn ended_by(&self, position: Position) -> Vec<SessionId> {
        let is_cause = |session: &&Session| {
            session.revocation().is_some_and(|revocation| revocation.position == position)
        };
        let mut ended: Vec<_> = self.sessions.iter().filter(is_cause).collect();
        ended.sort_by_key(|session| (session.created_at(), session.id));
        ended.into_iter().map(|session| session.id).collect()
    }

    /// The limit on its active sessions.
    pub fn limit(&self, policy: &Policy) -> SessionLimit {
        let profile = self.profile();
        SessionLimit {
            most: profile.and_then(|own| own.max_sessions).unwrap_or(policy.per_subject),
            on_limit: profile.and_then(|own| own.on_limit).unwrap_or(policy.on_limit),
        }
    }

    /// The limit on the active sessions of one of its devices.
    pub fn device_limit(&self, policy: &Policy) -> SessionLimit {
        let profile = self.profile();
        SessionLimit {
            most: profile.and_then(|own| own.max_sessions_per_device).unwrap_or(policy.per_device),
            on_limit: profile.and_then(|own| own.on_device_limit).unwrap_or(policy.on_device_limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_with_its_counts_of_references_fits_in_80_bytes() {
        // The allocator's next larger class is 96.
        assert!(size_of::<Subject>() + 2 * size_of::<usize>() <= 80, "{}", size_of::<Subject>());
    }
}
