/* http.c - when is a request complete, how the buffer is cut into requests, what the parser takes from one. */
#include "harness.h"

#include <ctype.h>
#include <limits.h>

#define END_BLOCK "\r\n\r\n"

static int find_char(const char *text, char c, int len)
{
    const char *at = len > 0 ? memchr(text, c, (size_t)len) : NULL;
    return at ? (int)(at - text) : -1;
}

static int find_last(const char *text, char c, int len)
{
    const char *at = len > 0 ? memrchr(text, c, (size_t)len) : NULL;
    return at ? (int)(at - text) : -1;
}

static mk_ptr_t slice(char *text, int from, int to)
{
    return to > from ? (mk_ptr_t){text + from, (unsigned long)(to - from)} : (mk_ptr_t){NULL, 0};
}

static const char *const METHODS[] = {"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"};

/* three to seven characters, compared as a PREFIX of a known name: "POS" is POST */
int http_method(const char *text)
{
    int len = find_char(text, ' ', (int)strnlen(text, 8));
    if (len < 3) {
        return METHOD_UNKNOWN;
    }
    for (int i = METHOD_GET; i <= METHOD_OPTIONS; i++) {
        if (strncmp(text, METHODS[i], (size_t)len) == 0) {
            return i;
        }
    }
    return METHOD_UNKNOWN;
}

static int protocol_of(const char *text, int len)
{
    static const struct { const char *name; int number; } known[] = {
        {"HTTP/1.1", PROTOCOL_11}, {"HTTP/1.0", PROTOCOL_10}, {"HTTP/0.9", PROTOCOL_09}};
    for (int i = 0; len > 0 && i < 3; i++) {
        if (strncmp(text, known[i].name, (size_t)len) == 0) {
            return known[i].number;
        }
    }
    return PROTOCOL_UNKNOWN;
}

static mk_ptr_t protocol_text(int protocol)
{
    switch (protocol) {
    case PROTOCOL_11: return (mk_ptr_t){(char *)"HTTP/1.1", 8};
    case PROTOCOL_10: return (mk_ptr_t){(char *)"HTTP/1.0", 8};
    case PROTOCOL_09: return (mk_ptr_t){(char *)"HTTP/0.9", 8};
    default: return (mk_ptr_t){NULL, 0};
    }
}

/* Index of at most 32 rows; -1 is what becomes a 400. */
static int index_rows(struct headers_toc *toc, char *text, int len)
{
    char *row = text;
    toc->length = 0;
    while (row < text + len && toc->length < TOC_LEN && *row != '\r') {
        size_t n = strcspn(row, "\r");
        char *end = row + n;
        if (end[0] != '\r' || end[1] != '\n') {
            return -1;
        }
        int colon = find_char(row, ':', (int)n);
        if (row[colon + 1] != ' ' || (int)n - colon - 2 == 0) {
            return -1; /* also a line without a colon, unless it begins with a blank */
        }
        toc->rows[toc->length++] = (struct header_toc_row){row, end, 0};
        row = end + 2;
    }
    return toc->length;
}

mk_ptr_t header_get(struct headers_toc *toc, const char *key, int len)
{
    for (int i = 0; i < toc->length; i++) {
        struct header_toc_row *row = &toc->rows[i];
        if (row->status == 0 && strncasecmp(row->init, key, (size_t)len) == 0) {
            row->status = 1;
            char *value = row->init + len + 1;
            return (mk_ptr_t){value, (unsigned long)(row->end - value)};
        }
    }
    return (mk_ptr_t){NULL, 0};
}

/* The first Content-Length row; failing that the words anywhere in the text, bodies included. */
static long announced_length(char *body, int len)
{
    struct headers_toc toc;
    static const char key[] = "Content-Length:";
    char *line_end = strstr(body, "\r\n");
    if (!line_end || index_rows(&toc, line_end + 2, len - 2 - (int)(line_end - body)) < 0) {
        return -1;
    }
    mk_ptr_t value = header_get(&toc, key, sizeof key - 1);
    if (value.data) {
        return strtol(value.data, NULL, 10);
    }
    int at = str_search(body, key, 1);
    if (at <= 0 || str_search(body + at, "\r\n", 0) <= 0) {
        return -1;
    }
    return strtol(body + at + sizeof key - 1, NULL, 10);
}

