//! Text about people, sealed under a key of its subject, so that it can be forgotten.
//!
//! The log keeps ciphertext forever and proves it unchanged; the keys live beside the log, in
//! `DATA/keys/subjects`, and in no export or incremental backup. To forget a subject's texts is to destroy
//! its key: the records, their hashes and every proof over them stay as they are.
//!
//! A forgotten subject may go on living. Its next text gets a new key; what was sealed before stays
//! unreadable.

mod key_disk;
mod key_slots;
mod keys;
mod seal;

pub use keys::{SubjectKeys, TextError};
pub use seal::SubjectKey;
