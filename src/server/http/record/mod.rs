//! Reading the record, as events or as notices: who may see what, what is sought, and a page of it. `stream` goes
//! on from here for those who stay.

pub(super) mod bulk_event;
pub(super) mod events;
pub(super) mod notice_view;
pub(super) mod notices;
mod parameters;
pub(super) mod stream;

use std::{collections::HashSet, fmt::Display, str::FromStr, sync::Arc};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::gate::CancelCheck;
use crate::notify::FeedCommit;
use crate::projections::history::{self, HistoryError};
use tenure_core::{
    Event, KindSet, Position, SessionId, StreamId, SubjectId,
    subject::{SharedSession, Subject},
};
use tenure_log::{StoredCommit, waiting_for_disk};
use tenure_protocol::wire::Page;

use self::bulk_event::{bulk, concerned};
use super::{
    api::ApiContext,
    reply::problem::Problem,
    request::{
        access::Caller,
        fields::RequestFields,
        page::{ListName, page_of},
    },
};

/// Maximum commits examined for one page; a rare kind may give a short page with a `nextCursor`.
const LOOKED_AT: usize = 20_000;
/// Commits per read.
const STRIDE: usize = 1_000;
/// Files of the history searched for one subject on every page.
const NEAR_FILES: usize = 32;
/// Commits examined for every page; what lies further on is a search.
const NEAR: usize = 500;

/// A way to read the record: what it makes of a commit, and how its items are named.
pub(super) trait RecordView: Send + Sync + 'static {
    /// Whose cursors it takes.
    const LIST: ListName;

    /// The name of an item, by which a reader says how far it came.
    type Place: Copy + Ord + Display + FromStr + Send + Sync;

    /// After every item of the events up to this position.
    fn after(position: Position) -> Self::Place;

    /// The event that an item is of.
    fn position(place: Self::Place) -> Position;

    /// The last position of which no item is after this place.
    fn done(place: Self::Place) -> Position;

    /// The kinds of events that it makes items of.
    fn kinds(&self) -> KindSet;

    /// The sought and visible items of a commit, in order.
    fn sought(&self, viewer: &EventReader, commit: &FeedCommit) -> Vec<(Self::Place, Arc<str>)>;
}

/// The reader, and what is sought.
pub(super) struct EventReader {
    pub(super) api: Arc<ApiContext>,
    pub(super) caller: Caller,
    pub(super) scope: RecordScope,
    /// The sought session, or the sought subject with all of its sessions, as they were when the reader came: they may
    /// have left memory.
    session: Option<SharedSession>,
    subject: Option<Arc<Subject>>,
}

/// The sought subject or session; `None` is all.
pub(super) struct RecordScope {
    subject: Option<SubjectId>,
    session: Option<SessionId>,
}

/// Names no session: ids are UUIDv7.
const NO_SESSION: SessionId = SessionId::from_bytes([0; 16]);

impl RecordScope {
    /// The parameters that say it.
    pub(super) fn of(query: &mut RequestFields) -> Self {
        // Anything but a UUID is an unknown id: nothing is about it.
        let session = query.raw_text("sessionId").map(|text| text.parse().unwrap_or(NO_SESSION));
        Self { subject: query.id("subjectId"), session }
    }

    /// One session.
    pub(super) const fn session(id: SessionId) -> Self {
        Self { subject: None, session: Some(id) }
    }
}

/// A comma-separated list of kinds.
pub(super) fn kinds<K: Copy>(
    query: &mut RequestFields,
    known: &[K],
    name: impl Fn(K) -> &'static str,
) -> Option<Vec<K>> {
    let list = query.raw_text("kinds")?;
    // Two kinds may share a name.
    let named =
        |text: &str| -> Vec<K> { known.iter().copied().filter(|kind| name(*kind) == text.trim()).collect() };
    let named: Vec<Vec<K>> = list.split(',').map(named).collect();
    let found = named.iter().all(|kinds| !kinds.is_empty()).then(|| named.concat());
    if found.is_none() {
        let mut named = HashSet::new();
        let known: Vec<_> = known.iter().map(|kind| name(*kind)).filter(|name| named.insert(*name)).collect();
        query.fault("kinds", format!("must be a comma-separated list of {}", known.join(", ")));
    }
    found
}

