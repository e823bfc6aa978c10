/* SPDX-License-Identifier: Apache-2.0 */
/* skms.v1.Admin: VAL services, enrolments, keys, the root. */
#include "admin_internal.h"

static rpc_code reply_empty(
    program_call *c, const ProtobufCMessageDescriptor *descriptor, rpc_status *reterr)
{
    c->reply = program_call_new(c, descriptor);
    return c->reply ? RPC_OK : program_call_no_memory(reterr);
}

/* ---- VAL services ------------------------------------------------------------------------------
 */

static bool tell_policy(
    program_call *c, const skm_service_view *view, Skms__V1__ValService *message)
{
    Skms__V1__Policy *policy = program_call_new(c, &skms__v1__policy__descriptor);
    if (!policy)
        return false;
    policy->active_s = view->policy.active_s;
    policy->published_before_s = view->policy.published_before_s;
    policy->verify_only_s = view->policy.verify_only_s;
    policy->delegated = view->policy.delegated;
    policy->provisioned = view->policy.provisioned;
    message->policy = policy;
    return true;
}

static bool tell_enrolments(
    program_call *c, const skm_service_view *view, Skms__V1__ValService *message)
{
    message->enrolments = rpc_arena_alloc(
        c->arena, (view->enrolment_count + 1) * sizeof(message->enrolments[0]));
    for (size_t i = 0; message->enrolments && i < view->enrolment_count; i++) {
        Skms__V1__Enrolment *enrolment = program_call_new(c, &skms__v1__enrolment__descriptor);
        if (!enrolment ||
            !(enrolment->certificate_san = program_call_text(c, view->enrolments[i].san)) ||
            !(enrolment->client_id = program_call_text(c, view->enrolments[i].client.client_id)) ||
            !(enrolment->client_issuer = program_call_text(c, view->enrolments[i].client.issuer)))
            return false;
        enrolment->enrolled_at = view->enrolments[i].enrolled_at;
        enrolment->token_expires_at = view->enrolments[i].token_expires_at;
        message->enrolments[message->n_enrolments++] = enrolment;
    }
    return message->enrolments != NULL;
}

static Skms__V1__ValService *tell_service(program_call *c, const skm_service_view *view)
{
    Skms__V1__ValService *message = program_call_new(c, &skms__v1__val_service__descriptor);
    Skms__V1__Purpose *purposes = rpc_arena_alloc(c->arena, SKM_PURPOSES * sizeof *purposes);
    if (!message || !purposes || !(message->val_service = program_call_text(c, view->name)))
        return NULL;
    message->purposes = purposes;
    for (skm_purpose p = SKM_FOR_TOKENS; p <= SKM_FOR_MANIFESTS; p++)
        if (view->purposes[p])
            purposes[message->n_purposes++] = (Skms__V1__Purpose)p;
    message->created_at = view->created_at;
    return tell_policy(c, view, message) && tell_enrolments(c, view, message) ? message : NULL;
}

typedef struct service_page {
    program_call *c;
    const char *only; /* NULL: all */
    uint32_t size;
    size_t count;
    Skms__V1__ValService **services;
    bool more, failed;
} service_page;

static bool add_service(void *ctx, const skm_service_view *view)
{
    service_page *page = ctx;
    if (page->only && strcmp(page->only, view->name) != 0)
        return true;
    if (page->count == page->size) {
        page->more = true;
        return false;
    }
    page->services[page->count] = tell_service(page->c, view);
    page->failed = !page->services[page->count];
    page->count += !page->failed;
    return !page->failed && !page->only;
}

static rpc_code read_services(
    program_call *c, const char *after, service_page *page, rpc_status *reterr)
{
    page->c = c;
    page->services = rpc_arena_alloc(c->arena, page->size * sizeof *page->services);
    if (!page->services)
        return program_call_no_memory(reterr);
    skm_services_list(admin_service(c)->state, after, add_service, page);
    return page->failed ? program_call_no_memory(reterr) : RPC_OK;
}

rpc_code admin_create_service(program_call *c, rpc_status *reterr)
{
    const Skms__V1__ValService *request = (const Skms__V1__ValService *)c->request;
    skm_service_view view = {.name = request->val_service};
    for (size_t i = 0; i < request->n_purposes; i++) {
        skm_purpose purpose;
        if (!skm_purpose_of(request->purposes[i], &purpose))
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "purposes: must be of PURPOSE_TOKENS and PURPOSE_MANIFESTS");
        view.purposes[purpose] = true;
    }
    if (request->policy)
        view.policy = (skm_policy){.active_s = request->policy->active_s,
            .published_before_s = request->policy->published_before_s,
            .verify_only_s = request->policy->verify_only_s,
            .delegated = request->policy->delegated,
            .provisioned = request->policy->provisioned};
    rpc_code code = skm_service_add(admin_service(c)->state, &view, reterr);
    service_page page = {.only = request->val_service, .size = 1};
    if (code == RPC_OK)
        code = read_services(c, NULL, &page, reterr);
    if (code == RPC_OK && page.count == 1)
        c->reply = &page.services[0]->base;
    return code == RPC_OK && page.count != 1 ? program_call_no_memory(reterr) : code;
}

