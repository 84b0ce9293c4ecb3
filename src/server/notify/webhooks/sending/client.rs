//! One request to a receiver: by HTTPS, to an allowed address, without following redirects, within a time limit.

use std::{collections::BTreeMap, error::Error, io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use reqwest::{Response, header::CONTENT_TYPE};
use rustls::{ClientConfig, RootCertStore};

use super::{
    resolver::{OwnerResolvers, UnknownHost},
    ssrf_guard::NotGlobal,
};
use crate::notify::webhooks::{
    delivery::outcome::{AttemptAnswer, DeliveryOutcome},
    destination::WebhookDestination,
    format::WebhookMessage,
};
use tenure_core::OwnerId;
use tenure_http_client::outbound;

/// A receiver that takes no connection by then is not there.
const CONNECT: Duration = Duration::from_secs(5);
/// A receiver that has not answered by then is asked again.
const WHOLE: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read, and discarded, so that the receiver can finish its reply.
const HEARD: usize = 4_096;

/// Maximum clients remembered; they are cheap to make again.
const CLIENTS: usize = 64;

/// Sends requests to receivers.
pub(crate) struct WebhookClient {
    tls: ClientConfig,
    resolvers: OwnerResolvers,
    /// One for each owner, for each looks up names in a share of its own.
    of_owners: Mutex<BTreeMap<Option<OwnerId>, reqwest::Client>>,
    allow_private: bool,
}

/// What signs a request by the rules of Standard Webhooks.
pub(crate) struct SignedRequest<'a> {
    /// The same at every attempt.
    pub(crate) id: &'a str,
    /// Seconds since 1970.
    pub(crate) seconds: i64,
}

impl WebhookClient {
    /// A client that trusts whom the system trusts, or those in `SSL_CERT_FILE`.
    pub(crate) fn new(allow_private: bool) -> Self {
        let roots = outbound::roots().unwrap_or_else(|none| {
            tracing::warn!("webhooks that lead to https:// will fail: {none}");
            RootCertStore::empty()
        });
        let resolvers = OwnerResolvers::new(allow_private);
        Self { tls: outbound::tls(roots), resolvers, of_owners: Mutex::default(), allow_private }
    }

    fn of(&self, owner: Option<&OwnerId>) -> reqwest::Client {
        let mut known = self.of_owners.lock();
        let owner = owner.cloned();
        if let Some(client) = known.get(&owner) {
            return client.clone();
        }
        if known.len() >= CLIENTS {
            known.clear();
        }
        let client = self.make(owner.as_ref());
        known.insert(owner, client.clone());
        client
    }

    fn make(&self, owner: Option<&OwnerId>) -> reqwest::Client {
        outbound::client_with(self.tls.clone())
            .no_proxy()
            // Every attempt makes its own connection, so every attempt looks at the address.
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .user_agent(concat!("Tenure/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(self.resolvers.of(owner)))
            .build()
            .expect("a client with all settings given reads none from elsewhere")
    }

    /// Sends a message of an owner's webhook once.
    pub(crate) async fn post(
        &self,
        owner: Option<&OwnerId>,
        to: &WebhookDestination,
        message: WebhookMessage,
        signed: &SignedRequest<'_>,
    ) -> AttemptAnswer {
        if !to.is_allowed(self.allow_private) {
            return DeliveryOutcome::AddressRefused.into();
        }
        let signature = to.sign(signed.id, signed.seconds, &message.body);
        let sent = self
            .of(owner)
            .post(message.url)
            .header(CONTENT_TYPE, message.content_type)
            .header("webhook-id", signed.id)
            .header("webhook-timestamp", signed.seconds)
            .header("webhook-signature", signature)
            .body(message.body)
            .send()
            .await;
        match sent {
            Err(error) => outcome_of(&error).into(),
            Ok(response) => answer_of(response).await,
        }
    }
}

async fn answer_of(mut response: Response) -> AttemptAnswer {
    let status = response.status().as_u16();
    let retry_after = outbound::retry_after(response.headers());
    let mut heard = 0;
    // The status is the answer; what becomes of the rest changes nothing.
    while heard < HEARD {
        match response.chunk().await {
            Ok(Some(chunk)) => heard += chunk.len(),
            Ok(None) | Err(_) => break,
        }
    }
    AttemptAnswer { outcome: DeliveryOutcome::of_status(status), status: Some(status), retry_after }
}

/// Errors of the client quote the URL, so nothing of them is kept but their kind.
fn outcome_of(error: &reqwest::Error) -> DeliveryOutcome {
    if causes(error).any(<dyn Error>::is::<NotGlobal>) {
        DeliveryOutcome::AddressRefused
    } else if causes(error).any(<dyn Error>::is::<rustls::Error>) {
        DeliveryOutcome::TlsFailed
    } else if error.is_timeout() {
        DeliveryOutcome::TimedOut
    } else if causes(error).any(<dyn Error>::is::<UnknownHost>) {
        DeliveryOutcome::UnknownHost
    } else if causes(error).filter_map(<dyn Error>::downcast_ref::<io::Error>).any(is_refusal) {
        DeliveryOutcome::ConnectionRefused
    } else {
        DeliveryOutcome::Unreachable
    }
}

fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionRefused
}

/// An error and what it comes from; `io::Error` hides what it was made of from `source`.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inner.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source())
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};

    use super::*;

    /// Of a client whose names resolve so.
    async fn outcome(url: &str, look_up: fn(&str) -> io::Result<Vec<SocketAddr>>) -> DeliveryOutcome {
        let resolvers = OwnerResolvers::with(true, look_up);
        let tls = outbound::tls(RootCertStore::empty());
        let client = WebhookClient { tls, resolvers, of_owners: Mutex::default(), allow_private: true };
        outcome_of(&client.of(None).post(url).send().await.unwrap_err())
    }

    #[tokio::test]
    async fn a_host_without_an_address_and_a_port_without_a_listener_are_told_apart() {
        let here = |_: &str| Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]);
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let url = format!("http://receiver.example:{port}/");
        assert_eq!(outcome(&url, here).await, DeliveryOutcome::ConnectionRefused);
        let unknown = |_: &str| Err(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(outcome(&url, unknown).await, DeliveryOutcome::UnknownHost);
        assert_eq!(outcome(&url, |_| Ok(Vec::new())).await, DeliveryOutcome::UnknownHost);
    }
}
