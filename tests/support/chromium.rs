//! A real browser without a window, driven over the DevTools protocol.
//!
//! A dozen calls of that protocol are used. Crates that know all of it generate hundreds of thousands of lines.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::eventually;

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// What a browser takes to start on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(60);
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// A browser with one page. Killed when dropped.
pub struct Chromium {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    page: String,
    last_id: u64,
    /// What went wrong on the page: errors on its console, scripts that failed, files that are not there.
    pub complaints: Vec<String>,
    _browser: Child,
    _profile: TempDir,
}

/// The machine's Chromium; installed where it is missing, by root, on a Debian. `None`: there is none, and no way to it.
pub async fn installed() -> Option<&'static str> {
    if let Some(name) = found().await {
        return Some(name);
    }
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    for arguments in ["update -qq", "install -y -qq --no-install-recommends chromium"] {
        let mut apt = Command::new("apt-get");
        apt.args(["-o", "DPkg::Lock::Timeout=120"]).args(arguments.split(' '));
        let status =
            apt.env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null()).kill_on_drop(true).status();
        if !timeout(INSTALL_LIMIT, status).await.is_ok_and(|status| status.is_ok_and(|it| it.success())) {
            return None;
        }
    }
    found().await
}

async fn found() -> Option<&'static str> {
    for name in NAMES {
        let version =
            Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if version.await.is_ok_and(|status| status.success()) {
            return Some(name);
        }
    }
    None
}

impl Chromium {
    /// Starts the browser `program`, whose microphone is `microphone`, a WAV file that is heard once from the moment on in
    /// which it is switched on. `before` is a script that runs before those of any page.
    pub async fn start(program: &str, microphone: &Path, before: &str) -> Self {
        let profile = tempfile::Builder::new().prefix("vocalbridge-chromium-").tempdir().unwrap();
        let mut browser = Command::new(program);
        browser.args([
            "--headless=new",
            "--no-sandbox",
            "--no-first-run",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            "--remote-debugging-port=0",
        ]);
        browser.arg(format!("--use-file-for-fake-audio-capture={}%noloop", microphone.display()));
        browser.arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        let browser = browser.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let browser = browser.kill_on_drop(true).spawn().unwrap();
        // The port, and the path of the browser's own socket.
        let port_file = profile.path().join("DevToolsActivePort");
        let address = eventually("the browser's start", START_LIMIT, async || {
            let text = std::fs::read_to_string(&port_file).ok()?;
            let (port, path) = text.split_once('\n')?;
            path.starts_with('/').then(|| format!("ws://127.0.0.1:{port}{}", path.trim_end()))
        })
        .await;
        let (socket, _) = connect_async(address).await.unwrap();
        let mut chromium = Self {
            socket,
            page: String::new(),
            last_id: 0,
            complaints: Vec::new(),
            _browser: browser,
            _profile: profile,
        };
        let target = chromium.ask("Target.createTarget", json!({ "url": "about:blank" })).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = chromium.ask("Target.attachToTarget", attach).await;
        chromium.page = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            chromium.ask(domain, json!({})).await;
        }
        chromium.ask("Page.addScriptToEvaluateOnNewDocument", json!({ "source": before })).await;
        chromium
    }

    pub async fn open(&mut self, url: &str) {
        let opened = self.ask("Page.navigate", json!({ "url": url })).await;
        assert!(opened["errorText"].is_null(), "{opened}");
        self.until("document.readyState === 'complete'").await;
    }

    /// Waits until an expression is true on the page.
    pub async fn until(&mut self, expression: &str) {
        let mut state = String::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        let holds = async {
            loop {
                ticks.tick().await;
                if self.look(expression).await == true {
                    return;
                }
                state = self.look("document.body?.innerText").await.to_string();
            }
        };
        let holds = timeout(ANSWER_LIMIT, holds).await.is_ok();
        assert!(holds, "not on the page: {expression}\n{state}\n{:?}", self.complaints);
    }

    /// The value of an expression on the page.
    pub async fn look(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", asked).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Clicks in the middle of an element, as a person does.
    pub async fn click(&mut self, selector: &str) {
        let middle = format!(
            "(() => {{ const box = document.querySelector({selector:?}).getBoundingClientRect(); \
             return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        );
        let at = self.look(&middle).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({ "type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1 });
            self.ask("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Types into an element.
    pub async fn write(&mut self, selector: &str, text: &str) {
        self.click(selector).await;
        self.ask("Input.insertText", json!({ "text": text })).await;
    }

    async fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": parameters });
        if !self.page.is_empty() {
            message["sessionId"] = json!(self.page);
        }
        self.socket.send(Message::text(message.to_string())).await.unwrap();
        let answer = timeout(ANSWER_LIMIT, self.answer()).await;
        let mut answer = answer.unwrap_or_else(|_| panic!("the browser does not answer {method}"));
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].take()
    }

    async fn answer(&mut self) -> Value {
        loop {
            let message = self.socket.next().await.unwrap().unwrap();
            let Message::Text(text) = message else { continue };
            let told: Value = serde_json::from_str(&text).unwrap();
            if told["id"] == self.last_id {
                return told;
            }
            let parameters = &told["params"];
            let is_wrong = match told["method"].as_str() {
                Some("Runtime.exceptionThrown") => true,
                Some("Runtime.consoleAPICalled") => parameters["type"] == "error",
                Some("Log.entryAdded") => parameters["entry"]["level"] == "error",
                _ => false,
            };
            if is_wrong {
                self.complaints.push(parameters.to_string());
            }
        }
    }
}
