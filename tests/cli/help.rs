//! What `tenure` says of itself: help, version, manual pages, and what a shell completes.

use serde_json::json;
use tenure_testing::surroundings;

use crate::fixture::{Fixture, ran};

fn said(fixture: &Fixture<()>, line: &str) -> String {
    ran(&mut fixture.bare(&line.split(' ').collect::<Vec<_>>())).ok().stdout
}

/// 24 lines of global options stood under every help, also where they mean nothing.
#[test]
fn the_options_of_all_commands_are_one_line_of_each_help() {
    let fixture = Fixture::empty();
    let list = said(&fixture, "session list --help");
    assert!(
        list.trim_end().ends_with(
            "Global options: --url --key-file --key --context --allow-plaintext -o --no-color --utc"
        )
    );
    assert!(!list.contains("--url <URL>"), "{list}");
    let serve = said(&fixture, "serve --help");
    assert!(!serve.contains("--key-file") && !serve.contains("--url"), "{serve}");
    let root = said(&fixture, "--help");
    for listed in ["  Watch and veto\n    watch ", "--url <URL>", "--key-file <FILE>", "-o, --output <FORM>"]
    {
        assert!(root.contains(listed), "{listed}: {root}");
    }
    let widest = root.lines().map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= 80, "{widest}: {root}");
    let kinds = said(&fixture, "watch --help");
    assert!(kinds.contains("SESSION_RENEWAL_REJECTED"), "{kinds}");
}

/// Details and examples were written beside the options, where no help shows them.
#[test]
fn the_help_of_a_command_ends_with_its_details_and_an_example() {
    let fixture = Fixture::empty();
    for (line, shown) in [
        ("watch", "Example: tenure watch --subject night-bot --since 1h"),
        ("context add", "The first context becomes the current one."),
        ("run", "Exits with the command's own code"),
        ("run", "tenure run --session-file agent.session --subject agent-7"),
        ("subject put", "goes back to its default"),
    ] {
        for help in ["--help", "-h"] {
            let told = said(&fixture, &format!("{line} {help}"));
            let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(told.contains(shown), "{line} {help}: {told}");
        }
    }
}

/// With a key in the environment, as the README has it, a command without its subcommand was an error with a list of
/// names, and without one it was the help.
#[test]
fn a_command_without_its_subcommand_is_answered_with_its_help_whatever_the_environment() {
    let fixture = Fixture::empty();
    for line in [&[][..], &["session"], &["audit"]] {
        let without = ran(&mut fixture.bare(line));
        let with =
            ran(fixture.bare(line).env("TENURE_KEY", "tnr_key_x").env("TENURE_URL", "http://127.0.0.1:9"));
        assert!(without.stderr.contains("Commands:"), "{line:?}: {without:?}");
        assert_eq!((with.code, &with.stderr), (1, &without.stderr), "{line:?}");
    }
}

#[test]
fn the_version_names_the_commit_where_the_build_knew_it() {
    let fixture = Fixture::empty();
    let version = said(&fixture, "--version");
    let told = version.trim().strip_prefix("tenure ").unwrap();
    let (number, commit) = told.split_once(' ').unwrap_or((told, ""));
    assert_eq!(number, env!("CARGO_PKG_VERSION"));
    let is_commit = commit.is_empty()
        || commit[1..commit.len() - 1].bytes().all(|byte| byte.is_ascii_hexdigit()) && commit.len() >= 9;
    assert!(is_commit, "{version}");
}

#[test]
fn each_command_has_a_manual_page() {
    let fixture = Fixture::empty();
    said(&fixture, "man --dir pages/man1");
    for (page, part) in [
        ("tenure.1", "\\fB\\-\\-key\\-file\\fR"),
        ("tenure-session-lock.1", "until stdin is closed"),
        ("tenure-veto.1", "tenure veto"),
    ] {
        let path = fixture.place("pages/man1").join(page);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(".TH ") && text.contains(part), "{page}: {text}");
    }
    assert!(said(&fixture, "man").contains(".SH NAME"));
}

