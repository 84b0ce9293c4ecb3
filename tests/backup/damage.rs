//! A changed byte of a backup is found before anything is restored, and its file is named.

use std::fs;

use crate::fixture::Fixture;

#[test]
fn a_flipped_byte_in_any_file_is_named_and_nothing_is_restored() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    server.session("bot");
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    server.session("more");
    assert_eq!(server.back_up(&fixture, "b", true).status, 200);
    server.stop();
    let files = fixture.files("backups/b");
    assert!(files.len() >= 6, "{files:?}");
    for name in files {
        let path = fixture.path("backups/b").join(&name);
        let whole = fs::read(&path).unwrap();
        for place in [0, whole.len() / 2, whole.len().saturating_sub(2)] {
            if whole.is_empty() {
                continue;
            }
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            fs::write(&path, &flipped).unwrap();
            for ran in [
                fixture.run(&["audit", "verify", "--backup", "backups/b"]),
                fixture.restore("backups/b", "new", &["--accept-loss"]),
            ] {
                assert_eq!(ran.code, 6, "{name} at {place}: {ran:?}");
                assert!(ran.stderr.contains(&name), "{name} at {place}: {ran:?}");
            }
            assert!(!fixture.path("new").exists());
        }
        fs::write(&path, &whole[..whole.len().saturating_sub(1)]).unwrap();
        if !whole.is_empty() {
            let cut = fixture.run(&["audit", "verify", "--backup", "backups/b"]);
            assert!(cut.code == 6 && cut.stderr.contains(&name), "{name} cut: {cut:?}");
        }
        fs::write(&path, &whole).unwrap();
    }
    fixture.run(&["audit", "verify", "--backup", "backups/b"]).ok();
    let missing = fixture.files("backups/b").into_iter().find(|name| name.starts_with("part-")).unwrap();
    fs::remove_file(fixture.path("backups/b").join(&missing)).unwrap();
    let ran = fixture.restore("backups/b", "new", &["--accept-loss"]);
    assert!(ran.code == 6 && ran.stderr.contains(&missing), "{ran:?}");
}

#[test]
fn a_backup_is_judged_by_the_key_that_the_reader_brings() {
    let fixture = Fixture::new();
    let server = fixture.serve("data");
    server.session("bot");
    assert_eq!(server.back_up(&fixture, "b", false).status, 200);
    let own = server.get("/v1/audit/head").body["verifierKey"].as_str().unwrap().to_owned();
    server.stop();
    let other = fixture.serve("other");
    let foreign = other.get("/v1/audit/head").body["verifierKey"].as_str().unwrap().to_owned();
    other.stop();
    let verify =
        |key: &str| fixture.run(&["audit", "verify", "--backup", "backups/b", "--verifier-key", key]);
    assert_eq!(verify(&own).ok().json()["verified"], true);
    assert_eq!(verify(&foreign).code, 6);
}
