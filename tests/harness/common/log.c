/* log.c - violations, console lines, the clock texts and the watch over 1 and 2. */
#include "common.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
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
    (void)!write(C.alarm_fd, line, len + 1);
    abort();
}

void host_error(int type, const char *fmt, ...)
{
    static const char *const names[] = {"   Info", "  Error", "Warning", " BUG ! "};
    char line[2048];
    if (C.log_fd < 0) {
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
    (void)!write(C.log_fd, line, len + 1);
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

/* ---- nothing but the host's log may write to 1 and 2 (HARNESS_STDIO_WATCH=1) ---- */
static int watch_fd = -1;

void stdio_watch_start(void)
{
    if (!getenv("HARNESS_STDIO_WATCH")) {
        return;
    }
    watch_fd = memfd_create("stdio", MFD_CLOEXEC);
    C.log_fd = fcntl(1, F_DUPFD_CLOEXEC, 200);
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
