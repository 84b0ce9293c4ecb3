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
