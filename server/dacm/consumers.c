/* SPDX-License-Identifier: Apache-2.0 */
/* ConsumerLists: step 5a of solution #6. What a SIM-S asks before it issues a token: who may Get
 * this asset now? An unknown asset answers as one on whose list nobody is. */
#include "peers.h"

#include "acl.h"

#include <stdlib.h>
#include <string.h>

#define USERS_MAX     1000u
#define TRIES_MAX     5u
#define LIST_PAGE     1000u
#define STREAM_ARENA  (1u << 20)
#define GET_OPERATION (1u << DACM__V1__OPERATION__OPERATION_GET)

static const char NOT_SIMS[] = "caller is no configured SIM-S";

/* ---- GetConsumerList ---- */

typedef struct question {
    dacm_facts_load load;
    dacm_facts facts;
    char **allowed;
    size_t count, at;
    unsigned tries;
} question;

static const Dacm__V1__GetConsumerListRequest *request_of(const unary *u)
{
    return (const Dacm__V1__GetConsumerListRequest *)u->request;
}

static void answer_audited(void *arg, const rpc_status *status)
{
    unary *u = arg;
    const question *q = u->state;
    const Dacm__Records__Profile *profile = q->facts.profile;
    Dacm__V1__GetConsumerListResponse response = DACM__V1__GET_CONSUMER_LIST_RESPONSE__INIT;
    response.allowed_users = q->allowed;
    response.n_allowed_users = q->count;
    response.count = profile ? profile->n_owners + profile->get_count : 0;
    if (status->code != RPC_OK || rpc_call_cancelled(u->call))
        unary_fail(u, status);
    else
        unary_reply(u, &response.base);
}

static void start(unary *u);
static void read_grants(unary *u);

static bool is_owner(const Dacm__Records__Profile *profile, const char *gpsi)
{
    return dacm_profile_owned_by(profile, gpsi);
}

/* False: the unary has gone another way. */
static bool take_grant(unary *u)
{
    question *q = u->state;
    Dacm__Records__Grant *grant = NULL;
    rpc_status status = u->op.status;
    if (status.code == RPC_OK)
        host_record_unpack(&dacm__records__grant__descriptor, u->op.view.bytes, u->arena,
            (ProtobufCMessage **)&grant, &status);
    store_view_release(&u->op.view);
    if (status.code != RPC_OK && status.code != RPC_NOT_FOUND) {
        unary_fail(u, dacm_store_status(u->service, "lookup of a grant", &status));
        return false;
    }
    if (u->op.generation != q->facts.generation) { /* the list has changed: begin again */
        if (q->tries++ < TRIES_MAX)
            start(u);
        else
            unary_fail_text(u, RPC_UNAVAILABLE,
                "the list is being changed faster than it can be read; try again");
        return false;
    }
    if (grant && grant->operations & GET_OPERATION)
        q->allowed[q->count++] = request_of(u)->users[q->at];
    q->at++;
    return true;
}

static void have_grant(unary *u)
{
    if (take_grant(u))
        read_grants(u);
}

static void read_grants(unary *u)
{
    question *q = u->state;
    const Dacm__V1__GetConsumerListRequest *request = request_of(u);
    host_key group = dacm_key_asset(request->asset_id);
    while (q->facts.profile && q->at < request->n_users) {
        if (is_owner(q->facts.profile, request->users[q->at])) {
            q->allowed[q->count++] = request->users[q->at++];
            continue;
        }
        host_key item = dacm_key_grant(request->users[q->at]);
        u->op = unary_op(u, have_grant);
        if (store_get(u->service->store, host_key_bytes(&group), host_key_bytes(&item), &u->op) ==
            STORE_PENDING)
            return;
        if (!take_grant(u))
            return;
    }
    dacm_access_record(
        &u->access, request->asset_id, RPC_OK, "consumer list asked by a SIM-S", answer_audited, u);
}

static void have_facts(void *arg, const dacm_facts *facts, const rpc_status *status)
{
    unary *u = arg;
    question *q = u->state;
    if (rpc_call_cancelled(u->call) || status->code != RPC_OK) {
        unary_fail(u, dacm_store_status(u->service, "lookup of an asset", status));
        return;
    }
    q->facts = *facts;
    q->count = q->at = 0;
    read_grants(u);
}

static void start(unary *u)
{
    question *q = u->state;
    dacm_facts_get(&q->load, u->service->store, &u->executor, u->arena, request_of(u)->asset_id,
        NULL, have_facts, u);
}

static rpc_code check_request(const Dacm__V1__GetConsumerListRequest *request, rpc_status *reterr)
{
    if (!trust_asset_id_valid(rpc_bytes_str(request->asset_id)))
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "asset_id: must be 1 to 128 of A-Z a-z 0-9 . _ ~ -");
    if (request->n_users < 1 || request->n_users > USERS_MAX)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "users: name 1 to %u of them", USERS_MAX);
    for (size_t i = 0; i < request->n_users; i++) {
        rpc_code code = dacm_check_gpsi(request->users[i], "users", i, reterr);
        if (code != RPC_OK)
            return code;
    }
    return RPC_OK;
}

