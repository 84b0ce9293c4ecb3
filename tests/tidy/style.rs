//! Style that checks itself. clippy does most of it; here is what clippy cannot.

use std::path::Path;

use crate::tree;

/// A file beyond this has two things in it.
const LONGEST_FILE: usize = 600;
/// Prose is wrapped at this; tables and what is fenced are as wide as they are.
const WIDEST_PROSE: usize = 120;
/// Names that say nothing: whatever is in such a file has a name of its own.
const NAMELESS: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "misc", "manager", "service"];

#[test]
fn no_source_file_is_longer_than_one_thing() {
    for path in tree::files_with("src", "rs") {
        let lines = tree::text(&path).unwrap().lines().count();
        assert!(lines <= LONGEST_FILE, "{} has {lines} lines", path.display());
    }
}

#[test]
fn no_file_or_folder_has_a_name_that_says_nothing() {
    for path in ["src", "tests", "examples", "benches"].into_iter().flat_map(tree::files) {
        let mut names = path.iter().map(|name| Path::new(name).file_stem().unwrap().to_string_lossy());
        assert!(!names.any(|name| NAMELESS.contains(&&*name)), "{}", path.display());
    }
}

/// A module with others below it is `folder/mod.rs`: one habit, so that all of a module is found in one place.
#[test]
fn no_module_stands_beside_its_own_folder() {
    for path in tree::files_with("src", "rs") {
        let folder = path.with_extension("");
        assert!(tree::files_below(&folder, "rs").is_empty(), "{} and {}", path.display(), folder.display());
    }
}

#[test]
fn nothing_is_left_undone_or_left_out() {
    // In pieces, so that this file is none of those that have them.
    let undone = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("db", "g!(")];
    let left_out = concat!("#[ig", "nore");
    for path in
        ["src", "tests", "examples", "benches"].into_iter().flat_map(|dir| tree::files_with(dir, "rs"))
    {
        let text = tree::text(&path).unwrap();
        for word in undone.into_iter().chain([left_out]) {
            assert!(!text.contains(word), "{} has {word}", path.display());
        }
    }
}

#[test]
fn no_file_names_the_machine_it_was_written_on() {
    let places =
        [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];
    for path in tree::files(".") {
        let Some(text) = tree::text(&path) else { continue };
        for place in places {
            assert!(!text.contains(place), "{} names {place}", path.display());
        }
    }
}

#[test]
fn prose_is_wrapped() {
    for path in tree::files_with(".", "md") {
        let text = tree::text(&path).unwrap();
        let mut is_fenced = false;
        for (number, line) in text.lines().enumerate() {
            is_fenced ^= line.starts_with("```");
            let is_prose = !is_fenced && !line.starts_with('|');
            let is_wrapped = line.chars().count() <= WIDEST_PROSE;
            assert!(!is_prose || is_wrapped, "{}:{} is too wide", path.display(), number + 1);
        }
    }
}

#[test]
fn every_link_between_our_documents_leads_somewhere() {
    for path in tree::files_with(".", "md") {
        let text = tree::text(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let target = link.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let place = path.parent().unwrap().join(target);
            assert!(place.exists(), "{} leads to {link}, which is not there", path.display());
        }
    }
}
