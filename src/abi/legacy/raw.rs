//! Mirrors of Monkey 1.5's structures, as far as they are the same in 1.5.0 to
//! 1.5.6; on 32-bit processors those of 1.5.6, since some fields moved there. No logic.
//!
//! What moved between those versions is left out as padding, or only there for
//! its size. The numbers in the assertions at the end were measured on the
//! headers of each version; `tests/abi_layout.rs` compares them with `tests/data`.

use std::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void};
use std::mem::{offset_of, size_of};

use crate::abi::word::{Off, Time, measured};

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
    pub content_length: Off,
    _real_length: Off,
    _cgi_to_ranges: [c_int; 6],
    _last_modified: Time,
    _methods_type_encoding: [MkPtr; 3],
    _location_and_rows: [Unused; 2],
    /// A response has been sent.
    pub sent: c_int,
}

/// What the server knows of a file (`struct file_info`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FileInfo {
    _size: Off,
    _last_modification: Time,
    _flags: c_int,
    _is: [u8; 6],
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
    _user_home: c_int,
    _port: c_long,
    _file_to_method: [c_int; 4],
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
    _content_length: isize,
    _fields_data_and_path: [MkPtr; 9],
    _path: [u8; 128],
    _query: MkPtr,
    _stage30_blocked: c_int,
    _file: [Off; 2],
    _file_info: FileInfo,
    _vhost_file: [c_uint; 2],
    _vhost: [Unused; 2],
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
    _rb_head: [usize; 3],
    /// The requests that were cut out of the buffer so far.
    pub request_list: MkList,
}

/// The server's configuration (`struct server_config`).
#[repr(C)]
#[derive(Debug)]
pub struct ServerConfig {
    _numbers: [c_int; 6],
    _texts: [Unused; 2],
    _address: MkPtr,
    /// `Monkey/1.5.6 (Linux)`, or less when the version is hidden.
    pub server_software: MkPtr,
    _user_to_fields: [Unused; 10],
    _port_to_pid: [c_int; 4],
    _flags: [i8; 3],
    /// `KeepAlive`.
    pub keep_alive: i8,
    /// `MaxKeepAliveRequest`.
    pub max_keep_alive_request: c_int,
    _time_out_to_size: [c_int; 5],
    _index_files: *mut MkList,
    _count: c_int,
    _hosts: MkList,
    _open_flags: c_uint,
    /// The list of plugins; equals the api's.
    pub plugins: *mut MkList,
    _event_and_buffer: [c_int; 2],
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
    /// Looks at a file.
    pub file_get_info: unsafe extern "C" fn(*const c_char, *mut c_void) -> c_int,
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
pub const PLUGIN_LINKS: [usize; 2] = [measured(256, 128, 128), measured(248, 124, 124)];

/// Where a transport's record has its function for reading (`plugin.net_io.read`).
pub const PLUGIN_READ: usize = measured(128, 64, 64);

/// Structure, field and measured offset of everything that is read or written.
pub const OFFSETS: &[(&str, &str, usize, usize)] = &[
    ("plugin_info", "hooks", measured(24, 12, 12), offset_of!(PluginInfo, hooks)),
    ("response_headers", "status", 0, offset_of!(ResponseHeaders, status)),
    ("response_headers", "content_length", measured(24, 16, 16), offset_of!(ResponseHeaders, content_length)),
    ("response_headers", "sent", measured(136, 84, 96), offset_of!(ResponseHeaders, sent)),
    ("session_request", "protocol", 4, offset_of!(SessionRequest, protocol)),
    ("session_request", "keep_alive", 8, offset_of!(SessionRequest, keep_alive)),
    ("session_request", "method_p", measured(40, 36, 36), offset_of!(SessionRequest, method_p)),
    ("session_request", "uri", measured(56, 44, 44), offset_of!(SessionRequest, uri)),
    ("session_request", "uri_processed", measured(72, 52, 52), offset_of!(SessionRequest, uri_processed)),
    ("session_request", "body", measured(104, 68, 68), offset_of!(SessionRequest, body)),
    ("session_request", "close_now", measured(120, 76, 76), offset_of!(SessionRequest, close_now)),
    ("session_request", "headers", measured(504, 340, 360), offset_of!(SessionRequest, headers)),
    ("session_request", "_head", measured(648, 428, 464), offset_of!(SessionRequest, head)),
    ("client_session", "socket", 4, offset_of!(ClientSession, socket)),
    ("client_session", "counter_connections", 8, offset_of!(ClientSession, counter_connections)),
    ("client_session", "status", 12, offset_of!(ClientSession, status)),
    ("client_session", "body_length", 20, offset_of!(ClientSession, body_length)),
    ("client_session", "request_list", measured(56, 44, 44), offset_of!(ClientSession, request_list)),
    ("server_config", "server_software", measured(56, 40, 40), offset_of!(ServerConfig, server_software)),
    ("server_config", "keep_alive", measured(171, 107, 107), offset_of!(ServerConfig, keep_alive)),
    (
        "server_config",
        "max_keep_alive_request",
        measured(172, 108, 108),
        offset_of!(ServerConfig, max_keep_alive_request),
    ),
    ("server_config", "plugins", measured(240, 152, 152), offset_of!(ServerConfig, plugins)),
    ("server_config", "transport", measured(256, 164, 164), offset_of!(ServerConfig, transport)),
    ("server_config", "transport_layer", measured(264, 168, 168), offset_of!(ServerConfig, transport_layer)),
    ("plugin_api", "socket_send", measured(80, 40, 40), offset_of!(PluginApi, socket_send)),
    ("plugin_api", "config", measured(112, 56, 56), offset_of!(PluginApi, config)),
    ("plugin_api", "plugins", measured(120, 60, 60), offset_of!(PluginApi, plugins)),
    ("plugin_api", "_error", measured(136, 68, 68), offset_of!(PluginApi, _error)),
    ("plugin_api", "http_request_end", measured(144, 72, 72), offset_of!(PluginApi, http_request_end)),
    ("plugin_api", "event_add", measured(552, 276, 276), offset_of!(PluginApi, event_add)),
    ("plugin_api", "event_del", measured(560, 280, 280), offset_of!(PluginApi, event_del)),
    (
        "plugin_api",
        "event_socket_change_mode",
        measured(576, 288, 288),
        offset_of!(PluginApi, event_socket_change_mode),
    ),
    ("plugin_api", "time_human", measured(600, 300, 300), offset_of!(PluginApi, time_human)),
];

const _: () = {
    let mut i = 0;
    while i < OFFSETS.len() {
        assert!(OFFSETS[i].2 == OFFSETS[i].3, "a mirror differs from the measured layout");
        i += 1;
    }
    assert!(size_of::<PluginInfo>() == measured(32, 16, 16));
    assert!(size_of::<ResponseHeaders>() == measured(144, 88, 104));
    assert!(size_of::<FileInfo>() == measured(32, 20, 32));
    assert!(size_of::<MkPtr>() == measured(16, 8, 8) && size_of::<MkList>() == measured(16, 8, 8));
    assert!(size_of::<c_long>() == size_of::<usize>(), "only LP64 and ILP32 were measured");
};
