/* host18.h - the structures and numbers of Monkey 1.8.9's plugin interface, in our own definitions. */
#ifndef HOST18_H
#define HOST18_H

#include "../common/types.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
    HOOK_NETWORK = 128, HOOK_STAGE = 256,
    RET_NOT_ME = -1, RET_CONTINUE = 100, RET_END = 200, RET_CLOSE_CONX = 300,
    CAP_HTTP = 1, CAP_SOCK_PLAIN = 4, CAP_SOCK_TLS = 8, LOAD_STATIC = 0, LOAD_DYNAMIC = 1,

    EVENT_UNMODIFIED = -1, EVENT_NOTIFICATION = 0, EVENT_LISTENER = 1, EVENT_FIFO = 2, EVENT_CONNECTION = 3,
    EVENT_CUSTOM = 4, EVENT_THREAD = 5,
    MASK_EMPTY = 0, MASK_READ = 1, MASK_WRITE = 4, MASK_SLEEP = 8, MASK_CLOSE = 0x2018, TYPE_IDLE = 24,
    MASK_LEVEL = 256, MASK_EDGE = 512, QUEUE_SIZE = 256,
    STATUS_NONE = 1, STATUS_REGISTERED = 2, PRIORITY_DEFAULT = 6,

    CLOSED_BY_PEER = 0, CLOSED_ERROR = 1, CLOSED_TIMEOUT = 2, CLOSED_DONE = 3,
    CONN_TIMED_OUT = -1, CONN_CLOSED = -2,

    CHANNEL_OK = 0, CHANNEL_DONE = 1, CHANNEL_ERROR = 2, CHANNEL_FLUSH = 4, CHANNEL_EMPTY = 8, CHANNEL_BUSY = 16,
    STREAM_RAW = 0, STREAM_IOV = 1, STREAM_FILE = 2,

    METHOD_GET = 0, METHOD_POST, METHOD_HEAD, METHOD_PUT, METHOD_DELETE, METHOD_OPTIONS, METHOD_COUNT, METHOD_UNKNOWN,
    PROTOCOL_UNKNOWN = -1, PROTOCOL_10 = 10, PROTOCOL_11 = 11,
    CUSTOM_STATUS = 7, CONN_UPGRADED = 11, UPGRADED_H2C = 20,
    REQUEST_INCOMPLETE = -1, REQUEST_COMPLETED = 0, EXIT_OK_ = 0, EXIT_ERROR_ = -1, EXIT_ABORT_ = -2,
    VAL_STR = 0, VAL_NUM = 1, VAL_BOOL = 2, VAL_LIST = 3,
    CHUNK = 4096, PATH_BASE = 128, PATH_LIMIT = 1024, EXTRA_ROWS = 18, IOV_ROWS = 32, UNKNOWN_HEADERS = 50
};

/* the headers that the parser knows, in the order of its index */
enum {
    HEADER_ACCEPT = 0, HEADER_ACCEPT_CHARSET, HEADER_ACCEPT_ENCODING, HEADER_ACCEPT_LANGUAGE, HEADER_AUTHORIZATION,
    HEADER_CACHE_CONTROL, HEADER_COOKIE, HEADER_CONNECTION, HEADER_CONTENT_LENGTH, HEADER_CONTENT_RANGE,
    HEADER_CONTENT_TYPE, HEADER_HOST, HEADER_HTTP2_SETTINGS, HEADER_IF_MODIFIED_SINCE, HEADER_LAST_MODIFIED,
    HEADER_LAST_MODIFIED_SINCE, HEADER_RANGE, HEADER_REFERER, HEADER_TRANSFER_ENCODING, HEADER_UPGRADE,
    HEADER_USER_AGENT, HEADER_COUNT, HEADER_OTHER
};

struct mk_plugin;
struct mk_server;
struct mk_sched_conn;
struct mk_sched_worker;
struct mk_http_session;
struct mk_http_request;
struct mk_stream;
struct mk_stream_input;
struct mk_net_connection;
struct mk_mimetype;
struct mk_vhost;
struct mk_vhost_alias;
struct mk_vhost_handler_param;
struct mk_rconf;
struct mk_rconf_section;
struct mk_http_header;
struct plugin_api;
struct epoll_event;
struct mk_event_fdt;
struct plugin_event;
struct mk_server_config;
struct mk_clock_context;

