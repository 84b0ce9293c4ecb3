//! A page of the sessions that there are now: found in the indexes, and looked at one by one. A page costs its size;
//! what has to look further is a costly read.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::authority::{Authority, CommandError};
use crate::gate::CancelCheck;
use crate::projections::{
    Projections,
    session_list::{EndMark, ListedBy, ListedSession, SessionList, SessionMatches, SessionQuery},
};
use tenure_core::{
    Position, SessionId,
    session::SessionStatus,
    subject::{SharedSession, Subject},
};

use super::{SessionFilter, read_back};
use crate::http::{
    api::ApiContext,
    reply::problem::Problem,
    request::{access::Caller, as_of::ReadPoint, call::ApiCall},
};

/// Sessions examined under one hold of the list.
const STRIDE: usize = 500;
/// Sessions examined for every page.
const NEAR: usize = 2_000;
/// Strides made for every page; sessions with another mark are skipped.
const STRIDES: usize = 8;

/// Sessions with their subjects.
pub(crate) type FoundSessions = Vec<(Arc<Subject>, SharedSession)>;

/// A page under way.
struct SessionWalk {
    api: Arc<ApiContext>,
    caller: Caller,
    filter: SessionFilter,
    reading: ReadPoint,
    most: usize,
    sought: SessionQuery,
    /// Where it goes on.
    before: Option<Position>,
    /// Sessions that have expired, and are not marked as expired.
    unmarked: Vec<SessionId>,
    found: FoundSessions,
    looked_at: usize,
    is_done: bool,
    reading_back: ReadingBack,
}

/// What a walk makes of sessions that left memory.
enum ReadingBack {
    /// It comes to the first of them, and no further.
    No { came_to_one: bool },
    /// It reads their subjects from the log. These were read already.
    Yes(HashMap<Position, SharedSession>),
    /// One could not be read.
    Failed(CommandError),
}

/// Up to `most` sessions that began before a position, newest first.
pub(crate) async fn of_everybody(
    call: &ApiCall,
    filter: SessionFilter,
    reading: ReadPoint,
    before: Option<Position>,
    most: usize,
) -> Result<FoundSessions, Problem> {
    let Some(mut walk) = SessionWalk::new(call, filter, reading, before, most) else { return Ok(vec![]) };
    if !walk.needs_marks() {
        walk.near();
    }
    if !walk.is_done {
        let far = move |wanted: &CancelCheck<'_>| {
            walk.far(wanted);
            walk
        };
        walk = call.api.costly.part(&call.caller, far).await?;
    }
    walk.page(before)
}

impl SessionWalk {
    /// `None` if nothing can be on the page.
    fn new(
        call: &ApiCall,
        filter: SessionFilter,
        reading: ReadPoint,
        before: Option<Position>,
        most: usize,
    ) -> Option<Self> {
        let own = call.caller.owner();
        if own.is_some() && filter.owner.is_some() && own != filter.owner.as_ref() {
            return None;
        }
        let owner = own.or(filter.owner.as_ref()).cloned();
        let mut unmarked = Vec::new();
        let marked = match filter.status {
            None => EndMark::Anyhow,
            Some(SessionStatus::Active) => EndMark::Open,
            Some(SessionStatus::Revoked) => EndMark::Revoked,
            Some(SessionStatus::Expired) => match call.api.authority.unrecorded_ends(reading.moment.at, NEAR)
            {
                Some(ended) => {
                    unmarked = ended;
                    EndMark::Expired
                }
                None => EndMark::NotRevoked,
            },
        };
        let sought = SessionQuery { owner, device: filter.device, marked };
        let (api, caller) = (Arc::clone(&call.api), call.caller.clone());
        let (found, looked_at, is_done) = (Vec::new(), 0, false);
        let reading_back = ReadingBack::No { came_to_one: false };
        Some(Self {
            api,
            caller,
            filter,
            reading,
            most,
            sought,
            before,
            unmarked,
            found,
            looked_at,
            is_done,
            reading_back,
        })
    }

