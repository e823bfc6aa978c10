/* SPDX-License-Identifier: Apache-2.0 */
/* TokenStatus.Revoke and Admin: for the operator, every call audited. */
#include "peers.h"

#include "revoked.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define REASON_MAX 256u
/* What a request's records may differ in time from its ID. */
#define EXPLAIN_BEFORE_MS 5000
#define EXPLAIN_AFTER_MS  (24 * 3600 * 1000LL)

static const char NOT_OPERATOR[] = "caller is no operator";

/* ---- Revoke ---- */

typedef struct revoking {
    trust_revocation revocation;
    uint64_t sequence;
} revoking;

static void answer_revoked(void *arg, const rpc_status *status)
{
    unary *u = arg;
    const revoking *r = u->state;
    Dacm__V1__RevokeResponse response = DACM__V1__REVOKE_RESPONSE__INIT;
    response.sequence = r->sequence;
    if (status->code != RPC_OK || rpc_call_cancelled(u->call))
        unary_fail(u, status);
    else
        unary_reply(u, &response.base);
}

static void recorded(void *arg, const rpc_status *status, uint64_t generation)
{
    unary *u = arg;
    revoking *r = u->state;
    r->sequence = generation;
    dacm_running_recheck(u->service->running, NULL);
    if (status->code == RPC_OK)
        dacm_access_record(&u->access, "", RPC_OK,
            r->revocation.jti ? "token revoked" : "subject's tokens revoked", answer_revoked, u);
    else
        unary_fail(u, dacm_store_status(u->service, "record of a revocation", status));
}

static rpc_code take_revocation(
    unary *u, const Dacm__V1__RevokeRequest *request, rpc_status *reterr)
{
    revoking *r = u->state;
    int64_t now = rpc_clock_wall_ms(u->service->clock) / 1000;
    issuers_set *issuers = dacm_trust_issuers(u->service->trust);
    bool known = issuers_find(issuers, request->issuer) < issuers->count;
    issuers_unref(issuers);
    if (!known)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "issuer: is none of the configured issuers");
    if (strlen(request->reason) > REASON_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "reason: at most %u bytes", REASON_MAX);
    if (request->expires_at < 0 || request->expires_at > DACM_EXPIRES_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "expires_at: seconds since 1970, at most %lld, or 0", (long long)DACM_EXPIRES_MAX);
    *r = (revoking){.revocation = {.issuer = request->issuer}};
    if (request->what_case == DACM__V1__REVOKE_REQUEST__WHAT_JTI)
        r->revocation.jti = request->jti;
    else if (request->what_case == DACM__V1__REVOKE_REQUEST__WHAT_SUBJECT)
        r->revocation.subject = request->subject;
    const char *name = r->revocation.jti ? r->revocation.jti : r->revocation.subject;
    if (!name || strlen(name) < 1 || strlen(name) > DACM_REVOKED_NAME_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "what: name a jti or a subject, of 1 to %u bytes", DACM_REVOKED_NAME_MAX);
    /* An issuer's clock may be ahead by the skew that tokens are allowed. */
    r->revocation.issued_until = now + TRUST_SKEW_S;
    /* Nobody but the issuer knows when a token ends: what is revoked stays so for as long as any
     * token may live, whatever was asked for. */
    int64_t least = dacm_revocation_end(now, now);
    int64_t wanted = request->expires_at + TRUST_SKEW_S;
    r->revocation.expires_at = wanted > least ? wanted : least;
    return trust_revocations_add(u->service->trust->revocations, &r->revocation, now, reterr);
}

static void revoke(unary *u)
{
    const revoking *r = u->state;
    dacm_changes changes = {0};
    dacm_put_revocation(
        &changes, &r->revocation, DACM_BY_OPERATOR, rpc_clock_wall_ms(u->service->clock) / 1000);
    dacm_changes_apply(&changes, u->service->store, &u->executor,
        dacm_key_revocations(r->revocation.issuer), STORE_ANY_GENERATION, recorded, u);
}

void dacm_revoke_token(Dacm__V1__TokenStatus_Service *self, const Dacm__V1__RevokeRequest *request,
    Dacm__V1__RevokeResponse_Closure closure, void *call)
{
    dacm_service *service = ((dacm_token_status_service *)self)->service;
    unary *u = unary_new(service, call, &request->base, (ProtobufCClosure)closure);
    rpc_status status = {0};
    if (!u)
        return;
    u->access.method = "Revoke";
    u->state = rpc_arena_alloc(u->arena, sizeof(revoking));
    if (!dacm_caller_is_operator(service, call))
        dacm_refuse_peer(u, NOT_OPERATOR);
    else if (!u->state)
        unary_fail_text(u, RPC_RESOURCE_EXHAUSTED, "Revoke: no memory; try again");
    else if (take_revocation(u, request, &status) != RPC_OK)
        unary_fail(u, &status);
    else
        revoke(u);
}

