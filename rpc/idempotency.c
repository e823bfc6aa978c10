/* SPDX-License-Identifier: Apache-2.0 */
/* Which methods may run twice, as `option idempotency_level` in their .proto says. */
#include "channel.h"
#include "packed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { /* fields of descriptor.proto */
    SET_FILE = 1,
    NAME = 1,
    FILE_PACKAGE = 2,
    FILE_SERVICE = 6,
    SERVICE_METHOD = 2,
    METHOD_OPTIONS = 4,
    OPTIONS_IDEMPOTENCY = 34,
};

typedef struct path_list {
    char **list;
    size_t count, room;
    bool no_memory;
} path_list;

static bool may_run_twice(rpc_bytes method)
{
    rpc_bytes options = rpc__packed_bytes(method, METHOD_OPTIONS);
    rpc__packed_field at;
    uint64_t level = 0;
    while (rpc__packed_next(&options, &at))
        if (at.number == OPTIONS_IDEMPOTENCY)
            level = at.varint;
    return level == 1 || level == 2; /* NO_SIDE_EFFECTS, IDEMPOTENT */
}

static void add(path_list *it, rpc_bytes package, rpc_bytes service, rpc_bytes method)
{
    if (it->count == it->room) {
        size_t room = it->room ? 2 * it->room : 16;
        char **list = reallocarray(it->list, room, sizeof *list);
        it->no_memory = it->no_memory || !list;
        if (!list)
            return;
        it->list = list;
        it->room = room;
    }
    size_t size = package.size + service.size + method.size + 4;
    char *path = malloc(size);
    it->no_memory = it->no_memory || !path;
    if (!path)
        return;
    snprintf(path, size, "/%.*s%s%.*s/%.*s", (int)package.size, (const char *)package.data,
        package.size ? "." : "", (int)service.size, (const char *)service.data, (int)method.size,
        (const char *)method.data);
    it->list[it->count++] = path;
}

static void read_service(path_list *it, rpc_bytes package, rpc_bytes service)
{
    rpc_bytes name = rpc__packed_bytes(service, NAME);
    rpc__packed_field at;
    while (rpc__packed_next(&service, &at))
        if (at.number == SERVICE_METHOD && may_run_twice(at.bytes))
            add(it, package, name, rpc__packed_bytes(at.bytes, NAME));
}

static void read_file(path_list *it, rpc_bytes file)
{
    rpc_bytes package = rpc__packed_bytes(file, FILE_PACKAGE);
    rpc__packed_field at;
    while (rpc__packed_next(&file, &at))
        if (at.number == FILE_SERVICE)
            read_service(it, package, at.bytes);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

rpc_code rpc__idempotent_read(
    rpc_bytes descriptor_set, char ***ret_paths, size_t *ret_count, rpc_status *reterr)
{
    path_list it = {0};
    rpc__packed_field at;
    while (rpc__packed_next(&descriptor_set, &at))
        if (at.number == SET_FILE)
            read_file(&it, at.bytes);
    if (descriptor_set.size > 0 || it.no_memory) {
        rpc__idempotent_free(it.list, it.count);
        return it.no_memory
                   ? rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "channel: no memory")
                   : rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                         "channel: the descriptor set given is damaged; make it with protoc "
                         "--include_imports --descriptor_set_out");
    }
    if (it.count > 0)
        qsort(it.list, it.count, sizeof *it.list, compare);
    *ret_paths = it.list;
    *ret_count = it.count;
    return RPC_OK;
}

void rpc__idempotent_free(char **paths, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(paths[i]);
    free(paths);
}

bool rpc__idempotent_has(char *const *paths, size_t count, const char *path)
{
    return count > 0 && bsearch(&path, paths, count, sizeof *paths, compare) != NULL;
}
