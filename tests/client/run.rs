//! `tenure run` as an operator meets it.

use std::{
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;
use tenure::{
    client::SessionFile,
    clock::{pause, stopwatch},
};

use crate::{
    proxy::{Fate, Proxy},
    server::{PATIENCE, Server},
};

pub(crate) struct Fixture {
    pub(crate) server: Server,
    directory: TempDir,
    issuer: String,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(Server::on_real_time())
    }

    pub(crate) fn with(server: Server) -> Self {
        server.register("agent-7", &json!({}));
        let (issuer, _) = server.issue_key("issuer", None);
        Self { server, directory: tempfile::tempdir().unwrap(), issuer }
    }

    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn tenure(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenure"));
        let program = Path::new(env!("CARGO_BIN_EXE_tenure")).parent().unwrap();
        command
            .args(words)
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
            .env("TENURE_URL", format!("http://{}", self.server.address()))
            .env("TENURE_KEY", &self.issuer)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// `tenure run` with a session that it creates if there is none, of a script for the shell.
    pub(crate) fn run(&self, options: &[&str], script: &str) -> Command {
        let create = ["run", "--session-file", "agent.session", "--subject", "agent-7", "--check", "1s"];
        self.tenure(&[&create[..], options, &["--", "sh", "-c", script]].concat())
    }

    fn output(&self, options: &[&str], script: &str) -> Output {
        self.run(options, script).output().unwrap()
    }

    /// Waits until the script has made this file.
    pub(crate) fn wait_for(&self, name: &str) {
        let begun = stopwatch();
        while !self.place(name).exists() {
            assert!(begun.elapsed() < PATIENCE, "{name} does not come");
            pause(std::time::Duration::from_millis(5));
        }
    }

    /// Waits until a use of the session is recorded.
    pub(crate) fn wait_until_used(&self, id: &str) {
        let begun = stopwatch();
        let used = || {
            let reply = self.server.get(&format!("/v1/sessions/{id}")).bearer(&self.server.admin).send();
            reply.expect(200).json()["usage"]["transactions"].as_u64().unwrap_or(0)
        };
        while used() == 0 {
            assert!(begun.elapsed() < PATIENCE, "{id} is not used");
            pause(std::time::Duration::from_millis(20));
        }
    }

    pub(crate) fn status_of_the_only_session(&self) -> String {
        let reply =
            self.server.get("/v1/sessions?status=all").bearer(&self.server.admin).send().expect(200).json();
        let items = reply["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "{reply}");
        items[0]["status"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn a_command_has_a_session_while_it_runs_and_its_code_is_passed_on() {
    let fixture = Fixture::new();
    let script = "tenure session token && tenure session show $(sed -n 's/.*\"sessionId\": \"\\(.*\\)\".*/\\1/p' \
                  $TENURE_SESSION_FILE) --key $(tenure session token) && echo key=$TENURE_KEY= && exit 7";
    let output = fixture.output(&[], script);
    let (said, heard) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(code(&output), 7, "{said}{heard}");
    assert!(said.starts_with("tnr_sess_") && said.contains("ACTIVE"), "{said}");
    assert!(said.ends_with("key==\n"), "the key that creates sessions is not the command's: {said}");
    assert!(!heard.contains("tnr_"), "{heard}");
    assert_eq!(fixture.status_of_the_only_session(), "REVOKED");
    assert!(!fixture.place("agent.session").exists());
}

/// Each further session would take one of the agent's places until its end.
#[test]
fn a_session_whose_creation_was_answered_in_vain_is_the_one_that_is_held() {
    let fixture = Fixture::new();
    let creations = AtomicU64::new(0);
    let proxy = Proxy::before(fixture.server.address(), move |first| {
        let is_lost =
            first.starts_with("POST /v1/sessions ") && creations.fetch_add(1, Ordering::Relaxed) == 0;
        if is_lost { Fate::LoseReply } else { Fate::Pass }
    });
    let output = fixture.run(&[], "exit 7").env("TENURE_URL", proxy.url()).output().unwrap();
    assert_eq!(code(&output), 7, "{}", text(&output.stderr));
    assert_eq!(fixture.status_of_the_only_session(), "REVOKED");
}

#[test]
fn a_signal_is_passed_on_and_a_death_by_one_is_told_by_the_code() {
    let fixture = Fixture::new();
    let script = "trap 'exit 9' TERM; touch ready; while :; do sleep 0.01; done";
    let mut running = fixture.run(&[], script).spawn().unwrap();
    fixture.wait_for("ready");
    kill_process(Pid::from_child(&running), Signal::TERM).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(9));
    assert_eq!(code(&fixture.output(&[], "kill -KILL $$")), 137);
}

#[test]
fn a_veto_ends_the_command_also_one_that_does_not_want_to_end() {
    let fixture = Fixture::new();
    let script = "trap 'touch asked' TERM; touch ready; while :; do sleep 0.01; done";
    let running = fixture.run(&["--grace", "1s"], script).spawn().unwrap();
    fixture.wait_for("ready");
    let id = SessionFile::at(fixture.place("agent.session")).read().unwrap().session_id;
    fixture
        .server
        .delete(&format!("/v1/sessions/{id}?reason=no"))
        .bearer(&fixture.server.admin)
        .send()
        .expect(200);
    let output = running.wait_with_output().unwrap();
    let heard = text(&output.stderr);
    assert_eq!(code(&output), 3, "{heard}");
    assert!(heard.contains("The session is over: SESSION_REVOKED"), "{heard}");
    assert!(heard.contains("The session of agent-7 was revoked") && heard.contains(": \"no\""), "{heard}");
    assert!(fixture.place("asked").exists(), "it is asked before it is killed");
}

/// A shell dies of the first signal, and what it had begun went on without anybody to end it.
#[test]
fn what_a_command_has_begun_ends_with_it_when_its_session_does() {
    let fixture = Fixture::new();
    let begun = "trap '' TERM; echo $$ > inner.pid; touch ready; exec sleep 60";
    let script = format!("sh -c \"{begun}\" > /dev/null 2>&1; echo done", begun = begun.replace('$', "\\$"));
    let running = fixture.run(&["--grace", "1s"], &script).spawn().unwrap();
    fixture.wait_for("ready");
    let inner: i32 = std::fs::read_to_string(fixture.place("inner.pid")).unwrap().trim().parse().unwrap();
    let id = SessionFile::at(fixture.place("agent.session")).read().unwrap().session_id;
    fixture.server.delete(&format!("/v1/sessions/{id}")).bearer(&fixture.server.admin).send().expect(200);
    assert_eq!(code(&running.wait_with_output().unwrap()), 3);
    let since = stopwatch();
    while rustix::process::test_kill_process(Pid::from_raw(inner).unwrap()).is_ok() {
        assert!(since.elapsed() < PATIENCE, "it lives on");
        pause(std::time::Duration::from_millis(20));
    }
}

#[test]
fn with_warn_the_command_goes_on_without_its_session() {
    let fixture = Fixture::new();
    let script = "touch ready; while ! [ -e go ]; do sleep 0.01; done; exit 5";
    let mut running = fixture.run(&["--on-end", "warn"], script).spawn().unwrap();
    fixture.wait_for("ready");
    let id = SessionFile::at(fixture.place("agent.session")).read().unwrap().session_id;
    fixture.server.delete(&format!("/v1/sessions/{id}")).bearer(&fixture.server.admin).send().expect(200);
    let mut heard = BufReader::new(running.stderr.take().unwrap());
    read_until_the_session_is_over(&mut heard);
    std::fs::write(fixture.place("go"), "").unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(5));
}

fn read_until_the_session_is_over(heard: &mut impl BufRead) {
    let mut line = String::new();
    while !line.contains("The session is over") {
        assert!(heard.read_line(&mut line).unwrap() > 0, "{line}");
    }
}

/// It was revoked with its expired token, which the server refused; then it was said to last until a time that was
/// over, and its file stayed.
#[test]
fn with_warn_a_session_that_has_expired_is_over_when_its_command_ends() {
    for (option, stays) in [(&[][..], false), (&["--keep"], true)] {
        let fixture = Fixture::with(Server::start());
        let script = "touch ready; while ! [ -e go ]; do sleep 0.01; done; exit 5";
        let mut running = fixture.run(&[option, &["--on-end", "warn"]].concat(), script).spawn().unwrap();
        fixture.wait_for("ready");
        fixture.server.advance(100 * 86_400);
        let mut heard = BufReader::new(running.stderr.take().unwrap());
        read_until_the_session_is_over(&mut heard);
        std::fs::write(fixture.place("go"), "").unwrap();
        assert_eq!(running.wait().unwrap().code(), Some(5));
        let mut rest = String::new();
        heard.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
        assert_eq!(fixture.place("agent.session").exists(), stays);
    }
}

#[test]
fn a_kept_session_is_used_again_and_one_that_is_over_is_replaced() {
    let fixture = Fixture::new();
    let kept = fixture.output(&["--keep", "--ttl", "1h"], "tenure session token");
    let again = fixture.output(&["--keep", "--env"], "echo $TENURE_TOKEN");
    assert_eq!(
        (text(&kept.stdout), fixture.status_of_the_only_session().as_str()),
        (text(&again.stdout), "ACTIVE")
    );
    let id = SessionFile::at(fixture.place("agent.session")).read().unwrap().session_id;
    fixture.server.delete(&format!("/v1/sessions/{id}")).bearer(&fixture.server.admin).send().expect(200);

    let without = ["run", "--session-file", "agent.session", "--", "true"];
    let refused = fixture.tenure(&without).output().unwrap();
    assert_eq!(code(&refused), 3, "{}", text(&refused.stderr));
    let vetoed = fixture.output(&["--keep"], "tenure session token");
    assert_eq!((code(&vetoed), text(&vetoed.stdout)), (3, String::new()));
    let replaced = fixture.output(&["--keep", "--new-after-revoke"], "tenure session token");
    assert_ne!(text(&replaced.stdout), text(&kept.stdout));
    assert!(text(&replaced.stderr).contains("is over (SESSION_REVOKED"), "{}", text(&replaced.stderr));
}

#[test]
fn what_cannot_be_started_is_said_as_shells_say_it_and_leaves_no_session() {
    let fixture = Fixture::new();
    let words = ["run", "--session-file", "s", "--subject", "agent-7", "--", "./nothing-there"];
    let output = fixture.tenure(&words).output().unwrap();
    assert_eq!(code(&output), 127, "{}", text(&output.stderr));
    assert_eq!(fixture.status_of_the_only_session(), "REVOKED");
}

#[test]
fn what_is_missing_or_wrong_is_said_before_anything_runs() {
    let fixture = Fixture::new();
    std::fs::write(fixture.place("open"), "{}").unwrap();
    for (words, code_of, why) in [
        (&["--session-file", "none"][..], 1, "give --subject"),
        (&["--session-file", "none", "--ttl", "1h"], 1, "give --subject"),
        (&["--session-file", "open"], 1, "chmod 600"),
        (&["--session-file", "none", "--subject", "nobody"], 4, "SUBJECT_NOT_FOUND"),
        (
            &["--session-file", "none", "--subject", "agent-7", "--ttl", "1s"],
            1,
            "error: --ttl 1s: must be 5m to 7d",
        ),
    ] {
        let words = [&["run"], words, &["--", "touch", "ran"]].concat();
        let output = fixture.tenure(&words).output().unwrap();
        let heard = text(&output.stderr);
        assert_eq!(code(&output), code_of, "{words:?}: {heard}");
        assert!(heard.contains(why), "{words:?}: {heard}");
    }
    assert!(!fixture.place("ran").exists());
}

#[test]
fn a_session_file_is_made_read_and_renewed_by_single_commands() {
    let fixture = Fixture::new();
    let created = fixture.tenure(&["session", "create", "agent-7", "--session-file", "s"]).output().unwrap();
    assert!(created.status.success(), "{}", text(&created.stderr));
    assert!(!text(&created.stdout).contains("tnr_sess_"));
    let early = fixture.tenure(&["session", "renew", "--session-file", "s"]).output().unwrap();
    assert_eq!(code(&early), 3);
    assert!(text(&early.stderr).contains("RENEWAL_TOO_EARLY"), "{}", text(&early.stderr));
    let token = fixture.tenure(&["session", "token", "--session-file", "s"]).output().unwrap();
    let grant = SessionFile::at(fixture.place("s")).read().unwrap();
    assert_eq!(text(&token.stdout).trim(), grant.token.expose());
    assert_eq!(grant.renewal_key, None, "nothing was begun");
}

/// The program keeps its own files and memory from others; what it starts is the user's, with the umask and the limits
/// of the user.
#[test]
fn the_command_gets_the_umask_and_the_limits_that_were_given() {
    let fixture = Fixture::new();
    let run = fixture.run(&[], "umask; ulimit -c");
    let mut under = Command::new("sh");
    under
        .args(["-c", "umask 027 && ulimit -c 7 && exec \"$0\" \"$@\""])
        .arg(run.get_program())
        .args(run.get_args());
    under.current_dir(run.get_current_dir().unwrap()).env_clear();
    under.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = under.output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "0027\n7\n", "{ended:?}");
}
