/* SPDX-License-Identifier: Apache-2.0 */
#include "trusted.h"

#include "cleanup.h"
#include "program.h"
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

static rpc_code load_signer(
    const host_values *settings, trust_signer **ret, char **ret_jwks, rpc_status *reterr)
{
    const char *path = host_string(settings, "signing.key_file");
    char *text = NULL;
    size_t size = 0;
    rpc_status why;
    rpc_code code = program_key_file_read(
        "signing.key_file", path, TRUST_JWKS_BYTES_MAX, &text, &size, reterr);
    if (code != RPC_OK)
        return code;
    code = trust_signer_parse(rpc_bytes_of(text, size), TRUST_FOR_MANIFESTS, ret, &why);
    if (code == RPC_OK) {
        code = trust_jwks_public(rpc_bytes_of(text, size), ret_jwks, &why);
        if (code != RPC_OK) {
            trust_signer_free(*ret);
            *ret = NULL;
        }
    }
    program_file_done(text, size);
    return code == RPC_OK
               ? code
               : rpc_status_set(reterr, code, "'signing.key_file' (%s): %.300s", path, why.message);
}

/* What one reading of the files gives. */
typedef struct loaded {
    issuers_set *issuers;
    trust_signer *signer;
    char *jwks;
} loaded;

static void loaded_donep(loaded *l)
{
    issuers_unref(l->issuers);
    trust_signer_free(l->signer);
    free(l->jwks);
}

/* Whoever holds a key for both could make tokens of manifests. The files may not say for what
 * their keys are, so the keys themselves are compared. */
static rpc_code check_purposes(const loaded *l, rpc_status *reterr)
{
    for (size_t i = 0; i < l->issuers->count; i++)
        if (trust_signer_in(l->signer, l->issuers->issuers[i].keys))
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "'signing.key_file': key '%.40s' also signs tokens (of 'issuers[%zu]'); one "
                "key has one purpose: make another with `dacm pki`",
                trust_signer_kid(l->signer), i);
    return RPC_OK;
}

static rpc_code read_all(
    const host_values *settings, const char *audience, loaded *ret, rpc_status *reterr)
{
    rpc_code code = dacm_issuers_load(settings, audience, &ret->issuers, reterr);
    if (code == RPC_OK)
        code = load_signer(settings, &ret->signer, &ret->jwks, reterr);
    return code == RPC_OK ? check_purposes(ret, reterr) : code;
}

rpc_code dacm_trust_check(const host_values *settings, rpc_status *reterr)
{
    RPC_CLEANUP(loaded_donep) loaded l = {0};
    return read_all(settings, host_string(settings, "resource"), &l, reterr);
}

rpc_code dacm_trust_load(dacm_trust *trust, const host_values *settings, rpc_status *reterr)
{
    RPC_CLEANUP(loaded_donep) loaded l = {0};
    rpc_code code = read_all(settings, trust->audience, &l, reterr);
    if (code == RPC_OK)
        code = dacm_reports_attach(trust->reports, l.issuers, reterr);
    if (code == RPC_OK) { /* what was fetched before, beside the manifest key of now */
        issuers_fetcher_apply(trust->fetcher, l.issuers);
        code = check_purposes(&l, reterr);
    }
    if (code == RPC_OK)
        code = issuers_fetcher_configure(trust->fetcher, settings, reterr);
    if (code != RPC_OK)
        return code;
    pthread_rwlock_wrlock(&trust->lock);
    issuers_fetcher_apply(trust->fetcher, l.issuers); /* here: none that is fetched is missed */
    const loaded old = {trust->issuers, trust->signer, trust->public_jwks};
    trust->issuers = l.issuers;
    atomic_store_explicit(&trust->version, l.issuers->version, memory_order_release);
    trust->signer = l.signer;
    trust->public_jwks = l.jwks;
    pthread_rwlock_unlock(&trust->lock);
    l = old; /* freed on return */
    return RPC_OK;
}

bool dacm_trust_renew_keys(dacm_trust *trust)
{
    pthread_rwlock_wrlock(&trust->lock);
    issuers_set *old = trust->issuers, *renewed = issuers_copy(old);
    if (renewed) {
        issuers_fetcher_apply(trust->fetcher, renewed);
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
    const bool ours = trust->signer && trust_signer_in(trust->signer, ring);
    pthread_rwlock_unlock(&trust->lock);
    return ours ? rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                      "it holds the key that signs our manifests; one key has one purpose")
                : RPC_OK;
}
