//! Mirrors of the structures of Monkey 1.7.0 to 1.8.9, as far as they are the
//! same in all of them. No logic.
//!
//! What moved between those versions is left out as padding, apart from
//! `mk_plugin_network.plugin`, whose place is told by the server's. The numbers
//! in the assertions at the end were measured on the headers of each version;
//! `tests/abi_layout.rs` compares them with `tests/data`.

use std::ffi::{c_char, c_int, c_long, c_uint, c_ulonglong, c_void};
use std::mem::{offset_of, size_of};

use crate::abi::word::{Off, Time, measured};

pub use crate::abi::legacy::raw::{MkList, MkPtr};

/// What the server knows of a plugin (`struct mk_plugin`). The server writes
/// into it.
#[repr(C)]
#[derive(Debug)]
pub struct MkPlugin {
    /// No coroutine for us.
    pub flags: c_int,
    /// The name that `[HANDLERS]` uses.
    pub shortname: *const c_char,
    /// For people.
    pub name: *const c_char,
    /// For people.
    pub version: *const c_char,
    /// Exactly [`STAGE`], or `[HANDLERS]` does not find us.
    pub hooks: c_uint,
    /// For transports alone.
    pub capabilities: c_char,
    /// The server's functions, set before init.
    pub api: *mut PluginApi,
    /// Called first.
    pub init_plugin: Option<unsafe extern "C" fn(*mut MkPlugin, *mut c_char) -> c_int>,
    /// Called last.
    pub exit_plugin: Option<unsafe extern "C" fn(*mut MkPlugin) -> c_int>,
    /// Called in the main thread.
    pub master_init: Option<unsafe extern "C" fn(*mut MkServer) -> c_int>,
    /// Called in each worker.
    pub worker_init: Option<unsafe extern "C" fn(*mut MkServer)>,
    /// For transports alone.
    pub network: *mut MkPluginNetwork,
    /// The stages that we want to be called at.
    pub stage: *mut MkPluginStage,
    /// Of dlopen.
    pub handler: *mut c_void,
    /// Of the file.
    pub path: *mut c_char,
    /// Thread key, if wanted.
    pub thread_key: *mut c_void,
    /// Link in the list of plugins.
    pub head: MkList,
    /// The server's own.
    pub stage_list: MkList,
    /// The server's own.
    pub load_type: c_int,
    /// The server, set before init.
    pub server_ctx: *mut MkServer,
}

/// The stages of a plugin (`struct mk_plugin_stage`).
#[repr(C)]
#[derive(Debug)]
pub struct MkPluginStage {
    /// On accept.
    pub stage10: Option<unsafe extern "C" fn(c_int) -> c_int>,
    /// On a parsed request.
    pub stage20: Option<unsafe extern "C" fn(*mut MkHttpSession, *mut MkHttpRequest) -> c_int>,
    /// On a request that `[HANDLERS]` sends to us.
    pub stage30: Option<
        unsafe extern "C" fn(
            *mut MkPlugin,
            *mut MkHttpSession,
            *mut MkHttpRequest,
            c_int,
            *mut MkList,
        ) -> c_int,
    >,
    /// As a coroutine; disabled in the server.
    pub stage30_thread: Option<unsafe extern "C" fn()>,
    /// The client of a request that we took once is gone.
    pub stage30_hangup:
        Option<unsafe extern "C" fn(*mut MkPlugin, *mut MkHttpSession, *mut MkHttpRequest) -> c_int>,
    /// Behind a request.
    pub stage40: Option<unsafe extern "C" fn(*mut MkHttpSession, *mut MkHttpRequest) -> c_int>,
    /// A connection is closed.
    pub stage50: Option<unsafe extern "C" fn(c_int) -> c_int>,
    /// The server's own.
    pub plugin: *mut MkPlugin,
    /// The server's own.
    pub head: MkList,
    /// The server's own.
    pub parent_head: MkList,
}

