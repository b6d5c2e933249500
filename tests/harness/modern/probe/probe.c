/* probe.c - a well-behaved asynchronous plugin: it takes the response stream away, puts its own protocol callbacks
 * in front of the client, and answers from a private epoll set through the network layer.
 *
 *     /probe /slow /big /echo         answered asynchronously
 *     /quirk-...                      what the core makes of the other return values
 */
#include "../host18.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
enum { BIG = 3 * 1024 * 1024 };

extern struct mk_plugin mk_plugin_probe;

/* one request in service */
struct service {
    struct service *next;
    struct mk_http_session *cs;
    struct mk_http_request *sr;
    struct mk_sched_handler *original;
    char *answer;
    size_t len, sent;
    bool closing, waiting, asleep, gone;
    int timer, write_fd;
};

static __thread struct mk_event set_event; /* our epoll set inside the worker's; lives as long as the worker */
static __thread int set = -1, wake = -1;
static __thread struct service *ready;
static __thread struct mk_sched_handler own_handler;

static struct plugin_api *api(void) { return mk_plugin_probe.api; }

/* the layer's first argument lies 8 bytes earlier up to 1.8.7, where the server's name lies at 336 */
static int net_write(struct mk_sched_conn *conn, const void *data, size_t len)
{
    bool old = memcmp((char *)mk_plugin_probe.server_ctx + 336, "Monkey", 6) == 0;
    struct mk_plugin *first = old ? ((struct network_187 *)(void *)conn->net)->plugin : conn->net->plugin;
    return conn->net->write(first, conn->event.fd, data, len);
}

static void unlink_stream(struct mk_http_request *sr)
{
    struct mk_list *node = &sr->stream._head;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->prev = node->next = node;
}

static void watch(int fd, struct service *s, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data = {.ptr = s}};
    epoll_ctl(set, EPOLL_CTL_ADD, fd, &ev);
}

static void forget(struct service *s)
{
    if (s->timer >= 0) {
        close(s->timer);
    }
    if (s->write_fd >= 0) {
        /* closing a duplicate does not end its registration: the client's socket stays open */
        epoll_ctl(set, EPOLL_CTL_DEL, s->write_fd, NULL);
        close(s->write_fd);
    }
    free(s->answer);
    s->answer = NULL;
    s->gone = true; /* the memory goes when the ready list or the batch has passed it */
}

static void finish(struct service *s)
{
    struct mk_http_session *cs = s->cs;
    struct mk_sched_conn *conn = cs->conn;
    bool closing = s->closing;
    conn->protocol = s->original;
    if (s->asleep) {
        api()->ev_add(api()->sched_loop(), conn->event.fd, EVENT_CONNECTION, MASK_READ, conn);
    }
    s->sr->handler_data = NULL;
    s->sr->headers.content_length = (long)s->len;
    forget(s);
    if (api()->http_request_end(&mk_plugin_probe, cs, closing) == 1) {
        /* begun by the core: when that was not for us, what it has queued must be kicked off */
        struct mk_http_request *sr = (struct mk_http_request *)(void *)((char *)cs->request_list.next
                                                                       - offsetof(struct mk_http_request, _head));
        if (cs->request_list.next != &cs->request_list && !sr->handler_data) {
            api()->ev_add(api()->sched_loop(), conn->event.fd, EVENT_CONNECTION, MASK_WRITE, conn);
        }
    }
}

static void push(struct service *s)
{
    struct mk_sched_conn *conn = s->cs->conn;
    while (s->sent < s->len) {
        int n = net_write(conn, s->answer + s->sent, s->len - s->sent);
        if (n < 0 && errno == EAGAIN) {
            if (s->write_fd < 0) {
                s->write_fd = dup(conn->event.fd); /* a descriptor of its own for our set */
                watch(s->write_fd, s, EPOLLOUT);
            }
            return;
        }
        if (n <= 0) {
            s->closing = true;
            break;
        }
        s->sent += (size_t)n;
    }
    finish(s);
}

/* for the client's bytes and its FIN while it is being served: left in the kernel */
static int on_read(struct mk_sched_conn *conn, struct mk_sched_worker *worker, struct mk_server *server)
{
    struct service *s = ((struct mk_http_request *)(void *)((char *)((struct mk_http_session *)(void *)(conn + 1))
                         ->request_list.next - offsetof(struct mk_http_request, _head)))->handler_data;
    char byte;
    (void)server;
    ssize_t n = recv(conn->event.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
        return 1;
    }
    if (n < 0) {
        errno = 0;
        return -1; /* reset: cb_close follows */
    }
    api()->ev_del(worker->loop, &conn->event);
    s->asleep = true;
    if (n == 0) {
        s->closing = true;
    }
    return 1;
}

