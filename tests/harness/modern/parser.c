/* parser.c - the server's incremental request parser, as lenient as the real one. */
#include "modern.h"

#include <ctype.h>
#include <limits.h>

enum { LEVEL_FIRST = 1, LEVEL_CONTINUE, LEVEL_HEADERS, LEVEL_END, LEVEL_BODY };
enum { AT_METHOD = 1, AT_URI, AT_QUERY, AT_VERSION, AT_LINE_CR, AT_LINE_LF, AT_LINE_DONE, AT_KEY, AT_SEPARATOR,
       IN_VALUE, AT_VALUE, AT_ROW_LF, AT_BLOCK_END };
enum { CODED_CHUNKED = 1, GOES_ON = 1 };

static const struct { int len; const char *name; } METHODS[] = {
    {3, "GET"}, {4, "POST"}, {4, "HEAD"}, {3, "PUT"}, {6, "DELETE"}, {7, "OPTIONS"}};

static const char *const KNOWN[HEADER_COUNT] = {
    "accept", "accept-charset", "accept-encoding", "accept-language", "authorization", "cache-control", "cookie",
    "connection", "content-length", "content-range", "content-type", "host", "http2-settings",
    "if-modified-since", "last-modified", "last-modified-since", "range", "referer", "transfer-encoding",
    "upgrade", "user-agent"};

struct parse { struct mk_http_request *sr; struct mk_http_parser *p; char *buf; int len; };

void m_parser_init(struct mk_http_parser *p)
{
    memset(p, 0, sizeof *p);
    p->level = LEVEL_FIRST;
    p->status = AT_METHOD;
    p->chars = p->method = -1;
    p->header_key = p->header_sep = p->header_val = p->header_min = p->header_max = -1;
    p->header_content_length = -1;
    list_init(&p->header_list);
}

static void field_ends(struct mk_http_parser *p)
{
    p->end = p->i;
    p->chars = -1;
}

static int next_field(struct mk_http_parser *p)
{
    p->start = p->i + 1;
    return GOES_ON;
}

static int refuse(struct parse *at, int status)
{
    struct mk_http_session *cs = at->sr->session;
    m_error(status, cs, at->sr);
    return PARSE_ERROR;
}

static void look_for(struct parse *at, char c)
{
    char *found = memchr(at->buf + at->p->i, c, (size_t)(at->len - at->p->i));
    if (found) {
        at->p->i = (int)(found - at->buf);
    }
}

/* Any text that begins like the guess of the first letter is that method: "PO" is POST, "G" is too short. */
static void method_set(struct parse *at)
{
    struct mk_http_parser *p = at->p;
    const char *text = at->buf + p->start;
    int len = p->end - p->start;
    at->sr->method = METHOD_UNKNOWN;
    at->sr->method_p = (mk_ptr_t){at->buf + p->start, (unsigned long)len};
    if (p->method >= 0 && strncmp(text + 1, METHODS[p->method].name + 1, (size_t)(len - 1)) == 0) {
        at->sr->method = p->method;
        return;
    }
    for (int i = 0; i < METHOD_COUNT; i++) {
        if (len == METHODS[i].len && strncmp(text, METHODS[i].name, (size_t)len) == 0) {
            at->sr->method = i;
            return;
        }
    }
}

static int method_guess(char c)
{
    switch (c) {
    case 'G': return METHOD_GET;
    case 'P': return METHOD_POST;
    case 'H': return METHOD_HEAD;
    case 'D': return METHOD_DELETE;
    case 'O': return METHOD_OPTIONS;
    default: return -1;
    }
}

static int at_method(struct parse *at, char c)
{
    struct mk_http_parser *p = at->p;
    if (p->chars == -1) {
        p->method = method_guess(c);
        return GOES_ON;
    }
    if (c != ' ') {
        return p->i - p->start > 10 ? PARSE_ERROR : GOES_ON;
    }
    field_ends(p);
    p->status = AT_URI;
    if (p->end < 2) {
        return PARSE_ERROR;
    }
    method_set(at);
    return next_field(p);
}

static mk_ptr_t field(struct parse *at)
{
    return (mk_ptr_t){at->buf + at->p->start, (unsigned long)(long)(at->p->end - at->p->start)};
}

static int at_uri(struct parse *at, char c)
{
    struct mk_http_parser *p = at->p;
    if (c == '\r' || c == '\n') {
        return refuse(at, 400);
    }
    if (c != ' ' && c != '?') {
        return GOES_ON;
    }
    field_ends(p);
    p->status = c == ' ' ? AT_VERSION : AT_QUERY;
    if (c == ' ' && p->end - p->start < 1) {
        return PARSE_ERROR;
    }
    at->sr->uri = field(at);
    return next_field(p);
}

