//! Who may use whom. Arrows point inward only: what decides knows nothing of what asks.

use std::{collections::BTreeSet, path::Path};

use crate::tree;

/// Each crate of the workspace, and those of ours that it builds on. Cargo refuses a circle; this refuses a short cut.
const CRATES: &[(&str, &[&str])] = &[
    // The words that all share.
    ("protocol", &[]),
    ("files", &[]),
    // The rules. Pure, and so they know the words and nothing else.
    ("core", &["protocol"]),
    ("threads", &[]),
    ("log", &["core", "files", "protocol", "threads"]),
    // What convinces a stranger. It has a key of its own.
    ("audit", &["core", "files", "log", "protocol", "threads"]),
    // What others link. No server code: the words, and requests.
    ("http_client", &["protocol"]),
    ("client", &["files", "http-client", "protocol"]),
    ("verify", &["http-client", "protocol"]),
    ("server", &["audit", "core", "files", "http-client", "log", "protocol", "threads"]),
];

/// Each part of `src/server/`, and the other parts that it may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("tokens", &[]),
    ("personal_data", &[]),
    // Costly work, a few jobs at once.
    ("gate", &[]),
    // What is derived.
    ("notify", &["config", "gate", "traces"]),
    ("projections", &[]),
    // What the history leads to, in files.
    ("checkpoint", &["projections"]),
    // The one write path. It never asks a projection before it decides.
    ("authority", &["counters", "notify", "gate", "tokens", "personal_data", "traces"]),
    // The edges of the process.
    ("config", &[]),
    ("process", &[]),
    ("telemetry", &[]),
    ("traces", &["config"]),
    // What hot paths count.
    ("counters", &[]),
    // Who is let in. It knows neither HTTP nor the authority.
    ("admission", &["config"]),
    // What assembles: a node, its API, a socket.
    ("node", &["authority", "checkpoint", "notify", "personal_data", "projections", "tokens"]),
    // A copy of a node, and a node of a copy.
    ("backup", &["authority", "node", "notify", "personal_data"]),
    (
        "http",
        &[
            "admission",
            "authority",
            "backup",
            "config",
            "gate",
            "counters",
            // Which node answers.
            "node",
            "notify",
            "process",
            "projections",
            "telemetry",
            "tokens",
            "traces",
        ],
    ),
    // Pages, made of what the API says.
    ("console", &["authority", "config", "http", "notify", "projections", "tokens", "traces"]),
    (
        "serve",
        &[
            "admission",
            "authority",
            "backup",
            "config",
            "console",
            "http",
            "node",
            "notify",
            "process",
            "traces",
        ],
    ),
];

#[test]
fn every_crate_builds_on_those_further_in_alone() {
    for (name, allowed) in CRATES {
        let manifest: toml::Table =
            tree::text(format!("src/{name}/Cargo.toml").as_ref()).unwrap().parse().unwrap();
        let dependencies = manifest["dependencies"].as_table().unwrap();
        let ours: Vec<&str> = dependencies.keys().filter_map(|name| name.strip_prefix("tenure-")).collect();
        assert_eq!(ours, *allowed, "tenure-{name}");
    }
}

