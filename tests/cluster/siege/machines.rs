//! The machines, the network between them, and what goes wrong with both.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use tenure::clock::{pause, stopwatch};
use tenure_testing::{lossy_link::LossyLink, network::Network};

use super::{CERTAIN, Chance, SETTINGS};
use crate::{
    broker::{Broker, Mesh},
    node::{Caller, Node, Reply, cluster_on, prepare_on},
};

/// Longer than the lease; and after that long nothing that was noted waits to be recorded.
const NAP: Duration = Duration::from_millis(4_500);

/// Longer than a leader waits for a certain answer, and than it waited for its keys after that.
const GONE: Duration = Duration::from_secs(35);
/// By then all is well again after any fault.
const WHOLE: Duration = Duration::from_secs(40);

/// What happens to the machines or to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    LeaderSleeps,
    LeaderDies,
    LeaderIsGone,
    LeaderIsCutOff,
    LeaderStops,
    LeaderHandsOver,
    FollowerSleeps,
    FollowerDies,
    FollowerIsCutOff,
    BrokersLeaderDies,
    BrokersLeaderSleeps,
    BrokersLeaderIsCutOff,
    BrokerDies,
    BrokerSleeps,
    BrokerIsCutOff,
    AllBrokersSleep,
    AllBrokersDie,
    AllBrokersAreGone,
}

impl Fault {
    pub(super) const ALL: [Self; 18] = [
        Self::LeaderSleeps,
        Self::LeaderDies,
        Self::LeaderIsGone,
        Self::LeaderIsCutOff,
        Self::LeaderStops,
        Self::LeaderHandsOver,
        Self::FollowerSleeps,
        Self::FollowerDies,
        Self::FollowerIsCutOff,
        Self::BrokersLeaderDies,
        Self::BrokersLeaderSleeps,
        Self::BrokersLeaderIsCutOff,
        Self::BrokerDies,
        Self::BrokerSleeps,
        Self::BrokerIsCutOff,
        Self::AllBrokersSleep,
        Self::AllBrokersDie,
        Self::AllBrokersAreGone,
    ];
}

/// A node's ways: to each broker, and of the other nodes to it.
struct Links {
    to_brokers: Vec<LossyLink>,
    to_it: LossyLink,
}

impl Links {
    fn all(&self) -> impl Iterator<Item = &LossyLink> {
        self.to_brokers.iter().chain([&self.to_it])
    }
}

/// What is between the machines, and can be cut.
enum Wiring {
    /// A network of the kernel's. The brokers' machines come first.
    Kernel(Network),
    /// Programs, where this machine has no such network: what they hold arrives once it is mended.
    Links { of_nodes: Vec<Links>, between_brokers: Option<Mesh> },
}

/// Three nodes, and one broker or three.
pub(super) struct Machines {
    brokers: Vec<Broker>,
    /// Past all that can be cut.
    url: String,
    pub(super) nodes: Vec<Node>,
    /// It goes after all that runs on it.
    wiring: Wiring,
    pub(super) callers: Vec<Caller>,
    pub(super) dirs: Vec<tempfile::TempDir>,
    chance: Chance,
    pub(super) done: Arc<AtomicU64>,
}

const NODES: usize = 3;

