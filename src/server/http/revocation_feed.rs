//! `GET /v1/revocations/feed`: every end of sessions before their time, in order, for those who judge access tokens
//! without asking here.
//!
//! Such a verifier knows the claims of a token and nothing else: not the owner of its subject, nor its device, nor which
//! key sealed the session's token. So wherever several sessions were ended, their ids go with the selector, as long as
//! they are not too many; beyond that a rule that it can apply covers them and more ([`ENDED_NAMED`]).

use std::collections::HashMap;

use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use tenure_core::{
    Digest16, Event, KeyId, OwnerId, Position, SessionId, Stream, SubjectEvent, SubjectId, SystemEvent,
    Timestamp,
    event::{Selector, SessionsRevoked},
};
use tenure_log::{StoredCommit, waiting_for_disk};

use super::{Api, call::Call, limits, moment::AskedMoment, problem::Problem, reply::Reply};

/// The sessions that one event ended are named if they are no more than this: some 400 KiB. Of more, a verifier
/// refuses every access token that was issued until then; their holders get another with the next request.
const ENDED_NAMED: usize = 10_000;
/// So many items has a page that asks for no number.
const DEFAULT: u64 = 200;
/// So many events are read from the log at a time.
const STRIDE: usize = 128;
/// Of so many bulk revocations it is remembered which sessions they ended.
const REMEMBERED: usize = 64;

/// The end of one session, or of several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Item {
    Session(EndedSession),
    Selection(EndedSelection),
}

/// The end of one session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EndedSession {
    position: Position,
    at: Timestamp,
    session_id: SessionId,
}

/// The end of all sessions that a selector met.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EndedSelection {
    position: Position,
    at: Timestamp,
    selector: SelectorView,
    /// All sessions that it ended. Null when they are more than 10 000, and when the subject was suspended: then refuse
    /// every access token with `iat` up to 5 s after `at`, or those of `selector.subjectId` when there is one.
    session_ids: Option<Vec<SessionId>>,
}

/// What was said of the sessions that were ended: all of it applies to each.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SelectorView {
    /// Whether nothing else is said: every session.
    all: bool,
    owner_id: Option<OwnerId>,
    subject_id: Option<SubjectId>,
    /// A keyed digest of the name of their device.
    #[schema(value_type = Option<String>)]
    device_digest: Option<Digest16>,
    /// All but this one.
    except_session_id: Option<SessionId>,
    issued_before: Option<Timestamp>,
    /// Those of whose current generation this key sealed a token.
    key_id: Option<KeyId>,
}

/// One page of the feed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FeedPage {
    items: Vec<Item>,
    /// Give it as `after` to go on. It is `head` when there was nothing more.
    next_after: Position,
    /// The last position of the log that this page takes into account.
    head: Position,
    /// The authority's time.
    now: Timestamp,
}

/// Which sessions the bulk revocations ended that somebody asked about lately.
#[derive(Debug, Default)]
pub(super) struct Ended(Mutex<HashMap<Position, Vec<SessionId>>>);

/// The ends of sessions before their time, oldest first. For verifiers of access tokens that do not ask about each.
#[utoipa::path(get, path = "/v1/revocations/feed", tag = "revocations", operation_id = "followRevocations",
    params(("after" = Option<u64>, Query, description = "Only what ended after this position; by default all."),
        ("limit" = Option<u32>, Query, description = "1 to 1000 items, by default 200."),
        ("minPosition" = Option<u64>, Query, description = "Wait until the answer reflects this position.")),
    responses((status = 200, description = "One page.", body = FeedPage)))]
pub(super) async fn list(call: Call) -> Result<Reply, Problem> {
    let mut query = call.query()?;
    let after = Position(query.whole("after", 0..=u64::MAX).unwrap_or(0));
    let limit = query.whole("limit", limits::FEED_PAGE).unwrap_or(DEFAULT);
    let asked = AskedMoment::of_present(&mut query);
    query.finish()?;
    let moment = asked.resolve(&call.api).await?.moment;
    call.api.check_resumable(after)?;
    let limit = usize::try_from(limit).expect("it is at most 1000");
    waiting_for_disk(|| page(&call.api, after, limit, moment.position, moment.at))
        .map(|page| Reply::ok(&page))
}

