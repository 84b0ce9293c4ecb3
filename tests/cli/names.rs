//! Ids as people have them: names and unique beginnings, and what is ambiguous.

use serde_json::json;

use crate::fixture::Fixture;

/// `tenure session show 01a22374-5fd2` was `404`: nothing but a whole UUID was taken.
#[test]
fn a_session_is_named_by_the_beginning_of_its_id_or_by_its_subject() {
    let fixture = Fixture::new();
    let session = fixture.server.session("night-bot", 3600);
    for name in [&session.id[..], &session.id[..13], "night-bot"] {
        let shown = fixture.tenure(&format!("session show {name} -o json")).json();
        assert_eq!(shown["sessionId"], session.id, "{name}");
    }
    let ended = fixture.tenure(&format!("session revoke {} --yes -o json", &session.id[..13])).json();
    assert_eq!(ended["status"], "REVOKED");
    // It can still be read about, and not ended once more.
    assert_eq!(fixture.tenure("session show night-bot -o json").json()["sessionId"], session.id);
    let gone = fixture.tenure("session revoke night-bot --yes");
    assert_eq!(gone.code, 4, "{gone:?}");
    assert!(gone.stderr.contains("no active session of night-bot"), "{gone:?}");
}

#[test]
fn what_fits_several_things_is_a_conflict_with_the_candidates() {
    let fixture = Fixture::new();
    let first = fixture.server.session("agent-1", 3600);
    fixture.server.register("agent-2", &json!({"name": "Agent two"}));
    let second = fixture.server.create(&json!({"subjectId": "agent-1"}));
    let refused = fixture.tenure("session show agent-1");
    assert_eq!(refused.code, 5, "{refused:?}");
    for id in [&first.id, &second.id] {
        assert!(refused.stderr.contains(id.as_str()), "{refused:?}");
    }
    let refused = fixture.tenure("subject show agent");
    assert_eq!(refused.code, 5, "{refused:?}");
    let candidates = "\"agent\" is ambiguous; which subject do you mean?\n  agent-1\n  agent-2  Agent two";
    assert!(refused.stderr.contains(candidates), "{refused:?}");
    // Of both sessions only the beginning that they share is ambiguous.
    let shared = first.id.bytes().zip(second.id.bytes()).take_while(|(a, b)| a == b).count();
    let both = fixture.tenure(&format!("session show {}", &first.id[..shared]));
    assert_eq!(both.code, 5, "{both:?}");
}

#[test]
fn a_subject_is_named_by_its_name_in_commands_and_in_filters() {
    let fixture = Fixture::new();
    fixture.server.register("bot-7", &json!({"name": "Night shift"}));
    let session = fixture.server.create(&json!({"subjectId": "bot-7"}));
    assert_eq!(fixture.tenure("subject show 'night shift' -o json").json()["subjectId"], "bot-7");
    let listed = fixture.tenure("session list --subject 'Night shift' -q").ok();
    assert_eq!(listed.stdout, format!("{}\n", session.id));
    let events =
        fixture.tenure("events --subject bot-7 --session bot-7 --kinds SessionCreated -o json").json();
    assert_eq!(events["items"][0]["sessionId"], session.id);
    // What fits nothing is left as it is, and the empty list says of what it is empty.
    let none = fixture.tenure("session list --subject ghost").ok();
    assert!(none.stderr.contains("No active sessions of subject ghost."), "{none:?}");
}

/// With `--yes`, nobody is asked whom the beginning of an id has met.
#[test]
fn without_a_question_nothing_is_done_by_the_beginning_of_a_subject() {
    let fixture = Fixture::new();
    fixture.server.session("agent-7", 3600);
    for line in [
        "subject logout agent --yes",
        "subject suspend agent --yes",
        "subject erase agent --reason x --yes",
        "subject set agent --name Other",
        "session revoke --subject agent --reason x --yes",
    ] {
        let refused = fixture.tenure(line);
        assert_eq!(refused.code, 1, "{line}: {refused:?}");
        assert!(refused.stderr.contains("\"agent\" is only the beginning of agent-7"), "{line}: {refused:?}");
    }
    assert_eq!(fixture.tenure("subject show agent-7 -o json").json()["activeSessions"], 1);
    // A new subject is never taken for one that there is.
    fixture.tenure("subject put agent").ok();
    assert_eq!(fixture.tenure("subject list -q").stdout, "agent\nagent-7\n");
}

