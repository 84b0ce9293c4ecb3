//! An agent that holds a session: it works with the token of the moment, uses its budget, and stops when its owner says
//! so. Renewals happen behind its back.
//!
//! With a server that was started by `tenure serve`, and `tenure` in the `PATH`:
//!
//! ```text
//! export TENURE_KEY="$(cat tenure-data/admin.key)"
//! tenure subject put agent-7 --kind agent --owner alice
//! tenure run --session-file agent-7.session --subject agent-7 --ttl 1h -- cargo run --example agent
//! ```
//!
//! It works for half a minute. Meanwhile `tenure session revoke ID`, with the id that it says first, is the veto: the
//! next use is refused, or the session is found over within 5 s. Give it less to do by a number: `… --example agent 3`.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::{env, error::Error, process::ExitCode, time::Duration};

use tenure::client::{Client, HandleOptions, NewUse, SessionFile, SessionHandle};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let path =
        env::var_os("TENURE_SESSION_FILE").ok_or("run it by `tenure run`, see the top of this file")?;
    let pieces = env::args().nth(1).map_or(Ok(30), |pieces| pieces.parse())?;
    let client = Client::new(&SessionFile::at(&path).read()?.url)?;
    let options = HandleOptions { check_every: Some(Duration::from_secs(5)) };
    let session = SessionHandle::open_with(client, &path, options)?;
    println!("session {} until {}", session.grant().session_id, session.grant().expires_at);

    let over = tokio::select! {
        end = session.ended() => end.to_string(),
        outcome = work(&session, pieces) => match outcome {
            Ok(()) => return Ok(ExitCode::SUCCESS),
            Err(refused) => refused.to_string(),
        },
    };
    println!("over: {over}");
    Ok(ExitCode::FAILURE)
}

/// So many pieces of work. Each is recorded before it is done, and not done if the session's constraints forbid it.
async fn work(session: &SessionHandle, pieces: u32) -> Result<(), Box<dyn Error>> {
    for piece in 1..=pieces {
        let usage = session.record_use(&NewUse::of("work").amount("1".parse()?)).await?;
        // A service gets the token of this moment, never one that was kept.
        let authorization = format!("Bearer {}", session.token().expose());
        println!(
            "piece {piece}: {} uses so far, {} bytes of credential",
            usage.transactions,
            authorization.len()
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
