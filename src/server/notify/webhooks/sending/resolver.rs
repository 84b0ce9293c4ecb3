//! Looks up the names of receivers.
//!
//! The system's look-up holds a thread until it returns, however long ago its caller gave up: with a name server that
//! never answers, for many seconds. So look-ups have threads of their own, and each owner has a share of them. An owner
//! whose names hang waits for itself alone.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::{Semaphore, oneshot};

use super::{
    owner_shares::{OwnerShares, place},
    ssrf_guard::checked,
};
use tenure_core::OwnerId;

/// Maximum look-ups of one owner at a time.
const OF_ONE_OWNER: usize = 4;
/// Maximum look-ups in all at a time.
const IN_ALL: usize = 256;
/// The system's look-up needs little room.
const STACK: usize = 512 * 1_024;

/// How a name is looked up, by a thread that may be held up.
type HostLookup = fn(&str) -> io::Result<Vec<SocketAddr>>;

/// The look-up found no address.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the host has no address, or its name cannot be looked up")]
pub(crate) struct UnknownHost;

/// The shares of all owners.
pub(crate) struct OwnerResolvers {
    all: Arc<Semaphore>,
    owners: OwnerShares,
    allow_private: bool,
    look_up: HostLookup,
}

impl OwnerResolvers {
    /// With the look-up of the system.
    pub(crate) fn new(allow_private: bool) -> Self {
        Self::with(allow_private, by_the_system)
    }

    pub(super) fn with(allow_private: bool, look_up: HostLookup) -> Self {
        Self {
            all: Arc::new(Semaphore::new(IN_ALL)),
            owners: OwnerShares::of_each(OF_ONE_OWNER),
            allow_private,
            look_up,
        }
    }

    /// The resolver for the webhooks of an owner, or for those of none.
    pub(crate) fn of(&self, owner: Option<&OwnerId>) -> GuardedResolver {
        GuardedResolver {
            all: Arc::clone(&self.all),
            own: self.owners.of(owner),
            allow_private: self.allow_private,
            look_up: self.look_up,
        }
    }
}

/// Looks up a host's addresses at every connection, and gives none unless all of them are global: a name that leads
/// inside is no place for news, wherever else it leads.
#[derive(Clone)]
pub(crate) struct GuardedResolver {
    all: Arc<Semaphore>,
    own: Arc<Semaphore>,
    allow_private: bool,
    look_up: HostLookup,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let allow_private = resolver.allow_private;
            let found = resolver.found(name.as_str().to_owned()).await?;
            if allow_private {
                return Ok(Box::new(found.into_iter()) as Addrs);
            }
            checked(found).map_err(Into::into)
        })
    }
}

impl GuardedResolver {
    async fn found(self, name: String) -> io::Result<Vec<SocketAddr>> {
        // The own share comes first, so that an owner whose look-ups hang takes no more than that of the whole.
        let places = [place(&self.own).await, place(&self.all).await];
        let (done, found) = oneshot::channel();
        let look_up = self.look_up;
        std::thread::Builder::new().name("tenure-names".into()).stack_size(STACK).spawn(move || {
            // The caller may have given up.
            drop(done.send(look_up(&name)));
            drop(places);
        })?;
        let found =
            found.await.map_err(|_| io::Error::other("the look-up of a name ended without an answer"))?;
        found.ok().filter(|found| !found.is_empty()).ok_or_else(|| io::Error::other(UnknownHost))
    }
}

fn by_the_system(name: &str) -> io::Result<Vec<SocketAddr>> {
    Ok((name, 0).to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{LazyLock, mpsc},
        time::Duration,
    };

    use parking_lot::Mutex;
    use tokio::time::timeout;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(100);

    /// Says when a look-up of the name `hangs` has begun; it ends when the other side of `RELEASE` is dropped.
    static RELEASE: LazyLock<LookupGate> = LazyLock::new(LookupGate::new);

    struct LookupGate {
        open: Mutex<Option<mpsc::Sender<()>>>,
        wait: Mutex<mpsc::Receiver<()>>,
        begun: Semaphore,
    }

    impl LookupGate {
        fn new() -> Self {
            let (open, wait) = mpsc::channel();
            Self { open: Mutex::new(Some(open)), wait: Mutex::new(wait), begun: Semaphore::new(0) }
        }
    }

    fn hanging(name: &str) -> io::Result<Vec<SocketAddr>> {
        if name == "hangs" {
            RELEASE.begun.add_permits(1);
            assert!(RELEASE.wait.lock().recv().is_err(), "nothing is sent; the gate opens");
        }
        let address = "1.1.1.1:0".parse().map_err(io::Error::other)?;
        Ok(vec![address])
    }

    /// With a name server that never answered, 2,000 tests of one owner's webhook held all threads that look up names,
    /// long after the tests were given up, and the deliveries of another owner timed out.
    #[tokio::test]
    async fn an_owner_whose_names_hang_holds_up_nobody_else() {
        let resolvers = OwnerResolvers::with(false, hanging);
        let (one, other) = ("one".parse().unwrap(), "other".parse().unwrap());
        for _ in 0..100 {
            let resolver = resolvers.of(Some(&one));
            tokio::spawn(async move { drop(timeout(SHORT, resolver.found("hangs".into())).await) });
        }
        let begun = RELEASE.begun.acquire_many(u32::try_from(OF_ONE_OWNER).unwrap());
        timeout(TIMEOUT, begun).await.expect("its share is used").unwrap().forget();
        tokio::time::sleep(SHORT * 2).await;
        assert_eq!(RELEASE.begun.available_permits(), 0, "no more than its share");
        for owner in [Some(&other), None] {
            let found = timeout(TIMEOUT, resolvers.of(owner).found("answers".into()));
            assert_eq!(found.await.expect("nobody waits for the other owner").unwrap().len(), 1);
        }
        let own = timeout(SHORT, resolvers.of(Some(&one)).found("answers".into()));
        assert!(own.await.is_err(), "threads that hang stay counted, though their callers have gone");
        drop(RELEASE.open.lock().take());
        let found = timeout(TIMEOUT, resolvers.of(Some(&one)).found("answers".into()));
        assert_eq!(found.await.expect("its threads are free again").unwrap().len(), 1);
    }
}
