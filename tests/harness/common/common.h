/* common.h - what the hosts of both families share: lists, options, log lines, the allocator and its helpers. */
#ifndef COMMON_H
#define COMMON_H

#include "types.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- lists (the same two-pointer ring as in the plugin interface) ---- */
static inline void list_init(struct mk_list *l) { l->prev = l->next = l; }
static inline bool list_empty(const struct mk_list *l) { return l->next == l; }
static inline void list_add(struct mk_list *n, struct mk_list *l)
{
    n->prev = l->prev;
    n->next = l;
    l->prev->next = n;
    l->prev = n;
}
static inline void list_del(struct mk_list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->prev = n->next = NULL;
}
#define ENTRY(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))
#define FOREACH(it, list) for (struct mk_list *it = (list)->next; it != (list); it = it->next)
#define FOREACH_SAFE(it, tmp, list) \
    for (struct mk_list *it = (list)->next, *tmp = it->next; it != (list); it = tmp, tmp = it->next)

/* ---- main.c ---- */
struct options {
    const char *dir, *variants[16];
    int port, workers, nvariants; /* port -1: as configured */
};
struct common_state {
    bool daemon, clean_exit, short_writes, fake_tls;
    int log_fd, alarm_fd;   /* log lines, and where violations are told even when 2 is closed */
};
extern struct common_state C;

/* What the mbedTLS transport answers: what it has decrypted and did not fit counts as read. */
static inline int read_with_rest(int fd, int n, int size)
{
    int rest = 0;
    if (n != size || size >= 16384 || ioctl(fd, FIONREAD, &rest) != 0) {
        return n;
    }
    return n + (rest < 16384 - size ? rest : 16384 - size);
}
int legacy_main(const struct options *options);
int modern_main(const struct options *options);
void on_fault(int number);
void announce(const char *addr, int port);
void go_daemon(void);

/* ---- log.c ---- */
_Noreturn void violation(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void host_error(int type, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void clock_tick(void);
time_t clock_now(void);
const char *clock_http(void);
mk_ptr_t *clock_human(void);
int gmt_format(char *to, size_t size, time_t when);
void stdio_watch_start(void);
void stdio_watch_check(void);

/* ---- mem.c ---- */
void *mem_alloc(size_t size);
void *mem_alloc_z(size_t size);
void *mem_realloc(void *old, size_t size);
void mem_free(void *block);
char *str_dup(const char *text);
char *str_build(char **out, unsigned long *len, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
int str_search_n(const char *text, const char *what, int sensitive, int len);
int str_search(const char *text, const char *what, int sensitive);
char *str_copy_substr(const char *text, int from, int to);
struct mk_list *str_split_line(const char *line);
void str_split_free(struct mk_list *list);
int str_itop(uint64_t value, mk_ptr_t *out);
char *ptr_to_buf(mk_ptr_t p);
char *file_to_buffer(const char *path);
int file_get_info(const char *path, struct file_info *info);

#endif
