/* SPDX-License-Identifier: Apache-2.0 */
/** The records of dacmd in its store: their keys and their encoding (records.proto). */
#ifndef DACM_RECORDS_H
#define DACM_RECORDS_H

#include "base.h"
#include "store.h"
#include "records.pb-c.h"

#define DACM_ASSET_ID_MAX      128u
#define DACM_GPSI_MAX          255u
#define DACM_OWNERS_MAX        16u
#define DACM_SPATIAL_MAX       16u
#define DACM_SPATIAL_BYTES_MAX 256u

/** A group or item name; the bytes stand in the struct. */
typedef struct dacm_key {
    size_t size;
    uint8_t data[STORE_ITEM_BYTES_MAX];
} dacm_key;

static inline rpc_bytes dacm_key_bytes(const dacm_key *key)
{
    return rpc_bytes_of(key->data, key->size);
}

dacm_key dacm_key_asset(const char *asset_id);     /* group a/ASSET */
dacm_key dacm_key_manifests(const char *asset_id); /* group m/ASSET */
/** GPSIs that do not fit a key are replaced by their SHA-256: at most 200 bytes stay as they
 *  are. */
dacm_key dacm_key_user(const char *gpsi);                    /* group u/GPSI */
dacm_key dacm_key_uploads(const char *gpsi);                 /* group up/GPSI */
dacm_key dacm_key_grant(const char *gpsi);                   /* item g/GPSI */
dacm_key dacm_key_version(uint64_t version);                 /* item v/VERSION */
dacm_key dacm_key_manifest(uint64_t version);                /* item VERSION */
dacm_key dacm_key_manifest_digest(const uint8_t sha256[32]); /* item s/SHA-256: VERSION */
dacm_key dacm_key_revocations(const char *issuer);           /* group r/ISSUER */
dacm_key dacm_key_revoked_token(const char *jti);            /* item j/JTI */
dacm_key dacm_key_revoked_subject(const char *subject);      /* item s/SUBJECT */
dacm_key dacm_key_profile(void); /* the empty item: first of its group */
/** The asset ID in a group name a/ASSET; false if it is none. */
bool dacm_key_asset_id(rpc_bytes group, char ret[DACM_ASSET_ID_MAX + 1]);

/** An asset's ID is the hex of its uid. */
void dacm_asset_id_of(const uint8_t uid[STORE_UID_BYTES], char ret[2 * STORE_UID_BYTES + 1]);

/** Packs a record into memory of its own (free()); data is NULL when memory is short. */
rpc_bytes dacm_record_pack(const ProtobufCMessage *message);
/** Unpacks into arena. DATA_LOSS when the bytes are no such record; *ret stays as it was. */
rpc_code dacm_record_unpack(const ProtobufCMessageDescriptor *descriptor, rpc_bytes bytes,
    rpc_arena *arena, ProtobufCMessage **ret, rpc_status *reterr);

/** One byte-for-byte comparison: is gpsi among the owners? */
bool dacm_profile_owned_by(const Dacm__Records__Profile *profile, const char *gpsi);

#endif
