//! A mistake is answered with the thing that it is about, and with what would be right.

use serde_json::json;

use crate::ground::Ground;

/// "No active sessions of subject bot." read as if the agent had never had one.
#[test]
fn an_empty_list_says_how_many_sessions_have_ended() {
    let ground = Ground::new();
    ground.server.register("bot", &json!({}));
    let none = ground.tenure("session list --subject bot").ok();
    assert_eq!(none.stderr.trim(), "No active sessions of subject bot.");
    ground.server.create(&json!({"subjectId": "bot"}));
    ground.tenure("subject logout bot --yes").ok();
    let ended = ground.tenure("session list --subject bot").ok();
    assert_eq!(ended.stderr.trim(), "No active sessions of subject bot (1 ended: --status all).");
    assert_eq!(ground.tenure("session list --subject bot -q").ok().stdout, "");
    let listed = ground.tenure("session list --subject bot -o json").json();
    assert_eq!(listed["items"], json!([]));
}

/// `nokey: No such file or directory` did not say which of the files of the command line was meant.
#[test]
fn a_key_file_that_is_not_there_is_named_with_its_option() {
    let ground = Ground::new();
    let missing = ground.tenure("session list --key-file nokey");
    assert_eq!(missing.code, 1, "{missing:?}");
    assert!(missing.stderr.starts_with("error: --key-file nokey: No such file"), "{missing:?}");
}

#[test]
fn what_is_not_there_is_answered_with_where_to_look() {
    let ground = Ground::new();
    for (line, hint) in [
        ("subject show ghost", "tenure subject list"),
        ("session create ghost", "tenure subject put"),
        ("session show 0000aaaa", "tenure session list --status all"),
        ("webhook deliveries ghost", "tenure webhook list"),
        ("credential revoke ghost --yes", "tenure credential list"),
    ] {
        let missing = ground.tenure(line);
        assert_eq!(missing.code, 4, "{missing:?}");
        assert!(missing.stderr.contains(hint), "{line}: {missing:?}");
    }
    let key = format!("{}x", ground.server.admin);
    let foreign = ground.tenure_by(&key, "session list");
    assert_eq!(foreign.code, 3, "{foreign:?}");
    assert!(foreign.stderr.contains("tenure context ls"), "{foreign:?}");
}

/// The holder of a vetoed session read that it was ended, and not that this was a veto.
#[test]
fn the_holder_of_an_ended_session_is_told_what_ended_it() {
    let ground = Ground::new();
    ground.server.register("bot", &json!({ "ownerId": "alice" }));
    ground.tenure("session create bot --ttl 10m --token-file bot.token").ok();
    ground.server.advance(400);
    ground.tenure("session renew --token-file bot.token").ok();
    ground.tenure("veto bot --reason late --yes").ok();
    let refused = ground.tenure("session renew --token-file bot.token");
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("why: its renewal was vetoed"), "{refused:?}");
}

/// Two versions of one kind of event have one name, and the list of what is possible had it twice.
#[test]
fn each_kind_of_event_is_offered_once() {
    let ground = Ground::empty();
    let refused = ground.bare(&["events", "--kinds", "Foo"]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(said.matches("SessionsRevoked").count(), 1, "{said}");
}
