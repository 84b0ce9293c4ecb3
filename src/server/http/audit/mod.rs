//! `/v1/audit`: what an auditor needs in order not to trust the server.

pub(super) mod export;

use std::{fmt::Write, sync::Arc};

use crate::gate::CancelCheck;
use tenure_audit::{
    SignedHead,
    live_check::{CheckFindings, StateDifference},
    transparency::{merkle_index::ProofFailure, proof::NodeHash},
};
use tenure_core::{EpochPosition, Position};
use tenure_log::waiting_for_disk;
use tenure_protocol::wire::{CheckView, ConsistencyView, DifferenceView, HeadView, ProofView};

use super::{
    only_leader::ask_the_leader,
    reply::{
        HttpReply,
        problem::{Problem, ProblemCode},
    },
    request::{as_of::AsOfQuery, call::ApiCall, fields::RequestFields},
};

fn difference_view(StateDifference { subject, position, replayed, live }: StateDifference) -> DifferenceView {
    DifferenceView { subject_id: subject, position: position.0, replayed, live }
}

/// Compare the live state with the log, replayed now from position 1.
#[utoipa::path(get, path = "/v1/audit/check", tag = "audit", operation_id = "checkLiveState",
    responses((status = 200, description = "What was found. It takes as long as reading the log takes.",
        body = CheckView)))]
pub(super) async fn check(call: ApiCall) -> Result<HttpReply, Problem> {
    call.no_query()?;
    let evidence = Arc::clone(&call.api.evidence);
    let look = move |wanted: &CancelCheck<'_>| evidence.check.now_while(&|| wanted.is_wanted());
    let found = call.api.costly.whole(&call.caller, look).await?;
    let busy = || Problem::from(ProblemCode::Overloaded).saying("another check is running");
    let CheckFindings { position, subjects, sessions, differences } =
        found.ok_or_else(busy)?.map_err(|error| {
            tracing::error!(%error, "the live state could not be checked");
            Problem::unavailable(&error.to_string())
        })?;
    Ok(HttpReply::ok(&CheckView {
        position: position.0,
        subjects,
        sessions,
        agrees: differences.is_empty(),
        differences: differences.into_iter().map(difference_view).collect(),
    }))
}

/// The signed head of the whole log.
#[utoipa::path(get, path = "/v1/audit/head", tag = "audit", operation_id = "getHead",
    params(("minPosition" = Option<EpochPosition>, Query, description = "Wait until the answer reflects this position.")),
    responses((status = 200, description = "The newest head; signed now, if something was recorded since the last.",
        body = HeadView)))]
pub(super) async fn head(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let waiting = AsOfQuery::of_present(&mut query);
    query.finish()?;
    let head = newest(&call, waiting, None).await?;
    Ok(HttpReply::ok(&HeadView {
        size: head.size,
        root_hash: head.root.to_string(),
        signed_head: head.note().to_owned(),
        verifier_key: call.api.evidence.keeper.heads().verifier().to_string(),
        epoch: call.api.authority.live().system().system.epochs.current(),
    }))
}

/// The inclusion proof of an event under a signed head.
#[utoipa::path(get, path = "/v1/audit/proof", tag = "audit", operation_id = "proveInclusion",
    params(("position" = u64, Query, description = "The event."),
        ("size" = Option<u64>, Query, description = "The size of the head; by default the newest one's."),
        ("minPosition" = Option<EpochPosition>, Query, description = "Wait until the answer reflects this position.")),
    responses((status = 200, description = "An RFC 6962 inclusion proof.", body = ProofView)))]
