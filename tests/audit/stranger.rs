//! An export is checked by a program that is not ours: the one that `docs/export-format.md` shows, as it stands there.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::{
    incident::{forged, joined, lines, opened, path, vkey},
    surroundings::{not_run, variable},
    tampered::{FORGERIES, OLDER},
};

/// The program of the page.
fn program() -> String {
    let page = include_str!("../../docs/export-format.md");
    let (_, program) = page.split_once("```python\n").expect("the page has a program");
    program.split_once("```").expect("it ends").0.to_owned()
}

/// A Python that has the two packages; `None` where they could not be installed.
fn python() -> Option<String> {
    let named = variable("TENURE_TEST_PYTHON").unwrap_or_else(|| "python3".into());
    let probe = Command::new(&named).args(["-c", "import blake3, cryptography"]).output();
    probe.is_ok_and(|probe| probe.status.success()).then_some(named)
}

fn check(python: &str, program: &Path, export: &Path) -> Output {
    Command::new(python).arg(program).arg(export).arg(vkey()).output().unwrap()
}

#[test]
fn the_program_of_the_page_believes_the_true_history_and_no_other() {
    let Some(python) = python() else {
        let why = "there is no Python with the packages blake3 and cryptography; tests/run installs them";
        return not_run("the program of the page on exports", why);
    };
    let directory = tempfile::tempdir().unwrap();
    let program_path = directory.path().join("check.py");
    fs::write(&program_path, program()).unwrap();
    let events: u64 = lines().iter().filter_map(|line| opened(line)).map(|(first, _)| first).max().unwrap();
    let ran = check(&python, &program_path, &path("incident.export"));
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let (count, rest) = said.trim().split_once(' ').unwrap();
    assert!(count.parse::<u64>().unwrap() >= events && rest == "events, as signed", "{said}");

    let tampered = directory.path().join("tampered.export");
    for (at, line) in lines().iter().enumerate() {
        let Some((first, mut bytes)) = opened(line) else { continue };
        // The last byte of the last event's digest or number, and the hashes made anew: only the head can tell.
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let Some(forgery) = forged(first, &bytes) else { continue };
        let mut edited = lines();
        edited[at] = forgery;
        fs::write(&tampered, joined(&edited)).unwrap();
        let ran = check(&python, &program_path, &tampered);
        assert!(!ran.status.success(), "line {at} was forged: {}", String::from_utf8_lossy(&ran.stdout));
    }
    let mut shortened = lines();
    let gone = shortened.iter().position(|line| opened(line).is_some()).unwrap();
    shortened.remove(gone);
    fs::write(&tampered, joined(&shortened)).unwrap();
    assert!(!check(&python, &program_path, &tampered).status.success());
    // The name of the key taken out, another one in its place, and a line in another spelling.
    let (original, vkey) = (joined(&lines()), vkey());
    let original = String::from_utf8(original).unwrap();
    for (from, to) in [
        (format!("\"{vkey}\""), "null".to_owned()),
        (vkey.clone(), vkey.replace("tenure/a", "tenure/b")),
        ("{\"first\":1,".to_owned(), "{\"first\": 1,".to_owned()),
        ("{\"first\":1,".to_owned(), "{ \"first\":1,".to_owned()),
    ] {
        assert!(original.contains(&from), "{from}");
        fs::write(&tampered, original.replacen(&from, &to, 1)).unwrap();
        let ran = check(&python, &program_path, &tampered);
        assert!(!ran.status.success(), "{from} -> {to}: {}", String::from_utf8_lossy(&ran.stdout));
    }
    for name in FORGERIES {
        let ran = check(&python, &program_path, &path(&format!("tampered/{name}.export")));
        assert_eq!(ran.status.success(), name == OLDER, "{name}: {}", String::from_utf8_lossy(&ran.stdout));
    }
}
