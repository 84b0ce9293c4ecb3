//! Why a node does not have the keys that are with the broker.

use tenure_log::jetstream::BrokerError;

/// Why not.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoKeys {
    /// The broker does not answer now, however long that lasts.
    #[error("{0}")]
    Away(String),
    /// This does not pass because time does.
    #[error("{0}")]
    Wrong(String),
}

impl NoKeys {
    /// Whether it is worth while to ask again.
    pub(super) const fn passes(&self) -> bool {
        match self {
            Self::Away(_) => true,
            Self::Wrong(_) => false,
        }
    }
}

impl From<BrokerError> for NoKeys {
    fn from(error: BrokerError) -> Self {
        let why = error.to_string();
        if error.passes() { Self::Away(why) } else { Self::Wrong(why) }
    }
}

impl From<String> for NoKeys {
    fn from(why: String) -> Self {
        Self::Wrong(why)
    }
}
