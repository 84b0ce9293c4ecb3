//! Why something cannot be kept or read, for callers: in words, and never with a path of this server. A path shows a
//! stranger where things lie, and does not help callers; it stands in the log of the process.

use std::borrow::Cow;

use super::problem::{Problem, ProblemCode};

/// What the system says, and what the reply says.
const REASONS: [(&str, &str); 6] = [
    ("No space left", "the disk is full"),
    ("Disk quota exceeded", "the disk is full"),
    ("Too many open files", "the process has too many open files"),
    ("Read-only file system", "the file system is read-only"),
    ("Permission denied", "the process may not write its files"),
    ("Input/output error", "the disk fails"),
];

/// After how many seconds the reader of an earlier answer tries again.
const SOON: u32 = 2;

impl Problem {
    /// Something cannot be kept or read at present.
    pub(crate) fn unavailable(why: &str) -> Self {
        Self::from(ProblemCode::StorageUnavailable).saying(in_words(why))
    }

    /// The first answer to a repeated request cannot be read at present, which mostly is over in a moment.
    pub(super) fn answer_unread(why: &str) -> Self {
        Self { retry_after: Some(SOON), ..Self::unavailable(why) }
    }
}

/// The reason without what belongs only in the log of the process.
fn in_words(why: &str) -> Cow<'_, str> {
    if !why.contains('/') {
        return Cow::Borrowed(why);
    }
    let known = REASONS.iter().find(|(said, _)| why.contains(said));
    let words = known.map_or("a file of the authority cannot be used", |(_, words)| words);
    Cow::Owned(format!("{words}; the log of the process says more"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authority::CommandError;

    #[test]
    fn a_reason_for_callers_has_no_path() {
        let full = "cannot sync /srv/tenure-data/log/db: No space left on device (os error 28)";
        assert_eq!(in_words(full), "the disk is full; the log of the process says more");
        let other = "/srv/tenure-data/keys/subjects: unexpected end of file";
        assert_eq!(
            in_words(other),
            "a file of the authority cannot be used; the log of the process says more"
        );
        assert_eq!(in_words("the authority is stopping"), "the authority is stopping");
    }

    /// Its callers learned that it would work later, but not when.
    #[test]
    fn who_cannot_read_an_earlier_answer_is_told_when_to_ask_again() {
        let unread = || CommandError::AnswerUnread { why: "too many repeated requests are in work".into() };
        let problem = Problem::from(unread());
        assert_eq!((problem.code, problem.retry_after), (ProblemCode::StorageUnavailable, Some(SOON)));
        let detail = problem.detail.unwrap_or_default();
        assert!(detail.contains("was done") && detail.contains("same Idempotency-Key"), "{detail}");
    }
}
