//! Readers that sleep until what they follow has happened: one subject's being served, or the ends of all sessions.
//! A fleet that renews wakes none of them, so that ten thousand of them cost little more than their connections.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::watch;

use tenure_core::{Event, EventKind, KindSet, StreamId, SubjectId};
use tenure_log::StoredCommit;

/// What verifiers follow.
const ENDS: KindSet = KindSet::of(&[
    EventKind::SessionRevoked,
    EventKind::SessionsRevoked,
    EventKind::SelectionRevoked,
    EventKind::SubjectSuspended,
    EventKind::KeyRotated,
]);

/// What holders of sessions of a subject follow.
const OF_A_SUBJECT: KindSet = KindSet::of(&[
    EventKind::SessionRevoked,
    EventKind::SessionsRevoked,
    EventKind::SessionExpired,
    EventKind::SubjectSuspended,
    EventKind::SubjectResumed,
]);

/// What the authority itself does to sessions: whose they are, each reader looks up for itself.
const OF_ALL_SUBJECTS: KindSet = KindSet::of(&[EventKind::SelectionRevoked, EventKind::KeyRotated]);

/// What a reader follows.
#[derive(Clone, Debug)]
pub enum WatchTarget {
    /// Every end of sessions before their time, every suspension, and the keys of tokens.
    Ends,
    /// The ends of a subject's sessions, its suspensions and resumptions.
    Subject(SubjectId),
}

/// Who follows what.
#[derive(Default)]
pub(super) struct WatchedEnds {
    count: AtomicUsize,
    bells: Mutex<WakeTable>,
}

#[derive(Default)]
struct WakeTable {
    ends: WakeSignal,
    subjects: HashMap<SubjectId, WakeSignal>,
    is_closed: bool,
}

/// It rings for all listeners; how often it has rung is unknown.
struct WakeSignal(watch::Sender<()>);

impl Default for WakeSignal {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

/// A reader's sleep.
pub struct EndWatcher {
    watched: Arc<WatchedEnds>,
    followed: WatchTarget,
    rung: watch::Receiver<()>,
}

impl WatchedEnds {
    pub(super) fn watch(self: &Arc<Self>, followed: WatchTarget) -> EndWatcher {
        self.count.fetch_add(1, Ordering::SeqCst);
        let rung = self.bells.lock().bell_of(&followed);
        EndWatcher { watched: Arc::clone(self), followed, rung }
    }

    /// Whether there is any follower to wake.
    pub(super) fn is_any(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    /// Wakes the followers of these commits.
    pub(super) fn wake<'a>(&self, commits: impl Iterator<Item = &'a StoredCommit>) {
        if self.is_any() {
            let bells = self.bells.lock();
            for stored in commits {
                bells.ring_for(stored);
            }
        }
    }

    /// Wakes all followers and ends their waiting: nothing will happen any more.
    pub(super) fn close(&self) {
        *self.bells.lock() = WakeTable { is_closed: true, ..WakeTable::default() };
    }
}

impl WakeTable {
    fn bell_of(&mut self, followed: &WatchTarget) -> watch::Receiver<()> {
        if self.is_closed {
            return WakeSignal::default().0.subscribe();
        }
        match followed {
            WatchTarget::Ends => self.ends.0.subscribe(),
            WatchTarget::Subject(id) => self.subjects.entry(id.clone()).or_default().0.subscribe(),
        }
    }

    fn ring_for(&self, stored: &StoredCommit) {
        let kinds: KindSet = stored.commit.events.iter().map(Event::kind).collect();
        if kinds.meets(ENDS) {
            self.ends.0.send_replace(());
        }
        match &stored.commit.stream {
            StreamId::Subject(id) if kinds.meets(OF_A_SUBJECT) => {
                if let Some(bell) = self.subjects.get(id) {
                    bell.0.send_replace(());
                }
            }
            StreamId::System if kinds.meets(OF_ALL_SUBJECTS) => {
                for bell in self.subjects.values() {
                    bell.0.send_replace(());
                }
            }
            StreamId::Subject(_) | StreamId::System => {}
        }
    }
}

impl EndWatcher {
    /// Waits until something has happened since the last wait; `None` if nothing will happen any more.
    ///
    /// Dropping the future loses nothing.
    pub async fn woken(&mut self) -> Option<()> {
        self.rung.changed().await.ok()
    }
}

impl Drop for EndWatcher {
    fn drop(&mut self) {
        self.watched.count.fetch_sub(1, Ordering::SeqCst);
        let WatchTarget::Subject(id) = &self.followed else { return };
        let mut bells = self.watched.bells.lock();
        // This one is still among those who hear it.
        if bells.subjects.get(id).is_some_and(|bell| bell.0.receiver_count() <= 1) {
            bells.subjects.remove(id);
        }
    }
}
