//! `POST /v1/cluster/handover`: the lead goes to another node while callers go on.

use std::time::Duration;

use serde::Serialize;
use tenure_protocol::clock::stopwatch;
use utoipa::ToSchema;

use super::ClusterNodes;
use crate::http::{
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
    },
    request::call::ApiCall,
};

/// Where the route is; while it is under way, it holds nothing up.
pub(super) const PATH: &str = "/v1/cluster/handover";
/// Another node has the lead by then, or there is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who leads after a handover.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HandedOver {
    /// Where the leader is reached.
    leader: Option<String>,
    /// The number of its leadership.
    term: u64,
    /// How many milliseconds it took.
    millis: u64,
}

/// Give the lead to another node. Requests that come meanwhile wait for it.
#[utoipa::path(post, path = "/v1/cluster/handover", tag = "operation", operation_id = "handover",
    responses((status = 200, description = "It is done.", body = HandedOver)))]
pub(crate) async fn give(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    call.idempotency_key()?;
    let alone = || Problem::from(ProblemCode::NotFound).saying("this authority has one node");
    let nodes = call.api.nodes().ok_or_else(alone)?;
    let before = nodes.view.borrow().term();
    let (begun, mut view) = (stopwatch(), nodes.view.clone());
    nodes.shared.give_away();
    let led = view.wait_for(|view| !view.leads() && view.sight.leader.is_some() && view.term() > before);
    if !tokio::time::timeout(PATIENCE, led).await.is_ok_and(|led| led.is_ok()) {
        return Err(Problem::from(ProblemCode::Stale).saying("no other node has taken the lead"));
    }
    Ok(HttpReply::ok(&told(nodes, &call, begun.elapsed())))
}

fn told(nodes: &ClusterNodes, call: &ApiCall, took: Duration) -> HandedOver {
    let told = nodes.told(call.api.authority.live().position());
    HandedOver { leader: told.leader, term: told.term, millis: super::in_millis(took) }
}
