/* setup.c - monkey.conf and the default site into the server configuration; the listening sockets. */
#include "harness.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

static _Noreturn void invalid(const char *key)
{
    host_error(LOG_ERR_TYPE, "Error in %s variable under monkey.conf, has an invalid value", key);
    exit(EXIT_FAILURE);
}

static int number(struct mk_config_section *s, const char *key, int least, int otherwise)
{
    char *text = config_section_getval(s, (char *)(uintptr_t)key, VAL_STR);
    int value = text ? (int)strtol(text, NULL, 10) : otherwise;
    mem_free(text);
    if (value < least) {
        invalid(key);
    }
    return value;
}

static int8_t boolean(struct mk_config_section *s, const char *key, int otherwise)
{
    char *text = config_section_getval(s, (char *)(uintptr_t)key, VAL_STR);
    int value = text ? (int)(intptr_t)config_section_getval(s, (char *)(uintptr_t)key, VAL_BOOL) : otherwise;
    mem_free(text);
    if (value < 0) {
        invalid(key);
    }
    return (int8_t)value;
}

static char *string(struct mk_config_section *s, const char *key)
{
    return config_section_getval(s, (char *)(uintptr_t)key, VAL_STR);
}

static mk_ptr_t text_of(char *text)
{
    return (mk_ptr_t){text, strlen(text)};
}

static struct mk_config *need(const char *path)
{
    struct stat st;
    struct mk_config *conf = stat(path, &st) == 0 ? config_create(path) : NULL;
    if (!conf) {
        host_error(LOG_ERR_TYPE, "Cannot read '%s'", path);
        exit(EXIT_FAILURE);
    }
    return conf;
}

static void error_pages(struct host *host)
{
    struct mk_config_section *section = config_section_get(host->config, "ERROR_PAGES");
    list_init(&host->error_pages);
    if (!section) {
        return;
    }
    FOREACH(it, &section->entries) {
        struct mk_config_entry *e = ENTRY(it, struct mk_config_entry, _head);
        struct error_page *page = mem_alloc_z(sizeof *page);
        unsigned long len;
        page->status = (short)atoi(e->key);
        page->file = str_dup(e->val);
        str_build(&page->real_path, &len, "%s/%s", host->documentroot.data, e->val);
        list_add(&page->_head, &host->error_pages);
    }
}

static void site_load(const char *path)
{
    struct server_config *c = &H.config;
    struct host *host = mem_alloc_z(sizeof *host);
    unsigned long len;
    host->file = str_dup(path);
    host->config = need(path);
    struct mk_config_section *section = config_section_get(host->config, "HOST");
    char *root = section ? string(section, "DocumentRoot") : NULL;
    if (!root) {
        host_error(LOG_ERR_TYPE, "%s: no [HOST] with a DocumentRoot", path);
        exit(EXIT_FAILURE);
    }
    host->documentroot = text_of(root);
    list_init(&host->server_names);
    char *line = string(section, "ServerName");
    struct mk_list *names = str_split_line(line ? line : "127.0.0.1");
    FOREACH(it, names) {
        struct mk_string_line *word = ENTRY(it, struct mk_string_line, _head);
        struct host_alias *alias = mem_alloc_z(sizeof *alias);
        alias->name = str_dup(word->val);
        alias->len = (unsigned int)word->len;
        list_add(&alias->_head, &host->server_names);
    }
    str_split_free(names);
    mem_free(line);
    /* the vhost's signature is the software text without the system's name */
    char *text = c->server_software.data;
    host->host_signature = c->hideversion ? str_dup("Monkey") : str_copy_substr(text, 0, (int)strcspn(text, " "));
    str_build(&host->header_host_signature.data, &len, "Server: %s", host->host_signature);
    host->header_host_signature.len = len;
    error_pages(host);
    access_log_open(host->config);
    list_add(&host->_head, &c->hosts);
    c->nhosts++;
}

static const char *software(void)
{
    switch (H.variant) {
    case V_155: return "Monkey/1.5.5 (Linux)";
    case V_140: return "Monkey/1.4.0 (Linux)";
    case V_UNKNOWN: return "Monkey/9.9.9 (Linux)";
    default: return "Monkey/1.5.6 (Linux)";
    }
}

static void file_limits(struct server_config *c)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    unsigned long fds = limit.rlim_cur > 1u << 20 ? 1u << 20 : limit.rlim_cur;
    c->worker_capacity = (unsigned int)((fds - (unsigned long)(7 + c->workers)) / 2 / (unsigned long)c->workers);
    c->max_load = c->worker_capacity * (unsigned int)c->workers;
}

