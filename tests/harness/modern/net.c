/* net.c - the network layer: plain sockets, or a pretended TLS that notices bytes written past it. */
#include "modern.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

static struct mk_plugin_network network;
static struct network_187 network_old;
static struct mk_plugin liana;

/* HARNESS_SHORT_WRITES=1: a plugin's writes take 1 to 7 bytes, and every third would block */
static bool injected(size_t *len)
{
    static __thread unsigned int calls;
    if (!C.short_writes || !*len || (MW && MW->core_io)) {
        return false;
    }
    calls++;
    if (calls % 3 == 0) {
        errno = EAGAIN;
        return true;
    }
    size_t may = 1 + calls % 7;
    *len = *len < may ? *len : may;
    return false;
}

static ssize_t counted(int fd, ssize_t n)
{
    if (C.fake_tls && MW && n > 0) {
        FOREACH(it, &MW->conns) {
            struct conn_extra *x = ENTRY(it, struct conn_extra, all);
            struct mk_sched_conn *conn =
                (struct mk_sched_conn *)(void *)((char *)x - session_size() - sizeof(struct mk_sched_conn));
            if (conn->channel.fd == fd) {
                x->sent_net += (unsigned long)n;
            }
        }
    }
    return n;
}

static void check_plugin(const char *call, struct mk_plugin *plugin)
{
    struct mk_plugin *expected = M.variant == V_187 ? network_old.plugin : network.plugin;
    if (plugin != expected) {
        violation("network-call-without-its-plugin", "%s(%p, ...): net->plugin is %p", call, (void *)plugin,
                  (void *)expected);
    }
}

static int net_read(struct mk_plugin *plugin, int fd, void *to, int len)
{
    check_plugin("read", plugin);
    int n = (int)recv(fd, to, (size_t)len, 0);
    return C.fake_tls ? read_with_rest(fd, n, len) : n;
}

static int net_write(struct mk_plugin *plugin, int fd, const void *data, size_t len)
{
    check_plugin("write", plugin);
    return injected(&len) ? -1 : (int)counted(fd, send(fd, data, len, 0));
}

static int net_writev(struct mk_plugin *plugin, int fd, struct mk_iov *iov)
{
    check_plugin("writev", plugin);
    if (C.short_writes && !MW->core_io) {
        for (int i = 0; i < iov->iov_idx; i++) {
            if (iov->io[i].iov_len) {
                return net_write(plugin, fd, iov->io[i].iov_base, iov->io[i].iov_len);
            }
        }
    }
    return (int)counted(fd, writev(fd, iov->io, iov->iov_idx));
}

static int net_close(struct mk_plugin *plugin, int fd)
{
    check_plugin("close", plugin);
    return close(fd);
}

static int net_send_file(struct mk_plugin *plugin, int fd, int file, off_t *offset, size_t len)
{
    check_plugin("send_file", plugin);
    return injected(&len) ? -1 : (int)counted(fd, sendfile(fd, file, offset, len));
}

/* a TLS layer may have to read before it can write; this one always answers what was asked */
static int tls_interest(struct mk_plugin *plugin, int fd, int fallback)
{
    (void)plugin;
    (void)fd;
    return fallback;
}

/* The plain layer of 1.8.9 has no plugin behind it, that of 1.8.7 has. */
void m_net_build(void)
{
    liana = (struct mk_plugin){.shortname = C.fake_tls ? "fake-tls" : "liana", .name = "Network layer",
                               .version = "1.8.7", .hooks = HOOK_NETWORK,
                               .capabilities = C.fake_tls ? CAP_SOCK_TLS : CAP_SOCK_PLAIN, .api = M.api,
                               .server_ctx = M.server};
    network = (struct mk_plugin_network){net_read, net_write, net_writev, net_close, net_send_file,
                                         C.fake_tls ? tls_interest : NULL, m_net_buffer_size(),
                                         C.fake_tls ? &liana : NULL};
    network_old = (struct network_187){net_read, net_write, net_writev, net_close, net_send_file,
                                       m_net_buffer_size(), &liana};
    M.net = &network;
    if (M.variant == V_187) {
        M.net = (struct mk_plugin_network *)(void *)&network_old;
        liana.network = M.net;
        list_init(&liana.stage_list);
        list_add(&liana._head, &M.server->plugins);
    }
}

int m_net_buffer_size(void) { return C.fake_tls ? 16384 : CHUNK; }

int m_net_interest(struct mk_sched_conn *conn, int fallback)
{
    if (M.variant == V_187 || !conn->net->event_interest) {
        return fallback;
    }
    return conn->net->event_interest(conn->net->plugin, conn->event.fd, fallback);
}

/* Bytes past the layer would be plain text in a ciphered stream: compare the counts. */
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

void fake_tls_begin18(struct mk_sched_conn *conn)
{
    struct conn_extra *x = extra_of(conn);
    if (C.fake_tls && !kernel_count(conn->event.fd, &x->sent_base)) {
        x->sent_base = 0;
    }
}

void fake_tls_check18(struct mk_sched_conn *conn)
{
    struct conn_extra *x = extra_of(conn);
    unsigned long now;
    /* one more for the FIN of a shutdown() */
    if (C.fake_tls && kernel_count(conn->event.fd, &now) && now > x->sent_base + x->sent_net + 1) {
        violation("plain-write-on-tls-client", "fd %d: %lu bytes went past the network layer", conn->event.fd,
                  now - x->sent_base - x->sent_net);
    }
}
