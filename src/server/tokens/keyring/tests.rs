use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use super::*;
use tenure_core::{
    Commit, CommitId, Event, Seconds, StreamId,
    command::{RotateKey, SystemCommand},
    decide::decide_system,
    keys::RetireMode,
    observed::Observation,
    state::AuthorityState,
};
use tenure_files::key_files::write_private;
use tenure_protocol::entropy::{OsEntropy, SeededEntropy};

const START: Timestamp = Timestamp::from_millis(1_000_000);

fn after(seconds: u32) -> Timestamp {
    START.plus(Seconds(seconds))
}

/// A keyring and the facts about it.
struct World {
    dir: tempfile::TempDir,
    state: AuthorityState,
    ring: TokenKeyring,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ring =
            TokenKeyring::open(&dir.path().join("keys"), &KeyHistory::default(), START, &OsEntropy).unwrap();
        let mut world = Self { dir, state: AuthorityState::default(), ring };
        let keys = KeyUse::ALL.map(|(_, which)| (which, world.ring.active(which))).to_vec();
        world.record(&SystemCommand::AdmitKeys(keys), START);
        world.follow(START);
        world
    }

    fn record(&mut self, command: &SystemCommand, at: Timestamp) {
        let observed = Observation::default();
        let events = decide_system(&self.state.system, command, &observed, at).unwrap();
        let commit = Commit {
            id: CommitId::from_bytes([0; 16]),
            stream: StreamId::System,
            expected: self.state.system.version,
            recorded_at: at,
            actor: tenure_core::Actor::AUTHORITY,
            correlation_id: None,
            idempotency: None,
            events: events.into_iter().map(Event::from).collect(),
        };
        self.state.apply(&commit).unwrap();
    }

    /// Keeps a key, and records that it seals; nothing follows that yet.
    fn admit(&mut self, which: KeyUse, retire: RetireMode, at: Timestamp) -> KeyId {
        let key = NewKey::draw(which, &OsEntropy);
        let key_id = key.id().clone();
        self.ring.keep(key).unwrap();
        let overlap = Some(Seconds(1_000));
        let rotate = RotateKey { which, key_id: key_id.clone(), retire, overlap };
        self.record(&SystemCommand::RotateKey(rotate), at);
        key_id
    }

    fn follow(&self, at: Timestamp) {
        assert!(self.ring.follow(&self.state.system.keys, at));
    }

    fn rotate(&mut self, which: KeyUse, retire: RetireMode, at: Timestamp) -> KeyId {
        let id = self.admit(which, retire, at);
        self.follow(at);
        id
    }

    fn reopened(&self, at: Timestamp) -> Result<TokenKeyring, KeyFileError> {
        TokenKeyring::open(&self.path(""), &self.state.system.keys, at, &OsEntropy)
    }

    fn files(&self, which: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(which)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("keys").join(name)
    }
}

fn opens(ring: &TokenKeyring, id: &KeyId, at: Timestamp) -> bool {
    ring.session.ring().key(id.as_str(), || at).is_some()
}

#[test]
fn the_first_keys_are_made_once() {
    let world = World::new();
    let again = world.reopened(START).unwrap();
    for (_, which) in KeyUse::ALL {
        assert_eq!(again.active(which), world.ring.active(which));
    }
    for path in ["session/0001.paserk", "access/0001.paserk"] {
        assert_eq!(fs::metadata(world.path(path)).unwrap().permissions().mode() & 0o777, 0o600, "{path}");
    }
}

#[test]
fn with_an_overlap_the_old_key_opens_until_it_is_over_and_its_file_goes_then() {
    let mut world = World::new();
    let first = world.ring.active(KeyUse::Session);
    let second = world.rotate(KeyUse::Session, RetireMode::Overlap, after(10));
    assert_eq!(world.ring.active(KeyUse::Session), second);
    assert!(opens(&world.ring, &first, after(1_009)) && !opens(&world.ring, &first, after(1_010)));
    assert!(opens(&world.ring, &second, after(1_010)));
    world.ring.remove_over(after(1_009));
    assert_eq!(world.files("session"), ["0001.paserk", "0002.paserk"]);
    world.ring.remove_over(after(1_010));
    assert_eq!(world.files("session"), ["0002.paserk"]);
    assert!(!opens(&world.ring, &first, START), "it is gone, whatever time it is");
    assert_eq!(world.files("access"), ["0001.paserk"], "the other use is left alone");
}

#[test]
fn without_an_overlap_every_key_before_is_gone_at_once_and_after_a_restart() {
    let mut world = World::new();
    let first = world.ring.active(KeyUse::Session);
    let second = world.rotate(KeyUse::Session, RetireMode::Overlap, after(10));
    let third = world.rotate(KeyUse::Session, RetireMode::Now, after(20));
    for ring in [world.ring.clone(), world.reopened(after(20)).unwrap()] {
        assert!(!opens(&ring, &first, after(20)) && !opens(&ring, &second, after(20)));
        assert_eq!(ring.active(KeyUse::Session), third);
    }
    assert_eq!(world.files("session"), ["0003.paserk"]);
}

