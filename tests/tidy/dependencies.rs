//! What we build on: under licences that `deny.toml` allows, from the registry, by exact entries in `Cargo.lock`.

use std::process::Command;

use serde_json::Value;
use toml::Table;

use crate::tree;

fn packages() -> Vec<Value> {
    let host = Command::new("rustc").arg("-vV").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // What was built is there already, so nothing is asked of the network.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", host])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

#[test]
fn every_licence_is_one_that_we_allow() {
    let deny: Table = tree::text("deny.toml".as_ref()).unwrap().parse().unwrap();
    let allowed: Vec<_> =
        deny["licenses"]["allow"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    for package in packages() {
        let licence = package["license"].as_str().unwrap_or_default();
        assert!(is_allowed(licence, &allowed), "{} is under {licence:?}", package["name"]);
    }
}

#[test]
fn every_package_but_ours_is_from_the_registry() {
    for package in packages() {
        let source = package["source"].as_str();
        let is_right = source
            .map_or(is_ours(package["name"].as_str().unwrap()), |source| source.starts_with("registry+"));
        assert!(is_right, "{} is from {source:?}", package["name"]);
    }
}

/// The facade, and the crates in `src/`.
fn is_ours(name: &str) -> bool {
    name == "tenure" || name.starts_with("tenure-")
}

/// Every advisory that is ignored names a package that is still there, with the reason.
#[test]
fn what_is_ignored_is_still_there_and_has_a_reason() {
    let deny: Table = tree::text("deny.toml".as_ref()).unwrap().parse().unwrap();
    let lock = tree::text("Cargo.lock".as_ref()).unwrap();
    for ignored in deny["advisories"]["ignore"].as_array().unwrap() {
        let reason = ignored["reason"].as_str().unwrap();
        let package = reason.split_whitespace().next().unwrap();
        assert!(lock.contains(&format!("name = \"{package}\"\n")), "{package} is gone: ignore it no more");
        assert!(ignored["id"].as_str().unwrap().starts_with("RUSTSEC-"));
    }
}

/// Judges an SPDX expression: one of what OR joins, all of what AND joins. `/` is an old way to write OR.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    let judged = any_of(&mut rest, allowed);
    judged && rest.is_empty()
}

fn any_of(rest: &mut &[&str], allowed: &[&str]) -> bool {
    let mut judged = all_of(rest, allowed);
    while let ["OR", behind @ ..] = *rest {
        *rest = behind;
        judged |= all_of(rest, allowed);
    }
    judged
}

fn all_of(rest: &mut &[&str], allowed: &[&str]) -> bool {
    let mut judged = one(rest, allowed);
    while let ["AND", behind @ ..] = *rest {
        *rest = behind;
        judged &= one(rest, allowed);
    }
    judged
}

fn one(rest: &mut &[&str], allowed: &[&str]) -> bool {
    match *rest {
        ["(", behind @ ..] => {
            *rest = behind;
            let judged = any_of(rest, allowed);
            *rest = rest.strip_prefix(&[")"]).unwrap_or_default();
            judged
        }
        [name, "WITH", exception, behind @ ..] => {
            *rest = behind;
            allowed.contains(&&*format!("{name} WITH {exception}"))
        }
        [name, behind @ ..] => {
            *rest = behind;
            allowed.contains(name)
        }
        [] => false,
    }
}

#[test]
fn an_expression_is_judged_as_it_is_meant() {
    let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"];
    for right in ["MIT", "GPL-3.0 OR MIT", "Unlicense/MIT", "(MIT OR GPL-3.0) AND Unicode-3.0"] {
        assert!(is_allowed(right, &allowed), "{right}");
    }
    assert!(is_allowed("GPL-3.0 OR Apache-2.0 WITH LLVM-exception OR X", &allowed));
    for wrong in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR GPL-3.0) AND ISC", "MIT )"] {
        assert!(!is_allowed(wrong, &allowed), "{wrong}");
    }
}
