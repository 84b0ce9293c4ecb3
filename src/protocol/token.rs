//! What issuers and verifiers of tokens must agree on.

use super::Seconds;

/// What every session token begins with.
pub const SESSION_TOKEN_PREFIX: &str = "tnr_sess_";

/// What every API key begins with.
pub const API_KEY_PREFIX: &str = "tnr_key_";

/// The longest life of an access token. None is signed for longer, and one that says more is refused: so a revocation
/// need not be remembered for longer either.
pub const LONGEST_ACCESS: Seconds = Seconds(1_800);
