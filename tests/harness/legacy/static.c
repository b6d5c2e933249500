/* static.c - what the core itself answers: files, index files, redirects, error pages; and Stage 30's place in it. */
#include "harness.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

static mk_ptr_t text_ptr(const char *text)
{
    return (mk_ptr_t){(char *)(uintptr_t)text, strlen(text)};
}

/* ---- content types ---- */
static void mime_add(const char *ext, const char *type)
{
    struct mimetype *m = mem_alloc_z(sizeof *m);
    unsigned long len;
    m->name = str_dup(ext);
    str_build(&m->type.data, &len, "%s\r\n", type);
    m->type.len = len;
    list_add(&m->_head, &H.mimes);
}

void mimes_load(const char *path)
{
    static const char *const builtin[][2] = {
        {"html", "text/html"}, {"htm", "text/html"}, {"css", "text/css"}, {"js", "application/javascript"},
        {"json", "application/json"}, {"txt", "text/plain"}, {"png", "image/png"}, {"jpg", "image/jpeg"},
        {"gif", "image/gif"}, {"svg", "image/svg+xml"}, {"ico", "image/x-icon"}, {"xml", "text/xml"}};
    list_init(&H.mimes);
    struct mk_config *conf = access(path, R_OK) == 0 ? config_create(path) : NULL;
    struct mk_config_section *section = conf ? config_section_get(conf, "MIMETYPES") : NULL;
    if (section) {
        FOREACH(it, &section->entries) {
            struct mk_config_entry *e = ENTRY(it, struct mk_config_entry, _head);
            mime_add(e->key, e->val);
        }
    }
    for (size_t i = 0; !section && i < sizeof builtin / sizeof *builtin; i++) {
        mime_add(builtin[i][0], builtin[i][1]);
    }
    config_free(conf);
}

void mimes_free(void)
{
    FOREACH_SAFE(it, tmp, &H.mimes) {
        struct mimetype *m = ENTRY(it, struct mimetype, _head);
        mem_free((void *)(uintptr_t)m->name);
        mem_free(m->type.data);
        mem_free(m);
    }
}

static mk_ptr_t mime_of(const char *path)
{
    const char *dot = strrchr(path, '.');
    if (dot) {
        FOREACH(it, &H.mimes) {
            struct mimetype *m = ENTRY(it, struct mimetype, _head);
            if (strcasecmp(m->name, dot + 1) == 0) {
                return m->type;
            }
        }
    }
    return text_ptr(H.config.default_mimetype);
}

/* ---- error pages ---- */
static const char *page_title(int status)
{
    switch (status) {
    case 400: return "Bad Request";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 413: return "Entity too large";
    case 500: return "Internal Server Error";
    case 501: return "Method Not Implemented";
    case 505: return "HTTP Version Not Supported";
    default: return NULL;
    }
}

static void send_all(int fd, const char *data, size_t len)
{
    struct hconn *conn = W ? slot_of(fd)->conn : NULL;
    sigset_t before;
    own_write_begin(&before);
    ssize_t n = write(fd, data, len); /* one attempt, like the real one */
    own_write_end(&before);
    if (conn && n > 0) {
        conn->sent_api += (unsigned long)n;
    }
}

static bool custom_page(int status, struct session_request *sr)
{
    FOREACH(it, &sr->host_conf->error_pages) {
        struct error_page *page = ENTRY(it, struct error_page, _head);
        struct file_info info;
        if (page->status != status) {
            continue;
        }
        int fd = file_get_info(page->real_path, &info) == 0 ? open(page->real_path, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0) {
            return false;
        }
        if (sr->fd_file > 0) {
            close(sr->fd_file);
        }
        sr->fd_file = fd;
        sr->bytes_to_send = info.size;
        sr->headers.content_length = sr->headers.real_length = info.size;
        sr->file_info = info;
        return true;
    }
    return false;
}

int request_error(int status, struct client_session *cs, struct session_request *sr)
{
    header_set_status(sr, status);
    if (status != 400 && status != 411 && status != 413 && custom_page(status, sr)) {
        header_send(cs->socket, cs, sr);
        return (int)send_file(cs, sr);
    }
    const char *title = page_title(status);
    char *page = NULL;
    unsigned long len = 0;
    if (title) {
        char *message = status == 404   ? str_dup("There is no such document here.")
                        : status == 413 ? str_dup("The request is too large.")
                        : status == 505 ? str_dup("")
                                        : ptr_to_buf(sr->uri);
        str_build(&page, &len, "<html><head><title>%s</title></head><body><h1>%s</h1>%s<hr>%s</body></html>\n", title,
                  title, message, sr->host_conf->host_signature);
        mem_free(message);
        sr->headers.content_length = (off_t)len;
    }
    sr->headers.location = NULL;
    sr->headers.cgi = 0;
    sr->headers.pconnections_left = 0;
    sr->headers.last_modified = -1;
    sr->headers.content_type = title ? text_ptr("text/html\r\n") : (mk_ptr_t){NULL, 0};
    header_send(cs->socket, cs, sr);
    if (page && sr->method != METHOD_HEAD) {
        send_all(cs->socket, page, len);
    }
    mem_free(page);
    cork(cs->socket, 0);
    return EXIT_ERROR_;
}

