/* conf.c - the configuration reader: the line rules of 1.7 and later; an error gives NULL, not an exit. */
#include "modern.h"

#include <glob.h>
#include <limits.h>
#include <sys/stat.h>

#define LINE_MAX_ 4096

struct include { char *path; struct mk_list _head; };

static bool blank(char c) { return c == ' ' || c == '\t'; }

static char *trimmed(const char *from, const char *to)
{
    while (from < to && (blank(*from) || *from == '\r')) {
        from++;
    }
    while (to > from && (blank(to[-1]) || to[-1] == '\r')) {
        to--;
    }
    char *copy = mem_alloc((size_t)(to - from) + 1);
    memcpy(copy, from, (size_t)(to - from));
    copy[to - from] = 0;
    return copy;
}

static int bad(const char *path, int line, const char *why)
{
    host_error(LOG_ERR_TYPE, "[config] error in %s:%i: %s", path, line, why);
    return -1;
}

static void entry_add(struct mk_list *list, char *key, char *val)
{
    struct mk_rconf_entry *e = mem_alloc_z(sizeof *e);
    e->key = key;
    e->val = val;
    list_add(&e->_head, list);
}

/* the first such line fixes the indentation: its first character and all blanks behind it */
static int key_line(struct mk_rconf_section *section, char **indent, const char *path, int line, char *text)
{
    if (!*indent) {
        size_t n = 1;
        while (blank(text[n])) {
            n++;
        }
        *indent = strndup(text, n);
        if (!text[n]) {
            return 0;
        }
    }
    size_t n = strlen(*indent);
    if (strncmp(text, *indent, n) != 0 || blank(text[n])) {
        return bad(path, line, "invalid indentation level");
    }
    text += n;
    if (!*text || *text == '#' || strncmp(text, "---", 3) == 0) {
        return 0;
    }
    const char *space = strchr(text, ' ');
    if (!space) {
        return bad(path, line, "each key must have a value");
    }
    char *key = trimmed(text, space), *val = trimmed(space + 1, text + strlen(text));
    if (!*val) {
        mem_free(key);
        mem_free(val);
        return bad(path, line, "key has an empty value");
    }
    if (!section) {
        host_error(LOG_ERR_TYPE, "%s:%i: key outside of a section is ignored", path, line);
        mem_free(key);
        mem_free(val);
        return 0;
    }
    entry_add(&section->entries, key, val);
    return 0;
}

static int read_file(struct mk_rconf *conf, const char *path);

static int include(struct mk_rconf *conf, const char *what)
{
    char path[PATH_MAX];
    struct stat st;
    glob_t found;
    int ret = -1;
    bool beside = *what != '/' && conf->root_path && (strchr(what, '*') || stat(what, &st) != 0);
    snprintf(path, sizeof path, "%s%s", beside ? conf->root_path : "", what);
    if (!strchr(what, '*')) {
        return read_file(conf, path);
    }
    if (glob(path, GLOB_NOSORT, NULL, &found) != 0) {
        host_error(LOG_WARN_TYPE, "[config] %s: nothing matches", path);
        return -1;
    }
    for (size_t i = 0; i < found.gl_pathc && (ret = read_file(conf, found.gl_pathv[i])) == 0; i++) {
    }
    globfree(&found);
    return ret;
}

static int section_line(struct mk_rconf *conf, struct mk_rconf_section **section, const char *path, int line,
                        const char *text)
{
    const char *end = strchr(text, ']');
    if (!end) {
        return bad(path, line, "bad header definition");
    }
    if (*section && list_empty(&(*section)->entries)) {
        host_error(LOG_WARN_TYPE, "[config] %s:%i: previous section did not have keys", path, line);
    }
    struct mk_rconf_section *s = mem_alloc_z(sizeof *s);
    s->name = mem_alloc((size_t)(end - text));
    memcpy(s->name, text + 1, (size_t)(end - text - 1));
    s->name[end - text - 1] = 0;
    list_init(&s->entries);
    list_add(&s->_head, &conf->sections);
    *section = s;
    return 0;
}

static int meta_line(struct mk_rconf *conf, const char *text)
{
    const char *space = strchr(text, ' ');
    if (space) {
        entry_add(&conf->metas, trimmed(text + 1, space), trimmed(space + 1, text + strlen(text)));
    }
    return 0;
}

