//! The file of subject keys, byte by byte: slots of 64 bytes, the first of which names the format.
//!
//! | bytes | |
//! |---|---|
//! | 0..16 | tag: BLAKE3 of the stream's name |
//! | 16..48 | key; when forgotten, the position of the event that says so, little-endian, and zeros |
//! | 48 | 1 live, 2 forgotten |
//! | 49..56 | zeros |
//! | 56..64 | check: BLAKE3 of the slot's number and the bytes before |
//!
//! 64 divides 512: a slot lies in one sector of a disk, so a power cut leaves it old or new. And since a batch
//! of new slots never leaves its page of 4096 bytes, and is synced before the next one is begun, whatever a
//! power cut leaves unfinished lies in the file's last page, and was never acknowledged.

use zeroize::Zeroize;

use super::seal::SubjectKey;
use tenure_core::{Position, StreamId};

/// Bytes of a slot.
pub(super) const SLOT: u64 = SLOT_LEN as u64;
const SLOT_LEN: usize = 64;
/// Slots of a page.
pub(super) const PAGE_SLOTS: u64 = 64;

/// A slot as it is stored.
pub(super) type SlotBytes = [u8; SLOT_LEN];

/// What slot 0 holds.
pub(super) const HEADER: SlotBytes = {
    let mut header = [0; SLOT_LEN];
    let name = b"tenure subject keys 1\n";
    let mut place = 0;
    while place < name.len() {
        header[place] = name[place];
        place += 1;
    }
    header
};

const LIVE: u8 = 1;
const FORGOTTEN: u8 = 2;
const CHECK: usize = 56;

/// What a stream is known by in this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct StreamTag([u8; 16]);

impl StreamTag {
    pub(super) fn of(stream: &StreamId) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("tenure 2026 tag of a stream");
        match stream {
            StreamId::System => hasher.update(&[0]),
            StreamId::Subject(subject) => hasher.update(&[1]).update(subject.as_str().as_bytes()),
        };
        let mut tag = [0; 16];
        hasher.finalize_xof().fill(&mut tag);
        Self(tag)
    }
}

/// A whole slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeySlot {
    Live(StreamTag, SubjectKey),
    /// The key was destroyed for the event at this position; there may have been none.
    Forgotten(StreamTag, Position),
}

/// Why there is no slot in these bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SlotError {
    /// Its check, which is written last, was never written.
    Unfinished,
    /// It was written, and changed since.
    Damaged,
}

impl KeySlot {
    pub(super) fn encode(&self, number: u64) -> SlotBytes {
        let mut bytes = [0; SLOT_LEN];
        let (Self::Live(tag, _) | Self::Forgotten(tag, _)) = self;
        bytes[..16].copy_from_slice(&tag.0);
        match self {
            Self::Live(_, key) => {
                bytes[16..48].copy_from_slice(key.as_bytes());
                bytes[48] = LIVE;
            }
            Self::Forgotten(_, erased) => {
                bytes[16..24].copy_from_slice(&erased.0.to_le_bytes());
                bytes[48] = FORGOTTEN;
            }
        }
        let check = check(number, &bytes);
        bytes[CHECK..].copy_from_slice(&check);
        bytes
    }

    pub(super) fn decode(number: u64, bytes: &SlotBytes) -> Result<Self, SlotError> {
        if bytes[CHECK..] == [0; 8] {
            return Err(SlotError::Unfinished);
        }
        if bytes[CHECK..] != check(number, bytes) {
            return Err(SlotError::Damaged);
        }
        let (mut tag, mut key) = ([0; 16], [0; 32]);
        tag.copy_from_slice(&bytes[..16]);
        key.copy_from_slice(&bytes[16..48]);
        let slot = match bytes[48] {
            LIVE => Ok(Self::Live(StreamTag(tag), SubjectKey::from_bytes(key))),
            FORGOTTEN => Ok(Self::Forgotten(StreamTag(tag), position(&key))),
            _ => Err(SlotError::Damaged),
        };
        key.zeroize();
        slot
    }
}

/// The position in place of a key.
fn position(key: &[u8; 32]) -> Position {
    let mut position = [0; 8];
    position.copy_from_slice(&key[..8]);
    Position(u64::from_le_bytes(position))
}

fn check(number: u64, bytes: &SlotBytes) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new_derive_key("tenure 2026 check of a subject key slot");
    hasher.update(&number.to_le_bytes()).update(&bytes[..CHECK]);
    let mut check = [0; 8];
    hasher.finalize_xof().fill(&mut check);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anna() -> StreamId {
        StreamId::Subject("anna".parse().unwrap())
    }

    fn live() -> KeySlot {
        KeySlot::Live(StreamTag::of(&anna()), SubjectKey::from_bytes([7; 32]))
    }

    #[test]
    fn a_slot_is_read_back_in_its_place_only() {
        for slot in [live(), KeySlot::Forgotten(StreamTag::of(&StreamId::System), Position(1 << 40))] {
            assert_eq!(KeySlot::decode(5, &slot.encode(5)), Ok(slot));
        }
        assert_eq!(KeySlot::decode(6, &live().encode(5)), Err(SlotError::Damaged));
    }

    #[test]
    fn a_slot_with_any_byte_changed_is_damaged() {
        for place in 0..SLOT_LEN {
            let mut bytes = live().encode(5);
            bytes[place] ^= 1;
            assert_eq!(KeySlot::decode(5, &bytes), Err(SlotError::Damaged), "byte {place}");
        }
    }

    #[test]
    fn a_slot_without_its_check_was_never_finished() {
        for length in [0, 16, 40, 56] {
            let mut bytes = live().encode(5);
            bytes[length..].fill(0);
            assert_eq!(KeySlot::decode(5, &bytes), Err(SlotError::Unfinished));
        }
    }

    #[test]
    fn a_forgotten_slot_holds_no_key() {
        let bytes = KeySlot::Forgotten(StreamTag::of(&anna()), Position(7)).encode(5);
        assert_eq!((bytes[16], &bytes[17..48]), (7, &[0; 31][..]));
    }

    #[test]
    fn the_system_stream_is_no_subject() {
        assert_ne!(
            StreamTag::of(&StreamId::System),
            StreamTag::of(&StreamId::Subject("system".parse().unwrap()))
        );
    }
}
