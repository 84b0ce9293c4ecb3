//! The live end of the log, for as long as its reader is signed in.
//!
//! What is recorded in quick succession goes out together: a person sees no more than a few updates a second, and each
//! one costs every open page a write. Between two of them the feed is asked a few times a second whether there is
//! something new, instead of waking every open page for every batch of events.

use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use futures_util::{FutureExt, StreamExt, stream::unfold};
use tenure_protocol::clock::stopwatch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::request::SignedInRequest;

/// How often to check that a sign-in still entitles its streams to stay open.
const RECHECK: Duration = Duration::from_secs(2);
/// Between two updates of an open page.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two looks at the feed while events come. It keeps its last 64 batches, of which one comes every 4 ms at most:
/// a reader that falls behind it costs a read of the log.
const LOOK: Duration = Duration::from_millis(100);
/// About the longest update, in bytes.
const UPDATE: usize = 256 * 1024;

/// Ends a stream soon after its sign-in has ended. Listening is not a use of the sign-in.
pub(super) fn while_signed_in(visit: &SignedInRequest, body: Body) -> Body {
    let (console, id) = (visit.console().clone(), visit.holder().session.id);
    let is_live = move || {
        let authority = console.api.authority();
        let is_live = authority.live().session(id).is_some_and(|session| session.is_live(authority.now()));
        is_live && authority.has_open_tokens(id)
    };
    let tail = LiveTail::of(body, is_live);
    Body::from_stream(unfold(tail, LiveTail::update))
}

/// What a page of the log hears.
struct LiveTail<F> {
    pieces: BodyDataStream,
    ticks: Interval,
    is_live: F,
    /// What has come since the last update.
    heard: Vec<u8>,
    /// When the next update may go out.
    next: Instant,
    is_over: bool,
}

impl<F: Fn() -> bool> LiveTail<F> {
    fn of(body: Body, is_live: F) -> Self {
        let mut ticks = interval(RECHECK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (pieces, next) = (body.into_data_stream(), stopwatch().into());
        Self { pieces, ticks, is_live, heard: Vec::new(), next, is_over: false }
    }

    async fn update(mut self) -> Option<(Result<Bytes, axum::Error>, Self)> {
        while !self.is_over {
            let now = Instant::from(stopwatch());
            if now >= self.next && !self.heard.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                _ = self.ticks.tick() => if !(self.is_live)() { return None },
                piece = self.pieces.next(), if now >= self.next => self.hear(piece),
                () = sleep_until(self.next.min(now + LOOK)), if now < self.next => {}
            }
            self.look();
        }
        if self.heard.is_empty() {
            return None;
        }
        self.next = Instant::from(stopwatch()) + PAUSE;
        Some((Ok(std::mem::take(&mut self.heard).into()), self))
    }

    /// Takes what is there, and asks for no wake-up.
    fn look(&mut self) {
        while !self.is_over && self.heard.len() < UPDATE {
            let Some(piece) = self.pieces.next().now_or_never() else { break };
            self.hear(piece);
        }
    }

    fn hear(&mut self, piece: Option<Result<Bytes, axum::Error>>) {
        match piece {
            Some(Ok(piece)) => self.heard.extend_from_slice(&piece),
            Some(Err(_)) | None => self.is_over = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    use futures_util::stream::poll_fn;
    use tenure_protocol::clock::pause;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    /// Every event woke every open page of the log.
    #[tokio::test]
    async fn an_open_log_is_not_woken_for_every_event() {
        const EVENTS: usize = 1_000;
        let (send, mut receive) = unbounded_channel::<Bytes>();
        let waits = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&waits);
        let pieces = poll_fn(move |context| {
            let polled = receive.poll_recv(context);
            if polled.is_pending() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
            polled.map(|piece| piece.map(Ok::<_, Infallible>))
        });
        let begun = stopwatch();
        let events = thread::spawn(move || {
            for _ in 0..EVENTS {
                send.send(Bytes::from_static(b"data: {}\n\n")).unwrap();
                pause(Duration::from_millis(1));
            }
        });
        let mut tail = LiveTail::of(Body::from_stream(pieces), || true);
        let (mut updates, mut heard) = (0, 0);
        while let Some((piece, next)) = tail.update().await {
            heard += piece.unwrap().len();
            updates += 1;
            tail = next;
        }
        events.join().unwrap();
        assert_eq!(heard, EVENTS * b"data: {}\n\n".len());
        let most =
            |each: Duration| usize::try_from(begun.elapsed().as_millis() / each.as_millis()).unwrap() + 2;
        assert!(updates <= most(PAUSE), "{updates} updates");
        let waits = waits.load(Ordering::Relaxed);
        assert!(waits <= most(LOOK) + 2 * most(PAUSE), "{waits} waits for {EVENTS} events");
    }
}
