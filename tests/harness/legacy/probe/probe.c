/* probe.c - a well-behaved asynchronous plugin: /probe is answered from a private epoll set, not in Stage 30. */
#include "../host15.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
enum { MAX_FD = 65536, BATCH = 1024 };

EXPORT struct plugin_info _plugin_info = {"probe", "Probe of the test host", "1.0", STAGE_30 | STAGE_40 | STAGE_50};

static struct plugin_api *api;

/* one request in service; pending says that a wake-up for it is on its way */
struct service {
    struct client_session *cs;
    struct session_request *sr;
    char answer[256];
    int len, sent;
    bool ending, in_end;
};

static __thread struct service **by_fd; /* every client of this worker that is being served */
static __thread int queue[BATCH], queued;
static __thread int set = -1, wake = -1;

EXPORT int _mkp_init(struct plugin_api **given, char *confdir)
{
    api = *given;
    api->_error(LOG_INFO_TYPE, "probe: configuration in %s", confdir);
    return 0;
}

EXPORT int _mkp_exit(void) { return 0; }

/* the list link of struct plugin moved in 1.5.6, so the own record is learned in Stage 30 instead */
static void worker_start(struct plugin *self)
{
    struct epoll_event ev = {.events = EPOLLIN};
    by_fd = calloc(MAX_FD, sizeof *by_fd);
    set = epoll_create1(EPOLL_CLOEXEC);
    ev.data.fd = wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    epoll_ctl(set, EPOLL_CTL_ADD, wake, &ev);
    api->event_add(set, MODE_READ, self, LEVEL_TRIGGERED);
}

static struct service *service_of(int fd)
{
    return by_fd && fd >= 0 && fd < MAX_FD ? by_fd[fd] : NULL;
}

static void forget(int fd)
{
    free(by_fd[fd]);
    by_fd[fd] = NULL;
}

EXPORT int _mkp_stage_30(struct plugin *self, struct client_session *cs, struct session_request *sr)
{
    uint64_t one = 1;
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n";
    if (sr->uri.len != 6 || memcmp(sr->uri.data, "/probe", 6) != 0 || cs->socket >= MAX_FD || queued == BATCH) {
        return RET_NOT_ME;
    }
    if (set < 0) {
        worker_start(self);
    }
    bool close_it = sr->close_now || !sr->keep_alive
        || cs->counter_connections >= api->config->max_keep_alive_request;
    struct service *s = calloc(1, sizeof *s);
    s->cs = cs;
    s->sr = sr;
    s->len = snprintf(s->answer, sizeof s->answer, "%sConnection: %s\r\n\r\n%s", head,
                      close_it ? "close" : "keep-alive", sr->method == METHOD_HEAD ? "" : "probe\n");
    s->ending = close_it;
    sr->close_now = 1; /* for as long as it is in service, see _mkp_event_close */
    by_fd[cs->socket] = s;
    queue[queued++] = cs->socket;
    api->event_socket_change_mode(cs->socket, MODE_SLEEP, LEVEL_TRIGGERED);
    if (write(wake, &one, sizeof one) < 0) {
        return RET_NOT_ME;
    }
    return RET_CONTINUE;
}

static void end(int fd, struct service *s)
{
    struct session_request *sr = s->sr;
    sr->headers.status = 200;
    sr->headers.content_length = 6;
    sr->headers.sent = 1;
    sr->close_now = s->ending;
    forget(fd);
    api->http_request_end(fd);
}

/* true when all bytes are out */
static bool push(int fd, struct service *s)
{
    while (s->sent < s->len) {
        int n = api->socket_send(fd, s->answer + s->sent, (size_t)(s->len - s->sent));
        if (n <= 0 && errno != EAGAIN) {
            s->ending = true;
            return true;
        }
        if (n <= 0) {
            return false;
        }
        s->sent += n;
    }
    return true;
}

EXPORT int _mkp_event_read(int fd)
{
    uint64_t count;
    struct epoll_event ev[4];
    if (fd != set || set < 0) {
        return service_of(fd) ? EVENT_OWNED : EVENT_NEXT;
    }
    if (epoll_wait(set, ev, 4, 0) > 0 && read(wake, &count, sizeof count) < 0) {
        return EVENT_OWNED;
    }
    for (int i = 0; i < queued; i++) {
        struct service *s = service_of(queue[i]);
        if (!s) {
            continue; /* gone meanwhile */
        }
        if (push(queue[i], s) && !s->ending) {
            end(queue[i], s);
        } else {
            /* a close must happen inside the client's own event, so that nothing stale is left in the batch */
            api->event_socket_change_mode(queue[i], MODE_WRITE, LEVEL_TRIGGERED);
        }
    }
    queued = 0;
    return EVENT_OWNED;
}

EXPORT int _mkp_event_write(int fd)
{
    struct service *s = service_of(fd);
    if (!s) {
        return EVENT_NEXT;
    }
    if (push(fd, s)) {
        end(fd, s);
    }
    return EVENT_OWNED;
}

/* 1.5.6 has freed the session before Stage 50; 1.5.5 has not, there event_close must end the request */
EXPORT int _mkp_event_close(int fd)
{
    if (service_of(fd)) {
        forget(fd);
        api->http_request_end(fd);
    }
    return EVENT_NEXT;
}

EXPORT int _mkp_stage_40(struct client_session *cs, struct session_request *sr)
{
    if (sr->headers.status == 413 && cs->status == REQUEST_INCOMPLETE) {
        sr->close_now = 1; /* a 413 that keeps the connection crashes the real server later */
    }
    return 0;
}

EXPORT int _mkp_stage_50(int fd)
{
    (void)fd;
    return RET_NOT_ME;
}
