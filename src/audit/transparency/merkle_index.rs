//! The upper part of the tree, so that a proof need not read the log.
//!
//! Every block of 256 records has its root here, and all above them: a quarter of a byte per record. Those of the latest
//! part of the history are in memory, those before in the indexes of the log's segments. What is below is
//! computed from the records of a block whenever a proof needs it; a proof touches three blocks at most, and a block
//! read from the log must have the root kept of it. All of it is derived: a start builds it from the
//! log, as it does the projections.

use std::{collections::VecDeque, ops::Range};

use parking_lot::RwLock;

use super::proof::{NodeHash, ProofError, consistency_parts, inclusion_parts};
use tenure_core::Position;
use tenure_log::{
    EventLog, IndexedHistory, LogError, RootHash, StoredCommit,
    tree::{leaf, no_leaves, parent},
};

/// Blocks of 2⁸ records: small enough to be read for a proof, large enough that their roots take no room.
const BLOCK_LEVEL: u32 = 8;
const BLOCK: u64 = 1 << BLOCK_LEVEL;

/// Why there is no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofFailure {
    /// It asks for what is not in the tree.
    #[error(transparent)]
    Beyond(#[from] ProofError),
    /// The log does not give back what was folded.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The tree over all records that were folded, ready to prove.
#[derive(Debug, Default)]
pub struct MerkleIndex {
    kept: RwLock<TreeNodes>,
}

/// What is kept of the tree.
#[derive(Debug, Default)]
struct TreeNodes {
    /// The roots of whole blocks, of pairs of blocks, and so on up.
    levels: Vec<TreeLevel>,
    /// The leaves of the last, incomplete block.
    rest: Vec<NodeHash>,
}

/// The nodes of one level, from one of them on.
#[derive(Debug, Default)]
struct TreeLevel {
    /// Number of earlier nodes, which the indexes of the log hold.
    gone: u64,
    nodes: VecDeque<NodeHash>,
}

impl TreeLevel {
    fn count(&self) -> u64 {
        self.gone + self.nodes.len() as u64
    }

    fn get(&self, index: u64) -> Option<&NodeHash> {
        self.nodes.get(place(index.checked_sub(self.gone)?))
    }

    /// The last one, if it is the left one of two.
    fn peak(&self) -> Option<&NodeHash> {
        self.nodes.back().filter(|_| self.count() % 2 == 1)
    }

    /// Forgets those before this number.
    fn let_go(&mut self, before: u64) {
        let going = before.saturating_sub(self.gone).min(self.nodes.len() as u64);
        self.nodes.drain(..place(going));
        self.nodes.shrink_to(2 * self.nodes.len());
        self.gone += going;
    }
}

impl MerkleIndex {
    /// The tree over all records of this history, of which nothing but what is needed to grow is in memory: what a start
    /// from a checkpoint needs. The commits after that are folded as ever.
    ///
    /// # Errors
    /// The last records cannot be read.
    pub fn from_index(indexed: &IndexedHistory) -> Result<Self, LogError> {
        let tree = indexed.tree();
        let rest = indexed.open_records()?.iter().map(leaf).collect::<Vec<_>>();
        let mut peaks = tree.peaks().iter();
        let mut levels: Vec<TreeLevel> = (BLOCK_LEVEL..u64::BITS - tree.size().leading_zeros())
            .rev()
            .map(|level| {
                let count = tree.size() >> level;
                let peak = (count % 2 == 1).then(|| peaks.next().copied()).flatten();
                TreeLevel { gone: count - count % 2, nodes: peak.into_iter().collect() }
            })
            .collect();
        levels.reverse();
        let kept = TreeNodes { levels, rest };
        if kept.size() == tree.size() && kept.root() == tree.root() {
            return Ok(Self { kept: RwLock::new(kept) });
        }
        let why = "the last records are not those of the tree".to_owned();
        Err(LogError::Corrupt { position: Position(tree.size()), why })
    }

    /// What was completed up to this position can be asked of the log from now on, so memory lets go of it.
    pub fn let_go(&self, until: Position) {
        let mut kept = self.kept.write();
        for (level, nodes) in (BLOCK_LEVEL..).zip(&mut kept.levels) {
            // The left one of two stays until the right one is there.
            nodes.let_go(until.0.checked_shr(level).unwrap_or(0) & !1);
        }
    }

    /// Adds the records of one commit; they come in order.
    pub fn fold(&self, stored: &StoredCommit) {
        self.fold_leaves(&stored.record_hashes.iter().map(leaf).collect::<Vec<_>>());
    }

    /// The same of a commit whose leaves are known.
    pub fn fold_leaves(&self, leaves: &[NodeHash]) {
        let mut kept = self.kept.write();
        for leaf in leaves {
            kept.append(*leaf);
        }
    }

    /// How many nodes are in memory.
    pub fn nodes_in_memory(&self) -> usize {
        let kept = self.kept.read();
        kept.rest.len() + kept.levels.iter().map(|level| level.nodes.len()).sum::<usize>()
    }

    /// How many records were folded.
    pub fn size(&self) -> u64 {
        self.kept.read().size()
    }

    /// How many records were folded, and the root over them.
    pub fn head(&self) -> (u64, RootHash) {
        let kept = self.kept.read();
        (kept.size(), kept.root())
    }

    /// The root over the first `size` records.
    ///
    /// # Errors
    /// See [`ProofFailure`].
    pub fn root(&self, log: &dyn EventLog, size: u64) -> Result<RootHash, ProofFailure> {
        self.expect_within(size)?;
        if size == 0 {
            return Ok(no_leaves());
        }
        Ok(RootHash::from_bytes(ProofBuilder::new(self, log).part(0..size)?))
    }

    /// The leaf at a position, and the hashes that prove it in the tree of `size` records.
    ///
    /// # Errors
    /// See [`ProofFailure`]; a position is from 1 to `size`.
    pub fn inclusion(
        &self,
        log: &dyn EventLog,
        position: Position,
        size: u64,
    ) -> Result<(NodeHash, Vec<NodeHash>), ProofFailure> {
        self.expect_within(size)?;
        if position == Position::ZERO || position.0 > size {
            return Err(ProofError::Beyond { asked: position.0, size }.into());
        }
        let index = position.0 - 1;
        let mut proving = ProofBuilder::new(self, log);
        let leaf = proving.part(index..position.0)?;
        Ok((leaf, proving.parts(inclusion_parts(index, size))?))
    }

    /// The hashes that prove that the first `from` records of the first `to` are a tree of their own.
    ///
    /// # Errors
    /// See [`ProofFailure`].
    pub fn consistency(&self, log: &dyn EventLog, from: u64, to: u64) -> Result<Vec<NodeHash>, ProofFailure> {
        self.expect_within(to)?;
        if from > to {
            return Err(ProofError::Beyond { asked: from, size: to }.into());
        }
        ProofBuilder::new(self, log).parts(consistency_parts(from, to))
    }

    fn expect_within(&self, asked: u64) -> Result<(), ProofError> {
        let size = self.size();
        if asked > size { Err(ProofError::Beyond { asked, size }) } else { Ok(()) }
    }
}

impl TreeNodes {
    fn size(&self) -> u64 {
        self.levels.first().map_or(0, TreeLevel::count) * BLOCK + self.rest.len() as u64
    }

    fn append(&mut self, leaf: NodeHash) {
        self.rest.push(leaf);
        if self.rest.len() as u64 == BLOCK {
            let root = whole(&self.rest);
            self.rest.clear();
            self.add(0, root);
        }
    }

    /// Adds a node; when it is the right one of two, the one above them too.
    fn add(&mut self, level: usize, node: NodeHash) {
        if self.levels.len() == level {
            self.levels.push(TreeLevel::default());
        }
        let nodes = &mut self.levels[level];
        let left = nodes.peak().copied();
        nodes.nodes.push_back(node);
        if let Some(left) = left {
            self.add(level + 1, parent(&left, &node));
        }
    }

    fn root(&self) -> RootHash {
        let peaks = self.levels.iter().filter_map(|nodes| nodes.peak().copied());
        let small =
            subtrees(0..self.rest.len() as u64).into_iter().rev().map(|part| whole(of(&self.rest, &part)));
        let joined = small.chain(peaks).reduce(|right, left| parent(&left, &right));
        joined.map_or_else(no_leaves, RootHash::from_bytes)
    }
}

/// One proof in the making, with the blocks that it has read.
struct ProofBuilder<'a> {
    nodes: &'a MerkleIndex,
    log: &'a dyn EventLog,
    blocks: Vec<(u64, Vec<NodeHash>)>,
}

