//! What could happen to a session next, and when.

use super::lasting::between;
use crate::domain::{
    Policy, Timestamp,
    command::{Command, RenewSession},
    decide::decide,
    observed::Observed,
    refusal::Refusal,
    session::{Session, Status},
    subject::Subject,
    suspension::Suspension,
};

/// What could happen at this moment, in words.
pub(super) fn possible(
    subject: &Subject,
    session: &Session,
    policy: Option<&Policy>,
    at: Timestamp,
) -> Vec<String> {
    match session.status(at) {
        Status::Revoked => vec![
            "Nothing: it was ended, no token of it works, and nothing revives it. Its subject may be given a new \
             session."
                .to_owned(),
        ],
        Status::Expired => vec![
            format!("No token of it works since {}, and a renewal comes too late.", session.ends_at()),
            "It may still be revoked, for the record. Its subject may be given a new session.".to_owned(),
        ],
        Status::Active => {
            let ends = format!(
                "Its token works until {}, for {} more, unless it is ended before.",
                session.expires_at,
                between(at, session.expires_at)
            );
            let idle = session.idle_end().map(|end| {
                format!("Without use it ends at {end}, in {}; each use puts that off.", between(at, end))
            });
            let veto = session.renewed_at().map(|renewed_at| veto(session, renewed_at, at));
            let suspended = subject.suspension_at(at).map(suspended);
            let renewal = policy.map(|policy| renewal(subject, session, policy, at));
            let end = "Its owner, an issuer, an admin or its own token may end it at any time.".to_owned();
            [suspended, Some(ends), idle, renewal, veto, Some(end)].into_iter().flatten().collect()
        }
    }
}

/// What a renewal at this moment would get: the rules are asked.
fn renewal(subject: &Subject, session: &Session, policy: &Policy, at: Timestamp) -> String {
    let command = Command::RenewSession(RenewSession {
        session_id: session.id,
        generation: session.generation,
        key_digest: None,
        jitter: 0,
    });
    match decide(policy, subject, &command, &Observed::default(), at).map_err(|refused| refused.refusal) {
        Ok(_) => {
            let left = session.renewals_left();
            format!(
                "A renewal by its current token would be granted: {left} of {} are left.",
                session.terms.max_renewals
            )
        }
        Err(Refusal::RenewalTooEarly { retry_at, .. }) => {
            format!(
                "A renewal would be refused before {retry_at}, for {} more, and granted from then on.",
                between(at, retry_at)
            )
        }
        Err(Refusal::SubjectSuspended { .. }) => {
            "A renewal would be refused while its subject is suspended.".to_owned()
        }
        Err(refusal) => format!("A renewal would be refused, now and later: {refusal}."),
    }
}

fn suspended(suspension: &Suspension) -> String {
    let end = suspension.until.map_or_else(|| "it is resumed".to_owned(), |until| until.to_string());
    format!("Its subject is suspended since {}: no token of it works until {end}.", suspension.at)
}

fn veto(session: &Session, renewed_at: Timestamp, at: Timestamp) -> String {
    let end = renewed_at.plus(session.terms.renewal_reject_window);
    if at <= end {
        format!("Its owner's word until {end} counts as a veto of the renewal of {renewed_at}.")
    } else {
        format!(
            "The window to veto the renewal of {renewed_at} was over at {end}; an explicit veto is still possible."
        )
    }
}