    /// Whether revoked sessions may lack their marks, and are sought.
    fn needs_marks(&self) -> bool {
        self.sought.marked == EndMark::Revoked
            && self.api.projections.sessions(|list| list.unmarked_bulk().is_some())
    }

    fn near(&mut self) {
        for _ in 0..STRIDES {
            self.step();
            let came_to_one = matches!(self.reading_back, ReadingBack::No { came_to_one: true });
            if self.is_done || self.looked_at >= NEAR || came_to_one {
                return;
            }
        }
    }

    fn far(&mut self, wanted: &CancelCheck<'_>) {
        mark_bulks(&self.api.authority, &self.api.projections, wanted);
        self.learn_unmarked();
        self.reading_back = ReadingBack::Yes(HashMap::new());
        while !self.is_done && wanted.is_wanted() {
            self.step();
        }
    }

    /// Where nobody looks ahead for sessions that are about to expire, as at a node that follows, this does.
    fn learn_unmarked(&mut self) {
        if self.sought.marked == EndMark::NotRevoked {
            self.api.authority.look_ahead();
            if let Some(ended) = self.api.authority.unrecorded_ends(self.reading.moment.at, NEAR) {
                (self.unmarked, self.sought.marked) = (ended, EndMark::Expired);
            }
        }
    }

    fn step(&mut self) {
        let Some(SessionMatches { found, next }) = self.next_stride() else { return };
        self.before = next;
        self.is_done = next.is_none();
        for (place, listed) in found.iter().enumerate() {
            let following = place..found.len().min(place + self.most - self.found.len());
            if !self.look_at(listed, &found[following]) {
                // It is looked at again.
                (self.before, self.is_done) = (Some(listed.began.next()), self.has_failed());
                return;
            }
            if self.found.len() == self.most {
                self.is_done = true;
                return;
            }
        }
    }

    /// The sessions to look at next. What a checkpoint lists is read only where sessions may be read back.
    fn next_stride(&mut self) -> Option<SessionMatches> {
        let projections = &self.api.projections;
        if let ReadingBack::No { came_to_one } = &mut self.reading_back {
            let known = projections.listed_in_memory_behind(&self.sought);
            let mut stride = projections.sessions(|list| list.stride(&self.sought, self.before, STRIDE));
            let in_memory = stride.found.partition_point(|listed| listed.began > known);
            if known > Position::ZERO && (in_memory < stride.found.len() || stride.next.is_none()) {
                *came_to_one = true;
                stride.found.truncate(in_memory);
                let behind = Position(known.0.saturating_add(1));
                stride.next = Some(self.before.map_or(behind, |before| before.min(behind)));
            }
            return Some(stride);
        }
        match projections.all_sessions(&self.sought, self.before, STRIDE) {
            Ok(stride) => Some(stride),
            Err(error) => {
                let why = error.to_string();
                self.reading_back = ReadingBack::Failed(CommandError::StorageUnavailable { why });
                self.is_done = true;
                None
            }
        }
    }

    /// Whether it could be looked at. If it must be read back, those that are looked at next are, too.
    fn look_at(&mut self, listed: &ListedSession, following: &[ListedSession]) -> bool {
        self.looked_at += 1;
        let api = Arc::clone(&self.api);
        let Some((subject, session)) =
            known(&api.authority, listed).or_else(|| self.read_back(listed, following))
        else {
            return !self.lacks(listed);
        };
        let is_sought = self.filter.admits(&api, &subject, &session, self.reading.moment.at);
        if is_sought && self.caller.may_see(&subject) {
            self.found.push((subject, session));
        }
        true
    }

