//! One request of the command, on its way to the upstream and back.

use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use reqwest::{Body, Client, Url};

use super::{
    admission::{ProxyRefusal, RequestGate},
    headers::end_to_end,
};
use tenure_client::{SessionHandle, SessionState};
use tenure_http_client::outbound;
use tenure_protocol::Secret;

/// A body up to this length is kept until it is answered, and can be sent once more; a longer one passes as it comes.
const KEPT: u64 = 64 * 1024;

/// What becomes of a request.
#[derive(Debug)]
pub(super) struct ProxyRelay {
    gate: RequestGate,
    client: Client,
    holder: Arc<SessionHandle>,
}

/// A request not passed on, or passed on and not answered.
type ErrorReply = (StatusCode, String);

impl ProxyRelay {
    pub(super) fn new(gate: RequestGate, client: Client, holder: Arc<SessionHandle>) -> Self {
        Self { gate, client, holder }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match self.relayed(request).await {
            Ok(response) => response,
            Err((status, words)) => plain(status, &words),
        }
    }

    async fn relayed(&self, request: Request<Incoming>) -> Result<Response<Body>, ErrorReply> {
        let target = self.gate.admit(&request).map_err(refused)?;
        self.refuse_after_the_end()?;
        let token = self.holder.token();
        let mut request = self.outgoing(request, target.clone()).await?;
        authorize(&mut request, &token)?;
        let again = request.try_clone();
        let mut response = self.client.execute(request).await.map_err(unreached)?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(again) = again
            && let Some(second) = self.with_a_newer_token(again, &token).await
        {
            response = second?;
        }
        Ok(self.returned(&target, response.into()))
    }

    /// Nothing is sent with a token known to be dead.
    fn refuse_after_the_end(&self) -> Result<(), ErrorReply> {
        match &*self.holder.state().borrow() {
            SessionState::Ended(end) => Err((
                StatusCode::SERVICE_UNAVAILABLE,
                format!("the session is over, and nothing is passed on: {end}"),
            )),
            SessionState::Live(_) => Ok(()),
        }
    }

    async fn outgoing(
        &self,
        request: Request<Incoming>,
        target: Url,
    ) -> Result<reqwest::Request, ErrorReply> {
        let (parts, body) = request.into_parts();
        let mut headers = end_to_end(parts.headers);
        // The length is the body's own; a second one would be a way to smuggle. `Expect` was answered here.
        for name in [header::HOST, header::CONTENT_LENGTH, header::EXPECT] {
            headers.remove(name);
        }
        if headers.get(header::REFERER).is_some_and(|referer| self.gate.is_told_by(referer)) {
            headers.remove(header::REFERER);
        }
        let mut outgoing = reqwest::Request::new(parts.method, target);
        *outgoing.headers_mut() = headers;
        *outgoing.body_mut() = body_of(body).await?;
        Ok(outgoing)
    }

    /// A renewal makes the last token void, also for a request in flight with it: such a one, refused, is sent once
    /// more. `None` if the token is still the session's.
    async fn with_a_newer_token(
        &self,
        mut again: reqwest::Request,
        refused: &Secret,
    ) -> Option<Result<reqwest::Response, ErrorReply>> {
        let token = self.holder.token_instead_of(refused).await?;
        if let Err(instead) = authorize(&mut again, &token) {
            return Some(Err(instead));
        }
        Some(self.client.execute(again).await.map_err(unreached))
    }

    /// An answer as the command gets it.
    fn returned(&self, from: &Url, response: Response<Body>) -> Response<Body> {
        let (mut parts, body) = response.into_parts();
        parts.headers = end_to_end(parts.headers);
        let own = parts.headers.get(header::LOCATION).and_then(|location| self.gate.location(from, location));
        if let Some(own) = own {
            parts.headers.insert(header::LOCATION, own);
        }
        Response::from_parts(parts, body)
    }
}

async fn body_of(body: Incoming) -> Result<Option<Body>, ErrorReply> {
    if body.is_end_stream() {
        return Ok(None);
    }
    if body.size_hint().upper().is_none_or(|length| length > KEPT) {
        return Ok(Some(Body::wrap(body)));
    }
    let whole = body.collect().await;
    let whole =
        whole.map_err(|error| (StatusCode::BAD_REQUEST, format!("the request was cut off: {error}")))?;
    Ok(Some(whole.to_bytes().into()))
}

fn authorize(request: &mut reqwest::Request, token: &Secret) -> Result<(), ErrorReply> {
    let unsendable = |_| (StatusCode::BAD_GATEWAY, "the session has no token that can be sent".to_owned());
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", token.expose())).map_err(unsendable)?;
    bearer.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    Ok(())
}

fn refused(refusal: ProxyRefusal) -> ErrorReply {
    (refusal.status(), refusal.words().to_owned())
}

#[allow(clippy::needless_pass_by_value, reason = "it is the end of the error's way")]
fn unreached(error: reqwest::Error) -> ErrorReply {
    (
        StatusCode::BAD_GATEWAY,
        format!("the upstream cannot be reached, or gave no answer: {}", outbound::reason(&error)),
    )
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("tenure run: {text}\n")));
    *response.status_mut() = status;
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}
