/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest of a version: kept with it, signed again with a quarter of its life left. */
#include "dacm_internal.h"

#include "changes.h"

#include <stdlib.h>
#include <string.h>

typedef struct keeping {
    dacm_service *service;
} keeping;

/* What could not be kept is signed again next time. */
static void kept(void *arg, const rpc_status *status, uint64_t generation)
{
    (void)generation;
    keeping *k = arg;
    if (status->code != RPC_OK)
        dacm_log_store_failure(k->service, "keeping a manifest", status);
    free(k);
}

static void put_digest(
    dacm_changes *changes, const char *jws, const uint8_t version[8], bool remove)
{
    uint8_t sha256[DACM_DIGEST_BYTES];
    trust_sha256(rpc_bytes_str(jws), sha256);
    host_key item = dacm_key_manifest_digest(sha256);
    if (remove)
        dacm_changes_delete(changes, item);
    else
        dacm_changes_put_bytes(changes, item, rpc_bytes_of(version, 8));
}

/* Apart from the asset's own group, so that signing changes no generation. The digest of the one
 * before goes: who holds it names chunks instead. */
static void keep(dacm_service *service, const dacm_object *object, const char *before,
    const char *jws, const char *kid, const trust_manifest *manifest)
{
    Dacm__Records__Manifest record = DACM__RECORDS__MANIFEST__INIT;
    keeping *k = malloc(sizeof *k);
    if (!k)
        return;
    k->service = service;
    record.jws = (char *)(uintptr_t)jws;
    record.kid = (char *)(uintptr_t)kid;
    record.iat = manifest->issued_at;
    record.exp = manifest->expires_at;
    uint8_t version[8];
    for (int i = 0; i < 8; i++)
        version[i] = (uint8_t)(object->version >> (56 - 8 * i));
    dacm_changes changes = {0};
    if (before)
        put_digest(&changes, before, version, true);
    put_digest(&changes, jws, version, false);
    dacm_changes_put(&changes, dacm_key_manifest(object->version), &record.base);
    dacm_changes_apply(&changes, service->store, NULL, dacm_key_manifests(object->asset_id),
        STORE_ANY_GENERATION, kept, k);
}

static trust_manifest describe(const dacm_service *service, const dacm_object *object, int64_t now)
{
    trust_manifest m = {.version = object->version,
        .size = object->size,
        .issued_at = now,
        .expires_at = now + service->config->manifest_life_s};
    strncpy(m.issuer, service->config->resource, sizeof m.issuer - 1);
    rpc_text_copy(m.asset_id, sizeof m.asset_id, object->asset_id);
    rpc_text_copy(m.media_type, sizeof m.media_type, object->media_type);
    rpc_text_copy(m.chunking, sizeof m.chunking, object->chunking);
    memcpy(m.sha256, object->sha256, sizeof m.sha256);
    memcpy(m.chunks_sha256, object->chunks_sha256, sizeof m.chunks_sha256);
    return m;
}

/* Under the read lock: the signer may not be replaced meanwhile. */
static char *sign(dacm_service *service, dacm_object *object, int64_t now, rpc_status *reterr)
{
    const trust_signer *signer = service->trust->signer;
    const char *kid = trust_signer_kid(signer);
    char *jws = dacm_object_manifest(object, kid, now + service->config->manifest_life_s / 4);
    if (jws)
        return jws;
    trust_manifest manifest = describe(service, object, now);
    if (trust_manifest_sign(signer, &manifest, &jws, reterr) != RPC_OK)
        return NULL;
    char *before = dacm_object_manifest(object, NULL, 0);
    dacm_object_keep_manifest(object, jws, kid, manifest.expires_at);
    keep(service, object, before, jws, kid, &manifest);
    free(before);
    return jws;
}

char *dacm_manifest_for(dacm_service *service, dacm_object *object, rpc_status *reterr)
{
    int64_t now = rpc_clock_wall_ms(service->clock) / 1000;
    pthread_rwlock_rdlock(&service->trust->lock);
    char *jws = sign(service, object, now, reterr);
    pthread_rwlock_unlock(&service->trust->lock);
    return jws;
}
