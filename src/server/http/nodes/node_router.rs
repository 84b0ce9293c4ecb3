//! Where each request goes: it is answered here, or handed on to the node that leads, or refused.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::{self, Next},
    response::Response,
};
use tenure_protocol::clock::stopwatch;

use super::{
    ClusterNodes, PATIENCE,
    forward::{FORWARDED, ForwardOutcome, TURNED_AWAY},
    handover, history, in_millis,
    own_answers::{INTROSPECT, own_answer},
    reported_uses,
    signed_request::STRANGER,
};
use crate::http::{
    api::ApiContext,
    only_leader::unless_wanted,
    reply::problem::{Problem, ProblemCode},
    request::{
        peer::PeerAddress,
        serve::{collect, refuse_unjudged},
    },
};
use crate::node::history_files::PATH as HISTORY;
use crate::traces::TracedRequest;

/// What says nothing of the state, and is asked to learn whether the process lives.
const ALWAYS: [&str; 2] = ["/healthz", "/metrics"];
/// What is answered whatever the state is worth: they say so themselves, or say nothing of it.
const OF_THE_NODE: [&str; 2] = ["/readyz", "/openapi.json"];
/// Why a follower answers nothing from its state.
const DIFFERS: &str = "the history of this node differs from that of another one: ask another node";
/// Why a follower has nothing done by the leader.
const TURNED_AWAY_HERE: &str =
    "the leader takes nothing from this node, and the logs of both say why: ask another node";
/// How old the state may be that an answer is given from.
const STALENESS: HeaderName = HeaderName::from_static("x-tenure-staleness-ms");
const POSITION: HeaderName = HeaderName::from_static("x-tenure-position");
/// How far the leader had come when it answered what another node handed on: that one has its callers read no earlier
/// state. It is of the way between nodes, and answers to callers lack it.
const REACHED: HeaderName = HeaderName::from_static("tenure-node-position");

/// The same routes, behind the door of a node of several.
pub(crate) fn guarded(router: Router, api: &Arc<ApiContext>, nodes: &Arc<ClusterNodes>) -> Router {
    let (api, nodes) = (Arc::clone(api), Arc::clone(nodes));
    router.layer(middleware::from_fn(move |request: Request, next: Next| {
        let (api, nodes) = (Arc::clone(&api), Arc::clone(&nodes));
        async move { NodeRouter { api, nodes }.pass(request, next).await }
    }))
}

struct NodeRouter {
    api: Arc<ApiContext>,
    nodes: Arc<ClusterNodes>,
}

/// A request whose body is here.
type WholeRequest = (Parts, Bytes);

/// A request that this node may decide; it is not deposed of its own will before that has happened.
struct DecisionGuard<'n>(&'n AtomicUsize);

