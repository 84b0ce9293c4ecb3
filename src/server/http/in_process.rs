//! The API, asked in process: the console asks for the person who is signed in to it, with the API key of that sign-in.
//!
//! A request goes through the same table, checks, shares and gates as one from outside. Only its credential is not
//! read from a header: it is put into the request, where no request from outside can have it.

use std::{net::IpAddr, sync::Arc};

use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::admission::{FlightPermit, RequestClass};
use crate::authority::Authority;
use crate::projections::history::{self, HistoryError, PartLength};
use crate::traces::TraceExporter;
use tenure_audit::{
    replay::{HistoryReplay, ReplayEnd},
    story::{LiveDetails, Narrator, SessionStory},
};
use tenure_core::{Position, SessionId, system::Credential};

use super::{
    api::ApiContext,
    reply::problem::{Problem, ProblemCode},
    request::{
        access::Caller,
        admission,
        fields::check_size,
        peer::{PeerAddress, client_address},
        serve::wrong_credential,
    },
};

/// Commits of a subject that a part of a session's story is sought in: what one costs does not grow with the history.
const STORY_LENGTH: PartLength = PartLength { most: 500, least: 20 };
/// Maximum chapters of a part.
const STORY_CHAPTERS: usize = 50;

/// A part of the story of a session.
pub(crate) struct StoryPart {
    pub(crate) story: SessionStory,
    /// What happened before this position is in other parts; `None` if nothing did.
    pub(crate) older: Option<Position>,
}

impl StoryPart {
    /// The end of a story that was sought behind a position.
    fn of(mut story: SessionStory, created: Position, begin: Position) -> Self {
        let more = story.chapters.len().saturating_sub(STORY_CHAPTERS);
        story.chapters.drain(..more);
        let sought = (created <= begin).then(|| begin.next());
        let older = if more > 0 { story.chapters.first().map(|first| first.position) } else { sought };
        Self { story, older }
    }
}

/// What the API says to a caller it refuses.
pub(crate) struct RefusedReply {
    pub(crate) status: StatusCode,
    /// The body of the reply.
    pub(crate) problem: Value,
    /// What the header of that name would say, in seconds.
    pub(crate) retry_after: Option<u32>,
}

impl From<Problem> for RefusedReply {
    fn from(problem: Problem) -> Self {
        let (status, retry_after) = (problem.code.status(), problem.retry_after);
        Self { status, problem: problem.body(""), retry_after }
    }
}

impl ApiContext {
    /// The authority that it serves.
    pub(crate) fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// Where spans are sent, if they are.
    pub(crate) fn traces(&self) -> Option<&TraceExporter> {
        self.settings.traces.as_ref()
    }

    /// The address of a client, as the API knows it.
    pub(crate) fn address_of(&self, headers: &HeaderMap, peer: Option<&PeerAddress>) -> Option<IpAddr> {
        client_address(&self.settings.trusted_proxies, headers, peer)
    }

    /// Whether this is a proxy whose word on a request is believed.
    pub(crate) fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        self.settings.trusted_proxies.contains(address)
    }

    /// The last part of the story of a session that this caller may see, up to a moment, and there up to the event before
    /// a position; `None` if the history up to there does not know the session. Reading it goes through the gate of
    /// costly reads, under the caller's share.
    pub(crate) async fn story(
        self: &Arc<Self>,
        key: &Arc<Credential>,
        id: SessionId,
        live: LiveDetails,
        until: (ReplayEnd, Position),
        before: Option<Position>,
    ) -> Result<Option<StoryPart>, RefusedReply> {
        let caller = Caller::Key(Arc::clone(key));
        let until = match before {
            None => until,
            Some(before) => {
                let last = until.1.min(Position(before.0.saturating_sub(1)));
                (ReplayEnd::Position(last), last)
            }
        };
        Ok(self.story_for(&caller, id, live, until).await?)
    }

    async fn story_for(
        self: &Arc<Self>,
        caller: &Caller,
        id: SessionId,
        live: LiveDetails,
        (end, last): (ReplayEnd, Position),
    ) -> Result<Option<StoryPart>, Problem> {
        self.recall(id, caller).await?;
        let known = self.authority.live().session(id).ok_or(ProblemCode::SessionNotFound)?;
        let subject = self.authority.live().subject(&known.subject).ok_or(ProblemCode::SessionNotFound)?;
        if !caller.may_see(&subject) {
            return Err(ProblemCode::SessionNotFound.into());
        }
        let api = Arc::clone(self);
        let policy = self.authority.live().system().system.policy.clone();
        let work = move |wanted: &crate::gate::CancelCheck<'_>| -> Result<Option<StoryPart>, HistoryError> {
            let (log, projections, subject) = (api.authority.log(), &api.projections, &known.subject);
            let is_wanted = || wanted.is_wanted();
            let begin = history::last_part(log, projections, subject, last, STORY_LENGTH)?;
            let folded = history::folded_subject(&is_wanted, log, projections, subject, begin)?;
            let commits = history::commits_behind(&is_wanted, log, projections, &folded, last)?;
            let mut teller = Narrator::of(id);
            teller.know(live);
            if folded.subject.session(id).is_some() {
                teller.go_on(subject.clone());
            }
            let mut replay = HistoryReplay::of_subject(folded.into_state(), policy, end);
            for stored in commits {
                let told = replay.add_with_listener(&stored, &mut |state, step| teller.observe(state, step));
                if told?.is_break() {
                    break;
                }
            }
            Ok(teller.end(&replay).map(|story| StoryPart::of(story, known.created(), begin)))
        };
        self.costly.part(caller, work).await?.map_err(Problem::from)
    }

    /// Lets a sign-in with this key in: it counts among the key's requests in flight, until what is given back is
    /// dropped, and among what it appends.
    pub(crate) fn admit_sign_in(
        &self,
        key: &Arc<Credential>,
        address: Option<IpAddr>,
    ) -> Result<Option<FlightPermit<'_>>, RefusedReply> {
        let caller = Caller::Key(Arc::clone(key));
        Ok(admission::begin(self, RequestClass::Change, &caller, address)?)
    }

    /// Refuses a query that would cost too much to read.
    pub(crate) fn check_query(query: &str) -> Result<(), RefusedReply> {
        Ok(check_size(query)?)
    }

    /// Counts a wrong credential from this address.
    pub(crate) fn count_wrong(&self, address: Option<IpAddr>) -> RefusedReply {
        wrong_credential(self, address).into()
    }
}