struct mk_event {
    int fd, type;
    uint32_t mask;
    uint8_t status;
    void *data;
    int (*handler)(void *);
    struct mk_list _head, _priority_head;
    char priority;
};

struct mk_event_loop { int size, n_events; struct mk_event *events; void *data; };

struct mk_event_ctx { int efd, queue_size; struct epoll_event *events; };

struct mk_iov {
    int iov_idx, buf_idx, size;
    unsigned long total_len;
    struct iovec *io;
    void **buf_to_free;
};

struct mk_channel {
    int type, fd, status;
    struct mk_event *event;
    struct mk_plugin_network *io;
    struct mk_list streams;
    void *thread;
};

struct mk_stream_input {
    int type, fd, dynamic;
    size_t bytes_total;
    off_t bytes_offset;
    void *buffer, *context;
    void (*cb_consumed)(struct mk_stream_input *, long);
    void (*cb_finished)(struct mk_stream_input *);
    struct mk_stream *stream;
    struct mk_list _head;
};

struct mk_stream {
    int preserve, encoding, dynamic;
    size_t bytes_total;
    off_t bytes_offset;
    struct mk_channel *channel;
    void *context;
    void (*cb_finished)(struct mk_stream *);
    void (*cb_bytes_consumed)(struct mk_stream *, long);
    void (*cb_exception)(struct mk_stream *, int);
    struct mk_list inputs, _head;
};

struct mk_plugin_network {
    int (*read)(struct mk_plugin *, int, void *, int);
    int (*write)(struct mk_plugin *, int, const void *, size_t);
    int (*writev)(struct mk_plugin *, int, struct mk_iov *);
    int (*close)(struct mk_plugin *, int);
    int (*send_file)(struct mk_plugin *, int, int, off_t *, size_t);
    int (*event_interest)(struct mk_plugin *, int, int);
    int buffer_size;
    struct mk_plugin *plugin;
};

struct mk_sched_handler {
    const char *name;
    int (*cb_read)(struct mk_sched_conn *, struct mk_sched_worker *, struct mk_server *);
    int (*cb_close)(struct mk_sched_conn *, struct mk_sched_worker *, int, struct mk_server *);
    int (*cb_done)(struct mk_sched_conn *, struct mk_sched_worker *, struct mk_server *);
    int (*cb_upgrade)(void *, void *, struct mk_server *);
    int sched_extra_size;
    char capabilities;
};

struct mk_config_listener { char *address, *port; uint32_t flags; struct mk_list _head; };

struct mk_server_listen {
    struct mk_event event;
    int server_fd;
    struct mk_plugin_network *network;
    struct mk_sched_handler *protocol;
    struct mk_config_listener *listen;
    struct mk_list _head;
};

struct mk_sched_conn {
    struct mk_event event;
    int status;
    uint32_t properties;
    char is_timeout_on;
    time_t arrive_time;
    struct mk_sched_handler *protocol;
    struct mk_server_listen *server_listen;
    struct mk_plugin_network *net;
    struct mk_channel channel;
    struct mk_list timeout_head;
    void *data;
};

struct mk_sched_worker {
    struct mk_event_loop *loop;
    unsigned long long accepted_connections, closed_connections, over_capacity;
    struct mk_list timeout_queue;
    short idx;
    unsigned char initialized;
    pthread_t tid;
    pid_t pid;
    unsigned int mem_pagesize;
    struct mk_http_session *request_handler;
    struct mk_list event_free_queue;
    int signal_channel_r, signal_channel_w;
    struct mk_list *listeners, requests_done, threads, threads_purge;
};

struct mk_sched_ctx { struct mk_sched_worker *workers; };

struct response_headers {
    int status, connection;
    mk_ptr_t custom_status;
    long content_length, real_length;
    int cgi, pconnections_left, breakline, transfer_encoding, upgrade, ranges[2];
    time_t last_modified;
    mk_ptr_t allow_methods, content_type, content_encoding;
    char *location;
    int etag_len;
    char etag_buf[32];
    struct mk_iov *_extra_rows;
    int sent;
    struct mk_iov headers_iov;
    struct iovec _iov_io[32];
    void *_iov_buf[32];
};

