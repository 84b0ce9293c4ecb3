//! One frame onto the end of the log, or the certainty that it will never be there.
//!
//! The frame is published with the expectation of the exact sequence that its writer has seen last. What stays
//! uncertain is tried again: the same bytes, the same id, the same expectation. So a frame is stored once or never, and
//! a writer whose knowledge is old is refused by the log itself, however long it slept.

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
    BrokerConnection, BrokerError, StreamNames,
    broker_reply::{self, PublishAck},
};
use crate::sled::frame::FrameCheck;

/// How long one try may take.
const TRY: Duration = Duration::from_secs(1);
/// A little time between tries, so that a broker without a leader is not besieged.
const PAUSE: Duration = Duration::from_millis(25);

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PublishOutcome {
    /// It is in the log, behind what was expected.
    Stored,
    /// Another frame is in its place: it is not in the log and never will be.
    Deposed,
    /// It is not in the log: there is no room for it.
    Full(String),
    /// Unknown, and the time for it is over.
    Unknown(String),
    /// The log is not what it was.
    Broken(String),
}

/// Publishes frames, one at a time.
#[derive(Debug)]
pub(super) struct FramePublisher {
    connection: BrokerConnection,
    names: StreamNames,
    pub(super) resent: Arc<AtomicU64>,
    #[cfg(test)]
    pub(super) faults: std::sync::Arc<super::tests::Faults>,
}

/// What one try says.
enum PublishAttempt {
    Certain(PublishOutcome),
    Again(String),
}

impl FramePublisher {
    pub(super) fn new(connection: BrokerConnection, names: StreamNames) -> Self {
        Self {
            connection,
            names,
            resent: Arc::default(),
            #[cfg(test)]
            faults: std::sync::Arc::default(),
        }
    }

    pub(super) const fn connection(&self) -> &BrokerConnection {
        &self.connection
    }

    /// Puts a frame behind this sequence, and repeats it until the outcome is certain or the time is over.
    pub(super) fn put(
        &self,
        frame: &[u8],
        check: FrameCheck,
        after: u64,
        patience: Duration,
    ) -> PublishOutcome {
        let begun = stopwatch();
        loop {
            match self.once(frame, check, after) {
                PublishAttempt::Certain(put) => return put,
                PublishAttempt::Again(why) if is_over(begun, patience) => {
                    return PublishOutcome::Unknown(why);
                }
                PublishAttempt::Again(why) => tracing::debug!(why, after, "a frame is sent again"),
            }
            self.resent.fetch_add(1, Ordering::Relaxed);
            pause(PAUSE);
        }
    }

    fn once(&self, frame: &[u8], check: FrameCheck, after: u64) -> PublishAttempt {
        match self.publish(frame, check, after) {
            PublishAck::Stored { sequence } if sequence == after + 1 => {
                PublishAttempt::Certain(PublishOutcome::Stored)
            }
            PublishAck::Stored { sequence } => PublishAttempt::Certain(PublishOutcome::Broken(format!(
                "a frame that was expected at sequence {} was stored at {sequence}",
                after + 1
            ))),
            // A server that knows less than this node does: it leads no more, or the broker has lost something.
            PublishAck::OtherLast { actual } if actual <= after => PublishAttempt::Again(format!(
                "the broker says that its log ends at sequence {actual}, before {after}"
            )),
            PublishAck::OtherLast { .. } => self.look_at(frame, after + 1),
            PublishAck::Full(why) => PublishAttempt::Certain(PublishOutcome::Full(why)),
            PublishAck::Unknown(why) => match self.connection.denied() {
                Some(why) => PublishAttempt::Certain(PublishOutcome::Broken(why)),
                None => PublishAttempt::Again(why),
            },
        }
    }

    fn publish(&self, frame: &[u8], check: FrameCheck, after: u64) -> PublishAck {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", after.to_string());
        headers.insert("Nats-Msg-Id", hex(check));
        let answered = self.connection.request(&self.names.log(), headers, frame.to_vec(), TRY);
        #[cfg(test)]
        if self.faults.throws_away() {
            return PublishAck::Unknown("the acknowledgement was thrown away".to_owned());
        }
        match answered {
            Ok(bytes) => broker_reply::acknowledged(&bytes),
            Err(error) => PublishAck::Unknown(error.to_string()),
        }
    }

    /// What is in the frame's place decides. What is *last* would not: another's frame may be behind ours already.
    fn look_at(&self, frame: &[u8], sequence: u64) -> PublishAttempt {
        match self.connection.message(&self.names.log_stream(), &json!({ "seq": sequence })) {
            Ok(Some(found)) if found.data == frame => PublishAttempt::Certain(PublishOutcome::Stored),
            Ok(Some(_)) => PublishAttempt::Certain(PublishOutcome::Deposed),
            Ok(None) => PublishAttempt::Again(format!("there is no frame at sequence {sequence} yet")),
            Err(BrokerError::Denied { why }) => PublishAttempt::Certain(PublishOutcome::Broken(why)),
            Err(error) => PublishAttempt::Again(error.to_string()),
        }
    }
}

fn is_over(begun: Instant, patience: Duration) -> bool {
    begun.elapsed() >= patience
}

fn hex(check: FrameCheck) -> String {
    blake3::Hash::from_bytes([check, check].concat().try_into().expect("twice sixteen")).to_hex()[..32]
        .to_owned()
}
