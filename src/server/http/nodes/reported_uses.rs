//! Uses of sessions and presented tokens that a follower has noted, on their way to the node that leads, which records
//! them.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use tenure_core::{
    Generation, SessionId, Timestamp,
    event::{PresentedToken, SessionSeen},
};
use tokio::time::timeout;

use super::{ClusterNodes, forward::refusal, signed_request::SignedRequest};
use crate::http::{api::ApiContext, reply::problem::ProblemCode};
use crate::node::history_files::CODE;

/// Where they are taken, by nodes from nodes.
pub(super) const PATH: &str = "/v1/cluster/noted";
/// How often they are handed over.
const EVERY: Duration = Duration::from_millis(500);
/// When what did not fit is handed over: of sessions that are used all the time the same ones would always come first.
const SOON: Duration = Duration::from_millis(10);
/// Maximum of each kind.
const MOST: usize = 1_000;
/// They take no more bytes than this.
const MOST_BYTES: usize = 512 * 1024;
const ANSWER: Duration = Duration::from_secs(5);

/// What was noted.
#[derive(Debug, Default, Serialize, Deserialize)]
struct ReportedUses {
    /// Sessions whose current token was presented, with its generation.
    presented: Vec<(SessionId, u32)>,
    /// Sessions that were used, with the moment.
    seen: Vec<(SessionId, i64)>,
}

impl ReportedUses {
    fn is_empty(&self) -> bool {
        self.presented.is_empty() && self.seen.is_empty()
    }
}

/// Takes what another node has noted, and answers once it is recorded as far as it must be.
pub(super) async fn take(api: &Arc<ApiContext>, nodes: &ClusterNodes, request: Request) -> Response {
    let taken = taken(api, nodes, request).await;
    taken.unwrap_or_else(|refused| refused)
}

async fn taken(api: &Arc<ApiContext>, nodes: &ClusterNodes, request: Request) -> Result<Response, Response> {
    let request = SignedRequest::read(api, nodes, request, (PATH, MOST_BYTES)).await?;
    let noted: ReportedUses = request.document()?;
    if !nodes.leads() {
        return Err(request.refused(ProblemCode::NotTheLeader));
    }
    let presented = noted.presented.iter().map(|(session_id, generation)| PresentedToken {
        session_id: *session_id,
        generation: Generation(*generation),
    });
    let seen = noted.seen.iter().map(|(session_id, at)| SessionSeen {
        session_id: *session_id,
        seen_at: Timestamp::from_millis(*at),
    });
    let recorded = api.authority.take_noted(presented.collect(), seen.collect()).await;
    let mut response = Response::new(Body::empty());
    *response.status_mut() =
        if recorded.is_ok() { StatusCode::NO_CONTENT } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(response)
}

/// Hands over what this node notes while it follows, for as long as it serves.
pub(crate) async fn hand_over(api: Arc<ApiContext>, nodes: Arc<ClusterNodes>) {
    let mut has_more = false;
    loop {
        tokio::time::sleep(if std::mem::take(&mut has_more) { SOON } else { EVERY }).await;
        if nodes.leads() {
            continue;
        }
        let (presented, seen) = api.authority.noted(MOST);
        let noted = ReportedUses {
            presented: presented.iter().map(|mark| (mark.session_id, mark.generation.0)).collect(),
            seen: seen.iter().map(|seen| (seen.session_id, seen.seen_at.as_millis())).collect(),
        };
        if !noted.is_empty() && nodes.tell(&noted).await {
            api.authority.are_recorded(&presented, &seen);
            has_more = presented.len().max(seen.len()) >= MOST;
        }
    }
}

impl ClusterNodes {
    /// Reports to the leader; whether it has recorded it.
    async fn tell(&self, noted: &ReportedUses) -> bool {
        let Some(leader) = self.view.borrow().sight.leader.clone() else { return false };
        let body = serde_json::to_string(noted).expect("our own documents are always JSON");
        let code = self.shared.mac().code(&[PATH, &body]);
        let url = format!("{}{PATH}", leader.address.trim_end_matches('/'));
        let client = self.shared.certificates().client();
        let asked = client.post(url).header(CODE, code).body(body).send();
        match timeout(ANSWER, asked).await {
            Ok(Ok(answer)) => {
                match refusal(answer.headers()) {
                    Some(why) => self.is_turned_away(&leader.address, &why),
                    None => self.is_let_in(),
                }
                answer.status().is_success()
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "what was noted here is not with the leader yet");
                false
            }
            Err(_) => false,
        }
    }
}
