/* SPDX-License-Identifier: Apache-2.0 */
/* VAL services: loaded at the start, added, listed, found. */
#include "state_internal.h"

#include <stdlib.h>

#define LIFE_S_MAX (10ll * 366 * 86400)

void skm__service_free(skm__service *service)
{
    if (!service)
        return;
    for (skm_purpose p = SKM_FOR_TOKENS; p <= SKM_FOR_MANIFESTS; p++)
        skm__set_free(service->sets[p]);
    free(service);
}

skm__service *skm__service_find(const skm_state *state, const char *name)
{
    size_t low = 0, high = state->service_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const int order = strcmp(state->services[middle]->name, name);
        if (order == 0)
            return state->services[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* By name; there is room. */
static void insert(skm_state *state, skm__service *service)
{
    size_t at = state->service_count++;
    for (; at > 0 && strcmp(state->services[at - 1]->name, service->name) > 0; at--)
        state->services[at] = state->services[at - 1];
    state->services[at] = service;
}

/* ---- loading ------------------------------------------------------------------------------------
 */

typedef struct loading {
    skm_state *state;
    skm__service *service; /* of the group under way */
} loading;

static rpc_code damaged(const char *what, rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_DATA_LOSS,
        "%s is damaged; run skmsd --store-check, or restore a backup of the store", what);
}

static rpc_code take_service(loading *l, const Skm__Records__Service *record, rpc_status *reterr)
{
    skm_state *state = l->state;
    if (state->service_count == state->services_max)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "the store has more VAL services than 'store.services_max'; raise it");
    skm__service *service = calloc(1, sizeof *service);
    if (!service)
        return skm__no_memory(reterr);
    if (!rpc_text_copy(service->name, sizeof service->name, record->name)) {
        free(service);
        return damaged("the record of a VAL service", reterr);
    }
    service->group = host_key_of("s/", service->name);
    service->policy = (skm_policy){.active_s = record->active_s,
        .published_before_s = record->published_before_s,
        .verify_only_s = record->verify_only_s,
        .delegated = record->delegated,
        .provisioned = record->provisioned};
    service->created_at = record->created_at;
    insert(state, service);
    l->service = service;
    rpc_code code = RPC_OK;
    if (record->tokens)
        code = skm__set_load(state, service, SKM_FOR_TOKENS, reterr);
    if (code == RPC_OK && record->manifests)
        code = skm__set_load(state, service, SKM_FOR_MANIFESTS, reterr);
    return code;
}

static rpc_code take_enrolment(
    loading *l, const Skm__Records__Enrolment *record, rpc_status *reterr)
{
    skm__service *service = l->service;
    if (!service || service->enrolment_count == SKM_ENROLMENTS_MAX)
        return damaged("the record of an enrolment", reterr);
    skm__enrolment *enrolment = &service->enrolments[service->enrolment_count];
    if (!rpc_text_copy(enrolment->san, sizeof enrolment->san, record->san) ||
        !rpc_text_copy(
            enrolment->client_issuer, sizeof enrolment->client_issuer, record->client_issuer) ||
        !rpc_text_copy(enrolment->client_id, sizeof enrolment->client_id, record->client_id) ||
        (record->token_sha256.len && record->token_sha256.len != sizeof enrolment->token_sha256) ||
        (record->sealing_key.len && record->sealing_key.len != sizeof enrolment->sealing_key))
        return damaged("the record of an enrolment", reterr);
    enrolment->has_token = record->token_sha256.len != 0;
    enrolment->enrolled = record->sealing_key.len != 0;
    if (enrolment->has_token)
        memcpy(enrolment->token_sha256, record->token_sha256.data, record->token_sha256.len);
    if (enrolment->enrolled)
        memcpy(enrolment->sealing_key, record->sealing_key.data, record->sealing_key.len);
    enrolment->token_expires_at = record->token_expires_at;
    enrolment->enrolled_at = record->enrolled_at;
    service->enrolment_count++;
    return RPC_OK;
}

