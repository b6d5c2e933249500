//! A browser that a test looks at a page with: Chromium without a window, told what to do over its
//! DevTools protocol, which is JSON over a WebSocket.

use std::env;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

use crate::support::Steady;

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// A browser takes long to start while other tests keep the machine busy.
const START: Duration = Duration::from_secs(60);
/// Whatever takes longer than that is stuck.
const DEADLINE: Duration = Duration::from_secs(30);

/// A browser with one page.
pub struct Browser {
    process: Process,
    socket: WebSocket<Steady>,
    session: String,
    asked: u64,
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// One of those in PATH; nothing, with a line that says so, where none of them is, or starts.
    pub fn start() -> Option<Browser> {
        let Some(program) = in_path() else {
            eprintln!("skipped: none of {NAMES:?} is in PATH");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut folder = std::ffi::OsString::from("--user-data-dir=");
        folder.push(profile.path());
        let process = Command::new(&program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--remote-debugging-port=0"])
            .arg(folder)
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut process = Process(process);
        let lines = BufReader::new(process.0.stderr.take().unwrap()).lines();
        let (tell, told) = mpsc::channel();
        // Reads to the end, so that the browser never waits for a reader.
        thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(tell.send(line))));
        let (until, mut said) = (Instant::now() + START, String::new());
        let url = loop {
            match told.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => match line.split_once("DevTools listening on ") {
                    Some((_, url)) => break url.to_owned(),
                    None => said = said + &line + "\n",
                },
                Err(_) => {
                    eprintln!("skipped: {} does not start; it says:\n{said}", program.display());
                    return None;
                }
            }
        };
        let address = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next()).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let (socket, _) = tungstenite::client(&url, Steady(stream)).unwrap();
        let (session, complaints) = (String::new(), Vec::new());
        let mut browser = Browser { process, socket, session, asked: 0, complaints, _profile: profile };
        let page = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        browser.session =
            browser.call("Target.attachToTarget", attach)["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Log", "Runtime", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Calls a method of the protocol.
    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.socket.send(Message::text(message.to_string())).unwrap();
        loop {
            let message = self.socket.read().unwrap_or_else(|error| panic!("{method}: {error}"));
            let Message::Text(text) = message else { continue };
            let mut told: Value = serde_json::from_str(&text).unwrap();
            if told["id"] == self.asked {
                assert!(told["error"].is_null(), "{method}: {told}");
                return told["result"].take();
            }
            self.note(&told);
        }
    }

    /// What the page would have written into its console.
    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        let is_complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => params["type"] == "error",
            // A browser asks for that by itself.
            Some("Log.entryAdded") => {
                !params["entry"]["url"].as_str().unwrap_or_default().ends_with("/favicon.ico")
            }
            _ => false,
        };
        if is_complaint {
            self.complaints.push(params.to_string());
        }
    }

    /// The value of an expression of JavaScript in the page.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut told = self.call("Runtime.evaluate", params);
        assert!(told["exceptionDetails"].is_null(), "{expression}: {told}");
        told["result"]["value"].take()
    }

    /// Waits until the expression is true; if it never is, tells the value of `otherwise`.
    #[track_caller]
    pub fn eventually(&mut self, expression: &str, otherwise: &str) {
        let came = super::within(DEADLINE, || self.value(expression) == true);
        assert!(came, "never {expression}; but {otherwise} is {}", self.value(otherwise));
    }

    /// Errors that the page had so far, breaches of its policy among them.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to, it ends its own processes as well.
        self.session.clear();
        let close = json!({ "id": 0, "method": "Browser.close" });
        let _ = self.socket.send(Message::text(close.to_string()));
        super::within(Duration::from_secs(5), || matches!(self.process.0.try_wait(), Ok(Some(_))));
    }
}

/// Ends with whoever started it, also where that fails before there is a page.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

fn in_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let folders: Vec<PathBuf> = env::split_paths(&path).collect();
    let files = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    files.into_iter().find(|file| file.is_file())
}
