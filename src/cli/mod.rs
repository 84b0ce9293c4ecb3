//! The command line: a file for each of the `commands`, one place that prints (`output`), one client
//! of the HTTP API (`connection`).
//!
//! Data goes to stdout, messages go to stderr, and the exit code ([`ExitStatus`]) says what kind of outcome it was.

#![allow(
    clippy::doc_markdown,
    reason = "the docs of an option are its help text, and help shows backticks as they are"
)]

mod arguments;
mod commands;
mod connection;
mod context;
mod contexts;
mod environment;
mod failure;
mod files;
mod help;
mod output;

use std::{ffi::OsString, process::ExitCode};

use clap::{
    ArgMatches, CommandFactory, FromArgMatches, Parser,
    builder::{OsStr, Resettable},
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use self::{
    arguments::flags::TypedWords,
    commands::{CliCommand, completions},
    context::GlobalArgs,
};

pub use self::failure::ExitStatus;

/// The session authority: issues, checks, renews, revokes and explains sessions.
#[derive(Debug, Parser)]
#[command(name = "tenure", version = VERSION, arg_required_else_help = true, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: CliCommand,
}

/// With the commit, where the build knows it.
const VERSION: &str = env!("TENURE_VERSION");

const AFTER_HELP: &str = "\
Exit codes:
  0 ok · 1 usage · 2 server or network · 3 refused by policy · 4 not found
  5 conflict · 6 verification failed
  tenure run: that of the command; 3 if its session was revoked, vetoed or
  suspended, 2 if it ended otherwise

Examples:
  tenure serve --data ./tenure-data
  export TENURE_KEY=$(cat ./tenure-data/admin.key)
  tenure subject put agent-7 --kind agent
  tenure session create agent-7 --ttl 1h --token-file agent-7.token
  tenure session renew --token-file agent-7.token
  tenure session list --subject agent-7
  tenure run --subject agent-7 --session-file agent-7.session -- ./agent";

/// The tree of commands, as it is parsed, shown and completed.
fn command() -> clap::Command {
    help::with_groups(Cli::command())
}

/// Runs the command that these arguments name (the first is the program's own name).
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::from(run(args))
}

fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let args: Vec<_> = args.into_iter().collect();
    match completions::answer(&args, command) {
        Ok(false) => {}
        Ok(true) => return ExitStatus::Ok as u8,
        Err(error) => {
            output::usage(&error);
            return ExitStatus::Usage as u8;
        }
    }
    let cli = match parse(&args) {
        Ok(cli) => cli,
        Err(error) => {
            output::usage(&error);
            return if error.use_stderr() { ExitStatus::Usage } else { ExitStatus::Ok } as u8;
        }
    };
    cli.global.apply_time_zone();
    let failure = match cli.command.run(&cli.global) {
        Ok(code) => return code,
        Err(failure) => failure,
    };
    let exit = failure.exit();
    if exit != ExitStatus::Ok {
        let typed = TypedWords::of(&args);
        let source = failure.silent_server().and_then(|url| cli.global.source_of(url, &typed));
        cli.global.output().failure(&failure, &typed.with_source(source));
    }
    exit as u8
}

/// Options of which one may come from the environment: only two that were *typed* contradict each other.
const TYPED_TOGETHER: [(&str, &str); 2] = [("key", "key_file"), ("token", "token_file")];

fn parse(args: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches_from(args).map_err(|error| as_typed(args, error))?;
    for (one, other) in TYPED_TOGETHER {
        if was_typed(&matches, one) && was_typed(&matches, other) {
            let both = format!("--{} cannot be used with --{}", one, other.replace('_', "-"));
            return Err(command().error(ErrorKind::ArgumentConflict, both));
        }
    }
    Cli::from_arg_matches(&matches)
}