void setup_config(const char *dir, int port, int workers)
{
    struct server_config *c = &H.config;
    char path[PATH_LIMIT];
    unsigned long len;

    c->path_config = str_dup(dir);
    c->serverconf = str_dup(dir);
    c->server_conf_file = str_dup("monkey.conf");
    c->mimes_conf_file = str_dup("monkey.mime");
    c->plugin_load_conf_file = str_dup("plugins.load");
    c->sites_conf_dir = str_dup("sites/");
    c->plugins_conf_dir = str_dup("plugins/");
    snprintf(path, sizeof path, "%s/%s", dir, c->server_conf_file);
    c->config = need(path);
    struct mk_config_section *s = config_section_get(c->config, "SERVER");
    if (!s) {
        host_error(LOG_ERR_TYPE, "ERROR: No 'SERVER' section defined");
        exit(EXIT_FAILURE);
    }
    c->listen_addr = string(s, "Listen");
    if (!c->listen_addr || strcmp(c->listen_addr, "0.0.0.0") == 0) {
        mem_free(c->listen_addr);
        c->listen_addr = str_dup("127.0.0.1"); /* a test host is not for the network */
    }
    c->serverport = port >= 0 ? port : number(s, "Port", 0, 2001);
    c->workers = (short)(workers > 0 ? workers : number(s, "Workers", 0, 0));
    if (c->workers < 1) {
        c->workers = (short)sysconf(_SC_NPROCESSORS_ONLN);
    }
    file_limits(c);
    c->timeout = number(s, "Timeout", 1, 15);
    c->keep_alive = boolean(s, "KeepAlive", 1);
    c->max_keep_alive_request = number(s, "MaxKeepAliveRequest", 1, 50);
    c->keep_alive_timeout = number(s, "KeepAliveTimeout", 1, 15);
    c->max_request_size = number(s, "MaxRequestSize", 1, 32) * 1024;
    c->symlink = boolean(s, "SymLink", 0);
    c->hideversion = H.hidden ? 1 : boolean(s, "HideVersion", 0);
    c->resume = boolean(s, "Resume", 1);
    c->fdt = boolean(s, "FDT", 0);
    c->pid_file_path = string(s, "PidFile");
    c->user_dir = NULL; /* no /~user paths here */
    c->user = string(s, "User");
    c->index_files = config_section_getval(s, (char *)"Indexfile", VAL_LIST);
    char *type = string(s, "DefaultMimeType");
    str_build(&c->default_mimetype, &len, "%s\r\n", type ? type : "text/plain");
    mem_free(type);
    c->transport_layer = C.fake_tls ? NULL : string(s, "TransportLayer");
    if (!c->transport_layer) {
        c->transport_layer = str_dup(C.fake_tls ? "fake-tls" : "liana");
    }
    c->transport = (char *)"http";
    c->transport_buffer_size = H.variant == V_156 ? CHUNK : 0;
    c->server_software = text_of(str_dup(c->hideversion ? "Monkey Server" : software()));
    c->kernel_features = H.variant == V_156 ? 3 : 7; /* 1.5.6 does not find autocorking in new kernels */
    c->manual_tcp_cork = H.variant == V_156;
    c->scheduler_mode = 1;
    c->standard_port = 80;
    c->is_daemon = C.daemon;
    c->server_fd = -1;
    list_init(&c->hosts);
    snprintf(path, sizeof path, "%s/sites/default", dir);
    site_load(path);
    snprintf(path, sizeof path, "%s/%s", dir, c->mimes_conf_file);
    mimes_load(path);
}

static void host_free(struct host *host)
{
    FOREACH_SAFE(it, tmp, &host->server_names) {
        struct host_alias *alias = ENTRY(it, struct host_alias, _head);
        mem_free(alias->name);
        mem_free(alias);
    }
    FOREACH_SAFE(jt, jtmp, &host->error_pages) {
        struct error_page *page = ENTRY(jt, struct error_page, _head);
        mem_free(page->file);
        mem_free(page->real_path);
        mem_free(page);
    }
    mem_free(host->file);
    mem_free(host->documentroot.data);
    mem_free(host->host_signature);
    mem_free(host->header_host_signature.data);
    config_free(host->config);
    mem_free(host);
}

void setup_free(void)
{
    struct server_config *c = &H.config;
    FOREACH_SAFE(it, tmp, &c->hosts) {
        host_free(ENTRY(it, struct host, _head));
    }
    char *texts[] = {c->path_config, c->serverconf, c->server_conf_file, c->mimes_conf_file,
                     c->plugin_load_conf_file, c->sites_conf_dir, c->plugins_conf_dir, c->listen_addr,
                     c->pid_file_path, c->user, c->default_mimetype, c->transport_layer,
                     c->server_software.data};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        mem_free(texts[i]);
    }
    str_split_free(c->index_files);
    config_free(c->config);
    mimes_free();
    access_log_close();
}

/* the first call may have port 0; the number it learned is used for the other workers */
int setup_listener(int port)
{
    int on = 1;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || inet_pton(AF_INET, H.config.listen_addr, &addr.sin_addr) != 1
        || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0
        || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0
        || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0
        || bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 || listen(fd, 1024) != 0
        || getsockname(fd, (struct sockaddr *)&addr, &len) != 0) {
        host_error(LOG_ERR_TYPE, "cannot listen on %s:%d: %s", H.config.listen_addr, port, strerror(errno));
        exit(EXIT_FAILURE);
    }
    /* no TCP_DEFER_ACCEPT: the real server sets it to 0 seconds, which is off */
    H.config.serverport = ntohs(addr.sin_port);
    return fd;
}