static void completed(struct hsession *s)
{
    if (s->pub.status == REQUEST_COMPLETED) {
        violation("bytes-of-client-in-service",
                  "fd %d: the core read for a client whose request is being served", s->pub.socket);
    }
    s->pub.status = REQUEST_COMPLETED;
    incomplete_del(s);
}

/* 0: go to WRITE, -1: more bytes are needed */
int http_pending(struct hsession *s)
{
    struct client_session *cs = &s->pub;
    if (cs->body_length < 4) {
        return -1;
    }
    int tail_at = (int)cs->body_length - 4;
    if (cs->body_pos_end < 0) {
        if (memcmp(cs->body + tail_at, END_BLOCK, 4) == 0) {
            cs->body_pos_end = tail_at;
        } else {
            char *at = strstr(cs->body, END_BLOCK);
            if (!at) {
                return -1;
            }
            cs->body_pos_end = (int)(at - cs->body);
        }
    }
    if (cs->first_method == METHOD_UNKNOWN) {
        cs->first_method = http_method(cs->body);
    }
    if (cs->first_method == METHOD_POST || cs->first_method == METHOD_PUT) {
        if (cs->body_pos_end <= 0) {
            return -1;
        }
        int have = tail_at - cs->body_pos_end;
        int want = (int)announced_length(cs->body, have);
        if (want >= H.config.max_request_size) {
            return 0; /* not marked completed: the server's own slip, see request_end() */
        }
        if (cs->body_pos_end == tail_at ? want > 0 : have < want) {
            return -1;
        }
    }
    completed(s);
    return 0;
}

/* The first request of a connection is never cut, so its text may hold several requests. */
int http_cut(struct client_session *cs)
{
    int blocks = 0;
    for (int at = 0; at <= cs->body_pos_end;) {
        int end = cs->body_pos_end;
        if (cs->counter_connections > 0) {
            char *found = strstr(cs->body + at, END_BLOCK);
            if (!found) {
                return -1;
            }
            end = (int)(found - cs->body);
        }
        struct session_request *sr = blocks == 0 ? &cs->sr_fixed : mem_alloc(sizeof *sr);
        memset(sr, 0, sizeof *sr);
        request_init(sr);
        sr->body = (mk_ptr_t){cs->body + at, (unsigned long)(end - at)};
        sr->method = at == 0 ? cs->first_method : http_method(sr->body.data);
        if (sr->method == METHOD_POST) {
            int from = end + 4;
            mid(sr)->data = (mk_ptr_t){cs->body + from, (unsigned long)((int)cs->body_length - from)};
        }
        list_add(&sr->_head, &cs->request_list);
        at = end + 4;
        blocks++;
    }
    if (blocks > 1) {
        FOREACH(it, &cs->request_list) {
            struct session_request *sr = ENTRY(it, struct session_request, _head);
            if (sr->method != METHOD_GET && sr->method != METHOD_HEAD) {
                return -1;
            }
        }
        cs->pipelined = 1;
    }
    return 0;
}

static int hex_value(const char *two)
{
    if (!isxdigit((unsigned char)two[0]) || !isxdigit((unsigned char)two[1])) {
        return -1;
    }
    char text[3] = {two[0], two[1], 0};
    return (int)strtol(text, NULL, 16);
}

/* NULL when there is nothing to decode or a sequence is wrong: then the raw slice is used as it is */
static char *decoded(mk_ptr_t uri)
{
    if (find_char(uri.data, '%', (int)uri.len) < 0) {
        return NULL;
    }
    char *out = mem_alloc_z(uri.len + 1), *to = out;
    for (unsigned long i = 0; i < uri.len; i++) {
        if (uri.data[i] == '%' && i + 2 < uri.len) {
            int value = hex_value(uri.data + i + 1);
            if (value < 0) {
                mem_free(out);
                return NULL;
            }
            *to++ = (char)value;
            i += 2;
        } else {
            *to++ = uri.data[i];
        }
    }
    return out;
}

