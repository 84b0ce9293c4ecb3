//! The way to the authority: where it is, the key that it knows us by, and how long it may take.
//!
//! Only `https://`, and `http://` to this machine itself: anyone who can change an answer on its way can hide a
//! revocation or show a key of their own. No redirect is followed and no proxy is asked. Connections are kept.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use reqwest::{
    Method, Response, StatusCode,
    header::{AGE, ETAG},
};

use super::{
    key_set::VerificationKey,
    responses::{self, FeedPage},
};
use tenure_http_client::{
    connection::{
        ConnectionOptions, HttpConnection, HttpRequest, ProxyPolicy, RequestError, UnfitAddress,
        checked as address_of,
    },
    outbound::{self, NoRootCertificates, PlaintextPolicy, UnencryptedUrl},
    sse::SseStream,
};
use tenure_protocol::{
    EpochPosition, Position, Secret, Timestamp, epoch,
    token::API_KEY_PREFIX,
    wire::{IntrospectRequest, TokenStatus},
};
use tokio::time::timeout;

/// An authority that takes no connection by then is not there.
const CONNECT: Duration = Duration::from_secs(2);
/// An authority that has not answered by then gives no answer.
const WHOLE: Duration = Duration::from_secs(4);
/// A stream is reopened after this time, if nothing ended it before.
const LONGEST_STREAM: Duration = Duration::from_hours(1);
/// No answer is longer. The longest are pages of the feed.
const LONGEST_ANSWER: usize = 8 << 20;

const OPTIONS: ConnectionOptions = ConnectionOptions {
    connect: CONNECT,
    whole: Some(WHOLE),
    silence: None,
    longest_reply: LONGEST_ANSWER,
    user_agent: concat!("Tenure-verifier/", env!("CARGO_PKG_VERSION")),
    plaintext: PlaintextPolicy::Refused,
    proxy: ProxyPolicy::Direct,
};

/// The way to an authority. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct AuthorityConnection {
    http: HttpConnection,
    key: Secret,
    /// The epoch in which the authority named the last position that it gave out.
    epoch: Arc<AtomicU32>,
}

/// An address at which no authority may be asked, or an invalid key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitConnection {
    /// It is not an address.
    #[error("the authority's address must be a URL such as https://tenure.example.com")]
    NoAddress,
    /// It is one but for the scheme; with it, it would be this.
    #[error("the authority's address must be a URL: did you mean {0}?")]
    NoScheme(String),
    /// It has parts that mean nothing here.
    #[error("the authority's address must have no user, password, query or fragment")]
    TooMuch,
    /// A third party on the way could change the answers.
    #[error("the authority's address must begin with https://, or lead to this machine")]
    Unprotected,
    /// It cannot be written into a header.
    #[error("the API key must be one that begins with {API_KEY_PREFIX}")]
    NoKey,
    /// The address is one of `https://`, and the system trusts no certificate authority.
    #[error("{NoRootCertificates}")]
    NoRoots,
}

/// Why there is no answer. It quotes neither the address nor the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AuthorityCallError {
    /// No answer comes in time.
    #[error("it cannot be reached")]
    Unreachable,
    /// It does not want to, or cannot.
    #[error("it answers with status {status}")]
    Status { status: u16, retry_after: Option<u32> },
    /// Its history ends before the position from which it was to go on.
    #[error("its history ends before what was read of it")]
    BeyondEnd {
        /// The time there, if the answer has it.
        now: Option<Timestamp>,
    },
    /// What came back is not what was asked for.
    #[error("its answer is not understood")]
    NotUnderstood,
}

/// An answer about the keys.
pub(super) enum KeysAnswer {
    Changed {
        keys: Vec<VerificationKey>,
        etag: Option<String>,
    },
    /// They are those of the answer with this tag.
    Unchanged,
}

