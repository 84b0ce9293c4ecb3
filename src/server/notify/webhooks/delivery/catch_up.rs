//! The past, read for one webhook: after a redelivery was asked for, or when a receiver was down for long.
//!
//! It passes a gate, on threads that stand behind those that answer checks: two webhooks read at once, each a slice of
//! the history, and then it is the next one's turn. Notices that a webhook does not want leave no trace in memory.

use std::{pin::Pin, sync::Arc};

use super::endpoint::wants;
use crate::gate::{CancelCheck, GateRefusal, WorkGate};
use crate::notify::{Notice, notices_of, webhooks::WebhooksInner};
use tenure_core::{Position, webhook::Webhook};
use tenure_log::LogError;

/// What lies no further back is read with the news.
const FAR: u64 = 1_000;
/// Maximum webhooks that read the past at once.
const AT_ONCE: usize = 2;
/// Each webhook has one slice behind the gate at most, so this is as many as there are webhooks.
const WAITING: usize = usize::MAX - AT_ONCE;
/// Events read from the log at a time.
const PAGE: usize = 500;
/// Events in a slice; after it others have their turn.
const SLICE: u64 = 10_000;
/// Maximum notices for the webhook in a slice.
const ENOUGH: usize = 500;

/// The gate of all webhooks.
pub(crate) fn gate() -> WorkGate {
    WorkGate::new("redeliveries", AT_ONCE, WAITING)
}

/// Whether a webhook that has read up to here reads the past.
pub(super) fn is_far(read: Position, head: Position) -> bool {
    head.0.saturating_sub(read.0) > FAR
}

/// A slice being read.
pub(super) type PendingSlice = Pin<Box<dyn Future<Output = Result<PastSlice, CatchUpError>> + Send>>;

/// Part of the past, and what of it is for the webhook.
pub(super) struct PastSlice {
    /// The notices, in order.
    pub(super) own: Vec<Notice>,
    /// Its first position and its last.
    pub(super) span: (Position, Position),
}

/// Why a slice was not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum CatchUpError {
    /// The log could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// There was no thread for it.
    #[error(transparent)]
    Gate(#[from] GateRefusal),
    /// The log ends before the news does.
    #[error("the log has nothing after position {0}")]
    Nothing(Position),
}

/// Begins to read the slice after a position. Dropped, it is given up.
pub(super) fn slice_after(
    shared: &Arc<WebhooksInner>,
    webhook: &Arc<Webhook>,
    after: Position,
) -> PendingSlice {
    let (shared, webhook) = (Arc::clone(shared), Arc::clone(webhook));
    Box::pin(async move {
        let gate = shared.past.clone();
        gate.run(move |wanted| read(&shared, &webhook, after, wanted)).await?
    })
}

/// Whether what lies between two positions is enough at once. What would be left to be read with the news, on a thread
/// that answers checks, is read too.
fn is_slice(after: Position, last: Position, head: Position) -> bool {
    last.0.saturating_sub(after.0) >= SLICE && is_far(last, head)
}

fn read(
    shared: &WebhooksInner,
    webhook: &Webhook,
    after: Position,
    wanted: &CancelCheck<'_>,
) -> Result<PastSlice, CatchUpError> {
    let (mut own, mut last) = (Vec::new(), after);
    let is_open = |last| !is_slice(after, last, shared.source.head());
    while wanted.is_wanted() && own.len() < ENOUGH && is_open(last) {
        let page = shared.source.past(last, PAGE)?;
        let Some(end) = page.last() else { break };
        last = end.last();
        let notices = page.iter().flat_map(|stored| notices_of(stored, None, &*shared.source));
        own.extend(notices.filter(|notice| wants(webhook, notice)));
    }
    if last == after {
        Err(CatchUpError::Nothing(after))
    } else {
        Ok(PastSlice { own, span: (after.next(), last) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last thousand events of each redelivery were read where checks are answered, a few at a time.
    #[test]
    fn the_last_slice_reads_to_the_end() {
        let ends_at = |last, head| is_slice(Position(7), Position(last), Position(head));
        assert!(!ends_at(10_006, 1_000_000) && ends_at(10_007, 1_000_000));
        assert!(ends_at(20_000, 21_001) && !ends_at(20_000, 21_000) && !ends_at(21_000, 21_000));
    }
}
