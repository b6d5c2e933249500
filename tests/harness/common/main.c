/* main.c - the command line; then one of the two families takes over. */
#include "common.h"

#include <fcntl.h>
#include <sys/stat.h>

struct common_state C;

void on_fault(int number)
{
    static const char line[] = "HARNESS VIOLATION: fatal-signal: SIGSEGV or SIGBUS\n";
    (void)number;
    (void)!write(C.alarm_fd, line, sizeof line - 1);
    signal(SIGABRT, SIG_DFL);
    abort();
}

/* ASan's own report says more */
static void faults_install(void)
{
#ifndef __SANITIZE_ADDRESS__
    struct sigaction act = {.sa_handler = on_fault};
    sigemptyset(&act.sa_mask);
    sigaction(SIGSEGV, &act, NULL);
    sigaction(SIGBUS, &act, NULL);
#endif
}

void announce(const char *addr, int port)
{
    char line[128];
    int n = snprintf(line, sizeof line, "listening on %s:%d\n", addr, port);
    (void)!write(C.log_fd, line, (size_t)n);
}

/* without the fork, so that whoever started us keeps its child */
void go_daemon(void)
{
    umask(0);
    setsid();
    (void)!chdir("/");
    C.log_fd = -1;
    close(1);
    close(2);
}

static _Noreturn void usage(const char *program)
{
    fprintf(stderr, "usage: %s [-a 1.5|1.8] -c CONFDIR [-p PORT] [-w WORKERS] [-V VARIANT]...\n", program);
    exit(2);
}

int main(int argc, char **argv)
{
    struct options options = {.port = -1};
    const int max = (int)(sizeof options.variants / sizeof *options.variants);
    const char *family = "1.5", *transport = getenv("HARNESS_TRANSPORT");
    C.log_fd = 1;
    C.alarm_fd = fcntl(2, F_DUPFD_CLOEXEC, 100);
    C.clean_exit = getenv("HARNESS_CLEAN_EXIT") != NULL;
    C.short_writes = getenv("HARNESS_SHORT_WRITES") != NULL;
    C.fake_tls = transport && !strcmp(transport, "fake-tls");
    for (int c; (c = getopt(argc, argv, "a:c:p:w:V:")) != -1;) {
        switch (c) {
        case 'a': family = optarg; break;
        case 'c': options.dir = optarg; break;
        case 'p': options.port = atoi(optarg); break;
        case 'w': options.workers = atoi(optarg); break;
        case 'V':
            if (options.nvariants == max) {
                usage(argv[0]);
            }
            options.variants[options.nvariants++] = optarg;
            break;
        default: usage(argv[0]);
        }
    }
    bool modern = !strcmp(family, "1.8");
    if (!options.dir || (!modern && strcmp(family, "1.5") != 0)) {
        usage(argv[0]);
    }
    clock_tick();
    faults_install();
    return modern ? modern_main(&options) : legacy_main(&options);
}
