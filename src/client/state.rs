//! How a session stands, as its holder sees it.

use std::fmt;

use super::error::Problem;
use tenure_protocol::Timestamp;

/// How a session stands, as its holder sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// As far as is known its token is good.
    Live(LiveSession),
    /// It is over, permanently.
    Ended(EndReason),
}

/// A session not known to have ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveSession {
    /// When its period ends.
    pub expires_at: Timestamp,
    /// When it is renewed next; `None` if it cannot be renewed any more.
    pub renew_at: Option<Timestamp>,
    /// What is wrong at present, and tried again: the authority cannot be reached, the file cannot be written.
    pub trouble: Option<String>,
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The authority said so: `SESSION_REVOKED`, `TOKEN_EXPIRED`, and what else it does not take back.
    Refused(Box<Problem>),
    /// By our clock its period has ended, no renewal was granted, and the authority cannot be asked.
    Expired {
        /// What kept it from being renewed.
        trouble: String,
    },
    /// Its holder ended it.
    Revoked,
}

impl EndReason {
    /// What ended the session, such as `renewal_rejected`; `None` if it ended by itself, or if the cause is unknown.
    pub fn trigger(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => problem.trigger.as_deref(),
            Self::Revoked => Some("self"),
            Self::Expired { .. } => None,
        }
    }

    /// The authority's code for it, such as `SESSION_REVOKED`; `None` if the authority did not say that it is over.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.code),
            Self::Expired { .. } | Self::Revoked => None,
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Whoever ends a session may hear of it from the authority first.
            Self::Refused(problem) if problem.trigger.as_deref() == Some("self") => Self::Revoked.fmt(f),
            Self::Refused(problem) => match problem.trigger.as_deref().and_then(end_in_words) {
                Some(words) => write!(f, "{}: {words}", problem.code),
                None => problem.fmt(f),
            },
            Self::Expired { trouble } => {
                write!(f, "its period has ended before it could be renewed: {trouble}")
            }
            Self::Revoked => f.write_str("its holder ended it"),
        }
    }
}

/// What ended a session, in words: `renewal_rejected` is "its renewal was vetoed". `None` of a trigger that is unknown
/// here.
pub fn end_in_words(trigger: &str) -> Option<&'static str> {
    Some(match trigger {
        "manual_revoke" => "an admin, an issuer or its owner ended it",
        "renewal_rejected" => "its renewal was vetoed",
        "self" => "its own token ended it",
        "evicted" => "a newer session needed its place",
        "token_reuse" => "a replaced token came back",
        "subject_revoked" => "all sessions of its subject were ended, or all on its device",
        "bulk" => "it was one of many that were ended at once",
        "restore" => "the authority was restored from a backup that may lack events",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_end_by_its_holder_reads_the_same_however_it_was_heard_of() {
        let told = |trigger: &str| {
            let problem = json!({ "code": "SESSION_REVOKED", "title": "The session was ended", "status": 401, "trigger": trigger });
            EndReason::Refused(serde_json::from_value(problem).unwrap()).to_string()
        };
        assert_eq!(told("self"), EndReason::Revoked.to_string());
        assert_eq!(told("renewal_rejected"), "SESSION_REVOKED: its renewal was vetoed");
        assert_eq!(told("a later one"), "SESSION_REVOKED: The session was ended");
    }
}
