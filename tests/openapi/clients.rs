//! Clients that are made from the document alone: each creates a session, renews it, ends it, asks what its token is,
//! and reads lists, in types that its maker took from the document.

use std::{fs, os::unix::fs::symlink, process::Command};

use serde_json::json;

use crate::{
    server::Server,
    tools::{Tools, beside, document, must_succeed},
};

/// A server on which the subjects of the stories are registered.
fn server() -> Server {
    let server = Server::start();
    for subject in ["python-agent", "typescript-agent"] {
        server.register(subject, &json!({ "ownerId": "team:a" }));
    }
    server
}

#[test]
fn a_generated_python_client_lives_through_the_life_of_a_session() {
    let Some(tools) = Tools::find("the generated Python client") else { return };
    let (server, directory) = (server(), tempfile::tempdir().unwrap());
    let client = directory.path().join("tenure_client");
    let document = document(&server);
    let mut generator = Command::new(tools.python("openapi-python-client"));
    // It has a formatter beside it, by the name alone.
    let path = format!("{}:/usr/bin:/bin", tools.python("").display());
    generator.args(["generate", "--meta", "none", "--path"]).arg(document.path());
    must_succeed(generator.arg("--output-path").arg(&client).env("PATH", path));
    let mut story = Command::new(tools.python("python"));
    story.arg(beside("story.py")).arg(format!("http://{}", server.address())).arg(&server.admin);
    let said = must_succeed(story.env("PYTHONPATH", directory.path()).env("PYTHONDONTWRITEBYTECODE", "1"));
    assert!(said.contains("the story is told"), "{said}");
}

#[test]
fn a_generated_typescript_client_compiles_and_lives_through_the_life_of_a_session() {
    let Some(tools) = Tools::find("the generated TypeScript client") else { return };
    let (server, directory) = (server(), tempfile::tempdir().unwrap());
    let document = document(&server);
    let place = |name: &str| directory.path().join(name);
    let mut generator = Command::new(tools.node("openapi-typescript"));
    must_succeed(generator.arg(document.path()).arg("--output").arg(place("schema.d.ts")));
    symlink(tools.packages(), place("node_modules")).unwrap();
    for name in ["story.ts", "tsconfig.json"] {
        fs::copy(beside(name), place(name)).unwrap();
    }
    fs::write(place("package.json"), r#"{ "type": "module" }"#).unwrap();
    must_succeed(Command::new(tools.node("tsc")).arg("--project").arg(directory.path()));
    let mut story = Command::new("node");
    story.arg(place("story.js")).arg(format!("http://{}", server.address())).arg(&server.admin);
    let said = must_succeed(&mut story);
    assert!(said.contains("the story is told"), "{said}");
}
