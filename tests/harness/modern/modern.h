/* modern.h - what the files of the 1.8 host share: the state, the records behind a connection and the functions. */
#ifndef MODERN_H
#define MODERN_H

#include "../common/common.h"
#include "host18.h"

enum modern_variant { V_189, V_187, V_16, V_UNKNOWN };

/* what we know of a connection; it lies behind the session in the same block */
struct conn_extra {
    struct mk_list all;
    ino_t inode;              /* tells whether the number still names the socket we accepted */
    unsigned long sent_base;  /* bytes the kernel took before service, see fake_tls_check */
    unsigned long sent_net;
    bool gone;                /* the session was removed: nobody may use it any more */
    bool poison_late;         /* it was removed below Stage 30, whose caller still writes a head into it */
    int in_stage30, in_hangup, unread;
};

struct mworker {
    struct mk_sched_worker *sched;
    pthread_t thread;
    struct mk_server_listen listener;
    struct mk_list listeners;
    struct mk_event notification, timer;
    struct mk_list conns;
    const struct mk_event *spinning; /* the only event of the latest batches, and how often it was alone */
    int spins;
    bool core_io;                    /* a write of the core: nothing is injected into it */
    char length_text[32], modified_text[48]; /* queued heads point here, so the next head changes the one before */
};

/* a client on its way from the main thread to its worker; only without SO_REUSEPORT */
struct accepted { int fd; struct mk_sched_handler *protocol; };

struct mime { struct mk_list _head; char *ext; mk_ptr_t header; };

struct modern_state {
    enum modern_variant variant;
    bool hidden, exit_thread, fair;
    size_t session_shift, late_shift; /* 8 and 40 (fewer on 32 bits) when the layout of 1.8.7 is played, else 0 */
    struct mk_server *server;
    struct mk_rconf *site;
    struct mworker *workers;
    struct mk_list mimes;
    struct plugin_api *api;
    struct mk_plugin_network *net;
    struct mk_config_listener listen;
    struct mk_server_listen shared_listener; /* all workers', without SO_REUSEPORT */
    char *listen_addr, *default_mime;
    int port;
    atomic_bool stop;
    atomic_int ready;
    pthread_mutex_t teardown;
};
extern struct modern_state M;
extern __thread struct mworker *MW;

static inline struct server_late *late(void)
{
    return (struct server_late *)(void *)((char *)&M.server->late - M.late_shift);
}

/* a session follows its connection in the same block */
static inline struct mk_http_session *session_of(struct mk_sched_conn *conn)
{
    return (struct mk_http_session *)(void *)(conn + 1);
}
static inline struct mk_http_request *request_of(struct mk_http_session *cs)
{
    return (struct mk_http_request *)(void *)((char *)&cs->sr_fixed - M.session_shift);
}
static inline struct mk_http_parser *parser_of(struct mk_http_session *cs)
{
    return (struct mk_http_parser *)(void *)((char *)&cs->parser - M.session_shift);
}
static inline struct mk_server **server_of(struct mk_http_session *cs)
{
    return (struct mk_server **)(void *)((char *)&cs->server - M.session_shift);
}
static inline size_t session_size(void) { return sizeof(struct mk_http_session) - M.session_shift; }
static inline struct conn_extra *extra_of(struct mk_sched_conn *conn)
{
    return (struct conn_extra *)(void *)((char *)(conn + 1) + session_size());
}

/* ---- conf.c, setup.c, regex.c ---- */
struct mk_rconf *m_config_create(const char *path);
struct mk_rconf *m_config_open(const char *path);
void m_config_free(struct mk_rconf *conf);
struct mk_rconf_section *m_config_section_get(struct mk_rconf *conf, const char *name);
void *m_config_section_get_key(struct mk_rconf_section *section, char *key, int type);
void m_setup(const struct options *options);
void m_setup_free(void);
int m_listener(int port);
mk_ptr_t m_mime_of(const char *path);
void *m_regex_compile(const char *pattern);
bool m_regex_match(const void *regex, const char *text);

/* ---- plugin.c ---- */
void m_plugins_load(void);
void m_plugins_master_init(void);
void m_plugins_worker_init(void);
void m_plugins_exit(bool unload);
int m_stage10(int fd);
int m_stage20(struct mk_http_session *cs, struct mk_http_request *sr);
void m_stage40(struct mk_http_session *cs, struct mk_http_request *sr);
void m_stage50(int fd);

