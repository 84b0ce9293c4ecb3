//! One webhook at work: a task that reads the news into its account and sends what is due, a few at a time. It waits
//! for no other, and no other for it.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    catch_up::{self, CatchUpError, PastSlice, PendingSlice},
    outcome::{AttemptAnswer, DeliveryOutcome},
    queue::DeliveryQueue,
};
use crate::notify::webhooks::{
    WebhooksInner,
    destination::WebhookDestination,
    format::{self, MessageContent},
    sending::{client::SignedRequest, owner_shares::place},
};
use crate::notify::{CommitBatch, EventCursor, Notice, NoticeId};
use crate::traces::about;
use tenure_core::{Position, webhook::Webhook};
use tenure_log::{LogError, waiting_for_disk};
use tenure_protocol::clock::{stopwatch, wall_time};

/// A clock moved by hand wakes no task; an [`EndpointCommand`] does.
const LONGEST_SLEEP: Duration = Duration::from_mins(1);
/// After the log could not be read, or there was no thread for it, it is tried again.
const LOG_REST: Duration = Duration::from_secs(5);
/// How long requests in flight have at a stop.
const LAST_TIMEOUT: Duration = Duration::from_secs(2);

/// A command to a task at work.
pub(crate) enum EndpointCommand {
    /// Report when everything due has been tried.
    TellWhenIdle(oneshot::Sender<()>),
    /// The account begins again further back.
    ReadAgain,
    /// Send nothing more, and end when what is on its way has arrived.
    Stop,
}

/// One webhook at work.
pub(crate) struct WebhookEndpoint {
    pub(crate) webhook: Arc<Webhook>,
    pub(crate) account: Arc<Mutex<DeliveryQueue>>,
    orders: mpsc::UnboundedSender<EndpointCommand>,
}

impl WebhookEndpoint {
    /// Begins to work on the runtime of the caller.
    pub(crate) fn begin(shared: &Arc<WebhooksInner>, webhook: Arc<Webhook>, account: DeliveryQueue) -> Self {
        let cursor = shared.source.subscribe(account.read());
        let account = Arc::new(Mutex::new(account));
        let (orders, received) = mpsc::unbounded_channel();
        let worker = EndpointWorker {
            shared: Arc::clone(shared),
            webhook: Arc::clone(&webhook),
            account: Arc::clone(&account),
            cursor,
            past: None,
            is_over: false,
            orders: received,
            away: JoinSet::new(),
            idle_waiters: vec![],
        };
        let watched = Arc::clone(shared);
        tokio::spawn(async move { watched.alarms.tasks.run_task(worker.run()).await });
        Self { webhook, account, orders }
    }

    /// Sends it a command; false when it has ended.
    pub(crate) fn send_command(&self, order: EndpointCommand) -> bool {
        self.orders.send(order).is_ok()
    }

    /// Resolves when everything due now has been tried.
    pub(crate) fn idle(&self) -> oneshot::Receiver<()> {
        let (done, is_idle) = oneshot::channel();
        // A task that has ended drops the order, which resolves it too.
        self.send_command(EndpointCommand::TellWhenIdle(done));
        is_idle
    }

    /// Resolves when it has ended.
    pub(crate) async fn ended(&self) {
        self.send_command(EndpointCommand::Stop);
        self.orders.closed().await;
    }
}

struct EndpointWorker {
    shared: Arc<WebhooksInner>,
    webhook: Arc<Webhook>,
    account: Arc<Mutex<DeliveryQueue>>,
    cursor: EventCursor,
    /// What is read of the past, while the webhook is far behind the news.
    past: Option<PendingSlice>,
    /// Whether the authority has stopped, so that there will be no more news.
    is_over: bool,
    orders: mpsc::UnboundedReceiver<EndpointCommand>,
    away: JoinSet<(NoticeId, AttemptResult)>,
    idle_waiters: Vec<oneshot::Sender<()>>,
}

/// What became of a notice on its way.
#[derive(Clone, Copy)]
enum AttemptResult {
    /// It was sent, and the attempt took this long.
    Sent(AttemptAnswer, Duration),
    /// It is not for this webhook any more.
    Withdrawn,
    /// The log could not be read, so its content is not known yet.
    Unread,
}

