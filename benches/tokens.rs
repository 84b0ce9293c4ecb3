//! What a session token costs: sealing one, opening one never seen before, opening one seen before.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tenure::{
    core::{Generation, Timestamp, keys::KeyHistory},
    entropy::{OsEntropy, session_id},
    tokens::{TokenKeyring, TokenSealer},
};

fn tokens(c: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let keyring =
        TokenKeyring::open(&dir.path().join("keys"), &KeyHistory::default(), Timestamp::ZERO, &OsEntropy);
    let keyring = keyring.expect("a keyring");
    let warm = TokenSealer::new(keyring.clone(), 100_000, &OsEntropy);
    let cold = TokenSealer::new(keyring, 0, &OsEntropy);
    let session = session_id(&OsEntropy, Timestamp::ZERO);

    c.bench_function("seal", |b| b.iter(|| warm.seal(black_box(session), Generation::FIRST)));
    let token = warm.seal(session, Generation::FIRST);
    c.bench_function("open cold", |b| b.iter(|| cold.open(black_box(token.expose()), || Timestamp::ZERO)));
    c.bench_function("open warm", |b| b.iter(|| warm.open(black_box(token.expose()), || Timestamp::ZERO)));
}

criterion_group!(benches, tokens);
criterion_main!(benches);
