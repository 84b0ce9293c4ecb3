//! A real Chromium, driven as the W3C describes it (<https://www.w3.org/TR/webdriver2/>): the few commands that these
//! tests need, as JSON over HTTP.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tenure::clock::{pause, stopwatch};

use crate::surroundings::not_run;

/// So long a test waits for something to appear on a page.
const PATIENCE: Duration = Duration::from_secs(10);
/// The name under which `WebDriver` speaks of an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with a window of its own. It is closed when it goes out of scope.
pub(crate) struct Chromium {
    driver: Child,
    /// The address of its session.
    session: String,
}

/// How the browser is to be.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) dark: bool,
    pub(crate) scripts: bool,
}

impl Window {
    pub(crate) const DESK: Self = Self { width: 1280, height: 900, dark: false, scripts: true };
    pub(crate) const PHONE: Self = Self { width: 390, height: 844, dark: false, scripts: true };
}

impl Chromium {
    /// None, and that is said, where there is no Chromium.
    pub(crate) fn open(test: &str, window: Window) -> Option<Self> {
        let started =
            Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut driver) = started else {
            not_run(test, "chromium-driver is missing; tests/run installs it");
            return None;
        };
        let said = BufReader::new(driver.stdout.take().unwrap());
        let port = said.lines().map_while(Result::ok).find_map(|line| {
            let (_, port) = line.split_once("started successfully on port ")?;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        let root = format!("http://127.0.0.1:{}/session", port.expect("chromedriver says its port"));
        let created =
            send("POST", &root, &json!({ "capabilities": { "alwaysMatch": capabilities(window) } }));
        let session = format!("{root}/{}", created["sessionId"].as_str().unwrap());
        let browser = Self { driver, session };
        browser.command("Emulation.setDeviceMetricsOverride", &json!({
            "width": window.width, "height": window.height, "deviceScaleFactor": 1, "mobile": window.width < 600
        }));
        let scheme = if window.dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        browser.command("Emulation.setEmulatedMedia", &json!({ "features": features }));
        if !window.scripts {
            browser.command("Emulation.setScriptExecutionDisabled", &json!({ "value": true }));
        }
        Some(browser)
    }

    /// A command of Chromium's own.
    pub(crate) fn command(&self, name: &str, parameters: &Value) -> Value {
        self.post("goog/cdp/execute", &json!({ "cmd": name, "params": parameters }))
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        send("POST", &format!("{}/{path}", self.session), body)
    }

    pub(crate) fn go(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// What a script gives back.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What a script gives to its last argument.
    pub(crate) fn run_async(&self, script: &str) -> Value {
        self.post("execute/async", &json!({ "script": script, "args": [] }))
    }

    fn find(&self, path: &str) -> Option<String> {
        let found = self.post("elements", &json!({ "using": "xpath", "value": path }));
        found.as_array()?.first()?[ELEMENT].as_str().map(str::to_owned)
    }

    /// Waits until there is such an element (`XPath`).
    pub(crate) fn see(&self, path: &str) -> String {
        let begun = stopwatch();
        loop {
            if let Some(element) = self.find(path) {
                return element;
            }
            assert!(begun.elapsed() < PATIENCE, "no {path} on the page: {}", self.text());
            pause(Duration::from_millis(50));
        }
    }

    pub(crate) fn click(&self, path: &str) {
        let element = self.see(path);
        self.post(&format!("element/{element}/click"), &json!({}));
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let element = self.see(path);
        self.post(&format!("element/{element}/clear"), &json!({}));
        self.post(&format!("element/{element}/value"), &json!({ "text": text }));
    }

    /// The words on the page.
    pub(crate) fn text(&self) -> String {
        let body = self.find("//body").expect("a page has a body");
        let url = format!("{}/element/{body}/text", self.session);
        send("GET", &url, &Value::Null).as_str().unwrap_or_default().to_owned()
    }

    /// What the browser complains of: blocked by the policy, not found, thrown. The form of the sign-in is a 401.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({ "type": "browser" }));
        let told = entries.as_array().into_iter().flatten();
        let told = told.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned());
        told.filter(|message| !message.contains("status of 401")).collect()
    }

    /// A picture of the page, as base64 of a PNG.
    pub(crate) fn picture(&self) -> String {
        let shot = self.command("Page.captureScreenshot", &json!({ "captureBeyondViewport": false }));
        shot["data"].as_str().unwrap().to_owned()
    }

    pub(crate) fn sign_in(&self, origin: &str, key: &str) {
        self.go(&format!("{origin}/console"));
        self.write("//input[@name='key']", key);
        self.click("//button[text()='Sign in']");
        self.see("//button[text()='Sign out']");
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // It closes its browser; it may have gone already.
        drop(ureq::delete(&self.session).call());
        drop(self.driver.kill());
        drop(self.driver.wait());
    }
}

fn capabilities(window: Window) -> Value {
    json!({
        "goog:chromeOptions": { "args": [
            "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars",
            "--force-prefers-reduced-motion", format!("--window-size={},{}", window.width, window.height),
        ] },
        "goog:loggingPrefs": { "browser": "ALL" },
    })
}

/// Sends a command; what it comes to.
fn send(method: &str, url: &str, body: &Value) -> Value {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut reply = match method {
        "GET" => agent.get(url).call().unwrap(),
        _ => agent.post(url).header("content-type", "application/json").send(body.to_string()).unwrap(),
    };
    let text = reply.body_mut().read_to_string().unwrap();
    let reply: Value = serde_json::from_str(&text).unwrap();
    assert!(reply["value"]["error"].is_null(), "{url}: {}", reply["value"]["message"]);
    reply["value"].clone()
}
