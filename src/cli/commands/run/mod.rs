//! `tenure run`: keeps a session renewed while a command runs, and ends it with the command.

mod child;
mod proxy;
mod veto;

use std::{
    ffi::OsString,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use clap::{Args, ValueEnum};
use tokio::{
    process::Command,
    time::{self, Instant},
};

use self::{
    child::{ChildProcess, SignalStream},
    proxy::{BoundProxy, Upstream},
    veto::VetoNotice,
};
use super::session::TermsArgs;
use crate::cli::{
    connection::{retry, runtime},
    context::{CommandContext, GlobalArgs, NamedServer, span},
    environment,
    failure::{CommandError, ExitStatus},
    files::session_file,
    output::Output,
};
use tenure_client::{
    EndReason, Error, HandleOptions, InUse, RevokedSession, SessionFile, SessionGrant, SessionHandle,
    SessionState,
};
use tenure_core::{Seconds, SubjectId};
use tenure_http_client::outbound::PlaintextPolicy;

/// How long a call at the start or the end is retried after transient failures.
const RETRY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a new session is asked for while it is not known whether there is one.
const CREATE_TIMEOUT: Duration = Duration::from_secs(20);
/// Between two looks at what an ended command has left behind.
const LOOK: Duration = Duration::from_millis(100);
/// Limit of the revocation at the end, retries included.
const END_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RunArgs {
    /// File that holds the session, for its owner only (0600); with --proxy it may be left out
    #[arg(long, value_name = "FILE", required_unless_present = "proxy")]
    session_file: Option<PathBuf>,

    /// Keep the token from the command: it asks TENURE_PROXY_URL, and the token is added on the way to this URL
    #[arg(long, value_name = "URL", value_parser = proxy::upstream, conflicts_with = "env")]
    proxy: Option<Upstream>,

    /// Create a session of this subject if the file is not there, or its session is over; needs an issuer's key
    #[arg(long, value_name = "ID")]
    subject: Option<SubjectId>,

    #[command(flatten)]
    terms: Option<TermsArgs>,

    /// Create a new session although the last one was revoked or vetoed
    #[arg(long)]
    new_after_revoke: bool,

    /// Also pass the first token in TENURE_TOKEN; the first renewal makes it void
    #[arg(long)]
    env: bool,

    /// Leave the session as it is when the command ends; otherwise it is revoked, and the file removed
    #[arg(long, requires = "session_file")]
    keep: bool,

    /// What to do when the session ends before the command: kill it, or warn and let it run
    #[arg(long, value_name = "WHAT", value_enum, default_value_t, hide_possible_values = true)]
    on_end: SessionEndAction,

    /// How long the command has to end by itself (SIGTERM) before it is killed (SIGKILL)
    #[arg(long, value_name = "DURATION", value_parser = span, default_value = "10s")]
    grace: Seconds,

    /// How often to ask whether the session still stands, where it has no stream: a veto takes effect that soon
    #[arg(long, value_name = "DURATION", value_parser = span, default_value = "15s")]
    check: Seconds,

    /// The command and its arguments, behind `--`
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    #[arg(skip)]
    file: OnceLock<SessionFile>,
}

const AFTER_HELP: &str = "\
The command finds the session in the file that TENURE_SESSION_FILE names: a JSON document whose `token` changes with \
each renewal. In a shell, `tenure session token` prints it, and `tenure session show`, `usage`, `access-token` and \
`renew` work on it.

Exits with the command's own code, with 128 and the signal's number if one killed it, with 3 if its session was \
revoked or vetoed or its subject suspended, and with 2 if its session ended for another reason.

Examples:
  tenure run --session-file agent.session --subject agent-7 --ttl 1h --key-file issuer.key -- ./agent
  tenure run --proxy https://api.example.com/v1 --subject agent-7 --key-file issuer.key -- ./agent
  tenure run --session-file agent.session --keep -- sh -c 'curl -H \"Authorization: Bearer $(tenure session token)\" …'";

/// What to do when the session ends before the command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SessionEndAction {
    /// End the command.
    #[default]
    Kill,
    /// Print a warning, and let the command run.
    Warn,
}

