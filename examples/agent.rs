//! An agent that holds a session: it works with the token of the moment, uses its budget, and stops when its owner says
//! so. Renewals happen behind its back.
//!
//! ```text
//! tenure subject put agent-7 --kind agent --owner alice
//! tenure run --session-file agent-7.session --subject agent-7 --ttl 1h -- cargo run --example agent
//! ```
//!
//! While it runs, `tenure session revoke ID` in another terminal is the veto.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::{error::Error, time::Duration};

use tenure::client::{Client, Holder, Options, SessionFile, Use};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let path =
        std::env::var_os("TENURE_SESSION_FILE").ok_or("run it by `tenure run`, see the top of this file")?;
    let client = Client::new(&SessionFile::at(&path).read()?.url)?;
    let options = Options { check_every: Some(Duration::from_secs(5)) };
    let session = Holder::open_with(client, &path, options)?;
    println!("session {} until {}", session.grant().session_id, session.grant().expires_at);

    tokio::select! {
        end = session.ended() => println!("over: {end}"),
        outcome = work(&session) => outcome?,
    }
    Ok(())
}

/// Three pieces of work. Each is recorded before it is done, and not done if the session's constraints forbid it.
async fn work(session: &Holder) -> Result<(), Box<dyn Error>> {
    for piece in 1..=3 {
        let usage = session.record_use(&Use::of("work").amount("1".parse()?)).await?;
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
