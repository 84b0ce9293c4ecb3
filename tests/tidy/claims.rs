//! The pages that say what holds: a test that they name is there, and what they say is held names one.

use crate::tree;

const THREAT_MODEL: &str = "docs/threat-model.md";
const STANDARDS: &str = "docs/standards.md";

fn page(path: &str) -> String {
    tree::text(path.as_ref()).unwrap()
}

/// What a text names as `tests/folder/file.rs::name` or `src/file.rs::name`.
fn named(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let spans = text.split('`').skip(1).step_by(2);
    spans.filter_map(|span| span.split_once("::")).filter(|(path, _)| path.contains('/'))
}

/// Whether the file has a test of this name: a function with an attribute that makes it one.
fn is_test_of(source: &str, name: &str) -> bool {
    let Some((before, _)) = source.split_once(&format!("fn {name}(")) else { return false };
    // First comes what stands before `fn` on its own line.
    let mut attributes = before.rsplit('\n').skip(1).map(str::trim).take_while(|line| line.starts_with("#["));
    attributes.any(|line| line == "#[test]" || line.starts_with("#[tokio::test"))
}

/// The rows of all tables, without their heads, as cells.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines: Vec<_> = text.lines().collect();
    let is_row = |at: usize| lines[at].starts_with('|') && !lines[at].starts_with("|--");
    let is_head = |at: usize| lines.get(at + 1).is_some_and(|next| next.starts_with("|--"));
    let rows = (0..lines.len()).filter(|at| is_row(*at) && !is_head(*at));
    rows.map(|at| lines[at].trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn every_test_that_a_page_names_is_there() {
    for path in [THREAT_MODEL, STANDARDS] {
        let text = page(path);
        assert!(named(&text).count() > 20, "{path} names no tests");
        for (file, name) in named(&text) {
            let source = std::fs::read_to_string(file).unwrap_or_else(|_| panic!("{path}: no file {file}"));
            assert!(is_test_of(&source, name), "{path}: {file} has no test {name}");
        }
    }
}

#[test]
fn what_the_threat_model_says_is_held_names_a_test() {
    for row in rows(&page(THREAT_MODEL)) {
        assert!(named(row.last().unwrap()).next().is_some(), "{row:?}");
    }
}

#[test]
fn every_row_of_the_standards_is_judged_and_what_is_met_says_where_to_see_it() {
    for row in rows(&page(STANDARDS)) {
        let verdict = row[row.len() - 3];
        assert!(["met", "partly", "**not**", "does not apply"].contains(&verdict), "{row:?}");
        let place = row.last().unwrap();
        let is_shown = named(place).next().is_some() || place.contains("](");
        assert!(is_shown || !["met", "partly"].contains(&verdict), "{row:?}");
    }
}
