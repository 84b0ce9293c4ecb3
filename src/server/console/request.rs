//! A request of a browser: how it came, and who is signed in.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Request, StatusCode, header, request::Parts},
    response::Response,
};
use tenure_core::{Actor, Timestamp, commit::ActorKind, event::Role, system::Credential};
use tenure_protocol::entropy::session_id;

use crate::authority::{AuthenticatedSession, Authority, CommandError, RequestContext};
use crate::http::{ApiContext, PeerAddress, ask_the_leader};

use super::{
    Console,
    channel::SecureChannel,
    form::{FormFields, UnreadForm},
};
use crate::console::{
    pages::sign_in,
    response::{PageFailure, PageResult, SignedInVisitor},
    shared::MARK,
};

/// The pages in the navigation, and who is led to them.
const PAGES: [(&str, &str, &[Role]); 8] = [
    ("/console", "Overview", &[Role::Admin, Role::Auditor]),
    ("/console/agents", "Agents", &[Role::Admin, Role::Auditor, Role::Owner, Role::Issuer]),
    ("/console/log", "Log", &[Role::Admin, Role::Auditor, Role::Owner]),
    ("/console/audit", "Evidence", &[Role::Admin, Role::Auditor, Role::Owner]),
    ("/console/webhooks", "Webhooks", &[Role::Admin, Role::Auditor, Role::Owner]),
    ("/console/what-if", "What if", &[Role::Admin, Role::Auditor]),
    ("/console/keys", "Access", &[Role::Admin, Role::Auditor, Role::Owner, Role::Issuer]),
    ("/console/settings", "Settings", &[Role::Admin, Role::Auditor]),
];

/// Asks for a page again while its reader watches.
const LIVE: &str = "x-tenure-live";

/// A request that has arrived.
pub(super) struct BrowserRequest {
    pub(super) console: Arc<Console>,
    pub(super) parts: Parts,
    pub(super) query: FormFields,
    /// What a POST carries.
    pub(super) form: FormFields,
    /// `None` if others may listen.
    pub(super) channel: Option<SecureChannel>,
}

impl BrowserRequest {
    pub(super) async fn of(console: Arc<Console>, request: Request<Body>) -> Result<Self, PageFailure> {
        let (parts, body) = request.into_parts();
        let channel = SecureChannel::of(&console, &parts);
        let query = parts.uri.query().unwrap_or_default();
        ApiContext::check_query(query)?;
        let query = FormFields::parse(query.as_bytes());
        let form = match parts.method.as_str() {
            "POST" => FormFields::read(body).await.map_err(unread)?,
            "GET" | "HEAD" => FormFields::default(),
            _ => {
                return Err(PageFailure::of(
                    StatusCode::METHOD_NOT_ALLOWED,
                    "METHOD_NOT_ALLOWED",
                    "Pages take GET and POST.",
                ));
            }
        };
        Ok(Self { console, parts, query, form, channel })
    }

    pub(super) fn method(&self) -> &str {
        self.parts.method.as_str()
    }

    pub(super) fn authority(&self) -> &Authority {
        self.console.api.authority()
    }

    /// A form that a page of this console sent; a page of another site cannot.
    pub(super) fn is_own_form(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.is_own_form(&self.parts.headers))
    }

    /// The token in the cookie of a sign-in. Of two such cookies it is unclear which one is the browser's own.
    pub(super) fn token(&self) -> Option<&str> {
        let name = self.channel.as_ref()?.cookie_name();
        let lines = self.parts.headers.get_all(header::COOKIE).iter();
        let pairs = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
        let mut found =
            pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(known, _)| *known == name);
        let first = found.next().map(|(_, value)| value)?;
        found.next().is_none().then_some(first)
    }

    /// The sign-in behind the cookie, good now, and its API key.
    pub(super) fn holder(&self) -> Option<(AuthenticatedSession, Arc<Credential>)> {
        let holder = self.authority().console_holder(self.token()?)?;
        holder.judge(self.authority().now()).ok()?;
        let credential = self.authority().credential_of_sign_in(&holder.session.subject)?;
        Some((holder, credential))
    }

    /// The visit of a signed-in reader; for all others, the sign-in form.
    pub(super) async fn signed_in(self) -> Result<SignedInRequest, Box<Response>> {
        let Some((holder, credential)) = self.holder() else {
            if self.token().is_some() {
                // A node that follows may merely not know it yet.
                ask_the_leader();
            }
            return Err(Box::new(sign_in::form(&self, None)));
        };
        let mut visit = SignedInRequest { arrival: self, holder, credential, cookie: None };
        if visit.method() == "POST" {
            visit.check_form().map_err(|failure| Box::new(failure.into_response(Some(&visit))))?;
        }
        if !visit.is_live_update() {
            visit.use_sign_in().await;
        }
        Ok(visit)
    }

    /// A request's name in the record.
    pub(super) fn correlation_id(&self) -> String {
        session_id(self.authority().entropy(), self.authority().now()).to_string()
    }
}

