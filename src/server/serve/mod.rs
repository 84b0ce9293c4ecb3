//! The service: a node, its API, a listening socket, and an orderly end.

mod hsts;
mod leadership;
mod plain;
mod reply_bytes;
mod request_head;
mod service_manager;
mod timeouts;
mod tls;

use std::{
    net::SocketAddr,
    path::PathBuf,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, http::Request};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulConnection, GracefulShutdown, Watcher},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    runtime::{Handle, Runtime},
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

use crate::admission::{AdmissionLimits, ConnectionSeat, ConnectionState, OccupiedPlace};
use crate::authority::{NoticeLinks, TokenIssuance};
use crate::backup::BackupMaker;
use crate::config::{Config, Networks};
use crate::console;
use crate::http::{ApiContext, ApiSettings, ClusterNodes, PeerAddress, guarded, with_host_checked};
use crate::node::{Node, NodeCertificates, NodeOptions, StartError};
use crate::notify::webhooks;
use crate::process::{self, DescriptorLimits, TooFewDescriptors};
use crate::traces::{TraceExporter, TraceSetupError};
use tenure_core::Seconds;
use tenure_log::{SegmentEvents, waiting_for_disk};
use tenure_protocol::clock::stopwatch;
use tenure_protocol::entropy::OsEntropy;

use self::{
    plain::PlainServer,
    timeouts::{ConnectionRequests, ConnectionTimeouts, TimeoutConnection},
    tls::{TlsCertificate, TlsError},
};

/// Maximum connections served at once.
const CONNECTIONS: usize = 65_536;
/// Connections that wait to be accepted, if the system allows as many. One that finds no place there tries again after
/// a second.
const BACKLOG: u32 = 8_192;
/// Limit for the head of a request to arrive.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that reads nothing of its reply for this time is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum bytes of a request's head, whichever it is on its connection. A longer one is 431.
const MOST_HEAD: usize = 64 * 1024;
/// Maximum bytes that are read, or of a reply, in a connection's buffer.
const BUFFER: usize = 64 * 1024;
/// Bytes of answers that the system takes for a connection before its client does.
const SEND_BUFFER: u32 = 128 * 1024;
/// How long requests in flight have at a stop; the contract gives the whole stop 10 s.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data directory could not be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The address could not be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// Time that stands still must not be seen from outside.
    #[error("--test-clock is only for a loopback address, and {0} is none")]
    TestClockExposed(SocketAddr),
    /// Connections would leave no descriptors for the log.
    #[error(transparent)]
    Descriptors(#[from] TooFewDescriptors),
    /// Spans cannot be sent to the configured collector.
    #[error(transparent)]
    Traces(#[from] TraceSetupError),
    /// The certificate or its key is no good.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// This node can take part in its cluster no more.
    #[error("this node can take part in the cluster no more: {0}")]
    Over(String),
    /// What nodes show each other is no good.
    #[error("the certificates of nodes cannot be used: {0}")]
    Nodes(String),
    /// The runtime or its signals could not be set up.
    #[error("the runtime could not be set up: {0}")]
    Runtime(std::io::Error),
}

/// Reported once the server listens.
#[derive(Clone, Debug)]
pub struct ListeningServer {
    /// The address, with the port that was really taken.
    pub address: SocketAddr,
    /// Where the first admin key was written, when this start made it.
    pub first_key: Option<PathBuf>,
}

/// Serves until SIGTERM or SIGINT, and then ends in order.
///
/// # Errors
/// See [`ServeError`]; all of them before the first request is served.
pub fn run(config: &Config, test_clock: bool, told: impl FnOnce(&ListeningServer)) -> Result<(), ServeError> {
    if test_clock && !config.server.listen.ip().is_loopback() {
        return Err(ServeError::TestClockExposed(config.server.listen));
    }
    let descriptors = descriptors()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServeError::Runtime)?;
    let nodes = leadership::certificates(config).map_err(ServeError::Nodes)?;
    let tls = TlsCertificate::of(config, nodes.as_ref())?;
    outlive_hangups(&runtime, nodes.clone(), tls.clone()).map_err(ServeError::Runtime)?;
    let begun = stopwatch();
    let node = Node::open(options(config, nodes, test_clock))?;
    tracing::info!(
        data = %config.data_dir.display(),
        position = %node.authority.live().position(),
        sessions = node.open_sessions(),
        seconds = format_args!("{:.1}", begun.elapsed().as_secs_f64()),
        "the history is open"
    );
    let served = runtime.block_on(serve(config, &node, descriptors.connections, tls, told));
    // Handlers hold the authority; they end with the runtime.
    runtime.shutdown_timeout(Duration::from_secs(1));
    let over = leadership::why_over(node.shared.as_ref());
    node.stop();
    tracing::info!("stopped");
    served.and(over.map_or(Ok(()), |why| Err(ServeError::Over(why))))
}

