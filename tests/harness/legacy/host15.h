/* host15.h - the structures and numbers of Monkey 1.5.6's plugin interface, in our own definitions. */
#ifndef HOST15_H
#define HOST15_H

#include "../common/types.h"

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

enum {
    CORE_PRCTX = 1, CORE_THCTX = 2, STAGE_10 = 4, STAGE_20 = 8, STAGE_30 = 16,
    STAGE_40 = 32, STAGE_50 = 64, NETWORK_IO = 128,
    RET_NOT_ME = -1, RET_CONTINUE = 100, RET_END = 200, RET_CLOSE_CONX = 300,
    EVENT_NEXT = -300, EVENT_OWNED = -400, EVENT_CLOSE = -500, EVENT_CONTINUE = -600,
    MODE_HANGUP = 0, MODE_READ = 1, MODE_WRITE = 2, MODE_RW = 3, MODE_SLEEP = 4, MODE_WAKEUP = 5,
    LEVEL_TRIGGERED = 2, WAIT_TIMEOUT_MS = 3000,
    METHOD_UNKNOWN = -1, METHOD_GET = 0, METHOD_POST, METHOD_HEAD, METHOD_PUT, METHOD_DELETE,
    METHOD_OPTIONS,
    PROTOCOL_UNKNOWN = -1, PROTOCOL_09 = 9, PROTOCOL_10 = 10, PROTOCOL_11 = 11,
    CUSTOM_STATUS = 7, REQUEST_INCOMPLETE = -1, REQUEST_COMPLETED = 0,
    EXIT_NORMAL_ = 0, EXIT_ERROR_ = -1, EXIT_ABORT_ = -2,
    VAL_STR = 0, VAL_NUM = 1, VAL_BOOL = 2, VAL_LIST = 3,
    TOC_LEN = 32, CHUNK = 4096, PATH_BASE = 128, PATH_LIMIT = 1024, EXTRA_ROWS = 18,
    CONN_AVAILABLE = -1, CONN_PENDING = 0, CONN_PROCESS = 1
};
#define EDGE_TRIGGERED 0x80000000u

struct rb_node { unsigned long parent_color; struct rb_node *rb_right, *rb_left; };
struct rb_root { struct rb_node *rb_node; };

struct mk_iov {
    struct iovec *io;
    void **buf_to_free;
    int iov_idx, buf_idx, size;
    unsigned long total_len;
};

struct mk_config { int created; char *file; struct mk_list sections; };
struct mk_config_section { char *name; struct mk_list entries; struct mk_list _head; };
struct mk_config_entry { char *key, *val; struct mk_list _head; };

struct host {
    char *file;
    struct mk_list server_names;
    mk_ptr_t documentroot;
    char *host_signature;
    mk_ptr_t header_host_signature, header_redirect;
    struct mk_config *config;
    struct mk_list error_pages;
    struct mk_list _head;
};
struct host_alias { char *name; unsigned int len; struct mk_list _head; };
struct error_page { short status; char *file, *real_path; struct mk_list _head; };

struct mimetype { const char *name; mk_ptr_t type; struct mk_list _head; struct rb_node _rb_head; };

struct epoll_state {
    int fd;
    uint8_t mode;
    uint32_t events;
    unsigned int behavior;
    struct rb_node _rb_head;
    struct mk_list _head;
};

struct header_toc_row { char *init, *end; int status; };
struct headers_toc { struct header_toc_row rows[TOC_LEN]; int length; };

struct response_headers {
    int status, connection;
    mk_ptr_t custom_status;
    off_t content_length, real_length;
    int cgi, pconnections_left, breakline, transfer_encoding;
    int ranges[2];
    time_t last_modified;
    mk_ptr_t allow_methods, content_type, content_encoding;
    char *location;
    struct mk_iov *_extra_rows;
    int sent;
};

/* The run of fields that lies 8 bytes further in 1.5.6 than in 1.5.5 (see sr_mid). */
struct sr_mid {
    mk_ptr_t content_type, connection, host, host_port, if_modified_since, last_modified_since;
    mk_ptr_t range, data, real_path;
    char real_path_static[PATH_BASE];
    mk_ptr_t query_string;
    int stage30_blocked;
};

