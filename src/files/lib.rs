//! Files that survive a crash, and files that only their owner may read: private modes, a checksum, and
//! all-or-nothing writes.

pub mod key_files;
pub mod new_directory;
pub mod replacement;
