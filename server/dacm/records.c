/* SPDX-License-Identifier: Apache-2.0 */
#include "records.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES_MAX 200u

static dacm_key key_of(const char *prefix, const char *name)
{
    dacm_key key;
    size_t prefix_size = strlen(prefix), size = strlen(name);
    memcpy(key.data, prefix, prefix_size);
    if (size <= NAME_BYTES_MAX && name[0] != '#') {
        memcpy(key.data + prefix_size, name, size);
        key.size = prefix_size + size;
        return key;
    }
    /* A jti or sub may begin with anything; no name is kept that could be taken for a digest. */
    key.data[prefix_size] = '#';
    crypto_hash_sha256(key.data + prefix_size + 1, (const uint8_t *)name, size);
    key.size = prefix_size + 1 + crypto_hash_sha256_BYTES;
    return key;
}

dacm_key dacm_key_asset(const char *asset_id)
{
    return key_of("a/", asset_id);
}

dacm_key dacm_key_manifests(const char *asset_id)
{
    return key_of("m/", asset_id);
}

dacm_key dacm_key_user(const char *gpsi)
{
    return key_of("u/", gpsi);
}

dacm_key dacm_key_uploads(const char *gpsi)
{
    return key_of("up/", gpsi);
}

dacm_key dacm_key_grant(const char *gpsi)
{
    return key_of("g/", gpsi);
}

dacm_key dacm_key_version(uint64_t version)
{
    char name[17];
    snprintf(name, sizeof name, "%016llx", (unsigned long long)version);
    return key_of("v/", name);
}

dacm_key dacm_key_manifest(uint64_t version)
{
    char name[17];
    snprintf(name, sizeof name, "%016llx", (unsigned long long)version);
    return key_of("", name);
}

dacm_key dacm_key_manifest_digest(const uint8_t sha256[32])
{
    dacm_key key = {.size = 2 + 32, .data = "s/"};
    memcpy(key.data + 2, sha256, 32);
    return key;
}

dacm_key dacm_key_revocations(const char *issuer)
{
    return key_of("r/", issuer);
}

dacm_key dacm_key_revoked_token(const char *jti)
{
    return key_of("j/", jti);
}

dacm_key dacm_key_revoked_subject(const char *subject)
{
    return key_of("s/", subject);
}

dacm_key dacm_key_profile(void)
{
    return (dacm_key){.size = 0};
}

bool dacm_key_asset_id(rpc_bytes group, char ret[DACM_ASSET_ID_MAX + 1])
{
    if (group.size <= 2 || group.size - 2 > DACM_ASSET_ID_MAX || memcmp(group.data, "a/", 2) != 0)
        return false;
    memcpy(ret, group.data + 2, group.size - 2);
    ret[group.size - 2] = '\0';
    return true;
}

void dacm_asset_id_of(const uint8_t uid[STORE_UID_BYTES], char ret[2 * STORE_UID_BYTES + 1])
{
    rpc_hex(rpc_bytes_of(uid, STORE_UID_BYTES), ret);
}

rpc_bytes dacm_record_pack(const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *data = malloc(size ? size : 1);
    if (!data)
        return rpc_bytes_of(NULL, 0);
    return rpc_bytes_of(data, protobuf_c_message_pack(message, data));
}

bool dacm_profile_owned_by(const Dacm__Records__Profile *profile, const char *gpsi)
{
    for (size_t i = 0; i < profile->n_owners; i++)
        if (strcmp(profile->owners[i], gpsi) == 0)
            return true;
    return false;
}
