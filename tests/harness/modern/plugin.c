/* plugin.c - loading in the server's order and with its rules for names, the stage lists, exit. */
#include "modern.h"

#include <dlfcn.h>

static void copy_stage(struct mk_plugin *p, struct mk_list *list, size_t member)
{
    void *function;
    memcpy(&function, (char *)p->stage + member, sizeof function);
    if (!function) {
        return;
    }
    struct mk_plugin_stage *copy = mem_alloc(sizeof *copy); /* the other members hold what was there */
    memcpy((char *)copy + member, &function, sizeof function);
    copy->plugin = p;
    list_add(&copy->_head, list);
    list_add(&copy->_parent_head, &p->stage_list);
}

/* everything behind the last '-' of the whole path, less the last three characters */
static const char *short_name(const char *path, char *to, size_t size)
{
    const char *dash = strrchr(path, '-');
    if (!dash) {
        violation("plugin-path-without-dash", "%s", path);
    }
    size_t n = strlen(dash + 1);
    if (n < 3 || n - 3 >= size) {
        violation("plugin-name-length", "%s", path);
    }
    memcpy(to, dash + 1, n - 3);
    to[n - 3] = 0;
    return to;
}

static struct mk_plugin *plugin_open(const char *path, const char *name)
{
    char symbol[64];
    void *handle = dlopen(path, RTLD_LAZY);
    if (!handle) {
        host_error(LOG_WARN_TYPE, "dlopen() %s", dlerror());
        return NULL;
    }
    snprintf(symbol, sizeof symbol - 1, "mk_plugin_%.52s", name); /* and no longer */
    struct mk_plugin *p = dlsym(handle, symbol);
    if (!p) {
        host_error(LOG_WARN_TYPE, "Plugin '%s' is not registering properly", path);
        dlclose(handle);
        return NULL;
    }
    if (!p->name && M.variant == V_187) {
        violation("plugin-name-null", "%s: the server compares it with those built in before it checks it", path);
    }
    /* the server writes into the object before it has checked anything */
    p->load_type = LOAD_DYNAMIC;
    p->handler = handle;
    p->path = str_dup(path);
    if (!p->shortname || !p->name || !p->version || !p->init_plugin || !p->exit_plugin) {
        host_error(LOG_WARN_TYPE, "Plugin '%s' is not registering all fields properly", name);
        return NULL; /* without dlclose */
    }
    return p;
}

static void stages_link(struct mk_plugin *p)
{
    list_init(&p->stage_list);
    if (!(p->hooks & HOOK_STAGE)) {
        return;
    }
    if (!p->stage) {
        violation("stage-bit-without-stage", "%s", p->shortname);
    }
    copy_stage(p, &late()->stage10_handler, offsetof(struct mk_plugin_stage, stage10));
    copy_stage(p, &late()->stage20_handler, offsetof(struct mk_plugin_stage, stage20));
    copy_stage(p, &late()->stage30_handler, offsetof(struct mk_plugin_stage, stage30));
    copy_stage(p, &late()->stage40_handler, offsetof(struct mk_plugin_stage, stage40));
    copy_stage(p, &late()->stage50_handler, offsetof(struct mk_plugin_stage, stage50));
}

/* 1.6.x looks for the same symbol and expects another arrangement; only to test that a plugin refuses */
struct plugin_16 {
    const char *shortname, *name, *version;
    unsigned int hooks;
    char capabilities;
    int (*init_plugin)(void **, char *);
    int (*exit_plugin)(void);
    void *master_init, *worker_init, *network, *stage, *handler;
    char *path;
    void *thread_key;
    struct mk_list _head;
    int load_type;
};
_Static_assert(sizeof(struct plugin_16) == (sizeof(void *) == 8 ? 128 : 68), "plugin_16");

static void plugin_start_16(const char *path, const char *name, char *dir)
{
    char symbol[64];
    void *handle = dlopen(path, RTLD_LAZY), *api = m_api_of_16();
    snprintf(symbol, sizeof symbol, "mk_plugin_%.53s", name);
    struct plugin_16 *p = handle ? dlsym(handle, symbol) : NULL;
    if (!p) {
        host_error(LOG_WARN_TYPE, "Plugin '%s' is not registering properly", path);
        return;
    }
    if (!p->name) {
        violation("plugin-name-null", "%s: 1.6 compares it with those built in before it checks it", path);
    }
    p->load_type = LOAD_DYNAMIC;
    p->handler = handle;
    p->path = str_dup(path);
    if (!p->shortname || !p->version || !p->init_plugin || !p->exit_plugin) {
        host_error(LOG_WARN_TYPE, "Plugin '%s' is not registering all fields properly", name);
        return;
    }
    if ((p->hooks & HOOK_STAGE) || p->init_plugin(&api, dir) >= 0) {
        violation("accepted-by-1.6", "%s: registered with the layout of another version", path);
    }
}