impl RunArgs {
    pub(crate) fn run(self, global: &GlobalArgs) -> Result<u8, CommandError> {
        if self.terms.is_some() && self.subject.is_none() {
            return Err(CommandError::Usage(
                "the terms are of a session that is to be created: give --subject".to_owned(),
            ));
        }
        if self.terms.as_ref().is_some_and(TermsArgs::is_sliding) {
            return Err(CommandError::Usage(
                "--mode sliding: such a session is kept alive by use behind a proxy and is never renewed, so there is \
                 nothing to hold: leave --mode out"
                    .to_owned(),
            ));
        }
        let cli = global.context()?;
        let runtime = runtime::runtime()?;
        let code = runtime.block_on(self.watch_over(&cli, global.named()));
        // A process waiting for the lock of the file now waits for nothing.
        runtime.shutdown_timeout(Duration::ZERO);
        code
    }

    async fn watch_over(self, cli: &CommandContext, named: NamedServer<'_>) -> Result<u8, CommandError> {
        let proxy =
            self.proxy.as_ref().map(|upstream| BoundProxy::to(upstream, named.plaintext)).transpose()?;
        // Waits while another run ends the session that it finds no more user of.
        let in_use = self.session_file.as_ref().map(|_| InUse::of(self.file())).transpose()?;
        let holder = Arc::new(self.hold(cli, named).await?);
        let proxy_url = proxy.map(|proxy| proxy.serve(Arc::clone(&holder))).transpose()?;
        // Before there is a child that a signal could miss.
        let mut signals = SignalStream::listen()?;
        let mut child = match ChildProcess::spawn(self.command_with(&holder, named, proxy_url.as_deref())) {
            Ok(child) => child,
            Err(error) => {
                let program = self.command[0].display();
                cli.output.info(&format!("{program}: {error}"));
                self.end_session(cli, &holder, in_use.as_ref(), "the command could not be started").await;
                return Ok(child::code_of_start(&error));
            }
        };
        let ended = self.until_the_end(cli.output, &holder, &mut child, &mut signals).await;
        let status = child.wait().await?;
        let veto = match &ended {
            Some(end) => veto::of_end(cli, &holder.grant(), end),
            // The command may have noticed the veto first.
            None => {
                self.end_session(cli, &holder, in_use.as_ref(), &format!("the command ended: {status}")).await
            }
        };
        match &veto {
            Some(veto) => self.leave_mark(cli, veto),
            None if ended.is_some() && self.on_end == SessionEndAction::Warn => {
                self.tidy_up(cli.output, in_use.as_ref());
            }
            None => {}
        }
        Ok(self.code_after(ended.as_ref(), veto.is_some(), child::code_of(status)))
    }

    /// The file of a session that was vetoed stays, as the mark by which a restart knows.
    fn leave_mark(&self, cli: &CommandContext, veto: &VetoNotice) {
        let words = veto.words(cli.now());
        cli.output.info(&match &self.session_file {
            Some(file) => format!("{words}.\n{} stays: {}.", file.display(), veto.of_a_restart()),
            None => format!("{words}."),
        });
    }

    /// A supervisor must not restart what was stopped on purpose, and must restart the rest.
    fn code_after(&self, ended: Option<&EndReason>, is_veto: bool, own: u8) -> u8 {
        match (self.on_end, ended) {
            (SessionEndAction::Kill, _) if is_veto => ExitStatus::Refused as u8,
            (SessionEndAction::Kill, Some(end)) if end.trigger() != Some("self") => ExitStatus::Server as u8,
            (SessionEndAction::Kill | SessionEndAction::Warn, _) => own,
        }
    }

    /// Where the session is kept.
    fn file(&self) -> &SessionFile {
        self.file
            .get_or_init(|| self.session_file.as_ref().map_or_else(SessionFile::in_memory, SessionFile::at))
    }