fn descriptors() -> Result<DescriptorLimits, TooFewDescriptors> {
    let descriptors = process::descriptors(CONNECTIONS)?;
    let DescriptorLimits { limit, connections } = descriptors;
    tracing::info!(limit, connections, "files that may be open at once, and connections among them");
    Ok(descriptors)
}

fn options(config: &Config, nodes: Option<Arc<NodeCertificates>>, test_clock: bool) -> NodeOptions {
    NodeOptions {
        begin_epoch: None,
        cluster: nodes.and_then(|certificates| leadership::cluster(config, certificates)),
        restoring: false,
        data: config.data_dir.clone(),
        policy: Some(config.policy()),
        idempotency_window: config.idempotency.window,
        idempotency_max: config.idempotency.max as usize,
        head_interval: config.audit.head_interval,
        head_file: config.audit.head_file.clone(),
        reserve: config.data_reserve.into(),
        segment_events: SegmentEvents::By(config.segment_events.into()),
        verify: config.verify,
        scrub_rate: config.scrub_rate.into(),
        retention: config.retention,
        test_clock,
        webhooks: webhooks::WebhookSettings {
            allow_private: config.webhooks_allow_private,
            public_url: config.server.public_url.clone(),
            time_zone: config.notice_time_zone.clone(),
        },
        issuing: TokenIssuance {
            issuer: config.server.public_url.clone().unwrap_or_else(|| TokenIssuance::default().issuer),
            overlap: config.keys_overlap,
            clock_skew: config.access_clock_skew,
            links: NoticeLinks {
                console: config.server.public_url.as_ref().filter(|_| config.console_enabled).cloned(),
                veto: config.veto_links,
            },
        },
        entropy: Arc::new(OsEntropy),
    }
}

fn settings(config: &Config, places: usize, traces: Option<TraceExporter>) -> ApiSettings {
    ApiSettings {
        traces,
        backup_dir: config.backup_dir.clone(),
        max_body: config.server.max_body as usize,
        trusted_proxies: config.server.trusted_proxies.clone(),
        metrics_allow: config.metrics_allow.clone(),
        forward_auth_trusted: config.forward_auth_trusted.clone(),
        forward_auth_cookie: config.forward_auth_cookie.clone(),
        wrong_credentials_per_minute: config.security.wrong_credentials_per_minute,
        limit_loopback: config.security.limit_loopback,
        limits: AdmissionLimits {
            places,
            buffers: config.server.buffers as usize,
            shares: config.shares,
            usage: config.usage,
            trusted_proxies: trusted_proxies(config),
            limit_loopback: config.security.limit_loopback,
        },
    }
}

/// Proxies of both kinds: their connections are of many clients.
fn trusted_proxies(config: &Config) -> Networks {
    let (known, asking) = (&config.server.trusted_proxies, &config.forward_auth_trusted);
    Networks(known.0.iter().chain(&asking.0).copied().collect())
}

async fn serve(
    config: &Config,
    node: &Node,
    connections: usize,
    tls: Option<Arc<TlsCertificate>>,
    told: impl FnOnce(&ListeningServer),
) -> Result<(), ServeError> {
    let address = config.server.listen;
    let listener = listener(address).map_err(|source| ServeError::Listen { address, source })?;
    let address = listener.local_addr().map_err(ServeError::Runtime)?;
    let stop = stop_signal().map_err(ServeError::Runtime)?;
    let traces = TraceExporter::of(&config.telemetry)?;
    let api = ApiContext::new(
        Arc::clone(&node.authority),
        Arc::clone(&node.projections),
        Arc::clone(&node.evidence),
        Arc::clone(&node.webhooks),
        Arc::new(BackupMaker::of(node)),
        settings(config, connections, traces.clone()),
        node.test_clock.clone(),
    );
    api.fold_from(node.begun_folds());
    let nodes = leadership::take_part(config, node, &api);
    if let Some(traces) = &traces {
        node.webhooks.trace(traces);
    }
    leadership::deliver_webhooks(node);
    node.authority.answer_by_way_of(Handle::current());
    told(&ListeningServer { address, first_key: node.first_key.clone() });
    service_manager::ready(address);
    let over = leadership::over(node.shared.clone());
    let stop = async {
        tokio::select! {
            () = stop => leadership::give_away(node.shared.as_ref()).await,
            () = over => {}
        }
        service_manager::stopping();
        api.close();
    };
    let requests = RequestServer::of(config, &api, nodes.as_ref());
    accept_until(stop, listener, (&api, requests), tls, config.server.keep_alive).await;
    node.webhooks.stop().await;
    if let Some(traces) = traces {
        waiting_for_disk(|| traces.stop());
    }
    Ok(())
}

