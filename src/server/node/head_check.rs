//! What a node of a cluster has in segments is used only when a head that another node has signed, or this one before,
//! says that it is the history.

use tenure_audit::{HeadKey, SignedHead};
use tenure_log::{
    EventLog, OpenError, SegmentedLog,
    jetstream::{self, BrokerAccess, BrokerConnection, ClusterMember, HeadStream, StreamNames},
};

use super::{
    NodeOptions, StartError, broker_wait::unless_away, no_keys::NoKeys, startup_replay::StartupState,
};

/// Compares a start with the newest head that is published.
pub(super) struct HeadCheck<'c> {
    pub(super) options: &'c NodeOptions,
    pub(super) access: &'c BrokerAccess,
    pub(super) names: &'c StreamNames,
    pub(super) node: &'c str,
}

/// The newest published head of this log.
enum NewestHead {
    /// The broker does not answer now.
    Away,
    /// There is none of this log.
    Missing,
    Published(SignedHead),
}

impl HeadCheck<'_> {
    /// Whether a head vouches for what was folded; false while it is not known yet. What was read from the broker is the
    /// log itself, and is compared later, as all that follows.
    ///
    /// # Errors
    /// A head is of another history: what is in segments is not to be used.
    pub(super) fn is_vouched(
        &self,
        member: &ClusterMember,
        folded: &StartupState,
    ) -> Result<bool, StartError> {
        let log = member.log();
        let Some(last) = log.segment_ends().pop() else { return Ok(true) };
        let head = match self.newest()? {
            NewestHead::Away => return Ok(false),
            NewestHead::Missing => {
                return Err(self.untrue("no signed head is published that vouches for it".to_owned()));
            }
            NewestHead::Published(head) => head,
        };
        let size = folded.nodes.size();
        if head.size > size {
            // What it covers is on its way; on the node that leads it would be lost.
            return if log.leadership().is_some() {
                Err(self.untrue(beyond(&head, size)))
            } else {
                Ok(false)
            };
        }
        if head.size < last.position.0 {
            return Err(self.untrue(format!("the newest signed head is of {} events only", head.size)));
        }
        match folded.nodes.root(&**log as &dyn EventLog, head.size) {
            Ok(root) if root == head.root => Ok(true),
            Ok(_) => {
                Err(self.untrue(format!("the signed head of {} events is not of this history", head.size)))
            }
            Err(error) => Err(self.untrue(error.to_string())),
        }
    }

    fn newest(&self) -> Result<NewestHead, StartError> {
        let Some(key) = HeadKey::read(&self.options.data.join("keys"))? else {
            return Ok(NewestHead::Missing);
        };
        let asked = BrokerConnection::open(self.access, &format!("{}_head", self.node))
            .and_then(|connection| HeadStream::on(connection.into(), self.names.clone()).last());
        let Some(found) = unless_away(asked.map_err(NoKeys::from))? else { return Ok(NewestHead::Away) };
        let opened = found.and_then(|found| SignedHead::open(&found.note, key.verifier()).ok());
        Ok(opened.map_or(NewestHead::Missing, NewestHead::Published))
    }

    fn untrue(&self, why: String) -> StartError {
        let error: OpenError = jetstream::untrue_segments(&self.options.data, why);
        error.into()
    }
}

fn beyond(head: &SignedHead, size: u64) -> String {
    format!("a signed head covers {} events, and the log has {size}", head.size)
}
