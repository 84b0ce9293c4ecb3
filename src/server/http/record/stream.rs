//! The record for those who stay: server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>),
//! history first, then live, without gap or repeat.
//!
//! A stream is pulled by its connection: it makes its next piece when the socket has taken the one before. A
//! reader that does not read costs what lies in the buffers of its connection, and is cut off by the server when
//! nothing was taken for a while.

use std::{convert::Infallible, future::pending, str::FromStr, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use futures_util::stream::unfold;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::admission::StreamPermit;
use crate::gate::CancelCheck;
use crate::notify::{CommitBatch, EventCursor};
use crate::projections::history;
use tenure_core::{EpochPosition, Position, Timestamp};
use tenure_protocol::clock::stopwatch;

use super::{EventReader, RecordScope, RecordView, page};
use crate::http::{
    api::ApiContext,
    operations::metrics::SubscriberCount,
    reply::{HttpReply, problem::Problem},
    request::{
        access::Caller, admission, as_of::AsOfQuery, call::ApiCall, epoch_stamp::EpochStamped,
        fields::RequestFields, page::PageQuery,
    },
};

/// A comment is sent after this time without anything else (the contract, section 5).
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often the credential is checked again; the contract allows 5 s.
const RECHECK: Duration = Duration::from_secs(2);
/// Approximate maximum size of a piece in bytes, so that a slow reader holds little.
const PIECE: usize = 16 * 1024;

/// Where to begin.
enum StreamStart<P> {
    After(EpochStamped<P>),
    Latest,
    /// With what was recorded at this moment.
    Since(Timestamp),
}

impl<P: FromStr> StreamStart<P> {
    /// The parameter `after`, or for a stream the header by which a reader resumes.
    fn of<R: RecordView<Place = P>>(
        call: &ApiCall,
        query: &mut RequestFields,
        is_stream: bool,
    ) -> Option<Self> {
        let resumed = if is_stream { call.header("last-event-id") } else { None };
        let name = if resumed.is_some() { "Last-Event-ID" } else { "after" };
        let (given, since) = (query.raw_text("after"), query.moment("since"));
        if given.is_some() && since.is_some() {
            query.fault("since", "must not be given together with after");
        }
        let Some(text) = resumed.map(str::to_owned).or(given) else { return since.map(Self::Since) };
        if is_stream && text == "latest" {
            return Some(Self::Latest);
        }
        let parsed = text.parse().ok().map(Self::After);
        if parsed.is_none() {
            let latest = if is_stream { ", or latest" } else { "" };
            query.fault(name, format!("must be a position or an id of this list{latest}"));
        }
        parsed
    }
}

/// Answers a request for the record: with a page, or, if it accepts one, with a stream.
pub(crate) async fn answer<R: RecordView>(
    call: ApiCall,
    mut query: RequestFields,
    record: R,
) -> Result<HttpReply, Problem> {
    let scope = RecordScope::of(&mut query);
    let waiting = AsOfQuery::of_present(&mut query);
    let is_stream = call.accepts("text/event-stream");
    let start = StreamStart::of::<R>(&call, &mut query, is_stream);
    if is_stream {
        query.finish()?;
        let place = admission::stream(&call.api, &call.caller, call.is_exempt)?;
        waiting.resolve(&call.api, &call.caller).await?;
        let after = place_of::<R>(&call, start.as_ref()).await?;
        let body = open(call, scope, record, after, place).await?;
        return Ok(HttpReply::stream("text/event-stream", body));
    }
    let asked = PageQuery::of(&mut query, R::LIST);
    let cursor: Option<EpochStamped<R::Place>> = asked.parsed(&mut query);
    if start.is_some() && cursor.is_some() {
        query.fault("cursor", "must not be given together with after or since: it says where to go on");
    }
    query.finish()?;
    let head = waiting.resolve(&call.api, &call.caller).await?.moment.position;
    let after = match cursor {
        Some(given) => resumable::<R>(&call.api, &given)?,
        None => place_of::<R>(&call, start.as_ref()).await?,
    };
    let viewer = EventReader::of(call.api, call.caller, scope).await?;
    Ok(HttpReply::ok(&page(viewer, record, after, asked.limit, head).await?))
}

async fn place_of<R: RecordView>(
    call: &ApiCall,
    start: Option<&StreamStart<R::Place>>,
) -> Result<R::Place, Problem> {
    let api = &call.api;
    Ok(match start {
        Some(StreamStart::After(given)) => resumable::<R>(api, given)?,
        Some(StreamStart::Latest) => R::after(api.authority.feed().head()),
        Some(StreamStart::Since(moment)) => {
            let (authority, before) = (Arc::clone(&api.authority), moment.plus_millis(-1));
            let search = move |_: &CancelCheck<'_>| history::position_at(authority.log(), before);
            R::after(api.costly.part(&call.caller, search).await??)
        }
        None => R::after(Position::ZERO),
    })
}

/// The place, if this history has it.
fn resumable<R: RecordView>(api: &ApiContext, given: &EpochStamped<R::Place>) -> Result<R::Place, Problem> {
    let position = R::position(given.place);
    api.check_resumable(EpochPosition { epoch: given.epoch, position }).map(|()| given.place)
}

async fn open<R: RecordView>(
    call: ApiCall,
    scope: RecordScope,
    record: R,
    after: R::Place,
    place: Option<StreamPermit>,
) -> Result<Body, Problem> {
    let cursor = call.api.authority.subscribe(R::done(after));
    let reader = RecordReader {
        stay: StreamStay::of(&call, place),
        viewer: EventReader::of(call.api, call.caller, scope).await?,
        record,
        cursor,
        after,
        batch: None,
        // The first piece goes out at once: the reader knows that it is heard, and proxies that there is a body.
        heartbeat: stopwatch().into(),
    };
    Ok(Body::from_stream(unfold(reader, RecordReader::piece)))
}

/// Where a stream whose places are positions resumes: what its reader heard last goes before `after`.
pub(crate) fn resumed(call: &ApiCall, query: &mut RequestFields) -> Option<EpochPosition> {
    let after = query.position("after");
    let Some(heard) = call.header("last-event-id") else { return after };
    let heard = heard.parse().ok();
    if heard.is_none() {
        query.fault("Last-Event-ID", "must be a position");
    }
    heard
}

/// What every open stream has: for how long it may go on.
pub(crate) struct StreamStay {
    api: Arc<ApiContext>,
    caller: Caller,
    closing: watch::Receiver<bool>,
    place: Option<StreamPermit>,
    recheck: Instant,
    _counted: SubscriberCount,
}

impl StreamStay {
    /// Of the caller's stream, which has this place among all.
    pub(crate) fn of(call: &ApiCall, place: Option<StreamPermit>) -> Self {
        Self {
            api: Arc::clone(&call.api),
            caller: call.caller.clone(),
            closing: call.api.closing(),
            place,
            recheck: stopwatch().into(),
            _counted: call.api.metrics.subscriber(),
        }
    }

    /// A stream ends soon after its credential has ended, and where the node does not know any more what it could tell.
    pub(crate) fn may_go_on(&mut self, now: Instant) -> bool {
        if now < self.recheck {
            return true;
        }
        self.recheck = now + RECHECK;
        self.caller.is_still_admitted(&self.api.authority) && self.api.staleness_of_streams().is_some()
    }

    /// When to look at it again.
    pub(crate) fn until(&self) -> Instant {
        self.recheck
    }

    /// Waits until the server closes, or it has to give way to a newer stream.
    pub(crate) async fn over(&mut self) {
        let place = async {
            match &self.place {
                Some(place) => place.over().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.closing.wait_for(|closing| *closing) => {}
            () = place => {}
        }
    }
}

/// One stream of the record.
struct RecordReader<R: RecordView> {
    viewer: EventReader,
    record: R,
    cursor: EventCursor,
    /// The last item that was sent, or where to begin.
    after: R::Place,
    /// What is being sent, from this commit on.
    batch: Option<(Arc<CommitBatch>, usize)>,
    heartbeat: Instant,
    stay: StreamStay,
}

impl<R: RecordView> RecordReader<R> {
    /// What is sent next; `None` ends the stream.
    async fn piece(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            let now = stopwatch().into();
            if !self.stay.may_go_on(now) {
                return None;
            }
            if let Some(text) = self.next_items() {
                self.heartbeat = now + HEARTBEAT;
                return Some((Ok(text.into()), self));
            }
            if now >= self.heartbeat {
                self.heartbeat = now + HEARTBEAT;
                return Some((Ok(self.heartbeat_text().into()), self));
            }
            let look_again = self.heartbeat.min(self.stay.until());
            tokio::select! {
                () = self.stay.over() => return None,
                next = self.cursor.next() => match next {
                    Ok(batch) => self.batch = Some((batch?, 0)),
                    Err(error) => {
                        tracing::error!(%error, "a stream ends because the log cannot be read");
                        return None;
                    }
                },
                () = sleep_until(look_again) => {}
            }
        }
    }

    /// A comment with the position that the reader has reached, even if it sought nothing there: a reader of comments
    /// can resume from it.
    fn heartbeat_text(&self) -> String {
        let api = &self.viewer.api;
        match self.cursor.position() {
            heard if R::after(heard) > self.after => format!(": {}\n\n", api.named(heard)),
            _ => format!(": {}\n\n", api.named_at(R::position(self.after), self.after)),
        }
    }

    /// The next items of the batch being sent; `None` if no items are left.
    fn next_items(&mut self) -> Option<String> {
        let (batch, mut next) = self.batch.take()?;
        let mut text = String::new();
        while let Some(found) = batch.next_of(self.record.kinds(), next) {
            if text.len() >= PIECE {
                self.batch = Some((batch, found));
                break;
            }
            next = found + 1;
            for (place, line) in self.record.sought(&self.viewer, &batch.commits()[found]) {
                if place > self.after {
                    let name = self.viewer.api.named_at(R::position(place), place);
                    text.extend(["id: ", &name, "\ndata: ", &line, "\n\n"]);
                    self.after = place;
                }
            }
        }
        (!text.is_empty()).then_some(text)
    }
}