rpc_code admin_list_services(program_call *c, rpc_status *reterr)
{
    const Skms__V1__ListServicesRequest *request = (const Skms__V1__ListServicesRequest *)
                                                       c->request;
    service_page page = {.size = program_page_size(request->page_size)};
    Skms__V1__ListServicesResponse *reply = program_call_new(
        c, &skms__v1__list_services_response__descriptor);
    if (!reply)
        return program_call_no_memory(reterr);
    const rpc_code code = read_services(c, request->after, &page, reterr);
    reply->services = page.services;
    reply->n_services = page.count;
    reply->more = page.more;
    c->reply = &reply->base;
    return code;
}

/* ---- enrolments --------------------------------------------------------------------------------
 */

/* The SIM-S that knows the client: the one that is named, or the only one. */
static rpc_code find_issuer(program_call *c, const Skms__V1__CreateEnrolmentRequest *request,
    char ret[SKM_CLIENT_MAX + 1], rpc_status *reterr)
{
    const bool named = request->client_issuer[0] != '\0';
    if (!request->client_id[0])
        return named ? rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                           "client_issuer: says nothing without client_id")
                     : RPC_OK;
    if (skm_tokens_issuer(
            admin_service(c)->tokens, request->client_issuer, ret, SKM_CLIENT_MAX + 1))
        return RPC_OK;
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
        named ? "client_issuer: is none of 'issuers' in the configuration of skmsd"
              : "client_issuer: name the SIM-S; 'issuers' in the configuration of skmsd has not "
                "exactly one");
}

rpc_code admin_create_enrolment(program_call *c, rpc_status *reterr)
{
    const Skms__V1__CreateEnrolmentRequest *request = (const Skms__V1__CreateEnrolmentRequest *)
                                                          c->request;
    char token[SKM_TOKEN_CHARS + 1];
    char issuer[SKM_CLIENT_MAX + 1] = "";
    int64_t expires_at = 0;
    rpc_code code = find_issuer(c, request, issuer, reterr);
    if (code != RPC_OK)
        return code;
    const skm_client client = {.issuer = issuer, .client_id = request->client_id};
    code = skm_enrolment_add(admin_service(c)->state, request->val_service,
        request->certificate_san, request->client_id[0] ? &client : NULL, token, &expires_at,
        reterr);
    if (code != RPC_OK)
        return code;
    Skms__V1__CreateEnrolmentResponse *reply = program_call_new(
        c, &skms__v1__create_enrolment_response__descriptor);
    if (!reply || !(reply->token = program_call_text(c, token)))
        return program_call_no_memory(reterr);
    reply->expires_at = expires_at;
    c->reply = &reply->base;
    return RPC_OK;
}

rpc_code admin_revoke_enrolment(program_call *c, rpc_status *reterr)
{
    const Skms__V1__RevokeEnrolmentRequest *request = (const Skms__V1__RevokeEnrolmentRequest *)
                                                          c->request;
    const rpc_code code = skm_enrolment_revoke(
        admin_service(c)->state, request->val_service, request->certificate_san, INT64_MAX, reterr);
    return code == RPC_OK ? reply_empty(c, &skms__v1__revoke_enrolment_response__descriptor, reterr)
                          : code;
}

/* ---- keys --------------------------------------------------------------------------------------
 */

static Skms__V1__Key *tell_key(program_call *c, const skm_key_view *view)
{
    Skms__V1__Key *key = program_call_new(c, &skms__v1__key__descriptor);
    if (!key || !(key->kid = program_call_text(c, view->kid)) ||
        !(key->val_service = program_call_text(c, view->service)) ||
        !(key->public_jwk = program_call_text(c, view->public_jwk)) ||
        !(key->reason = program_call_text(c, view->reason)))
        return NULL;
    key->purpose = (Skms__V1__Purpose)view->purpose;
    key->state = (Skms__V1__KeyState)view->state;
    key->created_at = view->life.created_at;
    key->signs_from = view->life.signs_from;
    key->signs_until = view->life.signs_until;
    key->verifies_until = view->verifies_until == SKM_NEVER ? 0 : view->verifies_until;
    key->signatures = view->signatures;
    return key;
}

typedef struct key_page {
    program_call *c;
    const char *only; /* kid; NULL: all */
    const char *after;
    uint32_t size;
    size_t count;
    Skms__V1__Key **keys;
    bool past, more, failed;
} key_page;

static bool add_key(void *ctx, const skm_key_view *view)
{
    key_page *page = ctx;
    if (page->only && strcmp(page->only, view->kid) != 0)
        return true;
    if (!page->past) {
        page->past = strcmp(page->after, view->kid) == 0;
        return true;
    }
    if (page->count == page->size) {
        page->more = true;
        return false;
    }
    page->keys[page->count] = tell_key(page->c, view);
    page->failed = !page->keys[page->count];
    page->count += !page->failed;
    return !page->failed;
}

