//! Proofs in the tree: that a record is in it, and that one tree is the beginning of another (RFC 6962, section 2.1;
//! RFC 9162, sections 2.1.3 and 2.1.4).
//!
//! Making and judging share nothing but the hash of two neighbours. Who makes a proof asks which parts of the tree it
//! consists of, by the recursive definition; who judges one walks up the bits of the sizes, as the RFC's algorithm
//! does, and needs neither the tree nor the records.

use std::ops::Range;

use tenure_log::{
    RootHash,
    tree::{no_leaves, parent},
};

/// A node of the tree: thirty-two bytes of SHA-256.
pub type NodeHash = [u8; 32];

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// It asks of a tree what is not in it.
    #[error("{asked} is beyond the {size} records of the tree")]
    Beyond {
        /// A number of records, or a position.
        asked: u64,
        /// How many there are.
        size: u64,
    },
    /// Too few or too many hashes for these sizes.
    #[error("the proof has {given} hashes, which is not what trees of these sizes need")]
    Length {
        /// How many.
        given: usize,
    },
    /// The hashes lead to another root: leaf, proof or root was changed.
    #[error("the proof leads to another root")]
    OtherRoot,
}

/// The parts of a tree of `size` leaves whose roots prove the leaf at `index`, from the leaf up.
pub fn inclusion_parts(index: u64, size: u64) -> Vec<Range<u64>> {
    let mut parts = Vec::new();
    let mut within = 0..size;
    while within.end - within.start > 1 {
        let middle = split(&within);
        if index < middle {
            parts.push(middle..within.end);
            within.end = middle;
        } else {
            parts.push(within.start..middle);
            within.start = middle;
        }
    }
    parts.reverse();
    parts
}

/// The parts of a tree of `to` leaves whose roots prove that its first `from` leaves are a tree of their own.
pub fn consistency_parts(from: u64, to: u64) -> Vec<Range<u64>> {
    if from == 0 {
        return Vec::new();
    }
    let mut parts = Vec::new();
    let mut within = 0..to;
    while within.end != from {
        let middle = split(&within);
        if from <= middle {
            parts.push(middle..within.end);
            within.end = middle;
        } else {
            parts.push(within.start..middle);
            within.start = middle;
        }
    }
    // The verifier knows the root of the first leaves, if they are one whole part.
    if within.start > 0 {
        parts.push(within);
    }
    parts.reverse();
    parts
}

/// Where a tree of more than one leaf is divided: behind the largest power of two of leaves that leaves some over.
fn split(within: &Range<u64>) -> u64 {
    let half = (within.end - within.start).next_power_of_two() / 2;
    within.start + half
}

/// Judges that this leaf is the one at `index` of the tree of this size and root.
///
/// # Errors
/// See [`ProofError`].
pub fn verify_inclusion(
    leaf: &NodeHash,
    index: u64,
    (size, root): (u64, RootHash),
    hashes: &[NodeHash],
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::Beyond { asked: index.saturating_add(1), size });
    }
    let mut walk = RootPath { node: index, last: size - 1 };
    let mut hash = *leaf;
    for neighbour in hashes {
        hash = match walk.up().ok_or(ProofError::Length { given: hashes.len() })? {
            NodeSide::Left => parent(neighbour, &hash),
            NodeSide::Right => parent(&hash, neighbour),
        };
    }
    walk.expect_top(hashes.len())?;
    if hash == *root.as_bytes() { Ok(()) } else { Err(ProofError::OtherRoot) }
}

