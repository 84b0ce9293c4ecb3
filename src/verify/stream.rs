//! The feed as it happens: what has ended is known within milliseconds. Rounds go on beside it, seldom: they say which
//! history this is and what time it is there.

use std::time::Duration;

use tokio::time::timeout;

use super::{Verifier, connection::AuthorityConnection, responses::FeedItem};
use tenure_http_client::{
    backoff::Backoff,
    sse::{SseEvent, SseItem, SseStream},
};
use tenure_protocol::{
    Position,
    entropy::{self, OsEntropy},
    wire,
};

/// A stream silent for this time is lost, whatever its connection says: the authority speaks every second, and
/// promises to do so every other.
const SILENCE: Duration = Duration::from_millis(2_500);
/// When a stream that could not be opened, or was soon lost, is tried again; half of it is random, so that those that lost theirs
/// together do not come back together.
const RETRIES: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30) };

/// What a stream makes necessary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamAction {
    /// Nothing: it was learnt.
    GoOn,
    /// A round: keys have changed, or the clock there was moved.
    Ask,
    /// The stream is lost; a round fills the gap.
    Lost,
}

/// The stream, or when to try again to have one.
#[derive(Debug, Default)]
pub(super) struct FeedStream {
    events: Option<SseStream>,
    /// Whether the keys were sent, as at the beginning of each stream.
    has_keys: bool,
    opened: Duration,
    losses: u32,
    not_before: Duration,
}

impl FeedStream {
    /// Whether there is one.
    pub(super) fn is_open(&self) -> bool {
        self.events.is_some()
    }

    /// Opens it where the last round ended, if there is none and it is time.
    pub(super) async fn open(
        &mut self,
        verifier: &Verifier,
        connection: &AuthorityConnection,
        after: Position,
    ) {
        let now = verifier.elapsed();
        if self.is_open() || now < self.not_before {
            return;
        }
        match connection.follow(after).await {
            Ok(Some(events)) => {
                (self.events, self.has_keys, self.opened) = (Some(events), false, now);
            }
            Ok(None) => self.lose(now),
            Err(why) => {
                tracing::debug!("no stream of revocations: {why}");
                self.lose(now);
            }
        }
    }

    /// Waits for the next event, and lets the verifier learn it. Without a stream it waits forever.
    pub(super) async fn next(&mut self, verifier: &Verifier) -> StreamAction {
        let Some(events) = &mut self.events else { return std::future::pending().await };
        let told = timeout(SILENCE, events.next()).await;
        let then = match told {
            Ok(Ok(Some(SseItem::Event(event)))) => self.take(verifier, &event),
            Ok(Ok(Some(SseItem::Comment))) => StreamAction::GoOn,
            Ok(Ok(None) | Err(_)) | Err(_) => StreamAction::Lost,
        };
        if then == StreamAction::Lost {
            tracing::debug!("the stream of revocations has ended");
            self.lose(verifier.elapsed());
        }
        then
    }

    fn take(&mut self, verifier: &Verifier, event: &SseEvent) -> StreamAction {
        match event.name.as_str() {
            "revocation" => match serde_json::from_str::<wire::FeedItem>(&event.data) {
                Ok(item) => {
                    let item = FeedItem::of(&item);
                    verifier.learn(|state| state.learn_revocations(item.revocations()));
                    StreamAction::GoOn
                }
                Err(_) => StreamAction::Lost,
            },
            "head" => match serde_json::from_str::<wire::FeedHead>(&event.data) {
                Ok(head) => {
                    let now = verifier.elapsed();
                    let mut goes_alike = true;
                    verifier.learn(|state| goes_alike = state.heard_until(head.now, now));
                    if goes_alike { StreamAction::GoOn } else { StreamAction::Ask }
                }
                Err(_) => StreamAction::Lost,
            },
            // A round asks for them: a delayed stream would bring back what was withdrawn.
            "keys" if std::mem::replace(&mut self.has_keys, true) => StreamAction::Ask,
            _ => StreamAction::GoOn,
        }
    }

    fn lose(&mut self, now: Duration) {
        let lasted = self.events.take().map(|_| now.saturating_sub(self.opened));
        self.losses = if lasted.is_some_and(|lasted| lasted > RETRIES.longest) { 0 } else { self.losses + 1 };
        self.not_before = now + RETRIES.wait(self.losses.max(1), entropy::jitter(&OsEntropy));
    }
}
