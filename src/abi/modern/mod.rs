//! Monkey 1.7.0 to 1.8.9: the one symbol it looks up, and what each call becomes.
//!
//! Monkey 1.6 looks the same symbol up with another layout in mind; it finds a
//! null where it wants a name, says so, and goes on without us.
//!
//! Every body is guarded: a panic never reaches the server.
//!
//! Read next: [`worker`] (the stages), [`host`] (how the engine reaches
//! Monkey), [`raw`] (the structures).

pub mod host;
pub mod raw;
mod reads;
pub mod request;
pub mod version;
pub mod worker;

use std::cell::UnsafeCell;
use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{NonNull, null_mut};
use std::sync::OnceLock;

use log::Level;

use super::guard::{Guarded, guard};
use super::legacy::raw::{LOG_ERROR, LOG_INFO, LOG_WARNING};
use super::legacy::{NAME, VERSION};
use super::{bridge, clock, log_sink};
use raw::{
    MkHttpRequest, MkHttpSession, MkList, MkPlugin, MkPluginStage, MkServer, PluginApi, RET_CONTINUE,
    RET_NOT_ME, STAGE,
};
use version::Version;

/// The server that has loaded us.
pub(super) struct Loaded {
    /// Its functions.
    pub api: &'static PluginApi,
    /// Where its transports keep their plugin.
    pub network_plugin: usize,
}

// SAFETY: the table is filled before init and only read afterwards.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

pub(super) static LOADED: OnceLock<Loaded> = OnceLock::new();

/// A structure that the server reads and writes.
#[repr(transparent)]
pub struct Shared<T>(UnsafeCell<T>);

// SAFETY: we do not touch the contents after they were compiled in; the server
// writes them in its main thread before it starts workers.
unsafe impl<T> Sync for Shared<T> {}

const NO_LINK: MkList = MkList { prev: null_mut(), next: null_mut() };

static STAGES: Shared<MkPluginStage> = Shared(UnsafeCell::new(MkPluginStage {
    stage10: Some(stage10),
    stage20: None,
    stage30: Some(stage30),
    stage30_thread: None,
    stage30_hangup: Some(stage30_hangup),
    stage40: Some(stage40),
    stage50: Some(stage50),
    plugin: null_mut(),
    head: NO_LINK,
    parent_head: NO_LINK,
}));

/// What Monkey looks for. Its name is made of the file's name.
/// cbindgen:ignore
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name is Monkey's")]
pub static mk_plugin_proxy_reverse: Shared<MkPlugin> = Shared(UnsafeCell::new(MkPlugin {
    flags: 0,
    shortname: c"proxy_reverse".as_ptr(),
    name: NAME.as_ptr(),
    version: VERSION.as_ptr(),
    hooks: STAGE,
    capabilities: 0,
    api: null_mut(),
    init_plugin: Some(init),
    exit_plugin: Some(exit),
    master_init: None,
    worker_init: Some(worker_init),
    network: null_mut(),
    stage: STAGES.0.get(),
    handler: null_mut(),
    path: null_mut(),
    thread_key: null_mut(),
    head: NO_LINK,
    stage_list: NO_LINK,
    load_type: 0,
    server_ctx: null_mut(),
}));

