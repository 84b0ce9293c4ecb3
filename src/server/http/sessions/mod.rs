//! `/v1/sessions` and `/v1/introspect`: create, read and list sessions, check and renew them, record what they were used
//! for, and get access tokens. How they are ended is in `revocations`.

pub(super) mod access_tokens;
pub(super) mod events;
pub(super) mod introspect;
pub(super) mod listing;
mod read_back;
pub(super) mod renew;
pub(super) mod usage;
pub(super) mod view;

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use axum::http::StatusCode;

use crate::authority::NewSession;
use tenure_core::{
    Digest16, EpochPosition, OwnerId, Position, SessionId, SessionMode, SubjectId, Timestamp,
    command::RequestedTerms,
    policy::OnReuse,
    session::{Session, SessionStatus},
    state::AuthorityState,
    subject::Subject,
};
use tenure_protocol::{
    Secret,
    wire::{self, CreatedSession, Page, SessionView},
};

use self::{
    listing::{FoundSessions, of_everybody},
    usage::{constraints, constraints_of},
    view::session_view,
};
use super::reply::text::TextOpener;
use super::{
    api::ApiContext,
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
    },
    request::{
        access::check_is_no_sign_in,
        as_of::{AsOfQuery, ReadPoint},
        call::ApiCall,
        fields::RequestFields,
        limits,
        page::{ListName, PageQuery, page_of},
    },
    subjects::subject_as_of,
};

const MODES: [(&str, SessionMode); 2] = [("fixed", SessionMode::Fixed), ("sliding", SessionMode::Sliding)];

/// What a new session asks of its life.
fn terms(fields: &mut RequestFields) -> RequestedTerms {
    RequestedTerms {
        ttl: fields.seconds("ttl"),
        max_renewals: fields.count("maxRenewals"),
        absolute_lifetime: fields.seconds("absoluteLifetime"),
        renewal_reject_window: fields.seconds("renewalRejectWindow"),
        idle_timeout: fields.seconds("idleTimeout"),
        mode: fields.one_of("mode", &MODES).unwrap_or_default(),
        on_reuse: fields.one_of("onReuse", &OnReuse::NAMES),
        purpose: None,
    }
}

/// The body, and its terms by themselves: the policy judges them whether the rest is right or not.
fn body_and_terms(fields: &mut RequestFields) -> (Option<wire::NewSession>, RequestedTerms) {
    let subject_id = fields.id("subjectId");
    let subject_id = fields.required("subjectId", subject_id);
    let terms = terms(fields);
    let device = fields.text("device", limits::DEVICE);
    let scopes = fields.texts("scopes", limits::SCOPES).unwrap_or_default();
    check_scopes(fields, &scopes);
    let metadata = fields.object("metadata", limits::METADATA_BYTES);
    let constraints = constraints(fields);
    let body = subject_id.map(|subject_id| wire::NewSession {
        subject_id,
        ttl: terms.ttl,
        max_renewals: terms.max_renewals,
        absolute_lifetime: terms.absolute_lifetime,
        renewal_reject_window: terms.renewal_reject_window,
        idle_timeout: terms.idle_timeout,
        mode: Some(terms.mode),
        on_reuse: terms.on_reuse,
        device,
        scopes,
        metadata,
        constraints,
    });
    (body, terms)
}

fn check_scopes(fields: &mut RequestFields, scopes: &[String]) {
    if !scopes.iter().all(|scope| is_scope_token(scope)) {
        fields.fault("scopes", "must be RFC 6749 scope tokens of 1 to 128 characters");
    } else if scopes.iter().map(|scope| scope.len() + 1).sum::<usize>() > limits::SCOPES_BYTES + 1 {
        let most = limits::SCOPES_BYTES;
        fields.fault("scopes", format!("must have at most {most} bytes, joined by blanks"));
    }
}

/// RFC 6749, section 3.3: any visible ASCII character but `"` and `\`.
fn is_scope_token(scope: &str) -> bool {
    limits::SCOPE.contains(&scope.len())
        && scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\')
}

/// Create a session.
///
/// The limits that apply are copied into the session; a later change of settings does not touch it.
#[utoipa::path(post, path = "/v1/sessions", tag = "sessions", operation_id = "createSession",
    request_body = wire::NewSession,
    responses((status = 201, description = "The session and its token.", body = CreatedSession)))]
