//! Every `tenure` command on every page has subcommands and options that there are.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The pages on which commands are shown.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let of = |directory: &str| fs::read_dir(root.join(directory)).unwrap().map(|entry| entry.unwrap().path());
    let pages = ["", "docs", "contrib", "clients/python", "clients/typescript"].into_iter().flat_map(of);
    pages.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The commands of a page's shell blocks: what follows `tenure `, up to the end of the command.
fn commands(page: &str) -> Vec<String> {
    let blocks = page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines =
        blocks.flat_map(|block| block.replace("\\\n", " ").lines().map(str::to_owned).collect::<Vec<_>>());
    lines.flat_map(|line| of_line(&line)).collect()
}

fn of_line(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some((before, command)) = rest.split_once("tenure ") {
        let before = before.trim_end();
        if before.is_empty() || before.ends_with(['|', '(', ';', '&']) {
            let ends = [" |", " >", " 2>", ";", ")", " &", " #", " -- "];
            let end = ends.iter().filter_map(|end| command.find(end)).min().unwrap_or(command.len());
            found.push(command[..end].to_owned());
        }
        rest = command;
    }
    found
}

/// The words of a command; a word in quotes may have spaces.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in command.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c.is_whitespace() => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
            }
            Some(_) | None => word.push(c),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

#[test]
fn every_command_on_a_page_has_options_that_there_are() {
    let mut tried = 0;
    for path in pages() {
        for command in commands(&fs::read_to_string(&path).unwrap()) {
            // The help is asked for last: what stands before it is parsed, and nothing is done.
            let asked = words(&command).into_iter().chain(["--help".to_owned()]);
            let output = Command::new(env!("CARGO_BIN_EXE_tenure")).args(asked).env_clear().output().unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            let is_unknown =
                ["unexpected argument", "unrecognized subcommand"].iter().any(|word| told.contains(word));
            assert!(!is_unknown, "{}: tenure {command}\n{told}", path.display());
            tried += 1;
        }
    }
    assert!(tried > 80, "{tried}");
}

#[test]
fn commands_are_found_wherever_they_stand_in_a_line() {
    assert_eq!(
        of_line("export ID=$(tenure session list -q) && tenure session show \"$ID\" | tenure x # so"),
        ["session list -q", "session show \"$ID\"", "x"]
    );
    assert_eq!(of_line("cat ./tenure-data/admin.key; ls tenure x"), Vec::<String>::new());
    assert_eq!(
        words("veto a --reason \"not at night\" -o 'json'"),
        ["veto", "a", "--reason", "not at night", "-o", "json"]
    );
}
