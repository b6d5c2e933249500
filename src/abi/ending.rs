//! The end of the server. Both families end inside the handler of SIGTERM,
//! SIGINT or SIGHUP: 1.5 unloads its plugins while its workers still run, 1.8
//! has its workers leave first. By the time a plugin's exit function is called
//! it is too late in both: 1.5 has ended the transport already, 1.8 the loops.
//! So our handler stands in front of theirs: it waits, on the main thread, until
//! the workers have finished what is under way, and then calls theirs.
//!
//! Everything here but [`install`] may run at any moment of the main thread: it
//! takes no lock that it would have to wait for, allocates nothing, logs nothing.

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::bridge::SHARED;
use super::{clock, legacy};
use crate::engine::{Ending, Logs, UnderWay};

/// How long answers under way may take to be finished.
const LIMIT_MS: u64 = 5000;

/// How long requests are taken that come since the signal. Behind that they get
/// a 503: a server that never rests would never be done otherwise.
const LATER_MS: u64 = 1000;

/// How long to wait for workers of 1.5 to stand still. None of them does anything
/// that lasts.
const STILL_MS: u64 = 250;

/// How long to wait for a disk.
const WRITTEN_MS: u64 = 500;

/// Time between two looks.
const PAUSE_MS: c_int = 5;

/// What ends both families.
const SIGNALS: [c_int; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP];

/// The server's own handlers, in the same order.
static BEFORE: [OnceLock<libc::sigaction>; SIGNALS.len()] = [const { OnceLock::new() }; SIGNALS.len()];

/// A signal has come.
static ASKED: AtomicBool = AtomicBool::new(false);
/// So has a second one: nothing is waited for any more.
static HURRY: AtomicBool = AtomicBool::new(false);

/// Workers that come round stand still.
static STILL: AtomicBool = AtomicBool::new(false);
/// So many do.
static STANDING: AtomicUsize = AtomicUsize::new(0);

/// Puts our handler in front of the server's. Both families have set theirs
/// before they start a worker; where none is set, a signal does what it did.
pub fn install() {
    for (signal, before) in SIGNALS.into_iter().zip(&BEFORE) {
        // SAFETY: all-zero is a valid action; the calls read and write it alone.
        unsafe {
            let mut present: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut present) != 0
                || matches!(present.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN)
                || before.set(present).is_err()
            {
                continue;
            }
            let mut ours = present;
            ours.sa_sigaction = on_signal as *const () as usize;
            // A second signal is to come through.
            ours.sa_flags |= libc::SA_SIGINFO | libc::SA_NODEFER;
            let _ = libc::sigaction(signal, &raw const ours, std::ptr::null_mut());
        }
    }
}

/// Waits, and lets the server's handler end it.
unsafe extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    if ASKED.swap(true, Ordering::SeqCst) {
        HURRY.store(true, Ordering::SeqCst);
    } else if let Some(shared) = SHARED.get()
        && is_main_thread()
    {
        finish(&shared.ending);
        if legacy::is_loaded() {
            halt(&shared.ending);
        }
        write_logs(&shared.logs);
    }
    let place = SIGNALS.iter().position(|&ends| ends == signal);
    let Some(before) = place.and_then(|place| BEFORE[place].get()) else { return };
    // SAFETY: the handler that the server set for this signal, called as the
    // kernel would; its flags tell which of the two types it has.
    unsafe {
        if before.sa_flags & libc::SA_SIGINFO != 0 {
            let handler: unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                std::mem::transmute(before.sa_sigaction);
            handler(signal, info, context);
        } else {
            let handler: unsafe extern "C" fn(c_int) = std::mem::transmute(before.sa_sigaction);
            handler(signal);
        }
    }
    // Theirs do not return, but who knows.
    STILL.store(false, Ordering::SeqCst);
}

/// Signals for the process go to its first thread unless that has blocked them.
/// On a worker nothing can be waited for: it would wait for itself.
fn is_main_thread() -> bool {
    // SAFETY: two system calls that cannot fail.
    unsafe { libc::gettid() == libc::getpid() }
}

/// Waits until the workers have finished what is under way, or for [`LIMIT_MS`].
fn finish(ending: &Ending) {
    ending.ask();
    let begun = clock::now().ms;
    loop {
        let since = clock::now().ms.saturating_sub(begun);
        if since >= LATER_MS {
            ending.refuse();
        }
        let done = ending.under_way() == Some(UnderWay::default());
        if done || since >= LIMIT_MS || HURRY.load(Ordering::SeqCst) {
            return;
        }
        pause();
    }
}

/// Waits until the lines of the last requests are on the disk.
fn write_logs(logs: &Logs) {
    logs.hurry();
    let begun = clock::now().ms;
    while !logs.is_written()
        && clock::now().ms.saturating_sub(begun) < WRITTEN_MS
        && !HURRY.load(Ordering::SeqCst)
    {
        pause();
    }
}

/// Lets the workers stand still: 1.5 takes its plugins apart under their feet
/// otherwise, and often ends in an abort for that.
fn halt(ending: &Ending) {
    STILL.store(true, Ordering::SeqCst);
    let begun = clock::now().ms;
    while clock::now().ms.saturating_sub(begun) < STILL_MS && !HURRY.load(Ordering::SeqCst) {
        if ending.call_all().is_some_and(|workers| STANDING.load(Ordering::SeqCst) >= workers) {
            return;
        }
        pause();
    }
}

/// Where workers of 1.5 come by at each event, holding nothing.
pub fn pass() {
    if STILL.load(Ordering::Relaxed) {
        STANDING.fetch_add(1, Ordering::SeqCst);
        while STILL.load(Ordering::SeqCst) {
            pause();
        }
        STANDING.fetch_sub(1, Ordering::SeqCst);
    }
}

fn pause() {
    // SAFETY: no descriptors, so nothing is read or written.
    let _ = unsafe { libc::poll(std::ptr::null_mut(), 0, PAUSE_MS) };
}
