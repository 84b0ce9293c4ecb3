//! The feed as it happens. A verifier that asked once a second took half of that until a revocation counted.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::json;
use tenure::{
    clock::{pause, stopwatch},
    verify::{AuthorityConnection, FeedFollower, Rejection, Verifier, VerifierConfig},
};

use crate::{
    fake::{PATIENCE, eventually},
    following::{are_within_the_poll_and_two_round_trips, said},
    real::{Real, measured},
};

/// A network on which streams can be refused, cut, and held up without a word.
struct Wire {
    address: SocketAddr,
    state: Arc<Fate>,
}

#[derive(Default)]
struct Fate {
    /// What is asked for as a stream is refused.
    refuses: AtomicBool,
    /// What comes in streams is swallowed, and their connections stay.
    swallows: AtomicBool,
    /// Streams end.
    cuts: AtomicBool,
    /// How many streams were opened.
    streams: AtomicUsize,
    /// How many pages of the feed were asked for.
    pages: AtomicUsize,
}

impl Wire {
    fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(Fate::default()));
        let fate = Arc::clone(&state);
        // It ends with the process.
        thread::spawn(move || {
            for client in listener.incoming() {
                let fate = Arc::clone(&fate);
                thread::spawn(move || relay(&client.unwrap(), server, &fate));
            }
        });
        Self { address, state }
    }

    async fn followed(&self, real: &Real) -> (Verifier, FeedFollower) {
        let verifier = Verifier::new(VerifierConfig::of("tenure")).unwrap();
        let url = format!("http://{}", self.address);
        let follower = verifier.follow(AuthorityConnection::to(&url, &real.key).unwrap());
        tokio::time::timeout(PATIENCE, verifier.ready()).await.expect("it gets ready");
        (verifier, follower)
    }

    fn streams(&self) -> usize {
        self.state.streams.load(Ordering::SeqCst)
    }
}

fn relay(client: &TcpStream, server: SocketAddr, fate: &Arc<Fate>) {
    let server = TcpStream::connect(server).unwrap();
    let is_stream = Arc::new(AtomicBool::new(false));
    let back = {
        let (mut server, mut client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let (fate, is_stream) = (Arc::clone(fate), Arc::clone(&is_stream));
        server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 16 * 1024];
            loop {
                let is_cut = is_stream.load(Ordering::SeqCst) && fate.cuts.load(Ordering::SeqCst);
                let length = match server.read(&mut bytes) {
                    Ok(0) => break,
                    Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break,
                    _ if is_cut => break,
                    Err(_) => continue,
                    Ok(length) => length,
                };
                let is_swallowed = is_stream.load(Ordering::SeqCst) && fate.swallows.load(Ordering::SeqCst);
                if !is_swallowed && client.write_all(&bytes[..length]).is_err() {
                    break;
                }
            }
            drop((client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both)));
        })
    };
    let (mut from, mut to) = (client, &server);
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        let text = String::from_utf8_lossy(&bytes[..length]);
        if text.contains("text/event-stream") {
            if fate.refuses.load(Ordering::SeqCst) {
                drop(from.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"));
                continue;
            }
            is_stream.store(true, Ordering::SeqCst);
            fate.streams.fetch_add(1, Ordering::SeqCst);
        } else if text.contains("/v1/revocations/feed") {
            fate.pages.fetch_add(1, Ordering::SeqCst);
        }
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    drop(server.shutdown(Shutdown::Both));
    back.join().unwrap();
}

