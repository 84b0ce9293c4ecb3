//! Where the tools are, and how one is run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::NamedTempFile;

use crate::{
    server::Server,
    surroundings::{not_run, variable},
};

/// The folder into which `tests/run` has installed the tools.
pub(crate) struct Tools(PathBuf);

impl Tools {
    /// None, and that is said, where they are not installed.
    pub(crate) fn find(test: &str) -> Option<Self> {
        let usual = || concat!(env!("CARGO_MANIFEST_DIR"), "/target/openapi").into();
        let tools = Self(variable("TENURE_TEST_OPENAPI").unwrap_or_else(usual).into());
        let needed = [tools.python("schemathesis"), tools.node("tsc"), tools.node("openapi-typescript")];
        match needed.iter().find(|tool| !tool.exists()) {
            None => Some(tools),
            Some(tool) => {
                not_run(test, &format!("{} is missing; tests/run installs it", tool.display()));
                None
            }
        }
    }

    /// A program of the Python environment.
    pub(crate) fn python(&self, name: &str) -> PathBuf {
        self.0.join("venv/bin").join(name)
    }

    /// A program of the packages of Node.
    pub(crate) fn node(&self, name: &str) -> PathBuf {
        self.packages().join(".bin").join(name)
    }

    /// The packages of Node.
    pub(crate) fn packages(&self) -> PathBuf {
        self.0.join("node/node_modules")
    }
}

/// A file beside the tests.
pub(crate) fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openapi").join(name)
}

/// The document that this server serves, in a file.
pub(crate) fn document(server: &Server) -> NamedTempFile {
    let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
    fs::write(file.path(), server.get("/openapi.json").send().expect(200).body).unwrap();
    file
}

/// Runs a program to its end; what it said is shown when it fails.
#[track_caller]
pub(crate) fn must_succeed(command: &mut Command) -> String {
    let ended = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(ended.status.success(), "{command:?}\n{said}");
    said
}
