/* conn.c - clients of a worker and their sessions: registration, reading, closing order, time-outs. */
#include "harness.h"

#include <fcntl.h>
#include <sys/stat.h>

struct hconn *conn_get(int fd)
{
    return slot_of(fd)->conn;
}

struct hsession *session_get(int fd)
{
    return slot_of(fd)->session;
}

void conn_status_public(struct hconn *conn)
{
    if (H.variant == V_155) {
        conn->pub.v155.socket = conn->fd;
        conn->pub.v155.status = conn->status;
        conn->pub.v155.arrive_time = conn->arrive_time;
    } else {
        conn->pub.v156.socket = conn->fd;
        conn->pub.v156.status = conn->status;
        conn->pub.v156.arrive_time = conn->arrive_time;
    }
}

static ino_t inode_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

int conn_register(int fd, bool accepted)
{
    if (!accepted) {
        /* Only a stale event of a closed fd, or of a plugin's own fd that fell through, gets here. */
        violation(fcntl(fd, F_GETFD) < 0 ? "ghost-registration-of-closed-fd" : "ghost-registration-of-live-fd",
                  "fd %d has an event, no state and no client record: the core takes it for a new client", fd);
    }
    struct slot *slot = slot_of(fd);
    if (slot->conn) {
        violation("close-of-client-fd-by-plugin",
                  "accept gave fd %d, which is still registered as a client", fd);
    }
    if (slot->session && slot->session->pub.status == REQUEST_COMPLETED) {
        violation("stale-session-inherited",
                  "new client on fd %d would get the request of the one before it", fd);
    }
    struct hconn *conn = calloc(1, sizeof *conn);
    conn->fd = fd;
    conn->status = CONN_PENDING;
    conn->arrive_time = clock_now();
    conn->inode = inode_of(fd);
    conn_status_public(conn);
    if (H.variant == V_155) { /* it fills the record only after Stage 10 */
        conn->pub.v155.socket = -1;
        conn->pub.v155.status = CONN_AVAILABLE;
        conn->pub.v155.arrive_time = 0;
    }
    fake_tls_begin(conn);

    if (stage10(fd, conn) == RET_CLOSE_CONX) {
        poll_del(W->epoll_fd, fd);
        close(fd);
        free(conn);
        return -1;
    }
    conn_status_public(conn);
    slot_of(fd)->conn = conn;
    list_add(&conn->all, &W->conns);
    list_add(&conn->pending, &W->pending);
    W->clients++;
    return 0;
}

/* once a second: a client descriptor that a plugin closed would else show only when its number comes back */
void conn_sweep(void)
{
    FOREACH(it, &W->conns) {
        struct hconn *conn = ENTRY(it, struct hconn, all);
        if (inode_of(conn->fd) != conn->inode) {
            violation("close-of-client-fd-by-plugin", "fd %d is no longer the client's socket", conn->fd);
        }
    }
}

static void conn_set_processing(struct hconn *conn)
{
    if (conn->status == CONN_PENDING) {
        list_del(&conn->pending);
    }
    conn->status = CONN_PROCESS;
    conn_status_public(conn);
}

/* epoll and state first, then Stage 50 with the fd open, then the records, then close */
void conn_remove(int fd)
{
    struct hconn *conn = conn_get(fd);
    if (H.variant == V_155 || conn) {
        poll_del(W->epoll_fd, fd);
    }
    if (!conn) {
        return;
    }
    stage50(fd);
    W->node->closed_connections++;
    if (inode_of(fd) != conn->inode) {
        violation("close-of-client-fd-by-plugin", "fd %d is no longer the client's socket", fd);
    }
    fake_tls_check(conn);
    if (conn->status == CONN_PENDING) {
        list_del(&conn->pending);
    }
    list_del(&conn->all);
    slot_of(fd)->conn = NULL;
    W->clients--;
    memset(conn, 0x5A, sizeof *conn);
    free(conn);
    close(fd);
}

void conn_drop(int fd)
{
    if (H.variant != V_155) {
        session_remove(fd);
        if (!conn_get(fd)) {
            return;
        }
    }
    conn_remove(fd);
}

int conn_close(int fd)
{
    conn_drop(fd);
    dispatch_close(fd);
    return 0;
}

void incomplete_add(struct hsession *s)
{
    if (s->incomplete_listed) {
        violation("incomplete-listed-twice",
                  "fd %d: a 413 answer kept the connection (the real server crashes later; set close_now in Stage 40)",
                  s->pub.socket);
    }
    s->incomplete_listed = true;
    list_add(&s->pub.request_incomplete, &W->incomplete);
}

void incomplete_del(struct hsession *s)
{
    if (s->incomplete_listed) {
        s->incomplete_listed = false;
        list_del(&s->pub.request_incomplete);
    }
}