static rpc_code read_keys(
    program_call *c, const char *service, skm_purpose purpose, key_page *page, rpc_status *reterr)
{
    page->c = c;
    page->past = !page->after || !page->after[0];
    page->keys = rpc_arena_alloc(c->arena, page->size * sizeof *page->keys);
    if (!page->keys)
        return program_call_no_memory(reterr);
    const rpc_code code = skm_keys_list(
        admin_service(c)->state, service, purpose, add_key, page, reterr);
    return code == RPC_OK && page->failed ? program_call_no_memory(reterr) : code;
}

rpc_code admin_list_keys(program_call *c, rpc_status *reterr)
{
    const Skms__V1__ListKeysRequest *request = (const Skms__V1__ListKeysRequest *)c->request;
    key_page page = {.after = request->after, .size = program_page_size(request->page_size)};
    skm_purpose purpose = 0;
    if (request->purpose && !skm_purpose_of(request->purpose, &purpose))
        return skm_no_purpose(reterr);
    Skms__V1__ListKeysResponse *reply = program_call_new(
        c, &skms__v1__list_keys_response__descriptor);
    if (!reply)
        return program_call_no_memory(reterr);
    rpc_code code = read_keys(c, request->val_service, purpose, &page, reterr);
    if (code == RPC_OK && !page.past)
        code = rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "after: is no key (any more) of those asked for; begin from the start");
    reply->keys = page.keys;
    reply->n_keys = page.count;
    reply->more = page.more;
    c->reply = &reply->base;
    return code;
}

static rpc_code reply_key(program_call *c, const char *kid, rpc_status *reterr)
{
    key_page page = {.only = kid, .size = 1};
    rpc_code code = read_keys(c, "", 0, &page, reterr);
    if (code == RPC_OK && page.count == 0)
        code = rpc_status_set(reterr, RPC_NOT_FOUND, "kid: there is no key '%.128s'", kid);
    if (code == RPC_OK)
        c->reply = &page.keys[0]->base;
    return code;
}

rpc_code admin_rotate_key(program_call *c, rpc_status *reterr)
{
    const Skms__V1__RotateKeyRequest *request = (const Skms__V1__RotateKeyRequest *)c->request;
    char kid[TRUST_KID_MAX + 1];
    skm_purpose purpose;
    if (!skm_purpose_of(request->purpose, &purpose))
        return skm_no_purpose(reterr);
    const rpc_code code = skm_key_rotate(
        admin_service(c)->state, request->val_service, purpose, kid, reterr);
    return code == RPC_OK ? reply_key(c, kid, reterr) : code;
}

rpc_code admin_revoke_key(program_call *c, rpc_status *reterr)
{
    const Skms__V1__RevokeKeyRequest *request = (const Skms__V1__RevokeKeyRequest *)c->request;
    const rpc_code code = skm_key_revoke(
        admin_service(c)->state, request->kid, request->reason, reterr);
    if (code != RPC_OK)
        return code;
    HOST_LOG(admin_service(c)->log, HOST_WARNING,
        "a key is compromised: it verifies nothing any more", host_text("kid", request->kid),
        host_text("request_id", c->request_id));
    return reply_key(c, request->kid, reterr);
}

/* ---- the root ----------------------------------------------------------------------------------
 */

rpc_code admin_get_root(program_call *c, rpc_status *reterr)
{
    Skms__V1__Root *root = skm_tell_root(admin_service(c), c->arena);
    if (!root)
        return program_call_no_memory(reterr);
    c->reply = &root->base;
    return RPC_OK;
}

typedef struct root_change {
    program_call *c;
    uint64_t sequence; /* 0: the trail was not told yet */
} root_change;

/* By its number a restored store knows whether it has the newest. */
static rpc_code audit_root(
    const root_change *change, uint64_t sequence, const char *outcome, rpc_status *reterr)
{
    return SKM_AUDIT(admin_service(change->c), change->c->request_id, "root", reterr,
        host_text("outcome", outcome), host_number("sequence", (int64_t)sequence));
}

static rpc_code announce_root(void *ctx, uint64_t sequence, rpc_status *reterr)
{
    root_change *change = ctx;
    const rpc_code code = audit_root(change, sequence, "asked", reterr);
    if (code == RPC_OK)
        change->sequence = sequence;
    return code;
}

rpc_code admin_rotate_root(program_call *c, rpc_status *reterr)
{
    root_change change = {.c = c};
    rpc_status why;
    const rpc_code code = skm_root_rotate(admin_service(c)->state, announce_root, &change, reterr);
    if (change.sequence &&
        audit_root(&change, change.sequence, rpc_code_name(code), &why) != RPC_OK)
        return rpc_status_text(reterr, why.code, why.message);
    return code == RPC_OK ? admin_get_root(c, reterr) : code;
}
