//! Frozen forgeries of the incident's export, each with the verdict that it gets: from this version and from every later
//! one.

use std::{collections::BTreeSet, fs};

use crate::{
    commands::audit,
    incident::{bytes, path, vkey},
};

/// True as it is, though not all of the history: only who has seen a later head knows better.
pub(crate) const OLDER: &str = "an-older-copy";

/// What may be done to a history; each is a file, and its verdict a file beside it.
pub(crate) const FORGERIES: [&str; 9] = [
    "a-byte-flipped",
    "a-record-deleted",
    "a-record-doubled",
    "a-record-edited-and-hashed-anew",
    "a-record-inserted",
    OLDER,
    "records-swapped",
    "spliced-with-another-history",
    "the-tail-cut",
];

#[test]
fn each_forgery_gets_the_verdict_that_is_kept_beside_it() {
    for name in FORGERIES {
        let file = path(&format!("tampered/{name}.export"));
        assert_ne!(fs::read(&file).unwrap(), bytes(), "{name}");
        let heads = path("incident.heads");
        let ran = audit(&[
            "verify",
            "--file",
            file.to_str().unwrap(),
            "--verifier-key",
            &vkey(),
            "--heads",
            heads.to_str().unwrap(),
        ]);
        let verdict = fs::read_to_string(path(&format!("tampered/{name}.verdict"))).unwrap();
        assert_eq!(format!("{}{}", ran.stderr, ran.code), verdict.trim_end(), "{name}: {}", ran.stdout);
        assert_eq!(ran.code, 6, "{name}");
    }
}

#[test]
fn every_forgery_that_is_kept_is_judged() {
    let kept = fs::read_dir(path("tampered")).unwrap().map(|entry| entry.unwrap().file_name());
    let kept: BTreeSet<_> = kept.map(|name| name.into_string().unwrap()).collect();
    let judged = FORGERIES.iter().flat_map(|name| [format!("{name}.export"), format!("{name}.verdict")]);
    assert_eq!(kept, judged.collect());
}