/* up to the LAST blank of the line when the line is complete, so blanks and much else may be inside */
static int at_query(struct parse *at)
{
    struct mk_http_parser *p = at->p;
    look_for(at, '\n');
    if (at->buf[p->i] == '\n') {
        for (int x = p->i; x > 0; x--) {
            if (at->buf[x] == ' ') {
                p->i = x;
                break;
            }
        }
    }
    char c = at->buf[p->i];
    if (c == '\r' || c == '\n') {
        return refuse(at, 400);
    }
    if (c != ' ') {
        return GOES_ON;
    }
    field_ends(p);
    at->sr->query_string = field(at);
    p->status = AT_VERSION;
    return next_field(p);
}

static int at_version(struct parse *at)
{
    struct mk_http_parser *p = at->p;
    if (p->start + 6 >= p->i) {
        return GOES_ON;
    }
    char *text = at->buf + p->start;
    if (memcmp(text, "HTTP/1.", 7) != 0) {
        return refuse(at, 505);
    }
    at->sr->protocol_p = (mk_ptr_t){text, 8};
    at->sr->protocol = text[7] == '1' ? PROTOCOL_11 : text[7] == '0' ? PROTOCOL_10 : PROTOCOL_UNKNOWN;
    p->status = AT_LINE_CR;
    return GOES_ON;
}

/* ---- bodies ---- */

/* p->i stays behind the head, which is why the chunks are taken for the next request afterwards */
static int chunks(struct parse *at)
{
    struct mk_http_parser *p = at->p;
    char *end = at->buf + at->len, size[32], *stop;
    p->level = LEVEL_BODY;
    if (!p->chunk_processed_start) {
        if (!p->chunk_expected_start) {
            p->chunk_expected_start = at->buf + p->i;
        }
        p->chunk_processed_start = p->chunk_expected_start;
        if (at->len == p->i) {
            return PARSE_PENDING;
        }
        if (*p->chunk_processed_start != '\n') {
            return PARSE_ERROR;
        }
        p->chunk_processed_start++;
    }
    for (;;) {
        char *start = p->chunk_processed_start;
        if (start < at->buf || start > end) {
            host_error(LOG_WARN_TYPE, "chunked body across a grown buffer: the real server reads its old place");
            return PARSE_ERROR;
        }
        char *line = memmem(start, (size_t)(end - start), "\r\n", 2);
        if (!line) {
            return PARSE_PENDING;
        }
        size_t digits = (size_t)(line - start);
        if (digits == 0 || digits > sizeof size - 1) {
            return PARSE_ERROR;
        }
        memcpy(size, start, digits);
        size[digits] = 0;
        errno = 0;
        long n = strtol(size, &stop, 16);
        if (errno != 0 || n < 0 || (M.variant != V_187 && (stop == size || *stop))) {
            return PARSE_ERROR;
        }
        if (n == 0) {
            if (end - start < 5) {
                return PARSE_PENDING;
            }
            return memcmp(start, "0\r\n\r\n", 5) == 0 ? PARSED : PARSE_ERROR;
        }
        char *content = line + 2;
        p->chunk_expected_size = (size_t)n;
        if (end - content < n + 2) {
            return PARSE_PENDING;
        }
        p->chunk_processed_end = content + n;
        if (memcmp(p->chunk_processed_end, "\r\n", 2) != 0) {
            return PARSE_ERROR;
        }
        p->chunk_processed_start = p->chunk_processed_end + 2;
        p->chunk_total_size_received += (size_t)n;
    }
}

static int complete(struct parse *at)
{
    if (at->sr->protocol == PROTOCOL_UNKNOWN) {
        return refuse(at, 505);
    }
    if (at->sr->method == METHOD_POST || at->sr->method == METHOD_PUT) {
        if (at->p->header_transfer_encoding & CODED_CHUNKED) {
            return chunks(at);
        }
        if (at->p->headers[HEADER_CONTENT_LENGTH].type == 0) {
            return refuse(at, 411);
        }
    }
    return PARSED;
}

/* everything received counts as the body, also what belongs to the next request */
static int at_body(struct parse *at)
{
    struct mk_http_parser *p = at->p;
    if (p->header_content_length > 0) {
        p->body_received = at->len - p->start;
        if (p->body_received < p->header_content_length) {
            return PARSE_PENDING;
        }
        p->i += (int)p->body_received;
        at->sr->data = (mk_ptr_t){at->buf + p->start, (unsigned long)p->body_received};
    }
    return complete(at);
}

