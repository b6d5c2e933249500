/* http.c - sessions and requests: reading, the parser's verdict, the stages before service, and the ways to the end. */
#include "modern.h"

static struct mk_http_request *first_request(struct mk_http_session *cs)
{
    return ENTRY(cs->request_list.next, struct mk_http_request, _head);
}

/* a head that was made after the end of its request; the real server forgets it, which costs it nothing */
static void forget_head(struct mk_http_request *sr)
{
    if (sr->headers.headers_iov.io == sr->headers._iov_io) {
        m_iov_free_marked(&sr->headers.headers_iov);
    }
}

/* The request inside the session is used again and again: what is not named here keeps its old value, so
 * data, query_string and stage30_handler may be those of the request before. */
static void request_init(struct mk_http_session *cs, struct mk_http_request *sr)
{
    forget_head(sr);
    sr->port = 0;
    sr->status = 1;
    sr->uri = sr->uri_processed = sr->host = (mk_ptr_t){NULL, 0};
    sr->method = METHOD_UNKNOWN;
    sr->protocol = PROTOCOL_UNKNOWN;
    sr->connection.len = (unsigned long)-1;
    sr->file_fd = -1;
    sr->file_info.size = -1;
    sr->vhost_fdt_id = sr->vhost_fdt_enabled = 0;
    sr->vhost_fdt_hash = 0;
    sr->stage30_blocked = 0;
    sr->session = cs;
    sr->host_conf = ENTRY(M.server->hosts.next, struct mk_vhost, _head);
    sr->real_path.data = NULL;
    sr->handler_data = NULL;
    sr->in_file.fd = -1;
    m_header_reset(&sr->headers);
    m_stream_set(&sr->stream, cs->channel);
    sr->in_headers.type = STREAM_IOV;
    sr->in_headers.dynamic = 0;
    sr->in_headers.cb_consumed = NULL;
    sr->in_headers.cb_finished = NULL;
    sr->in_headers.buffer = NULL;
    sr->in_headers.bytes_total = 0;
    sr->in_headers.stream = &sr->stream;
    list_add(&sr->in_headers._head, &sr->stream.inputs);
}

static void request_free(struct mk_http_request *sr)
{
    if (sr->file_fd > 0) {
        close(sr->file_fd);
        sr->file_fd = -1;
    }
    mem_free(sr->headers.location);
    if (sr->uri_processed.data != sr->uri.data) {
        mem_free(sr->uri_processed.data);
    }
    if (sr->real_path.data != sr->real_path_static) {
        mem_free(sr->real_path.data);
    }
    sr->headers.location = NULL;
    sr->uri_processed = sr->uri;
    sr->real_path.data = sr->real_path_static;
    if (sr->stream.channel) {
        m_stream_release(&sr->stream);
    }
}

static void requests_free(struct mk_http_session *cs)
{
    FOREACH_SAFE(it, tmp, &cs->request_list) {
        list_del(it);
        request_free(ENTRY(it, struct mk_http_request, _head));
    }
}

static void session_init(struct mk_sched_conn *conn, struct mk_http_session *cs)
{
    cs->_sched_init = 1;
    cs->pipelined = cs->counter_connections = cs->close_now = 0;
    cs->socket = conn->event.fd;
    cs->status = REQUEST_INCOMPLETE;
    *server_of(cs) = M.server;
    cs->channel = &conn->channel;
    cs->conn = conn;
    cs->init_time = conn->arrive_time;
    if (m_net_buffer_size() > CHUNK) {
        cs->body_size = (unsigned int)m_net_buffer_size();
        cs->body = mem_alloc(cs->body_size + 1);
    } else {
        cs->body_size = CHUNK;
        cs->body = cs->body_fixed;
    }
    cs->body_length = 0;
    list_init(&cs->request_list);
    m_parser_init(parser_of(cs));
    struct conn_extra *x = extra_of(conn);
    x->gone = x->poison_late = false;
}

/* the block lives until the end of the batch, but nobody may look at the request any more */
void m_session_poison(struct mk_http_session *cs)
{
    struct mk_http_request *sr = request_of(cs);
    forget_head(sr);
    memset(cs->body_fixed, 0x5A, CHUNK);
    memset(sr, 0x5A, sizeof *sr);
    sr->stage30_handler = NULL;
    sr->data = sr->query_string = (mk_ptr_t){NULL, 0};
    sr->stream.channel = NULL;
    sr->uri = sr->uri_processed = (mk_ptr_t){NULL, 0};
    sr->real_path.data = sr->real_path_static;
    sr->headers.location = NULL;
    sr->file_fd = -1;
}