/* ---- Explain ---- */

typedef struct explaining {
    unary *unary;
    char request_id[DACM_REQUEST_ID_CHARS + 1];
    const char *wanted; /* now: request_id, or the record that it names */
    json_t *found;      /* the last record of wanted in the audit trail */
    int64_t time_ms;    /* of request_id's record */
    rpc_status status;
} explaining;

static char *text_of(const char *text)
{
    return (char *)(uintptr_t)(text ? text : "");
}

static void answer_from_ring(unary *u, const dacm_explanation *known)
{
    char detail[640];
    snprintf(detail, sizeof detail, "%s%s%s%s", known->detail, known->fault[0] ? " (" : "",
        known->fault, known->fault[0] ? ")" : "");
    Dacm__V1__ExplainResponse response = DACM__V1__EXPLAIN_RESPONSE__INIT;
    response.request_id = text_of(known->request_id);
    response.time_ms = known->time_ms;
    response.method = text_of(known->method);
    response.asset_id = text_of(known->asset_id);
    response.outcome = text_of(rpc_code_name(known->outcome));
    response.reason = text_of(known->reason);
    response.detail = detail;
    response.subject = text_of(known->subject);
    response.user = text_of(known->user);
    unary_reply(u, &response.base);
}

static char *member(const json_t *record, const char *name)
{
    return text_of(json_string_value(json_object_get(record, name)));
}

static const char *detail_of(const char *reason)
{
    for (int i = 0; i < TRUST_REASONS; i++)
        if (strcmp(trust_reason_name((trust_reason)i), reason) == 0)
            return trust_reason_text((trust_reason)i);
    return "";
}

/* Strand. */
static void answer_from_trail(void *arg)
{
    explaining *e = arg;
    unary *u = e->unary;
    Dacm__V1__ExplainResponse response = DACM__V1__EXPLAIN_RESPONSE__INIT;
    if (e->status.code != RPC_OK)
        unary_fail(u, &e->status);
    else if (!e->found)
        unary_fail_text(u, RPC_NOT_FOUND,
            "request_id: the audit trail has no such request; only decisions are in it");
    else {
        const char *fault = member(e->found, "fault");
        response.request_id = e->request_id;
        response.time_ms = e->time_ms;
        response.method = member(e->found, "method");
        response.asset_id = member(e->found, "asset_id");
        response.outcome = member(e->found, "outcome");
        response.reason = member(e->found, "reason");
        response.detail = text_of(fault[0] ? fault : detail_of(response.reason));
        response.subject = member(e->found, "subject");
        response.user = member(e->found, "user");
        unary_reply(u, &response.base);
    }
    json_decref(e->found);
    free(e);
}

static bool is_it(void *ctx, rpc_bytes json)
{
    explaining *e = ctx;
    if (!memmem(json.data, json.size, e->wanted, strlen(e->wanted)))
        return true;
    json_t *record = json_loadb((const char *)json.data, json.size, JSON_REJECT_DUPLICATES, NULL);
    if (strcmp(member(record, "request_id"), e->wanted) == 0) {
        json_decref(e->found);
        e->found = record;
    } else
        json_decref(record);
    return true;
}

static void search(explaining *e, const char *wanted)
{
    const dacm_service *service = e->unary->service;
    const int64_t ms = host_request_id_ms(e->request_id);
    json_decref(e->found);
    e->found = NULL;
    e->wanted = wanted;
    e->status.code = trust_audit_scan(service->config->audit_directory, ms - EXPLAIN_BEFORE_MS,
        ms + EXPLAIN_AFTER_MS, is_it, e, &e->status);
    if (e->found) /* whatever else is wrong with the trail: this record verified */
        e->status.code = RPC_OK;
}

/* Pool: the trail is read from disk. A record that says `as` is explained by the one it names,
 * which stands in the same segment: the same time finds it. */
static void search_trail(void *arg)
{
    explaining *e = arg;
    char as[TRUST_AUDIT_REQUEST_ID_MAX + 1];
    search(e, e->request_id);
    e->time_ms = json_integer_value(json_object_get(e->found, "time_ms"));
    rpc_text_copy(as, sizeof as, member(e->found, "as"));
    if (as[0]) {
        search(e, as);
        if (e->status.code == RPC_OK && !e->found)
            rpc_status_set(&e->status, RPC_DATA_LOSS,
                "request_id: its record names %s, which the audit trail does not have; verify the "
                "trail (dacmd --audit-verify)",
                as);
    }
    rpc_call_post(e->unary->call, answer_from_trail, e);
}