/* A service stands before its enrolments. */
static rpc_code take(
    void *ctx, const store_entry *entry, const ProtobufCMessage *record, rpc_status *reterr)
{
    loading *l = ctx;
    if (entry->item.size == 0)
        return take_service(l, (const Skm__Records__Service *)record, reterr);
    if (l->service && !rpc_bytes_equal(host_key_bytes(&l->service->group), entry->group))
        l->service = NULL;
    return take_enrolment(l, (const Skm__Records__Enrolment *)record, reterr);
}

static rpc_code read_generations(skm_state *state, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < state->service_count; i++) {
        skm__service *service = state->services[i];
        code = skm__generation(
            state, host_key_bytes(&service->group), &service->generation, reterr);
    }
    return code;
}

rpc_code skm__services_load(skm_state *state, rpc_status *reterr)
{
    loading l = {.state = state};
    const skm__loading records = {
        .request = {.group = rpc_bytes_str("s/"), .group_is_prefix = true},
        .main = &skm__records__service__descriptor,
        .others = &skm__records__enrolment__descriptor,
        .take = take,
        .ctx = &l};
    rpc_code code = skm__load(state, &records, reterr);
    if (code == RPC_OK)
        code = read_generations(state, reterr);
    return code == RPC_OK && !skm__members_rebuild(state) ? skm__no_memory(reterr) : code;
}

/* ---- adding -------------------------------------------------------------------------------------
 */

static rpc_code check_policy(const skm_policy *policy, rpc_status *reterr)
{
    const struct {
        const char *name;
        int64_t value, least;
    } times[] = {{"active_s", policy->active_s, 1},
        {"published_before_s", policy->published_before_s, 0},
        {"verify_only_s", policy->verify_only_s, 0}};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (times[i].value < times[i].least || times[i].value > LIFE_S_MAX)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "policy.%s: must be %lld to %lld seconds, or 0 for the default", times[i].name,
                (long long)times[i].least, (long long)LIFE_S_MAX);
    if (policy->published_before_s > policy->active_s)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "policy.published_before_s: is above active_s: the key after it would be late");
    if (policy->delegated && policy->provisioned)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "policy.provisioned: whoever brings the keys has them; delegated makes no sense");
    return RPC_OK;
}

static int64_t or_default(int64_t value, int64_t fallback)
{
    return value ? value : fallback;
}

static rpc_code check_new(
    const skm_state *state, const skm_service_view *view, skm_policy *policy, rpc_status *reterr)
{
    *policy = view->policy;
    policy->active_s = or_default(policy->active_s, state->policy.active_s);
    policy->published_before_s = or_default(
        policy->published_before_s, state->policy.published_before_s);
    policy->verify_only_s = or_default(policy->verify_only_s, state->policy.verify_only_s);
    if (!skm__name_valid(view->name, SKM_SERVICE_MAX))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "val_service: must be 1 to %d printable ASCII characters without blanks, quotes and "
            "backslashes",
            SKM_SERVICE_MAX);
    if (!view->purposes[SKM_FOR_TOKENS] && !view->purposes[SKM_FOR_MANIFESTS])
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "purposes: what its keys are for: tokens, manifests");
    if (skm__service_find(state, view->name))
        return rpc_status_set(
            reterr, RPC_ALREADY_EXISTS, "val_service: '%s' is there already", view->name);
    if (state->service_count == state->services_max)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "there are 'store.services_max' VAL services; raise it");
    return check_policy(policy, reterr);
}

static rpc_code write_service(
    skm_state *state, skm__service *service, const skm_service_view *view, rpc_status *reterr)
{
    skm__changes changes = {0};
    Skm__Records__Service record = SKM__RECORDS__SERVICE__INIT;
    record.name = service->name;
    record.tokens = view->purposes[SKM_FOR_TOKENS];
    record.manifests = view->purposes[SKM_FOR_MANIFESTS];
    record.active_s = service->policy.active_s;
    record.published_before_s = service->policy.published_before_s;
    record.verify_only_s = service->policy.verify_only_s;
    record.delegated = service->policy.delegated;
    record.provisioned = service->policy.provisioned;
    record.created_at = service->created_at;
    skm__put(&changes, NULL, &record.base);
    const rpc_code code = skm__write(
        state, host_key_bytes(&service->group), &changes, &service->generation, reterr);
    skm__changes_done(&changes);
    return code;
}

