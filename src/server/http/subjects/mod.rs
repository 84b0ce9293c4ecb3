//! `/v1/subjects`: register, change, read and list subjects, suspend them, and erase what they were called.

pub(super) mod erase;
pub(super) mod suspension;

use std::sync::Arc;

use axum::http::StatusCode;

use crate::authority::RegisteredSubject;
use crate::projections::history::AsOfMoment;
use tenure_core::{
    EpochPosition, OwnerId, SubjectId, Timestamp,
    event::{Role, SubjectKind},
    policy::OnLimit,
    state::AuthorityState,
    subject::{ProfileAndSuspension, Subject, SubjectRegistration},
};
use tenure_protocol::wire::{NewProfile, Page, ProfilePatch, SubjectView};

use self::suspension::suspension_view;
use super::{
    api::ApiContext,
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
        text::TextOpener,
    },
    request::{
        access::{Caller, check_is_no_sign_in},
        as_of::{AsOfQuery, ReadPoint},
        body::RequestBody,
        call::ApiCall,
        fields::RequestFields,
        limits,
        page::{ListName, PageQuery, page_of},
    },
};

impl RequestBody for NewProfile {
    fn read(fields: &mut RequestFields) -> Option<Self> {
        Some(Self {
            name: name(fields),
            kind: kind(fields),
            owner_id: owner_id(fields),
            max_sessions: max_sessions(fields),
            max_sessions_per_device: max_sessions_per_device(fields),
            on_limit: on_limit(fields),
            on_device_limit: on_device_limit(fields),
        })
    }
}

impl RequestBody for ProfilePatch {
    fn read(fields: &mut RequestFields) -> Option<Self> {
        Some(Self {
            name: fields.change("name", name),
            kind: fields.change("kind", kind),
            owner_id: fields.change("ownerId", owner_id),
            max_sessions: fields.change("maxSessions", max_sessions),
            max_sessions_per_device: fields.change("maxSessionsPerDevice", max_sessions_per_device),
            on_limit: fields.change("onLimit", on_limit),
            on_device_limit: fields.change("onDeviceLimit", on_device_limit),
        })
    }
}

fn name(fields: &mut RequestFields) -> Option<String> {
    fields.text("name", limits::NAME)
}

fn kind(fields: &mut RequestFields) -> Option<SubjectKind> {
    fields.one_of("kind", &SubjectKind::ALL)
}

fn owner_id(fields: &mut RequestFields) -> Option<OwnerId> {
    fields.id("ownerId")
}

fn max_sessions(fields: &mut RequestFields) -> Option<u32> {
    fields.small("maxSessions", limits::MAX_SESSIONS)
}

fn max_sessions_per_device(fields: &mut RequestFields) -> Option<u32> {
    fields.small("maxSessionsPerDevice", limits::MAX_SESSIONS)
}

fn on_limit(fields: &mut RequestFields) -> Option<OnLimit> {
    fields.one_of("onLimit", &OnLimit::NAMES)
}

fn on_device_limit(fields: &mut RequestFields) -> Option<OnLimit> {
    fields.one_of("onDeviceLimit", &OnLimit::NAMES)
}

/// `None` of a subject that was not registered.
pub(in crate::http) fn view(api: &ApiContext, subject: &Subject, moment: AsOfMoment) -> Option<SubjectView> {
    let active_sessions = subject.active_count(moment.at);
    Some(view_of((api, moment), &subject.id, &subject.registration()?, active_sessions))
}

fn view_of(
    (api, moment): (&ApiContext, AsOfMoment),
    id: &SubjectId,
    registration: &SubjectRegistration,
    active_sessions: usize,
) -> SubjectView {
    let ProfileAndSuspension { profile, suspension } = &*registration.standing;
    SubjectView {
        subject_id: id.clone(),
        name: TextOpener::of(&api.authority, id).open("name", profile.name.as_ref()),
        kind: profile.kind.map(|kind| kind.name().into()),
        owner_id: profile.owner_id.clone(),
        max_sessions: profile.max_sessions,
        max_sessions_per_device: profile.max_sessions_per_device,
        on_limit: profile.on_limit.map(|action| action.name().into()),
        on_device_limit: profile.on_device_limit.map(|action| action.name().into()),
        suspension: suspension_view(api, id, suspension.as_ref(), moment),
        active_sessions,
        created_at: registration.created_at,
        updated_at: registration.updated_at,
        as_of_position: moment.position,
        as_of_time: moment.at,
    }
}

