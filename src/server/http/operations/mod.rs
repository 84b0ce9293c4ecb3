//! What operators and their machines ask for: health, metrics, the clock, a backup, the OpenAPI document.

pub(super) mod backup;
pub(super) mod clock;
pub(super) mod metrics;

use serde::Serialize;
use utoipa::ToSchema;

use super::{
    api::ApiContext,
    nodes::{NodeView, PeerView},
    reply::{HttpReply, problem::Problem},
    request::call::ApiCall,
};

/// A good state.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StateView {
    /// `ok`.
    status: &'static str,
}

/// `ReadyView` as it is written: the members of a node of several are left out where there is only one.
#[derive(Debug, Serialize)]
struct WrittenReadiness {
    status: &'static str,
    alarms: Vec<String>,
    #[serde(flatten)]
    node: Option<NodeView>,
}

/// Whether it can serve and write, and what must be looked into all the same. Only a node of several has the members
/// from `role` on.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it documents what `Ready` writes")]
pub(super) struct ReadyView {
    /// `ready`.
    status: &'static str,
    /// Alarms that do not keep it from serving: above all that memory and log differ. Empty while all is well.
    alarms: Vec<String>,
    /// `leader` or `follower`.
    role: Option<&'static str>,
    /// Where the leader is reached; null while none is known.
    leader: Option<String>,
    /// The number of the leadership.
    term: Option<u64>,
    /// How many events this node is behind what the leader has announced.
    lag: Option<u64>,
    /// How old the state of this node may be, in milliseconds; null while it cannot tell.
    staleness_ms: Option<u64>,
    /// Which nodes there are, this one among them, as each has said some seconds ago at most.
    nodes: Option<Vec<PeerView>>,
}

/// Whether the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "operation", operation_id = "healthz",
    responses((status = 200, description = "It is.", body = StateView)))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(super) async fn healthz(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    Ok(HttpReply::ok(&StateView { status: "ok" }))
}

/// Whether it can serve and write; 503 with the reason otherwise.
#[utoipa::path(get, path = "/readyz", tag = "operation", operation_id = "readyz",
    responses((status = 200, description = "It can.", body = ReadyView)))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(super) async fn readyz(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    match unready(&call.api) {
        None => {
            let alarms = alarms(&call.api);
            let position = call.api.authority.live().position();
            let node = call.api.nodes().map(|nodes| nodes.told(position));
            Ok(HttpReply::ok(&WrittenReadiness { status: "ready", alarms, node }))
        }
        Some(why) => Err(unavailable(&call.api, &why)),
    }
}

/// Why it is not ready, with what else people must look into. Damage names its files, but no paths of the server.
fn unavailable(api: &ApiContext, why: &str) -> Problem {
    let damage = api.authority.log_damage().in_full();
    let mut problem = Problem::unavailable(why);
    problem.detail = damage.filter(|full| full.starts_with(why)).or(problem.detail);
    problem.more.insert("alarms".into(), alarms(api).into());
    problem
}

/// What people must look into, though it serves: for `/readyz`, and counted for the metrics.
fn alarms(api: &ApiContext) -> Vec<String> {
    let of_evidence = api.evidence.alarms().into_iter().map(str::to_owned);
    let of_nodes = api.nodes().map(|nodes| nodes.alarms()).unwrap_or_default();
    of_evidence.chain(api.authority.alarms()).chain(api.webhooks.alarms()).chain(of_nodes).collect()
}

fn unready(api: &ApiContext) -> Option<String> {
    let authority = &api.authority;
    let stopped = authority.health().stopped().or_else(|| authority.log().stopped());
    stopped
        .or_else(|| authority.health().full())
        .or_else(|| authority.clock_fault())
        .or_else(|| authority.disk_room().fault())
        .or_else(|| authority.log_damage().fault())
}

/// What a sweep did.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SweptView {
    /// How many sessions had ended by themselves; their ends are recorded now.
    expired: u64,
}

/// Record the sessions that have expired now. A sweep does it every second or so anyway.
#[utoipa::path(post, path = "/v1/sweep", tag = "operation", operation_id = "sweep",
    responses((status = 200, description = "It is done.", body = SweptView)))]
pub(super) async fn sweep(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    call.idempotency_key()?;
    let swept = call.api.authority.sweep().await?;
    Ok(HttpReply::ok(&SweptView { expired: swept.recorded }).at(swept.position))
}

/// Counters and gauges in the `OpenMetrics` text format.
#[utoipa::path(get, path = "/metrics", tag = "operation", operation_id = "metrics",
    responses((status = 200, description = "The metrics.", body = String,
        content_type = "application/openmetrics-text")))]
#[expect(clippy::unused_async, reason = "every handler has the same type")]
pub(super) async fn metrics(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    let text = call.api.metrics.text(&call.api, unready(&call.api).is_none(), alarms(&call.api).len());
    Ok(HttpReply::text("application/openmetrics-text; version=1.0.0; charset=utf-8", text))
}
