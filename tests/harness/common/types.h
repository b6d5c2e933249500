/* types.h - the small structures that are the same in both families. */
#ifndef TYPES_H
#define TYPES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct mk_list { struct mk_list *prev, *next; };
typedef struct { char *data; unsigned long len; } mk_ptr_t;
struct mk_string_line { char *val; int len; struct mk_list _head; };
struct file_info {
    off_t size;
    time_t last_modification;
    int flags_read_only;
    unsigned char exists, is_file, is_link, is_directory, exec_access, read_access;
};

/* the types of a line for the api's _error */
enum { LOG_INFO_TYPE = 0x1000, LOG_ERR_TYPE = 0x1001, LOG_WARN_TYPE = 0x1002, LOG_BUG_TYPE = 0x1003 };

#endif
