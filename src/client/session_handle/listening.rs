//! Listens to the session's own stream, so that its end is known within a second and not at the next check.
//!
//! What the stream says is only a reason to ask at once: the answer shows what has ended the session, and a wrong
//! stream ends none. That it says nothing proves nothing of the token that the holder has, so checks go on beside it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{sleep, timeout};

use super::{super::error::Error, HandleInner};
use tenure_http_client::{
    backoff::Backoff,
    sse::{SseItem, SseStream},
};
use tenure_protocol::entropy::{self, OsEntropy};

/// A stream silent for this time is lost: the authority speaks every 15 s.
const SILENCE: Duration = Duration::from_secs(17);
/// When a stream that could not be opened, or was lost, is tried again; half of it is random, so that holders who lost
/// theirs together do not come back together.
const RETRIES: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(1) };

/// Whether something was heard that calls for a check.
#[derive(Debug, Default)]
pub(super) struct StreamListener(AtomicBool);

impl StreamListener {
    /// Whether there was, since this was asked last.
    pub(super) fn take_change(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }

    pub(super) fn note(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Listens for as long as the session is held.
pub(super) async fn listen(held: Arc<HandleInner>) {
    let mut losses = 0_u32;
    while !held.has_ended() {
        let begun = held.client.time().now();
        let wish = match held.client.clone().with_credential(held.token()).events(held.id()).await {
            Ok(events) => {
                hear_out(&held, events).await;
                None
            }
            Err(error) => {
                // A refused token calls for a check, as with every call.
                if matches!(&error, Error::Refused(problem) if problem.status == 401) {
                    held.check_soon();
                }
                error.retry_after()
            }
        };
        let lasted = held.client.time().now().millis_since(begun);
        let lasted = Duration::from_millis(u64::try_from(lasted).unwrap_or(0));
        losses = if lasted > RETRIES.longest { 0 } else { losses + 1 };
        let wait = RETRIES.wait(losses.max(1), entropy::jitter(&OsEntropy));
        sleep(wait.max(wish.unwrap_or_default())).await;
    }
}

/// Until the stream is lost.
async fn hear_out(held: &HandleInner, mut events: SseStream) {
    while let Ok(Ok(Some(told))) = timeout(SILENCE, events.next()).await {
        if matches!(&told, SseItem::Event(event) if event.name != "resumed") {
            held.check_soon();
        }
    }
}