impl AuthorityConnection {
    /// To the authority at this address, with an API key of the role `verifier`.
    ///
    /// # Errors
    /// Says what an address or a key must be.
    pub fn to(address: &str, key: &str) -> Result<Self, UnfitConnection> {
        check_address(address)?;
        if !key.starts_with(API_KEY_PREFIX) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UnfitConnection::NoKey);
        }
        let http = HttpConnection::new(address, OPTIONS).map_err(|_| UnfitConnection::NoRoots)?;
        Ok(Self { http, key: Secret::new(key), epoch: Arc::new(AtomicU32::new(epoch::FIRST)) })
    }

    /// The keys that it shows. With the tag of an earlier answer it may say that they are the same.
    pub(super) async fn keys(&self, known: Option<&str>) -> Result<KeysAnswer, AuthorityCallError> {
        let mut request = HttpRequest::of(Method::GET, &["v1", "keys"]);
        if let Some(etag) = known {
            request = request.header("if-none-match", etag);
        }
        let response = self.send(&request, None).await?;
        if known.is_some() && response.status() == StatusCode::NOT_MODIFIED {
            return Ok(KeysAnswer::Unchanged);
        }
        let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let keys = responses::keys(&self.body(response).await?).ok_or(AuthorityCallError::NotUnderstood)?;
        Ok(KeysAnswer::Changed { keys, etag })
    }

    /// The revocations after this position, up to `limit`.
    pub(super) async fn feed(&self, after: Position, limit: u32) -> Result<FeedPage, AuthorityCallError> {
        let mut request = self.feed_after(after);
        request.query.push(("limit", limit.to_string()));
        let answer = self.send(&request, Some(&self.key)).await;
        if let Err(AuthorityCallError::BeyondEnd { .. }) = answer {
            self.epoch.store(epoch::FIRST, Ordering::Relaxed);
        }
        let page = self.body(answer?).await?;
        let page = FeedPage::read(&page, after).ok_or(AuthorityCallError::NotUnderstood)?;
        self.epoch.store(page.epoch, Ordering::Relaxed);
        Ok(page)
    }

    /// A position is named in the epoch of the history that was read last.
    fn feed_after(&self, position: Position) -> HttpRequest {
        let after = EpochPosition { epoch: self.epoch.load(Ordering::Relaxed), position };
        let mut request = HttpRequest::of(Method::GET, &["v1", "revocations", "feed"]);
        request.query.push(("after", after.to_string()));
        request
    }

    /// The revocations after this position as they happen; `None` if the authority has no stream of them.
    pub(super) async fn follow(&self, after: Position) -> Result<Option<SseStream>, AuthorityCallError> {
        let mut request = self.feed_after(after).header("accept", "text/event-stream");
        request.timeout = Some(LONGEST_STREAM);
        // It has no end: its reader watches that it began and goes on.
        let response = timeout(WHOLE, self.send(&request, Some(&self.key))).await;
        let response = response.map_err(|_| AuthorityCallError::Unreachable)??;
        Ok(SseStream::of(response, LONGEST_ANSWER))
    }

    /// What it says of a session token.
    pub(super) async fn introspect(&self, token: &str) -> Result<TokenStatus, AuthorityCallError> {
        let asked = IntrospectRequest::of(Secret::new(token));
        let mut request = HttpRequest::of(Method::POST, &["v1", "introspect"]);
        request.body = Some(serde_json::to_string(&asked).expect("a token is text"));
        let answer = self.body(self.send(&request, Some(&self.key)).await?).await?;
        serde_json::from_slice(&answer).map_err(|_| AuthorityCallError::NotUnderstood)
    }

    async fn send(
        &self,
        request: &HttpRequest,
        key: Option<&Secret>,
    ) -> Result<Response, AuthorityCallError> {
        let response = self.http.send(request, key).await.map_err(|error| unanswered(&error))?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        if status == StatusCode::CONFLICT {
            return Err(AuthorityCallError::BeyondEnd { now: time(&response) });
        }
        let retry_after = outbound::retry_after(response.headers());
        Err(AuthorityCallError::Status { status: status.as_u16(), retry_after })
    }

    async fn body(&self, response: Response) -> Result<Vec<u8>, AuthorityCallError> {
        self.http.body(response).await.map_err(|error| unanswered(&error))
    }
}

impl fmt::Debug for AuthorityConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection(to {})", self.http.url())
    }
}

const fn unanswered(error: &RequestError) -> AuthorityCallError {
    match error {
        RequestError::TooLong => AuthorityCallError::NotUnderstood,
        RequestError::Unsendable(_) | RequestError::Unencrypted(_) | RequestError::Unreachable(_) => {
            AuthorityCallError::Unreachable
        }
    }
}

/// The authority's time, if it made this answer now.
fn time(response: &Response) -> Option<Timestamp> {
    let headers = response.headers();
    let time = headers.get("x-tenure-time").filter(|_| !headers.contains_key(AGE))?;
    Timestamp::parse(time.to_str().ok()?)
}

fn check_address(address: &str) -> Result<(), UnfitConnection> {
    let url = address_of(address)?;
    OPTIONS.plaintext.permits(&url).map_err(|UnencryptedUrl| UnfitConnection::Unprotected)
}

impl From<UnfitAddress> for UnfitConnection {
    fn from(unfit: UnfitAddress) -> Self {
        match unfit {
            UnfitAddress::Malformed => Self::NoAddress,
            UnfitAddress::NoScheme(meant) => Self::NoScheme(meant),
            UnfitAddress::QueryOrFragment | UnfitAddress::Credentials => Self::TooMuch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_asked_where_nobody_can_change_its_answers() {
        for right in [
            "https://tenure.example.com",
            "https://example.com/tenure/",
            "http://127.0.0.1:7300",
            "http://[::1]:7300",
            "http://localhost:7300",
        ] {
            assert!(check_address(right).is_ok(), "{right}");
        }
        for (wrong, why) in [
            ("http://tenure.example.com", UnfitConnection::Unprotected),
            ("http://127.0.0.1.example.com", UnfitConnection::Unprotected),
            ("http://10.0.0.1", UnfitConnection::Unprotected),
            ("ftp://localhost", UnfitConnection::NoAddress),
            ("tenure.example.com", UnfitConnection::NoScheme("https://tenure.example.com".into())),
            ("localhost:7300", UnfitConnection::NoScheme("http://localhost:7300".into())),
            ("https://me@example.com", UnfitConnection::TooMuch),
            ("https://example.com/?x", UnfitConnection::TooMuch),
        ] {
            assert_eq!(AuthorityConnection::to(wrong, "tnr_key_x").err(), Some(why), "{wrong}");
        }
    }

    #[test]
    fn paths_follow_the_address() {
        let connection = AuthorityConnection::to("http://127.0.0.1:7300/tenure", "tnr_key_x").unwrap();
        let target = connection.http.target(&HttpRequest::of(Method::GET, &["v1", "keys"])).unwrap();
        assert_eq!(target.as_str(), "http://127.0.0.1:7300/tenure/v1/keys");
    }

    #[test]
    fn the_key_is_an_api_key_and_is_not_shown() {
        let address = "http://127.0.0.1:7300";
        for wrong in ["", "tnr_sess_x", "tnr_key_\n"] {
            assert_eq!(AuthorityConnection::to(address, wrong).err(), Some(UnfitConnection::NoKey));
        }
        let shown = format!("{:?}", AuthorityConnection::to(address, "tnr_key_secret").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
