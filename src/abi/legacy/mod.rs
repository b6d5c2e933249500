//! Monkey 1.5.0 to 1.5.6: the symbols it looks up, and what each call becomes.
//!
//! Every body is guarded: a panic never reaches the server. The first line of
//! each event function is one comparison and one table look-up, since Monkey
//! asks about every socket that it has.
//!
//! Read next: [`host`] (how the engine reaches Monkey), [`clients`] (what is
//! known of a descriptor), [`raw`] (the structures).

pub mod clients;
pub mod host;
pub mod raw;
pub mod version;

mod reads;
mod request;
mod worker;

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::OnceLock;

use log::Level;

use super::guard::{Guarded, guard};
use super::{bridge, clock, ending, log_sink};
use raw::{
    ClientSession, EVENT_NEXT, EVENT_OWNED, LOG_ERROR, LOG_INFO, LOG_WARNING, Plugin, PluginApi, PluginInfo,
    RET_CLOSE_CONX, RET_NOT_ME, STAGE_30, STAGE_40, STAGE_50, SessionRequest,
};
use version::Host as Version;

/// What Monkey answers to a request whose head or length it cannot take.
const UNREAD_BODY: [c_int; 3] = [400, 411, 413];

static API: OnceLock<Api> = OnceLock::new();

struct Api(&'static PluginApi);

// SAFETY: the table is filled before init and only read afterwards; the
// functions that we call from other threads (`_error`) are made for it.
unsafe impl Send for Api {}
// SAFETY: as above.
unsafe impl Sync for Api {}

/// [`_plugin_info`] may be shared between threads.
#[repr(transparent)]
pub struct Info(pub PluginInfo);

// SAFETY: it points to constant text alone.
unsafe impl Sync for Info {}

/// What Monkey reads first: names and the stages that we want to be called at.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name is Monkey's")]
pub static _plugin_info: Info = Info(PluginInfo {
    shortname: c"proxy_reverse".as_ptr(),
    name: NAME.as_ptr(),
    version: VERSION.as_ptr(),
    hooks: STAGE_30 | STAGE_40 | STAGE_50,
});

/// For people.
pub(super) const NAME: &CStr = c"Reverse proxy and load balancer";
/// For people.
pub(super) const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(text) => text,
        Err(_) => c"unknown",
    };

/// Reads the configuration. A negative answer leaves Monkey to go on without us.
///
/// # Safety
/// For Monkey's loader alone: `api` points to its table pointer, `confdir` to
/// the folder of this plugin's configuration, both valid for the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _mkp_init(api: *mut *const c_void, confdir: *const c_char) -> c_int {
    let body = || {
        clock::now();
        if api.is_null() || confdir.is_null() {
            return -1;
        }
        // SAFETY: the loader passes a pointer to its own table pointer.
        let table = unsafe { *api };
        match version::identify(table) {
            Version::Supported { .. } => {}
            refused @ Version::Refused { .. } => {
                refuse(table, &refused);
                return -1;
            }
        }
        // SAFETY: the layout was recognised, and the table lives as long as the process.
        let api = API.get_or_init(|| Api(unsafe { &*table.cast::<PluginApi>() }));
        debug_assert_eq!(std::ptr::from_ref(api.0).cast(), table);
        log_sink::install(print);
        #[cfg(target_pointer_width = "32")]
        if !crate::abi::word::is_as_built(|path, room| {
            // SAFETY: the room is larger than what the server writes there.
            unsafe { (api.0.file_get_info)(path.as_ptr(), room.as_mut_ptr().cast()) == 0 }
        }) {
            return -1;
        }
        // SAFETY: the loader passes a NUL-terminated path.
        let folder = unsafe { CStr::from_ptr(confdir) };
        if bridge::load(Path::new(OsStr::from_bytes(folder.to_bytes()))) { 0 } else { -1 }
    };
    match guard(body) {
        Guarded::Done(answer) => answer,
        Guarded::Panicked => -1,
    }
}

/// Whether a server of this family has loaded us.
pub fn is_loaded() -> bool {
    API.get().is_some()
}

/// Called in a signal handler, behind ours (`crate::abi::ending`), possibly on
/// a worker: nothing may block or be freed, so nothing is done.
#[unsafe(no_mangle)]
pub extern "C" fn _mkp_exit() -> c_int {
    0
}

/// Prepares a worker thread.
#[unsafe(no_mangle)]
pub extern "C" fn _mkp_core_thctx() {
    let _ = guard(|| {
        block_sigpipe();
        if let (Some(api), Some(_)) = (API.get(), bridge::SHARED.get()) {
            reads::install(api.0);
        }
        bridge::start_helpers();
    });
}

/// Takes a request, or leaves it to Monkey.
///
/// # Safety
/// For Monkey alone: the pointers are those of a request that it processes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _mkp_stage_30(
    plugin: *mut Plugin,
    session: *mut ClientSession,
    request: *mut SessionRequest,
) -> c_int {
    // SAFETY: by the contract of this function.
    match guard(|| unsafe { worker::stage_30(plugin, session, request) }) {
        Guarded::Done(answer) => answer,
        Guarded::Panicked => {
            worker::poison();
            // Never "not mine": Monkey would serve the file behind a proxied path.
            if !request.is_null() {
                // SAFETY: the request is valid until we return.
                unsafe {
                    (*request).headers.status = 500;
                    (*request).close_now = 1;
                }
            }
            RET_CLOSE_CONX
        }
    }
}

