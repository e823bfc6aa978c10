/* SPDX-License-Identifier: Apache-2.0 */
/* DigitalAssets.DiscoverProfiles: a page of the user's index, each entry held against the asset's
 * own records, since an index entry may dangle. */
#include "methods.h"

#include "acl.h"

#include <string.h>

#define PAGE_DEFAULT 100u
#define PAGE_MAX     1000u

typedef struct discovery {
    store_page *page;
    size_t at;
    Dacm__V1__DigitalAssetProfile **found;
    size_t count;
    bool inside, answered, over; /* a loop instead of a recursion, however long the page is */
    char asset_id[DACM_ASSET_ID_MAX + 1];
    dacm_facts_load load;
} discovery;

static const Dacm__V1__DiscoverProfilesRequest *request_of(const unary *u)
{
    return (const Dacm__V1__DiscoverProfilesRequest *)u->request;
}

static void end(unary *u, const rpc_status *status)
{
    discovery *d = u->state;
    store_page_free(d->page);
    d->page = NULL;
    d->over = true;
    unary_fail(u, status);
}

static void end_no_memory(unary *u)
{
    rpc_status status;
    rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED,
        "DiscoverProfiles: the answer does not fit the memory of a call; ask for a smaller page");
    end(u, &status);
}

static void answer(unary *u)
{
    discovery *d = u->state;
    Dacm__V1__DiscoverProfilesResponse response = DACM__V1__DISCOVER_PROFILES_RESPONSE__INIT;
    response.profiles = d->found;
    response.n_profiles = d->count;
    if (d->page->more) {
        response.next_page_token = dacm_page_token_of(u->service, &d->page->next, u->arena);
        if (!response.next_page_token) {
            end_no_memory(u);
            return;
        }
    }
    store_page_free(d->page);
    d->page = NULL;
    unary_reply(u, &response.base);
}

/* False: the unary has ended. */
static bool take(unary *u, const dacm_facts *facts)
{
    discovery *d = u->state;
    bool visible = facts->profile &&
                   (facts->owner ||
                       facts->operations &
                           dacm_operation_bit(DACM__V1__OPERATION__OPERATION_DISCOVERY));
    if (!visible)
        return true;
    char *asset_id = rpc_arena_strndup(u->arena, d->asset_id, strlen(d->asset_id));
    Dacm__V1__DigitalAssetProfile *shown = asset_id ? dacm_profile_shown(asset_id, facts->profile,
                                                          facts->generation, u->arena)
                                                    : NULL;
    if (shown)
        d->found[d->count++] = shown;
    else
        end_no_memory(u);
    return shown != NULL;
}

static void next(unary *u);

static void have_facts(void *arg, const dacm_facts *facts, const rpc_status *status)
{
    unary *u = arg;
    discovery *d = u->state;
    rpc_status gone = {.code = RPC_CANCELLED};
    d->answered = true;
    if (rpc_call_cancelled(u->call))
        end(u, &gone);
    else if (status->code != RPC_OK)
        end(u, dacm_store_status(u->service, "lookup of an asset", status));
    else if (take(u, facts) && !d->inside)
        next(u);
}

static bool ask(unary *u, rpc_bytes item)
{
    discovery *d = u->state;
    if (item.size == 0 || item.size > DACM_ASSET_ID_MAX)
        return true;
    memcpy(d->asset_id, item.data, item.size);
    d->asset_id[item.size] = '\0';
    d->answered = false;
    dacm_facts_get(&d->load, u->service->store, &u->executor, u->arena, d->asset_id, u->access.gpsi,
        have_facts, u);
    return d->answered;
}

static void next(unary *u)
{
    discovery *d = u->state;
    bool going = true;
    unary_hold(u);
    d->inside = true;
    while (going && !d->over && d->at < d->page->count)
        going = ask(u, d->page->entries[d->at++].item);
    d->inside = false;
    if (going && !d->over)
        answer(u);
    unary_drop(u);
}

static void have_page(unary *u)
{
    discovery *d = u->state;
    if (u->op.status.code != RPC_OK) {
        unary_fail(u, dacm_store_status(u->service, "scan of an index", &u->op.status));
        return;
    }
    d->page = u->op.page;
    u->op.page = NULL;
    d->found = rpc_arena_alloc(u->arena, (d->page->count + 1) * sizeof *d->found);
    if (d->found)
        next(u);
    else
        end_no_memory(u);
}

static void discover(unary *u)
{
    const Dacm__V1__DiscoverProfilesRequest *request = request_of(u);
    rpc_status status = {0};
    store_cursor cursor;
    bool is_start = true;
    discovery *d = rpc_arena_alloc(u->arena, sizeof *d);
    if (!d) {
        unary_fail_text(u, RPC_RESOURCE_EXHAUSTED, "DiscoverProfiles: no memory; try again later");
        return;
    }
    *d = (discovery){.page = NULL};
    u->state = d;
    if (dacm_cursor_of(u->service, request->page_token, &cursor, &is_start, &status) != RPC_OK) {
        unary_fail(u, &status);
        return;
    }
    host_key group = dacm_key_user(u->access.gpsi);
    store_scan_request scan = {
        .group = host_key_bytes(&group),
        .after = is_start ? NULL : &cursor,
        .entries_max = request->page_size ? request->page_size : PAGE_DEFAULT,
    };
    u->op = unary_op(u, have_page);
    if (store_scan(u->service->store, &scan, &u->op) == STORE_READY)
        unary_ready(u);
}

void dacm_discover_profiles(Dacm__V1__DigitalAssets_Service *self,
    const Dacm__V1__DiscoverProfilesRequest *request,
    Dacm__V1__DiscoverProfilesResponse_Closure closure, void *call)
{
    unary *u = unary_new(
        ((dacm_assets_service *)self)->service, call, &request->base, (ProtobufCClosure)closure);
    if (!u)
        return;
    dacm_request wanted = {.method = "DiscoverProfiles", .action = DACM_ACTION_DISCOVERY};
    DACM_USER_OF(request, DACM__V1__DISCOVER_PROFILES_REQUEST__USER_GPSI,
        DACM__V1__DISCOVER_PROFILES_REQUEST__USER_EXTERNAL_ID, wanted);
    if (request->page_size > PAGE_MAX)
        unary_fail_text(u, RPC_INVALID_ARGUMENT, "page_size: at most 1,000; 0 means 100");
    else
        unary_decide(u, &wanted, discover);
}
