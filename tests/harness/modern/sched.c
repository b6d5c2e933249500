/* sched.c - connections of a worker: accepting, what their events do, closing order, time-outs. */
#include "modern.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static ino_t inode_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static struct mk_sched_conn *conn_of(struct conn_extra *x)
{
    return (struct mk_sched_conn *)(void *)((char *)x - session_size() - sizeof(struct mk_sched_conn));
}

void m_timeout_add(struct mk_sched_conn *conn)
{
    if (!conn->is_timeout_on) {
        list_add(&conn->timeout_head, &MW->sched->timeout_queue);
        conn->is_timeout_on = 1;
    }
}

void m_timeout_del(struct mk_sched_conn *conn)
{
    if (conn->is_timeout_on) {
        list_del(&conn->timeout_head);
        conn->is_timeout_on = 0;
    }
}

/* looked up when Stage 10 is over, and allocated by: what a plugin put there must still be HTTP/1 */
static struct mk_sched_handler *protocol_of(struct mk_server_listen *listener)
{
    struct mk_sched_handler *p = listener->protocol;
    if (p->sched_extra_size != m_http_handler.sched_extra_size || p->capabilities != CAP_HTTP
        || p->cb_close != m_http_handler.cb_close || p->cb_done != m_http_handler.cb_done || !p->cb_read) {
        violation("protocol-of-listener", "%s: connections to come would not be HTTP/1", p->name);
    }
    return p;
}

static struct mk_sched_conn *conn_create(int fd, struct mk_server_listen *listener, struct mk_sched_handler *protocol)
{
    struct mk_sched_conn *conn = mem_alloc_z(sizeof *conn + session_size() + sizeof(struct conn_extra));
    conn->event.fd = fd;
    conn->event.type = EVENT_CONNECTION;
    conn->event.mask = MASK_EMPTY;
    conn->event.status = STATUS_NONE;
    conn->arrive_time = clock_now();
    conn->protocol = protocol;
    conn->net = M.net;
    conn->server_listen = listener;
    conn->channel.type = 0;
    conn->channel.fd = fd;
    conn->channel.io = M.net;
    conn->channel.event = &conn->event;
    list_init(&conn->channel.streams);
    struct conn_extra *x = extra_of(conn);
    x->inode = inode_of(fd);
    x->gone = true; /* no session yet */
    list_add(&x->all, &MW->conns);
    fake_tls_begin18(conn);
    m_timeout_add(conn);
    return conn;
}

static struct mk_sched_conn *watched(struct mk_sched_conn *conn)
{
    if (m_ev_add(MW->sched->loop, conn->event.fd, EVENT_CONNECTION, MASK_READ, conn) != 0) {
        close(conn->event.fd);
        return NULL;
    }
    MW->sched->accepted_connections++;
    return conn;
}

