/* header.c - the response head: status table, rows added by plugins, and the io vectors it is made of. */
#include "modern.h"

#include <stdarg.h>
#include <sys/uio.h>

static const struct { int status; const char *line; } TABLE[] = {
#define LINE(status, reason) {status, "HTTP/1.1 " #status " " reason "\r\n"}
    LINE(200, "OK"), LINE(404, "Not Found"), LINE(100, "Continue"), LINE(101, "Switching Protocols"),
    LINE(201, "Created"), LINE(202, "Accepted"), LINE(203, "Non-Authoritative Information"),
    LINE(204, "No Content"), LINE(205, "Reset Content"), LINE(206, "Partial Content"),
    LINE(300, "Multiple Choices"), LINE(301, "Moved Permanently"), LINE(302, "Found"), LINE(303, "See Other"),
    LINE(304, "Not Modified"), LINE(305, "Use Proxy"), LINE(400, "Bad Request"), LINE(401, "Unauthorized"),
    LINE(402, "Payment Required"), LINE(403, "Forbidden"), LINE(405, "Method Not Allowed"),
    LINE(406, "Not Acceptable"), LINE(407, "Proxy Authentication Required"), LINE(408, "Request Timeout"),
    LINE(409, "Conflict"), LINE(410, "Gone"), LINE(411, "Length Required"), LINE(412, "Precondition Failed"),
    LINE(413, "Request Entity Too Large"), LINE(414, "Request-URI Too Long"),
    LINE(415, "Unsupported Media Type"), LINE(416, "Requested Range Not Satisfiable"),
    LINE(500, "Internal Server Error"), LINE(501, "Not Implemented"), LINE(502, "Bad Gateway"),
    LINE(503, "Service Unavailable"), LINE(504, "Gateway Timeout"), LINE(505, "HTTP Version Not Supported")};

static mk_ptr_t status_line(const struct response_headers *h)
{
    if (h->status == CUSTOM_STATUS) {
        return h->custom_status;
    }
    for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++) {
        if (TABLE[i].status == h->status) {
            return (mk_ptr_t){(char *)(uintptr_t)TABLE[i].line, strlen(TABLE[i].line)};
        }
    }
    if (h->status < 100) {
        violation("unset-status", "a head is prepared while headers.status is %d (the server aborts)", h->status);
    }
    violation("status-not-in-table", "headers.status is %d (the server aborts)", h->status);
}

static void iov_setup(struct mk_iov *iov, int n, int offset)
{
    iov->iov_idx = offset;
    iov->buf_idx = 0;
    iov->size = n;
    iov->total_len = 0;
}

void m_header_reset(struct response_headers *h)
{
    h->status = -1;
    h->sent = 0;
    h->ranges[0] = h->ranges[1] = -1;
    h->content_length = -1;
    h->connection = 0;
    h->transfer_encoding = -1;
    h->last_modified = -1;
    h->upgrade = -1;
    h->cgi = 0;
    h->content_type = h->content_encoding = (mk_ptr_t){NULL, 0};
    h->location = NULL;
    h->_extra_rows = NULL;
    h->allow_methods.len = 0;
    h->headers_iov.io = h->_iov_io;
    h->headers_iov.buf_to_free = h->_iov_buf;
    iov_setup(&h->headers_iov, IOV_ROWS, 0);
}

void m_header_set_status(struct mk_http_request *sr, int status)
{
    sr->headers.status = status;
}

struct mk_iov *m_iov_create(int n, int offset)
{
    struct mk_iov *iov = mem_alloc_z(sizeof *iov + (size_t)n * (sizeof *iov->io + sizeof *iov->buf_to_free));
    iov->io = (struct iovec *)(void *)(iov + 1);
    iov->buf_to_free = (void **)(void *)(iov->io + n);
    iov_setup(iov, n, offset);
    return iov;
}

struct mk_iov *m_iov_realloc(struct mk_iov *old, int n)
{
    struct mk_iov *iov = m_iov_create(n, 0);
    memcpy(iov->io, old->io, (size_t)old->iov_idx * sizeof *iov->io);
    memcpy(iov->buf_to_free, old->buf_to_free, (size_t)old->buf_idx * sizeof *iov->buf_to_free);
    iov->iov_idx = old->iov_idx;
    iov->buf_idx = old->buf_idx;
    iov->total_len = old->total_len;
    return iov;
}

int m_iov_set_entry(struct mk_iov *iov, void *data, int len, int owned, int index)
{
    if (index >= iov->size) {
        violation("iov-overflow", "entry %d of %d (written behind the end)", index, iov->size);
    }
    iov->io[index] = (struct iovec){data, (size_t)len};
    iov->total_len += (unsigned long)len;
    if (owned) {
        iov->buf_to_free[iov->buf_idx++] = data;
    }
    return 0;
}

int m_iov_add(struct mk_iov *iov, void *data, int len, int owned)
{
    m_iov_set_entry(iov, data, len, owned, iov->iov_idx);
    return ++iov->iov_idx;
}

void m_iov_free_marked(struct mk_iov *iov)
{
    for (int i = 0; i < iov->buf_idx; i++) {
        mem_free(iov->buf_to_free[i]);
    }
    iov_setup(iov, iov->size, 0);
}

void m_iov_free(struct mk_iov *iov)
{
    m_iov_free_marked(iov);
    mem_free(iov);
}

