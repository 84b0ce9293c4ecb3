//! History, then live: every commit from a position on, in order, each once.
//!
//! `async-broadcast` is the wake-up and the short cut; the log is the truth. Whatever the channel dropped, a
//! [`EventCursor`] reads again from the log, so a slow reader loses nothing, holds nothing back and keeps nothing in
//! memory but the page that it stands in.
//!
//! ```text
//!   sequencer ──► gathering ──► (a thread, every few milliseconds) ──► channel of a group ──► cursors
//!                                                         log ──────────────────────────────────┘  what they missed
//! ```
//!
//! Waking a thousand readers costs time that no caller should wait for, so the sequencer only leaves its commits
//! and a thread of the feed's own passes them on, every few milliseconds at most, and the less often the more readers
//! there are; to one group of them after the other, so that calls find their turn in between.

use std::{
    borrow::Cow,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use async_broadcast::{InactiveReceiver, Receiver, RecvError, Sender};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Semaphore;

use tenure_core::{Event, KindSet, Position, StreamId, SubjectId, subject::Subject};
use tenure_log::{EventLog, LogError, StoredCommit, waiting_for_disk};
use tenure_protocol::clock;
use tenure_threads::panics::PanicWatch;

use super::{
    notice::Notice,
    notices::{NoticeContext, notices_of},
    watchers::{EndWatcher, WatchTarget, WatchedEnds},
};

/// Live commits are passed on together if they follow each other faster than this for each reader: many readers then
/// share the cost of being woken and written to, and callers keep the processors.
const GATHER_FOR_EACH: Duration = Duration::from_micros(30);
/// And faster than this, however few the readers.
const GATHER_LEAST: Duration = Duration::from_millis(4);
/// No reader waits longer for a commit to be passed on, however many there are.
const GATHER_MOST: Duration = Duration::from_millis(30);
/// Maximum number of groups of readers.
const GROUPS: usize = 8;
/// How many readers a group has before another one is begun; with all groups in use, it takes more.
const GROUP: usize = 125;
/// How many batches wait for a reader that lags behind; it reads dropped ones from the log.
const CHANNEL: usize = 64;
/// Events per read of the log. A reader that stops reading keeps this number in memory.
const PAGE: usize = 32;
/// Readers that read from the log at once; the others wait, so that callers keep the disk and the processors.
const READING: usize = 4;

/// The one source of events for all subscribers.
pub struct EventFeed {
    shared: Arc<FeedInner>,
    dispatcher: Mutex<Option<JoinHandle<()>>>,
}

struct FeedInner {
    log: Arc<dyn EventLog>,
    /// The last position that readers may see: durable, and known to the state that answers.
    published: AtomicU64,
    gathered: Mutex<GatheredCommits>,
    wake: Condvar,
    groups: [WakeGroup; GROUPS],
    reading: Semaphore,
    watched: Arc<WatchedEnds>,
    watch: PanicWatch,
}

/// Readers woken at the same moment.
struct WakeGroup {
    sender: Sender<Arc<CommitBatch>>,
    live: InactiveReceiver<Arc<CommitBatch>>,
}

impl WakeGroup {
    fn new() -> Self {
        let (mut sender, receiver) = async_broadcast::broadcast(CHANNEL);
        sender.set_overflow(true);
        sender.set_await_active(false);
        Self { sender, live: receiver.deactivate() }
    }

    fn readers(&self) -> usize {
        self.sender.receiver_count()
    }
}

/// A commit, and what the fold made of its subject. Later the sessions that it is about may have left memory.
struct PublishedCommit {
    stored: Arc<StoredCommit>,
    subject: Option<Arc<Subject>>,
}

#[derive(Default)]
struct GatheredCommits {
    commits: Vec<PublishedCommit>,
    closed: bool,
}

impl EventFeed {
    /// A feed over a log whose events up to its head are published.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(log: Arc<dyn EventLog>) -> std::io::Result<Self> {
        let published = AtomicU64::new(log.head().position.0);
        let gathered = Mutex::new(GatheredCommits::default());
        let reading = Semaphore::new(READING);
        let groups = std::array::from_fn(|_| WakeGroup::new());
        let (wake, watch) = (Condvar::new(), PanicWatch::over("the thread that passes on events"));
        let watched = Arc::default();
        let shared = Arc::new(FeedInner { log, published, gathered, wake, groups, reading, watched, watch });
        let dispatcher = std::thread::Builder::new().name("tenure-feed".into()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.watch.run(|| shared.dispatch());
                shared.end();
            }
        })?;
        Ok(Self { shared, dispatcher: Mutex::new(Some(dispatcher)) })
    }

    /// Passes on what is durable and published, with the subjects as the batch leaves them. Never waits for a reader.
    pub fn publish(
        &self,
        commits: &[Arc<StoredCommit>],
        subject: impl Fn(&SubjectId) -> Option<Arc<Subject>>,
    ) {
        let Some(last) = commits.last() else { return };
        self.shared.published.store(last.last().0, Ordering::SeqCst);
        // A reader that comes right now has its receiver before it looks how far it may read.
        if (self.cursors() > 0 || self.shared.watched.is_any()) && self.alarm().is_none() {
            let published = commits.iter().map(|stored| PublishedCommit {
                subject: match &stored.commit.stream {
                    StreamId::Subject(id) => subject(id),
                    StreamId::System => None,
                },
                stored: Arc::clone(stored),
            });
            self.shared.gathered.lock().commits.extend(published);
            self.shared.wake.notify_one();
        }
    }

    /// The last position that readers see.
    pub fn head(&self) -> Position {
        self.shared.head()
    }

    /// Why live events are no longer passed on; `None` if they are.
    pub fn alarm(&self) -> Option<&str> {
        self.shared.watch.alarm()
    }

    /// Every commit whose last event is after `after`: those of the past first, then each as it happens.
    pub fn subscribe(&self, after: Position) -> EventCursor {
        let live = self.shared.group_to_join().live.activate_cloned();
        EventCursor { shared: Arc::clone(&self.shared), live, position: after, is_behind: true }
    }

    /// Wakes a reader when what it follows has happened; what that was, it looks up.
    pub fn watch(&self, followed: WatchTarget) -> EndWatcher {
        self.shared.watched.watch(followed)
    }

    /// How many subscribe.
    pub fn cursors(&self) -> usize {
        self.shared.readers()
    }

    /// Passes on what was published, and then ends all streams.
    pub fn close(&self) {
        self.shared.gathered.lock().closed = true;
        self.shared.wake.notify_one();
        if let Some(dispatcher) = self.dispatcher.lock().take() {
            // Its panic is an alarm; readers go on from the log when they return.
            drop(dispatcher.join());
        }
    }
}

