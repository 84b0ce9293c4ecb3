//! `tenure context` and `tenure whoami`: which server is asked, and by whom.

use std::os::unix::fs::PermissionsExt;

use tenure_testing::command::CommandOutput;

use crate::fixture::{Fixture, ran};

fn bare(fixture: &Fixture, line: &str) -> CommandOutput {
    ran(&mut fixture.bare(&line.split(' ').collect::<Vec<_>>()))
}

#[test]
fn a_context_remembers_a_server_and_its_key() {
    let fixture = Fixture::new();
    std::fs::copy(fixture.server.data().join("admin.key"), fixture.place("admin.key")).unwrap();
    let empty = bare(&fixture, "context ls").ok();
    assert!(empty.stderr.contains("tenure context add"), "{empty:?}");
    let added = format!("context add here --url {} --key-file admin.key", fixture.url());
    assert!(bare(&fixture, &added).ok().stderr.contains("as context here"));
    bare(&fixture, "context add away --url http://127.0.0.1:9").ok();
    let kept = fixture.place(".config/tenure/contexts.json");
    assert_eq!(std::fs::metadata(kept).unwrap().permissions().mode() & 0o777, 0o600);

    let own = bare(&fixture, "whoami -o json").json();
    assert_eq!((own["role"].as_str(), own["context"].as_str()), (Some("admin"), Some("here")));
    assert_eq!(own["server"], fixture.url());
    bare(&fixture, "session list").ok();

    assert_eq!(bare(&fixture, "session list --context away").code, 2);
    bare(&fixture, "context use away").ok();
    assert_eq!(bare(&fixture, "session list").code, 2);
    let list = bare(&fixture, "context ls").ok().stdout;
    assert!(list.contains("*  away") && list.contains("here"), "{list}");
    let unknown = bare(&fixture, "context use nowhere");
    assert_eq!(unknown.code, 4, "{unknown:?}");
    assert!(unknown.stderr.contains("away, here"), "{unknown:?}");
    bare(&fixture, "context rm away").ok();
    assert_eq!(bare(&fixture, "context use away").code, 4);
}

/// The key of one server must not go to another that a command names.
#[test]
fn a_contexts_key_goes_to_its_own_server_only() {
    let fixture = Fixture::new();
    std::fs::copy(fixture.server.data().join("admin.key"), fixture.place("admin.key")).unwrap();
    bare(&fixture, "context add away --url http://127.0.0.1:9 --key-file admin.key").ok();
    for line in ["whoami", "whoami --context away"] {
        let keyless = bare(&fixture, &format!("{line} --url {}", fixture.url()));
        assert_eq!(keyless.code, 1, "{line}: {keyless:?}");
        assert!(keyless.stderr.contains("no key is given for"), "{keyless:?}");
    }
}

#[test]
fn whoami_says_what_a_key_may_do_and_whose_it_is() {
    let fixture = Fixture::new();
    let made = fixture.tenure("credential create --role owner --owner alice --name phone -o json").json();
    let own = fixture.tenure_by(made["key"].as_str().unwrap(), "whoami").ok().stdout;
    for (field, value) in [("role", "owner"), ("ownerId", "alice"), ("name", "phone")] {
        let told = own.lines().any(|line| line.split_whitespace().eq([field, value]));
        assert!(told, "{field} {value}: {own}");
    }
}
