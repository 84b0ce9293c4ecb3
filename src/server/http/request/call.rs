//! A request whose caller was admitted, as handlers get it.

use std::sync::Arc;

use axum::{
    extract::RawPathParams,
    http::{HeaderName, Method, header, request::Parts},
};

use crate::authority::RequestContext;
use tenure_core::{SessionId, SubjectId, commit::IdempotencyMark};

use super::{
    access::{Caller, check_is_no_sign_in},
    fields::RequestFields,
    limits,
    request_id::RequestId,
};
use crate::http::{
    api::ApiContext,
    reply::problem::{Problem, ProblemCode},
};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What varies in a path.
pub(crate) enum RouteParams {
    /// Nothing known: there is none, or it is not text.
    None,
    /// By their names.
    Named(RawPathParams),
    /// A session, and nothing else.
    Session(SessionId),
}

/// A request whose caller was admitted.
pub(crate) struct ApiCall {
    pub(crate) api: Arc<ApiContext>,
    pub(crate) caller: Caller,
    /// Whether callers from its address have no shares.
    pub(crate) is_exempt: bool,
    pub(super) request_id: RequestId,
    pub(super) parts: Parts,
    pub(super) params: RouteParams,
    pub(super) body: Vec<u8>,
}

impl ApiCall {
    /// A header, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the caller names this media type among those that it accepts.
    pub(crate) fn accepts(&self, media_type: &str) -> bool {
        let accepted =
            self.parts.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut named = accepted.flat_map(|list| list.split(',')).filter_map(|part| part.split(';').next());
        named.any(|name| name.trim().eq_ignore_ascii_case(media_type))
    }

    /// A part of the path, decoded.
    fn param(&self, name: &str) -> &str {
        let RouteParams::Named(params) = &self.params else { return "" };
        params.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// The session in the path; `None` if it is not a UUID, which is an unknown id.
    pub(crate) fn session_id(&self) -> Option<SessionId> {
        if let RouteParams::Session(id) = self.params {
            Some(id)
        } else {
            self.param("sessionId").parse().ok()
        }
    }

    /// The subject in the path.
    pub(crate) fn subject_id(&self) -> Result<SubjectId, Problem> {
        self.param("subjectId")
            .parse()
            .map_err(|tenure_core::id::InvalidId(why)| Problem::invalid("subjectId", why))
    }

    /// The subject in the path, for reading: a name that cannot be one is unknown.
    pub(crate) fn known_subject_id(&self) -> Result<SubjectId, Problem> {
        self.subject_id().map_err(|_| ProblemCode::SubjectNotFound.into())
    }

    /// The subject in the path, if it exists for the caller. What does not is judged here: before anything is sealed,
    /// queued or written for the request, and foreign and unknown alike.
    pub(crate) fn visible_subject_id(&self) -> Result<SubjectId, Problem> {
        let id = self.known_subject_id()?;
        let known = self.api.authority.live().subject(&id);
        known.filter(|subject| self.caller.may_see(subject)).ok_or(ProblemCode::SubjectNotFound)?;
        Ok(id)
    }

    /// The same for a change of it, which that of sign-ins to the console does not take.
    pub(crate) fn changeable_subject_id(&self) -> Result<SubjectId, Problem> {
        check_is_no_sign_in(&self.known_subject_id()?)?;
        self.visible_subject_id()
    }

    /// The same of the session in the path.
    pub(crate) fn visible_session_id(&self) -> Result<SessionId, Problem> {
        let id = self.session_id().ok_or(ProblemCode::SessionNotFound)?;
        let live = self.api.authority.live();
        let subject = live.session(id).and_then(|session| live.subject(&session.subject));
        subject.filter(|subject| self.caller.may_see(subject)).ok_or(ProblemCode::SessionNotFound)?;
        Ok(id)
    }

    /// Another part of the path, as whatever it should be.
    pub(crate) fn id<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.param(name).parse().ok()
    }

    /// The parameters of the query. A fault of the idempotency key is reported with theirs.
    pub(crate) fn query(&self) -> Result<RequestFields, Problem> {
        let key_faults = self.idempotency_key().err().map(|problem| problem.errors);
        let query = RequestFields::of_query(self.parts.uri.query().unwrap_or_default())?;
        Ok(query.and_faults(key_faults.filter(|_| self.method() != Method::GET).into_iter().flatten()))
    }

    /// The members of the body, where no query is known.
    pub(crate) fn fields(&self) -> Result<RequestFields, Problem> {
        let query = self.query()?;
        match RequestFields::of_body(&self.body) {
            Ok(fields) => Ok(fields.and_none_of(query)),
            Err(fault) => Err(query.refused_for(fault)),
        }
    }

    /// Its body.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether its body is all that it says: there is neither a query nor an idempotency key.
    pub(crate) fn has_body_alone(&self) -> bool {
        self.parts.uri.query().is_none() && !self.parts.headers.contains_key(IDEMPOTENCY_KEY)
    }

    /// Refuses a query where none is known.
    pub(crate) fn no_query(&self) -> Result<(), Problem> {
        if self.has_body_alone() { Ok(()) } else { self.query()?.finish() }
    }

    /// The request's idempotency key, if it has one: 1 to 128 visible characters, quoted or not.
    pub(crate) fn idempotency_key(&self) -> Result<Option<&str>, Problem> {
        let mut values = self.parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let text = value.to_str().unwrap_or_default();
        let key = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        let is_right =
            limits::IDEMPOTENCY_KEY.contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        if is_right && values.next().is_none() {
            Ok(Some(key))
        } else {
            Err(Problem::invalid("Idempotency-Key", "must be given once, 1 to 128 visible characters"))
        }
    }

    /// Who asks and how, for the record, with the request's idempotency key.
    pub(crate) fn context(&self) -> Result<RequestContext, Problem> {
        let idempotency = self.idempotency_key()?.map(|key| self.idempotency(key));
        Ok(RequestContext { idempotency, ..self.context_without_key() })
    }

    /// The same for a request that has its own rule for repeats.
    pub(crate) fn context_without_key(&self) -> RequestContext {
        RequestContext {
            actor: self.caller.actor(),
            correlation_id: Some(self.request_id.recorded.to_string()),
            idempotency: None,
        }
    }

    fn idempotency(&self, key: &str) -> IdempotencyMark {
        let digests = self.api.authority.digests();
        let caller = self.caller.actor().id.unwrap_or_default();
        let uri = &self.parts.uri;
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        IdempotencyMark {
            key: digests.idempotency_key(&caller, key),
            request: digests.request(self.method().as_str(), path, &self.body),
        }
    }

    fn method(&self) -> &Method {
        &self.parts.method
    }
}
