//! Files that a command writes: none of a live grant is overwritten, and nothing is left behind.

use std::fs;

use serde_json::json;

use crate::{
    commands::Fixture,
    run::{Fixture as RunGround, code, text},
};

/// A second `session create` on the same file left the first session active, and no one had its token any more.
#[test]
fn a_file_of_a_live_session_is_not_overwritten() {
    let fixture = Fixture::new();
    fixture.server.register("agent", &json!({}));
    for option in ["--session-file", "--token-file"] {
        let line = format!("session create agent {option} kept{option}");
        assert_eq!(fixture.tenure(&line).code, 0);
        let before = fs::read(fixture.place(&format!("kept{option}"))).unwrap();
        let again = fixture.tenure(&line);
        assert_eq!(again.code, 5, "{}", again.stderr);
        assert!(again.stderr.contains("it holds a live session of agent"), "{}", again.stderr);
        assert!(again.stderr.contains("--force"), "{}", again.stderr);
        assert_eq!(fs::read(fixture.place(&format!("kept{option}"))).unwrap(), before);
    }
    let active = || fixture.tenure("session list -o json").json()["items"].as_array().unwrap().len();
    assert_eq!(active(), 2, "no session without a token was made");
    let forced = fixture.tenure("session create agent --session-file kept--session-file --force");
    assert_eq!((forced.code, active()), (0, 3), "{}", forced.stderr);
    // Once a session is over, its file is in no one's way.
    assert_eq!(fixture.tenure("subject logout agent --yes").code, 0);
    for option in ["--session-file", "--token-file"] {
        let again = fixture.tenure(&format!("session create agent {option} kept{option}"));
        assert_eq!(again.code, 0, "{}", again.stderr);
    }
}

#[test]
fn a_file_of_something_else_is_not_overwritten_and_an_empty_one_is() {
    let fixture = Fixture::new();
    fixture.server.register("agent", &json!({}));
    for option in ["--session-file", "--token-file"] {
        fs::write(fixture.place("issuer.key"), "tnr_key_of_an_issuer\n").unwrap();
        let refused = fixture.tenure(&format!("session create agent {option} issuer.key"));
        assert_eq!(refused.code, 5, "{}", refused.stderr);
        assert_eq!(fs::read_to_string(fixture.place("issuer.key")).unwrap(), "tnr_key_of_an_issuer\n");
        fs::write(fixture.place("empty"), "").unwrap();
        let made = fixture.tenure(&format!("session create agent {option} empty"));
        assert_eq!(made.code, 0, "{}", made.stderr);
        fs::remove_file(fixture.place("empty")).unwrap();
    }
}

/// `session renew --token-file absent` left `absent.renewal`, and a key given by mistake got one beside it.
#[test]
fn a_command_that_did_nothing_leaves_nothing_behind() {
    let fixture = Fixture::new();
    fs::write(fixture.place("issuer.key"), "tnr_key_of_an_issuer\n").unwrap();
    for (line, code) in [
        ("session renew some-id --token-file absent", 1),
        ("session renew some-id --token-file issuer.key", 1),
        ("session renew --session-file absent", 1),
        ("session create nosuch --session-file absent", 4),
    ] {
        let ran = fixture.tenure(line);
        assert_eq!(ran.code, code, "{line}: {}", ran.stderr);
        let left: Vec<_> =
            fs::read_dir(fixture.place(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["issuer.key"], "{line}");
    }
}

#[test]
fn a_run_that_did_not_begin_leaves_nothing_behind() {
    let fixture = RunGround::new();
    for (subject, code_of) in [(&["--subject", "nosuch"][..], 4), (&[], 1)] {
        let words = [&["run", "--session-file", "absent"], subject, &["--", "true"]].concat();
        let ran = fixture.tenure(&words).output().unwrap();
        assert_eq!(code(&ran), code_of, "{}", text(&ran.stderr));
        assert_eq!(fs::read_dir(fixture.place(".")).unwrap().count(), 0);
    }
}

/// The admin's key went over the network in the clear, and to the proxy of the environment.
#[test]
fn keys_and_tokens_leave_by_https_or_stay_on_this_host() {
    let fixture = RunGround::new();
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    proxy.set_nonblocking(true).unwrap();
    let asks = |words: &[&str]| {
        let mut command = fixture.tenure(words);
        let proxy = format!("http://{}", proxy.local_addr().unwrap());
        command.env("TENURE_URL", "http://192.0.2.1:7300").env("http_proxy", &proxy).env("ALL_PROXY", &proxy);
        command.output().unwrap()
    };
    fs::write(fixture.place("token"), "tnr_sess_x\n").unwrap();
    for words in [
        &["session", "list"][..],
        &["session", "renew", "id", "--token-file", "token"],
        &["session", "create", "agent-7", "--session-file", "s"],
        &["run", "--session-file", "s", "--subject", "agent-7", "--", "true"],
        &["doctor"],
    ] {
        let refused = asks(words);
        let heard = text(&refused.stderr);
        assert!([Some(1), Some(2)].contains(&refused.status.code()), "{words:?}: {heard}");
        assert!(heard.contains("by https://") || words == ["doctor"], "{words:?}: {heard}");
    }
    assert!(proxy.accept().is_err(), "the proxy was asked");
    let session = fixture.tenure(&["session", "create", "agent-7", "--session-file", "s"]).output().unwrap();
    assert!(session.status.success(), "{}", text(&session.stderr));
    let elsewhere = fs::read_to_string(fixture.place("s")).unwrap();
    let elsewhere = elsewhere.replace(&fixture.server.address().to_string(), "192.0.2.1:7300");
    fs::write(fixture.place("s"), elsewhere).unwrap();
    let mut renew = fixture.tenure(&["session", "renew", "--session-file", "s"]);
    let renewed = renew.env_remove("TENURE_URL").output().unwrap();
    assert_eq!(renewed.status.code(), Some(1), "{}", text(&renewed.stderr));
    assert!(text(&renewed.stderr).contains("by https://"), "{}", text(&renewed.stderr));
}
