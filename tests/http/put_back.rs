//! A data directory that is put back from a copy made by hand: nothing begins a new epoch then.

use std::process::Command;

use crate::server::Server;

/// The renewal of the lost history and the one after the copy was put back were both of generation 2, and the token of
/// the lost one, refused at first, was good again as soon as the session was renewed.
#[test]
fn a_token_of_a_lost_renewal_never_becomes_good_by_another_renewal() {
    let mut server = Server::start();
    let session = server.session("agent", 300);
    assert!(server.stop().success(), "{}", server.said());
    let (data, copy) = (server.data(), server.data().with_extension("copy"));
    copy_directory(&data, &copy);
    server.start_again();
    server.advance(150);
    let lost = session.renewed(&server.renew(&session).send().expect(200));
    assert_eq!(server.introspect(&lost.token).json()["active"], true);

    assert!(server.stop().success(), "{}", server.said());
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&copy, &data).unwrap();
    server.start_again();
    let code = |token: &str| server.introspect(token).json()["code"].clone();
    assert_eq!(code(&lost.token), "INVALID_TOKEN");
    server.advance(150);
    let renewed = session.renewed(&server.renew(&session).send().expect(200));
    assert_eq!(code(&lost.token), "INVALID_TOKEN");
    assert_eq!(server.introspect(&renewed.token).json()["active"], true);
    server.renew(&lost).send().expect(401);
    server.delete(&lost.path()).bearer(&lost.token).send().expect(401);
    assert_eq!(
        server.introspect(&renewed.token).json()["active"],
        true,
        "a stranger's token ended the session"
    );
}

fn copy_directory(from: &std::path::Path, to: &std::path::Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}
