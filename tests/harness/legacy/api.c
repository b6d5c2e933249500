/* api.c - the 79-entry table: real functions for what a plugin of this kind may use, loud ones for the rest. */
#include "harness.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/utsname.h>

static int set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value);
}

void cork(int fd, int on)
{
    set_option(fd, IPPROTO_TCP, TCP_CORK, on);
}

/* In the sigpipe variant the core's own writes stay harmless: it is the plugin that is being tested. */
void own_write_begin(sigset_t *before)
{
    sigset_t pipe;
    if (H.sigpipe) {
        sigemptyset(&pipe);
        sigaddset(&pipe, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &pipe, before);
    }
}

void own_write_end(const sigset_t *before)
{
    static const struct timespec none;
    sigset_t pipe;
    if (H.sigpipe) {
        int saved = errno;
        sigemptyset(&pipe);
        sigaddset(&pipe, SIGPIPE);
        sigtimedwait(&pipe, NULL, &none);
        pthread_sigmask(SIG_SETMASK, before, NULL);
        errno = saved;
    }
}

static int socket_cork_flag(int fd, int on) { return set_option(fd, IPPROTO_TCP, TCP_CORK, on); }
static int socket_set_tcp_fastopen(int fd) { return set_option(fd, IPPROTO_TCP, TCP_FASTOPEN, 5); }
static int socket_set_tcp_nodelay(int fd) { return set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1); }
static int socket_set_tcp_reuseport(int fd) { return set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1); }
static int socket_create(void) { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); }

static int socket_reset(int fd)
{
    if (set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1) != 0) {
        host_error(LOG_ERR_TYPE, "socket_reset: %s", strerror(errno));
        exit(EXIT_FAILURE);
    }
    return 0;
}

static int socket_set_nonblocking(int fd)
{
    return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0 ? -1 : 0;
}

static int socket_connect(char *host, int port)
{
    violation("blocking-connect", "socket_connect(%s, %d) would block", host, port);
}

static struct hconn *client_of(int fd)
{
    return W && fd >= 0 && fd < W->nslots ? W->slots[fd].conn : NULL;
}

static int socket_close(int fd)
{
    if (client_of(fd)) {
        violation("close-of-client-fd-by-plugin", "socket_close(%d) on a registered client", fd);
    }
    return close(fd);
}

/* HARNESS_SHORT_WRITES=1: 1 to 7 bytes are accepted, and every third call would block */
static size_t allowance(void)
{
    static __thread unsigned int calls;
    calls++;
    return calls % 3 == 0 ? 0 : 1 + calls % 7;
}

static ssize_t counted(int fd, ssize_t n)
{
    struct hconn *conn = client_of(fd);
    if (conn && n > 0) {
        conn->sent_api += (unsigned long)n;
    }
    return n;
}

static int socket_send(int fd, const void *data, size_t len)
{
    if (C.short_writes && len) {
        size_t may = allowance();
        if (may == 0) {
            errno = EAGAIN;
            return -1;
        }
        len = len < may ? len : may;
    }
    return (int)counted(fd, write(fd, data, len));
}

static int socket_sendv(int fd, struct mk_iov *iov)
{
    if (C.short_writes) {
        for (int i = 0; i < iov->iov_idx; i++) {
            if (iov->io[i].iov_len) {
                return socket_send(fd, iov->io[i].iov_base, iov->io[i].iov_len);
            }
        }
    }
    return (int)counted(fd, writev(fd, iov->io, iov->iov_idx));
}

static int socket_read(int fd, void *to, int size)
{
    return H.config.transport_layer_plugin->net_io.read(fd, to, size);
}

static ssize_t socket_send_file(int fd, int file, off_t *offset, size_t count)
{
    if (C.short_writes && count) {
        count = allowance();
        if (count == 0) {
            errno = EAGAIN;
            return -1;
        }
    }
    return counted(fd, sendfile(fd, file, offset, count));
}

/* Under fake-tls a write past the api would be plain text in a ciphered stream: compare the counts. */
static bool kernel_count(int fd, unsigned long *bytes)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    int queued = 0;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 || ioctl(fd, SIOCOUTQ, &queued) != 0) {
        return false;
    }
    *bytes = (unsigned long)info.tcpi_bytes_acked + (unsigned long)queued;
    return true;
}

void fake_tls_begin(struct hconn *conn)
{
    if (C.fake_tls && !kernel_count(conn->fd, &conn->sent_base)) {
        conn->sent_base = 0;
    }
}

void fake_tls_check(struct hconn *conn)
{
    unsigned long now;
    if (!C.fake_tls || !kernel_count(conn->fd, &now)) {
        return;
    }
    /* one more for the FIN of a shutdown() */
    if (now > conn->sent_base + conn->sent_api + 1) {
        violation("plain-write-on-tls-client", "fd %d: %lu bytes went past socket_send", conn->fd,
                  now - conn->sent_base - conn->sent_api);
    }
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

static int http_request_error(int status, struct client_session *cs, struct session_request *sr)
{
    return request_error(status, cs, sr);
}

static void pointer_set(mk_ptr_t *p, char *text)
{
    *p = (mk_ptr_t){text, strlen(text)};
}

static int sched_remove_client(int fd)
{
    violation("sched_remove_client", "called for fd %d (its session would be inherited by the next client)", fd);
}

static struct sched_connection *sched_get_connection(struct sched_list_node *node, int fd)
{
    if (!node || !W || node != W->node) {
        violation("sched_get_connection", "fd %d asked with a node that is not this worker's", fd);
    }
    struct hconn *conn = client_of(fd);
    return conn ? &conn->pub.v156 : NULL;
}

static struct sched_list_node *sched_worker_info(void)
{
    return W ? W->node : NULL;
}

struct spawn { void (*func)(void *); void *arg; };
static void *spawned(void *arg)
{
    struct spawn s = *(struct spawn *)arg;
    free(arg);
    s.func(s.arg);
    return NULL;
}

static pthread_t worker_spawn(void (*func)(void *), void *arg)
{
    pthread_t thread = 0;
    pthread_attr_t attr;
    struct spawn *s = malloc(sizeof *s);
    *s = (struct spawn){func, arg};
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attr, spawned, s) != 0) {
        free(s);
    }
    pthread_attr_destroy(&attr);
    return thread;
}

