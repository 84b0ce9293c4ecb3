//! A broker that is away is waited for, and it is said what a node waits for.

use std::{fmt::Write, time::Duration};

use tenure_log::jetstream::{BrokerAccess, BrokerConnection, StandbyStatus};
use tenure_protocol::clock::pause;

use super::{StartError, no_keys::NoKeys};

/// Pause before a silent broker is asked again.
const AWAY: Duration = Duration::from_millis(500);

/// An unreachable broker, for a moment or an hour, is no reason to end: it is asked again, after a while.
pub(super) fn unless_away<T>(asked: Result<T, NoKeys>) -> Result<Option<T>, StartError> {
    match asked {
        Ok(answered) => Ok(Some(answered)),
        Err(NoKeys::Away(why)) => {
            tell(&StandbyStatus::Away { why });
            pause(AWAY);
            Ok(None)
        }
        Err(NoKeys::Wrong(why)) => Err(StartError::Cluster(why)),
    }
}

/// Connects, however long that takes.
pub(super) fn connected(access: &BrokerAccess, name: &str) -> Result<BrokerConnection, StartError> {
    loop {
        if let Some(connection) = unless_away(BrokerConnection::open(access, name).map_err(NoKeys::from))? {
            return Ok(connection);
        }
    }
}

/// Says what a node waits for.
pub(super) fn tell(standing: &StandbyStatus) {
    match standing {
        StandbyStatus::Away { why } => {
            tracing::warn!(why, "the broker does not serve this node now; it is tried again");
        }
        StandbyStatus::By(claim) => {
            tracing::info!(leader = claim.address, node = claim.node, "another node leads");
        }
        StandbyStatus::Taking => tracing::info!("the lease is this node's; it takes the lead"),
    }
}

/// These bytes in words that files and the broker take.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
        text
    })
}
