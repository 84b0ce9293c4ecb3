//! The rules of subjects, sessions and credentials, as the public contract states them (sections 2 and 3).
//!
//! Each scenario is a sentence: *given* these facts, *when* this is asked, *then* these facts follow, or this
//! refusal answers. `history` leaves the sentences and lets many commands follow one another at random.

mod bulk;
mod create;
mod epoch;
mod erase;
mod expiry;
mod history;
mod idle;
mod illegal;
mod limits;
mod lost_reply;
mod renew;
mod revoke;
mod scenario;
mod subjects;
mod suspension;
mod system;
mod theft;
mod usage;
