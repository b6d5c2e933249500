/*
 * The plugin's entry points and its mirrors of Monkey 1.5's structures.
 * Generated from src/abi/legacy; do not edit.
 */

#ifndef MONKEY_PROXY_REVERSE_H
#define MONKEY_PROXY_REVERSE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>

// `MK_PLUGIN_STAGE_30`.
#define mpr_STAGE_30 16

// `MK_PLUGIN_STAGE_40`.
#define mpr_STAGE_40 32

// `MK_PLUGIN_STAGE_50`.
#define mpr_STAGE_50 64

// `MK_PLUGIN_RET_NOT_ME`.
#define mpr_RET_NOT_ME -1

// `MK_PLUGIN_RET_CONTINUE`: the plugin answers later.
#define mpr_RET_CONTINUE 100

// `MK_PLUGIN_RET_END`: the plugin has answered.
#define mpr_RET_END 200

// `MK_PLUGIN_RET_CLOSE_CONX`.
#define mpr_RET_CLOSE_CONX 300

// `MK_PLUGIN_RET_EVENT_NEXT`: not our descriptor.
#define mpr_EVENT_NEXT -300

// `MK_PLUGIN_RET_EVENT_OWNED`.
#define mpr_EVENT_OWNED -400

// `MK_REQUEST_STATUS_INCOMPLETE`.
#define mpr_REQUEST_INCOMPLETE -1

// `MK_EPOLL_READ`.
#define mpr_MODE_READ 1

// `MK_EPOLL_WRITE`.
#define mpr_MODE_WRITE 2

// `MK_EPOLL_SLEEP`: only errors and hang-ups are reported.
#define mpr_MODE_SLEEP 4

// `MK_EPOLL_LEVEL_TRIGGERED`.
#define mpr_LEVEL_TRIGGERED 2

// `MK_INFO`.
#define mpr_LOG_INFO 4096

// `MK_ERR`.
#define mpr_LOG_ERROR 4097

// `MK_WARN`.
#define mpr_LOG_WARNING 4098

// Monkey's record of a plugin (`struct plugin`); handed through, never read.
struct mpr_Plugin {
  uint8_t _private[0];
};

// A link of a circular list (`struct mk_list`).
struct mpr_MkList {
  // The link before.
  struct mpr_MkList *prev;
  // The link behind.
  struct mpr_MkList *next;
};

// One client connection (`struct client_session`); the part in front of what moved.
struct mpr_ClientSession {
  int _pipelined;
  // The client's socket.
  int socket;
  // Requests finished on this connection.
  int counter_connections;
  // -1 while the request is incomplete.
  int status;
  unsigned int _body_size;
  // Bytes in the receive buffer.
  unsigned int body_length;
  int _body_pos_end;
  int _first_method;
  size_t _rb_head[3];
  // The requests that were cut out of the buffer so far.
  struct mpr_MkList request_list;
};

// Text with a length, not NUL-terminated (`mk_ptr_t`).
struct mpr_MkPtr {
  // First byte; may be null.
  char *data;
  // Bytes.
  unsigned long len;
};

// What the server knows of a file (`struct file_info`).
struct mpr_FileInfo {
  off_t _size;
  time_t _last_modification;
  int _flags;
  uint8_t _is[6];
};

// An entry of the api table that we do not call.
typedef const void *mpr_Unused;

// The head of Monkey's own response (`struct response_headers`), as far as
// its logger and its keep-alive decision read it.
struct mpr_ResponseHeaders {
  // The status for the log; must be one that the server knows.
  int status;
  int _connection;
  struct mpr_MkPtr _custom_status;
  // Bytes of the body; -1 if unknown.
  off_t content_length;
  off_t _real_length;
  int _cgi_to_ranges[6];
  time_t _last_modified;
  struct mpr_MkPtr _methods_type_encoding[3];
  mpr_Unused _location_and_rows[2];
  // A response has been sent.
  int sent;
};

