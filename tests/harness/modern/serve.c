/* serve.c - Stage 30 with what the core does around it, and what the core answers itself: files and error pages. */
#include "modern.h"

#include <fcntl.h>

enum { GO_ON = 1000 }; /* nobody took the request */

static mk_ptr_t text_ptr(const char *text)
{
    return (mk_ptr_t){(char *)(uintptr_t)text, strlen(text)};
}

/* ---- error pages ---- */
static const char *page_title(int status)
{
    switch (status) {
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 413: return "Entity too large";
    case 500: return "Internal Server Error";
    case 501: return "Method Not Implemented";
    default: return NULL;
    }
}

static bool custom_page(int status, struct mk_http_session *cs, struct mk_http_request *sr)
{
    struct file_info info;
    FOREACH(it, &sr->host_conf->error_pages) {
        struct mk_vhost_error_page *page = ENTRY(it, struct mk_vhost_error_page, _head);
        if (page->status != status || file_get_info(page->real_path, &info) != 0) {
            continue;
        }
        /* the head only: the real server opens the page, forgets the descriptor and streams another one */
        sr->headers.content_length = sr->headers.real_length = (long)info.size;
        m_header_prepare(cs, sr);
        m_stream_in_file(&sr->stream, &sr->in_file, sr->file_fd, (size_t)info.size, 0);
        return true;
    }
    return false;
}

/* The page, one attempt to write it, AND the end of the request: keep-alive, next in the pipeline, or removal. */
int m_error(int status, struct mk_http_session *cs, struct mk_http_request *sr)
{
    struct response_headers *h = &sr->headers;
    const char *title = page_title(status);
    char *page = NULL;
    unsigned long len = 0;
    size_t count;
    h->status = status;
    if (status != 411 && status != 400 && status != 413 && custom_page(status, cs, sr)) {
        return EXIT_OK_; /* and not ended */
    }
    if (title) {
        str_build(&page, &len, "<html><head><title>%s</title></head><body><h1>%s</h1><hr>%s</body></html>\n", title,
                  title, late()->server_signature);
    }
    bool body = page && sr->method != METHOD_HEAD;
    h->content_length = body && sr->method != METHOD_UNKNOWN ? (long)len : 0;
    h->location = NULL;
    h->cgi = 0;
    h->pconnections_left = 0;
    h->last_modified = -1;
    h->content_type = page ? text_ptr("Content-Type: text/html\r\n") : (mk_ptr_t){NULL, 0};
    m_header_prepare(cs, sr);
    if (body) {
        m_iov_add(h->_extra_rows ? h->_extra_rows : &h->headers_iov, page, (int)len, 1);
        *(h->_extra_rows ? &sr->in_headers_extra.bytes_total : &sr->in_headers.bytes_total) += len;
    } else {
        mem_free(page);
    }
    m_channel_write(cs->channel, &count);
    m_request_end(cs);
    return EXIT_OK_;
}

/* ---- files ---- */
static void set_path(struct mk_http_request *sr, const char *path)
{
    size_t len = strlen(path);
    if (sr->real_path.data != sr->real_path_static) {
        mem_free(sr->real_path.data);
    }
    sr->real_path.data = len < PATH_BASE ? sr->real_path_static : str_dup(path);
    if (len < PATH_BASE) {
        memcpy(sr->real_path_static, path, len + 1);
    }
    sr->real_path.len = len;
}

static void build_path(struct mk_http_request *sr)
{
    unsigned long len;
    char *path = NULL;
    str_build(&path, &len, "%s%.*s", sr->host_conf->documentroot.data, (int)sr->uri_processed.len,
              sr->uri_processed.data);
    set_path(sr, path);
    mem_free(path);
}

static int redirect_to_slash(struct mk_http_session *cs, struct mk_http_request *sr)
{
    unsigned long len;
    char port[32] = "";
    if (!sr->host.data || (long)sr->host.len <= 0) {
        m_error(400, cs, sr);
        return EXIT_ERROR_;
    }
    if (sr->port > 0 && sr->port != M.server->standard_port) {
        snprintf(port, sizeof port, ":%ld", sr->port);
    }
    m_header_set_status(sr, 301);
    sr->headers.content_length = 0;
    sr->headers.content_type = (mk_ptr_t){NULL, 0};
    str_build(&sr->headers.location, &len, "%s://%.*s%s%.*s/\r\n", C.fake_tls ? "https" : "http", (int)sr->host.len,
              sr->host.data, port, (int)sr->uri_processed.len, sr->uri_processed.data);
    m_header_prepare(cs, sr);
    sr->headers.location = NULL; /* belongs to the head now */
    return EXIT_ERROR_;
}

