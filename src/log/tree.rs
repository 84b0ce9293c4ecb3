//! The tree over all records (RFC 6962, section 2.1), kept as a compact range: the roots of its full
//! subtrees.
//!
//! The tree of `n` leaves has one full subtree for each bit set in `n`, the largest to the left. To append
//! a leaf is to add one to a binary number: equal neighbours merge, as carries do.

use sha2::{Digest, Sha256, block_api::compress256};

use super::record::{RecordHash, RootHash};

/// What SHA-256 begins with (FIPS 180-4, section 5.3.3).
const BEGIN: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A growing tree, of which only what is needed to grow further is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeEdge {
    size: u64,
    /// Roots of the full subtrees, from left and large to right and small.
    peaks: Vec<[u8; 32]>,
}

impl TreeEdge {
    /// The empty tree.
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// The tree of this size with these roots of its full subtrees, from left to right; `None` if they do not fit.
    pub fn from_peaks(size: u64, peaks: Vec<[u8; 32]>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// The roots of its full subtrees, from left and large to right and small.
    pub fn peaks(&self) -> &[[u8; 32]] {
        &self.peaks
    }

    /// How many leaves it has: the position of the last record in it.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Adds the record at position `size + 1`.
    pub fn append(&mut self, record: &RecordHash) {
        self.append_leaf(leaf(record));
    }

    /// Adds the leaf of the record at position `size + 1`.
    pub(crate) fn append_leaf(&mut self, leaf: [u8; 32]) {
        let merging = self.size.trailing_ones() as usize;
        let neighbours = self.peaks.drain(self.peaks.len() - merging..).rev();
        let node = neighbours.fold(leaf, |right, left| parent(&left, &right));
        self.peaks.push(node);
        self.size += 1;
    }

    /// The tree head. That of the empty tree is the hash of nothing.
    pub fn root(&self) -> RootHash {
        let joined = self.peaks.iter().rev().copied().reduce(|right, left| parent(&left, &right));
        joined.map_or_else(no_leaves, RootHash::from_bytes)
    }
}

/// The tree head of the empty tree: the hash of nothing.
pub fn no_leaves() -> RootHash {
    RootHash::from_bytes(Sha256::digest([]).into())
}

/// The hash of a leaf. The first byte keeps leaves and nodes apart: otherwise a node could be passed off as a record.
pub fn leaf(record: &RecordHash) -> [u8; 32] {
    let mut block = [0; 64];
    block[1..33].copy_from_slice(record.as_bytes());
    sha256_padded(&mut [block], 33)
}

/// The hashes of the leaves of these records.
pub(crate) fn leaves(records: &[RecordHash]) -> Vec<[u8; 32]> {
    records.iter().map(leaf).collect()
}

/// The hash of a node above two others.
pub fn parent(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut blocks = [[0; 64]; 2];
    blocks[0][0] = 1;
    blocks[0][1..33].copy_from_slice(left);
    blocks[0][33..].copy_from_slice(&right[..31]);
    blocks[1][0] = right[31];
    sha256_padded(&mut blocks, 65)
}

/// The SHA-256 of the first `length` bytes of these blocks, of which the rest is zero and has room for the padding
/// (FIPS 180-4, section 5.1.1). Most of what a log hashes are leaves and nodes, whose length is fixed: laid out as blocks
/// at once, they are not gathered piece by piece.
fn sha256_padded(blocks: &mut [[u8; 64]], length: u8) -> [u8; 32] {
    let bytes = blocks.as_flattened_mut();
    bytes[usize::from(length)] = 0x80;
    let end = bytes.len();
    bytes[end - 2..].copy_from_slice(&(u16::from(length) * 8).to_be_bytes());
    let mut state = BEGIN;
    compress256(&mut state, blocks);
    let mut digest = [0; 32];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(n: u64) -> RecordHash {
        RecordHash::from_bytes(blake3::hash(&n.to_be_bytes()).into())
    }

    fn tree_of(records: &[RecordHash]) -> TreeEdge {
        let mut tree = TreeEdge::new();
        for record in records {
            tree.append(record);
        }
        tree
    }

    /// `MTH` of RFC 6962, section 2.1, word for word.
    fn defined(records: &[RecordHash]) -> [u8; 32] {
        match records {
            [] => Sha256::digest([]).into(),
            [only] => leaf(only),
            more => {
                let k = more.len().next_power_of_two() / 2;
                parent(&defined(&more[..k]), &defined(&more[k..]))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_rfc_6962_at_every_size() {
        let records: Vec<_> = (0..130).map(record).collect();
        for size in 0..=records.len() {
            assert_eq!(tree_of(&records[..size]).root().as_bytes(), &defined(&records[..size]), "{size}");
        }
    }

    #[test]
    fn leaves_and_nodes_are_what_sha_256_makes_of_their_bytes() {
        for n in 0..100 {
            let (one, other) = (record(n), record(n + 1));
            let (left, right) = (one.as_bytes(), other.as_bytes());
            let of = |parts: &[&[u8]]| <[u8; 32]>::from(Sha256::digest(parts.concat()));
            assert_eq!(leaf(&one), of(&[&[0], left]));
            assert_eq!(parent(left, right), of(&[&[1], left, right]));
        }
    }

    #[test]
    fn the_empty_tree_is_the_hash_of_nothing() {
        assert_eq!(
            TreeEdge::new().root().to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    /// Computed by hand with `sha256sum`: leaves of 32 bytes 0x00, 0x01, 0x02.
    #[test]
    fn known_roots_of_one_two_and_three_records() {
        let records = [0, 1, 2].map(|byte| RecordHash::from_bytes([byte; 32]));
        for (size, root) in (1..).zip(KNOWN) {
            assert_eq!(tree_of(&records[..size]).root().to_string(), root, "{size}");
        }
    }

    const KNOWN: [&str; 3] = [
        "7f9c9e31ac8256ca2f258583df262dbc7d6f68f2a03043d5c99a4ae5a7396ce9",
        "28fb81e496897e0ce886f08602392e9239b65c659041e5202163e58ad898f444",
        "ba8d94b7fbcecae7b81c4c80574fe24734a6917bf9c1ecd66ff3e0c34ead4620",
    ];
}