impl<'n> DecisionGuard<'n> {
    fn begin(count: &'n AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for DecisionGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl NodeRouter {
    async fn pass(&self, mut request: Request, next: Next) -> Response {
        let path = request.uri().path();
        // What is no path is of no node.
        if ALWAYS.contains(&path) || !path.starts_with('/') {
            return next.run(request).await;
        }
        if path == reported_uses::PATH {
            return reported_uses::take(&self.api, &self.nodes, request).await;
        }
        if path == HISTORY {
            return history::give(&self.api, &self.nodes, request).await;
        }
        let is_forwarded = self.is_forwarded(&mut request);
        if is_forwarded && let Err(refused) = self.nodes.let_in(&self.api, &request) {
            return refused;
        }
        let own = own_answer(request.method(), request.uri().path()).filter(|_| !is_forwarded);
        if let Some(own) = own {
            if !self.nodes.leads() {
                return self.try_here(request, next).await;
            }
            if own.is_plain {
                return self.answer(request, next).await;
            }
        }
        if request.uri().path() == handover::PATH && self.nodes.leads() {
            return next.run(request).await;
        }
        // It may turn out that this node leads no more, and then the next one is to have all of it.
        let whole = match self.whole(request).await {
            Ok(whole) => whole,
            Err(refused) => return refused,
        };
        self.held().await;
        if self.nodes.leads()
            && let Some(mut response) = self.lead(&whole, next.clone(), own.is_some()).await
        {
            if is_forwarded && whole.0.method != Method::GET {
                response.headers_mut().insert(REACHED, self.api.authority.live().position().0.into());
            }
            return response;
        }
        if is_forwarded { self.misdirected(&head(&whole.0)) } else { self.hand_on(whole, next).await }
    }

    /// A request with all of its body.
    async fn whole(&self, request: Request) -> Result<WholeRequest, Response> {
        let (parts, body) = request.into_parts();
        let body = collect(body, self.api.settings.max_body).await;
        match body {
            Ok(body) => Ok((parts, body)),
            Err(problem) => Err(refuse_unjudged(&self.api, &head(&parts), problem)),
        }
    }

    /// While the lead is given away nothing is begun.
    async fn held(&self) {
        let begun = stopwatch();
        while self.nodes.shared.is_holding() && begun.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether a node has handed it on; the request is as if it had come here at once.
    fn is_forwarded(&self, request: &mut Request) -> bool {
        let Some(said) = request.headers_mut().remove(FORWARDED) else { return false };
        let said = said.to_str().unwrap_or_default();
        let parts: Vec<_> = said.split(';').collect();
        let [term, address, encrypted, code] = parts[..] else { return false };
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        let words = [term, address, encrypted, request.method().as_str(), path];
        let Some(address) = address.parse::<IpAddr>().ok() else { return false };
        if !self.nodes.shared.mac().is_right(&words, code) {
            self.nodes.note_refused(STRANGER, "it lacks the cluster's secret");
            return false;
        }
        let node = request.extensions().get::<PeerAddress>();
        let client = node.map_or_else(|| PeerAddress::at(address), |node| node.for_client(address));
        request.extensions_mut().insert(client.encrypted(encrypted == "1"));
        true
    }

    /// Decides as the leader; `None` if this node turns out to lead no more, and the request has recorded nothing. What
    /// a follower answers, too, may be as old as there.
    async fn lead(&self, whole: &WholeRequest, next: Next, may_be_old: bool) -> Option<Response> {
        let deciding = DecisionGuard::begin(self.nodes.shared.deciding());
        if self.nodes.staleness().is_some() {
            let (response, is_for_the_leader) = unless_wanted(self.answer(request_of(whole), next)).await;
            let is_failure = response.status().is_server_error();
            let is_told_anyway = (is_failure || may_be_old) && !is_for_the_leader;
            if is_told_anyway || response.headers().contains_key(POSITION) || self.still_led(is_failure).await
            {
                return Some(response);
            }
        }
        drop(deciding);
        if self.nodes.steps_down().await { None } else { Some(self.stale(&head(&whole.0))) }
    }

    /// A leader that slept may be one no more, and does not know yet: what it refuses or finds done already, without
    /// recording anything, is answered only once it is certain that it still led.
    async fn still_led(&self, is_failure: bool) -> bool {
        // Nothing is decided while the lead is given away.
        !(is_failure && self.nodes.shared.is_holding()) && self.nodes.confirm_lead(stopwatch()).await
    }

    /// Answers from the state here, if it is fresh enough, and says how fresh.
    async fn answer(&self, request: Request, next: Next) -> Response {
        let follows = !self.nodes.leads();
        if follows && self.nodes.shared.differs() && !OF_THE_NODE.contains(&request.uri().path()) {
            return refuse_unjudged(&self.api, &request, Problem::unavailable(DIFFERS));
        }
        if follows && !self.nodes.has_its_own(&self.api.authority).await {
            return self.stale(&request);
        }
        let Some(before) = self.staleness().await else { return self.stale(&request) };
        let (begun, head, says_outcome) = (stopwatch(), shell(&request), says_outcome(&request));
        let mut response = next.run(request).await;
        // This process may have stood still meanwhile.
        let is_newest = before.is_zero() && self.nodes.staleness().is_some_and(|after| after.is_zero());
        let stale = if is_newest { Duration::ZERO } else { before + begun.elapsed() };
        // What was recorded is acknowledged, however long that took; and what may have been is not called undone.
        if stale > self.nodes.most && !says_outcome && !response.headers().contains_key(POSITION) {
            return self.stale(&head);
        }
        response.headers_mut().insert(STALENESS, in_millis(stale).into());
        response
    }

    /// A node that has just begun to follow hears of its leader in a moment.
    async fn staleness(&self) -> Option<Duration> {
        let begun = stopwatch();
        loop {
            if let Some(stale) = self.nodes.staleness() {
                return Some(stale);
            }
            if self.nodes.view.borrow().staleness().is_some() || begun.elapsed() >= PATIENCE {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn stale(&self, request: &Request) -> Response {
        self.nodes.counts.stale.fetch_add(1, Ordering::Relaxed);
        refuse_unjudged(&self.api, request, ProblemCode::Stale)
    }

    /// Answers from the state here what is not for the leader alone.
    async fn try_here(&self, request: Request, next: Next) -> Response {
        if request.uri().path() == INTROSPECT {
            return self.introspect(request, next).await;
        }
        // None of it has a body.
        let again = shell(&request);
        let (response, is_for_the_leader) = unless_wanted(self.answer(request, next.clone())).await;
        // What is not here may merely not be here yet.
        if is_for_the_leader || response.status() == StatusCode::NOT_FOUND {
            return self.hand_on((again.into_parts().0, Bytes::new()), next).await;
        }
        response
    }

    /// The newest state is asked of the node that leads.
    async fn introspect(&self, request: Request, next: Next) -> Response {
        let whole = match self.whole(request).await {
            Ok(whole) => whole,
            Err(refused) => return refused,
        };
        if wants_strict(&whole.1) {
            self.hand_on(whole, next).await
        } else {
            self.answer(request_of(&whole), next).await
        }
    }

    /// Gives the leader's place to clients that find leaders by themselves.
    fn misdirected(&self, request: &Request) -> Response {
        let mut response = refuse_unjudged(&self.api, request, ProblemCode::NotTheLeader);
        let leader = self.nodes.view.borrow().sight.leader.as_ref().map(|claim| claim.address.clone());
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let place = leader.and_then(|leader| {
            HeaderValue::from_str(&format!("{}{path}", leader.trim_end_matches('/'))).ok()
        });
        if let Some(place) = place.filter(|_| response.status() == StatusCode::MISDIRECTED_REQUEST) {
            response.headers_mut().insert(header::LOCATION, place);
        }
        response
    }

    async fn hand_on(&self, whole: WholeRequest, next: Next) -> Response {
        let request = head(&whole.0);
        if !self.nodes.forwards {
            return self.misdirected(&request);
        }
        let traced = TracedRequest::begin(self.api.settings.traces.as_ref(), &request, "(forwarded)");
        let response = match traced.current() {
            None => self.forward(&whole, next).await,
            Some(current) => Box::pin(current.around(self.forward(&whole, next))).await,
        };
        traced.end(&response);
        response
    }

    async fn forward(&self, whole: &WholeRequest, next: Next) -> Response {
        let refuse = |problem: Problem| refuse_unjudged(&self.api, &head(&whole.0), problem);
        match self.nodes.forward(&whole.0, &whole.1).await {
            ForwardOutcome::Here => {
                let decided = self.lead(whole, next, false).await;
                decided.unwrap_or_else(|| self.stale(&head(&whole.0)))
            }
            ForwardOutcome::Answered(mut response) => {
                let reached = response.headers_mut().remove(REACHED);
                self.nodes.counts.forwarded.fetch_add(1, Ordering::Relaxed);
                if let Some(position) = position_of(&response).or_else(|| number(&reached?)) {
                    self.nodes.pass_on(&self.api.authority, position).await;
                }
                response
            }
            ForwardOutcome::TurnedAway => refuse(Problem::from(ProblemCode::Stale).saying(TURNED_AWAY_HERE)),
            ForwardOutcome::NotDone => self.stale(&head(&whole.0)),
            ForwardOutcome::Unknown => {
                self.nodes.counts.unknown.fetch_add(1, Ordering::Relaxed);
                refuse(ProblemCode::OutcomeUnknown.into())
            }
        }
    }
}

/// Whether the answer says what became of the request, or states its own position, and not how things stand.
fn says_outcome(request: &Request) -> bool {
    let path = request.uri().path();
    let is_look = request.method().is_safe() || path == INTROSPECT || path.starts_with("/v1/forward-auth");
    !is_look || path.starts_with("/v1/audit/")
}

impl ClusterNodes {
    /// Whether this is a node that has shown what nodes must show here.
    ///
    /// # Errors
    /// The answer to it if not.
    pub(super) fn let_in(&self, api: &ApiContext, request: &Request) -> Result<(), Response> {
        let certificates = self.shared.certificates();
        if !certificates.are_asked_for() {
            return Ok(());
        }
        let peer = request.extensions().get::<PeerAddress>();
        let certificate = peer.and_then(PeerAddress::certificate);
        let shown = || "it has shown no certificate, or not by TLS to this node itself".to_owned();
        let why = match certificate.ok_or_else(shown).and_then(|shown| shown.judge(certificates)) {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        self.note_refused("another node asks here with the cluster's secret", &why);
        let said = format!("only a node with a certificate of this cluster may ask that: {why}");
        let mut refused = refuse_unjudged(api, request, Problem::from(ProblemCode::Forbidden).saying(said));
        let why =
            HeaderValue::try_from(why).unwrap_or(HeaderValue::from_static("its certificate is no good"));
        refused.headers_mut().insert(TURNED_AWAY, why);
        Err(refused)
    }

    /// Counts it, and says it once a minute: a refused node asks for each request of its callers.
    pub(super) fn note_refused(&self, who: &str, why: &str) {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        let (mut told, now) = (self.refused_at.lock(), stopwatch());
        if told.is_none_or(|told| now.duration_since(told) >= Duration::from_mins(1)) {
            *told = Some(now);
            tracing::warn!(why, "{who}, and is refused");
        }
    }
}

/// The parts of a request that its refusal is made from.
fn shell(request: &Request) -> Request {
    let mut shell = Request::new(Body::empty());
    *shell.method_mut() = request.method().clone();
    *shell.uri_mut() = request.uri().clone();
    *shell.headers_mut() = request.headers().clone();
    *shell.extensions_mut() = request.extensions().clone();
    shell
}

/// The same of one whose body is here.
fn head(parts: &Parts) -> Request {
    Request::from_parts(parts.clone(), Body::empty())
}

/// The request once more.
fn request_of((parts, body): &WholeRequest) -> Request {
    Request::from_parts(parts.clone(), Body::from(body.clone()))
}

/// `7`, or `2:7` in a later epoch.
fn position_of(response: &Response) -> Option<u64> {
    number(response.headers().get(POSITION)?)
}

fn number(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.rsplit(':').next()?.parse().ok()
}

/// What cannot be read is for the route to refuse.
fn wants_strict(body: &[u8]) -> bool {
    let asked = serde_json::from_slice::<serde_json::Value>(body).ok();
    asked.is_some_and(|asked| asked["consistency"] == "strict")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_strictly_goes_to_the_leader() {
        assert!(wants_strict(br#"{"token":"a","consistency":"strict"}"#));
        assert!(!wants_strict(br#"{"token":"consistency strict"}"#) && !wants_strict(b"{"));
    }
}
