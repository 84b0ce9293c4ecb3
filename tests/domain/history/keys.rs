//! The model's keys: which there were, and until when each opens tokens.

/// The keys of one use; each is known by its place.
#[derive(Clone, Debug)]
pub(super) struct Keys(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    created: i64,
    /// Whether the key before it works on for a while.
    overlaps: bool,
    end: Option<i64>,
}

impl Keys {
    /// One key, that seals.
    pub(super) fn first() -> Self {
        Self(vec![Key { created: 0, overlaps: false, end: None }])
    }

    pub(super) const fn newest(&self) -> usize {
        self.0.len() - 1
    }

    pub(super) fn ends(&self) -> Vec<Option<i64>> {
        self.0.iter().map(|key| key.end).collect()
    }

    /// Another key seals: at once, or with an overlap. Until when the one before it works, or nothing if that is
    /// too soon after the last overlap.
    pub(super) fn rotate(&mut self, at_once: bool, overlap: i64, now: i64) -> Option<i64> {
        let last = self.0.iter().rev().find(|key| key.overlaps);
        if !at_once && last.is_some_and(|last| now < last.created + 300_000) {
            return None;
        }
        let end = if at_once { now } else { now + overlap };
        for key in &mut self.0 {
            if key.end.is_none_or(|known| at_once && known > now) {
                key.end = Some(end);
            }
        }
        self.0.push(Key { created: now, overlaps: !at_once, end: None });
        Some(end)
    }
}
