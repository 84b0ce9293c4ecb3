//! Five times as many callers as fill the service, none of whom ever waits: checks and ends are answered in time,
//! and every command has its effect once, or none and the caller knows.
//!
//! Short by itself. `TENURE_OVERLOAD_SECONDS=60 cargo test --release --test attacks overload -- --nocapture` is the long
//! form, which holds checks and ends to 50 ms.

use std::{
    net::Ipv4Addr,
    sync::{
        PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::{
    client::{Client, FRIEND, Server, request},
    siege::{ALONE, BOUND, LONG_BOUND, Seen, Stopping, probe, with},
};

/// So many callers fill it: with more of them hardly more is done.
const FILL: usize = 64;
const KEYS: usize = 5;

#[expect(clippy::disallowed_methods, reason = "how long it takes is for whoever runs it to say")]
fn length() -> Option<u64> {
    std::env::var("TENURE_OVERLOAD_SECONDS").ok()?.parse().ok()
}

/// What one caller met.
#[derive(Clone, Default)]
struct Met {
    recorded: u64,
    refused: u64,
    /// Answers that it did not wait for; the request was made again.
    lost: u64,
}

/// A caller with a session that it records the use of, as fast as it goes. When it is refused it asks the same again at
/// once; and every seventh answer gets lost on its way.
struct Caller<'a> {
    server: &'a Server,
    address: Ipv4Addr,
    key: &'a str,
    session: String,
}

impl Caller<'_> {
    fn call(&self) -> Client {
        loop {
            if let Ok(client) = self.server.try_call(self.address) {
                return client;
            }
            pause(Duration::from_millis(5));
        }
    }

    /// Goes on from what it met before.
    fn works(&self, mut met: Met, stop: &AtomicBool) -> Met {
        let mut client = self.call();
        while !stop.load(Ordering::Relaxed) {
            self.records(&mut client, &mut met);
        }
        met
    }

    /// One command, asked until it is done.
    fn records(&self, client: &mut Client, met: &mut Met) {
        let body = json!({ "operation": "read" }).to_string();
        let more = format!("{}idempotency-key: {}.{}\r\n", with(self.key), self.session, met.recorded);
        let bytes =
            request("POST", &format!("/v1/sessions/{}/usage", self.session), &more, &body, body.len());
        if met.recorded % 7 == 6 && client.send(&bytes).is_ok() {
            met.lost += 1;
            *client = self.call();
        }
        loop {
            match client.try_ask(&bytes) {
                Ok(answer) if answer.status == 200 => break,
                Ok(answer) => {
                    assert!([429, 503].contains(&answer.status), "{answer:?}");
                    assert!(answer.head.contains("retry-after: "), "{answer:?}");
                    met.refused += 1;
                }
                Err(_) => *client = self.call(),
            }
        }
        met.recorded += 1;
    }
}

/// Ends a session every 20 ms.
fn ends(server: &Server, mut sessions: Vec<String>, stop: &AtomicBool) -> Seen {
    let (mut client, mut seen) = (server.call(FRIEND), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let Some(session) = sessions.pop() else { break };
        let begun = stopwatch();
        client.ask("DELETE", &format!("/v1/sessions/{session}"), &server.admin, None).expect(200);
        seen.push(begun.elapsed());
        pause(Duration::from_millis(20));
    }
    seen.sort_unstable();
    Seen(seen)
}

fn sessions(server: &Server, count: usize) -> Vec<String> {
    let mut client = server.call(FRIEND);
    client.ask("PUT", "/v1/subjects/many", &server.admin, Some(&json!({})));
    let body = json!({ "subjectId": "many" });
    let mut made = || client.ask("POST", "/v1/sessions", &server.admin, Some(&body)).expect(201).json();
    (0..count).map(|_| made()["sessionId"].as_str().unwrap().to_owned()).collect()
}

/// What the callers have met since the beginning.
fn recorded(met: &[Met]) -> u64 {
    met.iter().map(|met| met.recorded).sum()
}

/// Lets callers work for a while, beside checks and ends.
fn loaded(server: &Server, callers: &[Caller<'_>], met: &mut [Met], length: Duration) -> (Seen, Seen) {
    let (_, token) = server.session("victim");
    let to_end = sessions(server, usize::try_from(length.as_millis() / 20).unwrap());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stopping = Stopping(&stop);
        let mut working = Vec::new();
        for (caller, met) in callers.iter().zip(&*met) {
            let (met, stop) = (met.clone(), &stop);
            working.push(scope.spawn(move || caller.works(met, stop)));
        }
        let ending = scope.spawn(|| ends(server, to_end, &stop));
        let begun = stopwatch();
        let checks = probe(server, &token, || begun.elapsed() < length);
        stop.store(true, Ordering::Relaxed);
        working.into_iter().zip(met).for_each(|(one, met)| *met = one.join().unwrap());
        (checks, ending.join().unwrap())
    })
}

#[expect(clippy::print_stdout, reason = "it is for whoever lets it run to see")]
fn tell(callers: usize, recorded: u64, length: Duration, (checks, ends): &(Seen, Seen)) {
    let rate = u128::from(recorded) * 1_000 / length.as_millis();
    println!(
        "{callers:>3} callers, {rate:>6}/s, ms: p50, p99, count: checks {} | ends {}",
        checks.told(),
        ends.told()
    );
}

#[test]
fn five_times_as_many_callers_as_fill_it_lose_nothing_and_keep_no_check_waiting() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let settings = [
        "security.limit_loopback=true",
        "limits.per_subject=10000",
        "usage.per_second=100000",
        "usage.burst=100000",
        "idempotency.max=10000000",
    ];
    let server = Server::with(1_024, &settings);
    let keys: Vec<_> = (0..KEYS).map(|_| server.key("issuer")).collect();
    let callers: Vec<_> = sessions(&server, 5 * FILL)
        .into_iter()
        .enumerate()
        .map(|(number, session)| {
            let address = Ipv4Addr::new(127, 0, 2, u8::try_from(number % 64).unwrap());
            Caller { server: &server, address, key: &keys[number % KEYS], session }
        })
        .collect();
    let (length, bound) = length()
        .map_or((Duration::from_secs(2), BOUND), |seconds| (Duration::from_secs(seconds), LONG_BOUND));
    let mut met = vec![Met::default(); callers.len()];
    let filled = length / 4;
    let seen = loaded(&server, &callers[..FILL], &mut met[..FILL], filled);
    let before = recorded(&met);
    tell(FILL, before, filled, &seen);
    let seen = loaded(&server, &callers, &mut met, length);
    let during = recorded(&met) - before;
    tell(callers.len(), during, length, &seen);
    assert!(
        during < 8 * before,
        "so it was full: {before} by some in {filled:?}, {during} by all in {length:?}"
    );
    assert!(seen.0.at(99) <= bound, "of checks {:?}", seen.0.at(99));
    assert!(seen.1.at(99) <= bound, "of ends {:?}", seen.1.at(99));
    each_command_has_its_effect_once(&server, &callers, &met);
}

fn each_command_has_its_effect_once(server: &Server, callers: &[Caller<'_>], met: &[Met]) {
    let mut client = server.call(FRIEND);
    assert!(met.iter().all(|met| met.lost > 0), "answers of each got lost");
    for (caller, met) in callers.iter().zip(met) {
        let shown = client.ask("GET", &format!("/v1/sessions/{}", caller.session), &server.admin, None);
        let used: Value = shown.expect(200).json()["usage"]["transactions"].clone();
        assert_eq!(used, json!(met.recorded), "{} were refused, {} lost", met.refused, met.lost);
    }
}
