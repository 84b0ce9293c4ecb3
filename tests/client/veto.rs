//! A veto holds: what was told to stop does not begin again by itself.

use std::process::Output;

use serde_json::json;
use tenure::client::SessionFile;

use crate::run::{Fixture, code, text};

const RUN: [&str; 5] = ["run", "--session-file", "agent.session", "--subject", "agent-7"];

fn run(fixture: &Fixture, options: &[&str], script: &str) -> Output {
    let words = [&RUN[..], &["--check", "1s"], options, &["--", "sh", "-c", script]].concat();
    fixture.tenure(&words).output().unwrap()
}

/// Runs a command until its session is ended by this request.
fn ended_by(fixture: &Fixture, options: &[&str], end: impl FnOnce(&str)) -> Output {
    let words = [&RUN[..], &["--check", "1s"], options, &["--", "sh", "-c", "touch ready; exec sleep 60"]];
    let running = fixture.tenure(&words.concat()).spawn().unwrap();
    fixture.wait_for("ready");
    let id = SessionFile::at(fixture.place("agent.session")).read().unwrap().session_id.to_string();
    end(&id);
    let output = running.wait_with_output().unwrap();
    std::fs::remove_file(fixture.place("ready")).unwrap();
    output
}

fn revoke(fixture: &Fixture, id: &str) {
    let path = format!("/v1/sessions/{id}?reason=not-at-night");
    fixture.server.delete(&path).bearer(&fixture.server.admin).send().expect(200);
}

/// An owner vetoed her agent at night. The supervisor started the same command line again, which found that the session
/// was over and began a new one at once: the veto had lasted a second.
#[test]
fn a_restart_after_a_veto_begins_no_new_session() {
    let fixture = Fixture::new();
    let vetoed = ended_by(&fixture, &[], |id| revoke(&fixture, id));
    let heard = text(&vetoed.stderr);
    assert_eq!(code(&vetoed), 3, "{heard}");
    assert!(heard.contains("not-at-night") && heard.contains("agent.session stays"), "{heard}");
    for _ in 0..2 {
        let again = run(&fixture, &[], "touch ran");
        let heard = text(&again.stderr);
        assert_eq!(code(&again), 3, "{heard}");
        assert!(heard.contains("The session of agent-7 was revoked"), "{heard}");
        assert!(heard.contains("not-at-night") && heard.contains("--new-after-revoke"), "{heard}");
    }
    assert!(!fixture.place("ran").exists());
    assert_eq!(fixture.status_of_the_only_session(), "REVOKED");
    let wanted = run(&fixture, &["--new-after-revoke"], "exit 5");
    assert_eq!(code(&wanted), 5, "{}", text(&wanted.stderr));
    // That one has ended with its command, and nobody has anything against the next one.
    assert_eq!(code(&run(&fixture, &[], "exit 6")), 6);
}

/// The file was on a disk that a new container did not have.
#[test]
fn a_restart_without_the_file_asks_for_the_newest_end() {
    let fixture = Fixture::new();
    let vetoed = ended_by(&fixture, &["--device", "d1"], |id| revoke(&fixture, id));
    assert_eq!(code(&vetoed), 3);
    for file in ["agent.session", "agent.session.lock"] {
        std::fs::remove_file(fixture.place(file)).unwrap();
    }
    let again = run(&fixture, &["--device", "d1"], "touch ran");
    assert_eq!(code(&again), 3, "{}", text(&again.stderr));
    assert!(text(&again.stderr).contains("not-at-night"), "{}", text(&again.stderr));
    assert!(!fixture.place("ran").exists());
    assert_eq!(std::fs::read_dir(fixture.place(".")).unwrap().count(), 0, "nothing is left behind");
    for other in [&["--device", "d2"][..], &[]] {
        assert_eq!(code(&run(&fixture, other, "exit 4")), 4, "another device's agent was not told to stop");
    }
}

