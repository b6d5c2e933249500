/* naughty.c - one mistake per URI: each must end the 1.8 host with the violation of that name. */
#include "../host18.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

extern struct mk_plugin mk_plugin_naughty;

static struct plugin_api *api(void) { return mk_plugin_naughty.api; }

static __thread struct mk_http_session *old;
static int late_end(void *event)
{
    (void)event;
    api()->http_request_end(&mk_plugin_naughty, old, 0);
    return 0;
}

static struct mk_event *custom(int (*handler)(void *))
{
    struct mk_event *event = api()->mem_alloc_z(sizeof *event);
    event->handler = handler;
    api()->ev_add(api()->sched_loop(), eventfd(1, EFD_CLOEXEC), EVENT_CUSTOM, MASK_READ, event);
    return event;
}

static void take_away(struct mk_http_request *sr, int self_linked)
{
    struct mk_list *node = &sr->stream._head;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->prev = node->next = self_linked ? node : NULL;
}

static int badly_linked(struct mk_http_session *cs, struct mk_http_request *sr)
{
    sr->headers.status = 200;
    take_away(sr, 0);
    api()->http_request_end(&mk_plugin_naughty, cs, 0);
    return RET_CONTINUE;
}

static int in_service(struct mk_http_session *cs, struct mk_http_request *sr, uint32_t mask)
{
    sr->headers.status = 200;
    sr->handler_data = sr;
    take_away(sr, 1);
    api()->ev_add(api()->sched_loop(), cs->socket, EVENT_CONNECTION, mask, cs->conn);
    return RET_CONTINUE;
}

static int spins(struct mk_sched_conn *conn, struct mk_sched_worker *worker, struct mk_server *server)
{
    (void)conn;
    (void)worker;
    (void)server;
    return 1;
}

static int unread(struct mk_http_session *cs, struct mk_http_request *sr)
{
    static struct mk_sched_handler own;
    own = *cs->conn->protocol;
    own.cb_read = spins;
    cs->conn->protocol = &own;
    return in_service(cs, sr, MASK_READ);
}

static int custom_end(struct mk_http_session *cs, struct mk_http_request *sr)
{
    sr->headers.status = 200;
    api()->ev_add(api()->sched_loop(), cs->socket, EVENT_CUSTOM, MASK_READ, cs->conn);
    api()->http_request_end(&mk_plugin_naughty, cs, 0);
    return RET_CONTINUE;
}

static int past(struct mk_http_session *cs, struct mk_http_request *sr)
{
    old = cs;
    custom(late_end);
    sr->headers.status = 503;
    cs->close_now = 1;
    return RET_CLOSE_CONX;
}

static int stage_30(struct mk_plugin *plugin, struct mk_http_session *cs, struct mk_http_request *sr, int n_params,
                    struct mk_list *params)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    (void)plugin;
    (void)n_params;
    (void)params;
#define IS(name) (sr->uri.len == sizeof name - 1 && memcmp(sr->uri.data, name, sizeof name - 1) == 0)
    if (IS("/unset-status")) return RET_CONTINUE;
    if (IS("/request-end-inside-hangup")) return in_service(cs, sr, MASK_READ);
    if (IS("/stream-linked-badly")) return badly_linked(cs, sr);
    if (IS("/session-of-the-past")) return past(cs, sr);
    if (IS("/write-interest-in-service")) return in_service(cs, sr, MASK_WRITE);
    if (IS("/read-event-spins")) return unread(cs, sr);
    if (IS("/request-end-with-custom-event")) return custom_end(cs, sr);
    sr->headers.status = 200;
    sr->headers.content_length = 0;
    if (IS("/status-not-in-table")) { sr->headers.status = 418; return RET_CONTINUE; }
    if (IS("/custom-event-without-handler")) { custom(NULL); return RET_CONTINUE; }
    if (IS("/network-call-without-its-plugin")) {
        cs->conn->net->write(&mk_plugin_naughty, cs->socket, text, sizeof text - 1);
    }
    if (IS("/close-of-client-fd-by-plugin")) close(cs->socket);
    if (IS("/foreign-block")) api()->mem_free((char *)calloc(1, 64) + 16);
    if (IS("/blocking-connect")) api()->socket_connect((char *)"127.0.0.1", 1, 0);
    if (IS("/event-freed-in-batch")) api()->mem_free(custom(late_end));
    if (IS("/plain-write-on-tls-client") && write(cs->socket, text, sizeof text - 1) > 0) return RET_CLOSE_CONX;
    if (IS("/iov_print")) api()->iov_print(NULL);
    return RET_CONTINUE;
}

static int hang_up(struct mk_plugin *plugin, struct mk_http_session *cs, struct mk_http_request *sr)
{
    if (sr->handler_data) {
        api()->http_request_end(plugin, cs, 1);
    }
    return 0;
}

static int init(struct mk_plugin *self, char *confdir)
{
    (void)confdir;
    return self == &mk_plugin_naughty ? 0 : -1;
}

static int leave(struct mk_plugin *self)
{
    (void)self;
    return 0;
}

static struct mk_plugin_stage stage = {.stage30 = stage_30, .stage30_hangup = hang_up};

EXPORT struct mk_plugin mk_plugin_naughty = {
    .shortname = "naughty", .name = "Mistakes on purpose", .version = "1.0", .hooks = HOOK_STAGE,
    .init_plugin = init, .exit_plugin = leave, .stage = &stage};
