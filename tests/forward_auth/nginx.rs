//! A real nginx on the configuration of the document, with nothing put in but addresses and the key.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tenure::clock::{pause, stopwatch};

use crate::{server::PATIENCE, surroundings::not_run};

const DOCUMENT: &str = include_str!("../../docs/forward-auth.md");

/// A running nginx. It is killed when it goes out of scope.
pub(crate) struct Nginx {
    pub(crate) address: SocketAddr,
    process: Child,
    directory: TempDir,
}

/// The blocks of that language in the document: the configuration, and what sends browsers to a page to sign in.
fn documented() -> [&'static str; 2] {
    let blocks: Vec<_> =
        DOCUMENT.split("```nginx\n").skip(1).map(|rest| rest.split("\n```\n").next()).collect();
    let [Some(whole), Some(sign_in)] = blocks[..] else { panic!("two blocks are meant: {}", blocks.len()) };
    [whole, sign_in]
}

/// The configuration with the change that the document describes for browsers.
fn with_sign_in() -> String {
    let [whole, sign_in] = documented();
    let refused = "error_page 401 = @tenure_no;";
    let changed = "error_page 401 = $tenure_refusal;";
    assert!(DOCUMENT.contains(&format!("`{changed}`")), "the document says which line changes");
    let asked = "    location = /_tenure {";
    put(&put(whole, refused, changed), asked, &format!("{sign_in}\n{asked}"))
}

/// Puts something else in the place of what the document says; it must say it.
fn put(configuration: &str, said: &str, instead: &str) -> String {
    assert!(configuration.contains(said), "the documented configuration lacks {said:?}");
    configuration.replace(said, instead)
}

impl Nginx {
    /// None where there is no nginx; a machine that must leave nothing out has one.
    pub(crate) fn start(test: &str, tenure: SocketAddr, application: SocketAddr, key: &str) -> Option<Self> {
        Self::on(documented()[0], test, tenure, application, key)
    }

    /// The same, on the configuration that sends browsers to a page to sign in.
    pub(crate) fn start_with_sign_in(
        test: &str,
        tenure: SocketAddr,
        application: SocketAddr,
        key: &str,
    ) -> Option<Self> {
        Self::on(&with_sign_in(), test, tenure, application, key)
    }

    fn on(
        configuration: &str,
        test: &str,
        tenure: SocketAddr,
        application: SocketAddr,
        key: &str,
    ) -> Option<Self> {
        let Some(binary) = binary() else {
            not_run(test, "there is no nginx; as root, tests/run installs it");
            return None;
        };
        let address = free_address();
        let server = put(configuration, "127.0.0.1:7300", &tenure.to_string());
        let server = put(&server, "127.0.0.1:8080", &application.to_string());
        let server = put(&server, "127.0.0.1:8000", &address.to_string());
        let server = put(&server, "tnr_key_…", key);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("nginx.conf");
        fs::write(&file, whole(directory.path(), &server)).unwrap();
        let process = Command::new(binary)
            .args(["-p", directory.path().to_str().unwrap(), "-c", file.to_str().unwrap()])
            .args(["-e", directory.path().join("error.log").to_str().unwrap()])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut nginx = Self { address, process, directory };
        nginx.wait();
        Some(nginx)
    }

    fn wait(&mut self) {
        let begun = stopwatch();
        while TcpStream::connect(self.address).is_err() {
            let log = || fs::read_to_string(self.directory.path().join("error.log")).unwrap_or_default();
            assert!(self.process.try_wait().unwrap().is_none(), "nginx has ended: {}", log());
            assert!(begun.elapsed() < PATIENCE, "nginx does not listen: {}", log());
            pause(Duration::from_millis(20));
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// What is around the documented part: one process, all its files in one directory.
fn whole(directory: &Path, server: &str) -> String {
    let place = |name: &str| directory.join(name).display().to_string();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary = kinds.map(|kind| format!("    {kind}_temp_path {};\n", place(kind))).concat();
    format!(
        "daemon off;\nmaster_process off;\npid {};\nevents {{ worker_connections 256; }}\nhttp {{\n{temporary}    \
         access_log off;\n{server}\n}}\n",
        place("nginx.pid")
    )
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn binary() -> Option<&'static str> {
    ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"]
        .into_iter()
        .find(|path| Path::new(path).exists())
}
