/* SPDX-License-Identifier: Apache-2.0 */
/* The lock guards which set is the one of now; a set lives until its last user gives it back. Keys
 * have windows: when the next one's begins, a new set of the same file takes its place. */
#include "keys.h"

#include "program.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* What one reading of the file gives; or what the SKM-S says. */
typedef struct loaded {
    atomic_uint refs;
    skmc_keys *skms; /* NULL: of a file, or none */
    trust_signers *signers;
    trust_keyring *ring;
    char *public_jwks;
} loaded;

typedef struct counted_set {
    sim_key_set set; /* first */
    atomic_uint refs;
    loaded *from;
} counted_set;

struct sim_keys {
    char *path; /* NULL: of the SKM-S */
    pthread_mutex_t lock;
    counted_set *now;
    uint64_t version; /* of the ring: only one thread loads */
};

static rpc_code no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "'keys.file': no memory");
}

static void unref_loaded(loaded *l)
{
    if (!l || atomic_fetch_sub(&l->refs, 1) != 1)
        return;
    skmc_keys_unref(l->skms);
    trust_signers_free(l->signers);
    trust_keyring_unref(l->ring);
    free(l->public_jwks);
    free(l);
}

static rpc_code parse(loaded *l, rpc_bytes jwks, uint64_t version, rpc_status *reterr)
{
    rpc_code code = trust_signers_parse(jwks, TRUST_FOR_TOKENS, &l->signers, reterr);
    if (code != RPC_OK)
        return code;
    l->public_jwks = trust_signers_public_jwks(l->signers);
    return l->public_jwks ? trust_keyring_parse(rpc_bytes_str(l->public_jwks), TRUST_FOR_TOKENS,
                                version, &l->ring, reterr)
                          : no_memory(reterr);
}

static rpc_code load_file(const char *path, uint64_t version, loaded **ret, rpc_status *reterr)
{
    char *text = NULL;
    size_t size = 0;
    rpc_status why;
    loaded *l = calloc(1, sizeof *l);
    if (!l)
        return no_memory(reterr);
    atomic_init(&l->refs, 1);
    rpc_code code = program_key_file_read(
        "keys.file", path, TRUST_JWKS_BYTES_MAX, &text, &size, reterr);
    if (code == RPC_OK) {
        code = parse(l, rpc_bytes_of(text, size), version, &why);
        if (code != RPC_OK)
            rpc_status_set(reterr, code, "'keys.file' (%.200s): %.300s", path, why.message);
    }
    program_file_done(text, size);
    if (code == RPC_OK)
        *ret = l;
    else
        unref_loaded(l);
    return code;
}

static int64_t now_s(void)
{
    return rpc_clock_wall_ms(rpc_clock_system()) / 1000;
}

static const trust_signer *signer_at(const loaded *l, trust_alg alg, int64_t time)
{
    if (l->skms)
        return skmc_keys_signer(l->skms, alg, time);
    return l->signers ? trust_signers_find(l->signers, alg, time) : NULL;
}

/* Who signs at that time; NULL without memory. Takes a reference to l. */
static counted_set *set_at(loaded *l, int64_t time)
{
    counted_set *set = calloc(1, sizeof *set);
    if (!set)
        return NULL;
    atomic_init(&set->refs, 1);
    atomic_fetch_add(&l->refs, 1);
    set->from = l;
    set->set = (sim_key_set){.eddsa = signer_at(l, TRUST_ALG_EDDSA, time),
        .rs256 = signer_at(l, TRUST_ALG_RS256, time),
        .ring = l->skms ? skmc_keys_ring(l->skms) : l->ring,
        .public_jwks = l->skms ? skmc_keys_jwks(l->skms) : l->public_jwks,
        .skms = l->skms};
    return set;
}

