//! The API, asked in process: the console asks for the person who is signed in to it, with the API key of that sign-in.
//!
//! A request goes through the same table, checks, shares and gates as one from outside. Only its credential is not
//! read from a header: it is put into the request, where no request from outside can have it.

use std::{net::IpAddr, sync::Arc};

use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::authority::Authority;
use crate::projections::history::{self, HistoryError};
use tenure_audit::{
    replay::{Replay, ReplayEnd},
    story::{Live, Narrator, Story},
};
use tenure_core::{Position, SessionId, system::Credential};

use super::{
    api::Api,
    reply::problem::{Code, Problem},
    request::{
        access::Caller,
        call::wrong_credential,
        peer::{Peer, client_address},
    },
};

/// A bad credential, as the API would say it.
pub(crate) struct Wrong {
    pub(crate) status: u16,
    pub(crate) code: &'static str,
    pub(crate) retry_after: Option<u32>,
}

impl Api {
    /// The authority that it serves.
    pub(crate) fn authority(&self) -> &Arc<Authority> {
        &self.authority
    }

    /// The address of a client, as the API knows it.
    pub(crate) fn address_of(&self, headers: &HeaderMap, peer: Option<&Peer>) -> Option<IpAddr> {
        client_address(self, headers, peer)
    }

    /// Whether this is a proxy whose word on a request is believed.
    pub(crate) fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        self.settings.trusted_proxies.contains(address)
    }

    /// The story of a session that this caller may see, up to a moment; none of one that the history does not know. Reading
    /// it goes through the gate of costly reads, under the caller's share.
    pub(crate) async fn story(
        self: &Arc<Self>,
        key: &Arc<Credential>,
        id: SessionId,
        live: Live,
        until: (ReplayEnd, Position),
    ) -> Result<Option<Story>, (StatusCode, Value)> {
        let caller = Caller::Key(Arc::clone(key));
        let told = self.told(&caller, id, live, until).await;
        told.map_err(|problem| (problem.code.status(), problem.body("")))
    }

    async fn told(
        self: &Arc<Self>,
        caller: &Caller,
        id: SessionId,
        live: Live,
        (end, last): (ReplayEnd, Position),
    ) -> Result<Option<Story>, Problem> {
        let known = self.authority.live().session(id).ok_or(Code::SessionNotFound)?;
        let subject = self.authority.live().subject(&known.subject).ok_or(Code::SessionNotFound)?;
        if !caller.may_see(&subject) {
            return Err(Code::SessionNotFound.into());
        }
        let api = Arc::clone(self);
        let policy = self.authority.live().system().system.policy.clone();
        let work = move |wanted: &crate::gate::StillWanted<'_>| -> Result<Option<Story>, HistoryError> {
            let mut replay = Replay::of_subject(known.subject.clone(), policy, end);
            let mut teller = Narrator::of(id);
            teller.know(live);
            let is_wanted = || wanted.is_wanted();
            let read =
                history::commits_of(&is_wanted, api.authority.log(), &api.projections, &known.subject, last);
            for stored in read? {
                let told = replay.add_telling(&stored, &mut |state, step| teller.hear(state, step));
                if told?.is_break() {
                    break;
                }
            }
            Ok(teller.end(&replay))
        };
        self.costly.part(caller, work).await?.map_err(Problem::from)
    }

    /// Counts a wrong credential from this address.
    pub(crate) fn count_wrong(&self, address: Option<IpAddr>) -> Wrong {
        let problem = wrong_credential(self, address);
        let code = problem.code;
        Wrong { status: code.status().as_u16(), code: code.name(), retry_after: problem.retry_after }
    }
}
