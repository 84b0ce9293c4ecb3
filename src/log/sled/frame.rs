//! A frame: the commits of one batch, or a part of it, in one value of the store.
//!
//! ```text
//! offset  0        1                9             13       21        37                53
//!         │version │ first position │ event count │ term   │ previous│ check           │ commits …
//!         │ u8 = 2 │ u64 BE         │ u32 BE      │ u64 BE │ 16 bytes│ BLAKE3, 16 bytes│ (u32 BE length, bytes) each
//! ```
//!
//! The check covers all but itself, and `previous` is the check of the frame before, so that each frame vouches for all
//! in front of it. `term` counts leaderships where several machines write; 0 where one does. The check finds what the
//! store's own CRC-32 lets pass: a frame under another's key, a frame of an older file, an edit by hand. (It holds no
//! secret: an attacker can make a new one, which the tree's root reveals.)
//!
//! Version 1 had neither term nor previous: the check at 13, the commits at 29.

use crate::{
    codec,
    record::{EncodedCommit, first_half},
};
use tenure_core::Position;

/// The most bytes of a frame: under 100 KiB. A leaf of sled holds up to 17 values and must stay
/// under a quarter of a segment of 8 MiB; a larger one would go to a file in `blobs/`, which nothing syncs.
pub(crate) const MAX_FRAME_BYTES: usize = 100 * 1024 - 1;

/// Stands for a frame and, through `previous`, for all in front of it.
pub(crate) type FrameCheck = [u8; 16];

/// What the first frame of a log has as its previous one.
pub(crate) const NO_FRAME: FrameCheck = [0; 16];

/// Where the parts of a version are.
struct FrameLayout {
    version: u8,
    context: &'static str,
    check_at: usize,
    commits_at: usize,
}

const V1: FrameLayout = FrameLayout { version: 1, context: "tenure v1 frame", check_at: 13, commits_at: 29 };
const V2: FrameLayout = FrameLayout { version: 2, context: "tenure v2 frame", check_at: 37, commits_at: 53 };
const TERM_AT: usize = 13;
const PREVIOUS_AT: usize = 21;

impl FrameLayout {
    fn of(bytes: &[u8]) -> Result<&'static Self, String> {
        match bytes.first().ok_or("the frame is cut short")? {
            1 => Ok(&V1),
            2 => Ok(&V2),
            other => Err(format!("the frame has version {other}; this program reads versions up to 2")),
        }
    }

    /// Over everything but the check itself.
    fn check(&self, bytes: &[u8]) -> FrameCheck {
        let mut hasher = blake3::Hasher::new_derive_key(self.context);
        hasher.update(&bytes[..self.check_at]).update(&bytes[self.commits_at..]);
        first_half(&hasher.finalize())
    }
}

/// A frame being filled, or ready to be stored under its first position.
pub(crate) struct Frame {
    first: Position,
    events: u32,
    bytes: Vec<u8>,
}

impl Frame {
    /// The key under which it is stored: big-endian, so that the store's order is the log's.
    pub(crate) const fn key(&self) -> [u8; 8] {
        key(self.first)
    }

    /// One with room for this many bytes of commits.
    fn begin(first: Position, room: usize) -> Self {
        let mut bytes = Vec::with_capacity(MAX_FRAME_BYTES.min(V2.commits_at + room));
        bytes.resize(V2.commits_at, 0);
        Self { first, events: 0, bytes }
    }

    /// The position of its first event.
    #[cfg(feature = "jetstream")]
    pub(crate) const fn first(&self) -> Position {
        self.first
    }

    /// The position behind its last event.
    #[cfg(feature = "jetstream")]
    pub(crate) fn next(&self) -> Position {
        self.first.plus(self.events.into())
    }

