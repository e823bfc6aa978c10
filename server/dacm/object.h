/* SPDX-License-Identifier: Apache-2.0 */
/** Versions of assets in memory: what the manifest says, the chunk list, and the manifest kept
 *  for them. Neither versions nor variants ever change, so the cache needs no invalidation but of
 *  variants that are gone (dacm_object_forget()): who may read one is decided before, on every
 *  request.
 *
 *  Threads: any. A dacm_object is immutable but for its manifest, which has a lock. */
#ifndef DACM_OBJECT_H
#define DACM_OBJECT_H

#include "skmc.h"
#include "plan.h"
#include "records.h"
#include "rpc.h"

/** What a variant's manifest says besides. Strings are NUL-terminated and never NULL. */
typedef struct dacm_adapted {
    char *recipe;  /* canonical */
    char *figures; /* what was reached, a JSON object */
    char *licence; /* of a VRM, a JSON object; or empty */
    uint8_t source_sha256[DACM_DIGEST_BYTES];
} dacm_adapted;

typedef struct dacm_object {
    char asset_id[DACM_ASSET_ID_MAX + 1];
    uint8_t uid[STORE_UID_BYTES];
    dacm_which which;
    uint64_t size;
    dacm_adapted *adapted; /* NULL: the original */
    char media_type[128];
    char chunking[32];
    uint8_t sha256[DACM_DIGEST_BYTES], chunks_sha256[DACM_DIGEST_BYTES];
    uint8_t upload_key[DACM_DIGEST_BYTES];
    dacm_list list;
} dacm_object;

/** What was signed says of the bytes what the record says. False is a record that the disk has
 *  changed; but a variant may have been made anew since it was signed. */
bool dacm_signed_as(const trust_manifest *manifest, const Dacm__Records__Version *record);

typedef struct dacm_objects dacm_objects;

/** bytes_max bounds the chunk lists in memory, those in use included. NULL: no memory. */
RPC_MUST_USE dacm_objects *dacm_objects_new(store *db, uint64_t bytes_max);
/** When no load is running and every object is released. */
void dacm_objects_free(dacm_objects *objects);

/** object is borrowed until dacm_object_unref(); NULL with a status otherwise. */
typedef void dacm_object_fn(void *arg, dacm_object *object, const rpc_status *status);

/** Finds or loads a version or a variant of one; fn runs once on the strand of call, possibly
 * inside this function. NOT_FOUND, DATA_LOSS, RESOURCE_EXHAUSTED (lists in use take all of
 * bytes_max), and what the store says. */
void dacm_object_load(dacm_objects *objects, rpc_call *call, const char *asset_id,
    const uint8_t uid[STORE_UID_BYTES], const dacm_which *which, dacm_object_fn *fn, void *arg);
/** The same of a variant that was made a moment ago: also where others have taken its place in the
 *  meantime. The sweep leaves its chunks alone while the download runs that waited for it
 *  (dacm_running_since()). */
void dacm_object_load_made(dacm_objects *objects, rpc_call *call, const char *asset_id,
    const uint8_t uid[STORE_UID_BYTES], const dacm_which *which, dacm_object_fn *fn, void *arg);
/** Is loaded anew from now on: its record is gone. */
void dacm_object_forget(
    dacm_objects *objects, const uint8_t uid[STORE_UID_BYTES], const dacm_which *which);
dacm_object *dacm_object_ref(dacm_object *object);
void dacm_object_unref(dacm_object *object);

/** The manifest kept for the object if keys (NULL: whatever signed it) let it be handed out and it
 *  lives at least until not_before (seconds since 1970): copied, free() it; NULL otherwise. */
char *dacm_object_manifest(dacm_object *object, const skmc_keys *keys, int64_t not_before);
/** Keeps one (copied); when memory is short it is not kept. */
void dacm_object_keep_manifest(dacm_object *object, const char *jws, const char *kid, int64_t exp);

#endif
