//! Webhooks deliver notices by HTTP requests: at least once, and in the order of each session.
//!
//! ```text
//!   feed ──► endpoint (a task each) ──► queue: what is delivered, what is open ──► store, a few times a second
//!                 │ what is due                      ▲ how it went
//!                 └──► notice, as it is now ──► format ──► signed request ──► receiver
//! ```
//!
//! An endpoint pulls: the log is its queue, so a slow or unreachable receiver delays no command and no other endpoint,
//! and costs bounded room. What a request says is derived from the log when it is sent; what was erased meanwhile is
//! not in it, and a subject's new owner hears what the old one would have.

mod alarms;
mod creation;
mod delivery;
mod destination;
mod format;
mod health;
mod sending;
mod shared_progress;
mod stand_by;
mod store;
mod test_rate;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, Semaphore},
    time::{sleep, timeout},
};

use self::{
    alarms::WebhookAlarms,
    delivery::{
        catch_up,
        endpoint::{EndpointCommand, WebhookEndpoint},
        queue::{DeliveryQueue, DeliveryState},
    },
    format::MessageContent,
    sending::{client::WebhookClient, owner_shares::OwnerShares},
    shared_progress::ProgressKeeper,
    store::{DeliveryStore, StoreError},
    test_rate::WebhookTests,
};
pub use self::{
    creation::{CreationError, RecordOutcome},
    delivery::{
        outcome::{AttemptAnswer, DeliveryOutcome},
        queue::{DeliveryAttempt, ReceiverHistory},
    },
    destination::{
        DestinationStore, LONGEST_URL, SECRET_PATTERN, UnfitDestination, WebhookDestination, draw_secret,
    },
    health::{WebhookHealth, WebhookTotals},
    shared_progress::{SharedProgress, WebhookProgress},
    test_rate::TestTooSoon,
};
use super::{EventCursor, Notice, NoticeContext, NoticeId};
use crate::config::NoticeTimeZone;
use crate::gate::WorkGate;
use crate::traces::TraceExporter;
use tenure_core::{EventKind, KindSet, Position, Timestamp, WebhookId, webhook::Webhook};
use tenure_log::{LogError, StoredCommit, waiting_for_disk};
use tenure_protocol::clock::stopwatch;

/// After an event of these kinds there are other webhooks than before.
const CONCERN_WEBHOOKS: KindSet = KindSet::of(&[EventKind::WebhookCreated, EventKind::WebhookDeleted]);
/// Maximum requests in flight, over all webhooks.
const ABREAST: usize = 1_024;
/// Those of one owner, more than it has webhooks: receivers of its own that answer late do not hold all of it, and others
/// that do so on purpose hold no more of the whole.
const OF_ONE_OWNER: usize = 32;
/// What changed is saved this often.
const SAVE: Duration = Duration::from_millis(200);
/// Progress without any notice to deliver is saved once in this many slices.
const LAZY: u32 = 25;
/// What the next leader must know is noted once in this many.
const SHARED: u32 = 5;
/// A store that does not open is tried again. What was delivered meanwhile is delivered again after a crash, hence
/// soon.
const STORE_REST: Duration = Duration::from_secs(1);
/// How long endpoints have to end at a stop.
const STOP_TIMEOUT: Duration = Duration::from_millis(2_500);
/// How long a caller that moves the clock waits for receivers.
const IDLE_TIMEOUT: Duration = Duration::from_secs(12);

/// What webhooks need of an authority.
pub trait WebhookSource: NoticeContext {
    /// What time it is.
    fn now(&self) -> Timestamp;
    /// Chance, to spread attempts.
    fn jitter(&self) -> u16;
    /// The news after a position.
    fn subscribe(&self, after: Position) -> EventCursor;
    /// The last published position.
    fn head(&self) -> Position;
    /// The published commits after a position, up to a number of events; empty at the end.
    ///
    /// # Errors
    /// The log cannot be read.
    fn past(&self, after: Position, most: usize) -> Result<Vec<StoredCommit>, LogError>;
    /// A notice as it reads now; `None` when there is nothing to deliver any more.
    ///
    /// # Errors
    /// The log cannot be read.
    fn notice(&self, id: NoticeId) -> Result<Option<Notice>, LogError>;
    /// The webhooks that there are.
    fn webhooks(&self) -> Vec<Webhook>;
}

