//! The thread of an open node that goes through the steps of [`ClusterMember`], and opens or closes the authority as each
//! of them says.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tenure_core::{Event, SystemEvent, Timestamp};
use tenure_log::{
    OpenError, StoredCommit,
    jetstream::{ClusterMember, Leadership, MemberStep},
};
use tenure_protocol::clock::{Clock, TestClock, pause, stopwatch};
use tenure_threads::worker::{StopSignal, WorkerThread};

use super::{
    cluster::{MembershipView, NodeRole, SharedLog},
    no_keys::NoKeys,
};
use crate::authority::Authority;

/// How often a leader looks whether it is one, and whether it is to give the lead away.
const LOOK: Duration = Duration::from_millis(20);
/// How often changes of keys are looked for that no event came with.
const KEYS_EVERY: Duration = Duration::from_secs(1);
/// How long requests in flight have before the lead is given away.
const REQUESTS_PATIENCE: Duration = Duration::from_millis(300);
/// How long to wait for a key that an event needs.
const KEY_PATIENCE: Duration = Duration::from_secs(5);

/// What it works with.
struct MembershipJob {
    shared: Arc<SharedLog>,
    authority: Arc<Authority>,
    clock: Option<Arc<TestClock>>,
    stop: Arc<StopSignal>,
    keys_looked_at: Instant,
}

/// Begins.
///
/// # Errors
/// The system gives no thread.
pub(super) fn start(
    member: ClusterMember,
    shared: Arc<SharedLog>,
    authority: Arc<Authority>,
    clock: Option<Arc<TestClock>>,
) -> std::io::Result<WorkerThread> {
    let stop = Arc::new(StopSignal::default());
    let duty =
        MembershipJob { shared, authority, clock, stop: Arc::clone(&stop), keys_looked_at: stopwatch() };
    WorkerThread::with(stop, "tenure-member", move |_| duty.run(member))
}

impl MembershipJob {
    fn run(mut self, mut member: ClusterMember) {
        while !self.stop.is_over() {
            let turn = match member.log().leadership() {
                Some(leadership) => self.lead(&mut member, &leadership),
                None => self.follow(&mut member),
            };
            if let Err(why) = turn {
                tracing::error!(why, "this node can take part in the cluster no more");
                drop(self.authority.retire());
                self.shared.show(MembershipView { role: NodeRole::Over(why), ..MembershipView::of(&member) });
                return;
            }
        }
    }

    /// Follows for a moment, or begins to lead.
    fn follow(&mut self, member: &mut ClusterMember) -> Result<(), String> {
        // There is nothing to give away, and nothing to be held for it.
        self.shared.is_given_away();
        let lacks_room = self.authority.disk_room().fault().is_some();
        member.hesitates(self.shared.difference().is_some() || lacks_room);
        let (shared, authority) = (Arc::clone(&self.shared), Arc::clone(&self.authority));
        let step = member.step(&mut |commits| {
            self.is_at_least(commits.last().map(|stored| stored.commit.recorded_at));
            publish(&shared, &authority, commits)
        });
        self.is_at_least(member.sight().clock());
        match step.map_err(|error: OpenError| error.to_string())? {
            MemberStep::Follows => {
                self.look_after_keys(SharedLog::pull_keys);
                self.authority.catch_up_with_keys();
            }
            MemberStep::Leads => self.begin_to_lead(member)?,
        }
        self.shared.show(MembershipView::of(member));
        Ok(())
    }

    /// No node decides by an earlier time than it has seen, where it is a test that moves the clock.
    fn is_at_least(&self, seen: Option<Timestamp>) {
        if let (Some(clock), Some(seen)) = (&self.clock, seen) {
            // It is there already, or beyond.
            let _ = clock.set(seen);
        }
    }