// One request (`struct session_request`).
struct mpr_SessionRequest {
  int _status;
  // 9, 10, 11 or -1.
  int protocol;
  // The client wants the connection kept.
  int keep_alive;
  int _user_home;
  long _port;
  int _file_to_method[4];
  // The method, for the server's log; a static text.
  struct mpr_MkPtr method_p;
  // The target without its query.
  struct mpr_MkPtr uri;
  // The decoded path; not always NUL-terminated.
  struct mpr_MkPtr uri_processed;
  struct mpr_MkPtr _protocol_p;
  // From the request line to before the CRLFCRLF that the server took for the head's end.
  struct mpr_MkPtr body;
  // The connection must not be kept.
  int close_now;
  ptrdiff_t _content_length;
  struct mpr_MkPtr _fields_data_and_path[9];
  uint8_t _path[128];
  struct mpr_MkPtr _query;
  int _stage30_blocked;
  off_t _file[2];
  struct mpr_FileInfo _file_info;
  unsigned int _vhost_file[2];
  mpr_Unused _vhost[2];
  // What the server believes was answered.
  struct mpr_ResponseHeaders headers;
  // Link in the session's `request_list`.
  struct mpr_MkList head;
};

// What a plugin says of itself (`struct plugin_info`).
struct mpr_PluginInfo {
  // Names the configuration folder.
  const char *shortname;
  // For people.
  const char *name;
  // For people.
  const char *version;
  // Which stages call us.
  unsigned int hooks;
};

// [`_plugin_info`] may be shared between threads.
typedef struct mpr_PluginInfo mpr_Info;

// The server's configuration (`struct server_config`).
struct mpr_ServerConfig {
  int _numbers[6];
  mpr_Unused _texts[2];
  struct mpr_MkPtr _address;
  // `Monkey/1.5.6 (Linux)`, or less when the version is hidden.
  struct mpr_MkPtr server_software;
  mpr_Unused _user_to_fields[10];
  int _port_to_pid[4];
  int8_t _flags[3];
  // `KeepAlive`.
  int8_t keep_alive;
  // `MaxKeepAliveRequest`.
  int max_keep_alive_request;
  int _time_out_to_size[5];
  struct mpr_MkList *_index_files;
  int _count;
  struct mpr_MkList _hosts;
  unsigned int _open_flags;
  // The list of plugins; equals the api's.
  struct mpr_MkList *plugins;
  int _event_and_buffer[2];
  // `http` or `https`.
  const char *transport;
  // `TransportLayer`: the short name of the transport plugin.
  const char *transport_layer;
};

