//! A request on its way to the node that leads: once, and never further than that.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::Response,
};
use futures_util::stream;
use tenure_protocol::clock::stopwatch;
use tokio::time::{sleep, timeout};

use super::{ClusterNodes, PATIENCE, own_answers::INTROSPECT};
use crate::http::request::peer::PeerAddress;
use crate::traces::{outgoing, trace_parent::TRACEPARENT};

/// Says which node has handed a request on, and for whom.
pub(super) const FORWARDED: HeaderName = HeaderName::from_static("tenure-forwarded");

/// Says why a node takes nothing from the one that asks.
pub(super) const TURNED_AWAY: HeaderName = HeaderName::from_static("tenure-node-refused");

/// Limit for an answer: longer than a leader tries to append. A check waits for none longer than for a leader.
const ANSWER: Duration = Duration::from_secs(20);
/// A leader that leads no more by now may still say that it did not take it.
const LAST_WORD: Duration = Duration::from_millis(200);
/// How often it is looked whether another node leads by now.
const LOOK: Duration = Duration::from_millis(10);
/// What is of one connection, and not of the request.
const OF_A_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::EXPECT,
];

/// What became of a request.
pub(super) enum ForwardOutcome {
    /// The leader has answered.
    Answered(Response),
    /// It was not taken by another node, and this one leads by now.
    Here,
    /// No leader has taken it, or it was only to look.
    NotDone,
    /// The leader takes nothing from this node.
    TurnedAway,
    /// It may have arrived.
    Unknown,
}

/// What one try came to.
enum ForwardAttempt {
    Answered(Response),
    /// It was not taken: another node may lead.
    Again,
    /// The leader takes nothing from this node, and says why.
    TurnedAway(String),
    Unknown,
}

impl ClusterNodes {
    /// Hands a request on to the leader, and waits a moment if there is none.
    pub(super) async fn forward(&self, parts: &Parts, body: &Bytes) -> ForwardOutcome {
        let begun = stopwatch();
        let is_check = parts.uri.path() == INTROSPECT;
        let is_look = is_check || parts.method.is_safe();
        loop {
            if self.leads() {
                return ForwardOutcome::Here;
            }
            let leader = {
                let view = self.view.borrow();
                let claim = view.sight.leader.clone();
                claim.map(|claim| (claim.address, view.term()))
            };
            if let Some((address, term)) = leader {
                let within = if is_check { PATIENCE.saturating_sub(begun.elapsed()) } else { ANSWER };
                match self.try_once((&address, term), parts, body.clone(), within).await {
                    ForwardAttempt::Answered(response) => {
                        self.is_let_in();
                        return ForwardOutcome::Answered(response);
                    }
                    ForwardAttempt::TurnedAway(why) => {
                        self.is_turned_away(&address, &why);
                        return ForwardOutcome::TurnedAway;
                    }
                    ForwardAttempt::Unknown if is_look => {}
                    ForwardAttempt::Unknown => return ForwardOutcome::Unknown,
                    ForwardAttempt::Again => {}
                }
            }
            if begun.elapsed() >= PATIENCE {
                return ForwardOutcome::NotDone;
            }
            sleep(LOOK).await;
        }
    }

    async fn try_once(
        &self,
        (address, term): (&str, u64),
        parts: &Parts,
        body: Bytes,
        within: Duration,
    ) -> ForwardAttempt {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{path}", address.trim_end_matches('/'));
        let mut headers = own(&parts.headers);
        headers.insert(FORWARDED, self.vouched(term, parts, path));
        let forwarding = outgoing("forward to the leader");
        if let Some(parent) = forwarding.traceparent() {
            headers.insert(TRACEPARENT, parent);
        }
        let client = self.shared.certificates().client();
        let request = client.request(parts.method.clone(), url).headers(headers).body(body);
        let asked = timeout(within, request.send());
        tokio::pin!(asked);
        let answered = tokio::select! {
            answered = &mut asked => Ok(answered),
            () = self.another_leads(address) => timeout(LAST_WORD, asked).await,
        };
        match answered.unwrap_or_else(Err) {
            Ok(Ok(answered)) if answered.status() == StatusCode::MISDIRECTED_REQUEST => ForwardAttempt::Again,
            Ok(Ok(answered)) => match refusal(answered.headers()) {
                Some(why) => ForwardAttempt::TurnedAway(why),
                None => ForwardAttempt::Answered(passed(answered)),
            },
            Ok(Err(error)) if error.is_connect() || error.is_builder() => {
                tracing::debug!(%error, address, "the leader is not reached");
                ForwardAttempt::Again
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, address, "what became of a request at the leader is not known");
                ForwardAttempt::Unknown
            }
            Err(_) => ForwardAttempt::Unknown,
        }
    }

    /// Says once that the leader takes nothing from this node, for as long as that lasts.
    pub(super) fn is_turned_away(&self, leader: &str, why: &str) {
        let mut turned_away = self.turned_away.lock();
        if turned_away.is_none() {
            tracing::error!(leader, why, "the leader takes nothing from this node");
        }
        *turned_away = Some(why.to_owned());
    }

    pub(super) fn is_let_in(&self) {
        *self.turned_away.lock() = None;
    }

    /// Whom it is for, so that the leader judges it as if it had come there at once.
    fn vouched(&self, term: u64, parts: &Parts, path: &str) -> HeaderValue {
        let peer = parts.extensions.get::<PeerAddress>();
        let address = peer.map_or_else(|| "0.0.0.0".to_owned(), |peer| peer.address().to_string());
        let encrypted = if peer.is_some_and(PeerAddress::is_encrypted) { "1" } else { "0" };
        let term = term.to_string();
        let code = self.shared.mac().code(&[&term, &address, encrypted, parts.method.as_str(), path]);
        let said = format!("{term};{address};{encrypted};{code}");
        HeaderValue::try_from(said).expect("it is made of visible characters")
    }

    /// Comes back when the lead is another node's than the one at this address.
    async fn another_leads(&self, address: &str) {
        let mut view = self.view.clone();
        let other = view.wait_for(|view| {
            view.leads() || view.sight.leader.as_ref().is_some_and(|claim| claim.address != address)
        });
        if other.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Why a node that was asked takes nothing from this one.
pub(super) fn refusal(headers: &HeaderMap) -> Option<String> {
    let why = headers.get(TURNED_AWAY)?;
    Some(why.to_str().unwrap_or("it does not say why").to_owned())
}

/// The headers that are of the request itself.
fn own(headers: &HeaderMap) -> HeaderMap {
    let mut own = headers.clone();
    for name in &OF_A_HOP {
        own.remove(name);
    }
    own.remove("keep-alive");
    own
}

fn passed(answered: reqwest::Response) -> Response {
    let (status, headers) = (answered.status(), own(answered.headers()));
    let chunks = stream::unfold(Some(answered), |answered| async {
        let mut answered = answered?;
        match answered.chunk().await {
            Ok(Some(chunk)) => Some((Ok(chunk), Some(answered))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    let mut response = Response::new(Body::from_stream(chunks));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
