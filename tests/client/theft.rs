//! A session that somebody else renewed: its holders say so, and take nobody for a thief who shares their file.

use std::{path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tenure::{
    client::{
        Client, HandleOptions, HoldError, NewSession, Secret, SessionFile, SessionGrant, SessionHandle,
        renew_file,
    },
    clock::{pause, stopwatch},
    core::Timestamp,
};

use crate::{
    agent::session_file,
    commands::Fixture as Commands,
    manual_clock::{ManualClock, now_of},
    run::{Fixture as Runs, text},
    server::{PATIENCE, Reply, Server},
};

/// A session in a file that ends when two holders have shown themselves, half of its period later.
struct Fixture {
    server: Server,
    _directory: TempDir,
    file: PathBuf,
    time: Arc<ManualClock>,
}

impl Fixture {
    fn new() -> Self {
        let server = Server::start();
        let directory = tempfile::tempdir().unwrap();
        let asked = json!({ "subjectId": "agent-7", "ttl": 3_600, "onReuse": "revoke" });
        let file = session_file(&server, directory.path(), &asked);
        let time = ManualClock::new(now_of(&server));
        Self { server, _directory: directory, file, time }
    }

    fn client(&self) -> Client {
        let client = Client::new(&format!("http://{}", self.server.address())).unwrap();
        client.with_time(Arc::<ManualClock>::clone(&self.time)).with_retry_timeout(Duration::ZERO)
    }

    fn holder(&self) -> SessionHandle {
        SessionHandle::open_with(self.client(), &self.file, HandleOptions::default()).unwrap()
    }

    fn grant(&self) -> SessionGrant {
        SessionFile::at(&self.file).read().unwrap()
    }

    /// Somebody who has a copy of the token renews, and keeps still.
    fn steal(&self) -> Reply {
        let grant = self.grant();
        let path = format!("/v1/sessions/{}/renew", grant.session_id);
        self.server.put(&path).bearer(grant.token.expose()).key("thief").send().expect(200)
    }

    fn session(&self) -> Value {
        let path = format!("/v1/sessions/{}", self.grant().session_id);
        self.server.get(&path).bearer(&self.server.admin).send().expect(200).json()
    }

    fn is_contested(&self) -> bool {
        self.server.events("RenewalRejected").iter().any(|event| event["data"]["contested"] == true)
    }
}

/// A holder that was told that its token is superseded took that for the end and went away without a word. The thief
/// had the session for as long as it could live, though it would have ended had the holder asked for a renewal.
#[tokio::test]
async fn a_holder_whose_token_was_superseded_by_a_stranger_contests_the_session() {
    let fixture = Fixture::new();
    let holder = fixture.holder();
    fixture.time.at_rest().await;
    fixture.server.advance(2_000);
    let thief = fixture.steal();

    let refused = holder.session().await.unwrap_err();
    assert_eq!(refused.code(), Some("TOKEN_SUPERSEDED"));
    assert!(!fixture.is_contested(), "the newer token may still turn up");
    fixture.server.advance(10);
    fixture.time.tell(now_of(&fixture.server));
    assert_eq!(holder.ended().await.code(), Some("SESSION_RENEWAL_MISMATCH"));
    assert!(fixture.is_contested());

    let path = format!("/v1/sessions/{}/usage", fixture.grant().session_id);
    let used = fixture.server.post(&path).bearer(&thief.text("token")).json(&json!({ "operation": "pay" }));
    used.send().refused(401, "SESSION_REVOKED");
    assert_eq!(fixture.session()["revokedTrigger"], "token_reuse");
}

#[tokio::test]
async fn a_holder_that_renews_on_time_after_a_thief_contests_the_session() {
    let fixture = Fixture::new();
    let holder = fixture.holder();
    fixture.time.at_rest().await;
    fixture.server.advance(3_000);
    fixture.steal();
    fixture.time.tell(now_of(&fixture.server));
    fixture.time.at_rest().await;
    assert!(!fixture.is_contested(), "it waits for the moment that it was told");
    fixture.server.advance(10);
    fixture.time.tell(now_of(&fixture.server));
    assert_eq!(holder.ended().await.code(), Some("SESSION_RENEWAL_MISMATCH"));
    assert!(fixture.is_contested());
    assert_eq!(fixture.session()["status"], "ACTIVE", "the thief has said nothing yet");
}

/// What puts a newer token into the file need not know of the lock: a script, a copy from another host.
#[tokio::test]
async fn a_holder_that_finds_the_newer_token_in_its_file_goes_on_with_it() {
    let fixture = Fixture::new();
    let holder = fixture.holder();
    fixture.time.at_rest().await;
    fixture.server.advance(2_000);
    let renewed = fixture.steal();
    assert_eq!(holder.session().await.unwrap_err().code(), Some("TOKEN_SUPERSEDED"));

    let file = SessionFile::at(&fixture.file);
    let mut newer = fixture.grant();
    (newer.token, newer.renewal_key) = (Secret::new(&renewed.text("token")), None);
    newer.renew_at = Timestamp::parse(&renewed.text("renewAt"));
    newer.expires_at = Timestamp::parse(&renewed.text("expiresAt")).unwrap();
    file.lock().unwrap().write(&newer).unwrap();
    fixture.server.advance(10);
    fixture.time.tell(now_of(&fixture.server));
    fixture.time.at_rest().await;
    holder.session().await.unwrap();
    assert_eq!((fixture.is_contested(), &fixture.session()["status"]), (false, &json!("ACTIVE")));
}

#[tokio::test]
async fn to_renew_a_file_asks_once_more_and_no_more_often() {
    let fixture = Fixture::new();
    fixture.server.advance(2_000);
    fixture.time.tell(now_of(&fixture.server));
    fixture.steal();
    let (client, file) = (fixture.client(), SessionFile::at(&fixture.file));
    let renewing = tokio::spawn(async move { renew_file(&client, &file).await });
    fixture.time.at_rest().await;
    assert!(!fixture.is_contested());
    fixture.server.advance(10);
    fixture.time.tell(now_of(&fixture.server));
    let refused = renewing.await.unwrap().unwrap_err();
    let HoldError::Call(refused) = refused else { panic!("{refused}") };
    assert_eq!((refused.code(), refused.is_transient()), (Some("SESSION_RENEWAL_MISMATCH"), false));
    assert!(fixture.is_contested());
    assert_eq!(fixture.server.events("RenewalRejected").len(), 2, "inside of the grace, and after it");
}

/// A script keeps a token file, and something else renews it by a copy.
#[test]
fn a_command_with_a_token_file_asks_once_more() {
    for turns_up in [true, false] {
        let fixture = Commands::new();
        fixture.server.register("agent", &json!({}));
        let line = "session create agent --on-reuse revoke --ttl 1h --token-file a.token -o json";
        let id = fixture.tenure(line).json()["sessionId"].as_str().unwrap().to_owned();
        let shown = fixture.tenure(&format!("session show {id} -o json")).json();
        assert_eq!(shown["onReuse"], "revoke");
        fixture.server.advance(1_800);
        let token = std::fs::read_to_string(fixture.place("a.token")).unwrap();
        let renewal = format!("/v1/sessions/{id}/renew");
        let newer =
            fixture.server.put(&renewal).bearer(token.trim()).key("thief").send().expect(200).text("token");
        let address = format!("http://{}", fixture.server.address());
        std::thread::scope(|scope| {
            let renewing = scope.spawn(|| {
                let line = format!("session renew {id} --token-file a.token --url {address}");
                fixture.run(None, &line)
            });
            wait_until(|| !fixture.server.events("RenewalRejected").is_empty());
            if turns_up {
                std::fs::write(fixture.place("a.token"), &newer).unwrap();
            }
            fixture.server.advance(10);
            let ran = renewing.join().unwrap();
            assert_eq!(ran.code, if turns_up { 0 } else { 3 }, "{}", ran.stderr);
            let contested = fixture
                .server
                .events("RenewalRejected")
                .iter()
                .any(|event| event["data"]["contested"] == true);
            assert_eq!(contested, !turns_up);
        });
    }
}

fn wait_until(holds: impl Fn() -> bool) {
    let begun = stopwatch();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "it does not come to pass");
        pause(Duration::from_millis(20));
    }
}

#[test]
fn a_run_and_the_library_ask_for_sessions_that_notice_theft() {
    let fixture = Runs::new();
    for (options, expected) in [(&[][..], "revoke"), (&["--on-reuse", "reject"], "reject")] {
        let words = ["run", "--session-file", "agent.session", "--subject", "agent-7"];
        let words = [&words[..], options, &["--", "true"]].concat();
        let output = fixture.tenure(&words).stdout(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let created = fixture.server.events("SessionCreated");
        assert_eq!(created.last().unwrap()["data"]["onReuse"], expected);
    }
    let asked = serde_json::to_value(NewSession::of("agent-7".parse().unwrap())).unwrap();
    assert_eq!(asked["onReuse"], "revoke");
}
