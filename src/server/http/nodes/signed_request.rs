//! What one node sends another: a text, with a code under the secret that all nodes share.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::Method,
    response::Response,
};
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::ClusterNodes;
use crate::http::{api::ApiContext, reply::problem::ProblemCode, request::serve::refuse};
use crate::node::history_files::CODE;

/// How long a node takes to send it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Who shows a code that no node of this cluster makes.
pub(super) const STRANGER: &str = "something asks here as a node of this cluster";

/// A request that a node has sent, and may.
pub(super) struct SignedRequest {
    api: Arc<ApiContext>,
    head: Request,
    body: Bytes,
}

impl SignedRequest {
    /// Reads a request to this path, of no more bytes than these.
    ///
    /// # Errors
    /// The answer to one that no node has sent, or one that must show a certificate and has none: without the secret,
    /// there is nothing to find here.
    pub(super) async fn read(
        api: &Arc<ApiContext>,
        nodes: &ClusterNodes,
        request: Request,
        (path, most_bytes): (&str, usize),
    ) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let head = Request::from_parts(parts, Body::empty());
        let Ok(Ok(body)) = timeout(TIMEOUT, Limited::new(body, most_bytes).collect()).await else {
            return Err(refuse(api, &head, ProblemCode::NotFound));
        };
        let read = Self { api: Arc::clone(api), head, body: body.to_bytes() };
        let code = read.head.headers().get(CODE).and_then(|code| code.to_str().ok()).unwrap_or_default();
        let is_right = nodes.shared.mac().is_right(&[path, read.text()], code);
        if !is_right && !code.is_empty() {
            nodes.note_refused(STRANGER, "it lacks the cluster's secret");
        }
        if *read.head.method() != Method::POST || !is_right {
            return Err(read.refused(ProblemCode::NotFound));
        }
        nodes.let_in(api, &read.head)?;
        Ok(read)
    }

    /// What it says.
    pub(super) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap_or_default()
    }

    /// The document that it says.
    ///
    /// # Errors
    /// The answer to one that says another thing.
    pub(super) fn document<T: DeserializeOwned>(&self) -> Result<T, Response> {
        serde_json::from_str(self.text()).map_err(|_| self.refused(ProblemCode::InvalidRequest))
    }

    /// The answer that refuses it.
    pub(super) fn refused(&self, code: ProblemCode) -> Response {
        refuse(&self.api, &self.head, code)
    }
}
