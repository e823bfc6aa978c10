/* SPDX-License-Identifier: Apache-2.0 */
#include "records.h"

#include <stdio.h>
#include <string.h>

host_key dacm_key_asset(const char *asset_id)
{
    return host_key_of("a/", asset_id);
}

host_key dacm_key_manifests(const char *asset_id)
{
    return host_key_of("m/", asset_id);
}

host_key dacm_key_user(const char *gpsi)
{
    return host_key_of("u/", gpsi);
}

host_key dacm_key_uploads(const char *gpsi)
{
    return host_key_of("up/", gpsi);
}

host_key dacm_key_grant(const char *gpsi)
{
    return host_key_of("g/", gpsi);
}

host_key dacm_key_version(uint64_t version)
{
    char name[17];
    snprintf(name, sizeof name, "%016llx", (unsigned long long)version);
    return host_key_of("v/", name);
}

static host_key key_of_which(const char *prefix, const dacm_which *which)
{
    char name[16 + 1 + 64 + 1];
    snprintf(name, sizeof name, "%016llx", (unsigned long long)which->version);
    if (which->adapted) {
        name[16] = '/';
        rpc_hex(rpc_bytes_of(which->recipe_sha256, sizeof which->recipe_sha256), name + 17);
    }
    return host_key_of(prefix, name);
}

host_key dacm_key_variants(const char *asset_id)
{
    return host_key_of("w/", asset_id);
}

host_key dacm_key_variant(const dacm_which *which)
{
    return key_of_which("v/", which);
}

host_key dacm_key_given_up(const dacm_which *which)
{
    return key_of_which("x/", which);
}

host_key dacm_key_manifest(const dacm_which *which)
{
    return key_of_which("", which);
}

size_t dacm_which_write(const dacm_which *which, uint8_t ret[DACM_WHICH_BYTES_MAX])
{
    for (int i = 0; i < 8; i++)
        ret[i] = (uint8_t)(which->version >> (56 - 8 * i));
    if (which->adapted)
        memcpy(ret + 8, which->recipe_sha256, sizeof which->recipe_sha256);
    return which->adapted ? DACM_WHICH_BYTES_MAX : 8;
}

bool dacm_which_read(rpc_bytes bytes, dacm_which *ret)
{
    if (bytes.size != 8 && bytes.size != DACM_WHICH_BYTES_MAX)
        return false;
    *ret = (dacm_which){.adapted = bytes.size > 8};
    for (int i = 0; i < 8; i++)
        ret->version = ret->version << 8 | bytes.data[i];
    if (ret->adapted)
        memcpy(ret->recipe_sha256, bytes.data + 8, sizeof ret->recipe_sha256);
    return ret->version != 0;
}

uint64_t dacm_version_of_item(rpc_bytes item)
{
    uint8_t bytes[8];
    uint64_t version = 0;
    if (item.size < 2 + 16 || !rpc_unhex(rpc_bytes_of(item.data + 2, 16), bytes, sizeof bytes))
        return 0;
    for (int i = 0; i < 8; i++)
        version = version << 8 | bytes[i];
    return version;
}

bool dacm_which_of_item(rpc_bytes item, dacm_which *ret)
{
    *ret = (dacm_which){.adapted = true, .version = dacm_version_of_item(item)};
    return ret->version != 0 && item.size == 2 + 16 + 1 + 64 && item.data[1] == '/' &&
           item.data[18] == '/' &&
           rpc_unhex(
               rpc_bytes_of(item.data + 19, 64), ret->recipe_sha256, sizeof ret->recipe_sha256);
}

bool dacm_which_equal(const dacm_which *a, const dacm_which *b)
{
    return a->version == b->version && a->adapted == b->adapted &&
           (!a->adapted ||
               memcmp(a->recipe_sha256, b->recipe_sha256, sizeof a->recipe_sha256) == 0);
}

host_key dacm_key_manifest_digest(const uint8_t sha256[32])
{
    host_key key = {.size = 2 + 32, .data = "s/"};
    memcpy(key.data + 2, sha256, 32);
    return key;
}

host_key dacm_key_revocations(const char *issuer)
{
    return host_key_of("r/", issuer);
}

host_key dacm_key_revoked_token(const char *jti)
{
    return host_key_of("j/", jti);
}

host_key dacm_key_revoked_subject(const char *subject)
{
    return host_key_of("s/", subject);
}

host_key dacm_key_reported_token(const char *jti)
{
    return host_key_of("J/", jti);
}

host_key dacm_key_reported_subject(const char *subject)
{
    return host_key_of("S/", subject);
}

host_key dacm_key_report_position(void)
{
    return host_key_of("p", "");
}

host_key dacm_key_profile(void)
{
    return (host_key){.size = 0};
}

static bool asset_of(rpc_bytes group, const char prefix[3], char *ret)
{
    if (group.size <= 2 || group.size - 2 > DACM_ASSET_ID_MAX || memcmp(group.data, prefix, 2) != 0)
        return false;
    memcpy(ret, group.data + 2, group.size - 2);
    ret[group.size - 2] = '\0';
    return true;
}

bool dacm_key_asset_id(rpc_bytes group, char ret[DACM_ASSET_ID_MAX + 1])
{
    return asset_of(group, "a/", ret);
}

bool dacm_key_variants_asset_id(rpc_bytes group, char ret[DACM_ASSET_ID_MAX + 1])
{
    return asset_of(group, "w/", ret);
}

void dacm_asset_id_of(const uint8_t uid[STORE_UID_BYTES], char ret[2 * STORE_UID_BYTES + 1])
{
    rpc_hex(rpc_bytes_of(uid, STORE_UID_BYTES), ret);
}

/* FNV-1a. */
uint32_t dacm_asset_hash(const char *asset_id)
{
    uint32_t hash = 2166136261u;
    for (const char *c = asset_id; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 16777619u;
    return hash;
}

bool dacm_profile_owned_by(const Dacm__Records__Profile *profile, const char *gpsi)
{
    for (size_t i = 0; i < profile->n_owners; i++)
        if (strcmp(profile->owners[i], gpsi) == 0)
            return true;
    return false;
}
