//! `POST /v1/sessions/{id}/usage`, and the budgets of sessions as callers write and read them.

use std::ops::RangeInclusive;

use serde::Serialize;
use utoipa::ToSchema;

use crate::authority::{NewUse, Used};
use tenure_core::{
    Amount, SessionId, Timestamp,
    budget::{Constraints, Usage, Use},
    session::Session,
    text::fault_of_text,
};

use super::{
    access::Caller,
    call::{Call, note_use},
    fields::Fields,
    limits,
    problem::{Code, Problem},
    reply::Reply,
    shares,
};

/// The limits on the use of a session that are asked for, of 8 KiB at most. What is left out is not limited.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents the fields that `constraints` reads")]
pub(super) struct ConstraintsBody {
    /// The most that one use may cost.
    max_amount_per_tx: Option<Amount>,
    /// The most that all uses may cost together.
    max_total_amount: Option<Amount>,
    /// How often it may be used; 0 to 9 007 199 254 740 991.
    max_transactions: Option<u64>,
    /// The only operations that it may be used for, each of 1 to 128 characters; an empty list allows none.
    allowed_operations: Option<Vec<String>>,
    /// The only destinations that it may be used for, each of 1 to 256 characters; an empty list allows none.
    allowed_destinations: Option<Vec<String>>,
}

/// The limits on the use of a session. What is null is not limited.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConstraintsView {
    /// The most that one use may cost.
    max_amount_per_tx: Option<Amount>,
    /// The most that all uses may cost together.
    max_total_amount: Option<Amount>,
    /// How often it may be used.
    max_transactions: Option<u64>,
    /// The only operations that it may be used for; an empty list allows none.
    allowed_operations: Option<Vec<String>>,
    /// The only destinations that it may be used for; an empty list allows none.
    allowed_destinations: Option<Vec<String>>,
}

/// What a session was used for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageView {
    /// How often it was used.
    transactions: u64,
    /// What all uses cost together.
    total_amount: Amount,
    /// When it was last used; null when it never was.
    last_at: Option<Timestamp>,
}

/// A use of a session.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents the fields that `asked` reads")]
pub(super) struct UsageBody {
    /// What is done; 1 to 128 characters.
    operation: String,
    /// What it costs; required by a session with a limit on amounts.
    amount: Option<Amount>,
    /// Whom or what it is done to, 1 to 256 characters; required by a session with a list of destinations.
    destination: Option<String>,
}

/// A use that was recorded.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecordedUsage {
    /// The usage of the session, this use included.
    usage: UsageView,
}

impl From<&Usage> for UsageView {
    fn from(usage: &Usage) -> Self {
        Self {
            transactions: usage.transactions,
            total_amount: usage.total_amount.clone(),
            last_at: usage.last_at,
        }
    }
}

/// The constraints of a session; null when nothing is limited.
pub(super) fn constraints_view(session: &Session) -> Option<ConstraintsView> {
    session.constraints().cloned().map(|constraints| ConstraintsView {
        max_amount_per_tx: constraints.max_amount_per_tx,
        max_total_amount: constraints.max_total_amount,
        max_transactions: constraints.max_transactions,
        allowed_operations: constraints.allowed_operations,
        allowed_destinations: constraints.allowed_destinations,
    })
}

/// The constraints in a request; none when they limit nothing.
pub(super) fn constraints(fields: &mut Fields) -> Option<Constraints> {
    let constraints = fields.members("constraints", limits::CONSTRAINTS_BYTES, |members| Constraints {
        max_amount_per_tx: members.amount("maxAmountPerTx"),
        max_total_amount: members.amount("maxTotalAmount"),
        max_transactions: members.whole("maxTransactions", limits::TRANSACTIONS),
        allowed_operations: names(members, "allowedOperations", limits::OPERATION),
        allowed_destinations: names(members, "allowedDestinations", limits::DESTINATION),
    });
    constraints.filter(|constraints| *constraints != Constraints::default())
}

fn names(members: &mut Fields, name: &str, length: RangeInclusive<usize>) -> Option<Vec<String>> {
    let names = members.texts(name, limits::ALLOWED)?;
    if let Some(fault) = names.iter().find_map(|text| fault_of_text(text, length.clone())) {
        members.fault(name, format!("each {fault}"));
    }
    Some(names)
}

fn asked(fields: &mut Fields) -> Option<Use> {
    let operation = fields.text("operation", limits::OPERATION);
    let operation = fields.required("operation", operation);
    let amount = fields.amount("amount");
    let destination = fields.text("destination", limits::DESTINATION);
    Some(Use { operation: operation?, amount, destination })
}

/// Use a session, if its constraints allow it.
///
/// To judge and to record are one step: of many uses at once exactly as many are granted as the budget has room for.
/// A use that is refused is not recorded.
#[utoipa::path(post, path = "/v1/sessions/{sessionId}/usage", tag = "sessions", operation_id = "recordUsage",
    params(("sessionId" = SessionId, Path, description = "The session.")),
    request_body = UsageBody,
    responses((status = 200, description = "It is recorded.", body = RecordedUsage)))]
pub(super) async fn record(call: Call) -> Result<Reply, Problem> {
    let mut fields = call.fields()?;
    let wanted = asked(&mut fields);
    fields.finish()?;
    let wanted = wanted.ok_or(Code::InvalidRequest)?;
    let context = call.context()?;
    let session_id = call.visible_session_id()?;
    shares::usage(&call, session_id)?;
    let generation = match &call.caller {
        Caller::Session(holder) => Some(holder.claims.generation),
        Caller::Key(_) | Caller::Anyone => None,
    };
    // A use that its constraints refuse shows all the same that the session is in use.
    note_use(&call.api, &call.caller).await;
    let asked = NewUse { session_id, generation, wanted };
    let Used { usage, position } = call.api.authority.record_usage(context, asked).await?;
    Ok(Reply::ok(&RecordedUsage { usage: (&usage).into() }).at(Some(position)))
}
