/* naughty.c - one mistake per URI: each must end the test host with the violation of that name. */
#include "../host15.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT struct plugin_info _plugin_info = {"naughty", "Mistakes on purpose", "1.0", STAGE_30};

static struct plugin_api *api;
static __thread int owned = -1;

EXPORT int _mkp_init(struct plugin_api **given, char *confdir)
{
    (void)confdir;
    api = *given;
    return 0;
}

EXPORT int _mkp_exit(void) { return 0; }

static int rows(struct session_request *sr)
{
    static char row[] = "X-Row: 1";
    for (int i = 0; i < 18; i++) {
        api->header_add(sr, row, (int)sizeof row - 1);
    }
    return RET_NOT_ME;
}

static int status(struct client_session *cs, struct session_request *sr, int number)
{
    sr->headers.status = number;
    sr->headers.content_length = 0;
    api->header_send(cs->socket, cs, sr);
    return RET_END;
}

/* an fd that is registered without an owner: its event falls through to the core */
static int ghost(void)
{
    int fd = eventfd(1, EFD_CLOEXEC);
    api->event_add(fd, MODE_READ, NULL, LEVEL_TRIGGERED);
    return RET_NOT_ME;
}

static int unlogged(struct session_request *sr)
{
    sr->headers.sent = 1;
    sr->headers.status = 307;
    return RET_END;
}

static int read_in_service(int fd)
{
    api->event_socket_change_mode(fd, MODE_READ, LEVEL_TRIGGERED);
    return RET_CONTINUE;
}

static int close_client(int fd)
{
    close(fd);
    return RET_CLOSE_CONX;
}

static int own_and_leave(struct plugin *self, int fd)
{
    owned = fd;
    api->event_add(fd, MODE_READ, self, LEVEL_TRIGGERED);
    api->sched_remove_client(fd);
    return RET_CONTINUE;
}

static int free_foreign(void)
{
    free(api->str_dup("x"));
    return RET_NOT_ME;
}

static int write_plain(int fd)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    return write(fd, text, sizeof text - 1) > 0 ? RET_CLOSE_CONX : RET_NOT_ME;
}

EXPORT int _mkp_stage_30(struct plugin *self, struct client_session *cs, struct session_request *sr)
{
    int fd = cs->socket;
#define IS(name) (sr->uri.len == sizeof name - 1 && memcmp(sr->uri.data, name, sizeof name - 1) == 0)
    if (IS("/stage30-unknown-return")) return 42;
    if (IS("/end-without-sent")) return RET_END;
    if (IS("/status-not-in-table")) return status(cs, sr, 418);
    if (IS("/eighteenth-header-row")) return rows(sr);
    if (IS("/bytes-of-client-in-service")) return read_in_service(fd);
    if (IS("/ghost-registration-of-live-fd")) return ghost();
    if (IS("/sched_remove_client")) return own_and_leave(self, fd);
    if (IS("/close-of-client-fd-by-plugin")) return close_client(fd);
    if (IS("/stage30-busy-loop")) return RET_CONTINUE;
    if (IS("/logger-bad-status")) return unlogged(sr);
    if (IS("/foreign-block")) { api->mem_free((char *)calloc(1, 64) + 16); return RET_NOT_ME; }
    if (IS("/libc-free")) return free_foreign();
    if (IS("/blocking-connect")) { api->socket_connect((char *)"127.0.0.1", 1); return RET_NOT_ME; }
    if (IS("/plugin-wrote-to-fd-1-or-2")) return write(2, "oops\n", 5) > 0 ? RET_NOT_ME : RET_NOT_ME;
    if (IS("/plain-write-on-tls-client")) return write_plain(fd);
    if (IS("/iov_print")) { api->iov_print(NULL); return RET_NOT_ME; }
    return RET_NOT_ME;
}
