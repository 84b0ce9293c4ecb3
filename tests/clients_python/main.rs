//! The Python client, tried by its own tests against this very binary: it is linted, its types are checked, it is
//! packaged, and its tests are run in the short form. `clients/python/README.md` says how the long one is run.
//!
//! `tests/run` installs what is needed, in the versions of `clients/python/tests/requirements.txt`. Nothing is built in
//! the source tree.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use surroundings::{not_run, say, variable};
use tenure_testing::surroundings;

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

    /// Runs its own tests; what they measured is shown.
    #[track_caller]
    fn test(&self, which: &str) {
        let arguments: Vec<_> = ["-s"].into_iter().chain(which.split(' ')).collect();
        let said = self.run("pytest", &arguments);
        for line in said.lines().filter(|line| line.ends_with(" lost") || line.ends_with(" s")) {
            say(&format!("python: {}", line.trim_start_matches('.')));
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_python_client_is_linted_and_its_types_are_checked() {
    let Some(tools) = Tools::find("the linters of the Python client") else { return };
    let page = std::fs::read_to_string(root().join("clients/python/README.md")).unwrap();
    let line = page.lines().find(|line| line.starts_with("ruff check")).unwrap();
    for command in line.split(" && ").filter(|command| *command != "pytest") {
        let words: Vec<_> = command.split(' ').collect();
        let no_cache = if words[0] == "ruff" { &["--no-cache"][..] } else { &[] };
        tools.run(words[0], &[&words[1..], no_cache].concat());
    }
}

#[test]
fn the_python_client_is_a_wheel_that_installs_with_its_types() {
    let Some(tools) = Tools::find("the wheel of the Python client") else { return };
    let place = tempfile::tempdir().unwrap();
    let into = place.path().display().to_string();
    tools.run("python", &["-m", "build", "--wheel", "--no-isolation", "--outdir", &into]);
    let wheel = std::fs::read_dir(&place).unwrap().next().unwrap().unwrap().path().display().to_string();
    tools.run("python", &["-m", "pip", "install", "-q", "--no-deps", "--target", &into, &wheel]);
    let import = format!(
        "import sys; sys.path.insert(0, {into:?}); import tenure, tenure.fastapi; print(tenure.__file__)"
    );
    let found = tools.run("python", &["-P", "-c", &import]);
    assert_eq!(Path::new(found.trim()), place.path().join("tenure/__init__.py"));
    assert!(place.path().join("tenure/py.typed").exists());
}

#[test]
fn processes_of_the_python_client_share_a_session_for_a_week_and_are_killed_in_between() {
    let Some(tools) = Tools::find("the week of the Python client") else { return };
    tools.test("tests/test_week.py tests/test_crash.py");
}

#[test]
fn the_python_client_holds_sessions_hears_of_their_ends_and_does_what_its_pages_say() {
    let Some(tools) = Tools::find("the holder of the Python client") else { return };
    tools.test("tests/test_hold.py tests/test_push.py tests/test_pages.py");
}

#[test]
fn the_python_client_passes_its_other_tests() {
    let Some(tools) = Tools::find("the other tests of the Python client") else { return };
    let those = ["week", "crash", "hold", "push", "pages"];
    tools.test(&those.map(|name| format!("--ignore=tests/test_{name}.py")).join(" "));
}
