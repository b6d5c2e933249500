//! Mirrors of Monkey 1.5's structures, as far as they are the same in 1.5.0 to
//! 1.5.6. No logic.
//!
//! What moved between those versions is left out as padding. The numbers in
//! the assertions at the end were measured on the headers of each version;
//! `tests/abi_layout.rs` compares them with `tests/data/legacy-layout.json`.

use std::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void};
use std::mem::{offset_of, size_of};

/// Text with a length, not NUL-terminated (`mk_ptr_t`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MkPtr {
    /// First byte; may be null.
    pub data: *mut c_char,
    /// Bytes.
    pub len: c_ulong,
}

/// A link of a circular list (`struct mk_list`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MkList {
    /// The link before.
    pub prev: *mut MkList,
    /// The link behind.
    pub next: *mut MkList,
}

/// What a plugin says of itself (`struct plugin_info`).
#[repr(C)]
#[derive(Debug)]
pub struct PluginInfo {
    /// Names the configuration folder.
    pub shortname: *const c_char,
    /// For people.
    pub name: *const c_char,
    /// For people.
    pub version: *const c_char,
    /// Which stages call us.
    pub hooks: c_uint,
}

/// Monkey's record of a plugin (`struct plugin`); handed through, never read.
#[repr(C)]
#[derive(Debug)]
pub struct Plugin {
    _private: [u8; 0],
}

/// The head of Monkey's own response (`struct response_headers`), as far as
/// its logger and its keep-alive decision read it.
#[repr(C)]
#[derive(Debug)]
pub struct ResponseHeaders {
    /// The status for the log; must be one that the server knows.
    pub status: c_int,
    _connection: c_int,
    _custom_status: MkPtr,
    /// Bytes of the body; -1 if unknown.
    pub content_length: i64,
    _rest: [u8; 104],
    /// A response has been sent.
    pub sent: c_int,
    _padding: c_int,
}

/// One request (`struct session_request`).
#[repr(C)]
#[derive(Debug)]
pub struct SessionRequest {
    _status: c_int,
    /// 9, 10, 11 or -1.
    pub protocol: c_int,
    /// The client wants the connection kept.
    pub keep_alive: c_int,
    _moved_a: [u8; 28],
    /// The method, for the server's log; a static text.
    pub method_p: MkPtr,
    /// The target without its query.
    pub uri: MkPtr,
    /// The decoded path; not always NUL-terminated.
    pub uri_processed: MkPtr,
    _protocol_p: MkPtr,
    /// From the request line to before the CRLFCRLF that the server took for the head's end.
    pub body: MkPtr,
    /// The connection must not be kept.
    pub close_now: c_int,
    _moved_b: [u8; 380],
    /// What the server believes was answered.
    pub headers: ResponseHeaders,
    /// Link in the session's `request_list`.
    pub head: MkList,
}

/// One client connection (`struct client_session`); the part in front of what moved.
#[repr(C)]
#[derive(Debug)]
pub struct ClientSession {
    _pipelined: c_int,
    /// The client's socket.
    pub socket: c_int,
    /// Requests finished on this connection.
    pub counter_connections: c_int,
    /// -1 while the request is incomplete.
    pub status: c_int,
    _body_size: c_uint,
    /// Bytes in the receive buffer.
    pub body_length: c_uint,
    _body_pos_end: c_int,
    _first_method: c_int,
    _rb_head: [u8; 24],
    /// The requests that were cut out of the buffer so far.
    pub request_list: MkList,
}

/// The server's configuration (`struct server_config`).
#[repr(C)]
#[derive(Debug)]
pub struct ServerConfig {
    _a: [u8; 56],
    /// `Monkey/1.5.6 (Linux)`, or less when the version is hidden.
    pub server_software: MkPtr,
    _b: [u8; 99],
    /// `KeepAlive`.
    pub keep_alive: i8,
    /// `MaxKeepAliveRequest`.
    pub max_keep_alive_request: c_int,
    _c: [u8; 64],
    /// The list of plugins; equals the api's.
    pub plugins: *mut MkList,
    _d: [u8; 8],
    /// `http` or `https`.
    pub transport: *const c_char,
    /// `TransportLayer`: the short name of the transport plugin.
    pub transport_layer: *const c_char,
}

/// An entry of the api table that we do not call.
pub type Unused = *const c_void;

