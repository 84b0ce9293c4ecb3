//! Room on the disk, and who may take it. The last of it is kept for what ends something, so that a full disk takes
//! from no caller the right to end a session; and what the store itself needs goes to no caller, because a store that
//! has met a full disk must be opened again.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

/// Always left to the store: it takes room by segments of 8 MiB, and some more while it rearranges its pages.
const OF_THE_STORE: u64 = 32 * MEBIBYTE;
const MEBIBYTE: u64 = 1 << 20;

/// Says how many bytes are free where the log is.
pub type FreeSpace = Arc<dyn Fn() -> io::Result<u64> + Send + Sync>;

/// The room on the disk of the log.
pub struct DiskRoom {
    free: FreeSpace,
    reserve: u64,
    /// As last reported.
    told: AtomicU8,
}

/// For what there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RoomFor {
    /// For nothing.
    Nothing,
    /// For what ends something: revocations, suspensions, withdrawn API keys, rotations.
    Ends,
    /// For everything.
    All,
}

impl DiskRoom {
    /// A disk on which a number of bytes is kept for what ends something; with 0 nothing is kept, and nothing refused.
    pub fn new(free: FreeSpace, reserve: u64) -> Self {
        Self { free, reserve, told: AtomicU8::new(RoomFor::All as u8) }
    }

    /// A place that never gets full, such as memory.
    pub fn unlimited() -> Self {
        Self::new(Arc::new(|| Ok(u64::MAX)), 0)
    }

    /// The free bytes; `None` if the system does not say.
    pub fn free(&self) -> Option<u64> {
        (self.free)().ok()
    }

    /// Below it only what ends something is taken.
    const fn reserved(&self) -> u64 {
        self.reserve.saturating_add(OF_THE_STORE)
    }

    /// What there is room for now. A change is reported to the operator.
    pub(crate) fn check(&self) -> RoomFor {
        let found = self.judge(self.free());
        let before = self.told.swap(found as u8, Ordering::Relaxed);
        if before != found as u8 {
            if let Some(why) = self.fault() {
                tracing::warn!(%why, "not everything is written");
            } else {
                tracing::info!("there is room on the disk again; everything is written");
            }
        }
        found
    }

    fn judge(&self, free: Option<u64>) -> RoomFor {
        match free {
            Some(_) if self.reserve == 0 => RoomFor::All,
            Some(free) if free < OF_THE_STORE => RoomFor::Nothing,
            Some(free) if free < self.reserved() => RoomFor::Ends,
            // Where nothing is known, the store will say.
            None | Some(_) => RoomFor::All,
        }
    }

    /// Why not everything is taken; `None` while there is room for all.
    pub fn fault(&self) -> Option<String> {
        let free = self.free()?;
        match self.judge(Some(free)) {
            RoomFor::Nothing => Some(format!(
                "the disk is full: {} are free, and {} are left to the store; nothing is written until there is room",
                ByteCount(free),
                ByteCount(OF_THE_STORE)
            )),
            RoomFor::Ends => Some(format!(
                "the disk is nearly full: {} are free, and below {} only revocations, suspensions and rotations are \
                 written (data.reserve)",
                ByteCount(free),
                ByteCount(self.reserved())
            )),
            RoomFor::All => None,
        }
    }

    /// Why work that can wait may not take `bytes` more; `None` if enough stays free for others.
    pub(crate) fn lacks(&self, bytes: u64) -> Option<String> {
        let (free, kept) = (self.free()?, if self.reserve == 0 { 0 } else { self.reserved() });
        let is_short = free < bytes.saturating_add(kept);
        is_short.then(|| format!("{} are free, and {} of them are kept", ByteCount(free), ByteCount(kept)))
    }

    /// What an operator should know before it comes to that.
    pub(crate) fn alarm(&self) -> Option<String> {
        let free = self.free()?;
        let is_near =
            self.reserve > 0 && self.judge(Some(free)) == RoomFor::All && free / 2 < self.reserved();
        is_near.then(|| {
            format!(
                "the disk is getting full: {} are free, and below {} only revocations, suspensions and rotations are \
                 written",
                ByteCount(free),
                ByteCount(self.reserved())
            )
        })
    }
}

/// A number of bytes as people read it.
struct ByteCount(u64);

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0 / MEBIBYTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(free: u64, reserve: u64) -> DiskRoom {
        DiskRoom::new(Arc::new(move || Ok(free)), reserve)
    }

    #[test]
    fn the_reserve_is_for_ends_and_the_last_of_the_disk_is_the_stores() {
        let reserve = 64 * MEBIBYTE;
        assert_eq!(room(96 * MEBIBYTE, reserve).check(), RoomFor::All);
        assert_eq!(room(96 * MEBIBYTE - 1, reserve).check(), RoomFor::Ends);
        assert_eq!(room(32 * MEBIBYTE, reserve).check(), RoomFor::Ends);
        assert_eq!(room(32 * MEBIBYTE - 1, reserve).check(), RoomFor::Nothing);
        assert_eq!(room(0, 0).check(), RoomFor::All);
    }

    #[test]
    fn it_is_told_before_anything_is_refused() {
        let reserve = 64 * MEBIBYTE;
        assert_eq!(room(192 * MEBIBYTE, reserve).alarm(), None);
        let near = room(191 * MEBIBYTE, reserve);
        assert!(near.alarm().is_some_and(|alarm| alarm.contains("191 MiB are free, and below 96 MiB")));
        assert_eq!(near.fault(), None);
        let low = room(95 * MEBIBYTE, reserve);
        assert!(low.alarm().is_none() && low.fault().is_some_and(|why| why.contains("95 MiB are free")));
    }

    #[test]
    fn where_the_system_does_not_say_nothing_is_refused() {
        let silent = DiskRoom::new(Arc::new(|| Err(io::ErrorKind::Unsupported.into())), 64 * MEBIBYTE);
        assert_eq!((silent.check(), silent.fault(), silent.alarm()), (RoomFor::All, None, None));
    }
}
