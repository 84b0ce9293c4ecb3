//! The Python client, tried by its own tests against this very binary: it is linted, its types are checked, it is
//! packaged, and its tests are run in the short form. `clients/python/README.md` says how the long one is run.
//!
//! `tests/run` installs what is needed, in the versions of `clients/python/tests/requirements.txt`. Nothing is built in
//! the source tree.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../surroundings/mod.rs"]
mod surroundings;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use surroundings::{not_run, say, variable};

/// The folder of the programs that `tests/run` has installed.
struct Tools(PathBuf);

impl Tools {
    /// None, and that is said, where they are not installed.
    fn find(test: &str) -> Option<Self> {
        let usual = || root().join("target/clients-python/venv/bin/python").display().to_string();
        let python = PathBuf::from(variable("TENURE_TEST_PYTHON_CLIENT").unwrap_or_else(usual));
        let tools = Self(python.parent().unwrap().to_owned());
        if tools.0.join("pytest").exists() {
            return Some(tools);
        }
        not_run(test, &format!("{} has no pytest beside it; tests/run installs it", python.display()));
        None
    }

    /// Runs a tool on the package; what it said is shown when it fails.
    #[track_caller]
    fn run(&self, name: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(self.0.join(name));
        command.args(arguments).current_dir(root().join("clients/python"));
        command.env("TENURE_BIN", env!("CARGO_BIN_EXE_tenure")).env("PYTHONDONTWRITEBYTECODE", "1");
        let ended = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let said =
            [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        assert!(ended.status.success(), "{command:?}\n{said}");
        said
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_python_client_is_linted_and_its_types_are_checked() {
    let Some(tools) = Tools::find("the linters of the Python client") else { return };
    tools.run("ruff", &["check", "--no-cache"]);
    tools.run("ruff", &["format", "--check", "--no-cache"]);
    tools.run("mypy", &[]);
}

#[test]
fn the_python_client_is_a_wheel_with_its_types() {
    let Some(tools) = Tools::find("the wheel of the Python client") else { return };
    let wheels = tempfile::tempdir().unwrap();
    let into = wheels.path().display().to_string();
    tools.run("python", &["-m", "build", "--wheel", "--no-isolation", "--outdir", &into]);
    let wheel = std::fs::read_dir(wheels.path()).unwrap().next().unwrap().unwrap().path();
    let files = tools.run("python", &["-m", "zipfile", "--list", &wheel.display().to_string()]);
    assert!(files.contains("tenure/py.typed") && files.contains("tenure/hold.py"), "{files}");
}

#[test]
fn processes_of_the_python_client_share_a_session_for_a_week_and_are_killed_in_between() {
    let Some(tools) = Tools::find("the week of the Python client") else { return };
    let said = tools.run("pytest", &["-s", "tests/test_week.py", "tests/test_crash.py"]);
    for line in said.lines().filter(|line| line.ends_with("replies lost")) {
        say(&format!("python: {line}"));
    }
}

#[test]
fn the_python_client_passes_its_other_tests() {
    let Some(tools) = Tools::find("the tests of the Python client") else { return };
    let others = ["--ignore=tests/test_week.py", "--ignore=tests/test_crash.py"];
    let said = tools.run("pytest", &others);
    for line in said.lines().filter(|line| line.contains("revocation to refusal")) {
        say(&format!("python: {line}"));
    }
}
