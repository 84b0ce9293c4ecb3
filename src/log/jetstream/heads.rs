//! Signed heads, which the leader publishes and each node compares with its own tree.
//!
//! A head is published with the expectation of the one before it, so only a leader that has read all heads adds one.

use std::{sync::Arc, time::Duration};

use async_nats::HeaderMap;
use serde_json::json;

use super::{
    BrokerConnection, BrokerError, StreamNames,
    broker_reply::{self, PublishAck},
};

const NODE: &str = "Tenure-Node";
/// How long one try may take.
const TRY: Duration = Duration::from_millis(500);
/// Heads per read.
const AT_ONCE: usize = 256;

/// The stream of the signed heads.
#[derive(Debug)]
pub struct HeadStream {
    connection: Arc<BrokerConnection>,
    names: StreamNames,
}

/// A head that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedHead {
    /// Its place in the stream.
    pub sequence: u64,
    /// The node that published it.
    pub node: String,
    /// The signed note.
    pub note: String,
}

/// What became of a head that was to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadPut {
    /// It is there, at this place.
    Stored(u64),
    /// There are others that its publisher has not read.
    Others,
    /// The broker does not say.
    Unknown(String),
}

impl HeadStream {
    /// Over this connection.
    pub const fn on(connection: Arc<BrokerConnection>, names: StreamNames) -> Self {
        Self { connection, names }
    }

    /// The newest head; `None` while there is none.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn last(&self) -> Result<Option<PublishedHead>, BrokerError> {
        let question = json!({ "last_by_subj": self.names.heads() });
        let found = self.connection.message(&self.names.head_stream(), &question)?;
        Ok(found.map(|found| read(&found)))
    }

    /// The heads behind this place, in their order; not all at once.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub fn since(&self, after: u64) -> Result<Vec<PublishedHead>, BrokerError> {
        let mut heads: Vec<PublishedHead> = Vec::new();
        while heads.len() < AT_ONCE {
            let next = heads.last().map_or(after, |head| head.sequence) + 1;
            let question = json!({ "seq": next, "next_by_subj": self.names.heads() });
            match self.connection.message(&self.names.head_stream(), &question)? {
                Some(found) => heads.push(read(&found)),
                None => break,
            }
        }
        Ok(heads)
    }

    /// Publishes a head behind the one at this place (0: the first one).
    pub fn put(&self, head: &str, node: &str, expect: u64) -> HeadPut {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", expect.to_string());
        headers.insert(NODE, node);
        let answered = self.connection.request(&self.names.heads(), headers, head.as_bytes().to_vec(), TRY);
        match answered.map(|bytes| broker_reply::acknowledged(&bytes)) {
            Ok(PublishAck::Stored { sequence }) => HeadPut::Stored(sequence),
            Ok(PublishAck::OtherLast { .. }) => HeadPut::Others,
            Ok(PublishAck::Full(why) | PublishAck::Unknown(why)) => HeadPut::Unknown(why),
            Err(error) => HeadPut::Unknown(error.to_string()),
        }
    }
}

fn read(found: &broker_reply::StoredMessage) -> PublishedHead {
    PublishedHead {
        sequence: found.sequence,
        node: found.header(NODE).unwrap_or_default().to_owned(),
        note: String::from_utf8_lossy(&found.data).into_owned(),
    }
}
