/* main.c - start order, workers, signals and the two ways to stop. */
#include "harness.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

struct host_state H;
__thread struct worker *W;
static volatile sig_atomic_t asked_to_stop;

static void ask_to_stop(void)
{
    uint64_t one = 1;
    atomic_store(&H.stop, true);
    for (int i = 0; i < H.config.workers; i++) {
        (void)!write(H.nodes[i].signal_channel, &one, sizeof one);
    }
}

/* As in the real server all of it happens inside the handler, while the workers are still running. */
static void on_signal(int number)
{
    (void)number;
    if (C.clean_exit) {
        asked_to_stop = 1;
        ask_to_stop();
        return;
    }
    plugins_exit(true);
    exit(0);
}

/* the sigpipe variant: 1.5.0 and 1.5.1 die here */
static void on_pipe(int number)
{
    static const char line[] = "HARNESS VIOLATION: sigpipe: a write to a closed connection without MSG_NOSIGNAL\n";
    (void)number;
    (void)!write(C.alarm_fd, line, sizeof line - 1);
    abort();
}

static void signals_install(void)
{
    struct sigaction act = {.sa_handler = on_signal};
    sigemptyset(&act.sa_mask);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGHUP, &act, NULL);
    if (H.sigpipe) {
        act.sa_handler = on_pipe;
        sigaction(SIGPIPE, &act, NULL);
    }
}

static void variant_set(const char *name)
{
    if (!strcmp(name, "1.5.6")) {
        H.variant = V_156;
    } else if (!strcmp(name, "1.5.5")) {
        H.variant = V_155;
        H.mid_shift = 8;
    } else if (!strcmp(name, "1.4.0")) {
        H.variant = V_140;
        H.mid_shift = 8;
    } else if (!strcmp(name, "unknown")) {
        H.variant = V_UNKNOWN;
    } else if (!strcmp(name, "hidden")) {
        H.hidden = true;
    } else if (!strcmp(name, "daemon")) {
        C.daemon = true;
    } else if (!strcmp(name, "exit-thread")) {
        H.exit_thread = true;
    } else if (!strcmp(name, "sigpipe")) {
        H.sigpipe = true;
    } else {
        fprintf(stderr, "unknown variant %s\n", name);
        exit(2);
    }
}

static void workers_prepare(void)
{
    int n = H.config.workers;
    for (int i = 0; i < n; i++) {
        struct worker *w = &H.workers[i];
        w->node = &H.nodes[i];
        w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        w->server_fd = setup_listener(H.config.serverport);
        w->max_events = (int)(H.config.worker_capacity * 2 < 4096 ? H.config.worker_capacity * 2 : 4096);
        struct mk_list *lists[] = {&w->plugin_events, &w->conns, &w->pending, &w->sessions, &w->incomplete,
                                   &w->node->busy_queue, &w->node->av_queue, &w->node->incoming_queue};
        for (size_t j = 0; j < sizeof lists / sizeof *lists; j++) {
            list_init(lists[j]);
        }
        w->node->idx = (short)i;
        w->node->server_fd = w->server_fd;
        w->node->epoll_fd = w->epoll_fd;
        w->node->signal_channel = eventfd(0, EFD_CLOEXEC);
    }
}

static void workers_start(void)
{
    sigset_t stop, before;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    if (H.exit_thread) {
        pthread_sigmask(SIG_BLOCK, &stop, &before); /* for all threads; the last worker lifts it */
    }
    for (int i = 0; i < H.config.workers; i++) {
        if (pthread_create(&H.workers[i].thread, NULL, worker_main, &H.workers[i]) != 0) {
            violation("host", "pthread_create: %s", strerror(errno));
        }
    }
    while (!atomic_load(&H.started) && !asked_to_stop) {
        usleep(1000);
    }
}

static void stop_cleanly(void)
{
    for (int i = 0; i < H.config.workers; i++) {
        pthread_join(H.workers[i].thread, NULL);
    }
    plugins_exit(false);
    for (int i = 0; i < H.config.workers; i++) {
        worker_free(&H.workers[i]);
    }
    plugins_free();
    setup_free();
    free(H.workers);
    free(H.nodes);
}

int legacy_main(const struct options *options)
{
    for (int i = 0; i < options->nvariants; i++) {
        variant_set(options->variants[i]);
    }
    setup_config(options->dir, options->port, options->workers);
    H.nodes = calloc((size_t)H.config.workers, sizeof *H.nodes);
    H.workers = calloc((size_t)H.config.workers, sizeof *H.workers);
    plugins_load();
    workers_prepare();
    if (C.daemon) {
        announce(H.config.listen_addr, H.config.serverport);
        go_daemon();
    } else {
        stdio_watch_start();
    }
    signals_install();
    plugins_prctx();
    workers_start();
    if (!C.daemon) {
        announce(H.config.listen_addr, H.config.serverport);
    }
    while (!asked_to_stop) {
        clock_tick();
        stdio_watch_check();
        usleep(100 * 1000);
    }
    stop_cleanly();
    stdio_watch_check();
    return 0;
}