impl Drop for EventFeed {
    fn drop(&mut self) {
        self.close();
    }
}

impl FeedInner {
    fn head(&self) -> Position {
        Position(self.published.load(Ordering::SeqCst))
    }

    fn readers(&self) -> usize {
        self.groups.iter().map(WakeGroup::readers).sum()
    }

    /// The first with room; the smallest, if all are full.
    fn group_to_join(&self) -> &WakeGroup {
        let free = self.groups.iter().find(|group| group.readers() < GROUP);
        free.or_else(|| self.groups.iter().min_by_key(|group| group.readers())).expect("there are groups")
    }

    /// Gives the groups in turn what has come since their last turn.
    fn dispatch(&self) {
        let mut pending: [Vec<Arc<FeedCommit>>; GROUPS] = Default::default();
        for turn in (0..GROUPS).cycle() {
            let Some(commits) = self.arrived(pending.iter().all(Vec::is_empty)) else { break };
            self.watched.wake(commits.iter().map(|published| &*published.stored));
            let commits: Vec<_> =
                commits.into_iter().map(|one| Arc::new(FeedCommit::published(one))).collect();
            for (group, pending) in self.groups.iter().zip(&mut pending) {
                match group.readers() {
                    // A later reader finds it in the log.
                    0 => pending.clear(),
                    _ => pending.extend_from_slice(&commits),
                }
            }
            let next = std::mem::take(&mut pending[turn]);
            if !next.is_empty() {
                // Only a closed channel is an error, and it is closed below.
                drop(self.groups[turn].sender.try_broadcast(Arc::new(CommitBatch::new(next))));
                clock::pause(self.rest());
            }
        }
    }