/// Whether a caller may see a subject as it is now.
fn may_see_subject(api: &ApiContext, caller: &Caller, id: &SubjectId) -> bool {
    caller.owner().is_none() || api.authority.live().subject(id).is_some_and(|own| caller.may_see(&own))
}

impl EventReader {
    /// A reader, who has just come.
    ///
    /// # Errors
    /// What is sought has left memory and cannot be read back at present.
    pub(super) async fn of(
        api: Arc<ApiContext>,
        caller: Caller,
        scope: RecordScope,
    ) -> Result<Self, Problem> {
        let (mut session, mut subject) = (None, None);
        if let Some(id) = scope.session {
            api.recall(id, &caller).await?;
            session = api.authority.live().session(id);
        }
        // What the caller may not see costs as little as what is not there.
        if let Some(id) = scope.subject.as_ref().filter(|id| may_see_subject(&api, &caller, id)) {
            subject = api.authority.subject_in_full(id, caller.id().unwrap_or_default()).await?;
        }
        Ok(Self { api, caller, scope, session, subject })
    }

    fn session(&self, id: SessionId) -> Option<SharedSession> {
        let known = || self.session.clone().filter(|session| session.id == id);
        self.api.authority.live().session(id).or_else(known)
    }

    /// Whether the caller may see what is recorded here, and seeks it.
    pub(super) fn may_see(&self, stored: &StoredCommit) -> bool {
        match &stored.commit.stream {
            StreamId::System => {
                self.is_about_sought_subject(stored)
                    && stored.commit.events.iter().any(|event| self.is_of_its_concern(event))
            }
            StreamId::Subject(id) => {
                self.scope.subject.as_ref().is_none_or(|sought| sought == id) && self.may_see_subject(id)
            }
        }
    }

    fn may_see_subject(&self, id: &SubjectId) -> bool {
        may_see_subject(&self.api, &self.caller, id)
    }

    /// Whether an event of the authority itself is for the caller. Of an owner's concern is what ended sessions of its
    /// own: of those that it seeks, or of those that were its own then.
    pub(super) fn is_of_its_concern(&self, event: &Event) -> bool {
        let Some(owner) = self.caller.owner() else { return true };
        let Some(revoked) = bulk(event) else { return false };
        let is_sought = self.scope.session.is_some() || self.scope.subject.is_some();
        is_sought
            || concerned(revoked, owner)
                && revoked.selector.subject_id.as_ref().is_none_or(|id| self.may_see_subject(id))
    }

    /// Whether a commit of the authority itself is about the sought subject: it ended sessions of it.
    pub(super) fn is_about_sought_subject(&self, stored: &StoredCommit) -> bool {
        let Some(id) = &self.scope.subject else { return true };
        let Some(subject) = self.api.authority.live().subject(id) else { return false };
        self.caller.may_see(&subject)
            && stored.positions().any(|position| {
                let ended = |subject: &Subject| !subject.ended_by(position).is_empty();
                ended(&subject) || self.subject.as_deref().is_some_and(ended)
            })
    }

    /// Whether an event is about the sought session.
    pub(super) fn is_about_sought(&self, stored: &StoredCommit, event: &Event, position: Position) -> bool {
        self.scope
            .session
            .is_none_or(|id| event.session_id() == Some(id) || self.ended_by(id, stored, position))
    }

    /// Whether an event about several sessions ended this one: it belongs to its story.
    fn ended_by(&self, id: SessionId, stored: &StoredCommit, position: Position) -> bool {
        let session = self.session(id);
        session.is_some_and(|session| {
            let stream = &stored.commit.stream;
            // Whether another owner's session was among those that ended is not for this reader.
            (*stream == StreamId::System && self.may_see_subject(&session.subject)
                || *stream == StreamId::Subject(session.subject.clone()))
                && session.revocation().is_some_and(|revocation| revocation.position == position)
        })
    }

