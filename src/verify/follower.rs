//! Keeps a verifier's knowledge fresh: asks for keys and revocations, again and again.
//!
//! One *round* asks for the keys and reads the feed to its end. Only a whole round makes the verifier fresh. What it
//! learns on the way counts at once all the same, because it can only take tokens away or name the keys as they are.

use std::time::Duration;

use tokio::{task::JoinHandle, time::sleep};

use super::{
    Verifier,
    connection::{AuthorityCallError, AuthorityConnection, KeysAnswer},
    feed_cursor::FeedCursor,
    polling,
    responses::{FeedItem, FeedPage},
    revoked::REMEMBERED,
    state::SyncPoint,
    stream::{FeedStream, StreamAction},
};
use tenure_protocol::Position;
use tenure_protocol::entropy::{self, OsEntropy};

/// Revocations per request.
const PAGE: u32 = 1_000;

/// Keeps a verifier fresh for as long as it is kept. When it is dropped the verifier hears no more, and refuses every
/// token once its staleness bound has passed.
#[derive(Debug)]
#[must_use = "a verifier whose follower is dropped refuses every token"]
pub struct FeedFollower(JoinHandle<()>);

impl Verifier {
    /// Asks the authority for keys and revocations, again and again, in a task of its own.
    ///
    /// # Panics
    /// Outside of a Tokio runtime with time and I/O.
    pub fn follow(&self, connection: AuthorityConnection) -> FeedFollower {
        FeedFollower(tokio::spawn(FollowerTask::new(self.clone(), connection).follow()))
    }
}

impl Drop for FeedFollower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct FollowerTask {
    verifier: Verifier,
    connection: AuthorityConnection,
    reading: FeedCursor,
    /// The tag of the known keys, if the authority gave one.
    etag: Option<String>,
    failures: u32,
    stream: FeedStream,
    /// When it was last looked whether the history is still the one that was read.
    looked_back: Option<Duration>,
}

impl FollowerTask {
    fn new(verifier: Verifier, connection: AuthorityConnection) -> Self {
        Self {
            verifier,
            connection,
            reading: FeedCursor::default(),
            etag: None,
            failures: 0,
            stream: FeedStream::default(),
            looked_back: None,
        }
    }

    async fn follow(mut self) {
        loop {
            let begun = self.verifier.elapsed();
            let outcome = self.round(begun).await;
            self.note(outcome);
            self.verifier.round_ended(begun);
            if self.failures == 0 {
                self.stream.open(&self.verifier, &self.connection, self.reading.end()).await;
            }
            self.rest(begun).await;
        }
    }

    /// Asks for all that there is.
    async fn round(&mut self, asked: Duration) -> Result<(), AuthorityCallError> {
        self.learn_keys().await?;
        let (last_asked, last) = self.read_feed(asked).await?;
        let heard = SyncPoint { asked, last_asked, authority_time: last.now };
        self.verifier.learn(|state| state.synchronized(heard));
        Ok(())
    }

    async fn learn_keys(&mut self) -> Result<(), AuthorityCallError> {
        match self.connection.keys(self.etag.as_deref()).await? {
            KeysAnswer::Unchanged => {}
            KeysAnswer::Changed { keys, etag } => {
                self.verifier.learn(|state| state.learn_keys(keys));
                self.etag = etag;
            }
        }
        Ok(())
    }

    /// Reads on to the end; gives back the last page, and when it was asked for.
    async fn read_feed(&mut self, now: Duration) -> Result<(Duration, FeedPage), AuthorityCallError> {
        let looks_back = self.failures > 0
            || self.looked_back.is_none_or(|at| now.saturating_sub(at) >= self.between_looks());
        let (mut asked, mut page) = self.first_page(looks_back).await?;
        let looks_back = looks_back || self.reading.is_new();
        if self.reading.is_new() && !page.is_last() {
            let begin = self.first_that_matters(&page).await?;
            (asked, page) = self.page(begin).await?;
        }
        loop {
            self.take(&page, looks_back);
            if page.is_last() {
                break;
            }
            (asked, page) = self.page(page.next_after).await?;
        }
        if looks_back {
            self.looked_back = Some(now);
        }
        Ok((asked, page))
    }