    /// Ends the live streams. Also after a panic of the thread: readers must not wait for what never comes.
    fn end(&self) {
        for group in &self.groups {
            group.sender.close();
        }
        self.watched.close();
    }

    /// The commits published since; `None` if there will be no more. If it may wait, at least one commit.
    fn arrived(&self, may_wait: bool) -> Option<Vec<PublishedCommit>> {
        let mut gathered = self.gathered.lock();
        while may_wait && gathered.commits.is_empty() {
            if gathered.closed {
                return None;
            }
            self.wake.wait(&mut gathered);
        }
        Some(std::mem::take(&mut gathered.commits))
    }

    /// How long it rests between two groups.
    fn rest(&self) -> Duration {
        let groups = self.groups.iter().filter(|group| group.readers() > 0).count();
        gather(self.readers()) / u32::try_from(groups).unwrap_or(1).max(1)
    }

    /// The next page of the past; `None` if nothing follows `after`.
    async fn page(&self, after: Position) -> Result<Option<CommitBatch>, LogError> {
        let head = self.head();
        if after >= head {
            return Ok(None);
        }
        let _turn = self.reading.acquire().await.expect("the semaphore is never closed");
        let read = waiting_for_disk(|| self.log.read(after, PAGE))?;
        // What is durable and unpublished follows once it is published.
        let page =
            CommitBatch::of_commits(read.into_iter().filter(|stored| stored.last() <= head).map(Arc::new));
        Ok((!page.commits.is_empty()).then_some(page))
    }
}

/// How long commits are gathered for this number of readers.
fn gather(readers: usize) -> Duration {
    let readers = u32::try_from(readers).unwrap_or(u32::MAX);
    GATHER_FOR_EACH.saturating_mul(readers).clamp(GATHER_LEAST, GATHER_MOST)
}

/// Some commits that follow one another, shared by all who read them.
pub struct CommitBatch {
    commits: Vec<Arc<FeedCommit>>,
    /// The kinds that occur in each of them: side by side, so that a thousand readers find theirs without a look at
    /// the commits that are not for them.
    kinds: Vec<KindSet>,
}

impl CommitBatch {
    fn new(commits: Vec<Arc<FeedCommit>>) -> Self {
        let kinds = commits.iter().map(|commit| commit.kinds).collect();
        Self { commits, kinds }
    }

    fn of_commits(commits: impl IntoIterator<Item = Arc<StoredCommit>>) -> Self {
        Self::new(commits.into_iter().map(|stored| Arc::new(FeedCommit::of(stored))).collect())
    }

    /// The commits, in order.
    pub fn commits(&self) -> &[Arc<FeedCommit>] {
        &self.commits
    }

    /// Its last position.
    pub fn last(&self) -> Position {
        self.commits.last().map_or(Position::ZERO, |commit| commit.stored.last())
    }

    /// Where the first commit is, from this place on, in which one of these kinds occurs.
    pub fn next_of(&self, kinds: KindSet, from: usize) -> Option<usize> {
        let rest = self.kinds.get(from..)?;
        rest.iter().position(|of_one| of_one.meets(kinds)).map(|place| from + place)
    }

    /// Its notices, in order.
    pub fn notices(&self, present: &dyn NoticeContext) -> impl Iterator<Item = Notice> {
        self.commits.iter().flat_map(move |commit| commit.notices(present).into_owned())
    }
}

/// A commit, with what all who read it would derive alike: derived once, by the first who needs it.
pub struct FeedCommit {
    stored: Arc<StoredCommit>,
    /// Its subject as the fold left it when the commit was published; `None` of what was read from the log.
    subject: Option<Arc<Subject>>,
    kinds: KindSet,
    notices: Derived<Vec<Notice>>,
    written_events: Derived<WrittenItems>,
    written_notices: Derived<WrittenItems>,
}

