/* setup.c - monkey.conf and the default site into the server structure; content types; the listening sockets. */
#include "modern.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

static _Noreturn void invalid(const char *key)
{
    host_error(LOG_ERR_TYPE, "[config] %s has an invalid value", key);
    exit(EXIT_FAILURE);
}

static char *string(struct mk_rconf_section *s, const char *key)
{
    return m_config_section_get_key(s, (char *)(uintptr_t)key, VAL_STR);
}

static int number(struct mk_rconf_section *s, const char *key, int least, int otherwise)
{
    char *text = string(s, key);
    int value = text ? (int)strtol(text, NULL, 10) : otherwise;
    mem_free(text);
    if (value < least) {
        invalid(key);
    }
    return value;
}

static int8_t boolean(struct mk_rconf_section *s, const char *key, int otherwise)
{
    char *text = string(s, key);
    int value = text ? (int)(intptr_t)m_config_section_get_key(s, (char *)(uintptr_t)key, VAL_BOOL) : otherwise;
    mem_free(text);
    if (value < 0) {
        invalid(key);
    }
    return (int8_t)value;
}

static struct mk_rconf *need(const char *path)
{
    struct mk_rconf *conf = m_config_open(path);
    if (!conf) {
        host_error(LOG_ERR_TYPE, "Cannot read '%s'", path);
        exit(EXIT_FAILURE);
    }
    return conf;
}

/* ---- the site ---- */
static void handler_add(struct mk_vhost *host, const char *value)
{
    struct mk_list *words = str_split_line(value);
    struct mk_vhost_handler *handler = mem_alloc_z(sizeof *handler);
    int i = 0;
    list_init(&handler->params);
    FOREACH(it, words) {
        struct mk_string_line *word = ENTRY(it, struct mk_string_line, _head);
        if (i == 0) {
            handler->match = m_regex_compile(word->val);
            if (!handler->match) {
                violation("invalid-match", "%s (the real server dies of it)", word->val);
            }
        } else if (i == 1) {
            handler->name = str_dup(word->val);
        } else {
            struct mk_vhost_handler_param *param = mem_alloc_z(sizeof *param);
            param->p = (mk_ptr_t){str_dup(word->val), (unsigned long)word->len};
            list_add(&param->_head, &handler->params);
            handler->n_params++;
        }
        i++;
    }
    str_split_free(words);
    if (i < 2) {
        host_error(LOG_ERR_TYPE, "[Host Handlers] invalid Match value");
        exit(EXIT_FAILURE);
    }
    list_add(&handler->_head, &host->handlers);
}

static void error_page_add(struct mk_vhost *host, const struct mk_rconf_entry *e)
{
    struct mk_vhost_error_page *page = mem_alloc_z(sizeof *page);
    unsigned long len;
    page->status = (short)atoi(e->key);
    page->file = str_dup(e->val);
    str_build(&page->real_path, &len, "%s/%s", host->documentroot.data, e->val);
    list_add(&page->_head, &host->error_pages);
}

static void names_add(struct mk_vhost *host, struct mk_rconf_section *section)
{
    char *line = string(section, "ServerName");
    struct mk_list *names = str_split_line(line ? line : "127.0.0.1");
    FOREACH(it, names) {
        struct mk_string_line *word = ENTRY(it, struct mk_string_line, _head);
        struct mk_vhost_alias *alias = mem_alloc_z(sizeof *alias);
        alias->name = str_dup(word->val);
        alias->len = (unsigned int)word->len;
        list_add(&alias->_head, &host->server_names);
    }
    str_split_free(names);
    mem_free(line);
}

static void site_load(const char *path)
{
    struct mk_vhost *host = mem_alloc_z(sizeof *host);
    host->file = str_dup(path);
    host->config = need(path);
    list_init(&host->server_names);
    list_init(&host->error_pages);
    list_init(&host->handlers);
    struct mk_rconf_section *section = m_config_section_get(host->config, "HOST");
    char *root = section ? string(section, "DocumentRoot") : NULL;
    if (!root) {
        host_error(LOG_ERR_TYPE, "%s: no [HOST] with a DocumentRoot", path);
        exit(EXIT_FAILURE);
    }
    host->documentroot = (mk_ptr_t){root, strlen(root)};
    names_add(host, section);
    section = m_config_section_get(host->config, "ERROR_PAGES");
    for (struct mk_list *it = section ? section->entries.next : NULL; it && it != &section->entries; it = it->next) {
        error_page_add(host, ENTRY(it, struct mk_rconf_entry, _head));
    }
    section = m_config_section_get(host->config, "HANDLERS");
    for (struct mk_list *it = section ? section->entries.next : NULL; it && it != &section->entries; it = it->next) {
        struct mk_rconf_entry *e = ENTRY(it, struct mk_rconf_entry, _head);
        if (strncasecmp(e->key, "Match", strlen(e->key)) == 0) {
            handler_add(host, e->val);
        }
    }
    list_add(&host->_head, &M.server->hosts);
    M.server->nhosts++;
}

