//! The command line and the documents: what they name exists, and what exists they name.

use std::process::Command;

use crate::tree;

/// A command with its subcommands and the options that it takes.
struct Known {
    /// Behind `tenure`.
    words: Vec<String>,
    help: String,
}

fn help(words: &[String]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tenure")).args(words).arg("--help").output().unwrap();
    assert!(output.status.success(), "tenure {} --help", words.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// Every command, those that only hold others included.
fn known() -> Vec<Known> {
    let mut known = vec![Known { words: vec![], help: help(&[]) }];
    let mut at = 0;
    while let Some(outer) = known.get(at) {
        let inner: Vec<_> = subcommands(&outer.help)
            .map(|word| outer.words.iter().cloned().chain([word]).collect::<Vec<_>>())
            .map(|words| Known { help: help(&words), words })
            .collect();
        known.extend(inner);
        at += 1;
    }
    known
}

fn subcommands(help: &str) -> impl Iterator<Item = String> {
    let list = help.split("\nCommands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.is_empty());
    // A line that is indented further continues the one above it; a line without two columns is the head of a group.
    let names = lines.filter_map(|line| {
        let entry = line.strip_prefix("    ").or_else(|| line.strip_prefix("  "))?;
        entry.split_once("  ").map(|(name, _)| name).filter(|name| !name.is_empty() && !name.contains(' '))
    });
    names.filter(|name| *name != "help").map(str::to_owned).collect::<Vec<_>>().into_iter()
}

/// Whatever is written as a command: in a fenced block of a shell, or between backticks.
fn written(text: &str) -> Vec<String> {
    let mut is_shell = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            is_shell = line == "```sh";
        } else if is_shell {
            found.extend(line.find("tenure ").map(|at| line[at..].to_owned()));
        } else {
            let spans = line.split('`').skip(1).step_by(2);
            found.extend(spans.filter(|span| is_command(span)).map(str::to_owned));
        }
    }
    found
}

/// The contexts of derived keys begin with the same name, and have a number behind it.
fn is_command(span: &str) -> bool {
    span.strip_prefix("tenure ")
        .is_some_and(|rest| !rest.split(' ').next().unwrap().contains(char::is_numeric))
}

#[test]
fn every_command_in_the_documents_exists_with_its_options() {
    let known = known();
    for path in tree::files_with(".", "md") {
        for line in written(&tree::text(&path).unwrap()) {
            let mut words = line.split_whitespace().skip(1).peekable();
            let mut command = &known[0];
            while let Some(inner) = words.peek().and_then(|word| {
                known
                    .iter()
                    .find(|it| it.words.split_last() == Some((&(*word).to_owned(), &command.words[..])))
            }) {
                command = inner;
                words.next();
            }
            assert!(!command.words.is_empty(), "{}: {line}: no such command", path.display());
            let options =
                words.filter(|word| word.starts_with("--")).map(|word| word.split('=').next().unwrap());
            for option in options {
                let is_there = command
                    .help
                    .split(|c: char| c != '-' && !c.is_ascii_alphanumeric())
                    .any(|it| it == option);
                assert!(is_there, "{}: {line}: no option {option}", path.display());
            }
        }
    }
}

#[test]
fn every_command_is_told_of_in_the_operators_page() {
    let text = tree::text("docs/operations.md".as_ref()).unwrap();
    for Known { words, .. } in known().into_iter().skip(1) {
        let name = format!("`tenure {}", words.join(" "));
        assert!(text.contains(&name), "{name}` is not in docs/operations.md");
    }
}