    /// One without commits, which only says in which term the next ones are written.
    #[cfg(feature = "jetstream")]
    pub(crate) fn barrier(first: Position) -> Self {
        Self::begin(first, 0)
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

    /// Its bytes, header filled in, and its check.
    pub(crate) fn seal(mut self, term: u64, previous: FrameCheck) -> (Vec<u8>, FrameCheck) {
        self.bytes[0] = V2.version;
        self.bytes[1..9].copy_from_slice(&self.first.0.to_be_bytes());
        self.bytes[9..TERM_AT].copy_from_slice(&self.events.to_be_bytes());
        self.bytes[TERM_AT..PREVIOUS_AT].copy_from_slice(&term.to_be_bytes());
        self.bytes[PREVIOUS_AT..V2.check_at].copy_from_slice(&previous);
        let check = V2.check(&self.bytes);
        self.bytes[V2.check_at..V2.commits_at].copy_from_slice(&check);
        (self.bytes, check)
    }

    /// Its bytes as a program of data format 1 wrote them.
    #[cfg(test)]
    pub(crate) fn seal_as_version_1(self) -> Vec<u8> {
        let mut bytes = vec![V1.version];
        bytes.extend_from_slice(&self.first.0.to_be_bytes());
        bytes.extend_from_slice(&self.events.to_be_bytes());
        bytes.extend_from_slice(&NO_FRAME);
        bytes.extend_from_slice(&self.bytes[V2.commits_at..]);
        let check = V1.check(&bytes);
        bytes[V1.check_at..V1.commits_at].copy_from_slice(&check);
        bytes
    }
}

/// The key of the frame that begins here.
pub(crate) const fn key(first: Position) -> [u8; 8] {
    first.0.to_be_bytes()
}

/// Puts commits into as few frames as hold them, in order.
pub(crate) fn pack(commits: &[(Position, EncodedCommit)]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut left: usize = commits.iter().map(|(_, commit)| 4 + commit.bytes.len()).sum();
    for (first, commit) in commits {
        match frames.last_mut() {
            Some(frame) if frame.has_room_for(commit) => frame.push(commit),
            Some(_) | None => {
                let mut frame = Frame::begin(*first, left);
                frame.push(commit);
                frames.push(frame);
            }
        }
        left -= 4 + commit.bytes.len();
    }
    frames
}

/// A frame as it was read back, its own statements checked.
pub(crate) struct DecodedFrame<'b> {
    /// The position after its last event.
    pub(crate) next: Position,
    /// Each commit's first position and bytes.
    pub(crate) commits: Vec<(Position, &'b [u8])>,
    /// What the next frame has as its previous one.
    pub(crate) check: FrameCheck,
    /// The check of the frame before; none in version 1.
    pub(crate) previous: Option<FrameCheck>,
    /// The leadership in which it was written.
    #[cfg(any(test, feature = "jetstream"))]
    pub(crate) term: u64,
}

impl<'b> DecodedFrame<'b> {
    /// Each commit: its first position, the position after it, its bytes.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (Position, Position, &'b [u8])> + use<'_, 'b> {
        let ends = self.commits.iter().skip(1).map(|(first, _)| *first).chain([self.next]);
        self.commits.iter().zip(ends).map(|((first, bytes), end)| (*first, end, *bytes))
    }
}

/// Reads a stored value as the frame that must begin at `first`.
pub(crate) fn open(first: Position, bytes: &[u8]) -> Result<DecodedFrame<'_>, String> {
    let layout = FrameLayout::of(bytes)?;
    let header = bytes.get(..layout.commits_at).ok_or("the frame is cut short")?;
    let check = layout.check(bytes);
    if header[layout.check_at..] != check {
        return Err("the frame's check does not match its bytes".to_owned());
    }
    let stated_first = Position(number(&header[1..9]));
    if stated_first != first {
        return Err(format!("the frame says that it begins at {stated_first}"));
    }
    let (commits, next) = commits(first, &bytes[layout.commits_at..])?;
    let events = number(&header[9..TERM_AT]);
    if next != first.plus(events) {
        return Err(format!("the frame says that it holds {events} events"));
    }
    let chain = header.get(TERM_AT..V2.check_at).filter(|_| layout.version == V2.version);
    let previous = chain.and_then(|chain| chain[8..].first_chunk().copied());
    Ok(DecodedFrame {
        next,
        commits,
        check,
        previous,
        #[cfg(any(test, feature = "jetstream"))]
        term: chain.map_or(0, |chain| number(&chain[..8])),
    })
}