/* ---- content types ---- */
static void mime_add(const char *ext, const char *type)
{
    struct mime *m = mem_alloc_z(sizeof *m);
    unsigned long len;
    m->ext = str_dup(ext);
    str_build(&m->header.data, &len, "Content-Type: %s\r\n", type);
    m->header.len = len;
    list_add(&m->_head, &M.mimes);
}

static void mimes_load(const char *path)
{
    list_init(&M.mimes);
    struct mk_rconf *conf = access(path, R_OK) == 0 ? m_config_open(path) : NULL;
    struct mk_rconf_section *section = conf ? m_config_section_get(conf, "MIMETYPES") : NULL;
    for (struct mk_list *it = section ? section->entries.next : NULL; it && it != &section->entries; it = it->next) {
        struct mk_rconf_entry *e = ENTRY(it, struct mk_rconf_entry, _head);
        mime_add(e->key, e->val);
    }
    m_config_free(conf);
}

mk_ptr_t m_mime_of(const char *path)
{
    const char *dot = strrchr(path, '.');
    FOREACH(it, &M.mimes) {
        struct mime *m = ENTRY(it, struct mime, _head);
        if (dot && strcasecmp(m->ext, dot + 1) == 0) {
            return m->header;
        }
    }
    return (mk_ptr_t){M.default_mime, strlen(M.default_mime)};
}

/* ---- the server ---- */
static void signature(void)
{
    static const char *const texts[] = {"Monkey/1.8.9", "Monkey/1.8.7", "Monkey/1.6.9", "Monkey/9.9.9"};
    struct mk_server *s = M.server;
    unsigned long len;
    const char *text = s->hideversion ? "Monkey" : texts[M.variant];
    snprintf(late()->server_signature, sizeof late()->server_signature, "%s", text);
    late()->server_signature_header_len = snprintf(late()->server_signature_header,
                                                   sizeof late()->server_signature_header, "Server: %s\r\n", text);
    str_build(&s->server_software.data, &len, s->hideversion ? "Monkey Server" : "%s (Linux)", text);
    s->server_software.len = len;
}

/* "Listen 2001" or "Listen 127.0.0.1:2001"; further words are properties */
static void listen_read(struct mk_rconf_section *section, int port)
{
    char *text = string(section, "Listen");
    struct mk_list *words = str_split_line(text ? text : "2001");
    char *first = ENTRY(words->next, struct mk_string_line, _head)->val, *colon = strrchr(first, ':');
    M.port = port >= 0 ? port : atoi(colon ? colon + 1 : first);
    if (colon) {
        *colon = 0;
    }
    /* a test host is not for the network */
    M.listen_addr = str_dup(colon && strcmp(first, "0.0.0.0") != 0 ? first : "127.0.0.1");
    str_split_free(words);
    mem_free(text);
    M.listen.address = M.listen_addr;
    M.listen.flags = CAP_HTTP | (C.fake_tls ? CAP_SOCK_TLS : 0);
    list_add(&M.listen._head, &M.server->listeners);
}

static void lists_init(void)
{
    struct mk_list *lists[] = {&M.server->listeners, &M.server->hosts, &M.server->plugins, &late()->mimetype_list,
                               &late()->sched_worker_callbacks, &late()->stage10_handler, &late()->stage20_handler,
                               &late()->stage30_handler, &late()->stage40_handler, &late()->stage50_handler};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        list_init(lists[i]);
    }
}

