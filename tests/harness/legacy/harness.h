/* harness.h - what the files of the 1.5 host share: the worker, its tables and the functions. */
#ifndef HARNESS_H
#define HARNESS_H

#include "../common/common.h"
#include "host15.h"

/* ---- a client of a worker, its session, a plugin ---- */
struct hconn {
    union { struct sched_connection v156; struct sched_connection_155 v155; } pub; /* first */
    int fd, status;
    time_t arrive_time;
    ino_t inode;              /* tells whether the number still names the socket we accepted */
    unsigned long sent_base;  /* bytes the kernel took before service, see api_fake_tls_check */
    unsigned long sent_api;
    struct mk_list all, pending;
};

struct hsession {
    struct client_session pub; /* first */
    struct session_request *s30_request;
    int s30_calls;
    bool incomplete_listed;
    struct mk_list all;
};

struct hplugin {
    struct plugin pub; /* first: this is the address that plugins see */
    struct plugin_events event;
    struct mk_list all;
};

struct slot { struct epoll_state *state; struct hconn *conn; struct hsession *session; };

struct worker {
    struct sched_list_node *node;
    pthread_t thread;
    int epoll_fd, server_fd, max_events;
    struct slot *slots; /* by fd number: everything in this server is keyed by it */
    int nslots;
    unsigned int clients;
    struct mk_list plugin_events, conns, pending, sessions, incomplete;
    char *gmt[2];
};

enum variant { V_156, V_155, V_140, V_UNKNOWN };
struct host_state {
    enum variant variant;
    bool hidden, exit_thread, sigpipe;
    int mid_shift;          /* 8 when the layout of 1.5.5 is played, else 0 */
    atomic_bool stop, started;
    struct server_config config;
    struct sched_list_node *nodes;
    struct worker *workers;
    struct mk_list plugins;      /* the list that plugins see (links inside struct plugin) */
    struct mk_list all_plugins;  /* the same order, own links */
    struct plugin_api *api;
    void *api_given;             /* what init gets the address of */
    struct mk_list mimes;
};
extern struct host_state H;
extern __thread struct worker *W;

static inline struct sr_mid *mid(struct session_request *sr)
{
    return (struct sr_mid *)(void *)((char *)&sr->mid - H.mid_shift);
}
static inline struct plugin_tail *tail(struct plugin *p)
{
    return (struct plugin_tail *)(void *)((char *)&p->tail - H.mid_shift);
}

/* ---- access.c ---- */
void access_log_open(struct mk_config *site);
void access_log_close(void);
void access_log(struct client_session *cs, struct session_request *sr);
bool status_is_loggable(int status);

/* ---- conf.c, setup.c ---- */
struct mk_config *config_create(const char *path);
void config_free(struct mk_config *conf);
struct mk_config_section *config_section_get(struct mk_config *conf, const char *name);
void *config_section_getval(struct mk_config_section *section, char *key, int type);
void setup_config(const char *dir, int port, int workers);
void setup_free(void);
int setup_listener(int port);

/* ---- plugin.c ---- */
void plugins_load(void);
void plugins_prctx(void);
void plugins_thctx(void);
void plugins_exit(bool unload);
void plugins_free(void);
int stage10(int fd, struct hconn *conn);
int stage20(struct client_session *cs, struct session_request *sr);
int stage30(struct client_session *cs, struct session_request *sr);
void stage40(struct client_session *cs, struct session_request *sr);
void stage50(int fd);
int dispatch_read(int fd);
int dispatch_write(int fd);
void dispatch_close(int fd);
int event_add(int fd, int mode, struct plugin *plugin, unsigned int behavior);
int event_del(int fd);
struct plugin_event *event_get(int fd);
int event_change_mode(int fd, int mode, unsigned int behavior);

/* ---- loop.c ---- */
void *worker_main(void *worker);
struct slot *slot_of(int fd);
int poll_add(int efd, int fd, int mode, unsigned int behavior);
int poll_del(int efd, int fd);
int poll_change_mode(int efd, int fd, int mode, unsigned int behavior);
struct epoll_state *poll_state_get(int fd);
struct epoll_state *poll_state_set(int fd, int mode, unsigned int behavior, uint32_t events);
void worker_free(struct worker *w);

/* ---- conn.c ---- */
struct hconn *conn_get(int fd);
int conn_register(int fd, bool accepted);
void conn_drop(int fd);
void conn_remove(int fd);
int conn_read(int fd);
int conn_write(int fd);
int conn_close(int fd);
void conn_check_timeouts(void);
void conn_sweep(void);
void conn_status_public(struct hconn *conn);
struct hsession *session_get(int fd);
void session_remove(int fd);
void session_free(struct worker *w, struct hsession *s);
void incomplete_add(struct hsession *s);
void incomplete_del(struct hsession *s);

/* ---- service.c ---- */
int request_end(int fd);
int plugin_request_end(int fd);
void request_free_list(struct client_session *cs);
int keepalive_check(struct client_session *cs);
ssize_t handle_write(struct client_session *cs);
void premature_close(int status, struct client_session *cs);
void request_init(struct session_request *sr);

/* ---- http.c ---- */
int http_pending(struct hsession *s);
int http_cut(struct client_session *cs);
int http_parse(struct session_request *sr);
int http_method(const char *text);
int http_body_check(struct client_session *cs, struct session_request *sr);
mk_ptr_t header_get(struct headers_toc *toc, const char *key, int len);

/* ---- header.c ---- */
int header_send(int fd, struct client_session *cs, struct session_request *sr);
int header_add(struct session_request *sr, char *row, int len);
void header_set_status(struct session_request *sr, int status);
void header_reset(struct response_headers *h);
struct mk_iov *iov_create(int n, int offset);
int iov_add(struct mk_iov *iov, void *data, int len, mk_ptr_t sep, int owned);
void iov_free(struct mk_iov *iov);

/* ---- static.c ---- */
ssize_t serve(struct client_session *cs, struct session_request *sr);
ssize_t send_file(struct client_session *cs, struct session_request *sr);
int request_error(int status, struct client_session *cs, struct session_request *sr);
void mimes_load(const char *path);
void mimes_free(void);

/* ---- api.c ---- */
void api_build(void);
void api_free(void);
void fake_tls_check(struct hconn *conn);
void fake_tls_begin(struct hconn *conn);
void cork(int fd, int on);
void own_write_begin(sigset_t *before);
void own_write_end(const sigset_t *before);

#endif
