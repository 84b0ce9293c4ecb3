//! A renewal that is cut off by `kill -9` after it was sent and before the new token took the old one's place, by each of
//! the three that renew a session in a file: `tenure session renew` with either kind of file, `tenure run`, and the
//! library (in `crash`). The next attempt finishes it with the same key, and no further renewal is spent.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tenure::client::SessionFile;

use crate::{
    agent::session_file,
    proxy::{Fate, Proxy},
    server::{PATIENCE, Server},
};

const PERIOD: u64 = 3_600;

/// A session in a file of each kind, due for renewal, and a network that holds back one renewal or its reply.
struct Fixture {
    server: Server,
    directory: TempDir,
    proxy: Proxy,
    /// Hears of each renewal before its fate.
    renewals: mpsc::Receiver<()>,
}

impl Fixture {
    fn where_the_first_renewal_meets(fate: Fate) -> Self {
        let server = Server::start();
        let directory = tempfile::tempdir().unwrap();
        let (proxy, renewals) = Proxy::where_the_first_renewal_meets(fate, server.address());
        Self { server, directory, proxy, renewals }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn with_a_session_file(self) -> Self {
        session_file(&self.server, self.directory.path(), &json!({ "subjectId": "agent-7", "ttl": PERIOD }));
        self.server.advance(3_000);
        self
    }

    fn with_a_token_file(self) -> Self {
        self.server.register("agent-7", &json!({}));
        let created = self.admin(&["session", "create", "agent-7", "--ttl", "1h", "--token-file", "token"]);
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
        self.server.advance(3_000);
        self
    }

    fn tenure(&self, url: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
        command.args(words).args(["--url", url]).current_dir(self.directory.path()).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn admin(&self, words: &[&str]) -> std::process::Output {
        let url = format!("http://{}", self.server.address());
        let key = fs::read_to_string(self.server.data().join("admin.key")).unwrap();
        self.tenure(&url, words).env("TENURE_KEY", key.trim()).output().unwrap()
    }

    /// Kills the command when the authority has granted the renewal whose reply the network holds back.
    fn kill_after_the_grant(&self, mut running: Child) {
        self.renewals.recv_timeout(PATIENCE).unwrap();
        while self.renewed().is_empty() {
            std::thread::yield_now();
        }
        running.kill().unwrap();
        running.wait().unwrap();
    }

    /// Kills the command when its renewal has left and has not arrived.
    fn kill_before_the_arrival(&self, mut running: Child) {
        self.renewals.recv_timeout(PATIENCE).unwrap();
        running.kill().unwrap();
        running.wait().unwrap();
    }

    fn renewed(&self) -> Vec<Value> {
        self.server.events("SessionRenewed")
    }

    #[track_caller]
    fn is_live(&self, token: &str) {
        let asked = json!({ "token": token.trim() });
        let judged = self.server.post("/v1/introspect").bearer(&self.server.admin).json(&asked).send();
        assert_eq!(judged.expect(200).json()["active"], true);
    }
}

fn renew_the_token_file(fixture: &Fixture) {
    let renewed =
        fixture.tenure(&fixture.proxy.url(), &["session", "renew", "--token-file", "token"]).output();
    let renewed = renewed.unwrap();
    assert!(renewed.status.success(), "{}", String::from_utf8_lossy(&renewed.stderr));
    assert_eq!(fixture.renewed().len(), 1, "no further renewal was spent");
    fixture.is_live(&fs::read_to_string(fixture.place("token")).unwrap());
}

#[test]
fn a_token_file_whose_renewal_was_killed_after_the_grant_gets_the_granted_token() {
    let fixture = Fixture::where_the_first_renewal_meets(Fate::HoldReply).with_a_token_file();
    let old = fs::read(fixture.place("token")).unwrap();
    let killed = fixture.tenure(&fixture.proxy.url(), &["session", "renew", "--token-file", "token"]).spawn();
    fixture.kill_after_the_grant(killed.unwrap());
    assert_eq!(fs::read(fixture.place("token")).unwrap(), old, "the reply never came");
    renew_the_token_file(&fixture);
}

#[test]
fn a_token_file_whose_renewal_was_killed_on_its_way_is_renewed_once() {
    let fixture = Fixture::where_the_first_renewal_meets(Fate::HoldRequest).with_a_token_file();
    let killed = fixture.tenure(&fixture.proxy.url(), &["session", "renew", "--token-file", "token"]).spawn();
    fixture.kill_before_the_arrival(killed.unwrap());
    assert!(fixture.renewed().is_empty());
    renew_the_token_file(&fixture);
}

#[test]
fn a_session_file_whose_renewal_was_killed_after_the_grant_gets_the_granted_token() {
    let fixture = Fixture::where_the_first_renewal_meets(Fate::HoldReply).with_a_session_file();
    let renew = ["session", "renew", "--session-file", "agent.session"];
    fixture.kill_after_the_grant(fixture.tenure(&fixture.proxy.url(), &renew).spawn().unwrap());
    let pending = SessionFile::at(fixture.place("agent.session")).read().unwrap();
    assert!(pending.renewal_key.is_some() && pending.renewal_count == 0);

    let renewed = fixture.tenure(&fixture.proxy.url(), &renew).output().unwrap();
    assert!(renewed.status.success(), "{}", String::from_utf8_lossy(&renewed.stderr));
    let grant = SessionFile::at(fixture.place("agent.session")).read().unwrap();
    assert_eq!((grant.renewal_count, grant.renewal_key, fixture.renewed().len()), (1, None, 1));
    fixture.is_live(grant.token.expose());
}

#[test]
fn a_run_that_was_killed_after_the_grant_leaves_the_granted_token_to_the_next_one() {
    let fixture = Fixture::where_the_first_renewal_meets(Fate::HoldReply).with_a_session_file();
    let run = |script| {
        let words = ["run", "--session-file", "agent.session"];
        let mut command = fixture.tenure(&fixture.proxy.url(), &words);
        command.args(["--", "/bin/sh", "-c", script]);
        command
    };
    // The command itself ends when its standard input does: with `tenure run`, which is killed.
    let mut killed = run("exec cat").stdin(Stdio::piped()).spawn().unwrap();
    let input = killed.stdin.take();
    fixture.kill_after_the_grant(killed);
    drop(input);

    let script =
        "until grep -q '\"renewalCount\": 1' agent.session; do sleep 0.01; done; cp agent.session seen";
    let next = run(script).env("PATH", "/usr/bin:/bin").output().unwrap();
    assert!(next.status.success(), "{}", String::from_utf8_lossy(&next.stderr));
    let grant = SessionFile::at(fixture.place("seen")).read().unwrap();
    assert_eq!((grant.renewal_count, grant.renewal_key, fixture.renewed().len()), (1, None, 1));
}

/// `FILE.renewal` named the session that had been in the file before. A renewal of the token that was copied there since
/// was asked for that other session, and refused.
#[test]
fn a_token_of_another_session_that_was_copied_into_the_file_is_renewed_as_its_own() {
    let fixture = Fixture::where_the_first_renewal_meets(Fate::Pass).with_a_token_file();
    let other = fixture.admin(&["session", "create", "agent-7", "--ttl", "1h", "--token-file", "other"]);
    assert!(other.status.success(), "{}", String::from_utf8_lossy(&other.stderr));
    fixture.server.advance(3_000);
    fs::copy(fixture.place("other"), fixture.place("token")).unwrap();
    let renewed = fixture.admin(&["session", "renew", "--token-file", "token", "-o", "json"]);
    assert!(renewed.status.success(), "{}", String::from_utf8_lossy(&renewed.stderr));
    let reply: Value = serde_json::from_slice(&renewed.stdout).unwrap();
    let created = fixture.server.events("SessionCreated");
    assert_eq!(reply["sessionId"], created[1]["data"]["sessionId"]);
}