/// Judges that the tree of the one size and root is the beginning of the other.
///
/// Every tree begins with the empty one, whose root is known; that needs no hashes.
///
/// # Errors
/// See [`ProofError`].
pub fn verify_consistency(
    (from, from_root): (u64, RootHash),
    (to, to_root): (u64, RootHash),
    hashes: &[NodeHash],
) -> Result<(), ProofError> {
    let length = ProofError::Length { given: hashes.len() };
    if from > to {
        return Err(ProofError::Beyond { asked: from, size: to });
    }
    if from == 0 || from == to {
        let right = if from == to { to_root } else { no_leaves() };
        let fits = from_root == right && (to > 0 || to_root == no_leaves());
        return match (hashes.is_empty(), fits) {
            (false, _) => Err(length),
            (true, false) => Err(ProofError::OtherRoot),
            (true, true) => Ok(()),
        };
    }
    // A tree of a power of two of leaves is one part, whose root needs no sending.
    let (&seed, rest) = if from.is_power_of_two() {
        (from_root.as_bytes(), hashes)
    } else {
        hashes.split_first().ok_or(length)?
    };
    let mut walk = RootPath { node: from - 1, last: to - 1 };
    walk.skip(|node| node & 1 == 1);
    let (mut old, mut new) = (seed, seed);
    for neighbour in rest {
        match walk.up().ok_or(length)? {
            NodeSide::Left => (old, new) = (parent(neighbour, &old), parent(neighbour, &new)),
            NodeSide::Right => new = parent(&new, neighbour),
        }
    }
    walk.expect_top(hashes.len())?;
    if old == *from_root.as_bytes() && new == *to_root.as_bytes() {
        Ok(())
    } else {
        Err(ProofError::OtherRoot)
    }
}

/// The way from a node to the root, level by level: `fn` and `sn` of RFC 9162.
struct RootPath {
    node: u64,
    last: u64,
}

/// On which side of us the neighbour stands.
enum NodeSide {
    Left,
    Right,
}

impl RootPath {
    /// Goes up to where the next hash of the proof joins, and says from which side; `None` at the root.
    fn up(&mut self) -> Option<NodeSide> {
        if self.last == 0 {
            return None;
        }
        let is_left = self.node & 1 == 1 || self.node == self.last;
        if is_left {
            // The last node of a level may have no neighbour, and is then itself the one above.
            self.skip(|node| node & 1 == 0 && node != 0);
        }
        self.node >>= 1;
        self.last >>= 1;
        Some(if is_left { NodeSide::Left } else { NodeSide::Right })
    }

    fn skip(&mut self, while_so: impl Fn(u64) -> bool) {
        while while_so(self.node) {
            self.node >>= 1;
            self.last >>= 1;
        }
    }

