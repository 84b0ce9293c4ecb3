//! What the documented nginx does to responses: caches, outages, long headers, the page where people sign in.

use serde_json::json;

use crate::{
    browser::Browser,
    nginx::Nginx,
    sliding::{CLEARED, EXPIRED, IDLE, is_asked, is_refused, world, world_behind},
};

/// A refresh put its cookie on the response to whatever request came at that moment: on a file that a shared cache was
/// told to keep for a year, and to give to all others.
#[test]
fn a_refreshed_cookie_is_on_no_response_that_a_cache_may_keep() {
    let Some(world) = world("caches behind nginx") else { return };
    let mut browser = world.browser();
    let page = browser.get("/app.css");
    assert_eq!(page.session_cookie(), None);
    assert_eq!(page.all("cache-control"), ["public, max-age=31536000"], "the application's own word");
    assert_eq!(page.all("cdn-cache-control"), ["max-age=60"]);
    assert_eq!(page.all("surrogate-control"), ["max-age=70"]);
    world.pass(IDLE / 2);
    let page = browser.get("/app.css");
    assert!(page.session_cookie().is_some(), "{page:?}");
    assert_eq!(page.all("cache-control"), ["private, no-store"]);
    assert_eq!(page.all("cdn-cache-control"), ["no-store"]);
    assert_eq!(page.all("surrogate-control"), ["no-store"]);
    let page = browser.get("/app.css");
    assert_eq!((page.session_cookie(), page.all("cache-control").len()), (None, 1), "{page:?}");
}

/// While the authority was away nginx answered 500, as if the application were broken.
#[test]
fn while_the_authority_is_away_it_is_503_and_nobody_gets_in() {
    let Some(mut world) = world("an outage behind nginx") else { return };
    let mut browser = world.browser();
    assert_eq!(browser.get("/broken").status, 500, "the application's own errors are passed on");
    world.server.die();
    let let_through = world.application.count();
    for mut browser in [browser, Browser::new(world.nginx.address)] {
        let page = browser.get("/");
        assert_eq!(page.status, 503, "{page:?}");
        assert_eq!(page.all("retry-after"), ["5"], "{page:?}");
        assert_eq!(page.all("cache-control"), ["no-store"], "{page:?}");
    }
    assert_eq!(world.application.count(), let_through);
}

/// A session with many scopes got 500 at every request: nginx reads the headers of an answer into one buffer.
#[test]
fn the_longest_scopes_get_through() {
    let Some(world) = world("scopes behind nginx") else { return };
    let scopes: Vec<_> = (0..15).map(|number| format!("{number:0>2}:{}", "s".repeat(124))).collect();
    world.server.register("bot", &json!({}));
    let session = world.server.create(&json!({ "subjectId": "bot", "mode": "sliding", "scopes": scopes }));
    let mut browser = Browser::signed_in(world.nginx.address, &session.token);
    assert_eq!(browser.get("/").status, 200);
    assert_eq!(world.application.last().all("x-tenure-scopes"), [scopes.join(" ")]);
}

#[test]
fn a_navigation_is_sent_to_the_page_to_sign_in_and_all_else_is_refused() {
    let Some(world) = world_behind("a sign-in behind nginx", Nginx::start_with_sign_in) else { return };
    let navigates = [("Sec-Fetch-Mode", "navigate")];
    let mut nobody = Browser::new(world.nginx.address);
    let page = nobody.send("GET", "/orders?page=2&sort=new", &navigates, "");
    assert_eq!(page.status, 302, "{page:?}");
    assert_eq!(page.all("location"), ["/sign-in?next=/orders?page=2&sort=new"]);
    assert_eq!(page.all("cache-control"), ["no-store"]);
    is_asked(&nobody.get("/orders"));

    let mut browser = world.browser();
    assert_eq!(browser.send("GET", "/", &navigates, "").status, 200);
    world.pass(IDLE);
    is_refused(&browser.clone().get("/"), EXPIRED);
    let page = browser.send("GET", "/", &navigates, "");
    assert_eq!((page.status, page.all("set-cookie")), (302, vec![CLEARED]), "{page:?}");
    let lies = [("X-Tenure-Subject", "root"), ("X-Tenure-Session", "x"), ("X-Tenure-Scopes", "admin")];
    assert_eq!(browser.send("GET", "/sign-in?next=/", &lies, "").status, 200);
    let ours = "nothing of the client's is told, on the page without a check either";
    assert!(world.application.last().names_like("tenure").is_empty(), "{ours}");
}