static rpc_code load(const char *path, uint64_t version, counted_set **ret, rpc_status *reterr)
{
    loaded *l = NULL;
    rpc_code code = load_file(path, version, &l, reterr);
    if (code != RPC_OK)
        return code;
    counted_set *set = set_at(l, now_s());
    unref_loaded(l);
    if (!set)
        return no_memory(reterr);
    if (!set->set.eddsa) {
        sim_key_set_unref(&set->set);
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'keys.file' (%.200s): no Ed25519 key in it is active now; `dacm pki keys DIR token "
            "--for token` makes one",
            path);
    }
    *ret = set;
    return RPC_OK;
}

rpc_code sim_keys_open(const char *path, sim_keys **ret, rpc_status *reterr)
{
    sim_keys *keys = calloc(1, sizeof *keys);
    char *copy = strdup(path);
    if (!keys || !copy) {
        free(keys);
        free(copy);
        return no_memory(reterr);
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

static void replace(sim_keys *keys, counted_set *set)
{
    pthread_mutex_lock(&keys->lock);
    counted_set *old = keys->now;
    keys->now = set;
    pthread_mutex_unlock(&keys->lock);
    sim_key_set_unref(&old->set);
}

rpc_code sim_keys_reload(sim_keys *keys, rpc_status *reterr)
{
    counted_set *set = NULL;
    const rpc_code code = load(keys->path, ++keys->version, &set, reterr);
    if (code == RPC_OK)
        replace(keys, set);
    return code;
}

/* ---- of the SKM-S ---------------------------------------------------------------------------- */

static loaded *no_keys(void)
{
    static const char none[] = "{\"keys\":[]}";
    loaded *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    atomic_init(&l->refs, 1);
    l->public_jwks = strdup(none);
    if (l->public_jwks &&
        trust_keyring_parse(rpc_bytes_str(none), TRUST_FOR_TOKENS, 0, &l->ring, NULL) == RPC_OK)
        return l;
    unref_loaded(l);
    return NULL;
}

/* Takes the reference to from. */
static counted_set *set_of_skms(skmc_keys *from)
{
    loaded *l = from ? calloc(1, sizeof *l) : no_keys();
    if (!l) {
        skmc_keys_unref(from);
        return NULL;
    }
    if (from) {
        atomic_init(&l->refs, 1);
        l->skms = from;
    }
    counted_set *set = set_at(l, now_s());
    unref_loaded(l);
    return set;
}

rpc_code sim_keys_of_skms(sim_keys **ret, rpc_status *reterr)
{
    sim_keys *keys = calloc(1, sizeof *keys);
    if (!keys)
        return no_memory(reterr);
    pthread_mutex_init(&keys->lock, NULL);
    keys->now = set_of_skms(NULL);
    if (!keys->now) {
        sim_keys_close(keys);
        return no_memory(reterr);
    }
    *ret = keys;
    return RPC_OK;
}

bool sim_keys_take(sim_keys *keys, skmc_keys *from)
{
    counted_set *set = set_of_skms(from);
    if (set)
        replace(keys, set);
    return set != NULL;
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

/* Locked. Has the window of another key begun, or ended? A file's key whose successor is missing
 * goes on; with one of the SKM-S nobody signs beyond what verifiers were told. */
static counted_set *turn(counted_set *set)
{
    const int64_t time = now_s();
    const trust_signer *eddsa = signer_at(set->from, TRUST_ALG_EDDSA, time);
    const trust_signer *rs256 = signer_at(set->from, TRUST_ALG_RS256, time);
    if ((!eddsa && !set->from->skms) || (eddsa == set->set.eddsa && rs256 == set->set.rs256))
        return set;
    counted_set *next = set_at(set->from, time);
    if (!next)
        return set;
    sim_key_set_unref(&set->set);
    return next;
}

const sim_key_set *sim_keys_now(sim_keys *keys)
{
    pthread_mutex_lock(&keys->lock);
    counted_set *set = keys->now = turn(keys->now);
    atomic_fetch_add(&set->refs, 1);
    pthread_mutex_unlock(&keys->lock);
    return &set->set;
}

void sim_key_set_unref(const sim_key_set *set)
{
    counted_set *counted = (counted_set *)(uintptr_t)set;
    if (!counted || atomic_fetch_sub(&counted->refs, 1) != 1)
        return;
    unref_loaded(counted->from);
    free(counted);
}
