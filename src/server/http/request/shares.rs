//! The admission layer as callers meet it: who asks, from where, and the answer to callers who are not let in.

use std::net::IpAddr;

use crate::admission::{Class, Flight, Full, Share, ShareOwner, Stream, Whole};
use tenure_core::SessionId;

use super::access::Caller;
use super::peer::Peer;
use crate::http::{
    api::Api,
    reply::problem::{Code, Problem},
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
    fn is_good(&self, api: &Api) -> bool {
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
    api: &'a Api,
    class: Class,
    caller: &Caller,
    address: Option<IpAddr>,
) -> Result<Option<Flight<'a>>, Problem> {
    let Some(who) = caller.who() else { return Ok(None) };
    let is_exempt = is_exempt(api, address);
    let flight = api.admission.flights.begin(class, Some(who), is_exempt)?;
    if class == Class::Change && !is_exempt {
        api.admission.append(who).map_err(|wait| beyond(Share::Appends, wait))?;
    }
    Ok(Some(flight))
}

/// The same for a proxy that asks about its users' tokens, also one known by its address alone.
pub(crate) fn begin_check<'a>(
    api: &'a Api,
    proxy: &Caller,
    address: Option<IpAddr>,
) -> Result<Flight<'a>, Problem> {
    Ok(api.admission.flights.begin(Class::Check, proxy.who(), is_exempt(api, address))?)
}

/// Whether there are no shares for callers from there. What came by no socket has no address.
pub(crate) fn is_exempt(api: &Api, address: Option<IpAddr>) -> bool {
    address.is_none_or(|address| api.admission.places.is_exempt(address))
}

/// Notes that a caller was known on this connection, which does not count for its address any more.
pub(crate) fn prove(api: &Api, peer: Option<&Peer>, caller: &Caller) {
    if let Some(seat) = peer.and_then(|peer| peer.seat.as_ref())
        && seat.is_unproven()
        && caller.is_good(api)
    {
        seat.prove();
    }
}

/// Lets a reader of a stream in. It has its stream until what is given back is dropped.
pub(crate) fn stream(api: &Api, caller: &Caller, is_exempt: bool) -> Result<Option<Stream>, Problem> {
    let Some(who) = caller.who() else { return Ok(None) };
    Ok(Some(api.admission.streams.open(who, is_exempt)?))
}

/// Lets a use of a session be recorded.
pub(crate) fn usage(api: &Api, is_exempt: bool, session: SessionId) -> Result<(), Problem> {
    if is_exempt {
        return Ok(());
    }
    api.admission.usage(session).map_err(|wait| beyond(Share::Usage, wait))
}

impl From<Full> for Problem {
    fn from(full: Full) -> Self {
        match full {
            Full::Share(share) => beyond(share, 1),
            Full::Whole(Whole::Streams) => Self::from(Code::Overloaded).saying("too many streams are open"),
            Full::Whole(Whole::InFlight) => {
                Self::from(Code::Overloaded).saying("too many requests are in flight")
            }
        }
    }
}

fn beyond(share: Share, wait: u32) -> Problem {
    let whose = match share {
        Share::Connections => "this address",
        Share::Streams | Share::InFlight | Share::Appends => "this credential",
        Share::Usage => "this session",
    };
    let why = format!("{whose} has all that {} gives it", share.setting());
    let mut problem = Problem::from(Code::RateLimited).saying(why);
    problem.retry_after = Some(wait);
    problem
}