/// Behind a request: goes on with what the client has sent behind it, if that
/// was taken already, and closes connections that Monkey itself would keep after
/// it refused a request whose body it never read.
///
/// Kept, the rest of the body would be taken for the next request; and after a
/// 413 Monkey 1.5.4 to 1.5.6 damages a list and crashes later.
///
/// # Safety
/// For Monkey alone: the pointers are those of a request that was answered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _mkp_stage_40(session: *mut ClientSession, request: *mut SessionRequest) -> c_int {
    let body = || {
        if let Some(request) = NonNull::new(request)
            && !worker::answered_by_us(request)
        {
            // SAFETY: by the contract of this function.
            let request = unsafe { &mut *request.as_ptr() };
            if UNREAD_BODY.contains(&request.headers.status) {
                request.close_now = 1;
            }
        }
        // SAFETY: by the contract of this function.
        if let Some(session) = unsafe { session.as_ref() } {
            reads::go_on(session.socket);
        }
        false
    };
    finish(guard(body), RET_NOT_ME, RET_NOT_ME)
}

/// A client is gone; its socket is still open. May come twice, and for
/// clients that we never met.
#[unsafe(no_mangle)]
pub extern "C" fn _mkp_stage_50(fd: c_int) -> c_int {
    finish(guard(|| worker::client_gone(fd)), RET_NOT_ME, RET_NOT_ME)
}

/// Something can be read from a socket of this worker, ours or not.
#[unsafe(no_mangle)]
pub extern "C" fn _mkp_event_read(fd: c_int) -> c_int {
    ending::pass();
    finish(guard(|| worker::event_read(fd)), EVENT_OWNED, EVENT_NEXT)
}

/// Something can be written to a socket of this worker, ours or not.
#[unsafe(no_mangle)]
pub extern "C" fn _mkp_event_write(fd: c_int) -> c_int {
    ending::pass();
    finish(guard(|| worker::event_write(fd)), EVENT_OWNED, EVENT_NEXT)
}

/// A socket of this worker was closed, ours or not.
#[unsafe(no_mangle)]
pub extern "C" fn _mkp_event_close(fd: c_int) -> c_int {
    finish(guard(|| worker::event_close(fd)), EVENT_NEXT, EVENT_NEXT)
}

/// As [`_mkp_event_close`]; Monkey 1.5 has it but does not call it.
#[unsafe(no_mangle)]
pub extern "C" fn _mkp_event_error(fd: c_int) -> c_int {
    _mkp_event_close(fd)
}

/// As [`_mkp_event_close`]; Monkey 1.5 has it but does not call it.
#[unsafe(no_mangle)]
pub extern "C" fn _mkp_event_timeout(fd: c_int) -> c_int {
    _mkp_event_close(fd)
}

/// Turns "ours or not" into Monkey's number; a panic poisons the worker.
fn finish(result: Guarded<bool>, ours: c_int, not_ours: c_int) -> c_int {
    match result {
        Guarded::Done(true) => ours,
        Guarded::Done(false) => not_ours,
        Guarded::Panicked => {
            worker::poison();
            ours
        }
    }
}

/// Says why we do not load, by the table's own logger where it can be found.
fn refuse(table: *const c_void, version: &Version) {
    let text = format!(
        "proxy_reverse {}: this server is {version}; supported are Monkey 1.5.0 to 1.5.6. The plugin is not loaded.",
        env!("CARGO_PKG_VERSION")
    );
    match version {
        Version::Refused { log_slot: Some(slot), .. } => {
            let Ok(text) = std::ffi::CString::new(text) else { return };
            // SAFETY: the layout of the table was recognised; its logger has
            // had this signature in all versions that it was recognised for.
            unsafe {
                let log: unsafe extern "C" fn(c_int, *const c_char, ...) =
                    std::mem::transmute(*table.byte_add(*slot).cast::<*const c_void>());
                log(LOG_ERROR, c"%s".as_ptr(), text.as_ptr());
            }
        }
        // Nothing of the host can be called. Init runs before the server
        // becomes a daemon, so this is still the operator's terminal.
        _ => eprintln!("{text}"),
    }
}

fn print(level: Level, text: &CStr) {
    let Some(api) = API.get() else { return };
    let kind = match level {
        Level::Error => LOG_ERROR,
        Level::Warn => LOG_WARNING,
        _ => LOG_INFO,
    };
    // SAFETY: a printf of the server; the text is an argument, never the format.
    unsafe { (api.0._error)(kind, c"%s".as_ptr(), text.as_ptr()) };
}

/// Monkey 1.5.0 and 1.5.1 leave SIGPIPE unblocked: one write to a client that
/// is gone would end the server.
fn block_sigpipe() {
    // SAFETY: the set is local and initialised before it is used.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGPIPE);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}