impl Machines {
    pub(super) fn new(program: &Path, is_long: bool, seed: u64) -> Self {
        let brokers = if is_long { 3 } else { 1 };
        let (brokers, mut wiring) = match Network::of(brokers + NODES) {
            Some(network) => (Broker::on(&network.machines()[..brokers], program), Wiring::Kernel(network)),
            None if is_long => {
                let (brokers, mesh) = Broker::three_apart(program);
                (brokers, Wiring::Links { of_nodes: vec![], between_brokers: Some(mesh) })
            }
            None => {
                let wiring = Wiring::Links { of_nodes: vec![], between_brokers: None };
                (vec![Broker::start(program)], wiring)
            }
        };
        let url = address(brokers.iter().map(|broker| local(broker.port())));
        let dirs = prepare_on(&url, brokers.len(), NODES);
        let mut nodes: Vec<Node> = vec![];
        for dir in &dirs {
            nodes.push(wiring.start(nodes.len(), &brokers, dir.path()));
            if nodes.len() == 1 {
                nodes[0].leader(dir.path());
            }
        }
        let callers: Vec<_> = nodes.iter_mut().map(|node| node.admin(dirs[0].path()).patient(8)).collect();
        callers[0].waits_for_role("leader");
        Self { brokers, url, nodes, wiring, callers, dirs, chance: Chance(seed), done: Arc::default() }
    }

