/* loop.c - a worker: its start, and the loop whose decisions hang on the REGISTERED mask of an event. */
#include "modern.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define POISONED 0x5A5A5A5A

static struct epoll_event *batch(struct mk_event_loop *loop)
{
    return ((struct mk_event_ctx *)loop->data)->events;
}

static void connection_event(struct mk_sched_conn *conn)
{
    struct mk_event *event = &conn->event;
    int ret = 0;
    if (event->mask & MASK_WRITE) {
        bool read_by_write = M.variant != V_187 && list_empty(&conn->channel.streams)
            && m_net_interest(conn, MASK_READ) == MASK_WRITE;
        ret = read_by_write ? m_sched_read(conn) : m_sched_write(conn);
    }
    /* asked afresh: the write may just have changed it */
    if (event->mask & MASK_READ) {
        ret = m_sched_read(conn);
    }
    if ((event->mask & MASK_CLOSE) && ret != -1) {
        ret = -1;
    }
    if (ret < 0 && conn->status != CONN_CLOSED) {
        m_sched_close(conn, CLOSED_BY_PEER);
    }
}

/* true when the worker was told to leave */
static bool notification(struct mk_event *event)
{
    uint64_t value = 0;
    if (read(event->fd, &value, sizeof value) < 0) {
        return false;
    }
    if (event == &MW->timer) {
        m_sched_timeouts();
    }
    if (event == &MW->notification && value > 1) {
        m_take_over((struct accepted *)(uintptr_t)value);
    }
    return event == &MW->notification && atomic_load(&M.stop);
}

/* an error or hang-up is level-triggered: who neither closes nor unregisters the descriptor spins */
static void watch_spin(const struct epoll_event *ev, int n)
{
    if (n != 1 || (ev->events & (EPOLLIN | EPOLLOUT)) || MW->spinning != ev->data.ptr) {
        MW->spinning = n == 1 ? ev->data.ptr : NULL;
        MW->spins = 0;
    } else if (++MW->spins > 2000) {
        violation("hang-up-spins", "fd %d: events %#x come for ever", ((struct mk_event *)ev->data.ptr)->fd,
                  ev->events);
    }
}

static bool one_event(struct mk_event *event)
{
    if (event->type == POISONED) {
        violation("event-freed-in-batch", "%p: use sched_event_free", (void *)event);
    }
    if (event->type & TYPE_IDLE) {
        return false;
    }
    switch (event->type) {
    case EVENT_CONNECTION:
        connection_event((struct mk_sched_conn *)(void *)event);
        return false;
    case EVENT_LISTENER:
        m_accept((struct mk_server_listen *)(void *)event);
        return false;
    case EVENT_CUSTOM:
        if (!event->handler) {
            violation("custom-event-without-handler", "fd %d", event->fd);
        }
        event->handler(event);
        return false;
    case EVENT_NOTIFICATION:
        return notification(event);
    default:
        violation("event-type-unknown", "fd %d: type %d", event->fd, event->type);
    }
}

static void free_queue(void)
{
    FOREACH_SAFE(it, tmp, &MW->sched->event_free_queue) {
        list_del(it);
        mem_free(ENTRY(it, struct mk_event, _head));
    }
}

static void loop_run(void)
{
    struct mk_event_loop *loop = MW->sched->loop;
    time_t swept = clock_now();
    MW->sched->initialized = 1;
    for (bool leave = false; !leave;) {
        int n = m_ev_wait(loop);
        if (n > 0) {
            watch_spin(&batch(loop)[0], n);
        }
        for (int i = 0; i < n && !leave; i++) {
            leave = one_event(batch(loop)[i].data.ptr);
        }
        free_queue();
        if (clock_now() != swept) {
            m_sched_sweep();
            swept = clock_now();
        }
    }
    m_sched_sweep();
}

static void signals_prepare(struct mworker *w)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (M.exit_thread && w == &M.workers[M.server->workers - 1]) {
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    }
}

void *m_worker_main(void *arg)
{
    struct mworker *w = arg;
    struct mk_sched_worker *sched = w->sched;
    char name[32];
    signals_prepare(w);
    MW = w;
    list_init(&w->conns);
    list_init(&sched->timeout_queue);
    list_init(&sched->event_free_queue);
    list_init(&sched->threads);
    list_init(&sched->threads_purge);
    sched->tid = pthread_self();
    sched->pid = (pid_t)syscall(SYS_gettid);
    sched->mem_pagesize = (unsigned int)sysconf(_SC_PAGESIZE);
    sched->loop = m_loop_create(QUEUE_SIZE);
    m_ev_channel_create(sched->loop, &sched->signal_channel_r, &sched->signal_channel_w, &w->notification);
    snprintf(name, sizeof name, "monkey: wrk/%d", (int)sched->idx);
    prctl(PR_SET_NAME, name);
    m_plugins_worker_init();
    if (!M.fair) { /* else sched->listeners stays null */
        list_init(&w->listeners);
        list_add(&w->listener._head, &w->listeners);
        sched->listeners = &w->listeners;
        m_ev_add(sched->loop, w->listener.server_fd, EVENT_LISTENER, MASK_READ, &w->listener);
    }
    m_ev_timeout_create(sched->loop, M.server->timeout, 0, &w->timer);
    atomic_fetch_add(&M.ready, 1);
    loop_run();
    return NULL;
}

/* Clean exit only: threads are joined, nothing calls plugins any more. */
void m_worker_free(struct mworker *w)
{
    MW = w; /* freeing asks for the worker */
    FOREACH_SAFE(it, tmp, &w->conns) {
        struct conn_extra *x = ENTRY(it, struct conn_extra, all);
        char *conn = (char *)x - session_size() - sizeof(struct mk_sched_conn);
        struct mk_http_session *cs = session_of((struct mk_sched_conn *)(void *)conn);
        close(((struct mk_sched_conn *)(void *)conn)->channel.fd);
        if (!x->gone) {
            request_of(cs)->stage30_handler = NULL; /* no hang-ups when the server stops */
            m_session_remove(cs);
        }
        mem_free(conn);
    }
    MW = NULL;
    close(w->sched->signal_channel_r);
    close(w->sched->signal_channel_w);
    close(w->timer.fd);
    if (!M.fair) {
        close(w->listener.server_fd);
    }
    m_loop_destroy(w->sched->loop);
}
