//! A changed byte of a backup is found before anything is restored, and its file is named.

use std::fs;

use crate::fixture::Fixture;

#[test]
fn a_flipped_byte_in_any_file_is_named_and_nothing_is_restored() {
    let house = Fixture::new();
    let server = house.serve("data");
    server.session("bot");
    assert_eq!(server.back_up(&house, "b", false).status, 200);
    server.session("more");
    assert_eq!(server.back_up(&house, "b", true).status, 200);
    server.stop();
    let files = house.files("backups/b");
    assert!(files.len() >= 6, "{files:?}");
    for name in files {
        let path = house.path("backups/b").join(&name);
        let whole = fs::read(&path).unwrap();
        for place in [0, whole.len() / 2, whole.len().saturating_sub(2)] {
            if whole.is_empty() {
                continue;
            }
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            fs::write(&path, &flipped).unwrap();
            for ran in [
                house.run(&["audit", "verify", "--backup", "backups/b"]),
                house.restore("backups/b", "new", &["--accept-loss"]),
            ] {
                assert_eq!(ran.code, 6, "{name} at {place}: {ran:?}");
                assert!(ran.stderr.contains(&name), "{name} at {place}: {ran:?}");
            }
            assert!(!house.path("new").exists());
        }
        fs::write(&path, &whole[..whole.len().saturating_sub(1)]).unwrap();
        if !whole.is_empty() {
            let cut = house.run(&["audit", "verify", "--backup", "backups/b"]);
            assert!(cut.code == 6 && cut.stderr.contains(&name), "{name} cut: {cut:?}");
        }
        fs::write(&path, &whole).unwrap();
    }
    house.run(&["audit", "verify", "--backup", "backups/b"]).ok();
    let missing = house.files("backups/b").into_iter().find(|name| name.starts_with("part-")).unwrap();
    fs::remove_file(house.path("backups/b").join(&missing)).unwrap();
    let ran = house.restore("backups/b", "new", &["--accept-loss"]);
    assert!(ran.code == 6 && ran.stderr.contains(&missing), "{ran:?}");
}

#[test]
fn a_backup_is_judged_by_the_key_that_the_reader_brings() {
    let house = Fixture::new();
    let server = house.serve("data");
    server.session("bot");
    assert_eq!(server.back_up(&house, "b", false).status, 200);
    let own = server.get("/v1/audit/head").body["verifierKey"].as_str().unwrap().to_owned();
    server.stop();
    let other = house.serve("other");
    let foreign = other.get("/v1/audit/head").body["verifierKey"].as_str().unwrap().to_owned();
    other.stop();
    let verify = |key: &str| house.run(&["audit", "verify", "--backup", "backups/b", "--verifier-key", key]);
    assert_eq!(verify(&own).ok().json()["verified"], true);
    assert_eq!(verify(&foreign).code, 6);
}