    /// One of the faults that can happen here.
    pub(super) fn drawn(&mut self) -> Fault {
        Fault::ALL[self.below(Fault::ALL.len())]
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.chance.next(count as u64)).unwrap()
    }

    /// Which node leads; waits for one.
    fn leader(&self) -> usize {
        self.leader_but(None)
    }

    /// The same, if it is not this one.
    fn leader_but(&self, not: Option<usize>) -> usize {
        let begun = stopwatch();
        loop {
            for (index, caller) in self.callers.iter().enumerate().filter(|(index, _)| Some(*index) != not) {
                let ready = caller.send("GET", "/readyz", &[], None);
                if ready.is_some_and(|ready| ready.body["role"] == "leader") {
                    return index;
                }
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "nobody leads: {}", self.tells());
            pause(Duration::from_millis(50));
        }
    }

    fn follower(&mut self) -> usize {
        let leader = self.leader();
        let others: Vec<_> = (0..self.nodes.len()).filter(|index| *index != leader).collect();
        others[self.below(others.len())]
    }

    /// The broker that leads the log; waits for one.
    fn brokers_leader(&self) -> usize {
        let begun = stopwatch();
        loop {
            let (status, said) = cluster_on(&self.url, &["status", "-o", "json"]);
            let said: Value = if status.success() { last_document(&said) } else { Value::Null };
            let named =
                said["items"][0]["leader"].as_str().and_then(|name| name.strip_prefix('n')?.parse().ok());
            if self.brokers.len() == 1 {
                return 0;
            }
            if let Some(broker) = named {
                return broker;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "the brokers have no leader: {said}");
            pause(Duration::from_millis(100));
        }
    }

    fn other_broker(&mut self) -> usize {
        let leader = self.brokers_leader();
        let others: Vec<_> = (0..self.brokers.len()).filter(|index| *index != leader).collect();
        others[self.below(others.len())]
    }

    /// Waits until all nodes serve, and one of them is sure of its lead.
    pub(super) fn is_whole(&self) {
        let begun = stopwatch();
        loop {
            let said: Vec<_> = self.callers.iter().map(|at| at.send("GET", "/readyz", &[], None)).collect();
            let ready = said.iter().flatten().filter(|said| said.status == 200);
            let leads = |said: &&Reply| said.body["role"] == "leader" && said.body["stalenessMs"] == 0;
            if ready.clone().count() == said.len() && ready.filter(leads).count() == 1 {
                return;
            }
            let told = || said.iter().map(|said| said.as_ref().map(|said| &said.body)).collect::<Vec<_>>();
            assert!(begun.elapsed() < WHOLE, "it does not come back: {:#?}\n{}", told(), self.tells());
            pause(Duration::from_millis(50));
        }
    }

    /// What the brokers and the nodes say of themselves.
    fn tells(&self) -> String {
        let brokers = cluster_on(&self.url, &["status"]).1;
        let last = |node: &Node| {
            let said = node.said();
            let lines: Vec<_> = said.lines().rev().take(40).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        self.nodes.iter().map(last).fold(brokers, |all, node| format!("{all}\n\n{node}"))
    }

    /// Waits until so much more is done.
    pub(super) fn goes_on(&self) -> Duration {
        let (begun, wanted) = (stopwatch(), self.done.load(Ordering::SeqCst) + 20);
        while self.done.load(Ordering::SeqCst) < wanted {
            assert!(begun.elapsed() < CERTAIN, "nothing is acknowledged any more: {}", self.tells());
            pause(Duration::from_millis(10));
        }
        begun.elapsed()
    }

    fn leader_sleeps(&self) {
        let node = self.leader();
        self.nodes[node].signal(Signal::STOP);
        self.leader_but(Some(node));
        self.nodes[node].signal(Signal::CONT);
    }

    /// One that comes back at once takes its own lease again; this one does not.
    fn leader_is_gone(&mut self) {
        let node = self.leader();
        self.nodes[node].kill();
        self.leader_but(Some(node));
        self.nodes[node].restart();
    }

    fn leader_is_cut_off(&self) {
        let node = self.leader();
        self.wiring.cut_off_node(node, self.brokers.len());
        self.leader_but(Some(node));
        self.wiring.mend();
    }

    fn sleeps(&self, node: usize) {
        self.nodes[node].signal(Signal::STOP);
        pause(NAP);
        self.nodes[node].signal(Signal::CONT);
    }

    fn dies(&mut self, node: usize) {
        self.nodes[node].kill();
        pause(Duration::from_millis(300));
        self.nodes[node].restart();
    }

    fn is_cut_off(&self, node: usize) {
        self.wiring.cut_off_node(node, self.brokers.len());
        pause(NAP);
        self.wiring.mend();
    }

    fn broker_dies(&mut self, broker: usize) {
        self.brokers[broker].kill();
        // Where it is the only one, nothing goes on without it.
        if self.brokers.len() > 1 {
            self.goes_on();
        }
        self.brokers[broker].begin();
    }

    fn broker_sleeps(&self, broker: usize) {
        self.brokers[broker].freeze();
        pause(Duration::from_secs(3));
        self.brokers[broker].thaw();
    }

    fn broker_is_cut_off(&self, broker: usize) {
        self.wiring.cut_off_broker(broker);
        pause(NAP);
        self.wiring.mend();
    }

    pub(super) fn happens(&mut self, fault: Fault) {
        match fault {
            Fault::LeaderSleeps => self.leader_sleeps(),
            Fault::LeaderDies => self.dies(self.leader()),
            Fault::LeaderIsGone => self.leader_is_gone(),
            Fault::LeaderIsCutOff => self.leader_is_cut_off(),
            Fault::LeaderStops => {
                let leader = self.leader();
                self.nodes[leader].signal(Signal::TERM);
                assert!(self.nodes[leader].ends().success(), "{}", self.nodes[leader].said());
                self.nodes[leader].restart();
            }
            Fault::LeaderHandsOver => {
                let any = self.below(self.callers.len());
                drop(self.callers[any].send("POST", "/v1/cluster/handover", &[], None));
            }
            Fault::FollowerSleeps => {
                let follower = self.follower();
                self.sleeps(follower);
            }
            Fault::FollowerDies => {
                let follower = self.follower();
                self.dies(follower);
            }
            Fault::FollowerIsCutOff => {
                let follower = self.follower();
                self.is_cut_off(follower);
            }
            Fault::BrokersLeaderDies => self.broker_dies(self.brokers_leader()),
            Fault::BrokersLeaderSleeps => self.broker_sleeps(self.brokers_leader()),
            Fault::BrokersLeaderIsCutOff => self.broker_is_cut_off(self.brokers_leader()),
            Fault::BrokerDies => {
                let broker = self.other_broker();
                self.broker_dies(broker);
            }
            Fault::BrokerSleeps => {
                let broker = self.other_broker();
                self.broker_sleeps(broker);
            }
            Fault::BrokerIsCutOff => {
                let broker = self.other_broker();
                self.broker_is_cut_off(broker);
            }
            Fault::AllBrokersSleep => {
                self.brokers.iter().for_each(Broker::freeze);
                pause(Duration::from_secs(3));
                self.brokers.iter().for_each(Broker::thaw);
            }
            Fault::AllBrokersDie => {
                self.brokers.iter_mut().for_each(Broker::kill);
                self.brokers.iter_mut().for_each(Broker::begin);
            }
            Fault::AllBrokersAreGone => {
                self.brokers.iter_mut().for_each(Broker::kill);
                pause(GONE);
                self.brokers.iter_mut().for_each(Broker::begin);
            }
        }
    }

    /// The last event that the first node has.
    pub(super) fn position(&self) -> Option<u64> {
        position(&self.callers[0])
    }

    /// Ends when all nodes have the same log, and nothing more is recorded.
    pub(super) fn settles(&self) {
        let begun = stopwatch();
        let mut last = (vec![], stopwatch());
        loop {
            let all: Vec<_> = self.callers.iter().map(position).collect();
            let is_same = all.iter().all(|position| position.is_some() && *position == all[0]);
            if !is_same || last.0 != all {
                last = (all, stopwatch());
            } else if last.1.elapsed() > NAP {
                return;
            }
            assert!(begun.elapsed() < Duration::from_mins(1), "they do not come to agree: {last:?}");
            pause(Duration::from_millis(100));
        }
    }
}