struct session_request {
    int status, protocol, keep_alive, user_home;
    long port;
    int fd_file, fd_is_fdt, headers_len, method;
    mk_ptr_t method_p, uri, uri_processed, protocol_p, body;
    int close_now;
#ifdef __LP64__
    int content_length_155;
#endif
    ssize_t content_length;
    struct sr_mid mid;
    off_t bytes_to_send, bytes_offset;
    struct file_info file_info;
    int vhost_fdt_id;
    unsigned int vhost_fdt_hash;
    struct host *host_conf;
    struct host_alias *host_alias;
    struct response_headers headers;
    struct mk_list _head;
    struct headers_toc headers_toc;
};

struct client_session {
    int pipelined, socket, counter_connections, status;
    unsigned int body_size, body_length;
    int body_pos_end, first_method;
    struct rb_node _rb_head;
    struct mk_list request_list, request_incomplete;
    time_t init_time;
    char *body;
    char body_fixed[CHUNK];
    struct session_request sr_fixed;
};

struct sched_connection {
    uint32_t events;
    int status;
    time_t arrive_time;
    struct rb_node _rb_head;
    struct mk_list _head, status_queue;
    int socket;
};
struct sched_connection_155 {
    struct rb_node _rb_head;
    int socket, status;
    time_t arrive_time;
    struct mk_list _head, status_queue;
    uint32_t events;
};

struct sched_list_node {
    unsigned long long accepted_connections, closed_connections;
    int server_fd;
    struct rb_root rb_queue;
    struct mk_list busy_queue, av_queue, incoming_queue;
    short idx;
    unsigned char initialized;
    int epoll_fd;
    pthread_t tid;
    pid_t pid;
    struct client_session *request_handler;
    int signal_channel;
};

struct plugin;
struct server_config {
    int server_fd, kernel_features;
    unsigned int worker_capacity, max_load;
    short workers, manual_tcp_cork;
    int8_t fdt, is_daemon, is_seteuid, scheduler_mode;
    char *serverconf, *listen_addr;
    mk_ptr_t server_addr, server_software;
    char *user, *user_dir, *pid_file_path, *path_config, *server_conf_file, *mimes_conf_file;
    char *plugin_load_conf_file, *sites_conf_dir, *plugins_conf_dir;
    char **request_headers_allowed;
    int serverport, timeout, standard_port, pid_status;
    int8_t hideversion, resume, symlink, keep_alive;
    int max_keep_alive_request, keep_alive_timeout, thread_counter;
    uid_t egid;
    gid_t euid;
    int max_request_size;
    struct mk_list *index_files;
    int nhosts;
    struct mk_list hosts;
    mode_t open_flags;
    struct mk_list *plugins;
    int safe_event_write, transport_buffer_size;
    char *transport, *transport_layer;
    struct plugin *transport_layer_plugin;
    char *default_mimetype;
    struct mk_config *config;
};

struct plugin_info { const char *shortname, *name, *version; unsigned int hooks; };
struct plugin_core { int (*prctx)(struct server_config *); void (*thctx)(void); };
struct plugin_stage {
    int (*s10)(unsigned int, struct sched_connection *);
    int (*s20)(struct client_session *, struct session_request *);
    int (*s30)(struct plugin *, struct client_session *, struct session_request *);
    int (*s40)(struct client_session *, struct session_request *);
    int (*s50)(int);
};
struct plugin_network_io {
    int (*accept)(int);
    int (*read)(int, void *, int);
    int (*write)(int, const void *, size_t);
    int (*writev)(int, struct mk_iov *);
    int (*close)(int);
    int (*connect)(char *, int);
    ssize_t (*send_file)(int, int, off_t *, size_t);
    int (*create_socket)(int, int, int);
    int (*bind)(int, const struct sockaddr *, socklen_t, int);
    int (*server)(int, char *, int);
    int (*buffer_size)(void);
};
struct plugin_events {
    int (*read)(int);
    int (*write)(int);
    int (*error)(int);
    int (*close)(int);
    int (*timeout)(int);
};
/* event functions, thread key and list link: 8 bytes earlier in 1.5.5, which lacks buffer_size */
struct plugin_tail { struct plugin_events event; pthread_key_t *thread_key; struct mk_list _head; };
struct plugin {
    char *shortname, *name, *version, *path;
    void *handler;
    unsigned int hooks;
    int (*init)(void *, char *);
    int (*exit)(void);
    struct plugin_core core;
    struct plugin_stage stage;
    struct plugin_network_io net_io;
    struct plugin_tail tail;
};
struct plugin_event { int socket; struct plugin *handler; struct mk_list _head; };

