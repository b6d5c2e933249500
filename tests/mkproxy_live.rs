//! `mkproxy status` on a terminal: a pseudo terminal, and what one would show.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests fail loudly, and wait")]

mod support;

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use rustix::pty::{self, OpenptFlags};
use rustix::termios::{self, Termios, Winsize};
use support::{Backend, Conf, Host, Next, conf::STATISTICS, eventually, harness_only, sockets, vice, within};

const LIMIT: Duration = Duration::from_secs(10);

/// A terminal with `mkproxy status` on it.
struct Terminal {
    /// The side of the person.
    keyboard: File,
    /// Kept open, so that the terminal stays as the program leaves it.
    line: File,
    child: Child,
    found: Termios,
    shown: Arc<Mutex<Shown>>,
}

/// What came on the screen.
struct Shown {
    parser: vt100::Parser,
    /// All of it as it came.
    bytes: Vec<u8>,
}

impl Terminal {
    fn start(arguments: &[&str]) -> Terminal {
        Terminal::of_size(24, 120, arguments)
    }

    fn of_size(rows: u16, columns: u16, arguments: &[&str]) -> Terminal {
        let keyboard = File::from(pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap());
        pty::grantpt(&keyboard).unwrap();
        pty::unlockpt(&keyboard).unwrap();
        let name: CString = pty::ptsname(&keyboard, Vec::new()).unwrap();
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(name.as_bytes()));
        let line = OpenOptions::new().read(true).write(true).open(path).unwrap();
        termios::tcsetwinsize(&line, size(rows, columns)).unwrap();
        let found = termios::tcgetattr(&line).unwrap();
        // Only who has it for its controlling terminal hears of its size and of Ctrl-C.
        let mut command = Command::new("setsid");
        command.args(["--ctty", env!("CARGO_BIN_EXE_mkproxy"), "status"]).args(arguments);
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        command.stdin(line.try_clone().unwrap()).stdout(line.try_clone().unwrap());
        command.stderr(line.try_clone().unwrap());
        let child = command.spawn().unwrap();
        let parser = vt100::Parser::new(number(rows), number(columns), 0);
        let shown = Arc::new(Mutex::new(Shown { parser, bytes: Vec::new() }));
        let (mut screen, into) = (keyboard.try_clone().unwrap(), Arc::clone(&shown));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            // It ends with an error when nobody has the other side open any more.
            while let Ok(read @ 1..) = screen.read(&mut buffer) {
                let mut shown = into.lock().unwrap();
                shown.parser.process(&buffer[..read]);
                shown.bytes.extend_from_slice(&buffer[..read]);
            }
        });
        Terminal { keyboard, line, child, found, shown }
    }

    fn screen<R>(&self, look: impl FnOnce(&vt100::Screen) -> R) -> R {
        look(self.shown.lock().unwrap().parser.screen())
    }

    fn text(&self) -> String {
        self.screen(|screen| screen.contents())
    }

    /// The columns of the line that begins with this word.
    fn columns(&self, first: &str) -> Vec<String> {
        let text = self.text();
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(first));
        line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }

    #[track_caller]
    fn shows(&self, what: &str) {
        self.comes_to(what, |text| text.contains(what));
    }

    #[track_caller]
    fn comes_to(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let came = within(LIMIT, || is_so(&self.text()));
        assert!(came, "{what:?} is not on the screen:\n{}", self.text());
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    fn resize(&self, rows: u16, columns: u16) {
        self.shown.lock().unwrap().parser.screen_mut().set_size(number(rows), number(columns));
        termios::tcsetwinsize(&self.keyboard, size(rows, columns)).unwrap();
    }

    fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut status = None;
        within(limit, || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status
    }

    /// It ends soon, well, and leaves the terminal as it has found it.
    #[track_caller]
    fn ends_well(&mut self) {
        let status = self.ended(LIMIT);
        assert!(status.is_some_and(|status| status.success()), "{status:?}:\n{}", self.text());
        self.is_given_back();
    }

    #[track_caller]
    fn is_given_back(&self) {
        let left = || self.screen(|screen| !screen.alternate_screen() && !screen.hide_cursor());
        eventually(LIMIT, "the screen is given back, with its cursor", left);
        assert_eq!(self.text().trim(), "", "something is left");
        self.has_its_modes();
    }

    #[track_caller]
    fn has_its_modes(&self) {
        let now = termios::tcgetattr(&self.line).unwrap();
        let modes = |of: &Termios| (of.input_modes, of.output_modes, of.control_modes, of.local_modes);
        assert_eq!(modes(&now), modes(&self.found), "keys are not treated as before");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn page(host: &Host) -> String {
    format!("http://{}{STATISTICS}", host.addr())
}

#[test]
fn servers_are_shown_and_their_figures_follow_what_happens() {
    harness_only(|kind| {
        let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
        let conf = Conf::new()
            .route("^/app/", &[&a])
            .route("^/other/", &[&b])
            .with("AttemptsCount 1")
            .with("OfflineTimeOut 60")
            .with("ProbeOffline off")
            .with_statistics();
        let host = Host::start(kind, conf);
        let mut terminal = Terminal::start(&["--interval", "0.1", &page(&host)]);
        terminal.shows("2 of 2 servers online, up ");
        for text in
            ["^/app/  Round-Robin", "^/other/  Round-Robin", "req/s", "requests", "q quits, r asks at once"]
        {
            terminal.shows(text);
        }
        assert!(terminal.screen(|screen| screen.alternate_screen() && screen.hide_cursor()));
        let (first, second) = (a.address(), b.address());
        assert_eq!(terminal.columns(&first)[1..5], ["online", "0.0", "0", "0"], "{}", terminal.text());
        for _ in 0..3 {
            host.get("/app/x").expect(200);
        }
        let counted = |name: &str, count: &str| terminal.columns(name).get(4).is_some_and(|n| n == count);
        eventually(LIMIT, "three requests are shown", || counted(&first, "3"));
        assert!(counted(&second, "0"));

        b.stop();
        host.get("/other/x").expect(502);
        terminal.shows("1 of 2 servers online");
        // The screen may be seen when half of it is painted.
        let is_offline = || terminal.columns(&second).get(1).is_some_and(|state| state == "offline");
        eventually(LIMIT, "the server's own line says so too", is_offline);
        terminal.shows("failures, trial in ");
        terminal.shows("Connection refused");
        terminal.press("q");
        terminal.ends_well();
    });
}

#[test]
fn the_terminal_is_given_back_whichever_key_ends_it() {
    harness_only(|kind| {
        let a = Backend::start("a", vice::echo());
        let host = Host::start(kind, Conf::new().route("^/app/", &[&a]).with_statistics());
        // An escape alone, Ctrl-C, Ctrl-D.
        for key in ["q", "\u{1b}", "\u{3}", "\u{4}"] {
            let mut terminal = Terminal::start(&[&page(&host)]);
            terminal.shows("1 of 1 servers online");
            terminal.press("x");
            assert!(terminal.ended(Duration::from_millis(300)).is_none(), "any key ends it");
            terminal.press(key);
            terminal.ends_well();
        }
    });
}

#[test]
fn a_signal_left_the_terminal_without_echo_and_cursor() {
    harness_only(|kind| {
        let a = Backend::start("a", vice::echo());
        let host = Host::start(kind, Conf::new().route("^/app/", &[&a]).with_statistics());
        for signal in [Signal::TERM, Signal::INT] {
            let mut terminal = Terminal::start(&[&page(&host)]);
            terminal.shows("1 of 1 servers online");
            let process = Pid::from_child(&terminal.child);
            rustix::process::kill_process(process, signal).unwrap();
            let status = terminal.ended(LIMIT).unwrap();
            assert_eq!(status.signal(), Some(signal.as_raw()), "{status}");
            terminal.is_given_back();
        }
    });
}

#[test]
fn it_asks_at_once_when_that_is_wanted() {
    harness_only(|kind| {
        let a = Backend::start("a", vice::echo());
        let host = Host::start(kind, Conf::new().route("^/app/", &[&a]).with_statistics());
        let mut terminal = Terminal::start(&["--interval", "3600", &page(&host)]);
        terminal.shows("1 of 1 servers online");
        host.get("/app/x").expect(200);
        terminal.press("r");
        let name = a.address();
        eventually(LIMIT, "the request is shown", || {
            terminal.columns(&name).get(4).is_some_and(|n| n == "1")
        });
    });
}

#[test]
fn the_table_fits_whatever_the_size_of_the_terminal_becomes() {
    harness_only(|kind| {
        let all: Vec<_> = (0..20).map(|_| Backend::start("a", vice::echo())).collect();
        let conf = Conf::new().route("^/app/", &all.iter().collect::<Vec<_>>()).with_statistics();
        let host = Host::start(kind, conf);
        let mut terminal = Terminal::of_size(40, 120, &["--interval", "3600", &page(&host)]);
        let last = all[19].address();
        terminal.shows(&last);
        terminal.resize(10, 50);
        terminal.comes_to("ten short lines", |text| {
            let lines: Vec<_> = text.lines().collect();
            lines.len() == 10
                && lines[0].starts_with("20 of 20")
                && lines[7] == "..."
                && lines[9].starts_with("q quits")
        });
        assert!(!terminal.text().contains("p99"), "{}", terminal.text());
        terminal.resize(30, 120);
        terminal.shows("p99");
        terminal.shows(&last);
        for (rows, columns) in [(1, 1), (2, 5), (3, 200), (200, 3)] {
            terminal.resize(rows, columns);
            terminal.press("r");
            assert!(terminal.ended(Duration::from_millis(200)).is_none(), "{rows} x {columns}");
        }
        terminal.resize(24, 80);
        terminal.shows("20 of 20 servers online");
        terminal.shows("q quits");
        terminal.press("q");
        terminal.ends_well();
    });
}

#[test]
fn a_server_that_is_gone_is_told_of_and_waited_for() {
    let page = |count: u64| {
        let body = format!(
            "{{\"version\":\"1\",\"uptime\":{count},\"routes\":[{{\"patterns\":[\"^/x/\"],\"load_balancer\":\"Naive\",\
             \"backends\":[{{\"address\":\"10.0.0.1:80\",\"state\":\"online\"}}]}}]}}"
        );
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        vice::raw([head, body].concat(), Next::Close)
    };
    let monkey = Backend::start("monkey", page(7));
    let url = format!("{}/proxy/statistics", monkey.address());
    // Less than a line has room for, if the address stands in front.
    let mut terminal = Terminal::of_size(24, 60, &["--interval", "0.1", &url]);
    terminal.shows("10.0.0.1:80");
    terminal.shows("up 7s");
    monkey.stop();
    terminal.shows("nobody listens there; is Monkey running?");
    // What was known last is still there.
    terminal.shows("10.0.0.1:80");
    assert!(terminal.ended(Duration::from_millis(300)).is_none(), "it has given up");
    monkey.restart(page(8));
    terminal
        .comes_to("all is well again", |text| !text.contains("nobody listens") && text.contains("q quits"));
    terminal.shows("up 8s");
    terminal.press("q");
    terminal.ends_well();
}

#[test]
fn nobody_there_at_first_is_no_reason_to_give_up_either() {
    let dead = sockets::Reserved::new(sockets::LOOPBACK).unwrap();
    let mut terminal = Terminal::start(&["--interval", "0.1", &format!("http://{}/x", dead.addr())]);
    terminal.shows("nobody listens there; is Monkey running?");
    assert!(terminal.ended(Duration::from_millis(300)).is_none());
    terminal.press("\u{3}");
    terminal.ends_well();
}

#[test]
fn keys_are_heard_while_no_answer_comes() {
    let silent = Backend::start("silent", vice::never_answers());
    let mut terminal = Terminal::start(&[&format!("{}/proxy/statistics", silent.address())]);
    terminal.shows("asking ...");
    eventually(LIMIT, "it is asked", || silent.requests() == 1);
    terminal.press("q");
    terminal.ends_well();
    let shown = terminal.shown.lock().unwrap();
    assert!(!String::from_utf8_lossy(&shown.bytes).contains("no answer in"), "it has waited for the answer");
}

#[test]
fn once_is_plain_text_on_a_terminal_too() {
    harness_only(|kind| {
        let a = Backend::start("a", vice::echo());
        let host = Host::start(kind, Conf::new().route("^/app/", &[&a]).with_statistics());
        for arguments in [["--once", &page(&host)], ["--json", &page(&host)]] {
            let mut terminal = Terminal::start(&arguments);
            let status = terminal.ended(LIMIT).unwrap();
            assert!(status.success(), "{status}");
            terminal.shows(&a.address());
            let shown = terminal.shown.lock().unwrap();
            let escapes = String::from_utf8_lossy(&shown.bytes).matches("\u{1b}[?").count();
            assert_eq!(escapes, 0, "it has taken the screen or the cursor");
            drop(shown);
            terminal.has_its_modes();
        }
    });
}

#[test]
fn a_wrong_url_or_interval_never_touches_the_terminal() {
    for arguments in [&["https://a/x"][..], &["nonsense"], &["--interval", "0", "http://a/x"]] {
        let mut terminal = Terminal::start(arguments);
        let status = terminal.ended(LIMIT).unwrap();
        assert_eq!(status.code(), Some(1), "{arguments:?}");
        terminal.comes_to("a reason", |text| text.contains("mkproxy: "));
        assert!(!terminal.screen(|screen| screen.alternate_screen() || screen.hide_cursor()));
        terminal.has_its_modes();
    }
}