/// Register a subject, or replace the whole of its registration.
///
/// A request that changes nothing appends nothing. Only an admin may change the owner and the limits of an existing
/// subject: an issuer that leaves them out keeps them, and one that gives others gets 403. An issuer may name the first
/// owner.
#[utoipa::path(put, path = "/v1/subjects/{subjectId}", tag = "subjects", operation_id = "putSubject",
    params(("subjectId" = SubjectId, Path, description = "The subject's name, chosen by the caller.")),
    request_body = NewProfile,
    responses((status = 200, description = "It was known.", body = SubjectView),
        (status = 201, description = "It is new.", body = SubjectView)))]
pub(super) async fn put(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut fields = call.fields()?;
    let new = NewProfile::read(&mut fields);
    let id = call.subject_id();
    if let Err(problem) = &id {
        problem.errors.iter().for_each(|error| fields.fault(&error.field, error.message.clone()));
    }
    fields.finish()?;
    let (id, new) = (id?, new.ok_or(ProblemCode::InvalidRequest)?);
    check_is_no_sign_in(&id)?;
    let context = call.context()?;
    let registered = call.api.authority.register_subject(context, id, new, may_change_policy(&call)).await?;
    Ok(answered(&call.api, &registered))
}

/// Change parts of a subject's registration (RFC 7396).
///
/// Omitted fields stay, and null removes. A request that changes nothing appends nothing. Only an admin may
/// change the owner and the limits, but an issuer may name the first owner.
#[utoipa::path(patch, path = "/v1/subjects/{subjectId}", tag = "subjects", operation_id = "patchSubject",
    params(("subjectId" = SubjectId, Path, description = "The subject.")),
    request_body(description = "The changes.",
        content((NewProfile = "application/json"), (NewProfile = "application/merge-patch+json"))),
    responses((status = 200, description = "The subject after the changes.", body = SubjectView)))]
pub(super) async fn patch(call: ApiCall) -> Result<HttpReply, Problem> {
    let patch: ProfilePatch = call.read()?;
    let context = call.context()?;
    let id = call.changeable_subject_id()?;
    let after = call.api.authority.change_subject(context, id, patch, may_change_policy(&call)).await?;
    Ok(answered(&call.api, &after))
}

fn may_change_policy(call: &ApiCall) -> bool {
    call.caller.role() == Some(Role::Admin)
}

pub(super) fn answered(api: &ApiContext, registered: &RegisteredSubject) -> HttpReply {
    let RegisteredSubject { id, registration, active_sessions, at, position } = registered;
    let reflected = position.unwrap_or_else(|| api.authority.live().position());
    let moment = AsOfMoment { position: reflected, at: *at };
    let status = if registered.is_new() { StatusCode::CREATED } else { StatusCode::OK };
    let view = view_of((api, moment), id, registration, *active_sessions);
    HttpReply::json(status, &view).at(*position)
}

/// Read a subject.
#[utoipa::path(get, path = "/v1/subjects/{subjectId}", tag = "subjects", operation_id = "getSubject",
    params(("subjectId" = SubjectId, Path, description = "The subject."),
        ("asOf" = Option<Timestamp>, Query, description = "Answer from this moment."),
        ("asOfPosition" = Option<EpochPosition>, Query, description = "Answer from this position."),
        ("minPosition" = Option<EpochPosition>, Query, description = "Wait until the answer reflects this position.")),
    responses((status = 200, description = "The subject.", body = SubjectView)))]
pub(super) async fn show(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let asked = AsOfQuery::of(&mut query);
    query.finish()?;
    let id = call.known_subject_id()?;
    let reading = asked.resolve(&call.api, &call.caller).await?;
    let subject = subject_as_of(&call, &id, reading).await?;
    let view = view(&call.api, &subject, reading.moment).ok_or(ProblemCode::SubjectNotFound)?;
    Ok(HttpReply::ok(&view))
}