static void plugin_start(const char *path, const char *base)
{
    char name[64], *dir = NULL;
    unsigned long len;
    short_name(path, name, sizeof name);
    if (M.variant == V_16) {
        str_build(&dir, &len, "%s/%s/", base, name);
        plugin_start_16(path, name, dir);
        mem_free(dir);
        return;
    }
    struct mk_plugin *p = plugin_open(path, name);
    if (!p) {
        host_error(LOG_WARN_TYPE, "Invalid plugin '%s'", path);
        return;
    }
    stages_link(p);
    list_add(&p->_head, &M.server->plugins);
    str_build(&dir, &len, "%s/%s/", base, p->shortname);
    p->api = M.api;
    p->server_ctx = M.server;
    int ret = p->init_plugin(p, dir);
    memset(dir, 'X', len);
    mem_free(dir);
    if (ret < 0) {
        mem_free(p->path); /* the copies of its stages stay linked, as in the real server */
        list_del(&p->_head);
        dlclose(p->handler);
    }
}

static void map_handlers(void)
{
    FOREACH(it, &M.server->hosts) {
        struct mk_vhost *host = ENTRY(it, struct mk_vhost, _head);
        FOREACH(jt, &host->handlers) {
            struct mk_vhost_handler *handler = ENTRY(jt, struct mk_vhost_handler, _head);
            struct mk_plugin *found = NULL;
            FOREACH(kt, &M.server->plugins) {
                struct mk_plugin *p = ENTRY(kt, struct mk_plugin, _head);
                if (!found && strcmp(p->shortname, handler->name) == 0) {
                    found = p;
                }
            }
            if (!found) {
                host_error(LOG_ERR_TYPE, "Plugin '%s' was not loaded", handler->name);
            } else if (found->hooks != HOOK_STAGE) {
                host_error(LOG_ERR_TYPE, "Plugin '%s' is not a handler", handler->name);
            } else {
                handler->handler = found;
            }
        }
    }
}

void m_plugins_load(void)
{
    char path[PATH_LIMIT];
    struct file_info info;
    snprintf(path, sizeof path, "%s/%s", M.server->path_conf_root, M.server->conf_plugin_load);
    struct mk_rconf *conf = m_config_open(path);
    if (!conf) {
        host_error(LOG_WARN_TYPE, "No dynamic plugins loaded.");
        return; /* and [HANDLERS] stay unmapped */
    }
    struct mk_rconf_section *section = m_config_section_get(conf, "PLUGINS");
    if (!section) {
        exit(EXIT_FAILURE);
    }
    snprintf(path, sizeof path, "%s/%s", M.server->path_conf_root, M.server->conf_plugins);
    if (file_get_info(path, &info) != 0 || !info.is_directory) {
        snprintf(path, sizeof path, "%s", M.server->conf_plugins);
    }
    FOREACH(it, &section->entries) {
        struct mk_rconf_entry *e = ENTRY(it, struct mk_rconf_entry, _head);
        if (strcasecmp(e->key, "Load") == 0) {
            plugin_start(e->val, path);
        }
    }
    FOREACH(jt, &M.server->plugins) {
        struct mk_plugin *p = ENTRY(jt, struct mk_plugin, _head);
        if (p->thread_key && pthread_key_create(p->thread_key, NULL) != 0) {
            host_error(LOG_ERR_TYPE, "no thread key for %s", p->shortname);
        }
    }
    map_handlers();
    m_config_free(conf);
}

void m_plugins_master_init(void)
{
    FOREACH(it, &M.server->plugins) {
        struct mk_plugin *p = ENTRY(it, struct mk_plugin, _head);
        if (p->master_init) {
            p->master_init(M.server);
        }
    }
}

void m_plugins_worker_init(void)
{
    FOREACH(it, &M.server->plugins) {
        struct mk_plugin *p = ENTRY(it, struct mk_plugin, _head);
        if (p->worker_init) {
            p->worker_init(M.server);
        }
    }
}

void m_plugins_exit(bool unload)
{
    FOREACH_SAFE(it, tmp, &M.server->plugins) {
        struct mk_plugin *p = ENTRY(it, struct mk_plugin, _head);
        if (p->exit_plugin) {
            p->exit_plugin(p);
        }
        if (p->load_type != LOAD_DYNAMIC) {
            continue;
        }
        FOREACH_SAFE(jt, jtmp, &p->stage_list) {
            struct mk_plugin_stage *copy = ENTRY(jt, struct mk_plugin_stage, _parent_head);
            list_del(&copy->_head);
            list_del(jt);
            mem_free(copy);
        }
        mem_free(p->path);
        if (unload) {
            dlclose(p->handler);
        }
    }
}

/* ---- stages ---- */
#define FOREACH_STAGE(st, number) \
    FOREACH(it_, &late()->number##_handler) \
        for (struct mk_plugin_stage *st = ENTRY(it_, struct mk_plugin_stage, _head); st; st = NULL)

int m_stage10(int fd)
{
    FOREACH_STAGE(st, stage10) {
        if (st->stage10(fd) == RET_CLOSE_CONX) {
            return RET_CLOSE_CONX;
        }
    }
    return -1;
}

int m_stage20(struct mk_http_session *cs, struct mk_http_request *sr)
{
    FOREACH_STAGE(st, stage20) {
        if (st->stage20(cs, sr) == RET_CLOSE_CONX) {
            return RET_CLOSE_CONX;
        }
    }
    return -1;
}

void m_stage40(struct mk_http_session *cs, struct mk_http_request *sr)
{
    FOREACH_STAGE(st, stage40) {
        st->stage40(cs, sr);
    }
}

void m_stage50(int fd)
{
    FOREACH_STAGE(st, stage50) {
        if (st->stage50(fd) == RET_CONTINUE) {
            return;
        }
    }
}
