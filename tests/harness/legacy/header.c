/* header.c - the response head: status table, rows added by plugins, one attempt to write it. */
#include "harness.h"

#include <sys/uio.h>

static const struct { int status; const char *reason; } TABLE[] = {
    {100, "Continue"}, {101, "Switching Protocols"}, {200, "OK"}, {201, "Created"}, {202, "Accepted"},
    {203, "Non-Authoritative Information"}, {204, "No Content"}, {205, "Reset"}, {206, "Partial Content"},
    {300, "Multiple Choices"}, {301, "Moved Permanently"}, {302, "Found"}, {303, "See Other"},
    {304, "Not Modified"}, {305, "Use Proxy"}, {400, "Bad Request"}, {401, "Unauthorized"},
    {402, "Payment Required"}, {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"},
    {406, "Not Acceptable"}, {407, "Proxy Authentication Required"}, {408, "Request Timeout"},
    {409, "Conflict"}, {410, "Gone"}, {411, "Length Required"}, {412, "Precondition Failed"},
    {413, "Request Entity Too Large"}, {414, "Request-URI Too Long"}, {415, "Unsupported Media Type"},
    {416, "Requested Range Not Satisfiable"}, {500, "Internal Server Error"}, {501, "Not Implemented"},
    {502, "Bad Gateway"}, {503, "Service Unavailable"}, {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"}};

static const char *reason_of(int status)
{
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++) {
        if (TABLE[i].status == status) {
            return TABLE[i].reason;
        }
    }
    violation("status-not-in-table", "headers.status is %d", status);
}

bool status_is_loggable(int status)
{
    return status >= 400 || status == 100 || status == 101 || (status >= 200 && status <= 206)
        || (status >= 300 && status <= 305);
}

void header_reset(struct response_headers *h)
{
    memset(h, 0, sizeof *h);
    h->ranges[0] = h->ranges[1] = -1;
    h->content_length = -1;
    h->transfer_encoding = -1;
    h->last_modified = -1;
}

void header_set_status(struct session_request *sr, int status)
{
    sr->headers.status = status;
}

struct mk_iov *iov_create(int n, int offset)
{
    struct mk_iov *iov = mem_alloc_z(sizeof *iov);
    iov->io = mem_alloc_z((size_t)n * sizeof *iov->io);
    iov->buf_to_free = mem_alloc_z((size_t)n * sizeof *iov->buf_to_free);
    iov->size = n;
    iov->iov_idx = offset;
    return iov;
}

int iov_add(struct mk_iov *iov, void *data, int len, mk_ptr_t sep, int owned)
{
    if (iov->iov_idx + 2 > iov->size) {
        violation("iov-overflow", "more than %d entries", iov->size);
    }
    iov->io[iov->iov_idx++] = (struct iovec){data, (size_t)len};
    iov->total_len += (unsigned long)len;
    if (sep.len) {
        iov->io[iov->iov_idx++] = (struct iovec){sep.data, sep.len};
        iov->total_len += sep.len;
    }
    if (owned) {
        iov->buf_to_free[iov->buf_idx++] = data;
    }
    return iov->iov_idx;
}

void iov_free(struct mk_iov *iov)
{
    if (!iov) {
        return;
    }
    for (int i = 0; i < iov->buf_idx; i++) {
        mem_free(iov->buf_to_free[i]);
    }
    mem_free(iov->io);
    mem_free(iov->buf_to_free);
    mem_free(iov);
}

/* the row's text is referenced until header_send, and the eighteenth row ends the server */
int header_add(struct session_request *sr, char *row, int len)
{
    if (!sr->headers._extra_rows) {
        sr->headers._extra_rows = iov_create(EXTRA_ROWS * 2, 0);
    }
    struct mk_iov *rows = sr->headers._extra_rows;
    if (rows->iov_idx / 2 >= EXTRA_ROWS - 1) {
        violation("eighteenth-header-row", "header_add: %.*s", len, row);
    }
    iov_add(rows, row, len, (mk_ptr_t){(char *)"\r\n", 2}, 0);
    return 0;
}

struct text { char buf[4096]; size_t len; };

static void put(struct text *t, const char *data, size_t len)
{
    if (t->len + len > sizeof t->buf) {
        len = sizeof t->buf - t->len;
    }
    memcpy(t->buf + t->len, data, len);
    t->len += len;
}

#define PUTF(t, ...) \
    do { \
        char line_[512]; \
        int n_ = snprintf(line_, sizeof line_, __VA_ARGS__); \
        put(t, line_, n_ < (int)sizeof line_ ? (size_t)n_ : sizeof line_ - 1); \
    } while (0)

static void put_connection(struct text *t, struct client_session *cs, struct session_request *sr)
{
    if (sr->headers.connection != 0) {
        return;
    }
    if (keepalive_check(cs) != 0) {
        PUTF(t, "Connection: Close\r\n");
    } else if (mid(sr)->connection.len > 0) {
        PUTF(t, "Keep-Alive: timeout=%i, max=%i\r\nConnection: Keep-Alive\r\n", H.config.keep_alive_timeout,
             H.config.max_keep_alive_request - cs->counter_connections);
    }
}

static void put_range(struct text *t, const struct response_headers *h)
{
    if (h->content_length == 0 || (h->ranges[0] < 0 && h->ranges[1] < 0) || !H.config.resume) {
        return;
    }
    long first = h->ranges[0], last = h->ranges[1], size = h->real_length;
    if (first < 0) {
        first = size - last;
        last = size - 1;
    } else if (last < 0) {
        last = size - 1;
    }
    PUTF(t, "Content-Range: bytes %ld-%ld/%ld\r\n", first, last, size);
}

int header_send(int fd, struct client_session *cs, struct session_request *sr)
{
    struct response_headers *h = &sr->headers;
    struct text t = {.len = 0};
    char date[64];
    if (h->status == CUSTOM_STATUS) {
        put(&t, h->custom_status.data, h->custom_status.len);
    } else {
        PUTF(&t, "HTTP/1.1 %d %s\r\n", h->status, reason_of(h->status));
    }
    put(&t, sr->host_conf->header_host_signature.data, sr->host_conf->header_host_signature.len);
    PUTF(&t, "\r\nDate: %s", clock_http());
    if (h->last_modified > 0 && gmt_format(date, sizeof date, h->last_modified) > 0) {
        PUTF(&t, "Last-Modified: %s", date);
    }
    put_connection(&t, cs, sr);
    if (h->location) {
        PUTF(&t, "Location: ");
        put(&t, h->location, strlen(h->location));
        put(&t, "\r\n", 2);
        mem_free(h->location);
        h->location = NULL;
    }
    if (h->allow_methods.len) {
        PUTF(&t, "Allow: ");
        put(&t, h->allow_methods.data, h->allow_methods.len);
    }
    if (h->content_type.len) {
        PUTF(&t, "Content-Type: ");
        put(&t, h->content_type.data, h->content_type.len);
    }
    if (h->transfer_encoding == 0 && (h->status < 300 || h->status > 305)) {
        PUTF(&t, "Transfer-Encoding: Chunked\r\n");
    }
    if (h->content_encoding.len) {
        PUTF(&t, "Content-Encoding: ");
        put(&t, h->content_encoding.data, h->content_encoding.len);
    }
    if (h->content_length >= 0 && h->transfer_encoding != 0) {
        PUTF(&t, "Content-Length: %lld\r\n", (long long)h->content_length);
    }
    put_range(&t, h);
    cork(fd, H.config.manual_tcp_cork);

    struct iovec io[EXTRA_ROWS * 2 + 2] = {{t.buf, t.len}};
    int n = 1;
    if (h->_extra_rows) {
        for (int i = 0; i < h->_extra_rows->iov_idx; i++) {
            io[n++] = h->_extra_rows->io[i];
        }
    }
    if (h->cgi == 0 || h->breakline == 1) {
        io[n++] = (struct iovec){(char *)"\r\n", 2};
    }
    sigset_t before;
    own_write_begin(&before);
    ssize_t sent = writev(fd, io, n); /* one attempt: partial writes and errors are not looked at */
    own_write_end(&before);
    struct hconn *conn = W ? slot_of(fd)->conn : NULL;
    if (conn && sent > 0) {
        conn->sent_api += (unsigned long)sent;
    }
    iov_free(h->_extra_rows);
    h->_extra_rows = NULL;
    h->sent = 1;
    return 0;
}