impl<'a> ProofBuilder<'a> {
    const fn new(nodes: &'a MerkleIndex, log: &'a dyn EventLog) -> Self {
        Self { nodes, log, blocks: Vec::new() }
    }

    fn parts(&mut self, parts: Vec<Range<u64>>) -> Result<Vec<NodeHash>, ProofFailure> {
        parts.into_iter().map(|part| self.part(part)).collect()
    }

    /// The root over a part of the tree, which begins where a whole subtree of its size could.
    fn part(&mut self, part: Range<u64>) -> Result<NodeHash, ProofFailure> {
        let mut joined: Option<NodeHash> = None;
        for subtree in subtrees(part).into_iter().rev() {
            let left = self.subtree(&subtree)?;
            joined = Some(joined.map_or(left, |right| parent(&left, &right)));
        }
        Ok(joined.expect("no part of a proof is empty"))
    }

    /// The root of a whole subtree.
    fn subtree(&mut self, part: &Range<u64>) -> Result<NodeHash, ProofFailure> {
        let length = part.end - part.start;
        if length >= BLOCK {
            return Ok(self.node(length.ilog2() - BLOCK_LEVEL, part.start / length)?);
        }
        let number = part.start / BLOCK;
        let start = number * BLOCK;
        Ok(whole(of(self.block(number)?, &(part.start - start..part.end - start))))
    }

