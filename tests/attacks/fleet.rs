//! Agents who mean well are refused nothing, however many of them come from one address.
//!
//! A few hundred by itself. `TENURE_FLEET=12000 cargo test --release --test attacks fleet -- --nocapture` is the long form:
//! five of six call by way of a trusted proxy, all from one address behind it, and the sixth directly from another one.

use std::{
    net::Ipv4Addr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::json;
use tenure::clock::stopwatch;

use crate::{
    client::{Client, FRIEND, OTHER, PROXY, Server},
    siege::{ALONE, Seen, with},
};

/// As many threads let them all call.
const THREADS: usize = 8;
const ROUNDS: usize = 3;

#[expect(clippy::disallowed_methods, reason = "how many there are is for whoever runs it to say")]
fn agents() -> usize {
    std::env::var("TENURE_FLEET").map_or(300, |number| number.parse().unwrap())
}

/// An agent on a connection that it keeps.
struct Agent {
    client: Client,
    session: String,
    token: String,
    is_behind_proxy: bool,
}

impl Agent {
    fn new(server: &Server, maker: &mut Client, key: &str, number: usize) -> Self {
        let subject = format!("agent-{number}");
        maker.ask("PUT", &format!("/v1/subjects/{subject}"), key, Some(&json!({}))).expect(201);
        let body = json!({ "subjectId": subject });
        let made = maker.ask("POST", "/v1/sessions", key, Some(&body)).expect(201).json();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        let is_behind_proxy = !number.is_multiple_of(6);
        let from: Ipv4Addr = if is_behind_proxy { PROXY } else { OTHER };
        let mut agent = Self {
            client: server.call(from),
            session: text("sessionId"),
            token: text("token"),
            is_behind_proxy,
        };
        agent.looks();
        agent
    }

    /// It asks how its session stands, on the connection that it has.
    fn looks(&mut self) -> Duration {
        let forwarded = if self.is_behind_proxy { "x-forwarded-for: 192.0.2.7\r\n" } else { "" };
        let more = format!("{}{forwarded}", with(&self.token));
        let begun = stopwatch();
        let target = format!("/v1/sessions/{}", self.session);
        self.client.ask_saying("GET", &target, &more, None).expect(200);
        begun.elapsed()
    }
}

/// The agents of every thread, and how long they waited.
type Agents = Mutex<Vec<(Vec<Agent>, Vec<Duration>)>>;

/// The agents of one thread, all of which look several times.
fn work(server: &Server, key: &str, numbers: impl Iterator<Item = usize>) -> (Vec<Agent>, Vec<Duration>) {
    let mut maker = server.call(FRIEND);
    let mut own: Vec<_> = numbers.map(|number| Agent::new(server, &mut maker, key, number)).collect();
    let seen = (0..ROUNDS).flat_map(|_| own.iter_mut().map(Agent::looks).collect::<Vec<_>>()).collect();
    (own, seen)
}

#[test]
fn a_fleet_is_refused_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let settings =
        ["security.limit_loopback=true", "server.trusted_proxies=127.0.0.3", "server.keep_alive=600"];
    let count = agents();
    // Four fifths of all places: those who call directly are more than one address's share, and have shown who they are.
    let descriptors = u32::try_from(count * 5 / 4).unwrap() + 256 + 16;
    let server = Server::with(descriptors.max(512), &settings);
    let key = server.key("issuer");
    let (begun, all) = (stopwatch(), Agents::default());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (all, server, key) = (&all, &server, &key);
            scope.spawn(move || {
                let own = work(server, key, (thread..count).step_by(THREADS));
                all.lock().unwrap().push(own);
            });
        }
    });
    let mut all = all.into_inner().unwrap();
    let mut seen: Vec<_> = all.iter_mut().flat_map(|(_, seen)| std::mem::take(seen)).collect();
    seen.sort_unstable();
    println!("{count} agents in {:?}, ms: p50, p99, looks {}", begun.elapsed(), Seen(seen).told());
    assert!(server.metric("tenure_taken{of=\"connections\"}") > count as u64);
    for share in
        ["shares.connections_per_address", "shares.in_flight_per_credential", "shares.appends_per_second"]
    {
        assert_eq!(server.metric(&format!("tenure_refused_by_share_total{{share=\"{share}\"}}")), 0);
    }
    assert_eq!(server.metric("tenure_gave_way_total"), 0);
}
