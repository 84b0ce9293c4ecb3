//! The map of the code names files that are there.

use std::path::Path;

use crate::tree;

const MAP: &str = "docs/architecture.md";

/// Folders were moved, and for weeks the map led to files that had gone.
#[test]
fn every_file_that_the_map_names_is_there() {
    let text = tree::text(Path::new(MAP)).unwrap();
    let named: Vec<&str> = text.split('`').skip(1).step_by(2).filter(|words| is_path(words)).collect();
    assert!(named.len() > 50, "the map names {} files", named.len());
    let gone: Vec<_> = named.into_iter().filter(|name| !is_there(name)).collect();
    assert!(gone.is_empty(), "{MAP} names what is not there: {gone:?}");
}

/// `folder/file`, with or without its ending; routes begin with a slash, and what is below a data directory has capitals.
fn is_path(words: &str) -> bool {
    words.trim_end_matches('/').contains('/')
        && !words.starts_with('/')
        && words.bytes().all(|byte| byte.is_ascii_lowercase() || b"/_.".contains(&byte))
}

fn is_there(name: &str) -> bool {
    let name = name.trim_end_matches('/');
    let roots = ["", "src/", "src/server/", "src/core/", "src/log/", "src/audit/"];
    let ends = ["", ".rs", "/mod.rs"];
    roots.iter().any(|root| ends.iter().any(|end| Path::new(&format!("{root}{name}{end}")).exists()))
}

/// In the tables of folders a file is named without its folder, and two such names outlived their files.
#[test]
fn every_part_that_the_tables_name_is_in_its_folder() {
    let text = tree::text(Path::new(MAP)).unwrap();
    let (_, tables) = text.split_once("## Every folder").unwrap();
    let mut gone = Vec::new();
    for row in tables.lines().filter(|line| line.starts_with("| `")) {
        let (folder, content) = row.trim_start_matches("| ").split_once(" | ").unwrap();
        let folder = folder.split('`').nth(1).unwrap().trim_end_matches('/');
        let root = ["src/server", "src"].map(|root| format!("{root}/{folder}"));
        let root = root.iter().find(|root| Path::new(root).is_dir()).unwrap();
        let stems: Vec<String> =
            tree::files_with(root, "rs").iter().flat_map(|path| names_in(path)).collect();
        let named = content.split('`').skip(1).step_by(2).filter(|name| is_module(name));
        gone.extend(named.filter(|name| !stems.iter().any(|stem| stem == name)).map(|name| (folder, name)));
    }
    assert!(gone.is_empty(), "{MAP} names what is not in its folder: {gone:?}");
}

fn is_module(words: &str) -> bool {
    words.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// The folders on the way to a file, and the file without its ending.
fn names_in(path: &Path) -> Vec<String> {
    path.with_extension("").iter().map(|name| name.to_string_lossy().into_owned()).collect()
}
