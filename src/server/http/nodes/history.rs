//! `POST /v1/cluster/history`: a node that joins takes the files of the history from this one.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, Method},
    response::Response,
};
use http_body_util::{BodyExt, Limited};
use tenure_log::waiting_for_disk;
use tokio::time::timeout;

use super::ClusterNodes;
use crate::http::{api::ApiContext, reply::problem::ProblemCode, request::serve::refuse};
use crate::node::history_files::{CODE, HistoryRequest, PATH, code_of};

/// A request takes no more bytes than this.
const MOST_BYTES: usize = 1_024;
const PATIENCE: Duration = Duration::from_secs(5);

/// Gives the list, or a part of a file, to a node.
pub(super) async fn give(api: &Arc<ApiContext>, nodes: &ClusterNodes, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let refused = |code: ProblemCode| refuse(api, &Request::from_parts(parts.clone(), Body::empty()), code);
    let code = parts.headers.get(CODE).and_then(|code| code.to_str().ok()).unwrap_or_default();
    let Ok(Ok(body)) = timeout(PATIENCE, Limited::new(body, MOST_BYTES).collect()).await else {
        return refused(ProblemCode::NotFound);
    };
    let body = body.to_bytes();
    let text = str::from_utf8(&body).unwrap_or_default();
    if parts.method != Method::POST || !nodes.shared.mac().is_right(&[PATH, text], code) {
        return refused(ProblemCode::NotFound);
    }
    if let Err(refused) = nodes.let_in(api, &Request::from_parts(parts.clone(), Body::empty())) {
        return refused;
    }
    let Ok(asked) = serde_json::from_str::<HistoryRequest>(text) else {
        return refused(ProblemCode::InvalidRequest);
    };
    let Some(files) = nodes.shared.history().filter(|_| !nodes.shared.differs()) else {
        return refused(ProblemCode::NotFound);
    };
    let answer = match waiting_for_disk(|| files.answer(&asked)) {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(%error, file = asked.file(), "a file of the history is not given to another node");
            return refused(ProblemCode::NotFound);
        }
    };
    let code = code_of(nodes.shared.mac(), text, &answer);
    let mut response = Response::new(Body::from(answer));
    let code = HeaderValue::try_from(code).expect("it is made of digits");
    response.headers_mut().insert(CODE, code);
    response
}