    /// The next commits that may hold what is sought.
    pub(super) fn stride(&self, after: Position, most: usize) -> Result<Vec<StoredCommit>, Problem> {
        let log = self.api.authority.log();
        let holder = self.scope.session.and_then(|id| self.session(id));
        let subject = match (&self.scope.session, &self.scope.subject) {
            (None, None) => return Ok(log.read(after, most)?),
            (Some(_), _) => holder.map(|session| session.subject.clone()),
            (None, Some(subject)) => Some(subject.clone()),
        };
        let Some(subject) = subject.filter(|id| self.may_see_subject(id)) else { return Ok(vec![]) };
        let stream = StreamId::Subject(subject);
        // The commit that `after` lies in began before it.
        let within = history::commit_at(log, after)?.filter(|stored| stored.last() > after);
        let within = within.filter(|stored| stored.commit.stream == stream);
        let projections = &self.api.projections;
        let bulks = projections.bulks_after(log, after, STRIDE)?;
        let mut found = history::stream_after(log, projections, &stream, after, most)?;
        found.extend(log.read_commits(&bulks)?);
        found.sort_by_key(|stored| stored.first);
        found.truncate(most);
        Ok(within.into_iter().chain(found).collect())
    }
}

/// A page under way.
struct EventPage<R: RecordView> {
    viewer: EventReader,
    record: R,
    after: R::Place,
    /// Everything up to here was looked at.
    at: Position,
    looked_at: usize,
    limit: usize,
    head: Position,
    items: Vec<Arc<str>>,
    last: Option<R::Place>,
}

/// How a page stands.
enum PageProgress<P> {
    /// It is done; the next one begins here, if there is one.
    Done(Option<P>),
    /// There is more to look at.
    Open,
}

/// The items after a place, up to a position. What is not found among the next commits is searched for behind the gate.
pub(super) async fn page<R: RecordView>(
    viewer: EventReader,
    record: R,
    after: R::Place,
    limit: usize,
    head: Position,
) -> Result<Page<WrittenItem>, Problem> {
    let (api, caller) = (Arc::clone(&viewer.api), viewer.caller.clone());
    let at = R::done(after);
    let mut leafing =
        EventPage { viewer, record, after, at, looked_at: 0, limit, head, items: Vec::new(), last: None };
    let near = || if leafing.begins_far_back() { Ok(PageProgress::Open) } else { leafing.step(NEAR) };
    let next = match waiting_for_disk(near)? {
        PageProgress::Done(next) => next,
        PageProgress::Open => {
            let go_on = move |wanted: &CancelCheck<'_>| leafing.run(wanted).map(|next| (next, leafing));
            let found = api.costly.part(&caller, go_on).await??;
            leafing = found.1;
            found.0
        }
    };
    let next = next.map(|place| api.named_at(R::position(place), place));
    Ok(page_of(R::LIST, leafing.items.into_iter().map(WrittenItem).collect(), next))
}

impl<R: RecordView> EventPage<R> {
    /// Where the next page begins; `None` if this one is the last.
    fn run(&mut self, wanted: &CancelCheck<'_>) -> Result<Option<R::Place>, Problem> {
        while wanted.is_wanted() {
            if let PageProgress::Done(next) = self.step(STRIDE)? {
                return Ok(next);
            }
        }
        Err(HistoryError::Unwanted.into())
    }

    /// Whether many files would be asked for the story of one subject.
    fn begins_far_back(&self) -> bool {
        let RecordScope { subject, session } = &self.viewer.scope;
        let log = self.viewer.api.authority.log();
        (subject.is_some() || session.is_some()) && log.indexed().ends_after(self.at).count() > NEAR_FILES
    }

    /// Looks at the next commits.
    fn step(&mut self, most: usize) -> Result<PageProgress<R::Place>, Problem> {
        let stride = if self.at < self.head { self.viewer.stride(self.at, most)? } else { vec![] };
        let Some(last) = stride.last() else { return Ok(PageProgress::Done(None)) };
        self.at = last.last();
        self.looked_at += stride.len();
        for stored in stride {
            if self.is_full_with(stored) {
                return Ok(PageProgress::Done(self.last));
            }
        }
        let is_long = self.looked_at >= LOOKED_AT;
        Ok(match self.at < self.head {
            true if is_long => PageProgress::Done(Some(R::after(self.at))),
            true => PageProgress::Open,
            false => PageProgress::Done(None),
        })
    }

    fn is_full_with(&mut self, stored: StoredCommit) -> bool {
        for (place, item) in self.record.sought(&self.viewer, &FeedCommit::of(Arc::new(stored))) {
            if place <= self.after || R::position(place) > self.head {
                continue;
            }
            if self.items.len() == self.limit {
                return true;
            }
            self.items.push(item);
            self.last = Some(place);
        }
        false
    }
}

/// An item already written.
#[derive(Debug)]
pub(super) struct WrittenItem(Arc<str>);

impl Serialize for WrittenItem {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}