static int first_line(struct parse *at)
{
    struct mk_http_parser *p = at->p;
    char c = at->buf[p->i];
    switch (p->status) {
    case AT_METHOD: return at_method(at, c);
    case AT_URI: return at_uri(at, c);
    case AT_QUERY: return at_query(at);
    case AT_VERSION: return at_version(at);
    case AT_LINE_CR:
        p->status = AT_LINE_LF;
        return c == '\r' ? GOES_ON : PARSE_ERROR;
    case AT_LINE_LF:
        p->level = LEVEL_CONTINUE;
        return c == '\n' ? next_field(p) : PARSE_ERROR;
    case AT_BLOCK_END: return c == '\n' ? complete(at) : PARSE_ERROR;
    default: return GOES_ON;
    }
}

/* ---- rows ---- */
static bool contains(mk_ptr_t text, const char *what)
{
    return str_search_n(text.data, what, 1, (int)text.len) >= 0;
}

static bool is(mk_ptr_t text, const char *what)
{
    return text.len == strlen(what) && strncasecmp(text.data, what, text.len) == 0;
}

static int host_row(struct mk_http_parser *p, struct mk_http_header *h)
{
    char *colon = memrchr(h->val.data, ':', h->val.len), port[6], *stop;
    if (h->val.len == 0) {
        return -400;
    }
    if (!colon || colon == h->val.data) {
        return 0;
    }
    size_t n = h->val.len - (size_t)(colon - h->val.data) - 1;
    if (n == 0 || n >= sizeof port) {
        return -400;
    }
    memcpy(port, colon + 1, n);
    port[n] = 0;
    long number = strtol(port, &stop, 10);
    if (stop == port || *stop) {
        return -400;
    }
    p->header_host_port = (int)number;
    h->val.len = (unsigned long)(colon - h->val.data);
    return 0;
}

static int length_row(struct mk_http_parser *p, mk_ptr_t val)
{
    long number = 0;
    size_t i = 0;
    for (; i < val.len && isdigit((unsigned char)val.data[i]); i++) {
        int digit = val.data[i] - '0';
        if (number > (LONG_MAX - digit) / 10) {
            return -413;
        }
        number = number * 10 + digit;
    }
    if (i == 0) {
        return M.variant == V_187 ? -1 : -400;
    }
    for (; M.variant != V_187 && i < val.len; i++) {
        if (val.data[i] != ' ' && val.data[i] != '\t') {
            return -400;
        }
    }
    p->header_content_length = number;
    return 0;
}

/* a value of the right LENGTH that is something else leaves what an earlier line said */
static void connection_row(struct mk_http_parser *p, mk_ptr_t val)
{
    if (val.len == 10) {
        p->header_connection = is(val, "keep-alive") ? LINK_KA : p->header_connection;
    } else if (val.len == 5) {
        p->header_connection = is(val, "close") ? LINK_CLOSE : p->header_connection;
    } else {
        p->header_connection = contains(val, "Upgrade") ? LINK_UPGRADE : -1;
        p->header_connection |= contains(val, "HTTP2-Settings") ? 8 : 0;
    }
}

static int known_row(struct mk_http_parser *p, struct mk_http_header *h, int index)
{
    static const char *const codings[] = {"chunked", "gzip", "compress", "deflate", "identity"};
    switch (index) {
    case HEADER_HOST:
        return host_row(p, h);
    case HEADER_CONTENT_LENGTH:
        return h->val.len ? length_row(p, h->val) : -400;
    case HEADER_CONNECTION:
        connection_row(p, h->val);
        return 0;
    case HEADER_TRANSFER_ENCODING:
        for (int i = 0; h->val.len && i < 5; i++) {
            p->header_transfer_encoding |= contains(h->val, codings[i]) ? 1 << i : 0;
        }
        return 0;
    case HEADER_UPGRADE:
        p->header_upgrade = is(h->val, "h2c") ? 2 : p->header_upgrade;
        return h->val.len ? 0 : -400;
    default:
        return 0;
    }
}

/* Of a known name the last line wins, in the index and in the list; unknown names become lower case in the buffer. */
static int row(struct parse *at)
{
    struct mk_http_parser *p = at->p;
    int len = p->header_sep - p->header_key;
    mk_ptr_t key = {at->buf + p->header_key, (unsigned long)len};
    mk_ptr_t val = {at->buf + p->header_val, (unsigned long)(p->end - p->header_val)};
    for (int i = p->header_min; i >= 0 && i <= p->header_max; i++) {
        if (!is(key, KNOWN[i])) {
            continue;
        }
        struct mk_http_header *h = &p->headers[i];
        h->type = i;
        h->key = key;
        h->val = val;
        p->header_count++;
        if (h->_head.next && h->_head.prev) {
            list_del(&h->_head);
        }
        list_add(&h->_head, &p->header_list);
        return known_row(p, h, i);
    }
    if (p->headers_extra_count == UNKNOWN_HEADERS) {
        return -413;
    }
    struct mk_http_header *h = &p->headers_extra[p->headers_extra_count++];
    for (int i = 0; i < len; i++) {
        key.data[i] = (char)tolower((unsigned char)key.data[i]);
    }
    h->key = key;
    h->val = val;
    p->header_count++;
    list_add(&h->_head, &p->header_list);
    return 0;
}

