/* SPDX-License-Identifier: Apache-2.0 */
#include "state_internal.h"

#include <sodium.h>
#include <stdlib.h>

#define AGAIN_S_MAX   5 /* the clock may jump, and services come: look again whatever it said */
#define SERVICES_ROOM 64u

/* ---- names -------------------------------------------------------------------------------------
 */

const char *skm_purpose_name(skm_purpose purpose)
{
    return purpose == SKM_FOR_TOKENS ? "tokens" : "manifests";
}

trust_purpose skm__trust_purpose(skm_purpose purpose)
{
    return purpose == SKM_FOR_TOKENS ? TRUST_FOR_TOKENS : TRUST_FOR_MANIFESTS;
}

void skm__identity(const char *kind, const char *service, skm_purpose purpose, const char *kid,
    char ret[SKM__IDENTITY_MAX])
{
    snprintf(ret, SKM__IDENTITY_MAX, "skmsd %s 1\n%s\n%s\n%s", kind, service,
        purpose ? skm_purpose_name(purpose) : "", kid);
}

bool skm__name_valid(const char *text, size_t max)
{
    const size_t size = strlen(text);
    if (size == 0 || size > max)
        return false;
    for (const char *c = text; *c; c++)
        if (*c <= ' ' || *c > '~' || *c == '"' || *c == '\\')
            return false;
    return true;
}

/* ---- open and close ----------------------------------------------------------------------------
 */

static void init_locks(skm_state *state)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr); /* or those who sign would keep a revocation waiting */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&state->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&state->change, NULL);
    pthread_mutex_init(&state->telling, NULL);
}

static void count_in(skm_state *state, host_metrics *metrics)
{
    state->changes = host_metrics_counter(
        metrics, "skm_key_set_changes_total", "Versions of key sets that were made.", NULL);
    state->signed_sets = host_metrics_counter(
        metrics, "skm_key_sets_signed_total", "Signatures of the root over key sets.", NULL);
    state->signatures = host_metrics_counter(
        metrics, "skm_signatures_total", "Delegated signatures.", NULL);
    skm__revocations_count_in(state, metrics);
}

static rpc_code open_all(skm_state *state, const skm_state_options *options, rpc_status *reterr)
{
    int64_t again_s = 0;
    rpc_code code = skm__vault_open(state, options, reterr);
    if (code == RPC_OK)
        code = skm__root_open(state, reterr);
    if (code == RPC_OK)
        code = skm__services_load(state, reterr);
    if (code == RPC_OK)
        code = skm__barred_load(state, reterr);
    if (code == RPC_OK) /* what time did meanwhile, and what a crash interrupted */
        code = skm_state_tend(state, &again_s, reterr);
    return code;
}

rpc_code skm_state_open(const skm_state_options *options, skm_state **ret, rpc_status *reterr)
{
    if (sodium_init() < 0)
        return rpc_status_set(reterr, RPC_UNAVAILABLE, "skmsd: libsodium does not start");
    skm_state *state = calloc(1, sizeof *state);
    if (!state)
        return skm__no_memory(reterr);
    init_locks(state);
    state->db = options->store;
    state->clock = options->clock;
    state->policy = options->policy;
    state->allow_unlocked = options->allow_unlocked;
    state->set_life_s = options->set_life_s;
    state->token_life_s = options->token_life_s;
    state->services_max = options->services_max ? options->services_max : SERVICES_ROOM;
    state->services = calloc(state->services_max, sizeof *state->services);
    if (options->metrics)
        count_in(state, options->metrics);
    rpc_code code = RPC_OK;
    if (!state->services)
        code = skm__no_memory(reterr);
    else if (!rpc_text_copy(state->issuer, sizeof state->issuer, options->issuer))
        code = rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "the issuer of key sets is longer than 255 bytes");
    if (code == RPC_OK)
        code = open_all(state, options, reterr);
    if (code == RPC_OK)
        *ret = state;
    else
        skm_state_close(state);
    return code;
}