/// Where these bytes say that their first event stands, if they may be a frame.
#[cfg(feature = "jetstream")]
pub(crate) fn first_of(bytes: &[u8]) -> Option<Position> {
    bytes.get(1..9).map(number).map(Position)
}

/// The check of these bytes, if they are a frame.
#[cfg(feature = "jetstream")]
pub(crate) fn check_of(bytes: &[u8]) -> Result<FrameCheck, String> {
    let layout = FrameLayout::of(bytes)?;
    let header = bytes.get(..layout.commits_at).ok_or("the frame is cut short")?;
    let check = layout.check(bytes);
    if header[layout.check_at..] == check {
        Ok(check)
    } else {
        Err("the frame's check does not match".to_owned())
    }
}

type FrameCommits<'b> = (Vec<(Position, &'b [u8])>, Position);

fn commits(first: Position, mut rest: &[u8]) -> Result<FrameCommits<'_>, String> {
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
        Ok((commits, next))
    } else {
        Err("bytes follow the last commit of the frame".to_owned())
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn sealed(first: u64, commits: u64) -> Vec<u8> {
        let commits: Vec<_> = (0..commits).map(|n| (Position(first + n), samples::small(n))).collect();
        pack(&commits).remove(0).seal(3, [9; 16]).0
    }

    fn sealed_before(first: u64, commits: u64) -> Vec<u8> {
        let commits: Vec<_> = (0..commits).map(|n| (Position(first + n), samples::small(n))).collect();
        pack(&commits).remove(0).seal_as_version_1()
    }

    #[test]
    fn a_frame_gives_back_what_was_put_in() {
        let bytes = sealed(5, 3);
        let opened = open(Position(5), &bytes).unwrap();
        assert_eq!((opened.next, opened.term, opened.previous), (Position(8), 3, Some([9; 16])));
        for (n, (first, bytes)) in (0..).zip(opened.commits) {
            assert_eq!(first, Position(5 + n));
            assert_eq!(bytes, samples::small(n).bytes());
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        for bytes in [sealed(5, 2), sealed_before(5, 2)] {
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x10;
                assert!(open(Position(5), &flipped).is_err(), "bit in byte {at}");
                assert!(open(Position(5), &bytes[..at]).is_err(), "cut at {at}");
            }
            assert!(open(Position(6), &bytes).is_err(), "under another key");
        }
    }

    /// Frames are never written again, so those of the first version are read for ever.
    #[test]
    fn a_frame_of_version_1_gives_back_what_was_put_in() {
        let bytes = sealed_before(5, 3);
        let opened = open(Position(5), &bytes).unwrap();
        assert_eq!((opened.next, opened.term, opened.previous), (Position(8), 0, None));
        assert_eq!(opened.ranges().count(), 3);
    }

    #[test]
    fn the_largest_commits_fill_frames_of_their_own() {
        let commits: Vec<_> = (1..=3).map(|n| (Position(n), samples::largest(n))).collect();
        let frames = pack(&commits);
        assert_eq!(frames.len(), 3);
        assert!(frames.into_iter().all(|frame| frame.seal(0, NO_FRAME).0.len() <= MAX_FRAME_BYTES));
    }

    #[test]
    fn a_full_frame_is_below_its_limit() {
        let commits: Vec<_> = (1..=5000).map(|n| (Position(n), samples::small(n))).collect();
        let frames = pack(&commits);
        assert!(frames.len() > 1);
        let mut next = Position(1);
        for frame in frames {
            assert_eq!(frame.first, next);
            let (bytes, _) = frame.seal(0, NO_FRAME);
            assert!(bytes.len() <= MAX_FRAME_BYTES);
            next = open(next, &bytes).unwrap().next;
        }
        assert_eq!(next, Position(5001));
    }
}