    /// A complete node. Memory is asked first: what it has let go of is in an index.
    fn node(&self, level: u32, index: u64) -> Result<NodeHash, LogError> {
        let known = self.nodes.kept.read().levels[level as usize].get(index).copied();
        known.map_or_else(|| self.log.indexed().node(level, index), Ok)
    }

    /// The leaves of a block. The log is read while no lock is held: folding never waits for it.
    fn block(&mut self, number: u64) -> Result<&[NodeHash], ProofFailure> {
        let known = self.blocks.iter().position(|(known, _)| *known == number);
        let index = known.map_or_else(|| self.read(number), Ok)?;
        Ok(&self.blocks[index].1)
    }

    fn read(&mut self, number: u64) -> Result<usize, LogError> {
        let leaves = self.leaves(number)?;
        self.blocks.push((number, leaves));
        Ok(self.blocks.len() - 1)
    }

    fn leaves(&self, number: u64) -> Result<Vec<NodeHash>, LogError> {
        let is_open = |kept: &TreeNodes| number >= kept.levels.first().map_or(0, TreeLevel::count);
        let open = Some(self.nodes.kept.read()).filter(|kept| is_open(kept)).map(|kept| kept.rest.clone());
        if let Some(rest) = open {
            return Ok(rest);
        }
        let root = self.node(0, number)?;
        let leaves = read_block(self.log, number)?;
        if leaves.len() as u64 == BLOCK && whole(&leaves) == root {
            return Ok(leaves);
        }
        let why = format!("the {BLOCK} records from here on are not those that were read before");
        Err(LogError::Corrupt { position: Position(number * BLOCK + 1), why })
    }
}

fn read_block(log: &dyn EventLog, number: u64) -> Result<Vec<NodeHash>, LogError> {
    let (before, last) = (number * BLOCK, (number + 1) * BLOCK);
    let mut leaves = Vec::new();
    let mut at = before;
    while at < last {
        let page = log.read(Position(at), place(last - at))?;
        let Some(end) = page.last() else { break };
        at = end.last().0;
        for stored in &page {
            let records = stored.positions().zip(&stored.record_hashes);
            let within = records.filter(|(position, _)| (before + 1..=last).contains(&position.0));
            leaves.extend(within.map(|(_, record)| leaf(record)));
        }
    }
    Ok(leaves)
}

/// The whole subtrees that a part consists of, from left and large to right and small.
fn subtrees(part: Range<u64>) -> Vec<Range<u64>> {
    let mut found = Vec::new();
    let mut start = part.start;
    while start < part.end {
        let length = 1 << (part.end - start).ilog2();
        found.push(start..start + length);
        start += length;
    }
    found
}

/// The root over a power of two of leaves.
fn whole(leaves: &[NodeHash]) -> NodeHash {
    match leaves {
        [only] => *only,
        more => {
            let (left, right) = more.split_at(more.len() / 2);
            parent(&whole(left), &whole(right))
        }
    }
}

fn of<'a>(leaves: &'a [NodeHash], part: &Range<u64>) -> &'a [NodeHash] {
    &leaves[place(part.start)..place(part.end)]
}

