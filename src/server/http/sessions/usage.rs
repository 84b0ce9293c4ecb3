//! `POST /v1/sessions/{id}/usage`, and the budgets of sessions as callers write and read them.

use std::ops::RangeInclusive;

use crate::authority::{NewUse, RecordedUse};
use tenure_core::{
    SessionId,
    budget::{Constraints, SessionUse, Usage},
    session::Session,
    text::fault_of_text,
};
use tenure_protocol::wire::{self, ConstraintsView, NewConstraints, RecordedUsage, UsageView};

use crate::http::{
    reply::{HttpReply, problem::Problem},
    request::{
        access::Caller, admission, body::RequestBody, call::ApiCall, fields::RequestFields, limits,
        serve::note_use,
    },
};

/// What a session was used for.
pub(crate) fn usage_view(usage: &Usage) -> UsageView {
    UsageView {
        transactions: usage.transactions,
        total_amount: usage.total_amount.clone(),
        last_at: usage.last_at,
    }
}

/// The constraints of a session; null when nothing is limited.
pub(crate) fn constraints_view(session: &Session) -> Option<ConstraintsView> {
    session.constraints().cloned().map(|constraints| ConstraintsView {
        max_amount_per_tx: constraints.max_amount_per_tx,
        max_total_amount: constraints.max_total_amount,
        max_transactions: constraints.max_transactions,
        allowed_operations: constraints.allowed_operations,
        allowed_destinations: constraints.allowed_destinations,
    })
}

/// The constraints in a request.
pub(super) fn constraints(fields: &mut RequestFields) -> Option<NewConstraints> {
    fields.members("constraints", limits::CONSTRAINTS_BYTES, |members| NewConstraints {
        max_amount_per_tx: members.amount("maxAmountPerTx"),
        max_total_amount: members.amount("maxTotalAmount"),
        max_transactions: members.whole("maxTransactions", limits::TRANSACTIONS),
        allowed_operations: names(members, "allowedOperations", limits::OPERATION),
        allowed_destinations: names(members, "allowedDestinations", limits::DESTINATION),
    })
}

/// What is recorded of them; `None` if they limit nothing.
pub(super) fn constraints_of(asked: NewConstraints) -> Option<Constraints> {
    let constraints = Constraints {
        max_amount_per_tx: asked.max_amount_per_tx,
        max_total_amount: asked.max_total_amount,
        max_transactions: asked.max_transactions,
        allowed_operations: asked.allowed_operations,
        allowed_destinations: asked.allowed_destinations,
    };
    Some(constraints).filter(|constraints| *constraints != Constraints::default())
}

fn names(members: &mut RequestFields, name: &str, length: RangeInclusive<usize>) -> Option<Vec<String>> {
    let names = members.texts(name, limits::ALLOWED)?;
    if let Some(fault) = names.iter().find_map(|text| fault_of_text(text, length.clone())) {
        members.fault(name, format!("each {fault}"));
    }
    Some(names)
}

impl RequestBody for wire::NewUse {
    fn read(fields: &mut RequestFields) -> Option<Self> {
        let operation = fields.text("operation", limits::OPERATION);
        let operation = fields.required("operation", operation);
        let amount = fields.amount("amount");
        let destination = fields.text("destination", limits::DESTINATION);
        Some(Self { operation: operation?, amount, destination })
    }
}

/// Use a session, if its constraints allow it.
///
/// To judge and to record are one step: of many uses at once exactly as many are granted as the budget has room for.
/// A refused use is not recorded.
#[utoipa::path(post, path = "/v1/sessions/{sessionId}/usage", tag = "sessions", operation_id = "recordUsage",
    params(("sessionId" = SessionId, Path, description = "The session.")),
    request_body = wire::NewUse,
    responses((status = 200, description = "It is recorded.", body = RecordedUsage)))]
pub(crate) async fn record(call: ApiCall) -> Result<HttpReply, Problem> {
    let wire::NewUse { operation, amount, destination } = call.read()?;
    let wanted = SessionUse { operation, amount, destination };
    let context = call.context()?;
    let session_id = call.visible_session_id()?;
    admission::usage(&call.api, call.is_exempt, session_id)?;
    let generation = match &call.caller {
        Caller::Session(holder) => Some(holder.claims.generation),
        Caller::Key(_) | Caller::Anyone => None,
    };
    // A use that its constraints refuse shows all the same that the session is in use.
    note_use(&call.api, &call.caller).await;
    let asked = NewUse { session_id, generation, wanted };
    let RecordedUse { usage, position } = call.api.authority.record_usage(context, asked).await?;
    Ok(HttpReply::ok(&RecordedUsage { usage: usage_view(&usage) }).at(Some(position)))
}
