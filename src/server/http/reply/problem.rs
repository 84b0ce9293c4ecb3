//! Every error that a caller can see, in one table: code, status, whether the same request may succeed later,
//! words for the caller, words for the operator.
//!
//! The shape is RFC 9457 (`application/problem+json`). The table is printed by [`error_table`] and compared
//! with `docs/http-api.md` by a test.

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use crate::authority::{CommandError, InactiveToken};
use crate::http::only_leader::ask_the_leader;
use crate::projections::history::HistoryError;
use tenure_core::{
    CredentialId, Position, Seconds, SessionId, Timestamp,
    budget::ConstraintKind,
    event::EndTrigger,
    refusal::{FieldError, Refusal, listed},
    session::{SessionStatus, TokenFault},
};
use tenure_log::LogError;

/// One row of the table.
struct ProblemRow {
    name: &'static str,
    status: StatusCode,
    retryable: bool,
    title: &'static str,
    operator: &'static str,
}

macro_rules! codes {
    ($($variant:ident $name:literal $status:ident $retryable:literal $title:literal $operator:literal)*) => {
        /// What went wrong, as a program reads it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum ProblemCode {
            $(#[doc = $title] $variant,)*
        }

        impl ProblemCode {
            /// Every code, in the order of the table.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

            const fn row(self) -> ProblemRow {
                match self {
                    $(Self::$variant => ProblemRow {
                        name: $name,
                        status: StatusCode::$status,
                        retryable: $retryable,
                        title: $title,
                        operator: $operator,
                    },)*
                }
            }
        }
    };
}

