//! `docs/audit.md`, walked: each command is run, and where the page shows what it says, it says that.

use std::{fs, path::Path, process::Command};

use crate::commands::BINARY;

/// A fenced block: its language and its lines.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some((_, behind)) = rest.split_once("\n```") {
        let (language, behind) = behind.split_once('\n').unwrap();
        let (text, behind) = behind.split_once("\n```").expect("a fence that is closed");
        found.push((language.to_owned(), text.to_owned()));
        rest = behind;
    }
    found
}

#[test]
fn the_walk_from_an_incident_to_an_answer_does_what_it_says() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/audit.md")).unwrap();
    let blocks = blocks(&page);
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"),
        directory.path().join("fixtures"),
    )
    .unwrap();
    let binaries = Path::new(BINARY).parent().unwrap();
    let mut before = format!("PATH='{}':\"$PATH\"\n", binaries.display());
    let (mut ran, mut compared) = (0, 0);
    for (at, (language, lines)) in blocks.iter().enumerate() {
        if language != "sh" {
            continue;
        }
        let output = Command::new("sh")
            .args(["-ec", &format!("{before}\n{lines}")])
            .current_dir(directory.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{lines}\n{said}\n{}", String::from_utf8_lossy(&output.stderr));
        if lines.starts_with("export ") {
            before = format!("{before}\n{lines}");
        }
        if let Some((_, shown)) = blocks.get(at + 1).filter(|(language, _)| language == "text") {
            for line in shown.lines() {
                assert!(
                    said.lines().any(|is| is.trim_end() == line.trim_end()),
                    "{line:?} is not in\n{said}"
                );
            }
            compared += 1;
        }
        ran += 1;
    }
    assert!(ran >= 7 && compared >= 2, "{ran} blocks were run, {compared} compared");
}