void dacm_get_consumer_list(Dacm__V1__ConsumerLists_Service *self,
    const Dacm__V1__GetConsumerListRequest *request,
    Dacm__V1__GetConsumerListResponse_Closure closure, void *call)
{
    dacm_service *service = ((dacm_consumers_service *)self)->service;
    unary *u = unary_new(service, call, &request->base, (ProtobufCClosure)closure);
    rpc_status status = {0};
    bool full = false;
    if (!u)
        return;
    u->access.method = "GetConsumerList";
    question *q = rpc_arena_alloc(u->arena, sizeof *q);
    char **allowed = rpc_arena_alloc(u->arena, (request->n_users + 1) * sizeof *allowed);
    if (!dacm_caller_is_sims(service, call, &full))
        dacm_refuse_peer(u, NOT_SIMS);
    else if (!q || !allowed)
        unary_fail_text(u, RPC_RESOURCE_EXHAUSTED, "GetConsumerList: no memory; try again later");
    else if (check_request(request, &status) != RPC_OK)
        unary_fail(u, &status);
    else {
        *q = (question){.allowed = allowed};
        u->state = q;
        start(u);
    }
}

/* ---- ListConsumers: the owners, then the list, page by page ---- */

typedef struct listing {
    atomic_uint refs;
    dacm_service *service;
    rpc_call *call;
    dacm_access access;
    rpc_message *message;
    const Dacm__V1__ListConsumersRequest *request;
    rpc_arena *arena; /* of one page */
    dacm_facts_load load;
    store_executor executor;
    store_op op;
    store_cursor cursor;
    uint64_t generation;
    bool more, busy, over;
} listing;

static void listing_drop(listing *l)
{
    if (atomic_fetch_sub(&l->refs, 1) != 1)
        return;
    if (l->message)
        rpc_message_release(l->message);
    dacm_access_done(&l->access);
    rpc_arena_free(l->arena);
    rpc_call_unref(l->call);
    free(l);
}

static void listing_hold(listing *l)
{
    atomic_fetch_add(&l->refs, 1);
}

static void listing_end(listing *l, const rpc_status *status)
{
    if (!l->over)
        dacm_access_finish(&l->access, status);
    l->over = true;
}

static void listing_fail(listing *l, rpc_code code, const char *text)
{
    rpc_status status;
    rpc_status_set(&status, code, "%s", text);
    listing_end(l, &status);
}

static rpc_sent send_users(listing *l, char **users, size_t count)
{
    Dacm__V1__ListConsumersResponse response = DACM__V1__LIST_CONSUMERS_RESPONSE__INIT;
    response.allowed_users = users;
    response.n_allowed_users = count;
    rpc_sent sent = count > 0 ? rpc_call_send_packed(l->call, &response.base) : RPC_SENT_OK;
    if (sent == RPC_SENT_OVER)
        l->over = true;
    return sent;
}

static bool send_page(listing *l, const store_page *page, rpc_sent *ret)
{
    char **users = rpc_arena_alloc(l->arena, (page->count + 1) * sizeof *users);
    size_t count = 0;
    for (size_t i = 0; users && i < page->count; i++) {
        Dacm__Records__Grant *grant = NULL;
        if (host_record_unpack(&dacm__records__grant__descriptor, page->entries[i].value, l->arena,
                (ProtobufCMessage **)&grant, NULL) != RPC_OK)
            return false;
        if (grant->operations & GET_OPERATION)
            users[count++] = grant->gpsi;
    }
    if (users)
        *ret = send_users(l, users, count);
    return users != NULL;
}

static void have_page(store_op *op)
{
    listing *l = op->ctx;
    store_page *page = op->page;
    rpc_sent sent = RPC_SENT_OK;
    l->busy = false;
    if (l->over) {
        /* gone */
    } else if (op->status.code != RPC_OK)
        listing_end(l, dacm_store_status(l->service, "scan of a list", &op->status));
    else if (op->generation != l->generation)
        listing_fail(l, RPC_ABORTED, "the list was changed meanwhile; ask again");
    else if (!send_page(l, page, &sent))
        listing_fail(l, RPC_RESOURCE_EXHAUSTED, "ListConsumers: no memory; try again later");
    else if (sent == RPC_SENT_BUSY)
        l->more = true; /* not taken: the same page is read again when there is room */
    else if (page->more) {
        l->cursor = page->next;
        l->more = true;
        rpc_call_want_writable(l->call);
    } else
        listing_end(l, &(rpc_status){.code = RPC_OK});
    store_page_free(page);
    listing_drop(l);
}

