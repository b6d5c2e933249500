/* service.c - a complete request: parse, vhost and method checks, stages, and the two ways to its end. */
#include "harness.h"

void request_init(struct session_request *sr)
{
    sr->status = 1;
    sr->method = METHOD_UNKNOWN;
    sr->file_info.size = -1;
    sr->fd_file = -1;
    header_reset(&sr->headers);
}

static void request_free(struct session_request *sr)
{
    if (sr->fd_file > 0) {
        close(sr->fd_file);
    }
    mem_free(sr->headers.location);
    iov_free(sr->headers._extra_rows);
    if (sr->uri_processed.data != sr->uri.data) {
        mem_free(sr->uri_processed.data);
    }
    char *path = mid(sr)->real_path.data;
    if (path != mid(sr)->real_path_static) {
        mem_free(path);
    }
}

/* every freed request is overwritten, the one inside the session too, so that late readers notice */
void request_free_list(struct client_session *cs)
{
    FOREACH_SAFE(it, tmp, &cs->request_list) {
        struct session_request *sr = ENTRY(it, struct session_request, _head);
        list_del(it);
        request_free(sr);
        memset(sr, 0x5A, sizeof *sr);
        if (sr != &cs->sr_fixed) {
            mem_free(sr);
        }
    }
    struct hsession *s = (struct hsession *)(void *)cs;
    s->s30_request = NULL;
    s->s30_calls = 0;
}

static ssize_t refuse(int status, struct client_session *cs, struct session_request *sr, ssize_t ret)
{
    request_error(status, cs, sr);
    return ret;
}

static ssize_t process(struct client_session *cs, struct session_request *sr)
{
    sr->host_conf = ENTRY(H.config.hosts.next, struct host, _head);
    if (http_parse(sr) < 0) {
        return refuse(400, cs, sr, EXIT_ABORT_);
    }
    sr->user_home = 0;
    if (sr->uri_processed.data[0] != '/') {
        return refuse(400, cs, sr, EXIT_NORMAL_);
    }
    if (!mid(sr)->host.data && sr->protocol == PROTOCOL_11) {
        return refuse(400, cs, sr, EXIT_NORMAL_);
    }
    if (sr->protocol == PROTOCOL_UNKNOWN) {
        return refuse(505, cs, sr, EXIT_ABORT_);
    }
    sr->host_alias = ENTRY(sr->host_conf->server_names.next, struct host_alias, _head);
    if (sr->method == METHOD_POST || sr->method == METHOD_PUT) {
        int ret = http_body_check(cs, sr);
        if (ret != 0) {
            return ret;
        }
    }
    if (stage20(cs, sr) == RET_CLOSE_CONX) {
        return EXIT_ABORT_;
    }
    return serve(cs, sr);
}

/* < 0: drop, 0: all requests of the buffer are done, > 0: not finished */
ssize_t handle_write(struct client_session *cs)
{
    if (list_empty(&cs->request_list) && http_cut(cs) != 0) {
        return -1;
    }
    FOREACH(it, &cs->request_list) {
        struct session_request *sr = ENTRY(it, struct session_request, _head);
        ssize_t ret = sr->bytes_to_send > 0 ? send_file(cs, sr) : process(cs, sr);
        if (ret > 0) {
            return ret;
        }
        stage40(cs, sr);
        if (ret == EXIT_ABORT_ || sr->close_now) {
            return -1;
        }
    }
    return 0;
}

/* the LAST request of the list decides, even when it was never parsed */
int keepalive_check(struct client_session *cs)
{
    if (list_empty(&cs->request_list)) {
        return -1;
    }
    struct session_request *sr = ENTRY(cs->request_list.prev, struct session_request, _head);
    bool old = sr->protocol < PROTOCOL_11;
    if (!H.config.keep_alive || !sr->keep_alive || sr->close_now
        || (old && (mid(sr)->connection.len == 0 || sr->headers.content_length < 0))
        || cs->counter_connections >= H.config.max_keep_alive_request) {
        return -1;
    }
    return 0;
}

int request_end(int fd)
{
    struct hsession *s = session_get(fd);
    if (!s) {
        return -1;
    }
    struct client_session *cs = &s->pub;
    bool keep = keepalive_check(cs) == 0;
    request_free_list(cs);
    if (!keep) {
        session_remove(fd);
        return -1;
    }
    cs->first_method = METHOD_UNKNOWN;
    cs->body_pos_end = -1;
    cs->body_length = 0;
    cs->counter_connections++;
    cs->init_time = clock_now();
    cs->status = REQUEST_INCOMPLETE;
    incomplete_add(s);
    poll_change_mode(W->epoll_fd, fd, MODE_READ, LEVEL_TRIGGERED);
    return 0;
}

/* the api's http_request_end: Stage 40, then the end; a closing end runs the whole close inside */
int plugin_request_end(int fd)
{
    if (!W) {
        violation("http_request_end-outside-worker", "fd %d", fd);
    }
    struct hsession *s = session_get(fd);
    if (!s) {
        return -1;
    }
    if (list_empty(&s->pub.request_list)) {
        host_error(LOG_ERR_TYPE, "[FD %i] Tried to end non-existing request.", fd);
        return -1;
    }
    stage40(&s->pub, ENTRY(s->pub.request_list.prev, struct session_request, _head));
    if (request_end(fd) < 0) {
        conn_close(fd);
        return -1;
    }
    return 0;
}

/* the buffer is full: page, Stage 40 and a first Stage 50; the close that follows runs a second one */
void premature_close(int status, struct client_session *cs)
{
    struct session_request *sr;
    int fd = cs->socket;
    if (list_empty(&cs->request_list)) {
        sr = &cs->sr_fixed;
        memset(sr, 0, sizeof *sr);
        request_init(sr);
        list_add(&sr->_head, &cs->request_list);
    } else {
        sr = ENTRY(cs->request_list.next, struct session_request, _head);
    }
    if (!sr->host_conf) {
        sr->host_conf = ENTRY(H.config.hosts.next, struct host, _head);
    }
    request_error(status, cs, sr);
    stage40(cs, sr);
    stage50(fd);
    session_remove(fd);
}
