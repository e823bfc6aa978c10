/* SPDX-License-Identifier: Apache-2.0 */
/* The lock guards which set is the one of now; a set lives until its last user gives it back. */
#include "keys.h"

#include "program.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct counted_set {
    sim_key_set set; /* first */
    atomic_uint refs;
    trust_signer *eddsa;
    trust_keyring *ring;
    char *public_jwks;
} counted_set;

struct sim_keys {
    char *path;
    pthread_mutex_t lock;
    counted_set *now;
    uint64_t version; /* of the ring: only one thread loads */
};

static void free_set(counted_set *set)
{
    if (!set)
        return;
    trust_signer_free(set->eddsa);
    trust_keyring_unref(set->ring);
    free(set->public_jwks);
    free(set);
}

static rpc_code parse(counted_set *set, rpc_bytes jwks, uint64_t version, rpc_status *reterr)
{
    rpc_code code = trust_signer_parse(jwks, TRUST_FOR_TOKENS, &set->eddsa, reterr);
    if (code == RPC_OK)
        code = trust_jwks_public(jwks, &set->public_jwks, reterr);
    if (code == RPC_OK)
        code = trust_keyring_parse(
            rpc_bytes_str(set->public_jwks), TRUST_FOR_TOKENS, version, &set->ring, reterr);
    set->set = (sim_key_set){
        .eddsa = set->eddsa, .ring = set->ring, .public_jwks = set->public_jwks};
    return code;
}

static rpc_code load(const char *path, uint64_t version, counted_set **ret, rpc_status *reterr)
{
    char *text = NULL;
    size_t size = 0;
    rpc_status why;
    counted_set *set = calloc(1, sizeof *set);
    if (!set)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "'keys.file': no memory");
    atomic_init(&set->refs, 1);
    rpc_code code = program_key_file_read(
        "keys.file", path, TRUST_JWKS_BYTES_MAX, &text, &size, reterr);
    if (code == RPC_OK) {
        code = parse(set, rpc_bytes_of(text, size), version, &why);
        if (code != RPC_OK)
            rpc_status_set(reterr, code, "'keys.file' (%.200s): %.300s", path, why.message);
    }
    program_file_done(text, size);
    if (code == RPC_OK)
        *ret = set;
    else
        free_set(set);
    return code;
}

rpc_code sim_keys_open(const char *path, sim_keys **ret, rpc_status *reterr)
{
    sim_keys *keys = calloc(1, sizeof *keys);
    char *copy = strdup(path);
    if (!keys || !copy) {
        free(keys);
        free(copy);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "'keys.file': no memory");
    }
    keys->path = copy;
    pthread_mutex_init(&keys->lock, NULL);
    const rpc_code code = load(path, ++keys->version, &keys->now, reterr);
    if (code == RPC_OK)
        *ret = keys;
    else
        sim_keys_close(keys);
    return code;
}

rpc_code sim_keys_reload(sim_keys *keys, rpc_status *reterr)
{
    counted_set *set = NULL;
    const rpc_code code = load(keys->path, ++keys->version, &set, reterr);
    if (code != RPC_OK)
        return code;
    pthread_mutex_lock(&keys->lock);
    counted_set *old = keys->now;
    keys->now = set;
    pthread_mutex_unlock(&keys->lock);
    sim_key_set_unref(&old->set);
    return RPC_OK;
}

void sim_keys_close(sim_keys *keys)
{
    if (!keys)
        return;
    if (keys->now)
        sim_key_set_unref(&keys->now->set);
    pthread_mutex_destroy(&keys->lock);
    free(keys->path);
    free(keys);
}

const sim_key_set *sim_keys_now(sim_keys *keys)
{
    pthread_mutex_lock(&keys->lock);
    counted_set *set = keys->now;
    atomic_fetch_add(&set->refs, 1);
    pthread_mutex_unlock(&keys->lock);
    return &set->set;
}

void sim_key_set_unref(const sim_key_set *set)
{
    counted_set *counted = (counted_set *)(uintptr_t)set;
    if (counted && atomic_fetch_sub(&counted->refs, 1) == 1)
        free_set(counted);
}
