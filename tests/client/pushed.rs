//! An end is pushed to the session's holder. It was noticed at the next check, up to a quarter of a minute later.

use std::{process::Stdio, time::Duration};

use serde_json::json;
use tenure::{
    client::SessionFile,
    clock::{pause, stopwatch},
};

use crate::{
    proxy::{Fate, Proxy},
    run::{Fixture, code, text},
    server::Server,
};

/// So often at most somebody has to ask: never in a test.
const NEVER: &str = "1h";

impl Fixture {
    /// Runs a command that waits, ends its session in this way, and says how long the command went on.
    fn ended_after(&self, options: &[&str], end: impl Fn(&str)) -> Duration {
        self.ended_with(3, options, end)
    }

    /// The same, when it ends with this code.
    fn ended_with(&self, expected: i32, options: &[&str], end: impl Fn(&str)) -> Duration {
        let create = ["run", "--session-file", "agent.session", "--subject", "agent-7"];
        let command = ["--", "sh", "-c", "touch ready; exec sleep 60"];
        let words = [&create[..], options, &command].concat();
        let run = self.tenure(&words).stderr(Stdio::piped()).spawn().unwrap();
        self.wait_for("ready");
        std::fs::remove_file(self.place("ready")).unwrap();
        // The stream is opened while the command begins.
        pause(Duration::from_millis(300));
        let list = self.server.get("/v1/sessions?subjectId=agent-7").bearer(&self.server.admin).send();
        let id = list.expect(200).json()["items"][0]["sessionId"].as_str().unwrap().to_owned();
        end(&id);
        let begun = stopwatch();
        let output = run.wait_with_output().unwrap();
        let took = begun.elapsed();
        assert_eq!(code(&output), expected, "{}", text(&output.stderr));
        took
    }

    fn revoke(&self, id: &str) {
        self.server.delete(&format!("/v1/sessions/{id}")).bearer(&self.server.admin).send().expect(200);
    }
}

#[test]
fn measured_a_command_ends_within_a_second_after_its_session_however_seldom_it_asks() {
    let fixture = Fixture::new();
    let times = if std::env::var_os("TENURE_MEASURE").is_some() { 30 } else { 3 };
    let mut took: Vec<_> = (0..times)
        .map(|_| {
            let took =
                fixture.ended_after(&["--check", NEVER, "--new-after-revoke"], |id| fixture.revoke(id));
            std::fs::remove_file(fixture.place("agent.session")).unwrap();
            took
        })
        .collect();
    took.sort_unstable();
    println!("of {times} ends: median {:?}, worst {:?}", took[times / 2], took[times - 1]);
    assert!(took[times / 2] <= Duration::from_secs(1), "{took:?}");
    assert!(took[times - 1] <= Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_suspension_of_its_subject_ends_a_command_at_once() {
    let fixture = Fixture::new();
    let suspend = |_: &str| {
        let suspend = fixture.server.post("/v1/subjects/agent-7/suspend").bearer(&fixture.server.admin);
        suspend.json(&json!({})).send().expect(200);
    };
    let took = fixture.ended_after(&["--check", NEVER], suspend);
    assert!(took <= Duration::from_secs(3), "{took:?}");
}

/// Where there is no stream, a command asks as often as it was told to.
#[test]
fn without_a_stream_a_command_ends_after_its_next_check() {
    let fixture = Fixture::new();
    let proxy = Proxy::before(fixture.server.address(), |first| {
        if first.contains("/events ") { Fate::Overload } else { Fate::Pass }
    });
    let url = proxy.url();
    let took = fixture.ended_after(&["--check", "1s", "--url", &url], |id| fixture.revoke(id));
    assert!(took <= Duration::from_secs(4), "{took:?}");
}

/// The stream of a session goes on when a thief renews it, and says nothing of that: the holder took it for a check, and
/// held a dead token until its own renewal was due.
#[test]
fn a_command_ends_after_its_next_check_when_a_thief_has_renewed_its_session() {
    let fixture = Fixture::with(Server::start());
    let took = fixture.ended_with(2, &["--new-after-revoke", "--check", "3s"], |id| {
        let token = SessionFile::at(fixture.place("agent.session")).read().unwrap().token;
        let path = format!("/v1/sessions/{id}/renew");
        let stolen = fixture.server.put(&path).bearer(token.expose()).key("a-thief");
        fixture.server.advance(43_200);
        stolen.send().expect(200);
        // For some seconds the renewal could be that of another holder of the file.
        fixture.server.advance(11);
    });
    assert!(took <= Duration::from_secs(10), "{took:?}");
}

/// Nobody says to a holder that its key has retired, but that its stream ends and no other one begins.
#[test]
fn a_command_ends_at_once_when_the_key_of_its_token_retires() {
    let fixture = Fixture::new();
    let took = fixture.ended_with(2, &["--check", NEVER], |_| {
        let body = json!({ "which": "session", "retire": "now" });
        let rotate = fixture.server.post("/v1/keys/rotate").bearer(&fixture.server.admin);
        rotate.json(&body).send().expect(200);
    });
    assert!(took <= Duration::from_secs(5), "{took:?}");
}