#[test]
fn a_key_and_a_webhook_are_named_by_the_beginning_of_their_ids() {
    let fixture = Fixture::new();
    let made = fixture.tenure("credential create --role verifier --name gateway -o json").json();
    let id = made["credentialId"].as_str().unwrap();
    let confirmed = fixture.tenure(&format!("credential confirm {} --yes -o json", &id[..18])).json();
    assert_eq!(confirmed["credentialId"], id);
    assert!(fixture.tenure("credential revoke gateway --yes").ok().stdout.contains(id));
    let hook = fixture.tenure("webhook add https://receiver.example/hook -o json").json();
    let id = hook["webhookId"].as_str().unwrap();
    let removed = fixture.tenure(&format!("webhook remove {} --yes -o json", &id[..18])).json();
    assert_eq!(removed["webhookId"], id);
}

/// Six webhooks of one host looked alike: nothing but a UUID told them apart.
#[test]
fn a_webhook_has_a_name_and_is_found_by_it() {
    let fixture = Fixture::new();
    let add = |name: &str| {
        let line = format!("webhook add https://receiver.example/hook --name '{name}' -o json");
        fixture.tenure(&line).json()["webhookId"].as_str().unwrap().to_owned()
    };
    let (phone, pager) = (add("Alice's phone".replace('\'', "").as_str()), add("pager"));
    let listed = fixture.tenure("webhook list").ok().stdout;
    assert!(
        listed.contains("NAME") && listed.contains("Alices phone") && listed.contains("pager"),
        "{listed}"
    );
    assert!(fixture.tenure("webhook show PAGER").ok().stdout.contains(&pager));
    let events = fixture.tenure("events --kinds WebhookCreated").ok().stdout;
    assert!(events.contains("webhook added for https://receiver.example: pager"), "{events}");
    let asked = fixture.on_terminal("webhook rm pager", "n\n");
    assert!(asked.stdout.contains("(pager) to https://receiver.example?"), "{asked:?}");
    fixture.tenure("webhook delete pager --yes").ok();
    assert_eq!(fixture.tenure("webhook list -q").ok().stdout.trim(), phone);
    let unknown = fixture.tenure("webhook deliveries pager");
    assert_eq!(unknown.code, 4, "{unknown:?}");
}

/// `session show "Night shift"` knew the subject, `session create "Night shift"` said what an id is made of.
#[test]
fn a_session_is_created_by_the_name_of_its_subject() {
    let fixture = Fixture::new();
    fixture.server.register("night-bot", &json!({"name": "Night shift"}));
    fixture.server.register("day-bot", &json!({"name": "dayshift"}));
    for (named, subject) in [("'Night shift'", "night-bot"), ("DayShift", "day-bot"), ("day-bot", "day-bot")]
    {
        let made = fixture.tenure(&format!("session create {named} -o json")).json();
        assert_eq!(made["subjectId"], subject, "{named}");
    }
    // A beginning of an id gives nobody a session.
    for missing in ["day", "'No such bot'"] {
        let refused = fixture.tenure(&format!("session create {missing}"));
        assert_eq!(refused.code, 4, "{refused:?}");
        assert!(refused.stderr.contains("error: no subject \""), "{refused:?}");
    }
}

/// It asked to confirm "0 API keys ()", and wanted a `--yes` for that.
#[test]
fn where_no_key_is_held_there_is_nothing_to_confirm() {
    let fixture = Fixture::new();
    for line in ["credential confirm --all", "credential confirm --all --dry-run"] {
        let none = fixture.tenure(line).ok();
        assert!(none.stderr.contains("No API key is held."), "{line}: {none:?}");
    }
}

#[test]
fn a_session_shows_and_ends_itself_by_its_file() {
    let fixture = Fixture::new();
    fixture.server.register("agent", &json!({}));
    fixture.tenure("session create agent --session-file agent.session").ok();
    let by_file = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        crate::fixture::ran(&mut fixture.bare(&words))
    };
    assert_eq!(by_file("session show --session-file agent.session -o json").json()["subjectId"], "agent");
    let ended = by_file("session revoke --session-file agent.session --yes -o json").json();
    assert_eq!((&ended["status"], &ended["trigger"]), (&json!("REVOKED"), &json!("self")));
}
