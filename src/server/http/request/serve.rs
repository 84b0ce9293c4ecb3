//! One request on its way through the checks, in the order of the contract: credential, role, size, media
//! type, syntax; a handler gets it when those have passed, and judges the rest.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, Method, Request, StatusCode, header, request::Parts},
    response::Response,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use opentelemetry::trace::{SpanContext, TraceId};
use tokio::time::timeout;

use tenure_core::{CredentialId, SessionId};
use tenure_protocol::clock::stopwatch;

use crate::traces::{AnsweredRequest, OpenSpan, TraceExporter, method_name, stage, trace_parent::parent};

use super::{
    access::{AccessError, AccessRule, Caller, SignedIn, admit, admit_key, shows_bearer},
    admission,
    call::{ApiCall, RouteParams},
    fields::check_size,
    peer::PeerAddress,
    refusal_log::RefusalKey,
    request_id::RequestId,
    route::{BodyKind, Route},
};
use crate::http::{
    api::ApiContext,
    operations::metrics::CounterTarget,
    reply::{
        HttpReply, ReplyStamp,
        problem::{Problem, ProblemCode},
        problem_response, write_problem_head,
    },
};

/// A body that has not arrived by then is given up.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a request without a body has to show that it is empty, which one in chunks does not at first: some routes
/// need no credential.
const EMPTY_BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// The target of the log lines with one entry per request.
const ACCESS: &str = "tenure::access";

/// How long to wait for the record of a use.
const USE_TIMEOUT: Duration = Duration::from_secs(1);

/// The body of a request.
pub(crate) enum SentBody {
    /// It comes.
    Coming(Body),
    /// All of it has come.
    Here(Vec<u8>),
}

/// Serves a request on a route.
pub(crate) async fn serve(
    api: Arc<ApiContext>,
    route: &'static Route,
    params: RouteParams,
    request: Request<Body>,
) -> Response {
    let (parts, body) = request.into_parts();
    let peer = parts.extensions.get::<PeerAddress>().cloned();
    let request = (parts, SentBody::Coming(body));
    let (result, asked) = served(&api, route, params, peer.as_ref(), request).await;
    respond(&api, result, asked)
}

/// The same of a request without its wrapping. Writes the head of the answer, but for what the connection says of
/// itself, and gives the body.
pub(crate) async fn serve_in_bytes(
    api: &Arc<ApiContext>,
    route: &'static Route,
    params: RouteParams,
    peer: Option<&PeerAddress>,
    request: (Parts, SentBody),
    head: &mut Vec<u8>,
) -> Vec<u8> {
    let (result, asked) = served(api, route, params, peer, request).await;
    handed_over(api, result, asked, |outcome, stamp| match outcome {
        Ok(reply) => reply.write_head(stamp, head),
        Err(problem) => write_problem_head(&problem, stamp, head),
    })
}

async fn served(
    api: &Arc<ApiContext>,
    route: &'static Route,
    params: RouteParams,
    peer: Option<&PeerAddress>,
    request: (Parts, SentBody),
) -> (Result<HttpReply, Problem>, RequestLog) {
    let (method, headers) = (&request.0.method, &request.0.headers);
    let mut asked =
        RequestLog::of(api, (method, headers, peer), &route.path, CounterTarget::Route(route.number));
    let result = match asked.span.as_ref().and_then(|span| span.current()) {
        None => answer(api, route, params, peer, request, &mut asked).await,
        Some(current) => {
            Box::pin(current.around(answer(api, route, params, peer, request, &mut asked))).await
        }
    };
    (result, asked)
}

async fn answer(
    api: &Arc<ApiContext>,
    route: &'static Route,
    params: RouteParams,
    peer: Option<&PeerAddress>,
    (parts, body): (Parts, SentBody),
    asked: &mut RequestLog,
) -> Result<HttpReply, Problem> {
    let authenticating = stage("authenticate");
    api.wait_for_credential(&parts.headers).await?;
    let caller = caller(api, route, &parts, peer, asked.address)?;
    drop(authenticating);
    asked.credential = caller.key_id();
    let admitting = stage("admit");
    let _in_flight = admission::begin(api, route.class, &caller, asked.address)?;
    let call = admitted(api, caller, route, params, (parts, body), asked).await?;
    drop(admitting);
    let _handling = stage("handle");
    (route.handler)(call).await
}