/// The server (`struct mk_server`); the part in front of what moved.
#[repr(C)]
#[derive(Debug)]
pub struct MkServer {
    _a: [u8; measured(175, 107, 107)],
    /// `KeepAlive`.
    pub keep_alive: i8,
    /// `MaxKeepAliveRequest`.
    pub max_keep_alive_request: c_int,
}

/// A transport's function for reading.
pub type NetReadFn = unsafe extern "C" fn(*mut MkPlugin, c_int, *mut c_void, c_int) -> c_int;

/// A transport (`struct mk_plugin_network`); the part in front of what moved.
#[repr(C)]
#[derive(Debug)]
pub struct MkPluginNetwork {
    /// Reads without blocking; -1 sets errno.
    pub read: NetReadFn,
    /// Writes without blocking; -1 sets errno. The first argument is the
    /// transport's plugin.
    pub write: unsafe extern "C" fn(*mut MkPlugin, c_int, *const c_void, usize) -> c_int,
}

/// Something that the event loop watches (`struct mk_event`).
#[repr(C)]
#[derive(Debug)]
pub struct MkEvent {
    /// The descriptor.
    pub fd: c_int,
    /// [`EVENT_CONNECTION`], [`EVENT_CUSTOM`] and others.
    pub kind: c_int,
    /// What it is registered for; the server decides by this.
    pub mask: u32,
    /// Whether it is registered.
    pub status: u8,
    /// For whoever owns it.
    pub data: *mut c_void,
    /// Called for custom events.
    pub handler: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    /// The server's own.
    pub head: MkList,
    /// The server's own.
    pub priority_head: MkList,
    /// The server's own.
    pub priority: c_char,
}

/// The event loop of a worker (`struct mk_event_loop`); handed through.
#[repr(C)]
#[derive(Debug)]
pub struct MkEventLoop {
    _private: [u8; 0],
}

/// Called by the event loop for a connection.
pub type ReadFn = unsafe extern "C" fn(*mut MkSchedConn, *mut MkSchedWorker, *mut MkServer) -> c_int;
/// Called when a connection is closed.
pub type CloseFn = unsafe extern "C" fn(*mut MkSchedConn, *mut MkSchedWorker, c_int, *mut MkServer) -> c_int;

/// What a protocol does with its connections (`struct mk_sched_handler`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MkSchedHandler {
    /// For people.
    pub name: *const c_char,
    /// Something can be read, or the connection broke.
    pub cb_read: Option<ReadFn>,
    /// The connection is being closed.
    pub cb_close: Option<CloseFn>,
    /// The channel is empty.
    pub cb_done: Option<ReadFn>,
    /// Switches to another protocol.
    pub cb_upgrade: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut MkServer) -> c_int>,
    /// Bytes behind a connection that belong to the protocol.
    pub sched_extra_size: c_int,
    /// Flags.
    pub capabilities: c_char,
}

/// A listening socket (`struct mk_server_listen`).
#[repr(C)]
#[derive(Debug)]
pub struct MkServerListen {
    _event: MkEvent,
    _server_fd: c_int,
    _network: *mut MkPluginNetwork,
    /// What its connections begin with.
    pub protocol: *const MkSchedHandler,
    /// Its `Listen` line.
    pub listen: *const MkConfigListener,
    /// Link in the worker's list.
    pub head: MkList,
}

/// Where the link of a listening socket is.
pub const LISTENER_LINK: usize = offset_of!(MkServerListen, head);

/// A worker thread (`struct mk_sched_worker`), up to what we use.
#[repr(C)]
#[derive(Debug)]
pub struct MkSchedWorker {
    _event_loop: *mut MkEventLoop,
    _connections: [c_ulonglong; 3],
    _timeout_queue: MkList,
    _idx: i16,
    _initialized: u8,
    _tid: libc::pthread_t,
    _pid_and_page: [c_uint; 2],
    _request_handler: *mut c_void,
    _event_free_queue: MkList,
    _signal_channel: [c_int; 2],
    /// Its listening sockets; null where another thread accepts.
    pub listeners: *mut MkList,
}

