//! The page behind the link in a notice: an owner vetoes a renewal with one tap and no sign-in.
//!
//! To open it changes nothing, so that a program that previews links ends no session. The link is the credential: it
//! is kept out of log lines, and the page reveals nothing of its address to other sites.

use askama::Template;
use axum::{http::StatusCode, response::Response};
use tenure_core::{
    StreamId, Timestamp,
    event::EndTrigger,
    refusal::Refusal,
    session::{Session, SessionStatus},
    subject::Subject,
};

use crate::authority::CommandError as Refused;
use crate::tokens::VetoClaims;

use crate::console::{
    request::BrowserRequest,
    response::{self, PageFailure, PageFrame},
    words::{PageTime, length, plain, within},
};

/// What the link is good for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkStatus {
    /// The renewal can be vetoed.
    Open,
    /// It was vetoed, by this link or otherwise.
    Vetoed,
    /// The session ended in another way.
    Ended,
    /// It was renewed again.
    Overtaken,
    /// The window is over.
    Late,
}

#[derive(Template)]
#[template(path = "veto.html")]
struct VetoPage<'a> {
    frame: PageFrame,
    standing: LinkStatus,
    has_ended: bool,
    name: String,
    subject_id: String,
    session: &'a Session,
    session_id: String,
    device: Option<String>,
    scopes: String,
    renewed_at: Timestamp,
    expires_at: Timestamp,
    absolute_expires_at: Timestamp,
    until: Timestamp,
    ended_at: Option<Timestamp>,
    is_suspended: bool,
    action: String,
    now: Timestamp,
}

impl VetoPage<'_> {
    fn life(&self) -> String {
        length(self.absolute_expires_at.seconds_since(self.now))
    }

    fn left(&self) -> String {
        within(self.until, self.now)
    }
}

fn standing(session: &Session, claims: &VetoClaims, now: Timestamp) -> LinkStatus {
    if let Some(revocation) = session.revocation() {
        return if revocation.trigger == EndTrigger::RenewalRejected
            && session.generation() == claims.generation
        {
            LinkStatus::Vetoed
        } else {
            LinkStatus::Ended
        };
    }
    if session.status(now) == SessionStatus::Expired {
        LinkStatus::Ended
    } else if session.generation() != claims.generation {
        LinkStatus::Overtaken
    } else if session.veto_window_end().is_none_or(|end| now > end) {
        LinkStatus::Late
    } else {
        LinkStatus::Open
    }
}

/// The link is invalid, or no owner may use it any more. Both get the same answer.
fn void() -> Response {
    let why = "This link does not work. It may be cut short, or its key was replaced, or the agent has another owner now. Sign in to the console to see your agents.";
    PageFailure::of(StatusCode::NOT_FOUND, "NOT_FOUND", why).into_response(None)
}

async fn claims(arrival: &BrowserRequest, token: &str) -> Result<VetoClaims, Response> {
    if let Err(failure) = arrival.authority().recall_veto_link(token).await {
        tracing::warn!(%failure, "the session of a link that vetoes could not be read");
        return Err(try_again(
            "The page cannot be shown at present. Nothing has changed; try again in a moment.",
        ));
    }
    arrival.authority().open_veto_link(token).ok_or_else(void)
}

fn try_again(why: &str) -> Response {
    let failed = PageFailure::of(StatusCode::SERVICE_UNAVAILABLE, "STORAGE_UNAVAILABLE", why);
    PageFailure { retry_after: Some(1), ..failed }.into_response(None)
}

/// The page. It changes nothing.
pub(in crate::console) async fn show(arrival: &BrowserRequest, token: &str) -> Response {
    let claims = match claims(arrival, token).await {
        Ok(claims) => claims,
        Err(answer) => return answer,
    };
    let live = arrival.authority().live();
    let Some(session) = live.session(claims.session) else { return void() };
    let Some(subject) = live.subject(&session.subject) else { return void() };
    response::html(StatusCode::OK, &page_of(arrival, token, &claims, &session, &subject))
}

fn page_of<'a>(
    arrival: &BrowserRequest,
    token: &str,
    claims: &VetoClaims,
    session: &'a Session,
    subject: &Subject,
) -> VetoPage<'a> {
    let now = arrival.authority().now();
    let stream = StreamId::Subject(subject.id.clone());
    let open = |field, text| arrival.authority().open_text(&stream, field, text).map(plain);
    let name =
        subject.profile().and_then(|profile| profile.name.as_ref()).and_then(|name| open("name", name));
    let device = session.device_name().and_then(|name| open("device", name));
    let renewed_at = session.renewed_at().unwrap_or(session.created_at());
    let standing = standing(session, claims, now);
    VetoPage {
        frame: PageFrame::of(None, "Veto a renewal", "veto").at(now),
        standing,
        has_ended: matches!(standing, LinkStatus::Vetoed | LinkStatus::Ended),
        name: name.unwrap_or_else(|| subject.id.to_string()),
        subject_id: subject.id.to_string(),
        session_id: session.id.to_string(),
        device,
        scopes: session.scopes().join(" "),
        renewed_at,
        expires_at: session.expires_at(),
        absolute_expires_at: session.absolute_expires_at(),
        until: session.veto_window_end().unwrap_or(session.created_at()),
        ended_at: session.revocation().map(|revocation| revocation.at),
        is_suspended: subject.suspension_at(now).is_some(),
        action: format!("/console/veto/{token}"),
        session,
        now,
    }
}

/// The veto. `Let it be` is a button of the page alone, and asks nothing of the server.
pub(in crate::console) async fn act(arrival: &BrowserRequest, token: &str) -> Response {
    let claims = match claims(arrival, token).await {
        Ok(claims) => claims,
        Err(answer) => return answer,
    };
    if !is_own(arrival) {
        let why = "This was not sent by the page behind the link. Open the link and veto there. Nothing was changed.";
        return PageFailure::of(StatusCode::FORBIDDEN, "FORBIDDEN", why).into_response(None);
    }
    if arrival.form.get("do") == Some("let-it-be") {
        return response::redirect(&format!("/console/veto/{token}"));
    }
    let suspends = arrival.form.is_ticked("suspend");
    let vetoed = arrival.authority().veto_by_link(Some(arrival.correlation_id()), claims, suspends).await;
    match vetoed {
        // What happened instead, the page says.
        Ok(_)
        | Err(Refused::Refused {
            refusal: Refusal::SessionRevoked { .. } | Refusal::VetoLinkOver { .. },
            ..
        }) => response::redirect(&format!("/console/veto/{token}")),
        Err(Refused::Refused { refusal: Refusal::SessionNotFound | Refusal::SubjectNotFound, .. }) => void(),
        Err(failure) => {
            tracing::warn!(%failure, "a veto by a link could not be recorded");
            try_again("The veto could not be recorded. Nothing has changed; try again in a moment.")
        }
    }
}

/// The link itself is what a page of another site cannot know. Where it is read over plain HTTP, which the notice's
/// address decides, the origin is that of the page all the same.
fn is_own(arrival: &BrowserRequest) -> bool {
    let text = |name: &str| arrival.parts.headers.get(name).and_then(|value| value.to_str().ok());
    let is_same_site = text("sec-fetch-site").is_none_or(|site| site == "same-origin");
    let host = text("host").unwrap_or_default();
    let is_same_host =
        text("origin").and_then(|origin| origin.split_once("://")).is_some_and(|(_, own)| own == host);
    is_same_site && is_same_host
}
