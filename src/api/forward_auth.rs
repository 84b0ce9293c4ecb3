//! `/v1/forward-auth`: a reverse proxy asks, before each request that it passes on, whose request it is.
//!
//! The proxy proves itself by a key in `X-Tenure-Key` or by its address; `Authorization` and `Cookie` are the end
//! user's. The answer is for the proxy to pass on: whose session it is in headers, or 401 with a body that is always
//! one of three. This is the only route that reads a cookie, and the only one that refreshes a sliding session.

use std::{net::IpAddr, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header},
    response::Response,
};

use utoipa::openapi::path::Operation;

use crate::{
    authority::{Context, Failure, Granted, Holder, Inactive},
    domain::{
        Actor, Timestamp,
        event::Role,
        record::ActorKind,
        session::{Session, TokenFault},
    },
    tokens::SessionToken,
};

use super::{
    Api, Peer,
    call::{keep_uses, wrong_credential},
    problem::{Code, Problem},
    refusal_log::Refused,
    reply::{challenge, problem_response},
    request_id::RequestId,
};

/// Where it is; every path below is the same.
pub(super) const PATH: &str = "/v1/forward-auth";
/// The cookie of an end user.
const COOKIE: &str = "tenure_session";
/// The key of a proxy.
const KEY: &str = "x-tenure-key";
/// Who may ask.
pub(super) const ROLES: &[Role] = &[Role::Admin, Role::Verifier];

/// Judge the token of an end user, for a reverse proxy.
///
/// Any method, and any path below. The proxy proves itself by `X-Tenure-Key`, with the key of a verifier or admin, or
/// by an address in `forward_auth.trusted`. The token is the bearer of `Authorization` that begins `tnr_sess_`, or
/// else the cookie `tenure_session`. A sliding session is refreshed when half of its idle time has passed since the
/// last refresh; the reply then sets the cookie anew, and tells a bearer its token, sealed with the key of today.
#[utoipa::path(get, path = "/v1/forward-auth", tag = "forward-auth", operation_id = "forwardAuth",
    params(("X-Tenure-Key" = Option<String>, Header, description = "The proxy's API key."),
        ("tenure_session" = Option<String>, Cookie, description = "The end user's token.")),
    responses((status = 200, description = "The token is good; the body is empty.", headers(
            ("X-Tenure-Subject" = String, description = "Who holds the session."),
            ("X-Tenure-Session" = String, description = "The session."),
            ("X-Tenure-Scopes" = String, description = "What it may be used for, with blanks between; may be empty."),
            ("Set-Cookie" = Option<String>, description = "The cookie anew, when the session was refreshed."),
            ("X-Tenure-Token" = Option<String>, description = "Then also the token, if it came as a bearer."))),
        (status = 401, description = "It is not; the cookie is cleared if one was sent.")))]
#[expect(dead_code, reason = "it documents what `serve` does for every method")]
fn documented() {}

/// Its part of the OpenAPI document.
pub(super) fn operation() -> Operation {
    <__path_documented as utoipa::Path>::operation()
}

/// The answer to a proxy.
enum Verdict {
    /// The token is good, and how it was sealed anew if the session was refreshed.
    Yes(Holder, Option<(Granted, Timestamp)>),
    No(Inactive),
}

/// Serves a request with any method, on the path or below it. The body and the query are nobody's business.
pub(super) async fn serve(api: Arc<Api>, request: Request<Body>) -> Response {
    let request_id = RequestId::of(&api, request.headers());
    let headers = request.headers();
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let asking = match proxy(&api, headers, peer) {
        Ok(actor) => Context { actor, correlation_id: Some(request_id.recorded.clone()), idempotency: None },
        Err(problem) => {
            let code = problem.code.name();
            api.metrics.refused(code);
            api.refusals.note(Refused { address: peer, code, route: PATH, credential: None });
            return problem_response(&problem.timed(api.authority.now()), request_id.stamp(&api));
        }
    };
    let (bearer, cookie) = (bearer(headers), cookie(headers));
    let verdict = match bearer.or(cookie) {
        Some(token) => judge(&api, token, asking).await,
        None => Verdict::No(Inactive::Invalid),
    };
    let mut response = match verdict {
        Verdict::Yes(holder, refreshed) => {
            api.metrics.granted();
            yes(&holder.session, refreshed, bearer.is_some())
        }
        Verdict::No(inactive) => {
            api.metrics.refused(super::problem::code_of(inactive).name());
            no(inactive, bearer.is_some(), cookie.is_some())
        }
    };
    request_id.stamp(&api).complete(&mut response);
    response
}

