//! How an attempt to deliver something went.

use minicbor::{Decode, Encode};
use serde::Serialize;

/// How an attempt went, in words that say nothing of where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryOutcome {
    /// A status of 200 to 299 came back.
    #[n(0)]
    Delivered,
    /// Another status did.
    #[n(1)]
    HttpError,
    /// The receiver wanted to send us elsewhere, which we do not follow.
    #[n(2)]
    Redirected,
    /// 410: the receiver wants no more of it.
    #[n(3)]
    Gone,
    /// Nothing came back in time.
    #[n(4)]
    TimedOut,
    /// There is no way to the host, or the connection broke.
    #[n(5)]
    Unreachable,
    /// The receiver could not prove who it is.
    #[n(6)]
    TlsFailed,
    /// The host leads to an address that webhooks may not lead to.
    #[n(7)]
    AddressRefused,
    /// The file with URL and secret is missing or cannot be read; the log of the process says which.
    #[n(8)]
    KeyMissing,
    /// The host has no address.
    #[n(9)]
    UnknownHost,
    /// Nothing listens at the port, or a firewall says so.
    #[n(10)]
    ConnectionRefused,
}

impl DeliveryOutcome {
    /// Every outcome with its name in the API.
    pub const ALL: [(&str, Self); 11] = [
        ("delivered", Self::Delivered),
        ("http_error", Self::HttpError),
        ("redirected", Self::Redirected),
        ("gone", Self::Gone),
        ("timed_out", Self::TimedOut),
        ("unreachable", Self::Unreachable),
        ("tls_failed", Self::TlsFailed),
        ("address_refused", Self::AddressRefused),
        ("key_missing", Self::KeyMissing),
        ("unknown_host", Self::UnknownHost),
        ("connection_refused", Self::ConnectionRefused),
    ];

    /// Its name in the API.
    pub(crate) const fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    /// Whether it tells of the network between here and the receiver: which names resolve, which ports answer.
    pub(crate) const fn is_of_network(self) -> bool {
        match self {
            Self::TimedOut
            | Self::Unreachable
            | Self::UnknownHost
            | Self::ConnectionRefused
            | Self::TlsFailed
            | Self::AddressRefused => true,
            Self::Delivered | Self::HttpError | Self::Redirected | Self::Gone | Self::KeyMissing => false,
        }
    }

    pub(crate) const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Delivered,
            300..=399 => Self::Redirected,
            410 => Self::Gone,
            _ => Self::HttpError,
        }
    }
}

/// What came back from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptAnswer {
    /// How it went.
    pub outcome: DeliveryOutcome,
    /// The HTTP status, if one came.
    pub status: Option<u16>,
    /// In how many seconds the receiver wants to be asked again.
    pub(crate) retry_after: Option<u32>,
}

impl From<DeliveryOutcome> for AttemptAnswer {
    fn from(outcome: DeliveryOutcome) -> Self {
        Self { outcome, status: None, retry_after: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_written_as_it_is_named() {
        for (name, outcome) in DeliveryOutcome::ALL {
            assert_eq!(serde_json::to_value(outcome).unwrap(), name);
        }
    }
}
