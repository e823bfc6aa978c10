/* SPDX-License-Identifier: Apache-2.0 */
/* libdacm's side of trust/: the key set and what a manifest says. */
#include "client_internal.h"

#include "cleanup.h"
#include "trust.h"

#include <stdio.h>
#include <string.h>

struct client_keys {
    trust_keyring *ring;
};

dacm_code client__keys_load(const char *file, client_keys **ret, dacm_error *reterr)
{
    RPC_AUTOFREE char *text = NULL;
    size_t size = 0;
    rpc_status status;
    dacm_code code = client__read_file(file, TRUST_JWKS_BYTES_MAX, &text, &size, reterr);
    if (code != DACM_OK)
        return code;
    client_keys *keys = calloc(1, sizeof *keys);
    if (!keys)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for the key set");
    if (trust_keyring_parse(
            rpc_bytes_of(text, size), TRUST_FOR_MANIFESTS, 1, &keys->ring, &status) != RPC_OK) {
        free(keys);
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "'%.200s' is no set of manifest keys: %s", file, status.message);
    }
    *ret = keys;
    return DACM_OK;
}

dacm_code client__keys_trusted(const dacm_trust *trust, const char *service, bool take_expired,
    client_keys **ret, bool *ret_expired, dacm_error *reterr)
{
    client_keys *keys = calloc(1, sizeof *keys);
    if (!keys)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for the key set");
    const dacm_code code = dacm_trust_keys(
        trust, service, DACM_KEYS_FOR_MANIFESTS, take_expired, &keys->ring, ret_expired, reterr);
    if (code == DACM_OK)
        *ret = keys;
    else
        free(keys);
    return code;
}

dacm_code client__manifest_issuer(rpc_bytes jws, char ret[256], dacm_error *reterr)
{
    trust_manifest manifest;
    rpc_status status;
    if (trust_manifest_verify(jws, NULL, &manifest, &status) == TRUST_INVALID)
        return client__fail(
            reterr, DACM_BAD_SIGNATURE, "the manifest is not valid: %s", status.message);
    snprintf(ret, 256, "%s", manifest.issuer);
    return DACM_OK;
}

void client__keys_free(client_keys *keys)
{
    if (!keys)
        return;
    trust_keyring_unref(keys->ring);
    free(keys);
}

static void fill(dacm_manifest *said, const trust_manifest *manifest)
{
    *said = (dacm_manifest){
        .version = manifest->version,
        .size = manifest->size,
        .issued_at = manifest->issued_at,
        .expires_at = manifest->expires_at,
    };
    snprintf(said->asset_id, sizeof said->asset_id, "%s", manifest->asset_id);
    snprintf(said->media_type, sizeof said->media_type, "%s", manifest->media_type);
    snprintf(said->issuer, sizeof said->issuer, "%s", manifest->issuer);
    snprintf(said->kid, sizeof said->kid, "%.*s", (int)sizeof said->kid - 1, manifest->kid);
    memcpy(said->sha256, manifest->sha256, sizeof said->sha256);
    said->has_source = manifest->has_source;
    memcpy(said->source_sha256, manifest->source_sha256, sizeof said->source_sha256);
    snprintf(said->recipe, sizeof said->recipe, "%s", manifest->recipe);
    snprintf(said->figures, sizeof said->figures, "%s", manifest->figures);
    snprintf(said->licence, sizeof said->licence, "%s", manifest->licence);
}

dacm_code client__manifest_read(const client_keys *keys, const char *issuer, dacm_verify verify,
    rpc_bytes jws, int64_t now_s, client_manifest *ret, dacm_error *reterr)
{
    trust_manifest manifest;
    rpc_status status;
    trust_verdict verdict = trust_manifest_verify(
        jws, keys ? keys->ring : NULL, &manifest, &status);
    if (verdict == TRUST_INVALID)
        return client__fail(
            reterr, DACM_BAD_SIGNATURE, "the manifest is not valid: %s", status.message);
    if (verdict == TRUST_NO_KEY && verify != DACM_VERIFY_IF_KEY)
        return client__fail(reterr, DACM_NO_KEY,
            keys ? "the manifest's key is not in the trusted set; get the server's public keys "
                   "from a source that you trust"
                 : "there is no set of trusted manifest keys; give one (keys_file, --keys)");
    if (issuer && strcmp(issuer, manifest.issuer) != 0)
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "the manifest is of issuer '%.200s', not of the one that was asked", manifest.issuer);
    char *copy = malloc(jws.size + 1);
    if (!copy)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a manifest");
    memcpy(copy, jws.data, jws.size);
    copy[jws.size] = '\0';
    *ret = (client_manifest){.signature_valid = verdict == TRUST_VALID,
        .expired = now_s > manifest.expires_at,
        .jws = copy};
    fill(&ret->said, &manifest);
    memcpy(ret->chunks, manifest.chunks_sha256, sizeof ret->chunks);
    return DACM_OK;
}

void client__manifest_done(client_manifest *manifest)
{
    free(manifest->jws);
    manifest->jws = NULL;
}