pub(super) async fn create(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut fields = call.fields()?;
    let (body, terms) = body_and_terms(&mut fields);
    let authority = &call.api.authority;
    fields.finish_with(|faults| {
        let is_read = |name: &str| faults.iter().all(|fault| fault.field != name);
        authority.live().system().system.policy_in_force().faults_of(terms, is_read)
    })?;
    let body = body.ok_or(ProblemCode::InvalidRequest)?;
    check_is_no_sign_in(&body.subject_id)?;
    let new = NewSession {
        subject_id: body.subject_id,
        terms,
        device: body.device,
        scopes: body.scopes,
        metadata: body.metadata.map(|metadata| Box::<str>::from(metadata).into()),
        constraints: body.constraints.and_then(constraints_of),
    };
    let context = call.context()?;
    let granted = authority.create_session(context, new).await?;
    Ok(created(&call.api, &granted.session, granted.token.expose()).at(granted.position))
}

fn created(api: &ApiContext, session: &Session, token: &str) -> HttpReply {
    let system = api.authority.live().system();
    let created = CreatedSession {
        session_id: session.id,
        subject_id: session.subject.clone(),
        token: Secret::new(token),
        created_at: session.created_at(),
        expires_at: session.expires_at(),
        absolute_expires_at: session.absolute_expires_at(),
        renew_at: session.renew_at(),
        renewal_count: session.renewal_count(),
        max_renewals: session.terms.max_renewals,
        on_reuse: session.on_reuse(system.system.policy_in_force()).name().into(),
    };
    HttpReply::json(StatusCode::CREATED, &created)
}

/// Read a session. Ended sessions stay readable.
#[utoipa::path(get, path = "/v1/sessions/{sessionId}", tag = "sessions", operation_id = "getSession",
    params(("sessionId" = SessionId, Path, description = "The session."),
        ("asOf" = Option<Timestamp>, Query, description = "Answer from this moment."),
        ("asOfPosition" = Option<EpochPosition>, Query, description = "Answer from this position."),
        ("minPosition" = Option<EpochPosition>, Query, description = "Wait until the answer reflects this position.")),
    responses((status = 200, description = "The session.", body = SessionView)))]
pub(super) async fn show(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let asked = AsOfQuery::of(&mut query);
    query.finish()?;
    let reading = asked.resolve(&call.api, &call.caller).await?;
    let not_found = || Problem::from(ProblemCode::SessionNotFound);
    let id = call.session_id().ok_or_else(not_found)?;
    let live = call.api.authority.live().session(id).ok_or_else(not_found)?;
    // To a caller who may not see its subject the session does not exist; what cannot be read is another matter.
    let unseen = |problem: Problem| {
        if problem.code == ProblemCode::SubjectNotFound { not_found() } else { problem }
    };
    let subject = subject_as_of(&call, &live.subject, reading).await.map_err(unseen)?;
    // That of today may have left memory, and was read back.
    let today = (!reading.is_past).then_some(&*live);
    let session = subject.session(id).or(today).ok_or_else(not_found)?;
    Ok(HttpReply::ok(&session_view(&call.api, &subject, session, reading.moment)?))
}

/// Which sessions a list is to hold.
pub(super) struct SessionFilter {
    subject: Option<SubjectId>,
    pub(super) owner: Option<OwnerId>,
    pub(super) device: Option<Digest16>,
    /// None is any.
    pub(super) status: Option<SessionStatus>,
}

impl SessionFilter {
    fn of(query: &mut RequestFields, api: &ApiContext) -> Self {
        const STATUSES: [(&str, Option<SessionStatus>); 4] = [
            ("active", Some(SessionStatus::Active)),
            ("expired", Some(SessionStatus::Expired)),
            ("revoked", Some(SessionStatus::Revoked)),
            ("all", None),
        ];
        Self {
            subject: query.id("subjectId"),
            owner: query.id("ownerId"),
            device: query.text("device", limits::DEVICE).map(|name| api.authority.digests().device(&name)),
            status: query.one_of("status", &STATUSES).unwrap_or(Some(SessionStatus::Active)),
        }
    }

    pub(super) fn admits(
        &self,
        api: &ApiContext,
        subject: &Subject,
        session: &Session,
        at: Timestamp,
    ) -> bool {
        let owner = subject.profile().and_then(|profile| profile.owner_id.as_ref());
        self.status.is_none_or(|status| session.status(at) == status)
            && (self.owner.is_none() || owner == self.owner.as_ref())
            && (self.device.is_none() || self.is_of_device(api, session))
    }

    /// The digest of a name outlives its erasure. So that guesses cannot reveal an erased name, a session is found by
    /// its device only as long as the name can be read, whatever moment is asked about.
    fn is_of_device(&self, api: &ApiContext, session: &Session) -> bool {
        session.device_digest() == self.device
            && TextOpener::of(&api.authority, &session.subject).device(session).is_some()
    }
}

