/* log.c - violations, console lines, the clock texts and a stand-in for the stock logger plugin. */
#include "harness.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

void violation(const char *name, const char *fmt, ...)
{
    char line[1024];
    int n = snprintf(line, sizeof line, "HARNESS VIOLATION: %s: ", name);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
    va_end(ap);
    size_t len = strlen(line);
    line[len] = '\n';
    (void)!write(H.alarm_fd, line, len + 1);
    abort();
}

void host_error(int type, const char *fmt, ...)
{
    static const char *const names[] = {"   Info", "  Error", "Warning", " BUG ! "};
    char line[2048];
    if (H.log_fd < 0) {
        return; /* daemon: the stream is closed */
    }
    time_t now = time(NULL);
    struct tm tm;
    localtime_r(&now, &tm);
    const char *name = type >= LOG_INFO_TYPE && type <= LOG_BUG_TYPE ? names[type - LOG_INFO_TYPE] : names[0];
    int n = snprintf(line, sizeof line, "[%i/%02i/%02i %02i:%02i:%02i] [%s] ", tm.tm_year + 1900, tm.tm_mon + 1,
                     tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, name);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
    va_end(ap);
    size_t len = strlen(line);
    line[len] = '\n';
    (void)!write(H.log_fd, line, len + 1);
}

/* ---- clock: texts change once a second under their readers, so they live in two halves ---- */
static _Atomic time_t now_;
static char http_text[2][48], human_text[2][40];
static _Atomic int half;
static mk_ptr_t human;

int gmt_format(char *to, size_t size, time_t when)
{
    struct tm tm;
    gmtime_r(&when, &tm);
    return (int)strftime(to, size, "%a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
}

void clock_tick(void)
{
    time_t now = time(NULL);
    if (now == atomic_load(&now_)) {
        return;
    }
    struct tm tm;
    int next = !atomic_load(&half);
    gmt_format(http_text[next], sizeof http_text[next], now);
    localtime_r(&now, &tm);
    human.len = strftime(human_text[next], sizeof human_text[next], "[%d/%b/%Y %T %z]", &tm);
    human.data = human_text[next];
    atomic_store(&half, next);
    atomic_store(&now_, now);
}

time_t clock_now(void) { return atomic_load(&now_); }
const char *clock_http(void) { return http_text[atomic_load(&half)]; }
mk_ptr_t *clock_human(void) { return &human; }

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
        n = snprintf(line, sizeof line, "%s - %s %.*s %.*s %.*s %d %d\n", ip, human_text[atomic_load(&half)],
                     (int)sr->method_p.len, sr->method_p.data ? sr->method_p.data : "", (int)sr->uri.len,
                     sr->uri.data ? sr->uri.data : "", (int)sr->protocol_p.len,
                     sr->protocol_p.data ? sr->protocol_p.data : "", status, length);
    } else {
        n = snprintf(line, sizeof line, "%s - %s [error %d] %.*s\n", ip, human_text[atomic_load(&half)], status,
                     (int)sr->uri.len, sr->uri.data ? sr->uri.data : "");
    }
    (void)!write(fd, line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
}

/* ---- nothing but the host's log may write to 1 and 2 (HARNESS_STDIO_WATCH=1) ---- */
static int watch_fd = -1;

void stdio_watch_start(void)
{
    if (!getenv("HARNESS_STDIO_WATCH")) {
        return;
    }
    watch_fd = memfd_create("stdio", MFD_CLOEXEC);
    H.log_fd = fcntl(1, F_DUPFD_CLOEXEC, 200);
    dup2(watch_fd, 1);
    dup2(watch_fd, 2);
}

void stdio_watch_check(void)
{
    struct stat st;
    char text[512] = "";
    if (watch_fd < 0 || fstat(watch_fd, &st) != 0 || st.st_size == 0) {
        return;
    }
    ssize_t n = pread(watch_fd, text, sizeof text - 1, 0);
    violation("plugin-wrote-to-fd-1-or-2", "%.*s", (int)(n > 0 ? n : 0), text);
}
