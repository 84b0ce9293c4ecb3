//! Attackers beside a probe that checks one token every millisecond: what the probe notices, before, during and after.
//!
//! `cargo test --test attacks siege -- --nocapture` prints it. `TENURE_SIEGE_SECONDS` makes each attack longer than the
//! short form, and holds the probe to 50 ms in 99 of 100 checks, which a machine that builds at the same time cannot
//! promise.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tenure::clock::{pause, stopwatch};
use tenure_threads::priority::stand_back;

use crate::client::{ATTACKER, Answer, Client, FRIEND, Server, request};

mod connections;
mod history;
mod reads;
mod secrets;
mod writes;

/// One siege at a time: each would be noticed by the probes of the others.
pub(crate) static ALONE: Mutex<()> = Mutex::new(());

/// What the short form holds the probe to.
pub(crate) const BOUND: Duration = Duration::from_millis(250);
pub(crate) const LONG_BOUND: Duration = Duration::from_millis(50);
/// So much memory the server has at most, whoever attacks.
const MOST_MEBIBYTES: u64 = 400;
/// So much where the attack reads a long history: two folds of it at once, the one that is kept, and what the allocator
/// has not yet given back of those before. Each read with a fold of its own would take gigabytes.
const MOST_MEBIBYTES_OF_FOLDS: u64 = 700;
/// How long after an attack all is as before.
const RECOVERY: Duration = Duration::from_secs(5);

#[expect(clippy::disallowed_methods, reason = "how long it takes is for whoever runs it to say")]
pub(crate) fn length() -> Option<u64> {
    std::env::var("TENURE_SIEGE_SECONDS").ok()?.parse().ok()
}

/// How long checks took.
pub(crate) struct Seen(pub(crate) Vec<Duration>);

impl Seen {
    pub(crate) fn at(&self, percent: usize) -> Duration {
        self.0[(self.0.len() - 1) * percent / 100]
    }

    /// What is held to a bound: the 99th percentile. The short form sees too few for that, and what other work on the
    /// machine does to them is the worst of it: it holds the middle.
    pub(crate) fn to_hold(&self, bound: Duration) -> Duration {
        self.at(if bound == BOUND { 50 } else { 99 })
    }

    pub(crate) fn told(&self) -> String {
        let millis = |time: Duration| time.as_secs_f64() * 1e3;
        format!("{:>8.2} {:>8.2} {:>6}", millis(self.at(50)), millis(self.at(99)), self.0.len())
    }
}

/// Checks one token each millisecond on a connection of its own, and once in a while on a new one, which must work too.
pub(crate) fn probe(server: &Server, token: &str, goes_on: impl Fn() -> bool) -> Seen {
    let body = json!({ "token": token }).to_string();
    let more = format!("authorization: Bearer {}\r\n", server.admin);
    let check = request("POST", "/v1/introspect", &more, &body, body.len());
    let mut client = server.call(FRIEND);
    let mut seen = Vec::new();
    while seen.is_empty() || goes_on() {
        if seen.len() % 100 == 99 {
            client = server.call(FRIEND);
        }
        let begun = stopwatch();
        let answer = client.try_ask(&check).unwrap().expect(200);
        assert_eq!(answer.json()["active"], true, "{answer:?}");
        seen.push(begun.elapsed());
        pause(Duration::from_millis(1));
    }
    seen.sort_unstable();
    Seen(seen)
}

fn probe_for(server: &Server, token: &str, length: Duration) -> Seen {
    let begun = stopwatch();
    probe(server, token, || begun.elapsed() < length)
}

/// What somebody does until it is told to stop; an attacker opens connections that end again.
type Attack<'a> = &'a (dyn Fn(&Server, &AtomicBool) + Sync);

/// A service that is besieged, and a session that is checked meanwhile.
struct Siege {
    name: &'static str,
    server: Server,
    token: String,
    length: Duration,
    bound: Duration,
    most_mebibytes: u64,
}

impl Siege {
    /// Of a server of its own, whose shares count for loopback addresses.
    fn of(name: &'static str, settings: &[&str]) -> Self {
        let settings = [&["security.limit_loopback=true"], settings].concat();
        Self::on(name, Server::with(1_024, &settings))
    }

    /// Of a server with a long history.
    fn of_long(name: &'static str, settings: &[&str]) -> Self {
        Self { most_mebibytes: MOST_MEBIBYTES_OF_FOLDS, ..Self::on(name, history::long(settings)) }
    }

    /// Of a server with a subject that has thousands of sessions.
    fn of_crowded(name: &'static str, settings: &[&str]) -> Self {
        Self { most_mebibytes: MOST_MEBIBYTES_OF_FOLDS, ..Self::on(name, history::crowded(settings)) }
    }