/// List sessions, newest first; an owner sees its own.
#[utoipa::path(get, path = "/v1/sessions", tag = "sessions", operation_id = "listSessions",
    params(("subjectId" = Option<SubjectId>, Query, description = "Only this subject's."),
        ("ownerId" = Option<OwnerId>, Query, description = "Only those of this owner's subjects."),
        ("device" = Option<String>, Query, description = "Only those of this device."),
        ("status" = Option<String>, Query, description = "active (the default), expired, revoked or all."),
        ("limit" = Option<u32>, Query, description = "1 to 200, by default 50."),
        ("cursor" = Option<String>, Query, description = "The `nextCursor` of the page before."),
        ("asOf" = Option<Timestamp>, Query,
            description = "Answer from this moment; without subjectId only for admin and auditor."),
        ("asOfPosition" = Option<EpochPosition>, Query,
            description = "Answer from this position; without subjectId only for admin and auditor."),
        ("minPosition" = Option<EpochPosition>, Query, description = "Wait until the answer reflects this position.")),
    responses((status = 200, description = "One page.", body = Page<SessionView>)))]
pub(super) async fn list(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let filter = SessionFilter::of(&mut query, &call.api);
    let asked = AsOfQuery::of(&mut query);
    let page = PageQuery::of(&mut query, ListName::Sessions);
    let before: Option<EpochPosition> = page.parsed(&mut query);
    query.finish()?;
    asked.check_list(&call.caller, filter.subject.is_some())?;
    before.map_or(Ok(()), |before| call.api.check_resumable(before))?;
    let before = before.map(|before| before.position);
    let reading = asked.resolve(&call.api, &call.caller).await?;
    let mut found = match &filter.subject {
        Some(id) => of_subject(&call, id, &filter, reading, before, page.limit + 1).await?,
        None if reading.is_past => of_everybody_then(&call, filter, reading, before, page.limit + 1).await?,
        None => of_everybody(&call, filter, reading, before, page.limit + 1).await?,
    };
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    let end = found.last().filter(|_| more).map(|(_, session)| call.api.named(session.created()));
    let views = found
        .iter()
        .map(|(subject, session)| session_view(&call.api, subject, session, reading.moment))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(HttpReply::ok(&page_of(ListName::Sessions, views, end)))
}

async fn of_subject(
    call: &ApiCall,
    id: &SubjectId,
    filter: &SessionFilter,
    reading: ReadPoint,
    before: Option<Position>,
    most: usize,
) -> Result<FoundSessions, Problem> {
    let subject = subject_as_of(call, id, reading).await;
    let subject = match subject {
        Ok(today) if !reading.is_past && filter.status != Some(SessionStatus::Active) => {
            let asker = call.caller.id().unwrap_or_default();
            Ok(call.api.authority.subject_in_full(id, asker).await?.unwrap_or(today))
        }
        Ok(_) | Err(_) => subject,
    };
    match subject {
        Ok(subject) => Ok(newest_first(&call.api, std::iter::once(&*subject), filter, reading, before, most)),
        // A list of what does not exist, or not for this caller, is empty.
        Err(problem) if problem.code == ProblemCode::SubjectNotFound => Ok(vec![]),
        Err(problem) => Err(problem),
    }
}

async fn of_everybody_then(
    call: &ApiCall,
    filter: SessionFilter,
    reading: ReadPoint,
    before: Option<Position>,
    most: usize,
) -> Result<FoundSessions, Problem> {
    let api = Arc::clone(&call.api);
    let read = move |state: &AuthorityState| {
        newest_first(&api, state.subjects.values(), &filter, reading, before, most)
    };
    call.api.costly.read_state(&call.api.authority, &call.caller, reading.moment.position, read).await
}

/// What is on the page is taken out of the state, which may be that of everything.
fn newest_first<'a>(
    api: &ApiContext,
    subjects: impl Iterator<Item = &'a Subject>,
    filter: &SessionFilter,
    reading: ReadPoint,
    before: Option<Position>,
    most: usize,
) -> FoundSessions {
    let mut found = Vec::new();
    for subject in subjects {
        for session in &subject.sessions {
            let is_on_page = before.is_none_or(|before| session.created() < before);
            if is_on_page && filter.admits(api, subject, session, reading.moment.at) {
                found.push((subject, session));
            }
        }
    }
    found.sort_unstable_by_key(|(_, session)| Reverse(session.created()));
    // A subject with many sessions on the page is copied once.
    let mut subjects: HashMap<&SubjectId, Arc<Subject>> = HashMap::new();
    let shared = |(subject, session): (&'a Subject, &'a Session)| {
        let own = subjects.entry(&subject.id).or_insert_with(|| Arc::new(subject.clone()));
        (Arc::clone(own), session.clone().into())
    };
    found.into_iter().take(most).map(shared).collect()
}
