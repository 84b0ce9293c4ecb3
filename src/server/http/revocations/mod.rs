//! `/v1/revocations` and `DELETE`: the end of one session, of all of a subject's, of all that match; and the feed of all
//! ends.

pub(super) mod bulk;
pub(super) mod ended_sessions;
pub(super) mod feed;
pub(super) mod revoke;
