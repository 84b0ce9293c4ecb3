//! What people type, understood: moments in one grammar, ids by name or beginning, and flags as they were written, for
//! errors that name them.

pub(super) mod find;
pub(super) mod flags;
pub(super) mod moments;
