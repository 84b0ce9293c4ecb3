//! Uses of sessions and presented tokens that a follower has noted, on their way to the node that leads, which records
//! them; and when API keys were last used, which all nodes are to know.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::Request, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use tenure_core::{
    CredentialId, Generation, SessionId, Timestamp,
    event::{PresentedToken, SessionSeen},
};
use tenure_protocol::clock::stopwatch;
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
/// How often the last uses of API keys are exchanged where none has changed here.
const KEYS_EVERY: Duration = Duration::from_mins(1);
/// Maximum of keys; those used last come first.
const MOST_KEYS: usize = 4_000;

/// What was noted.
#[derive(Debug, Default, Serialize, Deserialize)]
struct ReportedUses {
    /// Sessions whose current token was presented, with its generation.
    presented: Vec<(SessionId, u32)>,
    /// Sessions that were used, with the moment.
    seen: Vec<(SessionId, i64)>,
    /// When API keys were last used, where that is to be exchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<KeyUse>>,
}

/// An API key, and the hour in which it was last used.
type KeyUse = (CredentialId, i64);

/// What the leader says to it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct KnownKeyUses {
    keys: Vec<KeyUse>,
}

/// The last uses of API keys, as this node knows them.
fn key_uses(api: &ApiContext) -> Vec<KeyUse> {
    let latest = api.authority.latest_uses_of_keys(MOST_KEYS);
    latest.into_iter().map(|(id, hour)| (id, hour.as_millis())).collect()
}

fn note_key_uses(api: &ApiContext, uses: &[KeyUse]) {
    let uses: Vec<_> = uses.iter().map(|(id, hour)| (*id, Timestamp::from_millis(*hour))).collect();
    api.authority.note_uses_of_keys(&uses);
}

impl ReportedUses {
    fn is_empty(&self) -> bool {
        self.presented.is_empty() && self.seen.is_empty() && self.keys.is_none()
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
    if let (Ok(()), Some(keys)) = (recorded, noted.keys) {
        note_key_uses(api, &keys);
        let known = serde_json::to_string(&KnownKeyUses { keys: key_uses(api) });
        response = Response::new(Body::from(known.expect("our own documents are always JSON")));
    }
    Ok(response)
}

/// Hands over what this node notes while it follows, for as long as it serves.
pub(crate) async fn hand_over(api: Arc<ApiContext>, nodes: Arc<ClusterNodes>) {
    let mut has_more = false;
    let (mut exchanged, mut since) = (None, stopwatch());
    loop {
        tokio::time::sleep(if std::mem::take(&mut has_more) { SOON } else { EVERY }).await;
        if nodes.leads() {
            continue;
        }
        let (presented, seen) = api.authority.noted(MOST);
        let changes = api.authority.changes_of_key_uses();
        let is_due = exchanged != Some(changes) || since.elapsed() >= KEYS_EVERY;
        let noted = ReportedUses {
            keys: is_due.then(|| key_uses(&api)),
            presented: presented.iter().map(|mark| (mark.session_id, mark.generation.0)).collect(),
            seen: seen.iter().map(|seen| (seen.session_id, seen.seen_at.as_millis())).collect(),
        };
        if noted.is_empty() {
            continue;
        }
        if let Some(known) = nodes.tell(&noted).await {
            if is_due {
                note_key_uses(&api, &known.keys);
                (exchanged, since) = (Some(changes), stopwatch());
            }
            api.authority.are_recorded(&presented, &seen);
            has_more = presented.len().max(seen.len()) >= MOST;
        }
    }
}

impl ClusterNodes {
    /// Reports to the leader, and says what that knows in turn, once it has recorded it.
    async fn tell(&self, noted: &ReportedUses) -> Option<KnownKeyUses> {
        let leader = self.view.borrow().sight.leader.clone()?;
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
                if !answer.status().is_success() {
                    return None;
                }
                let known = timeout(ANSWER, answer.bytes()).await.ok()?.ok()?;
                Some(serde_json::from_slice(&known).unwrap_or_default())
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "what was noted here is not with the leader yet");
                None
            }
            Err(_) => None,
        }
    }
}
