/* SPDX-License-Identifier: Apache-2.0 */
/* DigitalAssets.ListVariants: which adapted copies of a version are kept. */
#include "methods.h"

#include "figures.h"

#include <stdlib.h>
#include <string.h>

#define VARIANTS_MAX  1000u      /* of an answer */
#define RECORDS_BYTES (8u << 20) /* more than the records of so many have, mostly their recipes */

typedef struct listing {
    uint64_t version;
    Dacm__V1__Variant *variants;
    Dacm__V1__Figures *figures;
    Dacm__V1__Variant **list;
    size_t count;
} listing;

static void no_memory(unary *u)
{
    unary_fail_text(u, RPC_RESOURCE_EXHAUSTED, "variants: the list does not fit a call's memory");
}

/* What the disk has damaged is made again when somebody asks for it, and is no copy until then. */
static bool show(unary *u, listing *l, const store_entry *entry)
{
    Dacm__Records__Version *record = NULL;
    rpc_status status;
    const rpc_code code = host_record_unpack(&dacm__records__version__descriptor, entry->value,
        u->arena, (ProtobufCMessage **)&record, &status);
    if (code == RPC_DATA_LOSS)
        dacm_log_store_failure(u->service, "list of variants", &status);
    if (code != RPC_OK)
        return code == RPC_DATA_LOSS;
    Dacm__V1__Variant *variant = &l->variants[l->count];
    dacm__v1__variant__init(variant);
    variant->recipe = record->recipe;
    variant->media_type = record->media_type;
    variant->created_at = record->created_at;
    variant->made_in_ms = record->made_in_ms;
    variant->figures = &l->figures[l->count];
    dacm_figures_shown(record, variant->figures);
    l->list[l->count++] = variant;
    return true;
}

static bool show_page(unary *u, listing *l, const store_page *page)
{
    l->variants = rpc_arena_alloc(u->arena, (page->count + 1) * sizeof *l->variants);
    l->figures = rpc_arena_alloc(u->arena, (page->count + 1) * sizeof *l->figures);
    l->list = rpc_arena_alloc(u->arena, (page->count + 1) * sizeof(*l->list));
    bool ok = l->variants && l->figures && l->list;
    for (size_t i = 0; ok && i < page->count; i++)
        ok = show(u, l, &page->entries[i]);
    return ok;
}

static void have_page(unary *u)
{
    listing *l = u->state;
    store_page *page = u->op.page;
    const bool read = u->op.status.code == RPC_OK;
    const bool shown = read && show_page(u, l, page);
    const bool more = read && page->more;
    store_page_free(page); /* what is shown was copied into the arena */
    u->op.page = NULL;
    if (!read) {
        unary_fail(u, dacm_store_status(u->service, "list of variants", &u->op.status));
        return;
    }
    if (!shown) {
        no_memory(u);
        return;
    }
    Dacm__V1__ListVariantsResponse response = DACM__V1__LIST_VARIANTS_RESPONSE__INIT;
    response.version = l->version;
    response.n_variants = l->count;
    response.variants = l->list;
    response.more = more;
    unary_reply(u, &response.base);
}

static void scan(unary *u, listing *l)
{
    const host_key group = dacm_key_variants(u->access.asset_id);
    const dacm_which version = {.version = l->version};
    const host_key prefix = dacm_key_variant(&version); /* of all recipes */
    const store_scan_request request = {.group = host_key_bytes(&group),
        .item_prefix = host_key_bytes(&prefix),
        .entries_max = VARIANTS_MAX,
        .bytes_max = RECORDS_BYTES};
    u->op = unary_op(u, have_page);
    if (store_scan(u->service->store, &request, &u->op) == STORE_READY)
        unary_ready(u);
}

static void decided(unary *u)
{
    const Dacm__Records__Profile *profile = u->access.facts.profile;
    const uint64_t asked = ((const Dacm__V1__ListVariantsRequest *)u->request)->version;
    listing *l = rpc_arena_alloc(u->arena, sizeof *l);
    if (!l)
        no_memory(u);
    else if (!profile)
        unary_fail_text(u, RPC_NOT_FOUND, "asset_id: there is no such asset");
    else if (asked > profile->version || (asked != 0 && asked < profile->oldest_version))
        unary_fail_text(
            u, RPC_NOT_FOUND, "version: the asset has no such version; 0 asks for the newest");
    else {
        *l = (listing){.version = asked ? asked : profile->version};
        u->state = l;
        scan(u, l);
    }
}

void dacm_list_variants(Dacm__V1__DigitalAssets_Service *self,
    const Dacm__V1__ListVariantsRequest *request, Dacm__V1__ListVariantsResponse_Closure closure,
    void *call)
{
    unary *u = unary_new(
        ((dacm_assets_service *)self)->service, call, &request->base, (ProtobufCClosure)closure);
    if (!u)
        return;
    dacm_request wanted = {.method = "ListVariants", .action = DACM_ACTION_GET};
    wanted.asset_id = request->asset_id;
    DACM_USER_OF(request, DACM__V1__LIST_VARIANTS_REQUEST__USER_GPSI,
        DACM__V1__LIST_VARIANTS_REQUEST__USER_EXTERNAL_ID, wanted);
    unary_decide(u, &wanted, decided);
}