static void explain_audited(void *arg, const rpc_status *status)
{
    unary *u = arg;
    const Dacm__V1__ExplainRequest *request = (const Dacm__V1__ExplainRequest *)u->request;
    dacm_explanation known;
    if (status->code != RPC_OK || rpc_call_cancelled(u->call)) {
        unary_fail(u, status);
        return;
    }
    if (dacm_ring_find(u->service->ring, request->request_id, &known)) {
        answer_from_ring(u, &known);
        return;
    }
    explaining *e = calloc(1, sizeof *e);
    if (!e) {
        unary_fail_text(u, RPC_RESOURCE_EXHAUSTED, "Explain: no memory; try again");
        return;
    }
    e->unary = u;
    rpc_text_copy(e->request_id, sizeof e->request_id, request->request_id);
    if (rpc_pool_submit(u->service->verify_pool, search_trail, e) != RPC_OK) {
        free(e);
        unary_fail_text(u, RPC_RESOURCE_EXHAUSTED, "Explain: the server is busy; try again");
    }
}

void dacm_explain_request(Dacm__V1__Admin_Service *self, const Dacm__V1__ExplainRequest *request,
    Dacm__V1__ExplainResponse_Closure closure, void *call)
{
    dacm_service *service = ((dacm_admin_service *)self)->service;
    unary *u = unary_new(service, call, &request->base, (ProtobufCClosure)closure);
    if (!u)
        return;
    u->access.method = "Explain";
    if (!dacm_caller_is_operator(service, call))
        dacm_refuse_peer(u, NOT_OPERATOR);
    else if (host_request_id_ms(request->request_id) < 0)
        unary_fail_text(u, RPC_INVALID_ARGUMENT,
            "request_id: is no request ID; take the 26 characters from the text of the refusal");
    else
        dacm_access_record(&u->access, "", RPC_OK, "operator asked to explain", explain_audited, u);
}

/* ---- GetStoreStat ---- */

typedef struct counting {
    unary *unary;
    store_stats stats;
    uint64_t assets;
    rpc_status status;
} counting;

static void answer_counts(void *arg)
{
    counting *c = arg;
    unary *u = c->unary;
    Dacm__V1__GetStoreStatResponse response = DACM__V1__GET_STORE_STAT_RESPONSE__INIT;
    response.assets = c->assets;
    response.chunks = c->stats.chunk_count;
    response.records = c->stats.records;
    response.meta_used_bytes = c->stats.meta.used_bytes - c->stats.meta.free_bytes;
    response.meta_map_bytes_max = c->stats.meta.map_bytes_max;
    response.chunks_used_bytes = c->stats.chunks.used_bytes - c->stats.chunks.free_bytes;
    response.chunks_map_bytes_max = c->stats.chunks.map_bytes_max;
    if (c->status.code == RPC_OK)
        unary_reply(u, &response.base);
    else
        unary_fail(u, dacm_store_status(u->service, "count of the store", &c->status));
    free(c);
}

/* Pool: walks lists of pages. */
static void count_store(void *arg)
{
    counting *c = arg;
    dacm_service *service = c->unary->service;
    c->status.code = store_stat(service->store, &c->stats, &c->status);
    if (c->status.code == RPC_OK)
        c->status.code = dacm_count_assets(service->store, &c->assets, &c->status);
    rpc_call_post(c->unary->call, answer_counts, c);
}

static void count_audited(void *arg, const rpc_status *status)
{
    unary *u = arg;
    counting *c = status->code == RPC_OK ? calloc(1, sizeof *c) : NULL;
    if (status->code != RPC_OK)
        unary_fail(u, status);
    else if (!c)
        unary_fail_text(u, RPC_RESOURCE_EXHAUSTED, "GetStoreStat: no memory; try again");
    else {
        c->unary = u;
        if (rpc_pool_submit(u->service->upload_pool, count_store, c) == RPC_OK)
            return;
        free(c);
        unary_fail_text(u, RPC_RESOURCE_EXHAUSTED, "GetStoreStat: the server is busy; try again");
    }
}

void dacm_get_store_stat(Dacm__V1__Admin_Service *self,
    const Dacm__V1__GetStoreStatRequest *request, Dacm__V1__GetStoreStatResponse_Closure closure,
    void *call)
{
    dacm_service *service = ((dacm_admin_service *)self)->service;
    unary *u = unary_new(service, call, &request->base, (ProtobufCClosure)closure);
    if (!u)
        return;
    u->access.method = "GetStoreStat";
    if (!dacm_caller_is_operator(service, call))
        dacm_refuse_peer(u, NOT_OPERATOR);
    else
        dacm_access_record(&u->access, "", RPC_OK, "operator asked for counts", count_audited, u);
}
