//! What could happen to a session next, and when.

use super::durations::between;
use tenure_core::{
    Policy, Timestamp,
    command::{Command, RenewSession},
    decide::decide,
    observed::Observation,
    refusal::Refusal,
    session::{Session, SessionStatus},
    subject::Subject,
    suspension::SubjectSuspension,
    system::SystemState,
};

/// What could happen at this moment, in words.
pub(super) fn possible(
    subject: &Subject,
    session: &Session,
    system: &SystemState,
    at: Timestamp,
) -> Vec<String> {
    let suspension = subject.suspension_at(at);
    match session.status(at) {
        SessionStatus::Revoked => vec![format!(
            "Nothing: it was ended, no token of it works, and nothing revives it. {}",
            another(suspension)
        )],
        SessionStatus::Expired => vec![
            format!("No token of it works since {}, and a renewal comes too late.", session.ends_at()),
            format!("It may still be revoked, for the record. {}", another(suspension)),
        ],
        SessionStatus::Active => {
            let end = "Its owner, an issuer, an admin or its own token may end it at any time.".to_owned();
            if let Some(retired) = system.keys.retired_sealer_of(session.granted(), at) {
                let dead = format!(
                    "No token of it works since {retired}, when the key that sealed them was retired, and none renews it."
                );
                return vec![dead, format!("Its period ends at {}.", session.expires_at()), end];
            }
            let ends = period(session, suspension, at);
            let idle = session.idle_end().map(|end| {
                format!("Without use it ends at {end}, in {}; each use puts that off.", between(at, end))
            });
            let veto = session.renewed_at().map(|renewed_at| veto(session, renewed_at, at));
            let suspended = suspension.map(suspended);
            let renewal = system.policy.as_ref().map(|policy| renewal(subject, session, policy, at));
            [suspended, Some(ends), idle, renewal, veto, Some(end)].into_iter().flatten().collect()
        }
    }
}

/// What a renewal at this moment would get: the rules are asked.
fn renewal(subject: &Subject, session: &Session, policy: &Policy, at: Timestamp) -> String {
    let command = Command::RenewSession(RenewSession {
        session_id: session.id,
        generation: session.generation(),
        key_digest: None,
        jitter: 0,
    });
    match decide(policy, subject, &command, &Observation::default(), at).map_err(|refused| refused.refusal) {
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
        Err(Refusal::EndsForReuse) => {
            "It is contested: a renewal by its current token would be refused and would end it, as that shows a second \
             holder."
                .to_owned()
        }
        Err(refusal) => format!("A renewal would be refused, now and later: {refusal}."),
    }
}

/// Until when its token works; a suspension does not stop the clock, and its token does not work meanwhile.
fn period(session: &Session, suspension: Option<&SubjectSuspension>, at: Timestamp) -> String {
    let (end, left) = (session.expires_at(), between(at, session.expires_at()));
    if suspension.is_some() {
        format!("Its period ends at {end}, in {left}, unless it is ended before.")
    } else {
        format!("Its token works until {end}, for {left} more, unless it is ended before.")
    }
}

/// Whether its subject may be given another session.
fn another(suspension: Option<&SubjectSuspension>) -> String {
    match suspension {
        None => "Its subject may be given a new session.".to_owned(),
        Some(suspension) => format!("Its subject is given no session until {}.", end_of(suspension)),
    }
}

fn suspended(suspension: &SubjectSuspension) -> String {
    let end = end_of(suspension);
    format!("Its subject is suspended since {}: no token of it works until {end}.", suspension.at)
}

fn end_of(suspension: &SubjectSuspension) -> String {
    suspension.until.map_or_else(|| "it is resumed".to_owned(), |until| until.to_string())
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
