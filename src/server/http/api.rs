//! What every handler works with, and the settings that it obeys.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::sync::watch;

use super::{
    nodes::ClusterNodes,
    operations::metrics::ApiMetrics,
    reply::problem::ProblemCode,
    request::{
        costly_reads::CostlyReads,
        refusal_log::{RefusalKey, RefusalLog},
        throttle::CredentialThrottle,
    },
    revocations::ended_sessions::EndedSessions,
};
use crate::admission::{Admission, AdmissionLimits, ConnectionPlaces};
use crate::authority::Authority;
use crate::backup::BackupMaker;
use crate::config::Networks;
use crate::notify::webhooks::Webhooks;
use crate::projections::Projections;
use crate::traces::TraceExporter;
use tenure_audit::Evidence;
use tenure_core::{Position, Timestamp, state::AuthorityState};
use tenure_protocol::clock::TestClock;

/// What every handler works with.
pub struct ApiContext {
    pub(super) authority: Arc<Authority>,
    pub(super) projections: Arc<Projections>,
    pub(super) evidence: Arc<Evidence>,
    pub(super) webhooks: Arc<Webhooks>,
    pub(super) backups: Arc<BackupMaker>,
    pub(super) settings: ApiSettings,
    pub(super) test_clock: Option<Arc<TestClock>>,
    pub(super) throttle: CredentialThrottle,
    pub(super) admission: Admission,
    pub(super) ended: EndedSessions,
    pub(super) metrics: ApiMetrics,
    pub(super) refusals: RefusalLog,
    pub(super) costly: Arc<CostlyReads>,
    pub(super) closing: watch::Sender<bool>,
    /// This node among others, where there are some.
    nodes: OnceLock<Arc<ClusterNodes>>,
}

/// The settings that the API obeys.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// `backup.dir`.
    pub backup_dir: Option<PathBuf>,
    /// `server.max_body`, in bytes.
    pub max_body: usize,
    /// `server.trusted_proxies`.
    pub trusted_proxies: Networks,
    /// `metrics.allow`.
    pub metrics_allow: Networks,
    /// `forward_auth.trusted`.
    pub forward_auth_trusted: Networks,
    /// `forward_auth.cookie_name`.
    pub forward_auth_cookie: String,
    /// `security.wrong_credentials_per_minute`.
    pub wrong_credentials_per_minute: u32,
    /// `security.limit_loopback`.
    pub limit_loopback: bool,
    /// What all callers have together, and the shares of each.
    pub limits: AdmissionLimits,
    /// Where spans are sent, if they are.
    pub traces: Option<TraceExporter>,
}

impl ApiContext {
    /// An API for this authority. With a test clock, `/v1/clock` drives it.
    pub fn new(
        authority: Arc<Authority>,
        projections: Arc<Projections>,
        evidence: Arc<Evidence>,
        webhooks: Arc<Webhooks>,
        backups: Arc<BackupMaker>,
        settings: ApiSettings,
        test_clock: Option<Arc<TestClock>>,
    ) -> Arc<Self> {
        let throttle = CredentialThrottle::new(settings.wrong_credentials_per_minute);
        let admission = Admission::new(settings.limits.clone());
        let metrics = ApiMetrics::new(authority.health());
        let closing = watch::Sender::new(false);
        Arc::new(Self {
            authority,
            projections,
            evidence,
            webhooks,
            backups,
            settings,
            test_clock,
            throttle,
            admission,
            ended: EndedSessions::default(),
            metrics,
            refusals: RefusalLog::default(),
            costly: Arc::new(CostlyReads::new()),
            closing,
            nodes: OnceLock::new(),
        })
    }

    /// Lists of the past begin where this says, and not always at the first event.
    pub(crate) fn fold_from(
        &self,
        begun: impl Fn(Position, Position) -> Option<AuthorityState> + Send + Sync + 'static,
    ) {
        self.costly.fold_from(Box::new(begun));
    }

    /// From now on this node is one of several.
    pub(crate) fn take_part(&self, nodes: &Arc<ClusterNodes>) {
        self.nodes.get_or_init(|| Arc::clone(nodes));
    }

    /// How old the state is that a stream tells of; `None` where this node does not know enough to go on with one.
    pub(super) fn staleness_of_streams(&self) -> Option<Duration> {
        self.nodes().map_or(Some(Duration::ZERO), |nodes| nodes.staleness_of_streams())
    }

    /// This node among others, where there are some.
    pub(super) fn nodes(&self) -> Option<&Arc<ClusterNodes>> {
        self.nodes.get()
    }

    /// Whether another node decides.
    pub(super) fn follows(&self) -> bool {
        self.nodes().is_some_and(|nodes| !nodes.leads())
    }

    /// Whether this node may merely not know yet what was recorded by this moment.
    pub(super) fn may_lack(&self, at: Timestamp) -> bool {
        self.nodes().is_some_and(|nodes| nodes.may_lack(at, self.authority.now()))
    }

    /// The places for connections.
    pub(crate) fn places(&self) -> &Arc<ConnectionPlaces> {
        &self.admission.places
    }

    /// Notes that a connection from this address was closed, because the address has its share.
    pub(crate) fn closed(&self, address: IpAddr) {
        let (code, route) = (ProblemCode::RateLimited.name(), "(connection)");
        self.refusals.note(RefusalKey { address: Some(address), code, route, credential: None });
    }

    /// Ends the streams, which would otherwise go on for as long as their readers stay.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    pub(super) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }
}
