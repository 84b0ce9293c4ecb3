//! `tenure session …`

mod access_token;
mod cleanup;
mod create;
mod list;
mod lock;
mod renew;
mod revoke;
mod show;
mod story;
mod token;
mod usage;

use clap::Subcommand;
use serde_json::Value;

use tenure_core::SessionId;

use crate::cli::{
    connection::client::ApiClient,
    context::GlobalArgs,
    failure::CommandError,
    files::secret::Secret,
    output::{Column, plain},
};

pub(crate) use self::create::TermsArgs;

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Create a session; its token is shown once
    Create(Box<create::CreateArgs>),
    /// List sessions, newest first
    #[command(alias = "ls")]
    List(list::ListArgs),
    /// Show a session
    Show(show::ShowArgs),
    /// Show what happened to a session, by whom and why
    Story(story::StoryArgs),
    /// Renew a session: a new token takes the old one's place
    Renew(renew::RenewArgs),
    /// Print the current token of a session file
    Token(token::TokenArgs),
    /// Hold the lock of a session file until stdin is closed
    Lock(lock::LockArgs),
    /// End a session, veto its renewal, or end all sessions that match
    Revoke(Box<revoke::RevokeArgs>),
    /// Use a session, if its constraints allow it
    #[command(visible_alias = "use")]
    Usage(usage::UsageArgs),
    /// Mint an access token, which services verify offline with a public key
    AccessToken(access_token::AccessToken),
    /// Record which sessions have expired; the server does so every second
    Cleanup,
}

impl SessionCommand {
    pub(crate) fn run(self, global: &GlobalArgs) -> Result<(), CommandError> {
        let named = global.named();
        match self {
            // These two ask no server, and need neither its address nor a key.
            Self::Token(token) => token.run(global.output()),
            Self::Lock(lock) => lock.run(global.output()),
            Self::Create(create) => create.run(&global.context()?, named),
            Self::List(list) => list.run(&global.context()?),
            Self::Show(show) => show.run(&global.context()?, named),
            Self::Story(story) => story.run(&global.context()?),
            Self::Renew(renew) => renew.run(&global.context()?, named),
            Self::Revoke(revoke) => revoke.run(&global.context()?, named),
            Self::Usage(usage) => usage.run(&global.context()?, named),
            Self::AccessToken(access_token) => access_token.run(&global.context()?, named),
            Self::Cleanup => cleanup::run(&global.context()?),
        }
    }
}

/// A line of a list of sessions.
pub(crate) const COLUMNS: &[Column] = &[
    Column::id("SESSION", "sessionId"),
    Column::plain("SUBJECT", "subjectId"),
    Column::name("NAME", "subjectName").first_to_go(),
    Column::plain("OWNER", "ownerId").first_to_go(),
    Column::state("STATUS", "status"),
    Column::moment("CREATED", "createdAt"),
    Column::session_end("ENDS"),
    Column::part("RENEWED", "renewalCount", "maxRenewals"),
    Column::moment("NEXT RENEWAL", "renewAt").only_wide(),
    Column::plain("DEVICE", "device").only_wide(),
];

/// What a session shows first.
pub(crate) const DETAILS: &[Column] = &[
    Column::plain("", "sessionId"),
    Column::plain("", "subjectId"),
    Column::plain("", "subjectName"),
    Column::plain("", "ownerId"),
    Column::plain("", "device"),
    Column::state("", "status"),
    Column::session_end(""),
    Column::plain("", "mode"),
    Column::moment("", "createdAt"),
    Column::moment("", "renewedAt"),
    Column::end("", "expiresAt"),
    Column::end("", "absoluteExpiresAt"),
    Column::moment("", "renewAt"),
    Column::plain("", "renewalCount"),
    Column::plain("", "maxRenewals"),
    Column::plain("", "renewalsLeft"),
    Column::span("ttl"),
    Column::span("expiresIn"),
    Column::span("idleTimeout"),
    Column::moment("", "lastSeenAt"),
    Column::plain("", "onReuse"),
    Column::moment("", "revokedAt"),
    Column::plain("", "revokedTrigger"),
    Column::plain("", "revokedReason"),
    Column::plain("", "constraints.maxAmountPerTx"),
    Column::plain("", "constraints.maxTotalAmount"),
    Column::plain("", "constraints.maxTransactions"),
    Column::plain("", "constraints.allowedOperations"),
    Column::plain("", "constraints.allowedDestinations"),
    Column::plain("", "usage.transactions"),
    Column::plain("", "usage.totalAmount"),
    Column::moment("", "usage.lastAt"),
    Column::moment("", "asOfTime"),
];

/// How much of its budget a session has used, such as `30 of 100 spent, 1 of 5 uses`; `None` if it has no budget.
fn budget(session: &Value) -> Option<String> {
    let part = |used: &str, most: &str, what: &str| {
        let (used, most) = (&session["usage"][used], &session["constraints"][most]);
        (!most.is_null()).then(|| format!("{} of {} {what}", plain(used), plain(most)))
    };
    let spent = part("totalAmount", "maxTotalAmount", "spent");
    let told: Vec<_> = spent.into_iter().chain(part("transactions", "maxTransactions", "uses")).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// The token and the session of a reply that must have both.
fn token_in(client: &ApiClient, reply: &Value) -> Result<(Secret, SessionId), CommandError> {
    match (reply["token"].as_str(), reply["sessionId"].as_str().and_then(|id| id.parse().ok())) {
        (Some(token), Some(id)) => Ok((Secret::new(token), id)),
        _ => Err(client.strange(200, "the reply has no token")),
    }
}

/// The reply without its token, which is in a file now.
fn without_token(mut reply: Value) -> Value {
    reply["token"] = Value::Null;
    reply
}
