/* SPDX-License-Identifier: Apache-2.0 */
/* Names to addresses, on a pool of the runtime made at the first name: getaddrinfo() blocks for
 * as long as a name server keeps silent. */
#include "channel.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#define THREADS   4
#define QUEUE_MAX 1024

typedef struct resolver {
    rpc__keep keep;
    rpc_pool *pool;
} resolver;

static void free_resolver(rpc__keep *keep)
{
    resolver *it = (resolver *)keep;
    rpc_pool_free(it->pool);
    free(it);
}

static bool is_resolver(rpc__keep *keep, const void *what)
{
    (void)what;
    return keep->free == free_resolver;
}

/* Two threads may both find none at once: then there are two, and both end with the runtime. */
static rpc_pool *get_pool(rpc_runtime *runtime, rpc_status *reterr)
{
    rpc__keep *kept = rpc__runtime_find_kept(runtime, is_resolver, NULL);
    if (kept)
        return ((resolver *)kept)->pool;
    resolver *it = calloc(1, sizeof *it);
    if (!it) {
        rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "resolver: no memory");
        return NULL;
    }
    if (rpc_pool_new(runtime, "rpc-resolve", THREADS, QUEUE_MAX, &it->pool, reterr) != RPC_OK) {
        free(it);
        return NULL;
    }
    it->keep.free = free_resolver;
    rpc__runtime_keep(runtime, &it->keep);
    return it->pool;
}

static void add_address(rpc_addresses *addresses, const struct addrinfo *info)
{
    char text[sizeof addresses->text[0]];
    const void *address;
    if (info->ai_family == AF_INET)
        address = &((const struct sockaddr_in *)(const void *)info->ai_addr)->sin_addr;
    else if (info->ai_family == AF_INET6)
        address = &((const struct sockaddr_in6 *)(const void *)info->ai_addr)->sin6_addr;
    else
        return;
    if (!inet_ntop(info->ai_family, address, text, sizeof text))
        return;
    for (unsigned i = 0; i < addresses->count; i++)
        if (strcmp(addresses->text[i], text) == 0)
            return;
    if (addresses->count < RPC_ADDRESSES_MAX)
        memcpy(addresses->text[addresses->count++], text, sizeof text);
}

static rpc_code resolve_by_system(
    void *ctx, const char *host, rpc_addresses *ret_addresses, rpc_status *reterr)
{
    (void)ctx;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *list = NULL;
    int error = getaddrinfo(host, NULL, &hints, &list);
    if (error != 0)
        return rpc_status_set(reterr, RPC_UNAVAILABLE, "%s", gai_strerror(error));
    for (const struct addrinfo *info = list; info; info = info->ai_next)
        add_address(ret_addresses, info);
    freeaddrinfo(list);
    return RPC_OK;
}

static bool numeric(const char *text)
{
    uint8_t address[16];
    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

/* What a resolver of the user's has written is looked at like anything from outside. */
static void check(rpc__resolution *it)
{
    rpc_addresses *addresses = &it->addresses;
    if (addresses->count > RPC_ADDRESSES_MAX)
        addresses->count = RPC_ADDRESSES_MAX;
    unsigned kept = 0;
    for (unsigned i = 0; i < addresses->count; i++) {
        addresses->text[i][sizeof addresses->text[i] - 1] = '\0';
        if (!numeric(addresses->text[i]))
            continue;
        if (kept != i)
            memcpy(addresses->text[kept], addresses->text[i], sizeof addresses->text[i]);
        kept++;
    }
    addresses->count = kept;
    if (kept == 0)
        rpc_status_set(&it->status, RPC_UNAVAILABLE, "the name '%.200s' has no address", it->host);
}

static void work(void *arg)
{
    rpc__resolution *it = arg;
    rpc_status why = {0};
    it->status = (rpc_status){0};
    if (it->resolve(it->ctx, it->host, &it->addresses, &why) == RPC_OK)
        check(it);
    else
        rpc_status_set(&it->status, RPC_UNAVAILABLE,
            "the host's name is not known here: '%.100s': %.180s", it->host, why.message);
    rpc__strand_post(it->strand, &it->done);
}

bool rpc__resolve(rpc_runtime *runtime, rpc__resolution *resolution)
{
    if (!resolution->resolve)
        resolution->resolve = resolve_by_system;
    rpc_pool *pool = get_pool(runtime, &resolution->status);
    if (!pool)
        return false;
    if (rpc_pool_submit(pool, work, resolution) == RPC_OK)
        return true;
    rpc_status_set(&resolution->status, RPC_RESOURCE_EXHAUSTED,
        "resolver: %d names wait already; is a name server silent?", QUEUE_MAX);
    return false;
}
