//! Which files use each other. A circle of many is one file that nobody can read by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{arrows::is_test, tree};

/// A module and its part may know each other.
const MOST: usize = 2;

/// The crates, each with the beginning of its paths.
const CRATES: [(&str, &str); 12] = [
    ("src/protocol", "crate::"),
    ("src/files", "crate::"),
    ("src/threads", "crate::"),
    ("src/http_client", "crate::"),
    ("src/core", "crate::"),
    ("src/log", "crate::"),
    ("src/audit", "crate::"),
    ("src/client", "crate::"),
    ("src/verify", "crate::"),
    ("src/server", "crate::"),
    ("src/cli", "crate::cli::"),
    ("tests/testing", "crate::"),
];

type Module = Vec<String>;
type Uses = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn no_more_than_two_files_of_the_api_use_each_other() {
    let uses = uses_by_module("src/server/http", "crate::http::");
    assert!(uses.len() > 60 && uses.values().flatten().count() > 200, "the uses were read");
    let circles = circles(&uses);
    assert!(circles.is_empty(), "{circles:#?}");
}

/// Circles that are left, each by one of its files: a browser's request is answered with the form to sign in, and each
/// page says whose request it answers.
const LEFT: [&str; 1] = ["console/request"];

/// What is below a module may use it: it is where a part finds the whole that it is of.
#[test]
fn no_more_than_two_files_of_a_crate_use_each_other() {
    let mut read = 0;
    for (root, prefix) in CRATES {
        let mut uses = uses_by_module(root, prefix);
        for (module, used) in &mut uses {
            used.retain(|other| !module.starts_with(other));
            read += used.len();
        }
        let mut circles = circles(&uses);
        circles.retain(|circle| !circle.iter().any(|file| LEFT.contains(&file.as_str())));
        assert!(circles.is_empty(), "{root}: {circles:#?}");
    }
    assert!(read > 2_000, "only {read} uses were read");
}

fn circles(uses: &Uses) -> BTreeSet<Vec<String>> {
    let reached: BTreeMap<_, _> = uses.keys().map(|module| (module, reach(uses, module))).collect();
    let circle_of = |module: &Module| -> Vec<String> {
        let there = reached[module].iter().filter(|other| reached[*other].contains(module));
        there.map(|other| other.join("/")).collect()
    };
    uses.keys().map(circle_of).filter(|circle| circle.len() > MOST).collect()
}

#[test]
fn the_reading_of_uses_is_right() {
    let text = "use super::{a::B, c};\nfn f() { self::d::e(); crate::http::g::h(); }\nuse crate::http::{i, j::{K, l}};";
    let starts = ["super::", "self::", "crate::http::"].map(str::to_owned);
    let of = |text: &str| paths_in(text, &starts).join(" ");
    assert_eq!(
        of(text),
        "super::a::B super::c crate::http::i crate::http::j::K crate::http::j::l self::d::e crate::http::g::h"
    );
    let shown: Vec<_> = use_trees("pub(crate) use a::b;\nuse c;\npub use self::{d, e};").collect();
    assert_eq!(shown, [(true, "a::b"), (false, "c"), (true, "self::{d, e}")]);
}

/// The modules of the folder, each with those that it uses. What a module only passes on is used of where it is.
fn uses_by_module(root: &str, prefix: &str) -> Uses {
    let files = tree::files_with(root, "rs").into_iter().filter(|path| !is_test(path));
    let texts = files.map(|path| (module_of(root, &path), without_tests(&tree::text(&path).unwrap())));
    let folder = Folder { texts: texts.collect(), prefix };
    let passed_on = folder.texts.keys().map(|module| (module, folder.passed_on(module))).collect();
    let used = |module: &Module| {
        let paths = folder.paths(module, &without_shown(&folder.texts[module]));
        let found =
            paths.into_iter().filter_map(|path| folder.holder(followed(path, &passed_on, &folder, 0)));
        (module.clone(), found.filter(|used| used != module).collect())
    };
    folder.texts.keys().map(used).collect()
}

