//! Nobody is signed out who is alone with a session, however many processes share it and however many replies are lost.
//!
//! Sessions with `onReuse: revoke`, several holders on each session's file, and a network that loses every tenth reply.
//! Some holders use their token while another one renews it, so they show a replaced one.
//!
//! A hundred renewals by default; `TENURE_RENEWALS=100000 cargo test --locked --test client crowd -- --nocapture` makes
//! as many as it says.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tenure::{
    client::{AuthorityTime, Client, HandleOptions, SessionFile, SessionGrant, SessionHandle},
    clock::stopwatch,
    core::Timestamp,
    entropy::{SeededEntropy, jitter},
};
use tokio::sync::watch;

use crate::{
    manual_clock::now_of,
    proxy::{Fate, Proxy},
    server::Server,
};

const HOLDERS: usize = 3;
const SEED: u64 = 0x0c40_3d00;
/// A session can be renewed so often.
const ROUNDS: u64 = 100;
const TTL: u64 = 3_600;
/// What was refused for the moment is tried again so much later, in seconds.
const STEP: u64 = 20;

/// A clock that all holders share.
#[derive(Debug)]
struct Shared(watch::Sender<Timestamp>);

impl AuthorityTime for Shared {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn until(&self, at: Timestamp) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            self.0.subscribe().wait_for(|now| *now >= at).await.unwrap();
        })
    }
}

struct Crowd {
    server: Server,
    time: Arc<Shared>,
    /// The holders of one session after those of another.
    holders: Vec<SessionHandle>,
    files: Vec<PathBuf>,
    chance: SeededEntropy,
}

impl Crowd {
    /// So many sessions in files of their own, each with its holders, behind a network that loses replies.
    fn begin(server: Server, proxy: &Proxy, directory: &Path, sessions: u64) -> Self {
        let time = Arc::new(Shared(watch::Sender::new(now_of(&server))));
        let client = Client::new(&proxy.url()).unwrap().with_retry_timeout(Duration::ZERO);
        let client = client.with_time(Arc::<Shared>::clone(&time));
        let asked = json!({ "subjectId": "crowd", "ttl": TTL, "maxRenewals": ROUNDS, "onReuse": "revoke" });
        let files: Vec<_> = (0..sessions)
            .map(|number| {
                let reply = server.post("/v1/sessions").bearer(&server.admin).json(&asked).send().expect(201);
                let created = serde_json::from_value(reply.json()).unwrap();
                let file = SessionFile::at(directory.join(format!("{number}.session")));
                let grant = SessionGrant::created(&format!("http://{}", server.address()), &created);
                file.lock().unwrap().write(&grant).unwrap();
                file.path().to_owned()
            })
            .collect();
        let hold = |file: &PathBuf| {
            SessionHandle::open_with(client.clone(), file, HandleOptions::default()).unwrap()
        };
        let holders = files.iter().flat_map(|file| (0..HOLDERS).map(|_| hold(file))).collect();
        Self { server, time, holders, files, chance: SeededEntropy::new(SEED) }
    }

    fn advance(&self, seconds: u64) {
        self.server.advance(seconds);
        self.time.0.send_replace(now_of(&self.server));
    }

    /// All sessions are renewed, while some of their holders use them.
    async fn renew_all(&self, round: u64) {
        self.advance(TTL * 8 / 10);
        for _ in 0..60 {
            let users = self.holders.iter().filter(|_| jitter(&self.chance).is_multiple_of(5));
            use_all(users).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            if self.files.iter().all(|file| is_renewed(file, round)) {
                return;
            }
            self.advance(STEP);
        }
        panic!("round {round} does not end: {:?}", self.server.events("RenewalRejected,SessionRevoked"));
    }
}

/// Uses many sessions at once. A lost reply is no answer, and nothing else may go wrong.
async fn use_all<'a>(users: impl Iterator<Item = &'a SessionHandle>) {
    let mut running = Vec::new();
    for holder in users {
        running.push(Box::pin(async move {
            if let Err(error) = holder.session().await {
                assert!(error.is_transient(), "{error}");
            }
        }));
    }
    std::future::poll_fn(|context| {
        running.retain_mut(|using| using.as_mut().poll(context).is_pending());
        if running.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

fn is_renewed(file: &Path, round: u64) -> bool {
    let grant = SessionFile::at(file).read().unwrap();
    u64::from(grant.renewal_count) >= round && grant.renewal_key.is_none()
}

fn wanted() -> u64 {
    let wanted = std::env::var_os("TENURE_RENEWALS");
    wanted.map_or(100, |wanted| wanted.to_str().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_ends_whose_holders_share_a_file_however_many_replies_are_lost() {
    let begun = stopwatch();
    let (mut done, wanted) = (0, wanted());
    let lost = Arc::new(AtomicU64::new(0));
    while done < wanted {
        // As many sessions as are needed, 200 at most at a time.
        let rounds = ROUNDS.min(10.max((wanted - done) / 200));
        let sessions = (wanted - done).div_ceil(rounds).min(200);
        done += crowd_of(sessions, rounds, &lost).await;
        println!("{done} renewals, {} replies lost, {:?}", lost.load(Ordering::Relaxed), begun.elapsed());
    }
    assert!(lost.load(Ordering::Relaxed) * 30 > done, "hardly any reply was lost");
}

/// Renews so many sessions so often; how many renewals that were.
async fn crowd_of(sessions: u64, rounds: u64, lost: &Arc<AtomicU64>) -> u64 {
    let server = Server::with(&["limits.per_subject=10000"]);
    server.register("crowd", &json!({}));
    let directory = tempfile::tempdir().unwrap();
    let (asked, count) = (AtomicU64::new(0), Arc::clone(lost));
    let proxy = Proxy::before(server.address(), move |_| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        if jitter(&SeededEntropy::new(SEED ^ number)) > u16::MAX / 10 {
            return Fate::Pass;
        }
        count.fetch_add(1, Ordering::Relaxed);
        Fate::LoseReply
    });
    let crowd = Crowd::begin(server, &proxy, directory.path(), sessions);
    for round in 1..=rounds {
        crowd.renew_all(round).await;
    }
    assert!(crowd.server.events("SessionRevoked,SessionExpired").is_empty(), "a false end");
    for file in &crowd.files {
        let grant = SessionFile::at(file).read().unwrap();
        let judged = crowd.server.introspect(grant.token.expose()).json();
        assert_eq!((judged["active"].as_bool(), judged["renewalCount"].as_u64()), (Some(true), Some(rounds)));
    }
    let refused = crowd.server.events("RenewalRejected");
    assert!(refused.is_empty(), "{refused:?}");
    sessions * rounds
}