void skm_state_close(skm_state *state)
{
    if (!state)
        return;
    for (size_t i = 0; i < state->service_count; i++)
        skm__service_free(state->services[i]);
    free(state->services);
    free(state->members);
    skm__root_done(&state->root);
    skm__barred_done(&state->barred);
    skm_vault_close(state->vault);
    pthread_mutex_destroy(&state->change);
    pthread_mutex_destroy(&state->telling);
    pthread_rwlock_destroy(&state->lock);
    free(state);
}

/* ---- a copy that was restored ------------------------------------------------------------------
 */

static rpc_code raise_versions(skm_state *state, rpc_status *reterr)
{
    static const skm__edit edit = {.restored = true};
    rpc_code code = RPC_OK;
    for (size_t i = 0; i < state->service_count; i++)
        for (skm_purpose p = SKM_FOR_TOKENS; p <= SKM_FOR_MANIFESTS; p++)
            if (code == RPC_OK && state->services[i]->sets[p])
                code = skm__set_change(state, state->services[i]->sets[p], &edit, reterr);
    return code;
}

rpc_code skm_state_restored(skm_state *state, rpc_status *reterr)
{
    pthread_mutex_lock(&state->change);
    rpc_code code = skm__tokens_void(state, reterr);
    if (code == RPC_OK)
        code = raise_versions(state, reterr);
    pthread_mutex_unlock(&state->change);
    return code;
}

/* ---- tending ------------------------------------------------------------------------------------
 */

/* A quarter of its life is left then. */
static int64_t sign_at(const skm_keyset *published)
{
    return published->expires_at - (published->expires_at - published->issued_at) / 4;
}

/* When the set has to be looked at again, after the last time that it was. */
static int64_t due_at(const skm__set *set)
{
    skm_key_life lives[SKM_LIFE_KEYS_MAX];
    const size_t count = skm__lives(set, lives);
    const skm_life life = skm_life_judge(&set->service->policy, lives, count, set->looked_at);
    const int64_t again = sign_at(set->published);
    return life.changes_at < again ? life.changes_at : again;
}

static rpc_code tend_set(skm_state *state, skm__set *set, int64_t *due, rpc_status *reterr)
{
    const int64_t now = skm__now_s(state);
    const skm_keyset *published = set->published;
    const bool back = now < set->looked_at; /* the clock */
    const skm__edit edit = {.sign_again = published && (back || set->root != state->root.sequence ||
                                                           sign_at(published) <= now)};
    rpc_code code = RPC_OK;
    if (!published || back || edit.sign_again || due_at(set) <= now)
        code = skm__set_change(state, set, &edit, reterr);
    if (code == RPC_OK && due_at(set) < *due)
        *due = due_at(set);
    return code;
}

rpc_code skm_state_tend(skm_state *state, int64_t *ret_again_s, rpc_status *reterr)
{
    rpc_code worst = RPC_OK;
    const int64_t now = skm__now_s(state);
    int64_t due = now + AGAIN_S_MAX;
    pthread_mutex_lock(&state->change);
    for (size_t i = 0; i < state->service_count; i++)
        for (skm_purpose p = SKM_FOR_TOKENS; p <= SKM_FOR_MANIFESTS; p++) {
            skm__set *set = state->services[i]->sets[p];
            rpc_status why;
            const rpc_code code = set ? tend_set(state, set, &due, &why) : RPC_OK;
            if (code != RPC_OK)
                worst = rpc_status_set(reterr, code, "%s of '%s': %.250s", skm_purpose_name(p),
                    state->services[i]->name, why.message);
        }
    pthread_mutex_unlock(&state->change);
    atomic_store(&state->tended, worst == RPC_OK);
    *ret_again_s = due > now ? due - now : 1;
    return worst;
}

bool skm_state_tended(const skm_state *state)
{
    return atomic_load(&state->tended);
}
