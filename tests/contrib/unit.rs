//! The systemd unit, by systemd's own tools, and its promises against what the binary does.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use crate::{
    server::{BINARY, Server, file, tool},
    surroundings::not_run,
};

const UNIT: &str = "contrib/systemd/tenure.service";

/// The values of a setting of the unit, in order.
fn values(unit: &str, name: &str) -> Vec<String> {
    let lines = unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    lines.map(str::to_owned).collect()
}

/// The unit with the built binary in the place of the installed one.
fn installed() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let unit = file(UNIT);
    assert!(unit.contains("ExecStart=/usr/local/bin/tenure "));
    fs::write(directory.path().join("tenure.service"), unit.replace("/usr/local/bin/tenure", BINARY))
        .unwrap();
    directory
}

fn analyze(test: &str, arguments: &[&str], directory: &Path) -> Option<(bool, String)> {
    let Some(binary) = tool("systemd-analyze") else {
        not_run(test, "there is no systemd-analyze; as root, tests/run installs it");
        return None;
    };
    let output = Command::new(binary).args(arguments).current_dir(directory).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

#[test]
fn systemd_finds_no_fault_with_the_unit() {
    let directory = installed();
    let unit = directory.path().join("tenure.service");
    let arguments = ["verify", "--man=no", unit.to_str().unwrap()];
    let Some((is_good, said)) = analyze("the systemd unit", &arguments, directory.path()) else { return };
    // Of other units on this machine it may have something to say.
    assert!(is_good && !said.contains("tenure"), "{said}");
}

/// The unit on the page named a program without its folder, ran it as root, and no one had asked systemd about it.
#[test]
fn systemd_finds_no_fault_with_the_units_of_agents() {
    let page = file("docs/client.md");
    let shown = page.split("```ini\n").nth(1).unwrap().split("```").next().unwrap();
    let template = file("contrib/systemd/tenure-agent@.service");
    let directory = tempfile::tempdir().unwrap();
    for (name, unit, agent) in [
        ("agent-7.service", shown, "/usr/local/bin/agent-7"),
        ("tenure-agent@a.service", &*template, "/usr/local/bin/%i"),
    ] {
        assert!(unit.contains("ExecStart=/usr/local/bin/tenure run ") && unit.contains(agent), "{name}");
        assert!(unit.contains("\nUser=") || unit.contains("\nDynamicUser=yes"), "{name} runs as root");
        assert_eq!(values(unit, "RestartPreventExitStatus"), ["3"], "{name}");
        let unit = unit.replace("/usr/local/bin/tenure", BINARY).replace(agent, "/bin/true");
        let path = directory.path().join(name);
        fs::write(&path, unit).unwrap();
        let arguments = ["verify", "--man=no", path.to_str().unwrap()];
        let Some((is_good, said)) = analyze("the systemd units of agents", &arguments, directory.path())
        else {
            return;
        };
        assert!(is_good && !said.contains("agent"), "{said}");
    }
}

/// 0 is sealed off, 10 wide open. What is left is the network, which a server needs.
#[test]
fn the_unit_exposes_little() {
    let directory = installed();
    let arguments = ["security", "--offline=true", "--no-pager", "--threshold=20", "./tenure.service"];
    let Some((is_good, said)) = analyze("how much the systemd unit exposes", &arguments, directory.path())
    else {
        return;
    };
    assert!(is_good, "{said}");
}

#[test]
fn the_unit_starts_the_binary_with_arguments_that_it_takes() {
    let unit = file(UNIT);
    let [start] = &values(&unit, "ExecStart")[..] else { panic!("one command is meant") };
    let words: Vec<_> = start.split(' ').collect();
    assert_eq!(words[..2], ["/usr/local/bin/tenure", "serve"]);
    let directory = tempfile::tempdir().unwrap();
    let settings = directory.path().join("tenure.toml");
    // Empty, as the page says.
    fs::write(&settings, "").unwrap();
    let put = |word: &&str| match *word {
        "/var/lib/tenure" => "data".to_owned(),
        "/etc/tenure.toml" => settings.to_str().unwrap().to_owned(),
        word => word.to_owned(),
    };
    let arguments: Vec<_> = words[1..].iter().map(put).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).chain(["--listen", "127.0.0.1:0"]).collect();
    let mut server = Server::start(&[BINARY], &arguments, &HashMap::new());
    assert!(server.get("/readyz").contains("ready"));
    assert!(server.stop().success());

    // What is not retried: the code that a missing settings file gives.
    fs::remove_file(&settings).unwrap();
    let refused = Command::new(BINARY).args(&arguments).current_dir(directory.path()).output().unwrap();
    assert_eq!(values(&unit, "RestartPreventExitStatus"), [refused.status.code().unwrap().to_string()]);
}