fn caller(
    api: &ApiContext,
    route: &Route,
    parts: &Parts,
    peer: Option<&PeerAddress>,
    address: Option<IpAddr>,
) -> Result<Caller, Problem> {
    if is_open(api, route.access, address) {
        return Ok(Caller::Anyone);
    }
    let caller = match parts.extensions.get() {
        Some(SignedIn(key)) => admit_key(route.access, Arc::clone(key))?,
        None => admit_caller(api, route.access, &parts.headers, address)?,
    };
    admission::prove(api, peer, &caller);
    Ok(caller)
}

/// What is logged of a request when it has been answered.
struct RequestLog {
    id: RequestId,
    method: Method,
    /// The path of the route, as the table has it.
    route: &'static str,
    target: CounterTarget,
    address: Option<IpAddr>,
    credential: Option<CredentialId>,
    /// The span that it was made in, where spans are sent or logged.
    parent: Option<SpanContext>,
    /// Its own, where spans are sent.
    span: Option<Box<OpenSpan>>,
    begun: Instant,
}

impl RequestLog {
    fn of(
        api: &ApiContext,
        (method, headers, peer): (&Method, &HeaderMap, Option<&PeerAddress>),
        route: &'static str,
        target: CounterTarget,
    ) -> Self {
        let parent = is_traced(api).then(|| parent(headers)).flatten();
        let begin = |traces: &TraceExporter| {
            Box::new(traces.request(parent.as_ref(), format!("{} {route}", method_name(method))))
        };
        Self {
            id: RequestId::of(api, headers),
            method: method.clone(),
            route,
            target,
            address: api.address_of(headers, peer),
            credential: None,
            span: api.settings.traces.as_ref().map(begin),
            parent,
            begun: stopwatch(),
        }
    }

    fn on_no_route(api: &ApiContext, request: &Request<Body>) -> Self {
        let said = (request.method(), request.headers(), request.extensions().get());
        Self::of(api, said, "(none)", CounterTarget::None)
    }

    /// Ends its span, where there is one. Gives the trace that the request is in, if it is known.
    fn trace(&mut self, status: u16, code: &'static str) -> Option<TraceId> {
        let Some(span) = self.span.take() else {
            return self.parent.as_ref().map(SpanContext::trace_id);
        };
        let trace = span.trace();
        span.answered(AnsweredRequest {
            method: method_name(&self.method),
            route: self.route,
            status,
            code,
            correlation_id: Some(self.id.recorded.to_string()),
            credential: self.credential.map(|id| id.to_string()),
        });
        Some(trace)
    }

    /// A line for each request, for those who ask for it.
    fn log(&self, status: u16, code: &'static str, trace: Option<TraceId>) {
        tracing::info!(
            target: ACCESS,
            address = self.address.map(tracing::field::display),
            // A caller may invent one, as long as a head may be.
            method = method_name(&self.method),
            route = self.route,
            status,
            code,
            credential = self.credential.map(tracing::field::display),
            request_id = tracing::field::display(&self.id),
            correlation_id = tracing::field::display(self.id.recorded),
            trace_id = trace.map(tracing::field::display),
            millis = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "answered"
        );
    }
}

/// Refuses a request that comes to no handler; one without a good credential for want of that.
pub(crate) fn refuse(api: &ApiContext, request: &Request<Body>, problem: impl Into<Problem>) -> Response {
    let asked = RequestLog::on_no_route(api, request);
    let problem = match admit_caller(api, AccessRule::ANYBODY_KNOWN, request.headers(), asked.address) {
        Ok(_) => problem.into(),
        Err(problem) => problem,
    };
    respond(api, Err(problem), asked)
}

/// Refuses a request on a node that does not know whether the caller's credential is good, or may merely not know it
/// yet: that is not judged.
pub(crate) fn refuse_unjudged(
    api: &ApiContext,
    request: &Request<Body>,
    problem: impl Into<Problem>,
) -> Response {
    respond(api, Err(problem.into()), RequestLog::on_no_route(api, request))
}

fn respond(api: &ApiContext, result: Result<HttpReply, Problem>, asked: RequestLog) -> Response {
    handed_over(api, result, asked, |outcome, stamp| match outcome {
        Ok(reply) => reply.into_response(stamp),
        Err(problem) => problem_response(&problem, stamp),
    })
}

