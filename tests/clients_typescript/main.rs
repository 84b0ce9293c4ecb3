//! The TypeScript client, tried by its own tests against this very binary: it is compiled, linted and run in the short
//! form. `clients/typescript/README.md` says how the long one is run.
//!
//! `tests/run` installs what is needed, in the versions of the package's lock. Nothing is built in the source tree.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use surroundings::{not_run, say, variable};
use tempfile::TempDir;
use tenure_testing::surroundings;

/// What the package is made of.
const SOURCES: [&str; 9] = [
    "package.json",
    "tsconfig.json",
    "README.md",
    "eslint.config.js",
    ".prettierrc.json",
    ".prettierignore",
    "src",
    "test",
    "examples",
];

/// A copy of the package, with the packages that it needs.
struct Package(TempDir);

impl Package {
    /// None, and that is said, where what it needs is not installed.
    fn copied() -> Option<Self> {
        let usual = || root().join("target/clients-typescript").display().to_string();
        let installed = PathBuf::from(variable("TENURE_TEST_TYPESCRIPT").unwrap_or_else(usual));
        let packages = installed.join("node_modules");
        if !packages.join(".bin/tsc").exists() {
            let missing = packages.display();
            not_run("the TypeScript client", &format!("{missing} is missing; tests/run installs it"));
            return None;
        }
        let package = Self(tempfile::tempdir().unwrap());
        symlink(packages, package.place("node_modules")).unwrap();
        for name in SOURCES {
            copy(&root().join("clients/typescript").join(name), &package.place(name));
        }
        Some(package)
    }

    fn place(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A program of the packages, in the package.
    fn tool(&self, name: &str, arguments: &[&str]) -> Child {
        let program = self.place("node_modules/.bin").join(name);
        self.run(Command::new(program).args(arguments))
    }

    /// The names of its tests.
    fn tests(&self) -> Vec<String> {
        let entries = fs::read_dir(self.place("test")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter_map(|name| name.strip_suffix(".test.ts").map(str::to_owned)).collect()
    }

    /// One of them, which runs beside the others.
    fn test(&self, name: &str) -> Child {
        self.run(Command::new("node").args(["--test", &format!("build/{name}.test.js")]))
    }

    fn run(&self, command: &mut Command) -> Child {
        command.current_dir(self.0.path()).env("TENURE_TEST_ROOT", root());
        command.env("TENURE_TEST_BINARY", env!("CARGO_BIN_EXE_tenure"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

/// Waits for its end; what it said is shown when it failed.
#[track_caller]
fn succeeded(child: Child, what: &str) -> String {
    let ended = child.wait_with_output().unwrap();
    let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(ended.status.success(), "{what}\n{said}");
    said
}

#[test]
fn the_typescript_client_compiles_is_linted_and_passes_its_own_tests() {
    let Some(package) = Package::copied() else { return };
    succeeded(package.tool("tsc", &["--project", "tsconfig.json"]), "tsc");
    let style = package.tool("prettier", &["--check", "src", "test", "examples"]);
    succeeded(package.tool("tsc", &["--project", "test/tsconfig.json"]), "tsc of the tests");
    let lint = package.tool("eslint", &["src", "test"]);
    let tests = package.tests().into_iter().map(|name| (package.test(&name), name)).collect::<Vec<_>>();
    succeeded(style, "prettier");
    succeeded(lint, "eslint");
    for (test, name) in tests {
        report(&succeeded(test, &name));
    }
}

/// Says what was measured, and fails where nothing was tried.
#[track_caller]
fn report(said: &str) {
    assert!(said.contains("# fail 0") && !said.contains("# pass 0\n"), "{said}");
    for line in said.lines().filter(|line| line.ends_with("lost") || line.ends_with(" ms")) {
        say(&format!("typescript: {}", line.trim_start_matches(['#', ' '])));
    }
}