static int row_ends(struct parse *at)
{
    struct mk_http_parser *p = at->p;
    int ret = row(at);
    if (ret != 0) {
        return ret < -1 ? refuse(at, -ret) : PARSE_ERROR;
    }
    p->status = AT_ROW_LF;
    if (p->i + 1 < at->len && at->buf[p->i + 1] == '\n') {
        p->i++;
        p->status = AT_KEY;
        p->chars = -1;
    }
    return next_field(p);
}

/* the first letter narrows what the name may be */
static void row_starts(struct mk_http_parser *p, char c)
{
    static const struct { char c; int min, max; } ranges[] = {
        {'a', HEADER_ACCEPT, HEADER_AUTHORIZATION}, {'c', HEADER_CACHE_CONTROL, HEADER_CONTENT_TYPE},
        {'h', HEADER_HOST, HEADER_HTTP2_SETTINGS}, {'i', HEADER_IF_MODIFIED_SINCE, HEADER_IF_MODIFIED_SINCE},
        {'l', HEADER_LAST_MODIFIED, HEADER_LAST_MODIFIED_SINCE}, {'r', HEADER_RANGE, HEADER_REFERER},
        {'t', HEADER_TRANSFER_ENCODING, HEADER_TRANSFER_ENCODING}, {'u', HEADER_UPGRADE, HEADER_USER_AGENT}};
    p->header_sep = p->header_min = p->header_max = -1;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (tolower((unsigned char)c) == ranges[i].c) {
            p->header_min = ranges[i].min;
            p->header_max = ranges[i].max;
        }
    }
    p->header_key = p->i;
}

static int at_key(struct parse *at, char c)
{
    struct mk_http_parser *p = at->p;
    if (c == '\r') {
        p->level = LEVEL_END;
        return p->chars == 0 ? next_field(p) : PARSE_ERROR;
    }
    if (p->chars == 0) {
        row_starts(p, c);
        return GOES_ON;
    }
    look_for(at, ':'); /* over line ends too */
    if (at->buf[p->i] != ':') {
        return GOES_ON;
    }
    p->header_sep = p->i;
    field_ends(p);
    p->status = AT_VALUE;
    return p->end - p->start < 1 ? PARSE_ERROR : next_field(p);
}

static int header_level(struct parse *at)
{
    struct mk_http_parser *p = at->p;
    char c = at->buf[p->i];
    switch (p->status) {
    case AT_KEY:
        return at_key(at, c);
    case AT_VALUE:
        if (c == '\n' || (c == '\r' && M.variant == V_187)) {
            return PARSE_ERROR;
        }
        if (c == '\r') {
            p->header_val = p->i;
            field_ends(p);
            return row_ends(at);
        }
        if (c != ' ' && (c != '\t' || M.variant == V_187)) {
            p->status = IN_VALUE;
            p->start = p->header_val = p->i;
        }
        return GOES_ON;
    case IN_VALUE:
        if (c == '\n' && at->buf[p->i - 1] != '\r') {
            return PARSE_ERROR;
        }
        if (c != '\r') {
            return GOES_ON;
        }
        field_ends(p);
        return p->end <= p->start ? PARSE_ERROR : row_ends(at);
    case AT_ROW_LF:
        p->status = AT_KEY;
        p->chars = -1;
        return c == '\n' ? next_field(p) : PARSE_ERROR;
    default:
        return GOES_ON;
    }
}

static int one_byte(struct parse *at)
{
    struct mk_http_parser *p = at->p;
    char c = at->buf[p->i];
    switch (p->level) {
    case LEVEL_FIRST:
        return first_line(at);
    case LEVEL_CONTINUE:
        if (c == '\r') {
            p->level = LEVEL_FIRST;
            p->status = AT_BLOCK_END;
            return GOES_ON;
        }
        p->level = LEVEL_HEADERS;
        p->status = AT_KEY;
        p->chars = 0;
        return header_level(at);
    case LEVEL_HEADERS:
        return header_level(at);
    case LEVEL_END:
        if (c != '\n') {
            return PARSE_ERROR;
        }
        if (p->header_content_length <= 0) {
            return complete(at);
        }
        p->level = LEVEL_BODY;
        p->chars = -1;
        return next_field(p);
    default:
        return at_body(at);
    }
}

int m_parse(struct mk_http_request *sr, struct mk_http_parser *p, char *buf, int len)
{
    struct parse at = {sr, p, buf, len};
    for (; p->i < len; p->i++, p->chars++) {
        int ret = one_byte(&at);
        if (ret != GOES_ON) {
            return ret;
        }
    }
    return PARSE_PENDING;
}