fn place(number: u64) -> usize {
    usize::try_from(number).expect("what is in memory can be counted")
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::transparency::proof::{verify_consistency, verify_inclusion};
    use tenure_core::{
        Actor, Commit, Event, SessionId, StreamId, SystemEvent, Timestamp,
        event::{PresentedToken, TokensPresented},
        id::{CommitId, Generation},
    };
    use tenure_log::{MemoryLog, RecordHash, TreeEdge, encode};

    /// A log of commits of these many events, with its tree, and the root at every size.
    pub(crate) fn log_of(commits: &[usize]) -> (MemoryLog, MerkleIndex, Vec<RootHash>) {
        let (log, nodes, mut tree) = (MemoryLog::new(), MerkleIndex::default(), TreeEdge::new());
        let mut roots = vec![tree.root()];
        for &events in commits {
            let commit = commit(&log, events);
            log.append(log.head().position, vec![encode(&commit).unwrap()]).unwrap();
            let stored = log.read(Position(tree.size()), 1).unwrap().remove(0);
            for record in &stored.record_hashes {
                tree.append(record);
                roots.push(tree.root());
            }
            nodes.fold(&stored);
        }
        (log, nodes, roots)
    }

    fn commit(log: &MemoryLog, events: usize) -> Commit {
        let head = log.head().position;
        let presented = vec![PresentedToken {
            session_id: SessionId::from_bytes([7; 16]),
            generation: Generation::FIRST,
        }];
        Commit {
            id: CommitId::from_bytes([0; 16]),
            stream: StreamId::System,
            expected: head,
            recorded_at: Timestamp::ZERO,
            actor: Actor::AUTHORITY,
            correlation_id: None,
            idempotency: None,
            events: vec![Event::System(SystemEvent::TokensPresented(TokensPresented { presented })); events],
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn every_proof_holds_whatever_the_commits(
            commits in prop::collection::vec(1_usize..300, 1..12),
            asked in prop::collection::vec((0.0_f64..1.0, 0.0_f64..1.0), 30),
        ) {
            let (log, nodes, roots) = log_of(&commits);
            let end = roots.len() as u64 - 1;
            prop_assert_eq!(nodes.head(), (end, roots[place(end)]));
            for (small, large) in asked {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
                    reason = "some number below another")]
                let part = |share: f64, of: u64| (share * (of + 1) as f64) as u64;
                let to = part(large, end);
                let from = part(small, to);
                let head = |size: u64| (size, roots[place(size)]);
                prop_assert_eq!(nodes.root(&log, to).unwrap(), roots[place(to)]);
                let proof = nodes.consistency(&log, from, to).unwrap();
                prop_assert_eq!(verify_consistency(head(from), head(to), &proof), Ok(()));
                if from > 0 {
                    let (leaf, proof) = nodes.inclusion(&log, Position(from), to).unwrap();
                    prop_assert_eq!(verify_inclusion(&leaf, from - 1, head(to), &proof), Ok(()));
                }
            }
        }
    }

    #[test]
    fn the_root_is_right_at_every_size() {
        let nodes = MerkleIndex::default();
        let mut tree = TreeEdge::new();
        for n in 0..3_000_u32 {
            let record = RecordHash::from_bytes(blake3::hash(&n.to_be_bytes()).into());
            assert_eq!(nodes.head(), (tree.size(), tree.root()));
            nodes.kept.write().append(leaf(&record));
            tree.append(&record);
        }
    }

    #[test]
    fn what_is_not_there_is_not_proved() {
        let (log, nodes, _) = log_of(&[300, 5]);
        let beyond = |asked, size| ProofFailure::Beyond(ProofError::Beyond { asked, size });
        assert_eq!(nodes.root(&log, 306), Err(beyond(306, 305)));
        assert_eq!(nodes.inclusion(&log, Position(0), 305), Err(beyond(0, 305)));
        assert_eq!(nodes.inclusion(&log, Position(12), 11), Err(beyond(12, 11)));
        assert_eq!(nodes.consistency(&log, 12, 11), Err(beyond(12, 11)));
        assert_eq!(nodes.consistency(&log, 12, 400), Err(beyond(400, 305)));
    }

    #[test]
    fn a_log_that_gives_back_other_records_is_corrupt() {
        let (_, nodes, _) = log_of(&[300, 5]);
        let (other, _, _) = log_of(&[100, 205]);
        let said = nodes.inclusion(&other, Position(1), 305).unwrap_err();
        assert!(matches!(said, ProofFailure::Log(LogError::Corrupt { position: Position(1), .. })), "{said}");
        let (shorter, _, _) = log_of(&[30]);
        assert!(nodes.inclusion(&shorter, Position(1), 305).is_err());
    }
}
