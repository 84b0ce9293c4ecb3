//! Use a session: whether it is live, whether its constraints allow it, and the sums after it. To judge and to
//! record are one step, so of many uses at once exactly as many are granted as the budget has room for.

use crate::{
    Policy, SubjectEvent, Timestamp,
    command::RecordUsage,
    event::UsageRecorded,
    refusal::{RecordedRefusal, Refusal},
    session::{Session, TokenFault},
    subject::Subject,
};

use super::{owned_session, reuse::check_uncontested, token_refusal};

pub(super) fn record(
    policy: &Policy,
    subject: &Subject,
    command: &RecordUsage,
    at: Timestamp,
) -> Result<Vec<SubjectEvent>, RecordedRefusal> {
    let session = owned_session(subject, None, command.session_id)?;
    if command.generation == Some(session.generation()) {
        check_uncontested(policy, session)?;
    }
    check_live(subject, session, command, at)?;
    let (wanted, so_far) = (&command.wanted, session.usage());
    if let Some(constraint) = session.constraints().and_then(|limits| limits.violated_by(wanted, so_far)) {
        return Err(Refusal::ConstraintViolated { constraint, caused_by: session.created() }.into());
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

/// Its own token is judged as by introspection. To a caller on its behalf the state of the session is no
/// matter of the credential.
fn check_live(
    subject: &Subject,
    session: &Session,
    command: &RecordUsage,
    at: Timestamp,
) -> Result<(), Refusal> {
    let generation = command.generation.unwrap_or(session.generation());
    let judged = session.judge(generation, subject.suspension(), at);
    judged.map_err(|fault| match (command.generation, fault) {
        (None, TokenFault::Suspended { position, until }) => {
            Refusal::SubjectSuspended { caused_by: position, until, of_own_token: false }
        }
        (None, TokenFault::Revoked(_) | TokenFault::Expired | TokenFault::Idle) => {
            Refusal::SessionNotActive { status: session.status(at), caused_by: session.cause_of(fault) }
        }
        (Some(_), _) | (None, TokenFault::Superseded) => token_refusal(session, fault),
    })
}
