/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that were revoked and that no set has any more. A set holds SKM_LIFE_KEYS_MAX keys, so it
 * forgets old ones; but whoever has stolen a private key has it for good. So each of them is
 * barred: whoever brings it again is refused. They are kept for good, SKM_BARRED_MAX of a VAL
 * service: then the one that was revoked first goes, nothing that it signed has verified for long.
 */
#include "state_internal.h"

#include <stdlib.h>

#define GROUP "x"

static rpc_bytes group(void)
{
    return rpc_bytes_str(GROUP);
}

/* The first whose kid is not before it. */
static size_t place_of(const skm__barred_list *list, const char *kid)
{
    size_t low = 0, high = list->count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (strcmp(list->keys[middle].kid, kid) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool skm__barred_has(const skm_state *state, const char *kid)
{
    const skm__barred_list *list = &state->barred;
    const size_t at = place_of(list, kid);
    return at < list->count && strcmp(list->keys[at].kid, kid) == 0;
}

/* ---- in memory ----------------------------------------------------------------------------------
 */

static bool make_room(skm__barred_list *list)
{
    if (list->count < list->room)
        return true;
    const size_t room = list->room ? list->room * 2 : 16;
    skm__barred *keys = realloc(list->keys, room * sizeof *keys);
    if (!keys)
        return false;
    list->keys = keys;
    list->room = room;
    return true;
}

/* There is room. */
static void insert(skm__barred_list *list, const skm__barred *key)
{
    const size_t at = place_of(list, key->kid);
    memmove(&list->keys[at + 1], &list->keys[at], (list->count - at) * sizeof *list->keys);
    list->keys[at] = *key;
    list->count++;
}

static void take_out(skm__barred_list *list, size_t at)
{
    list->count--;
    memmove(&list->keys[at], &list->keys[at + 1], (list->count - at) * sizeof *list->keys);
}

/* What has to go for one more of the service; NULL: nothing. */
static const skm__barred *one_too_many(const skm__barred_list *list, const skm__service *service)
{
    size_t count = 0;
    const skm__barred *first = NULL;
    for (size_t i = 0; i < list->count; i++)
        if (list->keys[i].service == service) {
            count++;
            if (!first || list->keys[i].revoked_at < first->revoked_at)
                first = &list->keys[i];
        }
    return count < SKM_BARRED_MAX ? NULL : first;
}

/* ---- with the store -----------------------------------------------------------------------------
 */

static rpc_code write_key(
    skm_state *state, const skm__barred *key, const skm__barred *gone, rpc_status *reterr)
{
    skm__changes changes = {0};
    const host_key item = host_key_of("", key->kid);
    Skm__Records__Barred record = SKM__RECORDS__BARRED__INIT;
    record.kid = (char *)(uintptr_t)key->kid;
    record.service = (char *)(uintptr_t)(key->service ? key->service->name : "");
    record.revoked_at = key->revoked_at;
    skm__put(&changes, &item, &record.base);
    if (gone) {
        const host_key gone_item = host_key_of("", gone->kid);
        skm__delete(&changes, &gone_item);
    }
    const rpc_code code = skm__write(state, group(), &changes, &state->barred.generation, reterr);
    skm__changes_done(&changes);
    return code;
}

rpc_code skm__bar(skm_state *state, const skm__service *service, const char *kid,
    int64_t revoked_at, rpc_status *reterr)
{
    skm__barred key = {.service = service, .revoked_at = revoked_at};
    if (skm__barred_has(state, kid))
        return RPC_OK;
    if (!make_room(&state->barred))
        return skm__no_memory(reterr);
    snprintf(key.kid, sizeof key.kid, "%s", kid);
    const skm__barred *gone = one_too_many(&state->barred, service);
    const rpc_code code = write_key(state, &key, gone, reterr);
    if (code != RPC_OK)
        return code;
    if (gone)
        take_out(&state->barred, (size_t)(gone - state->barred.keys));
    insert(&state->barred, &key);
    return RPC_OK;
}

static bool is_thumbprint(const char *kid)
{
    size_t size = 0;
    for (; kid[size]; size++)
        if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", kid[size]))
            return false;
    return size == SKM__THUMBPRINT_CHARS;
}

rpc_code skm_key_bar(skm_state *state, const char *kid, int64_t revoked_at, rpc_status *reterr)
{
    if (!is_thumbprint(kid))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "kid: is no RFC 7638 thumbprint, which all that are brought have");
    pthread_mutex_lock(&state->change);
    const rpc_code code = skm__bar(state, NULL, kid, revoked_at, reterr);
    pthread_mutex_unlock(&state->change);
    return code;
}

/* ---- loading ------------------------------------------------------------------------------------
 */

static rpc_code take(
    void *ctx, const store_entry *entry, const ProtobufCMessage *message, rpc_status *reterr)
{
    skm_state *state = ctx;
    const Skm__Records__Barred *record = (const Skm__Records__Barred *)message;
    skm__barred key = {
        .service = skm__service_find(state, record->service), .revoked_at = record->revoked_at};
    (void)entry;
    if (!rpc_text_copy(key.kid, sizeof key.kid, record->kid))
        return rpc_status_set(reterr, RPC_DATA_LOSS,
            "the record of a key that was revoked is damaged; run skmsd --store-check, or restore "
            "a backup of the store");
    if (!make_room(&state->barred))
        return skm__no_memory(reterr);
    insert(&state->barred, &key);
    return RPC_OK;
}

rpc_code skm__barred_load(skm_state *state, rpc_status *reterr)
{
    const skm__loading records = {.request = {.group = group()},
        .main = &skm__records__barred__descriptor,
        .others = &skm__records__barred__descriptor,
        .take = take,
        .ctx = state};
    const rpc_code code = skm__load(state, &records, reterr);
    return code == RPC_OK ? skm__generation(state, group(), &state->barred.generation, reterr)
                          : code;
}

void skm__barred_done(skm__barred_list *list)
{
    free(list->keys);
    *list = (skm__barred_list){0};
}
