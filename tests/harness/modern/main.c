/* main.c - start order, workers, signals and the ways to stop. */
#include "modern.h"

struct modern_state M;
__thread struct mworker *MW;
static volatile sig_atomic_t asked_to_stop;

static void workers_leave(void)
{
    uint64_t stop = 1;
    atomic_store(&M.stop, true);
    for (int i = 0; i < M.server->workers; i++) {
        (void)!write(M.workers[i].sched->signal_channel_w, &stop, sizeof stop);
    }
    /* the join of the own thread fails, and the rest runs inside of what the signal interrupted */
    for (int i = 0; i < M.server->workers; i++) {
        if (!pthread_equal(M.workers[i].thread, pthread_self())) {
            pthread_join(M.workers[i].thread, NULL);
        }
    }
}

/* as in the real server all of it happens inside the handler, in whatever thread got the signal */
static void on_signal(int number)
{
    static atomic_flag once = ATOMIC_FLAG_INIT;
    (void)number;
    if (C.clean_exit && !M.exit_thread) {
        asked_to_stop = 1;
        return;
    }
    if (!atomic_flag_test_and_set(&once)) {
        workers_leave();
        m_plugins_exit(true);
        _exit(0);
    }
}

static void signals_install(void)
{
    struct sigaction act = {.sa_handler = on_signal};
    sigemptyset(&act.sa_mask);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGHUP, &act, NULL);
}

static void variant_set(const char *name)
{
    if (!strcmp(name, "1.8.9")) {
        M.variant = V_189;
    } else if (!strcmp(name, "1.8.7")) {
        M.variant = V_187;
        M.session_shift = _Alignof(struct mk_http_request);
        M.late_shift = 5 * sizeof(void *);
    } else if (!strcmp(name, "1.6")) {
        M.variant = V_16;
    } else if (!strcmp(name, "unknown")) {
        M.variant = V_UNKNOWN;
    } else if (!strcmp(name, "hidden")) {
        M.hidden = true;
    } else if (!strcmp(name, "daemon")) {
        C.daemon = true;
    } else if (!strcmp(name, "fair")) {
        M.fair = true;
    } else if (!strcmp(name, "fake-tls")) {
        C.fake_tls = true;
    } else if (!strcmp(name, "exit-thread")) {
        M.exit_thread = true;
    } else {
        fprintf(stderr, "unknown variant %s\n", name);
        exit(2);
    }
}

/* one after the other: each begins when the one before is ready */
static void workers_start(void)
{
    sigset_t stop, before;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    if (M.exit_thread) {
        pthread_sigmask(SIG_BLOCK, &stop, &before); /* for all threads; the last worker lifts it */
    }
    for (int i = 0; i < M.server->workers; i++) {
        if (pthread_create(&M.workers[i].thread, NULL, m_worker_main, &M.workers[i]) != 0) {
            violation("host", "pthread_create: %s", strerror(errno));
        }
        while (atomic_load(&M.ready) <= i) {
            usleep(200);
        }
    }
}

static void listener_prepare(struct mk_server_listen *l)
{
    l->server_fd = m_listener(M.port);
    l->event.fd = l->server_fd;
    l->event.status = STATUS_NONE;
    l->protocol = &m_http_handler;
    l->listen = &M.listen;
}

static void workers_prepare(void)
{
    struct mk_sched_ctx *ctx = mem_alloc_z(sizeof *ctx);
    int n = M.server->workers;
    ctx->workers = mem_alloc_z((size_t)n * sizeof *ctx->workers);
    late()->sched_ctx = ctx;
    M.workers = calloc((size_t)n, sizeof *M.workers);
    for (int i = 0; i < n; i++) {
        struct mworker *w = &M.workers[i];
        w->sched = &ctx->workers[i];
        w->sched->idx = (short)i;
        if (!M.fair) {
            listener_prepare(&w->listener);
        }
    }
    if (M.fair) {
        listener_prepare(&M.shared_listener);
    }
}

static void stop_cleanly(void)
{
    struct mk_sched_ctx *ctx = late()->sched_ctx;
    workers_leave();
    m_plugins_exit(false);
    for (int i = 0; i < M.server->workers; i++) {
        m_worker_free(&M.workers[i]);
    }
    if (M.fair) {
        close(M.shared_listener.server_fd);
    }
    mem_free(ctx->workers);
    mem_free(ctx);
    m_setup_free();
    free(M.workers);
}

int modern_main(const struct options *options)
{
    for (int i = 0; i < options->nvariants; i++) {
        variant_set(options->variants[i]);
    }
    m_setup(options);
    workers_prepare();
    /* unlike in 1.5 this comes before any plugin is loaded */
    if (C.daemon) {
        announce(M.listen_addr, M.port);
        go_daemon();
    } else {
        stdio_watch_start();
    }
    m_api_build();
    m_net_build();
    for (int i = 0; i < M.server->workers; i++) {
        M.workers[i].listener.network = M.net;
    }
    M.shared_listener.network = M.net;
    m_plugins_load();
    signals_install();
    m_plugins_master_init();
    workers_start();
    if (!C.daemon) {
        announce(M.listen_addr, M.port);
    }
    while (!asked_to_stop) {
        clock_tick();
        late()->clock_context->log_current_utime = clock_now();
        stdio_watch_check();
        if (M.fair) {
            m_accept_for_workers();
        } else {
            usleep(100 * 1000);
        }
    }
    stop_cleanly();
    stdio_watch_check();
    return 0;
}