/* ---- event.c, loop.c ---- */
struct mk_event_loop *m_loop_create(int size);
void m_loop_destroy(struct mk_event_loop *loop);
int m_ev_add(struct mk_event_loop *loop, int fd, int type, uint32_t mask, void *data);
int m_ev_del(struct mk_event_loop *loop, struct mk_event *event);
int m_ev_wait(struct mk_event_loop *loop);
int m_ev_timeout_create(struct mk_event_loop *loop, time_t sec, long nsec, void *data);
int m_ev_channel_create(struct mk_event_loop *loop, int *r, int *w, void *data);
void m_event_free(struct mk_event *event);
void *m_worker_main(void *worker);
void m_worker_free(struct mworker *w);

/* ---- sched.c ---- */
extern struct mk_sched_handler m_http_handler;
struct mk_sched_conn *m_accept(struct mk_server_listen *listener);
void m_accept_for_workers(void);
struct mk_sched_conn *m_take_over(struct accepted *accepted);
int m_sched_read(struct mk_sched_conn *conn);
int m_sched_write(struct mk_sched_conn *conn);
void m_sched_close(struct mk_sched_conn *conn, int type);
void m_sched_timeouts(void);
void m_sched_sweep(void);
void m_timeout_add(struct mk_sched_conn *conn);
void m_timeout_del(struct mk_sched_conn *conn);

/* ---- net.c, channel.c ---- */
void m_net_build(void);
int m_net_buffer_size(void);
int m_net_interest(struct mk_sched_conn *conn, int fallback);
void fake_tls_begin18(struct mk_sched_conn *conn);
void fake_tls_check18(struct mk_sched_conn *conn);
bool m_stream_is_linked_well(const struct mk_list *node);
struct mk_channel *m_channel_new(int type, int fd);
int m_channel_write(struct mk_channel *channel, size_t *count);
int m_channel_flush(struct mk_channel *channel);
void m_channel_append_stream(struct mk_channel *channel, struct mk_stream *stream);
void m_channel_clean(struct mk_channel *channel);
void m_stream_set(struct mk_stream *stream, struct mk_channel *channel);
void m_stream_release(struct mk_stream *stream);
void m_stream_in_file(struct mk_stream *stream, struct mk_stream_input *in, int fd, size_t bytes, off_t offset);

/* ---- parser.c ---- */
enum { PARSED = 0, PARSE_ERROR = -1, PARSE_PENDING = -10, LINK_KA = 1, LINK_CLOSE = 2, LINK_UPGRADE = 4 };
void m_parser_init(struct mk_http_parser *p);
int m_parse(struct mk_http_request *sr, struct mk_http_parser *p, char *buf, int len);

/* ---- http.c, serve.c ---- */
void m_session_remove(struct mk_http_session *cs);
void m_session_poison(struct mk_http_session *cs);
int m_request_end(struct mk_http_session *cs);
int m_plugin_request_end(struct mk_plugin *plugin, struct mk_http_session *cs, int close);
int m_plugin_request_error(int status, struct mk_http_session *cs, struct mk_http_request *sr, struct mk_plugin *p);
int m_serve(struct mk_http_session *cs, struct mk_http_request *sr);
int m_error(int status, struct mk_http_session *cs, struct mk_http_request *sr);

/* ---- header.c ---- */
int m_header_prepare(struct mk_http_session *cs, struct mk_http_request *sr);
int m_header_add(struct mk_http_request *sr, char *row, int len);
void m_header_set_status(struct mk_http_request *sr, int status);
void m_header_reset(struct response_headers *h);
struct mk_iov *m_iov_create(int n, int offset);
struct mk_iov *m_iov_realloc(struct mk_iov *iov, int n);
int m_iov_add(struct mk_iov *iov, void *data, int len, int owned);
int m_iov_set_entry(struct mk_iov *iov, void *data, int len, int owned, int index);
void m_iov_free(struct mk_iov *iov);
void m_iov_free_marked(struct mk_iov *iov);
void m_iov_consume(struct mk_iov *iov, size_t bytes);

/* ---- api.c ---- */
void m_api_build(void);
void *m_api_of_16(void);

#endif
