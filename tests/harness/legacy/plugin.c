/* plugin.c - loading in the server's order, stage lists, event dispatch and the plugin event list. */
#include "harness.h"

#include <dlfcn.h>
#include <sys/stat.h>

#define MAX_STAGE 64
static struct { struct hplugin *list[MAX_STAGE]; int n; } stages[5];

#define FOREACH_PLUGIN(p) \
    for (struct hplugin *p = ENTRY(H.all_plugins.next, struct hplugin, all); &p->all != &H.all_plugins; \
         p = ENTRY(p->all.next, struct hplugin, all))

static void *symbol(void *handle, const char *name)
{
    return dlsym(handle, name);
}

/* function pointers come out of dlsym as objects */
#define LOOK_UP(member, name) (*(void **)(&(member)) = symbol(handle, name))

static struct hplugin *plugin_open(const char *path)
{
    void *handle = dlopen(path, RTLD_LAZY);
    if (!handle) {
        host_error(LOG_WARN_TYPE, "dlopen() %s", dlerror());
        host_error(LOG_WARN_TYPE, "Invalid plugin '%s'", path);
        return NULL;
    }
    struct plugin_info *info = symbol(handle, "_plugin_info");
    if (!info) {
        host_error(LOG_WARN_TYPE, "Plugin error: %s", path);
        dlclose(handle);
        return NULL;
    }
    struct hplugin *p = calloc(1, sizeof *p);
    struct plugin *pub = &p->pub;
    pub->shortname = (char *)(uintptr_t)info->shortname;
    pub->name = (char *)(uintptr_t)info->name;
    pub->version = (char *)(uintptr_t)info->version;
    pub->hooks = info->hooks;
    pub->path = strdup(path);
    pub->handler = handle;
    LOOK_UP(pub->init, "_mkp_init");
    LOOK_UP(pub->exit, "_mkp_exit");
    LOOK_UP(pub->core.prctx, "_mkp_core_prctx");
    LOOK_UP(pub->core.thctx, "_mkp_core_thctx");
    LOOK_UP(pub->stage.s10, "_mkp_stage_10");
    LOOK_UP(pub->stage.s20, "_mkp_stage_20");
    LOOK_UP(pub->stage.s30, "_mkp_stage_30");
    LOOK_UP(pub->stage.s40, "_mkp_stage_40");
    LOOK_UP(pub->stage.s50, "_mkp_stage_50");
    LOOK_UP(p->event.read, "_mkp_event_read");
    LOOK_UP(p->event.write, "_mkp_event_write");
    LOOK_UP(p->event.error, "_mkp_event_error");
    LOOK_UP(p->event.close, "_mkp_event_close");
    LOOK_UP(p->event.timeout, "_mkp_event_timeout");
    tail(pub)->event = p->event;
    tail(pub)->thread_key = symbol(handle, "_mkp_data");
    return p;
}

static void stage_append(int index, bool wanted, struct hplugin *p, bool function)
{
    if (!wanted) {
        return;
    }
    if (!function) {
        violation("stage-bit-without-function", "%s: stage %d0", p->pub.shortname, index + 1);
    }
    if (stages[index].n < MAX_STAGE) {
        stages[index].list[stages[index].n++] = p;
    }
}

static void plugin_register(struct hplugin *p)
{
    struct plugin *pub = &p->pub;
    stage_append(0, pub->hooks & STAGE_10, p, pub->stage.s10);
    stage_append(1, pub->hooks & STAGE_20, p, pub->stage.s20);
    stage_append(2, pub->hooks & STAGE_30, p, pub->stage.s30);
    stage_append(3, pub->hooks & STAGE_40, p, pub->stage.s40);
    stage_append(4, pub->hooks & STAGE_50, p, pub->stage.s50);
    list_add(&tail(pub)->_head, &H.plugins);
    list_add(&p->all, &H.all_plugins);
}

static void plugin_start(const char *path, const char *base)
{
    struct hplugin *p = plugin_open(path);
    if (!p) {
        return;
    }
    if (!p->pub.init) {
        violation("plugin-without-init", "%s", path);
    }
    char *dir = NULL;
    unsigned long len;
    str_build(&dir, &len, "%s/%s/", base, p->pub.shortname);
    int ret = p->pub.init(&H.api_given, dir);
    memset(dir, 'X', len);
    mem_free(dir);
    if (ret < 0 || !p->pub.name || !p->pub.version || !p->pub.hooks || !p->pub.exit) {
        free(p->pub.path); /* no exit call and no dlclose, as in the real server */
        free(p);
        return;
    }
    plugin_register(p);
}

