//! What can be asked of the authority, a file for each kind of command.

pub(super) mod bulk;
pub(super) mod console;
pub(super) mod credentials;
pub(super) mod epoch;
pub(super) mod erase;
pub(super) mod following;
pub(super) mod keys;
pub(super) mod recall;
pub(super) mod repeats;
pub(super) mod sealing;
pub(super) mod sessions;
pub(super) mod subjects;
pub(super) mod suspend;
pub(super) mod sweep;
pub(super) mod webhooks;
