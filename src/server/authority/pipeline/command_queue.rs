//! Where requests wait for the sequencer: two bounded queues, so that a revocation never waits behind creates.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{control::ControlMessage, request::QueuedRequest};

/// Maximum waiting requests per queue; one more is answered "overloaded".
///
/// This is 16 batches: at the slowest sync worth serving (100 ms a batch) some 1.6 s of waiting.
pub(crate) const CAPACITY: usize = 8_192;

/// Requests that wait for a decision.
pub(crate) struct CommandQueue {
    queues: Mutex<QueueState>,
    arrived: Condvar,
    /// Whether something urgent waits, for callers that ask often.
    has_urgent: AtomicBool,
}

#[derive(Default)]
struct QueueState {
    /// These go before all requests, and are taken one by one.
    controls: VecDeque<ControlMessage>,
    urgent: VecDeque<QueuedRequest>,
    ordinary: VecDeque<QueuedRequest>,
    closed: bool,
    /// How many ordinary requests are worth waking the sequencer for.
    wanted: usize,
}

/// When to stop gathering: a caller answered just now is likely to ask again at once, and two halves that
/// take turns at the disk get more done than one request at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GatherWindow {
    /// How many requests the last batch answered.
    pub(crate) answered: usize,
    /// Until when others are waited for, once there is one.
    pub(crate) until: Instant,
}

/// What the sequencer finds when it looks.
pub(crate) enum QueueItem {
    /// Requests to decide, urgent ones first. Empty when none came in time.
    Requests(Vec<QueuedRequest>),
    /// What another machine has recorded, or whether this one leads.
    Control(ControlMessage),
    /// None, and none will come.
    Closed,
}

/// Why a request was not taken in.
#[derive(Debug)]
pub(crate) enum QueueRejection {
    /// Its queue is full.
    Full,
    /// The authority is stopping.
    Closed,
}

impl CommandQueue {
    pub(crate) fn new() -> Self {
        Self { queues: Mutex::default(), arrived: Condvar::new(), has_urgent: AtomicBool::new(false) }
    }

    /// Takes a request in, or says at once that it cannot.
    pub(crate) fn put(&self, request: QueuedRequest) -> Result<(), QueueRejection> {
        let mut queues = self.queues.lock();
        if queues.closed {
            return Err(QueueRejection::Closed);
        }
        let queue = queues.of(&request);
        if queue.len() >= CAPACITY {
            return Err(QueueRejection::Full);
        }
        queue.push_back(request);
        self.note_urgent(&queues);
        let is_enough = queues.is_enough();
        drop(queues);
        if is_enough {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Takes in what goes before all requests.
    pub(crate) fn control(&self, control: ControlMessage) -> Result<(), QueueRejection> {
        let mut queues = self.queues.lock();
        if queues.closed {
            return Err(QueueRejection::Closed);
        }
        queues.controls.push_back(control);
        drop(queues);
        self.arrived.notify_one();
        Ok(())
    }

    /// Waits for requests, `patience` at most, gathers some more, and takes up to `most` of them.
    pub(crate) fn take(&self, most: usize, patience: Duration, gathering: GatherWindow) -> QueueItem {
        let mut queues = self.queues.lock();
        // All who are at work now, those just answered and those who wait, in two halves.
        queues.wanted = usize::midpoint(gathering.answered, queues.len()).clamp(1, most);
        while !queues.is_enough() {
            if self.arrived.wait_until(&mut queues, gathering.until).timed_out() {
                break;
            }
        }
        if queues.is_empty() && !queues.closed {
            queues.wanted = 1;
            self.arrived.wait_for(&mut queues, patience);
        }
        if let Some(control) = queues.controls.pop_front() {
            return QueueItem::Control(control);
        }
        if queues.is_empty() && queues.closed {
            return QueueItem::Closed;
        }
        let taken = queues.drain(most);
        self.note_urgent(&queues);
        QueueItem::Requests(taken)
    }

    /// The next request that goes before all others, if one waits. To ask between two decisions costs a look.
    pub(crate) fn take_urgent(&self) -> Option<QueuedRequest> {
        if !self.has_urgent.load(Ordering::Acquire) {
            return None;
        }
        let mut queues = self.queues.lock();
        let next = queues.urgent.pop_front();
        self.note_urgent(&queues);
        next
    }

    /// Puts requests that were taken and not decided back to where they were, in their order.
    pub(crate) fn put_back(&self, requests: impl DoubleEndedIterator<Item = QueuedRequest>) {
        let mut queues = self.queues.lock();
        requests.rev().for_each(|request| queues.of(&request).push_front(request));
        self.note_urgent(&queues);
    }

    fn note_urgent(&self, queues: &QueueState) {
        self.has_urgent.store(!queues.urgent.is_empty(), Ordering::Release);
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queues.lock().len()
    }

    /// Takes nothing in any more; what waits is still decided.
    pub(crate) fn close(&self) {
        self.queues.lock().closed = true;
        self.arrived.notify_one();
    }
}

impl QueueState {
    /// Where this request waits.
    fn of(&mut self, request: &QueuedRequest) -> &mut VecDeque<QueuedRequest> {
        if request.ask.is_urgent() { &mut self.urgent } else { &mut self.ordinary }
    }

    fn is_empty(&self) -> bool {
        self.controls.is_empty() && self.urgent.is_empty() && self.ordinary.is_empty()
    }

    fn len(&self) -> usize {
        self.urgent.len() + self.ordinary.len()
    }

    /// What is urgent is enough by itself.
    fn is_enough(&self) -> bool {
        !self.urgent.is_empty()
            || !self.controls.is_empty()
            || self.closed
            || self.ordinary.len() >= self.wanted
    }

    fn drain(&mut self, most: usize) -> Vec<QueuedRequest> {
        let urgent = self.urgent.len().min(most);
        let ordinary = self.ordinary.len().min(most - urgent);
        self.urgent.drain(..urgent).chain(self.ordinary.drain(..ordinary)).collect()
    }
}
