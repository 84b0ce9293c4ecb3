//! The admission layer as callers meet it: who asks, from where, and the answer to callers who are not let in.

use std::net::IpAddr;

use crate::admission::{
    CallerShare, FlightPermit, LimitReached, RequestClass, ShareOwner, SharedTotal, StreamPermit,
};
use tenure_core::SessionId;

use super::access::Caller;
use super::peer::PeerAddress;
use crate::http::{
    api::ApiContext,
    reply::problem::{Problem, ProblemCode},
};

impl Caller {
    /// Whose share its requests are of; `None` on a route open to all.
    fn who(&self) -> Option<ShareOwner> {
        match self {
            Self::Anyone => None,
            Self::Key(key) => Some(ShareOwner::Key(key.id)),
            Self::Session(holder) => Some(ShareOwner::Session(holder.session.id)),
        }
    }

    /// Whether its credential is good now: some routes let a bad token in to be judged.
    fn is_good(&self, api: &ApiContext) -> bool {
        match self {
            Self::Anyone => false,
            Self::Key(_) => true,
            Self::Session(holder) => holder.judge(api.authority.now()).is_ok(),
        }
    }
}

/// Lets a request in, once its caller is known and before anything is done for it. It is in flight until what is given
/// back is dropped.
pub(crate) fn begin<'a>(
    api: &'a ApiContext,
    class: RequestClass,
    caller: &Caller,
    address: Option<IpAddr>,
) -> Result<Option<FlightPermit<'a>>, Problem> {
    let Some(who) = caller.who() else { return Ok(None) };
    let is_exempt = is_exempt(api, address);
    let flight = api.admission.flights.begin(class, Some(who), is_exempt)?;
    if class == RequestClass::Change && !is_exempt {
        api.admission.append(who).map_err(|wait| beyond(CallerShare::Appends, wait))?;
    }
    Ok(Some(flight))
}

/// The same for a proxy that asks about its users' tokens, also one known by its address alone.
pub(crate) fn begin_check<'a>(
    api: &'a ApiContext,
    proxy: &Caller,
    address: Option<IpAddr>,
) -> Result<FlightPermit<'a>, Problem> {
    Ok(api.admission.flights.begin(RequestClass::Check, proxy.who(), is_exempt(api, address))?)
}

/// Whether there are no shares for callers from there. What came by no socket has no address.
pub(crate) fn is_exempt(api: &ApiContext, address: Option<IpAddr>) -> bool {
    address.is_none_or(|address| api.admission.places.is_exempt(address))
}

/// Notes that a caller was known on this connection, which does not count for its address any more.
pub(crate) fn prove(api: &ApiContext, peer: Option<&PeerAddress>, caller: &Caller) {
    if let Some(seat) = peer.and_then(|peer| peer.seat.as_ref())
        && seat.is_unproven()
        && caller.is_good(api)
    {
        seat.prove();
    }
}

/// Lets a reader of a stream in. It has its stream until what is given back is dropped.
pub(crate) fn stream(
    api: &ApiContext,
    caller: &Caller,
    is_exempt: bool,
) -> Result<Option<StreamPermit>, Problem> {
    let Some(who) = caller.who() else { return Ok(None) };
    Ok(Some(api.admission.streams.open(who, is_exempt)?))
}

/// Lets a use of a session be recorded.
pub(crate) fn usage(api: &ApiContext, is_exempt: bool, session: SessionId) -> Result<(), Problem> {
    if is_exempt {
        return Ok(());
    }
    api.admission.usage(session).map_err(|wait| beyond(CallerShare::Usage, wait))
}

impl From<LimitReached> for Problem {
    fn from(full: LimitReached) -> Self {
        match full {
            LimitReached::Share(share) => beyond(share, 1),
            LimitReached::Whole(SharedTotal::Streams) => {
                Self::from(ProblemCode::Overloaded).saying("too many streams are open")
            }
            LimitReached::Whole(SharedTotal::InFlight) => {
                Self::from(ProblemCode::Overloaded).saying("too many requests are in flight")
            }
        }
    }
}

fn beyond(share: CallerShare, wait: u32) -> Problem {
    let whose = match share {
        CallerShare::Connections => "this address",
        CallerShare::Streams | CallerShare::InFlight | CallerShare::Appends => "this credential",
        CallerShare::Usage => "this session",
    };
    let why = format!("{whose} has all that {} gives it", share.setting());
    let mut problem = Problem::from(ProblemCode::RateLimited).saying(why);
    problem.retry_after = Some(wait);
    problem
}