/// Counts and logs the outcome of a request, and has it made an answer of some form.
fn handed_over<T>(
    api: &ApiContext,
    result: Result<HttpReply, Problem>,
    mut asked: RequestLog,
    form: impl FnOnce(Result<HttpReply, Problem>, ReplyStamp) -> T,
) -> T {
    let replying = asked.span.as_ref().and_then(|span| span.stage("reply"));
    let stamp = asked.id.stamp(api);
    let (answer, status, code) = match result {
        Ok(reply) => {
            api.metrics.granted();
            let status = reply.status();
            (form(Ok(reply), stamp), status, "ok")
        }
        Err(problem) => {
            let code = problem.code.name();
            api.metrics.refused(code);
            if is_suspicious(&problem) {
                let credential = problem.credential.or(asked.credential);
                api.refusals.note(RefusalKey {
                    address: asked.address,
                    code,
                    route: asked.route,
                    credential,
                });
            }
            let status = problem.code.status();
            (form(Err(problem.timed(api.authority.now())), stamp), status, code)
        }
    };
    api.metrics.answered(asked.target, status, asked.begun.elapsed());
    drop(replying);
    let trace = asked.trace(status.as_u16(), code);
    asked.log(status.as_u16(), code, trace);
    answer
}

/// Whether it is of any use to know the trace of a request.
fn is_traced(api: &ApiContext) -> bool {
    api.settings.traces.is_some() || tracing::enabled!(target: ACCESS, tracing::Level::INFO)
}

/// Whether a caller tried something forbidden: with a bad credential, or beyond a role or a rate.
fn is_suspicious(problem: &Problem) -> bool {
    match problem.code.status() {
        StatusCode::UNAUTHORIZED => !problem.lacks_credential,
        StatusCode::FORBIDDEN => problem.code == ProblemCode::Forbidden,
        StatusCode::TOO_MANY_REQUESTS => problem.code == ProblemCode::RateLimited,
        _ => false,
    }
}

async fn admitted(
    api: &Arc<ApiContext>,
    caller: Caller,
    route: &'static Route,
    params: RouteParams,
    (parts, body): (Parts, SentBody),
    asked: &RequestLog,
) -> Result<ApiCall, Problem> {
    let (api, request_id) = (Arc::clone(api), asked.id.clone());
    let is_exempt = admission::is_exempt(&api, asked.address);
    let mut call = ApiCall { api, caller, is_exempt, request_id, parts, params, body: vec![] };
    if route.is_about_a_session() {
        call.caller.check_session(call.session_id(), call.api.authority.now())?;
    }
    if let Some(id) = call.session_id() {
        call.api.recall(id, &call.caller).await?;
    }
    check_size(call.parts.uri.query().unwrap_or_default())?;
    call.body = read_body(&call.api, route, &call.parts, body).await?;
    Ok(call)
}

/// Notes a use of a session by its holder: minting, usage. Looking at one's own session is not a use, so watching a
/// session does not keep it alive.
pub(crate) async fn note_use(api: &ApiContext, caller: &Caller) {
    if let Caller::Session(holder) = caller
        && holder.judge(api.authority.now()).is_ok()
    {
        api.authority.used(&holder.session);
        keep_uses(api, &[holder.session.id]).await;
    }
}

/// Lets a crash not forget that these sessions were used. A slow log delays no caller for longer than this.
pub(crate) async fn keep_uses(api: &ApiContext, sessions: &[SessionId]) {
    if sessions.is_empty() {
        return;
    }
    if timeout(USE_TIMEOUT, api.authority.keep_uses(sessions)).await.is_err() {
        tracing::debug!("uses of sessions were not recorded in time");
    }
}

fn is_open(api: &ApiContext, access: AccessRule, peer: Option<IpAddr>) -> bool {
    access.public
        || access.metrics_addresses && peer.is_some_and(|peer| api.settings.metrics_allow.contains(peer))
}

