/* api.c - the 88-entry table: real functions for what a plugin of this kind may use, NULL where the server has NULL,
 * loud ones for the rest. */
#include "modern.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value);
}

static int socket_cork_flag(int fd, int on) { return set_option(fd, IPPROTO_TCP, TCP_CORK, on); }
static int socket_set_tcp_fastopen(int fd) { return set_option(fd, IPPROTO_TCP, TCP_FASTOPEN, 5); }
static int socket_set_tcp_nodelay(int fd) { return set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); }
static int socket_set_tcp_reuseport(int fd) { return set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1); }
static int socket_create(void) { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }
static int socket_reset(int fd) { return set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1); }

static int socket_set_nonblocking(int fd)
{
    return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0 ? -1 : 0;
}

static int socket_connect(char *host, int port, int async)
{
    violation("blocking-connect", "socket_connect(%s, %d, %d) resolves names and may block", host, port, async);
}

static int socket_ip_str(int fd, char **buf, int size, unsigned long *len)
{
    struct sockaddr_storage peer;
    socklen_t n = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &n) != 0) {
        return -1;
    }
    const void *addr = peer.ss_family == AF_INET6 ? (void *)&((struct sockaddr_in6 *)&peer)->sin6_addr
                                                  : (void *)&((struct sockaddr_in *)&peer)->sin_addr;
    if (!inet_ntop(peer.ss_family, addr, *buf, (socklen_t)size)) {
        return -1;
    }
    *len = strlen(*buf);
    return 0;
}

static void pointer_set(mk_ptr_t *p, char *text)
{
    *p = (mk_ptr_t){text, strlen(text)};
}

static int str_char_search(const char *text, int c, int len)
{
    size_t n = len < 0 ? strlen(text) : (size_t)len;
    const char *at = memchr(text, c, n);
    return at ? (int)(at - text) : -1;
}

static int get_info(const char *path, struct file_info *info, int mode)
{
    (void)mode;
    return file_get_info(path, info);
}

static int header_prepare(struct mk_plugin *plugin, struct mk_http_session *cs, struct mk_http_request *sr)
{
    (void)plugin;
    return m_header_prepare(cs, sr);
}

static struct mk_http_header *header_get(int name, struct mk_http_request *sr, const char *key, unsigned int len)
{
    struct mk_http_parser *p = parser_of(sr->session);
    if (name >= 0 && name < HEADER_COUNT) {
        return &p->headers[name];
    }
    for (int i = 0; name == HEADER_OTHER && i < p->headers_extra_count; i++) {
        struct mk_http_header *h = &p->headers_extra[i];
        if (h->key.len == len && strncmp(h->key.data, key, len) == 0) {
            return h;
        }
    }
    return NULL;
}

static ssize_t iov_send(int fd, struct mk_iov *iov) { return writev(fd, iov->io, iov->iov_idx); }
static char *ev_backend(void) { return (char *)"epoll"; }

/* of a thread that is no worker the real one reads through a null pointer */
static struct mk_event_loop *sched_loop(void)
{
    if (!MW) {
        violation("sched_loop-outside-worker", "the server reads through a null pointer");
    }
    return MW->sched->loop;
}

static int sched_remove_client(int fd, struct mk_server *server)
{
    (void)fd;
    (void)server;
    return -1;
}

static struct mk_sched_conn *sched_get_connection(struct mk_sched_worker *worker, int fd)
{
    (void)worker;
    (void)fd;
    return NULL;
}

static struct mk_sched_worker *sched_worker_info(void) { return MW ? MW->sched : NULL; }

struct spawn { void (*func)(void *); void *arg; };
static void *spawned(void *arg)
{
    struct spawn s = *(struct spawn *)arg;
    free(arg);
    s.func(s.arg);
    return NULL;
}

static int worker_spawn(void *func, void *arg, pthread_t *thread)
{
    pthread_attr_t attr;
    struct spawn *s = malloc(sizeof *s);
    memcpy(&s->func, &func, sizeof func);
    s->arg = arg;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_JOINABLE);
    int ret = pthread_create(thread, &attr, spawned, s);
    if (ret != 0) {
        free(s);
    }
    pthread_attr_destroy(&attr);
    return ret == 0 ? 0 : -1;
}

static int worker_rename(const char *name) { return prctl(PR_SET_NAME, name); }
static int time_unix(void) { return (int)clock_now(); }
static mk_ptr_t *time_human(void) { return clock_human(); }

