//! The feed for verifiers who stay: what has ended, then what ends, as it happens, with the keys and with how far and
//! until when the verifier has heard everything.

use std::{convert::Infallible, time::Duration};

use axum::body::{Body, Bytes};
use futures_util::stream::unfold;
use tokio::time::{Instant, sleep_until};

use super::page;
use crate::http::{
    api::ApiContext,
    keys,
    record::stream::{HEARTBEAT, StreamStay},
    reply::{HttpReply, problem::Problem},
    request::{admission, call::ApiCall},
};
use crate::notify::{EndWatcher, WatchTarget};
use std::sync::Arc;
use tenure_core::{EpochPosition, Position};
use tenure_log::waiting_for_disk;
use tenure_protocol::{
    clock::stopwatch,
    wire::{FeedHead, FeedItem},
};

/// How often, at least, a verifier learns up to when it has heard everything; the contract allows 2 s.
const HEADS: Duration = Duration::from_secs(1);
/// Ends per look-up.
const STRIDE: usize = 200;

/// Answers with a stream of what ended after this position.
pub(super) fn answer(call: &ApiCall, after: Position) -> Result<HttpReply, Problem> {
    let place = admission::stream(&call.api, &call.caller, call.is_exempt)?;
    let follower = VerifierStream {
        // From now on nothing is missed: what happens while the past is sent wakes it.
        watcher: call.api.authority.watch(WatchTarget::Ends),
        api: Arc::clone(&call.api),
        stay: StreamStay::of(call, place),
        after,
        keys: String::new(),
        due: stopwatch().into(),
        heartbeat: stopwatch().into(),
    };
    Ok(HttpReply::stream("text/event-stream", Body::from_stream(unfold(follower, VerifierStream::piece))))
}

/// A verifier that follows.
struct VerifierStream {
    api: Arc<ApiContext>,
    stay: StreamStay,
    watcher: EndWatcher,
    /// Everything up to here was sent.
    after: Position,
    /// The keys as last sent.
    keys: String,
    /// When to send something, whether something has happened or not.
    due: Instant,
    heartbeat: Instant,
}

impl VerifierStream {
    /// What is sent next; `None` ends the stream.
    async fn piece(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            let now = stopwatch().into();
            if !self.stay.may_go_on(now) {
                return None;
            }
            if now >= self.due {
                let stale = self.api.staleness_of_streams()?;
                let text = self.next(now, stale).inspect_err(|problem| {
                    tracing::error!(
                        problem = problem.code.name(),
                        "the feed of revocations ends: the log cannot be read"
                    );
                });
                return text.ok().map(|text| (Ok(text.into()), self));
            }
            let look_again = self.due.min(self.stay.until());
            tokio::select! {
                () = self.stay.over() => return None,
                woken = self.watcher.woken() => {
                    woken?;
                    self.due = now;
                }
                () = sleep_until(look_again) => {}
            }
        }
    }

    /// The next ends, and, once there are no more, up to which position and time they are complete: a node that follows
    /// may lack what was recorded since.
    fn next(&mut self, now: Instant, stale: Duration) -> Result<String, Problem> {
        let mut text = self.heartbeat(now);
        text.push_str(&self.changed_keys());
        // The time first: what happens between the two is sent, and is no part of the promise.
        let stale = i64::try_from(stale.as_millis()).unwrap_or(i64::MAX);
        let at = self.api.authority.now().plus_millis(-stale);
        let head = self.api.authority.live().position();
        let page = waiting_for_disk(|| page(&self.api, self.after, STRIDE, head, at))?;
        page.items.iter().for_each(|item| text.push_str(&self.message(item)));
        self.after = page.next_after.position;
        if self.after >= page.head {
            let head = FeedHead { head: page.head, now: page.now };
            text.push_str(&event("head", Some(self.api.named_now(head.head)), &json(&head)));
            self.due = now + HEADS;
        }
        Ok(text)
    }

    fn heartbeat(&mut self, now: Instant) -> String {
        if now < self.heartbeat {
            return String::new();
        }
        self.heartbeat = now + HEARTBEAT;
        format!(": {}\n\n", self.api.named_now(self.after))
    }

    fn message(&self, item: &FeedItem) -> String {
        event("revocation", Some(self.api.named_now(item.position())), &json(item))
    }

    fn changed_keys(&mut self) -> String {
        let keys = json(&keys::view(&self.api));
        if keys == self.keys {
            return String::new();
        }
        self.keys = keys;
        event("keys", None, &self.keys)
    }
}

fn json(document: &impl serde::Serialize) -> String {
    serde_json::to_string(document).expect("our own documents are always JSON")
}

fn event(name: &str, id: Option<EpochPosition>, data: &str) -> String {
    let id = id.map_or(String::new(), |id| format!("id: {id}\n"));
    format!("{id}event: {name}\ndata: {data}\n\n")
}
