//! On which nodes the keys of an erased subject are destroyed.

use tenure_core::{Position, Timestamp};
use tenure_protocol::wire::NodeErasureView;

use super::ClusterNodes;

/// What is known of an erasure beyond this node.
pub(in crate::http) struct ErasureElsewhere {
    /// Each node that holds keys; none before it is known.
    pub(in crate::http) nodes: Option<Vec<NodeErasureView>>,
    /// Whether the broker's stream has the key no more.
    pub(in crate::http) at_broker: bool,
}

impl ErasureElsewhere {
    /// Whether nothing is left to be done.
    pub(in crate::http) fn is_done(&self) -> bool {
        self.at_broker && self.nodes.as_ref().is_some_and(|nodes| nodes.iter().all(|node| node.done))
    }
}

impl ClusterNodes {
    /// Where the erasure at this position is done by now, as the node that leads knows it. It has done its own part, and
    /// what the others say of theirs is a second old at most.
    pub(in crate::http) fn erasure(&self, by: Position) -> ErasureElsewhere {
        let present = self.shared.peers().unwrap_or_default();
        let nodes = self.shared.key_holders().map(|holders| {
            let told = holders.into_iter().map(|holder| {
                let is_this_one = holder.node == self.shared.node();
                NodeErasureView {
                    done: is_this_one || holder.erased_through >= by.0,
                    present: is_this_one || present.iter().any(|peer| peer.node == holder.node),
                    said_at: Timestamp::from_millis(holder.at),
                    erased_through: if is_this_one {
                        by.max(Position(holder.erased_through))
                    } else {
                        Position(holder.erased_through)
                    },
                    node: holder.node,
                    address: holder.address,
                }
            });
            told.collect()
        });
        ErasureElsewhere { nodes, at_broker: self.shared.erased_at_broker() >= by }
    }
}
