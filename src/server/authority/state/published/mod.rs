//! The published state: what every check and every answer reads. It holds only what is durable.
//!
//! The sequencer is its only writer, so readers never wait for a decision, only for the swap of a pointer.
//!
//! A bulk revocation is published as what it is, and written into the sessions that it ended afterwards (`bulk_application`).
//! Until then every reader sees what it says: there is no way to a subject or session here but one that applies it.

mod evicted_sessions;
mod shards;
mod tables;

use std::{
    ops::Deref,
    slice,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use hashbrown::{HashMap, HashSet};
use tokio::sync::watch;

pub use self::evicted_sessions::LeftBefore;
pub(crate) use self::evicted_sessions::NAMED;
use self::{
    evicted_sessions::EvictedSessions,
    tables::{SessionIndex, SubjectTable},
};
use super::{
    activity::ActivityTracker, contested::ContestedSessions, registrations::RecentRegistrations,
    suspended::SuspendedSubjects,
};
use tenure_core::{
    Position, Seconds, SessionId, SubjectId, Timestamp,
    bulk::{self, BulkRevocation, MatchCount, MatchCounter, SessionSelector},
    session::Session,
    state::AuthorityState,
    subject::{SharedSession, Subject},
    suspension::SubjectSuspension,
    system::{Credential, SystemState},
};

/// Is handed what is about to leave memory.
pub(crate) type EvictionObserver<'a> = &'a dyn Fn(&[Session]);

/// The state of every stream, published.
pub struct PublishedState {
    subjects: SubjectTable,
    sessions: SessionIndex,
    system: ArcSwap<SystemView>,
    /// The bulk revocations not yet written into every session that they ended; mostly none.
    unsettled: ArcSwap<Vec<BulkRevocation>>,
    is_unsettled: AtomicBool,
    uses: ActivityTracker,
    contested: ContestedSessions,
    suspended: SuspendedSubjects,
    registrations: RecentRegistrations,
    left: EvictedSessions,
    position: watch::Sender<Position>,
    recorded_at: AtomicU64,
    /// In seconds. Only ever grows.
    longest_ttl: AtomicU32,
}

/// The authority's own state, with its keys findable by their hash.
#[derive(Debug, Default)]
pub struct SystemView {
    /// The state of the system stream.
    pub system: Arc<SystemState>,
    by_hash: HashMap<[u8; 32], Arc<Credential>>,
}

impl SystemView {
    fn new(system: Arc<SystemState>) -> Self {
        let usable = system.credentials.values().filter(|known| known.revoked_at.is_none());
        let by_hash = usable.map(|known| (known.key_hash, Arc::new(known.clone()))).collect();
        Self { system, by_hash }
    }

    /// The key of this hash, unless it was withdrawn.
    pub fn credential(&self, key_hash: &[u8; 32]) -> Option<Arc<Credential>> {
        self.by_hash.get(key_hash).cloned()
    }
}

impl PublishedState {
    /// Publishes the state that a start has folded. Before that moment, if there is one, sessions may have been used
    /// without that being recorded.
    pub fn new(state: AuthorityState, uses_forgotten_before: Option<Timestamp>) -> Self {
        Self::trimmed(state, uses_forgotten_before, &LeftBefore::default(), &|_| ())
    }

    /// The same, without the sessions behind the horizon of the state. Those are handed over, as in
    /// [`PublishedState::let_go`]. Others are not in the state to begin with.
    pub(crate) fn trimmed(
        state: AuthorityState,
        uses_forgotten_before: Option<Timestamp>,
        left: &LeftBefore,
        leaving: EvictionObserver<'_>,
    ) -> Self {
        let live = Self {
            subjects: SubjectTable::new(),
            sessions: SessionIndex::new(),
            system: ArcSwap::from_pointee(SystemView::new(Arc::new(state.system))),
            unsettled: ArcSwap::default(),
            is_unsettled: AtomicBool::new(false),
            uses: ActivityTracker::new(uses_forgotten_before),
            contested: ContestedSessions::default(),
            suspended: SuspendedSubjects::default(),
            registrations: RecentRegistrations::after(state.position),
            left: EvictedSessions::default(),
            position: watch::Sender::new(state.position),
            recorded_at: AtomicU64::new(0),
            longest_ttl: AtomicU32::new(left.longest_ttl.0),
        };
        live.left.note_before(left);
        live.note_time(state.recorded_at);
        live.move_horizon(state.horizon);
        for subject in state.subjects.into_values() {
            live.publish_subject(Arc::new(live.without_those_behind(subject, leaving)));
        }
        live
    }

    /// The state as a whole, for a snapshot or a comparison. Only meaningful while nothing is published.
    pub fn capture(&self) -> AuthorityState {
        let mut state = AuthorityState {
            position: self.position(),
            recorded_at: self.recorded_at(),
            system: self.system.load().system.as_ref().clone(),
            horizon: self.horizon(),
            ..AuthorityState::default()
        };
        let unsettled = self.unsettled.load();
        self.subjects.for_each(|subject| {
            let mut subject = subject.as_ref().clone();
            bulk::settle(&unsettled, &mut subject);
            for session in &subject.sessions {
                state.holders.insert(session.id, subject.id.clone());
            }
            state.subjects.insert(subject.id.clone(), subject);
        });
        state
    }

    /// A subject, its sessions as they were last used.
    pub fn subject(&self, id: &SubjectId) -> Option<Arc<Subject>> {
        self.recorded_subject(id).map(|subject| self.uses.applied_to(subject))
    }

    /// A subject as the log has it: without unrecorded uses.
    pub fn recorded_subject(&self, id: &SubjectId) -> Option<Arc<Subject>> {
        // What is unsettled is looked at first: what is settled meanwhile is so in the tables.
        let unsettled = self.unsettled();
        self.subjects.get(id).map(|subject| settled(&unsettled, subject))
    }

    /// Every subject, in no order.
    pub fn subjects(&self) -> Vec<Arc<Subject>> {
        let unsettled = self.unsettled();
        let mut all = Vec::new();
        self.subjects.for_each(|subject| all.push(Arc::clone(subject)));
        let settled = all.into_iter().map(|subject| settled(&unsettled, subject));
        settled.map(|subject| self.uses.applied_to(subject)).collect()
    }

    /// Looks at every subject as the log has it, in no order. The walk blocks no one.
    pub fn for_each_subject(&self, mut visit: impl FnMut(&Arc<Subject>)) {
        let unsettled = self.unsettled();
        self.subjects.visit_parts(|subject| visit(&settled(&unsettled, Arc::clone(subject))));
    }

    /// Counts the sessions that match and are active at this moment; what it says is nothing when it was not wanted to
    /// the end.
    pub(crate) fn matching_while(
        &self,
        is_wanted: &(dyn Fn() -> bool + Sync),
        selector: &SessionSelector,
        at: Timestamp,
    ) -> MatchCount {
        let unsettled = self.unsettled();
        self.counted((&unsettled, at), selector, &SkippedSubjects::of(vec![]), is_wanted)
    }

    /// The same, with these bulk revocations not settled everywhere, but for the subjects left out. The
    /// parts of the state are shared out among as many threads as there are processors, up to four.
    ///
    /// Only the sequencer, which publishes subjects, may leave something out: see [`SkippedSubjects`].
    pub(crate) fn matching_under<'a>(
        &self,
        unsettled: &[BulkRevocation],
        selector: &SessionSelector,
        at: Timestamp,
        left_out: impl Iterator<Item = &'a SubjectId>,
    ) -> MatchCount {
        let left_out = SkippedSubjects::of(left_out.filter_map(|id| self.subjects.get(id)).collect());
        self.counted((unsettled, at), selector, &left_out, &|| true)
    }

    fn counted(
        &self,
        (unsettled, at): (&[BulkRevocation], Timestamp),
        selector: &SessionSelector,
        left_out: &SkippedSubjects,
        is_wanted: &(dyn Fn() -> bool + Sync),
    ) -> MatchCount {
        let begin = || MatchCounter::new(selector, unsettled, at);
        let count = |counter: &mut MatchCounter<'_>, subjects: &[Arc<Subject>]| {
            if !is_wanted() {
                return;
            }
            let counted = subjects.iter().filter(|subject| !left_out.contains(subject));
            let counted: Vec<&Subject> = counted.map(|subject| &**subject).collect();
            counter.add(&counted);
        };
        let Some(id) = &selector.subject_id else {
            let counted = self.subjects.fold_parts(&begin, &count).into_iter().map(MatchCounter::finish);
            return counted.fold(MatchCount::default(), MatchCount::and);
        };
        let mut counter = begin();
        self.subjects.get(id).iter().for_each(|subject| count(&mut counter, slice::from_ref(subject)));
        counter.finish()
    }

    /// A session, as it was last used; also one that left memory, if it was read back lately.
    pub fn session(&self, id: SessionId) -> Option<SharedSession> {
        let session = self.recorded_session(id).map(|session| self.uses.applied(session));
        session.or_else(|| self.left.recalled(id))
    }

    /// A session as the log has it: without unrecorded uses.
    pub fn recorded_session(&self, id: SessionId) -> Option<SharedSession> {
        let unsettled = self.unsettled();
        let session = self.sessions.find(id, &self.subjects)?;
        Some(if unsettled.is_empty() { session } else { ended_by(&unsettled, session) })
    }

    /// Whose session it is.
    pub fn subject_of(&self, id: SessionId) -> Option<SubjectId> {
        self.sessions.find(id, &self.subjects).map(|session| session.subject.clone())
    }

    fn unsettled(&self) -> PendingBulks {
        PendingBulks(self.is_unsettled.load(Ordering::Acquire).then(|| self.unsettled.load_full()))
    }

    /// The suspension of a subject; it may have ended by itself.
    pub fn suspension(&self, id: &SubjectId) -> Option<SubjectSuspension> {
        self.suspended.of(id)
    }

    /// Those subjects whose suspensions have ended by themselves, which is not recorded yet.
    pub(crate) fn ended_suspensions(&self, now: Timestamp) -> Vec<SubjectId> {
        self.suspended.ended(now)
    }

    /// What was registered of subjects before it changed lately.
    pub(crate) const fn registrations(&self) -> &RecentRegistrations {
        &self.registrations
    }

    /// Uses that the log may not hold yet.
    pub(crate) const fn uses(&self) -> &ActivityTracker {
        &self.uses
    }

    /// The sessions that two holders contest.
    pub(crate) const fn contested(&self) -> &ContestedSessions {
        &self.contested
    }

    /// The authority's own state.
    pub fn system(&self) -> arc_swap::Guard<Arc<SystemView>> {
        self.system.load()
    }

    /// The last position that every answer reflects.
    pub fn position(&self) -> Position {
        *self.position.borrow()
    }

    /// Watches every move of the position.
    pub fn positions(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }

    /// When the last event was recorded.
    pub fn recorded_at(&self) -> Timestamp {
        Timestamp::from_millis(self.recorded_at.load(Ordering::Acquire).cast_signed())
    }

    /// The longest period of all sessions that it has seen: how long a token that was ever sealed can work.
    pub fn longest_ttl(&self) -> Seconds {
        Seconds(self.longest_ttl.load(Ordering::Acquire))
    }

    pub(crate) fn publish_subject(&self, subject: Arc<Subject>) {
        let before = self.subjects.get(&subject.id);
        let known = before.as_ref().map_or(&[][..], |before| &before.sessions[..]);
        let after = Arc::clone(&subject);
        let changed: Vec<_> = changed_sessions(known, &after.sessions).collect();
        for (changed, _) in &changed {
            self.longest_ttl.fetch_max(changed.terms.ttl.0, Ordering::AcqRel);
        }
        self.suspended.publish(&subject);
        self.subjects.put(subject, |number| {
            let new = changed.iter().filter(|(_, is_new)| *is_new);
            new.for_each(|(session, _)| self.sessions.add(session.id, number));
        });
        // A use noted of a session that others still take for a live one would be forgotten by nobody.
        for (changed, _) in changed {
            self.uses.forget_ended(changed);
            self.contested.note(changed);
        }
    }

    pub(crate) fn publish_system(&self, system: Arc<SystemState>) {
        self.system.store(Arc::new(SystemView::new(system)));
    }

    /// Publishes bulk revocations: from now on every look is shown what they say.
    pub(crate) fn publish_bulks(&self, bulks: &[BulkRevocation]) {
        let mut unsettled = self.unsettled.load().as_ref().clone();
        unsettled.extend_from_slice(bulks);
        self.set_unsettled(unsettled);
    }

    /// The bulk revocations not settled everywhere, in the order of their positions.
    pub(crate) fn unsettled_bulks(&self) -> Arc<Vec<BulkRevocation>> {
        self.unsettled.load_full()
    }

    /// Those up to this position are written into every session now.
    pub(crate) fn settled_up_to(&self, position: Position) {
        let left = self.unsettled.load().iter().filter(|bulk| bulk.position > position).cloned().collect();
        self.set_unsettled(left);
    }

    fn set_unsettled(&self, bulks: Vec<BulkRevocation>) {
        let is_unsettled = !bulks.is_empty();
        self.unsettled.store(Arc::new(bulks));
        self.is_unsettled.store(is_unsettled, Ordering::Release);
    }

    /// Writes into a subject what these bulk revocations say of it.
    pub(crate) fn settle(&self, id: &SubjectId, bulks: &[BulkRevocation]) {
        let Some(subject) = self.subjects.get(id) else { return };
        let after = settled(bulks, Arc::clone(&subject));
        if !Arc::ptr_eq(&subject, &after) {
            self.publish_subject(after);
        }
    }

    /// The subjects of one of the parts that the state is kept in; `None` beyond the last part.
    pub(crate) fn part(&self, number: usize) -> Option<Vec<SubjectId>> {
        self.subjects.part(number)
    }

    pub(crate) fn publish_position(&self, position: Position, recorded_at: Timestamp) {
        self.note_time(recorded_at);
        self.position.send_replace(position);
    }

    fn note_time(&self, recorded_at: Timestamp) {
        self.recorded_at.store(recorded_at.as_millis().cast_unsigned(), Ordering::Release);
    }
}

