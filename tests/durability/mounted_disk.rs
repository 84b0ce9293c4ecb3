//! Disks of our own to stand on: a file system in a file, and one in memory. Only root can have them.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

/// A mounted file system, in a directory that goes with it. It is unmounted when this is dropped.
pub(crate) struct MountedDisk {
    dir: tempfile::TempDir,
    at: PathBuf,
    mounted: bool,
}

impl MountedDisk {
    /// ext4 in a file, of so many MiB. The reason, where there can be none.
    pub(crate) fn ext4(mebibytes: u64) -> Result<Self, String> {
        let mounted = Self::new()?;
        let image = File::create(mounted.image()).and_then(|file| file.set_len(mebibytes << 20));
        image.map_err(|error| format!("no image file: {error}"))?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(mounted.image()))?;
        mounted.mounted()
    }

    /// A file system in memory, of so many MiB.
    pub(crate) fn memory(mebibytes: u64) -> Result<Self, String> {
        let mut mounted = Self::new()?;
        let size = format!("size={mebibytes}m");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(mounted.path()))?;
        mounted.mounted = true;
        Ok(mounted)
    }

    /// A file system in memory, of so many KiB, on a directory that is there; for its owner only.
    pub(crate) fn memory_at(at: &Path, kibibytes: u64) -> Result<Self, String> {
        let mut mounted = Self::new()?;
        at.clone_into(&mut mounted.at);
        let options = format!("size={kibibytes}k,mode=700");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at))?;
        mounted.mounted = true;
        Ok(mounted)
    }

    fn new() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can mount a file system".to_owned());
        }
        let dir = tempfile::tempdir().unwrap();
        let mounted = Self { at: dir.path().join("mounted"), dir, mounted: false };
        fs::create_dir(mounted.path()).unwrap();
        Ok(mounted)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.at.clone()
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn mounted(mut self) -> Result<Self, String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.path()))?;
        self.mounted = true;
        Ok(self)
    }

    /// From one moment to the next nothing that is not on the disk gets there any more, nor does what the
    /// journal holds in memory (`EXT4_IOC_SHUTDOWN` with `NOLOGFLUSH`).
    pub(crate) fn cut_power(&self) -> Result<(), String> {
        const BY_PERL: &str = "open(my $dir, '<', $ARGV[0]) or die \"$!\"; my $flags = pack('L', 2); \
            ioctl($dir, 0x8004587d, $flags) or die \"$!\"";
        const BY_PYTHON: &str = "import fcntl, os, struct, sys; \
            fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        run(Command::new("perl").args(["-e", BY_PERL]).arg(self.path()))
            .or_else(|_| run(Command::new("python3").args(["-c", BY_PYTHON]).arg(self.path())))
    }

    /// Power comes back: the kernel reads the disk anew, and its journal.
    pub(crate) fn restore_power(mut self) -> Self {
        self.unmount().unwrap();
        self.mounted().unwrap()
    }

    /// Makes it read-only, or writable again.
    pub(crate) fn forbid_writing(&self, forbidden: bool) -> Result<(), String> {
        let mode = if forbidden { "remount,ro" } else { "remount,rw" };
        run(Command::new("mount").args(["-o", mode]).arg(self.path()))
    }

    /// Fills it until so many MiB are free, or as many as there are if these are less, and gives the file.
    pub(crate) fn fill_but(&self, mebibytes: u64) -> PathBuf {
        let disk = rustix::fs::statvfs(self.path()).unwrap();
        let left = (disk.f_bavail * disk.f_frsize).saturating_sub(mebibytes << 20);
        let path = self.path().join("filler");
        let mut file = File::options().append(true).create(true).open(&path).unwrap();
        std::io::copy(&mut std::io::Read::take(std::io::repeat(1), left), &mut file).unwrap();
        path
    }

    /// Fills it to the last byte with a file of no use, and gives the file.
    pub(crate) fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = File::options().append(true).create(true).open(&path).unwrap();
        let mut size = 1 << 20;
        while size > 0 {
            if std::io::Write::write_all(&mut file, &vec![1; size]).is_err() {
                size /= 2;
            }
        }
        // Without it ext4 would find place only later, when it gives out what it has promised.
        drop(file.sync_all());
        path
    }

    fn unmount(&mut self) -> Result<(), String> {
        let unmounted = run(Command::new("umount").arg(self.path()));
        self.mounted = self.mounted && unmounted.is_err();
        unmounted
    }
}

impl Drop for MountedDisk {
    fn drop(&mut self) {
        if self.mounted && self.unmount().is_err() {
            // A test that failed may have left a process on it: it goes when that does.
            drop(run(Command::new("umount").arg("-l").arg(self.path())));
        }
    }
}

/// Whether there is such a program.
pub(crate) fn has_program(name: &str) -> bool {
    Command::new(name).arg("--version").output().is_ok()
}

/// A copy of a directory and all that is in it, permissions included.
pub(crate) fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to)).unwrap();
}

fn run(command: &mut Command) -> Result<(), String> {
    let ended = command.output().map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    if ended.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&ended.stderr).trim()))
}
