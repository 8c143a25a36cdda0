//! A real browser without a window: Chromium, driven by the WebDriver protocol, which is JSON over HTTP.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::{DEADLINE, HttpPeer, ROOT, own_port, wait_or_report};

/// A browser with a profile of its own and one window.
pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts one: the host's, or one that is unpacked into a cache.
    pub fn open() -> Browser {
        let port = own_port();
        let script = |name: &str| format!("{ROOT}/scripts/{name}");
        let mut command = Command::new(script("testtool.sh"));
        command.args(["chromedriver", &format!("--port={port}")]).stdout(Stdio::null()).stderr(Stdio::null());
        // The accounts and servers of the host's desktop are none of the test's.
        for name in ["DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "http_proxy", "HTTP_PROXY"] {
            command.env_remove(name);
        }
        let driver = command.spawn().expect("chromedriver");
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut browser = Browser { driver, port, session: String::new(), _profile: profile };
        // The first call may have to wait for a download.
        wait_or_report(10 * DEADLINE, "chromedriver", || {
            TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|error| error.to_string())
        });
        let mut arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--window-size=1280,900",
        ]
        .map(String::from)
        .to_vec();
        arguments.push(format!("--user-data-dir={}", browser._profile.path().display()));
        let options = json!({ "args": arguments, "binary": script("testbrowser.sh") });
        let capabilities = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let answer = browser.call("POST", "/session", &json!({ "capabilities": { "alwaysMatch": capabilities } }));
        browser.session = answer["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}")).into();
        browser
    }

    fn call(&self, method: &str, path: &str, body: &Json) -> Json {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut peer = HttpPeer::connect(self.port);
        peer.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        let answer = peer.answer();
        let json = answer.json()["value"].take();
        assert_eq!(answer.status, 200, "{method} {path}: {json}");
        json
    }

    fn command(&self, method: &str, path: &str, body: &Json) -> Json {
        self.call(method, &format!("/session/{}{path}", self.session), body)
    }

    /// Opens an address; waits until it is loaded.
    pub fn go(&self, address: &str) {
        self.command("POST", "/url", &json!({ "url": address }));
    }

    /// Runs JavaScript; what it returns.
    pub fn run(&self, script: &str) -> Json {
        self.command("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until this expression is neither false, null, 0 nor empty; its value.
    pub fn wait_for(&self, expression: &str) -> Json {
        let mut found = Json::Null;
        wait_or_report(DEADLINE, expression, || {
            // What it is about may not be there yet.
            found = self.run(&format!("try {{ return ({expression}) || null; }} catch {{ return null; }}"));
            match found.is_null() {
                false => Ok(()),
                true => Err(self.run("return document.body.innerText;").to_string()),
            }
        });
        found
    }

    /// Clicks an element, as a user does: it has to be visible.
    pub fn click(&self, selector: &str) {
        self.wait_for(&format!("document.querySelector({})", json!(selector)));
        let element = self.find(selector);
        self.command("POST", &format!("/element/{element}/click"), &json!({}));
    }

    /// Types into an element.
    pub fn type_into(&self, selector: &str, text: &str) {
        self.wait_for(&format!("document.querySelector({})", json!(selector)));
        let element = self.find(selector);
        self.command("POST", &format!("/element/{element}/value"), &json!({ "text": text }));
    }

    fn find(&self, selector: &str) -> String {
        let found = self.command("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        let id = found.as_object().and_then(|object| object.values().next()?.as_str());
        id.unwrap_or_else(|| panic!("no element {selector}")).to_string()
    }

    /// The size of the page, in pixels.
    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": size });
        self.command("POST", "/goog/cdp/execute", &command);
    }

    /// The errors that the browser reported since this was last asked for.
    pub fn errors(&self) -> Vec<String> {
        let entries = self.command("POST", "/se/log", &json!({ "type": "browser" }));
        let severe = entries.as_array().into_iter().flatten().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].to_string()).collect()
    }

    /// Writes a picture of the page, as PNG.
    pub fn screenshot(&self, to: &Path) {
        let picture = self.command("GET", "/screenshot", &Json::Null);
        fs::write(to, base64(picture.as_str().expect("a picture"))).expect("a folder");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // This ends the browser, which would outlive its driver. Also after a failed test, so it must not panic.
        if let Ok(mut driver) = TcpStream::connect(("127.0.0.1", self.port)) {
            let _ = driver.set_read_timeout(Some(DEADLINE));
            let request =
                format!("DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", self.session);
            let _ = driver.write_all(request.as_bytes()).and_then(|()| driver.read(&mut [0; 64]));
        }
        crate::signal(self.driver.id(), "TERM");
        let _ = self.driver.wait();
    }
}

/// The bytes of a text in base64.
fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u8> = text.bytes().filter_map(value).collect();
    let bytes = digits.chunks(4).flat_map(|chunk| {
        let bits = chunk.iter().fold(0u32, |bits, digit| bits << 6 | u32::from(*digit)) << (6 * (4 - chunk.len()));
        bits.to_be_bytes()[1..chunk.len()].to_vec()
    });
    bytes.collect()
}