/* the offset of the index name's slash within the path, or 0 */
static size_t look_for_index(struct mk_http_request *sr)
{
    char path[PATH_LIMIT];
    size_t slash = sr->real_path.len - 1;
    if (!M.server->index_files) {
        return 0;
    }
    FOREACH(it, M.server->index_files) {
        struct mk_string_line *name = ENTRY(it, struct mk_string_line, _head);
        snprintf(path, sizeof path, "%s%s", sr->real_path.data, name->val);
        if (access(path, F_OK) == 0) {
            set_path(sr, path);
            return slash;
        }
    }
    return 0;
}

static int range_parse(struct mk_http_request *sr, long size)
{
    struct response_headers *h = &sr->headers;
    char text[128];
    snprintf(text, sizeof text, "%.*s", (int)sr->range.len, sr->range.data);
    char *dash = strchr(text, '-');
    if (strncasecmp(text, "bytes=", 6) != 0 || !dash) {
        return 400;
    }
    long first = dash == text + 6 ? -1 : atol(text + 6), last = dash[1] ? atol(dash + 1) : -1;
    if ((first < 0 && last <= 0) || (first >= 0 && last >= 0 && first > last)) {
        return 400;
    }
    h->ranges[0] = (int)first;
    h->ranges[1] = (int)last;
    long from = first < 0 ? size - last : first;
    h->content_length = first < 0 ? last : last < 0 ? size - first : last - first + 1;
    if (from < 0 || from >= size || h->content_length > size) {
        return 416;
    }
    m_header_set_status(sr, 206);
    sr->in_file.bytes_offset = from;
    sr->in_file.bytes_total = (size_t)h->content_length;
    return 0;
}

static bool not_modified(struct mk_http_request *sr)
{
    struct tm tm = {0};
    mk_ptr_t *since = &sr->if_modified_since;
    char text[64];
    if (!since->data || sr->method != METHOD_GET) {
        return false;
    }
    snprintf(text, sizeof text, "%.*s", (int)since->len, since->data);
    return strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm) && sr->file_info.last_modification <= timegm(&tm);
}

