//! Requests that are answered apart from the table of routes: by forward-auth, the console, and another node.

use axum::{
    body::Body,
    http::{Request, Response},
};

use super::{AnsweredRequest, CurrentSpan, OpenSpan, TraceExporter, method_name, trace_parent::parent};

/// Such a request, with its span where spans are sent.
pub(crate) struct TracedRequest<'r> {
    method: &'static str,
    /// What stands for its path: no part of it that names anything.
    route: &'r str,
    span: Option<OpenSpan>,
}

impl<'r> TracedRequest<'r> {
    pub(crate) fn begin(traces: Option<&TraceExporter>, request: &Request<Body>, route: &'r str) -> Self {
        let method = method_name(request.method());
        let begin = |traces: &TraceExporter| {
            traces.request(parent(request.headers()).as_ref(), format!("{method} {route}"))
        };
        Self { method, route, span: traces.map(begin) }
    }

    /// For its parts.
    pub(crate) fn current(&self) -> Option<CurrentSpan> {
        self.span.as_ref()?.current()
    }

    pub(crate) fn end(self, response: &Response<Body>) {
        let Some(span) = self.span else { return };
        let status = response.status();
        let code = if status.is_client_error() || status.is_server_error() {
            status.canonical_reason().unwrap_or("refused")
        } else {
            "ok"
        };
        let (method, route) = (self.method, self.route);
        span.answered(AnsweredRequest {
            method,
            route,
            status: status.as_u16(),
            code,
            correlation_id: None,
            credential: None,
        });
    }
}
