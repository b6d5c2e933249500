/* conf.c - the configuration reader with the server's own line rules; a syntax error ends the process. */
#include "harness.h"

#define LINE_MAX_ 255

struct reader {
    const char *path;
    struct mk_config *conf;
    struct mk_config_section *section;
    char *indent;
    size_t indent_len;
    int line;
};

static _Noreturn void bad(const struct reader *r, const char *why)
{
    host_error(LOG_ERR_TYPE, "Error in configuration file %s at line %i: %s", r->path, r->line, why);
    exit(EXIT_FAILURE);
}

static bool blank(char c)
{
    return c == ' ' || c == '\t';
}

static char *trimmed(const char *from, const char *to)
{
    while (from < to && blank(*from)) {
        from++;
    }
    while (to > from && blank(to[-1])) {
        to--;
    }
    char *copy = mem_alloc((size_t)(to - from) + 1);
    memcpy(copy, from, (size_t)(to - from));
    copy[to - from] = 0;
    return copy;
}

static void section_line(struct reader *r, const char *text)
{
    const char *end = strchr(text, ']');
    if (!end) {
        bad(r, "bad header definition");
    }
    if (r->section && list_empty(&r->section->entries)) {
        bad(r, "previous section did not have keys");
    }
    struct mk_config_section *s = mem_alloc_z(sizeof *s);
    s->name = mem_alloc((size_t)(end - text));
    memcpy(s->name, text + 1, (size_t)(end - text - 1));
    s->name[end - text - 1] = 0;
    list_init(&s->entries);
    list_add(&s->_head, &r->conf->sections);
    r->section = s;
}

static void key_line(struct reader *r, const char *text)
{
    if (!r->indent) {
        /* the first such line fixes the indentation: its first character and all blanks behind it */
        size_t n = 1;
        while (blank(text[n])) {
            n++;
        }
        r->indent = strndup(text, n);
        r->indent_len = n;
    }
    if (strncmp(text, r->indent, r->indent_len) != 0 || blank(text[r->indent_len])) {
        bad(r, "invalid indentation level");
    }
    text += r->indent_len;
    if (*text == '#' || *text == 0) {
        return;
    }
    const char *space = strchr(text, ' ');
    if (!space) {
        bad(r, "each key must have a value");
    }
    if (!r->section) {
        host_error(LOG_ERR_TYPE, "%s:%i: key outside of a section is ignored", r->path, r->line);
        return;
    }
    struct mk_config_entry *e = mem_alloc_z(sizeof *e);
    e->key = trimmed(text, space);
    e->val = trimmed(space + 1, text + strlen(text));
    list_add(&e->_head, &r->section->entries);
}

struct mk_config *config_create(const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        host_error(LOG_WARN_TYPE, "Config: I cannot open %s file", path);
        return NULL;
    }
    struct reader r = {.path = path, .conf = mem_alloc_z(sizeof *r.conf)};
    r.conf->created = 1;
    r.conf->file = str_dup(path);
    list_init(&r.conf->sections);

    char buf[LINE_MAX_];
    while (fgets(buf, sizeof buf, f)) {
        size_t n = strlen(buf);
        if (n && buf[n - 1] == '\n') {
            buf[--n] = 0;
            if (n && buf[n - 1] == '\r') {
                buf[--n] = 0;
            }
        }
        r.line++;
        if (n == 0 || buf[0] == '#') {
            continue;
        }
        if (buf[0] == '[') {
            section_line(&r, buf);
        } else {
            key_line(&r, buf);
        }
    }
    fclose(f);
    free(r.indent);
    if (r.section && list_empty(&r.section->entries)) {
        bad(&r, "section without keys");
    }
    return r.conf;
}

void config_free(struct mk_config *conf)
{
    if (!conf) {
        return;
    }
    FOREACH_SAFE(it, tmp, &conf->sections) {
        struct mk_config_section *s = ENTRY(it, struct mk_config_section, _head);
        FOREACH_SAFE(jt, jtmp, &s->entries) {
            struct mk_config_entry *e = ENTRY(jt, struct mk_config_entry, _head);
            list_del(jt);
            mem_free(e->key);
            mem_free(e->val);
            mem_free(e);
        }
        list_del(it);
        mem_free(s->name);
        mem_free(s);
    }
    mem_free(conf->file);
    mem_free(conf);
}

struct mk_config_section *config_section_get(struct mk_config *conf, const char *name)
{
    FOREACH(it, &conf->sections) {
        struct mk_config_section *s = ENTRY(it, struct mk_config_section, _head);
        if (strcasecmp(s->name, name) == 0) {
            return s;
        }
    }
    return NULL;
}

void *config_section_getval(struct mk_config_section *section, char *key, int type)
{
    FOREACH(it, &section->entries) {
        struct mk_config_entry *e = ENTRY(it, struct mk_config_entry, _head);
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