/// What was derived, and after how many erasures: text that was opened before another one is not to be shown.
type Derived<T> = OnceLock<(u64, T)>;

/// What is kept in this place, or, when a text was erased since, what is derived now.
fn derived<'a, T: Clone>(
    place: &'a Derived<T>,
    present: &dyn NoticeContext,
    derive: impl Fn() -> T,
) -> Cow<'a, T> {
    // Asked before anything is opened, so that what an erasure overtakes is not taken for what follows it.
    let erasures = present.erasures();
    let (after, known) = place.get_or_init(|| (erasures, derive()));
    if *after == erasures { Cow::Borrowed(known) } else { Cow::Owned(derive()) }
}

/// Items in order, as they are written for readers.
pub type WrittenItems = Vec<Arc<str>>;

impl FeedCommit {
    /// A commit that was read from the log.
    pub fn of(stored: Arc<StoredCommit>) -> Self {
        Self::published(PublishedCommit { stored, subject: None })
    }

    fn published(PublishedCommit { stored, subject }: PublishedCommit) -> Self {
        Self {
            kinds: stored.commit.events.iter().map(Event::kind).collect(),
            stored,
            subject,
            notices: OnceLock::new(),
            written_events: OnceLock::new(),
            written_notices: OnceLock::new(),
        }
    }

    /// The commit.
    pub fn stored(&self) -> &StoredCommit {
        &self.stored
    }

    /// Its notices.
    pub fn notices(&self, present: &dyn NoticeContext) -> Cow<'_, Vec<Notice>> {
        derived(&self.notices, present, || notices_of(&self.stored, self.subject.as_deref(), present))
    }

    /// Its events as they are written for readers.
    pub fn written_events(
        &self,
        present: &dyn NoticeContext,
        write: impl Fn() -> WrittenItems,
    ) -> Cow<'_, WrittenItems> {
        derived(&self.written_events, present, write)
    }

    /// Its notices as they are written for readers.
    pub fn written_notices(
        &self,
        present: &dyn NoticeContext,
        write: impl Fn() -> WrittenItems,
    ) -> Cow<'_, WrittenItems> {
        derived(&self.written_notices, present, write)
    }
}

/// A reader's place in the feed.
pub struct EventCursor {
    shared: Arc<FeedInner>,
    live: Receiver<Arc<CommitBatch>>,
    /// The last position that was given out.
    position: Position,
    /// Whether there may be commits in the log that the channel will not bring.
    is_behind: bool,
}

impl EventCursor {
    /// The next commits, at least one; `None` if the authority has stopped and all were read.
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn next(&mut self) -> Result<Option<Arc<CommitBatch>>, LogError> {
        loop {
            if self.is_behind {
                match self.shared.page(self.position).await? {
                    Some(page) => return Ok(Some(self.give(Arc::new(page)))),
                    None => self.is_behind = false,
                }
            }
            match self.live.recv_direct().await {
                Ok(batch) => {
                    if let Some(batch) = self.in_order(batch) {
                        return Ok(Some(self.give(batch)));
                    }
                }
                Err(RecvError::Overflowed(_)) => self.is_behind = true,
                Err(RecvError::Closed) if self.position < self.shared.head() => self.is_behind = true,
                Err(RecvError::Closed) => return Ok(None),
            }
        }
    }

    /// The last position that was given out.
    pub fn position(&self) -> Position {
        self.position
    }

    fn give(&mut self, batch: Arc<CommitBatch>) -> Arc<CommitBatch> {
        self.position = batch.last();
        batch
    }

    /// A live batch, if it goes on exactly where this reader stands.
    fn in_order(&mut self, batch: Arc<CommitBatch>) -> Option<Arc<CommitBatch>> {
        let first = batch.commits.first()?.stored.first;
        if first == self.position.next() {
            return Some(batch);
        }
        if first > self.position.next() {
            self.is_behind = true;
            return None;
        }
        let rest = batch.commits.iter().filter(|commit| commit.stored.last() > self.position);
        let rest: Vec<_> = rest.cloned().collect();
        (!rest.is_empty()).then(|| Arc::new(CommitBatch::new(rest)))
    }
}
