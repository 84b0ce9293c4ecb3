//! The file of keys as the node that leads has it, page by page, on a node that follows.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::atomic::Ordering,
};

use parking_lot::MutexGuard;
use zeroize::Zeroizing;

use super::{HEADER, KeySlot, PAGE_SLOTS, SLOT, SlotBytes, SlottedKey, SubjectKeys, TextError, WriteQueue};

/// Bytes of a page.
const PAGE: u64 = PAGE_SLOTS * SLOT;

impl SubjectKeys {
    /// Takes over a page of the leader's file. A key that was destroyed here stays so, though the page may be from
    /// before that.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn adopt(&self, page: u64, theirs: &[u8]) -> Result<(), TextError> {
        let mut queue = self.alone();
        let adopted = MutexGuard::unlocked(&mut queue, || self.adopt_page(page, theirs));
        queue.end = queue.end.max(page * PAGE_SLOTS + theirs.len() as u64 / SLOT);
        self.let_others(queue);
        adopted
    }

    /// Takes over the leader's whole file, and gives up what is behind its end: keys that were made here for what was
    /// never recorded.
    ///
    /// # Errors
    /// The disk does not take it.
    pub fn adopt_all(&self, theirs: &[u8]) -> Result<(), TextError> {
        for (page, bytes) in (0..).zip(theirs.chunks(usize::try_from(PAGE).unwrap_or(usize::MAX))) {
            self.adopt(page, bytes)?;
        }
        let mut queue = self.alone();
        let end = theirs.len() as u64 / SLOT;
        let cut = MutexGuard::unlocked(&mut queue, || self.give_up_from(end));
        if cut.is_ok() {
            queue.end = end.max(1);
        }
        self.let_others(queue);
        cut
    }

    /// Waits until no thread writes, and keeps others from it.
    fn alone(&self) -> MutexGuard<'_, WriteQueue> {
        let mut queue = self.queue.lock();
        while queue.writing {
            self.turn.wait(&mut queue);
        }
        queue.writing = true;
        queue
    }

    fn let_others(&self, mut queue: MutexGuard<'_, WriteQueue>) {
        queue.writing = false;
        drop(queue);
        self.turn.notify_all();
    }

    fn adopt_page(&self, page: u64, theirs: &[u8]) -> Result<(), TextError> {
        let ours = self.page(page).map_err(|error| self.failed(error))?;
        let mut is_destroyed = false;
        for (number, theirs) in (page * PAGE_SLOTS..).zip(theirs.chunks_exact(HEADER.len())) {
            let at = usize::try_from((number % PAGE_SLOTS) * SLOT).unwrap_or(0);
            let ours = ours.get(at..at + HEADER.len()).and_then(|bytes| bytes.try_into().ok());
            if let Ok(theirs) = SlotBytes::try_from(theirs)
                && number > 0
            {
                is_destroyed |= self.adopt_slot(number, ours, &theirs)?;
            }
        }
        if is_destroyed { self.disk.sync().map_err(|error| self.failed(error)) } else { Ok(()) }
    }

    /// Takes over a slot; whether a key was destroyed by it.
    fn adopt_slot(
        &self,
        number: u64,
        ours: Option<SlotBytes>,
        theirs: &SlotBytes,
    ) -> Result<bool, TextError> {
        if ours.as_ref() == Some(theirs) {
            return Ok(false);
        }
        // What is unfinished or damaged there comes again.
        let Ok(slot) = KeySlot::decode(number, theirs) else { return Ok(false) };
        let ours = ours.and_then(|bytes| KeySlot::decode(number, &bytes).ok());
        if let (Some(KeySlot::Forgotten(gone, _)), KeySlot::Live(tag, _)) = (&ours, &slot)
            && gone == tag
        {
            return Ok(false);
        }
        self.disk.write_all_at(theirs, number * SLOT).map_err(|error| self.failed(error))?;
        let is_destroyed = ours.is_some_and(|ours| self.give_up(number, &ours));
        match slot {
            KeySlot::Live(tag, key) => {
                self.live.write().insert(tag, SlottedKey { number, key });
            }
            KeySlot::Forgotten(tag, erased) => {
                let mut forgotten = self.forgotten.write();
                let latest = forgotten.entry(tag).or_insert(erased);
                *latest = erased.max(*latest);
            }
        }
        Ok(is_destroyed)
    }

    /// The key in this slot is one no more; whether it was one.
    fn give_up(&self, number: u64, slot: &KeySlot) -> bool {
        let KeySlot::Live(tag, _) = slot else { return false };
        let mut live = self.live.write();
        if live.get(tag).is_some_and(|held| held.number == number) {
            live.remove(tag);
            self.forgettings.fetch_add(1, Ordering::Release);
        }
        true
    }

    fn give_up_from(&self, end: u64) -> Result<(), TextError> {
        self.live.write().retain(|_, held| held.number < end);
        self.forgettings.fetch_add(1, Ordering::Release);
        let cut = self.disk.truncate(end.max(1) * SLOT).and_then(|()| self.disk.sync());
        cut.map_err(|error| self.failed(error))
    }

    fn page(&self, page: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(page * PAGE))?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(PAGE).unwrap_or(0)));
        file.take(PAGE).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use tenure_core::{Position, StreamId};
    use tenure_protocol::entropy::SeededEntropy;

    use super::*;

    fn stream(name: &str) -> StreamId {
        StreamId::Subject(name.parse().unwrap())
    }

    fn opened(dir: &tempfile::TempDir) -> SubjectKeys {
        SubjectKeys::open(&dir.path().join("keys")).unwrap()
    }

    fn bytes(dir: &tempfile::TempDir) -> Vec<u8> {
        std::fs::read(dir.path().join("keys").join(SubjectKeys::FILE)).unwrap()
    }

    #[test]
    fn a_follower_has_the_keys_of_the_leader_and_none_of_its_own() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (leader, follower) = (opened(&one), opened(&two));
        let entropy = SeededEntropy::new(1);
        for number in 0..70 {
            leader.key_for(&stream(&format!("agent-{number}")), &entropy).unwrap();
        }
        // Made while it led, for what was never recorded.
        follower.key_for(&stream("agent-3"), &SeededEntropy::new(2)).unwrap();
        for number in 100..240 {
            follower.key_for(&stream(&format!("agent-{number}")), &SeededEntropy::new(number)).unwrap();
        }
        follower.adopt_all(&bytes(&one)).unwrap();
        for number in 0..70 {
            let stream = stream(&format!("agent-{number}"));
            assert_eq!(follower.get(&stream), leader.get(&stream), "{number}");
        }
        assert!(follower.get(&stream("agent-100")).is_none() && follower.get(&stream("agent-239")).is_none());
        assert_eq!(bytes(&one), bytes(&two));
        // It goes on where the leader's file ends, and opens as it is.
        follower.key_for(&stream("agent-300"), &entropy).unwrap();
        drop(follower);
        assert!(opened(&two).get(&stream("agent-300")).is_some());
    }

    #[test]
    fn a_key_that_was_destroyed_here_does_not_come_back_with_an_older_page() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (leader, follower) = (opened(&one), opened(&two));
        leader.key_for(&stream("agent"), &SeededEntropy::new(1)).unwrap();
        let before = bytes(&one);
        follower.adopt(0, &before).unwrap();
        follower.forget(&stream("agent"), Position(7)).unwrap();
        follower.adopt(0, &before).unwrap();
        assert!(follower.is_forgotten(&stream("agent")));
        assert!(opened(&two).is_forgotten(&stream("agent")));
        // And one that was destroyed there goes here too.
        leader.key_for(&stream("other"), &SeededEntropy::new(2)).unwrap();
        follower.adopt(0, &bytes(&one)).unwrap();
        assert!(follower.get(&stream("other")).is_some());
        leader.forget(&stream("other"), Position(9)).unwrap();
        follower.adopt(0, &bytes(&one)).unwrap();
        assert!(follower.get(&stream("other")).is_none() && follower.is_forgotten(&stream("other")));
    }
}
