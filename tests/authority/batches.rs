//! Who waits for a batch waits for all of it: so none takes long, and what is urgent does not wait for the next one.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use tenure::{
    authority::{Authority, DiskRoom, GrantedSession, NewSession, RevocationRequest},
    clock::{Clock, pause, stopwatch},
    core::{Event, Position, SubjectEvent, Timestamp, command::Revoker},
    log::EventLog,
};

use crate::{
    faults::FaultyLog,
    world::{World, context, world_by},
};

/// So many creates wait when the batch begins.
const CREATES: usize = 300;
/// At this decision of the batch the sequencer is stopped.
const STOP_AT: usize = 3;

/// A clock that stops the sequencer when it has looked at the time often enough: once for each decision.
struct StoppingClock {
    inner: Arc<dyn Clock>,
    /// So many looks are left until then; 0 is never.
    left: AtomicUsize,
    /// Says that it stands, and waits until it may go on.
    stop: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>,
}

impl Clock for StoppingClock {
    fn now(&self) -> Timestamp {
        let looks = |left: usize| left.checked_sub(1);
        if thread::current().name() == Some("tenure-sequencer")
            && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, looks) == Ok(1)
            && let Some((stands, go_on)) = self.stop.lock().take()
        {
            stands.send(()).unwrap();
            go_on.recv().unwrap();
        }
        self.inner.now()
    }
}

/// A batch of creates that stands at its third decision.
struct Standing {
    world: World,
    log: Arc<FaultyLog>,
    creates: Vec<tokio::task::JoinHandle<GrantedSession>>,
    /// Lets it go on.
    go_on: mpsc::Sender<()>,
}

async fn create(authority: &Authority, subject: &str) -> GrantedSession {
    authority.create_session(context(), NewSession::of(subject.parse().unwrap())).await.unwrap()
}

