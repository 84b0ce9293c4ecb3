//! What one webhook has delivered and has yet to deliver. Pure: the time and the outcome of an attempt are arguments.
//!
//! `read` is the position up to which the notices are in the queue. Those that are not delivered are open, and are kept
//! durably together with `read`, in one transaction: so nothing below it is ever forgotten, and after a crash at worst
//! something is delivered twice. No further notices are read while [`WINDOW`] notices are open; the log keeps them
//! meanwhile, so a failing receiver costs bounded room.

mod receiver_history;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use minicbor::{Decode, Encode};
use serde::Serialize;

pub use self::receiver_history::ReceiverHistory;
use super::{
    backoff,
    outcome::{AttemptAnswer, DeliveryOutcome},
};
use crate::notify::notice::{Notice, NoticeId};
use tenure_core::{Position, SessionId, SubjectId, Timestamp};

/// Open notices above which no further events are read.
pub(crate) const WINDOW: usize = 1_000;
/// Delivered notices kept for inspection; the oldest go first.
const DELIVERED: usize = 500;
/// Parked notices kept.
const PARKED: usize = 1_000;
/// Attempts kept of a notice, the newest ones.
const ATTEMPTS: usize = 20;
/// Maximum requests in flight for one webhook.
const ABREAST: usize = 8;
/// A receiver whose last answer took longer, or that has not answered yet, gets one request at a time: places in flight
/// are for all webhooks.
const QUICK: Duration = Duration::from_secs(3);

/// An attempt to deliver a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
#[cbor(array)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryAttempt {
    /// When it ended.
    #[n(0)]
    pub at: Timestamp,
    /// How.
    #[n(1)]
    pub outcome: DeliveryOutcome,
    /// The status that came back, if one did.
    #[n(2)]
    pub http_status: Option<u16>,
}

/// What became of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
pub(crate) enum DeliveryState {
    /// It is to be tried at this time.
    #[n(0)]
    Pending(#[n(0)] Timestamp),
    /// The receiver has it.
    #[n(1)]
    Delivered,
    /// It was given up, and can be sent again by a redelivery.
    #[n(2)]
    Parked,
}

/// One notice in the account.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct QueuedDelivery {
    /// Whom it is about, for the order.
    #[n(0)]
    pub(crate) session: Option<SessionId>,
    #[n(1)]
    pub(crate) subject: Option<SubjectId>,
    /// When it came into the account.
    #[n(2)]
    pub(crate) since: Timestamp,
    #[n(3)]
    pub(crate) attempts: Vec<DeliveryAttempt>,
    #[n(4)]
    pub(crate) fate: DeliveryState,
}

impl QueuedDelivery {
    fn new(notice: &Notice, now: Timestamp) -> Self {
        let (session, subject) = (notice.session_id, notice.subject_id.clone());
        Self { session, subject, since: now, attempts: vec![], fate: DeliveryState::Pending(now) }
    }

    fn next(&self) -> Option<Timestamp> {
        match self.fate {
            DeliveryState::Pending(next) => Some(next),
            DeliveryState::Delivered | DeliveryState::Parked => None,
        }
    }

    fn fate_after(&self, answer: AttemptAnswer, now: Timestamp, jitter: u16) -> DeliveryState {
        if answer.outcome == DeliveryOutcome::Delivered {
            DeliveryState::Delivered
        } else if answer.outcome == DeliveryOutcome::Gone || self.is_overdue(now) {
            DeliveryState::Parked
        } else {
            DeliveryState::Pending(now.plus_millis(backoff::wait(
                self.attempts.len(),
                jitter,
                answer.retry_after,
            )))
        }
    }

    fn is_overdue(&self, now: Timestamp) -> bool {
        now >= self.since.plus(backoff::GIVE_UP_AFTER)
    }
}