static void hang_up(struct mk_http_session *cs)
{
    FOREACH_SAFE(it, tmp, &cs->request_list) {
        struct mk_http_request *sr = ENTRY(it, struct mk_http_request, _head);
        struct mk_plugin *p = sr->stage30_handler;
        if (!p) {
            continue;
        }
        if (!p->stage->stage30_hangup) {
            host_error(LOG_WARN_TYPE, "Plugin %s, do not implement stage30_hangup", p->name);
            continue;
        }
        extra_of(cs->conn)->in_hangup++;
        p->stage->stage30_hangup(p, cs, sr);
        extra_of(cs->conn)->in_hangup--;
    }
}

void m_session_remove(struct mk_http_session *cs)
{
    if (!cs->_sched_init) {
        return;
    }
    struct conn_extra *x = extra_of(cs->conn);
    hang_up(cs);
    if (cs->body != cs->body_fixed) {
        mem_free(cs->body);
    }
    requests_free(cs);
    list_del(&cs->request_list);
    cs->_sched_init = 0;
    x->gone = true;
    if (x->in_stage30) {
        x->poison_late = true;
    } else {
        m_session_poison(cs);
    }
}

/* ---- the end of a request ---- */
static void await_next(struct mk_http_session *cs)
{
    requests_free(cs);
    memset(cs->body, 0x5A, cs->body_length); /* slices of the old request must not be read any more */
    cs->body_length = 0;
    cs->counter_connections++;
    cs->init_time = clock_now();
    cs->status = REQUEST_INCOMPLETE;
    m_parser_init(parser_of(cs));
    m_timeout_add(cs->conn);
}

static int prepare(struct mk_http_session *cs, struct mk_http_request *sr);

/* Another request is in the buffer: parsed and begun inside this call. 1: begun, 0: incomplete, -1: see close_now. */
static int pipelined(struct mk_http_session *cs, bool *decided)
{
    struct mk_http_parser *p = parser_of(cs);
    int len = (int)cs->body_length - p->i - 1;
    *decided = true;
    cs->counter_connections++;
    memmove(cs->body, cs->body + p->i + 1, (size_t)len);
    cs->body_length = (unsigned int)len;
    if (list_empty(&cs->request_list)) {
        cs->close_now = 1;
        *decided = false;
        return -1;
    }
    struct mk_http_request *sr = request_of(cs);
    request_free(sr);
    request_init(cs, sr);
    m_parser_init(p);
    switch (m_parse(sr, p, cs->body, len)) {
    case PARSED:
        return prepare(cs, sr) == EXIT_ABORT_ ? -1 : 1;
    case PARSE_PENDING:
        return 0;
    default:
        cs->close_now = 1;
        *decided = false;
        return -1;
    }
}

/* 0: kept and waiting, 1: the next one was begun, -1: to be closed */
int m_request_end(struct mk_http_session *cs)
{
    struct mk_http_parser *p = parser_of(cs);
    if (M.server->max_keep_alive_request <= cs->counter_connections) {
        cs->close_now = 1;
    } else if ((int)cs->body_length > 0 && p->i >= 0 && p->i + 1 < (int)cs->body_length) {
        bool decided;
        int ret = pipelined(cs, &decided);
        if (decided) {
            return ret;
        }
    }
    if (cs->close_now) {
        m_session_remove(cs);
        return -1;
    }
    await_next(cs);
    return 0;
}

static bool is_live(struct mk_http_session *cs)
{
    FOREACH(it, &MW->conns) {
        struct conn_extra *x = ENTRY(it, struct conn_extra, all);
        if ((char *)cs + session_size() == (char *)x) {
            return !x->gone;
        }
    }
    return false;
}

static void check_session(const char *call, struct mk_http_session *cs)
{
    if (!MW) {
        violation("api-outside-worker", "%s", call);
    }
    if (!is_live(cs)) {
        violation("session-of-the-past", "%s(%p): this worker has no such session any more", call, (void *)cs);
    }
    if (extra_of(cs->conn)->in_hangup) {
        violation("request-end-inside-hangup", "%s: fd %d is just being removed (the server recurses for ever)",
                  call, cs->socket);
    }
}