async fn standing() -> (Standing, GrantedSession) {
    let log = Arc::new(FaultyLog::default());
    let mut clock = Weak::<StoppingClock>::new();
    let world = world_by(Arc::clone(&log) as Arc<dyn EventLog>, 7, DiskRoom::unlimited(), |inner| {
        let stopping = Arc::new(StoppingClock { inner, left: AtomicUsize::new(0), stop: Mutex::default() });
        clock = Arc::downgrade(&stopping);
        stopping
    });
    let victim = create(&world.authority, "victim").await;
    // A first create is held at the disk, so that all others are in the next batch.
    let open = log.hold();
    let spawn = |number: usize| {
        let authority = Arc::clone(&world.authority);
        tokio::spawn(async move { create(&authority, &format!("agent-{number}")).await })
    };
    let mut creates = vec![spawn(0)];
    while !log.is_held() {
        tokio::task::yield_now().await;
    }
    creates.extend((1..=CREATES).map(spawn));
    while world.authority.waiting() < CREATES {
        tokio::task::yield_now().await;
    }
    let ((stands, is_standing), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
    let clock = clock.upgrade().unwrap();
    *clock.stop.lock() = Some((stands, may_go_on));
    clock.left.store(STOP_AT, Ordering::SeqCst);
    drop(open);
    is_standing.recv().unwrap();
    (Standing { world, log, creates, go_on }, victim)
}

impl Standing {
    /// What became of it: how many sessions were created before this event, and how many after it.
    async fn creates_around(self, is_it: impl Fn(&SubjectEvent) -> bool) -> (usize, usize) {
        for create in self.creates {
            create.await.unwrap();
        }
        let commits = self.log.read(Position(0), usize::MAX).unwrap();
        let events = commits.iter().flat_map(|stored| &stored.commit.events);
        let subjects = events.filter_map(|event| match event {
            Event::Subject(event) => Some(event),
            Event::System(_) => None,
        });
        let relevant =
            |event: &&SubjectEvent| is_it(event) || matches!(event, SubjectEvent::SessionCreated(_));
        let relevant: Vec<_> = subjects.filter(relevant).collect();
        let index = relevant.iter().position(|event| is_it(event)).expect("it was recorded");
        (index, relevant.len() - index - 1)
    }
}

/// A batch of creates on subjects with thousands of sessions took 300 ms, and a revocation that came when it had begun
/// waited for all of it.
#[tokio::test]
async fn a_revocation_that_comes_while_a_batch_is_decided_goes_before_the_rest_of_it() {
    let (standing, victim) = standing().await;
    let authority = Arc::clone(&standing.world.authority);
    let waiting = authority.waiting();
    let asked = RevocationRequest {
        session_id: victim.session.id,
        by: Revoker::Admin,
        reject_renewal: None,
        reason: None,
    };
    let revoked = tokio::spawn({
        let authority = Arc::clone(&authority);
        async move { authority.revoke(context(), asked).await }
    });
    while authority.waiting() == waiting {
        tokio::task::yield_now().await;
    }
    standing.go_on.send(()).unwrap();
    revoked.await.unwrap().unwrap();
    let (_, after) = standing.creates_around(|event| matches!(event, SubjectEvent::SessionRevoked(_))).await;
    assert!(after > CREATES / 2, "only {after} creates were decided after the revocation");
}

#[tokio::test]
async fn a_batch_that_takes_long_to_decide_is_made_durable_before_the_rest_is_decided() {
    let (standing, _) = standing().await;
    let before = standing.log.appends();
    tokio::time::sleep(Duration::from_millis(20)).await;
    standing.go_on.send(()).unwrap();
    let log = Arc::clone(&standing.log);
    standing.creates_around(|event| matches!(event, SubjectEvent::SessionCreated(_))).await;
    assert!(log.appends() >= before + 2, "all was one batch");
}

/// The disk was asked for its room within the time for deciding: where it took as long to say, nothing was ever decided.
#[tokio::test]
async fn a_disk_that_is_slow_to_say_what_is_free_keeps_nobody_waiting_for_ever() {
    let slow = DiskRoom::new(
        Arc::new(|| {
            pause(Duration::from_millis(8));
            Ok(u64::MAX)
        }),
        1,
    );
    let world = world_by(Arc::new(FaultyLog::default()), 7, slow, |clock| clock);
    let created = create(&world.authority, "agent");
    tokio::time::timeout(Duration::from_secs(20), created).await.expect("it is decided");
}

/// Those that were taken first were put behind those that came after them, batch for batch, for as long as there were
/// more than a batch holds.
#[tokio::test]
async fn among_what_is_urgent_the_first_comes_first() {
    const URGENT: usize = 1_200;
    let log = Arc::new(FaultyLog::default());
    let world = world_by(Arc::clone(&log) as Arc<dyn EventLog>, 7, DiskRoom::unlimited(), |clock| clock);
    let session_id = create(&world.authority, "agent").await.session.id;
    let revoke = || {
        let authority = Arc::clone(&world.authority);
        let asked = RevocationRequest { session_id, by: Revoker::Admin, reject_renewal: None, reason: None };
        async move { authority.revoke(context(), asked).await.unwrap() }
    };
    revoke().await;
    let open = log.hold();
    let authority = Arc::clone(&world.authority);
    let held = tokio::spawn(async move { create(&authority, "another").await });
    while !log.is_held() {
        tokio::task::yield_now().await;
    }
    let answered = Arc::new(Mutex::new(Vec::new()));
    let waiting: Vec<_> = (0..URGENT)
        .map(|number| {
            let (again, answered) = (revoke(), Arc::clone(&answered));
            tokio::spawn(async move {
                again.await;
                answered.lock().push(number);
            })
        })
        .collect();
    while world.authority.waiting() < URGENT {
        tokio::task::yield_now().await;
    }
    drop(open);
    held.await.unwrap();
    for task in waiting {
        task.await.unwrap();
    }
    let answered = answered.lock();
    assert!(answered.is_sorted(), "the first was {}", answered[0]);
}

/// Under overload each batch was as large as it may be, and who ended a session waited for two of them.
#[tokio::test]
async fn while_ends_come_batches_are_small() {
    const WAITING: usize = 300;
    let log = Arc::new(FaultyLog::default());
    let world = world_by(Arc::clone(&log) as Arc<dyn EventLog>, 7, DiskRoom::unlimited(), |clock| clock);
    let victim = create(&world.authority, "victim").await;
    let revoke = || {
        let (authority, session_id) = (Arc::clone(&world.authority), victim.session.id);
        let asked = RevocationRequest { session_id, by: Revoker::Admin, reject_renewal: None, reason: None };
        tokio::spawn(async move { authority.revoke(context(), asked).await.unwrap() })
    };
    let open = log.hold();
    let spawn = |number: usize| {
        let authority = Arc::clone(&world.authority);
        tokio::spawn(async move { create(&authority, &format!("agent-{number}")).await })
    };
    let mut creates = vec![spawn(0)];
    while !log.is_held() {
        tokio::task::yield_now().await;
    }
    creates.extend((1..=WAITING).map(spawn));
    let revoked = revoke();
    while world.authority.waiting() <= WAITING {
        tokio::task::yield_now().await;
    }
    log.take_sizes();
    let begun = stopwatch();
    drop(open);
    for create in creates {
        create.await.unwrap();
    }
    revoked.await.unwrap();
    let sizes = log.take_sizes();
    assert_eq!(sizes.iter().sum::<usize>(), 2 + WAITING);
    // Of the batches behind that of the end none is expected to be small when a second has passed.
    let with_the_end = sizes.iter().position(|size| *size > 1).unwrap();
    let small = if begun.elapsed() < Duration::from_secs(1) { sizes.len() } else { with_the_end + 1 };
    assert!(sizes[..small].iter().all(|size| *size <= 64), "{sizes:?}");
}