/// A `Listen` line of the configuration (`struct mk_config_listener`).
#[repr(C)]
#[derive(Debug)]
pub struct MkConfigListener {
    _address: *const c_char,
    _port: *const c_char,
    /// [`CAP_SOCK_TLS`] and others.
    pub flags: u32,
}

/// A client connection (`struct mk_sched_conn`).
#[repr(C)]
#[derive(Debug)]
pub struct MkSchedConn {
    /// Its socket in the event loop.
    pub event: MkEvent,
    _status_and_properties: [c_uint; 2],
    _is_timeout_on: c_char,
    /// When it was accepted, in seconds since 1970; the server's `Timeout` counts from there.
    pub arrive_time: Time,
    /// What happens on it.
    pub protocol: *const MkSchedHandler,
    /// The listening socket that it came in by.
    pub server_listen: *mut MkServerListen,
    /// Its transport.
    pub net: *mut MkPluginNetwork,
    _channel: [c_int; 3],
    _channel_io: [Unused; 2],
    _channel_streams: MkList,
    _channel_thread: Unused,
    _timeout_head: MkList,
    _data: Unused,
}

/// A stream of output (`struct mk_stream`).
#[repr(C)]
#[derive(Debug)]
pub struct MkStream {
    _flags: [c_int; 3],
    _bytes_total: usize,
    _bytes_offset: Off,
    _channel_to_callbacks: [Unused; 5],
    _inputs: MkList,
    /// Link in its channel.
    pub head: MkList,
}

/// A part of a stream (`struct mk_stream_input`); there for its size alone.
#[repr(C)]
#[derive(Debug)]
struct MkStreamInput {
    _flags: [c_int; 3],
    _bytes_total: usize,
    _bytes_offset: Off,
    _buffer_to_stream: [Unused; 5],
    _head: MkList,
}

/// What the server knows of a file (`struct file_info`); there for its size alone.
#[repr(C)]
#[derive(Debug)]
struct FileInfo {
    _size: usize,
    _last_modification: Time,
    _flags: c_int,
    _is: [u8; 6],
}

/// One client connection as HTTP sees it (`struct mk_http_session`); the part
/// in front of what moved.
#[repr(C)]
#[derive(Debug)]
pub struct MkHttpSession {
    /// The session exists.
    pub sched_init: c_int,
    /// The client's socket.
    pub socket: c_int,
    _pipelined: c_int,
    /// Requests finished on this connection.
    pub counter_connections: c_int,
    _status: c_int,
    /// The connection will not be kept.
    pub close_now: c_int,
    _channel: *mut c_void,
    /// The connection.
    pub conn: *mut MkSchedConn,
    /// Room in the receive buffer.
    pub body_size: c_uint,
    /// Bytes in the receive buffer.
    pub body_length: c_uint,
    _request_list: MkList,
    _init_time: Time,
    /// The receive buffer, from the first byte of this request.
    pub body: *mut c_char,
}

/// One request (`struct mk_http_request`).
#[repr(C)]
#[derive(Debug)]
pub struct MkHttpRequest {
    _status: c_int,
    /// 9, 10, 11 or -1.
    pub protocol: c_int,
    _user_home: c_int,
    _port: c_long,
    // Not one number: on 32-bit ARM the server puts requests where only its halves are aligned.
    _stream_size: [u32; 2],
    /// Where the server queues its own response.
    pub stream: MkStream,
    _inputs: [MkStreamInput; 4],
    _headers_len_and_method: [c_int; 2],
    _method: MkPtr,
    /// The target without its query.
    pub uri: MkPtr,
    /// The decoded path; a NUL was written behind it.
    pub uri_processed: MkPtr,
    _protocol_and_body: [MkPtr; 2],
    _length: c_int,
    _fields_data_and_path: [MkPtr; 10],
    _path: [u8; 128],
    _query: MkPtr,
    _stage30_blocked: c_int,
    _stage30_handler: Unused,
    _file_fd: c_int,
    _file_info: FileInfo,
    _vhost_file: [c_int; 3],
    _vhost: [Unused; 2],
    /// Ours; null again for each request.
    pub handler_data: *mut c_void,
    _session_and_thread: [Unused; 2],
    _head: MkList,
    /// What the server believes was answered.
    pub headers: ResponseHeaders,
}

