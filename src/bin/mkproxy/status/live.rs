//! The table on a terminal, again and again. A thread asks for the page, so that keys are heard
//! while nobody answers.

#![allow(clippy::disallowed_methods, reason = "a tool for one person has the clock to itself")]

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use clap::builder::styling::AnsiColor;
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::{cursor, execute, terminal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use super::fetch::Url;
use super::table::Snapshot;
use crate::cli::{Failure, Status};

/// Shows it until somebody presses q.
pub fn run(url: Url, interval: f64) -> Result<Status, Failure> {
    let interval = Duration::try_from_secs_f64(interval)
        .ok()
        .filter(|interval| SHORTEST <= *interval)
        .ok_or_else(|| Failure("--interval takes seconds from 0.1 on".to_owned()))?;
    let (pages, incoming) = mpsc::channel();
    let (again, asked) = mpsc::channel();
    // Nobody waits for it in the end: it may be waiting for an answer itself.
    thread::spawn(move || ask(&url, interval, &pages, &asked));
    let signal = Arc::new(AtomicUsize::new(0));
    for number in [SIGINT, SIGTERM] {
        flag::register_usize(number, Arc::clone(&signal), usize::try_from(number)?)?;
    }
    let screen = Screen::new()?;
    watch(&screen, &incoming, &again, &signal)?;
    drop(screen);
    // It ends of it, as whoever sent it expects, and the terminal is whole.
    if let number @ 1.. = i32::try_from(signal.load(Relaxed))? {
        low_level::emulate_default_handler(number)?;
    }
    Ok(Status::Well)
}

/// Asks for the page, at once when somebody wants it so.
fn ask(url: &Url, interval: Duration, pages: &Sender<Result<Snapshot, String>>, asked: &Receiver<()>) {
    let begin = Instant::now();
    loop {
        let body = url.get();
        let ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        if pages.send(body.and_then(|body| Snapshot::new(&body, ms))).is_err() {
            return;
        }
        if asked.recv_timeout(interval) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

fn watch(
    screen: &Screen,
    incoming: &Receiver<Result<Snapshot, String>>,
    again: &Sender<()>,
    signal: &AtomicUsize,
) -> Result<(), Failure> {
    let (mut before, mut now, mut trouble): (Option<Snapshot>, Option<Snapshot>, Option<String>) =
        (None, None, None);
    let mut is_stale = true;
    loop {
        while let Ok(page) = incoming.try_recv() {
            is_stale = true;
            match page {
                Ok(page) => {
                    before = now.replace(page);
                    trouble = None;
                }
                Err(reason) => trouble = Some(reason),
            }
        }
        if is_stale {
            screen.draw(now.as_ref(), before.as_ref(), trouble.as_deref())?;
            is_stale = false;
        }
        if signal.load(Relaxed) != 0 {
            return Ok(());
        }
        match event::poll(GLANCE) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        }
        match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Release => {}
            Event::Key(key) => match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                KeyCode::Char('r' | ' ') => drop(again.send(())),
                _ => {}
            },
            Event::Resize(..) => is_stale = true,
            _ => {}
        }
    }
}

/// The terminal while it is ours; given back as it was when dropped, whatever happens.
struct Screen;

impl Screen {
    fn new() -> Result<Screen, Failure> {
        terminal::enable_raw_mode()?;
        let screen = Screen;
        execute!(std::io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }

    fn draw(
        &self,
        now: Option<&Snapshot>,
        before: Option<&Snapshot>,
        trouble: Option<&str>,
    ) -> Result<(), Failure> {
        let (width, height) = terminal::size().unwrap_or((80, 24));
        let (width, height) = (usize::from(width), usize::from(height));
        let mut lines = match now {
            Some(now) => now.lines(before, width),
            None if trouble.is_none() => vec!["asking ...".to_owned()],
            None => Vec::new(),
        };
        let room = height.saturating_sub(2);
        if lines.len() > room {
            lines.truncate(room.saturating_sub(1));
            lines.push("...".to_owned());
        }
        let red = AnsiColor::Red.on_default().bold();
        let last = match trouble {
            Some(trouble) => format!("{red}{}{red:#}", trouble.chars().take(width).collect::<String>()),
            None => "q quits, r asks at once".chars().take(width).collect(),
        };
        lines.resize(room + 1, String::new());
        lines.push(last);
        let mut out = anstream::stdout().lock();
        execute!(out, cursor::MoveTo(0, 0))?;
        for (index, line) in lines.iter().take(height).enumerate() {
            execute!(out, cursor::MoveTo(0, u16::try_from(index).unwrap_or(u16::MAX)))?;
            write!(out, "{line}")?;
            execute!(out, terminal::Clear(terminal::ClearType::UntilNewLine))?;
        }
        out.flush()?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Nobody is left who could be told that it did not work.
        let _ = execute!(std::io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

/// How long keys and pages wait for each other.
const GLANCE: Duration = Duration::from_millis(100);

const SHORTEST: Duration = Duration::from_millis(100);
