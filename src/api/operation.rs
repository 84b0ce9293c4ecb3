//! What operators and their machines ask: alive, ready, how it goes, what can be asked.

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Api,
    call::Call,
    openapi,
    problem::{Code, Problem},
    reply::Reply,
};

/// A good state.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StateView {
    /// `ok`, or `ready`.
    status: &'static str,
    /// What does not work although requests are served; absent when all does.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
}

/// Whether the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "operation", operation_id = "healthz",
    responses((status = 200, description = "It is.", body = StateView)))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(super) async fn healthz(call: Call) -> Result<Reply, Problem> {
    call.no_query()?;
    Ok(Reply::ok(&StateView { status: "ok", detail: None }))
}

/// Whether it can serve and write; 503 with the reason otherwise.
#[utoipa::path(get, path = "/readyz", tag = "operation", operation_id = "readyz",
    responses((status = 200, description = "It can.", body = StateView)))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(super) async fn readyz(call: Call) -> Result<Reply, Problem> {
    call.no_query()?;
    match unready(&call.api) {
        None => Ok(Reply::ok(&StateView { status: "ready", detail: degraded(&call.api) })),
        Some(why) => Err(Problem::from(Code::StorageUnavailable).saying(why)),
    }
}

fn degraded(api: &Api) -> Option<&'static str> {
    let fails = api.webhooks.health().store_fails;
    fails.then_some("what webhooks have told cannot be saved; the log of the process says why")
}

fn unready(api: &Api) -> Option<String> {
    let authority = &api.authority;
    authority.health().stopped().or_else(|| authority.log().stopped()).or_else(|| authority.clock_fault())
}

/// Counters and gauges in the `OpenMetrics` text format.
#[utoipa::path(get, path = "/metrics", tag = "operation", operation_id = "metrics",
    responses((status = 200, description = "The metrics.", body = String,
        content_type = "application/openmetrics-text")))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(super) async fn metrics(call: Call) -> Result<Reply, Problem> {
    call.no_query()?;
    let text = call.api.metrics.text(&call.api, unready(&call.api).is_none());
    Ok(Reply::text("application/openmetrics-text; version=1.0.0; charset=utf-8", text))
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "operation", operation_id = "openapi",
    responses((status = 200, description = "The OpenAPI 3.1 document.", body = Object)))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(super) async fn openapi(call: Call) -> Result<Reply, Problem> {
    call.no_query()?;
    Ok(Reply::text("application/json", openapi::document().to_string()))
}
