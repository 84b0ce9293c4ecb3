//! The API, asked in process: the console asks for the person who is signed in to it, with the API key of that sign-in.
//!
//! A request goes through the same table, checks, shares and gates as one from outside. Only its credential is not
//! read from a header: it is put into the request, where no request from outside can have it.

use std::{net::IpAddr, sync::Arc};

use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::admission::{FlightPermit, RequestClass};
use crate::authority::Authority;
use crate::projections::history::{self, HistoryError};
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
        peer::{PeerAddress, client_address},
        serve::wrong_credential,
    },
};

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

    /// The story of a session that this caller may see, up to a moment; `None` if the history does not know it. Reading
    /// it goes through the gate of costly reads, under the caller's share.
    pub(crate) async fn story(
        self: &Arc<Self>,
        key: &Arc<Credential>,
        id: SessionId,
        live: LiveDetails,
        until: (ReplayEnd, Position),
    ) -> Result<Option<SessionStory>, RefusedReply> {
        let caller = Caller::Key(Arc::clone(key));
        Ok(self.story_for(&caller, id, live, until).await?)
    }

    async fn story_for(
        self: &Arc<Self>,
        caller: &Caller,
        id: SessionId,
        live: LiveDetails,
        (end, last): (ReplayEnd, Position),
    ) -> Result<Option<SessionStory>, Problem> {
        self.recall(id, caller).await?;
        let known = self.authority.live().session(id).ok_or(ProblemCode::SessionNotFound)?;
        let subject = self.authority.live().subject(&known.subject).ok_or(ProblemCode::SessionNotFound)?;
        if !caller.may_see(&subject) {
            return Err(ProblemCode::SessionNotFound.into());
        }
        let api = Arc::clone(self);
        let policy = self.authority.live().system().system.policy.clone();
        let work =
            move |wanted: &crate::gate::CancelCheck<'_>| -> Result<Option<SessionStory>, HistoryError> {
                let mut replay = HistoryReplay::of_subject(known.subject.clone(), policy, end);
                let mut teller = Narrator::of(id);
                teller.know(live);
                let is_wanted = || wanted.is_wanted();
                let read = history::commits_of(
                    &is_wanted,
                    api.authority.log(),
                    &api.projections,
                    &known.subject,
                    last,
                );
                for stored in read? {
                    let told =
                        replay.add_with_listener(&stored, &mut |state, step| teller.observe(state, step));
                    if told?.is_break() {
                        break;
                    }
                }
                Ok(teller.end(&replay))
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

    /// Counts a wrong credential from this address.
    pub(crate) fn count_wrong(&self, address: Option<IpAddr>) -> RefusedReply {
        wrong_credential(self, address).into()
    }
}