/// Completion was static: it knew every option, and no subject and no session.
#[test]
fn a_shell_completes_commands_subjects_and_sessions() {
    let fixture = Fixture::new();
    let session = fixture.server.session("night-bot", 3600);
    fixture.server.register("day-bot", &json!({}));
    for shell in ["bash", "zsh", "fish"] {
        let script = fixture.tenure(&format!("completions {shell}")).ok().stdout;
        assert!(script.contains("TENURE_COMPLETE") && script.contains("tenure"), "{script}");
        let completed = |words: &[&str]| {
            let mut line = vec!["--", "tenure"];
            line.extend(words);
            let last = (line.len() - 2).to_string();
            let mut command = fixture.by(&fixture.server.admin, &line);
            command.env("TENURE_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", last).env("_CLAP_IFS", "\n");
            ran(&mut command).ok().stdout
        };
        let shown = completed(&["subject", "show", "ni"]);
        assert!(shown.contains("night-bot") && !shown.contains("day-bot"), "{shell}: {shown}");
        let begun = &session.id[..10];
        for words in [&["session", "show", begun][..], &["watch", "--session", begun], &["veto", begun]] {
            assert!(completed(words).contains(&session.id), "{shell}: {words:?}");
        }
        assert!(completed(&["sess"]).contains("session"), "{shell}");
    }
}

/// The real shell, through the script that it loads.
#[test]
fn bash_completes_a_subject_by_the_script() {
    let fixture = Fixture::new();
    fixture.server.session("night-bot", 3600);
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_tenure")).parent().unwrap();
    let script = "source <(tenure completions bash); COMP_WORDS=(tenure veto nig); COMP_CWORD=2; \
                  _clap_complete_tenure tenure nig veto; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let mut bash = std::process::Command::new("bash");
    bash.args(["--norc", "-c", script])
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
        .env("TENURE_URL", fixture.url())
        .env("TENURE_KEY", &fixture.server.admin);
    let shown = ran(&mut bash);
    assert_eq!(shown.stdout.trim(), "night-bot", "{shown:?}");
}

/// The real shells, each by the script that it loads and by the key that a person presses.
#[test]
fn fish_and_zsh_complete_subjects_and_sessions_by_their_scripts() {
    let fixture = Fixture::new();
    let session = fixture.server.session("night-bot", 3600);
    let begun = &session.id[..10];
    let fish = format!(
        "source (tenure completions fish | psub); complete -C 'tenure veto nig'; \
         complete -C 'tenure session show {begun}'"
    );
    // A terminal of zsh's own, to which the line and Tab are typed.
    let zsh = format!(
        "zmodload zsh/zpty; zpty z zsh -f -i; zpty -w z 'autoload -Uz compinit; compinit -u -D; \
         source <(tenure completions zsh)'; zpty -n -w z $'tenure veto nig\\t'; \
         zpty -r -m z seen '*night-bot*'; print -r -- $seen; zpty -n -w z $'\\C-utenure session show {begun}\\t'; \
         zpty -r -m z seen '*{id}*'; print -r -- $seen",
        id = session.id
    );
    for (shell, option, script) in [("fish", "--no-config", &fish), ("zsh", "-f", &zsh)] {
        if !["/usr/bin", "/bin"].iter().any(|place| std::path::Path::new(place).join(shell).exists()) {
            surroundings::not_run(&format!("completion in {shell}"), &format!("{shell} is missing"));
            continue;
        }
        let program = std::path::Path::new(env!("CARGO_BIN_EXE_tenure")).parent().unwrap();
        // A line that is never completed is waited for in vain.
        let mut command = std::process::Command::new("timeout");
        command
            .args(["120", shell, option, "-c", script])
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", program.display()))
            .env("HOME", fixture.place("."))
            .env("TERM", "xterm")
            .env("TENURE_URL", fixture.url())
            .env("TENURE_KEY", &fixture.server.admin);
        let shown = ran(&mut command);
        assert!(shown.stdout.contains("night-bot") && shown.stdout.contains(&session.id), "{shown:?}");
    }
}

#[test]
fn a_server_that_is_not_there_holds_no_shell_up() {
    let fixture = Fixture::empty();
    let begun = tenure::clock::stopwatch();
    let mut command = fixture.bare(&["--", "tenure", "veto", "nig"]);
    command
        .env("TENURE_COMPLETE", "fish")
        .env("TENURE_URL", "http://192.0.2.1:7300")
        .env("TENURE_KEY", "tnr_key_x");
    assert_eq!(ran(&mut command).ok().stdout, "");
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
}
