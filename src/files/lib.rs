//! Files that survive a crash, and files that only their owner may read: private modes, a checksum, and a write that is
//! either whole or absent.

pub mod key_files;
pub mod replacement;
