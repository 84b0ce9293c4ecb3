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

/// A stream silent for this time is lost: the authority speaks every 15 s.
const SILENCE: Duration = Duration::from_secs(17);
/// When a stream that could not be opened, or was soon lost, is tried again.
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
        sleep(RETRIES.step(losses).max(wish.unwrap_or_default())).await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_listeners_than_a_session_may_have_take_turns_more_and_more_seldom() {
        assert_eq!([0, 1, 2, 6, 7, 99].map(|losses| RETRIES.step(losses).as_secs()), [0, 1, 2, 32, 60, 60]);
    }
}
