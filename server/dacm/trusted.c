/* SPDX-License-Identifier: Apache-2.0 */
#include "trusted.h"

#include "cleanup.h"
#include "program.h"
#include "settings.h"
#include "sims.h"

#include <stdlib.h>

issuers_set *dacm_trust_issuers(dacm_trust *trust)
{
    pthread_rwlock_rdlock(&trust->lock);
    issuers_set *issuers = issuers_ref(trust->issuers);
    pthread_rwlock_unlock(&trust->lock);
    return issuers;
}

uint64_t dacm_trust_version(dacm_trust *trust)
{
    return atomic_load_explicit(&trust->version, memory_order_acquire);
}

skmc_keys *dacm_trust_keys(dacm_trust *trust)
{
    pthread_rwlock_rdlock(&trust->lock);
    skmc_keys *keys = trust->keys ? skmc_keys_ref(trust->keys) : NULL;
    pthread_rwlock_unlock(&trust->lock);
    return keys;
}

static bool from_file(const host_values *settings)
{
    return host_enum(settings, "signing.source") == DACM_KEYS_OF_FILE;
}

static rpc_code load_keys(const host_values *settings, skmc_keys **ret, rpc_status *reterr)
{
    const char *path = host_string(settings, "signing.key_file");
    char *text = NULL;
    size_t size = 0;
    rpc_status why;
    skmc_keys *keys = NULL;
    rpc_code code = program_key_file_read(
        "signing.key_file", path, TRUST_JWKS_BYTES_MAX, &text, &size, reterr);
    if (code != RPC_OK)
        return code;
    code = skmc_keys_parse(
        rpc_bytes_of(text, size), TRUST_FOR_MANIFESTS, issuers_next_version(), &keys, &why);
    program_file_done(text, size);
    if (code == RPC_OK &&
        !skmc_keys_signer(keys, TRUST_ALG_EDDSA, rpc_clock_wall_ms(rpc_clock_system()) / 1000))
        code = rpc_status_set(
            &why, RPC_INVALID_ARGUMENT, "no key of the private set is active now");
    if (code == RPC_OK) {
        *ret = keys;
        return RPC_OK;
    }
    skmc_keys_unref(keys);
    return rpc_status_set(reterr, code, "'signing.key_file' (%s): %.300s", path, why.message);
}

/* What one reading of the files gives. */
typedef struct loaded {
    issuers_set *issuers;
    skmc_keys *keys; /* NULL: they come from the SKM-S */
} loaded;

static void loaded_donep(loaded *l)
{
    issuers_unref(l->issuers);
    skmc_keys_unref(l->keys);
}

/* Whoever holds a key for both could make tokens of manifests. The files may not say for what
 * their keys are, so the keys themselves are compared. */
static rpc_code check_purposes(const loaded *l, rpc_status *reterr)
{
    for (size_t i = 0; l->keys && i < l->issuers->count; i++) {
        const char *kid = skmc_keys_in(l->keys, l->issuers->issuers[i].keys);
        if (kid)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "'signing.key_file': key '%.40s' also signs tokens (of 'issuers[%zu]'); one "
                "key has one purpose: make another with `dacm pki`",
                kid, i);
    }
    return RPC_OK;
}

static rpc_code read_all(
    const host_values *settings, const char *audience, loaded *ret, rpc_status *reterr)
{
    rpc_code code = dacm_issuers_load(settings, audience, &ret->issuers, reterr);
    if (code == RPC_OK && from_file(settings))
        code = load_keys(settings, &ret->keys, reterr);
    return code == RPC_OK ? check_purposes(ret, reterr) : code;
}

rpc_code dacm_trust_check(const host_values *settings, rpc_status *reterr)
{
    RPC_CLEANUP(loaded_donep) loaded l = {0};
    rpc_code code = read_all(settings, host_string(settings, "resource"), &l, reterr);
    if (code == RPC_OK && skmc_configured(settings))
        code = skmc_files_check(settings, reterr);
    return code;
}