/// The head of the server's own response (`struct response_headers`).
#[repr(C)]
#[derive(Debug)]
pub struct ResponseHeaders {
    /// The status; must be one that the server knows when Stage 30 returns.
    pub status: c_int,
    _connection: c_int,
    _custom_status: MkPtr,
    /// Bytes of the body; -1 if unknown.
    pub content_length: c_long,
}

/// An entry of the api table that we do not call.
pub type Unused = *const c_void;

/// The table of functions for plugins (`struct plugin_api`), up to what we use.
#[repr(C)]
#[derive(Debug)]
pub struct PluginApi {
    _sockets: [Unused; 16],
    /// `printf` into the server's log.
    pub _error: unsafe extern "C" fn(c_int, *const c_char, ...),
    /// Ends the request of a session of this worker; may call us back.
    pub http_request_end: unsafe extern "C" fn(*mut MkPlugin, *mut MkHttpSession, c_int) -> c_int,
    _memory_to_files: [Unused; 18],
    /// Looks at a file.
    pub file_get_info: unsafe extern "C" fn(*const c_char, *mut c_void, c_int) -> c_int,
    _headers_to_streams: [Unused; 21],
    /// Watches a descriptor, or changes what it is watched for.
    pub ev_add: unsafe extern "C" fn(*mut MkEventLoop, c_int, c_int, u32, *mut c_void) -> c_int,
    /// Stops watching.
    pub ev_del: unsafe extern "C" fn(*mut MkEventLoop, *mut MkEvent) -> c_int,
    _timeouts_to_config: [Unused; 10],
    /// The event loop of this worker.
    pub sched_loop: unsafe extern "C" fn() -> *mut MkEventLoop,
    _sched: [Unused; 3],
    /// The record of this worker.
    pub sched_worker_info: unsafe extern "C" fn() -> *mut MkSchedWorker,
}

/// `MK_PLUGIN_STAGE`.
pub const STAGE: c_uint = 256;
/// `MK_PLUGIN_RET_NOT_ME`.
pub const RET_NOT_ME: c_int = -1;
/// `MK_PLUGIN_RET_CONTINUE`: the plugin answers later.
pub const RET_CONTINUE: c_int = 100;

/// `MK_CAP_HTTP`: a protocol is HTTP/1.
pub const CAP_HTTP: c_char = 1;
/// `MK_CAP_SOCK_TLS`: clients speak TLS.
pub const CAP_SOCK_TLS: u32 = 8;

/// `MK_EVENT_CONNECTION`.
pub const EVENT_CONNECTION: c_int = 3;
/// `MK_EVENT_CUSTOM`.
pub const EVENT_CUSTOM: c_int = 4;
/// `MK_EVENT_READ`.
pub const MASK_READ: u32 = 1;
/// `MK_EVENT_WRITE`.
pub const MASK_WRITE: u32 = 4;
/// `MK_EVENT_NONE`: not registered.
pub const STATUS_NONE: u8 = 1;

/// The counters of a worker are aligned to their size on ARM, and not on x86.
const LISTENERS_32: usize = if cfg!(target_arch = "x86") { 72 } else { 76 };