fn page(
    api: &Api,
    after: Position,
    limit: usize,
    head: Position,
    now: Timestamp,
) -> Result<FeedPage, Problem> {
    let positions: Vec<_> = api.projections.revocations(|known| known.after(after, limit).to_vec());
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
        named += item.named();
        items.push((position, item));
        if named >= ENDED_NAMED {
            // What was ended at one position is never parted, so that a position says how far a reader came.
            return Ok(FeedPage::of(items, position, head, now));
        }
    }
    let end = items.last().map_or(head, |(last, _)| if is_full { *last } else { head });
    Ok(FeedPage::of(items, end, head, now))
}

impl FeedPage {
    fn of(items: Vec<(Position, Item)>, next_after: Position, head: Position, now: Timestamp) -> Self {
        Self { items: items.into_iter().map(|(_, item)| item).collect(), next_after, head, now }
    }
}

impl Item {
    /// How many sessions it names.
    fn named(&self) -> usize {
        match self {
            Self::Session(_) => 1,
            Self::Selection(ended) => ended.session_ids.as_ref().map_or(1, Vec::len),
        }
    }
}

/// What the event at this position ended; none when it ended nothing.
fn item_of(api: &Api, stored: &StoredCommit, position: Position) -> Option<Item> {
    let at = stored.commit.recorded_at;
    let index = usize::try_from(position.0.checked_sub(stored.first.0)?).ok()?;
    let event = stored.commit.events.get(index)?;
    let (selector, matched) = match event {
        Event::Subject(SubjectEvent::SessionRevoked(event)) => {
            return Some(Item::Session(EndedSession { position, at, session_id: event.session_id }));
        }
        Event::Subject(SubjectEvent::SessionsRevoked(event)) => {
            (of_subject(&stored.commit.stream, event), event.matched)
        }
        Event::Subject(SubjectEvent::SubjectSuspended(_)) => {
            let selector = of_whole_subject(&stored.commit.stream);
            return Some(Item::Selection(EndedSelection { position, at, selector, session_ids: None }));
        }
        Event::System(SystemEvent::SelectionRevoked(event)) => (of_selection(&event.selector), event.matched),
        Event::Subject(_) | Event::System(_) => return None,
    };
    let session_ids = ended(api, position, matched, selector.subject_id.as_ref());
    Some(Item::Selection(EndedSelection { position, at, selector, session_ids }))
}

fn of_selection(said: &Selector) -> SelectorView {
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

fn of_subject(stream: &Stream, event: &SessionsRevoked) -> SelectorView {
    SelectorView {
        device_digest: event.device_digest,
        except_session_id: event.except_session_id,
        ..of_whole_subject(stream)
    }
}

fn of_whole_subject(stream: &Stream) -> SelectorView {
    SelectorView {
        all: false,
        owner_id: None,
        subject_id: if let Stream::Subject(id) = stream { Some(id.clone()) } else { None },
        device_digest: None,
        except_session_id: None,
        issued_before: None,
        key_id: None,
    }
}

/// The sessions that an event ended, by id; none when they are too many to be named.
fn ended(api: &Api, position: Position, matched: u32, subject: Option<&SubjectId>) -> Option<Vec<SessionId>> {
    if matched as usize > ENDED_NAMED {
        return None;
    }
    if let Some(subject) = subject {
        let subject = api.authority.live().subject(subject)?;
        return Some(subject.ended_by(position));
    }
    let mut known = api.ended.0.lock();
    if known.len() >= REMEMBERED && !known.contains_key(&position) {
        known.clear();
    }
    Some(known.entry(position).or_insert_with(|| api.authority.ended_by(position, ENDED_NAMED)).clone())
}
