//! Who asks: in this process, or over HTTP.

use std::{ops::Range, sync::Arc};

use super::{
    fixture::TTL,
    http::{BenchConnection, text_field},
    rounds::{BenchCaller, LapSetup},
};
use tenure_core::{Actor, commit::ActorKind};
use tenure_protocol::clock::TestClock;
use tenure_server::authority::{Authority, RequestContext};
use tenure_server::tokens::SessionToken;

/// Moves the clock of this process by half a period, as often as the sessions can be renewed.
pub(super) struct ClockSetup {
    pub(super) clock: Arc<TestClock>,
    pub(super) left: Arc<std::sync::atomic::AtomicU32>,
}

impl LapSetup for ClockSetup {
    async fn prepare(&self) -> Result<bool, String> {
        use std::sync::atomic::Ordering::Relaxed;
        if self.left.load(Relaxed) == 0 {
            return Ok(false);
        }
        self.left.fetch_sub(1, Relaxed);
        self.clock.advance(u64::from(TTL / 2)).map_err(|error| error.to_string())?;
        Ok(true)
    }
}

/// Renews its sessions in this process.
pub(super) struct RenewCaller {
    pub(super) authority: Arc<Authority>,
    pub(super) tokens: Vec<SessionToken>,
    /// When it may ask, if it is held to a rate.
    pub(super) pace: Option<tokio::time::Interval>,
}

impl BenchCaller for RenewCaller {
    fn len(&self) -> usize {
        self.tokens.len()
    }

    async fn turn(&mut self) {
        if let Some(pace) = &mut self.pace {
            pace.tick().await;
        }
    }

    async fn call(&mut self, index: usize) -> Result<(), String> {
        let holder = self.authority.holder(self.tokens[index].expose()).ok_or("the token is not known")?;
        let id = holder.session.id.to_string();
        let actor = Actor { kind: ActorKind::Session, id: Some(id.clone()) };
        // A request id is as long as a session's.
        let context = RequestContext { correlation_id: Some(id), ..RequestContext::of(actor) };
        let granted = self.authority.renew(context, &holder, None).await;
        self.tokens[index] = granted.map_err(|failure| format!("not renewed: {failure:?}"))?.token;
        Ok(())
    }
}

/// A session as its holder knows it.
pub(super) struct HeldSession {
    pub(super) id: String,
    pub(super) token: String,
}

/// Renews its sessions over HTTP.
pub(super) struct HttpRenewCaller {
    pub(super) connection: BenchConnection,
    pub(super) sessions: Vec<HeldSession>,
}

impl BenchCaller for HttpRenewCaller {
    fn len(&self) -> usize {
        self.sessions.len()
    }

    async fn call(&mut self, index: usize) -> Result<(), String> {
        let HeldSession { id, token } = &mut self.sessions[index];
        let body = self.connection.ask("PUT", &format!("/v1/sessions/{id}/renew"), token, None).await?;
        let new = text_field(body, "token").ok_or("the renewal's answer has no token")?;
        new.clone_into(token);
        Ok(())
    }
}

/// Moves the clock of the server by half a period.
pub(super) struct HttpClockSetup {
    pub(super) connection: tokio::sync::Mutex<BenchConnection>,
    pub(super) key: String,
    pub(super) left: Arc<std::sync::atomic::AtomicU32>,
}

impl LapSetup for HttpClockSetup {
    async fn prepare(&self) -> Result<bool, String> {
        use std::sync::atomic::Ordering::Relaxed;
        if self.left.load(Relaxed) == 0 {
            return Ok(false);
        }
        self.left.fetch_sub(1, Relaxed);
        let body = format!(r#"{{"advance":{}}}"#, TTL / 2);
        self.connection.lock().await.ask("PUT", "/v1/clock", &self.key, Some(&body)).await?;
        Ok(true)
    }
}

/// Introspects over HTTP.
pub(super) struct HttpIntrospectCaller {
    pub(super) connection: BenchConnection,
    pub(super) key: String,
    /// The bodies of all requests, of which each caller goes through a part.
    pub(super) bodies: Arc<Vec<String>>,
    pub(super) part: Range<usize>,
    pub(super) calls: usize,
}

impl BenchCaller for HttpIntrospectCaller {
    fn len(&self) -> usize {
        self.calls
    }

    async fn call(&mut self, index: usize) -> Result<(), String> {
        let body = &self.bodies[self.part.start + index % self.part.len()];
        let answer = self.connection.ask("POST", "/v1/introspect", &self.key, Some(body)).await?;
        // A batch begins with its list.
        let is_live =
            answer.starts_with(br#"{"active":true"#) || answer.starts_with(br#"{"results":[{"active":true"#);
        if is_live { Ok(()) } else { Err("a live token was judged dead".into()) }
    }
}
