//! Several cookies of one name, and when cookies are cleared.
//!
//! A browser sends each cookie that fits: one of the host, one of the domain above it, one of another path, the longer
//! path first. Which of them are good is all that may count, for anyone may have set the others.

use serde_json::json;

use crate::{
    direct::{World, is_no, is_yes, world},
    server::{Reply, Session},
    sliding::{CLEARED, EXPIRED, INVALID, REVOKED},
};

const NAME: &str = "__Host-tenure_session";

fn named(name: &str, tokens: &[&str]) -> String {
    tokens.iter().map(|token| format!("{name}={token}")).collect::<Vec<_>>().join("; ")
}

impl World {
    fn with_cookies(&self, tokens: &[&str]) -> Reply {
        self.ask().header("Cookie", named(NAME, tokens)).send()
    }

    fn session_of(&self, subject: &str, ttl: u32) -> Session {
        self.server.register(subject, &json!({}));
        self.server.create(&json!({ "subjectId": subject, "ttl": ttl }))
    }

    fn revoke(&self, session: &Session) {
        self.server.delete(&session.path()).bearer(&self.server.admin).send().expect(200);
    }
}

/// A stale cookie in front of the good one was the only one looked at: 401 at every request, and signing in again put
/// the next good one behind it too. The clearing cookie then removed the good one and left the stale one.
#[test]
fn the_one_good_cookie_counts_wherever_it_stands() {
    let world = world(&[]);
    let dead = world.session_of("bob", 600);
    world.revoke(&dead);
    let good = world.session.token.as_str();
    for tokens in [
        [dead.token.as_str(), good],
        [good, &dead.token],
        ["tnr_sess_made-up", good],
        ["", good],
        [good, "%00"],
        [good, good],
    ] {
        let reply = world.with_cookies(&tokens);
        is_yes(&reply, &world.session);
        assert_eq!(reply.header("set-cookie"), None, "{reply:?}");
    }
}

#[test]
fn several_lines_count_as_one() {
    let world = world(&[]);
    let dead = world.session_of("bob", 600);
    world.revoke(&dead);
    let lines = world.ask().header("Cookie", named(NAME, &[&dead.token])).header("Cookie", "theme=dark");
    is_yes(&lines.header("Cookie", named(NAME, &[&world.session.token])).send(), &world.session);
    let other = world.session_of("eve", 600);
    let lines = world.ask().header("Cookie", named(NAME, &[&other.token]));
    is_no(&lines.header("Cookie", named(NAME, &[&world.session.token])).send(), INVALID, None);
}

/// A sister host can plant the cookie of a session of its own. The first one won: the user worked in it unawares.
#[test]
fn two_good_ones_of_different_sessions_are_none() {
    let world = world(&[]);
    let planted = world.session_of("mallory", 600);
    let good = world.session.token.as_str();
    let dead = "tnr_sess_made-up";
    is_no(&world.with_cookies(&[&planted.token, good]), INVALID, None);
    is_no(&world.with_cookies(&[good, &planted.token]), INVALID, None);
    is_no(&world.with_cookies(&[good, dead, &planted.token]), INVALID, None);
    world.revoke(&planted);
    is_yes(&world.with_cookies(&[&planted.token, good]), &world.session);
}

#[test]
fn the_new_and_the_old_seal_of_one_session_are_one() {
    let world = world(&[]);
    let rotate = json!({ "which": "session" });
    world.server.post("/v1/keys/rotate").bearer(&world.server.admin).json(&rotate).send().expect(200);
    world.server.advance(300);
    let reply = world.with_cookies(&[&world.session.token]);
    let new = reply.header("set-cookie").unwrap().split(['=', ';']).nth(1).unwrap().to_owned();
    assert_ne!(new, world.session.token);
    is_yes(&world.with_cookies(&[&world.session.token, &new]), &world.session);
    is_yes(&world.with_cookies(&[&new, &world.session.token]), &world.session);
}

