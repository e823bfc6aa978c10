/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest of a version: kept with it, signed again with a quarter of its life left, or when
 * its key is not one that may be verified with any more. */
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

static void put_digest(dacm_changes *changes, const char *jws, rpc_bytes which, bool remove)
{
    uint8_t sha256[DACM_DIGEST_BYTES];
    trust_sha256(rpc_bytes_str(jws), sha256);
    host_key item = dacm_key_manifest_digest(sha256);
    if (remove)
        dacm_changes_delete(changes, item);
    else
        dacm_changes_put_bytes(changes, item, which);
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
    uint8_t room[DACM_WHICH_BYTES_MAX];
    const rpc_bytes which = rpc_bytes_of(room, dacm_which_write(&object->which, room));
    dacm_changes changes = {0};
    if (before)
        put_digest(&changes, before, which, true);
    put_digest(&changes, jws, which, false);
    dacm_changes_put(&changes, dacm_key_manifest(&object->which), &record.base);
    dacm_changes_apply(&changes, service->store, NULL, dacm_key_manifests(object->asset_id),
        STORE_ANY_GENERATION, kept, k);
}

static trust_manifest describe(const dacm_service *service, const dacm_object *object, int64_t now)
{
    trust_manifest m = {.version = object->which.version,
        .size = object->size,
        .issued_at = now,
        .expires_at = now + service->config->manifest_life_s};
    strncpy(m.issuer, service->config->resource, sizeof m.issuer - 1);
    rpc_text_copy(m.asset_id, sizeof m.asset_id, object->asset_id);
    rpc_text_copy(m.media_type, sizeof m.media_type, object->media_type);
    rpc_text_copy(m.chunking, sizeof m.chunking, object->chunking);
    memcpy(m.sha256, object->sha256, sizeof m.sha256);
    memcpy(m.chunks_sha256, object->chunks_sha256, sizeof m.chunks_sha256);
    const dacm_adapted *adapted = object->adapted;
    m.has_source = adapted != NULL;
    if (!adapted)
        return m;
    rpc_text_copy(m.recipe, sizeof m.recipe, adapted->recipe);
    rpc_text_copy(m.figures, sizeof m.figures, adapted->figures);
    rpc_text_copy(m.licence, sizeof m.licence, adapted->licence);
    memcpy(m.source_sha256, adapted->source_sha256, sizeof m.source_sha256);
    return m;
}

/* One manifest that is being signed. */
typedef struct signing {
    dacm_service *service;
    rpc_call *call;
    dacm_object *object;
    dacm_manifest_fn *fn;
    void *arg;
    skmc_keys *keys;
    trust_manifest manifest;
    char kid[TRUST_KID_MAX + 1];
    char *jws;
    rpc_status status;
} signing;

/* Of keys and of the SKM-S the operator reads in the log and in the health; whoever wants the
 * avatar is told what he can do. */
static void tell_unsigned(signing *s)
{
    rpc_status_set(&s->status, RPC_UNAVAILABLE,
        "the manifest cannot be signed just now; try again in a minute");
}

static void log_unsigned(const signing *s)
{
    HOST_LOG(s->service->log, HOST_ERROR, "a manifest is not signed", host_text("kid", s->kid),
        host_text("status", rpc_code_name(s->status.code)), host_text("why", s->status.message));
}

static void sign(const trust_signer *signer, signing *s)
{
    (void)rpc_text_copy(s->kid, sizeof s->kid, trust_signer_kid(signer));
    s->status.code = trust_manifest_sign(signer, &s->manifest, &s->jws, &s->status);
}

static void keep_signed(signing *s)
{
    char *before = dacm_object_manifest(s->object, NULL, 0);
    dacm_object_keep_manifest(s->object, s->jws, s->kid, s->manifest.expires_at);
    keep(s->service, s->object, before, s->jws, s->kid, &s->manifest);
    free(before);
}

/* ---- where signing waits for the SKM-S ---- */

static void signing_free(signing *s)
{
    skmc_keys_unref(s->keys);
    dacm_object_unref(s->object);
    rpc_call_unref(s->call);
    free(s->jws);
    free(s);
}

