//! Acknowledgements that get lost on the way.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

type Meanwhile = Box<dyn FnOnce() + Send>;

/// Which acknowledgements are thrown away, and what happens meanwhile.
#[derive(Default)]
pub(in crate::jetstream) struct Faults {
    /// One in this many; 0 for none.
    pub(super) every: AtomicU32,
    seen: AtomicU32,
    /// Throws the next one away, and does this.
    pub(super) next: Mutex<Option<Meanwhile>>,
}

impl Faults {
    /// Whether this acknowledgement is thrown away.
    pub(in crate::jetstream) fn throws_away(&self) -> bool {
        if let Some(meanwhile) = self.next.lock().take() {
            meanwhile();
            return true;
        }
        let every = self.every.load(Ordering::Relaxed);
        every > 0 && self.seen.fetch_add(1, Ordering::Relaxed) % every == every - 1
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faults")
    }
}
