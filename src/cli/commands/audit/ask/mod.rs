//! `tenure audit ask`

mod verdict;

use std::{
    fs::{File, OpenOptions},
    io,
    ops::ControlFlow,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::{Args, builder::NonEmptyStringValueParser};
use serde_json::json;

use self::verdict::{EntitlementQuestion, ReplayWitness};
use super::{export::ExportArgs, server_time, show, source::SourceArgs, trust::TrustArgs};
use crate::cli::{
    arguments::{
        find,
        moments::{TypedMoment, moment},
    },
    context::GlobalArgs,
    failure::{CommandError, ExitStatus},
};
use tenure_audit::replay::{HistoryReplay, ReplayEnd};
use tenure_core::{Amount, Timestamp, budget::SessionUse};

#[derive(Debug, Args)]
#[command(after_help = "\
    The first line says yes or no, and so does the exit code: 0 for yes, 3 for no. The story is below \
    it.\n\n\
    Example: tenure audit ask payments-bot --at 03:12 --scope payments:write")]
pub(crate) struct AskArgs {
    /// A subject or a session, by its id or a unique beginning; a subject's name only of a running server
    #[arg(value_name = "SUBJECT|SESSION", value_parser = NonEmptyStringValueParser::new())]
    whom: String,

    /// When [default: the server's now; the end of a file or directory]; such as 03:12 or '2026-11-22 03:12'
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<TypedMoment>,

    /// Entitled to this scope; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,

    /// Entitled to this operation, within the session's constraints
    #[arg(long, value_name = "OPERATION")]
    operation: Option<String>,

    /// Amount of the operation
    #[arg(long, requires = "operation")]
    amount: Option<Amount>,

    /// Destination of the operation
    #[arg(long, requires = "operation")]
    destination: Option<String>,

    /// Write the evidence to this new file, an export, and answer from it, so that others can ask it the same
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,

    #[command(flatten)]
    source: SourceArgs,

    #[command(flatten)]
    known: TrustArgs,
}

impl AskArgs {
    /// What the process exits with.
    pub(crate) fn run(self, global: &GlobalArgs) -> Result<u8, CommandError> {
        let until = self.until(global)?;
        let whom = self.whom_by_id(global)?;
        let source = match &self.bundle {
            Some(path) => &self.bundled(global, path)?,
            None => &self.source,
        };
        let mut replay = HistoryReplay::new(until);
        let mut witness = ReplayWitness::of(&whom);
        let mut illegal = None;
        let ending = source.read(global, &self.known.read()?, &mut |stored| {
            let heard = replay.add_with_listener(&stored, &mut |state, step| witness.observe(state, step));
            heard.unwrap_or_else(|found| {
                illegal = Some(found);
                ControlFlow::Break(())
            })
        })?;
        if let Some(illegal) = illegal {
            return Err(CommandError::damaged(illegal.to_string()));
        }
        let output = global.output();
        let (answer, narrator) = witness.answer(&replay, &self.question())?.ok_or_else(|| {
            CommandError::Missing(format!(
                "no subject and no session \"{whom}\" is in this history up to there (tenure audit replay --status all \
                 lists the sessions)"
            ))
        })?;
        let story = match narrator {
            Some(mut narrator) => {
                if source.is_server() {
                    narrator.know(show::live_details(global, narrator.session())?);
                }
                narrator.end(&replay)
            }
            None => None,
        };
        let mut lines = vec![answer.words.clone()];
        if let Some(story) = &story {
            let names = source.key_names(global)?;
            lines.push(String::new());
            lines.extend(show::lines(story, None).iter().map(|line| names.in_sentence(line)));
        }
        let document = json!({
            "entitled": answer.is_yes, "verdict": answer.words, "at": replay.moment(),
            "asOfPosition": replay.state().position, "story": story,
        });
        output.narrative(&document, &lines)?;
        ending.report(output);
        if let Some(path) = &self.bundle {
            output.info(&self.hand_over(path, &whom, replay.moment()));
        }
        Ok(if answer.is_yes { ExitStatus::Ok } else { ExitStatus::Refused } as u8)
    }

    /// A server knows subjects by their names, too, which no export has.
    fn whom_by_id(&self, global: &GlobalArgs) -> Result<String, CommandError> {
        if self.source.is_server() {
            find::subject(&global.context()?, &self.whom)
        } else {
            Ok(self.whom.clone())
        }
    }

    fn until(&self, global: &GlobalArgs) -> Result<ReplayEnd, CommandError> {
        Ok(match self.at {
            Some(at) => ReplayEnd::Time(self.source.past(global, at)?),
            None if self.source.is_server() => {
                server_time::of_server(global)?.map_or(ReplayEnd::End, ReplayEnd::Time)
            }
            None => ReplayEnd::End,
        })
    }

    fn question(&self) -> EntitlementQuestion {
        let wanted = self.operation.as_ref().map(|operation| SessionUse {
            operation: operation.clone(),
            amount: self.amount.clone(),
            destination: self.destination.clone(),
        });
        EntitlementQuestion { scopes: self.scopes.clone(), wanted }
    }

    /// The evidence in a file of its own; the answer is that of this very file.
    fn bundled(&self, global: &GlobalArgs, path: &Path) -> Result<SourceArgs, CommandError> {
        match self.source.file() {
            Some(file) => copy(file, path)?,
            None => ExportArgs::whole(path, self.source.data(), self.known.key()).write(global).map(drop)?,
        }
        Ok(SourceArgs::of_file(path))
    }

    /// What the other side does with it.
    fn hand_over(&self, path: &Path, whom: &str, at: Timestamp) -> String {
        let scopes: Vec<_> = self.scopes.iter().map(|scope| format!(" --scope {}", quoted(scope))).collect();
        let of = |name: &str, value: Option<String>| {
            value.map(|value| format!(" --{name} {}", quoted(&value))).unwrap_or_default()
        };
        let wanted = [
            of("operation", self.operation.clone()),
            of("amount", self.amount.as_ref().map(ToString::to_string)),
            of("destination", self.destination.clone()),
        ];
        format!(
            "The evidence is in {file}: the whole history, without text about people. The other side asks the same of \
             it, with the key that it trusts:\n  tenure audit ask {} --at {at}{}{} --file {file} \
             --verifier-key VKEY",
            quoted(whom),
            scopes.concat(),
            wanted.concat(),
            file = quoted(&path.display().to_string()),
        )
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@+,=%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A new file of this user's own.
fn copy(from: &Path, to: &Path) -> Result<(), CommandError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CommandError::File { path, source }
    };
    let mut from_file = File::open(from).map_err(failed(from))?;
    let mut options = OpenOptions::new();
    let mut to_file = options.write(true).create_new(true).mode(0o600).open(to).map_err(failed(to))?;
    io::copy(&mut from_file, &mut to_file).and_then(|_| to_file.sync_all()).map_err(failed(to))
}