/// Structure, field, measured offset and ours, of everything that is read or written.
pub const OFFSETS: &[(&str, &str, usize, usize)] = &[
    ("mk_plugin", "flags", 0, offset_of!(MkPlugin, flags)),
    ("mk_plugin", "shortname", measured(8, 4, 4), offset_of!(MkPlugin, shortname)),
    ("mk_plugin", "hooks", measured(32, 16, 16), offset_of!(MkPlugin, hooks)),
    ("mk_plugin", "api", measured(40, 24, 24), offset_of!(MkPlugin, api)),
    ("mk_plugin", "init_plugin", measured(48, 28, 28), offset_of!(MkPlugin, init_plugin)),
    ("mk_plugin", "stage", measured(88, 48, 48), offset_of!(MkPlugin, stage)),
    ("mk_plugin", "load_type", measured(152, 80, 80), offset_of!(MkPlugin, load_type)),
    ("mk_plugin", "server_ctx", measured(160, 84, 84), offset_of!(MkPlugin, server_ctx)),
    ("mk_plugin_stage", "stage10", 0, offset_of!(MkPluginStage, stage10)),
    ("mk_plugin_stage", "stage30", measured(16, 8, 8), offset_of!(MkPluginStage, stage30)),
    ("mk_plugin_stage", "stage30_hangup", measured(32, 16, 16), offset_of!(MkPluginStage, stage30_hangup)),
    ("mk_plugin_stage", "stage50", measured(48, 24, 24), offset_of!(MkPluginStage, stage50)),
    ("mk_plugin_stage", "_parent_head", measured(80, 40, 40), offset_of!(MkPluginStage, parent_head)),
    ("mk_server", "keep_alive", measured(175, 107, 107), offset_of!(MkServer, keep_alive)),
    (
        "mk_server",
        "max_keep_alive_request",
        measured(176, 108, 108),
        offset_of!(MkServer, max_keep_alive_request),
    ),
    ("mk_plugin_network", "read", 0, offset_of!(MkPluginNetwork, read)),
    ("mk_plugin_network", "write", measured(8, 4, 4), offset_of!(MkPluginNetwork, write)),
    ("mk_event", "mask", 8, offset_of!(MkEvent, mask)),
    ("mk_event", "status", 12, offset_of!(MkEvent, status)),
    ("mk_event", "handler", measured(24, 20, 20), offset_of!(MkEvent, handler)),
    ("mk_event", "priority", measured(64, 40, 40), offset_of!(MkEvent, priority)),
    ("mk_sched_handler", "cb_read", measured(8, 4, 4), offset_of!(MkSchedHandler, cb_read)),
    ("mk_sched_handler", "cb_close", measured(16, 8, 8), offset_of!(MkSchedHandler, cb_close)),
    ("mk_sched_handler", "capabilities", measured(44, 24, 24), offset_of!(MkSchedHandler, capabilities)),
    (
        "mk_sched_handler",
        "sched_extra_size",
        measured(40, 20, 20),
        offset_of!(MkSchedHandler, sched_extra_size),
    ),
    ("mk_sched_conn", "event", 0, offset_of!(MkSchedConn, event)),
    ("mk_sched_conn", "arrive_time", measured(88, 56, 56), offset_of!(MkSchedConn, arrive_time)),
    ("mk_sched_conn", "protocol", measured(96, 60, 64), offset_of!(MkSchedConn, protocol)),
    ("mk_sched_conn", "server_listen", measured(104, 64, 68), offset_of!(MkSchedConn, server_listen)),
    (
        "mk_sched_worker",
        "listeners",
        measured(104, LISTENERS_32, LISTENERS_32),
        offset_of!(MkSchedWorker, listeners),
    ),
    ("mk_server_listen", "protocol", measured(88, 52, 52), offset_of!(MkServerListen, protocol)),
    ("mk_server_listen", "_head", measured(104, 60, 60), offset_of!(MkServerListen, head)),
    ("mk_server_listen", "listen", measured(96, 56, 56), offset_of!(MkServerListen, listen)),
    ("mk_config_listener", "flags", measured(16, 8, 8), offset_of!(MkConfigListener, flags)),
    ("mk_sched_conn", "net", measured(112, 68, 72), offset_of!(MkSchedConn, net)),
    ("mk_stream", "_head", measured(88, 48, 52), offset_of!(MkStream, head)),
    ("mk_http_session", "_sched_init", 0, offset_of!(MkHttpSession, sched_init)),
    ("mk_http_session", "socket", 4, offset_of!(MkHttpSession, socket)),
    ("mk_http_session", "counter_connections", 12, offset_of!(MkHttpSession, counter_connections)),
    ("mk_http_session", "close_now", 20, offset_of!(MkHttpSession, close_now)),
    ("mk_http_session", "conn", measured(32, 28, 28), offset_of!(MkHttpSession, conn)),
    ("mk_http_session", "body_size", measured(40, 32, 32), offset_of!(MkHttpSession, body_size)),
    ("mk_http_session", "body_length", measured(44, 36, 36), offset_of!(MkHttpSession, body_length)),
    ("mk_http_session", "body", measured(72, 52, 56), offset_of!(MkHttpSession, body)),
    ("mk_http_request", "protocol", 4, offset_of!(MkHttpRequest, protocol)),
    ("mk_http_request", "stream", measured(32, 24, 24), offset_of!(MkHttpRequest, stream)),
    ("mk_http_request", "uri", measured(512, 288, 328), offset_of!(MkHttpRequest, uri)),
    ("mk_http_request", "uri_processed", measured(528, 296, 336), offset_of!(MkHttpRequest, uri_processed)),
    ("mk_http_request", "handler_data", measured(976, 592, 644), offset_of!(MkHttpRequest, handler_data)),
    ("mk_http_request", "headers", measured(1016, 612, 664), offset_of!(MkHttpRequest, headers)),
    ("response_headers", "status", 0, offset_of!(ResponseHeaders, status)),
    ("response_headers", "content_length", measured(24, 16, 16), offset_of!(ResponseHeaders, content_length)),
    ("plugin_api", "_error", measured(128, 64, 64), offset_of!(PluginApi, _error)),
    ("plugin_api", "http_request_end", measured(136, 68, 68), offset_of!(PluginApi, http_request_end)),
    ("plugin_api", "ev_add", measured(464, 232, 232), offset_of!(PluginApi, ev_add)),
    ("plugin_api", "ev_del", measured(472, 236, 236), offset_of!(PluginApi, ev_del)),
    ("plugin_api", "sched_loop", measured(560, 280, 280), offset_of!(PluginApi, sched_loop)),
    ("plugin_api", "sched_worker_info", measured(592, 296, 296), offset_of!(PluginApi, sched_worker_info)),
];

const _: () = {
    let mut i = 0;
    while i < OFFSETS.len() {
        assert!(OFFSETS[i].2 == OFFSETS[i].3, "a mirror differs from the measured layout");
        i += 1;
    }
    assert!(size_of::<MkPlugin>() == measured(168, 88, 88));
    assert!(size_of::<MkPluginStage>() == measured(96, 48, 48));
    assert!(size_of::<MkEvent>() == measured(72, 44, 44));
    assert!(size_of::<MkSchedHandler>() == measured(48, 28, 28));
    assert!(size_of::<MkStream>() == measured(104, 56, 64));
    // The session begins where the connection ends.
    assert!(size_of::<MkSchedConn>() == measured(200, 116, 120));
    let behind = [align_of::<MkHttpSession>(), align_of::<MkHttpRequest>()];
    assert!(
        size_of::<MkSchedConn>().is_multiple_of(behind[0])
            && size_of::<MkSchedConn>().is_multiple_of(behind[1])
    );
    assert!(size_of::<MkServerListen>() == measured(120, 68, 68));
};