/// The settings that webhooks obey.
#[derive(Clone, Debug, Default)]
pub struct WebhookSettings {
    /// `webhooks.allow_private`
    pub allow_private: bool,
    /// `server.public_url`
    pub public_url: Option<String>,
    /// `notices.time_zone`
    pub time_zone: NoticeTimeZone,
}

/// All webhooks of an authority.
pub struct Webhooks {
    shared: Arc<WebhooksInner>,
    data: PathBuf,
    state: Mutex<WebhooksState>,
    tests: WebhookTests,
    stopping: Notify,
    /// Where nodes note for one another how far webhooks have come; none where there is one node.
    progress: OnceLock<ProgressKeeper>,
}

/// What every endpoint works with.
struct WebhooksInner {
    source: Arc<dyn WebhookSource>,
    destinations: DestinationStore,
    /// Made when it is first needed: it reads the certificates of the system.
    client: OnceLock<WebhookClient>,
    allow_private: bool,
    name: format::MessageSource,
    sending: Semaphore,
    /// What each owner may take of it. Who has webhooks of no owner may have them all.
    shares: OwnerShares,
    /// Behind it the past is read.
    past: WorkGate,
    outcomes: [AtomicU64; DeliveryOutcome::ALL.len()],
    alarms: WebhookAlarms,
    /// Where spans of deliveries are sent, if they are.
    traces: OnceLock<TraceExporter>,
}

impl WebhooksInner {
    fn client(&self) -> &WebhookClient {
        let make = || self.client.get_or_init(|| WebhookClient::new(self.allow_private));
        self.client.get().unwrap_or_else(|| waiting_for_disk(make))
    }

    fn count(&self, outcome: DeliveryOutcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// The endpoints at work. Nothing is sent before the store is open: only it knows what was delivered.
#[derive(Default)]
struct WebhooksState {
    store: Option<Arc<DeliveryStore>>,
    at_work: BTreeMap<WebhookId, WebhookEndpoint>,
    /// The accounts of webhooks that are not at work yet, as they were saved.
    saved: BTreeMap<WebhookId, DeliveryQueue>,
    /// Deleted, and still in the store.
    forgotten: Vec<WebhookId>,
    has_stopped: bool,
}

/// What became of a notice, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryReport {
    /// The notice.
    pub notice_id: NoticeId,
    /// Whether it is pending, was delivered, or was given up.
    pub status: DeliveryStatus,
    /// The newest attempts, oldest first.
    pub attempts: Vec<DeliveryAttempt>,
    /// When it is tried next; none unless it is pending.
    pub next_attempt_at: Option<Timestamp>,
}

/// What became of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// It is yet to be delivered.
    Pending,
    /// The receiver has it.
    Delivered,
    /// It was given up; a redelivery sends it again.
    Parked,
}

