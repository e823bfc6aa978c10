/* SPDX-License-Identifier: Apache-2.0 */
/* DigitalAssets.CreateProfile and GetProfile (TS 23.438 7.2). */
#include "methods.h"

#include "newasset.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* ---- page tokens ---- */

#define SEAL_BYTES (crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES)

_Static_assert(sizeof((dacm_service *)0)->page_key == crypto_secretbox_KEYBYTES, "a whole key");

rpc_code dacm_cursor_of(const dacm_service *service, const char *page_token, store_cursor *ret,
    bool *ret_is_start, rpc_status *reterr)
{
    uint8_t sealed[SEAL_BYTES + sizeof ret->key];
    size_t size = 0;
    *ret_is_start = page_token[0] == '\0';
    if (*ret_is_start)
        return RPC_OK;
    *ret = (store_cursor){0};
    if (sodium_base642bin(sealed, sizeof sealed, page_token, strlen(page_token), NULL, &size, NULL,
            sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        size <= SEAL_BYTES ||
        crypto_secretbox_open_easy(ret->key, sealed + crypto_secretbox_NONCEBYTES,
            size - crypto_secretbox_NONCEBYTES, sealed, service->page_key) != 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "page_token: is none that this method gave since the server started; begin with an "
            "empty one");
    ret->size = (uint16_t)(size - SEAL_BYTES);
    return RPC_OK;
}

char *dacm_page_token_of(const dacm_service *service, const store_cursor *cursor, rpc_arena *arena)
{
    uint8_t sealed[SEAL_BYTES + sizeof cursor->key];
    size_t size = SEAL_BYTES + cursor->size;
    rpc_random(sealed, crypto_secretbox_NONCEBYTES);
    crypto_secretbox_easy(
        sealed + crypto_secretbox_NONCEBYTES, cursor->key, cursor->size, sealed, service->page_key);
    size_t room = sodium_base64_encoded_len(size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *text = rpc_arena_alloc(arena, room);
    if (text)
        sodium_bin2base64(text, room, sealed, size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return text;
}

static void no_memory(unary *u)
{
    unary_fail_text(u, RPC_RESOURCE_EXHAUSTED,
        "dacmd: the answer does not fit the memory of a call; ask for a smaller page");
}

/* ---- CreateProfile ---- */

typedef struct creation {
    uint8_t uid[STORE_UID_BYTES];
    char asset_id[2 * STORE_UID_BYTES + 1];
    Dacm__Records__Profile record;
    char *owner;
    uint64_t generation;
} creation;

static const Dacm__V1__DigitalAssetProfile *wanted_profile(const unary *u)
{
    return ((const Dacm__V1__CreateProfileRequest *)u->request)->profile;
}

static void answer_created(void *arg, const rpc_status *status)
{
    unary *u = arg;
    creation *c = u->state;
    if (status->code != RPC_OK || rpc_call_cancelled(u->call)) {
        unary_fail(u, status);
        return;
    }
    Dacm__V1__CreateProfileResponse response = DACM__V1__CREATE_PROFILE_RESPONSE__INIT;
    response.profile = dacm_profile_shown(c->asset_id, &c->record, c->generation, u->arena);
    if (!response.profile) {
        no_memory(u);
        return;
    }
    response.profile->access_control_list = wanted_profile(u)->access_control_list;
    response.profile->n_access_control_list = wanted_profile(u)->n_access_control_list;
    unary_reply(u, &response.base);
}

static void created(void *arg, const rpc_status *status, uint64_t generation)
{
    unary *u = arg;
    creation *c = u->state;
    c->generation = generation;
    if (status->code == RPC_OK)
        dacm_access_changed(&u->access, c->asset_id, "profile created", answer_created, u);
    else
        unary_fail(u, dacm_store_status(u->service, "record of an asset", status));
}

static void indexed(void *arg, const rpc_status *status, uint64_t generation)
{
    unary *u = arg;
    creation *c = u->state;
    if (status->code != RPC_OK) {
        created(u, status, generation);
        return;
    }
    if (rpc_call_cancelled(u->call)) {
        unary_fail_text(u, RPC_CANCELLED, "the call ended before its answer");
        return;
    }
    dacm_changes changes = {0};
    dacm_new_asset(&changes, wanted_profile(u), u->access.gpsi, c->uid,
        rpc_clock_wall_ms(u->service->clock) / 1000, &c->owner, &c->record);
    dacm_changes_put(&changes, dacm_key_profile(), &c->record.base);
    dacm_changes_apply(
        &changes, u->service->store, &u->executor, dacm_key_asset(c->asset_id), 0, created, u);
}

static void create(unary *u)
{
    rpc_status status = {0};
    creation *c = rpc_arena_alloc(u->arena, sizeof *c);
    if (!c) {
        no_memory(u);
        return;
    }
    dacm__records__profile__init(&c->record);
    rpc_random(c->uid, sizeof c->uid);
    dacm_asset_id_of(c->uid, c->asset_id);
    u->state = c;
    if (dacm_check_new_asset(wanted_profile(u), u->access.gpsi, &status) != RPC_OK)
        unary_fail(u, &status);
    else
        dacm_index_new_asset(
            u->service, &u->executor, c->asset_id, wanted_profile(u), u->access.gpsi, indexed, u);
}

void dacm_create_profile(Dacm__V1__DigitalAssets_Service *self,
    const Dacm__V1__CreateProfileRequest *request, Dacm__V1__CreateProfileResponse_Closure closure,
    void *call)
{
    unary *u = unary_new(
        ((dacm_assets_service *)self)->service, call, &request->base, (ProtobufCClosure)closure);
    if (!u)
        return;
    dacm_request wanted = {.method = "CreateProfile", .action = DACM_ACTION_CREATE};
    DACM_USER_OF(request, DACM__V1__CREATE_PROFILE_REQUEST__USER_GPSI,
        DACM__V1__CREATE_PROFILE_REQUEST__USER_EXTERNAL_ID, wanted);
    if (!request->profile)
        unary_fail_text(u, RPC_INVALID_ARGUMENT, "profile: is missing");
    else
        unary_decide(u, &wanted, create);
}

/* ---- GetProfile ---- */

#define LIST_PAGE_DEFAULT 1000u
#define LIST_PAGE_MAX     10000u
#define SCAN_ENTRIES_MAX  4096u

static const Dacm__V1__GetProfileRequest *get_request(const unary *u)
{
    return (const Dacm__V1__GetProfileRequest *)u->request;
}

static bool put_entries(Dacm__V1__DigitalAssetProfile *profile, const store_page *page, unary *u)
{
    profile->access_control_list = rpc_arena_alloc(
        u->arena, (page->count + 1) * sizeof *profile->access_control_list);
    for (size_t i = 0; profile->access_control_list && i < page->count; i++) {
        Dacm__Records__Grant *grant = NULL;
        host_record_unpack(&dacm__records__grant__descriptor, page->entries[i].value, u->arena,
            (ProtobufCMessage **)&grant, NULL);
        Dacm__V1__AccessControlEntry *entry = grant ? dacm_entry_shown(
                                                          grant->gpsi, grant->operations, u->arena)
                                                    : NULL;
        if (!entry)
            return false;
        profile->access_control_list[profile->n_access_control_list++] = entry;
    }
    return profile->access_control_list != NULL;
}

static void have_list(unary *u)
{
    const dacm_facts *facts = &u->access.facts;
    store_page *page = u->op.page;
    if (u->op.status.code != RPC_OK) {
        unary_fail(u, dacm_store_status(u->service, "scan of a list", &u->op.status));
        return;
    }
    Dacm__V1__GetProfileResponse response = DACM__V1__GET_PROFILE_RESPONSE__INIT;
    response.profile = dacm_profile_shown(
        u->access.asset_id, facts->profile, facts->generation, u->arena);
    response.access_control_count = facts->profile->grant_count;
    bool ok = response.profile && put_entries(response.profile, page, u);
    if (ok && page->more) {
        response.next_page_token = dacm_page_token_of(u->service, &page->next, u->arena);
        ok = response.next_page_token != NULL;
    }
    store_page_free(page);
    u->op.page = NULL;
    if (ok)
        unary_reply(u, &response.base);
    else
        no_memory(u);
}

/* Others than owners see their own entry and nobody else's. */
static void reply_own_entry(unary *u)
{
    const dacm_facts *facts = &u->access.facts;
    Dacm__V1__GetProfileResponse response = DACM__V1__GET_PROFILE_RESPONSE__INIT;
    Dacm__V1__AccessControlEntry *entry = dacm_entry_shown(
        u->access.gpsi, facts->operations, u->arena);
    response.profile = dacm_profile_shown(
        u->access.asset_id, facts->profile, facts->generation, u->arena);
    if (!entry || !response.profile) {
        no_memory(u);
        return;
    }
    if (facts->operations) {
        response.profile->access_control_list = &entry;
        response.profile->n_access_control_list = 1;
    }
    unary_reply(u, &response.base);
}

static void show(unary *u)
{
    const Dacm__V1__GetProfileRequest *request = get_request(u);
    rpc_status status = {0};
    store_cursor cursor;
    bool is_start = true;
    if (!u->access.facts.profile) {
        unary_fail_text(u, RPC_NOT_FOUND, "asset_id: there is no such asset");
        return;
    }
    if (!u->access.facts.owner) {
        reply_own_entry(u);
        return;
    }
    if (dacm_cursor_of(u->service, request->page_token, &cursor, &is_start, &status) != RPC_OK) {
        unary_fail(u, &status);
        return;
    }
    uint32_t size = request->page_size ? request->page_size : LIST_PAGE_DEFAULT;
    host_key group = dacm_key_asset(u->access.asset_id);
    store_scan_request scan = {
        .group = host_key_bytes(&group),
        .item_prefix = rpc_bytes_str("g/"),
        .after = is_start ? NULL : &cursor,
        .entries_max = size < SCAN_ENTRIES_MAX ? size : SCAN_ENTRIES_MAX,
    };
    u->op = unary_op(u, have_list);
    if (store_scan(u->service->store, &scan, &u->op) == STORE_READY)
        unary_ready(u);
}

void dacm_get_profile(Dacm__V1__DigitalAssets_Service *self,
    const Dacm__V1__GetProfileRequest *request, Dacm__V1__GetProfileResponse_Closure closure,
    void *call)
{
    unary *u = unary_new(
        ((dacm_assets_service *)self)->service, call, &request->base, (ProtobufCClosure)closure);
    if (!u)
        return;
    dacm_request wanted = {
        .method = "GetProfile", .action = DACM_ACTION_GET, .about_profile = true};
    wanted.asset_id = request->asset_id;
    DACM_USER_OF(request, DACM__V1__GET_PROFILE_REQUEST__USER_GPSI,
        DACM__V1__GET_PROFILE_REQUEST__USER_EXTERNAL_ID, wanted);
    if (request->page_size > LIST_PAGE_MAX)
        unary_fail_text(u, RPC_INVALID_ARGUMENT, "page_size: at most 10,000; 0 means 1,000");
    else
        unary_decide(u, &wanted, show);
}
