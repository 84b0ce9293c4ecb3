//! The commands: a file or folder for each, named as it is typed. What is listed here is all that there is.

mod audit;
mod backup;
mod bench;
mod clock;
mod cluster;
pub(super) mod completions;
mod context;
mod credential;
mod dev;
mod doctor;
mod events;
mod introspect;
mod keys;
mod man;
mod restore;
mod run;
mod serve;
pub(super) mod session;
mod subject;
mod veto;
mod watch;
mod webhook;
mod whoami;

use clap::Subcommand;

use super::{
    context::GlobalArgs,
    failure::{CommandError, ExitStatus},
};

#[derive(Debug, Subcommand)]
pub(super) enum CliCommand {
    /// Run the authority
    Serve(serve::ServeArgs),
    /// Start a temporary authority; --demo shows what it does
    Dev(dev::DevArgs),
    /// Manage subjects: register, change, suspend, log out, erase
    #[command(subcommand)]
    Subject(subject::SubjectCommand),
    /// Manage sessions: create, list, renew, use, revoke, explain
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Veto a renewal, or list those that can be vetoed
    Veto(veto::VetoArgs),
    /// Run a command, and keep a session renewed for it
    Run(Box<run::RunArgs>),
    /// Check whether tokens are active and who holds them
    Introspect(introspect::IntrospectArgs),
    /// Read the recorded events
    Events(events::EventsArgs),
    /// Replay, explain and prove the history
    #[command(subcommand)]
    Audit(Box<audit::AuditCommand>),
    /// Show each renewal, refusal and end as it happens
    Watch(watch::WatchArgs),
    /// Manage API keys
    #[command(subcommand)]
    Credential(credential::CredentialCommand),
    /// List the public keys of access tokens; rotate token keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Manage webhooks
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// Show the server, and the role, name and owner of the key
    Whoami,
    /// Name servers and their key files
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// Show a server's test clock, or move it
    Clock(clock::ClockArgs),
    /// Make the streams of a log on several machines, or look at them
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Check the server, the key and the clocks; show the settings
    Doctor(doctor::DoctorArgs),
    /// Back up a running server, or the data of a stopped one
    Backup(backup::BackupArgs),
    /// Make a data directory from a backup
    Restore(Box<restore::RestoreArgs>),
    /// Measure how fast the authority is on this host
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write a page for each command
    Man(man::ManArgs),
}

impl CliCommand {
    /// What the process is to exit with when nothing failed.
    pub(super) fn run(self, global: &GlobalArgs) -> Result<u8, CommandError> {
        let done = match self {
            Self::Run(run) => return run.run(global),
            Self::Serve(args) => serve::run(&args),
            Self::Dev(dev) => dev.run(global.output()),
            Self::Subject(subject) => subject.run(&global.context()?),
            Self::Session(session) => session.run(global),
            Self::Veto(veto) => veto.run(&global.context()?),
            Self::Whoami => whoami::run(global),
            Self::Context(contexts) => contexts.run(global),
            Self::Clock(clock) => clock.run(&global.context()?),
            Self::Introspect(introspect) => introspect.run(&global.context()?),
            Self::Events(events) => events.run(&global.context()?),
            Self::Audit(audit) => return audit.run(global),
            Self::Watch(watch) => watch.run(&global.context()?),
            Self::Credential(credential) => credential.run(global),
            Self::Keys(keys) => keys.run(&global.context()?),
            Self::Webhook(webhook) => webhook.run(&global.context()?),
            Self::Cluster(cluster) => cluster.run(global),
            Self::Doctor(doctor) => doctor.run(global),
            Self::Backup(backup) => backup.run(global),
            Self::Restore(restore) => restore.run(global),
            Self::Bench(bench) => bench.run(global),
            Self::Completions(completions) => completions.run(),
            Self::Man(manual) => manual.run(global.output(), super::command()),
        };
        done.map(|()| ExitStatus::Ok as u8)
    }
}
