//! Which commit this is, for `--version`: from `TENURE_COMMIT`, the package, or git; a build without any of them says the
//! version alone.

use std::{env, fs, process::Command};

fn main() {
    println!("cargo:rerun-if-env-changed=TENURE_COMMIT");
    println!("cargo:rerun-if-changed=build.rs");
    let version = env!("CARGO_PKG_VERSION");
    let commit = given().or_else(of_package).or_else(of_git);
    let told = commit.map_or_else(|| version.to_owned(), |commit| format!("{version} ({commit})"));
    println!("cargo:rustc-env=TENURE_VERSION={told}");
}

/// Whoever packages it knows.
fn given() -> Option<String> {
    short(env::var_os("TENURE_COMMIT")?.to_str()?)
}

/// `cargo package` writes it down.
fn of_package() -> Option<String> {
    let text = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    short(text.split("\"sha1\"").nth(1)?.split('"').nth(1)?)
}

fn of_git() -> Option<String> {
    // The log of HEAD changes with each commit, wherever the work tree keeps it.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    // Not the repository of something that has this as a part.
    if !git(&["rev-parse", "--show-prefix"]).unwrap_or_default().is_empty() {
        return None;
    }
    if fs::exists(&log).unwrap_or(false) {
        println!("cargo:rerun-if-changed={log}");
    }
    short(&git(&["rev-parse", "HEAD"])?)
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// Nothing but a hexadecimal name of a commit.
fn short(commit: &str) -> Option<String> {
    let commit = commit.trim();
    let is_one = commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| commit[..commit.len().min(12)].to_owned())
}