static int worker_rename(const char *name) { return prctl(PR_SET_NAME, name); }
static int time_unix(void) { return (int)clock_now(); }
static mk_ptr_t *time_human(void) { return clock_human(); }

static int time_to_gmt(char **text, time_t when)
{
    if (!W) {
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

static int kernel_features_print(char *to, size_t size)
{
    return snprintf(to, size, "TCP_FASTOPEN SO_REUSEPORT TCP_AUTOCORKING ");
}

static ssize_t iov_send(int fd, struct mk_iov *iov) { return socket_sendv(fd, iov); }

#define REFUSED(name) \
    static void refused_##name(void) { violation(#name, "this entry of the api has no use in a plugin of this kind"); }
REFUSED(pointer_print) REFUSED(iov_realloc) REFUSED(iov_free_marked) REFUSED(iov_set_entry) REFUSED(iov_print)
REFUSED(plugin_load_symbol) REFUSED(epoll_init) REFUSED(epoll_create) REFUSED(mimetype_lookup)
REFUSED(rb_insert_color) REFUSED(rb_erase) REFUSED(rb_link_node) REFUSED(stacktrace) REFUSED(unknown_slot)

static struct plugin_api table;
static void *shifted[100];

static void table_fill(void)
{
#define OWN(name) table.name = name
#define REFUSE(name) table.name = (void *)refused_##name
    OWN(socket_cork_flag); OWN(socket_reset); OWN(socket_set_tcp_fastopen); OWN(socket_set_tcp_nodelay);
    OWN(socket_set_tcp_reuseport); OWN(socket_connect); OWN(socket_set_nonblocking); OWN(socket_create);
    OWN(socket_close); OWN(socket_sendv); OWN(socket_send); OWN(socket_read); OWN(socket_send_file);
    OWN(socket_ip_str); OWN(http_request_error); OWN(pointer_set); OWN(sched_remove_client);
    OWN(sched_get_connection); OWN(sched_worker_info); OWN(worker_spawn); OWN(worker_rename); OWN(time_unix);
    OWN(time_to_gmt); OWN(time_human); OWN(kernel_version); OWN(kernel_features_print); OWN(iov_send);
    OWN(mem_alloc); OWN(mem_alloc_z); OWN(mem_realloc); OWN(mem_free); OWN(str_itop); OWN(str_search);
    OWN(str_search_n); OWN(str_build); OWN(str_dup); OWN(str_copy_substr); OWN(str_split_line);
    OWN(str_split_free); OWN(file_to_buffer); OWN(file_get_info); OWN(header_send); OWN(header_get);
    OWN(header_add); OWN(iov_create); OWN(iov_free); OWN(config_create); OWN(config_free);
    OWN(config_section_get); OWN(config_section_getval); OWN(event_add); OWN(event_del); OWN(event_get);
    table.pointer_to_buf = ptr_to_buf;
    table.header_set_http_status = header_set_status;
    table.iov_add_entry = iov_add;
    table.epoll_add = poll_add;
    table.epoll_del = poll_del;
    table.epoll_change_mode = poll_change_mode;
    table.epoll_state_get = poll_state_get;
    table.event_socket_change_mode = event_change_mode;
    table.http_request_end = plugin_request_end;
    table._error = host_error;
    table.config = &H.config;
    table.plugins = &H.plugins;
    table.sched_list = H.nodes;
    REFUSE(pointer_print); REFUSE(iov_realloc); REFUSE(iov_free_marked); REFUSE(iov_set_entry);
    REFUSE(iov_print); REFUSE(plugin_load_symbol); REFUSE(epoll_init); REFUSE(epoll_create);
    REFUSE(mimetype_lookup); REFUSE(rb_insert_color); REFUSE(rb_erase); REFUSE(rb_link_node); REFUSE(stacktrace);
}

/* 1.4.0 has no socket_set_tcp_reuseport, so all behind it lies one lower; an unknown server has
 * slots of which nothing is known. Both are there to test that a plugin refuses. */
void api_build(void)
{
    void *slots[sizeof table / sizeof(void *)];
    const size_t n = sizeof slots / sizeof *slots, cut = offsetof(struct plugin_api, socket_set_tcp_reuseport) / sizeof *slots;
    table_fill();
    H.api = &table;
    H.api_given = &table;
    if (H.variant != V_140 && H.variant != V_UNKNOWN) {
        return;
    }
    memcpy(slots, &table, sizeof slots);
    for (size_t i = 0; i < sizeof shifted / sizeof *shifted; i++) {
        shifted[i] = (void *)refused_unknown_slot;
    }
    if (H.variant == V_140) {
        memcpy(shifted, slots, cut * sizeof *slots);
        memcpy(shifted + cut, slots + cut + 1, (n - cut - 1) * sizeof *slots);
    } else {
        memcpy(shifted + 7, slots, sizeof slots);
    }
    H.api_given = shifted;
}
