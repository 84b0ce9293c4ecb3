//! A mistake is answered with the thing that it is about, and with what would be right.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use serde_json::json;

use crate::fixture::Fixture;

/// "No active sessions of subject bot." read as if the agent had never had one.
#[test]
fn an_empty_list_says_how_many_sessions_have_ended() {
    let fixture = Fixture::new();
    fixture.server.register("bot", &json!({}));
    let none = fixture.tenure("session list --subject bot").ok();
    assert_eq!(none.stderr.trim(), "No active sessions of subject bot.");
    fixture.server.create(&json!({"subjectId": "bot"}));
    fixture.tenure("subject logout bot --yes").ok();
    let ended = fixture.tenure("session list --subject bot").ok();
    assert_eq!(ended.stderr.trim(), "No active sessions of subject bot (1 ended: --status all).");
    assert_eq!(fixture.tenure("session list --subject bot -q").ok().stdout, "");
    let listed = fixture.tenure("session list --subject bot -o json").json();
    assert_eq!(listed["items"], json!([]));
}

/// `nokey: No such file or directory` did not say which of the files of the command line was meant.
#[test]
fn a_key_file_that_is_not_there_is_named_with_its_option() {
    let fixture = Fixture::new();
    let missing = fixture.tenure("session list --key-file nokey");
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stderr.starts_with("error: --key-file nokey: No such file"), "{missing:?}");
}

/// Every failed connection was asked about as `tenure serve`, and none said who had named the server.
#[test]
fn a_server_that_does_not_answer_is_told_with_who_named_it() {
    let fixture = Fixture::empty();
    let said = |words: &[&str], set: &[(&str, &str)]| {
        let output = fixture.bare(words).envs(set.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let nobody = "http://127.0.0.1:9";
    let typed = said(&["session", "list", "--url", nobody], &[]);
    assert!(typed.contains(nobody), "{typed}");
    assert!(typed.contains("The address is from --url. Is `tenure serve` running there?"), "{typed}");
    let set = said(&["session", "list"], &[("TENURE_URL", nobody)]);
    assert!(set.contains("The address is from TENURE_URL."), "{set}");
    let added = fixture.bare(&["context", "add", "prod", "--use", "--url", nobody]).output().unwrap();
    assert!(added.status.success(), "{added:?}");
    let of_context = said(&["session", "list"], &[]);
    assert!(of_context.contains("The address is from the context prod."), "{of_context}");
    // What is no refused connection is not asked about.
    let unknown = said(&["session", "list", "--url", "https://nobody.invalid"], &[]);
    assert!(unknown.contains("from --url.") && !unknown.contains("tenure serve"), "{unknown}");
}

#[test]
fn a_session_file_that_is_not_there_is_answered_with_how_to_make_one() {
    let fixture = Fixture::new();
    for line in
        ["session show", "session token", "session renew", "introspect", "session usage --operation pay"]
    {
        let missing = fixture.tenure(&format!("{line} --session-file gone.session"));
        assert_eq!(missing.code, 1, "{line}: {missing:?}");
        assert!(
            missing.stderr.contains("error: no session file ")
                && missing.stderr.contains("gone.session: tenure session create"),
            "{line}: {missing:?}"
        );
    }
}

/// `The subject is suspended` said neither whose session was asked for nor why it could not be had.
#[test]
fn a_session_of_a_suspended_subject_is_refused_with_the_reason() {
    let fixture = Fixture::new();
    fixture.server.register("bot", &json!({}));
    fixture.tenure("subject suspend bot --reason holiday --yes").ok();
    let refused = fixture.tenure("session create bot");
    assert_eq!(refused.code, 3, "{refused:?}");
    let told = "error: subject bot is suspended until it is resumed: \"holiday\"";
    assert!(refused.stderr.starts_with(told), "{refused:?}");
    assert!(refused.stderr.contains("hint: tenure subject resume"), "{refused:?}");
}

#[test]
fn what_is_not_there_is_answered_with_where_to_look() {
    let fixture = Fixture::new();
    for (line, hint) in [
        ("subject show ghost", "tenure subject list"),
        ("session create ghost", "tenure subject put"),
        ("session show 0000aaaa", "tenure session list --status all"),
        ("webhook deliveries ghost", "tenure webhook list"),
        ("credential revoke ghost --yes", "tenure credential list"),
    ] {
        let missing = fixture.tenure(line);
        assert_eq!(missing.code, 4, "{missing:?}");
        assert!(missing.stderr.contains(hint), "{line}: {missing:?}");
    }
    let key = format!("{}x", fixture.server.admin);
    let foreign = fixture.tenure_by(&key, "session list");
    assert_eq!(foreign.code, 3, "{foreign:?}");
    assert!(foreign.stderr.contains("tenure context ls"), "{foreign:?}");
}

/// The holder of a vetoed session read that it was ended, and not that this was a veto.
#[test]
fn the_holder_of_an_ended_session_is_told_what_ended_it() {
    let fixture = Fixture::new();
    fixture.server.register("bot", &json!({ "ownerId": "alice" }));
    fixture.tenure("session create bot --ttl 10m --token-file bot.token").ok();
    fixture.server.advance(400);
    fixture.tenure("session renew --token-file bot.token").ok();
    fixture.tenure("veto bot --reason late --yes").ok();
    let refused = fixture.tenure("session renew --token-file bot.token");
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("why: its renewal was vetoed"), "{refused:?}");
}

/// Two versions of one kind of event have one name, and the list of what is possible had it twice.
#[test]
fn each_kind_of_event_is_offered_once() {
    let fixture = Fixture::empty();
    let refused = fixture.bare(&["events", "--kinds", "Foo"]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(said.matches("SessionsRevoked").count(), 1, "{said}");
}

/// Files of variables often have one that is empty. A server with such a filter said nothing at all.
#[test]
fn a_variable_that_is_empty_says_nothing() {
    let fixture = Fixture::empty();
    let none = fixture.bare(&["whoami"]).env("TENURE_URL", "").output().unwrap();
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(said.contains("http://127.0.0.1:7300"), "{said}");
    let wrong = fixture.bare(&["whoami"]).env("TENURE_URL", "localhost:7300").output().unwrap();
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(wrong.status.code() == Some(1) && said.contains("it is of TENURE_URL"), "{said}");
    let mut serving = fixture
        .bare(&["serve", "--data", "data", "--listen", "127.0.0.1:0"])
        .env("TENURE_LOG", "")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(serving.stderr.take().unwrap()).lines().map_while(Result::ok);
    let said = lines.find(|line| line.contains("starting"));
    serving.kill().unwrap();
    serving.wait().unwrap();
    assert!(said.is_some());
}

/// "No such API key" was said of a key that was there.
#[test]
fn an_address_with_a_path_too_much_is_asked_about() {
    let fixture = Fixture::new();
    for command in ["whoami", "session list", "subject put bot", "doctor"] {
        let wrong = fixture.tenure(&format!("{command} --url {}/v1", fixture.url()));
        assert!(wrong.code != 0 && wrong.stderr.contains("a path too much?"), "{command}: {wrong:?}");
    }
}