/// Who asks. The address is that of the connection: what a header says of addresses, an end user may have said.
fn proxy(api: &Api, headers: &HeaderMap, peer: Option<IpAddr>) -> Result<Actor, Problem> {
    if let Some(key) = headers.get(KEY) {
        let known = key.to_str().ok().and_then(|key| api.authority.credential(key.trim()));
        match known {
            Some(known) if ROLES.contains(&known.role) => {
                return Ok(Actor { kind: ActorKind::Credential, id: Some(known.id.to_string()) });
            }
            None if !is_trusted(api, peer) => {
                let problem = wrong_credential(api, peer);
                return Err(if problem.code == Code::RateLimited { problem } else { unproven() });
            }
            Some(_) | None => {}
        }
    }
    if is_trusted(api, peer) { Ok(Actor::AUTHORITY) } else { Err(unproven()) }
}

fn is_trusted(api: &Api, peer: Option<IpAddr>) -> bool {
    peer.is_some_and(|peer| api.settings.forward_auth_trusted.contains(peer))
}

fn unproven() -> Problem {
    Problem::from(Code::Forbidden)
        .saying("a proxy must send X-Tenure-Key with a verifier's key, or be in forward_auth.trusted")
}

/// A bearer that is a session token of ours by its look; another one is the application's own matter.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && token.starts_with(SessionToken::PREFIX)).then_some(token)
}

/// The value of the end user's cookie, whatever it is; the first one if there are several, and empty if it is no text.
/// Other cookies may have any bytes.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let own = pairs.find_map(|pair| pair.trim_ascii().strip_prefix(COOKIE.as_bytes())?.strip_prefix(b"="))?;
    Some(str::from_utf8(own).unwrap_or_default())
}

async fn judge(api: &Api, token: &str, asking: Context) -> Verdict {
    let authority = &api.authority;
    let Some(mut holder) = authority.holder(token) else { return Verdict::No(Inactive::Invalid) };
    if let Err(inactive) = holder.judge(authority.now()) {
        return Verdict::No(inactive);
    }
    holder.session = authority.used(&holder.session);
    match refreshed(api, &holder, asking).await {
        Ok(refreshed) => {
            if refreshed.is_none() {
                keep_uses(api, &[holder.session.id]).await;
            }
            Verdict::Yes(holder, refreshed)
        }
        Err(inactive) => Verdict::No(inactive),
    }
}

/// Refreshes the session if that is due. One that was ended meanwhile is not good; one that cannot be refreshed at
/// present is, and the next request tries again.
async fn refreshed(
    api: &Api,
    holder: &Holder,
    asking: Context,
) -> Result<Option<(Granted, Timestamp)>, Inactive> {
    let authority = &api.authority;
    let is_enabled = authority.live().system().system.policy_in_force().sliding_enabled;
    let is_due = holder.session.refresh_at().is_some_and(|due| authority.now() >= due);
    if !is_enabled || !is_due {
        return Ok(None);
    }
    match authority.refresh(asking, holder).await {
        Ok(refreshed) => Ok(refreshed.map(|granted| (granted, authority.now()))),
        Err(Failure::Refused { .. }) => {
            let now = authority.holder_again(holder);
            now.judge(authority.now()).map(|()| None)
        }
        Err(Failure::Overloaded | Failure::StorageUnavailable { .. } | Failure::OutcomeUnknown) => Ok(None),
    }
}