struct mk_http_request {
    int status, protocol, user_home;
    long port;
    uint64_t stream_size;
    struct mk_stream stream;
    struct mk_stream_input in_headers, in_headers_extra, in_file, page_stream;
    int headers_len, method;
    mk_ptr_t method_p, uri, uri_processed, protocol_p, body;
    int content_length;
    mk_ptr_t _content_length, content_type, connection, host, host_port, if_modified_since;
    mk_ptr_t last_modified_since, range, data, real_path;
    char real_path_static[128];
    mk_ptr_t query_string;
    int stage30_blocked;
    void *stage30_handler;
    int file_fd;
    struct file_info file_info;
    int vhost_fdt_id;
    unsigned int vhost_fdt_hash;
    int vhost_fdt_enabled;
    struct mk_vhost *host_conf;
    struct mk_vhost_alias *host_alias;
    void *handler_data;
    struct mk_http_session *session;
    void *thread;
    struct mk_list _head;
    struct response_headers headers;
};

struct mk_http_header { int type; mk_ptr_t key, val; struct mk_list _head; };

struct mk_http_parser {
    int i, level, status, next, length, method, start, end, chars, header_host_port;
    long body_received, header_content_length;
    int header_connection, header_upgrade, header_transfer_encoding, header_key, header_sep;
    int header_val, header_min, header_max, headers_extra_count;
    struct mk_http_header headers[21];
    int header_count;
    struct mk_list header_list;
    struct mk_http_header headers_extra[50];
    size_t chunk_total_size_received;
    char *chunk_expected_start;
    size_t chunk_expected_size;
    char *chunk_processed_start, *chunk_processed_end;
};

struct mk_http_session {
    int _sched_init, socket, pipelined, counter_connections, status, close_now;
    struct mk_channel *channel;
    struct mk_sched_conn *conn;
    unsigned int body_size, body_length;
    struct mk_list request_list;
    time_t init_time;
    char *body, body_fixed[4097];
    struct mk_http_request sr_fixed;
    struct mk_http_parser parser;
    struct mk_server *server;
};

struct mk_plugin_stage {
    int (*stage10)(int);
    int (*stage20)(struct mk_http_session *, struct mk_http_request *);
    int (*stage30)(struct mk_plugin *, struct mk_http_session *, struct mk_http_request *, int, struct mk_list *);
    void (*stage30_thread)(struct mk_plugin *, struct mk_http_session *, struct mk_http_request *, int, struct mk_list *);
    int (*stage30_hangup)(struct mk_plugin *, struct mk_http_session *, struct mk_http_request *);
    int (*stage40)(struct mk_http_session *, struct mk_http_request *);
    int (*stage50)(int);
    struct mk_plugin *plugin;
    struct mk_list _head, _parent_head;
};

struct mk_plugin {
    int flags;
    const char *shortname, *name, *version;
    unsigned int hooks;
    char capabilities;
    struct plugin_api *api;
    int (*init_plugin)(struct mk_plugin *, char *);
    int (*exit_plugin)(struct mk_plugin *);
    int (*master_init)(struct mk_server *);
    void (*worker_init)(struct mk_server *);
    struct mk_plugin_network *network;
    struct mk_plugin_stage *stage;
    void *handler;
    char *path;
    pthread_key_t *thread_key;
    struct mk_list _head, stage_list;
    int load_type;
    struct mk_server *server_ctx;
};

struct mk_rconf {
    int level;
    time_t created;
    char *file, *root_path;
    struct mk_list includes, metas, sections;
};

struct mk_rconf_section { char *name; struct mk_list entries, _head; };

struct mk_rconf_entry { char *key, *val; struct mk_list _head; };

struct mk_vhost {
    int id;
    char *file;
    struct mk_list server_names;
    mk_ptr_t documentroot, header_redirect;
    struct mk_rconf *config;
    struct mk_list error_pages, handlers, _head;
};

struct mk_vhost_handler {
    void *match;
    char *name;
    int n_params;
    void (*cb)(struct mk_http_request *, void *);
    void *data;
    struct mk_list params;
    struct mk_plugin *handler;
    struct mk_list _head;
};

struct mk_vhost_handler_param { mk_ptr_t p; struct mk_list _head; };

struct mk_vhost_alias { char *name; unsigned int len; struct mk_list _head; };

struct mk_vhost_error_page { short status; char *file, *real_path; struct mk_list _head; };

