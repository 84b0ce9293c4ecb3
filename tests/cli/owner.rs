//! The read commands with an owner's key, and keys in files.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::json;

use crate::fixture::Fixture;

/// `tenure events --last 3` looked at the last three events of all, and an owner, whose own were older, read
/// "No such events."
#[test]
fn the_last_events_of_an_owner_are_the_last_of_its_own() {
    let fixture = Fixture::new();
    let alice = fixture.owner("alice");
    fixture.server.register("hers", &json!({"ownerId": "alice"}));
    fixture.server.session("hers-not", 3600);
    for n in 0..5 {
        fixture.server.register(&format!("other-{n}"), &json!({"ownerId": "bob"}));
    }
    let shown = fixture.tenure_by(&alice, "events --last 2 -o jsonl").ok().stdout;
    assert_eq!(shown.lines().count(), 1, "{shown}");
    assert!(shown.contains("\"hers\""), "{shown}");
    let all = fixture.tenure("events --last 2 -o jsonl").ok().stdout;
    assert_eq!(all.lines().count(), 2, "{all}");
    assert!(all.contains("other-4"), "{all}");
}

/// A refusal said only that "the role owner may not do this".
#[test]
fn a_refusal_says_which_role_is_needed_and_what_an_owner_can_read_instead() {
    let fixture = Fixture::new();
    let alice = fixture.owner("alice");
    fixture.server.register("bot", &json!({"ownerId": "alice"}));
    fixture.server.create(&json!({"subjectId": "bot"}));
    let refused = fixture.tenure_by(&alice, "session create bot");
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(
        refused.stderr.contains("this key has the role owner; this needs admin or issuer"),
        "{refused:?}"
    );
    let shown = fixture.tenure_by(&alice, "audit show bot");
    assert_eq!(shown.code, 3, "{shown:?}");
    assert!(shown.stderr.contains("admin or auditor"), "{shown:?}");
    assert!(shown.stderr.contains("tenure session story"), "{shown:?}");
    assert!(fixture.tenure_by(&alice, "session story bot").ok().stdout.contains("began for"));
}

/// `tenure audit show bot` said "no session bot is in this history", though every other command took the subject.
#[test]
fn a_story_is_proved_of_a_session_as_people_name_it() {
    let fixture = Fixture::new();
    let session = fixture.server.session("bot", 3600);
    for name in ["bot", &session.id[..13], &session.id] {
        let shown = fixture.tenure(&format!("audit show {name}")).ok().stdout;
        assert!(shown.contains(&format!("Session {} of bot", session.id)), "{name}: {shown}");
        assert!(shown.contains("created by API key \"first admin key\" ("), "{name}: {shown}");
    }
    // The words for programs are those of every copy of the history.
    let shown = fixture.tenure("audit show bot -o json").json();
    assert!(!shown.to_string().contains("first admin key"), "{shown}");
    let asked = fixture.tenure("audit ask bot").stdout;
    assert!(asked.contains("created by API key \"first admin key\" ("), "{asked}");
    let stepped = fixture.tenure("audit replay --step").ok().stdout;
    assert!(stepped.contains("by first admin key"), "{stepped}");
    let none = fixture.tenure("audit show ghost");
    assert_eq!(none.code, 4, "{none:?}");
    assert!(none.stderr.contains("no session \"ghost\"") && none.stderr.contains("audit ask"), "{none:?}");
}

/// Pages cut the key out of JSON with `sed`, and the file was open to all until `chmod`.
#[test]
fn a_key_goes_into_a_file_of_its_owner_alone() {
    let fixture = Fixture::new();
    let made = fixture.tenure("credential create --role auditor --name Ann --out ann.key");
    assert!(!made.stdout.contains("tnr_key_") && made.stderr.contains("The key is in ann.key."), "{made:?}");
    let file = fixture.place("ann.key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let who = fixture.tenure_by("", "whoami --key-file ann.key -o json").json();
    assert_eq!((&who["role"], &who["name"]), (&json!("auditor"), &json!("Ann")));
    let before = fs::read(&file).unwrap();
    let again = fixture.tenure("credential create --role auditor --out ann.key");
    assert_eq!(again.code, 5, "{again:?}");
    assert!(again.stderr.contains("ann.key is there already"), "{again:?}");
    assert_eq!(fs::read(&file).unwrap(), before);
    let issued = fixture.server.events("CredentialIssued").len();
    assert_eq!(fixture.tenure("credential create --role auditor --out missing/ann.key").code, 1);
    assert_eq!(fixture.server.events("CredentialIssued").len(), issued, "no key is made that cannot be kept");
}
