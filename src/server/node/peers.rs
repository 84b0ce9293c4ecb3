//! The thread on which a node of a cluster hears of the others, and says how it is doing itself: the signed heads, and
//! which nodes there are. What is damaged here is made good (`history_mending`).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tenure_core::Position;
use tenure_log::jetstream::{BrokerError, FrameReader, KeyHolder, NodeRecord, NodeRegistry};
use tenure_protocol::clock::{stopwatch, wall_time};
use tenure_threads::worker::WorkerThread;

use super::{cluster::SharedLog, head_exchange::HeadExchange, history_mending::HistoryMending};
use crate::{authority::Authority, tokens::TokenKeyring};

/// How often it looks for heads and nodes.
const LOOK: Duration = Duration::from_millis(500);
/// How often a node says that it is there, if nothing is new.
const SAY: Duration = Duration::from_secs(5);

/// What it works with.
pub(super) struct PeerExchange {
    pub(super) registry: NodeRegistry,
    pub(super) frames: FrameReader,
    pub(super) exchange: Arc<HeadExchange>,
    pub(super) node: String,
    pub(super) shared: Arc<SharedLog>,
    pub(super) authority: Arc<Authority>,
    pub(super) keyring: TokenKeyring,
}

/// What this node has said of itself, and when.
struct PublishedStatus {
    leads: bool,
    difference: Option<String>,
    at: Instant,
    /// Up to which erasure it has destroyed keys.
    erased: Option<Position>,
}

impl PeerExchange {
    /// Begins, until what is given back is dropped.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(self) -> std::io::Result<WorkerThread> {
        WorkerThread::start("tenure-peers", move |stop| {
            let (mut said, mut is_away) = (None, false);
            let mending = HistoryMending::start(Arc::clone(&self.shared), self.frames.clone());
            let _mending = mending.inspect_err(|error| {
                tracing::warn!(%error, "no thread for damaged segments: they stay damaged");
            });
            loop {
                let looked = self.look(&mut said);
                tell(looked.as_ref().err(), &mut is_away);
                self.judge();
                if stop.pause(LOOK).is_break() {
                    break;
                }
            }
            drop(self.registry.leave(&self.node));
        })
    }

    fn look(&self, said: &mut Option<PublishedStatus>) -> Result<(), BrokerError> {
        self.exchange.look()?;
        let (leads, difference) = (self.shared.view().borrow().leads(), self.shared.difference());
        let is_new = |said: &PublishedStatus| said.leads != leads || said.difference != difference;
        if said.as_ref().is_none_or(|said| is_new(said) || said.at.elapsed() >= SAY) {
            self.registry.say(&self.record(leads, difference.clone()))?;
            let erased = said.as_ref().and_then(|said| said.erased);
            *said = Some(PublishedStatus { leads, difference, at: stopwatch(), erased });
        }
        if let Some(said) = said {
            self.say_erased(said)?;
        }
        let (nodes, holders) = self.registry.all_with_keys()?;
        // One that joins has no part in anything yet.
        let serving = nodes.into_iter().filter(|peer| peer.joining.is_none());
        self.shared.know_peers(serving.collect(), holders);
        Ok(())
    }

    /// Says how far this node has destroyed keys, once and whenever it has come further.
    fn say_erased(&self, said: &mut PublishedStatus) -> Result<(), BrokerError> {
        let erased = self.authority.texts().erased_through();
        if said.erased != Some(erased) {
            self.registry.say_erased(&KeyHolder::now(&self.node, self.shared.address(), erased.0))?;
            said.erased = Some(erased);
        }
        Ok(())
    }

    fn record(&self, leads: bool, difference: Option<String>) -> NodeRecord {
        let (term, stale) = {
            let view = self.shared.view();
            let view = view.borrow();
            (view.term(), view.staleness())
        };
        NodeRecord {
            node: self.node.clone(),
            address: self.shared.address().to_owned(),
            leads,
            position: self.authority.live().position().0,
            term,
            staleness_ms: stale.map(|stale| u64::try_from(stale.as_millis()).unwrap_or(u64::MAX)),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            keys: self.keyring.ids().iter().map(ToString::to_string).collect(),
            compared: self.exchange.compared(),
            difference,
            certificate: self.shared.certificates().own_validity().map(|own| own.name().to_owned()),
            joining: None,
            at: wall_time().as_millis(),
        }
    }

    /// Nothing is granted while a node says that its history is another one. A leader that says so itself gives the lead
    /// to a node that has found nothing.
    fn judge(&self) {
        let (own, peers) = (self.shared.difference(), self.shared.peers().unwrap_or_default());
        let others = peers.iter().filter(|peer| peer.node != self.node);
        let (leads, compared) = (self.shared.view().borrow().leads(), self.exchange.compared());
        // One that follows grants nothing anyway, and its own history is that of the others.
        let told = others.clone().filter(|_| leads);
        let told = told.filter_map(|peer| Some(format!("{}: {}", peer.address, peer.difference.as_ref()?)));
        self.authority.log_damage().differ(own.iter().cloned().chain(told).collect());
        let is_better = |peer: &NodeRecord| peer.difference.is_none() && peer.compared >= compared;
        if own.is_some() && leads && others.clone().any(is_better) {
            tracing::error!("this node is not sure of its history: it gives the lead to another one");
            self.shared.give_away();
        }
    }
}

/// An unreachable broker is reported once.
fn tell(error: Option<&BrokerError>, is_away: &mut bool) {
    if let Some(error) = error.filter(|_| !*is_away) {
        tracing::warn!(%error, "this node hears nothing of the others now");
    }
    *is_away = error.is_some();
}