codes! {
    InvalidRequest "INVALID_REQUEST" BAD_REQUEST false
        "The request is malformed"
        "The client's fault; `errors` names each field."
    InvalidToken "INVALID_TOKEN" UNAUTHORIZED false
        "The credential is missing or unknown"
        "Many from one address may be guesses; see RATE_LIMITED."
    SessionRevoked "SESSION_REVOKED" UNAUTHORIZED false
        "The session was ended"
        "`causedBy` is the event that ended it."
    SubjectSuspended "SUBJECT_SUSPENDED" UNAUTHORIZED false
        "The subject of the session is suspended"
        "Asked by the session's own token. `causedBy` is the suspension; `retryAt` its end, if it has one."
    TokenSuperseded "TOKEN_SUPERSEDED" UNAUTHORIZED false
        "A renewal replaced this token"
        "The holder kept an old token, or another process renewed: `causedBy` is the renewal."
    TokenExpired "TOKEN_EXPIRED" UNAUTHORIZED false
        "The session has expired"
        "`causedBy` is the event that fixed its period."
    SessionIdle "SESSION_IDLE" UNAUTHORIZED false
        "The session was idle for too long"
        "`causedBy` is the event by which it was last seen; `idleTimeout` was fixed at its creation."
    Forbidden "FORBIDDEN" FORBIDDEN false
        "The credential may not do this"
        "See the roles in docs/http-api.md."
    SubjectIsSuspended "SUBJECT_SUSPENDED" FORBIDDEN false
        "The subject is suspended"
        "Asked by an API key. `causedBy` is the suspension; `retryAt` its end, if it has one."
    SessionRenewalMismatch "SESSION_RENEWAL_MISMATCH" FORBIDDEN false
        "The token is not the session's current one"
        "Recorded once per session, generation and code as RenewalRejected, and once more if it contests the session. Retryable inside of `renewal.reuse_grace` where `onReuse` is `revoke`."
    RenewalLimitReached "RENEWAL_LIMIT_REACHED" FORBIDDEN false
        "All renewals of the session are spent"
        "The agent needs a new session; `maxRenewals` was fixed at its creation."
    SessionAbsoluteLifetimeExceeded "SESSION_ABSOLUTE_LIFETIME_EXCEEDED" FORBIDDEN false
        "The session has reached its absolute lifetime"
        "The agent needs a new session; `absoluteLifetime` was fixed at its creation."
    RenewalTooEarly "RENEWAL_TOO_EARLY" FORBIDDEN true
        "Less than half of the period has passed"
        "The holder should keep to `renewAt`; `retryAt` is the earliest moment."
    ConstraintViolated "CONSTRAINT_VIOLATED" FORBIDDEN false
        "The session's constraints do not allow this use"
        "`constraint` names the first constraint that does not hold; they were fixed at the session's creation. \
         Nothing is recorded of it."
    SessionLimitExceeded "SESSION_LIMIT_EXCEEDED" FORBIDDEN false
        "The subject or device is at its limit of active sessions"
        "`detail` says which of the two. `activeSessions` names the oldest; revoke one, or set `onLimit`, of a device \
         `onDeviceLimit`, to `evict_oldest`."
    NotFound "NOT_FOUND" NOT_FOUND false
        "There is no such thing"
        "An unknown path or credential id."
    SubjectNotFound "SUBJECT_NOT_FOUND" NOT_FOUND false
        "There is no such subject"
        "Also for the key of another owner. `subjects.auto_register` registers unknown subjects."
    SessionNotFound "SESSION_NOT_FOUND" NOT_FOUND false
        "There is no such session"
        "Also for the key of another owner."
    WebhookNotFound "WEBHOOK_NOT_FOUND" NOT_FOUND false
        "There is no such webhook"
        "Also for the key of another owner, and once it is deleted."
    WebhookLimitExceeded "WEBHOOK_LIMIT_EXCEEDED" CONFLICT false
        "The limit of webhooks is reached"
        "1,000 in all and 20 for one owner; delete unused ones."
    MethodNotAllowed "METHOD_NOT_ALLOWED" METHOD_NOT_ALLOWED false
        "The path has no such method"
        "The client's fault."
    SessionNotActive "SESSION_NOT_ACTIVE" CONFLICT false
        "The session has ended, and cannot be used"
        "Asked by an API key on the session's behalf; `sessionStatus` says how it ended, `causedBy` by which event."
    PositionBeyondEnd "POSITION_BEYOND_END" CONFLICT false
        "The history ends before this position"
        "`end` is the last position. The caller has followed another history, or this one before a restore: it must \
         begin again, at 0, by `since`, or, for a stream, with `after=latest`."
    BackupConflict "BACKUP_CONFLICT" CONFLICT false
        "The destination holds something that the backup must not replace"
        "`detail` says what: a whole backup (ask for an increment), one of another history, or other files."
    LastAdmin "LAST_ADMIN" CONFLICT false
        "The last admin key without an expiry cannot be revoked"
        "Issue another admin key without an end first."
    NotTheLeader "NOT_THE_LEADER" MISDIRECTED_REQUEST true
        "Another node leads and decides this"
        "`Location` names it, if it is known. Only with `cluster.forward = false`: a node forwards otherwise."
    PayloadTooLarge "PAYLOAD_TOO_LARGE" PAYLOAD_TOO_LARGE false
        "The body is too large"
        "The bound is `server.max_body`."
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" UNSUPPORTED_MEDIA_TYPE false
        "The body must be application/json"
        "The client's fault."
    IdempotencyKeyReused "IDEMPOTENCY_KEY_REUSED" UNPROCESSABLE_ENTITY false
        "The idempotency key was used for another request"
        "`causedBy` is the event of that request."
    RotationTooRecent "ROTATION_TOO_RECENT" TOO_MANY_REQUESTS true
        "The key was rotated less than 300 seconds ago"
        "`retryAt` is the earliest moment; a key that may be known to others is rotated with `retire: now` at any time."
    RateLimited "RATE_LIMITED" TOO_MANY_REQUESTS true
        "Too many such requests"
        "A caller is at its share (`shares.*`, or of costly reads) or rate (`usage.*`), one address sent more wrong credentials than `security.wrong_credentials_per_minute` (right ones always pass), a webhook is tested or redelivers too often, or a caller's keys fill `idempotency.max`; `detail` says which."
    Internal "INTERNAL" INTERNAL_SERVER_ERROR false
        "The authority failed"
        "A bug: the process log has details under this request id."
    PositionNotReached "POSITION_NOT_REACHED" SERVICE_UNAVAILABLE true
        "The position was not reached in time"
        "The client asked for a position that is not written yet."
    Overloaded "OVERLOADED" SERVICE_UNAVAILABLE true
        "Too many requests are waiting"
        "The disk is slower than the load, the queue of costly reads is full, or the capacity that callers share is used up (`tenure_taken`); `detail` says which. Nothing was done."
    StorageUnavailable "STORAGE_UNAVAILABLE" SERVICE_UNAVAILABLE true
        "The storage cannot be written or read at present"
        "`/readyz` says why: the disk is full or failing, a part of the history is damaged, or the clock is not plausible. Reads go on. Or `detail` says that a repeated request was done before, and its answer cannot be read back at present; the same `Idempotency-Key` gets it later."
    Stale "STALE" SERVICE_UNAVAILABLE true
        "This node cannot tell whether its state is the newest"
        "It has lost the lead, or could not reach the broker for `cluster.max_staleness`; another node answers, or this one once it leads again."
    OutcomeUnknown "OUTCOME_UNKNOWN" SERVICE_UNAVAILABLE true
        "Whether the request had its effect is not known"
        "Retrying with the same Idempotency-Key gives one effect."
}