/// Under a test clock that stands still all sessions ended at one moment, and the oldest end counted as the newest.
#[test]
fn of_several_ends_at_one_moment_that_of_the_newest_session_counts() {
    let fixture = Fixture::new();
    assert_eq!(code(&run(&fixture, &[], "exit 0")), 0);
    let vetoed = ended_by(&fixture, &[], |id| revoke(&fixture, id));
    assert_eq!(code(&vetoed), 3);
    std::fs::remove_file(fixture.place("agent.session")).unwrap();
    let again = run(&fixture, &[], "touch ran");
    assert_eq!(code(&again), 3, "{}", text(&again.stderr));
    assert!(!fixture.place("ran").exists());
}

/// It was made, never renewed, and idled away while its command worked.
#[test]
fn a_sliding_session_is_not_held() {
    let fixture = Fixture::new();
    let refused = run(&fixture, &["--mode", "sliding"], "touch ran");
    assert_eq!(code(&refused), 1, "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("leave --mode out"), "{}", text(&refused.stderr));
    assert!(!fixture.place("ran").exists() && !fixture.place("agent.session").exists());
}

/// An agent that was refused its token ended by itself, before the next check. Its end looked like that of its work.
#[test]
fn a_command_that_notices_the_veto_first_does_not_hide_it() {
    let fixture = Fixture::new();
    let script = "touch ready; while ! [ -e go ]; do sleep 0.01; done; exit 1";
    let words = [&RUN[..], &["--check", "1h", "--", "sh", "-c", script]].concat();
    let running = fixture.tenure(&words).spawn().unwrap();
    fixture.wait_for("ready");
    let id = SessionFile::at(fixture.place("agent.session")).read().unwrap().session_id.to_string();
    // The first check comes at the start.
    tenure::clock::pause(std::time::Duration::from_millis(500));
    revoke(&fixture, &id);
    std::fs::write(fixture.place("go"), "").unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(code(&output), 3, "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("not-at-night"), "{}", text(&output.stderr));
    assert!(fixture.place("agent.session").exists());
    assert_eq!(code(&run(&fixture, &[], "true")), 3);
}

/// An agent whose token was refused during a suspension ended by itself: its session was ended as if its work was done,
/// which a suspension allows, and after a resumption there was nothing to go on with.
#[test]
fn a_command_that_notices_the_suspension_first_does_not_hide_it() {
    let fixture = Fixture::new();
    let script = "touch ready; while ! [ -e go ]; do sleep 0.01; done; exit 7";
    let words = [&RUN[..], &["--check", "1h", "--", "sh", "-c", script]].concat();
    let running = fixture.tenure(&words).spawn().unwrap();
    fixture.wait_for("ready");
    // The first check comes at the start.
    tenure::clock::pause(std::time::Duration::from_millis(500));
    let admin = &fixture.server.admin;
    let suspend = fixture.server.post("/v1/subjects/agent-7/suspend").bearer(admin);
    suspend.json(&json!({ "reason": "it buys too much" })).send().expect(200);
    std::fs::write(fixture.place("go"), "").unwrap();
    let output = running.wait_with_output().unwrap();
    let heard = text(&output.stderr);
    assert_eq!(code(&output), 3, "{heard}");
    assert!(heard.contains("it buys too much") && heard.contains("agent.session stays"), "{heard}");
    assert!(fixture.place("agent.session").exists());
    assert_eq!(fixture.status_of_the_only_session(), "ACTIVE");
}

#[test]
fn every_end_that_somebody_wanted_holds_and_no_other_does() {
    let fixture = Fixture::new();
    let admin = fixture.server.admin.clone();
    let logout = ended_by(&fixture, &[], |_| {
        fixture.server.delete("/v1/subjects/agent-7/sessions").bearer(&admin).send().expect(200);
    });
    assert_eq!((code(&logout), code(&run(&fixture, &[], "true"))), (3, 3));
    let bulk = ended_by(&fixture, &["--new-after-revoke"], |_| {
        let body = json!({ "selector": { "subjectId": "agent-7" }, "reason": "stolen" });
        fixture.server.post("/v1/revocations").bearer(&admin).json(&body).send().expect(200);
    });
    assert_eq!((code(&bulk), code(&run(&fixture, &[], "true"))), (3, 3));
    fixture.server.register("agent-7", &json!({ "maxSessions": 1, "onLimit": "evict_oldest" }));
    let evicted = ended_by(&fixture, &["--new-after-revoke"], |_| {
        fixture.server.create(&json!({ "subjectId": "agent-7" }));
    });
    assert_eq!(code(&evicted), 2, "{}", text(&evicted.stderr));
    assert_eq!(code(&run(&fixture, &[], "exit 7")), 7, "nobody wanted it to stop");
}

/// Its session is not ended: once the subject is resumed, the same command line goes on with it.
#[test]
fn a_run_ends_with_the_suspension_of_its_subject_and_goes_on_after_it() {
    let fixture = Fixture::new();
    let told = |verb: &str, body: serde_json::Value| {
        let path = format!("/v1/subjects/agent-7/{verb}");
        fixture.server.post(&path).bearer(&fixture.server.admin).json(&body).send().expect(200);
    };
    let until = "2100-01-01T00:00:00.000Z";
    let words = json!({ "reason": "it buys too much", "until": until });
    let suspended = ended_by(&fixture, &[], |_| told("suspend", words));
    let heard = text(&suspended.stderr);
    assert_eq!(code(&suspended), 3, "{heard}");
    assert!(heard.contains("SUBJECT_SUSPENDED") && heard.contains("agent.session stays"), "{heard}");
    let again = run(&fixture, &[], "touch ran");
    assert_eq!(code(&again), 3, "{}", text(&again.stderr));
    // A new session was advised, which nobody gets meanwhile.
    for heard in [heard, text(&again.stderr)] {
        assert!(heard.contains("agent-7 is suspended") && heard.contains(until), "{heard}");
        assert!(heard.contains("it buys too much") && heard.contains("goes on"), "{heard}");
        assert!(!heard.contains("--new-after-revoke"), "{heard}");
        // It was told to be over, and one line later how it goes on.
        assert!(!heard.contains("is over"), "{heard}");
    }
    assert!(!fixture.place("ran").exists());
    assert_eq!(fixture.status_of_the_only_session(), "ACTIVE");
    told("resume", json!({}));
    assert_eq!(code(&run(&fixture, &["--keep"], "exit 9")), 9);
    assert_eq!(fixture.status_of_the_only_session(), "ACTIVE");
}

#[test]
fn a_command_that_goes_on_after_the_veto_leaves_the_mark_too() {
    let fixture = Fixture::new();
    let script = "touch ready; while ! [ -e go ]; do sleep 0.01; done; exit 5";
    let words = [&RUN[..], &["--check", "1s", "--on-end", "warn", "--", "sh", "-c", script]].concat();
    let running = fixture.tenure(&words).spawn().unwrap();
    fixture.wait_for("ready");
    let id = SessionFile::at(fixture.place("agent.session")).read().unwrap().session_id.to_string();
    revoke(&fixture, &id);
    tenure::clock::pause(std::time::Duration::from_millis(2_500));
    std::fs::write(fixture.place("go"), "").unwrap();
    assert_eq!(code(&running.wait_with_output().unwrap()), 5);
    assert_eq!(code(&run(&fixture, &[], "true")), 3);
}

/// A supervisor started the new one before the old one had ended. The new one's command was done first, and its end was
/// the end of the session of both.
#[test]
fn of_two_runs_on_one_file_the_last_one_ends_the_session() {
    let fixture = Fixture::new();
    let script = "touch ready; while ! [ -e go ]; do sleep 0.01; done; tenure session token >/dev/null";
    let long =
        fixture.tenure(&[&RUN[..], &["--check", "1s", "--", "sh", "-c", script]].concat()).spawn().unwrap();
    fixture.wait_for("ready");
    let short = run(&fixture, &[], "exit 8");
    assert_eq!(code(&short), 8);
    assert!(text(&short.stderr).contains("another `tenure run` uses"), "{}", text(&short.stderr));
    assert_eq!(fixture.status_of_the_only_session(), "ACTIVE");
    tenure::clock::pause(std::time::Duration::from_millis(1_500));
    std::fs::write(fixture.place("go"), "").unwrap();
    let long = long.wait_with_output().unwrap();
    assert_eq!(code(&long), 0, "{}", text(&long.stderr));
    assert_eq!(fixture.status_of_the_only_session(), "REVOKED");
    for left in ["agent.session", "agent.session.lock", "agent.session.in-use"] {
        assert!(!fixture.place(left).exists(), "{left} is left behind");
    }
}