fn admit_caller(
    api: &ApiContext,
    access: AccessRule,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
) -> Result<Caller, Problem> {
    admit(&api.authority, access, headers).map_err(|not| match not {
        AccessError::Known(problem) => problem,
        AccessError::Missing => Problem { lacks_credential: true, ..ProblemCode::InvalidToken.into() }
            .saying("the credential is missing"),
        AccessError::Wrong => {
            Problem { lacks_credential: !shows_bearer(headers), ..wrong_credential(api, peer) }
        }
    })
}

pub(crate) fn wrong_credential(api: &ApiContext, peer: Option<IpAddr>) -> Problem {
    api.metrics.wrong_credential();
    let counted = peer.filter(|peer| api.settings.limit_loopback || !peer.to_canonical().is_loopback());
    match counted.and_then(|peer| api.throttle.wrong(peer)) {
        None => Problem::from(ProblemCode::InvalidToken).saying("the credential is malformed or unknown"),
        Some(seconds) => {
            let why = "too many wrong credentials came from this address";
            let mut problem = Problem::from(ProblemCode::RateLimited).saying(why);
            problem.retry_after = Some(seconds);
            problem
        }
    }
}

async fn read_body(
    api: &ApiContext,
    route: &Route,
    parts: &Parts,
    body: SentBody,
) -> Result<Vec<u8>, Problem> {
    let bytes = match body {
        SentBody::Here(bytes) if bytes.len() > api.settings.max_body => {
            return Err(too_large(api.settings.max_body));
        }
        SentBody::Here(bytes) => bytes,
        SentBody::Coming(body) => await_body(api, route, body).await?,
    };
    match route.payload {
        BodyKind::Json if !is_json(&parts.headers, &[JSON]) => Err(ProblemCode::UnsupportedMediaType.into()),
        BodyKind::MergePatch if !is_json(&parts.headers, &[MERGE_PATCH, JSON]) => {
            Err(Problem::from(ProblemCode::UnsupportedMediaType)
                .saying(format!("the body must be {MERGE_PATCH} or {JSON}")))
        }
        BodyKind::None if !bytes.is_empty() => Err(must_be_empty()),
        BodyKind::Json | BodyKind::MergePatch | BodyKind::None => Ok(bytes),
    }
}

async fn await_body(api: &ApiContext, route: &Route, body: Body) -> Result<Vec<u8>, Problem> {
    let limit = api.settings.max_body;
    // What is declared and cannot be taken is not waited for: some routes need no credential.
    match body.size_hint().lower() {
        declared if declared > limit as u64 => return Err(too_large(limit)),
        declared if declared > 0 && route.payload == BodyKind::None => return Err(must_be_empty()),
        _ => {}
    }
    if route.payload == BodyKind::None && body.is_end_stream() {
        return Ok(vec![]);
    }
    let bytes = match route.payload {
        // What does not show in time that it is empty counts as not empty.
        BodyKind::None => {
            timeout(EMPTY_BODY_TIMEOUT, collect(body, limit)).await.map_err(|_| must_be_empty())??
        }
        BodyKind::Json | BodyKind::MergePatch => collect(body, limit).await?,
    };
    Ok(bytes.into())
}

/// All of a body, if it comes in time and is no larger than this.
pub(crate) async fn collect(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let collected = timeout(BODY_TIMEOUT, Limited::new(body, limit).collect()).await;
    let collected = collected.map_err(|_| Problem::invalid("body", "did not arrive within 30 seconds"))?;
    let whole = collected.map_err(|error| {
        if error.is::<LengthLimitError>() {
            too_large(limit)
        } else {
            Problem::invalid("body", "could not be read")
        }
    })?;
    Ok(whole.to_bytes())
}

fn too_large(limit: usize) -> Problem {
    Problem::from(ProblemCode::PayloadTooLarge).saying(format!("the body may have {limit} bytes"))
}

fn must_be_empty() -> Problem {
    Problem::invalid("body", "must be empty")
}

const JSON: &str = "application/json";
/// RFC 7396.
const MERGE_PATCH: &str = "application/merge-patch+json";

fn is_json(headers: &HeaderMap, kinds: &[&str]) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|given| kinds.iter().any(|kind| given.eq_ignore_ascii_case(kind)));
    // JSON is UTF-8 (RFC 8259); another charset would be misread.
    is_json
        && parts.filter_map(|part| part.split_once('=')).all(|(name, value)| {
            !name.eq_ignore_ascii_case("charset") || value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}