    /// The session in the file, or a new one in it.
    async fn hold(
        &self,
        cli: &CommandContext,
        named: NamedServer<'_>,
    ) -> Result<SessionHandle, CommandError> {
        let file = self.file();
        if !file.exists() {
            let subject = self.subject.as_ref().ok_or_else(|| {
                let Some(path) = self.session_file.as_ref().map(|path| path.display()) else {
                    return CommandError::Usage(
                        "give --subject for a new session, or --session-file".to_owned(),
                    );
                };
                CommandError::Usage(format!(
                    "{path} is not there: make it by `tenure session create`, or give --subject"
                ))
            })?;
            self.refuse_after_veto(cli, || veto::of_newest_end(cli, subject, self.device()))?;
            self.create(cli, file, subject, None)?;
            return self.open(named, file);
        }
        let holder = self.open(named, file)?;
        match (holder.session().await, &self.subject) {
            (Ok(_), _) => Ok(holder),
            (Err(error), _) if error.is_transient() => {
                cli.output.info(&format!("It is not known whether the session stands: {error}"));
                Ok(holder)
            }
            (Err(error), None) => Err(error.into()),
            (Err(error), Some(subject)) => {
                // A suspension is no end, and what is said of it below says how it goes on.
                if !veto::is_suspension(&error) {
                    let path = file.path().display();
                    cli.output.info(&format!("The session of {path} is over ({error})"));
                }
                let old = holder.grant();
                drop(holder);
                self.refuse_after_veto(cli, || Ok(veto_notice_of(cli, &old, error)))?;
                self.create(cli, file, subject, Some(old.session_id))?;
                self.open(named, file)
            }
        }
    }

    /// The person who ended the last session does not want another one.
    fn refuse_after_veto(
        &self,
        cli: &CommandContext,
        veto: impl FnOnce() -> Result<Option<VetoNotice>, CommandError>,
    ) -> Result<(), CommandError> {
        if self.new_after_revoke {
            return Ok(());
        }
        veto()?.map_or(Ok(()), |veto| Err(veto.refusal(cli.now())))
    }

    fn device(&self) -> Option<&str> {
        self.terms.as_ref()?.device()
    }

    fn open(&self, named: NamedServer<'_>, file: &SessionFile) -> Result<SessionHandle, CommandError> {
        let client = session_file::client(named, file)?.with_retry_timeout(RETRY_TIMEOUT);
        let options = HandleOptions { check_every: Some(Duration::from_secs(self.check.0.max(1).into())) };
        Ok(SessionHandle::hold(client, file.clone(), options)?)
    }

    /// Creates a session in the file, unless another process did while this one waited for the lock.
    fn create(
        &self,
        cli: &CommandContext,
        file: &SessionFile,
        subject: &SubjectId,
        old: Option<tenure_core::SessionId>,
    ) -> Result<(), CommandError> {
        let locked = file.lock()?;
        locked.prepare()?;
        if locked.read().is_ok_and(|grant| Some(grant.session_id) != old) {
            return Ok(());
        }
        let terms = self.terms.clone().unwrap_or_default().noticing_theft();
        let request = terms.request(subject).idempotency_key(environment::unique());
        // A session whose token never came would take a place until its end.
        let created = retry::until_known(CREATE_TIMEOUT, || cli.client.send(&request))?;
        let grant = session_file::keep(cli, &locked, &created.body)?;
        cli.output.info(&format!("Session {} until {}.", grant.session_id, grant.expires_at));
        Ok(())
    }

    fn command_with(
        &self,
        holder: &SessionHandle,
        named: NamedServer<'_>,
        proxy_url: Option<&str>,
    ) -> Command {
        tenure_server::process::give_back();
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        // The command gets its session. The key that may create others is not its business.
        command.env_remove("TENURE_KEY").env_remove("TENURE_TOKEN");
        if let Some(url) = proxy_url {
            command.env_remove("TENURE_SESSION_FILE").env("TENURE_PROXY_URL", url);
            return command;
        }
        let grant = holder.grant();
        command.env("TENURE_SESSION_FILE", self.file().path());
        command.env("TENURE_URL", named.url.unwrap_or(&grant.url));
        if named.plaintext == PlaintextPolicy::Allowed {
            command.env("TENURE_ALLOW_PLAINTEXT", "true");
        }
        if self.env {
            command.env("TENURE_TOKEN", grant.token.expose());
        }
        command
    }

