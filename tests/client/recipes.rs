//! The recipes of the page about credential helpers, as they stand there, with the programs that they are for.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};

use crate::{run::Fixture, run_proxy::Upstream, server::Session};

/// The blocks of that language on the page.
fn shown(language: &str) -> Vec<String> {
    let page = fs::read_to_string("docs/credential-helpers.md").unwrap();
    let fence = format!("```{language}\n");
    let blocks = page.split(&fence).skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

fn program(fixture: &Fixture, name: &str, text: &str) -> String {
    let path = fixture.place(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A session in a file, and a shell that finds it and this binary.
fn fixture() -> (Fixture, Session, impl Fn(&Fixture, &str) -> String) {
    let fixture = Fixture::new();
    let created =
        fixture.tenure(&["session", "create", "agent-7", "--session-file", "a.session"]).output().unwrap();
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let kept: Value = serde_json::from_str(&fs::read_to_string(fixture.place("a.session")).unwrap()).unwrap();
    let text = |name: &str| kept[name].as_str().unwrap().to_owned();
    let session = Session { id: text("sessionId"), token: text("token") };
    let shell = |fixture: &Fixture, script: &str| {
        let mut command = Command::new("sh");
        for (name, value) in fixture.tenure(&[]).get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let output = command
            .args(["-c", script])
            .env("TENURE_SESSION_FILE", fixture.place("a.session"))
            .env("HOME", fixture.place("."))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    (fixture, session, shell)
}

#[test]
fn curl_sends_the_token_and_no_argument_has_it() {
    let (fixture, session, shell) = fixture();
    let upstream = Upstream::ok();
    let recipe = shown("sh")[0].replace("https://api.example.com", &upstream.url);
    assert!(recipe.contains(&upstream.url), "{recipe}");
    assert_eq!(shell(&fixture, &recipe), "hello");
    let [head] = &upstream.heads()[..] else { panic!("one request") };
    assert!(head.contains(&format!("Authorization: Bearer {}", session.token)), "{head}");
}

#[test]
fn git_gets_the_token_for_its_host_alone() {
    let (fixture, session, shell) = fixture();
    let git = ["/usr/bin/git", "/usr/local/bin/git"].into_iter().find(|path| Path::new(path).exists());
    let Some(git) = git else { return println!("*** NOT RUN: the recipe for git: there is no git") };
    fs::write(fixture.place(".gitconfig"), &shown("ini")[0]).unwrap();
    let ask = |host: &str| {
        shell(
            &fixture,
            &format!("printf 'protocol=https\\nhost={host}\\n\\n' | {git} credential fill || true"),
        )
    };
    let filled = ask("git.example.com");
    assert!(filled.contains(&format!("username=tenure\npassword={}\n", session.token)), "{filled}");
    assert!(!ask("other.example.com").contains("tnr_"));
}

#[test]
fn the_programs_for_kubectl_and_docker_answer_in_their_forms() {
    let (fixture, session, shell) = fixture();
    let kubectl = program(&fixture, "kubectl-tenure", &shown("sh")[1]);
    let answer: Value = serde_json::from_str(&shell(&fixture, &kubectl)).unwrap();
    assert_eq!(
        (&answer["kind"], &answer["status"]["token"]),
        (&json!("ExecCredential"), &json!(session.token))
    );
    let docker = program(&fixture, "docker-credential-tenure", &shown("sh")[2]);
    let answer: Value =
        serde_json::from_str(&shell(&fixture, &format!("echo registry.example.com | {docker} get"))).unwrap();
    let expected =
        json!({"ServerURL": "registry.example.com", "Username": "tenure", "Secret": session.token});
    assert_eq!(answer, expected);
    assert_eq!(shell(&fixture, &format!("echo x | {docker} store")), "");
    assert!(!session.id.is_empty());
}

/// A service behind TLS that asks for a credential, and answers whoever brings one. Neither kubectl nor Docker sends one in
/// the clear.
struct Secured {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Secured {
    /// Its certificate is put into `ca.pem`.
    fn answering(fixture: &Fixture, kind: &'static str, body: &'static str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        fs::write(fixture.place("ca.pem"), made.cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let (config, heads) = (Arc::new(config), Arc::new(Mutex::new(Vec::new())));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let kept = Arc::clone(&heads);
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let (kept, stream) = (Arc::clone(&kept), StreamOwned::new(connection, stream.unwrap()));
                thread::spawn(move || serve(stream, &kept, kind, body));
            }
        });
        Self { address, heads }
    }

    fn credentials(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let lines = heads.iter().flat_map(|head| head.lines());
        lines.filter_map(|line| line.strip_prefix("Authorization: ").map(str::to_owned)).collect()
    }
}

fn serve(
    mut stream: StreamOwned<ServerConnection, TcpStream>,
    kept: &Mutex<Vec<String>>,
    kind: &str,
    body: &str,
) {
    let head = head_of(&mut stream);
    if head.is_empty() {
        // It spoke no TLS.
        return;
    }
    let is_known = head.to_lowercase().contains("\r\nauthorization: ");
    kept.lock().unwrap().push(head);
    let about = if is_known {
        format!("200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    } else {
        "401 Unauthorized\r\nwww-authenticate: Basic realm=\"x\"\r\ncontent-length: 0\r\n\r\n".to_owned()
    };
    // A client that does not trust the certificate is gone.
    let _ = stream.write_all(format!("HTTP/1.1 {about}").as_bytes());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

fn head_of(stream: &mut impl Read) -> String {
    let (mut head, mut lines) = (String::new(), BufReader::with_capacity(1, stream));
    while lines.read_line(&mut head).is_ok_and(|read| read > 2) {}
    head
}

#[test]
fn kubectl_itself_sends_the_token() {
    let (fixture, session, shell) = fixture();
    if !Path::new("/usr/bin/kubectl").exists() {
        return println!("*** NOT RUN: the recipe for kubectl: there is no kubectl");
    }
    program(&fixture, "kubectl-tenure", &shown("sh")[1]);
    let api = Secured::answering(&fixture, "application/json", r#"{"kind":"Status"}"#);
    let users = &shown("yaml")[0];
    let cluster = format!("{{server: 'https://{}', certificate-authority: ca.pem}}", api.address);
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {cluster}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: agent-7}}}}]\n{users}"
    );
    fs::write(fixture.place("config"), config).unwrap();
    let directory = fixture.place(".").display().to_string();
    let ask = format!("cd {directory} && PATH=$PWD:$PATH kubectl --kubeconfig config get --raw /api");
    assert_eq!(shell(&fixture, &ask), r#"{"kind":"Status"}"#);
    assert_eq!(api.credentials().pop(), Some(format!("Bearer {}", session.token)));
}

#[test]
fn docker_itself_sends_the_token() {
    let (fixture, session, shell) = fixture();
    let docker =
        ["/usr/local/bin/docker", "/usr/bin/docker"].into_iter().find(|path| Path::new(path).exists());
    let Some(docker) = docker else {
        return println!("*** NOT RUN: the recipe for Docker: there is no docker");
    };
    program(&fixture, "docker-credential-tenure", &shown("sh")[2]);
    let registry = Secured::answering(&fixture, "application/json", "{}");
    let helpers = json!({ "credHelpers": { registry.address.as_str(): "tenure" } });
    fs::write(fixture.place("config.json"), helpers.to_string()).unwrap();
    let directory = fixture.place(".").display().to_string();
    // That there is no such image is not the question.
    let ask = format!(
        "cd {directory}; PATH=$PWD:$PATH DOCKER_CONFIG=$PWD {docker} manifest inspect {}/a:1 || true",
        registry.address
    );
    shell(&fixture, &ask);
    let basic = BASE64_STANDARD.encode(format!("tenure:{}", session.token));
    assert_eq!(registry.credentials().pop(), Some(format!("Basic {basic}")));
}
