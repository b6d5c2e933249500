/* event.c - the event loop's own calls: add, delete, timers, channels, waiting. */
#include "modern.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

struct mk_event_loop *m_loop_create(int size)
{
    struct mk_event_loop *loop = mem_alloc_z(sizeof *loop);
    struct mk_event_ctx *ctx = mem_alloc_z(sizeof *ctx);
    ctx->efd = epoll_create1(EPOLL_CLOEXEC);
    ctx->events = mem_alloc_z((size_t)size * sizeof *ctx->events);
    ctx->queue_size = size;
    loop->size = size;
    loop->events = mem_alloc_z((size_t)size * sizeof *loop->events);
    loop->data = ctx;
    return loop;
}

void m_loop_destroy(struct mk_event_loop *loop)
{
    struct mk_event_ctx *ctx = loop->data;
    close(ctx->efd);
    mem_free(ctx->events);
    mem_free(ctx);
    mem_free(loop->events);
    mem_free(loop);
}

static void leave_priorities(struct mk_event *event)
{
    struct mk_list *node = &event->_priority_head;
    if (!node->next || !node->prev) {
        return;
    }
    if (!m_stream_is_linked_well(node)) {
        violation("event-not-zeroed", "fd %d: the event's priority links are wild", event->fd);
    }
    list_del(node);
}

/* Whether it is an ADD or a MOD is decided by the mask of before; ERR, HUP and RDHUP always come too. */
int m_ev_add(struct mk_event_loop *loop, int fd, int type, uint32_t mask, void *data)
{
    struct mk_event *event = data;
    if (!loop || !event) {
        violation("ev_add-without-event", "fd %d", fd);
    }
    struct epoll_event ev = {.events = EPOLLERR | EPOLLHUP | EPOLLRDHUP, .data = {.ptr = event}};
    int op = event->mask == MASK_EMPTY ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (op == EPOLL_CTL_ADD) {
        event->fd = fd;
        event->status = STATUS_REGISTERED;
        event->type = type;
    } else if (type != EVENT_UNMODIFIED) {
        event->type = type;
    }
    ev.events |= (mask & MASK_READ ? EPOLLIN : 0u) | (mask & MASK_WRITE ? EPOLLOUT : 0u);
    if (epoll_ctl(((struct mk_event_ctx *)loop->data)->efd, op, fd, &ev) < 0) {
        host_error(LOG_ERR_TYPE, "epoll_ctl(%s, %d): %s", op == EPOLL_CTL_ADD ? "ADD" : "MOD", fd, strerror(errno));
        return -1;
    }
    event->mask = mask;
    event->priority = PRIORITY_DEFAULT;
    leave_priorities(event);
    return 0;
}

int m_ev_del(struct mk_event_loop *loop, struct mk_event *event)
{
    if (!loop || !event) {
        violation("ev_del-without-event", "loop %p", (void *)loop);
    }
    if (!(event->status & STATUS_REGISTERED)) {
        return -1;
    }
    int ret = epoll_ctl(((struct mk_event_ctx *)loop->data)->efd, EPOLL_CTL_DEL, event->fd, NULL);
    leave_priorities(event);
    event->mask = MASK_EMPTY;
    event->status = STATUS_NONE;
    return ret < 0 ? -1 : 0;
}

int m_ev_wait(struct mk_event_loop *loop)
{
    struct mk_event_ctx *ctx = loop->data;
    do {
        loop->n_events = epoll_wait(ctx->efd, ctx->events, ctx->queue_size, -1);
    } while (loop->n_events < 0 && errno == EINTR);
    return loop->n_events;
}

/* its events are read by the loop and then forgotten: of no use to a plugin */
int m_ev_timeout_create(struct mk_event_loop *loop, time_t sec, long nsec, void *data)
{
    struct mk_event *event = data;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    struct itimerspec when = {{sec, nsec}, {now.tv_sec + sec, 0}};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (fd < 0 || timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL) != 0) {
        return -1;
    }
    event->mask = MASK_EMPTY;
    if (m_ev_add(loop, fd, EVENT_NOTIFICATION, MASK_READ, event) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int m_ev_channel_create(struct mk_event_loop *loop, int *r, int *w, void *data)
{
    struct mk_event *event = data;
    int fd[2];
    if (pipe(fd) != 0) {
        return -1;
    }
    event->mask = MASK_EMPTY;
    if (m_ev_add(loop, fd[0], EVENT_NOTIFICATION, MASK_READ, event) != 0) {
        close(fd[0]);
        close(fd[1]);
        return -1;
    }
    *r = fd[0];
    *w = fd[1];
    return 0;
}

/* queued; the memory goes when the batch is done, and until then the loop skips its events */
void m_event_free(struct mk_event *event)
{
    if (!MW) {
        violation("sched_event_free-outside-worker", "event %p", (void *)event);
    }
    if (event->type >= 0 && (event->type & TYPE_IDLE)) {
        return;
    }
    event->type |= TYPE_IDLE;
    list_add(&event->_head, &MW->sched->event_free_queue);
}
