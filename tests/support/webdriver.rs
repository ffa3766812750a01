//! A browser, driven over WebDriver (W3C): HTTP and JSON to chromedriver, which starts a Chromium without a window.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::message::{Message, Role};
use super::tools::{Running, need};
use super::wire::{Transport, Wire};
use super::{eventually, ports};

/// What an element is called in answers (WebDriver, section 12.2).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// One browser window. Dropping it ends browser and driver.
pub struct Browser {
    address: SocketAddr,
    session: String,
    _driver: Running,
    _profile: TempDir,
}

/// Something on a page.
pub struct Element<'b> {
    browser: &'b Browser,
    id: String,
}

impl Browser {
    /// Starts one with a window of that size and an empty profile. It takes the tests' own certificates.
    ///
    /// # Panics
    /// When chromium or chromium-driver is missing, or does not start.
    #[track_caller]
    pub fn open(width: u32, height: u32) -> Browser {
        let driver = need("chromedriver", "chromium-driver");
        let chromium = need("chromium", "chromium");
        let address = ports::address();
        let profile = tempfile::Builder::new().prefix("lockgate-browser-").tempdir().expect("a temporary folder");
        let mut command = Command::new(driver);
        command.arg(format!("--port={}", address.port())).stdout(Stdio::null()).stderr(Stdio::null());
        let driver = Running::start(&mut command);
        eventually("chromedriver to listen", || TcpStream::connect(address).ok());
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let options = json!({ "binary": chromium, "args": arguments });
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options, "acceptInsecureCerts": true } } });
        let mut browser = Browser { address, session: String::new(), _driver: driver, _profile: profile };
        let answer = browser.call("POST", "/session", &wanted);
        browser.session = answer["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {answer}")).to_owned();
        browser
    }

    /// Makes the page as wide as a phone's, below what a window can be.
    pub fn pretend_phone(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": true });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Makes pages believe that dark or light is preferred.
    pub fn prefer(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    fn devtools(&self, command: &str, parameters: &Value) {
        self.ask("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }));
    }

    /// Opens an address and waits until it is loaded.
    #[track_caller]
    pub fn go(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url }));
    }

    /// The address shown.
    pub fn url(&self) -> String {
        self.ask("GET", "/url", &Value::Null).as_str().unwrap_or_default().to_owned()
    }

    /// The first element that a CSS selector finds.
    #[track_caller]
    pub fn find(&self, selector: &str) -> Element<'_> {
        self.try_find(selector).unwrap_or_else(|| panic!("nothing on {} is {selector}", self.url()))
    }

    /// [`Browser::find`] when there may be none.
    pub fn try_find(&self, selector: &str) -> Option<Element<'_>> {
        let by = json!({ "using": "css selector", "value": selector });
        let found = self.call("POST", &format!("/session/{}/element", self.session), &by);
        Some(Element { browser: self, id: found[ELEMENT].as_str()?.to_owned() })
    }

    /// Runs a script and gives what it returns.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.ask("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What the page wrote to the console at level SEVERE: script errors, refused resources.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.ask("POST", "/se/log", &json!({ "type": "browser" }));
        let severe = entries.as_array().into_iter().flatten().filter(|e| e["level"] == "SEVERE");
        severe.map(|e| e["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Saves a picture of what is in sight.
    #[track_caller]
    pub fn photograph(&self, file: &Path) {
        let shot = self.ask("GET", "/screenshot", &Value::Null);
        let encoded = shot.as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder for pictures");
        std::fs::write(file, bytes).expect("a writable file");
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.call(method, &format!("/session/{}{path}", self.session), body);
        assert!(answer.get("error").is_none(), "{method} {path}: {}", answer["message"]);
        answer
    }

    /// One exchange; the `value` of the answer.
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(self.address).expect("chromedriver listens");
        let body = if method == "GET" { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("a request is sent");
        // The driver keeps connections open whatever it is asked.
        let mut wire = Wire::new(Transport::Tcp(stream));
        wire.read_patience(Duration::from_secs(60));
        let read = Message::read_head(&mut wire).map(|head| head.expect("an answer"));
        let read = read.and_then(|mut head| head.read_body(&mut wire, Role::Answer).map(|()| head));
        let text = read.unwrap_or_else(|e| panic!("chromedriver answers {method} {path}: {e}")).text();
        let mut answer: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in {text}"));
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Without a word the browser would outlive its driver. Errors would be a second panic; nobody waits for them.
        if let (false, Ok(mut stream)) = (self.session.is_empty(), TcpStream::connect(self.address)) {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
            let head = format!("DELETE /session/{} HTTP/1.1\r\nHost: {}\r\n\r\n", self.session, self.address);
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.read(&mut [0; 64]);
        }
    }
}

impl Element<'_> {
    /// Clicks in its middle, as a person would: it must be in sight and nothing may lie over it.
    #[track_caller]
    pub fn click(&self) {
        self.ask("POST", "/click", &json!({}));
    }

    /// Types.
    #[track_caller]
    pub fn keys(&self, text: &str) {
        self.ask("POST", "/value", &json!({ "text": text }));
    }

    /// Its text as shown.
    #[track_caller]
    pub fn text(&self) -> String {
        self.ask("GET", "/text", &Value::Null).as_str().unwrap_or_default().to_owned()
    }

    /// Whether it can be seen.
    #[track_caller]
    pub fn is_shown(&self) -> bool {
        self.ask("GET", "/displayed", &Value::Null) == json!(true)
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.browser.ask(method, &format!("/element/{}{path}", self.id), body)
    }
}
