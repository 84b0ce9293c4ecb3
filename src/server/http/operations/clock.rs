//! `/v1/clock`: the clock of a server that was started with `--test-clock`.

use std::sync::Arc;

use tenure_log::waiting_for_disk;
use tenure_protocol::{
    clock::{Clock, TestClock},
    wire::operation::{ClockChange, ClockView},
};

use crate::http::{
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
    },
    request::{body::RequestBody, call::ApiCall, fields::RequestFields},
};

impl RequestBody for ClockChange {
    fn read(fields: &mut RequestFields) -> Option<Self> {
        if fields.has("advance") == fields.has("to") {
            fields.fault("advance", "exactly one of advance and to must be given");
        }
        Some(Self { advance: fields.whole("advance", 0..=u64::MAX), to: fields.moment("to") })
    }
}

fn test_clock(call: &ApiCall) -> Result<&Arc<TestClock>, Problem> {
    let clock = call.api.test_clock.as_ref();
    clock.ok_or_else(|| Problem::from(ProblemCode::NotFound).saying("the server runs without --test-clock"))
}

/// Read the test clock. Only with `--test-clock`.
#[utoipa::path(get, path = "/v1/clock", tag = "operation", operation_id = "getClock",
    responses((status = 200, description = "The time.", body = ClockView)))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(crate) async fn show(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    Ok(HttpReply::ok(&ClockView { now: test_clock(&call)?.now() }))
}

/// Move the clock forward, and finish the work that is due then. Only with `--test-clock`.
#[utoipa::path(put, path = "/v1/clock", tag = "operation", operation_id = "setClock",
    request_body = ClockChange,
    responses((status = 200, description = "The time from now on.", body = ClockView)))]
pub(crate) async fn set(call: ApiCall) -> Result<HttpReply, Problem> {
    let ClockChange { advance, to } = call.read()?;
    let clock = test_clock(&call)?;
    let now = match (advance, to) {
        (Some(seconds), _) => clock.advance(seconds),
        (None, Some(to)) => clock.set(to),
        (None, None) => return Err(ProblemCode::InvalidRequest.into()),
    };
    let field = if advance.is_some() { "advance" } else { "to" };
    let now = now.map_err(|error| Problem::invalid(field, error.to_string()))?;
    do_due(&call).await;
    Ok(HttpReply::ok(&ClockView { now }))
}

/// The clock has moved, whatever becomes of this: a job that fails counts and reports its own failure.
async fn do_due(call: &ApiCall) {
    drop(call.api.authority.sweep().await);
    waiting_for_disk(|| {
        call.api.authority.remove_retired_keys();
        call.api.authority.save_key_uses();
    });
    call.api.webhooks.run_due().await;
    // Last: the head covers what the others have recorded.
    waiting_for_disk(|| call.api.evidence.keeper.run_due());
}