#[test]
fn of_several_dead_ones_the_last_is_told_and_all_are_cleared_only_if_all_are_over() {
    let world = world(&[]);
    let (expired, revoked) = (world.session_of("bob", 300), world.session_of("eve", 1_000));
    let renewed = world.session_of("dan", 600);
    world.server.advance(300);
    world.server.renew(&renewed).send().expect(200);
    world.revoke(&revoked);
    let (expired, revoked, replaced) = (&*expired.token, &*revoked.token, &*renewed.token);
    is_no(&world.with_cookies(&[expired, revoked]), REVOKED, Some(CLEARED));
    is_no(&world.with_cookies(&[revoked, expired]), EXPIRED, Some(CLEARED));
    is_no(&world.with_cookies(&[revoked]), REVOKED, Some(CLEARED));
    for other in [replaced, "tnr_sess_made-up", ""] {
        is_no(&world.with_cookies(&[expired, other]), INVALID, None);
        is_no(&world.with_cookies(&[other, expired]), EXPIRED, None);
    }
}

#[test]
fn more_than_eight_are_refused_without_a_look_at_them() {
    let world = world(&[]);
    let good = world.session.token.as_str();
    let with = |number: usize| {
        let mut tokens = vec!["tnr_sess_made-up"; number - 1];
        tokens.push(good);
        world.with_cookies(&tokens)
    };
    is_yes(&with(8), &world.session);
    is_no(&with(9), INVALID, None);
    world.revoke(&world.session);
    is_no(&world.with_cookies(&[good; 8]), REVOKED, Some(CLEARED));
    is_no(&world.with_cookies(&[good; 9]), INVALID, None);
}

/// The late request of a page, with the token that a renewal had just replaced, cleared the cookie that the browser had
/// got from that renewal: the loser of a race signed the winner out.
#[test]
fn a_replaced_token_clears_nothing() {
    let world = world(&[]);
    let old = world.session_of("bob", 600);
    world.server.advance(300);
    world.server.renew(&old).send().expect(200);
    is_no(&world.with_cookies(&[&old.token]), INVALID, None);
}

/// A script's own bearer had ended, and the cookie beside it, which nobody had looked at, was cleared.
#[test]
fn a_refused_bearer_clears_no_cookie() {
    let world = world(&[]);
    let ended = world.session_of("bob", 600);
    world.revoke(&ended);
    for beside in [&world.session, &ended] {
        let asking = world.ask().bearer(&ended.token).header("Cookie", named(NAME, &[&beside.token]));
        is_no(&asking.send(), REVOKED, None);
    }
}

/// The same thought on the way out: the refresh of a bearer's session must not replace the browser's own session.
#[test]
fn a_refreshed_bearer_replaces_no_other_cookie() {
    let world = world(&[]);
    let other = world.session_of("bob", 3_600);
    world.server.advance(300);
    let asking = world.ask().bearer(&world.session.token);
    let reply = asking.header("Cookie", named(NAME, &[&other.token])).send();
    is_yes(&reply, &world.session);
    assert!(reply.position().is_some(), "it was refreshed: {reply:?}");
    assert_eq!(reply.header("set-cookie"), None, "{reply:?}");
    world.server.advance(300);
    let reply = world.ask().bearer(&world.session.token).send();
    assert!(reply.header("set-cookie").is_some_and(|cookie| cookie.starts_with(NAME)), "{reply:?}");
    assert!(reply.header("x-tenure-token").is_none(), "{reply:?}");
}

#[test]
fn the_name_is_a_setting() {
    let world = world(&["forward_auth.cookie_name=tenure_session"]);
    let good = world.session.token.as_str();
    let reply = world.with_cookies(&[good]);
    assert_eq!((reply.status, reply.body.as_str()), (401, INVALID), "another name is no cookie of ours");
    world.server.advance(300);
    let reply = world.ask().header("Cookie", named("tenure_session", &[good])).send();
    is_yes(&reply, &world.session);
    let set = reply.header("set-cookie").unwrap_or_default();
    assert!(set.starts_with("tenure_session=tnr_sess_"), "{reply:?}");
    world.revoke(&world.session);
    let reply = world.ask().header("Cookie", named("tenure_session", &[good])).send();
    is_no(&reply, REVOKED, Some("tenure_session=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"));
}
