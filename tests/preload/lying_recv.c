/*
 * A recv() that can lie: when what it read contains "X-Lie: recv", it claims to
 * have read far more than there was room for. Preloaded into a server, it makes
 * the plugin panic where nothing else can, without a hook in the plugin.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

ssize_t recv(int fd, void *buffer, size_t length, int flags)
{
    static ssize_t (*real)(int, void *, size_t, int);
    if (!real)
        *(void **) &real = dlsym(RTLD_NEXT, "recv");
    ssize_t n = real(fd, buffer, length, flags);
    if (n > 0 && !(flags & MSG_PEEK) && memmem(buffer, (size_t) n, "X-Lie: recv", 11))
        return 1 << 30;
    return n;
}
