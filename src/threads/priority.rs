//! Work that may wait, on threads that stand behind those which answer.

/// How far such a thread stands behind the others (`nice`): it takes the time that they leave.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// Lets this thread, and no other, stand behind the rest for as long as it runs. Where the system cannot, it does not.
pub fn stand_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "work that may wait has the same priority as all else");
    }
}

/// Lets others go first that have come meanwhile. A system may let a thread run on for milliseconds, also one that stands
/// back, before it looks whom it keeps waiting.
pub fn step_aside() {
    std::thread::yield_now();
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    fn niceness() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[test]
    fn one_thread_stands_back_and_no_other() {
        let before = niceness();
        let theirs = std::thread::spawn(|| {
            stand_back();
            niceness()
        });
        assert_eq!(theirs.join().unwrap(), (before + NICENESS).min(19));
        assert_eq!(niceness(), before);
    }
}
