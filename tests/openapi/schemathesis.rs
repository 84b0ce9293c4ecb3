//! schemathesis tries the running authority by its document: what the document allows is not refused as malformed,
//! what it forbids is, and every answer is as described. What it leaves out, and why, is said in `schemathesis.toml`.

use std::process::Command;

use serde_json::json;

use crate::{
    server::Server,
    surroundings::say,
    tools::{Tools, beside, document, must_succeed},
};

/// So long it goes on trying.
const SECONDS: u32 = 60;

#[test]
fn a_minute_of_schemathesis_finds_no_fault() {
    let Some(tools) = Tools::find("schemathesis") else { return };
    let server = Server::with(&["webhooks.allow_private=true"]);
    server.register("agent", &json!({}));
    let (document, directory) = (document(&server), tempfile::tempdir().unwrap());
    let mut run = Command::new(tools.python("schemathesis"));
    run.arg("--config-file").arg(beside("schemathesis.toml"));
    run.arg("run").arg(document.path()).args(["--url", &format!("http://{}", server.address())]);
    run.args(["--max-time", &SECONDS.to_string(), "--no-color"]);
    run.args(["--header", &format!("Authorization: Bearer {}", server.admin)]);
    run.env("SCHEMATHESIS_HOOKS", "left_out").env("PYTHONPATH", beside(""));
    let said = must_succeed(run.current_dir(directory.path()).env("PYTHONDONTWRITEBYTECODE", "1"));
    say(&format!("schemathesis: {}", said.trim_end().lines().rev().take(6).collect::<Vec<_>>().join(" | ")));
}
