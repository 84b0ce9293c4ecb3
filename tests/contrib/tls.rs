//! The page about TLS proxies: a real nginx and a real Caddy with the configurations that it shows.

use std::{
    collections::HashMap,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use tenure::clock::{pause, stopwatch};
use ureq::{Agent, tls::TlsConfig};

use crate::{
    server::{PATIENCE, Server, file, tool},
    surroundings::not_run,
};

/// The block of that language on the page.
fn documented(language: &str) -> String {
    let page = file("docs/tls.md");
    let blocks: Vec<_> = page.split(&format!("```{language}\n")).skip(1).collect();
    let [block] = blocks[..] else { panic!("one block of {language} is meant") };
    block.split("\n```\n").next().unwrap().to_owned()
}

/// Puts something else in the place of what the page says; it must say it.
fn put(text: &str, said: &str, instead: &str) -> String {
    assert!(text.contains(said), "the page lacks {said:?}");
    text.replace(said, instead)
}

/// A running proxy; killed when it goes out of scope.
struct Proxy {
    process: Child,
    url: String,
    _folder: tempfile::TempDir,
}

impl Proxy {
    /// Once it listens at this address; what it wrote to the file says why it does not.
    fn listening(process: Child, address: SocketAddr, folder: tempfile::TempDir, log: &str) -> Self {
        let log = folder.path().join(log);
        let mut proxy = Self { process, url: format!("https://{address}"), _folder: folder };
        let begun = stopwatch();
        while TcpStream::connect(address).is_err() {
            let log = || fs::read_to_string(&log).unwrap_or_default();
            assert!(proxy.process.try_wait().unwrap().is_none(), "it has ended: {}", log());
            assert!(begun.elapsed() < PATIENCE, "it does not listen: {}", log());
            pause(std::time::Duration::from_millis(20));
        }
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// An address that is free, and a folder with a certificate.
fn ground() -> (SocketAddr, tempfile::TempDir) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let made =
        rcgen::generate_simple_self_signed(["tenure.example.com", "127.0.0.1"].map(str::to_owned)).unwrap();
    fs::write(folder.path().join("tenure.pem"), made.cert.pem()).unwrap();
    fs::write(folder.path().join("tenure.key"), made.signing_key.serialize_pem()).unwrap();
    (address, folder)
}

fn nginx(binary: &Path, tenure: &str, change: impl Fn(String) -> String) -> Proxy {
    let (address, folder) = ground();
    let path = folder.path().to_owned();
    let place = |name: &str| path.join(name).to_str().unwrap().to_owned();

    let server = put(&change(documented("nginx")), "127.0.0.1:7300", tenure.trim_start_matches("http://"));
    let server = put(&server, "listen 443 ssl", &format!("listen {address} ssl"));
    let server = put(&server, "/etc/ssl/tenure.pem", &place("tenure.pem"));
    let server = put(&server, "/etc/ssl/private/tenure.key", &place("tenure.key"));
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = kinds.map(|kind| format!("{kind}_temp_path {};\n", place(kind))).concat();
    let whole = format!(
        "daemon off;\nmaster_process off;\npid {};\nevents {{}}\nhttp {{\n{temporary}access_log off;\n{server}\n}}\n",
        place("nginx.pid")
    );
    fs::write(place("nginx.conf"), whole).unwrap();
    let process = Command::new(binary)
        .args(["-p", &place(""), "-c", &place("nginx.conf"), "-e", &place("error.log")])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    Proxy::listening(process, address, folder, "error.log")
}

fn caddy(binary: &Path, tenure: &str, change: impl Fn(String) -> String) -> Proxy {
    let (address, folder) = ground();
    let place = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let site = put(&change(documented("caddyfile")), "127.0.0.1:7300", tenure.trim_start_matches("http://"));
    // No authority gives a certificate for a test's address.
    let own = format!("https://{address} {{\n    tls {} {}\n", place("tenure.pem"), place("tenure.key"));
    let site = put(&site, "tenure.example.com {\n", &own);
    let options = "{\n    admin off\n    auto_https disable_redirects\n}\n";
    fs::write(place("Caddyfile"), format!("{options}{site}")).unwrap();
    let process = Command::new(binary)
        .args(["run", "--adapter", "caddyfile", "--config", &place("Caddyfile")])
        .env_clear()
        .env("HOME", folder.path())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stderr(fs::File::create(place("caddy.log")).unwrap())
        .spawn()
        .unwrap();
    Proxy::listening(process, address, folder, "caddy.log")
}

/// The status of a reply; the certificate is of the test's own.
fn status(url: &str, headers: &[(&str, &str)]) -> u16 {
    let tls = TlsConfig::builder().disable_verification(true).build();
    let agent: Agent = Agent::config_builder().tls_config(tls).http_status_as_error(false).build().into();
    let mut request = agent.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.call().unwrap().status().as_u16()
}

/// What is for callers is passed on, what is for the inside is not, and no client chooses its address. `start` changes
/// the documented configuration first.
fn guards_the_api(start: impl Fn(&str, &dyn Fn(String) -> String) -> Proxy, inside: &str, nothing: &str) {
    let settings: toml::Table = documented("toml").parse().unwrap();
    let proxies =
        format!("server.trusted_proxies={}", settings["server"]["trusted_proxies"][0].as_str().unwrap());
    // An address that is not the test's may read the metrics: whose address counts is seen by that.
    let server = Server::with(&[&proxies, "metrics.allow=192.0.2.1"], &HashMap::new());
    let behind = start(&server.url, &|text| text);
    assert_eq!(status(&format!("{}/readyz", behind.url), &[]), 200);
    let key = fs::read_to_string(server.directory().join("data/admin.key")).unwrap();
    let bearer = format!("Bearer {}", key.trim());
    assert_eq!(status(&format!("{}/v1/subjects", behind.url), &[("authorization", &bearer)]), 200);
    for path in ["/metrics", "/v1/forward-auth", "/v1/forward-auth/any"] {
        assert_eq!(status(&format!("{}{path}", behind.url), &[("x-tenure-key", key.trim())]), 404, "{path}");
    }

    // A client that claims an address is still at its own.
    let claimed = [("x-forwarded-for", "192.0.2.1")];
    assert_eq!(status(&format!("{}/metrics", server.url), &claimed), 200, "the proxy itself may say it");
    let open = start(&server.url, &|text| put(&text, inside, nothing));
    assert_eq!(status(&format!("{}/metrics", open.url), &claimed), 401);
}

#[test]
fn behind_nginx_the_api_answers_and_what_is_for_the_inside_does_not() {
    let Some(binary) = tool("nginx") else {
        return not_run("the API behind nginx", "there is no nginx; as root, tests/run installs it");
    };
    guards_the_api(
        |tenure, change| nginx(&binary, tenure, change),
        "location = /metrics { return 404; }",
        "",
    );
}

#[test]
fn behind_caddy_the_api_answers_and_what_is_for_the_inside_does_not() {
    let Some(binary) = tool("caddy") else {
        return not_run("the API behind Caddy", "there is no caddy; as root, tests/run installs it");
    };
    guards_the_api(|tenure, change| caddy(&binary, tenure, change), "path /metrics ", "path ");
}