impl DeliveryStatus {
    /// Each with its name.
    pub const ALL: [(&'static str, Self); 3] =
        [("pending", Self::Pending), ("delivered", Self::Delivered), ("parked", Self::Parked)];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

impl Webhooks {
    /// The webhooks of a source. Nothing is sent before [`Webhooks::start`].
    pub fn new(source: Arc<dyn WebhookSource>, data: &Path, settings: WebhookSettings) -> Arc<Self> {
        let name = settings.public_url.unwrap_or_else(|| "urn:tenure".into());
        let shared = Arc::new(WebhooksInner {
            source,
            destinations: DestinationStore::of(data),
            client: OnceLock::new(),
            allow_private: settings.allow_private,
            name: format::MessageSource { name, time_zone: settings.time_zone },
            sending: Semaphore::new(ABREAST),
            shares: OwnerShares::of_each(OF_ONE_OWNER),
            past: catch_up::gate(),
            outcomes: Default::default(),
            alarms: WebhookAlarms::new(),
            traces: OnceLock::new(),
        });
        let (data, state, stopping) = (data.to_owned(), Mutex::default(), Notify::new());
        let (tests, progress) = (WebhookTests::default(), OnceLock::new());
        Arc::new(Self { shared, data, state, tests, stopping, progress })
    }

    /// From now on there is a span of each attempt to deliver something.
    pub fn trace(&self, traces: &TraceExporter) {
        self.shared.traces.get_or_init(|| traces.clone());
    }

    /// Begins to deliver, on the runtime of the caller; again, if it has been stopped.
    pub fn start(self: &Arc<Self>) {
        let after = self.shared.source.head();
        self.state.lock().has_stopped = false;
        self.forget_unknown_destinations();
        self.open_store();
        self.reconcile();
        self.check_destinations();
        self.work(Arc::clone(self).follow(after));
        self.work(Arc::clone(self).save_on());
    }

    fn work(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { shared.alarms.tasks.run_task(task).await });
    }

    /// Reads the files of all webhooks, so that a damaged one is an alarm before a notice is due.
    fn check_destinations(&self) {
        for webhook in self.shared.source.webhooks() {
            waiting_for_disk(|| delivery::endpoint::destination(&self.shared, &webhook));
        }
    }

    /// Ends: what is on its way has a few seconds, and what is known by then is saved.
    pub async fn stop(&self) {
        let ended: Vec<_> = {
            let mut state = self.state.lock();
            state.has_stopped = true;
            std::mem::take(&mut state.at_work).into_values().collect()
        };
        for endpoint in &ended {
            endpoint.send_command(EndpointCommand::Stop);
        }
        let all = async {
            for endpoint in &ended {
                endpoint.ended().await;
            }
        };
        drop(timeout(STOP_TIMEOUT, all).await);
        self.stopping.notify_waiters();
        let accounts = ended.iter().map(|endpoint| (endpoint.webhook.id(), Arc::clone(&endpoint.account)));
        let store = self.state.lock().store.take();
        if let Some(store) = store {
            self.save_accounts(&store, &accounts.collect::<Vec<_>>(), true);
        }
    }

    /// Where URLs and secrets are kept.
    pub fn destinations(&self) -> &DestinationStore {
        &self.shared.destinations
    }

    /// Whether receivers may be inside, and without TLS.
    pub fn allows_private(&self) -> bool {
        self.shared.allow_private
    }

    /// Lets those work that there are and no others. It is called whenever a webhook comes or goes.
    pub fn reconcile(&self) {
        let mut state = self.state.lock();
        if state.store.is_none() || state.has_stopped {
            return;
        }
        // Listed under the lock: a list from before it may lack what another caller has begun, which would be taken
        // for deleted.
        let there: BTreeMap<_, _> =
            self.shared.source.webhooks().into_iter().map(|webhook| (webhook.id(), webhook)).collect();
        let gone: Vec<_> = state.at_work.keys().filter(|id| !there.contains_key(*id)).copied().collect();
        for id in gone {
            self.tests.forget(id);
            if let Some(endpoint) = state.at_work.remove(&id) {
                endpoint.send_command(EndpointCommand::Stop);
            }
            self.forget(&mut state, id);
        }
        for (id, webhook) in there {
            if !state.at_work.contains_key(&id) {
                let account = state.saved.remove(&id).unwrap_or_else(|| DeliveryQueue::new(webhook.created));
                state.at_work.insert(id, WebhookEndpoint::begin(&self.shared, Arc::new(webhook), account));
            }
        }
    }

    fn forget(&self, state: &mut WebhooksState, id: WebhookId) {
        state.forgotten.push(id);
        self.shared.alarms.file_is_right(id);
        if let Err(error) = waiting_for_disk(|| self.shared.destinations.forget(id)) {
            tracing::warn!(%error, "the file of a deleted webhook is left; the next start removes it");
        }
    }

    /// Tries everything due, and returns when it has been tried. What takes too long goes on without the caller.
    pub async fn run_due(&self) {
        self.reconcile();
        let idle: Vec<_> = self.state.lock().at_work.values().map(WebhookEndpoint::idle).collect();
        let all = async {
            for one in idle {
                // An endpoint that has ended has nothing due.
                drop(one.await);
            }
        };
        drop(timeout(IDLE_TIMEOUT, all).await);
    }

    /// What became of a webhook's notices before some notice, newest first; none before the store is open.
    pub fn deliveries(
        &self,
        id: WebhookId,
        before: Option<NoticeId>,
        most: usize,
    ) -> Option<Vec<DeliveryReport>> {
        self.reconcile();
        let state = self.state.lock();
        let account = state.at_work.get(&id)?.account.lock();
        Some(account.newest(before, most).into_iter().map(report).collect())
    }

    /// Delivers a webhook's notices from one position to another again; false before the store is open.
    ///
    /// # Errors
    /// An earlier redelivery is still in work.
    pub fn redeliver(&self, id: WebhookId, from: Position, to: Position) -> Result<bool, TestTooSoon> {
        self.reconcile();
        let state = self.state.lock();
        let Some(endpoint) = state.at_work.get(&id) else { return Ok(false) };
        let mut account = endpoint.account.lock();
        if account.is_telling_again() {
            let wait = account.next_turn().map_or(0, |next| next.seconds_since(self.shared.source.now()));
            return Err(TestTooSoon::after(wait));
        }
        account.begin_again(from, to);
        drop(account);
        Ok(endpoint.send_command(EndpointCommand::ReadAgain))
    }

    /// Sends a message that says that it is a test.
    ///
    /// # Errors
    /// A test of this webhook is on its way, or there were as many in the last minute as there may be.
    pub async fn test(&self, webhook: &Webhook, name: &str) -> Result<AttemptAnswer, TestTooSoon> {
        let _turn = self.tests.begin(webhook.id(), stopwatch())?;
        let news = MessageContent::Test(self.shared.source.now());
        let answer = delivery::endpoint::post(&self.shared, webhook, name, &news).await;
        self.shared.count(answer.outcome);
        Ok(answer)
    }

    /// Reads the past for webhooks.
    pub(crate) fn past_gate(&self) -> &WorkGate {
        &self.shared.past
    }

    /// What people must look into; `None` while all is well.
    pub fn alarms(&self) -> Vec<String> {
        self.shared.alarms.list().into_iter().chain(self.destinations().writes().alarm()).collect()
    }

    /// The saved delivery state of the webhooks, for a backup.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn accounts(&self) -> Result<Vec<u8>, String> {
        let store = self.state.lock().store.clone();
        let copied = match store {
            Some(store) => store.copy(),
            // It is not open yet, or is being opened again; another handle would find it in use.
            None => DeliveryStore::open(&self.data).and_then(|store| store.copy()),
        };
        copied.map_err(|error| error.why().to_owned())
    }

    /// Makes the account of a data directory from such a copy, without what lies beyond a position.
    ///
    /// # Errors
    /// It is no such copy, or the disk does not take it.
    pub fn restore_accounts(data: &Path, copy: &[u8], end: Position) -> Result<(), String> {
        DeliveryStore::restore(data, copy, end).map_err(|error| error.why().to_owned())
    }

    /// What a crash between keeping a destination and admitting its webhook left, or between the two of a deletion.
    fn forget_unknown_destinations(&self) {
        let known = self.shared.source.webhooks();
        for id in self.shared.destinations.stored_ids() {
            if !known.iter().any(|webhook| webhook.id() == id)
                && let Err(error) = self.shared.destinations.forget(id)
            {
                tracing::warn!(%error, "the file of a deleted webhook is left");
            }
        }
    }

    fn open_store(&self) {
        match waiting_for_disk(|| self.opened()) {
            Ok((store, saved)) => {
                self.shared.alarms.store_works();
                self.adopt(store, saved);
            }
            Err(error) => self.shared.alarms.store_failed(
                &error,
                "webhooks wait: the account of what they have told does not open. Free the disk; or, if the file is \
                 damaged, move it away, and each begins again at its creation",
            ),
        }
    }

    fn opened(&self) -> Result<(DeliveryStore, BTreeMap<WebhookId, DeliveryQueue>), StoreError> {
        let store = DeliveryStore::open(&self.data)?;
        let saved = store.load()?;
        Ok((store, saved))
    }

    fn adopt(&self, store: DeliveryStore, mut saved: BTreeMap<WebhookId, DeliveryQueue>) {
        self.cut_to_the_log(&mut saved);
        let there = self.shared.source.webhooks();
        if let Some(progress) = self.progress.get() {
            let head = self.shared.source.head();
            waiting_for_disk(|| progress.take_over(&mut saved, &there, head));
        }
        let mut state = self.state.lock();
        if store.is_new && !there.is_empty() && self.progress.get().is_none() {
            tracing::warn!(
                path = %DeliveryStore::path(&self.data).display(),
                "the delivery state of webhooks is missing; each begins again at its creation"
            );
        }
        let is_there = |id: &WebhookId| there.iter().any(|webhook| webhook.id() == *id);
        let unknown = saved.keys().filter(|id| !is_there(id)).copied();
        state.forgotten.extend(unknown);
        // Those at work know better than the store, which may be another one than before.
        for endpoint in state.at_work.values() {
            endpoint.account.lock().forget_saving();
        }
        state.saved = saved;
        state.store = Some(Arc::new(store));
    }

    /// Delivery state beyond the end of the log belongs to a longer log: it would be silent until the log has grown as
    /// long. It goes on at the end of this one.
    fn cut_to_the_log(&self, saved: &mut BTreeMap<WebhookId, DeliveryQueue>) {
        let head = self.shared.source.head();
        let ahead = saved.values_mut().filter(|account| account.read() > head);
        let told = ahead.map(|account| {
            let told = account.read();
            account.begin_again(head.next(), head);
            told
        });
        if let Some(told) = told.max() {
            self.shared.alarms.store_is_ahead(told, head);
        }
    }

    /// Lets webhooks come and go as the log says.
    async fn follow(self: Arc<Self>, after: Position) {
        let mut cursor = self.shared.source.subscribe(after);
        loop {
            let read = tokio::select! {
                read = cursor.next() => read,
                () = self.stopping.notified() => return,
            };
            match read {
                Ok(Some(batch)) => {
                    if batch.next_of(CONCERN_WEBHOOKS, 0).is_some() {
                        self.reconcile();
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(%error, "the news of webhooks could not be read");
                    sleep(STORE_REST).await;
                }
            }
        }
    }

    async fn save_on(self: Arc<Self>) {
        for turn in 1_u32.. {
            let rest = if self.state.lock().store.is_none() { STORE_REST } else { SAVE };
            tokio::select! {
                () = sleep(rest) => {}
                () = self.stopping.notified() => return,
            }
            if self.state.lock().has_stopped {
                return;
            }
            waiting_for_disk(|| {
                self.save(turn.is_multiple_of(LAZY));
                if turn.is_multiple_of(SHARED) {
                    self.note_progress();
                }
            });
        }
    }

    fn save(&self, also_lazy: bool) {
        let (store, accounts) = {
            let state = self.state.lock();
            let accounts = state.at_work.iter().map(|(id, endpoint)| (*id, Arc::clone(&endpoint.account)));
            (state.store.clone(), accounts.collect::<Vec<_>>())
        };
        match store {
            None => {
                self.open_store();
                self.reconcile();
                // What was delivered while nothing could be saved must not be delivered again after a crash.
                let store = self.state.lock().store.clone();
                if let Some(store) = store {
                    self.save_accounts(&store, &accounts, true);
                }
            }
            Some(store) => self.save_accounts(&store, &accounts, also_lazy),
        }
    }

    fn save_accounts(
        &self,
        store: &DeliveryStore,
        accounts: &[(WebhookId, Arc<Mutex<DeliveryQueue>>)],
        also_lazy: bool,
    ) {
        let wanted = accounts.iter().filter(|(_, account)| also_lazy || account.lock().is_urgent());
        let changed: Vec<_> =
            wanted.filter_map(|(id, account)| Some((*id, account.lock().unsaved()?))).collect();
        let forgotten = std::mem::take(&mut self.state.lock().forgotten);
        if changed.is_empty() && forgotten.is_empty() {
            return;
        }
        let Err(error) = store.save(&changed, &forgotten) else { return };
        let consequence = "the delivery state of webhooks cannot be saved; after a crash some notices would be delivered twice";
        self.shared.alarms.store_failed(&error, consequence);
        {
            let mut state = self.state.lock();
            state.forgotten.extend(forgotten);
            // After an error the store accepts no more writes; it is opened again.
            state.store = None;
        }
        for (id, unsaved) in &changed {
            if let Some((_, account)) = accounts.iter().find(|(known, _)| known == id) {
                account.lock().not_saved(unsaved);
            }
        }
    }
}

fn report((notice_id, delivery): (NoticeId, delivery::queue::QueuedDelivery)) -> DeliveryReport {
    let (status, next_attempt_at) = match delivery.fate {
        DeliveryState::Pending(next) => (DeliveryStatus::Pending, Some(next)),
        DeliveryState::Delivered => (DeliveryStatus::Delivered, None),
        DeliveryState::Parked => (DeliveryStatus::Parked, None),
    };
    DeliveryReport { notice_id, status, attempts: delivery.attempts, next_attempt_at }
}
