//! A clock that shows what it was told, and knows when whoever waits for it is at rest.

use std::{pin::Pin, sync::Arc};

use tenure::{client::AuthorityTime, core::Timestamp};
use tokio::sync::watch;

use crate::server::Server;

/// Shared by a holder and the test.
#[derive(Debug)]
pub(crate) struct ManualClock {
    now: watch::Sender<Timestamp>,
    /// What the holder waits for; none while it works.
    awaited: watch::Sender<Option<Timestamp>>,
}

impl ManualClock {
    pub(crate) fn new(now: Timestamp) -> Arc<Self> {
        Arc::new(Self { now: watch::Sender::new(now), awaited: watch::Sender::new(None) })
    }

    pub(crate) fn tell(&self, now: Timestamp) {
        self.now.send_replace(now);
    }

    /// Returns when the holder waits for a moment that has not come.
    pub(crate) async fn at_rest(&self) {
        let now = *self.now.borrow();
        let mut awaited = self.awaited.subscribe();
        awaited.wait_for(|awaited| awaited.is_some_and(|at| at > now)).await.unwrap();
    }
}

impl AuthorityTime for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    fn until(&self, at: Timestamp) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            let mut now = self.now.subscribe();
            self.awaited.send_replace(Some(at));
            now.wait_for(|now| *now >= at).await.unwrap();
            self.awaited.send_replace(None);
        })
    }
}

/// What time it is at a server whose clock stands still.
pub(crate) fn now_of(server: &Server) -> Timestamp {
    let reply = server.get("/v1/clock").bearer(&server.admin).send().expect(200);
    Timestamp::parse(&reply.text("now")).unwrap()
}
