/* access.c - a stand-in for the stock logger plugin. */
#include "harness.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>

/* ---- the stock logger ---- */
static int access_fd = -1, error_fd = -1;

static int open_log(struct mk_config_section *section, char *key)
{
    char *path = config_section_getval(section, key, VAL_STR);
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
    if (path && fd < 0) {
        host_error(LOG_WARN_TYPE, "cannot open log %s: %s", path, strerror(errno));
    }
    mem_free(path);
    return fd;
}

void access_log_open(struct mk_config *site)
{
    struct mk_config_section *section = config_section_get(site, "LOGGER");
    if (section) {
        access_fd = open_log(section, (char *)"AccessLog");
        error_fd = open_log(section, (char *)"ErrorLog");
    }
}

void access_log_close(void)
{
    if (access_fd >= 0) {
        close(access_fd);
    }
    if (error_fd >= 0) {
        close(error_fd);
    }
}

static bool peer_text(int fd, char *to, socklen_t size)
{
    struct sockaddr_storage peer;
    socklen_t len = sizeof peer;
    if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0) {
        return false;
    }
    const void *addr = peer.ss_family == AF_INET6 ? (void *)&((struct sockaddr_in6 *)&peer)->sin6_addr
                                                  : (void *)&((struct sockaddr_in *)&peer)->sin_addr;
    return inet_ntop(peer.ss_family, addr, to, size) != NULL;
}

/* Skipped as the real one skips: no vhost (an unparsed request), or the peer is gone. */
void access_log(struct client_session *cs, struct session_request *sr)
{
    char ip[INET6_ADDRSTRLEN], line[2048];
    int status = sr->headers.status;
    if (!sr->host_conf || !peer_text(cs->socket, ip, sizeof ip)) {
        return;
    }
    if (!status_is_loggable(status)) {
        violation("logger-bad-status", "Stage 40 with headers.status %d (the stock logger writes through a wild pointer)",
                  status);
    }
    int fd = status < 400 ? access_fd : error_fd;
    if (fd < 0) {
        return;
    }
    int length = sr->headers.content_length < 0 ? 0 : (int)sr->headers.content_length;
    int n;
    if (status < 400) {
        n = snprintf(line, sizeof line, "%s - %s %.*s %.*s %.*s %d %d\n", ip, clock_human()->data,
                     (int)sr->method_p.len, sr->method_p.data ? sr->method_p.data : "", (int)sr->uri.len,
                     sr->uri.data ? sr->uri.data : "", (int)sr->protocol_p.len,
                     sr->protocol_p.data ? sr->protocol_p.data : "", status, length);
    } else {
        n = snprintf(line, sizeof line, "%s - %s [error %d] %.*s\n", ip, clock_human()->data, status,
                     (int)sr->uri.len, sr->uri.data ? sr->uri.data : "");
    }
    (void)!write(fd, line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
}