    /// Whether a session that was not found must be read back.
    fn lacks(&mut self, listed: &ListedSession) -> bool {
        let live = self.api.authority.live();
        match &mut self.reading_back {
            ReadingBack::No { came_to_one } => {
                *came_to_one = match &listed.named_by {
                    ListedBy::Session(id) => live.may_have_left(*id),
                    ListedBy::Subject(id) => live.has_left(id),
                };
                *came_to_one
            }
            ReadingBack::Yes(_) => false,
            ReadingBack::Failed(_) => true,
        }
    }

    const fn has_failed(&self) -> bool {
        matches!(self.reading_back, ReadingBack::Failed(_))
    }

    /// A session that left memory, once it may be read. Those of one page are read together.
    fn read_back(
        &mut self,
        listed: &ListedSession,
        following: &[ListedSession],
    ) -> Option<(Arc<Subject>, SharedSession)> {
        let ReadingBack::Yes(read) = &mut self.reading_back else { return None };
        if !read.contains_key(&listed.began) {
            let missing = following.iter().filter(|next| known(&self.api.authority, next).is_none());
            let missing: Vec<_> = missing.map(|next| next.began).collect();
            match read_back::sessions_begun_at(&self.api, &missing) {
                Ok(sessions) => {
                    read.extend(sessions.into_iter().map(|session| (session.created(), session.into())));
                }
                Err(failure) => {
                    self.reading_back = ReadingBack::Failed(failure);
                    return None;
                }
            }
        }
        let session = read.get(&listed.began)?.clone();
        Some((self.api.authority.live().subject(&session.subject)?, session))
    }

    /// What was found, together with what the marks do not show.
    fn page(mut self, before: Option<Position>) -> Result<FoundSessions, Problem> {
        if let ReadingBack::Failed(failure) = self.reading_back {
            return Err(failure.into());
        }
        if !self.unmarked.is_empty() {
            let known: HashSet<_> = self.found.iter().map(|(_, session)| session.id).collect();
            for id in std::mem::take(&mut self.unmarked) {
                if !known.contains(&id) {
                    self.look_at(
                        &ListedSession { began: Position::ZERO, named_by: ListedBy::Session(id) },
                        &[],
                    );
                }
            }
            self.found.retain(|(_, session)| before.is_none_or(|before| session.created() < before));
            self.found.sort_by_key(|(_, session)| Reverse(session.created()));
            self.found.dedup_by_key(|(_, session)| session.id);
            self.found.truncate(self.most);
        }
        self.api.metrics.looked_at(self.looked_at);
        Ok(self.found)
    }
}

/// A session in memory, and its subject.
fn known(authority: &Authority, listed: &ListedSession) -> Option<(Arc<Subject>, SharedSession)> {
    let live = authority.live();
    match &listed.named_by {
        ListedBy::Subject(id) => {
            let subject = live.subject(id)?;
            let session = subject.session_begun_at(listed.began)?.id;
            Some((Arc::clone(&subject), SharedSession::of(subject, session)?))
        }
        ListedBy::Session(id) => {
            let session = live.session(*id)?;
            Some((live.subject(&session.subject)?, session))
        }
    }
}

/// Marks the sessions that bulk revocations ended: once after each, by the first who looks further than near.
pub(in crate::http) fn mark_bulks(
    authority: &Authority,
    projections: &Projections,
    wanted: &CancelCheck<'_>,
) {
    let Some(bulk) = projections.sessions(SessionList::unmarked_bulk) else { return };
    let open = SessionQuery { marked: EndMark::NotRevoked, ..SessionQuery::default() };
    let mut before = None;
    while wanted.is_wanted() {
        let stride = projections.sessions(|list| list.stride(&open, before, STRIDE));
        let is_revoked = |listed: &ListedSession| {
            known(authority, listed).is_some_and(|(_, session)| session.revocation().is_some())
        };
        let ended = stride.found.into_iter().filter(is_revoked);
        projections.mark_revoked(&ended.map(|listed| listed.began).collect::<Vec<_>>());
        before = stride.next;
        if before.is_none() {
            return projections.bulk_is_marked(bulk);
        }
    }
}