struct mk_sched_conn *m_accept(struct mk_server_listen *listener)
{
    int fd = accept4(listener->server_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    FOREACH(it, &MW->conns) {
        struct mk_sched_conn *old = conn_of(ENTRY(it, struct conn_extra, all));
        if (old->event.fd == fd) {
            violation("close-of-client-fd-by-plugin", "accept gave fd %d, which is still a client", fd);
        }
    }
    if (m_stage10(fd) == RET_CLOSE_CONX) {
        close(fd);
        return NULL;
    }
    return watched(conn_create(fd, listener, protocol_of(listener)));
}

/* Without SO_REUSEPORT the main thread accepts, runs Stage 10 and fills the connection in. Here the worker
 * does the last, with the protocol that the main thread has found. */
void m_accept_for_workers(void)
{
    static int turn;
    struct pollfd ready = {.fd = M.shared_listener.server_fd, .events = POLLIN};
    if (poll(&ready, 1, 100) <= 0) {
        return;
    }
    int fd = accept4(M.shared_listener.server_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (m_stage10(fd) == RET_CLOSE_CONX) {
        close(fd);
        return;
    }
    struct accepted *accepted = malloc(sizeof *accepted);
    *accepted = (struct accepted){fd, protocol_of(&M.shared_listener)};
    uint64_t value = (uint64_t)(uintptr_t)accepted;
    (void)!write(M.workers[turn++ % M.server->workers].sched->signal_channel_w, &value, sizeof value);
}

struct mk_sched_conn *m_take_over(struct accepted *accepted)
{
    struct mk_sched_conn *conn = conn_create(accepted->fd, &M.shared_listener, accepted->protocol);
    free(accepted);
    return watched(conn);
}

/* event first, then Stage 50 with the fd open, then close; the memory stays until the end of the batch */
static void drop(struct mk_sched_conn *conn)
{
    struct conn_extra *x = extra_of(conn);
    int fd = conn->event.fd;
    if (conn->status == CONN_CLOSED) {
        violation("connection-closed-twice", "fd %d", fd);
    }
    m_ev_del(MW->sched->loop, &conn->event);
    m_stage50(fd);
    MW->sched->closed_connections++;
    m_timeout_del(conn);
    if (inode_of(fd) != x->inode) {
        violation("close-of-client-fd-by-plugin", "fd %d is no longer the client's socket", fd);
    }
    fake_tls_check18(conn);
    conn->net->close(M.variant == V_187 ? ((struct network_187 *)(void *)conn->net)->plugin : conn->net->plugin, fd);
    m_channel_clean(&conn->channel);
    list_del(&x->all);
    conn->event.type = EVENT_CONNECTION; /* whatever a plugin made of it: it is freed as ours */
    m_event_free(&conn->event);
    conn->status = CONN_CLOSED;
}

void m_sched_close(struct mk_sched_conn *conn, int type)
{
    m_ev_del(MW->sched->loop, &conn->event);
    if (type != CLOSED_DONE && conn->protocol->cb_close) {
        conn->protocol->cb_close(conn, MW->sched, type, M.server);
    }
    if (conn->status == CONN_CLOSED) {
        violation("request-end-inside-close", "fd %d was closed by its own close callback", conn->channel.fd);
    }
    drop(conn);
}

/* something that is worth a write? the placeholder of a request without an answer is not */
static bool pending_output(struct mk_channel *channel)
{
    FOREACH(it, &channel->streams) {
        struct mk_stream *stream = ENTRY(it, struct mk_stream, _head);
        if (!list_empty(&stream->inputs)
            && ENTRY(stream->inputs.next, struct mk_stream_input, _head)->bytes_total > 0) {
            return true;
        }
    }
    return false;
}

/* a plugin's own callback that leaves bytes in the socket is called again at once, and for ever */
static int foreign_read(struct mk_sched_conn *conn)
{
    struct conn_extra *x = extra_of(conn);
    int before = 0, after = 0, fd = conn->event.fd;
    ioctl(fd, FIONREAD, &before);
    int ret = conn->protocol->cb_read(conn, MW->sched, M.server);
    if (conn->status == CONN_CLOSED || ioctl(fd, FIONREAD, &after) != 0) {
        return ret;
    }
    x->unread = before == after && (conn->event.mask & MASK_READ) ? x->unread + 1 : 0;
    if (x->unread > 2000) {
        violation("read-event-spins", "fd %d: cb_read neither reads nor takes the interest away", fd);
    }
    return ret;
}

int m_sched_read(struct mk_sched_conn *conn)
{
    bool own = conn->protocol == &m_http_handler;
    int ret = own ? m_http_handler.cb_read(conn, MW->sched, M.server) : foreign_read(conn);
    if (ret == -1) {
        if (errno != EAGAIN) {
            return -1;
        }
        m_ev_add(MW->sched->loop, conn->event.fd, EVENT_CONNECTION, (uint32_t)m_net_interest(conn, MASK_READ), conn);
        return 1;
    }
    /* up to 1.8.7 nothing that a read has queued is ever flushed */
    return M.variant != V_187 && pending_output(&conn->channel) ? m_sched_write(conn) : ret;
}

int m_sched_write(struct mk_sched_conn *conn)
{
    size_t count;
    int ret = m_channel_write(&conn->channel, &count), fd = conn->event.fd;
    struct mk_event_loop *loop = MW->sched->loop;
    if (ret == CHANNEL_FLUSH || ret == CHANNEL_BUSY) {
        if (!(conn->event.mask & MASK_WRITE)) {
            m_ev_add(loop, fd, EVENT_CONNECTION, (uint32_t)m_net_interest(conn, MASK_WRITE), conn);
        }
        return 0;
    }
    if (ret == CHANNEL_DONE || ret == CHANNEL_EMPTY) {
        if (ret == CHANNEL_EMPTY && !extra_of(conn)->gone && request_of(session_of(conn))->handler_data) {
            violation("write-interest-in-service", "fd %d: WRITE with an empty channel: the core ends the request",
                      fd);
        }
        if (conn->protocol->cb_done) {
            ret = conn->protocol->cb_done(conn, MW->sched, M.server);
        }
        if (ret == 0) {
            m_ev_add(loop, fd, EVENT_CONNECTION, (uint32_t)m_net_interest(conn, MASK_READ), conn);
        }
        return ret == -1 ? -1 : 0;
    }
    return -1;
}

void m_sched_timeouts(void)
{
    FOREACH_SAFE(it, tmp, &MW->sched->timeout_queue) {
        struct mk_sched_conn *conn = ENTRY(it, struct mk_sched_conn, timeout_head);
        if ((conn->event.type & TYPE_IDLE) || conn->arrive_time + M.server->timeout > clock_now()) {
            continue;
        }
        if (conn->protocol->cb_close) {
            conn->protocol->cb_close(conn, MW->sched, CONN_TIMED_OUT, M.server);
        }
        drop(conn);
    }
}

/* once a second: a client descriptor that a plugin closed would else show only when its number comes back */
void m_sched_sweep(void)
{
    FOREACH(it, &MW->conns) {
        struct conn_extra *x = ENTRY(it, struct conn_extra, all);
        if (inode_of(conn_of(x)->channel.fd) != x->inode) {
            violation("close-of-client-fd-by-plugin", "fd %d is no longer the client's socket",
                      conn_of(x)->channel.fd);
        }
    }
}