    /// Returns when the command has ended; how its session did, if it did before. Then what the command has started ends
    /// with it, at the latest when its time is over.
    async fn until_the_end(
        &self,
        output: Output,
        holder: &SessionHandle,
        child: &mut ChildProcess,
        signals: &mut SignalStream,
    ) -> Option<EndReason> {
        let mut state = holder.state();
        let mut said = None;
        let mut ended = None;
        let mut kill_at = None;
        let mut has_ended = false;
        loop {
            if has_ended && (kill_at.is_none() || !child.has_left_others()) {
                return ended;
            }
            tokio::select! {
                _ = child.wait(), if !has_ended => has_ended = true,
                () = time::sleep(LOOK), if has_ended => {}
                signal = signals.next() => child.pass_on(signal),
                end = holder.ended(), if ended.is_none() => {
                    output.info(&veto::headline(&end));
                    ended = Some(end);
                    if self.on_end == SessionEndAction::Kill {
                        child.terminate();
                        kill_at = Some(Instant::now() + Duration::from_secs(self.grace.0.into()));
                    }
                }
                changed = state.changed(), if ended.is_none() => {
                    if changed.is_ok() {
                        report_trouble(output, &state.borrow_and_update(), &mut said);
                    }
                }
                () = time::sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                    kill_at = None;
                    child.kill();
                }
            }
        }
    }

    /// Ends the session, if wanted and no other run uses it; the file then holds nothing of use. Gives the veto
    /// that had ended it before.
    async fn end_session(
        &self,
        cli: &CommandContext,
        holder: &SessionHandle,
        in_use: Option<&InUse>,
        reason: &str,
    ) -> Option<VetoNotice> {
        if self.keep {
            return None;
        }
        if !in_use.is_none_or(InUse::is_last) {
            let file = self.file().path().display();
            cli.output.info(&format!("The session goes on: another `tenure run` uses {file}."));
            return None;
        }
        let revoked = time::timeout(END_TIMEOUT, part(holder, reason)).await;
        let why = match revoked {
            Ok(Ok(revoked)) => {
                let veto = veto::of_trigger(cli, &holder.grant(), &revoked.trigger);
                if veto.is_none() {
                    self.tidy_up(cli.output, in_use);
                }
                return veto;
            }
            Ok(Err(error)) if veto::is_suspension(&error) => {
                return veto_notice_of(cli, &holder.grant(), error);
            }
            // It had expired, and nothing had noticed.
            Ok(Err(_)) if has_ended(holder) => {
                self.tidy_up(cli.output, in_use);
                return None;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        let grant = holder.grant();
        cli.output.info(&format!(
            "Session {} could not be revoked, and lasts until {}: {why}",
            grant.session_id, grant.expires_at
        ));
        None
    }

    /// Removes the file of an ended session, unless another run still has to notice the end.
    fn tidy_up(&self, output: Output, in_use: Option<&InUse>) {
        if self.keep || !in_use.is_none_or(InUse::is_last) {
            return;
        }
        let removed = self.file().lock().and_then(|locked| locked.remove());
        if let Err(error) = removed {
            output.info(&format!("The session is over, but its file is still there: {error}"));
        }
    }
}

/// Ends the session, unless its subject is suspended: that allows its end, and a command that ended because of it would
/// leave nothing to go on with.
async fn part(holder: &SessionHandle, reason: &str) -> Result<RevokedSession, Error> {
    match holder.session().await {
        Err(error) if veto::is_suspension(&error) => Err(error),
        Ok(_) | Err(_) => holder.revoke(Some(reason)).await,
    }
}

/// What a refusal of the session's token says of its end.
fn veto_notice_of(cli: &CommandContext, grant: &SessionGrant, error: Error) -> Option<VetoNotice> {
    let Error::Refused(problem) = error else { return None };
    veto::of_end(cli, grant, &EndReason::Refused(problem))
}

fn has_ended(holder: &SessionHandle) -> bool {
    matches!(*holder.state().borrow(), SessionState::Ended(_))
}

/// Says once what is wrong, and once that it is over.
fn report_trouble(output: Output, state: &SessionState, said: &mut Option<String>) {
    let SessionState::Live(live) = state else { return };
    if live.trouble == *said {
        return;
    }
    match &live.trouble {
        Some(trouble) => output.info(&format!(
            "The session could not be renewed, and lasts until {}; trying again: {trouble}",
            live.expires_at
        )),
        None => output.info(&format!("The session is renewed until {}.", live.expires_at)),
    }
    said.clone_from(&live.trouble);
}