/// Reads the configuration. A negative answer leaves Monkey to go on without us.
unsafe extern "C" fn init(plugin: *mut MkPlugin, confdir: *mut c_char) -> c_int {
    let body = || {
        clock::now();
        if plugin != mk_plugin_proxy_reverse.0.get() || confdir.is_null() {
            return -1;
        }
        // SAFETY: the loader has set both members of our own structure.
        let (api, server) = unsafe { ((*plugin).api, (*plugin).server_ctx) };
        if api.is_null() || server.is_null() {
            return -1;
        }
        // SAFETY: the table lives as long as the process.
        let api: &'static PluginApi = unsafe { &*api };
        // SAFETY: a server of this family is larger than what is looked at.
        let version = unsafe { version::identify(server) };
        let network_plugin = match &version {
            Version::Supported { network_plugin, .. } => *network_plugin,
            Version::Refused { .. } => 0,
        };
        let _ = LOADED.set(Loaded { api, network_plugin });
        log_sink::install(print);
        if let Version::Refused { software } = &version {
            log::error!(
                "{}: this server is {software}; supported are Monkey 1.7.0 to 1.8.9. The plugin is not loaded.",
                env!("CARGO_PKG_VERSION")
            );
            return -1;
        }
        #[cfg(target_pointer_width = "32")]
        if !crate::abi::word::is_as_built(|path, room| {
            // SAFETY: the room is larger than what the server writes there.
            unsafe { (api.file_get_info)(path.as_ptr(), room.as_mut_ptr().cast(), 0) == 0 }
        }) {
            return -1;
        }
        // SAFETY: the loader passes a NUL-terminated path.
        let folder = unsafe { CStr::from_ptr(confdir) };
        if !bridge::load(Path::new(OsStr::from_bytes(folder.to_bytes()))) {
            return -1;
        }
        bridge::warn_of_static();
        0
    };
    match guard(body) {
        Guarded::Done(answer) => answer,
        Guarded::Panicked => -1,
    }
}

/// Called in a signal handler, behind ours (`crate::abi::ending`), when the
/// workers are gone: nothing may block or be freed, so nothing is done.
unsafe extern "C" fn exit(_plugin: *mut MkPlugin) -> c_int {
    0
}

/// Prepares a worker thread.
unsafe extern "C" fn worker_init(_server: *mut MkServer) {
    let _ = guard(bridge::start_helpers);
}

/// A client's connection begins. Never taken, and never refused.
unsafe extern "C" fn stage10(_fd: c_int) -> c_int {
    let _ = guard(reads::accepted);
    RET_NOT_ME
}

/// Takes a request. Whatever is answered here, the server prepares a head of
/// its own behind it, so a request cannot be given back.
unsafe extern "C" fn stage30(
    plugin: *mut MkPlugin,
    session: *mut MkHttpSession,
    request: *mut MkHttpRequest,
    _parameters: c_int,
    _list: *mut MkList,
) -> c_int {
    // SAFETY: the pointers are those of a request that the server processes.
    if guard(|| unsafe { worker::stage_30(plugin, session, request) }) == Guarded::Panicked {
        worker::poison();
        // SAFETY: as above; the session is valid until we return.
        unsafe { worker::cut_off(session) };
    }
    RET_CONTINUE
}

/// The client of a request that we took is gone, or a connection that once
/// carried one is closed.
unsafe extern "C" fn stage30_hangup(
    _plugin: *mut MkPlugin,
    _session: *mut MkHttpSession,
    request: *mut MkHttpRequest,
) -> c_int {
    // SAFETY: the request is valid during the call.
    if guard(|| unsafe { worker::hung_up(request) }) == Guarded::Panicked {
        worker::poison();
    }
    0
}

/// A request is about to end, whoever has answered it.
unsafe extern "C" fn stage40(session: *mut MkHttpSession, _request: *mut MkHttpRequest) -> c_int {
    let _ = guard(|| {
        // SAFETY: the session is valid during the call, and its connection open.
        if let Some(conn) = unsafe { session.as_ref() }.and_then(|session| NonNull::new(session.conn)) {
            // SAFETY: as above.
            unsafe { reads::go_on(conn) };
        }
    });
    RET_NOT_ME
}

/// A connection is closed; its socket is still open.
unsafe extern "C" fn stage50(fd: c_int) -> c_int {
    let _ = guard(|| worker::closed(fd));
    0
}

fn print(level: Level, text: &CStr) {
    let Some(loaded) = LOADED.get() else { return };
    let kind = match level {
        Level::Error => LOG_ERROR,
        Level::Warn => LOG_WARNING,
        _ => LOG_INFO,
    };
    // SAFETY: a printf of the server; the text is an argument, never the format.
    unsafe { (loaded.api._error)(kind, c"%s".as_ptr(), text.as_ptr()) };
}
