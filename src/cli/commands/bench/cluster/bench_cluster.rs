//! Three nodes and three brokers.

use std::path::Path;

use serde_json::Value;
use tokio::{runtime::Runtime, time::timeout};

use super::{
    super::{failed, http::BenchConnection},
    machines::{BROKERS, BrokerCluster, NodeProcess, TIMEOUT, until},
};
use crate::cli::failure::CommandError;

/// Where everything runs.
pub(super) struct BenchCluster {
    // Ended before the brokers.
    pub(super) machines: Vec<NodeProcess>,
    pub(super) brokers: BrokerCluster,
    pub(super) key: String,
    runtime: Runtime,
}

impl BenchCluster {
    pub(super) fn start(program: &Path, dir: &Path) -> Result<Self, CommandError> {
        let brokers = BrokerCluster::start(program, dir)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let mut house = Self { machines: vec![], brokers, key: String::new(), runtime };
        for number in 0..BROKERS {
            let data = dir.join(format!("node-{number}"));
            house.machines.push(NodeProcess::start(&house.brokers, &data)?);
            if number == 0 {
                house.key = first_key(&data)?;
                house.is_whole()?;
            }
        }
        house.is_whole()?;
        Ok(house)
    }

    pub(super) fn hosts(&self) -> Vec<String> {
        self.machines.iter().map(|machine| machine.host.clone()).collect()
    }

    /// What a node says of itself; `None` while it is not ready.
    fn says(&self, node: usize) -> Option<Value> {
        let host = &self.machines[node].host;
        let asked = async {
            let mut connection = BenchConnection::open(host).await.ok()?;
            serde_json::from_slice(connection.ask("GET", "/readyz", &self.key, None).await.ok()?).ok()
        };
        self.runtime.block_on(async { timeout(TIMEOUT / 20, asked).await.ok()? })
    }

    fn led_by(&self) -> Option<usize> {
        (0..self.machines.len()).find(|node| self.says(*node).is_some_and(|said| said["role"] == "leader"))
    }

    /// The node that leads; waits for one.
    pub(super) fn leader(&self) -> Result<usize, CommandError> {
        let mut leader = None;
        until("a node leads", || {
            leader = self.led_by();
            Ok(leader.is_some())
        })?;
        leader.ok_or_else(|| failed("no node leads"))
    }

    /// Waits until all nodes serve, one leads, and all brokers have everything.
    pub(super) fn is_whole(&self) -> Result<(), CommandError> {
        self.brokers.are_whole()?;
        until("all nodes are ready", || {
            let all = || (0..self.machines.len()).map(|node| self.says(node));
            let leaders = all().flatten().filter(|said| said["role"] == "leader").count();
            Ok(leaders == 1 && all().all(|said| said.is_some()))
        })
    }

    /// Has the leader give the lead away.
    pub(super) fn hand_over(&self) -> Result<(), CommandError> {
        let host = &self.machines[self.leader()?].host;
        let asked = async {
            let mut connection = BenchConnection::open(host).await?;
            connection.ask("POST", "/v1/cluster/handover", &self.key, None).await.map(|_| ())
        };
        self.runtime.block_on(asked).map_err(failed)
    }
}

fn first_key(data: &Path) -> Result<String, CommandError> {
    let path = data.join("admin.key");
    until("the first node makes a key", || Ok(path.exists()))?;
    let key = std::fs::read_to_string(&path).map_err(|source| CommandError::File { path, source })?;
    Ok(key.trim().to_owned())
}
