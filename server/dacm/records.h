/* SPDX-License-Identifier: Apache-2.0 */
/** The records of dacmd in its store: their keys and their encoding (records.proto). */
#ifndef DACM_RECORDS_H
#define DACM_RECORDS_H

#include "host.h"
#include "store.h"
#include "records.pb-c.h"

#define DACM_ASSET_ID_MAX      128u
#define DACM_GPSI_MAX          255u
#define DACM_OWNERS_MAX        16u
#define DACM_SPATIAL_MAX       16u
#define DACM_SPATIAL_BYTES_MAX 256u

/** Which bytes of an asset: a version, as it was uploaded or adapted by a recipe. */
typedef struct dacm_which {
    uint64_t version;
    bool adapted;
    uint8_t recipe_sha256[32]; /* of the canonical recipe, when adapted */
} dacm_which;

host_key dacm_key_asset(const char *asset_id);               /* group a/ASSET */
host_key dacm_key_manifests(const char *asset_id);           /* group m/ASSET */
host_key dacm_key_variants(const char *asset_id);            /* group w/ASSET */
host_key dacm_key_user(const char *gpsi);                    /* group u/GPSI */
host_key dacm_key_uploads(const char *gpsi);                 /* group up/GPSI */
host_key dacm_key_grant(const char *gpsi);                   /* item g/GPSI */
host_key dacm_key_version(uint64_t version);                 /* item v/VERSION */
host_key dacm_key_variant(const dacm_which *which);          /* item v/WHICH */
host_key dacm_key_given_up(const dacm_which *which);         /* item x/WHICH */
host_key dacm_key_manifest(const dacm_which *which);         /* item WHICH */
host_key dacm_key_manifest_digest(const uint8_t sha256[32]); /* item s/SHA-256 */
host_key dacm_key_revocations(const char *issuer);           /* group r/ISSUER */
host_key dacm_key_revoked_token(const char *jti);            /* item j/JTI */
host_key dacm_key_revoked_subject(const char *subject);      /* item s/SUBJECT */
host_key dacm_key_reported_token(const char *jti);           /* item J/JTI, by a SIM-S */
host_key dacm_key_reported_subject(const char *subject);     /* item S/SUBJECT */
host_key dacm_key_report_position(void);                     /* item p, in group r/ISSUER */
host_key dacm_key_profile(void); /* the empty item: first of its group */
/** The asset ID in a group name a/ASSET; false if it is none. */
bool dacm_key_asset_id(rpc_bytes group, char ret[DACM_ASSET_ID_MAX + 1]);
/** The same of w/ASSET. */
bool dacm_key_variants_asset_id(rpc_bytes group, char ret[DACM_ASSET_ID_MAX + 1]);

/** A field of a record that borrows bytes. */
static inline ProtobufCBinaryData dacm_data_of(const uint8_t *bytes, size_t size)
{
    return (ProtobufCBinaryData){size, (uint8_t *)(uintptr_t)bytes};
}

/** What the item s/SHA-256 has, and what it says; false: it is damaged. */
#define DACM_WHICH_BYTES_MAX 40u
size_t dacm_which_write(const dacm_which *which, uint8_t ret[DACM_WHICH_BYTES_MAX]);
bool dacm_which_read(rpc_bytes bytes, dacm_which *ret);
/** Of v/VERSION, or of what follows v/ or x/ of a variant; 0: it is none. */
uint64_t dacm_version_of_item(rpc_bytes item);
/** Of v/WHICH or x/WHICH of a variant. */
bool dacm_which_of_item(rpc_bytes item, dacm_which *ret);
bool dacm_which_equal(const dacm_which *a, const dacm_which *b);

/** An asset's ID is the hex of its uid. */
void dacm_asset_id_of(const uint8_t uid[STORE_UID_BYTES], char ret[2 * STORE_UID_BYTES + 1]);
/** For tables in memory: nobody can choose the IDs of assets so that they collide. */
uint32_t dacm_asset_hash(const char *asset_id);

/** One byte-for-byte comparison: is gpsi among the owners? */
bool dacm_profile_owned_by(const Dacm__Records__Profile *profile, const char *gpsi);

#endif
