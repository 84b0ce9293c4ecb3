//! What people type, understood: moments in one grammar, ids by name or beginning, words of the API, and flags as they
//! were written, for errors that name them.

pub(super) mod find;
pub(super) mod flags;
pub(super) mod moments;
pub(super) mod words;
