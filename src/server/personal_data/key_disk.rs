//! The little that the file of subject keys asks of a disk, so that a test can be a full disk.

use std::{fs::File, io, os::unix::fs::FileExt};

pub(super) trait KeyDisk: Send + Sync {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// What was written before is durable when this returns.
    fn sync(&self) -> io::Result<()>;
    fn truncate(&self, length: u64) -> io::Result<()>;
}

impl KeyDisk for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

#[cfg(test)]
pub(super) mod faulty {
    use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

    use super::{File, FileExt, KeyDisk, io};

    /// A disk that works until switched off.
    pub(crate) struct FaultyDisk {
        pub(crate) file: File,
        pub(crate) fault: AtomicU8,
        pub(crate) syncs: AtomicUsize,
    }

    /// Nothing is wrong.
    pub(crate) const SOUND: u8 = 0;
    /// Half of a write succeeds, then the disk is full.
    pub(crate) const FULL: u8 = 1;
    /// A sync fails.
    pub(crate) const FAILING: u8 = 2;

    impl FaultyDisk {
        pub(crate) fn new(file: File) -> Self {
            Self { file, fault: AtomicU8::new(SOUND), syncs: AtomicUsize::new(0) }
        }

        pub(crate) fn becomes(&self, fault: u8) {
            self.fault.store(fault, Ordering::SeqCst);
        }

        fn is(&self, fault: u8) -> bool {
            self.fault.load(Ordering::SeqCst) == fault
        }
    }

    impl KeyDisk for std::sync::Arc<FaultyDisk> {
        fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            if self.is(FULL) {
                FileExt::write_all_at(&self.file, &bytes[..bytes.len() / 2], offset)?;
                return Err(io::ErrorKind::StorageFull.into());
            }
            FileExt::write_all_at(&self.file, bytes, offset)
        }

        fn sync(&self) -> io::Result<()> {
            self.syncs.fetch_add(1, Ordering::SeqCst);
            // Long enough that others come while it lasts.
            tenure_protocol::clock::pause(std::time::Duration::from_millis(2));
            if self.is(FAILING) { Err(io::Error::other("the cable is out")) } else { self.file.sync_data() }
        }

        fn truncate(&self, length: u64) -> io::Result<()> {
            self.file.set_len(length)
        }
    }
}