static int serve_file(struct mk_http_session *cs, struct mk_http_request *sr)
{
    struct response_headers *h = &sr->headers;
    h->last_modified = sr->file_info.last_modification;
    h->etag_len = snprintf(h->etag_buf, sizeof h->etag_buf, "ETag: \"%x-%zx\"\r\n", (unsigned int)h->last_modified,
                           (size_t)sr->file_info.size);
    if (not_modified(sr)) {
        m_header_set_status(sr, 304);
        m_header_prepare(cs, sr);
        return EXIT_OK_;
    }
    h->content_length = h->real_length = (long)sr->file_info.size;
    sr->file_fd = open(sr->real_path.data, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (sr->file_fd < 0) {
        return m_error(403, cs, sr);
    }
    sr->in_file.bytes_offset = 0;
    sr->in_file.bytes_total = (size_t)sr->file_info.size;
    h->content_type = (mk_ptr_t){NULL, 0};
    if (sr->method == METHOD_GET || sr->method == METHOD_HEAD) {
        h->content_type = m_mime_of(sr->real_path.data);
        int bad = sr->range.data && M.server->resume ? range_parse(sr, (long)sr->file_info.size) : 0;
        if (bad) {
            h->ranges[0] = h->ranges[1] = -1;
            return m_error(bad, cs, sr);
        }
    }
    m_header_prepare(cs, sr);
    if (sr->method == METHOD_GET || sr->method == METHOD_POST) {
        m_stream_in_file(&sr->stream, &sr->in_file, sr->file_fd, sr->in_file.bytes_total, sr->in_file.bytes_offset);
    }
    return EXIT_OK_;
}

/* ---- Stage 30 ---- */
static int verdict(int ret, struct mk_http_session *cs, struct mk_http_request *sr)
{
    switch (ret) {
    case RET_CONTINUE:
        return RET_CONTINUE;
    case RET_CLOSE_CONX:
        return m_error(sr->headers.status > 0 ? sr->headers.status : 403, cs, sr);
    case RET_END:
        return EXIT_OK_;
    default:
        return GO_ON;
    }
}

/* first round: whatever Stage 30 returned, a head is queued, so NOT_ME and CLOSE_CONX give the client two */
static int stage30(struct mk_http_session *cs, struct mk_http_request *sr, char *uri, bool first)
{
    struct conn_extra *x = extra_of(cs->conn);
    if (sr->stage30_blocked) {
        return GO_ON;
    }
    FOREACH(it, &sr->host_conf->handlers) {
        struct mk_vhost_handler *handler = ENTRY(it, struct mk_vhost_handler, _head);
        if (!m_regex_match(handler->match, uri)) {
            continue;
        }
        if (!handler->handler && !first) {
            violation("unmapped-handler", "%s: the second look-up does not ask whether there is one", handler->name);
        }
        if (!handler->handler) {
            return m_error(500, cs, sr);
        }
        struct mk_plugin *p = handler->handler;
        sr->stage30_handler = p;
        x->in_stage30++;
        int ret = p->stage->stage30(p, cs, sr, handler->n_params, &handler->params);
        if (first) {
            m_header_prepare(cs, sr);
        }
        x->in_stage30--;
        if (x->poison_late && !x->in_stage30) {
            x->poison_late = false;
            m_session_poison(cs);
            return ret == RET_CONTINUE ? RET_CONTINUE : EXIT_OK_;
        }
        ret = verdict(ret, cs, sr);
        if (ret != GO_ON) {
            return ret;
        }
    }
    return GO_ON;
}

static int serve_own(struct mk_http_session *cs, struct mk_http_request *sr)
{
    if (sr->method == METHOD_PUT || sr->method == METHOD_DELETE) {
        return m_error(405, cs, sr);
    }
    if (sr->method == METHOD_UNKNOWN) {
        return m_error(501, cs, sr);
    }
    sr->headers.pconnections_left = M.server->max_keep_alive_request - cs->counter_connections;
    m_header_set_status(sr, 200);
    sr->headers.location = NULL;
    sr->headers.content_length = 0;
    if (sr->method == METHOD_OPTIONS) {
        sr->headers.content_type = (mk_ptr_t){NULL, 0};
        m_header_prepare(cs, sr);
        return EXIT_OK_;
    }
    sr->headers.allow_methods = (mk_ptr_t){NULL, 0};
    if (!sr->file_info.read_access || sr->file_info.is_directory) {
        return m_error(403, cs, sr);
    }
    return sr->file_info.size == 0 ? m_error(404, cs, sr) : serve_file(cs, sr);
}

int m_serve(struct mk_http_session *cs, struct mk_http_request *sr)
{
    build_path(sr);
    if (memmem(sr->uri_processed.data, sr->uri_processed.len, "..", 2)) {
        return m_error(403, cs, sr);
    }
    if (sr->_content_length.data && sr->method != METHOD_POST && sr->method != METHOD_PUT) {
        sr->_content_length = (mk_ptr_t){NULL, 0};
    }
    int found = file_get_info(sr->real_path.data, &sr->file_info);
    /* over the blank or the '?' behind it, inside the receive buffer */
    sr->uri_processed.data[sr->uri_processed.len] = 0;
    int ret = stage30(cs, sr, sr->uri_processed.data, true);
    if (ret != GO_ON) {
        return ret;
    }
    if (found != 0) {
        return m_error(404, cs, sr);
    }
    char *uri = sr->uri_processed.data;
    if (sr->file_info.is_directory) {
        if (sr->uri_processed.data[sr->uri_processed.len - 1] != '/') {
            return redirect_to_slash(cs, sr);
        }
        size_t slash = look_for_index(sr);
        if (slash) {
            uri = sr->real_path.data + slash;
            if (file_get_info(sr->real_path.data, &sr->file_info) != 0) {
                return m_error(403, cs, sr);
            }
        }
    }
    if (sr->file_info.is_link && !M.server->symlink) {
        return m_error(403, cs, sr);
    }
    ret = stage30(cs, sr, uri, false);
    return ret != GO_ON ? ret : serve_own(cs, sr);
}
