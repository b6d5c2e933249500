/* channel.c - streams and channels: what is queued for a client, and writing it through the network layer. */
#include "modern.h"

bool m_stream_is_linked_well(const struct mk_list *node)
{
    return node->prev && node->next && node->prev->next == node && node->next->prev == node;
}

void m_stream_set(struct mk_stream *stream, struct mk_channel *channel)
{
    stream->dynamic = stream->preserve = 0;
    stream->channel = channel;
    stream->bytes_offset = 0;
    stream->context = NULL;
    stream->cb_finished = NULL;
    stream->cb_bytes_consumed = NULL;
    stream->cb_exception = NULL;
    list_init(&stream->inputs);
    list_add(&stream->_head, &channel->streams);
}

static void input_release(struct mk_stream_input *in)
{
    if (in->cb_finished) {
        in->cb_finished(in);
    }
    if (!m_stream_is_linked_well(&in->_head)) {
        violation("input-linked-badly", "a stream input is not in its list (the server follows the wild pointer)");
    }
    list_del(&in->_head);
    if (in->dynamic) {
        mem_free(in);
    }
}

void m_stream_release(struct mk_stream *stream)
{
    FOREACH_SAFE(it, tmp, &stream->inputs) {
        input_release(ENTRY(it, struct mk_stream_input, _head));
    }
    if (stream->cb_finished) {
        stream->cb_finished(stream);
    }
    stream->channel = NULL;
    if (!m_stream_is_linked_well(&stream->_head)) {
        violation("stream-linked-badly",
                  "an unlinked stream must point to itself: the server unlinks it once more when it frees the request");
    }
    list_del(&stream->_head);
    if (stream->dynamic) {
        mem_free(stream);
    }
}

void m_stream_in_file(struct mk_stream *stream, struct mk_stream_input *in, int fd, size_t bytes, off_t offset)
{
    in->dynamic = 0;
    in->fd = fd;
    in->type = STREAM_FILE;
    in->bytes_offset = offset;
    in->bytes_total = bytes;
    in->buffer = NULL;
    in->cb_consumed = NULL;
    in->cb_finished = NULL;
    in->stream = stream;
    list_add(&in->_head, &stream->inputs);
}

struct mk_channel *m_channel_new(int type, int fd)
{
    struct mk_channel *channel = mem_alloc(sizeof *channel);
    channel->type = type;
    channel->fd = fd;
    channel->status = CHANNEL_OK;
    list_init(&channel->streams);
    return channel;
}

void m_channel_append_stream(struct mk_channel *channel, struct mk_stream *stream)
{
    list_add(&stream->_head, &channel->streams);
}

static struct mk_plugin *net_plugin(struct mk_channel *channel)
{
    return M.variant == V_187 ? ((struct network_187 *)(void *)channel->io)->plugin : channel->io->plugin;
}

static ssize_t input_write(struct mk_channel *channel, struct mk_stream_input *in)
{
    struct mk_plugin_network *io = channel->io;
    ssize_t n = -1;
    bool outer = MW->core_io;
    MW->core_io = true;
    switch (in->type) {
    case STREAM_FILE:
        n = io->send_file(net_plugin(channel), channel->fd, in->fd, &in->bytes_offset, in->bytes_total);
        break;
    case STREAM_IOV:
        n = io->writev(net_plugin(channel), channel->fd, in->buffer);
        if (n > 0) {
            m_iov_consume(in->buffer, (size_t)n);
        }
        break;
    case STREAM_RAW:
        n = io->write(net_plugin(channel), channel->fd, in->buffer, in->bytes_total);
        if (n < 0 && errno == EAGAIN) {
            violation("raw-stream-outside-coroutine",
                      "fd %d: a raw stream that would block yields a coroutine, and there is none", channel->fd);
        }
        break;
    default:
        break;
    }
    MW->core_io = outer;
    return n;
}

/* one write of the first input of the first stream */
int m_channel_write(struct mk_channel *channel, size_t *count)
{
    errno = 0;
    if (list_empty(&channel->streams)) {
        return CHANNEL_EMPTY;
    }
    struct mk_stream *stream = ENTRY(channel->streams.next, struct mk_stream, _head);
    if (list_empty(&stream->inputs)) {
        return CHANNEL_EMPTY;
    }
    struct mk_stream_input *in = ENTRY(stream->inputs.next, struct mk_stream_input, _head);
    if (in->type == STREAM_IOV && !in->buffer) {
        return CHANNEL_EMPTY;
    }
    ssize_t n = input_write(channel, in);
    if (n < 0 && errno == EAGAIN) {
        return CHANNEL_BUSY;
    }
    if (n <= 0) {
        input_release(in);
        return CHANNEL_ERROR;
    }
    *count = (size_t)n;
    in->bytes_total -= (size_t)n;
    if (stream->cb_bytes_consumed) {
        stream->cb_bytes_consumed(stream, n);
    }
    if (in->cb_consumed) {
        in->cb_consumed(in, n);
    }
    if (in->bytes_total == 0) {
        input_release(in);
    }
    if (!list_empty(&stream->inputs)) {
        return CHANNEL_FLUSH;
    }
    if (stream->cb_finished) {
        stream->cb_finished(stream);
    }
    return list_empty(&channel->streams) ? CHANNEL_DONE : CHANNEL_FLUSH;
}

int m_channel_flush(struct mk_channel *channel)
{
    size_t total = 0;
    int ret;
    do {
        size_t count = 0;
        ret = m_channel_write(channel, &count);
        total += count;
    } while (total <= CHUNK && !(ret & (CHANNEL_DONE | CHANNEL_ERROR | CHANNEL_EMPTY)));
    if ((ret & (CHANNEL_FLUSH | CHANNEL_BUSY)) && !(channel->event->mask & MASK_WRITE)) {
        m_ev_add(MW->sched->loop, channel->fd, EVENT_CONNECTION, MASK_WRITE, channel->event);
    }
    return ret;
}

void m_channel_clean(struct mk_channel *channel)
{
    FOREACH_SAFE(it, tmp, &channel->streams) {
        m_stream_release(ENTRY(it, struct mk_stream, _head));
    }
}