static int read_lines(struct mk_rconf *conf, FILE *f, const char *path, char **indent)
{
    static __thread char buf[LINE_MAX_];
    struct mk_rconf_section *section = NULL;
    int ret = 0;
    for (int line = 1; ret == 0 && fgets(buf, sizeof buf, f); line++) {
        size_t n = strlen(buf);
        if (n && buf[n - 1] == '\n') {
            buf[--n] = 0;
            if (n && buf[n - 1] == '\r') {
                buf[--n] = 0;
            }
        } else if (!feof(f)) {
            return bad(path, line, "length of content has exceeded limit");
        }
        if (n == 0 || buf[0] == '#') {
            continue;
        }
        if (n > 9 && strncasecmp(buf, "@INCLUDE ", 9) == 0) {
            char *what = strdup(buf + 9);
            ret = include(conf, what);
            free(what);
        } else if (buf[0] == '@' && n > 3) {
            ret = meta_line(conf, buf);
        } else if (buf[0] == '[') {
            ret = section_line(conf, &section, path, line, buf);
        } else {
            ret = key_line(section, indent, path, line, buf);
        }
    }
    return ret;
}

static int read_file(struct mk_rconf *conf, const char *path)
{
    FOREACH(it, &conf->includes) {
        if (!strcmp(ENTRY(it, struct include, _head)->path, path)) {
            host_error(LOG_ERR_TYPE, "[config] file already included %s", path);
            return -1;
        }
    }
    FILE *f = fopen(path, "re");
    if (!f) {
        host_error(LOG_WARN_TYPE, "[config] I cannot open %s file", path);
        return -1;
    }
    char *indent = NULL;
    int ret = read_lines(conf, f, path, &indent);
    free(indent);
    fclose(f);
    if (ret == 0) {
        struct include *done = mem_alloc_z(sizeof *done);
        done->path = str_dup(path);
        list_add(&done->_head, &conf->includes);
    }
    return ret;
}

struct mk_rconf *m_config_create(const char *name)
{
    struct mk_rconf *conf = mem_alloc_z(sizeof *conf);
    conf->created = time(NULL);
    conf->file = str_dup(name);
    conf->level = -1;
    list_init(&conf->includes);
    list_init(&conf->metas);
    list_init(&conf->sections);
    return conf;
}

struct mk_rconf *m_config_open(const char *path)
{
    char root[PATH_MAX];
    if (!path) {
        return NULL;
    }
    struct mk_rconf *conf = m_config_create(path);
    if (realpath(path, root)) {
        strrchr(root, '/')[1] = 0;
        conf->root_path = str_dup(root);
    }
    if (read_file(conf, path) != 0) {
        m_config_free(conf);
        return NULL;
    }
    return conf;
}

static void entries_free(struct mk_list *list)
{
    FOREACH_SAFE(it, tmp, list) {
        struct mk_rconf_entry *e = ENTRY(it, struct mk_rconf_entry, _head);
        list_del(it);
        mem_free(e->key);
        mem_free(e->val);
        mem_free(e);
    }
}

void m_config_free(struct mk_rconf *conf)
{
    if (!conf) {
        return;
    }
    FOREACH_SAFE(it, tmp, &conf->sections) {
        struct mk_rconf_section *s = ENTRY(it, struct mk_rconf_section, _head);
        entries_free(&s->entries);
        list_del(it);
        mem_free(s->name);
        mem_free(s);
    }
    FOREACH_SAFE(jt, jtmp, &conf->includes) {
        struct include *done = ENTRY(jt, struct include, _head);
        list_del(jt);
        mem_free(done->path);
        mem_free(done);
    }
    entries_free(&conf->metas);
    mem_free(conf->file);
    mem_free(conf->root_path);
    mem_free(conf);
}

struct mk_rconf_section *m_config_section_get(struct mk_rconf *conf, const char *name)
{
    FOREACH(it, &conf->sections) {
        struct mk_rconf_section *s = ENTRY(it, struct mk_rconf_section, _head);
        if (strcasecmp(s->name, name) == 0) {
            return s;
        }
    }
    return NULL;
}

void *m_config_section_get_key(struct mk_rconf_section *section, char *key, int type)
{
    FOREACH(it, &section->entries) {
        struct mk_rconf_entry *e = ENTRY(it, struct mk_rconf_entry, _head);
        if (strcasecmp(e->key, key) != 0) {
            continue;
        }
        switch (type) {
        case VAL_STR:
            return str_dup(e->val);
        case VAL_NUM:
            return (void *)strtol(e->val, NULL, 10);
        case VAL_BOOL:
            return (void *)(intptr_t)(!strcasecmp(e->val, "on") ? 1 : !strcasecmp(e->val, "off") ? 0 : -1);
        case VAL_LIST:
            return str_split_line(e->val);
        default:
            return NULL;
        }
    }
    return NULL;
}
