//! Which files of the API's folder use each other. A circle of many is one file that nobody can read by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::tree;

const ROOT: &str = "src/server/http";
/// A module and its part may know each other.
const MOST: usize = 2;

type Module = Vec<String>;

#[test]
fn no_more_than_two_files_of_the_api_use_each_other() {
    let uses = uses_by_module();
    assert!(uses.len() > 60 && uses.values().flatten().count() > 200, "the uses were read");
    let reached: BTreeMap<_, _> = uses.keys().map(|module| (module, reach(&uses, module))).collect();
    let circle_of = |module: &Module| -> Vec<String> {
        let there = reached[module].iter().filter(|other| reached[*other].contains(module));
        there.map(|other| other.join("/")).collect()
    };
    let circles: BTreeSet<_> = uses.keys().map(circle_of).filter(|circle| circle.len() > MOST).collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn the_reading_of_uses_is_right() {
    let text = "use super::{a::B, c};\nfn f() { self::d::e(); crate::http::g::h(); }\nuse crate::http::{i, j::{K, l}};";
    let of = |text: &str| paths_in(text).join(" ");
    assert_eq!(
        of(text),
        "super::a::B super::c crate::http::i crate::http::j::K crate::http::j::l self::d::e crate::http::g::h"
    );
}

/// The modules of the folder, each with those that it uses.
fn uses_by_module() -> BTreeMap<Module, BTreeSet<Module>> {
    let files = tree::files_with(ROOT, "rs");
    let modules: BTreeMap<Module, String> =
        files.iter().map(|path| (module_of(path), without_tests(&tree::text(path).unwrap()))).collect();
    let target = |from: &Module, path: &str| {
        let parts: Vec<&str> = path.split("::").collect();
        let (mut at, rest) = match parts[0] {
            "crate" => (Vec::new(), &parts[2..]),
            "self" => (from.clone(), &parts[1..]),
            _ => {
                let up = parts.iter().take_while(|part| **part == "super").count();
                (from[..from.len().checked_sub(up)?].to_vec(), &parts[up..])
            }
        };
        for part in rest {
            at.push((*part).to_owned());
            if !modules.contains_key(&at) {
                at.pop();
                break;
            }
        }
        (!at.is_empty() && at != *from).then_some(at)
    };
    let used = |(module, text): (&Module, &String)| {
        let paths = paths_in(text);
        (module.clone(), paths.iter().filter_map(|path| target(module, path)).collect())
    };
    modules.iter().map(used).collect()
}

fn module_of(path: &Path) -> Module {
    let inner = path.strip_prefix(ROOT).unwrap().with_extension("");
    let parts = inner.iter().map(|part| part.to_string_lossy().into_owned());
    parts.filter(|part| part != "mod").collect()
}

/// Every path that begins at a module of ours, those of `use` spread out.
fn paths_in(text: &str) -> Vec<String> {
    let (mut paths, mut others) = (Vec::new(), String::new());
    let mut statements = text.split("use ");
    others.push_str(statements.next().unwrap_or_default());
    for statement in statements {
        let (tree, rest) = statement.split_once(';').unwrap_or((statement, ""));
        spread("", tree, &mut paths);
        others.push_str(rest);
    }
    let words = others.split(|letter: char| !(letter.is_alphanumeric() || "_:".contains(letter)));
    paths.extend(words.map(str::to_owned));
    paths.retain(|path| ["super::", "self::", "crate::http::"].iter().any(|start| path.starts_with(start)));
    paths
}

/// `a::{b, c::d}` as `a::b` and `a::c::d`.
fn spread(before: &str, tree: &str, paths: &mut Vec<String>) {
    let (mut depth, mut begin) = (0, 0);
    let mut part = |text: &str| match text.trim().split_once('{') {
        Some((start, inner)) => {
            let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
            spread(&format!("{before}{}", start.trim()), inner, paths);
        }
        None if text.trim().is_empty() => {}
        None => paths.push(format!("{before}{}", text.split_whitespace().next().unwrap_or_default())),
    };
    for (at, letter) in tree.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                part(&tree[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    part(&tree[begin..]);
}

/// Everything that a module uses, and what that uses, and so on.
fn reach(uses: &BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<Module> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(module) = open.pop() {
        let next = uses[module].iter().filter(|next| reached.insert((*next).clone()));
        open.extend(next);
    }
    reached
}

fn without_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod").next().unwrap_or_default();
    code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}