/// The same error without what is in the environment, which a usage line would show as needed, and without which a
/// command that lacks its subcommand is answered with its help.
fn as_typed(args: &[OsString], error: clap::Error) -> clap::Error {
    let again = without_environment(command()).try_get_matches_from(args);
    let is_better = |again: &clap::Error| {
        again.kind() == error.kind() || again.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    };
    with_own_word(again.err().filter(is_better).unwrap_or(error))
}

/// Words that people bring from other tools, and what they are called here.
const WORDS_OF_OTHERS: [(&str, &str); 5] = [
    ("version", "tenure --version"),
    ("status", "tenure doctor"),
    ("health", "tenure doctor"),
    ("login", "tenure context add NAME --url URL --key-file FILE"),
    ("logout", "tenure subject logout SUBJECT"),
];

/// An unknown command is answered with ours of the same meaning, instead of one that is spelled alike.
fn with_own_word(mut error: clap::Error) -> clap::Error {
    let typed = error.get(ContextKind::InvalidSubcommand);
    let own =
        WORDS_OF_OTHERS.iter().find(|(word, _)| typed == Some(&ContextValue::String((*word).to_owned())));
    if let Some((_, own)) = own {
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![format!("it is `{own}`").into()]));
    }
    error
}

fn without_environment(command: clap::Command) -> clap::Command {
    command.mut_args(|argument| argument.env(Resettable::<OsStr>::Reset)).mut_subcommands(without_environment)
}

/// Whether the option was given on the command line, to the command or to one that it is part of.
fn was_typed(matches: &ArgMatches, name: &str) -> bool {
    let here =
        matches.ids().any(|id| id == name) && matches.value_source(name) == Some(ValueSource::CommandLine);
    here || matches.subcommand().is_some_and(|(_, inner)| was_typed(inner, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        parse(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    fn exit(line: &str) -> u8 {
        run(line.split(' ').map(OsString::from))
    }

    #[test]
    fn the_tree_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_command_and_option_has_a_help() {
        fn check(command: &clap::Command) {
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            for inner in command.get_subcommands() {
                assert!(inner.get_about().is_some(), "{}", inner.get_name());
                check(inner);
            }
        }
        check(&command());
    }

    #[test]
    fn a_word_of_other_tools_is_answered_with_ours() {
        let told = |line: &str| parsed(line).unwrap_err().to_string();
        let version = told("tenure version");
        assert!(version.contains("tip: it is `tenure --version`") && !version.contains("veto"), "{version}");
        assert!(told("tenure login").contains("`tenure context add NAME"));
        assert!(told("tenure sesion").contains("'session'"));
    }

    #[test]
    fn help_and_version_are_no_errors_and_a_wrong_line_is_usage() {
        assert_eq!(exit("tenure --version"), ExitStatus::Ok as u8);
        assert_eq!(exit("tenure session create --help"), ExitStatus::Ok as u8);
        assert_eq!(exit("tenure session nonsense"), ExitStatus::Usage as u8);
        assert_eq!(exit("tenure session create a --ttl soon"), ExitStatus::Usage as u8);
        assert_eq!(exit("tenure"), ExitStatus::Usage as u8);
    }

    #[test]
    fn nobody_there_exits_with_2() {
        assert_eq!(exit("tenure session list --url http://127.0.0.1:9"), ExitStatus::Server as u8);
    }

    #[test]
    fn global_options_may_stand_before_or_after_the_command() {
        for line in [
            "tenure -o json --url http://h session list",
            "tenure session list -o json --url http://h",
            "tenure session -o json list --url http://h",
        ] {
            let cli = parsed(line).unwrap();
            assert_eq!(cli.global.output().format(), output::OutputFormat::Json, "{line}");
        }
    }

    #[test]
    fn a_key_typed_twice_is_a_contradiction_wherever_it_stands() {
        for line in [
            "tenure --key a --key-file b session list",
            "tenure --key a session list --key-file b",
            "tenure session renew x --token a --token-file b",
        ] {
            assert_eq!(parsed(line).unwrap_err().kind(), ErrorKind::ArgumentConflict, "{line}");
        }
    }
}