impl EndpointWorker {
    async fn run(mut self) {
        loop {
            self.depart();
            self.tell_when_idle();
            let has_room = !self.is_over && self.account.lock().has_room();
            if has_room {
                self.catch_up();
            }
            let reads_past = self.past.is_some();
            let pause = self.pause();
            tokio::select! {
                read = self.cursor.next(), if has_room && !reads_past => self.take(read).await,
                slice = slice(&mut self.past), if reads_past => self.take_past(slice).await,
                Some(tried) = self.away.join_next() => {
                    match tried {
                        Ok((id, tried)) => self.arrive(id, tried),
                        Err(died) => self.shared.alarms.tasks.raise(&died.to_string()),
                    }
                }
                order = self.orders.recv() => match order {
                    Some(EndpointCommand::TellWhenIdle(done)) => self.idle_waiters.push(done),
                    Some(EndpointCommand::ReadAgain) => {
                        self.past = None;
                        self.cursor = self.shared.source.subscribe(self.account.lock().read());
                    }
                    Some(EndpointCommand::Stop) | None => break,
                },
                () = sleep(pause) => {}
            }
        }
        self.last_arrivals().await;
    }

    /// Sends what is due.
    fn depart(&mut self) {
        let due = self.account.lock().depart(self.shared.source.now());
        for id in due {
            let sending = send(Arc::clone(&self.shared), Arc::clone(&self.webhook), id);
            self.away.spawn(async move { (id, sending.await) });
        }
    }

    /// Answers those who wait until nothing is due.
    fn tell_when_idle(&mut self) {
        if self.idle_waiters.is_empty() {
            return;
        }
        let account = self.account.lock();
        let has_read = self.is_over || !account.has_room() || account.read() >= self.shared.source.head();
        let is_due = account.next_turn().is_some_and(|next| next <= self.shared.source.now());
        if has_read && account.is_at_rest() && !is_due {
            for done in self.idle_waiters.drain(..) {
                // The waiting caller may have gone.
                let _ = done.send(());
            }
        }
    }

    fn pause(&self) -> Duration {
        let now = self.shared.source.now();
        let next = self.account.lock().next_turn();
        next.map_or(LONGEST_SLEEP, |next| {
            let millis = next.as_millis().saturating_sub(now.as_millis());
            // What is due and cannot go waits for an arrival, which wakes this task by itself.
            Duration::from_millis(u64::try_from(millis).unwrap_or(0).max(20)).min(LONGEST_SLEEP)
        })
    }

    /// Reads the past, if it is far behind and does not do so already.
    fn catch_up(&mut self) {
        let read = self.account.lock().read();
        if self.past.is_none() && catch_up::is_far(read, self.shared.source.head()) {
            self.past = Some(catch_up::slice_after(&self.shared, &self.webhook, read));
        }
    }

    async fn take_past(&mut self, read: Result<PastSlice, CatchUpError>) {
        self.past = None;
        match read {
            Ok(PastSlice { own, span }) => {
                let mut account = self.account.lock();
                account.take(own.iter(), span, self.shared.source.now());
                self.cursor = self.shared.source.subscribe(account.read());
            }
            Err(error) => {
                tracing::error!(%error, webhook = %self.webhook.id(), "the past could not be read for a webhook");
                sleep(LOG_REST).await;
            }
        }
    }

    async fn take(&mut self, read: Result<Option<Arc<CommitBatch>>, LogError>) {
        match read {
            Ok(Some(batch)) => {
                let notices: Vec<_> = batch.notices(&*self.shared.source).collect();
                let own = notices.iter().filter(|notice| wants(&self.webhook, notice));
                let first = batch.commits().first().map_or(Position::ZERO, |commit| commit.stored().first);
                self.account.lock().take(own, (first, batch.last()), self.shared.source.now());
            }
            Ok(None) => self.is_over = true,
            Err(error) => {
                tracing::error!(%error, webhook = %self.webhook.id(), "the news could not be read for a webhook");
                sleep(LOG_REST).await;
            }
        }
    }

    fn arrive(&mut self, id: NoticeId, tried: AttemptResult) {
        let now = self.shared.source.now();
        let answer = match tried {
            AttemptResult::Withdrawn => return self.account.lock().withdraw(id),
            AttemptResult::Sent(answer, took) => {
                self.account.lock().note_pace(took);
                answer
            }
            AttemptResult::Unread => DeliveryOutcome::Unreachable.into(),
        };
        self.shared.count(answer.outcome);
        self.account.lock().arrive(id, answer, now, self.shared.source.jitter());
    }

