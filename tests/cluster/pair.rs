//! Two nodes on one log: the first one leads, the second one follows it.

use std::path::Path;

use crate::{
    broker::{self, Broker},
    node::{Caller, Node, prepare},
};

/// Both nodes, an admin at each, and their directories. The first admin key is in that of the first node.
pub(crate) struct Pair {
    pub(crate) broker: Broker,
    pub(crate) first: Node,
    pub(crate) second: Node,
    pub(crate) leader: Caller,
    pub(crate) follower: Caller,
    pub(crate) dirs: Vec<tempfile::TempDir>,
}

impl Pair {
    /// Waits until one leads and the other follows; `None` where no broker is there to test this with.
    pub(crate) fn start(test: &str) -> Option<Self> {
        Self::start_with(test, &[])
    }

    /// The same with more settings.
    pub(crate) fn start_with(test: &str, settings: &[&str]) -> Option<Self> {
        Self::start_by(test, |broker, data, _| Node::start_with(&broker.url(), data, settings))
    }

    /// The same under a clock that the test moves.
    pub(crate) fn start_under_clock(test: &str) -> Option<Self> {
        Self::start_by(test, |broker, data, _| Node::start_under_clock(&broker.url(), data))
    }

    /// The same, each node started by this: number 0, and number 1 once that leads.
    pub(crate) fn start_by(test: &str, mut start: impl FnMut(&Broker, &Path, usize) -> Node) -> Option<Self> {
        let broker = Broker::start(&broker::program(test)?);
        let dirs = prepare(&broker, 2);
        let keys = dirs[0].path();
        let mut first = start(&broker, keys, 0);
        let leader = first.leader(keys);
        let mut second = start(&broker, dirs[1].path(), 1);
        let follower = second.follower(keys);
        Some(Self { broker, first, second, leader, follower, dirs })
    }

    /// Where the first admin key is.
    pub(crate) fn keys(&self) -> &Path {
        self.dirs[0].path()
    }
}
