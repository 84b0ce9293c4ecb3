//! Streams: each holds its connection for as long as its reader stays, so they have a part of the places and no more.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed},
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{CallerShare, LimitReached, ShareOwner, SharedTotal};

/// Maximum streams per session. One more ends the oldest, which most likely has lost its reader.
const PER_SESSION: usize = 4;

/// Who reads streams.
pub(crate) struct OpenStreams {
    whole: usize,
    share: usize,
    open: Mutex<StreamTable>,
    by_share: AtomicU64,
    beyond: AtomicU64,
}

#[derive(Default)]
struct StreamTable {
    next: u64,
    taken: usize,
    by_reader: HashMap<ShareOwner, BTreeMap<u64, Arc<Notify>>>,
}

/// An open stream, until it is dropped.
pub(crate) struct StreamPermit {
    streams: Arc<OpenStreams>,
    who: ShareOwner,
    number: u64,
    over: Arc<Notify>,
}

impl OpenStreams {
    pub(super) fn new(whole: usize, share: u32) -> Arc<Self> {
        Arc::new(Self {
            whole,
            share: share as usize,
            open: Mutex::default(),
            by_share: AtomicU64::new(0),
            beyond: AtomicU64::new(0),
        })
    }

    /// Lets a reader in. An exempt one is refused by the whole alone.
    pub(crate) fn open(
        self: &Arc<Self>,
        who: ShareOwner,
        is_exempt: bool,
    ) -> Result<StreamPermit, LimitReached> {
        let mut open = self.open.lock();
        let own = open.by_reader.get(&who).map_or(0, BTreeMap::len);
        match who {
            ShareOwner::Session(_) if own >= PER_SESSION => open.end_oldest(who),
            ShareOwner::Key(_) if own >= self.share && !is_exempt && 2 * (open.taken + 1) > self.whole => {
                self.by_share.fetch_add(1, Relaxed);
                return Err(LimitReached::Share(CallerShare::Streams));
            }
            ShareOwner::Session(_) | ShareOwner::Key(_) => {}
        }
        if open.taken >= self.whole {
            self.beyond.fetch_add(1, Relaxed);
            return Err(LimitReached::Whole(SharedTotal::Streams));
        }
        let (number, over) = open.add(who);
        drop(open);
        Ok(StreamPermit { streams: Arc::clone(self), who, number, over })
    }

    /// How many are open.
    pub(crate) fn taken(&self) -> usize {
        self.open.lock().taken
    }

    /// How many there may be.
    pub(crate) const fn whole(&self) -> usize {
        self.whole
    }

    pub(super) fn refused_by_share(&self) -> u64 {
        self.by_share.load(Relaxed)
    }

    pub(super) fn refused_beyond(&self) -> u64 {
        self.beyond.load(Relaxed)
    }
}

impl StreamTable {
    fn add(&mut self, who: ShareOwner) -> (u64, Arc<Notify>) {
        let (number, over) = (self.next, Arc::new(Notify::new()));
        self.next += 1;
        self.taken += 1;
        self.by_reader.entry(who).or_default().insert(number, Arc::clone(&over));
        (number, over)
    }

    /// It is not counted from now on; its reader notices a moment later.
    fn end_oldest(&mut self, who: ShareOwner) {
        let own = self.by_reader.get_mut(&who);
        if let Some((_, oldest)) = own.and_then(BTreeMap::pop_first) {
            self.taken -= 1;
            oldest.notify_one();
        }
    }

    fn remove(&mut self, who: ShareOwner, number: u64) {
        let Some(own) = self.by_reader.get_mut(&who) else { return };
        if own.remove(&number).is_some() {
            self.taken -= 1;
        }
        if own.is_empty() {
            self.by_reader.remove(&who);
        }
    }
}

impl StreamPermit {
    /// Waits until it has to give way to a newer one of the same session.
    pub(crate) async fn over(&self) {
        self.over.notified().await;
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.streams.open.lock().remove(self.who, self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use tenure_core::{CredentialId, SessionId};

    const KEY: ShareOwner = ShareOwner::Key(CredentialId::from_bytes([1; 16]));
    const OTHER: ShareOwner = ShareOwner::Key(CredentialId::from_bytes([2; 16]));
    const SESSION: ShareOwner = ShareOwner::Session(SessionId::from_bytes([1; 16]));

    #[test]
    fn a_key_with_its_share_gets_no_more_while_more_than_half_is_taken() {
        let streams = OpenStreams::new(20, 4);
        let own: Vec<_> = (0..20).map_while(|_| streams.open(KEY, false).ok()).collect();
        assert_eq!(own.len(), 10, "half of all are anybody's");
        assert_eq!(streams.open(KEY, false).err(), Some(LimitReached::Share(CallerShare::Streams)));
        let others: Vec<_> = (0..20).map_while(|_| streams.open(OTHER, false).ok()).collect();
        assert_eq!(others.len(), 4);
        let rest: Vec<_> = (0..20).map_while(|_| streams.open(KEY, true).ok()).collect();
        assert_eq!(rest.len(), 6, "an exempt reader is refused by the whole alone");
        assert_eq!(streams.open(OTHER, true).err(), Some(LimitReached::Whole(SharedTotal::Streams)));
        drop((own, others, rest));
        assert_eq!((streams.taken(), streams.open.lock().by_reader.len()), (0, 0));
    }

    #[test]
    fn a_fifth_stream_of_a_session_ends_its_oldest() {
        let streams = OpenStreams::new(20, 4);
        let mut own: Vec<_> = (0..5).map(|_| streams.open(SESSION, false).unwrap()).collect();
        let over: Vec<_> = own.iter().map(|stream| stream.over().now_or_never().is_some()).collect();
        assert_eq!(over, [true, false, false, false, false]);
        assert_eq!(streams.taken(), 4);
        drop(own.remove(0));
        assert_eq!(streams.taken(), 4);
    }
}