/* Strand. The key may have been revoked while its signature was under way. */
static void signed_elsewhere(void *arg)
{
    signing *s = arg;
    skmc_keys *keys = dacm_trust_keys(s->service->trust);
    if (s->status.code != RPC_OK) {
        log_unsigned(s);
        tell_unsigned(s);
    } else if (!keys || !skmc_keys_serves(keys, s->kid))
        rpc_status_set(&s->status, RPC_UNAVAILABLE,
            "the manifest's key was revoked while it signed; try again");
    else
        keep_signed(s);
    skmc_keys_unref(keys);
    const bool ok = s->status.code == RPC_OK;
    s->fn(s->arg, s->object, ok ? s->jws : NULL, &s->status);
    if (ok)
        s->jws = NULL;
    signing_free(s);
}

/* Says the time of this try: whose turn it is hangs on it. */
static rpc_code sign_at(void *ctx, const trust_signer *signer, int64_t time, rpc_status *reterr)
{
    signing *s = ctx;
    s->manifest.expires_at += time - s->manifest.issued_at;
    s->manifest.issued_at = time;
    sign(signer, s);
    return s->status.code == RPC_OK ? RPC_OK
                                    : rpc_status_text(reterr, s->status.code, s->status.message);
}

/* Pool. */
static void sign_elsewhere(void *arg)
{
    signing *s = arg;
    rpc_status why = {.code = RPC_OK};
    why.code = skmc_sign(s->service->trust->skms, s->keys, TRUST_ALG_EDDSA, sign_at, s, &why);
    s->status = why;
    rpc_call_post(s->call, signed_elsewhere, s);
}

static void begin_elsewhere(signing *from)
{
    signing *s = malloc(sizeof *s);
    rpc_status busy;
    rpc_status_set(
        &busy, RPC_RESOURCE_EXHAUSTED, "too many manifests wait for a signature; try again later");
    if (!s) {
        from->fn(from->arg, from->object, NULL, &busy);
        return;
    }
    *s = *from;
    skmc_keys_ref(s->keys);
    dacm_object_ref(s->object);
    rpc_call_ref(s->call);
    if (rpc_pool_submit(s->service->sign_pool, sign_elsewhere, s) == RPC_OK)
        return;
    s->fn(s->arg, s->object, NULL, &busy);
    signing_free(s);
}

/* ---- the manifest ---- */

/* The health says so. */
static void nobody_signs(signing *s)
{
    tell_unsigned(s);
    s->fn(s->arg, s->object, NULL, &s->status);
}

static void get_with(signing *s, int64_t now)
{
    const trust_signer *signer = skmc_keys_signer(s->keys, TRUST_ALG_EDDSA, now);
    /* while nobody signs, what was signed is handed out until it ends */
    const int64_t needed = signer ? now + s->service->config->manifest_life_s / 4 : now;
    s->jws = dacm_object_manifest(s->object, s->keys, needed);
    if (s->jws)
        s->fn(s->arg, s->object, s->jws, &s->status);
    else if (!signer)
        nobody_signs(s);
    else {
        s->manifest = describe(s->service, s->object, now);
        if (trust_signer_is_remote(signer)) {
            begin_elsewhere(s);
            return;
        }
        sign(signer, s);
        if (s->jws)
            keep_signed(s);
        else {
            log_unsigned(s);
            tell_unsigned(s);
        }
        s->fn(s->arg, s->object, s->jws, &s->status);
    }
}

void dacm_manifest_get(
    dacm_service *service, rpc_call *call, dacm_object *object, dacm_manifest_fn *fn, void *arg)
{
    signing s = {.service = service,
        .call = call,
        .object = object,
        .fn = fn,
        .arg = arg,
        .keys = dacm_trust_keys(service->trust),
        .status = {.code = RPC_OK}};
    if (s.keys)
        get_with(&s, rpc_clock_wall_ms(service->clock) / 1000);
    else
        nobody_signs(&s);
    skmc_keys_unref(s.keys);
}