/// Whoever sent the token as a bearer reads no cookies, and is told in a header how it was sealed anew.
fn yes(session: &Session, refreshed: Option<(Granted, Timestamp)>, is_bearer: bool) -> Response {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    let told = [
        ("x-tenure-subject", session.subject.to_string()),
        ("x-tenure-session", session.id.to_string()),
        ("x-tenure-scopes", session.scopes().join(" ")),
    ];
    for (name, value) in told {
        let value = HeaderValue::try_from(value).expect("ids and scopes are made of visible characters");
        headers.insert(HeaderName::from_static(name), value);
    }
    if let Some((granted, now)) = refreshed {
        let left = granted.session.expires_at.seconds_since(now);
        let token = granted.token.expose();
        headers.insert(header::SET_COOKIE, set_cookie(token, left));
        if is_bearer {
            headers.insert(HeaderName::from_static("x-tenure-token"), secret(token));
        }
        if let Some(position) = granted.position {
            headers.insert(HeaderName::from_static("x-tenure-position"), position.0.into());
        }
    }
    response
}

fn no(inactive: Inactive, has_bearer: bool, has_cookie: bool) -> Response {
    let body = match inactive {
        Inactive::Fault(TokenFault::Expired | TokenFault::Idle, _) => {
            r#"{"ok":false,"error":"session_expired","code":"SESSION_EXPIRED"}"#
        }
        Inactive::Fault(TokenFault::Revoked(_), _) => {
            r#"{"ok":false,"error":"session_revoked","code":"SESSION_REVOKED"}"#
        }
        Inactive::Invalid | Inactive::Fault(TokenFault::Superseded, _) => {
            r#"{"ok":false,"error":"invalid_token","code":"INVALID_TOKEN"}"#
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::WWW_AUTHENTICATE, challenge(has_bearer || has_cookie));
    if has_cookie {
        headers.insert(header::SET_COOKIE, set_cookie("", 0));
    }
    response
}

fn set_cookie(token: &str, seconds: u64) -> HeaderValue {
    secret(&format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite=Lax"))
}

fn secret(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).expect("tokens are made of visible characters");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn the_cookie_is_found_among_others_and_in_any_line() {
        for line in
            ["tenure_session=t", "a=b; tenure_session=t; c=d", "x;tenure_session=t", " tenure_session=t "]
        {
            assert_eq!(cookie(&headers(&[(header::COOKIE, line)])), Some("t"), "{line}");
        }
        let two = headers(&[(header::COOKIE, "a=b"), (header::COOKIE, "tenure_session=t")]);
        assert_eq!(cookie(&two), Some("t"));
        for line in ["tenure_sessions=t", "xtenure_session=t", "tenure_session", "TENURE_SESSION=t", ""] {
            assert_eq!(cookie(&headers(&[(header::COOKIE, line)])), None, "{line}");
        }
    }

    #[test]
    fn what_others_put_into_their_cookies_is_no_matter() {
        let of = |line: &[u8]| {
            let line = HeaderValue::from_bytes(line).unwrap();
            HeaderMap::from_iter([(header::COOKIE, line)])
        };
        for line in [
            &b"name=J\xf6rg; tenure_session=t"[..],
            b"tenure_session=t; \xff",
            "é=ü;tenure_session=t".as_bytes(),
        ] {
            assert_eq!(cookie(&of(line)), Some("t"), "{line:?}");
        }
        // One of ours that is no text was sent all the same, and is to be cleared.
        assert_eq!(cookie(&of(b"tenure_session=\xf6")), Some(""));
    }

    #[test]
    fn only_a_bearer_of_ours_is_a_token_here() {
        for line in ["Bearer tnr_sess_x", "bearer tnr_sess_x", "BEARER  tnr_sess_x"] {
            assert_eq!(bearer(&headers(&[(header::AUTHORIZATION, line)])), Some("tnr_sess_x"), "{line}");
        }
        for line in ["Bearer eyJ", "Basic tnr_sess_x", "tnr_sess_x", "Bearer"] {
            assert_eq!(bearer(&headers(&[(header::AUTHORIZATION, line)])), None, "{line}");
        }
    }
}
