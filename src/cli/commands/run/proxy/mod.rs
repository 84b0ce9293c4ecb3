//! The proxy of `tenure run --proxy`: the command asks it, and it asks the upstream with the session's token of that
//! moment. So the command never has a token.
//!
//! It listens on loopback, where every user of the machine and every page in a browser can reach it. What admits a
//! request is the path that it begins with: 32 characters that only the command knows. Pages that guess its port are
//! refused by their `Origin`, and names that lead here by their `Host`.

mod admission;
mod headers;
mod relay;
mod upstream;

use std::{convert::Infallible, net::TcpListener, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::Semaphore};

pub(super) use self::upstream::{Upstream, upstream};
use self::{admission::RequestGate, relay::ProxyRelay};
use crate::cli::{environment, failure::CommandError};
use tenure_client::SessionHandle;
use tenure_http_client::outbound::{self, PlaintextPolicy};

/// An upstream that does not take a connection by then is down. How long its answers take is its own business.
const CONNECT: Duration = Duration::from_secs(10);

/// Maximum connections in all: renewals need descriptors of this process too.
const CONNECTIONS: usize = 256;

/// A proxy that has not been called yet.
#[derive(Debug)]
pub(super) struct BoundProxy {
    listener: TcpListener,
    gate: RequestGate,
    client: reqwest::Client,
}

impl BoundProxy {
    pub(super) fn to(upstream: &Upstream, plaintext: PlaintextPolicy) -> Result<Self, CommandError> {
        let url = upstream.url();
        let refused = |why: String| CommandError::Usage(format!("--proxy {url}: {why}"));
        plaintext.permits(url).map_err(|unencrypted| refused(unencrypted.to_string()))?;
        let builder = outbound::client_for(url).map_err(|error| refused(error.to_string()))?;
        // A connection that the upstream is just closing takes a request and loses it, and not all may be sent twice.
        // So each makes its own.
        let builder = builder.connect_timeout(CONNECT).pool_max_idle_per_host(0);
        let client = builder.build().map_err(|error| refused(error.to_string()))?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let gate =
            RequestGate::new(listener.local_addr()?.to_string(), environment::unique(), upstream.clone());
        Ok(Self { listener, gate, client })
    }

    /// Serves until this process ends. Gives the address to ask.
    pub(super) fn serve(self, holder: Arc<SessionHandle>) -> Result<String, CommandError> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let url = format!("{}/", self.gate.url());
        tokio::spawn(accept(listener, Arc::new(ProxyRelay::new(self.gate, self.client, holder))));
        Ok(url)
    }
}

async fn accept(listener: tokio::net::TcpListener, relay: Arc<ProxyRelay>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let relay = Arc::clone(&relay);
                tokio::spawn(async move {
                    connection(stream, relay).await;
                    drop(place);
                });
            }
            // Out of descriptors, most likely: those of ended connections come back.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(stream: TcpStream, relay: Arc<ProxyRelay>) {
    let service = service_fn(move |request| {
        let relay = Arc::clone(&relay);
        async move { Ok::<_, Infallible>(relay.answer(request).await) }
    });
    let serving =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
    // It ends in an error when the command goes away.
    drop(serving.await);
}