/// The API, and the console beside it.
fn router(config: &Config, api: &Arc<ApiContext>) -> Router {
    if config.console_enabled { console::router(api, config) } else { api.router() }
}

fn listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Or else a restart would have to wait for the connections of the former process.
    socket.set_reuseaddr(true)?;
    // Connections have it from their listener. The system's own would be megabytes for each client that reads slowly.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// From here on SIGHUP ends nothing, also while the log is still being read. It is what `systemctl reload`, the
/// rotation of logs and the end of a terminal send to a service.
fn outlive_hangups(
    runtime: &Runtime,
    nodes: Option<Arc<NodeCertificates>>,
    tls: Option<Arc<TlsCertificate>>,
) -> std::io::Result<()> {
    let _context = runtime.enter();
    let mut hangup = signal(SignalKind::hangup())?;
    runtime.spawn(async move {
        while hangup.recv().await.is_some() {
            // The listener asks for certificates of the authority that was loaded last.
            if let Some(nodes) = &nodes {
                nodes.reload();
            }
            if let Some(tls) = &tls {
                tls.reload();
            } else if nodes.is_none() {
                tracing::info!("SIGHUP is ignored: there is nothing to load again");
            }
        }
    });
    Ok(())
}

/// Ends at SIGTERM or SIGINT.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    })
}