/// Everything that one webhook has delivered lately and has yet to deliver.
#[derive(Debug, Default)]
pub(crate) struct DeliveryQueue {
    read: Position,
    open: BTreeMap<NoticeId, QueuedDelivery>,
    closed: BTreeMap<NoticeId, QueuedDelivery>,
    /// The open ones in flight.
    away: BTreeSet<NoticeId>,
    /// Those of them to send again after arrival.
    once_more: BTreeSet<NoticeId>,
    failures: u32,
    /// Whether its last answer came soon.
    is_quick: bool,
    reception: ReceiverHistory,
    rests_until: Option<Timestamp>,
    /// The positions that a running redelivery covers, first to last.
    again: Option<(Position, Position)>,
    /// What differs from the store.
    unsaved: BTreeSet<NoticeId>,
    is_read_unsaved: bool,
}

impl DeliveryQueue {
    /// The account of a webhook that has read up to here, and has delivered nothing yet.
    pub(crate) fn new(read: Position) -> Self {
        Self { read, is_read_unsaved: true, ..Self::default() }
    }

    /// The account as it was saved.
    pub(crate) fn saved(read: Position, deliveries: BTreeMap<NoticeId, QueuedDelivery>) -> Self {
        let reception = ReceiverHistory::of(deliveries.values());
        let (open, closed) = deliveries.into_iter().partition(|(_, known)| known.next().is_some());
        let mut account = Self { read, open, closed, reception, ..Self::default() };
        account.prune();
        account
    }

    pub(crate) fn read(&self) -> Position {
        self.read
    }

    /// Up to which position nothing is left to be delivered.
    pub(crate) fn done_through(&self) -> Position {
        let before = self.open.keys().next().map(|first| Position(first.position.0.saturating_sub(1)));
        before.map_or(self.read, |before| before.min(self.read))
    }

    /// Another node has delivered what there is up to this position, or has given it up.
    pub(crate) fn is_done_elsewhere(&mut self, done: Position) {
        let told: Vec<_> = self.open.keys().take_while(|id| id.position <= done).copied().collect();
        for id in told {
            self.withdraw(id);
        }
        if done > self.read {
            self.read = done;
            self.is_read_unsaved = true;
        }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.open.len() < WINDOW
    }

