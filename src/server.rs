//! The service: a node, its API, a listening socket, and an orderly end.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

use crate::{
    api::{Api, Peer, Settings},
    authority::Issuing,
    bus::webhooks,
    config::Config,
    entropy::OsEntropy,
    node::{Node, Options, StartError},
    process::{self, Descriptors, TooFewDescriptors},
};

/// So many connections are served at once at most; further ones wait to be accepted.
const CONNECTIONS: usize = 10_000;
/// A client that has not sent its headers by then is cut off.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// A client that takes nothing of what it is sent for so long is cut off.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// So much of a request's head or of a reply lies in a connection's buffer at most.
const BUFFER: usize = 64 * 1024;
/// Requests in flight have so long to finish at a stop; the contract gives the whole stop 10 s.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

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
    /// The runtime or its signals could not be set up.
    #[error("the runtime could not be set up: {0}")]
    Runtime(std::io::Error),
}

/// What is told once the server listens.
#[derive(Clone, Debug)]
pub struct Listening {
    /// The address, with the port that was really taken.
    pub address: SocketAddr,
    /// Where the first admin key was written, when this start made it.
    pub first_key: Option<PathBuf>,
}

/// Serves until the process is told to stop (SIGTERM or SIGINT), and then ends in order.
///
/// # Errors
/// See [`ServeError`]; all of them before the first request is served.
pub fn run(config: &Config, test_clock: bool, told: impl FnOnce(&Listening)) -> Result<(), ServeError> {
    if test_clock && !config.server.listen.ip().is_loopback() {
        return Err(ServeError::TestClockExposed(config.server.listen));
    }
    let descriptors = descriptors()?;
    let node = Node::open(options(config, test_clock))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServeError::Runtime)?;
    let served = runtime.block_on(serve(config, &node, descriptors.connections, told));
    // Handlers hold the authority; they end with the runtime.
    runtime.shutdown_timeout(Duration::from_secs(1));
    node.stop();
    served
}

fn descriptors() -> Result<Descriptors, TooFewDescriptors> {
    let descriptors = process::descriptors(CONNECTIONS)?;
    let Descriptors { limit, connections } = descriptors;
    tracing::info!(limit, connections, "files that may be open at once, and connections among them");
    Ok(descriptors)
}

fn options(config: &Config, test_clock: bool) -> Options {
    Options {
        data: config.data_dir.clone(),
        policy: Some(config.policy()),
        idempotency_window: config.idempotency.window,
        idempotency_max: config.idempotency.max as usize,
        head_interval: config.audit.head_interval,
        head_file: config.audit.head_file.clone(),
        test_clock,
        webhooks: webhooks::Settings {
            allow_private: config.webhooks_allow_private,
            public_url: config.server.public_url.clone(),
        },
        issuing: Issuing {
            issuer: config.server.public_url.clone().unwrap_or_else(|| Issuing::default().issuer),
            overlap: config.keys_overlap,
            clock_skew: config.access_clock_skew,
        },
        entropy: Arc::new(OsEntropy),
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        max_body: config.server.max_body as usize,
        trusted_proxies: config.server.trusted_proxies.clone(),
        metrics_allow: config.metrics_allow.clone(),
        forward_auth_trusted: config.forward_auth_trusted.clone(),
        forward_auth_cookie: config.forward_auth_cookie.clone(),
        wrong_credentials_per_minute: config.security.wrong_credentials_per_minute,
        limit_loopback: config.security.limit_loopback,
    }
}

async fn serve(
    config: &Config,
    node: &Node,
    connections: usize,
    told: impl FnOnce(&Listening),
) -> Result<(), ServeError> {
    let address = config.server.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, source })?;
    let address = listener.local_addr().map_err(ServeError::Runtime)?;
    let stop = stop_signal().map_err(ServeError::Runtime)?;
    let api = Api::new(
        Arc::clone(&node.authority),
        Arc::clone(&node.projections),
        Arc::clone(&node.evidence),
        Arc::clone(&node.webhooks),
        settings(config),
        node.test_clock.clone(),
    );
    node.webhooks.start();
    told(&Listening { address, first_key: node.first_key.clone() });
    let stop = async {
        stop.await;
        api.close();
    };
    accept_until(stop, listener, connections, api.router()).await;
    node.webhooks.stop().await;
    Ok(())
}

/// Ends when the process is told to stop.
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

async fn accept_until(
    stop: impl Future<Output = ()>,
    listener: TcpListener,
    connections: usize,
    router: Router,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(connections));
    tokio::pin!(stop);
    loop {
        let place = Arc::clone(&places).acquire_owned();
        let accepted = async { (place.await, listener.accept().await) };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = graceful.watch(connection(stream, peer, router.clone()));
                tokio::spawn(async move {
                    // A connection ends in an error when the client goes away; there is nobody to tell.
                    drop(connection.await);
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: those of ended connections come back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    drop(tokio::time::timeout(STOP_PATIENCE, graceful.shutdown()).await);
}

fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps its delay");
    }
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer.ip()));
        request.map(Body::new)
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_PATIENCE));
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(service))
}
