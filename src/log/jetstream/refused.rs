//! Why a broker cannot keep this log, or not now.

use std::path::PathBuf;

use crate::OpenError;

/// Why a broker cannot keep this log, or not now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// It cannot be reached. That may pass.
    #[error("no broker answers at {url}: {why}")]
    Unreachable {
        /// Where.
        url: String,
        /// What happened.
        why: String,
    },
    /// It can be reached and says no: an unknown key, no certificate, a certificate of an unknown authority.
    #[error("{url} refuses the connection: {why}")]
    Refused {
        /// Where.
        url: String,
        /// What it says.
        why: String,
    },
    /// Not an address, or one that may not be used like this.
    #[error("{url} is no address of a broker: {why}")]
    Address {
        /// Which.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// A file of a key or a certificate cannot be used.
    #[error("{}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is of a version with known faults.
    #[error(
        "nats-server {version} is too old: at least {least} is needed, because older versions have lost messages"
    )]
    TooOld {
        /// What it says of itself.
        version: String,
        /// The oldest that may.
        least: &'static str,
    },
    /// A stream is not there.
    #[error(
        "the stream {stream} does not exist: run `tenure cluster init`, which makes what is missing and leaves the \
         rest as it is"
    )]
    NoStream {
        /// Which.
        stream: String,
    },
    /// A stream is set in a way that loses what was promised.
    #[error("the stream {stream} is not safe: {setting} is {is}, and must be {must}")]
    Unsafe {
        /// Which.
        stream: String,
        /// The setting, by the broker's name.
        setting: &'static str,
        /// What it is.
        is: String,
        /// What it must be.
        must: String,
    },
    /// It answers with an error.
    #[error("{what}: the broker says {why}")]
    Said {
        /// What was asked.
        what: String,
        /// The answer.
        why: String,
    },
    /// It answers what no broker answers.
    #[error("{what}: the answer cannot be understood: {why}")]
    Strange {
        /// What was asked.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// It did not answer in time. That may pass.
    #[error("{what}: no answer: {why}")]
    NoAnswer {
        /// What was asked.
        what: String,
        /// What happened instead.
        why: String,
    },
    /// Its permissions do not let this node do what it must.
    #[error("the broker denies this node what it must do: {why}")]
    Denied {
        /// What the broker said.
        why: String,
    },
    /// Another node leads by now.
    #[error("another node leads, in term {term}")]
    Led {
        /// Its leadership.
        term: u64,
    },
    /// The system gives no thread.
    #[error("no thread for the connection: {why}")]
    Thread {
        /// What the system says.
        why: String,
    },
}

impl BrokerError {
    /// Whether waiting may help.
    pub const fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NoAnswer { .. } => true,
            Self::Refused { .. }
            | Self::Address { .. }
            | Self::File { .. }
            | Self::TooOld { .. }
            | Self::NoStream { .. }
            | Self::Unsafe { .. }
            | Self::Said { .. }
            | Self::Strange { .. }
            | Self::Denied { .. }
            | Self::Led { .. }
            | Self::Thread { .. } => false,
        }
    }
}

impl From<BrokerError> for OpenError {
    fn from(error: BrokerError) -> Self {
        Self::Broker { why: error.to_string() }
    }
}
