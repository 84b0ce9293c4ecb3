//! The console in a real Chromium. `tests/run` installs it; where it is missing these tests say that they did not run.

mod driver;
mod screenshots;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::PathBuf,
    time::Duration,
};

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::form_client::{origin, read, renewed};
use crate::server::Server;
use crate::surroundings::{not_run, variable};
use driver::{Chromium, Window};

/// The story of the night: the agent renews, a message reaches its owner, the link in it opens on a phone, one tap and a
/// confirmation end the session, and the agent's next call says why.
#[test]
fn an_owner_vetoes_on_a_phone_by_the_link_in_a_notice() {
    let Some(browser) = Chromium::open("the veto on a phone", Window::PHONE) else { return };
    let mut server = Server::with(&["webhooks.allow_private=true"]);
    server.restart_known_by_its_address();
    let own = origin(&server);
    let (owner, _) = server.issue_key("owner", Some("alice"));
    let inbox = TcpListener::bind("127.0.0.1:0").unwrap();
    let hook = json!({ "url": format!("http://{}/night", inbox.local_addr().unwrap()), "kinds": ["SESSION_RENEWED"] });
    server.post("/v1/webhooks").bearer(&owner).json(&hook).send().expect(201);
    let session = renewed(&server, "agent");
    let message = received(&inbox);
    browser.go(message["data"]["vetoUrl"].as_str().unwrap());
    browser.see("//h1[contains(., 'Night shift renewed its session')]");
    let width = browser.run("return [document.documentElement.scrollWidth, innerWidth]");
    assert_eq!(width, json!([390, 390]), "it is too wide");
    browser.click("//summary[text()='Veto']");
    browser.click("//button[text()='Veto']");
    browser.see("//h1[contains(., 'was vetoed')]");
    let refused = server.renew(&session).send().expect(401).json();
    assert_eq!(refused["trigger"], "renewal_rejected");
    browser.go(&format!("{own}/console/sessions/{}", session.id));
    browser.write("//input[@name='key']", &owner);
    browser.click("//button[text()='Sign in']");
    browser.see("//h1/span[text()='ended']");
    browser.see("//*[local-name()='circle' and contains(@class, 'end')]");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// The next message that reaches a receiver, which takes it.
fn received(inbox: &TcpListener) -> Value {
    let (mut from, _) = inbox.accept().unwrap();
    let mut lines = BufReader::new(from.try_clone().unwrap());
    let (mut length, mut line) = (0, String::new());
    while lines.read_line(&mut line).unwrap() > 2 {
        if let Some((_, count)) = line.to_lowercase().split_once("content-length:") {
            length = count.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).unwrap();
    from.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").unwrap();
    serde_json::from_slice(&body).unwrap()
}

/// Whoever takes the browser over finds nothing of what was on its pages.
#[test]
fn a_reader_signs_in_and_out_and_nothing_private_stays_behind() {
    let Some(browser) = Chromium::open("the sign-in and the sign-out", Window::DESK) else { return };
    let server = Server::start();
    renewed(&server, "agent");
    let own = origin(&server);
    browser.go(&format!("{own}/console/agents"));
    browser.write("//input[@name='key']", "tnr_key_wrong");
    browser.click("//button[text()='Sign in']");
    browser.see("//*[@role='alert']");
    browser.write("//input[@name='key']", &server.admin);
    browser.click("//button[text()='Sign in']");
    browser.see("//h2/a[text()='Night shift']");
    browser.go(&format!("{own}/console/log"));
    browser.click("//button[text()='Sign out']");
    browser.see("//input[@name='key']");
    browser.go(&format!("{own}/console/agents"));
    browser.see("//input[@name='key']");
    assert!(!browser.text().contains("Night shift"), "{}", browser.text());
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn let_it_be_hides_the_countdown_in_this_browser_alone() {
    let Some(browser) = Chromium::open("Let it be", Window::DESK) else { return };
    let server = Server::start();
    renewed(&server, "agent");
    browser.sign_in(&origin(&server), &server.admin);
    browser.see("//div[@class='ask' and not(@hidden)]");
    browser.click("//button[text()='Let it be']");
    browser.see("//div[@class='ask' and @hidden]");
    browser.go(&format!("{}/console/agents", origin(&server)));
    browser.see("//div[@class='ask' and @hidden]");
    assert!(server.events("SessionRevoked,RenewalRejected").is_empty());
}

#[test]
fn a_renewal_appears_in_the_log_without_a_reload() {
    let Some(browser) = Chromium::open("the live tail", Window::DESK) else { return };
    let server = Server::start();
    browser.sign_in(&origin(&server), &server.admin);
    browser.go(&format!("{}/console/log", origin(&server)));
    browser.see("//p[@id='live' and contains(., 'Live')]");
    browser.run("window.stays = true");
    renewed(&server, "agent");
    browser.see("//td[text()='SessionRenewed']");
    // A key by its name, and the session by its subject.
    browser.see("//tr[@class='new']/td[@class='soft' and starts-with(., 'first admin key …')]");
    let own = "td[@class='soft' and starts-with(., 'Night shift ')]";
    browser
        .see(&format!("//tr[@class='new']/{own}/a[contains(@href, '/console/sessions/') and . = 'agent']"));
    browser.see("//tr[@class='new']/td[@class='what' and contains(., 'expiresAt')]/time[@title]");
    assert_eq!(browser.run("return window.stays"), json!(true));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// What the modules put on a page themselves: the live log, the live overview, the page that the slider shows.
#[test]
fn hostile_words_stay_text_where_a_script_puts_them() {
    // High enough for all rows: whoever has scrolled up is shown a count of new events instead.
    let window = Window { height: 3_000, ..Window::DESK };
    let Some(browser) = Chromium::open("hostile words in live pages", window) else { return };
    let server = Server::start();
    let own = origin(&server);
    let hostile =
        "</td><img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>\u{202e}";
    server.register("agent", &json!({ "name": hostile, "ownerId": "alice" }));
    let session = server.create(&json!({ "subjectId": "agent", "ttl": 600, "device": hostile }));
    server.advance(400);
    browser.sign_in(&own, &server.admin);
    browser.go(&format!("{own}/console/log"));
    browser.see("//p[@id='live' and contains(., 'Live')]");
    let why = json!({ "reason": hostile });
    server.post("/v1/subjects/agent/suspend").bearer(&server.admin).json(&why).send().expect(200);
    browser.see("//tr[@class='new']/td[contains(., '<script>') and contains(., '⟨U+202E⟩')]");
    let unharmed = || {
        let seen =
            browser.run("return [document.title, document.querySelectorAll('img, main script').length]");
        assert!(seen[0].as_str().unwrap().ends_with("· Tenure") && seen[1] == json!(0), "{seen}");
    };
    unharmed();
    server.post("/v1/subjects/agent/resume").bearer(&server.admin).json(&json!({})).send().expect(200);
    browser.go(&format!("{own}/console"));
    browser.run("window.stays = true");
    server.renew(&session).send().expect(200);
    browser.see("//li[@data-veto]//a[contains(., '<script>')]");
    assert_eq!(browser.run("return window.stays"), json!(true));
    unharmed();
    browser.go(&format!("{own}/console/agents"));
    browser.run(
        "const slider = document.querySelector('#slider'); slider.value = slider.max - 1; \
         slider.dispatchEvent(new Event('input'))",
    );
    browser.see("//p[contains(@class, 'past')]");
    browser.see("//h2/a[contains(., '<script>')]");
    unharmed();
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// A page of another origin that lays the console under the reader's pointer. It is of the same site, so that the sign-in
/// goes with it.
#[test]
fn no_frame_of_another_site_shows_a_page() {
    let Some(browser) = Chromium::open("the console in a frame", Window::DESK) else { return };
    let server = Server::start();
    let session = renewed(&server, "agent");
    let own = origin(&server);
    browser.sign_in(&own, &server.admin);
    for path in ["/console".to_owned(), format!("/console/sessions/{}", session.id)] {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let framed = format!("{own}{path}");
        let page = format!("<title>other</title><iframe src='{framed}'></iframe>");
        std::thread::spawn(move || {
            for mut stream in other.incoming().flatten() {
                drop(stream.read(&mut [0; 4_096]));
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close";
                drop(write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{page}", page.len()));
            }
        });
        browser.go(&format!("http://{address}/"));
        let begun = stopwatch();
        let frame = loop {
            let tree = browser.command("Page.getFrameTree", &json!({}));
            let frame = tree["frameTree"]["childFrames"][0]["frame"].clone();
            if frame["url"].as_str().is_some_and(|url| !url.is_empty() && url != "about:blank") {
                break frame;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "no frame: {tree}");
            pause(Duration::from_millis(50));
        };
        assert_eq!(frame["unreachableUrl"], framed, "{frame}");
        assert!(frame["url"].as_str().unwrap().starts_with("chrome-error:"), "{frame}");
    }
}

#[test]
fn reading_and_ending_work_without_scripts() {
    let Some(browser) = Chromium::open("pages without scripts", Window { scripts: false, ..Window::DESK })
    else {
        return;
    };
    let server = Server::start();
    let session = renewed(&server, "agent");
    let own = origin(&server);
    browser.sign_in(&own, &server.admin);
    browser.see("//li/div/span/a[contains(., 'Night shift')]");
    browser.go(&format!("{own}/console/agents"));
    browser.see("//h2/a[text()='Night shift']");
    browser.go(&format!("{own}/console/sessions/{}", session.id));
    browser.click("//summary[text()='End session']");
    browser.see("//form[contains(@action, '/end')]//p[contains(., 'Ends at once')]");
    browser.write("//input[@id='reason']", "no scripts here");
    browser.click("//button[text()='End session']");
    browser.see("//h1/span[text()='ended']");
    assert!(browser.text().contains("no scripts here"));
    browser.click("//button[text()='Sign out']");
    browser.see("//input[@name='key']");
}

/// By the link in a notice, from the overview, and on the session's page: a veto must not wait for a script.
#[test]
fn a_veto_works_without_scripts_wherever_it_is_offered() {
    let window = Window { scripts: false, ..Window::PHONE };
    let Some(browser) = Chromium::open("a veto without scripts", window) else { return };
    let mut server = Server::start();
    server.restart_known_by_its_address();
    let own = origin(&server);
    let (owner, _) = server.issue_key("owner", Some("alice"));
    let is_vetoed = |session| {
        let refused = server.renew(session).send().expect(401).json();
        assert_eq!(refused["trigger"], "renewal_rejected", "{refused}");
    };

    let by_link = renewed(&server, "one");
    let notice = read(&server, &owner, "/v1/notices?kinds=SESSION_RENEWED")["items"][0].clone();
    browser.go(notice["vetoUrl"].as_str().unwrap());
    browser.click("//summary[text()='Veto']");
    browser.click("//button[text()='Veto']");
    browser.see("//h1[contains(., 'was vetoed')]");
    is_vetoed(&by_link);

    let by_overview = renewed(&server, "two");
    browser.sign_in(&own, &owner);
    browser.click("//li[@data-veto]//button[text()='Veto']");
    browser.see("//h1/span[text()='ended']");
    is_vetoed(&by_overview);

    let by_page = renewed(&server, "three");
    browser.go(&format!("{own}/console/sessions/{}", by_page.id));
    browser.click("//summary[text()='Veto']");
    browser.see("//form[contains(@action, '/veto')]//p[contains(., 'This session ends at once')]");
    browser.write("//input[@id='veto-reason']", "not at night");
    browser.click("//form[contains(@action, '/veto')]//button[text()='Veto']");
    browser.see("//h1/span[text()='ended']");
    assert!(browser.text().contains("not at night"));
    is_vetoed(&by_page);
}

#[test]
fn no_page_bars_anyone_by_axe() {
    let Some(axe) = axe("that no page bars anyone") else { return };
    let mut server = Server::start();
    server.restart_known_by_its_address();
    let session = renewed(&server, "agent");
    server.renew(&session).send().expect(403);
    let (owner, _) = server.issue_key("owner", Some("alice"));
    let notice = read(&server, &owner, "/v1/notices?kinds=SESSION_RENEWED")["items"][0].clone();
    let link = notice["vetoUrl"].as_str().unwrap();
    for dark in [false, true] {
        let window = Window { dark, ..Window::DESK };
        let Some(browser) = Chromium::open("that no page bars anyone", window) else { return };
        let own = origin(&server);
        browser.go(&format!("{own}/console"));
        judge(&browser, &axe, "sign-in");
        browser.go(link);
        browser.click("//summary[text()='Veto']");
        judge(&browser, &axe, "the link in a notice");
        browser.sign_in(&own, &server.admin);
        for path in pages(&session.id) {
            browser.go(&format!("{own}{path}"));
            // What is folded away is read too.
            browser.run("for (const part of document.querySelectorAll('details')) part.open = true");
            judge(&browser, &axe, &path);
        }
        assert_eq!(browser.complaints(), Vec::<String>::new());
        browser.go(&format!("{own}/console/no-such-page"));
        judge(&browser, &axe, "a page that does not exist");
    }
}

fn pages(session: &str) -> Vec<String> {
    let fixed = [
        "",
        "agents",
        "agents?q=agent&status=live",
        "agents?asOf=4",
        "subjects/agent",
        "log",
        "log?asOf=4",
        "keys",
        "audit",
        "webhooks",
        "what-if?session.max_renewals=0",
        "settings",
    ];
    let fixed = fixed.iter().map(|page| format!("/console/{page}"));
    fixed.chain(["", "?asOf=6"].map(|then| format!("/console/sessions/{session}{then}"))).collect()
}

/// The text of axe-core; none, and that is said, where it is not installed.
fn axe(test: &str) -> Option<String> {
    let usual = || concat!(env!("CARGO_MANIFEST_DIR"), "/target/console").into();
    let folder: PathBuf = variable("TENURE_TEST_CONSOLE").unwrap_or_else(usual).into();
    let script = std::fs::read_to_string(folder.join("node_modules/axe-core/axe.min.js")).ok();
    if script.is_none() {
        not_run(test, "axe-core is missing; tests/run installs it");
    }
    script
}

fn judge(browser: &Chromium, axe: &str, page: &str) {
    browser.run(axe);
    let script = "const done = arguments[arguments.length - 1]; \
        axe.run(document, { resultTypes: ['violations'] }).then((found) => done(found.violations), (e) => done([String(e)]))";
    let found = browser.run_async(script);
    let told = |one: &Value| format!("{}: {}", one["id"], one["nodes"][0]["html"]);
    let told: Vec<_> = found.as_array().unwrap().iter().map(told).collect();
    assert_eq!(told, Vec::<String>::new(), "{page}");
}

#[test]
fn a_proof_is_checked_in_the_browser_against_the_key_that_the_reader_has() {
    let Some(browser) = Chromium::open("the proof in the browser", Window::DESK) else { return };
    let (server, other) = (Server::start(), Server::start());
    renewed(&server, "agent");
    let key = read(&server, &server.admin, "/v1/audit/head")["verifierKey"].as_str().unwrap().to_owned();
    let foreign = read(&other, &other.admin, "/v1/audit/head")["verifierKey"].as_str().unwrap().to_owned();
    browser.sign_in(&origin(&server), &server.admin);
    browser.go(&format!("{}/console/audit", origin(&server)));
    let verify = |key: &str| {
        browser.write("//input[@id='verifier-key']", key);
        browser.click("//button[text()='Verify in this browser']");
        browser.see("//output[@id='outcome' and (starts-with(., 'Proved') or starts-with(., 'Not proved'))]");
        browser.run("return document.querySelector('#outcome').textContent").as_str().unwrap().to_owned()
    };
    let name = key.split('+').next().unwrap();
    assert!(verify(&key).starts_with(&format!("Proved by {name}")), "{}", browser.text());
    assert!(verify(&foreign).starts_with("Not proved: "));
    // A server that lies: every digit of a proof counts.
    browser.run("const real = fetch; window.fetch = async (...asked) => { const reply = await real(...asked); \
        const text = (await reply.text()).replace(/\"leafHash\":\"(.)/, (_, c) => '\"leafHash\":\"' + (c === '0' ? '1' : '0')); \
        return new Response(text, { status: reply.status }); }");
    assert!(verify(&key).starts_with("Not proved: "));
    assert!(verify("").starts_with("Not proved: "));
}

/// A page that a phone has to be turned for is a page that nobody reads at night.
#[test]
fn every_page_fits_a_narrow_window() {
    let window = Window { width: 320, height: 640, ..Window::PHONE };
    let Some(browser) = Chromium::open("that pages fit a narrow window", window) else { return };
    let server = Server::start();
    let session = renewed(&server, "agent");
    browser.sign_in(&origin(&server), &server.admin);
    for path in pages(&session.id) {
        browser.go(&format!("{}{path}", origin(&server)));
        let width = browser.run("return document.documentElement.scrollWidth");
        assert_eq!(width, json!(320), "{path} is too wide");
    }
}

#[test]
fn the_slider_shows_an_earlier_status_and_leads_back_to_now() {
    let Some(browser) = Chromium::open("the slider", Window::DESK) else { return };
    let server = Server::start();
    let session = renewed(&server, "agent");
    server.delete(&session.path()).bearer(&server.admin).send().expect(200);
    let page = format!("{}/console/sessions/{}", origin(&server), session.id);
    browser.sign_in(&origin(&server), &server.admin);
    browser.go(&page);
    browser.see("//h1/span[text()='ended']");
    let created = server.events("SessionCreated")[0]["position"].clone();
    let slide = |to: &Value| {
        let position = if to.is_null() { "slider.max".to_owned() } else { to.to_string() };
        browser.run(&format!(
            "const slider = document.querySelector('#slider'); slider.value = {position}; \
             for (const kind of ['input', 'change']) slider.dispatchEvent(new Event(kind))"
        ));
    };
    slide(&created);
    browser.see("//h1/span[text()='active']");
    browser.see("//p[contains(@class, 'past') and contains(., 'This is the past')]");
    let at = browser.run("return location.search");
    assert_eq!(at, json!(format!("?asOf={created}")), "the address follows");
    assert_eq!(browser.run("return document.querySelectorAll('main form[method=post]').length"), json!(0));
    slide(&json!(1));
    browser.see("//p[text()='There was nothing of it then.']");
    // What fails for the moment is said, and does not last.
    browser
        .run("window.asked = window.fetch; window.fetch = () => Promise.reject(new TypeError('no network'))");
    slide(&created);
    browser.see("//p[contains(., 'The server could not be reached')]");
    browser.run("window.fetch = window.asked");
    slide(&json!(1));
    browser.see("//p[text()='There was nothing of it then.']");
    slide(&Value::Null);
    browser.see("//h1/span[text()='ended']");
    assert_eq!(browser.run("return location.search"), json!(""));
}

#[test]
fn an_open_veto_appears_on_the_overview_without_a_reload_and_watching_is_no_use() {
    let Some(browser) = Chromium::open("the live overview", Window::DESK) else { return };
    let server = Server::start();
    browser.sign_in(&origin(&server), &server.admin);
    browser.see("//p[@class='calm']");
    browser.run("window.stays = true");
    renewed(&server, "agent");
    browser.see("//main//a[contains(., 'Night shift')]");
    browser.see("//main//button[text()='Let it be']");
    assert_eq!(browser.run("return window.stays"), json!(true));
    let seen = read(&server, &server.admin, "/v1/sessions?status=all&limit=200");
    let sign_in =
        seen["items"].as_array().unwrap().iter().find(|it| it["mode"] == "sliding").unwrap().clone();
    assert_eq!(sign_in["lastSeenAt"], sign_in["createdAt"], "the page was watched, not used");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// Countdowns went on and nothing new appeared, and nothing said so: the sign-in had ended meanwhile.
#[test]
fn a_page_that_is_not_live_any_more_says_so() {
    let Some(browser) = Chromium::open("a page after the end of its sign-in", Window::DESK) else { return };
    let server = Server::start();
    browser.sign_in(&origin(&server), &server.admin);
    browser.see("//p[@class='calm']");
    assert_eq!(browser.run("return document.querySelector('#live')"), Value::Null);
    // As soon as half an hour has passed without use.
    server.advance(1_801);
    browser.see("//p[@id='live' and contains(., 'the sign-in has ended')]");
}

/// The first page over a slow line at night, and nobody else who hears of it.
#[test]
fn the_first_page_is_light_and_asks_nobody_else() {
    let Some(browser) = Chromium::open("the weight of the first page", Window::PHONE) else { return };
    let server = Server::start();
    for number in 0..50 {
        renewed(&server, &format!("agent-{number}"));
    }
    let own = origin(&server);
    browser.sign_in(&own, &server.admin);
    for path in ["/console", "/console/agents"] {
        browser.go(&format!("{own}{path}"));
        let loaded = browser.run(
            "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')] \
             .map((it) => [it.name, it.decodedBodySize])",
        );
        let loaded = loaded.as_array().unwrap();
        let strangers: Vec<_> =
            loaded.iter().filter(|it| !it[0].as_str().unwrap().starts_with(&own)).collect();
        assert!(strangers.is_empty(), "{strangers:?}");
        let weight: u64 = loaded.iter().map(|it| it[1].as_u64().unwrap()).sum();
        assert!((5_000..100_000).contains(&weight), "{path} weighs {weight}: {loaded:?}");
    }
}

/// Chat services open links with a whole browser, run its scripts, and take a picture.
#[test]
fn a_browser_that_previews_a_link_changes_nothing() {
    let Some(browser) = Chromium::open("the preview of a link", Window::DESK) else { return };
    let mut server = Server::start();
    server.restart_known_by_its_address();
    let (owner, _) = server.issue_key("owner", Some("alice"));
    let session = renewed(&server, "agent");
    let notice = read(&server, &owner, "/v1/notices?kinds=SESSION_RENEWED")["items"][0].clone();
    let before = read(&server, &server.admin, "/v1/audit/head")["size"].clone();
    for name in ["vetoUrl", "rejectUrl"] {
        browser.go(notice[name].as_str().unwrap());
        browser.see("//h1");
        assert!(browser.picture().len() > 1_000);
    }
    assert_eq!(read(&server, &server.admin, "/v1/audit/head")["size"], before, "something was recorded");
    server.introspect(&session.token).expect(200);
}