/* ---- files ---- */
/* > 0: so many bytes are left for later write events */
ssize_t send_file(struct client_session *cs, struct session_request *sr)
{
    struct hconn *conn = W ? slot_of(cs->socket)->conn : NULL;
    sigset_t before;
    own_write_begin(&before);
    errno = 0;
    ssize_t n = sendfile(cs->socket, sr->fd_file, &sr->bytes_offset, (size_t)sr->bytes_to_send);
    own_write_end(&before);
    if (n > 0) {
        sr->bytes_to_send -= n;
        if (conn) {
            conn->sent_api += (unsigned long)n;
        }
        if (sr->bytes_offset == n) {
            cork(cs->socket, 0);
        }
    } else if (errno != EAGAIN) {
        return EXIT_ABORT_;
    }
    return sr->bytes_to_send;
}

static int build_path(struct session_request *sr)
{
    struct sr_mid *m = mid(sr);
    const mk_ptr_t *root = &sr->host_conf->documentroot;
    unsigned long len = root->len + sr->uri_processed.len;
    char *path = m->real_path_static;
    if (m->real_path.data && m->real_path.data != path) {
        mem_free(m->real_path.data); /* the same request processed again */
    }
    if (len >= PATH_BASE) {
        path = mem_alloc(len + 1);
    }
    memcpy(path, root->data, root->len);
    memcpy(path + root->len, sr->uri_processed.data, sr->uri_processed.len);
    path[len] = 0;
    m->real_path = (mk_ptr_t){path, len};
    return 0;
}

static void set_path(struct session_request *sr, const char *path)
{
    struct sr_mid *m = mid(sr);
    size_t len = strlen(path);
    if (m->real_path.data != m->real_path_static) {
        mem_free(m->real_path.data);
    }
    m->real_path.data = len < PATH_BASE ? m->real_path_static : str_dup(path);
    if (len < PATH_BASE) {
        memcpy(m->real_path_static, path, len + 1);
    }
    m->real_path.len = len;
}

static void look_for_index(struct session_request *sr)
{
    char path[PATH_LIMIT];
    if (!H.config.index_files) {
        return;
    }
    FOREACH(it, H.config.index_files) {
        struct mk_string_line *name = ENTRY(it, struct mk_string_line, _head);
        snprintf(path, sizeof path, "%s%s", mid(sr)->real_path.data, name->val);
        if (access(path, F_OK) == 0) {
            set_path(sr, path);
            file_get_info(path, &sr->file_info);
            return;
        }
    }
}

static void redirect_to_slash(struct client_session *cs, struct session_request *sr)
{
    unsigned long len;
    char *host = ptr_to_buf(mid(sr)->host), port[32] = "";
    if (mid(sr)->host.data && sr->port > 0 && sr->port != H.config.standard_port) {
        snprintf(port, sizeof port, ":%ld", sr->port);
    }
    header_set_status(sr, 301);
    sr->headers.content_length = 0;
    sr->headers.content_type = (mk_ptr_t){NULL, 0};
    str_build(&sr->headers.location, &len, "%s://%s%s%.*s/", H.config.transport, host, port,
              (int)sr->uri_processed.len, sr->uri_processed.data);
    sr->headers.pconnections_left = H.config.max_keep_alive_request - cs->counter_connections;
    mem_free(host);
    header_send(cs->socket, cs, sr);
    cork(cs->socket, 0);
}

/* Bytes=a-b, a-, -b; 0 when it makes sense for this file */
static int apply_range(struct session_request *sr)
{
    struct response_headers *h = &sr->headers;
    char *text = ptr_to_buf(mid(sr)->range), *dash = strchr(text, '-');
    long size = sr->file_info.size, first = 0, last = size - 1;
    int ret = strncasecmp(text, "bytes=", 6) == 0 && dash ? 0 : 400;
    if (!ret && dash == text + 6) {
        long n = atol(dash + 1);
        h->ranges[1] = (int)n;
        first = size - n;
        ret = n <= 0 ? 400 : n > size ? 416 : 0;
    } else if (!ret) {
        first = atol(text + 6);
        h->ranges[0] = (int)first;
        if (dash[1]) {
            last = atol(dash + 1);
            h->ranges[1] = (int)last;
        }
        ret = dash[1] && last < first ? 400 : first >= size || last >= size ? 416 : 0;
    }
    mem_free(text);
    if (ret) {
        h->ranges[0] = h->ranges[1] = -1;
        return ret;
    }
    h->content_length = last - first + 1;
    sr->bytes_offset = first;
    sr->bytes_to_send = h->content_length;
    header_set_status(sr, 206);
    return 0;
}