/* Rings that are watched or fetched, into a snapshot that is not published yet. */
static void apply_rings(dacm_trust *trust, issuers_set *issuers)
{
    issuers_fetcher_apply(trust->fetcher, issuers);
    for (size_t i = 0; i < issuers->count; i++) {
        if (!issuers->rules[i].watched)
            continue;
        trust_keyring *ring = trust->skms ? skmc_ring(trust->skms, issuers->issuers[i].issuer)
                                          : NULL;
        if (!ring) /* none has come, or the last one has expired */
            ring = issuers_no_keys();
        if (ring)
            issuers_set_keys(issuers, i, ring);
    }
}

rpc_code dacm_trust_load(dacm_trust *trust, const host_values *settings, rpc_status *reterr)
{
    RPC_CLEANUP(loaded_donep) loaded l = {0};
    rpc_code code = read_all(settings, trust->audience, &l, reterr);
    if (code == RPC_OK && (trust->from_skms || !l.keys)) {
        skmc_keys_unref(l.keys);
        l.keys = dacm_trust_keys(trust); /* those of now */
    }
    if (code == RPC_OK) { /* what was fetched before, beside the manifest key of now */
        apply_rings(trust, l.issuers);
        code = check_purposes(&l, reterr);
    }
    if (code == RPC_OK)
        code = dacm_reports_attach(trust->reports, l.issuers, reterr);
    if (code == RPC_OK)
        code = issuers_fetcher_configure(trust->fetcher, settings, reterr);
    if (code != RPC_OK)
        return code;
    pthread_rwlock_wrlock(&trust->lock);
    apply_rings(trust, l.issuers); /* here: none that is fetched is missed */
    loaded old = l;                /* of the SKM-S's keys, newer ones may have come */
    old.issuers = trust->issuers;
    trust->issuers = l.issuers;
    atomic_store_explicit(&trust->version, l.issuers->version, memory_order_release);
    if (!trust->from_skms) {
        old.keys = trust->keys;
        trust->keys = l.keys;
    }
    pthread_rwlock_unlock(&trust->lock);
    l = old; /* freed on return */
    return RPC_OK;
}

void dacm_trust_take_keys(dacm_trust *trust, skmc_keys *keys)
{
    pthread_rwlock_wrlock(&trust->lock);
    skmc_keys *old = trust->keys;
    trust->keys = keys;
    pthread_rwlock_unlock(&trust->lock);
    skmc_keys_unref(old);
}

rpc_code dacm_trust_judge_own(dacm_trust *trust, const trust_keyring *ring, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    pthread_rwlock_rdlock(&trust->lock);
    for (size_t i = 0; code == RPC_OK && i < trust->issuers->count; i++)
        for (size_t k = 0; code == RPC_OK && k < trust_keyring_count(ring); k++)
            if (trust_key_in(trust_keyring_at(ring, k), trust->issuers->issuers[i].keys))
                code = rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                    "key '%.40s' also signs tokens (of 'issuers[%zu]'); one key has one purpose",
                    trust_key_kid(trust_keyring_at(ring, k)), i);
    pthread_rwlock_unlock(&trust->lock);
    return code;
}

bool dacm_trust_renew_keys(dacm_trust *trust)
{
    pthread_rwlock_wrlock(&trust->lock);
    issuers_set *old = trust->issuers, *renewed = issuers_copy(old);
    if (renewed) {
        apply_rings(trust, renewed);
        trust->issuers = renewed;
        atomic_store_explicit(&trust->version, renewed->version, memory_order_release);
    }
    pthread_rwlock_unlock(&trust->lock);
    if (renewed)
        issuers_unref(old);
    return renewed != NULL;
}

rpc_code dacm_trust_judge_keys(dacm_trust *trust, const trust_keyring *ring, rpc_status *reterr)
{
    pthread_rwlock_rdlock(&trust->lock);
    const bool ours = trust->keys && skmc_keys_in(trust->keys, ring);
    pthread_rwlock_unlock(&trust->lock);
    return ours ? rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                      "it holds the key that signs our manifests; one key has one purpose")
                : RPC_OK;
}
