//! A session as callers see it.

use crate::projections::history::AsOfMoment;
use tenure_core::{
    StreamId,
    session::{Session, SessionRevocation},
    subject::Subject,
};
use tenure_log::LogError;
use tenure_protocol::wire::SessionView;

use super::usage::{constraints_view, usage_view};
use crate::http::{api::ApiContext, reply::text::TextOpener};

/// Why a session was ended. What was said of many sessions of any subjects is not kept with each of them, nor sealed
/// with the texts of their subjects.
fn reason(
    api: &ApiContext,
    texts: &TextOpener<'_>,
    revocation: &SessionRevocation,
) -> Result<Option<String>, LogError> {
    let SessionRevocation { position, trigger, .. } = *revocation;
    let of_bulk = api.projections.reason_at(api.authority.log(), position, trigger)?;
    Ok(match of_bulk {
        Some(reason) => api.authority.open_text(&StreamId::System, "reason", &reason),
        None => texts.open("reason", revocation.reason.as_ref()),
    })
}

/// A session of a subject, both as of the same moment.
///
/// # Errors
/// What was said of a bulk revocation of long ago cannot be read.
pub(crate) fn session_view(
    api: &ApiContext,
    subject: &Subject,
    session: &Session,
    moment: AsOfMoment,
) -> Result<SessionView, LogError> {
    let texts = TextOpener::of(&api.authority, &subject.id);
    let profile = subject.profile();
    let revocation = session.revocation();
    let reason = revocation.map_or(Ok(None), |revocation| reason(api, &texts, revocation))?;
    Ok(SessionView {
        session_id: session.id,
        subject_id: subject.id.clone(),
        subject_name: texts.open("name", profile.and_then(|profile| profile.name.as_ref())),
        owner_id: profile.and_then(|profile| profile.owner_id.clone()),
        device: texts.device(session),
        mode: session.terms.mode.name().into(),
        status: session.status(moment.at),
        renewal_count: session.renewal_count(),
        max_renewals: session.terms.max_renewals,
        renewals_left: session.renewals_left(),
        ttl: session.terms.ttl,
        expires_in: session.expires_in(moment.at),
        created_at: session.created_at(),
        expires_at: session.expires_at(),
        absolute_expires_at: session.absolute_expires_at(),
        renewed_at: session.renewed_at(),
        renew_at: session.next_renewal(moment.at),
        idle_timeout: session.terms.idle_timeout,
        // A use at another node, of which this one does not know yet, is allowed for up to a moment that is still to come.
        last_seen_at: session.last_seen_at().map(|seen| seen.min(moment.at)),
        revoked_at: revocation.map(|revocation| revocation.at),
        revoked_trigger: revocation.map(|revocation| revocation.trigger.name().into()),
        revoked_reason: reason,
        scopes: session.scopes().to_vec(),
        metadata: texts.metadata(session),
        constraints: constraints_view(session),
        usage: usage_view(session.usage()),
        on_reuse: session.on_reuse(api.authority.live().system().system.policy_in_force()).name().into(),
        as_of_position: moment.position,
        as_of_time: moment.at,
    })
}
