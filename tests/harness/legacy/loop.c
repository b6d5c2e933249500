/* loop.c - a worker's event loop: batches with stale delivery, fd states, modes, accept, time-out check. */
#include "harness.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define NEVER_MASKED (EPOLLERR | EPOLLHUP | EPOLLRDHUP)

struct slot *slot_of(int fd)
{
    static __thread struct slot none;
    if (!W || fd < 0) {
        none = (struct slot){0};
        return &none;
    }
    if (fd >= W->nslots) {
        int n = W->nslots ? W->nslots : 256;
        while (n <= fd) {
            n *= 2;
        }
        W->slots = realloc(W->slots, (size_t)n * sizeof *W->slots);
        memset(W->slots + W->nslots, 0, (size_t)(n - W->nslots) * sizeof *W->slots);
        W->nslots = n;
    }
    return &W->slots[fd];
}

struct epoll_state *poll_state_get(int fd)
{
    return slot_of(fd)->state;
}

/* In SLEEP the mask of before is kept, so that WAKEUP can restore it. */
struct epoll_state *poll_state_set(int fd, int mode, unsigned int behavior, uint32_t events)
{
    if (!W || fd < 0) {
        return NULL;
    }
    struct slot *slot = slot_of(fd);
    bool fresh = !slot->state;
    if (fresh) {
        slot->state = calloc(1, sizeof *slot->state);
        slot->state->fd = fd;
    }
    if (fresh || mode != MODE_SLEEP) {
        slot->state->events = events;
        slot->state->behavior = behavior;
    }
    slot->state->mode = (uint8_t)mode;
    return slot->state;
}

static uint32_t mask_of(int mode)
{
    switch (mode) {
    case MODE_READ: return NEVER_MASKED | EPOLLIN;
    case MODE_WRITE: return NEVER_MASKED | EPOLLOUT;
    case MODE_RW: return NEVER_MASKED | EPOLLIN | EPOLLOUT;
    case MODE_SLEEP: return 0;
    default: return NEVER_MASKED;
    }
}

int poll_add(int efd, int fd, int mode, unsigned int behavior)
{
    struct epoll_event ev = {.events = mask_of(mode), .data = {.fd = fd}};
    if (behavior == EDGE_TRIGGERED) {
        ev.events |= EPOLLET;
    }
    int ret = epoll_ctl(efd, EPOLL_CTL_ADD, fd, &ev);
    if (ret == 0 || errno == EEXIST) {
        poll_state_set(fd, mode, behavior, ev.events);
    }
    return ret;
}

int poll_del(int efd, int fd)
{
    int ret = epoll_ctl(efd, EPOLL_CTL_DEL, fd, NULL);
    struct slot *slot = slot_of(fd);
    if (slot->state) {
        memset(slot->state, 0x5A, sizeof *slot->state);
        free(slot->state);
        slot->state = NULL;
    }
    return ret;
}

int poll_change_mode(int efd, int fd, int mode, unsigned int behavior)
{
    struct epoll_event ev = {.events = mask_of(mode), .data = {.fd = fd}};
    if (mode == MODE_WAKEUP) {
        struct epoll_state *state = poll_state_get(fd);
        if (!state || state->mode != MODE_SLEEP) {
            host_error(LOG_WARN_TYPE, "[FD %i] WAKEUP of a descriptor that does not sleep", fd);
            return -1;
        }
        ev.events = state->events;
        behavior = state->behavior;
    }
    if (behavior == EDGE_TRIGGERED) {
        ev.events |= EPOLLET;
    }
    int ret = epoll_ctl(efd, EPOLL_CTL_MOD, fd, &ev);
    poll_state_set(fd, mode, behavior, ev.events); /* even when epoll refused */
    return ret;
}

/* the descriptor of the new client, or -1 */
static int accept_one(void)
{
    if (W->clients >= H.config.worker_capacity) {
        return -1;
    }
    int fd = accept4(W->server_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    if (conn_get(fd)) {
        violation("close-of-client-fd-by-plugin", "accept gave fd %d, which is still a client", fd);
    }
    if (poll_add(W->epoll_fd, fd, MODE_READ, LEVEL_TRIGGERED) < 0) {
        close(fd);
        return -1;
    }
    W->node->accepted_connections++;
    return conn_register(fd, true) < 0 ? -1 : fd;
}

static void one_event(const struct epoll_event *ev)
{
    int fd = ev->data.fd, ret = -1;
    if (ev->events & EPOLLIN) {
        if (fd == W->node->signal_channel) {
            uint64_t value;
            (void)!read(fd, &value, sizeof value);
            return;
        }
        if (fd == W->server_fd) {
            fd = accept_one();
            if (fd < 0) {
                return;
            }
        }
        ret = conn_read(fd);
    } else if (ev->events & EPOLLOUT) {
        ret = conn_write(fd);
    } else if (ev->events & NEVER_MASKED) {
        conn_close(fd);
        ret = 0;
    }
    if (ret < 0) {
        conn_close(fd);
    }
}

static void loop_run(void)
{
    struct epoll_event *batch = calloc((size_t)W->max_events, sizeof *batch);
    time_t next_check = clock_now() + H.config.timeout, swept = clock_now();
    W->node->initialized = 1;
    while (!atomic_load(&H.stop)) {
        int n = epoll_wait(W->epoll_fd, batch, W->max_events, WAIT_TIMEOUT_MS);
        /* the whole array, also what was closed by an earlier element of it */
        for (int i = 0; i < n; i++) {
            one_event(&batch[i]);
        }
        if (clock_now() != swept) {
            conn_sweep();
            swept = clock_now();
        }
        if (clock_now() >= next_check) {
            conn_check_timeouts();
            next_check = clock_now() + H.config.timeout;
        }
    }
    conn_sweep();
    free(batch);
}

static void watch_plain(int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data = {.fd = fd}};
    if (epoll_ctl(W->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
        violation("host", "epoll_ctl on an own fd: %s", strerror(errno));
    }
}

static atomic_int workers_ready;
void *worker_main(void *arg)
{
    struct worker *w = arg;
    sigset_t set;
    sigemptyset(&set);
    if (!H.sigpipe) {
        sigaddset(&set, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
    }
    if (H.exit_thread && w == &H.workers[H.config.workers - 1]) {
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    }
    W = w;
    w->node->tid = pthread_self();
    w->node->pid = (pid_t)syscall(SYS_gettid);
    watch_plain(w->node->signal_channel);
    watch_plain(w->server_fd);
    char name[32];
    snprintf(name, sizeof name, "monkey: wrk/%d", (int)w->node->idx);
    prctl(PR_SET_NAME, name);
    plugins_thctx();
    if (atomic_fetch_add(&workers_ready, 1) + 1 == H.config.workers) {
        atomic_store(&H.started, true);
    }
    loop_run();
    return NULL;
}

/* Clean exit only: threads are joined, nothing calls plugins any more. */
void worker_free(struct worker *w)
{
    FOREACH_SAFE(it, tmp, &w->sessions) {
        session_free(w, ENTRY(it, struct hsession, all));
    }
    FOREACH_SAFE(jt, jtmp, &w->conns) {
        struct hconn *conn = ENTRY(jt, struct hconn, all);
        close(conn->fd);
        free(conn);
    }
    FOREACH_SAFE(kt, ktmp, &w->plugin_events) {
        mem_free(ENTRY(kt, struct plugin_event, _head));
    }
    for (int i = 0; i < w->nslots; i++) {
        free(w->slots[i].state);
    }
    free(w->slots);
    close(w->epoll_fd);
    close(w->server_fd);
    close(w->node->signal_channel);
}
