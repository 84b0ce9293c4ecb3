//! The recipes of the page about credential helpers, as they stand there, with the programs that they are for.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{run::Ground, run_proxy::Upstream, server::Session};

/// The blocks of that language on the page.
fn shown(language: &str) -> Vec<String> {
    let page = fs::read_to_string("docs/credential-helpers.md").unwrap();
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

fn program(ground: &Ground, name: &str, text: &str) -> String {
    let path = ground.place(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A session in a file, and a shell that finds it and this binary.
fn ground() -> (Ground, Session, impl Fn(&Ground, &str) -> String) {
    let ground = Ground::new();
    let created =
        ground.tenure(&["session", "create", "agent-7", "--session-file", "a.session"]).output().unwrap();
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let kept: Value = serde_json::from_str(&fs::read_to_string(ground.place("a.session")).unwrap()).unwrap();
    let text = |name: &str| kept[name].as_str().unwrap().to_owned();
    let session = Session { id: text("sessionId"), token: text("token") };
    let shell = |ground: &Ground, script: &str| {
        let mut command = Command::new("sh");
        for (name, value) in ground.tenure(&[]).get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let output = command
            .args(["-c", script])
            .env("TENURE_SESSION_FILE", ground.place("a.session"))
            .env("HOME", ground.place("."))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    (ground, session, shell)
}

#[test]
fn curl_sends_the_token_and_no_argument_has_it() {
    let (ground, session, shell) = ground();
    let upstream = Upstream::ok();
    let recipe = shown("sh")[0].replace("https://api.example.com", &upstream.url);
    assert!(recipe.contains(&upstream.url), "{recipe}");
    assert_eq!(shell(&ground, &recipe), "hello");
    let [head] = &upstream.heads()[..] else { panic!("one request") };
    assert!(head.contains(&format!("Authorization: Bearer {}", session.token)), "{head}");
}

#[test]
fn git_gets_the_token_for_its_host_alone() {
    let (ground, session, shell) = ground();
    let git = ["/usr/bin/git", "/usr/local/bin/git"].into_iter().find(|path| Path::new(path).exists());
    let Some(git) = git else { return println!("*** NOT RUN: the recipe for git: there is no git") };
    fs::write(ground.place(".gitconfig"), &shown("ini")[0]).unwrap();
    let ask = |host: &str| {
        shell(
            &ground,
            &format!("printf 'protocol=https\\nhost={host}\\n\\n' | {git} credential fill || true"),
        )
    };
    let filled = ask("git.example.com");
    assert!(filled.contains(&format!("username=tenure\npassword={}\n", session.token)), "{filled}");
    assert!(!ask("other.example.com").contains("tnr_"));
}

#[test]
fn the_programs_for_kubectl_and_docker_answer_in_their_forms() {
    let (ground, session, shell) = ground();
    let kubectl = program(&ground, "kubectl-tenure", &shown("sh")[1]);
    let answer: Value = serde_json::from_str(&shell(&ground, &kubectl)).unwrap();
    assert_eq!(
        (&answer["kind"], &answer["status"]["token"]),
        (&json!("ExecCredential"), &json!(session.token))
    );
    let docker = program(&ground, "docker-credential-tenure", &shown("sh")[2]);
    let answer: Value =
        serde_json::from_str(&shell(&ground, &format!("echo registry.example.com | {docker} get"))).unwrap();
    let expected =
        json!({"ServerURL": "registry.example.com", "Username": "tenure", "Secret": session.token});
    assert_eq!(answer, expected);
    assert_eq!(shell(&ground, &format!("echo x | {docker} store")), "");
    assert!(!session.id.is_empty());
}
