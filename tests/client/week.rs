//! A week in which 64 processes share one session file, and every tenth reply is lost.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use tenure::{
    client::SessionFile,
    core::Timestamp,
    entropy::{SeededEntropy, jitter},
};

use crate::{
    agent::{Agent, session_file},
    manual_clock::now_of,
    proxy::{Fate, Proxy},
    server::Server,
};

const PROCESSES: usize = 64;
const SEED: u64 = 0x007e_0075;
/// Four hours: 100 renewals at most are enough for a week, at 50 % of the period each.
const TTL: u64 = 14_400;
/// So far the clock moves at a time, in seconds; between a `renewAt` and the end of the period are 48 minutes at least.
const STEP: u64 = 600;
const WEEK: u64 = 7 * 86_400;

/// One request in ten, the same ones at every run as far as the requests come in the same order.
fn losing(lost: &'static AtomicU64) -> impl Fn(&str) -> Fate {
    let asked = AtomicU64::new(0);
    move |_| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        if jitter(&SeededEntropy::new(SEED ^ number)) > u16::MAX / 10 {
            return Fate::Pass;
        }
        lost.fetch_add(1, Ordering::Relaxed);
        Fate::LoseReply
    }
}

#[test]
fn sixty_four_processes_share_a_session_for_a_week_and_lose_every_tenth_reply() {
    static LOST: AtomicU64 = AtomicU64::new(0);
    let server = Server::start();
    let (verifier, _) = server.issue_key("verifier", None);
    let directory = tempfile::tempdir().unwrap();
    let asked = json!({ "subjectId": "agent-7", "ttl": TTL, "maxRenewals": 100 });
    let file = session_file(&server, directory.path(), &asked);
    let proxy = Proxy::before(server.address(), losing(&LOST));
    let mut agents: Vec<_> = (0..PROCESSES).map(|_| Agent::start(&file, &proxy.url(), &verifier)).collect();

    let chance = SeededEntropy::new(SEED);
    let start = now_of(&server);
    for step in 0..=WEEK / STEP {
        let now = start.plus_millis(i64::try_from(step * STEP * 1000).unwrap());
        server.put("/v1/clock").bearer(&server.admin).json(&json!({ "to": now })).send().expect(200);
        work_at(&mut agents, now, &chance);
    }

    // Nobody was signed out, and everybody has a token that works.
    for agent in &mut agents {
        agent.tell("introspect");
    }
    assert!(agents.iter_mut().all(|agent| agent.answer() == "live"));
    let renewals = u64::from(SessionFile::at(&file).read().unwrap().renewal_count);
    assert_eq!(server.events("SessionRenewed").len() as u64, renewals, "a renewal that nobody knows of");
    // Between 50 % and 80 % of the period, and a step or two more where a reply was lost.
    let (fewest, most) = (WEEK / (TTL * 8 / 10 + 2 * STEP), WEEK / (TTL / 2));
    assert!((fewest..=most).contains(&renewals), "{renewals} renewals, not {fewest} to {most}");
    assert!(server.events("RenewalRejected,SessionRevoked,SessionExpired").is_empty());
    let lost = LOST.load(Ordering::Relaxed);
    println!("{renewals} renewals in a week, {lost} replies lost");
    assert!(lost > 100, "only {lost} replies were lost");
}

/// Tells all what time it is, while some use the session: before they know that it is time to renew it, or after.
fn work_at(agents: &mut [Agent], now: Timestamp, chance: &SeededEntropy) {
    let time = format!("time {}", now.as_millis());
    let orders = |_: &Agent| match jitter(chance) % 16 {
        0 => vec!["use", &time],
        1 => vec![&*time, "use"],
        2 => vec![&*time, "introspect"],
        _ => vec![&*time],
    };
    let orders: Vec<_> = agents.iter().map(orders).collect();
    for (agent, orders) in agents.iter_mut().zip(&orders) {
        for order in orders {
            agent.tell(order);
        }
    }
    for (agent, orders) in agents.iter_mut().zip(&orders) {
        for order in orders {
            let said = agent.answer();
            let is_well = match *order {
                "use" => said == "used",
                "introspect" => said == "live",
                _ => said.starts_with("live "),
            };
            assert!(is_well, "{order} at {now}: {said}");
        }
    }
}
