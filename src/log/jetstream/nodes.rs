//! Which nodes there are: each says so from time to time, and the broker forgets it when it no longer does.
//!
//! No decision rests on it. It shows operators who is there, how far each one is, and what it found. Beside that the
//! stream has what is kept without an end: which nodes hold keys, and what one leader leaves to the next.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_nats::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tenure_core::Timestamp;

use super::{BrokerConnection, BrokerError, KeyHolder, StreamNames, broker_reply};

/// How long the word of a node is kept.
const HOLDS: Duration = Duration::from_secs(30);
const TRY: Duration = Duration::from_millis(500);

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRecord {
    /// The node, which keeps its name over its starts.
    pub node: String,
    /// Where it is reached.
    pub address: String,
    /// Whether it leads.
    pub leads: bool,
    /// The last event that it has folded.
    pub position: u64,
    /// The leadership of the last frame that it has folded.
    pub term: u64,
    /// How old its state may have been then, in milliseconds; `None` while it could not say.
    #[serde(default)]
    pub staleness_ms: Option<u64>,
    /// Its program.
    pub version: String,
    /// The ids of the keys of tokens that it holds.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Up to which place it has compared the published heads with its own tree.
    #[serde(default)]
    pub compared: u64,
    /// How its history differs from a head that was published; `None` if it does not.
    #[serde(default)]
    pub difference: Option<String>,
    /// What is to be said of the certificate that it shows to other nodes; `None` if it shows none.
    #[serde(default)]
    pub certificate: Option<String>,
    /// How far a node is that fetches the files of the history from another one, and so neither serves nor follows yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joining: Option<String>,
    /// When it said so, in milliseconds by its own clock.
    pub at: i64,
}

impl NodeRecord {
    /// When it said so, by its own clock.
    pub const fn said_at(&self) -> Timestamp {
        Timestamp::from_millis(self.at)
    }
}

/// The stream of the nodes.
#[derive(Debug)]
pub struct NodeRegistry {
    connection: Arc<BrokerConnection>,
    names: StreamNames,
}

impl NodeRegistry {
    /// Over this connection.
    pub const fn on(connection: Arc<BrokerConnection>, names: StreamNames) -> Self {
        Self { connection, names }
    }

    /// Says that a node is there.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn say(&self, record: &NodeRecord) -> Result<(), BrokerError> {
        let body = serde_json::to_vec(record).expect("our own documents are always JSON");
        self.publish(&record.node, body, Some(HOLDS))
    }

    /// Says that a node is leaving, so that the others need not wait for the end of its word.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn leave(&self, node: &str) -> Result<(), BrokerError> {
        self.publish(node, Vec::new(), Some(Duration::from_secs(1)))
    }

    /// Keeps something under a name, which is no node's, for whichever node leads next.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn keep(&self, name: &str, body: Vec<u8>) -> Result<(), BrokerError> {
        self.publish(name, body, None)
    }

    /// What was kept under this name last.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, BrokerError> {
        let question = json!({ "last_by_subj": self.names.node(name) });
        Ok(self.connection.message(&self.names.node_stream(), &question)?.map(|found| found.data))
    }

    fn publish(&self, name: &str, body: Vec<u8>, holds: Option<Duration>) -> Result<(), BrokerError> {
        let subject = self.names.node(name);
        let mut headers = HeaderMap::new();
        if let Some(holds) = holds {
            headers.insert("Nats-TTL", format!("{}s", holds.as_secs()));
        }
        let answered = self.connection.request(&subject, headers, body, TRY)?;
        broker_reply::value(&subject, &answered).map(drop)
    }

    /// What all nodes have said, by their names.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn all(&self) -> Result<Vec<NodeRecord>, BrokerError> {
        Ok(self.all_with_keys()?.0)
    }

    /// The same, and which nodes hold keys, by their names.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn all_with_keys(&self) -> Result<(Vec<NodeRecord>, Vec<KeyHolder>), BrokerError> {
        // What a node says while this reads is found behind what it had said before, and is the one that counts.
        let (mut said, mut next) = (BTreeMap::new(), 1);
        loop {
            let question = json!({ "seq": next, "next_by_subj": self.names.node("*") });
            let Some(found) = self.connection.message(&self.names.node_stream(), &question)? else { break };
            next = found.sequence + 1;
            said.insert(found.subject, found.data);
        }
        // What cannot be read is of a later version, or of a node that has left.
        let mut records: Vec<NodeRecord> =
            said.values().filter_map(|data| serde_json::from_slice(data).ok()).collect();
        let mut holders: Vec<KeyHolder> =
            said.values().filter_map(|data| serde_json::from_slice(data).ok()).collect();
        records.sort_by(|one, other| one.node.cmp(&other.node));
        holders.sort_by(|one, other| one.node.cmp(&other.node));
        Ok((records, holders))
    }

    /// Says up to which erasure a node has destroyed keys.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn say_erased(&self, holder: &KeyHolder) -> Result<(), BrokerError> {
        holder.say(&self.connection, &self.names)
    }

    /// A node that will never return need not be waited for: its keys were destroyed with its disk.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn forget(&self, node: &str) -> Result<(), BrokerError> {
        KeyHolder::forget(&self.connection, &self.names, node)
    }
}
