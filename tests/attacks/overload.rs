//! Five times as many callers as fill the service, none of whom ever waits: checks and ends are answered in time,
//! and every command has its effect once, or none and the caller knows.
//!
//! Short by itself. `TENURE_OVERLOAD_SECONDS=60 cargo test --release --test attacks overload -- --nocapture` is the long
//! form, which holds checks and ends to 50 ms. What they take when nobody else asks is printed beside it.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::{
    callers::{Caller, Met, work},
    client::{FRIEND, Server},
    siege::{ALONE, BOUND, LONG_BOUND, Seen, Stopping, probe},
};

/// So many callers fill it: with more of them hardly more is done.
const FILL: usize = 64;
const KEYS: usize = 5;

#[expect(clippy::disallowed_methods, reason = "how long it takes is for whoever runs it to say")]
fn length() -> Option<u64> {
    std::env::var("TENURE_OVERLOAD_SECONDS").ok()?.parse().ok()
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

/// Sessions, each of a subject of its own.
fn sessions(server: &Server, of: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| server.session(&format!("{of}-{number}")).0).collect()
}

/// What the callers have met since the beginning.
fn recorded(met: &[Met]) -> u64 {
    met.iter().map(|met| met.recorded).sum()
}

/// What was noticed while callers worked.
struct Noticed {
    checks: Seen,
    ends: Seen,
}

/// Lets callers work for a while, beside checks and ends.
fn loaded(server: &Server, callers: &[Caller], met: &mut [Met], length: Duration) -> Noticed {
    let (_, token) = server.session("victim");
    let to_end = sessions(
        server,
        &format!("ended-{}", callers.len()),
        usize::try_from(length.as_millis() / 20).unwrap(),
    );
    let stop = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _stopping = Stopping(&stop);
        let working = scope.spawn(|| work(callers, met, &stop));
        let ending = scope.spawn(|| ends(server, to_end, &stop));
        let begun = stopwatch();
        let checks = probe(server, &token, || begun.elapsed() < length);
        stop.store(true, Ordering::Relaxed);
        working.join().unwrap();
        Noticed { checks, ends: ending.join().unwrap() }
    })
}

#[expect(clippy::print_stdout, reason = "it is for whoever lets it run to see")]
fn tell(callers: usize, recorded: u64, length: Duration, noticed: &Noticed) {
    let rate = u128::from(recorded) * 1_000 / length.as_millis();
    println!(
        "{callers:>3} callers, {rate:>6}/s, ms: p50, p99, count: checks {} | ends {}",
        noticed.checks.told(),
        noticed.ends.told()
    );
}

fn hold(what: &str, alone: &Seen, during: &Seen, bound: Duration) {
    let [alone, during] = [alone, during].map(|seen| seen.to_hold(bound));
    assert!(during <= bound, "of {what} {during:?}, alone {alone:?}");
}

#[test]
fn five_times_as_many_callers_as_fill_it_lose_nothing_and_keep_no_check_waiting() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let settings = [
        "security.limit_loopback=true",
        "usage.per_second=100000",
        "usage.burst=100000",
        "idempotency.max=10000000",
    ];
    let server = Server::with(1_024, &settings);
    let keys: Vec<_> = (0..KEYS).map(|_| server.key("issuer")).collect();
    let callers: Vec<_> = sessions(&server, "agent", 5 * FILL)
        .into_iter()
        .enumerate()
        .map(|(number, session)| {
            let address = Ipv4Addr::new(127, 0, 2, u8::try_from(number % 64).unwrap());
            let (server, key) = (server.address(), keys[number % KEYS].clone());
            Caller { server, from: address, key, session }
        })
        .collect();
    let is_long = length().is_some();
    let (length, bound) = length()
        .map_or((Duration::from_secs(2), BOUND), |seconds| (Duration::from_secs(seconds), LONG_BOUND));
    let mut met = vec![Met::default(); callers.len()];
    let filled = length / 4;
    let alone = loaded(&server, &[], &mut [], filled);
    tell(0, 0, filled, &alone);
    let seen = loaded(&server, &callers[..FILL], &mut met[..FILL], filled);
    let before = recorded(&met);
    tell(FILL, before, filled, &seen);
    let seen = loaded(&server, &callers, &mut met, length);
    let during = recorded(&met) - before;
    tell(callers.len(), during, length, &seen);
    // The short form sees half a second of the few: too little to tell on a machine with other work.
    assert!(
        !is_long || during < 8 * before,
        "so it was full: {before} by some in {filled:?}, {during} by all in {length:?}"
    );
    hold("checks", &alone.checks, &seen.checks, bound);
    hold("ends", &alone.ends, &seen.ends, bound);
    each_command_has_its_effect_once(&server, &callers, &met);
}

fn each_command_has_its_effect_once(server: &Server, callers: &[Caller], met: &[Met]) {
    let mut client = server.call(FRIEND);
    assert!(met.iter().all(|met| met.lost > 0), "answers of each got lost");
    for (caller, met) in callers.iter().zip(met) {
        let shown = client.ask("GET", &format!("/v1/sessions/{}", caller.session), &server.admin, None);
        let used: Value = shown.expect(200).json()["usage"]["transactions"].clone();
        assert_eq!(used, json!(met.recorded), "{} were refused, {} lost", met.refused, met.lost);
    }
}
