//! Single calls, typed both ways: those about sessions, and what all calls share.

use std::{sync::Arc, time::Duration};

use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    backoff,
    error::Error,
    filter::SessionFilter,
    http::{AuthorityHttp, HttpRequest},
    time::{AuthorityTime, ServerTime},
};
use tenure_http_client::outbound::PlaintextPolicy;
use tenure_http_client::sse::SseStream;
use tenure_protocol::{
    Secret, SessionId, Timestamp,
    clock::stopwatch,
    entropy::{self, OsEntropy},
    wire::{
        CreatedSession, IntrospectRequest, NewSession, NewUse, Page, RecordedUsage, RenewedSession,
        RevokedSession, SessionView, TokenStatus, UsageView,
    },
};

/// How long a call is retried after a temporary failure, unless [`Client::with_retry_timeout`] says otherwise.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// Calls one authority with one credential: an API key, or a session's token. Clones share connections.
///
/// What fails for the moment is tried again until the retry timeout. A call that changes something carries
/// an idempotency key, the same on every try, so that it has one effect even if replies are lost or the authority
/// cannot say whether it was done (`OUTCOME_UNKNOWN`).
#[derive(Clone, Debug)]
pub struct Client {
    http: AuthorityHttp,
    credential: Option<Secret>,
    time: Arc<dyn AuthorityTime>,
    retry_timeout: Duration,
}

