/* mem.c - the allocator and string helpers that the api hands out; a libc free() of a block is caught. */
#include "common.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

/* Blocks begin 16 bytes behind what malloc gave, as real builds use a private allocator: free()
 * of such a pointer ends in glibc's or ASan's "invalid pointer". */
#define BLOCK_LIVE 0x6d6f6e6b65793135ull
#define BLOCK_DEAD 0x5a5a5a5adeadb10cull
struct block { uint64_t magic; uint64_t size; };

void *mem_alloc(size_t size)
{
    struct block *b = malloc(sizeof *b + size);
    if (!b) {
        return NULL;
    }
    b->magic = BLOCK_LIVE;
    b->size = size;
    memset(b + 1, 0xA5, size < 64 ? size : 64);
    return b + 1;
}

void *mem_alloc_z(size_t size)
{
    void *p = mem_alloc(size);
    return p ? memset(p, 0, size) : NULL;
}

static struct block *block_of(void *p, const char *call)
{
    struct block *b = (struct block *)p - 1;
    if (b->magic != BLOCK_LIVE) {
        violation("foreign-block", "%s(%p): not a live block of this allocator", call, p);
    }
    return b;
}

void *mem_realloc(void *old, size_t size)
{
    if (!old) {
        return mem_alloc(size);
    }
    struct block *b = realloc(block_of(old, "mem_realloc"), sizeof *b + size);
    if (!b) {
        return NULL;
    }
    b->size = size;
    return b + 1;
}

void mem_free(void *p)
{
    if (!p) {
        return;
    }
    struct block *b = block_of(p, "mem_free");
    memset(p, 0x5A, b->size);
    b->magic = BLOCK_DEAD;
    free(b);
}

char *str_dup(const char *text)
{
    if (!text) {
        return NULL;
    }
    size_t n = strlen(text) + 1;
    char *copy = mem_alloc(n);
    return copy ? memcpy(copy, text, n) : NULL;
}

char *str_build(char **out, unsigned long *len, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *text = n < 0 ? NULL : mem_alloc((size_t)n + 1);
    if (text) {
        vsnprintf(text, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    *len = text ? (unsigned long)n : 0;
    return *out = text;
}

/* sensitive: 0 means that letter case counts, as in the server's own constants */
int str_search_n(const char *text, const char *what, int insensitive, int len)
{
    size_t n = strlen(what);
    if (len < 0) {
        len = (int)strlen(text);
    }
    for (int i = 0; i + (int)n <= len && text[i]; i++) {
        if ((insensitive ? strncasecmp(text + i, what, n) : strncmp(text + i, what, n)) == 0) {
            return i;
        }
    }
    return -1;
}

int str_search(const char *text, const char *what, int insensitive)
{
    return str_search_n(text, what, insensitive, -1);
}

char *str_copy_substr(const char *text, int from, int to)
{
    if (from > to || (size_t)to > strlen(text)) {
        return NULL;
    }
    size_t n = (size_t)(to - from);
    char *copy = mem_alloc(n + 1);
    if (copy) {
        memcpy(copy, text + from, n);
        copy[n] = 0;
    }
    return copy;
}

struct mk_list *str_split_line(const char *line)
{
    if (!line) {
        return NULL;
    }
    struct mk_list *list = mem_alloc(sizeof *list);
    list_init(list);
    while (*line) {
        size_t n = strcspn(line, " ");
        if (n) {
            struct mk_string_line *word = mem_alloc_z(sizeof *word);
            word->val = mem_alloc(n + 1);
            memcpy(word->val, line, n);
            word->val[n] = 0;
            word->len = (int)n;
            list_add(&word->_head, list);
        }
        line += n + (line[n] == ' ');
    }
    return list;
}

void str_split_free(struct mk_list *list)
{
    if (!list) {
        return;
    }
    FOREACH_SAFE(it, tmp, list) {
        struct mk_string_line *word = ENTRY(it, struct mk_string_line, _head);
        list_del(it);
        mem_free(word->val);
        mem_free(word);
    }
    mem_free(list);
}

/* decimal digits followed by CRLF; the caller's buffer must have room */
int str_itop(uint64_t value, mk_ptr_t *out)
{
    out->len = (unsigned long)sprintf(out->data, "%llu\r\n", (unsigned long long)value);
    return 0;
}

char *ptr_to_buf(mk_ptr_t p)
{
    char *copy = mem_alloc(p.len + 1);
    if (copy) {
        if (p.len) {
            memcpy(copy, p.data, p.len);
        }
        copy[p.len] = 0;
    }
    return copy;
}

char *file_to_buffer(const char *path)
{
    struct stat st;
    FILE *f = fopen(path, "re");
    if (!f) {
        return NULL;
    }
    char *text = NULL;
    if (fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0) {
        text = mem_alloc_z((size_t)st.st_size + 1);
        if (text && fread(text, 1, (size_t)st.st_size, f) < 1) {
            mem_free(text);
            text = NULL;
        }
    }
    fclose(f);
    return text;
}

static bool mode_allows(const struct stat *st, mode_t user, mode_t group, mode_t other)
{
    return ((st->st_mode & user) && st->st_uid == geteuid())
        || ((st->st_mode & group) && st->st_gid == getegid()) || (st->st_mode & other);
}

int file_get_info(const char *path, struct file_info *info)
{
    struct stat st;
    info->exists = 0;
    if (lstat(path, &st) != 0) {
        info->exists = errno == EACCES;
        return -1;
    }
    info->exists = 1;
    info->is_link = S_ISLNK(st.st_mode);
    if (info->is_link && stat(path, &st) != 0) {
        info->is_file = info->is_directory = info->exec_access = info->read_access = 0;
        return -1;
    }
    info->is_directory = S_ISDIR(st.st_mode);
    info->is_file = !info->is_directory && !info->is_link;
    info->size = st.st_size;
    info->last_modification = st.st_mtime;
    info->read_access = mode_allows(&st, S_IRUSR, S_IRGRP, S_IROTH);
    info->exec_access = mode_allows(&st, S_IXUSR, S_IXGRP, S_IXOTH);
    info->flags_read_only = O_RDONLY | O_NONBLOCK;
    return 0;
}
