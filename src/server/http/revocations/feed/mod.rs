//! `GET /v1/revocations/feed`: every end of sessions before their time, in order, for those who judge access tokens
//! without asking here.
//!
//! Such a verifier knows the claims of a token and nothing else: not the owner of its subject, nor its device, nor which
//! key sealed the session's token. So wherever several sessions were ended, their ids go with the selector, as long as
//! they are not too many; beyond that a rule that it can apply covers them and more ([`ENDED_NAMED`]).

pub(super) mod live;

use tenure_core::{
    EpochPosition, Event, Position, SessionId, StreamId, SubjectEvent, SubjectId, SystemEvent, Timestamp,
    event::{SessionSelector, SessionsRevoked},
};
use tenure_log::{StoredCommit, waiting_for_disk};
use tenure_protocol::wire::{EndedSelection, EndedSession, FeedItem, FeedPage, SelectorView};

use crate::http::{
    api::ApiContext,
    record::stream::resumed,
    reply::{HttpReply, problem::Problem},
    request::{as_of::AsOfQuery, call::ApiCall, limits},
};

/// The sessions that one event ended are named if they are no more than this: some 400 KiB. Of more, a verifier
/// refuses every access token that was issued until then; their holders get another with the next request.
const ENDED_NAMED: usize = 10_000;
/// Items per page by default.
const DEFAULT: u64 = 200;
/// Events per read of the log.
const STRIDE: usize = 128;
/// Early ends of sessions, oldest first, for verifiers that check access tokens offline.
///
/// With `Accept: text/event-stream` also as they happen: events `revocation` (an item), `keys` (what `GET /v1/keys`
/// says, at the start and at each change) and `head` (`{head, now}`, every second, after everything up to `head`).
#[utoipa::path(get, path = "/v1/revocations/feed", tag = "revocations", operation_id = "followRevocations",
    params(("after" = Option<EpochPosition>, Query, description = "Only what ended after this position, a `nextAfter`; by default all."),
        ("limit" = Option<u32>, Query, description = "1 to 1000 items, by default 200. Not of a stream."),
        ("minPosition" = Option<EpochPosition>, Query, description = "Wait until the answer reflects this position."),
        ("Last-Event-ID" = Option<String>, Header, description = "Of a stream: the `id` that was heard last; it goes before `after`.")),
    responses((status = 200, description = "One page, or the stream: each item and each head has its position as `id`.",
        content((FeedPage = "application/json"), (String = "text/event-stream")))))]
pub(crate) async fn list(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    if call.accepts("text/event-stream") {
        let after = resumed(&call, &mut query);
        let asked = AsOfQuery::of_present(&mut query);
        query.finish()?;
        asked.resolve(&call.api, &call.caller).await?;
        after.map_or(Ok(()), |after| call.api.check_resumable(after))?;
        return live::answer(&call, after.map_or(Position::ZERO, |after| after.position));
    }
    let after = query.position("after");
    let limit = query.whole("limit", limits::FEED_PAGE).unwrap_or(DEFAULT);
    let asked = AsOfQuery::of_present(&mut query);
    query.finish()?;
    let moment = asked.resolve(&call.api, &call.caller).await?.moment;
    after.map_or(Ok(()), |after| call.api.check_resumable(after))?;
    let after = after.map_or(Position::ZERO, |after| after.position);
    let limit = usize::try_from(limit).expect("it is at most 1000");
    waiting_for_disk(|| page(&call.api, after, limit, moment.position, moment.at))
        .map(|page| HttpReply::ok(&page))
}

