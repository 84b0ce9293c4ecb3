//! What the process may do, and what others may see of it: file modes, core dumps, descriptors.

mod usage;

use std::sync::OnceLock;

use rustix::{
    fs::Mode,
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask},
};

pub(crate) use self::usage::ProcessUsage;

/// What is kept back from connections: the log, its readers, key files, webhooks, and what libraries open.
const RESERVED: u64 = 256;
/// A server with fewer descriptors could not serve any caller.
const LEAST: u64 = 2 * RESERVED;

/// What the process was started with.
struct InheritedLimits {
    umask: Mode,
    core: Rlimit,
}

static INHERITED: OnceLock<InheritedLimits> = OnceLock::new();

/// The first thing that the program does: no file of it can be read by others unless it says so itself, no crash writes
/// its keys to a core file, and no process of the same user can read its memory.
pub fn harden() {
    let core = getrlimit(Resource::Core);
    drop(INHERITED.set(InheritedLimits { umask: umask(Mode::from_raw_mode(0o077)), core }));
    // Where the system knows no such thing there is nothing to be done.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: core.maximum });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Before a command of the user's is started: it gets the umask and the limits that this process was given.
///
/// They are given back for the whole process, because a child inherits them. What this process writes from then on
/// must say its mode, as session files do.
pub fn give_back() {
    if let Some(inherited) = INHERITED.get() {
        umask(inherited.umask);
        let _ = setrlimit(Resource::Core, inherited.core);
    }
}

/// Descriptors, and how many of them connections may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DescriptorLimits {
    /// All that the process may have open at once.
    pub(crate) limit: u64,
    /// Those for connections.
    pub(crate) connections: usize,
}

/// The limit of descriptors is too low to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process may open {limit} files, and a server needs {LEAST} or more: raise the hard limit, by `ulimit -Hn`, \
     or by LimitNOFILE= in a systemd unit"
)]
pub struct TooFewDescriptors {
    /// The limit.
    limit: u64,
}

/// Raises the soft limit of descriptors to the hard one, and divides them: at most `most` for connections.
pub(crate) fn descriptors(most: usize) -> Result<DescriptorLimits, TooFewDescriptors> {
    let given = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: given.maximum, maximum: given.maximum });
    let current = if raised.is_ok() { given.maximum } else { given.current };
    divided(current.unwrap_or(u64::MAX), most)
}

fn divided(limit: u64, most: usize) -> Result<DescriptorLimits, TooFewDescriptors> {
    if limit < LEAST {
        return Err(TooFewDescriptors { limit });
    }
    let connections = usize::try_from(limit - RESERVED).unwrap_or(most).min(most);
    Ok(DescriptorLimits { limit, connections })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_never_take_all_descriptors() {
        assert_eq!(divided(512, 10_000), Ok(DescriptorLimits { limit: 512, connections: 256 }));
        assert_eq!(divided(1_048_576, 10_000).unwrap().connections, 10_000);
        let said = divided(511, 10_000).unwrap_err().to_string();
        assert!(said.contains("may open 511 files") && said.contains("LimitNOFILE"), "{said}");
    }
}
