//! What a decision needs that neither its caller nor the recorded facts say: only the one who decides in order knows
//! it.

use super::{active::ActiveSessions, bulk::MatchCount, time::Seconds};

/// What was observed of the state at the moment of a decision. A command that needs nothing of it is decided with the
/// default.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// Whether a token of the session's current generation was presented, though not recorded yet.
    pub is_presented: bool,
    /// Whether the key of the subject's texts was destroyed, and nothing was sealed about it since.
    pub is_forgotten: bool,
    /// The sessions that the selector of the command meets.
    pub matched: MatchCount,
    /// The longest period that a session was ever granted.
    pub longest_ttl: Seconds,
    /// The active sessions of the subject, where they are known without a look at each of its sessions.
    pub active: Option<ActiveSessions>,
}
