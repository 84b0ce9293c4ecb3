//! A part of the tree (RFC 6962, section 2.1) in few hashes: the roots of the full subtrees that cover the leaves
//! from one to another.
//!
//! Of the leaves from 0 on they are what [`TreeEdge`](tenure_log::TreeEdge) keeps. Two neighbouring ranges join to one, so
//! a history can be proved by a part of its records and the hashes of what is before and behind them.

use tenure_log::{
    RecordHash, RootHash,
    tree::{leaf, no_leaves, parent},
};

/// The leaves `begin..end`, in the fewest full subtrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactRange {
    begin: u64,
    end: u64,
    subtrees: Vec<Subtree>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Subtree {
    /// It has 2^level leaves.
    level: u32,
    /// How many subtrees of its level are to the left of it in the whole tree.
    index: u64,
    hash: [u8; 32],
}

impl CompactRange {
    /// No leaf yet; the first one to be added is that of the record at position `begin + 1`.
    pub const fn starting(begin: u64) -> Self {
        Self { begin, end: begin, subtrees: Vec::new() }
    }

    /// The leaves `begin..end`, given the hashes of their subtrees from left to right; `None` if there are too many
    /// or too few.
    pub fn of(begin: u64, end: u64, hashes: &[[u8; 32]]) -> Option<Self> {
        let mut range = Self::starting(begin);
        range.join_hashes(end, hashes).then_some(range)
    }

    /// Where it ends: the position of its last record.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// The hashes of its subtrees, from left to right.
    pub fn hashes(&self) -> impl Iterator<Item = [u8; 32]> {
        self.subtrees.iter().map(|subtree| subtree.hash)
    }

    /// Adds the record behind the last one.
    pub fn append(&mut self, record: &RecordHash) {
        self.push(0, leaf(record));
    }

    /// Adds the leaves up to `end` by the hashes of their subtrees; false when they are too many or too few, and
    /// then the range is not to be used any more.
    pub fn join_hashes(&mut self, end: u64, hashes: &[[u8; 32]]) -> bool {
        let mut hashes = hashes.iter();
        while self.end < end {
            let Some(hash) = hashes.next() else { return false };
            self.push(level_at(self.end, end), *hash);
        }
        self.end == end && hashes.next().is_none()
    }

    /// The node over its leaves, as a proof has it of one of its parts; `None` without leaves.
    pub fn node(&self) -> Option<[u8; 32]> {
        self.subtrees.iter().rev().map(|subtree| subtree.hash).reduce(|right, left| parent(&left, &right))
    }

    /// The root of the whole tree, when the range begins with its first leaf.
    pub fn root(&self) -> Option<RootHash> {
        if self.begin > 0 {
            return None;
        }
        Some(self.node().map_or_else(no_leaves, RootHash::from_bytes))
    }

    fn push(&mut self, level: u32, hash: [u8; 32]) {
        let mut last = Subtree { level, index: self.end >> level, hash };
        self.end += 1 << level;
        while let Some(left) = self.subtrees.pop_if(|left| are_siblings(left, &last)) {
            last = Subtree {
                level: last.level + 1,
                index: last.index / 2,
                hash: parent(&left.hash, &last.hash),
            };
        }
        self.subtrees.push(last);
    }
}

const fn are_siblings(left: &Subtree, right: &Subtree) -> bool {
    left.level == right.level && left.index.is_multiple_of(2) && left.index + 1 == right.index
}

/// The level of the largest full subtree that begins at `at` and ends at `end` at most.
fn level_at(at: u64, end: u64) -> u32 {
    (end - at).ilog2().min(at.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenure_log::TreeEdge;

    fn record(n: u64) -> RecordHash {
        RecordHash::from_bytes(blake3::hash(&n.to_be_bytes()).into())
    }

    fn range(begin: u64, end: u64) -> CompactRange {
        let mut range = CompactRange::starting(begin);
        (begin..end).for_each(|n| range.append(&record(n)));
        range
    }

    fn tree(size: u64) -> TreeEdge {
        let mut tree = TreeEdge::new();
        (0..size).for_each(|n| tree.append(&record(n)));
        tree
    }

    #[test]
    fn from_the_first_leaf_on_it_is_the_tree() {
        for size in 0..70 {
            assert_eq!(range(0, size).root(), Some(tree(size).root()), "{size}");
        }
    }

    #[test]
    fn three_neighbours_give_the_root_of_the_whole() {
        for (from, to, size) in
            (0..20).flat_map(|a| (a..20).flat_map(move |b| (b..20).map(move |c| (a, b, c))))
        {
            let before: Vec<_> = range(0, from).hashes().collect();
            let behind: Vec<_> = range(to, size).hashes().collect();
            let mut whole = CompactRange::of(0, from, &before).unwrap();
            (from..to).for_each(|n| whole.append(&record(n)));
            assert!(whole.join_hashes(size, &behind));
            assert_eq!(whole.root(), Some(tree(size).root()), "{from} {to} {size}");
        }
    }

    #[test]
    fn a_hash_too_many_or_too_few_is_refused() {
        let hashes: Vec<_> = range(3, 17).hashes().collect();
        assert!(CompactRange::of(3, 17, &hashes).is_some());
        assert!(CompactRange::of(3, 17, &hashes[1..]).is_none());
        assert!(CompactRange::of(3, 17, &[&hashes[..], &hashes[..1]].concat()).is_none());
        assert!(CompactRange::of(4, 4, &hashes[..1]).is_none());
    }
}
