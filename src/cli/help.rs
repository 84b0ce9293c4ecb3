//! What every help has in common: commands in groups, one line of global options, candidates for the shell.

use clap::{Arg, Command, builder::StyledStr};

use super::commands::completions;

/// Commands as people look for them. What is in none of them is listed last.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Run the authority", &["serve", "dev", "cluster", "doctor", "backup", "restore", "clock", "bench"]),
    ("Hold a session", &["run", "session", "introspect"]),
    ("Watch and veto", &["watch", "veto", "subject"]),
    ("Look back, and prove it", &["events", "audit"]),
    ("Administer", &["credential", "keys", "webhook"]),
    ("This command line", &["context", "whoami", "completions", "man"]),
];

/// Commands that ask no server: its options mean nothing to them.
const ALONE: [&str; 7] = ["serve", "dev", "cluster", "completions", "man", "token", "lock"];

const OF_A_SERVER: &str =
    "Global options: --url --key-file --key --context --allow-plaintext -o --no-color --utc";
const OF_THE_OUTPUT: &str = "Global options: -o --no-color --utc";

/// The tree of commands as it is shown and completed.
pub(super) fn with_groups(root: Command) -> Command {
    let groups = format!("{}\nGlobal options:\n{}", grouped(&root), global_options(&root));
    let rest = root.get_after_help().map(ToString::to_string).unwrap_or_default();
    root.help_template("{about-with-newline}\n{usage-heading} {usage}{after-help}")
        .after_help(format!("{groups}\n{rest}"))
        .mut_subcommands(|command| with_global_options(command, true))
        .mut_subcommands(completing)
}

/// Each help names the global options in one line; the whole list is in `tenure --help`.
fn with_global_options(command: Command, asks: bool) -> Command {
    let asks = asks && !ALONE.contains(&command.get_name());
    let line = if asks { OF_A_SERVER } else { OF_THE_OUTPUT };
    let own = command.get_after_help().map(ToString::to_string);
    let whole = own.map_or_else(|| line.to_owned(), |own| format!("{own}\n\n{line}"));
    command.after_help(StyledStr::from(whole)).mut_subcommands(|inner| with_global_options(inner, asks))
}

fn completing(command: Command) -> Command {
    command.mut_args(completions::with_candidates).mut_subcommands(completing)
}

fn grouped(root: &Command) -> String {
    let about = |name: &str| {
        let command = root.find_subcommand(name)?;
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        Some(format!("    {name:<11}  {about}\n"))
    };
    let mut text = "Commands:\n".to_owned();
    for (head, names) in GROUPS {
        text.extend(["  ", head, "\n"]);
        text.extend(names.iter().filter_map(|name| about(name)));
    }
    let is_listed = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let others: Vec<_> =
        root.get_subcommands().map(Command::get_name).filter(|name| !is_listed(name)).collect();
    if !others.is_empty() {
        text.push_str("  Others\n");
        text.extend(others.into_iter().filter_map(about));
    }
    text
}

fn global_options(root: &Command) -> String {
    let globals = root.get_arguments().filter(|argument| argument.is_global_set());
    let lines: Vec<_> = globals.map(|argument| (spelled(argument), meaning(argument))).collect();
    let widest = lines.iter().map(|(option, _)| option.len()).max().unwrap_or_default();
    let lines = lines.into_iter().map(|(option, meaning)| format!("  {option:<widest$}  {meaning}\n"));
    let own = [("-h, --help", "Print help, of every command too"), ("-V, --version", "Print the version")];
    let own = own.map(|(option, meaning)| format!("  {option:<widest$}  {meaning}\n"));
    lines.chain(own).collect()
}

fn spelled(argument: &Arg) -> String {
    let short = argument.get_short().map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
    let long = argument.get_long().unwrap_or_default();
    let takes_value = argument.get_action().takes_values();
    let value = argument.get_value_names().and_then(|names| names.first()).filter(|_| takes_value);
    format!("{short}--{long}{}", value.map(|value| format!(" <{value}>")).unwrap_or_default())
}

fn meaning(argument: &Arg) -> String {
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<_> =
        argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    let is_switch = !argument.get_action().takes_values();
    let values =
        if values.is_empty() || is_switch { String::new() } else { format!(" [{}]", values.join(", ")) };
    format!("{help}{values}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_listed_once() {
        let text = grouped(&crate::cli::command());
        for command in crate::cli::command().get_subcommands() {
            let line = format!("\n    {} ", command.get_name());
            assert_eq!(text.matches(&line).count(), 1, "{line}: {text}");
        }
        assert!(!text.contains("  Others\n"), "{text}");
    }
}
