//! The OpenAPI document in the hands of other people's tools: one that judges it, two that make clients of it, and one
//! that tries the running authority by it. The document is the one that the binary serves; what is made of it is
//! thrown away.
//!
//! `tests/run` installs the tools, in the versions of `requirements.txt` and `package-lock.json` beside this file.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod clients;
mod schemathesis;
mod tools;

use std::process::Command;

use tenure_testing::{server, surroundings};
use tools::{Tools, must_succeed};

#[test]
fn the_document_is_valid_for_a_validator_that_is_not_ours() {
    let Some(tools) = Tools::find("the validator of the OpenAPI document") else { return };
    let served = server::Server::start();
    let document = tools::document(&served);
    must_succeed(Command::new(tools.python("openapi-spec-validator")).arg(document.path()));
}