struct mk_clock_context {
    pthread_t mk_clock_tid;
    time_t log_current_utime, monkey_init_time;
    mk_ptr_t log_current_time, headers_preset;
    char *log_time_buffers[2], *header_time_buffers[2];
};

/* The run of fields that lies five words earlier up to 1.8.7, which has no TLS fields before it (see late()). */
struct server_late {
    struct mk_list mimetype_list;
    void *mimetype_rb_head[4], *mimetype_default;
    char *mimetype_default_str, server_signature[16], server_signature_header[32];
    int server_signature_header_len, lib_mode, lib_ch_manager[2];
    struct mk_event_loop *lib_evl;
    struct mk_event lib_ch_event;
    int lib_ch_start[2];
    struct mk_event_loop *lib_evl_start;
    struct mk_event lib_ch_start_event;
    void *sched_ctx;
    struct mk_list sched_worker_callbacks;
    struct mk_rconf *config;
    struct mk_plugin_network *network;
    int pth_init;
    long pth_cond[sizeof(pthread_cond_t) / sizeof(long)]; /* not as itself: on ARM that would move the whole run */
    long pth_mutex[sizeof(pthread_mutex_t) / sizeof(long)], vhost_fdt_mutex[sizeof(pthread_mutex_t) / sizeof(long)];
    int worker_id;
    struct plugin_api *api;
    struct mk_clock_context *clock_context;
    struct mk_list stage10_handler, stage20_handler, stage30_handler, stage40_handler, stage50_handler;
};

struct mk_server {
    int server_fd, kernel_version, kernel_features, fd_limit;
    unsigned int server_capacity;
    short workers, manual_tcp_cork;
    int8_t fdt, is_daemon, is_seteuid, scheduler_mode;
    char *path_conf_root, *path_conf_pidfile, *conf_mimetype, *conf_main, *conf_sites, *conf_plugin_load;
    char *conf_plugins, *conf_user_pub;
    mk_ptr_t server_software;
    struct mk_list listeners;
    char *one_shot, *port_override, *user, **request_headers_allowed;
    int timeout, standard_port, pid_status;
    int8_t hideversion, resume, symlink, keep_alive;
    int max_keep_alive_request, keep_alive_timeout, thread_counter;
    uid_t egid;
    gid_t euid;
    int max_request_size;
    struct mk_list *index_files;
    int nhosts;
    struct mk_list hosts;
    mode_t open_flags;
    struct mk_list plugins;
    int safe_event_write;
    char *transport_layer;
    struct { int tls_mode; char *tls_cert_file, *tls_cert_chain_file, *tls_key_file, *tls_dh_param_file; } tls;
    struct server_late late;
};