/// The modules of a folder, with their code.
struct Folder<'a> {
    texts: BTreeMap<Module, String>,
    /// How paths from its root begin.
    prefix: &'a str,
}

impl Folder<'_> {
    /// What a text of this module names, as paths from the root of the folder.
    fn paths(&self, module: &Module, text: &str) -> Vec<Module> {
        let below =
            self.texts.keys().filter(|other| other.len() == module.len() + 1 && other.starts_with(module));
        let below = below.map(|other| format!("{}::", other.last().unwrap()));
        let own = ["super::", "self::", self.prefix].map(str::to_owned);
        let starts: Vec<_> = own.into_iter().chain(below).collect();
        paths_in(text, &starts).iter().filter_map(|path| self.resolved(module, path)).collect()
    }

    fn resolved(&self, from: &Module, path: &str) -> Option<Module> {
        let named = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
        if let Some(rest) = path.strip_prefix(self.prefix) {
            return Some(named(rest));
        }
        let parts = named(path);
        let up = parts.iter().take_while(|part| *part == "super").count();
        let is_self = usize::from(parts[0] == "self");
        Some([&from[..from.len().checked_sub(up)?], &parts[up + is_self..]].concat())
    }

    /// The names that a module passes on, and where they are.
    fn passed_on(&self, module: &Module) -> BTreeMap<String, Module> {
        let shown = use_trees(&self.texts[module]).filter(|(is_shown, _)| *is_shown);
        let paths = shown.flat_map(|(_, tree)| self.paths(module, &format!("use {tree};")));
        paths.filter_map(|path| Some((path.last()?.clone(), path))).collect()
    }

    /// The module that a path leads into.
    fn holder(&self, mut path: Module) -> Option<Module> {
        while !path.is_empty() && !self.texts.contains_key(&path) {
            path.pop();
        }
        (!path.is_empty()).then_some(path)
    }
}

fn followed(
    path: Module,
    passed_on: &BTreeMap<&Module, BTreeMap<String, Module>>,
    folder: &Folder<'_>,
    steps: usize,
) -> Module {
    let step = (0..path.len()).find_map(|at| {
        let target = passed_on.get(&path[..at].to_vec())?.get(&path[at])?;
        (!folder.texts.contains_key(&path[..=at])).then(|| [target, &path[at + 1..]].concat())
    });
    match step {
        // Names may be passed on from module to module, and two that share a name must not go round in circles.
        Some(next) if steps < 8 && next != path => followed(next, passed_on, folder, steps + 1),
        Some(_) | None => path,
    }
}

fn module_of(root: &str, path: &Path) -> Module {
    let inner = path.strip_prefix(root).unwrap().with_extension("");
    let parts = inner.iter().map(|part| part.to_string_lossy().into_owned());
    parts.filter(|part| !["mod", "lib"].contains(&part.as_str())).collect()
}

/// The text without what it passes on.
fn without_shown(text: &str) -> String {
    let shown: Vec<&str> = use_trees(text).filter(|(is_shown, _)| *is_shown).map(|(_, tree)| tree).collect();
    shown.iter().fold(text.to_owned(), |text, tree| text.replace(&format!("use {tree};"), ""))
}

/// What each `use` names, and whether it is passed on.
fn use_trees(text: &str) -> impl Iterator<Item = (bool, &str)> {
    let ends: Vec<usize> = text.match_indices("use ").map(|(at, found)| at + found.len()).collect();
    ends.into_iter().map(|end| {
        let before = text[..end - "use ".len()].rsplit('\n').next().unwrap_or_default();
        (before.trim_start().starts_with("pub"), text[end..].split(';').next().unwrap_or_default())
    })
}

/// Every path that begins so, those of `use` spread out.
fn paths_in(text: &str, starts: &[String]) -> Vec<String> {
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
    paths.retain(|path| starts.iter().any(|start| path.starts_with(start.as_str())));
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
fn reach(uses: &Uses, from: &Module) -> BTreeSet<Module> {
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
