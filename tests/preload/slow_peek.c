/*
 * A recv() that takes its time between a look at a socket that has nothing yet
 * and whatever its caller does next: what arrives in between would otherwise
 * have to hit a microsecond.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

ssize_t recv(int fd, void *buffer, size_t length, int flags)
{
    static ssize_t (*real)(int, void *, size_t, int);
    if (!real)
        *(void **) &real = dlsym(RTLD_NEXT, "recv");
    ssize_t n = real(fd, buffer, length, flags);
    if (n < 0 && (flags & MSG_PEEK) && errno == EAGAIN) {
        struct timespec pause = {0, 20 * 1000 * 1000};
        nanosleep(&pause, NULL);
        errno = EAGAIN;
    }
    return n;
}