/// The table of functions for plugins (`struct plugin_api`). Nothing behind
/// `time_human` is mirrored: a TRACE build moves it.
#[repr(C)]
#[derive(Debug)]
#[allow(missing_docs, reason = "the names are Monkey's own")]
pub struct PluginApi {
    pub socket_cork_flag: Unused,
    pub socket_reset: Unused,
    pub socket_set_tcp_fastopen: Unused,
    pub socket_set_tcp_nodelay: Unused,
    pub socket_set_tcp_reuseport: Unused,
    pub socket_connect: Unused,
    pub socket_set_nonblocking: Unused,
    pub socket_create: Unused,
    pub socket_close: Unused,
    pub socket_sendv: Unused,
    /// Writes through the transport, without blocking; -1 sets errno.
    pub socket_send: unsafe extern "C" fn(c_int, *const c_void, usize) -> c_int,
    /// Reads through the transport, without blocking; -1 sets errno.
    pub socket_read: unsafe extern "C" fn(c_int, *mut c_void, c_int) -> c_int,
    pub socket_send_file: Unused,
    pub socket_ip_str: Unused,
    pub config: *const ServerConfig,
    pub plugins: *mut MkList,
    pub sched_list: Unused,
    /// `printf` into the server's log.
    pub _error: unsafe extern "C" fn(c_int, *const c_char, ...),
    /// Ends the request of a client of this worker; may call us back.
    pub http_request_end: unsafe extern "C" fn(c_int) -> c_int,
    pub http_request_error: Unused,
    pub mem_alloc: Unused,
    pub mem_alloc_z: Unused,
    pub mem_realloc: Unused,
    pub mem_free: Unused,
    pub pointer_set: Unused,
    pub pointer_print: Unused,
    pub pointer_to_buf: Unused,
    pub str_itop: Unused,
    pub str_search: Unused,
    pub str_search_n: Unused,
    pub str_build: Unused,
    pub str_dup: Unused,
    pub str_copy_substr: Unused,
    pub str_split_line: Unused,
    pub str_split_free: Unused,
    pub file_to_buffer: Unused,
    pub file_get_info: Unused,
    pub header_send: Unused,
    pub header_get: Unused,
    pub header_add: Unused,
    pub header_set_http_status: Unused,
    pub iov_create: Unused,
    pub iov_realloc: Unused,
    pub iov_free: Unused,
    pub iov_free_marked: Unused,
    pub iov_add_entry: Unused,
    pub iov_set_entry: Unused,
    pub iov_send: Unused,
    pub iov_print: Unused,
    pub plugin_load_symbol: Unused,
    pub epoll_init: Unused,
    pub epoll_create: Unused,
    pub epoll_add: Unused,
    pub epoll_del: Unused,
    pub epoll_change_mode: Unused,
    pub epoll_state_get: Unused,
    pub mimetype_lookup: Unused,
    pub rb_insert_color: Unused,
    pub rb_erase: Unused,
    pub rb_link_node: Unused,
    pub config_create: Unused,
    pub config_free: Unused,
    pub config_section_get: Unused,
    pub config_section_getval: Unused,
    pub sched_remove_client: Unused,
    pub sched_get_connection: Unused,
    pub sched_worker_info: Unused,
    pub worker_spawn: Unused,
    pub worker_rename: Unused,
    /// Watches a descriptor in this worker's loop.
    pub event_add: unsafe extern "C" fn(c_int, c_int, *mut Plugin, c_uint) -> c_int,
    /// Stops watching a descriptor that was added with a plugin.
    pub event_del: unsafe extern "C" fn(c_int) -> c_int,
    pub event_get: Unused,
    /// Changes what a descriptor is watched for.
    pub event_socket_change_mode: unsafe extern "C" fn(c_int, c_int, c_uint) -> c_int,
    pub time_unix: Unused,
    pub time_to_gmt: Unused,
    pub time_human: Unused,
}

/// `MK_PLUGIN_STAGE_30`.
pub const STAGE_30: c_uint = 16;
/// `MK_PLUGIN_STAGE_40`.
pub const STAGE_40: c_uint = 32;
/// `MK_PLUGIN_STAGE_50`.
pub const STAGE_50: c_uint = 64;

/// `MK_PLUGIN_RET_NOT_ME`.
pub const RET_NOT_ME: c_int = -1;
/// `MK_PLUGIN_RET_CONTINUE`: the plugin answers later.
pub const RET_CONTINUE: c_int = 100;
/// `MK_PLUGIN_RET_END`: the plugin has answered.
pub const RET_END: c_int = 200;
/// `MK_PLUGIN_RET_CLOSE_CONX`.
pub const RET_CLOSE_CONX: c_int = 300;
/// `MK_PLUGIN_RET_EVENT_NEXT`: not our descriptor.
pub const EVENT_NEXT: c_int = -300;
/// `MK_PLUGIN_RET_EVENT_OWNED`.
pub const EVENT_OWNED: c_int = -400;

/// `MK_REQUEST_STATUS_INCOMPLETE`.
pub const REQUEST_INCOMPLETE: c_int = -1;

