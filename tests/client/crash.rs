//! A process that is killed in the middle of a renewal loses nothing: whoever comes next finishes it.

use std::{path::PathBuf, sync::mpsc};

use serde_json::json;
use tempfile::TempDir;
use tenure::client::SessionFile;

use crate::{
    agent::{Agent, session_file},
    manual_clock::now_of,
    proxy::{Fate, Proxy},
    server::{PATIENCE, Server},
};

/// A session that is due for renewal, and a network that keeps its first renewal from being answered.
struct Fixture {
    server: Server,
    verifier: String,
    _directory: TempDir,
    file: PathBuf,
    proxy: Proxy,
    /// Hears of each renewal before its fate.
    renewals: mpsc::Receiver<()>,
}

impl Fixture {
    fn where_the_first_renewal_meets(fate: Fate) -> Self {
        let server = Server::start();
        let (verifier, _) = server.issue_key("verifier", None);
        let directory = tempfile::tempdir().unwrap();
        let file = session_file(&server, directory.path(), &json!({ "subjectId": "agent-7", "ttl": 3_600 }));
        server.advance(3_000);
        let (proxy, renewals) = Proxy::where_the_first_renewal_meets(fate, server.address());
        Self { server, verifier, _directory: directory, file, proxy, renewals }
    }

    fn agent(&self) -> Agent {
        let mut agent = Agent::start(&self.file, &self.proxy.url(), &self.verifier);
        agent.tell(&format!("time {}", now_of(&self.server).as_millis()));
        agent
    }

    fn wait_for_a_renewal(&self) {
        self.renewals.recv_timeout(PATIENCE).unwrap();
    }

    fn renewed(&self) -> usize {
        self.server.events("SessionRenewed").len()
    }
}

#[test]
fn killed_before_the_request_arrived_the_next_process_renews_under_the_key_in_the_file() {
    let fixture = Fixture::where_the_first_renewal_meets(Fate::HoldRequest);
    let first = fixture.agent();
    fixture.wait_for_a_renewal();
    let begun = SessionFile::at(&fixture.file).read().unwrap();
    assert!(begun.renewal_key.is_some(), "the key is on disk before the request leaves");
    first.kill9();
    assert_eq!(fixture.renewed(), 0);

    let mut second = fixture.agent();
    assert_eq!(second.answer(), "live 1");
    assert_eq!((second.ask("introspect").as_str(), fixture.renewed()), ("live", 1));
}

#[test]
fn killed_between_the_grant_and_the_file_the_next_process_gets_the_same_renewal_again() {
    let fixture = Fixture::where_the_first_renewal_meets(Fate::HoldReply);
    let first = fixture.agent();
    fixture.wait_for_a_renewal();
    while fixture.renewed() == 0 {
        std::thread::yield_now();
    }
    first.kill9();
    let old = SessionFile::at(&fixture.file).read().unwrap();
    assert_eq!(old.renewal_count, 0, "the reply never came");

    let mut second = fixture.agent();
    assert_eq!(second.answer(), "live 1");
    assert_eq!((second.ask("introspect").as_str(), fixture.renewed()), ("live", 1));
    let new = SessionFile::at(&fixture.file).read().unwrap();
    assert_eq!((new.renewal_count, new.renewal_key), (1, None));
}

#[test]
fn a_process_that_waits_for_one_that_is_killed_takes_over() {
    let fixture = Fixture::where_the_first_renewal_meets(Fate::HoldReply);
    let first = fixture.agent();
    fixture.wait_for_a_renewal();
    let mut others: Vec<_> = (0..3).map(|_| fixture.agent()).collect();
    // Superseded by a renewal whose reply nobody has: its user waits for the lock, too.
    for agent in &mut others {
        agent.tell("use");
    }
    first.kill9();
    for agent in &mut others {
        assert_eq!((agent.answer().as_str(), agent.answer().as_str()), ("live 1", "used"));
    }
    assert_eq!(fixture.renewed(), 1);
}

#[test]
fn killed_with_a_lost_reply_long_after_the_old_period_the_next_process_still_gets_its_answer() {
    let fixture = Fixture::where_the_first_renewal_meets(Fate::HoldReply);
    let first = fixture.agent();
    fixture.wait_for_a_renewal();
    while fixture.renewed() == 0 {
        std::thread::yield_now();
    }
    first.kill9();
    // The old period ended at 3 600 s; the one that was granted is due for renewal at 4 800 s, and ends at 6 600 s.
    fixture.server.advance(1_000);
    let mut second = fixture.agent();
    assert_eq!(second.answer(), "live 1");
    assert_eq!(second.ask("use"), "used");
}