void m_iov_consume(struct mk_iov *iov, size_t bytes)
{
    if (bytes == iov->total_len) {
        iov->total_len = 0;
        iov->iov_idx = 0;
        return;
    }
    iov->total_len -= bytes;
    for (int i = 0; i < iov->iov_idx && bytes; i++) {
        size_t n = iov->io[i].iov_len < bytes ? iov->io[i].iov_len : bytes;
        iov->io[i].iov_base = (char *)iov->io[i].iov_base + n;
        iov->io[i].iov_len -= n;
        bytes -= n;
    }
}

/* the row's text is referenced until the head is sent */
int m_header_add(struct mk_http_request *sr, char *row, int len)
{
    if (!sr->headers._extra_rows) {
        sr->headers._extra_rows = m_iov_create(EXTRA_ROWS * 2, 0);
    }
    m_iov_add(sr->headers._extra_rows, row, len, 0);
    m_iov_add(sr->headers._extra_rows, (char *)"\r\n", 2, 0);
    return 0;
}

static void add_text(struct mk_iov *iov, const char *text)
{
    m_iov_add(iov, (char *)(uintptr_t)text, (int)strlen(text), 0);
}

static __attribute__((format(printf, 2, 3))) void add_format(struct mk_iov *iov, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    m_iov_add(iov, str_dup(text), (int)strlen(text), 1);
}

/* an absent header has the length -1, which is more than 0 here */
static void add_connection(struct mk_iov *iov, struct mk_http_session *cs, struct mk_http_request *sr)
{
    if (sr->headers.connection == CONN_UPGRADED) {
        add_text(iov, "Connection: Upgrade\r\n");
    } else if (sr->headers.connection == 0 && cs->close_now) {
        add_text(iov, "Connection: Close\r\n");
    } else if (sr->headers.connection == 0 && sr->connection.len > 0 && sr->protocol != PROTOCOL_11) {
        add_text(iov, "Connection: Keep-Alive\r\n");
    }
}

static void add_range(struct mk_iov *iov, const struct response_headers *h)
{
    long first = h->ranges[0], last = h->ranges[1];
    if (h->content_length == 0 || !M.server->resume || (first < 0 && last <= 0)) {
        return;
    }
    if (first < 0) {
        first = h->real_length - last;
        last = h->real_length - 1;
    } else if (last < 0) {
        last = h->real_length - 1;
    }
    add_format(iov, "Content-Range: bytes %ld-%ld/%ld\r\n", first, last, h->real_length);
}

static void rows_sent(struct mk_stream_input *in) { m_iov_free(in->buffer); }
static void head_sent(struct mk_stream_input *in) { m_iov_free_marked(in->buffer); }

static void rows_link(struct mk_http_request *sr)
{
    struct mk_stream_input *in = &sr->in_headers_extra;
    *in = (struct mk_stream_input){.type = STREAM_IOV, .stream = &sr->stream, .buffer = sr->headers._extra_rows,
                                   .bytes_total = sr->headers._extra_rows->total_len, .cb_finished = rows_sent};
    /* right behind the head itself */
    struct mk_list *head = &sr->in_headers._head;
    in->_head.prev = head;
    in->_head.next = head->next;
    head->next->prev = &in->_head;
    head->next = &in->_head;
}

/* Only queues: the response stream gets the head as its first input. A second call queues a second head. */
int m_header_prepare(struct mk_http_session *cs, struct mk_http_request *sr)
{
    struct response_headers *h = &sr->headers;
    struct mk_iov *iov = &h->headers_iov;
    mk_ptr_t line = status_line(h);
    m_iov_add(iov, line.data, (int)line.len, 0);
    add_format(iov, "%.*sDate: %s", late()->server_signature_header_len, late()->server_signature_header,
               clock_http());
    if (h->last_modified > 0) {
        gmt_format(MW->modified_text, sizeof MW->modified_text, h->last_modified);
        add_text(iov, "Last-Modified: ");
        add_text(iov, MW->modified_text);
    }
    add_connection(iov, cs, sr);
    if (h->location) {
        add_text(iov, "Location: ");
        m_iov_add(iov, h->location, (int)strlen(h->location), 1);
    }
    if (h->allow_methods.len > 0) {
        add_text(iov, "Allow: ");
        m_iov_add(iov, h->allow_methods.data, (int)h->allow_methods.len, 0);
    }
    if (h->content_type.len > 0) {
        m_iov_add(iov, h->content_type.data, (int)h->content_type.len, 0);
    }
    if (h->transfer_encoding == 0) {
        add_text(iov, "Transfer-Encoding: chunked\r\n");
    }
    if (h->etag_len > 0) {
        m_iov_add(iov, h->etag_buf, h->etag_len, 0);
    }
    if (h->content_encoding.len > 0) {
        add_text(iov, "Content-Encoding: ");
        m_iov_add(iov, h->content_encoding.data, (int)h->content_encoding.len, 0);
    }
    if (h->content_length >= 0 && h->transfer_encoding != 0) {
        snprintf(MW->length_text, sizeof MW->length_text, "%ld\r\n", h->content_length);
        add_text(iov, "Content-Length: ");
        add_text(iov, MW->length_text);
    }
    add_range(iov, h);
    if (h->upgrade == UPGRADED_H2C) {
        add_text(iov, "Upgrade: h2c\r\n");
    }
    if (h->cgi == 0 || h->breakline == 1) {
        add_text(h->_extra_rows ? h->_extra_rows : iov, "\r\n");
    }
    sr->in_headers.buffer = iov;
    sr->in_headers.bytes_total = iov->total_len;
    sr->in_headers.cb_finished = head_sent;
    if (h->_extra_rows) {
        rows_link(sr);
    }
    h->sent = 1;
    return 0;
}