static int on_close(struct mk_sched_conn *conn, struct mk_sched_worker *worker, int type, struct mk_server *server)
{
    struct mk_http_session *cs = (struct mk_http_session *)(void *)(conn + 1);
    struct mk_http_request *sr = (struct mk_http_request *)(void *)((char *)cs->request_list.next
                                                                   - offsetof(struct mk_http_request, _head));
    struct service *s = sr->handler_data;
    conn->protocol = s->original;
    return conn->protocol->cb_close(conn, worker, type, server); /* calls the hang-up */
}

static int on_set(void *event)
{
    struct epoll_event ev[16];
    uint64_t count;
    (void)event;
    int n = epoll_wait(set, ev, 16, 0);
    for (int i = 0; i < n; i++) {
        struct service *s = ev[i].data.ptr;
        if (!s) {
            (void)!read(wake, &count, sizeof count);
        } else if (!s->gone) {
            push(s);
            if (s->gone) {
                free(s);
            }
        }
    }
    for (struct service *s = ready, *next; s; s = next) {
        next = s->next;
        if (ready == s) {
            ready = NULL;
        }
        if (!s->gone && !s->waiting) {
            push(s);
        }
        if (s->gone) {
            free(s);
        }
    }
    return 0;
}

static void worker_init(struct mk_server *server)
{
    (void)server;
    set = epoll_create1(EPOLL_CLOEXEC);
    wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    watch(wake, NULL, EPOLLIN);
    set_event.handler = on_set;
    api()->ev_add(api()->sched_loop(), set, EVENT_CUSTOM, MASK_READ, &set_event);
}

static void answer(struct service *s, const char *body, size_t len)
{
    bool head = s->sr->method == METHOD_HEAD;
    s->answer = malloc(len + 256);
    s->len = (size_t)snprintf(s->answer, 256, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n"
                              "Connection: %s\r\n\r\n", len, s->closing ? "close" : "keep-alive");
    if (!head) {
        memcpy(s->answer + s->len, body, len);
        s->len += len;
    }
}

static int begin(struct mk_http_session *cs, struct mk_http_request *sr, const char *body, size_t len, int wait_ms)
{
    uint64_t one = 1;
    struct mk_sched_conn *conn = cs->conn;
    struct service *s = calloc(1, sizeof *s);
    s->cs = cs;
    s->sr = sr;
    s->timer = s->write_fd = -1;
    s->closing = cs->close_now || cs->counter_connections >= mk_plugin_probe.server_ctx->max_keep_alive_request;
    answer(s, body, len);
    own_handler = *conn->protocol;
    s->original = conn->protocol;
    own_handler.cb_read = on_read;
    own_handler.cb_close = on_close;
    conn->protocol = &own_handler;
    /* behind a file in the pipeline the event still has WRITE, with which the core would end our request */
    if (conn->event.mask & MASK_WRITE) {
        api()->ev_add(api()->sched_loop(), conn->event.fd, EVENT_CONNECTION, MASK_READ, conn);
    }
    sr->handler_data = s;
    sr->headers.status = 200;
    unlink_stream(sr);
    if (wait_ms) {
        struct itimerspec when = {.it_value = {wait_ms / 1000, wait_ms % 1000 * 1000000L}};
        s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
        timerfd_settime(s->timer, 0, &when, NULL);
        watch(s->timer, s, EPOLLIN | EPOLLONESHOT);
        return RET_CONTINUE;
    }
    s->next = ready;
    ready = s;
    return write(wake, &one, sizeof one) > 0 ? RET_CONTINUE : RET_CONTINUE;
}

static int echo(struct mk_http_session *cs, struct mk_http_request *sr)
{
    static char text[65536];
    char *raw = cs->body;
    size_t n = (size_t)snprintf(text, sizeof text, "method %d %.*s\nuri %.*s\nquery %.*s\nlength %d data %lu\n",
                                sr->method, (int)sr->method_p.len, sr->method_p.data, (int)sr->uri.len, sr->uri.data,
                                (int)sr->query_string.len, sr->query_string.data ? sr->query_string.data : "",
                                (int)(sr->_content_length.data ? atoi(sr->_content_length.data) : -1), sr->data.len);
    n += (size_t)snprintf(text + n, sizeof text - n, "session body_length %u raw %.10s close %d\n", cs->body_length, raw,
                          cs->close_now);
    /* the list is the only way to the headers that does not depend on where the parser lies */
    for (int i = 0; i < HEADER_COUNT; i++) {
        struct mk_http_header *h = api()->header_get(i, sr, NULL, 0);
        if (h->key.data) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%.*s=[%.*s]\n", (int)h->key.len, h->key.data,
                                  (int)h->val.len, h->val.data);
        }
    }
    static const char name[] = "x-probe";
    struct mk_http_header *x = api()->header_get(HEADER_OTHER, sr, name, sizeof name - 1);
    if (x) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s=[%.*s]\n", (int)x->key.len, x->key.data,
                              (int)x->val.len, x->val.data);
    }
    if (sr->data.data && sr->_content_length.data) {
        n += (size_t)snprintf(text + n, sizeof text - n, "data [%.*s]\n", (int)(sr->data.len < 200 ? sr->data.len : 200),
                              sr->data.data);
    }
    return begin(cs, sr, text, n, 0);
}