/// `MK_EPOLL_READ`.
pub const MODE_READ: c_int = 1;
/// `MK_EPOLL_WRITE`.
pub const MODE_WRITE: c_int = 2;
/// `MK_EPOLL_SLEEP`: only errors and hang-ups are reported.
pub const MODE_SLEEP: c_int = 4;
/// `MK_EPOLL_LEVEL_TRIGGERED`.
pub const LEVEL_TRIGGERED: c_uint = 2;

/// `MK_INFO`.
pub const LOG_INFO: c_int = 0x1000;
/// `MK_ERR`.
pub const LOG_ERROR: c_int = 0x1001;
/// `MK_WARN`.
pub const LOG_WARNING: c_int = 0x1002;

/// A transport's function for reading (`plugin_network_io.read`).
pub type ReadFn = unsafe extern "C" fn(c_int, *mut c_void, c_int) -> c_int;

/// Where the link of a plugin's record is (`plugin._head`): in 1.5.6, and before.
pub const PLUGIN_LINKS: [usize; 2] = [256, 248];

/// Where a transport's record has its function for reading (`plugin.net_io.read`).
pub const PLUGIN_READ: usize = 120 + 8;

/// Structure, field and measured offset of everything that is read or written.
pub const OFFSETS: &[(&str, &str, usize, usize)] = &[
    ("plugin_info", "hooks", 24, offset_of!(PluginInfo, hooks)),
    ("response_headers", "status", 0, offset_of!(ResponseHeaders, status)),
    ("response_headers", "content_length", 24, offset_of!(ResponseHeaders, content_length)),
    ("response_headers", "sent", 136, offset_of!(ResponseHeaders, sent)),
    ("session_request", "protocol", 4, offset_of!(SessionRequest, protocol)),
    ("session_request", "keep_alive", 8, offset_of!(SessionRequest, keep_alive)),
    ("session_request", "method_p", 40, offset_of!(SessionRequest, method_p)),
    ("session_request", "uri", 56, offset_of!(SessionRequest, uri)),
    ("session_request", "uri_processed", 72, offset_of!(SessionRequest, uri_processed)),
    ("session_request", "body", 104, offset_of!(SessionRequest, body)),
    ("session_request", "close_now", 120, offset_of!(SessionRequest, close_now)),
    ("session_request", "headers", 504, offset_of!(SessionRequest, headers)),
    ("session_request", "_head", 648, offset_of!(SessionRequest, head)),
    ("client_session", "socket", 4, offset_of!(ClientSession, socket)),
    ("client_session", "counter_connections", 8, offset_of!(ClientSession, counter_connections)),
    ("client_session", "status", 12, offset_of!(ClientSession, status)),
    ("client_session", "body_length", 20, offset_of!(ClientSession, body_length)),
    ("client_session", "request_list", 56, offset_of!(ClientSession, request_list)),
    ("server_config", "server_software", 56, offset_of!(ServerConfig, server_software)),
    ("server_config", "keep_alive", 171, offset_of!(ServerConfig, keep_alive)),
    ("server_config", "max_keep_alive_request", 172, offset_of!(ServerConfig, max_keep_alive_request)),
    ("server_config", "plugins", 240, offset_of!(ServerConfig, plugins)),
    ("server_config", "transport", 256, offset_of!(ServerConfig, transport)),
    ("server_config", "transport_layer", 264, offset_of!(ServerConfig, transport_layer)),
    ("plugin_api", "socket_send", 80, offset_of!(PluginApi, socket_send)),
    ("plugin_api", "config", 112, offset_of!(PluginApi, config)),
    ("plugin_api", "plugins", 120, offset_of!(PluginApi, plugins)),
    ("plugin_api", "_error", 136, offset_of!(PluginApi, _error)),
    ("plugin_api", "http_request_end", 144, offset_of!(PluginApi, http_request_end)),
    ("plugin_api", "event_add", 552, offset_of!(PluginApi, event_add)),
    ("plugin_api", "event_del", 560, offset_of!(PluginApi, event_del)),
    ("plugin_api", "event_socket_change_mode", 576, offset_of!(PluginApi, event_socket_change_mode)),
    ("plugin_api", "time_human", 600, offset_of!(PluginApi, time_human)),
];

const _: () = {
    let mut i = 0;
    while i < OFFSETS.len() {
        assert!(OFFSETS[i].2 == OFFSETS[i].3, "a mirror differs from the measured layout");
        i += 1;
    }
    assert!(size_of::<PluginInfo>() == 32);
    assert!(size_of::<ResponseHeaders>() == 144);
    assert!(size_of::<MkPtr>() == 16 && size_of::<MkList>() == 16);
    assert!(size_of::<c_long>() == 8, "only the LP64 layout was measured");
};