struct plugin_api {
    int (*socket_cork_flag)(int, int);
    int (*socket_reset)(int);
    int (*socket_set_tcp_fastopen)(int);
    int (*socket_set_tcp_nodelay)(int);
    int (*socket_set_tcp_reuseport)(int);
    int (*socket_connect)(char *, int, int);
    int (*socket_open)(char *, int);
    int (*socket_set_nonblocking)(int);
    int (*socket_create)(void);
    int (*socket_close)(int);
    int (*socket_read)(int, void *, int);
    int (*socket_send_file)(int, int, off_t *, size_t);
    int (*socket_ip_str)(int, char **, int, unsigned long *);
    struct mk_net_connection *(*net_conn_create)(char *, int);
    struct mk_server_config *config;
    struct mk_list *plugins;
    void (*_error)(int, const char *, ...);
    int (*http_request_end)(struct mk_plugin *, struct mk_http_session *, int);
    int (*http_request_error)(int, struct mk_http_session *, struct mk_http_request *, struct mk_plugin *);
    void *(*mem_alloc)(size_t);
    void *(*mem_alloc_z)(size_t);
    void *(*mem_realloc)(void *, size_t);
    void (*mem_free)(void *);
    void (*pointer_set)(mk_ptr_t *, char *);
    void (*pointer_print)(mk_ptr_t);
    char *(*pointer_to_buf)(mk_ptr_t);
    int (*str_itop)(uint64_t, mk_ptr_t *);
    int (*str_search)(const char *, const char *, int);
    int (*str_search_n)(const char *, const char *, int, int);
    int (*str_char_search)(const char *, int, int);
    char *(*str_build)(char **, unsigned long *, const char *, ...);
    char *(*str_dup)(const char *);
    char *(*str_copy_substr)(const char *, int, int);
    struct mk_list *(*str_split_line)(const char *);
    void (*str_split_free)(struct mk_list *);
    char *(*file_to_buffer)(const char *);
    int (*file_get_info)(const char *, struct file_info *, int);
    int (*header_prepare)(struct mk_plugin *, struct mk_http_session *, struct mk_http_request *);
    struct mk_http_header *(*header_get)(int, struct mk_http_request *, const char *, unsigned int);
    int (*header_add)(struct mk_http_request *, char *, int);
    void (*header_set_http_status)(struct mk_http_request *, int);
    struct mk_stream *(*stream_new)(int, struct mk_channel *, void *, size_t, void *, void *, void *, void *);
    struct mk_channel *(*channel_new)(int, int);
    int (*channel_flush)(struct mk_channel *);
    int (*channel_write)(struct mk_channel *, size_t *);
    void (*channel_append_stream)(struct mk_channel *, struct mk_stream *);
    void (*stream_set)(struct mk_stream *, int, struct mk_channel *, void *, size_t, void *, void *, void *, void *);
    struct mk_iov *(*iov_create)(int, int);
    struct mk_iov *(*iov_realloc)(struct mk_iov *, int);
    void (*iov_free)(struct mk_iov *);
    void (*iov_free_marked)(struct mk_iov *);
    int (*iov_add)(struct mk_iov *, void *, int, int);
    int (*iov_set_entry)(struct mk_iov *, void *, int, int, int);
    ssize_t (*iov_send)(int, struct mk_iov *);
    void (*iov_print)(struct mk_iov *);
    void *(*plugin_load_symbol)(void *, const char *);
    struct mk_event_loop *(*ev_loop_create)(int);
    struct mk_event_fdt *(*ev_get_fdt)(void);
    int (*ev_add)(struct mk_event_loop *, int, int, uint32_t, void *);
    int (*ev_del)(struct mk_event_loop *, struct mk_event *);
    int (*ev_timeout_create)(struct mk_event_loop *, time_t, long, void *);
    int (*ev_channel_create)(struct mk_event_loop *, int *, int *, void *);
    int (*ev_wait)(struct mk_event_loop *);
    char *(*ev_backend)(void);
    struct mk_mimetype *(*mimetype_lookup)(struct mk_server *, char *);
    struct mk_rconf *(*config_open)(const char *);
    struct mk_rconf *(*config_create)(const char *);
    void (*config_free)(struct mk_rconf *);
    struct mk_rconf_section *(*config_section_get)(struct mk_rconf *, const char *);
    void *(*config_section_get_key)(struct mk_rconf_section *, char *, int);
    struct mk_event_loop *(*sched_loop)(void);
    int (*sched_remove_client)(int, struct mk_server *);
    struct mk_sched_conn *(*sched_get_connection)(struct mk_sched_worker *, int);
    void (*sched_event_free)(struct mk_event *);
    struct mk_sched_worker *(*sched_worker_info)(void);
    int (*worker_spawn)(void *, void *, pthread_t *);
    int (*worker_rename)(const char *);
    int (*event_add)(int, int, struct mk_plugin *, unsigned int);
    int (*event_del)(int);
    struct plugin_event *(*event_get)(int);
    int (*event_socket_change_mode)(int, int, unsigned int);
    int (*time_unix)(void);
    int (*time_to_gmt)(char **, time_t);
    mk_ptr_t *(*time_human)(void);
    void (*stacktrace)(void);
    int (*kernel_version)(void);
    int (*kernel_features_print)(char *, size_t, struct mk_server *);
    struct mk_vhost_handler_param *(*handler_param_get)(int, struct mk_list *);
};

/* up to 1.8.7: no event_interest */
struct network_187 {
    int (*read)(struct mk_plugin *, int, void *, int);
    int (*write)(struct mk_plugin *, int, const void *, size_t);
    int (*writev)(struct mk_plugin *, int, struct mk_iov *);
    int (*close)(struct mk_plugin *, int);
    int (*send_file)(struct mk_plugin *, int, int, off_t *, size_t);
    int buffer_size;
    struct mk_plugin *plugin;
};

#endif
