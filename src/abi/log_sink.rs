//! The `log` facade's way out: the host's own logger.

use std::ffi::CString;
use std::panic;
use std::sync::OnceLock;

use log::{Level, LevelFilter, Log, Metadata, Record};

/// Takes one line of text at a level.
pub type Print = fn(Level, &std::ffi::CStr);

struct Sink {
    print: OnceLock<Print>,
}

static SINK: Sink = Sink { print: OnceLock::new() };

/// Lets log lines and panic messages go through `print` from now on. Nothing
/// of ours may write to descriptor 1 or 2: once the host is a daemon they may
/// be a client's sockets.
pub fn install(print: Print) {
    if SINK.print.set(print).is_err() {
        return;
    }
    if log::set_logger(&SINK).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
    // The hook of our own copy of std; the host and other plugins have theirs.
    panic::set_hook(Box::new(|info| log::error!("internal error, please report it: {info}")));
}

impl Log for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let Some(print) = self.print.get() else { return };
        // One line of the host's log for each line of text.
        for line in record.args().to_string().lines() {
            let text = format!("proxy_reverse: {}", line.replace('\0', ""));
            if let Ok(text) = CString::new(text) {
                print(record.level(), &text);
            }
        }
    }

    fn flush(&self) {}
}