static struct hsession *session_create(int fd, struct hconn *conn)
{
    struct hsession *s = malloc(sizeof *s);
    if (!s) {
        return NULL;
    }
    memset(s, 0, offsetof(struct hsession, pub.body_fixed));
    memset(&s->pub.sr_fixed, 0x5A, sizeof *s - offsetof(struct hsession, pub.sr_fixed));
    s->s30_request = NULL;
    s->s30_calls = 0;
    s->incomplete_listed = false;
    struct client_session *cs = &s->pub;
    cs->socket = fd;
    cs->status = REQUEST_INCOMPLETE;
    cs->init_time = conn->arrive_time;
    cs->body = cs->body_fixed;
    cs->body_size = CHUNK;
    cs->body_pos_end = -1;
    cs->first_method = METHOD_UNKNOWN;
    list_init(&cs->request_list);
    list_add(&s->all, &W->sessions);
    incomplete_add(s);
    slot_of(fd)->session = s;
    return s;
}

void session_free(struct worker *w, struct hsession *s)
{
    struct client_session *cs = &s->pub;
    if (cs->body != cs->body_fixed) {
        mem_free(cs->body);
    }
    incomplete_del(s);
    request_free_list(cs);
    list_del(&s->all);
    w->slots[cs->socket].session = NULL;
    memset(s, 0x5A, sizeof *s);
    free(s);
}

void session_remove(int fd)
{
    struct hsession *s = session_get(fd);
    if (s) {
        session_free(W, s);
    }
}

/* One more chunk; the first growth leaves the bytes inside the session for the heap. */
static int body_grow(struct client_session *cs)
{
    unsigned int size = cs->body_size + CHUNK;
    if ((int)size > H.config.max_request_size - (H.variant == V_155)) { /* 1.5.5 also refuses "equal" */
        return -1;
    }
    if (cs->body == cs->body_fixed) {
        cs->body = mem_alloc(size + 1);
        memcpy(cs->body, cs->body_fixed, cs->body_length);
    } else {
        cs->body = mem_realloc(cs->body, size + 1);
    }
    cs->body_size = size;
    return 0;
}

static int session_read(struct client_session *cs)
{
    int fd = cs->socket;
    int total = 0;
again:
    if (cs->body_size == cs->body_length && body_grow(cs) < 0) {
        premature_close(413, cs);
        return -1;
    }
    /* one byte less in the fixed part, where the NUL behind the text has no place of its own */
    unsigned int space = cs->body_size - cs->body_length;
    int n = H.config.transport_layer_plugin->net_io.read(fd, cs->body + cs->body_length, (int)space);
    if (n < 0 && errno == EAGAIN) {
        return 1;
    }
    if (n <= 0) {
        session_remove(fd);
        return -1;
    }
    if ((unsigned int)n > space) {
        cs->body_length += space;
        total += (int)space;
        goto again;
    }
    cs->body_length += (unsigned int)n;
    if (cs->body == cs->body_fixed && cs->body_length == CHUNK) {
        /* the real server lets this NUL fall on the first byte of sr_fixed, which is unused now */
        *(char *)&cs->sr_fixed = 0;
    } else {
        cs->body[cs->body_length] = 0;
    }
    return total + n;
}

int conn_read(int fd)
{
    switch (dispatch_read(fd)) {
    case EVENT_OWNED:
        return 1;
    case EVENT_CLOSE:
        return -1;
    default:
        break; /* also "no state for this fd": the stale event goes on into the core */
    }
    struct hsession *s = session_get(fd);
    if (!s) {
        struct hconn *conn = conn_get(fd);
        if (!conn) {
            return conn_register(fd, false);
        }
        s = session_create(fd, conn);
        if (!s) {
            return -1;
        }
    }
    int ret = session_read(&s->pub);
    if (ret > 0) {
        if (http_pending(s) == 0) {
            poll_change_mode(W->epoll_fd, fd, MODE_WRITE, LEVEL_TRIGGERED);
        } else if ((int)s->pub.body_length + 1 >= H.config.max_request_size) {
            session_remove(fd);
            return -1;
        }
    }
    return ret;
}

int conn_write(int fd)
{
    switch (dispatch_write(fd)) {
    case EVENT_OWNED:
        return 1;
    case EVENT_CLOSE:
        return -1;
    default:
        break;
    }
    struct hconn *conn = conn_get(fd);
    if (!conn) {
        return conn_register(fd, false);
    }
    conn_set_processing(conn);
    struct hsession *s = session_get(fd);
    if (!s) {
        conn_remove(fd);
        return 0;
    }
    ssize_t ret = handle_write(&s->pub);
    if (ret < 0) {
        session_remove(fd);
        if (H.variant != V_155) {
            conn_remove(fd);
        }
        return -1;
    }
    return ret == 0 ? request_end(fd) : 0;
}

void conn_check_timeouts(void)
{
    time_t now = clock_now();
    FOREACH_SAFE(it, tmp, &W->pending) {
        struct hconn *conn = ENTRY(it, struct hconn, pending);
        if (conn->arrive_time + H.config.timeout <= now) {
            conn_drop(conn->fd);
        }
    }
    if (H.variant == V_155 && !list_empty(&W->incomplete)) {
        return; /* an inverted test: incomplete and idle clients never time out in 1.5.5 */
    }
    FOREACH_SAFE(jt, jtmp, &W->incomplete) {
        struct client_session *cs = ENTRY(jt, struct client_session, request_incomplete);
        int limit = cs->counter_connections ? H.config.keep_alive_timeout : H.config.timeout;
        if (cs->init_time + limit <= now) {
            conn_drop(cs->socket);
        }
    }
}