fn unread(why: UnreadForm) -> PageFailure {
    match why {
        UnreadForm::TooLong => PageFailure::of(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PAYLOAD_TOO_LARGE",
            "The form is longer than it may be.",
        ),
        UnreadForm::NotArrived => PageFailure::of(
            StatusCode::BAD_REQUEST,
            "INVALID_REQUEST",
            "The form did not arrive within 30 seconds. Nothing was changed; send it again.",
        ),
    }
}

/// A request with a valid sign-in.
pub(super) struct SignedInRequest {
    arrival: BrowserRequest,
    holder: AuthenticatedSession,
    /// The API key of the sign-in, with whose rights everything happens.
    pub(super) credential: Arc<Credential>,
    /// The cookie to set, when the sign-in was refreshed.
    cookie: Option<HeaderValue>,
}

impl SignedInRequest {
    pub(super) fn method(&self) -> &str {
        self.arrival.method()
    }

    pub(super) fn console(&self) -> &Arc<Console> {
        &self.arrival.console
    }

    pub(super) fn authority(&self) -> &Authority {
        self.arrival.authority()
    }

    pub(super) const fn holder(&self) -> &AuthenticatedSession {
        &self.holder
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.arrival.parts.headers
    }

    pub(super) fn peer(&self) -> Option<&PeerAddress> {
        self.arrival.parts.extensions.get()
    }

    pub(super) const fn query(&self) -> &FormFields {
        &self.arrival.query
    }

    pub(super) const fn form(&self) -> &FormFields {
        &self.arrival.form
    }

    /// The path of the page.
    pub(super) fn path(&self) -> &str {
        self.arrival.parts.uri.path()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.authority().now()
    }

    pub(super) fn role(&self) -> Role {
        self.credential.role
    }

    pub(super) fn has_role(&self, roles: &[Role]) -> bool {
        roles.contains(&self.role())
    }

    /// The mark that every form of this sign-in carries.
    pub(super) fn mark(&self) -> String {
        self.authority().form_mark(self.holder.session.id).to_string()
    }

    /// The same as it stands on a page: one that others see too has a word in its place.
    pub(super) fn shown_mark(&self) -> String {
        if self.is_shared() { MARK.to_owned() } else { self.mark() }
    }

    /// The path of the page and what was asked of it.
    pub(super) fn address(&self) -> String {
        self.arrival.parts.uri.to_string()
    }

    /// Whether the page is made for all who see the same.
    pub(super) fn is_shared(&self) -> bool {
        self.method() == "GET" && self.headers().contains_key(LIVE)
    }

    pub(super) fn visitor(&self) -> SignedInVisitor {
        let own = |field| self.authority().open_text(&tenure_core::StreamId::System, "name", field);
        let name = self.credential.name.as_ref().and_then(own).map(super::words::plain);
        let name = name.or_else(|| self.credential.owner_id.as_ref().map(ToString::to_string));
        let links = PAGES.iter().filter(|(_, _, roles)| self.has_role(roles));
        SignedInVisitor {
            name: name.unwrap_or_else(|| self.credential.id.to_string()),
            role: self.role().name(),
            mark: self.mark(),
            links: links.map(|(path, name, _)| (*path, *name)).collect(),
        }
    }

    fn check_form(&self) -> Result<(), PageFailure> {
        let is_marked = self.form().get("mark") == Some(&self.mark());
        if self.arrival.is_own_form() && is_marked {
            return Ok(());
        }
        let why = "This was not sent by a page of this console. Nothing was changed; go back, load the page again and repeat it.";
        Err(PageFailure::of(StatusCode::FORBIDDEN, "FORBIDDEN", why))
    }

    /// A page that keeps itself up to date does not use the sign-in: its reader may be away.
    fn is_live_update(&self) -> bool {
        self.path().ends_with("/stream")
            || self.path().ends_with("/log/by")
            || self.headers().contains_key(LIVE)
    }

    /// Notes that the sign-in was used, and begins its period again if due.
    async fn use_sign_in(&mut self) {
        let authority = Arc::clone(self.console().api.authority());
        authority.used(&self.holder.session);
        authority.keep_uses(&[self.holder.session.id]).await;
        let actor = Actor { kind: ActorKind::Session, id: Some(self.holder.session.id.to_string()) };
        let context =
            RequestContext { actor, correlation_id: Some(self.arrival.correlation_id()), idempotency: None };
        let is_due = self.holder.session.refresh_at().is_some_and(|due| authority.now() >= due);
        if !is_due {
            return;
        }
        match authority.refresh(context, &self.holder).await {
            Ok(Some(granted)) => {
                let channel = self.arrival.channel.as_ref();
                self.cookie = channel.map(|channel| sign_in::cookie(channel, &granted, authority.now()));
            }
            Err(CommandError::NotLeading) => ask_the_leader(),
            Ok(None) | Err(_) => {}
        }
    }

    /// The reply, with the cookie if there is a new one.
    pub(super) fn finish(self, outcome: PageResult) -> Response {
        let mut response = outcome.unwrap_or_else(|failure| failure.into_response(Some(&self)));
        if let Some(cookie) = self.cookie {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        response
    }
}
