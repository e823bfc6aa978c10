/* SPDX-License-Identifier: Apache-2.0 */
#include "trusted.h"

#include "cleanup.h"

#include <stdlib.h>

dacm_issuers *dacm_trust_issuers(dacm_trust *trust)
{
    pthread_rwlock_rdlock(&trust->lock);
    dacm_issuers *issuers = dacm_issuers_ref(trust->issuers);
    pthread_rwlock_unlock(&trust->lock);
    return issuers;
}

uint64_t dacm_trust_version(dacm_trust *trust)
{
    pthread_rwlock_rdlock(&trust->lock);
    uint64_t version = trust->issuers->version;
    pthread_rwlock_unlock(&trust->lock);
    return version;
}

static rpc_code load_signer(
    const host_values *settings, trust_signer **ret, char **ret_jwks, rpc_status *reterr)
{
    const char *path = host_string(settings, "signing.key_file");
    char *text = NULL;
    size_t size = 0;
    rpc_status why;
    rpc_code code = dacm_file_read(path, TRUST_JWKS_BYTES_MAX, &text, &size, reterr);
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
    dacm_file_done(text, size);
    return code == RPC_OK
               ? code
               : rpc_status_set(reterr, code, "'signing.key_file' (%s): %.300s", path, why.message);
}

rpc_code dacm_trust_load(dacm_trust *trust, const host_values *settings, rpc_status *reterr)
{
    dacm_issuers *issuers = NULL;
    trust_signer *signer = NULL;
    char *jwks = NULL;
    rpc_code code = dacm_issuers_load(settings, &issuers, reterr);
    if (code == RPC_OK)
        code = load_signer(settings, &signer, &jwks, reterr);
    if (code != RPC_OK) {
        dacm_issuers_unref(issuers);
        return code;
    }
    pthread_rwlock_wrlock(&trust->lock);
    dacm_issuers *old_issuers = trust->issuers;
    trust_signer *old_signer = trust->signer;
    char *old_jwks = trust->public_jwks;
    trust->issuers = issuers;
    trust->signer = signer;
    trust->public_jwks = jwks;
    pthread_rwlock_unlock(&trust->lock);
    dacm_issuers_unref(old_issuers);
    trust_signer_free(old_signer);
    free(old_jwks);
    return RPC_OK;
}
