//! Sign in with an API key, and sign out. A sign-in is a session like any other: recorded, listed, ended, explained.

use std::net::IpAddr;

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use tenure_core::{Actor, Timestamp, command::Revoker, commit::ActorKind, event::Role};
use tenure_protocol::token::API_KEY_PREFIX;

use crate::authority::{GrantedSession, RequestContext, RevocationRequest};
use crate::http::PeerAddress;

use crate::console::{
    channel::{SecureChannel, WHY_NOT},
    request::BrowserRequest,
    response::{self, PageFailure, PageFrame},
};

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'a> {
    frame: PageFrame,
    /// Why the last try failed.
    fault: Option<&'a str>,
    /// Why there is no form.
    why_not: Option<&'a str>,
    next: &'a str,
}

/// The form, shown instead of every page to readers who are not signed in.
pub(in crate::console) fn form(arrival: &BrowserRequest, fault: Option<&str>) -> Response {
    let asked = arrival.parts.uri.path_and_query().map_or("", |path| path.as_str());
    let next = if arrival.method() == "POST" { arrival.form.get("next").unwrap_or_default() } else { asked };
    let why_not = arrival.channel.is_none().then_some(WHY_NOT);
    let page = SignInPage {
        frame: PageFrame::of(None, "Sign in", ""),
        fault,
        why_not,
        next: response::own_path(next).unwrap_or("/console"),
    };
    let status = if why_not.is_some() { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
    let mut response = response::html(status, &page);
    if why_not.is_none() {
        response::challenge(response.headers_mut());
    }
    response
}

/// Takes an API key. Wrong ones count as wrong credentials do.
pub(in crate::console) async fn sign_in(arrival: &BrowserRequest) -> Response {
    let Some(channel) = &arrival.channel else { return form(arrival, None) };
    if !arrival.is_own_form() {
        return foreign_form().into_response(None);
    }
    let key = arrival.form.get("key").unwrap_or_default();
    let known = Some(key).filter(|key| key.starts_with(API_KEY_PREFIX));
    let Some(credential) = known.and_then(|key| arrival.authority().credential(key)) else {
        return wrong(arrival);
    };
    if credential.role == Role::Verifier {
        let why = "A verifier's key checks tokens and has nothing to see here. Sign in with the key of an owner, issuer, auditor or admin.";
        return PageFailure::of(StatusCode::FORBIDDEN, "FORBIDDEN", why).into_response(None);
    }
    let _in_flight = match arrival.console.api.admit_sign_in(&credential, address(arrival)) {
        Ok(flight) => flight,
        Err(refused) => return PageFailure::from(refused).into_response(None),
    };
    let actor = Actor { kind: ActorKind::Credential, id: Some(credential.id.to_string()) };
    let context = RequestContext { actor, correlation_id: Some(arrival.correlation_id()), idempotency: None };
    match arrival.authority().sign_in(context, &credential).await {
        Ok(granted) => {
            let next = arrival.form.get("next").and_then(response::own_path).unwrap_or("/console");
            let mut response = response::redirect(next);
            let cookie = cookie(channel, &granted, arrival.authority().now());
            response.headers_mut().append(header::SET_COOKIE, cookie);
            response
        }
        Err(failure) => {
            tracing::warn!(%failure, "a sign-in to the console could not be recorded");
            let why = "The sign-in could not be recorded. Try again in a moment.";
            PageFailure::of(StatusCode::SERVICE_UNAVAILABLE, "STORAGE_UNAVAILABLE", why).into_response(None)
        }
    }
}

fn foreign_form() -> PageFailure {
    let why = "This form was not sent by a page of this console. Open the console and sign in there.";
    PageFailure::of(StatusCode::FORBIDDEN, "FORBIDDEN", why)
}

fn address(arrival: &BrowserRequest) -> Option<IpAddr> {
    let peer = arrival.parts.extensions.get::<PeerAddress>();
    arrival.console.api.address_of(&arrival.parts.headers, peer)
}

fn wrong(arrival: &BrowserRequest) -> Response {
    let refused = arrival.console.api.count_wrong(address(arrival));
    if let Some(seconds) = refused.retry_after {
        let why = format!("Too many wrong keys came from your address. Try again in {seconds} s.");
        return PageFailure { detail: why, ..refused.into() }.into_response(None);
    }
    form(arrival, Some("No such API key, or one that has ended. Keys begin with tnr_key_."))
}

/// The cookie of a sign-in, until its period ends.
pub(in crate::console) fn cookie(
    channel: &SecureChannel,
    granted: &GrantedSession,
    now: Timestamp,
) -> HeaderValue {
    let (name, attributes) = (channel.cookie_name(), channel.cookie_attributes());
    let age = granted.session.expires_at().seconds_since(now);
    let text = format!("{name}={}; Max-Age={age}; {attributes}", granted.token.expose());
    let mut value = HeaderValue::try_from(text).expect("a token is made of visible characters");
    value.set_sensitive(true);
    value
}

/// Ends the sign-in and takes its cookie back.
pub(in crate::console) async fn sign_out(arrival: &BrowserRequest) -> Response {
    let Some(channel) = &arrival.channel else { return form(arrival, None) };
    let Some((holder, _)) = arrival.holder() else { return response::redirect("/console") };
    let mark = arrival.authority().form_mark(holder.session.id).to_string();
    if !arrival.is_own_form() || arrival.form.get("mark") != Some(&mark) {
        return foreign_form().into_response(None);
    }
    let actor = Actor { kind: ActorKind::Session, id: Some(holder.session.id.to_string()) };
    let context = RequestContext { actor, correlation_id: Some(arrival.correlation_id()), idempotency: None };
    let asked = RevocationRequest {
        session_id: holder.session.id,
        by: Revoker::Own(holder.claims.generation),
        reject_renewal: None,
        reason: None,
    };
    if let Err(failure) = arrival.authority().revoke(context, asked).await {
        tracing::warn!(%failure, "a sign-in to the console could not be ended");
        let why = "The sign-in could not be ended. Try again in a moment.";
        return PageFailure::of(StatusCode::SERVICE_UNAVAILABLE, "STORAGE_UNAVAILABLE", why)
            .into_response(None);
    }
    let mut response = response::redirect("/console");
    let cleared = format!("{}=; Max-Age=0; {}", channel.cookie_name(), channel.cookie_attributes());
    if let Ok(cookie) = HeaderValue::try_from(cleared) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
