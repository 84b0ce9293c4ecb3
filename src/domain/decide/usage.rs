//! Use a session: whether it is live, whether its constraints allow it, and the sums after it. To judge and to
//! record are one step, so of many uses at once exactly as many are granted as the budget has room for.

use crate::domain::{
    Policy, SubjectEvent, Timestamp,
    command::RecordUsage,
    event::UsageRecorded,
    refusal::{Refusal, Refused},
    session::{Session, Status},
    subject::Subject,
};

use super::{owned_session, reuse::check_uncontested, token_refusal};

pub(super) fn record(
    policy: &Policy,
    subject: &Subject,
    command: &RecordUsage,
    at: Timestamp,
) -> Result<Vec<SubjectEvent>, Refused> {
    let session = owned_session(subject, None, command.session_id)?;
    if command.generation == Some(session.generation) {
        check_uncontested(policy, session)?;
    }
    check_live(session, command, at)?;
    let (wanted, so_far) = (&command.wanted, session.usage());
    if let Some(constraint) = session.constraints().and_then(|limits| limits.violated_by(wanted, so_far)) {
        return Err(Refusal::ConstraintViolated { constraint, caused_by: session.created }.into());
    }
    let after = so_far.after(wanted, at);
    Ok(vec![SubjectEvent::UsageRecorded(UsageRecorded {
        session_id: session.id,
        operation: wanted.operation.clone(),
        amount: wanted.amount.clone(),
        destination: wanted.destination.clone(),
        transactions: after.transactions,
        total_amount: after.total_amount,
    })])
}

/// Its own token is judged as by introspection. To whoever asks on its behalf the state of the session is no
/// matter of the credential.
fn check_live(session: &Session, command: &RecordUsage, at: Timestamp) -> Result<(), Refusal> {
    let generation = command.generation.unwrap_or(session.generation);
    session.judge(generation, at).map_err(|fault| match (command.generation, session.status(at)) {
        (None, status @ (Status::Revoked | Status::Expired)) => {
            Refusal::SessionNotActive { status, caused_by: session.cause_of(fault) }
        }
        (Some(_), _) | (None, Status::Active) => token_refusal(session, fault),
    })
}
