//! Listens to the session's own stream, so that its end is known within a second and not at the next check.
//!
//! What the stream says is only a reason to ask at once: the answer shows what has ended the session, and a wrong
//! stream ends none. A message that the session goes on is as good as a check.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::{super::error::Error, HandleInner};
use tenure_http_client::{
    backoff::Backoff,
    sse::{SseItem, SseStream},
};
use tenure_protocol::Timestamp;

/// A stream silent for this time is lost: the authority speaks every 15 s.
const SILENCE: Duration = Duration::from_secs(17);
/// What is heard of the stream counts longer than a check by this time: the authority speaks as often as is asked.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// When a stream that could not be opened, or was soon lost, is tried again.
const RETRIES: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_mins(1) };

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct StreamListener(Mutex<HeardSign>);

#[derive(Clone, Copy, Debug, Default)]
struct HeardSign {
    /// When the stream last said something; `None` without a stream.
    sign: Option<Timestamp>,
    /// Whether it said something that calls for a check.
    is_news: bool,
}

impl StreamListener {
    /// When the session stood according to the stream; `None` without a stream.
    pub(super) fn sign(&self) -> Option<Timestamp> {
        self.0.lock().sign
    }

    /// Whether it has since said something that calls for a check.
    pub(super) fn take_change(&self) -> bool {
        std::mem::take(&mut self.0.lock().is_news)
    }

    fn note(&self, now: Timestamp, is_news: bool) {
        let mut heard = self.0.lock();
        heard.sign = Some(now);
        heard.is_news |= is_news;
    }

    fn lose(&self) {
        self.0.lock().sign = None;
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
                    held.ears.note(held.client.time().now(), true);
                    held.news.notify_one();
                }
                error.retry_after()
            }
        };
        held.ears.lose();
        let lasted = held.client.time().now().millis_since(begun);
        let lasted = Duration::from_millis(u64::try_from(lasted).unwrap_or(0));
        losses = if lasted > RETRIES.longest { 0 } else { losses + 1 };
        sleep(RETRIES.step(losses).max(wish.unwrap_or_default())).await;
    }
}

/// Until the stream is lost.
async fn hear_out(held: &HandleInner, mut events: SseStream) {
    while let Ok(Ok(Some(told))) = timeout(SILENCE, events.next()).await {
        let is_news = matches!(&told, SseItem::Event(event) if event.name != "resumed");
        held.ears.note(held.client.time().now(), is_news);
        // Also when nothing is to be done now: when the next check is due has changed.
        held.news.notify_one();
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