    /// The page to go on with: the first of all if the history is another one than before.
    async fn first_page(&mut self, looks_back: bool) -> Result<(Duration, FeedPage), AuthorityCallError> {
        let begin = if looks_back { self.reading.before_last() } else { self.reading.end() };
        match self.page(begin).await {
            Ok(found) if !looks_back || self.reading.goes_on_with(&found.1) => return Ok(found),
            Ok(_) => {}
            // Its log does not go that far. Which sessions it has ended since the loss is unknown; tokens that
            // were signed before may be of any of them.
            Err(AuthorityCallError::BeyondEnd { now }) if begin > Position::ZERO => {
                if let Some(now) = now {
                    self.verifier.learn(|state| state.refuse_signed_before(now));
                }
            }
            // So says an authority of an earlier version.
            Err(AuthorityCallError::Status { status: 400, .. }) if begin > Position::ZERO => {}
            Err(why) => return Err(why),
        }
        tracing::warn!("the authority's history is another one than before; all revocations are read again");
        self.reading = FeedCursor::default();
        self.looked_back = None;
        self.page(Position::ZERO).await
    }

    /// A history that was put back without a silence is noticed within the staleness bound.
    fn between_looks(&self) -> Duration {
        self.verifier.config().staleness_bound / 2
    }

    async fn page(&self, after: Position) -> Result<(Duration, FeedPage), AuthorityCallError> {
        let asked = self.verifier.elapsed();
        Ok((asked, self.connection.feed(after, PAGE).await?))
    }

    fn take(&mut self, page: &FeedPage, looks_back: bool) {
        self.reading.note(page, looks_back);
        let revocations = page.items.iter().flat_map(FeedItem::revocations);
        self.verifier.learn(|state| state.learn_revocations(revocations));
    }

    /// Where to begin so that all is read that may still matter, and one revocation before it to look back to. A history
    /// of years is not read for it: recorded time never goes back, so the place is found by halving.
    async fn first_that_matters(&self, first: &FeedPage) -> Result<Position, AuthorityCallError> {
        let (mut low, mut high) = (0, first.head.0);
        while high - low > u64::from(PAGE) {
            let middle = low + (high - low) / 2;
            let page = self.connection.feed(Position(middle), 1).await?;
            match page.items.first() {
                Some(item) if item.at.plus_millis(REMEMBERED) <= page.now => {
                    low = item.position.0;
                }
                Some(_) | None => high = middle,
            }
        }
        Ok(Position(low.saturating_sub(1)))
    }

    fn note(&mut self, outcome: Result<(), AuthorityCallError>) {
        match outcome {
            Ok(()) if self.failures > 0 => {
                tracing::info!(after = self.failures, "the authority answers again");
                self.failures = 0;
            }
            Ok(()) => {}
            Err(why) => {
                if self.failures == 0 {
                    tracing::warn!("no news from the authority: {why}");
                }
                self.failures = self.failures.saturating_add(1);
            }
        }
    }

    /// Waits until the next round is due, or an early one is wanted. Beside a stream, which says what a round would,
    /// a round is due as often as the staleness bound needs it.
    async fn rest(&mut self, begun: Duration) {
        let jitter = entropy::jitter(&OsEntropy);
        let rules = self.verifier.config();
        let poll = if self.stream.is_open() { rules.poll.max(rules.staleness_bound / 4) } else { rules.poll };
        let wait = polling::wait(poll, self.failures, jitter);
        let spent = self.verifier.elapsed().saturating_sub(begun);
        // A round that took longer than the poll is followed by the next one; the processor is let go between them.
        let rest = sleep(wait.saturating_sub(spent).max(Duration::from_millis(1)));
        tokio::pin!(rest);
        loop {
            tokio::select! {
                () = &mut rest => return,
                () = self.verifier.round_requested() => return,
                then = self.stream.next(&self.verifier) => match then {
                    StreamAction::GoOn => {}
                    StreamAction::Ask | StreamAction::Lost => return,
                },
            }
        }
    }
}
