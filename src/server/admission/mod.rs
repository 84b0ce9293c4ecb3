//! Who is let in: so that no caller takes the service from the others.
//!
//! There are *wholes*: places for connections, streams, requests in flight. While no more than half of a whole is
//! taken, every caller is let in. Beyond that a caller with its *share* gets no more, and the others still do. Only
//! when the whole is taken are they refused too. A check costs a few atomic operations; only connections, streams and
//! appends take a lock, of their own.
//!
//! Nothing here knows HTTP: the API and the server ask, and answer the caller.

mod bucket;
mod class;
mod flights;
mod held;
mod places;
mod streams;

use std::{
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
    time::Instant,
};

use crate::config::{Networks, SharesConfig, UsageRate};
use tenure_core::{CredentialId, SessionId};
use tenure_protocol::clock::stopwatch;

use self::bucket::RateBuckets;
pub(crate) use self::{
    class::RequestClass,
    flights::{FlightPermit, RequestsInFlight},
    held::HeldBytes,
    places::{ConnectionPlaces, ConnectionSeat, ConnectionState, OccupiedPlace, network},
    streams::{OpenStreams, StreamPermit},
};

/// Whose share something is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ShareOwner {
    /// An API key's.
    Key(CredentialId),
    /// A session's, for all of its tokens.
    Session(SessionId),
}

/// What is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitReached {
    /// The caller's share: it must ask less.
    Share(CallerShare),
    /// The whole: all must come back later.
    Whole(SharedTotal),
}

/// A share, and what its setting is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallerShare {
    /// Connections of one address that have shown no good credential.
    Connections,
    /// Streams of one credential.
    Streams,
    /// Requests in flight of one credential.
    InFlight,
    /// Appends of one credential.
    Appends,
    /// Recorded usage of one session.
    Usage,
}

impl CallerShare {
    /// Every share, with the name of its setting.
    pub(crate) const ALL: [(&str, Self); 5] = [
        ("shares.connections_per_address", Self::Connections),
        ("shares.streams_per_credential", Self::Streams),
        ("shares.in_flight_per_credential", Self::InFlight),
        ("shares.appends_per_second", Self::Appends),
        ("usage.per_second", Self::Usage),
    ];

    /// The name of its setting.
    pub(crate) fn setting(self) -> &'static str {
        Self::ALL.iter().find(|(_, share)| *share == self).map_or("", |(name, _)| name)
    }
}

/// What all callers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SharedTotal {
    /// Streams.
    Streams,
    /// Requests in flight.
    InFlight,
}

/// The bounds.
#[derive(Clone, Debug)]
pub struct AdmissionLimits {
    /// How many connections there may be at once.
    pub places: usize,
    /// `server.buffers`
    pub buffers: usize,
    /// `shares.*`
    pub shares: SharesConfig,
    /// `usage.*`
    pub usage: UsageRate,
    /// `server.trusted_proxies` and `forward_auth.trusted`: their connections are of many clients.
    pub trusted_proxies: Networks,
    /// `security.limit_loopback`
    pub limit_loopback: bool,
}

/// The one layer before the routes.
pub(crate) struct Admission {
    pub(crate) places: Arc<ConnectionPlaces>,
    pub(crate) flights: RequestsInFlight,
    pub(crate) streams: Arc<OpenStreams>,
    appends: RateBuckets<ShareOwner>,
    usage: RateBuckets<SessionId>,
    begun: Instant,
    refused_appends: AtomicU64,
    refused_usage: AtomicU64,
}

impl Admission {
    pub(crate) fn new(limits: AdmissionLimits) -> Self {
        let AdmissionLimits { places, shares, usage, .. } = limits.clone();
        Self {
            places: ConnectionPlaces::new(limits),
            flights: RequestsInFlight::new(places, shares.in_flight_per_credential),
            streams: OpenStreams::new(shares.streams.of(places), shares.streams_per_credential),
            appends: RateBuckets::new(shares.appends_per_second, shares.appends_per_second),
            usage: RateBuckets::new(usage.per_second, usage.burst),
            begun: stopwatch(),
            refused_appends: AtomicU64::new(0),
            refused_usage: AtomicU64::new(0),
        }
    }

    /// Counts a request that may append something. Beyond the rate it is refused while the service is busy; the error
    /// is the wait in seconds.
    pub(crate) fn append(&self, who: ShareOwner) -> Result<(), u32> {
        let taken = self.appends.take(who, self.nanos());
        taken.or_else(|wait| {
            if self.flights.is_half_taken() { Err(refused(&self.refused_appends, wait)) } else { Ok(()) }
        })
    }

    /// Counts a use of a session before it is recorded. Beyond the rate it is refused, also without other callers:
    /// what is recorded stays.
    pub(crate) fn usage(&self, session: SessionId) -> Result<(), u32> {
        self.usage.take(session, self.nanos()).map_err(|wait| refused(&self.refused_usage, wait))
    }

    fn nanos(&self) -> u64 {
        u64::try_from(stopwatch().duration_since(self.begun).as_nanos()).unwrap_or(u64::MAX)
    }

    /// How often a share has refused since the start.
    pub(crate) fn refused_by(&self, share: CallerShare) -> u64 {
        match share {
            CallerShare::Connections => self.places.refused(),
            CallerShare::Streams => self.streams.refused_by_share(),
            CallerShare::InFlight => self.flights.refused_by_share(),
            CallerShare::Appends => self.refused_appends.load(Ordering::Relaxed),
            CallerShare::Usage => self.refused_usage.load(Ordering::Relaxed),
        }
    }

    /// How often there was no more of a whole since the start.
    pub(crate) fn refused_beyond(&self, whole: SharedTotal) -> u64 {
        match whole {
            SharedTotal::Streams => self.streams.refused_beyond(),
            SharedTotal::InFlight => self.flights.refused_beyond(),
        }
    }
}

fn refused(counter: &AtomicU64, wait: u64) -> u32 {
    counter.fetch_add(1, Ordering::Relaxed);
    u32::try_from(wait.div_ceil(1_000_000_000)).unwrap_or(u32::MAX).max(1)
}
