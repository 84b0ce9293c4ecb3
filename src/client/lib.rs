//! The client: what an agent and a service need of an authority elsewhere.
//!
//! A [`Client`] makes single calls, typed both ways. A [`SessionHandle`] holds one session: it keeps it renewed in the
//! background, keeps its token in a file that several processes may share, and says when and why the session ended.
//!
//! What is promised of a session in a file:
//!
//! - **No renewal is lost.** The idempotency key of a renewal is on disk before the request leaves, and the new token is
//!   on disk before it is used. The next process after a crash, at whatever moment, repeats the same renewal with the
//!   same key and the old token, and gets a working one: no token of the new generation can have been presented.
//! - **One renewal, however many processes.** Reading, renewing and writing is one step under a lock beside the file.
//!   A process that waited for it reads the file again, and takes the token in it.
//! - **An old token is no end.** A process whose token is refused as superseded looks into the file, and finishes
//!   the renewal that was begun there if its reply was lost, before it gives up.
//! - **Only the authority ends a session**, or the end of its period. Whatever else goes wrong is tried again, with a
//!   growing, jittered wait.
//!
//! `docs/client.md` says the same for operators, with the format of the file.
//!
//! # Time
//!
//! When to renew is the authority's word (`renewAt`, which it jitters; nothing is added here). To wait for it one needs
//! to know what time it is *there*: [`ServerTime`] takes the machine's clock, or the `x-tenure-time` of the reply when
//! they are more than two seconds apart, and counts on from there by a clock that cannot be set. Until the first
//! reply there is only the machine's clock. When it is ahead it does no harm: an early renewal is refused with the time
//! to come back. When it is behind by more than a fifth of the period, the session may end before it is renewed.
//!
//! # An agent
//!
//! ```no_run
//! use tenure_client::{Client, NewUse, SessionHandle};
//!
//! # async fn work() -> Result<(), Box<dyn std::error::Error>> {
//! // Where `tenure run` or `tenure session create --session-file` put the session.
//! let session = SessionHandle::open("agent-7.session")?;
//!
//! // The token of this moment, for a service that the agent calls.
//! let authorization = format!("Bearer {}", session.token().expose());
//! # drop(authorization);
//!
//! // A use of the session, judged and recorded in one step.
//! session.record_use(&NewUse::of("pay").amount("12.50".parse()?)).await?;
//!
//! // The owner may veto at any time.
//! let end = session.ended().await;
//! println!("the session is over: {end}");
//! # Ok(())
//! # }
//! ```
//!
//! # A service
//!
//! ```no_run
//! use tenure_client::{Client, TokenStatus, Secret};
//!
//! # async fn serve(shown: Secret) -> Result<(), Box<dyn std::error::Error>> {
//! let authority = Client::new("http://127.0.0.1:7300")?.with_credential(Secret::new("tnr_key_…"));
//! match authority.introspect(&shown).await? {
//!     TokenStatus::Live(session) => println!("{} until {}", session.subject_id, session.expires_at),
//!     TokenStatus::Dead(token) => println!("not good: {}", token.code),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # An administrator
//!
//! ```no_run
//! use tenure_client::{Client, NewCredential, NewProfile, Secret, SubjectFilter};
//!
//! # async fn administer(admin_key: Secret) -> Result<(), Box<dyn std::error::Error>> {
//! let authority = Client::new("http://127.0.0.1:7300")?.with_credential(admin_key);
//! let profile = NewProfile { owner_id: Some("alice".parse()?), ..NewProfile::default() };
//! authority.put_subject(&"agent-7".parse()?, &profile).await?;
//! let key = authority.issue_credential(&NewCredential::for_owner("alice".parse()?)).await?.key;
//! # drop(key);
//! for subject in authority.subjects(&SubjectFilter::default()).await?.items {
//!     println!("{}: {} active sessions", subject.subject_id, subject.active_sessions);
//! }
//! # Ok(())
//! # }
//! ```

pub mod backoff;
mod call;
mod credentials;
mod error;
mod events;
mod file;
mod file_lock;
mod filter;
mod grant;
mod http;
mod in_use_lock;
mod pending_renewal;
mod renewal;
mod session_handle;
mod state;
mod subjects;
mod time;
mod token_file;
mod webhooks;

pub use self::in_use_lock::InUse;
pub use self::{
    call::Client,
    error::{Error, FieldFault, HoldError, Problem},
    file::{FileError, LockedSessionFile, SessionFile},
    filter::{EventFilter, PageRequest, SessionFilter, SubjectFilter},
    grant::SessionGrant,
    renewal::renew_file,
    session_handle::{HandleOptions, SessionHandle},
    state::{EndReason, LiveSession, SessionState, end_in_words},
    time::{AuthorityTime, ServerTime},
    token_file::{LockedTokenFile, TokenFile, TokenRenewal, renew_token_file},
};
pub use tenure_protocol::{
    CredentialId, EpochPosition, OnLimit, OwnerId, Secret, SessionId, SubjectId, WebhookId,
    credential::Role,
    session::SessionStatus,
    subject::SubjectKind,
    webhook::{NoticeKind, WebhookFormat},
    wire::{
        CreatedSession, CreatedWebhook, CredentialView, DeadToken, DeletedWebhook, DeliveryView, ErasureView,
        IssuedCredential, LiveToken, NewConstraints, NewCredential, NewProfile, NewSession, NewUse,
        NewWebhook, Page, PartChange, ProfilePatch, RecordedEvent, RedeliveryView, RenewedSession,
        RevokedSession, SessionView, SubjectView, SuspendRequest, SuspensionView, TokenStatus, UsageView,
        WebhookTestView, WebhookView,
    },
};