static int transport_stub(void)
{
    return 0;
}

/* the core reads from its clients through this member, so a plugin may put itself in between */
static int transport_read(int fd, void *to, int size)
{
    int n = (int)read(fd, to, (size_t)size);
    return C.fake_tls ? read_with_rest(fd, n, size) : n;
}

static void transport_register(void)
{
    struct hplugin *p = calloc(1, sizeof *p);
    p->pub.shortname = C.fake_tls ? (char *)"fake-tls" : (char *)"liana";
    p->pub.name = (char *)"Transport of the test host";
    p->pub.version = H.variant == V_155 ? (char *)"1.5.5" : (char *)"1.5.6";
    p->pub.path = strdup("(built in)");
    p->pub.hooks = NETWORK_IO;
    p->pub.exit = transport_stub;
    p->pub.net_io.read = transport_read;
    plugin_register(p);
    H.config.transport_layer_plugin = &p->pub;
}

void plugins_load(void)
{
    char path[PATH_LIMIT];
    struct file_info info;
    list_init(&H.plugins);
    list_init(&H.all_plugins);
    H.config.plugins = &H.plugins;
    api_build();
    transport_register();

    snprintf(path, sizeof path, "%s/%s", H.config.serverconf, H.config.plugin_load_conf_file);
    if (file_get_info(path, &info) != 0 || !info.is_file) {
        snprintf(path, sizeof path, "%s", H.config.plugin_load_conf_file);
    }
    struct mk_config *conf = config_create(path);
    struct mk_config_section *section = conf ? config_section_get(conf, "PLUGINS") : NULL;
    if (!section) {
        host_error(LOG_ERR_TYPE, "%s: no usable [PLUGINS] section", path);
        exit(EXIT_FAILURE);
    }
    snprintf(path, sizeof path, "%s/%s", H.config.serverconf, H.config.plugins_conf_dir);
    if (file_get_info(path, &info) != 0 || !info.is_directory) {
        snprintf(path, sizeof path, "%s", H.config.plugins_conf_dir);
    }
    FOREACH(it, &section->entries) {
        struct mk_config_entry *e = ENTRY(it, struct mk_config_entry, _head);
        /* so that a real tree can be used unchanged: its transport and logger are built in here */
        if (strcasecmp(e->key, "Load") == 0 && !strstr(e->val, "monkey-liana.so")
            && !strstr(e->val, "monkey-logger.so")) {
            plugin_start(e->val, path);
        }
    }
    config_free(conf);
    FOREACH_PLUGIN(p) {
        pthread_key_t *key = tail(&p->pub)->thread_key;
        if (key && pthread_key_create(key, NULL) != 0) {
            host_error(LOG_ERR_TYPE, "no thread key for %s", p->pub.shortname);
        }
    }
}

void plugins_prctx(void)
{
    FOREACH_PLUGIN(p) {
        if (p->pub.core.prctx) {
            p->pub.core.prctx(&H.config);
        }
    }
}

void plugins_thctx(void)
{
    FOREACH_PLUGIN(p) {
        if (p->pub.core.thctx) {
            p->pub.core.thctx();
        }
    }
}

void plugins_exit(bool unload)
{
    FOREACH_PLUGIN(p) {
        p->pub.exit();
    }
    FOREACH_PLUGIN(q) {
        if (unload && q->pub.handler) {
            dlclose(q->pub.handler);
        }
    }
}

void plugins_free(void)
{
    FOREACH_SAFE(it, tmp, &H.all_plugins) {
        struct hplugin *p = ENTRY(it, struct hplugin, all);
        free(p->pub.path);
        free(p);
    }
}

/* ---- stages ---- */
#define FOREACH_STAGE(index, p) \
    for (int i_ = 0; i_ < stages[index].n; i_++) \
        for (struct hplugin *p = stages[index].list[i_]; p; p = NULL)

int stage10(int fd, struct hconn *conn)
{
    FOREACH_STAGE(0, p) {
        if (p->pub.stage.s10((unsigned int)fd, &conn->pub.v156) == RET_CLOSE_CONX) {
            return RET_CLOSE_CONX;
        }
    }
    return -1;
}