static bool not_modified(struct session_request *sr)
{
    struct tm tm = {0};
    mk_ptr_t *since = &mid(sr)->if_modified_since;
    if (!since->data || sr->method != METHOD_GET) {
        return false;
    }
    char *text = ptr_to_buf(*since);
    bool fits = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm) != NULL;
    mem_free(text);
    return fits && sr->file_info.last_modification <= timegm(&tm);
}

static ssize_t serve_file(struct client_session *cs, struct session_request *sr)
{
    struct response_headers *h = &sr->headers;
    h->last_modified = sr->file_info.last_modification;
    if (not_modified(sr)) {
        header_set_status(sr, 304);
        header_send(cs->socket, cs, sr);
        cork(cs->socket, 0);
        return EXIT_NORMAL_;
    }
    h->content_length = h->real_length = sr->file_info.size;
    if (sr->file_info.size > 0) {
        sr->fd_file = open(mid(sr)->real_path.data, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (sr->fd_file < 0) {
            return request_error(403, cs, sr);
        }
        sr->bytes_to_send = sr->file_info.size;
    }
    if (sr->method == METHOD_GET || sr->method == METHOD_HEAD) {
        h->content_type = mime_of(mid(sr)->real_path.data);
        int bad = mid(sr)->range.data && H.config.resume ? apply_range(sr) : 0;
        if (bad) {
            h->content_length = bad == 416 ? 0 : -1;
            sr->bytes_to_send = 0;
            return request_error(bad, cs, sr);
        }
    } else {
        h->content_type = (mk_ptr_t){NULL, 0};
    }
    header_send(cs->socket, cs, sr);
    if (h->content_length == 0 || sr->method == METHOD_HEAD) {
        sr->bytes_to_send = 0;
        cork(cs->socket, 0);
        return EXIT_NORMAL_;
    }
    return send_file(cs, sr);
}

/* true: *ret is the answer of the write handler; false: nobody took the request */
static bool stage30_took(struct client_session *cs, struct session_request *sr, ssize_t *ret)
{
    switch (stage30(cs, sr)) {
    case RET_CONTINUE:
        *ret = RET_CONTINUE; /* > 0, and the mode of the descriptor stays WRITE */
        return true;
    case RET_END:
        *ret = EXIT_NORMAL_;
        return true;
    case RET_CLOSE_CONX:
        *ret = request_error(sr->headers.status > 0 ? sr->headers.status : 403, cs, sr);
        return true;
    default:
        return false;
    }
}

ssize_t serve(struct client_session *cs, struct session_request *sr)
{
    ssize_t ret;
    build_path(sr);
    if (memmem(sr->uri_processed.data, sr->uri_processed.len, "..", 2)) {
        return request_error(403, cs, sr);
    }
    if (file_get_info(mid(sr)->real_path.data, &sr->file_info) != 0) {
        if (stage30_took(cs, sr, &ret)) {
            return ret;
        }
        return request_error(sr->file_info.exists ? 403 : 404, cs, sr);
    }
    if (sr->file_info.is_directory) {
        if (sr->uri_processed.data[sr->uri_processed.len - 1] != '/') {
            redirect_to_slash(cs, sr);
            return EXIT_ERROR_;
        }
        look_for_index(sr);
    }
    if (sr->file_info.is_link && !H.config.symlink) {
        return request_error(403, cs, sr);
    }
    if (!mid(sr)->stage30_blocked && stage30_took(cs, sr, &ret)) {
        return ret;
    }
    if (sr->method == METHOD_PUT || sr->method == METHOD_DELETE || sr->method == METHOD_UNKNOWN) {
        return request_error(501, cs, sr);
    }
    sr->headers.pconnections_left = H.config.max_keep_alive_request - cs->counter_connections;
    header_set_status(sr, 200);
    sr->headers.location = NULL;
    sr->headers.content_length = 0;
    if (sr->method == METHOD_OPTIONS) {
        sr->headers.allow_methods = text_ptr("GET, POST, HEAD, PUT, DELETE, OPTIONS\r\n");
        header_send(cs->socket, cs, sr);
        cork(cs->socket, 0);
        return EXIT_NORMAL_;
    }
    if (!sr->file_info.read_access || sr->file_info.is_directory) {
        return request_error(403, cs, sr);
    }
    return serve_file(cs, sr);
}