static int parse_host(struct session_request *sr)
{
    mk_ptr_t host = header_get(&sr->headers_toc, "Host:", 5);
    if (!host.data) {
        return 0;
    }
    int colon = find_last(host.data, ':', (int)host.len);
    if (colon < 0) {
        mid(sr)->host = host;
        sr->port = H.config.standard_port;
        return 0;
    }
    mid(sr)->host = (mk_ptr_t){host.data, (unsigned long)colon};
    mid(sr)->host_port = host;
    int digits = (int)host.len - colon - 1;
    if (digits > 5) {
        return -1;
    }
    long port = 0;
    for (int i = 0; i < digits; i++) {
        char c = host.data[colon + 1 + i];
        if (!isdigit((unsigned char)c)) {
            return -1;
        }
        port = port * 10 + (c - '0');
    }
    sr->port = port;
    return port == 0 ? -1 : 0;
}

static void parse_connection(struct session_request *sr)
{
    if (sr->protocol == PROTOCOL_10 || sr->protocol == PROTOCOL_11) {
        sr->keep_alive = sr->protocol == PROTOCOL_11;
        sr->close_now = !sr->keep_alive;
    }
    mk_ptr_t *value = &mid(sr)->connection;
    if (!value->data) {
        return;
    }
    if (str_search_n(value->data, "Keep-Alive", 1, (int)value->len) >= 0) {
        sr->keep_alive = 1;
        sr->close_now = 0;
    } else if (str_search_n(value->data, "Close", 1, (int)value->len) >= 0) {
        sr->keep_alive = 0;
        sr->close_now = 1;
    } else {
        value->len = 0;
    }
}

int http_parse(struct session_request *sr)
{
    char *text = sr->body.data;
    sr->method_p = sr->method < 0 ? (mk_ptr_t){NULL, 0}
                                  : (mk_ptr_t){(char *)METHODS[sr->method], strlen(METHODS[sr->method])};
    char *space = strchr(text, ' '), *feed = strchr(text, '\n');
    if (!space || !feed) {
        return -1;
    }
    int from = (int)(space - text) + 1, line = (int)(feed - text);
    int to = find_last(text, ' ', line); /* the LAST blank of the line ends the target */
    if (to <= 1 || to <= from - 1) {
        return -1;
    }
    int protocol_at = to + 1, protocol_end = line - 1;
    int mark = find_char(text + from, '?', to - from);
    if (mark > 0) {
        mid(sr)->query_string = slice(text, from + mark + 1, to);
        to = from + mark;
    }
    sr->uri = slice(text, from, to);
    if (!sr->uri.len || protocol_at == protocol_end) {
        return -1;
    }
    sr->protocol = protocol_of(text + protocol_at, protocol_end - protocol_at);
    sr->protocol_p = protocol_text(sr->protocol);

    char *clear = decoded(sr->uri);
    sr->uri_processed = clear ? (mk_ptr_t){clear, strlen(clear)} : sr->uri;

    sr->headers_len = (int)sr->body.len - (protocol_end + 2);
    if (index_rows(&sr->headers_toc, text + protocol_end + 2, sr->headers_len) < 0) {
        return -1;
    }
    if (parse_host(sr) < 0) {
        return -1;
    }
    mid(sr)->connection = header_get(&sr->headers_toc, "Connection:", 11);
    mid(sr)->range = header_get(&sr->headers_toc, "Range:", 6);
    mid(sr)->if_modified_since = header_get(&sr->headers_toc, "If-Modified-Since:", 18);
    parse_connection(sr);
    return 0;
}

/* POST and PUT: 0, or -1 after the error page */
int http_body_check(struct client_session *cs, struct session_request *sr)
{
    long length = announced_length(cs->body, (int)cs->body_length);
    if (length == -1) {
        return request_error(411, cs, sr), -1;
    }
    if (length <= 0) {
        return request_error(400, cs, sr), -1;
    }
    if (length >= (long)cs->body_size) {
        return request_error(413, cs, sr), -1;
    }
    mk_ptr_t type = header_get(&sr->headers_toc, "Content-Type:", 13);
    if (type.data) {
        mid(sr)->content_type = type;
    }
#ifdef __LP64__ /* elsewhere 1.5.5 has the plugin refuse, and there is no room in front */
    if (H.variant == V_155) {
        sr->content_length_155 = (int)length;
        return 0;
    }
#endif
    sr->content_length = length;
    return 0;
}