static int time_to_gmt(char **text, time_t when)
{
    if (!MW) {
        violation("time_to_gmt-outside-worker", "it uses a cache of the worker thread");
    }
    if (!*text) {
        *text = mem_alloc_z(48);
    }
    return gmt_format(*text, 48, when);
}

static int kernel_version(void)
{
    struct utsname u;
    int a = 0, b = 0, c = 0;
    uname(&u);
    sscanf(u.release, "%d.%d.%d", &a, &b, &c);
    return (a << 16) + (b << 8) + (c > 255 ? 255 : c);
}

static int kernel_features_print(char *to, size_t size, struct mk_server *server)
{
    (void)server;
    return snprintf(to, size, "TCP_FASTOPEN SO_REUSEPORT ");
}

static struct mk_vhost_handler_param *handler_param_get(int index, struct mk_list *params)
{
    FOREACH(it, params) {
        if (index-- == 0) {
            return ENTRY(it, struct mk_vhost_handler_param, _head);
        }
    }
    return NULL;
}

#define REFUSED(name) \
    static void refused_##name(void) { violation(#name, "this entry of the api has no use in a plugin of this kind"); }
REFUSED(pointer_print) REFUSED(iov_print) REFUSED(plugin_load_symbol) REFUSED(mimetype_lookup) REFUSED(socket_open)
REFUSED(net_conn_create) REFUSED(stacktrace) REFUSED(api_of_another_version)

static struct plugin_api table;

/* socket_close, socket_read, socket_send_file, config, ev_get_fdt, stream_new, stream_set and the old event
 * functions stay NULL */
void m_api_build(void)
{
#define OWN(name) table.name = name
#define SHARED(name) table.name = m_##name
#define REFUSE(name) table.name = (void *)refused_##name
    OWN(socket_cork_flag); OWN(socket_reset); OWN(socket_set_tcp_fastopen); OWN(socket_set_tcp_reuseport);
    OWN(socket_set_tcp_nodelay); OWN(socket_connect); OWN(socket_set_nonblocking); OWN(socket_create);
    OWN(socket_ip_str); OWN(pointer_set); OWN(str_char_search); OWN(header_prepare); OWN(header_get);
    OWN(iov_send); OWN(ev_backend); OWN(sched_loop); OWN(sched_remove_client); OWN(sched_get_connection);
    OWN(sched_worker_info); OWN(worker_rename); OWN(time_unix); OWN(time_to_gmt); OWN(time_human);
    OWN(kernel_version); OWN(kernel_features_print); OWN(handler_param_get);
    OWN(mem_alloc); OWN(mem_alloc_z); OWN(mem_realloc); OWN(mem_free); OWN(str_itop); OWN(str_search);
    OWN(str_search_n); OWN(str_build); OWN(str_dup); OWN(str_copy_substr); OWN(str_split_line);
    OWN(str_split_free); OWN(file_to_buffer);
    SHARED(header_add); SHARED(channel_new); SHARED(channel_flush); SHARED(channel_write);
    SHARED(channel_append_stream); SHARED(iov_create); SHARED(iov_realloc); SHARED(iov_free);
    SHARED(iov_free_marked); SHARED(iov_add); SHARED(iov_set_entry); SHARED(ev_add); SHARED(ev_del);
    SHARED(ev_timeout_create); SHARED(ev_channel_create); SHARED(ev_wait); SHARED(config_open);
    SHARED(config_create); SHARED(config_free); SHARED(config_section_get); SHARED(config_section_get_key);
    table._error = host_error;
    table.pointer_to_buf = ptr_to_buf;
    table.file_get_info = get_info;
    table.header_set_http_status = m_header_set_status;
    table.http_request_end = m_plugin_request_end;
    table.http_request_error = m_plugin_request_error;
    table.ev_loop_create = m_loop_create;
    table.sched_event_free = m_event_free;
    table.worker_spawn = worker_spawn;
    table.plugins = &M.server->plugins;
    REFUSE(pointer_print); REFUSE(iov_print); REFUSE(plugin_load_symbol); REFUSE(mimetype_lookup);
    REFUSE(socket_open); REFUSE(net_conn_create); REFUSE(stacktrace);
    M.api = &table;
    late()->api = &table;
}

/* nothing in it may be called; a plugin that looks at it has already gone too far */
void *m_api_of_16(void)
{
    static void *slots[92];
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        slots[i] = (void *)refused_api_of_another_version;
    }
    return slots;
}