    async fn last_arrivals(&mut self) {
        let all = async {
            while let Some(tried) = self.away.join_next().await {
                if let Ok((id, AttemptResult::Sent(answer, _))) = tried {
                    self.shared.count(answer.outcome);
                    let (now, jitter) = (self.shared.source.now(), self.shared.source.jitter());
                    self.account.lock().arrive(id, answer, now, jitter);
                }
            }
        };
        // What does not arrive in time is sent again after the next start.
        drop(timeout(LAST_TIMEOUT, all).await);
    }
}

/// The slice being read.
async fn slice(past: &mut Option<PendingSlice>) -> Result<PastSlice, CatchUpError> {
    match past {
        Some(slice) => slice.await,
        None => std::future::pending().await,
    }
}

/// Whether it is for this webhook.
pub(super) fn wants(webhook: &Webhook, notice: &Notice) -> bool {
    let own = webhook.asked.owner_id.as_ref();
    webhook.wants(notice.kind, if notice.is_for_every_owner() { own } else { notice.owner_id.as_ref() })
}

/// Sends one notice, as it is now.
async fn send(shared: Arc<WebhooksInner>, webhook: Arc<Webhook>, id: NoticeId) -> AttemptResult {
    // The own share comes first, so that an owner whose receivers are slow takes no more than that of the whole.
    let share = webhook.asked.owner_id.as_ref().map(|owner| shared.shares.of(Some(owner)));
    let _own = match &share {
        Some(share) => Some(place(share).await),
        None => None,
    };
    let _place = shared.sending.acquire().await.expect("the semaphore is never closed");
    let begun = stopwatch();
    let notice = match waiting_for_disk(|| shared.source.notice(id)) {
        Ok(notice) => notice,
        Err(error) => {
            tracing::error!(%error, webhook = %webhook.id(), "a notice could not be read for a webhook");
            return AttemptResult::Unread;
        }
    };
    let wanted = notice.filter(|notice| wants(&webhook, notice));
    let Some(notice) = wanted else { return AttemptResult::Withdrawn };
    let is_its_owners = webhook.asked.owner_id.is_some() && webhook.asked.owner_id == notice.owner_id;
    let notice = if is_its_owners { notice.for_its_owner(&*shared.source) } else { notice };
    let name = notice.notice_id.message();
    let answer = post(&shared, &webhook, &name, &MessageContent::Notice(&notice)).await;
    AttemptResult::Sent(answer, begun.elapsed())
}

/// Sends something by a webhook, once.
pub(crate) async fn post(
    shared: &WebhooksInner,
    webhook: &Webhook,
    name: &str,
    news: &MessageContent<'_>,
) -> AttemptAnswer {
    let span = shared.traces.get().map(|traces| traces.sending("deliver a webhook"));
    let answer = try_post(shared, webhook, name, news).await;
    if let Some(span) = span {
        let failure = (answer.outcome != DeliveryOutcome::Delivered).then_some(answer.outcome.name());
        let status = answer.status.map(|status| about("http.response.status_code", i64::from(status)));
        let known = [
            about("tenure.webhook_id", webhook.id().to_string()),
            about("tenure.notice_id", name.to_owned()),
            about("tenure.outcome", answer.outcome.name()),
        ];
        span.end(failure, known.into_iter().chain(status));
    }
    answer
}

async fn try_post(
    shared: &WebhooksInner,
    webhook: &Webhook,
    name: &str,
    news: &MessageContent<'_>,
) -> AttemptAnswer {
    let Some(to) = destination(shared, webhook) else { return DeliveryOutcome::KeyMissing.into() };
    let message = format::write(webhook.asked.format, to.parsed(), &shared.name, name, news);
    // Receivers compare it with their own clocks, so it is the machine's time, also where a test moves the authority's.
    let signed = SignedRequest { id: name, seconds: wall_time().as_millis().div_euclid(1_000) };
    shared.client().post(webhook.asked.owner_id.as_ref(), &to, message, &signed).await
}

/// Where a webhook's requests go. What is wrong with its file is an alarm for as long as it is.
pub(crate) fn destination(shared: &WebhooksInner, webhook: &Webhook) -> Option<WebhookDestination> {
    let id = webhook.id();
    let loaded = waiting_for_disk(|| shared.destinations.load(webhook));
    match &loaded {
        Ok(Some(_)) => shared.alarms.file_is_right(id),
        Ok(None) => shared.alarms.file_failed(id, None),
        Err(error) => shared.alarms.file_failed(id, Some(error)),
    }
    loaded.ok().flatten()
}
