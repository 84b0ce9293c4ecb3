//! A service that takes Tenure's tokens: orders are read with access tokens, which are verified here, without asking
//! anyone; payments are made with session tokens, about which the authority is asked each time.
//!
//! ```text
//! cargo run --example protected_service -- http://127.0.0.1:7300 verifier.key 127.0.0.1:8080
//! ```
//!
//! `verifier.key` holds an API key of the role `verifier`. `docs/verify.md` goes through it.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

// begin
use std::{env, error::Error, fs};

use axum::{
    Extension, Router,
    http::StatusCode,
    routing::{get, post},
};
use tenure::verify::{AuthorityConnection, Introspection, Principal, ProtectLayer, Verifier, VerifierConfig};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let [authority, key_file, listen] = arguments()?;
    let connection = AuthorityConnection::to(&authority, fs::read_to_string(key_file)?.trim())?;

    // Access tokens of this authority that were made for us.
    let verifier = Verifier::new(VerifierConfig::of("tenure").for_audience("orders"))?;
    // It is kept as long as the service runs. Without it every token is refused.
    let _follower = verifier.follow(connection.clone());

    let orders = Router::new()
        .route("/orders", get(orders))
        .layer(ProtectLayer::with_verifier(verifier.clone()).require_scope("orders:read")?);
    // What must not be done a moment after a revocation asks the authority, each time.
    let payments = Router::new()
        .route("/payments", post(pay))
        .layer(ProtectLayer::with_introspection(Introspection::new(connection)).require_scope("payments")?);
    // No requests should come before we can answer them.
    let health = Router::new().route("/ready", get(async move || ready(&verifier)));

    let listener = TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, orders.merge(payments).merge(health)).await?;
    Ok(())
}

async fn orders(Extension(holder): Extension<Principal>) -> String {
    format!("the orders of {}\n", holder.subject)
}

async fn pay(Extension(holder): Extension<Principal>) -> String {
    format!("paid by {}, for whom {:?} answers\n", holder.subject, holder.owner)
}

fn ready(verifier: &Verifier) -> StatusCode {
    if verifier.status().is_fresh { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
// end

fn arguments() -> Result<[String; 3], &'static str> {
    let given: Vec<String> = env::args().skip(1).collect();
    given.try_into().map_err(|_| "protected_service AUTHORITY KEY_FILE LISTEN")
}
