/* SPDX-License-Identifier: Apache-2.0 */
/* What the client of a download has already: chunks by their digests, or all of a version by the
 * digest of its manifest. */
#include "download_internal.h"

#include <stdlib.h>
#include <string.h>

#define HAVE_MAX 65536u

rpc_code download_check_have(const Dacm__V1__Have *have, rpc_status *reterr)
{
    if (have->manifest_sha256.len != 0 && have->manifest_sha256.len != DACM_DIGEST_BYTES)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "have.manifest_sha256: must be 32 bytes or empty");
    if (have->n_chunk_sha256 > HAVE_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "have.chunk_sha256: %zu digests; at most %u, name a manifest instead",
            have->n_chunk_sha256, HAVE_MAX);
    for (size_t i = 0; i < have->n_chunk_sha256; i++)
        if (have->chunk_sha256[i].len != DACM_DIGEST_BYTES)
            return rpc_status_set(
                reterr, RPC_INVALID_ARGUMENT, "have.chunk_sha256: entry %zu is not 32 bytes", i);
    return RPC_OK;
}

/* Digests copied, because leaving out sorts them. */
static rpc_code leave_out(download *d, uint8_t *digests, size_t count, rpc_status *reterr)
{
    if (count > 0 && !digests)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "have: no memory for its digests");
    rpc_code code = dacm_plan_leave_out(&d->plan, &d->object->list, digests, count, reterr);
    free(digests);
    return code;
}

rpc_code download_leave_out(download *d, const Dacm__V1__Have *have, rpc_status *reterr)
{
    size_t count = have->n_chunk_sha256;
    uint8_t *digests = malloc(count * DACM_DIGEST_BYTES + 1);
    for (size_t i = 0; digests && i < count; i++)
        memcpy(digests + i * DACM_DIGEST_BYTES, have->chunk_sha256[i].data, DACM_DIGEST_BYTES);
    return leave_out(d, digests, count, reterr);
}

static rpc_code leave_out_object(download *d, const dacm_object *held, rpc_status *reterr)
{
    uint8_t *digests = malloc((size_t)held->list.count * DACM_DIGEST_BYTES + 1);
    for (uint32_t i = 0; digests && i < held->list.count; i++)
        memcpy(digests + (size_t)i * DACM_DIGEST_BYTES, dacm_list_digest(&held->list, i),
            DACM_DIGEST_BYTES);
    return leave_out(d, digests, held->list.count, reterr);
}

/* A variant may have been made anew since, with other bytes, and the disk may have made another
 * version of the one that was noted: what is left out then is missing. */
static bool is_named(const download *d, dacm_object *held)
{
    uint8_t sha256[DACM_DIGEST_BYTES];
    char *jws = dacm_object_manifest(held, NULL, 0);
    if (!jws)
        return false;
    trust_sha256(rpc_bytes_str(jws), sha256);
    free(jws);
    return memcmp(sha256, d->request->have->manifest_sha256.data, sizeof sha256) == 0;
}

static void have_held_object(void *arg, dacm_object *held, const rpc_status *status)
{
    (void)status; /* a version that is gone holds nothing */
    download *d = arg;
    rpc_status failure = {0};
    if (d->state == LOADING && held && is_named(d, held) &&
        leave_out_object(d, held, &failure) != RPC_OK)
        download_end(d, &failure);
    dacm_object_unref(held);
    if (d->state == LOADING)
        download_begin(d);
    download_drop(d);
}

static void have_manifest_digest(download *d)
{
    dacm_which which;
    const bool known = d->op.status.code == RPC_OK && dacm_which_read(d->op.view.bytes, &which);
    store_view_release(&d->op.view);
    if (d->state != LOADING)
        download_drop(d);
    else if (!known) {
        download_begin(d);
        download_drop(d);
    } else
        dacm_object_load(d->service->objects, d->call, d->object->asset_id, d->object->uid, &which,
            have_held_object, d);
}

static void on_manifest_digest(store_op *op)
{
    have_manifest_digest(op->ctx);
}

void download_find_held(download *d, const Dacm__V1__Have *have)
{
    host_key group = dacm_key_manifests(d->object->asset_id);
    host_key item = dacm_key_manifest_digest(have->manifest_sha256.data);
    download_hold(d);
    d->op = (store_op){.done = on_manifest_digest, .ctx = d, .executor = &d->executor};
    if (store_get(d->service->store, host_key_bytes(&group), host_key_bytes(&item), &d->op) ==
        STORE_READY)
        have_manifest_digest(d);
}