#[test]
fn a_restart_within_the_overlap_opens_with_both_and_after_it_with_one() {
    let mut world = World::new();
    let first = world.ring.active(KeyUse::Session);
    world.rotate(KeyUse::Session, RetireMode::Overlap, after(10));
    assert!(opens(&world.reopened(after(500)).unwrap(), &first, after(500)));
    assert!(!opens(&world.reopened(after(1_010)).unwrap(), &first, after(1_010)));
    assert_eq!(world.files("session"), ["0002.paserk"]);
}

#[test]
fn a_key_that_was_written_and_never_admitted_does_not_seal_and_is_removed() {
    let world = World::new();
    let first = world.ring.active(KeyUse::Session);
    world.ring.keep(NewKey::draw(KeyUse::Session, &OsEntropy)).unwrap();
    assert_eq!(world.ring.active(KeyUse::Session), first);
    assert_eq!(world.reopened(START).unwrap().active(KeyUse::Session), first);
    assert_eq!(world.files("session"), ["0001.paserk"]);
}

#[test]
fn a_key_that_was_admitted_before_a_crash_seals_after_it() {
    let mut world = World::new();
    let second = world.admit(KeyUse::Access, RetireMode::Overlap, after(10));
    assert_ne!(world.ring.active(KeyUse::Access), second, "nothing has followed the fact yet");
    assert_eq!(world.reopened(after(10)).unwrap().active(KeyUse::Access), second);
}

#[test]
fn without_the_key_that_seals_nothing_opens_and_the_key_is_named() {
    let mut world = World::new();
    let second = world.rotate(KeyUse::Session, RetireMode::Overlap, after(10));
    fs::remove_file(world.path("session/0002.paserk")).unwrap();
    let said = world.reopened(after(10)).unwrap_err().to_string();
    assert!(said.contains(second.as_str()) && said.contains("session"), "{said}");
}

#[test]
fn without_a_retiring_key_the_others_work() {
    let mut world = World::new();
    let first = world.ring.active(KeyUse::Session);
    let second = world.rotate(KeyUse::Session, RetireMode::Overlap, after(10));
    fs::remove_file(world.path("session/0001.paserk")).unwrap();
    let ring = world.reopened(after(10)).unwrap();
    assert!(!opens(&ring, &first, after(10)) && opens(&ring, &second, after(10)));
}

#[test]
fn a_public_key_is_given_for_access_keys_that_work() {
    let mut world = World::new();
    let first = world.ring.active(KeyUse::Access);
    let second = world.rotate(KeyUse::Access, RetireMode::Overlap, after(10));
    for id in [&first, &second] {
        assert!(world.ring.public(id, after(20)).unwrap().starts_with("k4.public."));
    }
    assert_eq!(world.ring.public(&first, after(1_010)), None);
    assert_eq!(world.ring.public(&world.ring.active(KeyUse::Session), after(20)), None);
}

#[test]
fn a_damaged_key_is_named_and_not_quoted() {
    let world = World::new();
    for (path, content) in
        [("session/0001.paserk", "k4.local.QUJD"), ("access/0001.paserk", "k4.secret.QUJD")]
    {
        let good = fs::read_to_string(world.path(path)).unwrap();
        write_private(&world.path(path), content).unwrap();
        let said = world.reopened(START).unwrap_err().to_string();
        assert!(said.contains("0001.paserk is damaged") && !said.contains("QUJD"), "{said}");
        write_private(&world.path(path), &good).unwrap();
    }
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let world = World::new();
    fs::set_permissions(world.path("access/0001.paserk"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(
        world.reopened(START),
        Err(KeyFileError::OpenToOthers { mode: 0o644, right: 0o600, .. })
    ));
}

#[test]
fn what_a_crash_left_beside_the_keys_is_no_key() {
    let world = World::new();
    fs::write(world.path("session/0002.tmp"), "k4.lo").unwrap();
    let first = world.ring.active(KeyUse::Session);
    assert_eq!(world.reopened(START).unwrap().active(KeyUse::Session), first);
}

#[test]
fn a_file_that_is_named_as_no_key_is_named() {
    let world = World::new();
    let key = fs::read(world.path("session/0001.paserk")).unwrap();
    for name in ["session/first.paserk", "session/1.paserk"] {
        fs::write(world.path(name), &key).unwrap();
        let said = world.reopened(START).unwrap_err().to_string();
        assert!(said.contains(name), "{said}");
        fs::remove_file(world.path(name)).unwrap();
    }
}

#[test]
fn the_same_chance_gives_the_same_keys() {
    let (one, two) = (NewKey::draw(KeyUse::Access, &SeededEntropy::new(1)), SeededEntropy::new(1));
    assert_eq!(one.id(), NewKey::draw(KeyUse::Access, &two).id());
}