struct plugin_api {
    int (*socket_cork_flag)(int, int);
    int (*socket_reset)(int);
    int (*socket_set_tcp_fastopen)(int);
    int (*socket_set_tcp_nodelay)(int);
    int (*socket_set_tcp_reuseport)(int);
    int (*socket_connect)(char *, int);
    int (*socket_set_nonblocking)(int);
    int (*socket_create)(void);
    int (*socket_close)(int);
    int (*socket_sendv)(int, struct mk_iov *);
    int (*socket_send)(int, const void *, size_t);
    int (*socket_read)(int, void *, int);
    ssize_t (*socket_send_file)(int, int, off_t *, size_t);
    int (*socket_ip_str)(int, char **, int, unsigned long *);
    struct server_config *config;
    struct mk_list *plugins;
    struct sched_list_node *sched_list;
    void (*_error)(int, const char *, ...);
    int (*http_request_end)(int);
    int (*http_request_error)(int, struct client_session *, struct session_request *);
    void *(*mem_alloc)(const size_t);
    void *(*mem_alloc_z)(const size_t);
    void *(*mem_realloc)(void *, const size_t);
    void (*mem_free)(void *);
    void (*pointer_set)(mk_ptr_t *, char *);
    void (*pointer_print)(mk_ptr_t);
    char *(*pointer_to_buf)(mk_ptr_t);
    int (*str_itop)(uint64_t, mk_ptr_t *);
    int (*str_search)(const char *, const char *, int);
    int (*str_search_n)(const char *, const char *, int, int);
    char *(*str_build)(char **, unsigned long *, const char *, ...);
    char *(*str_dup)(const char *);
    char *(*str_copy_substr)(const char *, int, int);
    struct mk_list *(*str_split_line)(const char *);
    void (*str_split_free)(struct mk_list *);
    char *(*file_to_buffer)(const char *);
    int (*file_get_info)(const char *, struct file_info *);
    int (*header_send)(int, struct client_session *, struct session_request *);
    mk_ptr_t (*header_get)(struct headers_toc *, const char *, int);
    int (*header_add)(struct session_request *, char *, int);
    void (*header_set_http_status)(struct session_request *, int);
    struct mk_iov *(*iov_create)(int, int);
    int (*iov_realloc)(struct mk_iov *, int);
    void (*iov_free)(struct mk_iov *);
    void (*iov_free_marked)(struct mk_iov *);
    int (*iov_add_entry)(struct mk_iov *, void *, int, mk_ptr_t, int);
    int (*iov_set_entry)(struct mk_iov *, void *, int, int, int);
    ssize_t (*iov_send)(int, struct mk_iov *);
    void (*iov_print)(struct mk_iov *);
    void *(*plugin_load_symbol)(void *, const char *);
    void *(*epoll_init)(int, int, int);
    int (*epoll_create)(int);
    int (*epoll_add)(int, int, int, unsigned int);
    int (*epoll_del)(int, int);
    int (*epoll_change_mode)(int, int, int, unsigned int);
    struct epoll_state *(*epoll_state_get)(int);
    struct mimetype *(*mimetype_lookup)(char *);
    void (*rb_insert_color)(struct rb_node *, struct rb_root *);
    void (*rb_erase)(struct rb_node *, struct rb_root *);
    void (*rb_link_node)(struct rb_node *, struct rb_node *, struct rb_node **);
    struct mk_config *(*config_create)(const char *);
    void (*config_free)(struct mk_config *);
    struct mk_config_section *(*config_section_get)(struct mk_config *, const char *);
    void *(*config_section_getval)(struct mk_config_section *, char *, int);
    int (*sched_remove_client)(int);
    struct sched_connection *(*sched_get_connection)(struct sched_list_node *, int);
    struct sched_list_node *(*sched_worker_info)(void);
    pthread_t (*worker_spawn)(void (*)(void *), void *);
    int (*worker_rename)(const char *);
    int (*event_add)(int, int, struct plugin *, unsigned int);
    int (*event_del)(int);
    struct plugin_event *(*event_get)(int);
    int (*event_socket_change_mode)(int, int, unsigned int);
    int (*time_unix)(void);
    int (*time_to_gmt)(char **, time_t);
    mk_ptr_t *(*time_human)(void);
    void (*stacktrace)(void);
    int (*kernel_version)(void);
    int (*kernel_features_print)(char *, size_t);
};

#endif