fn page(
    api: &ApiContext,
    after: Position,
    limit: usize,
    head: Position,
    now: Timestamp,
) -> Result<FeedPage, Problem> {
    let positions = api.projections.revocations_after(api.authority.log(), after, limit)?;
    let wanted: Vec<_> = positions.iter().copied().filter(|position| *position <= head).collect();
    let is_full = wanted.len() == limit;
    let mut items = Vec::with_capacity(wanted.len());
    let mut named = 0;
    let mut stride: Vec<StoredCommit> = Vec::new();
    for position in wanted {
        if stride.last().is_none_or(|last| last.last() < position) {
            stride = api.authority.log().read(Position(position.0 - 1), STRIDE)?;
        }
        let item = stride.iter().find(|stored| stored.last() >= position);
        let Some(item) = item.and_then(|stored| item_of(api, stored, position)) else { continue };
        named += self::named(&item);
        items.push(item);
        if named >= ENDED_NAMED {
            // What was ended at one position is never parted, so that a position says how far a reader came.
            return Ok(FeedPage { items, next_after: api.named_now(position), head, now });
        }
    }
    let next_after = items.last().filter(|_| is_full).map_or(head, FeedItem::position);
    Ok(FeedPage { items, next_after: api.named_now(next_after), head, now })
}

/// How many sessions an item names.
fn named(item: &FeedItem) -> usize {
    match item {
        FeedItem::Session(_) => 1,
        FeedItem::Selection(ended) => ended.session_ids.as_ref().map_or(1, Vec::len),
    }
}

/// What the event at this position ended; `None` if it ended nothing.
fn item_of(api: &ApiContext, stored: &StoredCommit, position: Position) -> Option<FeedItem> {
    let at = stored.commit.recorded_at;
    let index = usize::try_from(position.0.checked_sub(stored.first.0)?).ok()?;
    let event = stored.commit.events.get(index)?;
    let (selector, matched) = match event {
        Event::Subject(SubjectEvent::SessionRevoked(event)) => {
            return Some(FeedItem::Session(EndedSession { position, at, session_id: event.session_id }));
        }
        Event::Subject(SubjectEvent::SessionsRevoked(event)) => {
            (of_subject(&stored.commit.stream, event), event.matched)
        }
        Event::Subject(SubjectEvent::SubjectSuspended(_)) => {
            let selector = of_whole_subject(&stored.commit.stream);
            return Some(FeedItem::Selection(EndedSelection { position, at, selector, session_ids: None }));
        }
        Event::System(SystemEvent::SelectionRevoked(event)) => (of_selection(&event.selector), event.matched),
        Event::Subject(_) | Event::System(_) => return None,
    };
    let session_ids = ended(api, position, matched, selector.subject_id.as_ref());
    Some(FeedItem::Selection(EndedSelection { position, at, selector, session_ids }))
}

fn of_selection(said: &SessionSelector) -> SelectorView {
    SelectorView {
        all: said.is_all(),
        owner_id: said.owner_id.clone(),
        subject_id: said.subject_id.clone(),
        device_digest: said.device_digest,
        except_session_id: None,
        issued_before: said.issued_before,
        key_id: said.sealed_by.as_ref().map(|key| key.key_id.clone()),
    }
}

fn of_subject(stream: &StreamId, event: &SessionsRevoked) -> SelectorView {
    SelectorView {
        device_digest: event.device_digest,
        except_session_id: event.except_session_id,
        ..of_whole_subject(stream)
    }
}

fn of_whole_subject(stream: &StreamId) -> SelectorView {
    let subject_id = if let StreamId::Subject(id) = stream { Some(id.clone()) } else { None };
    SelectorView { subject_id, ..SelectorView::default() }
}

/// Those of one subject. When some have left memory, they are read from the log.
fn ended_of(api: &ApiContext, position: Position, id: &SubjectId) -> Option<Vec<SessionId>> {
    let live = api.authority.live();
    let subject = live.subject(id)?;
    if position > live.horizon().position || !live.has_left(id) {
        return Some(subject.ended_by(position));
    }
    let full = api.authority.subject_in_full_now(id).ok()??;
    Some(full.ended_by(position))
}

/// The sessions that an event ended, by id; `None` if there are too many to be named.
fn ended(
    api: &ApiContext,
    position: Position,
    matched: u32,
    subject: Option<&SubjectId>,
) -> Option<Vec<SessionId>> {
    if matched as usize > ENDED_NAMED {
        return None;
    }
    if let Some(subject) = subject {
        return ended_of(api, position, subject);
    }
    // A caller that does not hear who ended goes by the rule of the selection.
    api.authority.live().left_by(position)?;
    Some(api.ended.by(position, || api.authority.ended_by(position, ENDED_NAMED)))
}