int stage20(struct client_session *cs, struct session_request *sr)
{
    FOREACH_STAGE(1, p) {
        if (p->pub.stage.s20(cs, sr) == RET_CLOSE_CONX) {
            return RET_CLOSE_CONX;
        }
    }
    return -1;
}

int stage30(struct client_session *cs, struct session_request *sr)
{
    struct hsession *s = (struct hsession *)(void *)cs;
    if (s->s30_request != sr) {
        s->s30_request = sr;
        s->s30_calls = 0;
    }
    if (++s->s30_calls > 3) {
        violation("stage30-busy-loop",
                  "fd %d: Stage 30 was given the same request %d times (the mode stayed WRITE after CONTINUE)",
                  cs->socket, s->s30_calls);
    }
    FOREACH_STAGE(2, p) {
        int ret = p->pub.stage.s30(&p->pub, cs, sr);
        switch (ret) {
        case RET_NOT_ME:
            break;
        case RET_END:
            if (!sr->headers.sent) {
                violation("end-without-sent", "%s: END, but headers.sent is false", p->pub.shortname);
            }
            return ret;
        case RET_CONTINUE:
        case RET_CLOSE_CONX:
            return ret;
        default:
            violation("stage30-unknown-return", "%s returned %d", p->pub.shortname, ret);
        }
    }
    return -1;
}

void stage40(struct client_session *cs, struct session_request *sr)
{
    access_log(cs, sr); /* first, which is the stricter place of the stock logger */
    FOREACH_STAGE(3, p) {
        p->pub.stage.s40(cs, sr);
    }
}

void stage50(int fd)
{
    FOREACH_STAGE(4, p) {
        if (p->pub.stage.s50(fd) == RET_CONTINUE) {
            return;
        }
    }
}

/* ---- events: the owner alone, else all in load order until one does not say NEXT ---- */
static int checked(const char *hook, int ret)
{
    if (ret != EVENT_NEXT && ret != EVENT_OWNED && ret != EVENT_CLOSE && ret != EVENT_CONTINUE) {
        host_error(LOG_ERR_TYPE, "[%s] Not allowed return value %i", hook, ret);
    }
    return ret;
}

static int dispatch(int fd, const char *hook, size_t member)
{
    struct plugin_event *event = event_get(fd);
    typedef int handler(int);
    handler *call;
    if (event) {
        memcpy(&call, (char *)&((struct hplugin *)(void *)event->handler)->event + member, sizeof call);
        if (call) {
            return checked(hook, call(fd));
        }
    }
    FOREACH_PLUGIN(p) {
        memcpy(&call, (char *)&p->event + member, sizeof call);
        int ret = call ? checked(hook, call(fd)) : EVENT_NEXT;
        if (ret != EVENT_NEXT) {
            return ret;
        }
    }
    return EVENT_CONTINUE;
}

int dispatch_read(int fd)
{
    return poll_state_get(fd) ? dispatch(fd, "read", offsetof(struct plugin_events, read)) : -1;
}

int dispatch_write(int fd)
{
    return poll_state_get(fd) ? dispatch(fd, "write", offsetof(struct plugin_events, write)) : -1;
}

void dispatch_close(int fd)
{
    dispatch(fd, "close", offsetof(struct plugin_events, close));
}

/* a plain list, searched from its start for every event, as in the real server */
struct plugin_event *event_get(int fd)
{
    if (!W) {
        return NULL;
    }
    FOREACH(it, &W->plugin_events) {
        struct plugin_event *e = ENTRY(it, struct plugin_event, _head);
        if (e->socket == fd) {
            return e;
        }
    }
    return NULL;
}

int event_add(int fd, int mode, struct plugin *plugin, unsigned int behavior)
{
    if (!W) {
        return -1;
    }
    if (plugin) {
        struct plugin_event *e = mem_alloc_z(sizeof *e);
        e->socket = fd;
        e->handler = plugin;
        list_add(&e->_head, &W->plugin_events);
    }
    return poll_add(W->epoll_fd, fd, mode, behavior);
}

int event_del(int fd)
{
    struct plugin_event *e = fd > 0 ? event_get(fd) : NULL;
    if (!e) {
        return -1;
    }
    list_del(&e->_head);
    mem_free(e);
    poll_del(W->epoll_fd, fd);
    return 0;
}

int event_change_mode(int fd, int mode, unsigned int behavior)
{
    return W ? poll_change_mode(W->epoll_fd, fd, mode, behavior) : -1;
}