/// The group @resources looks superfluous in the filter, and costly reads lower their priority by it.
#[test]
fn the_server_makes_only_system_calls_that_the_unit_admits() {
    const TEST: &str = "that the unit admits each system call of the server";
    let Some(strace) = tool("strace") else {
        return not_run(TEST, "there is no strace; as root, tests/run installs it");
    };
    let Some(admitted) = admitted(TEST) else { return };
    let trace = tempfile::NamedTempFile::new().unwrap();
    let (strace, output) = (strace.to_str().unwrap(), trace.path().to_str().unwrap());
    let traced = [strace, "-f", "-qq", "-o", output, "-e", "signal=none", BINARY];
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data", "data"];
    let mut server = Server::start(&traced, &arguments, &HashMap::new());
    work(&server);
    // The tracer hands the signal on to nobody; the server is its child.
    stop_child_of(&mut server);
    let made = calls(&fs::read_to_string(trace.path()).unwrap());
    assert!(made.len() > 20 && made.contains("fdatasync") | made.contains("fsync"), "{made:?}");
    let refused: Vec<_> = made.difference(&admitted).collect();
    assert!(refused.is_empty(), "{refused:?}");
}

/// A subject, a session, a refused renewal, its end, and a costly read.
fn work(server: &Server) {
    let steps = [
        ("subject put a", 0),
        ("session create a --token-file t", 0),
        ("session renew --token-file t", 3),
        ("subject logout a --yes", 0),
    ];
    for (line, code) in steps {
        let run = server.run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(run.status.code(), Some(code), "{line}: {run:?}");
    }
    let key = fs::read_to_string(server.directory().join("data/admin.key")).unwrap();
    let check = ureq::get(format!("{}/v1/audit/check", server.url));
    check.header("authorization", format!("Bearer {}", key.trim())).call().unwrap();
}

fn stop_child_of(tracer: &mut Server) {
    let children = format!("/proc/{0}/task/{0}/children", tracer.id());
    let child = fs::read_to_string(children).unwrap().trim().parse().unwrap();
    let child = rustix::process::Pid::from_raw(child).unwrap();
    rustix::process::kill_process(child, rustix::process::Signal::TERM).unwrap();
    assert!(tracer.wait().success());
}

/// The calls of a trace. A line is `PID name(arguments) = result`, or one that is resumed.
fn calls(trace: &str) -> BTreeSet<String> {
    let behind = trace.lines().filter_map(|line| line.trim_start().split_once(' '));
    let names = behind.filter_map(|(_, call)| call.trim_start().split_once('('));
    let names = names
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
    names.map(str::to_owned).collect()
}

/// What the filters of the unit let through: a first set, less those behind `~`.
fn admitted(test: &str) -> Option<BTreeSet<String>> {
    let mut admitted = BTreeSet::new();
    for filter in values(&file(UNIT), "SystemCallFilter") {
        let (is_denied, names) = filter.strip_prefix('~').map_or((false, &*filter), |rest| (true, rest));
        for name in names.split(' ') {
            for call in group(test, name)? {
                if is_denied {
                    admitted.remove(&call)
                } else {
                    admitted.insert(call)
                };
            }
        }
    }
    // systemd always admits these.
    admitted.extend(group(test, "@default")?);
    admitted.insert("execve".to_owned());
    Some(admitted)
}

/// The system calls of a group, those of groups inside it included.
fn group(test: &str, name: &str) -> Option<Vec<String>> {
    if !name.starts_with('@') {
        return Some(vec![name.to_owned()]);
    }
    let (is_good, said) = analyze(test, &["syscall-filter", "--no-pager", name], Path::new("/"))?;
    assert!(is_good, "{said}");
    let lines = said.lines().map(str::trim).skip(1);
    let members = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    members.map(|member| group(test, member)).try_fold(Vec::new(), |all, some| Some([all, some?].concat()))
}

#[test]
fn the_user_of_the_unit_is_the_one_that_is_made() {
    let unit = file(UNIT);
    let users: Vec<_> = file("contrib/systemd/tenure.sysusers")
        .lines()
        .filter_map(|line| line.strip_prefix("u ")?.split(' ').next().map(str::to_owned))
        .collect();
    assert_eq!(values(&unit, "User"), users);
    let Some(sysusers) = tool("systemd-sysusers") else {
        return not_run("the system user", "there is no systemd-sysusers; as root, tests/run installs it");
    };
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let made = Command::new(sysusers)
        .arg(format!("--root={}", root.path().display()))
        .arg("--replace=/etc/sysusers.d/tenure.conf")
        .arg("-")
        .stdin(fs::File::open("contrib/systemd/tenure.sysusers").unwrap())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let passwords = fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    assert!(passwords.starts_with("tenure:x:"), "{passwords}");
}

/// A server that takes every connection that it can, and files of its own.
#[test]
fn the_unit_gives_as_many_descriptors_as_the_page_says_are_needed() {
    let [limit] = &values(&file(UNIT), "LimitNOFILE")[..] else { panic!("one limit is meant") };
    let page = file("docs/operations.md").replace(' ', "");
    assert!(page.contains(&format!("needs{limit}.")), "{limit}");
}