/// The bulk revocations that a reader has to apply; mostly none.
struct PendingBulks(Option<Arc<Vec<BulkRevocation>>>);

impl Deref for PendingBulks {
    type Target = [BulkRevocation];
    fn deref(&self) -> &[BulkRevocation] {
        self.0.as_ref().map_or(&[], |bulks| bulks.as_slice())
    }
}

/// The subject, with what these bulk revocations say of it written into its sessions.
pub(crate) fn settled(bulks: &[BulkRevocation], mut subject: Arc<Subject>) -> Arc<Subject> {
    if !bulks.is_empty() && bulk::is_unsettled(bulks, &subject) {
        bulk::settle(bulks, Arc::make_mut(&mut subject));
    }
    subject
}

/// Published subjects that a walk passes over, known by their address: the walk need not look at the name of each
/// subject, which would be one more wait for memory.
///
/// An address means the same subject as long as two things hold. No noted subject is replaced during the walk: only
/// the sequencer publishes subjects, and it waits for this walk. And no other subject takes an address of theirs:
/// they are held here until the walk is over.
struct SkippedSubjects {
    places: HashSet<usize>,
    _held: Vec<Arc<Subject>>,
}

impl SkippedSubjects {
    fn of(subjects: Vec<Arc<Subject>>) -> Self {
        Self { places: subjects.iter().map(place).collect(), _held: subjects }
    }

    fn contains(&self, subject: &Arc<Subject>) -> bool {
        !self.places.is_empty() && self.places.contains(&place(subject))
    }
}

fn place(subject: &Arc<Subject>) -> usize {
    Arc::as_ptr(subject).addr()
}

/// A session with what these bulk revocations say of it.
fn ended_by(bulks: &[BulkRevocation], session: SharedSession) -> SharedSession {
    let end = session.holder().and_then(|subject| bulk::end_of(bulks, subject, &session));
    match end {
        Some(end) => end.applied_to(&session).into(),
        None => session,
    }
}

/// The sessions of `after` that are not the same in `before`, and whether there was none. Both are ordered by id.
fn changed_sessions<'a>(
    before: &'a [Session],
    after: &'a [Session],
) -> impl Iterator<Item = (&'a Session, bool)> {
    let mut old = before.iter().peekable();
    after.iter().filter_map(move |session| {
        while old.next_if(|old| old.id < session.id).is_some() {}
        match old.next_if(|old| old.id == session.id) {
            Some(old) if old.is_unchanged_in(session) => None,
            Some(_) => Some((session, false)),
            None => Some((session, true)),
        }
    })
}
