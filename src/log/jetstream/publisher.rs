//! One frame onto the end of the log, or the certainty that it will never be there.
//!
//! The frame is published with the expectation of the exact sequence that its writer has seen last. Whatever cannot be
//! told is tried again: the same bytes, the same id, the same expectation. So a frame is stored once or never, and a
//! writer whose knowledge is old is refused by the log itself, however long it slept.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::HeaderMap;
use serde_json::json;
use tenure_protocol::clock::{pause, stopwatch};

use super::{
    BrokerError, Connection, Names,
    answer::{self, Acknowledged},
};
use crate::sled::frame::Check;

/// How long one try may take.
const TRY: Duration = Duration::from_secs(1);
/// A little time between tries, so that a broker without a leader is not besieged.
const PAUSE: Duration = Duration::from_millis(25);

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It is in the log, behind what was expected.
    Stored,
    /// Another frame is in its place: it is not in the log and never will be.
    Deposed,
    /// It is not in the log: there is no room for it.
    Full(String),
    /// Nobody can say, and the patience is over.
    Unknown(String),
    /// The log is not what it was.
    Broken(String),
}

/// Publishes frames, one at a time.
#[derive(Debug)]
pub(super) struct Publisher {
    connection: Connection,
    names: Names,
    pub(super) resent: Arc<AtomicU64>,
    #[cfg(test)]
    pub(super) faults: std::sync::Arc<super::tests::Faults>,
}

/// What one try says.
enum Try {
    Certain(Put),
    Again(String),
}

impl Publisher {
    pub(super) fn new(connection: Connection, names: Names) -> Self {
        Self {
            connection,
            names,
            resent: Arc::default(),
            #[cfg(test)]
            faults: std::sync::Arc::default(),
        }
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Puts a frame behind this sequence, and does not rest until that is certain or the patience is over.
    pub(super) fn put(&self, frame: &[u8], check: Check, after: u64, patience: Duration) -> Put {
        let begun = stopwatch();
        loop {
            match self.once(frame, check, after) {
                Try::Certain(put) => return put,
                Try::Again(why) if is_over(begun, patience) => return Put::Unknown(why),
                Try::Again(why) => tracing::debug!(why, after, "a frame is sent again"),
            }
            self.resent.fetch_add(1, Ordering::Relaxed);
            pause(PAUSE);
        }
    }

    fn once(&self, frame: &[u8], check: Check, after: u64) -> Try {
        match self.publish(frame, check, after) {
            Acknowledged::Stored { sequence } if sequence == after + 1 => Try::Certain(Put::Stored),
            Acknowledged::Stored { sequence } => Try::Certain(Put::Broken(format!(
                "a frame that was expected at sequence {} was stored at {sequence}",
                after + 1
            ))),
            // A server that knows less than this node does: it leads no more, or the broker has lost something.
            Acknowledged::OtherLast { actual } if actual <= after => {
                Try::Again(format!("the broker says that its log ends at sequence {actual}, before {after}"))
            }
            Acknowledged::OtherLast { .. } => self.look_at(frame, after + 1),
            Acknowledged::Full(why) => Try::Certain(Put::Full(why)),
            Acknowledged::Unknown(why) => match self.connection.denied() {
                Some(why) => Try::Certain(Put::Broken(why)),
                None => Try::Again(why),
            },
        }
    }

    fn publish(&self, frame: &[u8], check: Check, after: u64) -> Acknowledged {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", after.to_string());
        headers.insert("Nats-Msg-Id", hex(check));
        let answered = self.connection.request(&self.names.log(), headers, frame.to_vec(), TRY);
        #[cfg(test)]
        if self.faults.throws_away() {
            return Acknowledged::Unknown("the acknowledgement was thrown away".to_owned());
        }
        match answered {
            Ok(bytes) => answer::acknowledged(&bytes),
            Err(error) => Acknowledged::Unknown(error.to_string()),
        }
    }

    /// What is in the frame's place decides. What is *last* would not: another's frame may be behind ours already.
    fn look_at(&self, frame: &[u8], sequence: u64) -> Try {
        match self.connection.message(&self.names.log_stream(), &json!({ "seq": sequence })) {
            Ok(Some(found)) if found.data == frame => Try::Certain(Put::Stored),
            Ok(Some(_)) => Try::Certain(Put::Deposed),
            Ok(None) => Try::Again(format!("there is no frame at sequence {sequence} yet")),
            Err(BrokerError::Denied { why }) => Try::Certain(Put::Broken(why)),
            Err(error) => Try::Again(error.to_string()),
        }
    }
}

fn is_over(begun: Instant, patience: Duration) -> bool {
    begun.elapsed() >= patience
}

fn hex(check: Check) -> String {
    blake3::Hash::from_bytes([check, check].concat().try_into().expect("twice sixteen")).to_hex()[..32]
        .to_owned()
}
