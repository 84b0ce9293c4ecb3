//! How spans leave: by the same kind of client as all that asks by HTTP, on the runtime of the server.

use std::time::Duration;

use async_trait::async_trait;
use axum::http::{Request, Response};
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use tokio::runtime::Handle;
use url::Url;

use tenure_http_client::outbound::{self, NoRootCertificates};

/// A collector that has not answered by then has not.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// What it answers is looked at no further.
const LONGEST: usize = 64 * 1024;

/// A client of the collector.
#[derive(Clone, Debug)]
pub(super) struct CollectorClient {
    client: reqwest::Client,
    /// The exporter has a thread of its own, which is no part of a runtime.
    runtime: Handle,
}

impl CollectorClient {
    /// On the runtime of the caller.
    pub(super) fn to(collector: &Url) -> Result<Self, NoRootCertificates> {
        let client = outbound::client_for(collector)?.timeout(TIMEOUT).build();
        Ok(Self { client: client.map_err(|_| NoRootCertificates)?, runtime: Handle::current() })
    }

    async fn sent(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        let url = Url::parse(&parts.uri.to_string())?;
        let sent = self.client.request(parts.method, url).headers(parts.headers).body(body).send();
        let answer = sent.await.map_err(|error| outbound::reason(&error))?;
        let status = answer.status();
        let body = outbound::body(answer, LONGEST).await.map_err(|_| "the answer cannot be read")?;
        Ok(Response::builder().status(status).body(body.into())?)
    }
}

#[async_trait]
impl HttpClient for CollectorClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.runtime.spawn(self.clone().sent(request)).await?
    }
}
