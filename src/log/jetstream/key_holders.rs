//! Which nodes hold the keys of texts, and up to which erasure each has destroyed them.
//!
//! The word of a node that is there is forgotten soon (`nodes`). This one is kept until an operator takes it back: a node
//! that is away still has the keys that it had, and what was erased meanwhile is not erased there.

use std::time::Duration;

use async_nats::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenure_protocol::clock::wall_time;

use super::{BrokerConnection, BrokerError, StreamNames, broker_reply};

const TRY: Duration = Duration::from_millis(500);

/// A node that holds keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyHolder {
    /// The node, which keeps its name over its starts.
    pub node: String,
    /// Where it was reached.
    pub address: String,
    /// It has destroyed what every erasure up to this position destroys.
    pub erased_through: u64,
    /// When it said so, in milliseconds by its own clock.
    pub at: i64,
}

impl KeyHolder {
    /// As a node says of itself now.
    pub fn now(node: &str, address: &str, erased_through: u64) -> Self {
        let (node, address) = (node.to_owned(), address.to_owned());
        Self { node, address, erased_through, at: wall_time().as_millis() }
    }

    fn subject(names: &StreamNames, node: &str) -> String {
        names.node(&format!("{node}-keys"))
    }

    /// What this node has said, if anything.
    pub(super) fn of(
        connection: &BrokerConnection,
        names: &StreamNames,
        node: &str,
    ) -> Result<Option<Self>, BrokerError> {
        let question = json!({ "last_by_subj": Self::subject(names, node) });
        let found = connection.message(&names.node_stream(), &question)?;
        Ok(found.and_then(|found| serde_json::from_slice(&found.data).ok()))
    }

    /// Says so.
    pub(super) fn say(&self, connection: &BrokerConnection, names: &StreamNames) -> Result<(), BrokerError> {
        let body = serde_json::to_vec(self).expect("our own documents are always JSON");
        publish(connection, &Self::subject(names, &self.node), HeaderMap::new(), body)
    }

    /// A node need not be waited for any more.
    pub(super) fn forget(
        connection: &BrokerConnection,
        names: &StreamNames,
        node: &str,
    ) -> Result<(), BrokerError> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-TTL", "1s");
        publish(connection, &Self::subject(names, node), headers, Vec::new())
    }
}

fn publish(
    connection: &BrokerConnection,
    subject: &str,
    headers: HeaderMap,
    body: Vec<u8>,
) -> Result<(), BrokerError> {
    let answered = connection.request(subject, headers, body, TRY)?;
    broker_reply::value(subject, &answered).map(drop)
}