/// How long a revocation takes to count, with the default rules: the figure in `docs/verify.md`.
#[tokio::test(flavor = "multi_thread")]
async fn measured_a_revocation_of_the_real_authority_is_pushed() {
    let real = Real::start();
    let (verifier, _follower) = real.followed(VerifierConfig::of("tenure")).await;
    // The stream is opened after the first round.
    pause(Duration::from_millis(500));
    let mut latencies = measured(&real, &verifier);
    latencies.sort_unstable();
    let median = latencies[latencies.len() / 2];
    are_within_the_poll_and_two_round_trips(latencies.clone(), verifier.config());
    assert!(median <= Duration::from_millis(100), "half of them took {median:?} or longer");
    // On a machine that others use too one of a hundred may wait for its turn.
    if std::env::var_os("TENURE_MEASURE").is_some() {
        let late = latencies[latencies.len() * 99 / 100];
        assert!(late <= Duration::from_millis(100), "of 100 of them one took {late:?} or longer");
    }
}

/// Somebody's proxy knows no streams: then it is as it was before.
#[tokio::test(flavor = "multi_thread")]
async fn measured_without_a_stream_a_revocation_counts_within_the_poll_and_two_round_trips() {
    let real = Real::start();
    let wire = Wire::before(real.server.address());
    wire.state.refuses.store(true, Ordering::SeqCst);
    let (verifier, _follower) = wire.followed(&real).await;
    are_within_the_poll_and_two_round_trips(measured(&real, &verifier), verifier.config());
    assert_eq!(wire.streams(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_stream_little_is_asked_and_one_that_is_cut_is_replaced() {
    let real = Real::start();
    let wire = Wire::before(real.server.address());
    let (verifier, _follower) = wire.followed(&real).await;
    eventually("there is a stream", || wire.streams() == 1);
    let pages = || wire.state.pages.load(Ordering::SeqCst);
    let before = pages();
    pause(Duration::from_secs(6));
    assert!(pages() - before <= 4, "{} pages in 6 s", pages() - before);
    assert!(verifier.status().age.unwrap() < Duration::from_secs(2), "{:?}", verifier.status());
    let (session, token) = real.minted("agent-7");
    wire.state.cuts.store(true, Ordering::SeqCst);
    pause(Duration::from_millis(100));
    wire.state.cuts.store(false, Ordering::SeqCst);
    real.revoking(&session).send().expect(200);
    let since = stopwatch();
    eventually("it counts", || said(&verifier, &token) == Err(Rejection::Revoked));
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    eventually("there is another stream", || wire.streams() >= 2);
}

/// The worst network: it swallows what comes, and nobody is told. The authority's word of every second is missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_swallowed_is_given_up_and_the_poll_goes_on() {
    let real = Real::start();
    let wire = Wire::before(real.server.address());
    let (verifier, _follower) = wire.followed(&real).await;
    eventually("there is a stream", || wire.streams() == 1);
    let tokens: Vec<_> = (0..6).map(|number| real.minted(&format!("agent-{number}"))).collect();
    wire.state.swallows.store(true, Ordering::SeqCst);
    for (session, token) in &tokens {
        real.revoking(session).send().expect(200);
        let since = stopwatch();
        eventually("it counts", || said(&verifier, token) == Err(Rejection::Revoked));
        assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
        assert!(verifier.status().is_fresh);
    }
}

/// What a stream brings late must not bring back a key that was withdrawn, and a new key is known before its tokens are.
#[tokio::test(flavor = "multi_thread")]
async fn new_keys_are_known_as_soon_as_they_are_told() {
    let real = Real::start();
    let (verifier, _follower) = real.followed(VerifierConfig::of("tenure")).await;
    pause(Duration::from_millis(500));
    let (session, old) = real.minted("agent-7");
    let body = json!({ "which": "access", "retire": "now" });
    real.server.post("/v1/keys/rotate").bearer(&real.server.admin).json(&body).send().expect(200);
    let since = stopwatch();
    let new = real.mint(&session, &json!({}));
    eventually("the new one passes", || said(&verifier, &new) == Ok(()));
    eventually("the old one does not", || said(&verifier, &old) == Err(Rejection::UnknownKey));
    assert!(since.elapsed() < Duration::from_millis(800), "{:?}", since.elapsed());
}
