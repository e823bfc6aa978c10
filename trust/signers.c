/* SPDX-License-Identifier: Apache-2.0 */
/* The private keys of an issuer: which of them signs, which of them are published. */
#include "trust_internal.h"

#include "cleanup.h"

#include <stdio.h>
#include <string.h>

struct trust_signers {
    size_t count;
    trust_signer *keys[TRUST_KEYS_MAX];
};

static void json_freep(json_t **json)
{
    json_decref(*json);
}

static void signers_freep(trust_signers **signers)
{
    trust_signers_free(*signers);
}

static bool same_key(const trust_signer *a, const trust_signer *b)
{
    trust_key other = b->key;
    other.pkey = b->pair; /* borrowed for the comparison */
    return trust__signer_is_key(a, &other);
}

static rpc_code judge_unique(
    const trust_signers *set, const trust_signer *signer, rpc_status *reterr)
{
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->keys[i]->key.kid, signer->key.kid) == 0)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "trust: key '%.128s' is there twice", signer->key.kid);
        if (same_key(set->keys[i], signer))
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "trust: keys '%.128s' and '%.128s' are one key under two names",
                set->keys[i]->key.kid, signer->key.kid);
    }
    return RPC_OK;
}

/* Takes signer, on success. */
static rpc_code add_signer(trust_signers *set, trust_signer *signer, rpc_status *reterr)
{
    if (set->count == TRUST_KEYS_MAX)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "trust: more than %d keys in a set", TRUST_KEYS_MAX);
    const rpc_code code = judge_unique(set, signer, reterr);
    if (code == RPC_OK)
        set->keys[set->count++] = signer;
    return code;
}

static rpc_code add(
    trust_signers *set, const json_t *jwk, trust_purpose purpose, rpc_status *reterr)
{
    trust_signer *signer = NULL;
    rpc_code code = trust__signer_read(jwk, purpose, &signer, reterr);
    if (code == RPC_OK)
        code = add_signer(set, signer, reterr);
    if (code != RPC_OK)
        trust_signer_free(signer);
    return code;
}

static rpc_code new_set(trust_signers **ret, rpc_status *reterr)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? RPC_OK
                : rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "trust: no memory for a key set");
}

rpc_code trust_signers_of(
    trust_signer *const *signers, size_t count, trust_signers **ret, rpc_status *reterr)
{
    trust_signers *set = NULL;
    rpc_code code = new_set(&set, reterr);
    for (size_t i = 0; code == RPC_OK && i < count; i++)
        code = add_signer(set, signers[i], reterr);
    if (code == RPC_OK)
        *ret = set;
    else
        free(set); /* they stay the caller's */
    return code;
}

rpc_code trust_signers_parse(
    rpc_bytes private_jwks, trust_purpose purpose, trust_signers **ret, rpc_status *reterr)
{
    RPC_CLEANUP(json_freep)
    json_t *json = trust_json_parse(private_jwks, TRUST_JWKS_BYTES_MAX, "the key set", reterr);
    if (!json)
        return RPC_INVALID_ARGUMENT;
    const json_t *keys = json_object_get(json, "keys");
    if (!json_is_object(json) || (keys && !json_is_array(keys)))
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "trust: a key set is {\"keys\": [ … ]}, or one key");
    RPC_CLEANUP(signers_freep) trust_signers *set = NULL;
    rpc_code code = new_set(&set, reterr);
    if (code == RPC_OK && !keys)
        code = add(set, json, purpose, reterr);
    for (size_t i = 0; code == RPC_OK && i < json_array_size(keys); i++)
        code = add(set, json_array_get(keys, i), purpose, reterr);
    if (code == RPC_OK && set->count == 0)
        code = rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "trust: the key set has no key; make one");
    if (code == RPC_OK)
        *ret = RPC_TAKE(set);
    return code;
}

void trust_signers_free(trust_signers *signers)
{
    for (size_t i = 0; signers && i < signers->count; i++)
        trust_signer_free(signers->keys[i]);
    free(signers);
}

size_t trust_signers_count(const trust_signers *signers)
{
    return signers->count;
}

static int64_t signs_from(const trust_key *key)
{
    return key->signs_from ? key->signs_from : key->not_before;
}

const trust_signer *trust_signers_find(const trust_signers *signers, trust_alg alg, int64_t time)
{
    const trust_signer *best = NULL;
    for (size_t i = 0; i < signers->count; i++) {
        const trust_signer *signer = signers->keys[i];
        const trust_key *key = &signer->key;
        if (key->alg == alg && key->state == TRUST_KEY_ACTIVE && trust_key_signs_at(key, time) &&
            time >= signs_from(key) && (!best || signs_from(key) > signs_from(&best->key)))
            best = signer;
    }
    return best;
}

/* `text` grows by more; false when memory is short. */
static bool append(char **text, size_t *size, const char *more)
{
    const size_t length = strlen(more);
    char *grown = realloc(*text, *size + length + 1);
    if (!grown)
        return false;
    memcpy(grown + *size, more, length + 1);
    *text = grown;
    *size += length;
    return true;
}

char *trust_signers_public_jwks(const trust_signers *signers)
{
    RPC_AUTOFREE char *text = NULL;
    size_t size = 0;
    const char *separator = "";
    bool ok = append(&text, &size, "{\"keys\": [");
    for (size_t i = 0; ok && i < signers->count; i++) {
        const trust_key_state state = signers->keys[i]->key.state;
        if (state == TRUST_KEY_RETIRED || state == TRUST_KEY_COMPROMISED)
            continue;
        RPC_AUTOFREE char *jwk = trust__signer_jwk(signers->keys[i], false);
        ok = jwk && append(&text, &size, separator) && append(&text, &size, jwk);
        separator = ",\n  ";
    }
    return ok && append(&text, &size, "]}\n") ? RPC_TAKE(text) : NULL;
}
