//! An authority inside a program: no socket, no HTTP, no second process. What the service does is this and a
//! router.
//!
//! An agent gets a session, renews it, and loses it to its owner's veto. At the end the log tells the story.
//!
//! ```text
//! cargo run --example embedded
//! ```

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::error::Error;

use tenure::{
    authority::{Authority, InactiveToken, NewProfile, NewSession, RequestContext, RevocationRequest},
    core::{
        Actor, Position, Seconds,
        command::{RequestedTerms, Revoker},
        session::TokenFault,
    },
    log::EventLog,
    node::{Node, NodeOptions},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let data = tempfile::tempdir()?;
    // Time stands still until we move it, so that half an hour need not pass. Leave `test_clock` out to live in
    // real time.
    let node = Node::open(NodeOptions { test_clock: true, ..NodeOptions::new(data.path()) })?;
    tell(&node).await?;
    print_events(node.authority.log())?;
    node.stop();
    Ok(())
}

async fn tell(node: &Node) -> Result<(), Box<dyn Error>> {
    let authority: &Authority = &node.authority;
    let clock = node.test_clock.as_ref().ok_or("the node was opened with one")?;

    // Whoever holds sessions is a subject; whoever answers for it is its owner.
    let alice = "alice".parse()?;
    let profile = NewProfile { owner_id: Some("alice".parse()?), ..NewProfile::default() };
    authority.register_subject(caller(), "agent-7".parse()?, profile, true).await?;

    // The session's limits are fixed now; no later setting changes them.
    let terms =
        RequestedTerms { ttl: Some(Seconds(3_600)), max_renewals: Some(3), ..RequestedTerms::default() };
    let new = NewSession { terms, ..NewSession::of("agent-7".parse()?) };
    let created = authority.create_session(caller(), new).await?;
    let first = created.token;
    println!("created   {} until {}", created.session.id, created.session.expires_at());

    // A check reads memory and appends nothing.
    let session = authority.introspect(first.expose()).map_err(refused)?;
    println!("live      as {}, {} renewals left", session.subject, session.renewals_left());

    // Before half of the period a renewal is refused, and the refusal is recorded.
    let holder = authority.holder(first.expose()).ok_or("the token is genuine")?;
    let too_early = authority.renew(caller(), &holder, Some("renewal-1")).await;
    println!("refused   {}", too_early.err().ok_or("it was too early")?);

    clock.advance(1_800)?;
    let renewed = authority.renew(caller(), &holder, Some("renewal-1")).await?;
    println!("renewed   until {}", renewed.session.expires_at());

    // The same request again, as after a lost reply: a working token, and no second renewal.
    let repeated = authority.renew(caller(), &holder, Some("renewal-1")).await?;
    assert_eq!(repeated.session.renewal_count(), 1);
    println!("repeated  as after a lost reply: a working token, and still one renewal");

    // From the renewal on only the new token works.
    authority.introspect(renewed.token.expose()).map_err(refused)?;
    let old = authority.introspect(first.expose()).err();
    assert!(matches!(old, Some(InactiveToken::Fault(TokenFault::Superseded, _))));
    println!("the first token is superseded");

    // The owner's veto is a revocation within the reject window.
    let veto = RevocationRequest {
        session_id: session.id,
        by: Revoker::Owner(alice),
        reject_renewal: None,
        reason: Some("not at night".to_owned()),
    };
    let ended = authority.revoke(caller(), veto).await?;
    println!("ended     at {} by {:?}", ended.at, ended.trigger);
    assert!(authority.introspect(renewed.token.expose()).is_err());
    Ok(())
}

/// Who asks. An embedding program names whoever acts through it; this one acts for itself.
const fn caller() -> RequestContext {
    RequestContext::of(Actor::AUTHORITY)
}

fn refused(inactive: InactiveToken) -> String {
    format!("the token is not good: {inactive:?}")
}

fn print_events(log: &dyn EventLog) -> Result<(), Box<dyn Error>> {
    println!("\nthe log");
    for stored in log.read(Position::ZERO, 1_000)? {
        for (position, event) in stored.positions().zip(&stored.commit.events) {
            let session = event.session_id().map(|id| id.to_string()).unwrap_or_default();
            println!("{position:>4}  {:<18} {session}", event.kind().name());
        }
    }
    Ok(())
}
