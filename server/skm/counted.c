/* SPDX-License-Identifier: Apache-2.0 */
/* What delegated keys sign, as the audit trail knows it. A record for each signature would cost
 * more than the signature; so the trail is told before how many may follow, and afterwards how many
 * did. How many may follow is little in the beginning and doubles: what a crash leaves open is less
 * than twice what was made, or FEW and a half.
 *
 * Of a key: `granted` may be made since the trail was last told what was made, `left` of them are
 * not made yet. Who signs takes one of `left`; everything else is under the lock `telling`. */
#include "state_internal.h"

#define FEW  16u
#define MANY 4096u

/* ---- before -------------------------------------------------------------------------------------
 */

static void ask_for_more(const skm__set *set, const skm__key *key, skm_announce *ret)
{
    ret->needed = true;
    ret->purpose = set->purpose;
    memcpy(ret->service, set->service->name, sizeof ret->service);
    memcpy(ret->kid, key->kid, sizeof ret->kid);
}

bool skm__signature_claim(const skm__set *set, skm__key *key, skm_announce *ret)
{
    uint64_t left = atomic_load(&key->left);
    do {
        if (left == 0) {
            ask_for_more(set, key, ret);
            return false;
        }
    } while (!atomic_compare_exchange_weak(&key->left, &left, left - 1));
    if (left == atomic_load(&key->ask_at)) /* one of them asks, while there are some left */
        ask_for_more(set, key, ret);
    return true;
}

/* Locked for reading. */
static skm__key *find(
    const skm_state *state, const char *service, skm_purpose purpose, const char *kid)
{
    const skm__service *found = skm__service_find(state, service);
    const skm__set *set = found ? found->sets[purpose] : NULL;
    for (size_t i = 0; set && i < set->count; i++)
        if (strcmp(set->keys[i]->kid, kid) == 0)
            return set->keys[i];
    return NULL;
}

typedef struct growth {
    uint64_t more, up_to;
} growth;

/* more 0: another one has asked meanwhile, or the key is gone. */
static growth plan(skm_state *state, const skm_announce *what)
{
    growth g = {0};
    pthread_rwlock_rdlock(&state->lock);
    const skm__key *key = find(state, what->service, what->purpose, what->kid);
    if (key && atomic_load(&key->left) <= atomic_load(&key->ask_at)) {
        const uint64_t half = key->granted / 2;
        g.more = half < FEW ? FEW : half < MANY ? half : MANY;
        g.up_to = key->made + key->granted + g.more;
    }
    pthread_rwlock_unlock(&state->lock);
    return g;
}

static void grant(skm_state *state, const skm_announce *what, uint64_t more)
{
    pthread_rwlock_rdlock(&state->lock);
    skm__key *key = find(state, what->service, what->purpose, what->kid);
    if (key) {
        key->granted += more;
        atomic_store(&key->ask_at, more / 2);
        atomic_fetch_add(&key->left, more);
    }
    pthread_rwlock_unlock(&state->lock);
}

rpc_code skm_signatures_announce(
    skm_state *state, const skm_announce *what, skm_announce_fn *fn, void *ctx, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    pthread_mutex_lock(&state->telling);
    const growth g = plan(state, what);
    if (g.more > 0)
        code = fn(ctx, what, g.up_to, reterr);
    if (g.more > 0 && code == RPC_OK)
        grant(state, what, g.more);
    pthread_mutex_unlock(&state->telling);
    return code;
}

/* ---- afterwards ---------------------------------------------------------------------------------
 */

typedef struct untold {
    skm_signed what;
    uint64_t left;
} untold;

static bool take(const skm__set *set, skm__key *key, untold *ret)
{
    if (atomic_load(&key->left) == key->granted)
        return false;
    ret->left = atomic_exchange(&key->left, 0);
    ret->what.count = key->granted - ret->left;
    ret->what.made = key->made + ret->what.count;
    ret->what.purpose = set->purpose;
    memcpy(ret->what.service, set->service->name, sizeof ret->what.service);
    memcpy(ret->what.kid, key->kid, sizeof ret->what.kid);
    return true;
}

/* A key that has something to tell. Nobody signs with it until it is told or given back. */
static bool take_untold(skm_state *state, untold *ret)
{
    bool found = false;
    pthread_rwlock_rdlock(&state->lock);
    for (size_t i = 0; !found && i < state->service_count; i++)
        for (skm_purpose p = SKM_FOR_TOKENS; !found && p <= SKM_FOR_MANIFESTS; p++) {
            const skm__set *set = state->services[i]->sets[p];
            for (size_t k = 0; set && !found && k < set->count; k++)
                found = take(set, set->keys[k], ret);
        }
    pthread_rwlock_unlock(&state->lock);
    return found;
}

static void settle(skm_state *state, const untold *u, bool told)
{
    pthread_rwlock_rdlock(&state->lock);
    skm__key *key = find(state, u->what.service, u->what.purpose, u->what.kid);
    if (key && told) {
        key->made = u->what.made;
        key->granted = 0;
        atomic_store(&key->ask_at, 0);
    } else if (key)
        atomic_store(&key->left, u->left);
    pthread_rwlock_unlock(&state->lock);
}

void skm_signatures_tell(skm_state *state, skm_signed_fn *fn, void *ctx)
{
    untold u;
    bool told = true;
    pthread_mutex_lock(&state->telling);
    while (told && take_untold(state, &u)) {
        told = fn(ctx, &u.what);
        settle(state, &u, told);
    }
    pthread_mutex_unlock(&state->telling);
}
