//! How a node takes part in a cluster, as its settings say.

use std::{path::PathBuf, sync::Arc};

use tenure_log::jetstream::BrokerAccess;

use super::certificates::NodeCertificates;

/// How a node takes part in a log of several machines.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// How the broker is reached.
    pub access: BrokerAccess,
    /// Where this node is reached.
    pub address: String,
    /// The file of the secret that all nodes share.
    pub secret_file: PathBuf,
    /// What it shows to other nodes, and judges them by.
    pub certificates: Arc<NodeCertificates>,
}

impl ClusterOptions {
    /// The name of the shared secret's file in a data directory.
    pub const SECRET_FILE: &str = "cluster.secret";
}
