//! The `tenure` command: the authority itself, and its command line client.
//!
//! Nothing happens here but two calls: [`tenure::process`] keeps what is secret from others, and [`tenure::cli`] reads the command line, runs one command and says how
//! the process ends.

use std::process::ExitCode;

/// Requests are made on one thread and freed on another, which the system's allocator does slowly.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tenure::process::harden();
    tenure::cli::main(std::env::args_os())
}
