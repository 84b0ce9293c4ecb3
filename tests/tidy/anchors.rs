//! Links to a section of a page lead to a heading that is there.

use std::collections::BTreeSet;

use crate::tree;

/// A heading was renamed, and a link to it from another page opened that page at its top.
#[test]
fn every_link_to_a_section_leads_to_its_heading() {
    let mut count = 0;
    for path in tree::files_with(".", "md") {
        let text = prose(&tree::text(&path).unwrap());
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        for (page, anchor) in
            links.filter(|link| !link.contains("://")).filter_map(|link| link.split_once('#'))
        {
            let target = if page.is_empty() { path.clone() } else { path.parent().unwrap().join(page) };
            let headings = anchors(&prose(&tree::text(&target).unwrap()));
            assert!(
                headings.contains(anchor),
                "{} leads to {page}#{anchor}, which is not there",
                path.display()
            );
            count += 1;
        }
    }
    assert!(count > 50, "{count} links");
}

/// A page without its fenced blocks.
fn prose(text: &str) -> String {
    let mut is_fenced = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        !is_fenced && !is_fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The names that a forge gives to the headings: lower case, no punctuation, `-` for a blank.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let headings = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let kept = |c: &char| c.is_alphanumeric() || "-_ ".contains(*c);
    headings.map(|heading| heading.chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}
