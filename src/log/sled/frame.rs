//! A frame: the commits of one batch, or a part of it, in one value of the store.
//!
//! ```text
//! offset  0        1                9               13                29
//!         │version │ first position │ event count   │ check           │ commits …
//!         │ u8 = 1 │ u64 BE         │ u32 BE        │ BLAKE3, 16 bytes│ (u32 BE length, bytes) each
//! ```
//!
//! The check covers all but itself. It finds what the store's own CRC-32 lets pass: a frame under another's
//! key, a frame of an older file, an edit by hand. (It holds no secret: who edits can make a new one, and
//! then the tree's root tells.)

use crate::{
    codec,
    record::{EncodedCommit, first_half},
};
use tenure_core::Position;

/// The most bytes of a frame: under 100 KiB. A leaf of sled holds up to 17 values and must stay
/// under a quarter of a segment of 8 MiB; a larger one would go to a file in `blobs/`, which nothing syncs.
pub(super) const MAX_FRAME_BYTES: usize = 100 * 1024 - 1;

const VERSION: u8 = 1;
const CONTEXT: &str = "tenure v1 frame";
const CHECK_AT: usize = 13;
const COMMITS_AT: usize = 29;

/// A frame that is being filled, or is ready to be stored under its first position.
pub(super) struct Frame {
    first: Position,
    events: u32,
    bytes: Vec<u8>,
}

impl Frame {
    /// The key under which it is stored: big-endian, so that the store's order is the log's.
    pub(super) const fn key(&self) -> [u8; 8] {
        key(self.first)
    }

    fn begin(first: Position) -> Self {
        Self { first, events: 0, bytes: vec![0; COMMITS_AT] }
    }

    fn has_room_for(&self, commit: &EncodedCommit) -> bool {
        self.bytes.len() + 4 + commit.bytes.len() <= MAX_FRAME_BYTES
    }

    fn push(&mut self, commit: &EncodedCommit) {
        let length = u32::try_from(commit.bytes.len()).expect("a commit is below 64 KiB");
        self.events += u32::try_from(commit.record_hashes.len()).expect("a commit counts its events in u16");
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(&commit.bytes);
    }

    /// Its bytes, header filled in.
    pub(super) fn seal(mut self) -> Vec<u8> {
        self.bytes[0] = VERSION;
        self.bytes[1..9].copy_from_slice(&self.first.0.to_be_bytes());
        self.bytes[9..CHECK_AT].copy_from_slice(&self.events.to_be_bytes());
        let check = check(&self.bytes);
        self.bytes[CHECK_AT..COMMITS_AT].copy_from_slice(&check);
        self.bytes
    }
}

/// The key of the frame that begins here.
pub(super) const fn key(first: Position) -> [u8; 8] {
    first.0.to_be_bytes()
}

/// Puts commits into as few frames as hold them, in order.
pub(super) fn pack(commits: &[(Position, EncodedCommit)]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    for (first, commit) in commits {
        match frames.last_mut() {
            Some(frame) if frame.has_room_for(commit) => frame.push(commit),
            Some(_) | None => {
                let mut frame = Frame::begin(*first);
                frame.push(commit);
                frames.push(frame);
            }
        }
    }
    frames
}

/// A frame as it was read back, its own statements checked.
pub(super) struct Opened<'b> {
    /// The position after its last event.
    pub(super) next: Position,
    /// Each commit's first position and bytes.
    pub(super) commits: Vec<(Position, &'b [u8])>,
}

/// Reads a stored value as the frame that must begin at `first`.
pub(super) fn open(first: Position, bytes: &[u8]) -> Result<Opened<'_>, String> {
    let (version, stated_first, events, stated_check) = header(bytes).ok_or("the frame is cut short")?;
    if version != VERSION {
        return Err(format!("the frame has version {version}; this program reads version {VERSION}"));
    }
    if stated_check != check(bytes) {
        return Err("the frame's check does not match its bytes".to_owned());
    }
    if stated_first != first {
        return Err(format!("the frame says that it begins at {stated_first}"));
    }
    let opened = commits(first, &bytes[COMMITS_AT..])?;
    if opened.next != first.plus(u64::from(events)) {
        return Err(format!("the frame says that it holds {events} events"));
    }
    Ok(opened)
}

fn commits(first: Position, mut rest: &[u8]) -> Result<Opened<'_>, String> {
    let mut commits = Vec::new();
    let mut next = first;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (bytes, after) = after.split_at_checked(length).ok_or("a commit reaches beyond its frame")?;
        commits.push((next, bytes));
        next = next.plus(u64::from(codec::count(bytes).map_err(|error| error.to_string())?));
        rest = after;
    }
    if rest.is_empty() {
        Ok(Opened { next, commits })
    } else {
        Err("bytes follow the last commit of the frame".to_owned())
    }
}

fn header(bytes: &[u8]) -> Option<(u8, Position, u32, [u8; 16])> {
    let (version, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first_chunk::<8>()?;
    let (events, rest) = rest.split_first_chunk::<4>()?;
    let (check, _) = rest.split_first_chunk::<16>()?;
    Some((*version, Position(u64::from_be_bytes(*first)), u32::from_be_bytes(*events), *check))
}

/// Over everything but the check itself.
fn check(bytes: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(&bytes[..CHECK_AT]).update(&bytes[COMMITS_AT..]);
    first_half(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn sealed(first: u64, commits: u64) -> Vec<u8> {
        let commits: Vec<_> = (0..commits).map(|n| (Position(first + n), samples::small(n))).collect();
        pack(&commits).remove(0).seal()
    }

    #[test]
    fn a_frame_gives_back_what_was_put_in() {
        let bytes = sealed(5, 3);
        let opened = open(Position(5), &bytes).unwrap();
        assert_eq!(opened.next, Position(8));
        for (n, (first, bytes)) in (0..).zip(opened.commits) {
            assert_eq!(first, Position(5 + n));
            assert_eq!(bytes, samples::small(n).bytes());
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = sealed(5, 2);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert!(open(Position(5), &flipped).is_err(), "bit in byte {at}");
            assert!(open(Position(5), &bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(open(Position(6), &bytes).is_err(), "under another key");
    }

    #[test]
    fn the_largest_commits_fill_frames_of_their_own() {
        let commits: Vec<_> = (1..=3).map(|n| (Position(n), samples::largest(n))).collect();
        let frames = pack(&commits);
        assert_eq!(frames.len(), 3);
        assert!(frames.into_iter().all(|frame| frame.seal().len() <= MAX_FRAME_BYTES));
    }

    #[test]
    fn a_full_frame_is_below_its_limit() {
        let commits: Vec<_> = (1..=5000).map(|n| (Position(n), samples::small(n))).collect();
        let frames = pack(&commits);
        assert!(frames.len() > 1);
        let mut next = Position(1);
        for frame in frames {
            assert_eq!(frame.first, next);
            let bytes = frame.seal();
            assert!(bytes.len() <= MAX_FRAME_BYTES);
            next = open(next, &bytes).unwrap().next;
        }
        assert_eq!(next, Position(5001));
    }
}