    fn on(name: &'static str, server: Server) -> Self {
        let (_, token) = server.session("victim");
        let (length, bound) = length()
            .map_or((Duration::from_secs(1), BOUND), |seconds| (Duration::from_secs(seconds), LONG_BOUND));
        Self { name, server, token, length, bound, most_mebibytes: MOST_MEBIBYTES }
    }

    fn probe(&self) -> Seen {
        probe_for(&self.server, &self.token, self.length)
    }

    /// Four attackers at once, until it is over, beside the probe and somebody who writes.
    fn hold(&self, attack: Attack<'_>) {
        self.hold_beside(&|_, _| {}, attack);
    }

    /// The same beside this as well. Attackers have machines of their own: on this one they take the time that the
    /// others leave, which is all that the service does not need.
    #[expect(clippy::print_stdout, reason = "it is for whoever lets it run to see")]
    fn hold_beside(&self, friend: Attack<'_>, attack: Attack<'_>) {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let (stop, before) = (AtomicBool::new(false), self.probe());
        let (during, writes) = std::thread::scope(|scope| {
            // A test that fails must end its attackers too.
            let _stopping = Stopping(&stop);
            for _ in 0..4 {
                scope.spawn(|| {
                    stand_back();
                    attack(&self.server, &stop);
                });
            }
            scope.spawn(|| friend(&self.server, &stop));
            let writer = scope.spawn(|| writes(&self.server, &stop));
            let during = self.probe();
            stop.store(true, Ordering::Relaxed);
            (during, writer.join().unwrap())
        });
        let peak = self.server.peak_mebibytes();
        pause(if self.bound == BOUND { Duration::from_millis(500) } else { RECOVERY });
        let after = self.probe();
        println!(
            "{:<40} {} | {} | {} | {} | {peak:>4} MiB",
            self.name,
            before.told(),
            during.told(),
            after.told(),
            writes.told()
        );
        self.is_bounded("a check", &during, self.bound);
        // Those go on; checks and ends come first.
        self.is_bounded("a write", &writes, 10 * self.bound);
        assert!(peak <= self.most_mebibytes, "{}: {peak} MiB", self.name);
        self.is_as_before(&before, &after);
    }

    fn is_bounded(&self, what: &str, seen: &Seen, bound: Duration) {
        let found = seen.to_hold(self.bound);
        assert!(found <= bound, "{}: of {what} {found:?}", self.name);
    }

    /// What other work on the machine does to a probe is less than a fifth of the bound.
    fn is_as_before(&self, before: &Seen, after: &Seen) {
        let most = (3 * before.at(50)).max(self.bound / 5);
        assert!(
            after.at(50) <= most,
            "{}: after it {:?}, before {:?}",
            self.name,
            after.at(50),
            before.at(50)
        );
        self.server.call(FRIEND).ask("GET", "/readyz", "", None).expect(200);
        self.server.until("tenure_taken{of=\"connections\"}", |taken| taken < 20);
    }
}

pub(crate) struct Stopping<'a>(pub(crate) &'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Somebody writes every 20 ms, and is never refused.
fn writes(server: &Server, stop: &AtomicBool) -> Seen {
    let mut client = server.call(FRIEND);
    let mut seen = Vec::new();
    while seen.is_empty() || !stop.load(Ordering::Relaxed) {
        let (begun, target) = (stopwatch(), format!("/v1/subjects/meanwhile-{}", seen.len()));
        client.ask("PUT", &target, &server.admin, Some(&json!({}))).expect(201);
        seen.push(begun.elapsed());
        pause(Duration::from_millis(20));
    }
    seen.sort_unstable();
    Seen(seen)
}

/// Opens some thousand connections a second, does something with each and keeps the newest of them.
fn crowd(server: &Server, stop: &AtomicBool, begin: impl Fn(&mut Client) -> std::io::Result<()>) {
    let mut kept = std::collections::VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        if let Ok(mut client) = server.try_call(ATTACKER)
            && begin(&mut client).is_ok()
        {
            kept.push_back(client);
        }
        if kept.len() > 300 {
            kept.pop_front();
            pause(Duration::from_millis(1));
        }
    }
}

/// With this key.
pub(crate) fn with(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}

/// Asks the same on one connection as fast as it goes.
fn flood(server: &Server, stop: &AtomicBool, bytes: &[u8]) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = server.try_call(ATTACKER) else { continue };
        while !stop.load(Ordering::Relaxed) && client.try_ask(bytes).is_ok() {}
    }
}

/// As many attackers, each with a connection of its own, as one thread of an attack stands for.
fn by_many(stop: &AtomicBool, many: usize, attack: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        for _ in 0..many {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    attack();
                }
            });
        }
    });
}

/// Asks once on a new connection, if there is one.
fn once(server: &Server, bytes: &[u8]) -> Option<Answer> {
    server.try_call(ATTACKER).ok()?.try_ask(bytes).ok()
}