impl Client {
    /// For the authority at `url`: by `https`, or by `http` on this host. Opens no connection yet.
    ///
    /// Certificates are judged as the system does, or by `SSL_CERT_FILE`.
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Self::by(AuthorityHttp::new(url, PlaintextPolicy::Refused)?))
    }

    /// The same, by `http` to another host, too. An eavesdropper can read the keys and tokens.
    pub fn new_allowing_plaintext(url: &str) -> Result<Self, Error> {
        Ok(Self::by(AuthorityHttp::new(url, PlaintextPolicy::Allowed)?))
    }

    fn by(http: AuthorityHttp) -> Self {
        Self { http, credential: None, time: Arc::new(ServerTime::new()), retry_timeout: RETRY_TIMEOUT }
    }

    /// The same, with this API key or token.
    #[must_use]
    pub fn with_credential(self, credential: Secret) -> Self {
        Self { credential: Some(credential), ..self }
    }

    /// The same, by another clock.
    #[must_use]
    pub fn with_time(self, time: Arc<dyn AuthorityTime>) -> Self {
        Self { time, ..self }
    }

    /// The same, with this time for retries; zero is one try.
    #[must_use]
    pub fn with_retry_timeout(self, retry_timeout: Duration) -> Self {
        Self { retry_timeout, ..self }
    }

    /// The authority's address.
    pub fn url(&self) -> &str {
        self.http.url()
    }

    /// Whether it has a credential.
    pub(super) const fn has_credential(&self) -> bool {
        self.credential.is_some()
    }

    /// The time at the authority, by its last reply; by this machine's clock before the first.
    pub fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// What time it is there.
    pub(super) fn time(&self) -> &Arc<dyn AuthorityTime> {
        &self.time
    }

    /// Creates a session (admin, issuer).
    pub async fn create(&self, new: &NewSession) -> Result<CreatedSession, Error> {
        self.create_under(new, &fresh_key()).await
    }

    /// Creates a session under a key of the caller's, which outlives this process: the same key within the authority's
    /// `idempotency.window` gives the same session.
    pub async fn create_under(
        &self,
        new: &NewSession,
        idempotency_key: &str,
    ) -> Result<CreatedSession, Error> {
        let mut request = with_body(Method::POST, &["v1", "sessions"], new);
        request = request.idempotency_key(idempotency_key);
        self.call(&request).await
    }

    /// Reads a session; its own token may, too.
    pub async fn session(&self, id: SessionId) -> Result<SessionView, Error> {
        self.call(&HttpRequest::of(Method::GET, &["v1", "sessions", &id.to_string()])).await
    }

    /// Lists sessions, newest first.
    pub async fn list(&self, filter: &SessionFilter) -> Result<Page<SessionView>, Error> {
        self.list_of(&["v1", "sessions"], filter.query()).await
    }

    /// Judges a token (admin, issuer, verifier). That a token is not good is an answer, no error.
    pub async fn introspect(&self, token: &Secret) -> Result<TokenStatus, Error> {
        let asked = IntrospectRequest::of(token.clone());
        self.call(&with_body(Method::POST, &["v1", "introspect"], &asked)).await
    }

    /// Asks once for a renewal; the credential is the session's own token.
    ///
    /// When this fails for the moment, the renewal may have been granted: repeat it with the same token and the same
    /// key, and use no token in between. [`SessionHandle`](super::SessionHandle) and [`renew_file`](super::renew_file) do all that.
    pub async fn renew(&self, id: SessionId, idempotency_key: &str) -> Result<RenewedSession, Error> {
        let mut request = HttpRequest::of(Method::PUT, &["v1", "sessions", &id.to_string(), "renew"]);
        request = request.idempotency_key(idempotency_key);
        self.try_once(&request).await
    }

    /// Ends a session; its own token may, too. Ending it again gives the same answer.
    pub async fn revoke(&self, id: SessionId, reason: Option<&str>) -> Result<RevokedSession, Error> {
        let mut request = HttpRequest::of(Method::DELETE, &["v1", "sessions", &id.to_string()]);
        request.query = reason.map(|reason| ("reason", reason.to_owned())).into_iter().collect();
        self.change(request).await
    }

    /// Records a use of a session, if its constraints allow it: judged and recorded in one step.
    pub async fn record_use(&self, id: SessionId, used: &NewUse) -> Result<UsageView, Error> {
        self.record_use_under(id, used, &fresh_key()).await
    }

    /// Records a use under a key of the caller's: the same key within the authority's `idempotency.window` is the same
    /// use.
    pub async fn record_use_under(
        &self,
        id: SessionId,
        used: &NewUse,
        idempotency_key: &str,
    ) -> Result<UsageView, Error> {
        let request = with_body(Method::POST, &["v1", "sessions", &id.to_string(), "usage"], used);
        let recorded: RecordedUsage = self.call(&request.idempotency_key(idempotency_key)).await?;
        Ok(recorded.usage)
    }

    /// Opens a session's own stream; the credential is its own token.
    pub(super) async fn events(&self, id: SessionId) -> Result<SseStream, Error> {
        let request = HttpRequest::of(Method::GET, &["v1", "sessions", &id.to_string(), "events"]);
        self.http.follow(request, self.credential.as_ref(), &*self.time).await
    }

    /// Asks for something that changes what is recorded, under a key of its own.
    pub(super) async fn change<T: DeserializeOwned>(&self, request: HttpRequest) -> Result<T, Error> {
        self.call(&request.idempotency_key(&fresh_key())).await
    }

    /// Asks for one page of a list.
    pub(super) async fn list_of<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: Vec<(&'static str, String)>,
    ) -> Result<Page<T>, Error> {
        self.call(&HttpRequest { query, ..HttpRequest::of(Method::GET, path) }).await
    }

    /// Asks until there is a final answer, or the retry timeout has passed.
    pub(super) async fn call<T: DeserializeOwned>(&self, request: &HttpRequest) -> Result<T, Error> {
        let begun = stopwatch();
        let mut failures = 0;
        loop {
            let error = match self.try_once(request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            failures += 1;
            let wait = backoff::wait(failures, error.retry_after());
            if !error.is_transient()
                || error.retry_at().is_some()
                || begun.elapsed() + wait > self.retry_timeout
            {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }

    pub(super) async fn try_once<T: DeserializeOwned>(&self, request: &HttpRequest) -> Result<T, Error> {
        self.http.ask(request, self.credential.as_ref(), &*self.time).await
    }
}

pub(super) fn with_body(method: Method, path: &[&str], body: &impl Serialize) -> HttpRequest {
    let body = serde_json::to_string(body).expect("texts, numbers and JSON are JSON");
    HttpRequest { body: Some(body), ..HttpRequest::of(method, path) }
}

/// 32 random hexadecimal digits.
pub(super) fn fresh_key() -> String {
    format!("{:032x}", u128::from_be_bytes(entropy::bytes(&OsEntropy)))
}
