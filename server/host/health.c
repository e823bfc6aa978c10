/* SPDX-License-Identifier: Apache-2.0 */
/* health->lock guards the entries; nothing else is done under it. */
#include "http.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct entry {
    const char *name, *text;
    bool ok;
} entry;

typedef struct entries {
    entry items[HOST_HEALTH_ENTRIES_MAX];
    size_t count;
} entries;

struct host_health {
    pthread_mutex_t lock;
    entries checks, warnings;
};

host_health *host_health_new(void)
{
    host_health *health = calloc(1, sizeof *health);
    if (health)
        pthread_mutex_init(&health->lock, NULL);
    return health;
}

void host_health_free(host_health *health)
{
    if (!health)
        return;
    pthread_mutex_destroy(&health->lock);
    free(health);
}

static void put(host_health *health, entries *list, const entry *value)
{
    pthread_mutex_lock(&health->lock);
    size_t at = 0;
    while (at < list->count && strcmp(list->items[at].name, value->name) != 0)
        at++;
    if (at == HOST_HEALTH_ENTRIES_MAX) {
        fprintf(stderr, "health: no room for '%.100s'\n", value->name);
        abort();
    }
    if (at == list->count)
        list->count++;
    list->items[at] = *value;
    pthread_mutex_unlock(&health->lock);
}

void host_health_set(host_health *health, const char *name, bool ok, const char *text)
{
    put(health, &health->checks, &(entry){name, text ? text : "", ok});
}

void host_health_warn(host_health *health, const char *name, const char *text)
{
    put(health, &health->warnings, &(entry){name, text, true});
}

static bool all_ok(const entries *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (!list->items[i].ok)
            return false;
    return true;
}

bool host_health_ok(host_health *health)
{
    pthread_mutex_lock(&health->lock);
    bool ok = all_ok(&health->checks);
    pthread_mutex_unlock(&health->lock);
    return ok;
}

/* jansson's functions take NULL for what could not be made, and then fail. */
static json_t *checks_json(const entries *list)
{
    json_t *object = json_object();
    for (size_t i = 0; i < list->count; i++) {
        const entry *one = &list->items[i];
        json_t *check = json_pack("{s:b, s:s}", "ok", one->ok, "text", one->text);
        if (json_object_set_new(object, one->name, check) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *warnings_json(const entries *list)
{
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++) {
        const entry *one = &list->items[i];
        if (!one->text)
            continue; /* taken back */
        if (json_array_append_new(
                array, json_pack("{s:s, s:s}", "name", one->name, "text", one->text)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* The caller frees it with free(), whatever allocator jansson was given. */
static char *json_text(const json_t *json, size_t *ret_size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_size);
    if (!out)
        return NULL;
    bool whole = json_dumpf(json, out, JSON_COMPACT) == 0;
    whole = fputc('\n', out) != EOF && whole;
    if (fclose(out) == 0 && whole)
        return text;
    free(text);
    return NULL;
}

void host_health_reply(host_health *health, host_reply *ret)
{
    pthread_mutex_lock(&health->lock);
    entries checks = health->checks, warnings = health->warnings;
    pthread_mutex_unlock(&health->lock);
    bool ok = all_ok(&checks);
    json_t *json = json_pack("{s:s, s:o, s:o}", "status", ok ? "ok" : "failing", "checks",
        checks_json(&checks), "warnings", warnings_json(&warnings));
    if (!json)
        return;
    ret->body = json_text(json, &ret->size);
    json_decref(json);
    if (ret->body)
        ret->status = ok ? 200 : 503;
}

void host_health_handle(void *ctx, host_request *request)
{
    host_reply reply = {0};
    host_health_reply(ctx, &reply);
    host_request_answer(request, &reply);
}