impl ProblemCode {
    /// Its name in the API.
    pub(crate) const fn name(self) -> &'static str {
        self.row().name
    }
    /// Its HTTP status.
    pub(crate) const fn status(self) -> StatusCode {
        self.row().status
    }
    /// Whether the same request may succeed later.
    pub(crate) const fn retryable(self) -> bool {
        self.row().retryable
    }
    /// Its words for the caller.
    pub(crate) const fn title(self) -> &'static str {
        self.row().title
    }
    /// Its words for the operator.
    pub(crate) const fn operator(self) -> &'static str {
        self.row().operator
    }
}

/// The table as Markdown, for the documents.
pub fn error_table() -> String {
    let mut table =
        String::from("| code | status | retryable | the caller reads | the operator should know |\n");
    table.push_str("|---|---|---|---|---|\n");
    for code in ProblemCode::ALL {
        let retryable = if code.retryable() { "yes" } else { "no" };
        let (name, status) = (code.name(), code.status().as_u16());
        let row = format!("| `{name}` | {status} | {retryable} | {} | {} |\n", code.title(), code.operator());
        table.push_str(&row);
    }
    table
}

/// An error on its way to a caller.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) code: ProblemCode,
    pub(crate) detail: Option<String>,
    pub(crate) errors: Vec<FieldError>,
    pub(crate) retry_at: Option<Timestamp>,
    pub(crate) retry_after: Option<u32>,
    pub(crate) caused_by: Option<Position>,
    pub(crate) recorded: Option<Position>,
    pub(crate) allow: Option<String>,
    /// The API key that may not do this.
    pub(crate) credential: Option<CredentialId>,
    /// The request had no credential at all.
    pub(crate) lacks_credential: bool,
    pub(crate) more: Map<String, Value>,
    /// Trying again gives the same: the code says otherwise of most of its cases.
    pub(crate) is_lasting: bool,
}

impl From<ProblemCode> for Problem {
    fn from(code: ProblemCode) -> Self {
        Self {
            code,
            detail: None,
            errors: Vec::new(),
            retry_at: None,
            retry_after: (code.retryable() && code.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(1),
            caused_by: None,
            recorded: None,
            allow: None,
            credential: None,
            lacks_credential: false,
            more: Map::new(),
            is_lasting: false,
        }
    }
}

impl Problem {
    pub(crate) fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::invalid_fields(vec![FieldError::new(field, message)])
    }

    pub(crate) fn invalid_fields(errors: Vec<FieldError>) -> Self {
        let mut problem = Self::from(ProblemCode::InvalidRequest).saying(listed(&errors));
        problem.errors = errors;
        problem
    }

