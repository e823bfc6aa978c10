/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that VAL servers bring (TS 33.434 5.8). */
#include "state_internal.h"

#define AHEAD_S_MAX (366ll * 86400) /* so far ahead a key may be brought */

typedef struct request {
    skm_state *state;
    skm__set *set;
    const char *kid;
    int64_t now, signs_from, signs_until; /* as asked for; 0: not said */
} request;

static skm__set *set_for(
    const skm_state *state, const skm_caller *caller, const char *name, skm_purpose purpose)
{
    const skm__service *service = skm__service_find(state, name);
    if (!service || !service->policy.provisioned)
        return NULL;
    for (size_t i = 0; i < service->enrolment_count; i++)
        if (service->enrolments[i].client_id[0] && skm__may_use(caller, &service->enrolments[i]))
            return service->sets[purpose];
    return NULL;
}

rpc_code skm_key_is_elsewhere(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
        "jwk: that key is there for something else; one key has one service and one purpose: make "
        "another");
}

/* ---- one key, one place -------------------------------------------------------------------------
 */

static const skm__key *find(const skm__set *set, const char *kid)
{
    for (size_t i = 0; set && i < set->count; i++)
        if (strcmp(set->keys[i]->kid, kid) == 0)
            return set->keys[i];
    return NULL;
}

static bool is_elsewhere(const request *r, const trust_signer *signer)
{
    if (skm__root_was(&r->state->root, signer))
        return true;
    for (size_t i = 0; i < r->state->service_count; i++)
        for (skm_purpose p = SKM_FOR_TOKENS; p <= SKM_FOR_MANIFESTS; p++) {
            const skm__set *set = r->state->services[i]->sets[p];
            if (set != r->set && find(set, r->kid))
                return true;
        }
    return false;
}

/* ---- its life -----------------------------------------------------------------------------------
 */

static bool in_waiting(const skm_policy *policy, const skm_key_life *life, int64_t now)
{
    const skm_key_state state = skm_life_state(policy, life, now);
    return state == SKM_ACTIVE || state == SKM_PRE_PUBLISHED;
}

static rpc_code choose_life(const request *r, skm_key_life *ret, rpc_status *reterr)
{
    skm_key_life lives[SKM_LIFE_KEYS_MAX];
    const skm_policy *policy = &r->set->service->policy;
    const size_t count = skm__lives(r->set, lives);
    size_t waiting = 0;
    for (size_t i = 0; i < count; i++)
        waiting += in_waiting(policy, &lives[i], r->now);
    if (waiting == SKM_RELEASED_MAX)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "%d keys of the set sign now or next; bring another when one of them has ended",
            SKM_RELEASED_MAX);
    const int64_t earliest = waiting > 0 ? r->now + policy->published_before_s : r->now;
    const int64_t from = r->signs_from ? r->signs_from : earliest;
    if (from < earliest || from > r->now + AHEAD_S_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "signs_from: must be %lld to %lld: verifiers learn a key before it signs, and none is "
            "taken a year ahead",
            (long long)earliest, (long long)(r->now + AHEAD_S_MAX));
    const int64_t until = r->signs_until ? r->signs_until : from + policy->active_s;
    if (until <= from || until - from > policy->active_s)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "signs_until: must be after signs_from (%lld), by the %lld seconds of policy.active_s "
            "at most",
            (long long)from, (long long)policy->active_s);
    *ret = (skm_key_life){.created_at = r->now, .signs_from = from, .signs_until = until};
    return RPC_OK;
}

static rpc_code tell(const request *r, const skm__key *key, skm_provisioned *ret)
{
    snprintf(ret->kid, sizeof ret->kid, "%s", key->kid);
    ret->state = skm_life_state(&r->set->service->policy, &key->life, r->now);
    ret->signs_from = key->life.signs_from;
    ret->signs_until = key->life.signs_until;
    return RPC_OK;
}

static rpc_code was_revoked(rpc_status *reterr)
{
    return rpc_status_set(
        reterr, RPC_FAILED_PRECONDITION, "jwk: that key was revoked as compromised; bring another");
}

/* It is there already: by this very request, or another. */
static rpc_code again(
    const request *r, const skm__key *key, skm_provisioned *ret, rpc_status *reterr)
{
    if (key->life.revoked_at)
        return was_revoked(reterr);
    if ((r->signs_from && r->signs_from != key->life.signs_from) ||
        (r->signs_until && r->signs_until != key->life.signs_until))
        return rpc_status_set(reterr, RPC_ALREADY_EXISTS,
            "jwk: that key is there, and signs from %lld to %lld; its times do not change",
            (long long)key->life.signs_from, (long long)key->life.signs_until);
    return tell(r, key, ret);
}

static rpc_code provision(
    request *r, const trust_signer *signer, skm_provisioned *ret, rpc_status *reterr)
{
    const skm__key *key = find(r->set, r->kid);
    skm__edit edit = {.add = signer};
    if (key)
        return again(r, key, ret, reterr);
    if (skm__barred_has(r->state, r->kid))
        return was_revoked(reterr);
    if (is_elsewhere(r, signer))
        return skm_key_is_elsewhere(reterr);
    rpc_code code = choose_life(r, &edit.add_life, reterr);
    if (code == RPC_OK)
        code = skm__set_change(r->state, r->set, &edit, reterr);
    key = code == RPC_OK ? find(r->set, r->kid) : NULL;
    return key ? tell(r, key, ret) : code;
}

rpc_code skm_key_provision(skm_state *state, const skm_caller *caller, const char *service,
    skm_purpose purpose, const trust_signer *signer, int64_t signs_from, int64_t signs_until,
    skm_provisioned *ret, rpc_status *reterr)
{
    pthread_mutex_lock(&state->change);
    request r = {.state = state,
        .set = set_for(state, caller, service, purpose),
        .kid = trust_signer_kid(signer),
        .now = skm__now_s(state),
        .signs_from = signs_from,
        .signs_until = signs_until};
    const rpc_code code = r.set ? provision(&r, signer, ret, reterr) : skm_not_for_you(reterr);
    pthread_mutex_unlock(&state->change);
    return code;
}
