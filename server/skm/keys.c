/* SPDX-License-Identifier: Apache-2.0 */
/* Keys as the operator sees and turns them. */
#include "state_internal.h"

#include <jansson.h>
#include <stdlib.h>
#include <strings.h>

/* ---- listing ------------------------------------------------------------------------------------
 */

typedef struct listing {
    skm_key_fn *fn;
    void *ctx;
    int64_t now;
    bool go, failed;
} listing;

static int64_t verifies_until(const skm__set *set, const skm_key_life *life)
{
    if (life->revoked_at)
        return life->revoked_at;
    return set->purpose == SKM_FOR_TOKENS ? life->signs_until + set->service->policy.verify_only_s
                                          : SKM_NEVER;
}

static void tell_key(listing *l, const skm__set *set, skm__key *key)
{
    const skm_key_state key_state = skm_life_state(&set->service->policy, &key->life, l->now);
    json_t *jwk = skm__key_jwk(set, key, &key->life, key_state);
    char *text = jwk ? json_dumps(jwk, JSON_COMPACT) : NULL;
    json_decref(jwk);
    if (!text) {
        l->failed = true;
        l->go = false;
        return;
    }
    const skm_key_view view = {.kid = key->kid,
        .service = set->service->name,
        .reason = key->reason,
        .public_jwk = text,
        .purpose = set->purpose,
        .state = key_state,
        .life = key->life,
        .verifies_until = verifies_until(set, &key->life),
        .signatures = atomic_load(&key->signatures)};
    l->go = l->fn(l->ctx, &view);
    free(text);
}

static void tell_service(listing *l, const skm__service *service, skm_purpose purpose)
{
    for (skm_purpose p = SKM_FOR_TOKENS; p <= SKM_FOR_MANIFESTS; p++) {
        const skm__set *set = purpose && purpose != p ? NULL : service->sets[p];
        for (size_t i = 0; set && l->go && i < set->count; i++)
            tell_key(l, set, set->keys[i]);
    }
}

static rpc_code unknown(const char *service, rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_NOT_FOUND,
        "val_service: there is no '%.200s', or it has no keys of that purpose", service);
}

rpc_code skm_keys_list(skm_state *state, const char *service, skm_purpose purpose, skm_key_fn *fn,
    void *ctx, rpc_status *reterr)
{
    listing l = {.fn = fn, .ctx = ctx, .now = skm__now_s(state), .go = true};
    pthread_rwlock_rdlock(&state->lock);
    const skm__service *only = service[0] ? skm__service_find(state, service) : NULL;
    const bool found = !service[0] || only;
    if (only)
        tell_service(&l, only, purpose);
    for (size_t i = 0; !service[0] && l.go && i < state->service_count; i++)
        tell_service(&l, state->services[i], purpose);
    pthread_rwlock_unlock(&state->lock);
    if (!found)
        return unknown(service, reterr);
    return l.failed ? skm__no_memory(reterr) : RPC_OK;
}

/* ---- turning ------------------------------------------------------------------------------------
 */

static rpc_code rotate(skm_state *state, const char *name, skm_purpose purpose,
    char ret_kid[TRUST_KID_MAX + 1], rpc_status *reterr)
{
    char kid[TRUST_KID_MAX + 1] = "";
    const skm__edit edit = {.rotate = kid};
    const skm__service *service = skm__service_find(state, name);
    skm__set *set = service ? service->sets[purpose] : NULL;
    if (!set)
        return unknown(name, reterr);
    const rpc_code code = skm__set_change(state, set, &edit, reterr);
    if (code == RPC_OK)
        memcpy(ret_kid, kid, sizeof kid);
    return code;
}

rpc_code skm_key_rotate(skm_state *state, const char *service, skm_purpose purpose,
    char ret_kid[TRUST_KID_MAX + 1], rpc_status *reterr)
{
    pthread_mutex_lock(&state->change);
    const rpc_code code = rotate(state, service, purpose, ret_kid, reterr);
    pthread_mutex_unlock(&state->change);
    return code;
}

/* ---- revoking -----------------------------------------------------------------------------------
 */

/* Of RFC 5280 5.3.1, as step-ca has them too: what an operator writes else has no bound. */
static const char *const reasons[SKM__REASONS] = {"unspecified", "keyCompromise",
    "affiliationChanged", "superseded", "cessationOfOperation", "privilegeWithdrawn", "other"};

/* Its first word, which a blank or a colon ends. */
static size_t kind_of(const char *reason)
{
    const size_t size = strcspn(reason, " :");
    size_t kind = 0;
    if (!reason[0])
        return kind;
    while (kind < SKM__REASONS - 1 &&
           (strlen(reasons[kind]) != size || strncasecmp(reason, reasons[kind], size) != 0))
        kind++;
    return kind;
}

void skm__revocations_count_in(skm_state *state, host_metrics *metrics)
{
    for (skm_purpose p = SKM_FOR_TOKENS; p <= SKM_FOR_MANIFESTS; p++)
        for (size_t i = 0; i < SKM__REASONS; i++) {
            char labels[64];
            snprintf(labels, sizeof labels, "purpose=\"%s\",reason=\"%s\"", skm_purpose_name(p),
                reasons[i]);
            state->revoked[p][i] = host_metrics_counter(metrics, "skm_keys_revoked_total",
                "Keys that were revoked as compromised.", labels);
        }
}

static skm__key *key_of(const skm__set *set, const char *kid)
{
    for (size_t i = 0; set && i < set->count; i++)
        if (strcmp(set->keys[i]->kid, kid) == 0)
            return set->keys[i];
    return NULL;
}

static rpc_code revoke(skm_state *state, const char *kid, const char *reason, rpc_status *reterr)
{
    for (size_t i = 0; i < state->service_count; i++)
        for (skm_purpose p = SKM_FOR_TOKENS; p <= SKM_FOR_MANIFESTS; p++) {
            skm__set *set = state->services[i]->sets[p];
            const skm__edit edit = {.revoke = key_of(set, kid), .reason = reason};
            if (!edit.revoke)
                continue;
            const bool again = edit.revoke->life.revoked_at != 0;
            const rpc_code code = skm__set_change(state, set, &edit, reterr);
            if (code == RPC_OK && !again)
                host_counter_add(state->revoked[p][kind_of(reason)], 1);
            return code;
        }
    return rpc_status_set(reterr, RPC_NOT_FOUND, "kid: there is no key '%.128s'", kid);
}

rpc_code skm_key_revoke(skm_state *state, const char *kid, const char *reason, rpc_status *reterr)
{
    if (strlen(reason) > SKM_REASON_MAX || !rpc_utf8_valid(rpc_bytes_str(reason)))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "reason: at most %d bytes of UTF-8 for the audit trail", SKM_REASON_MAX);
    pthread_mutex_lock(&state->change);
    const rpc_code code = revoke(state, kid, reason, reterr);
    pthread_mutex_unlock(&state->change);
    return code;
}