int m_plugin_request_end(struct mk_plugin *plugin, struct mk_http_session *cs, int close)
{
    check_session("http_request_end", cs);
    if (!plugin || plugin->server_ctx != M.server) {
        violation("request-end-without-plugin", "%p is not a registered plugin", (void *)plugin);
    }
    if (cs->conn->event.type != EVENT_CONNECTION) {
        violation("request-end-with-custom-event", "fd %d: give the event its type back before", cs->socket);
    }
    cs->status = REQUEST_INCOMPLETE;
    if (list_empty(&cs->request_list)) {
        return -1;
    }
    m_stage40(cs, ENTRY(cs->request_list.prev, struct mk_http_request, _head));
    if (close == 1) {
        cs->close_now = 1;
    }
    int ret = m_request_end(cs);
    if (ret < 0) {
        m_sched_close(cs->conn, CLOSED_DONE);
        return -1;
    }
    return ret;
}

/* the page AND the end of the request */
int m_plugin_request_error(int status, struct mk_http_session *cs, struct mk_http_request *sr, struct mk_plugin *p)
{
    (void)p;
    check_session("http_request_error", cs);
    return m_error(status, cs, sr);
}

/* ---- from the buffer to Stage 30 ---- */
static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                                                                         : -1;
}

/* NULL when there is nothing to decode, or one escape is wrong */
static char *decoded(mk_ptr_t uri)
{
    if (!uri.len || !memchr(uri.data, '%', uri.len)) {
        return NULL;
    }
    char *text = mem_alloc_z(uri.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < uri.len; i++) {
        if (uri.data[i] != '%' || i + 2 >= uri.len) {
            text[n++] = uri.data[i];
            continue;
        }
        int high = hex(uri.data[i + 1]), low = hex(uri.data[i + 2]);
        if (high < 0 || low < 0) {
            mem_free(text);
            return NULL;
        }
        text[n++] = (char)(high * 16 + low);
        i += 2;
    }
    return text;
}

static bool point(mk_ptr_t *to, struct mk_http_parser *p, int index)
{
    bool there = p->headers[index].type == index;
    *to = there ? p->headers[index].val : (mk_ptr_t){NULL, (unsigned long)-1};
    return there;
}

static void keepalive_decide(struct mk_http_session *cs, struct mk_http_request *sr)
{
    int link = parser_of(cs)->header_connection;
    if (!M.server->keep_alive) {
        return; /* as in the real one: nothing asks for a close then */
    }
    cs->close_now = sr->protocol == PROTOCOL_10;
    if (sr->connection.data && link == LINK_CLOSE) {
        cs->close_now = 1;
    }
    if (cs->counter_connections >= M.server->max_keep_alive_request) {
        cs->close_now = 1;
    }
}

static void choose_host(struct mk_http_request *sr)
{
    FOREACH(it, &M.server->hosts) {
        struct mk_vhost *host = ENTRY(it, struct mk_vhost, _head);
        FOREACH(jt, &host->server_names) {
            struct mk_vhost_alias *alias = ENTRY(jt, struct mk_vhost_alias, _head);
            if (alias->len == sr->host.len && strncmp(alias->name, sr->host.data, sr->host.len) == 0) {
                sr->host_conf = host;
                sr->host_alias = alias;
                return;
            }
        }
    }
}

static int prepare(struct mk_http_session *cs, struct mk_http_request *sr)
{
    struct mk_http_parser *p = parser_of(cs);
    char *text = decoded(sr->uri);
    sr->uri_processed = text ? (mk_ptr_t){text, strlen(text)} : sr->uri;
    sr->host_conf = ENTRY(M.server->hosts.next, struct mk_vhost, _head);
    sr->user_home = 0;
    if (sr->uri_processed.data[0] != '/') {
        return m_error(400, cs, sr);
    }
    point(&sr->host, p, HEADER_HOST);
    point(&sr->connection, p, HEADER_CONNECTION);
    point(&sr->range, p, HEADER_RANGE);
    point(&sr->if_modified_since, p, HEADER_IF_MODIFIED_SINCE);
    if (!sr->host.data && sr->protocol == PROTOCOL_11) {
        return m_error(400, cs, sr);
    }
    keepalive_decide(cs, sr);
    mk_ptr_t length;
    if (point(&length, p, HEADER_CONTENT_LENGTH)) {
        sr->_content_length = length;
    } else {
        sr->_content_length.data = NULL;
    }
    sr->host_alias = ENTRY(sr->host_conf->server_names.next, struct mk_vhost_alias, _head);
    if (sr->host.data) {
        if (p->header_host_port > 0) {
            sr->port = p->header_host_port;
        }
        choose_host(sr);
    }
    if (m_stage20(cs, sr) == RET_CLOSE_CONX) {
        return EXIT_ABORT_;
    }
    return m_serve(cs, sr);
}