/// A subject as of a moment, if it exists for the caller. The caller's rights are today's.
pub(super) async fn subject_as_of(
    call: &ApiCall,
    id: &SubjectId,
    reading: ReadPoint,
) -> Result<Arc<Subject>, Problem> {
    let api = &call.api;
    let today = api.authority.live().subject(id).filter(|subject| call.caller.may_see(subject));
    let today = today.ok_or(ProblemCode::SubjectNotFound)?;
    if !reading.is_past {
        return Ok(today);
    }
    let known = (&api.authority, &api.projections);
    api.costly.subject_at(known, &call.caller, id, reading.moment.position).await
}

/// List subjects by id; an owner sees its own.
#[utoipa::path(get, path = "/v1/subjects", tag = "subjects", operation_id = "listSubjects",
    params(("ownerId" = Option<OwnerId>, Query, description = "Only this owner's."),
        ("limit" = Option<u32>, Query, description = "1 to 200, by default 50."),
        ("cursor" = Option<String>, Query, description = "The `nextCursor` of the page before."),
        ("asOf" = Option<Timestamp>, Query, description = "Answer from this moment (admin, auditor)."),
        ("asOfPosition" = Option<EpochPosition>, Query, description = "Answer from this position (admin, auditor)."),
        ("minPosition" = Option<EpochPosition>, Query, description = "Wait until the answer reflects this position.")),
    responses((status = 200, description = "One page.", body = Page<SubjectView>)))]
pub(super) async fn list(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let owner: Option<OwnerId> = query.id("ownerId");
    let asked = AsOfQuery::of(&mut query);
    let page = PageQuery::of(&mut query, ListName::Subjects);
    query.finish()?;
    asked.check_list(&call.caller, false)?;
    let reading = asked.resolve(&call.api, &call.caller).await?;
    let sought =
        SubjectFilter { caller: call.caller.clone(), owner, after: page.after, most: page.limit + 1 };
    let mut subjects = if reading.is_past {
        let read = move |state: &AuthorityState| sought.among(state.subjects.values());
        call.api.costly.read_state(&call.api.authority, &call.caller, reading.moment.position, read).await?
    } else {
        sought.now(&call.api)
    };
    let more = subjects.len() > page.limit;
    subjects.truncate(page.limit);
    let end = subjects.last().filter(|_| more).map(|subject| subject.id.clone());
    let views = subjects.iter().filter_map(|subject| view(&call.api, subject, reading.moment)).collect();
    Ok(HttpReply::ok(&page_of(ListName::Subjects, views, end)))
}

/// Which subjects a list is to hold.
struct SubjectFilter {
    caller: Caller,
    owner: Option<OwnerId>,
    after: Option<String>,
    most: usize,
}

impl SubjectFilter {
    fn admits(&self, subject: &Subject) -> bool {
        let answers_for_it = subject.profile().and_then(|profile| profile.owner_id.as_ref());
        subject.is_registered()
            && self.caller.may_see(subject)
            && (self.owner.is_none() || answers_for_it == self.owner.as_ref())
            && self.after.as_deref().is_none_or(|after| subject.id.as_str() > after)
    }

    /// The same of the present, from the list by name.
    fn now(mut self, api: &ApiContext) -> Vec<Arc<Subject>> {
        let mut found = Vec::new();
        let own = self.caller.owner();
        if own.is_some() && self.owner.is_some() && own != self.owner.as_ref() {
            return found;
        }
        let owner = own.or(self.owner.as_ref()).cloned();
        loop {
            let (after, most) = (self.after.as_deref(), self.most - found.len());
            let named = api.projections.subjects(|list| list.after(owner.as_ref(), after, most));
            let is_last = named.len() < most;
            let known = named.iter().filter_map(|id| api.authority.live().subject(id));
            found.extend(known.filter(|subject| self.admits(subject)));
            if is_last || found.len() == self.most {
                return found;
            }
            // What is read may be a moment older than the list.
            self.after = named.last().map(ToString::to_string);
        }
    }

    /// Those of the page, and the one behind it.
    fn among<'a>(&self, subjects: impl Iterator<Item = &'a Subject>) -> Vec<Arc<Subject>> {
        let mut found: Vec<&Subject> = subjects.filter(|subject| self.admits(subject)).collect();
        found.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        found.into_iter().take(self.most).cloned().map(Arc::new).collect()
    }
}
