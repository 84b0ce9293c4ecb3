//! What callers are told when the log fails, hangs or is too slow. Nobody hears yes for what is not on disk.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use parking_lot::Mutex;
use tenure::{
    authority::{Authority, CommandError, GrantedSession, NewSession, RevocationRequest},
    core::{Position, command::Revoker},
    log::{AppendOutcome, EncodedCommit, EventLog, LogError, LogHead, MemoryLog, StoredBytes, StoredCommit},
};

use crate::world::{World, context, world};

/// A log that can be told to lose its disk, or to wait before each write.
#[derive(Default)]
pub(crate) struct FaultyLog {
    inner: MemoryLog,
    loses_disk: AtomicBool,
    appends: AtomicUsize,
    sizes: Mutex<Vec<usize>>,
    reads: AtomicUsize,
    gate: Mutex<Option<mpsc::Receiver<()>>>,
}

impl FaultyLog {
    /// From now on each write waits until what this gives is dropped.
    pub(crate) fn hold(&self) -> mpsc::Sender<()> {
        let (open, gate) = mpsc::channel();
        *self.gate.lock() = Some(gate);
        open
    }

    /// How many writes there were.
    pub(crate) fn appends(&self) -> usize {
        self.appends.load(Ordering::SeqCst)
    }

    /// How many commits each write held, since this was asked last.
    pub(crate) fn take_sizes(&self) -> Vec<usize> {
        std::mem::take(&mut self.sizes.lock())
    }

    /// How many commits were read, since this was asked last.
    pub(crate) fn take_reads(&self) -> usize {
        self.reads.swap(0, Ordering::SeqCst)
    }

    /// Whether a write is waiting.
    pub(crate) fn is_held(&self) -> bool {
        self.gate.try_lock().is_none()
    }
}

impl EventLog for FaultyLog {
    fn append(&self, after: Position, batch: Vec<EncodedCommit>) -> Result<AppendOutcome, LogError> {
        if let Some(gate) = &*self.gate.lock() {
            // An error means that the test has opened the gate for good.
            assert!(gate.recv().is_err());
        }
        if self.loses_disk.load(Ordering::SeqCst) {
            return Ok(AppendOutcome::Unknown);
        }
        self.appends.fetch_add(1, Ordering::SeqCst);
        self.sizes.lock().push(batch.len());
        self.inner.append(after, batch)
    }
    fn head(&self) -> LogHead {
        self.inner.head()
    }
    fn read(&self, after: Position, max_events: usize) -> Result<Vec<StoredCommit>, LogError> {
        let read = self.inner.read(after, max_events)?;
        self.reads.fetch_add(read.len(), Ordering::SeqCst);
        Ok(read)
    }
    fn read_bytes(&self, after: Position, max_events: usize) -> Result<Vec<StoredBytes>, LogError> {
        self.inner.read_bytes(after, max_events)
    }
    fn stopped(&self) -> Option<String> {
        self.loses_disk.load(Ordering::SeqCst).then(|| "the disk is gone".to_owned())
    }
}

pub(crate) fn faulty() -> (Arc<FaultyLog>, World) {
    let log = Arc::new(FaultyLog::default());
    let world = world(Arc::clone(&log) as Arc<dyn EventLog>, 7);
    (log, world)
}

async fn create(authority: &Authority, subject: &str) -> Result<GrantedSession, CommandError> {
    let new = NewSession::of(subject.parse().unwrap());
    authority.create_session(context(), new).await
}

#[tokio::test]
async fn after_a_commit_of_unknown_fate_nothing_is_written_and_reads_go_on() {
    let (log, world) = faulty();
    let authority = &world.authority;
    let granted = create(authority, "agent").await.unwrap();
    let position = authority.live().position();

    log.loses_disk.store(true, Ordering::SeqCst);
    assert_eq!(create(authority, "agent").await.unwrap_err(), CommandError::OutcomeUnknown);
    // Even when the disk comes back: who knows what it holds.
    log.loses_disk.store(false, Ordering::SeqCst);
    let refused = create(authority, "agent").await.unwrap_err();
    assert_eq!(refused, CommandError::StorageUnavailable { why: "the disk is gone".into() });

    assert_eq!(authority.live().position(), position, "nothing that is not durable is visible");
    assert!(authority.introspect(granted.token.expose()).is_ok());
    assert!(authority.health().stopped().is_some());
}

/// It must not look ready, nor write a snapshot at its stop.
#[tokio::test]
async fn a_death_in_the_middle_of_a_batch_is_no_secret() {
    let (log, world) = faulty();
    let (panic, gate) = mpsc::channel();
    *log.gate.lock() = Some(gate);
    panic.send(()).unwrap();
    assert_eq!(create(&world.authority, "agent").await.unwrap_err(), CommandError::OutcomeUnknown);
    // The caller hears of it first.
    let stopped = async {
        loop {
            match world.authority.health().stopped() {
                Some(why) => return why,
                None => tokio::task::yield_now().await,
            }
        }
    };
    let why = tokio::time::timeout(Duration::from_secs(10), stopped).await.unwrap();
    assert_eq!(
        create(&world.authority, "agent").await.unwrap_err(),
        CommandError::StorageUnavailable { why }
    );
}

#[tokio::test]
async fn commands_that_wait_for_the_disk_are_made_durable_together() {
    let (log, world) = faulty();
    let (open, gate) = mpsc::channel();
    *log.gate.lock() = Some(gate);
    let waiting: Vec<_> = (0..100)
        .map(|number| {
            let authority = Arc::clone(&world.authority);
            tokio::spawn(async move { create(&authority, &format!("agent-{number}")).await })
        })
        .collect();
    // The first batch may have taken any number of them already; the others all get the time to arrive.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    let before = log.appends.load(Ordering::SeqCst);
    drop(open);
    for task in waiting {
        task.await.unwrap().unwrap();
    }
    let appends = log.appends.load(Ordering::SeqCst) - before;
    assert!(appends <= 11, "100 commands took {appends} writes");
}

#[tokio::test]
async fn a_full_queue_says_so_at_once_and_still_lets_a_revocation_in() {
    let (log, world) = faulty();
    let granted = create(&world.authority, "victim").await.unwrap();
    let (open, gate) = mpsc::channel();
    *log.gate.lock() = Some(gate);
    let waiting: Vec<_> = (0..10_000)
        .map(|number| {
            let authority = Arc::clone(&world.authority);
            tokio::spawn(async move { create(&authority, &format!("agent-{number}")).await })
        })
        .collect();
    while world.authority.waiting() < 8_192 {
        tokio::task::yield_now().await;
    }
    assert_eq!(create(&world.authority, "one-more").await.unwrap_err(), CommandError::Overloaded);
    let authority = Arc::clone(&world.authority);
    let asked = RevocationRequest {
        session_id: granted.session.id,
        by: Revoker::Admin,
        reject_renewal: None,
        reason: None,
    };
    let revocation = tokio::spawn(async move { authority.revoke(context(), asked).await });
    while world.authority.waiting() < 8_193 {
        tokio::task::yield_now().await;
    }
    drop(open);
    assert!(revocation.await.unwrap().is_ok());
    let mut refused = 0;
    for task in waiting {
        match task.await.unwrap() {
            Ok(_) => {}
            Err(CommandError::Overloaded) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(refused > 0 && refused < 2_000, "{refused} of 10 000 were told to come back");
    assert!(authority_is_well(&world));
}

fn authority_is_well(world: &World) -> bool {
    world.authority.health().stopped().is_none() && world.authority.waiting() == 0
}