/// Accepts connections until `stop`, and then gives those that are open a while to end.
async fn accept_until(
    stop: impl Future<Output = ()>,
    listener: TcpListener,
    (api, requests): (&Arc<ApiContext>, RequestServer),
    tls: Option<Arc<TlsCertificate>>,
    keep_alive: Seconds,
) {
    let places = api.places();
    let timeouts =
        ConnectionTimeouts { head: HEADER_TIMEOUT, idle: Duration::from_secs(keep_alive.0.into()) };
    let graceful = GracefulShutdown::new();
    let mut unaccepted = AcceptFailures::default();
    let (serving, stopped) = watch::channel(());
    let server = ConnectionServer { requests, tls, timeouts, stopped };
    tokio::pin!(stop);
    loop {
        let accepted = async {
            places.room().await;
            listener.accept().await
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => match places.take(peer.ip()) {
                Some(place) => server.begin(stream, peer, place, graceful.watcher()),
                // The connection is closed by being let go.
                None => api.closed(peer.ip()),
            },
            Err(error) => {
                // Out of descriptors, most likely: those of ended connections come back.
                unaccepted.note(&error);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    // Handshakes end here: no request has come on their connections.
    drop((listener, serving));
    drop(tokio::time::timeout(STOP_TIMEOUT, graceful.shutdown()).await);
}

/// What serves each connection.
#[derive(Clone)]
struct ConnectionServer {
    requests: RequestServer,
    tls: Option<Arc<TlsCertificate>>,
    timeouts: ConnectionTimeouts,
    /// Closed at a stop.
    stopped: watch::Receiver<()>,
}

impl ConnectionServer {
    /// Has a task serve a connection, which gives its place back in the end.
    fn begin(&self, stream: TcpStream, peer: SocketAddr, place: OccupiedPlace, watcher: Watcher) {
        let seat = Arc::clone(place.seat());
        // In the order in which connections come: whether places run out is not for their tasks to find.
        let due = self.timeouts.for_the_first(&seat);
        let peer = PeerAddress::at(peer.ip()).on(Arc::clone(&seat)).encrypted(self.tls.is_some());
        let server = self.clone();
        tokio::spawn(async move {
            server.serve(tamed(stream), peer, seat, due, watcher).await;
            drop(place);
        });
    }

    async fn serve(
        self,
        stream: Pin<Box<TimeoutStream<TcpStream>>>,
        peer: PeerAddress,
        seat: Arc<ConnectionSeat>,
        due: tokio::time::Instant,
        watcher: Watcher,
    ) {
        let Self { requests, tls: certificate, timeouts, stopped } = self;
        let Some(certificate) = certificate else {
            return requests.serve(stream, peer, seat, (timeouts, due), (watcher, stopped)).await;
        };
        if let Some(stream) = certificate.accept(stream, (&*seat, due), stopped.clone()).await {
            // What it took to get here is not the head's delay.
            seat.stands(ConnectionState::Head, stopwatch());
            let waiting = (timeouts, timeouts.for_the_first(&seat));
            let peer = peer.showing(tls::shown(&stream));
            requests.serve(stream, peer, seat, waiting, (watcher, stopped)).await;
        }
    }
}

/// The connections that could not be accepted. While it lasts there are many each second, and logging each of them
/// would fill the disk as well.
#[derive(Default)]
struct AcceptFailures {
    told: Option<Instant>,
    since: u64,
}

impl AcceptFailures {
    /// Logs the first at once, and from then on once a minute how many there were.
    fn note(&mut self, error: &std::io::Error) {
        if let Some(attempts) = self.count(stopwatch()) {
            tracing::warn!(%error, attempts, "connections could not be accepted");
        }
    }

    /// How many there were since they were last logged, if they are to be logged now.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.since += 1;
        if self.told.is_some_and(|told| now.duration_since(told) < Duration::from_mins(1)) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

/// What answers the requests of all connections.
#[derive(Clone)]
struct RequestServer {
    plain: Option<PlainServer>,
    router: Router,
}

impl RequestServer {
    fn of(config: &Config, api: &Arc<ApiContext>, nodes: Option<&Arc<ClusterNodes>>) -> Self {
        let hsts = hsts::value(&config.server);
        // What a node of several is asked goes through the door of its router.
        let plain = nodes.is_none().then(|| PlainServer::new(api, hsts.clone()));
        let router = router(config, api);
        let router = match nodes {
            Some(nodes) => guarded(router, api, nodes),
            None => router,
        };
        Self { plain, router: hsts::with_header(with_host_checked(router, api), hsts) }
    }

    /// Serves a connection to its end, which `stopped` being closed brings about between two requests.
    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self,
        stream: S,
        peer: PeerAddress,
        seat: Arc<ConnectionSeat>,
        (timeouts, due): (ConnectionTimeouts, tokio::time::Instant),
        (watcher, stopped): (Watcher, watch::Receiver<()>),
    ) {
        let requests = ConnectionRequests::on(seat);
        let mut stream = TimeoutConnection::new(stream, requests.clone(), timeouts, due);
        if let Some(plain) = self.plain {
            // What it holds goes when the connection is hyper's.
            let served = Box::pin(plain.serve(stream, &requests, &peer, stopped));
            let Some(rest) = served.await else { return };
            stream = rest;
        }
        let connection = Box::pin(watcher.watch(connection(stream, requests, peer, self.router)));
        // It ends in an error when the client goes away; no one is left to report it to.
        drop(connection.await);
    }
}

/// A connection that does not hold back what is written, and is not waited for without end.
fn tamed(stream: TcpStream) -> Pin<Box<TimeoutStream<TcpStream>>> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    Box::pin(stream)
}

fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: TimeoutConnection<S>,
    requests: ConnectionRequests,
    peer: PeerAddress,
    router: Router,
) -> impl GracefulConnection<Error = hyper::Error> + Send {
    // Called as soon as a request has come, before more is read: from then on it is under way.
    let service = service_fn(move |mut request: Request<Incoming>| {
        let under_way = requests.begin();
        request.extensions_mut().insert(peer.clone());
        let answered = router.clone().oneshot(request.map(Body::new));
        async move { answered.await.map(|response| under_way.until_sent(response)) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        // It would also be the limit of an idle connection; the stream has one for each.
        .header_read_timeout(None)
        .max_header_size(MOST_HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There were twenty lines a second, for as long as descriptors lacked.
    #[test]
    fn connections_that_cannot_be_accepted_are_logged_at_once_and_then_by_the_minute() {
        let (mut failures, begun) = (AcceptFailures::default(), stopwatch());
        let at = |millis| begun + Duration::from_millis(millis);
        let logged: Vec<_> = (0..=2_400).filter_map(|number| failures.count(at(50 * number))).collect();
        assert_eq!(logged, [1, 1_200, 1_200]);
    }
}