/* Its sets are empty in the store too, or what a crash left of this very call. */
static rpc_code make_service(skm_state *state, const skm_service_view *view,
    const skm_policy *policy, skm__service **ret, rpc_status *reterr)
{
    skm__service *service = calloc(1, sizeof *service);
    if (!service)
        return skm__no_memory(reterr);
    snprintf(service->name, sizeof service->name, "%s", view->name);
    service->group = host_key_of("s/", service->name);
    service->policy = *policy;
    service->created_at = skm__now_s(state);
    rpc_code code = RPC_OK;
    for (skm_purpose p = SKM_FOR_TOKENS; code == RPC_OK && p <= SKM_FOR_MANIFESTS; p++)
        if (view->purposes[p])
            code = skm__set_load(state, service, p, reterr);
    if (code == RPC_OK)
        code = write_service(state, service, view, reterr);
    if (code == RPC_OK)
        *ret = service;
    else
        skm__service_free(service);
    return code;
}

static rpc_code add_service(skm_state *state, const skm_service_view *view, rpc_status *reterr)
{
    skm_policy policy;
    skm__service *service = NULL;
    rpc_code code = check_new(state, view, &policy, reterr);
    if (code == RPC_OK)
        code = make_service(state, view, &policy, &service, reterr);
    if (code != RPC_OK)
        return code;
    /* it stands in the store: what is missing below is made by the next tending, and who is told of
     * a set finds it */
    pthread_rwlock_wrlock(&state->lock);
    insert(state, service);
    pthread_rwlock_unlock(&state->lock);
    for (skm_purpose p = SKM_FOR_TOKENS; code == RPC_OK && p <= SKM_FOR_MANIFESTS; p++)
        if (service->sets[p])
            code = skm__set_change(state, service->sets[p], NULL, reterr);
    return code;
}

rpc_code skm_service_add(skm_state *state, const skm_service_view *service, rpc_status *reterr)
{
    pthread_mutex_lock(&state->change);
    const rpc_code code = add_service(state, service, reterr);
    pthread_mutex_unlock(&state->change);
    return code;
}

/* ---- listing ------------------------------------------------------------------------------------
 */

static bool tell(const skm__service *service, int64_t now, skm_service_fn *fn, void *ctx)
{
    skm_enrolment enrolments[SKM_ENROLMENTS_MAX];
    skm_service_view view = {.name = service->name,
        .policy = service->policy,
        .created_at = service->created_at,
        .enrolments = enrolments,
        .enrolment_count = service->enrolment_count};
    for (skm_purpose p = SKM_FOR_TOKENS; p <= SKM_FOR_MANIFESTS; p++)
        view.purposes[p] = service->sets[p] != NULL;
    for (size_t i = 0; i < service->enrolment_count; i++) {
        const skm__enrolment *from = &service->enrolments[i];
        const bool good = from->has_token && from->token_expires_at > now;
        enrolments[i] = (skm_enrolment){.san = from->san,
            .client = {from->client_issuer, from->client_id},
            .enrolled_at = from->enrolled_at,
            .token_expires_at = good ? from->token_expires_at : 0};
    }
    return fn(ctx, &view);
}

void skm_services_list(skm_state *state, const char *after, skm_service_fn *fn, void *ctx)
{
    const int64_t now = skm__now_s(state);
    bool go = true;
    pthread_rwlock_rdlock(&state->lock);
    for (size_t i = 0; go && i < state->service_count; i++)
        if (!after || strcmp(state->services[i]->name, after) > 0)
            go = tell(state->services[i], now, fn, ctx);
    pthread_rwlock_unlock(&state->lock);
}