static void next_page(listing *l, const store_cursor *after)
{
    host_key group = dacm_key_asset(l->request->asset_id);
    store_scan_request scan = {.group = host_key_bytes(&group),
        .item_prefix = rpc_bytes_str("g/"),
        .after = after,
        .entries_max = LIST_PAGE};
    rpc_arena_reset(l->arena);
    l->more = false;
    l->busy = true;
    l->op = (store_op){.done = have_page, .ctx = l, .executor = &l->executor};
    listing_hold(l);
    if (store_scan(l->service->store, &scan, &l->op) == STORE_READY)
        have_page(&l->op);
}

static void list_profile(void *arg, const dacm_facts *facts, const rpc_status *status)
{
    listing *l = arg;
    if (l->over) {
        /* gone */
    } else if (status->code != RPC_OK)
        listing_end(l, dacm_store_status(l->service, "lookup of an asset", status));
    else if (!facts->profile)
        listing_end(l, &(rpc_status){.code = RPC_OK});
    else {
        l->generation = facts->generation;
        send_users(l, facts->profile->owners, facts->profile->n_owners); /* the first: is taken */
        l->more = true;
        rpc_call_want_writable(l->call);
    }
    listing_drop(l);
}

static void list_audited(void *arg, const rpc_status *status)
{
    listing *l = arg;
    if (l->over || status->code != RPC_OK) {
        listing_end(l, status);
        listing_drop(l);
        return;
    }
    dacm_facts_get(&l->load, l->service->store, &l->executor, l->arena, l->request->asset_id, NULL,
        list_profile, l);
}

static void list_refused(void *arg, const rpc_status *status)
{
    listing *l = arg;
    rpc_status denied;
    rpc_status_set(&denied, RPC_PERMISSION_DENIED,
        "this method is not for you; the operator can look up request %s", l->access.request_id);
    listing_end(l, status->code == RPC_OK ? &denied : status);
    listing_drop(l);
}

static void on_start(rpc_call *call, void *user)
{
    listing *l = calloc(1, sizeof *l);
    rpc_arena *arena = rpc_arena_new(STREAM_ARENA);
    if (!l || !arena) {
        free(l);
        rpc_arena_free(arena);
        rpc_call_finish(call, RPC_RESOURCE_EXHAUSTED, "ListConsumers: no memory");
        return;
    }
    atomic_init(&l->refs, 1);
    l->service = user;
    l->call = rpc_call_ref(call);
    l->arena = arena;
    l->executor = dacm_call_executor(call);
    dacm_access_init(&l->access, l->service, call);
    l->access.method = "ListConsumers";
    rpc_call_set_context(call, l, (void (*)(void *))listing_drop);
}

static void on_message(rpc_call *call, rpc_message *message, void *user)
{
    (void)user;
    listing *l = rpc_call_context(call);
    ProtobufCMessage *unpacked = NULL;
    rpc_status status = {0};
    bool full = false;
    if (!l || l->over || l->message) {
        rpc_message_release(message);
        if (l)
            listing_fail(l, RPC_INVALID_ARGUMENT, "ListConsumers: one request only");
        return;
    }
    l->message = message;
    if (rpc_message_unpack(
            message, &dacm__v1__list_consumers_request__descriptor, &unpacked, &status) != RPC_OK) {
        listing_end(l, &status);
        return;
    }
    l->request = (const Dacm__V1__ListConsumersRequest *)unpacked;
    listing_hold(l);
    if (!dacm_caller_is_sims(l->service, call, &full))
        dacm_access_record(&l->access, "", RPC_PERMISSION_DENIED, NOT_SIMS, list_refused, l);
    else if (!full)
        dacm_access_record(&l->access, "", RPC_PERMISSION_DENIED,
            "this SIM-S may not stream whole lists (peers.sims[].full_list)", list_refused, l);
    else if (!trust_asset_id_valid(rpc_bytes_str(l->request->asset_id))) {
        listing_fail(l, RPC_INVALID_ARGUMENT, "asset_id: must be 1 to 128 of A-Z a-z 0-9 . _ ~ -");
        listing_drop(l);
    } else
        dacm_access_record(&l->access, l->request->asset_id, RPC_OK,
            "consumer list streamed to a SIM-S", list_audited, l);
}

static void on_half_close(rpc_call *call, void *user)
{
    (void)user;
    listing *l = rpc_call_context(call);
    if (l && !l->message)
        listing_fail(l, RPC_INVALID_ARGUMENT, "ListConsumers: no request came");
}

static void on_writable(rpc_call *call, void *user)
{
    (void)user;
    listing *l = rpc_call_context(call);
    if (!l || l->over || l->busy || !l->more)
        return;
    store_cursor cursor = l->cursor;
    next_page(l, cursor.size ? &cursor : NULL);
}

static void on_end(rpc_call *call, const rpc_status *status, void *user)
{
    (void)status;
    (void)user;
    listing *l = rpc_call_context(call);
    if (l)
        l->over = true;
}

const rpc_handler dacm_list_consumers_handler = {
    .on_start = on_start,
    .on_message = on_message,
    .on_half_close = on_half_close,
    .on_writable = on_writable,
    .on_end = on_end,
};