pub(super) async fn proof(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let position = required(&mut query, "position", 1);
    let size = query.whole("size", 1..=u64::MAX);
    let waiting = AsOfQuery::of_present(&mut query);
    query.finish()?;
    let newest = newest(&call, waiting, size.or(Some(position))).await?.size;
    let size = within("size", size.unwrap_or(newest), newest, "the size of the newest head")?;
    let position = within("position", position, size, "the size of the tree")?;
    let (heads, log) = (call.api.evidence.keeper.heads(), call.api.authority.log());
    let (leaf, hashes, root) = waiting_for_disk(|| {
        let (leaf, hashes) = heads.nodes().inclusion(log, Position(position), size)?;
        Ok::<_, ProofFailure>((leaf, hashes, heads.nodes().root(log, size)?))
    })?;
    let (leaf_hash, root_hash) = (hex(&leaf), root.to_string());
    Ok(HttpReply::ok(&ProofView { position, size, leaf_hash, root_hash, hashes: all_hex(&hashes) }))
}

/// The consistency proof between two heads.
#[utoipa::path(get, path = "/v1/audit/consistency", tag = "audit", operation_id = "proveConsistency",
    params(("from" = u64, Query, description = "The size of the earlier head."),
        ("to" = Option<u64>, Query, description = "The size of the later head; by default the newest one's."),
        ("minPosition" = Option<EpochPosition>, Query, description = "Wait until the answer reflects this position.")),
    responses((status = 200, description = "An RFC 6962 consistency proof.", body = ConsistencyView)))]
pub(super) async fn consistency(call: ApiCall) -> Result<HttpReply, Problem> {
    let mut query = call.query()?;
    let from = required(&mut query, "from", 0);
    let to = query.whole("to", 0..=u64::MAX);
    let waiting = AsOfQuery::of_present(&mut query);
    query.finish()?;
    let newest = newest(&call, waiting, to.or(Some(from))).await?.size;
    let to = within("to", to.unwrap_or(newest), newest, "the size of the newest head")?;
    let from = within("from", from, to, "the size of the later tree")?;
    let (heads, log) = (call.api.evidence.keeper.heads(), call.api.authority.log());
    let (hashes, from_root, to_root) = waiting_for_disk(|| {
        let nodes = heads.nodes();
        Ok::<_, ProofFailure>((
            nodes.consistency(log, from, to)?,
            nodes.root(log, from)?,
            nodes.root(log, to)?,
        ))
    })?;
    let (from_root, to_root) = (from_root.to_string(), to_root.to_string());
    Ok(HttpReply::ok(&ConsistencyView { from, to, from_root, to_root, hashes: all_hex(&hashes) }))
}

/// The newest head. One that cannot be kept is not shown: then the last that was. On a node that follows it covers this
/// many events, or all that are known here; else the leader is to answer, which signs one.
async fn newest(call: &ApiCall, waiting: AsOfQuery, covers: Option<u64>) -> Result<SignedHead, Problem> {
    waiting.resolve(&call.api, &call.caller).await?;
    let heads = call.api.evidence.keeper.heads();
    let head = waiting_for_disk(|| heads.sign()).unwrap_or_else(|_| heads.last());
    let covers = covers.unwrap_or_else(|| call.api.authority.live().position().0);
    if head.size < waiting.least().map_or(covers, |least| covers.max(least)) && call.api.follows() {
        ask_the_leader();
    }
    Ok(head)
}

fn required(query: &mut RequestFields, name: &str, least: u64) -> u64 {
    if !query.has(name) {
        query.fault(name, "must be given");
    }
    query.whole(name, least..=u64::MAX).unwrap_or(least)
}

fn within(name: &str, asked: u64, most: u64, what: &str) -> Result<u64, Problem> {
    if asked <= most {
        Ok(asked)
    } else {
        Err(Problem::invalid(name, format!("must be at most {most}, {what}")))
    }
}

fn all_hex(hashes: &[NodeHash]) -> Vec<String> {
    hashes.iter().map(hex).collect()
}

fn hex(hash: &NodeHash) -> String {
    hash.iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
        text
    })
}

impl From<ProofFailure> for Problem {
    fn from(error: ProofFailure) -> Self {
        match error {
            ProofFailure::Log(error) => error.into(),
            // What was asked was compared with the head before.
            ProofFailure::Beyond(error) => Self::from(ProblemCode::InvalidRequest).saying(error.to_string()),
        }
    }
}