impl Wiring {
    /// Starts a node behind all that can be cut.
    fn start(&mut self, number: usize, brokers: &[Broker], data: &Path) -> Node {
        match self {
            Self::Kernel(network) => {
                let (of_brokers, of_nodes) = network.machines().split_at(brokers.len());
                let url = address(of_brokers.iter().map(Broker::address_of));
                Node::start_on(&of_nodes[number], &url, data, &SETTINGS)
            }
            Self::Links { of_nodes, .. } => {
                let to_brokers: Vec<_> = brokers.iter().map(|broker| LossyLink::to(broker.port())).collect();
                let url = address(to_brokers.iter().map(|way| local(way.port())));
                let (node, to_it) = Node::start_behind_a_way(&url, data, &SETTINGS);
                of_nodes.push(Links { to_brokers, to_it });
                node
            }
        }
    }

    fn cut_off_node(&self, node: usize, brokers: usize) {
        match self {
            Self::Kernel(network) => network.cut_off(brokers + node),
            Self::Links { of_nodes, .. } => of_nodes[node].all().for_each(LossyLink::cut),
        }
    }

    /// A kernel's network has nothing between a broker and its nodes that is not between the broker and the others too.
    fn cut_off_broker(&self, broker: usize) {
        match self {
            Self::Kernel(network) => network.cut_off(broker),
            Self::Links { between_brokers, .. } => {
                if let Some(mesh) = between_brokers {
                    mesh.cut_off(broker);
                }
            }
        }
    }

    fn mend(&self) {
        match self {
            Self::Kernel(network) => network.mend(),
            Self::Links { of_nodes, between_brokers } => {
                of_nodes.iter().flat_map(Links::all).for_each(LossyLink::mend);
                between_brokers.iter().for_each(Mesh::mend);
            }
        }
    }
}

fn address(hosts: impl Iterator<Item = String>) -> String {
    format!("nats://{}", hosts.collect::<Vec<_>>().join(","))
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// The document in what a command has said beside it.
fn last_document(said: &str) -> Value {
    let document = said.find("{\n").or_else(|| said.find('{')).map_or("", |at| &said[at..]);
    serde_json::Deserializer::from_str(document).into_iter().next().and_then(Result::ok).unwrap_or_default()
}

/// The last event that a node has; none while it does not answer.
fn position(caller: &Caller) -> Option<u64> {
    let text = caller.text("/metrics")?;
    text.lines().find_map(|line| line.strip_prefix("tenure_position "))?.trim().parse().ok()
}
