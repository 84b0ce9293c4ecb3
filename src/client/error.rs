//! How a call can fail, and whether it is worth another try.

use std::{path::PathBuf, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use tenure_protocol::Timestamp;

use super::file::FileError;

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The authority said no.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// No answer came. What was asked may have been done all the same.
    #[error("no answer from {url}: {why}")]
    Unreachable {
        /// The authority's address.
        url: String,
        /// What the network said.
        why: String,
    },
    /// An answer came that the authority does not give: a proxy's, probably.
    #[error("unexpected reply from {url} (status {status}): {why}; is it a Tenure server?")]
    Strange {
        /// The authority's address.
        url: String,
        /// The status of the reply.
        status: u16,
        /// What is wrong with it.
        why: String,
    },
    /// The request cannot be sent as it is.
    #[error("{0}")]
    Unsendable(String),
}

impl Error {
    /// Whether the same request, with the same idempotency key, may succeed later without any intervention.
    ///
    /// The authority's own word decides (`retryable` of its table of errors), and a failure inside of it (5xx) passes.
    /// Anything else says nothing about the session: the network's failures, and answers of something else.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused(problem) => problem.is_transient(),
            Self::Unreachable { .. } | Self::Strange { .. } => true,
            Self::Unsendable(_) => false,
        }
    }

    /// What the authority calls its refusal, such as `TOKEN_SUPERSEDED`.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.code),
            Self::Unreachable { .. } | Self::Strange { .. } | Self::Unsendable(_) => None,
        }
    }

    /// How long the authority asks to be left alone.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(problem) => problem.retry_after,
            Self::Unreachable { .. } | Self::Strange { .. } | Self::Unsendable(_) => None,
        }
    }

    /// See [`Problem::asks_once_more_at`].
    pub(super) fn asks_once_more_at(&self) -> Option<Timestamp> {
        match self {
            Self::Refused(problem) => problem.asks_once_more_at(),
            Self::Unreachable { .. } | Self::Strange { .. } | Self::Unsendable(_) => None,
        }
    }

    /// When the same request could succeed, if the authority names a moment.
    pub fn retry_at(&self) -> Option<Timestamp> {
        match self {
            Self::Refused(problem) => problem.retry_at,
            Self::Unreachable { .. } | Self::Strange { .. } | Self::Unsendable(_) => None,
        }
    }
}

/// Why a session in a file was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The authority did not grant it, or did not answer.
    #[error(transparent)]
    Call(#[from] Error),
    /// It is not known whose token a token file holds.
    #[error("{path}: give the session's ID: {why}", path = path.display())]
    UnknownSession {
        /// The file.
        path: PathBuf,
        /// Why it cannot be found out.
        why: String,
    },
}

/// A refusal from the authority (RFC 9457, with Tenure's members).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{code}: {}", detail.as_deref().unwrap_or(title))]
#[non_exhaustive]
pub struct Problem {
    /// What kind of problem, for programs; `docs/http-api.md` has them all.
    pub code: String,
    /// What kind of problem, in words.
    pub title: String,
    /// This one problem, in words.
    #[serde(default)]
    pub detail: Option<String>,
    /// The HTTP status.
    pub status: u16,
    /// Whether the same request may succeed later.
    #[serde(default)]
    pub retryable: bool,
    /// When.
    #[serde(default)]
    pub retry_at: Option<Timestamp>,
    /// The position of the event that decided it.
    #[serde(default)]
    pub caused_by: Option<u64>,
    /// What ended the session whose token was refused, such as `renewal_rejected`; `None` if it ended by itself.
    #[serde(default)]
    pub trigger: Option<String>,
    /// What the authority's log calls this request.
    #[serde(default)]
    pub request_id: Option<String>,
    /// What is wrong with which field of the request.
    #[serde(default)]
    pub errors: Vec<FieldFault>,
    /// How long the authority asks to be left alone.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    /// The document as it came.
    #[serde(skip)]
    pub document: Value,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FieldFault {
    /// Its name.
    pub field: String,
    /// What would be right.
    pub message: String,
}

impl Problem {
    /// Reads a problem document; `None` if it is not one of the authority's.
    pub fn read(document: Value) -> Option<Self> {
        let problem = Self::deserialize(&document).ok()?;
        Some(Self { document, ..problem })
    }

    /// When to ask for a renewal once more that was refused because another one had replaced the token a moment ago. The
    /// file may have the newer token by then; if not, that attempt shows that another holder has it.
    pub fn asks_once_more_at(&self) -> Option<Timestamp> {
        let is_in_grace = self.code == "SESSION_RENEWAL_MISMATCH" && self.retryable;
        self.retry_at.filter(|_| is_in_grace)
    }

    /// Whether the same request may succeed later without any intervention.
    pub const fn is_transient(&self) -> bool {
        self.retryable || self.status >= 500
    }
}