    pub(crate) fn saying(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// A reader goes on from a position that this history does not have: it has followed another one.
    pub(crate) fn beyond_end(end: Position) -> Self {
        let mut problem = Self::from(ProblemCode::PositionBeyondEnd).saying(format!(
            "the history ends at {end}; what was read so far is of another one: begin again"
        ));
        problem.more.insert("end".into(), end.0.into());
        problem
    }

    /// What was read so far is of an epoch, or of a part of one, that this history does not have.
    pub(crate) fn of_another_epoch(end: Position, given: u32, epoch: u32) -> Self {
        Self::beyond_end(end).saying(if given > epoch {
            format!(
                "this position is of epoch {given}, and the history here is in its epoch {epoch}: it is of another \
                 authority, or of a later state of this one; begin again"
            )
        } else {
            format!(
                "this position is of a history that was lost: the authority was restored, and its epoch is {epoch}. \
                 Positions of that epoch are written {epoch}:<position>; begin again"
            )
        })
    }

    /// These positions of the history are not as they were written, and will not be before an operator mends them.
    fn damaged(first: Position, last: Position) -> Self {
        let mut problem = Self::from(ProblemCode::StorageUnavailable).saying(format!(
            "positions {first} to {last} of the history are damaged; the log of the process names the file"
        ));
        (problem.is_lasting, problem.retry_after) = (true, None);
        problem
    }

    /// What is in these positions cannot be looked up, until their index was made again.
    fn not_indexed(first: Position, last: Position, index: &str) -> Self {
        Self::from(ProblemCode::StorageUnavailable).saying(format!(
            "positions {first} to {last} of the history cannot be looked up now: {index} is damaged or missing, and is \
             made again from the history, which is not damaged"
        ))
    }

    fn caused_by(code: ProblemCode, position: Position) -> Self {
        let mut problem = Self::from(code);
        problem.caused_by = Some(position);
        problem
    }

    /// Adds what ended the token's session; `None` if it ended by itself.
    fn ended_by(self, trigger: Option<EndTrigger>) -> Self {
        self.with("trigger", json!(trigger))
    }

    /// Adds a member to the document.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.into(), value.into());
        self
    }

    /// Says when the same request could succeed, if known.
    const fn possible_at(mut self, moment: Option<Timestamp>) -> Self {
        self.retry_at = moment;
        self
    }

    /// When the same request could succeed, where a wait is all that it needs: what the header `Retry-After` says,
    /// as a moment.
    pub(crate) fn timed(mut self, now: Timestamp) -> Self {
        let after = self.retry_after.map(|seconds| now.plus(Seconds(seconds)));
        self.retry_at = self.retry_at.or(after);
        self
    }

    /// Whether the same request may succeed later. A renewal by a token that was replaced a moment ago may: its holder
    /// may find the newer one, or repeat what another process of it began.
    fn is_retryable(&self) -> bool {
        let is_in_grace = self.code == ProblemCode::SessionRenewalMismatch && self.retry_at.is_some();
        (self.code.retryable() && !self.is_lasting) || is_in_grace
    }

