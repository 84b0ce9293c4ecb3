//! Damage that was found in the history, and what is not granted because of it. An authority that cannot read all that
//! it rests on gives nothing out; what ends something goes on, as do checks.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

/// The answer to callers, and to a check of readiness.
const NOTHING_IS_GRANTED: &str = "a part of the history is damaged, and nothing is granted until it is mended; \
                                  revocations, suspensions, rotations and erasures go on";

/// The same, where nodes of one log do not have the same history.
const NODES_DIFFER: &str = "nodes of this cluster differ about the history, and nothing is granted until that is looked \
                            into; revocations, suspensions, rotations and erasures go on";

/// The parts of the history that do not read as they were written, checkpoints that are not what it leads to, and what
/// nodes of one log differ about.
#[derive(Debug, Default)]
pub struct LogDamage {
    findings: RwLock<Vec<String>>,
    differences: RwLock<Vec<String>>,
    /// Asked for every command that grants something.
    is_there: AtomicBool,
}

impl LogDamage {
    /// Takes what is found at present. A change is reported to the operator.
    pub(crate) fn found(&self, findings: Vec<String>) {
        let is_there = !findings.is_empty();
        let before = std::mem::replace(&mut *self.findings.write(), findings);
        self.look();
        match (before.is_empty(), is_there) {
            (true, true) => {
                tracing::error!(damaged = %self.named(), "a part of the history is damaged: nothing is granted");
            }
            (false, false) => tracing::info!("the history reads as it was written again: grants go on"),
            (true, false) | (false, true) => {}
        }
    }

    /// Takes how nodes differ at present, with the node that says so. A change is reported to the operator.
    pub(crate) fn differ(&self, differences: Vec<String>) {
        let is_there = !differences.is_empty();
        let before = std::mem::replace(&mut *self.differences.write(), differences);
        self.look();
        match (before.is_empty(), is_there) {
            (true, true) => {
                tracing::error!(differences = %self.named(), "nodes differ about the history: nothing is granted");
            }
            (false, false) => tracing::info!("no node says any more that the history differs: grants go on"),
            (true, false) | (false, true) => {}
        }
    }

    fn look(&self) {
        let is_there = !self.findings.read().is_empty() || !self.differences.read().is_empty();
        self.is_there.store(is_there, Ordering::Release);
    }

    /// Whether anything is.
    pub(crate) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }

    /// Why nothing is granted, for callers: it names no file. `None` if all is well.
    pub fn fault(&self) -> Option<String> {
        self.is_there().then(|| self.reason().to_owned())
    }

    /// The same for operators, with the files.
    pub fn in_full(&self) -> Option<String> {
        self.is_there().then(|| format!("{}: {}", self.reason(), self.named()))
    }

    fn reason(&self) -> &'static str {
        if self.findings.read().is_empty() { NODES_DIFFER } else { NOTHING_IS_GRANTED }
    }

    fn named(&self) -> String {
        self.findings.read().iter().chain(&*self.differences.read()).cloned().collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_told_no_file_and_operators_each() {
        let log_damage = LogDamage::default();
        assert_eq!((log_damage.fault(), log_damage.in_full()), (None, None));
        log_damage.found(vec!["segments/1.segment: damaged".into(), "segments/9.segment: damaged".into()]);
        assert!(log_damage.fault().is_some_and(|why| !why.contains(".segment")));
        let full = log_damage.in_full().unwrap_or_default();
        assert!(full.contains("segments/1.segment") && full.contains("segments/9.segment"), "{full}");
        log_damage.found(vec![]);
        assert_eq!((log_damage.fault(), log_damage.in_full()), (None, None));
    }

    /// One thread looks at files and another one at nodes: what the one finds is not over when the other finds nothing.
    #[test]
    fn damage_and_a_difference_between_nodes_are_over_when_both_are() {
        let log_damage = LogDamage::default();
        log_damage.differ(vec!["http://b: another root".into()]);
        assert!(log_damage.fault().is_some_and(|why| why.contains("nodes of this cluster differ")));
        log_damage.found(vec!["segments/1.segment: damaged".into()]);
        log_damage.differ(vec![]);
        assert!(log_damage.fault().is_some_and(|why| why.contains("is damaged")));
        log_damage.differ(vec!["http://b: another root".into()]);
        log_damage.found(vec![]);
        assert!(log_damage.in_full().is_some_and(|why| why.contains("http://b: another root")));
        log_damage.differ(vec![]);
        assert_eq!(log_damage.fault(), None);
    }
}