static void values_read(struct mk_rconf_section *section, const struct options *options)
{
    struct mk_server *s = M.server;
    struct rlimit limit;
    unsigned long len;
    s->workers = (short)(options->workers > 0 ? options->workers : number(section, "Workers", 0, 0));
    if (s->workers < 1) {
        s->workers = (short)sysconf(_SC_NPROCESSORS_ONLN);
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    s->server_capacity = (unsigned int)limit.rlim_cur;
    s->timeout = number(section, "Timeout", 1, 15);
    s->keep_alive = boolean(section, "KeepAlive", 1);
    s->max_keep_alive_request = number(section, "MaxKeepAliveRequest", 1, 50);
    s->keep_alive_timeout = number(section, "KeepAliveTimeout", 1, 15);
    s->max_request_size = number(section, "MaxRequestSize", 1, 32) * 1024;
    s->symlink = boolean(section, "SymLink", 0);
    s->hideversion = M.hidden ? 1 : boolean(section, "HideVersion", 0);
    s->resume = boolean(section, "Resume", 1);
    s->fdt = boolean(section, "FDT", 0);
    s->path_conf_pidfile = string(section, "PidFile");
    s->conf_user_pub = NULL; /* no /~user paths here */
    s->user = string(section, "User");
    s->index_files = m_config_section_get_key(section, (char *)"Indexfile", VAL_LIST);
    char *type = string(section, "DefaultMimeType");
    str_build(&late()->mimetype_default_str, &len, "%s\r\n", type ? type : "text/plain");
    str_build(&M.default_mime, &len, "Content-Type: %s\r\n", type ? type : "text/plain");
    mem_free(type);
    s->transport_layer = str_dup(C.fake_tls ? "fake-tls" : "liana");
}

void m_setup(const struct options *options)
{
    static struct mk_clock_context clock;
    char path[PATH_LIMIT];
    struct mk_server *s = M.server = mem_alloc_z(sizeof *M.server);
    lists_init();
    s->path_conf_root = str_dup(options->dir);
    s->conf_main = str_dup("monkey.conf");
    s->conf_mimetype = str_dup("monkey.mime");
    s->conf_plugin_load = str_dup("plugins.load");
    s->conf_sites = str_dup("sites/");
    s->conf_plugins = str_dup("plugins/");
    s->is_daemon = C.daemon;
    s->server_fd = -1;
    s->kernel_features = 3; /* 1.8.9 does not find autocorking in new kernels */
    s->scheduler_mode = 1;
    s->standard_port = 80;
    clock.monkey_init_time = clock.log_current_utime = clock_now();
    late()->clock_context = &clock;
    snprintf(path, sizeof path, "%s/%s", options->dir, s->conf_main);
    late()->config = need(path);
    struct mk_rconf_section *section = m_config_section_get(late()->config, "SERVER");
    if (!section) {
        host_error(LOG_ERR_TYPE, "ERROR: No 'SERVER' section defined");
        exit(EXIT_FAILURE);
    }
    values_read(section, options);
    listen_read(section, options->port);
    signature();
    snprintf(path, sizeof path, "%s/sites/default", options->dir);
    site_load(path);
    snprintf(path, sizeof path, "%s/%s", options->dir, s->conf_mimetype);
    mimes_load(path);
}

static void host_free(struct mk_vhost *host)
{
    FOREACH_SAFE(it, tmp, &host->server_names) {
        struct mk_vhost_alias *alias = ENTRY(it, struct mk_vhost_alias, _head);
        mem_free(alias->name);
        mem_free(alias);
    }
    FOREACH_SAFE(jt, jtmp, &host->error_pages) {
        struct mk_vhost_error_page *page = ENTRY(jt, struct mk_vhost_error_page, _head);
        mem_free(page->file);
        mem_free(page->real_path);
        mem_free(page);
    }
    FOREACH_SAFE(kt, ktmp, &host->handlers) {
        struct mk_vhost_handler *handler = ENTRY(kt, struct mk_vhost_handler, _head);
        FOREACH_SAFE(lt, ltmp, &handler->params) {
            struct mk_vhost_handler_param *param = ENTRY(lt, struct mk_vhost_handler_param, _head);
            mem_free(param->p.data);
            mem_free(param);
        }
        free(handler->match);
        mem_free(handler->name);
        mem_free(handler);
    }
    mem_free(host->file);
    mem_free(host->documentroot.data);
    m_config_free(host->config);
    mem_free(host);
}

void m_setup_free(void)
{
    struct mk_server *s = M.server;
    FOREACH_SAFE(it, tmp, &s->hosts) {
        host_free(ENTRY(it, struct mk_vhost, _head));
    }
    FOREACH_SAFE(jt, jtmp, &M.mimes) {
        struct mime *m = ENTRY(jt, struct mime, _head);
        mem_free(m->ext);
        mem_free(m->header.data);
        mem_free(m);
    }
    char *texts[] = {s->path_conf_root, s->conf_main, s->conf_mimetype, s->conf_plugin_load, s->conf_sites,
                     s->conf_plugins, s->path_conf_pidfile, s->user, s->transport_layer, s->server_software.data,
                     late()->mimetype_default_str, M.default_mime, M.listen_addr};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mem_free(texts[i]);
    }
    str_split_free(s->index_files);
    m_config_free(late()->config);
    mem_free(s);
}

/* the first call may have port 0; the number it learned is used for the other workers */
int m_listener(int port)
{
    int on = 1;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, M.listen_addr, &addr.sin_addr) != 1
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0
        || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0
        || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0
        || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 || listen(fd, 1024) != 0
        || getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        host_error(LOG_ERR_TYPE, "cannot listen on %s:%d: %s", M.listen_addr, port, strerror(errno));
        exit(EXIT_FAILURE);
    }
    M.port = ntohs(addr.sin_port);
    return fd;
}