// The table of functions for plugins (`struct plugin_api`). Nothing behind
// `time_human` is mirrored: a TRACE build moves it.
struct mpr_PluginApi {
  mpr_Unused socket_cork_flag;
  mpr_Unused socket_reset;
  mpr_Unused socket_set_tcp_fastopen;
  mpr_Unused socket_set_tcp_nodelay;
  mpr_Unused socket_set_tcp_reuseport;
  mpr_Unused socket_connect;
  mpr_Unused socket_set_nonblocking;
  mpr_Unused socket_create;
  mpr_Unused socket_close;
  mpr_Unused socket_sendv;
  // Writes through the transport, without blocking; -1 sets errno.
  int (*socket_send)(int, const void*, size_t);
  // Reads through the transport, without blocking; -1 sets errno.
  int (*socket_read)(int, void*, int);
  mpr_Unused socket_send_file;
  mpr_Unused socket_ip_str;
  const struct mpr_ServerConfig *config;
  struct mpr_MkList *plugins;
  mpr_Unused sched_list;
  // `printf` into the server's log.
  void (*_error)(int, const char*, ...);
  // Ends the request of a client of this worker; may call us back.
  int (*http_request_end)(int);
  mpr_Unused http_request_error;
  mpr_Unused mem_alloc;
  mpr_Unused mem_alloc_z;
  mpr_Unused mem_realloc;
  mpr_Unused mem_free;
  mpr_Unused pointer_set;
  mpr_Unused pointer_print;
  mpr_Unused pointer_to_buf;
  mpr_Unused str_itop;
  mpr_Unused str_search;
  mpr_Unused str_search_n;
  mpr_Unused str_build;
  mpr_Unused str_dup;
  mpr_Unused str_copy_substr;
  mpr_Unused str_split_line;
  mpr_Unused str_split_free;
  mpr_Unused file_to_buffer;
  // Looks at a file.
  int (*file_get_info)(const char*, void*);
  mpr_Unused header_send;
  mpr_Unused header_get;
  mpr_Unused header_add;
  mpr_Unused header_set_http_status;
  mpr_Unused iov_create;
  mpr_Unused iov_realloc;
  mpr_Unused iov_free;
  mpr_Unused iov_free_marked;
  mpr_Unused iov_add_entry;
  mpr_Unused iov_set_entry;
  mpr_Unused iov_send;
  mpr_Unused iov_print;
  mpr_Unused plugin_load_symbol;
  mpr_Unused epoll_init;
  mpr_Unused epoll_create;
  mpr_Unused epoll_add;
  mpr_Unused epoll_del;
  mpr_Unused epoll_change_mode;
  mpr_Unused epoll_state_get;
  mpr_Unused mimetype_lookup;
  mpr_Unused rb_insert_color;
  mpr_Unused rb_erase;
  mpr_Unused rb_link_node;
  mpr_Unused config_create;
  mpr_Unused config_free;
  mpr_Unused config_section_get;
  mpr_Unused config_section_getval;
  mpr_Unused sched_remove_client;
  mpr_Unused sched_get_connection;
  mpr_Unused sched_worker_info;
  mpr_Unused worker_spawn;
  mpr_Unused worker_rename;
  // Watches a descriptor in this worker's loop.
  int (*event_add)(int, int, struct mpr_Plugin*, unsigned int);
  // Stops watching a descriptor that was added with a plugin.
  int (*event_del)(int);
  mpr_Unused event_get;
  // Changes what a descriptor is watched for.
  int (*event_socket_change_mode)(int, int, unsigned int);
  mpr_Unused time_unix;
  mpr_Unused time_to_gmt;
  mpr_Unused time_human;
};





#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// What Monkey reads first: names and the stages that we want to be called at.
extern const mpr_Info _plugin_info;

// Reads the configuration. A negative answer leaves Monkey to go on without us.
//
// # Safety
// For Monkey's loader alone: `api` points to its table pointer, `confdir` to
// the folder of this plugin's configuration, both valid for the call.
int _mkp_init(const void **api, const char *confdir);

// Called in a signal handler, behind ours (`crate::abi::ending`), possibly on
// a worker: nothing may block or be freed, so nothing is done.
int _mkp_exit(void);

// Prepares a worker thread.
void _mkp_core_thctx(void);

// Takes a request, or leaves it to Monkey.
//
// # Safety
// For Monkey alone: the pointers are those of a request that it processes.
int _mkp_stage_30(struct mpr_Plugin *plugin,
                  struct mpr_ClientSession *session,
                  struct mpr_SessionRequest *request);

// Behind a request: goes on with what the client has sent behind it, if that
// was taken already, and closes connections that Monkey itself would keep after
// it refused a request whose body it never read.
//
// Kept, the rest of the body would be taken for the next request; and after a
// 413 Monkey 1.5.4 to 1.5.6 damages a list and crashes later.
//
// # Safety
// For Monkey alone: the pointers are those of a request that was answered.
int _mkp_stage_40(struct mpr_ClientSession *session, struct mpr_SessionRequest *request);

// A client is gone; its socket is still open. May come twice, and for
// clients that we never met.
int _mkp_stage_50(int fd);

// Something can be read from a socket of this worker, ours or not.
int _mkp_event_read(int fd);

// Something can be written to a socket of this worker, ours or not.
int _mkp_event_write(int fd);

// A socket of this worker was closed, ours or not.
int _mkp_event_close(int fd);

// As [`_mkp_event_close`]; Monkey 1.5 has it but does not call it.
int _mkp_event_error(int fd);

// As [`_mkp_event_close`]; Monkey 1.5 has it but does not call it.
int _mkp_event_timeout(int fd);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* MONKEY_PROXY_REVERSE_H */