    fn expect_top(&self, given: usize) -> Result<(), ProofError> {
        if self.last == 0 { Ok(()) } else { Err(ProofError::Length { given }) }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use sha2::{Digest, Sha256};
    use tlog_tiles::{Hash, check_record, check_tree};

    use super::*;
    use tenure_log::{RecordHash, TreeEdge, tree::leaf};

    /// The leaves of the tests of Certificate Transparency (google/certificate-transparency, `merkle_tree_test`).
    const CT_LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    fn ct_leaf(data: &[u8]) -> NodeHash {
        Sha256::new().chain_update([0]).chain_update(data).finalize().into()
    }

    fn mth(leaves: &[NodeHash]) -> NodeHash {
        match leaves {
            [] => *no_leaves().as_bytes(),
            [only] => *only,
            more => {
                let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
                parent(&mth(left), &mth(right))
            }
        }
    }

    fn part(leaves: &[NodeHash], part: Range<u64>) -> NodeHash {
        mth(&leaves[usize::try_from(part.start).unwrap()..usize::try_from(part.end).unwrap()])
    }

    fn inclusion(leaves: &[NodeHash], index: u64) -> Vec<NodeHash> {
        inclusion_parts(index, leaves.len() as u64).into_iter().map(|range| part(leaves, range)).collect()
    }

    fn consistency(leaves: &[NodeHash], from: u64) -> Vec<NodeHash> {
        consistency_parts(from, leaves.len() as u64).into_iter().map(|range| part(leaves, range)).collect()
    }

    fn head(leaves: &[NodeHash]) -> (u64, RootHash) {
        (leaves.len() as u64, RootHash::from_bytes(mth(leaves)))
    }

    fn theirs(hashes: &[NodeHash]) -> Vec<Hash> {
        hashes.iter().copied().map(Hash).collect()
    }

    #[test]
    fn the_vectors_of_certificate_transparency_hold() {
        let leaves = CT_LEAVES.map(ct_leaf);
        assert_eq!(hex(&mth(&leaves)), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
        // PATH(0, D[8]) and PROOF(6, D[8]) of the published vectors.
        let path: Vec<_> = inclusion(&leaves, 0).iter().map(|hash| hex(hash)).collect();
        assert_eq!(
            path,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ]
        );
        let proof: Vec<_> = consistency(&leaves, 6).iter().map(|hash| hex(hash)).collect();
        assert_eq!(
            proof,
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
    }

    fn leaves(count: u8) -> Vec<NodeHash> {
        (0..count).map(|n| leaf(&RecordHash::from_bytes([n; 32]))).collect()
    }

    #[test]
    fn every_inclusion_is_proved_to_us_and_to_another_implementation() {
        let all = leaves(70);
        for size in 1..=all.len() {
            let tree = &all[..size];
            for index in 0..size as u64 {
                let proof = inclusion(tree, index);
                let leaf = tree[usize::try_from(index).unwrap()];
                verify_inclusion(&leaf, index, head(tree), &proof).unwrap();
                let root = Hash(mth(tree));
                check_record(&theirs(&proof), size as u64, root, index, Hash(leaf)).unwrap();
            }
        }
    }

    #[test]
    fn every_consistency_is_proved_to_us_and_to_another_implementation() {
        let all = leaves(70);
        for to in 0..=all.len() {
            for from in 0..=to {
                let proof = consistency(&all[..to], from as u64);
                verify_consistency(head(&all[..from]), head(&all[..to]), &proof).unwrap();
                if from > 0 {
                    let (new, old) = (Hash(mth(&all[..to])), Hash(mth(&all[..from])));
                    check_tree(&theirs(&proof), to as u64, new, from as u64, old).unwrap();
                }
            }
        }
    }

    fn changed(hashes: &[NodeHash]) -> impl Iterator<Item = Vec<NodeHash>> {
        let flipped = (0..hashes.len() * 256).map(|bit| {
            let mut wrong = hashes.to_vec();
            wrong[bit / 256][bit % 256 / 8] ^= 1 << (bit % 8);
            wrong
        });
        let longer = [hashes, &[[0; 32]]].concat();
        let shorter = hashes.split_last().map(|(_, rest)| rest.to_vec());
        flipped.chain([longer]).chain(shorter)
    }

    #[test]
    fn a_changed_inclusion_proof_proves_nothing() {
        let all = leaves(13);
        for index in 0..13 {
            let (leaf, proof) = (all[usize::try_from(index).unwrap()], inclusion(&all, index));
            for wrong in changed(&proof) {
                assert!(verify_inclusion(&leaf, index, head(&all), &wrong).is_err(), "{index}");
            }
            for other in (0..13).filter(|other| *other != index) {
                assert!(verify_inclusion(&leaf, other, head(&all), &proof).is_err(), "{index} for {other}");
            }
            for root in changed(&[mth(&all)]).filter(|root| root.len() == 1) {
                let root = RootHash::from_bytes(root[0]);
                assert_eq!(verify_inclusion(&leaf, index, (13, root), &proof), Err(ProofError::OtherRoot));
            }
        }
        let beyond = verify_inclusion(&all[0], 13, head(&all), &[]);
        assert_eq!(beyond, Err(ProofError::Beyond { asked: 14, size: 13 }));
    }

    #[test]
    fn a_changed_consistency_proof_proves_nothing() {
        let all = leaves(13);
        for from in 0..=13 {
            let (old, proof) = (head(&all[..from]), consistency(&all, from as u64));
            for wrong in changed(&proof) {
                assert!(verify_consistency(old, head(&all), &wrong).is_err(), "{from}");
            }
            for root in changed(&[*old.1.as_bytes()]).filter(|root| root.len() == 1) {
                let wrong = (old.0, RootHash::from_bytes(root[0]));
                assert!(verify_consistency(wrong, head(&all), &proof).is_err(), "{from}");
            }
        }
        let back = verify_consistency(head(&all), head(&all[..2]), &[]);
        assert_eq!(back, Err(ProofError::Beyond { asked: 13, size: 2 }));
    }

    #[test]
    fn the_tree_of_the_log_is_this_tree() {
        let mut tree = TreeEdge::new();
        let all = leaves(70);
        for (n, size) in (0..70).zip(1..) {
            tree.append(&RecordHash::from_bytes([n; 32]));
            assert_eq!((tree.size(), tree.root()), head(&all[..size]));
        }
    }
}
