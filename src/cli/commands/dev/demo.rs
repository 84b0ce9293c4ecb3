//! A night in two minutes, with commands that every user can type.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

use super::{lossy_network, temp_directory::TempDirectory};
use crate::cli::{
    connection::client::{ApiClient, ApiRequest},
    failure::CommandError,
    files::{secret::Secret, secret_file},
    output::Output,
};
use tenure_http_client::outbound::PlaintextPolicy;
use tenure_protocol::{clock::pause, wire::NewCredential};

/// How long each step stays on a terminal, to be read.
const READING: Duration = Duration::from_millis(2_500);

/// A part of the night: what happens, the commands, and what each exits with.
struct DemoAct {
    told: &'static str,
    commands: &'static [(&'static [&'static str], i32)],
}

const FILE: [&str; 2] = ["--session-file", "night-bot.session"];
const ALICE: [&str; 2] = ["--key-file", "alice.key"];

const ACTS: &[DemoAct] = &[
    DemoAct {
        told: "An agent, night-bot, is registered. Alice owns it: she sees and ends its sessions, and nothing else.",
        commands: &[(
            &["subject", "put", "night-bot", "--name", "Night shift", "--kind", "agent", "--owner", "alice"],
            0,
        )],
    },
    DemoAct {
        told: "It gets a session of 24 hours, which it may renew 30 times. Its token is in a file that only it can read.",
        commands: &[(&["session", "create", "night-bot", "--ttl", "24h", FILE[0], FILE[1]], 0)],
    },
    DemoAct {
        told: "13 hours later it renews its session itself, with nothing but its token. The old token is dead.",
        commands: &[(&["clock", "advance", "13h"], 0), (&["session", "renew", FILE[0], FILE[1]], 0)],
    },
    DemoAct {
        told: "At the next renewal the network loses the reply. The agent has no new token, and the old one was replaced.",
        commands: &[
            (&["clock", "advance", "13h"], 0),
            (&["session", "renew", FILE[0], FILE[1], "--url", LOSSY], 2),
        ],
    },
    DemoAct {
        told: "It runs the same command again. It gets a working token, and no second renewal is spent.",
        commands: &[(&["session", "renew", FILE[0], FILE[1]], 0)],
    },
    DemoAct {
        told: "Alice's phone shows the renewal. She does not want the agent to work at night, and vetoes it.",
        commands: &[
            (&["veto", ALICE[0], ALICE[1]], 0),
            (&["veto", "night-bot", ALICE[0], ALICE[1], "--reason", "not at night", "--yes"], 0),
        ],
    },
    DemoAct {
        told: "The agent is out at its next call.",
        commands: &[(&["session", "renew", FILE[0], FILE[1]], 3)],
    },
    DemoAct {
        told: "In the morning the story says who did what, and why. All of it is in a signed, append-only log.",
        commands: &[(&["session", "story", "night-bot", ALICE[0], ALICE[1]], 0)],
    },
];

/// Stands for the address of the network that loses replies.
const LOSSY: &str = "http://LOSSY";

/// Shows all of it, and stops at what does not go as it should.
pub(super) fn run(output: Output, server: SocketAddr, place: &TempDirectory) -> Result<(), CommandError> {
    let url = format!("http://{server}");
    let admin = secret_file::read(&place.key_file())?;
    write_alices_key(&url, &admin, place)?;
    let stage =
        DemoStage { output, url, lossy: format!("http://{}", lossy_network::towards(server)?), admin, place };
    for act in ACTS {
        stage.show(act)?;
    }
    output.hint("\nThat was all of it, and it is thrown away now. To try it yourself: tenure dev");
    Ok(())
}

fn write_alices_key(url: &str, admin: &Secret, place: &TempDirectory) -> Result<(), CommandError> {
    let client = ApiClient::new(url, Some(admin.clone()), PlaintextPolicy::Refused)?;
    let alice = "alice".parse().expect("it is the id of an owner");
    let body = NewCredential { name: Some("Alice's phone".into()), ..NewCredential::for_owner(alice) };
    let made = client.send(&ApiRequest::post(&["v1", "credentials"], body))?.body;
    let key = made["key"].as_str().ok_or_else(|| client.strange(201, "the reply has no key"))?;
    secret_file::TokenReplacement::prepare(&place.path().join("alice.key"))?.commit(&Secret::new(key))
}

struct DemoStage<'p> {
    output: Output,
    url: String,
    lossy: String,
    admin: Secret,
    place: &'p TempDirectory,
}

impl DemoStage<'_> {
    fn show(&self, act: &DemoAct) -> Result<(), CommandError> {
        self.output.narrative_line(&format!("\n# {}", act.told))?;
        for (words, expected) in act.commands {
            self.pause();
            self.output.narrative_line(&format!("$ tenure {}", typed(words)))?;
            let code = self.command(words)?.status().map_err(CommandError::from)?.code();
            if code != Some(*expected) {
                let why = format!("tenure {} did not go as it should: {code:?}", typed(words));
                return Err(CommandError::Server(why));
            }
        }
        self.pause();
        Ok(())
    }

    /// A person reads it; a test does not.
    fn pause(&self) {
        if self.output.is_for_people() {
            pause(READING);
        }
    }

    fn command(&self, words: &[&str]) -> Result<Command, CommandError> {
        let words = words.iter().map(|word| if *word == LOSSY { &self.lossy[..] } else { word });
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(words)
            .current_dir(self.place.path())
            .env_remove("TENURE_CONTEXT")
            .env_remove("TENURE_TOKEN")
            .env_remove("TENURE_SESSION_FILE")
            .env("TENURE_URL", &self.url)
            .env("TENURE_KEY", self.admin.expose())
            .stdin(Stdio::null());
        Ok(command)
    }
}

/// As one would type it.
fn typed(words: &[&str]) -> String {
    let one = |word: &&str| match *word {
        LOSSY => "http://a-bad-network".to_owned(),
        word if word.contains([' ', '\'']) => format!("\"{word}\""),
        word => word.to_owned(),
    };
    words.iter().map(one).collect::<Vec<_>>().join(" ")
}