    /// Takes news up to a position into the account.
    ///
    /// News that does not go on where the account stands is of a reader that has not yet heard that it begins again.
    pub(crate) fn take<'a>(
        &mut self,
        news: impl Iterator<Item = &'a Notice>,
        (first, last): (Position, Position),
        now: Timestamp,
    ) {
        if first > self.read.next() {
            return;
        }
        let read = self.read;
        for notice in news.filter(|notice| notice.position > read) {
            let id = notice.notice_id.id;
            if !self.open.contains_key(&id) {
                self.closed.remove(&id);
                self.open.insert(id, QueuedDelivery::new(notice, now));
                self.unsaved.insert(id);
            }
        }
        self.read = self.read.max(last);
        self.is_read_unsaved = true;
    }

    /// Whether a redelivery still has notices that are neither delivered nor parked.
    pub(crate) fn is_telling_again(&self) -> bool {
        self.again.is_some_and(|(from, to)| {
            let first = NoticeId { position: from, number: 0 };
            let next = self.open.range(first..).next();
            self.read < to || next.is_some_and(|(id, _)| id.position <= to)
        })
    }

    /// Begins again at a position: whatever was delivered from there on, up to the last position now, is delivered once
    /// more, and what is on its way is when it has arrived.
    pub(crate) fn begin_again(&mut self, from: Position, to: Position) {
        self.again = Some((from, to));
        let first = NoticeId { position: from, number: 0 };
        let again: Vec<_> =
            self.open.range(first..).chain(self.closed.range(first..)).map(|(id, _)| *id).collect();
        let (away, here): (Vec<_>, Vec<_>) = again.into_iter().partition(|id| self.away.contains(id));
        self.once_more.extend(away);
        for id in here {
            self.open.remove(&id);
            self.closed.remove(&id);
            self.unsaved.insert(id);
        }
        self.read = self.read.min(Position(from.0.saturating_sub(1)));
        self.is_read_unsaved = true;
        self.failures = 0;
        self.rests_until = None;
    }

    /// The receiver took this long for an answer, or for none.
    pub(crate) fn note_pace(&mut self, took: Duration) {
        self.is_quick = took < QUICK;
    }

    /// The notices whose turn it is now; from now on they are on their way.
    pub(crate) fn depart(&mut self, now: Timestamp) -> Vec<NoticeId> {
        let due: Vec<_> = self.turns(now).collect();
        self.away.extend(&due);
        due
    }

    /// Of the first notices of each session, those due and free to go.
    fn turns(&self, now: Timestamp) -> impl Iterator<Item = NoticeId> {
        let is_down = self.rests_until.is_some();
        let rests = self.rests_until.is_some_and(|until| now < until);
        let abreast = if self.is_quick { ABREAST } else { 1 };
        let mut places = abreast.saturating_sub(self.away.len());
        let mut probes = usize::from(is_down && !rests && self.away.is_empty());
        let mut turns = vec![];
        for (id, delivery) in self.heads() {
            if places == 0 {
                break;
            }
            if self.away.contains(id) || delivery.next().is_none_or(|next| next > now) {
                continue;
            }
            // What is too old is asked for a last time, so that it can be given up.
            if is_down && !delivery.is_overdue(now) {
                if probes == 0 {
                    continue;
                }
                probes -= 1;
            }
            places -= 1;
            turns.push(*id);
        }
        turns.into_iter()
    }

    /// The open notices that no earlier one of the same session stands before. One about several sessions of
    /// a subject comes in order with all of that subject's; one about several subjects, with all there are.
    fn heads(&self) -> impl Iterator<Item = (&NoticeId, &QueuedDelivery)> {
        let mut sessions = BTreeSet::new();
        let mut subjects = BTreeMap::<Option<&SubjectId>, bool>::new();
        let mut of_all_before = None;
        self.open.iter().filter(move |(id, delivery)| {
            let subject = delivery.subject.as_ref();
            if subject.is_none() && delivery.session.is_none() {
                // One event goes to each owner: these do not wait for one another.
                return *of_all_before.get_or_insert(id.position) == id.position && subjects.is_empty();
            }
            let of_many_before = subjects.get(&subject).copied();
            let is_head = match delivery.session {
                Some(session) => sessions.insert(session) && of_many_before != Some(true),
                None => of_many_before.is_none(),
            };
            *subjects.entry(subject).or_default() |= delivery.session.is_none();
            is_head && of_all_before.is_none()
        })
    }

    /// When something is due next, as far as is known; `None` while something is in flight.
    pub(crate) fn next_turn(&self) -> Option<Timestamp> {
        let waiting = self.heads().filter(|(id, _)| !self.away.contains(*id));
        let next =
            waiting.filter_map(|(_, delivery)| Some((delivery.next()?, delivery))).map(|(next, delivery)| {
                let last_chance = delivery.since.plus(backoff::GIVE_UP_AFTER);
                self.rests_until.map_or(next, |until| next.max(until.min(last_chance)))
            });
        next.min()
    }

    /// Whether nothing is on its way.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.away.is_empty()
    }

    /// Notes how an attempt went. The jitter spreads the next one.
    pub(crate) fn arrive(&mut self, id: NoticeId, answer: AttemptAnswer, now: Timestamp, jitter: u16) {
        self.away.remove(&id);
        self.note_health(answer.outcome, now);
        let attempt = DeliveryAttempt { at: now, outcome: answer.outcome, http_status: answer.status };
        self.reception.note(attempt);
        let Some(delivery) = self.open.get_mut(&id) else { return };
        delivery.attempts.push(attempt);
        let surplus = delivery.attempts.len().saturating_sub(ATTEMPTS);
        delivery.attempts.drain(..surplus);
        if self.once_more.remove(&id) {
            (delivery.since, delivery.fate) = (now, DeliveryState::Pending(now));
        } else {
            delivery.fate = delivery.fate_after(answer, now, jitter);
        }
        self.unsaved.insert(id);
        if delivery.next().is_none() {
            let delivery = self.open.remove(&id).expect("it was found above");
            self.closed.insert(id, delivery);
            self.prune();
        }
    }

    /// Takes out a notice that no longer exists, or no longer concerns this webhook's owner.
    pub(crate) fn withdraw(&mut self, id: NoticeId) {
        self.away.remove(&id);
        self.once_more.remove(&id);
        self.open.remove(&id);
        self.unsaved.insert(id);
    }

    /// A failing receiver is left alone for a while. Once it is back, its notices wait no longer.
    fn note_health(&mut self, outcome: DeliveryOutcome, now: Timestamp) {
        if outcome == DeliveryOutcome::Delivered {
            self.failures = 0;
            if self.rests_until.take().is_some() {
                self.wake(now);
            }
        } else {
            self.failures = self.failures.saturating_add(1);
            if self.failures >= backoff::DOWN {
                self.rests_until = Some(now.plus_millis(backoff::rest(self.failures)));
            }
        }
    }

    fn wake(&mut self, now: Timestamp) {
        for (id, delivery) in &mut self.open {
            if delivery.next().is_some_and(|next| next > now) {
                delivery.fate = DeliveryState::Pending(now);
                self.unsaved.insert(*id);
            }
        }
    }

    fn prune(&mut self) {
        for (fate, most) in [(DeliveryState::Delivered, DELIVERED), (DeliveryState::Parked, PARKED)] {
            let known = self.closed.iter().filter(|(_, delivery)| delivery.fate == fate);
            let surplus = known.clone().count().saturating_sub(most);
            let oldest: Vec<_> = known.take(surplus).map(|(id, _)| *id).collect();
            for id in oldest {
                self.closed.remove(&id);
                self.unsaved.insert(id);
            }
        }
    }

    /// The deliveries before some notice, newest first.
    pub(crate) fn newest(&self, before: Option<NoticeId>, most: usize) -> Vec<(NoticeId, QueuedDelivery)> {
        let is_before = |id: &NoticeId| before.is_none_or(|before| *id < before);
        let of = |known: &BTreeMap<NoticeId, QueuedDelivery>| -> Vec<(NoticeId, QueuedDelivery)> {
            let newest = known.iter().rev().filter(|(id, _)| is_before(id));
            newest.take(most).map(|(id, delivery)| (*id, delivery.clone())).collect()
        };
        let mut found = [of(&self.open), of(&self.closed)].concat();
        found.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
        found.truncate(most);
        found
    }

    /// How many are open, how many parked, and the open one that has waited longest, since when.
    pub(crate) fn counts(&self) -> (usize, usize, Option<(NoticeId, Timestamp)>) {
        let parked = self.closed.values().filter(|delivery| delivery.fate == DeliveryState::Parked).count();
        let oldest = self.open.iter().min_by_key(|(_, delivery)| delivery.since);
        (self.open.len(), parked, oldest.map(|(id, delivery)| (*id, delivery.since)))
    }

    /// How the receiver takes what it is sent.
    pub(crate) const fn reception(&self) -> ReceiverHistory {
        self.reception
    }

    /// What differs from the store; from now on it does not.
    pub(crate) fn unsaved(&mut self) -> Option<UnsavedChanges> {
        if self.unsaved.is_empty() && !self.is_read_unsaved {
            return None;
        }
        self.is_read_unsaved = false;
        let changed = std::mem::take(&mut self.unsaved);
        let of = |id: NoticeId| (id, self.open.get(&id).or_else(|| self.closed.get(&id)).cloned());
        Some(UnsavedChanges { read: self.read, deliveries: changed.into_iter().map(of).collect() })
    }

    /// Whether something differs from the store beyond the position that was read to.
    pub(crate) fn is_urgent(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// All of it is to be saved: the store may lack any of it.
    pub(crate) fn forget_saving(&mut self) {
        self.is_read_unsaved = true;
        self.unsaved.extend(self.open.keys().chain(self.closed.keys()));
    }

    /// What could not be saved is to be saved again. What is gone is not: at worst it comes back after a crash.
    pub(crate) fn not_saved(&mut self, unsaved: &UnsavedChanges) {
        self.is_read_unsaved = true;
        let kept = unsaved.deliveries.iter().map(|(id, _)| *id);
        self.unsaved.extend(kept.filter(|id| self.open.contains_key(id) || self.closed.contains_key(id)));
    }
}

/// What of an account differs from the store.
pub(crate) struct UnsavedChanges {
    pub(crate) read: Position,
    /// None for what is no longer in it.
    pub(crate) deliveries: Vec<(NoticeId, Option<QueuedDelivery>)>,
}

#[cfg(test)]
mod tests;
