//! A refused renewal: the rule that said no, and the numbers that it compared.

use serde_json::{Map, Value, json};

use super::{
    RefusalReason,
    durations::{between, seconds},
};
use tenure_core::{
    Generation, Timestamp,
    command::{Command, RenewSession},
    decide::decide,
    event::{RejectionCause, RejectionCode, RenewalRejected},
    observed::Observation,
    refusal::Refusal,
    session::Session,
    state::AuthorityState,
    subject::Subject,
};

/// The refusal in words, and its reason. `session` is as it was before.
pub(super) fn explain(
    event: &RenewalRejected,
    subject: &Subject,
    session: &Session,
    before: &AuthorityState,
    at: Timestamp,
    whom: &str,
) -> (String, RefusalReason) {
    match (event.cause, event.code) {
        (RejectionCause::Policy, Some(code)) => {
            by_rule(code, event.contested, session, at, confirmed(code, subject, session, before, at))
        }
        (RejectionCause::Owner, _) | (RejectionCause::Policy, None) => vetoed(session, at, whom),
    }
}

fn by_rule(
    code: RejectionCode,
    contested: bool,
    session: &Session,
    at: Timestamp,
    confirmed: Option<bool>,
) -> (String, RefusalReason) {
    let (rule, words, numbers) = match code {
        RejectionCode::SessionRenewalMismatch => mismatch(session, contested),
        RejectionCode::TokenExpired => expired(session, at),
        RejectionCode::SessionIdle => idle(session, at),
        RejectionCode::RenewalLimitReached => spent(session),
        RejectionCode::SessionAbsoluteLifetimeExceeded => absolute(session),
        RejectionCode::RenewalTooEarly => too_early(session, at),
    };
    let reason = RefusalReason { rule, code: Some(json!(code)), numbers: object(numbers), confirmed };
    (format!("A renewal was refused: {words}."), reason)
}

type ReasonParts = (&'static str, String, Value);

fn mismatch(session: &Session, contested: bool) -> ReasonParts {
    let generation = session.generation().0;
    let meaning = if contested {
        "; it had been replaced and came without the key of that renewal, so the session is contested: it ends when the \
         newer token is shown"
    } else {
        ""
    };
    (
        "row 4: the token must be of the current generation",
        format!(
            "the token shown was not of generation {generation}, the current one since position {}{meaning}",
            session.granted()
        ),
        json!({
            "currentGeneration": generation, "grantedAtPosition": session.granted(), "contested": contested,
        }),
    )
}

fn expired(session: &Session, at: Timestamp) -> ReasonParts {
    (
        "row 5: the session must not have expired",
        format!("it had expired at {}, {} before", session.expires_at(), between(session.expires_at(), at)),
        json!({ "expiresAt": session.expires_at(), "askedAt": at, "grantedAtPosition": session.granted() }),
    )
}

fn idle(session: &Session, at: Timestamp) -> ReasonParts {
    let seen_at = session.last_seen_at().unwrap_or(session.created_at());
    let timeout = session.terms.idle_timeout.unwrap_or(session.terms.ttl);
    (
        "row 5: the session must not be idle",
        format!(
            "it was last used at {seen_at}, {} before, and may be idle for {}",
            between(seen_at, at),
            seconds(timeout)
        ),
        json!({ "lastSeenAt": seen_at, "idleTimeout": timeout, "askedAt": at }),
    )
}

fn spent(session: &Session) -> ReasonParts {
    let (count, most) = (session.renewal_count(), session.terms.max_renewals);
    (
        "row 6: there must be renewals left",
        format!("{count} of {most} renewals were spent, the last one at position {}", session.granted()),
        json!({ "renewalCount": count, "maxRenewals": most, "grantedAtPosition": session.granted() }),
    )
}

fn absolute(session: &Session) -> ReasonParts {
    let end = session.absolute_expires_at();
    (
        "row 7: a renewal must be able to add time",
        format!(
            "its period ends at {}, which is its absolute end: nothing could be added",
            session.expires_at()
        ),
        json!({ "expiresAt": session.expires_at(), "absoluteExpiresAt": end }),
    )
}

fn too_early(session: &Session, at: Timestamp) -> ReasonParts {
    let (start, earliest) = (session.period_start(), session.earliest_renewal());
    (
        "row 8: half of the period must have passed",
        format!(
            "it came {} too early: half of the period of {} since {start} was over at {earliest}",
            between(at, earliest),
            seconds(session.terms.ttl)
        ),
        json!({ "askedAt": at, "periodStart": start, "ttl": session.terms.ttl, "retryAt": earliest }),
    )
}

fn vetoed(session: &Session, at: Timestamp, whom: &str) -> (String, RefusalReason) {
    let renewed_at = session.renewed_at().unwrap_or(session.created_at());
    let window = session.terms.renewal_reject_window;
    let since = between(renewed_at, at);
    let inside = if at <= renewed_at.plus(window) { "within" } else { "after" };
    let words = format!(
        "The renewal of {renewed_at} was vetoed by {whom}, {since} after it, {inside} the window of {}.",
        seconds(window)
    );
    let numbers = json!({ "renewedAt": renewed_at, "vetoedAt": at, "renewalRejectWindow": window });
    let rule =
        "the owner may veto a renewal; the window says how long that is expected, not how long it is allowed";
    (words, RefusalReason { rule, code: None, numbers: object(numbers), confirmed: None })
}

/// Asks the rules again. For a token of another generation it is not recorded which one was shown.
fn confirmed(
    code: RejectionCode,
    subject: &Subject,
    session: &Session,
    before: &AuthorityState,
    at: Timestamp,
) -> Option<bool> {
    let policy = before.system.policy.as_ref()?;
    let generation = match code {
        RejectionCode::SessionRenewalMismatch => return None,
        RejectionCode::TokenExpired
        | RejectionCode::SessionIdle
        | RejectionCode::RenewalLimitReached
        | RejectionCode::SessionAbsoluteLifetimeExceeded
        | RejectionCode::RenewalTooEarly => session.generation(),
    };
    let command = renewal(session, generation);
    let refusal =
        decide(policy, subject, &Command::RenewSession(command), &Observation::default(), at).err()?.refusal;
    Some(matches!(
        (code, refusal),
        (RejectionCode::TokenExpired, Refusal::TokenExpired { .. })
            | (RejectionCode::SessionIdle, Refusal::SessionIdle { .. })
            | (RejectionCode::RenewalLimitReached, Refusal::RenewalLimitReached { .. })
            | (RejectionCode::SessionAbsoluteLifetimeExceeded, Refusal::AbsoluteLifetimeExceeded { .. })
            | (RejectionCode::RenewalTooEarly, Refusal::RenewalTooEarly { .. })
    ))
}

fn renewal(session: &Session, generation: Generation) -> RenewSession {
    RenewSession { session_id: session.id, generation, key_digest: None, jitter: 0 }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}