    fn begin_to_lead(&self, member: &ClusterMember) -> Result<(), String> {
        let begun = stopwatch();
        let term = member.log().term().unwrap_or(0);
        self.keys(|shared| shared.lead_keys(term))?;
        self.authority.catch_up_with_keys();
        if let Err(failure) = self.authority.lead() {
            // It may have been deposed again; the next look says so.
            tracing::warn!(%failure, "this node has the lead, and could not record that it begins");
        }
        let position = self.authority.live().position();
        tracing::info!(term, %position, after = ?begun.elapsed(), "this node leads");
        Ok(())
    }

    /// Leads until the lead is lost or given away, or for a moment.
    fn lead(&mut self, member: &mut ClusterMember, leadership: &Leadership) -> Result<(), String> {
        if let Some(clock) = &self.clock {
            leadership.shows(clock.now());
        }
        let is_lost = leadership.is_lost_within(LOOK);
        let is_given_away = self.shared.is_given_away();
        if !is_lost && !is_given_away {
            self.look_after_keys(|shared| {
                shared.bring_keys();
                Ok(())
            });
            return Ok(());
        }
        if let Some(why) = member.log().broken() {
            return Err(why);
        }
        self.end_to_lead(member, is_given_away && !is_lost)
    }

    fn end_to_lead(&self, member: &mut ClusterMember, is_given_away: bool) -> Result<(), String> {
        let begun = stopwatch();
        while is_given_away
            && self.shared.deciding().load(Ordering::Acquire) > 0
            && begun.elapsed() < REQUESTS_PATIENCE
        {
            pause(Duration::from_millis(1));
        }
        self.authority.retire()?;
        if is_given_away {
            self.shared.bring_keys();
        }
        member.follow(is_given_away);
        tracing::info!(is_given_away, "this node leads no more; it follows");
        self.shared.show(MembershipView::of(member));
        self.keys(SharedLog::begin_again_with_keys)
    }

    /// Tries until the broker answers, however long that takes.
    fn keys(&self, work: impl Fn(&SharedLog) -> Result<(), NoKeys>) -> Result<(), String> {
        let begun = stopwatch();
        while let Err(why) = work(&self.shared) {
            let is_lasting = !why.passes() && begun.elapsed() >= 3 * KEY_PATIENCE;
            if is_lasting || self.stop.is_over() {
                return Err(why.to_string());
            }
            tracing::warn!(%why, "the keys are not the broker's yet");
            pause(Duration::from_millis(200));
        }
        Ok(())
    }

    fn look_after_keys(&mut self, look: impl Fn(&SharedLog) -> Result<(), NoKeys>) {
        if self.keys_looked_at.elapsed() < KEYS_EVERY {
            return;
        }
        if let Err(why) = look(&self.shared) {
            tracing::warn!(%why, "keys are not the same here and at the broker yet");
        }
        self.keys_looked_at = stopwatch();
    }
}

/// Publishes what the leader has recorded, with the keys that it needs.
fn publish(shared: &SharedLog, authority: &Authority, commits: Vec<StoredCommit>) -> Result<(), String> {
    let begun = stopwatch();
    while commits.iter().any(|stored| may_need_key(authority, stored)) {
        match shared.pull_keys() {
            Ok(()) => break,
            Err(why) if begun.elapsed() >= KEY_PATIENCE => {
                tracing::error!(%why, "keys of what was recorded are not here yet");
                break;
            }
            Err(_) => pause(Duration::from_millis(50)),
        }
    }
    authority.publish(commits.into_iter().map(Arc::new).collect())
}

/// Whether a commit may need a key not here yet: the leader had it with the broker before.
fn may_need_key(authority: &Authority, stored: &StoredCommit) -> bool {
    let rotates = |event: &Event| {
        matches!(event, Event::System(SystemEvent::KeyRotated(_) | SystemEvent::EpochBegan(_)))
    };
    match &stored.commit.stream {
        tenure_core::StreamId::System => stored.commit.events.iter().any(rotates),
        tenure_core::StreamId::Subject(_) => authority.texts().get(&stored.commit.stream).is_none(),
    }
}