#[test]
fn every_part_uses_only_what_is_further_in() {
    let mut faults = Vec::new();
    for path in tree::files_with("src/server", "rs") {
        let part = part_of(&path);
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == part) else {
            assert!(part == "lib", "{part} is no part that ARROWS knows");
            continue;
        };
        let used = uses(&without_tests(&tree::text(&path).unwrap()));
        let wrong = used.into_iter().filter(|name| *name != part && !allowed.contains(&name.as_str()));
        faults
            .extend(wrong.filter(|_| !is_test(&path)).map(|name| format!("{} uses {name}", path.display())));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// An arrow that nothing uses any more would let the next mistake through.
#[test]
fn every_arrow_is_used() {
    let files = tree::files_with("src/server", "rs");
    for (part, allowed) in ARROWS {
        let own = files.iter().filter(|path| part_of(path) == *part && !is_test(path));
        let used: BTreeSet<String> =
            own.flat_map(|path| uses(&without_tests(&tree::text(path).unwrap()))).collect();
        for name in *allowed {
            assert!(used.contains(*name), "{part} does not use {name}");
        }
    }
}

#[test]
fn no_arrow_leads_in_a_circle() {
    let mut inside: Vec<&str> = Vec::new();
    while inside.len() < ARROWS.len() {
        let next = ARROWS.iter().find(|(part, allowed)| {
            !inside.contains(part) && allowed.iter().all(|name| inside.contains(name))
        });
        inside.push(next.unwrap_or_else(|| panic!("a circle outside of {inside:?}")).0);
    }
}

/// A module that names its parent's siblings by `super` would go around the table.
#[test]
fn no_part_goes_out_by_super() {
    for (part, _) in ARROWS {
        for root in [format!("src/server/{part}.rs"), format!("src/server/{part}/mod.rs")] {
            let Some(text) = Path::new(&root).exists().then(|| tree::text(Path::new(&root)).unwrap()) else {
                continue;
            };
            let code = without_tests(&text);
            assert!(!code.lines().any(|line| line.contains("super::")), "{root} names its siblings by super");
        }
    }
}

/// The first folder or file below `src/server`.
fn part_of(path: &Path) -> String {
    let below = path.strip_prefix("src/server").unwrap();
    let first = below.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The parts that a text names by `crate::`.
fn uses(code: &str) -> BTreeSet<String> {
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut used = BTreeSet::new();
    for behind in code.split("crate::").skip(1) {
        match behind.strip_prefix('{') {
            None => used.extend(first_word(behind)),
            Some(group) => used.extend(heads(group)),
        }
    }
    used.retain(|name| ARROWS.iter().any(|(part, _)| part == name));
    used
}

/// The first words of the items of a group, which is open already.
fn heads(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut heads = Vec::new();
    let mut is_head = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => is_head = true,
            c if is_head && !c.is_whitespace() => {
                heads.extend(first_word(&group[at..]));
                is_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn first_word(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The text before its tests: they may use what they like.
fn without_tests(text: &str) -> String {
    let is_test_module = |behind: &&str| {
        let line = behind.lines().find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
        line.contains("mod ") && line.ends_with('{')
    };
    let mut pieces = text.split("#[cfg(test)]");
    let mut code = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces.take_while(|piece| !is_test_module(piece)) {
        code.push_str(piece);
    }
    code
}

/// Whether a file, or a folder that it is in, is a module for tests.
pub(crate) fn is_test(path: &Path) -> bool {
    if path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("_tests")) {
        return true;
    }
    path.ancestors().any(|module| {
        let (Some(name), Some(dir)) = (module.file_stem(), module.parent()) else { return false };
        let declared = format!("mod {};", name.to_string_lossy());
        let parents = [dir.join("mod.rs"), dir.with_extension("rs"), dir.join("lib.rs")];
        let texts = parents.iter().filter(|parent| parent.exists()).filter_map(|parent| tree::text(parent));
        texts.collect::<Vec<_>>().iter().any(|text| text.contains(&format!("#[cfg(test)]\n{declared}")))
    })
}

#[test]
fn the_reading_of_paths_is_right() {
    let code = "use crate::{config::{Clock, now}, gate,\n  tokens::{a::{b}, c}};\nlet x = crate::http::y;\n// crate::node";
    assert_eq!(uses(code), ["config", "gate", "http", "tokens"].map(str::to_owned).into());
    let tested = "a\n#[cfg(test)]\nmod b;\nc\n#[cfg(test)]\nmod tests {\n    crate::cli";
    assert_eq!(without_tests(tested), "a\n\nmod b;\nc\n");
    assert!(
        is_test(Path::new("src/log/conformance.rs")) && is_test(Path::new("src/log/sled/tests/kills.rs"))
    );
    assert!(!is_test(Path::new("src/log/frame.rs")) && !is_test(Path::new("src/log/sled.rs")));
}