static int stage_30(struct mk_plugin *plugin, struct mk_http_session *cs, struct mk_http_request *sr, int n_params,
                    struct mk_list *params)
{
    static char big[BIG];
    static const char row[] = "X-Row: 1";
    (void)plugin;
#define IS(name) (sr->uri.len == sizeof name - 1 && memcmp(sr->uri.data, name, sizeof name - 1) == 0)
    if (IS("/probe")) return begin(cs, sr, "probe\n", 6, 0);
    if (IS("/slow")) return begin(cs, sr, "slow\n", 5, 400);
    if (IS("/echo")) return echo(cs, sr);
    if (IS("/big")) {
        memset(big, 'b', sizeof big);
        return begin(cs, sr, big, sizeof big, 0);
    }
    if (IS("/param") && n_params > 0) {
        struct mk_vhost_handler_param *p = api()->handler_param_get(0, params);
        return begin(cs, sr, p->p.data, p->p.len, 0);
    }
    sr->headers.content_length = 0;
    api()->header_set_http_status(sr, 200);
    if (IS("/quirk-continue")) return RET_CONTINUE;
    if (IS("/quirk-end")) return RET_END;
    if (IS("/quirk-end-prepared")) {
        api()->header_add(sr, (char *)(uintptr_t)row, sizeof row - 1);
        api()->header_prepare(&mk_plugin_probe, cs, sr);
        return RET_END;
    }
    if (IS("/quirk-close")) {
        sr->headers.status = 503;
        return RET_CLOSE_CONX;
    }
    if (IS("/quirk-error")) {
        api()->http_request_error(404, cs, sr, &mk_plugin_probe);
        return RET_END;
    }
    if (IS("/quirk-ended")) {
        sr->headers.content_length = 2;
        net_write(cs->conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 40);
        api()->http_request_end(&mk_plugin_probe, cs, 0);
        return RET_CONTINUE;
    }
    if (IS("/quirk-sleep")) {
        unlink_stream(sr);
        api()->ev_add(api()->sched_loop(), cs->socket, EVENT_CONNECTION, MASK_SLEEP, cs->conn);
        return RET_CONTINUE;
    }
    return RET_NOT_ME;
}

/* also called when nothing of ours is in service */
static int hang_up(struct mk_plugin *plugin, struct mk_http_session *cs, struct mk_http_request *sr)
{
    struct service *s = sr->handler_data;
    (void)plugin;
    if (!s) {
        return 0;
    }
    cs->conn->protocol = s->original;
    sr->handler_data = NULL;
    bool listed = s->timer < 0 && s->write_fd < 0;
    forget(s);
    if (!listed) {
        free(s);
    }
    return 0;
}

static int log_stage_40(struct mk_http_session *cs, struct mk_http_request *sr)
{
    if (getenv("PROBE_LOG")) {
        api()->_error(LOG_INFO_TYPE, "probe: stage 40, fd %d, status %d", cs->socket, sr->headers.status);
    }
    return 0;
}

static int log_stage_50(int fd)
{
    if (getenv("PROBE_LOG")) {
        api()->_error(LOG_INFO_TYPE, "probe: stage 50, fd %d", fd);
    }
    return RET_NOT_ME;
}

static int init(struct mk_plugin *self, char *confdir)
{
    if (self != &mk_plugin_probe || !self->api || !self->server_ctx) {
        return -1;
    }
    api()->_error(LOG_INFO_TYPE, "probe: configuration in %s", confdir);
    return 0;
}

static int leave(struct mk_plugin *self)
{
    (void)self;
    return 0;
}

static struct mk_plugin_stage stage = {.stage30 = stage_30, .stage30_hangup = hang_up, .stage40 = log_stage_40,
                                       .stage50 = log_stage_50};

EXPORT struct mk_plugin mk_plugin_probe = {
    .shortname = "probe", .name = "Probe of the test host", .version = "1.0", .hooks = HOOK_STAGE,
    .init_plugin = init, .exit_plugin = leave, .worker_init = worker_init, .stage = &stage};
