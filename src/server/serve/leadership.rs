//! What a server does as one of several nodes: it delivers to webhooks only while it leads, and gives the lead away
//! before it stops.

use std::{sync::Arc, time::Duration};

use tenure_protocol::clock::stopwatch;
use tokio::time::sleep;

use crate::config::Config;
use crate::http::{ApiContext, ClusterNodes, hand_over};
use crate::node::{
    CertificateFiles, ClusterOptions, Node, NodeCertificates, NodeRole, OwnCertificateFiles, SharedLog,
};
use crate::notify::webhooks::Webhooks;

/// How long a stop waits for another node to lead.
const HANDOVER: Duration = Duration::from_secs(2);

/// How a node with these settings takes part in a log of several machines; none for a log of its own.
pub(super) fn cluster(config: &Config, certificates: Arc<NodeCertificates>) -> Option<ClusterOptions> {
    let cluster = &config.cluster;
    let scheme = if config.server.tls_cert.is_some() { "https" } else { "http" };
    let address = cluster.advertise.clone().unwrap_or_else(|| format!("{scheme}://{}", config.server.listen));
    let beside = config.data_dir.join(ClusterOptions::SECRET_FILE);
    let secret_file = cluster.secret_file.clone().unwrap_or(beside);
    Some(ClusterOptions { access: cluster.access()?, address, secret_file, certificates })
}

/// What nodes show each other; none for a log of its own.
pub(super) fn certificates(config: &Config) -> Result<Option<Arc<NodeCertificates>>, String> {
    let cluster = &config.cluster;
    if cluster.url.is_none() {
        return Ok(None);
    }
    let own = match (&cluster.node_ca, &cluster.node_cert, &cluster.node_key) {
        (Some(authority), Some(cert), Some(key)) => {
            Some(OwnCertificateFiles { authority: authority.clone(), cert: cert.clone(), key: key.clone() })
        }
        _ => None,
    };
    NodeCertificates::of(CertificateFiles { peers: cluster.tls_ca.clone(), own }).map(Some)
}

/// This node among the others, where there are some; from now on it hands over what it notes for the one that leads.
pub(super) fn take_part(config: &Config, node: &Node, api: &Arc<ApiContext>) -> Option<Arc<ClusterNodes>> {
    let shared = node.shared.as_ref()?;
    let most = Duration::from_secs(config.cluster.max_staleness.0.into());
    let nodes = ClusterNodes::new(Arc::clone(shared), most, config.cluster.forward);
    api.take_part(&nodes);
    tokio::spawn(hand_over(Arc::clone(api), Arc::clone(&nodes)));
    Some(nodes)
}

/// Delivers webhooks: all the time, or while this node leads.
pub(super) fn deliver_webhooks(node: &Node) {
    let Some(shared) = &node.shared else { return node.webhooks.start() };
    node.webhooks.share_progress(Arc::clone(shared) as _);
    tokio::spawn(deliver_while_leading(Arc::clone(&node.webhooks), Arc::clone(shared)));
}

async fn deliver_while_leading(webhooks: Arc<Webhooks>, shared: Arc<SharedLog>) {
    let mut view = shared.view();
    loop {
        tokio::select! {
            leads = view.wait_for(crate::node::MembershipView::leads) => if leads.is_err() { return },
            () = webhooks.stand_by() => {}
        }
        webhooks.start();
        let ended = view.wait_for(|view| !view.leads()).await.is_err();
        webhooks.stop().await;
        if ended {
            return;
        }
    }
}

/// Ends when this node can take part no more, and says why; never where there is only one.
pub(super) async fn over(shared: Option<Arc<SharedLog>>) {
    let Some(shared) = shared else { return std::future::pending().await };
    let mut view = shared.view();
    if view.wait_for(|view| matches!(view.role, NodeRole::Over(_))).await.is_err() {
        tracing::error!("the thread that takes part in the cluster has ended");
    }
}

/// Why this node can take part no more.
pub(super) fn why_over(shared: Option<&Arc<SharedLog>>) -> Option<String> {
    match &shared?.view().borrow().role {
        NodeRole::Over(why) => Some(why.clone()),
        NodeRole::Leads(_) | NodeRole::Follows => None,
    }
}

/// Gives the lead away and waits a moment until another node has it, so that requests are answered all the while.
pub(super) async fn give_away(shared: Option<&Arc<SharedLog>>) {
    let Some(shared) = shared else { return };
    let (view, begun) = (shared.view(), stopwatch());
    // Where there is no other node, the lease is given back at the end.
    if !view.borrow().leads() || shared.is_alone() {
        return;
    }
    shared.give_away();
    while begun.elapsed() < HANDOVER && (view.borrow().leads() || view.borrow().sight.leader.is_none()) {
        sleep(Duration::from_millis(5)).await;
    }
    let leader = view.borrow().sight.leader.as_ref().map(|claim| claim.address.clone());
    tracing::info!(leader, after = ?begun.elapsed(), "the lead was given away before the stop");
}
