//! The Containerfile: its bases are pinned, its user is not root, and what it starts is the binary as the page says.

use std::{collections::HashMap, fs, path::Path, process::Command, time::Duration};

use tenure::clock::{pause, stopwatch};

use crate::{
    server::{BINARY, PATIENCE, Server, file, tool},
    surroundings::{say, variable},
};

const CONTAINERFILE: &str = "contrib/container/Containerfile";

/// The instructions, each with what follows its name; lines that go on are joined.
fn instructions() -> Vec<(String, String)> {
    let text = file(CONTAINERFILE).replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once(' ').unwrap_or_else(|| panic!("{line:?}")));
    pairs.map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
}

/// What follows the instructions of this name.
fn all(name: &str) -> Vec<String> {
    instructions().into_iter().filter(|(it, _)| it == name).map(|(_, rest)| rest).collect()
}

/// The value of an instruction that is written as a list in JSON.
pub(crate) fn list(name: &str) -> Vec<String> {
    let [value] = &all(name)[..] else { panic!("one {name} is meant") };
    serde_json::from_str(value).unwrap()
}

/// The user that the image runs as.
pub(crate) fn user() -> u64 {
    let [user] = &all("USER")[..] else { panic!("one USER is meant") };
    let (user, group) = user.split_once(':').expect("a user and a group");
    assert_eq!(user, group);
    user.parse().expect("a number: Kubernetes cannot see whether a name is root")
}

#[test]
fn it_is_made_of_known_instructions_and_ends_as_a_program() {
    let known = [
        "FROM",
        "WORKDIR",
        "ENV",
        "COPY",
        "RUN",
        "ARG",
        "USER",
        "VOLUME",
        "EXPOSE",
        "STOPSIGNAL",
        "ENTRYPOINT",
        "CMD",
    ];
    for (name, _) in instructions() {
        assert!(known.contains(&&*name), "{name}");
    }
    assert_ne!(user(), 0);
    assert_eq!(list("ENTRYPOINT"), ["/usr/local/bin/tenure"]);
    assert!(list("CMD").join(" ").starts_with(&format!("serve --data {}/", list("VOLUME")[0])));
}

#[test]
fn each_base_is_pinned_by_its_digest() {
    let bases = all("FROM");
    assert_eq!(bases.len(), 2);
    for base in bases {
        let (name, digest) = base.split_once("@sha256:").unwrap_or_else(|| panic!("{base}"));
        let digest = digest.split(' ').next().unwrap();
        assert!(digest.len() == 64 && digest.bytes().all(|it| it.is_ascii_hexdigit()), "{base}");
        assert!(name.contains('/') && name.contains(':') && !name.ends_with(":latest"), "{base}");
    }
}

/// The base has the compiler that the packages ask for.
#[test]
fn the_compiler_is_the_oldest_that_the_packages_take() {
    let manifest: toml::Table = file("Cargo.toml").parse().unwrap();
    let version = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(all("FROM")[0].contains(&format!("/rust:{version}-")), "{version}");
}

/// A folder was forgotten, and the build of the image was the first to say so, minutes later.
#[test]
fn what_the_build_needs_is_copied() {
    let context = tempfile::tempdir().unwrap();
    for copied in all("COPY").iter().filter(|rest| !rest.starts_with("--from")) {
        let words: Vec<_> = copied.split(' ').collect();
        let (target, sources) = words.split_last().unwrap();
        for source in sources {
            assert!(Path::new(source).exists(), "{source}");
            let target = if *target == "./" { context.path().into() } else { context.path().join(target) };
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            assert!(Command::new("cp").arg("-r").arg(source).arg(target).status().unwrap().success());
        }
    }
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(context.path())
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    // A build script that is not there is no fault to cargo, and a variable that it sets is one to the compiler.
    assert_eq!(Path::new("build.rs").exists(), context.path().join("build.rs").exists());
    for source in ["src/lib.rs", "src/main.rs"] {
        for included in file(source).split("include_str!(\"../").skip(1) {
            let path = included.split('"').next().unwrap();
            assert!(context.path().join(path).is_file(), "{path} is not copied");
        }
    }
}

#[test]
fn what_the_image_starts_serves_and_takes_the_commands_of_the_page() {
    let volume = &list("VOLUME")[0];
    let arguments = list("CMD");
    let put = |word: &String| word.replace(volume, ".").replace("0.0.0.0:7300", "127.0.0.1:0");
    let arguments: Vec<_> = arguments.iter().map(put).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let mut server = Server::start(&[BINARY], &arguments, &HashMap::new());
    let page = file("contrib/README.md");
    let commands: Vec<_> =
        page.lines().filter_map(|line| line.strip_prefix("$ podman exec tenure tenure ")).collect();
    assert_eq!(commands.len(), 2);
    for command in commands {
        let command = command.replace(volume, ".");
        let run = Command::new(BINARY)
            .args(command.split(' '))
            .current_dir(server.directory())
            .env_clear()
            .env("TENURE_URL", &server.url)
            .output()
            .unwrap();
        assert!(run.status.success(), "{command}: {run:?}");
    }
    assert!(server.stop().success());
}

/// It takes a release build and pulls two images, so it has to be asked for.
#[test]
fn a_container_serves_on_a_file_system_that_it_cannot_write() {
    const TEST: &str = "the container";
    if variable("TENURE_TEST_CONTAINER").is_none() {
        return say("\n*** NOT RUN: the container: TENURE_TEST_CONTAINER=1 builds and runs it\n");
    }
    let engines = ["podman", "docker"].into_iter().filter_map(tool);
    let mut working =
        engines.filter(|engine| Command::new(engine).arg("info").output().unwrap().status.success());
    let Some(engine) = working.next() else {
        return say(&format!("\n*** NOT RUN: {TEST}: neither podman nor docker answers\n"));
    };
    let run = |arguments: &[&str]| {
        let output = Command::new(&engine).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    run(&["build", "-f", CONTAINERFILE, "-t", "tenure-test", "."]);
    let hardened = ["--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges"];
    let started = [&["run", "-d", "--rm", "-p", "127.0.0.1::7300"], &hardened[..], &["tenure-test"]].concat();
    let container = run(&started);
    let address = run(&["port", &container, "7300"]);
    let begun = stopwatch();
    while ureq::get(format!("http://{address}/readyz")).call().is_err() {
        assert!(begun.elapsed() < PATIENCE, "{}", run(&["logs", &container]));
        pause(Duration::from_millis(100));
    }
    let key = ["--key-file", "/var/lib/tenure/data/admin.key"];
    run(&[&["exec", &container, "tenure", "subject", "put", "agent-7"], &key[..]].concat());
    run(&["stop", &container]);
}

#[test]
fn the_page_builds_the_image_from_this_file() {
    let page = file("contrib/README.md");
    assert!(page.contains(&format!("build -f {CONTAINERFILE} ")));
    assert!(fs::metadata(CONTAINERFILE).is_ok());
}