    /// The body: the members of RFC 9457 and ours, named ones always present.
    pub(crate) fn body(&self, request_id: &str) -> Value {
        let code = self.code;
        let mut body = json!({
            "type": format!("urn:tenure:problem:{}", code.name()),
            "title": code.title(),
            "status": code.status().as_u16(),
            "detail": self.detail.as_deref().unwrap_or(code.title()),
            "code": code.name(),
            "retryable": self.is_retryable(),
            "requestId": request_id,
            "retryAt": self.retry_at,
            "causedBy": self.caused_by,
        });
        let members = body.as_object_mut().expect("it was written as an object");
        if code == ProblemCode::InvalidRequest {
            members.insert("errors".into(), json!(self.errors));
        }
        members.extend(self.more.clone());
        body
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        use ProblemCode as Code;
        let by = Self::caused_by;
        match refusal {
            Refusal::Invalid(errors) => Self::invalid_fields(errors),
            Refusal::SubjectNotFound => Code::SubjectNotFound.into(),
            Refusal::SessionNotFound => Code::SessionNotFound.into(),
            Refusal::CredentialNotFound => Code::NotFound.into(),
            Refusal::WebhookNotFound => Code::WebhookNotFound.into(),
            Refusal::WebhookLimitExceeded { caused_by, .. } => {
                by(Code::WebhookLimitExceeded, caused_by).saying(refusal.to_string())
            }
            Refusal::PolicyChangeForbidden { .. } => Self::from(Code::Forbidden).saying(refusal.to_string()),
            Refusal::SessionLimitExceeded { of_device, active_count, ref active, caused_by } => {
                by(Code::SessionLimitExceeded, caused_by)
                    .saying(limit_exceeded(&refusal, of_device))
                    .with("activeCount", active_count)
                    .with("activeSessions", created_at_of(active))
            }
            Refusal::SessionRevoked { caused_by, trigger } => {
                by(Code::SessionRevoked, caused_by).ended_by(Some(trigger))
            }
            Refusal::EndsForReuse => Self::from(Code::SessionRevoked).ended_by(Some(EndTrigger::TokenReuse)),
            Refusal::SubjectSuspended { caused_by, until, of_own_token } => {
                by(code_of_suspension(of_own_token), caused_by).possible_at(until)
            }
            // Of a link only its own page hears, and says it in its own words.
            Refusal::SuspensionHeld { caused_by, .. } | Refusal::VetoLinkOver { caused_by, .. } => {
                by(Code::Forbidden, caused_by).saying(refusal.to_string())
            }
            Refusal::TokenSuperseded { caused_by } => by(Code::TokenSuperseded, caused_by),
            Refusal::TokenExpired { caused_by } => by(Code::TokenExpired, caused_by).ended_by(None),
            Refusal::SessionIdle { caused_by } => by(Code::SessionIdle, caused_by).ended_by(None),
            Refusal::RenewalMismatch { retry_at, caused_by } => {
                by(Code::SessionRenewalMismatch, caused_by).possible_at(retry_at)
            }
            Refusal::RenewalLimitReached { caused_by } => by(Code::RenewalLimitReached, caused_by),
            Refusal::AbsoluteLifetimeExceeded { caused_by } => {
                by(Code::SessionAbsoluteLifetimeExceeded, caused_by)
            }
            Refusal::RenewalTooEarly { retry_at, caused_by } => {
                by(Code::RenewalTooEarly, caused_by).possible_at(Some(retry_at))
            }
            Refusal::SessionNotActive { status, caused_by } => by(Code::SessionNotActive, caused_by)
                .saying(inactive(status))
                .with("sessionStatus", json!(status)),
            Refusal::ConstraintViolated { constraint, caused_by } => by(Code::ConstraintViolated, caused_by)
                .saying(beyond(constraint))
                .with("constraint", constraint.name()),
            Refusal::IdempotencyKeyReused { caused_by } => by(Code::IdempotencyKeyReused, caused_by),
            Refusal::RotationTooRecent { retry_at, wait, caused_by } => {
                let problem = by(Code::RotationTooRecent, caused_by);
                Self { retry_after: Some(wait.0), ..problem.possible_at(Some(retry_at)) }
            }
            Refusal::LastAdmin { caused_by } => by(Code::LastAdmin, caused_by),
        }
    }
}

fn limit_exceeded(refusal: &Refusal, of_device: bool) -> String {
    let way_out = if of_device { "onDeviceLimit" } else { "onLimit" };
    format!("{refusal}; with {way_out} evict_oldest the oldest would have ended instead")
}

fn created_at_of(active: &[(SessionId, Timestamp)]) -> Vec<Value> {
    active.iter().map(|(id, at)| json!({ "sessionId": id, "createdAt": at })).collect()
}

const fn code_of_suspension(of_own_token: bool) -> ProblemCode {
    if of_own_token { ProblemCode::SubjectSuspended } else { ProblemCode::SubjectIsSuspended }
}

const fn inactive(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Revoked => "the session was revoked",
        SessionStatus::Active | SessionStatus::Expired => "the session has expired",
    }
}

