//! A session as callers see it.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::authority::Authority;
use crate::projections::history::Moment;
use tenure_core::{
    Mode, OwnerId, Position, SealedText, Seconds, SessionId, Stream, SubjectId, Timestamp,
    event::Trigger,
    policy::OnReuse,
    session::{Revocation, Session, Status},
    subject::Subject,
};

use super::{
    Api,
    fields::kept_object,
    usage::{ConstraintsView, UsageView, constraints_view},
};

/// A session, as of the moment that it says.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionView {
    session_id: SessionId,
    subject_id: SubjectId,
    subject_name: Option<String>,
    owner_id: Option<OwnerId>,
    device: Option<String>,
    /// `sliding` is refreshed by use behind a proxy.
    mode: Mode,
    status: Status,
    renewal_count: u32,
    max_renewals: u32,
    renewals_left: u32,
    /// The length of every period, in seconds.
    ttl: Seconds,
    /// Seconds until it expires; 0 once it has ended.
    expires_in: u64,
    created_at: Timestamp,
    expires_at: Timestamp,
    absolute_expires_at: Timestamp,
    renewed_at: Option<Timestamp>,
    /// When its holder should renew; null when a renewal would be refused for good.
    renew_at: Option<Timestamp>,
    /// After how long without use it ends, in seconds; null when it does not.
    idle_timeout: Option<Seconds>,
    /// When it was last used; null without `idleTimeout`.
    last_seen_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    revoked_trigger: Option<Trigger>,
    revoked_reason: Option<String>,
    scopes: Vec<String>,
    #[schema(value_type = Option<Object>)]
    metadata: Option<Box<RawValue>>,
    /// The limits on its use; null when there are none.
    constraints: Option<ConstraintsView>,
    usage: UsageView,
    /// What happens when a token of it comes back that a renewal had replaced: `reject` or `revoke`. A session that
    /// began before it could ask for one of them follows the setting.
    #[schema(value_type = String)]
    on_reuse: OnReuse,
    as_of_position: Position,
    as_of_time: Timestamp,
}

/// Opens the texts of one stream.
pub(super) struct Texts<'a> {
    authority: &'a Authority,
    stream: Stream,
}

impl<'a> Texts<'a> {
    /// Of a subject.
    pub(super) fn of(authority: &'a Authority, subject: &SubjectId) -> Self {
        Self::of_stream(authority, Stream::Subject(subject.clone()))
    }

    /// Of any stream.
    pub(super) const fn of_stream(authority: &'a Authority, stream: Stream) -> Self {
        Self { authority, stream }
    }

    /// A text; null when there is none, and when it was erased.
    pub(super) fn open(&self, field: &'static str, text: Option<&SealedText>) -> Option<String> {
        self.authority.open_text(&self.stream, field, text?)
    }

    /// The name of a session's device.
    pub(super) fn device(&self, session: &Session) -> Option<String> {
        self.open("device", session.device_name())
    }

    /// A session's metadata.
    pub(super) fn metadata(&self, session: &Session) -> Option<Box<RawValue>> {
        let metadata = session.details.as_ref()?.metadata.as_ref();
        self.open("metadata", metadata).map(kept_object)
    }
}

/// Why a session was ended. What was said of many sessions of any subjects is not kept with each of them, nor sealed
/// with the texts of their subjects.
fn reason(api: &Api, texts: &Texts<'_>, revocation: &Revocation) -> Option<String> {
    let of_bulk = api.projections.revocations(|known| known.reason_at(revocation.position).cloned());
    match of_bulk {
        Some(reason) => api.authority.open_text(&Stream::System, "reason", &reason),
        None => texts.open("reason", revocation.reason.as_ref()),
    }
}

/// A session of a subject, both as of the same moment.
pub(super) fn session_view(api: &Api, subject: &Subject, session: &Session, moment: Moment) -> SessionView {
    let texts = Texts::of(&api.authority, &subject.id);
    let profile = subject.profile();
    let revocation = session.revocation.as_deref();
    SessionView {
        session_id: session.id,
        subject_id: subject.id.clone(),
        subject_name: texts.open("name", profile.and_then(|profile| profile.name.as_ref())),
        owner_id: profile.and_then(|profile| profile.owner_id.clone()),
        device: texts.device(session),
        mode: session.terms.mode,
        status: session.status(moment.at),
        renewal_count: session.renewal_count(),
        max_renewals: session.terms.max_renewals,
        renewals_left: session.renewals_left(),
        ttl: session.terms.ttl,
        expires_in: session.expires_in(moment.at),
        created_at: session.created_at,
        expires_at: session.expires_at,
        absolute_expires_at: session.absolute_expires_at(),
        renewed_at: session.renewed_at(),
        renew_at: session.next_renewal(moment.at),
        idle_timeout: session.terms.idle_timeout,
        last_seen_at: session.last_seen_at(),
        revoked_at: revocation.map(|revocation| revocation.at),
        revoked_trigger: revocation.map(|revocation| revocation.trigger),
        revoked_reason: revocation.and_then(|revocation| reason(api, &texts, revocation)),
        scopes: session.scopes().to_vec(),
        metadata: texts.metadata(session),
        constraints: constraints_view(session),
        usage: session.usage().into(),
        on_reuse: session.on_reuse(api.authority.live().system().system.policy_in_force()),
        as_of_position: moment.position,
        as_of_time: moment.at,
    }
}
