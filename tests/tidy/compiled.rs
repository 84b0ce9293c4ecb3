//! Every file of code is compiled. A file that no module names stayed in its folder when its contents had moved, beside
//! the files that had them, and was edited with them.

use std::path::{Path, PathBuf};

use crate::tree::{files_with, text};

/// Files that Cargo finds by itself.
const ROOTS: [&str; 3] = ["lib.rs", "main.rs", "build.rs"];

#[test]
fn every_file_of_code_is_named_by_a_module() {
    let folders = ["src", "tests"].into_iter().flat_map(|folder| files_with(folder, "rs"));
    let left_over: Vec<_> = folders.filter(|file| !is_root(file) && !is_declared(file)).collect();
    assert!(left_over.is_empty(), "no module names {left_over:?}");
}

/// The crate that a file begins: a target has one of its own, or is a single file of `tests/`.
fn is_root(file: &Path) -> bool {
    ROOTS.iter().any(|root| file.ends_with(root)) || file.parent() == Some(Path::new("tests"))
}

fn is_declared(file: &Path) -> bool {
    // A module that is a folder has its name.
    let module = if file.ends_with("mod.rs") { file.parent().unwrap() } else { file };
    let name = module.file_stem().unwrap().to_str().unwrap();
    parents(module.parent().unwrap())
        .iter()
        .filter_map(|parent| text(parent))
        .any(|text| declares(&text, name))
}

/// Where the modules of a folder may be named.
fn parents(folder: &Path) -> Vec<PathBuf> {
    let inside = ["mod.rs", "lib.rs", "main.rs"].map(|name| folder.join(name));
    inside.into_iter().chain([folder.with_extension("rs")]).filter(|parent| parent.is_file()).collect()
}

fn declares(text: &str, name: &str) -> bool {
    text.lines().any(|line| line.trim().strip_suffix(&format!("mod {name};")).is_some_and(is_visibility))
}

fn is_visibility(before: &str) -> bool {
    before.is_empty() || before.starts_with("pub")
}

#[test]
fn a_module_is_named_by_a_line_of_its_own() {
    assert!(
        declares("    mod ntfy;\npub(super) mod slack;", "ntfy")
            && declares("pub(super) mod slack;", "slack")
    );
    assert!(!declares("mod chats;\n// mod chat;\n", "chat"));
}
