/* SPDX-License-Identifier: Apache-2.0 */
#include "skmc_internal.h"

#include "cleanup.h"

#include <stdlib.h>
#include <string.h>

struct skmc_keys {
    atomic_uint refs;
    trust_signers *signers;
    trust_keyring *ring;
    char *jwks;
};

static void json_freep(json_t **json)
{
    json_decref(*json);
}

/* Of tokens, what must not be verified with any more is left out: an issuer's set is read by those
 * who know nothing of dacm_state. Manifests are verified by clients that do, and that must tell a
 * compromised key from one that they have not heard of. */
static bool is_published(const json_t *jwk, trust_purpose purpose)
{
    const char *state = json_string_value(json_object_get(jwk, "dacm_state"));
    return purpose != TRUST_FOR_TOKENS || !state ||
           (strcmp(state, "compromised") != 0 && strcmp(state, "retired") != 0);
}

static char *publishable(const char *jwks, trust_purpose purpose)
{
    RPC_CLEANUP(json_freep) json_t *all = json_loads(jwks, 0, NULL);
    RPC_CLEANUP(json_freep) json_t *some = json_array();
    const json_t *keys = json_object_get(all, "keys");
    for (size_t i = 0; some && i < json_array_size(keys); i++)
        if (is_published(json_array_get(keys, i), purpose) &&
            json_array_append(some, json_array_get(keys, i)) != 0)
            return NULL;
    RPC_CLEANUP(json_freep) json_t *set = some ? json_pack("{s:O}", "keys", some) : NULL;
    return set ? json_dumps(set, JSON_INDENT(2)) : NULL;
}

rpc_code skmc__keys_new(trust_signers *signers, trust_keyring *ring, const char *jwks,
    skmc_keys **ret, rpc_status *reterr)
{
    skmc_keys *keys = calloc(1, sizeof *keys);
    char *published = publishable(jwks, trust_keyring_purpose(ring));
    if (!keys || !published) {
        free(keys);
        free(published);
        return skmc__no_memory(reterr);
    }
    atomic_init(&keys->refs, 1);
    keys->signers = signers;
    keys->ring = ring;
    keys->jwks = published;
    *ret = keys;
    return RPC_OK;
}

rpc_code skmc_keys_parse(rpc_bytes private_jwks, trust_purpose purpose, uint64_t version,
    skmc_keys **ret, rpc_status *reterr)
{
    trust_signers *signers = NULL;
    trust_keyring *ring = NULL;
    RPC_AUTOFREE char *jwks = NULL;
    rpc_code code = trust_signers_parse(private_jwks, purpose, &signers, reterr);
    if (code == RPC_OK)
        code = trust_jwks_public(private_jwks, &jwks, reterr);
    if (code == RPC_OK)
        code = trust_keyring_parse(rpc_bytes_str(jwks), purpose, version, &ring, reterr);
    if (code == RPC_OK)
        code = skmc__keys_new(signers, ring, jwks, ret, reterr);
    if (code != RPC_OK) {
        trust_signers_free(signers);
        trust_keyring_unref(ring);
    }
    return code;
}

skmc_keys *skmc_keys_ref(skmc_keys *keys)
{
    atomic_fetch_add_explicit(&keys->refs, 1, memory_order_relaxed);
    return keys;
}

void skmc_keys_unref(skmc_keys *keys)
{
    if (!keys || atomic_fetch_sub_explicit(&keys->refs, 1, memory_order_acq_rel) != 1)
        return;
    trust_signers_free(keys->signers);
    trust_keyring_unref(keys->ring);
    free(keys->jwks);
    free(keys);
}

const trust_signer *skmc_keys_signer(const skmc_keys *keys, trust_alg alg, int64_t time)
{
    return trust_signers_find(keys->signers, alg, time);
}

const trust_keyring *skmc_keys_ring(const skmc_keys *keys)
{
    return keys->ring;
}

const char *skmc_keys_jwks(const skmc_keys *keys)
{
    return keys->jwks;
}

bool skmc_keys_serves(const skmc_keys *keys, const char *kid)
{
    const trust_key *key = trust_keyring_find(keys->ring, rpc_bytes_str(kid));
    const trust_key_state state = key ? trust_key_get_state(key) : TRUST_KEY_COMPROMISED;
    return state == TRUST_KEY_ACTIVE || state == TRUST_KEY_VERIFY_ONLY;
}

const char *skmc_keys_in(const skmc_keys *keys, const trust_keyring *ring)
{
    for (size_t i = 0; i < trust_keyring_count(keys->ring); i++) {
        const trust_key *key = trust_keyring_at(keys->ring, i);
        if (trust_key_in(key, ring))
            return trust_key_kid(key);
    }
    return NULL;
}