/* ---- reading ---- */

/* the buffer is full: page, Stage 40 and a first Stage 50; the close that follows runs a second one */
static void too_large(struct mk_http_session *cs)
{
    struct mk_http_request *sr = request_of(cs);
    struct conn_extra *x = extra_of(cs->conn);
    if (list_empty(&cs->request_list)) {
        memset(sr, 0, sizeof *sr);
        request_init(cs, sr);
        list_add(&sr->_head, &cs->request_list);
    } else {
        sr = first_request(cs);
    }
    x->in_stage30++; /* Stage 40 comes after the session's end here, and sees what is left of the request */
    m_error(413, cs, sr);
    m_stage40(cs, sr);
    m_stage50(cs->socket);
    m_session_remove(cs);
    x->in_stage30--;
    if (x->poison_late) {
        m_session_poison(cs);
    }
}

static int session_read(struct mk_sched_conn *conn, struct mk_http_session *cs)
{
    int total = 0;
again:
    if (cs->body_size <= cs->body_length) {
        unsigned int size = cs->body_size + (unsigned int)m_net_buffer_size();
        if ((int)size > M.server->max_request_size) {
            too_large(cs);
            return -1;
        }
        if (cs->body == cs->body_fixed) {
            cs->body = mem_alloc(size + 1);
            memcpy(cs->body, cs->body_fixed, cs->body_length);
        } else {
            cs->body = mem_realloc(cs->body, size + 1);
        }
        cs->body_size = size;
    }
    int space = (int)(cs->body_size - cs->body_length);
    int n = conn->net->read(M.variant == V_187 ? ((struct network_187 *)(void *)conn->net)->plugin
                                               : conn->net->plugin,
                            conn->event.fd, cs->body + cs->body_length, space);
    if (n == 0) {
        errno = 0;
    }
    if (n <= 0) {
        return -1;
    }
    if (n > space) {
        cs->body_length += (unsigned int)space;
        total += space;
        goto again;
    }
    cs->body_length += (unsigned int)n;
    if (cs->body_length < CHUNK || cs->body != cs->body_fixed || M.variant != V_187) {
        cs->body[cs->body_length] = 0;
    }
    return total + n;
}

static int http_read(struct mk_sched_conn *conn, struct mk_sched_worker *worker, struct mk_server *server)
{
    struct mk_http_session *cs = session_of(conn);
    size_t count;
    (void)worker;
    (void)server;
    if (!cs->_sched_init) {
        session_init(conn, cs);
    }
    int ret = session_read(conn, cs);
    if (ret <= 0) {
        return ret;
    }
    struct mk_http_request *sr;
    if (list_empty(&cs->request_list)) {
        sr = request_of(cs);
        list_add(&sr->_head, &cs->request_list);
        request_init(cs, sr);
    } else {
        sr = first_request(cs);
    }
    switch (m_parse(sr, parser_of(cs), cs->body, (int)cs->body_length)) {
    case PARSED:
        if (cs->status == REQUEST_COMPLETED) { /* more bytes of the client while a request is in service */
            m_session_remove(cs);
            return -1;
        }
        cs->status = REQUEST_COMPLETED;
        m_timeout_del(conn);
        return prepare(cs, sr);
    case PARSE_PENDING:
        return ret;
    default:
        if (!list_empty(&conn->channel.streams)) {
            m_channel_write(&conn->channel, &count);
        }
        m_session_remove(cs);
        return -1;
    }
}

static int http_close(struct mk_sched_conn *conn, struct mk_sched_worker *worker, int type, struct mk_server *server)
{
    (void)worker;
    (void)type;
    (void)server;
    m_session_remove(session_of(conn));
    return 0;
}

static int http_done(struct mk_sched_conn *conn, struct mk_sched_worker *worker, struct mk_server *server)
{
    struct mk_http_session *cs = session_of(conn);
    (void)worker;
    (void)server;
    if (!list_empty(&cs->request_list)) {
        m_stage40(cs, request_of(cs));
    }
    return m_request_end(cs);
}

struct mk_sched_handler m_http_handler = {
    .name = "http", .cb_read = http_read, .cb_close = http_close, .cb_done = http_done,
    .sched_extra_size = sizeof(struct mk_http_session), .capabilities = CAP_HTTP};