/// What a use would have had to keep to.
const fn beyond(constraint: ConstraintKind) -> &'static str {
    match constraint {
        ConstraintKind::AllowedOperations => "the operation is none of the session's allowedOperations",
        ConstraintKind::AllowedDestinations => {
            "a destination must be given, and be one of the session's allowedDestinations"
        }
        ConstraintKind::MaxAmountPerTx => "an amount must be given, at most the session's maxAmountPerTx",
        ConstraintKind::MaxTransactions => "the session was used as often as its maxTransactions",
        ConstraintKind::MaxTotalAmount => {
            "an amount must be given, at most what is left of the session's maxTotalAmount"
        }
    }
}

impl From<CommandError> for Problem {
    fn from(failure: CommandError) -> Self {
        match failure {
            CommandError::Refused { refusal, recorded } => {
                let mut problem = Self::from(refusal);
                problem.recorded = recorded;
                problem
            }
            CommandError::Overloaded => ProblemCode::Overloaded.into(),
            CommandError::TooManyKeys { retry_after } => {
                let mut problem = Self::from(ProblemCode::RateLimited).saying(failure.to_string());
                problem.retry_after = Some(retry_after);
                problem
            }
            CommandError::StorageUnavailable { why } => Self::unavailable(&why),
            CommandError::NotLeading => {
                // A node that follows tried to record something.
                ask_the_leader();
                Self::from(ProblemCode::Stale).saying(failure.to_string())
            }
            CommandError::AnswerUnread { .. } => Self::answer_unread(&failure.to_string()),
            CommandError::OutcomeUnknown => ProblemCode::OutcomeUnknown.into(),
        }
    }
}

impl From<InactiveToken> for Problem {
    fn from(inactive: InactiveToken) -> Self {
        match inactive {
            InactiveToken::Invalid => ProblemCode::InvalidToken.into(),
            InactiveToken::Fault(fault, position) => {
                let problem = Self::caused_by(code_of(inactive), position);
                match fault {
                    TokenFault::Revoked(trigger) => problem.ended_by(Some(trigger)),
                    TokenFault::Expired | TokenFault::Idle => problem.ended_by(None),
                    TokenFault::Suspended { until, .. } => problem.possible_at(until),
                    TokenFault::Superseded => problem,
                }
            }
        }
    }
}

/// Every code of an inactive token.
pub(crate) const INACTIVE: [ProblemCode; 6] = [
    ProblemCode::InvalidToken,
    ProblemCode::SessionRevoked,
    ProblemCode::SubjectSuspended,
    ProblemCode::TokenSuperseded,
    ProblemCode::TokenExpired,
    ProblemCode::SessionIdle,
];

/// The code of an inactive token, by introspection and everywhere outside of renew.
pub(crate) const fn code_of(inactive: InactiveToken) -> ProblemCode {
    match inactive {
        InactiveToken::Invalid => ProblemCode::InvalidToken,
        InactiveToken::Fault(TokenFault::Revoked(_), _) => ProblemCode::SessionRevoked,
        InactiveToken::Fault(TokenFault::Suspended { .. }, _) => ProblemCode::SubjectSuspended,
        InactiveToken::Fault(TokenFault::Superseded, _) => ProblemCode::TokenSuperseded,
        InactiveToken::Fault(TokenFault::Expired, _) => ProblemCode::TokenExpired,
        InactiveToken::Fault(TokenFault::Idle, _) => ProblemCode::SessionIdle,
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        if !matches!(error, HistoryError::Unwanted) {
            tracing::error!(%error, "the log could not be read back");
        }
        match error {
            HistoryError::Log(LogError::Damaged { first, last, index: Some(index), .. }) => {
                return Self::not_indexed(first, last, &index);
            }
            HistoryError::Log(LogError::Damaged { first, last, index: None, .. }) => {
                return Self::damaged(first, last);
            }
            HistoryError::Log(_) | HistoryError::Illegal(_) | HistoryError::Unwanted => {}
        }
        Self::from(ProblemCode::StorageUnavailable).saying("the log could not be read back")
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        HistoryError::from(error).into()
    }
}
