//! Damage that was found in the history, and what is not granted because of it. An authority that cannot read all that
//! it rests on gives nothing out; what ends something goes on, as do checks.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

/// The answer to callers, and to a check of readiness.
const NOTHING_IS_GRANTED: &str = "a part of the history is damaged, and nothing is granted until it is mended; \
                                  revocations, suspensions, rotations and erasures go on";

/// The parts of the history that do not read as they were written.
#[derive(Debug, Default)]
pub struct Doubt {
    findings: RwLock<Vec<String>>,
    /// Asked for every command that grants something.
    is_there: AtomicBool,
}

impl Doubt {
    /// Takes what is found at present. A change is reported to the operator.
    pub(crate) fn found(&self, findings: Vec<String>) {
        let is_there = !findings.is_empty();
        let before = std::mem::replace(&mut *self.findings.write(), findings);
        self.is_there.store(is_there, Ordering::Release);
        match (before.is_empty(), is_there) {
            (true, true) => {
                tracing::error!(damaged = %self.named(), "a part of the history is damaged: nothing is granted");
            }
            (false, false) => tracing::info!("the history reads as it was written again: grants go on"),
            (true, false) | (false, true) => {}
        }
    }

    /// Whether anything is.
    pub(crate) fn is_there(&self) -> bool {
        self.is_there.load(Ordering::Acquire)
    }

    /// Why nothing is granted, for callers: it names no file. `None` if all is well.
    pub fn fault(&self) -> Option<String> {
        self.is_there().then(|| NOTHING_IS_GRANTED.to_owned())
    }

    /// The same for operators, with the files.
    pub fn in_full(&self) -> Option<String> {
        self.is_there().then(|| format!("{NOTHING_IS_GRANTED}: {}", self.named()))
    }

    fn named(&self) -> String {
        self.findings.read().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_told_no_file_and_operators_each() {
        let doubt = Doubt::default();
        assert_eq!((doubt.fault(), doubt.in_full()), (None, None));
        doubt.found(vec!["segments/1.segment: damaged".into(), "segments/9.segment: damaged".into()]);
        assert!(doubt.fault().is_some_and(|why| !why.contains(".segment")));
        let full = doubt.in_full().unwrap_or_default();
        assert!(full.contains("segments/1.segment") && full.contains("segments/9.segment"), "{full}");
        doubt.found(vec![]);
        assert_eq!((doubt.fault(), doubt.in_full()), (None, None));
    }
}
