//! `POST /v1/cluster/history`: a node that joins takes the files of the history from this one.

use std::sync::Arc;

use axum::{body::Body, extract::Request, http::HeaderValue, response::Response};
use tenure_log::waiting_for_disk;

use super::{ClusterNodes, signed_request::SignedRequest};
use crate::http::{api::ApiContext, reply::problem::ProblemCode};
use crate::node::history_files::{CODE, HistoryRequest, PATH, code_of};

/// A request takes no more bytes than this.
const MOST_BYTES: usize = 1_024;

/// Gives the list, or a part of a file, to a node.
pub(super) async fn give(api: &Arc<ApiContext>, nodes: &ClusterNodes, request: Request) -> Response {
    let given = given(api, nodes, request).await;
    given.unwrap_or_else(|refused| refused)
}

async fn given(api: &Arc<ApiContext>, nodes: &ClusterNodes, request: Request) -> Result<Response, Response> {
    let request = SignedRequest::read(api, nodes, request, (PATH, MOST_BYTES)).await?;
    let asked: HistoryRequest = request.document()?;
    let files = nodes.shared.history().filter(|_| !nodes.shared.differs());
    let files = files.ok_or_else(|| request.refused(ProblemCode::NotFound))?;
    let answer = waiting_for_disk(|| files.answer(&asked)).map_err(|error| {
        tracing::debug!(%error, file = asked.file(), "a file of the history is not given to another node");
        request.refused(ProblemCode::NotFound)
    })?;
    let code = code_of(nodes.shared.mac(), request.text(), &answer);
    let mut response = Response::new(Body::from(answer));
    let code = HeaderValue::try_from(code).expect("it is made of digits");
    response.headers_mut().insert(CODE, code);
    Ok(response)
}
