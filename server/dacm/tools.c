/* SPDX-License-Identifier: Apache-2.0 */
/* The store as a whole: first what the store can say of itself, then what our records promise:
 * that every version's list and chunks are there and add up. */
#include "tools.h"

#include "acl.h"
#include "dacm_internal.h"
#include "program.h"
#include "walk.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES_MAX    5
#define RECORD_ARENA (4u << 20)

typedef struct checking {
    store *db;
    bool json;
    rpc_arena *arena;
    uint64_t assets, versions, variants, chunks, faults;
    /* of one asset */
    char asset_id[DACM_ASSET_ID_MAX + 1];
    uint8_t uid[STORE_UID_BYTES];
    bool has_profile, deleted, newest_seen;
    uint64_t oldest, newest, grants, grants_seen, gets, gets_seen, versions_seen;
    uint64_t asset_versions, asset_variants, asset_chunks, length;
    EVP_MD_CTX *list; /* of one version */
    char sha256[2 * DACM_DIGEST_BYTES + 1], newest_sha256[2 * DACM_DIGEST_BYTES + 1];
    uint64_t size, newest_size;
    char fault[256];
    rpc_status status;
} checking;

static void tell_fault(void *ctx, const char *text)
{
    checking *c = ctx;
    c->faults++;
    if (c->json)
        program_print_json(json_pack("{s:s}", "fault", text));
    else
        fprintf(stderr, "fault: %s\n", text);
}

/* The first of an asset counts, when its generation stayed. */
static void note(checking *c, const char *text)
{
    if (!c->fault[0])
        snprintf(c->fault, sizeof c->fault, "asset %.64s: %.160s", c->asset_id, text);
}

static bool whole(void *ctx, const uint8_t digest[STORE_DIGEST_BYTES], rpc_bytes bytes)
{
    (void)ctx;
    uint8_t sha256[STORE_DIGEST_BYTES];
    trust_sha256(bytes, sha256);
    return memcmp(sha256, digest, sizeof sha256) == 0;
}

/* ---- one asset ---- */

static bool check_digest(void *ctx, const uint8_t *digest, uint32_t length)
{
    checking *c = ctx;
    store_chunk_ref ref;
    store_wait wait;
    memcpy(ref.uid, c->uid, sizeof ref.uid);
    memcpy(ref.digest, digest, sizeof ref.digest);
    store_op *op = store_wait_begin(&wait);
    rpc_code code = store_wait_end(&wait, store_chunk_has(c->db, &ref, op));
    uint8_t entry[DACM_ENTRY_BYTES];
    c->asset_chunks++;
    c->length += length;
    dacm_entry_write(entry, length, digest);
    if (length != 0 && EVP_DigestUpdate(c->list, entry, sizeof entry) != 1)
        rpc_status_set(&c->status, RPC_INTERNAL, "OpenSSL could not hash");
    if (code == RPC_NOT_FOUND)
        note(c, length == 0 ? "a page of a version's chunk list is missing"
                            : "a chunk of a version is missing");
    else if (code == RPC_OK && length != 0 && wait.op.size != length)
        note(c, "a chunk has another length than the list says");
    else if (code != RPC_OK)
        c->status = wait.op.status;
    return c->status.code == RPC_OK;
}

static rpc_code read_record(checking *c, const host_key *item,
    const ProtobufCMessageDescriptor *type, ProtobufCMessage **ret)
{
    const host_key group = dacm_key_manifests(c->asset_id);
    store_wait wait;
    rpc_code code = store_wait_get(c->db, host_key_bytes(&group), host_key_bytes(item), &wait);
    if (code == RPC_OK && type)
        code = host_record_unpack(type, wait.op.view.bytes, c->arena, ret, NULL);
    store_view_release(&wait.op.view);
    return code;
}

/* A manifest that rotted itself is signed again: it says nothing. */
static void check_signed(
    checking *c, const dacm_which *which, const Dacm__Records__Version *version)
{
    Dacm__Records__Manifest *kept = NULL;
    trust_manifest manifest;
    uint8_t sha256[DACM_DIGEST_BYTES];
    host_key item = dacm_key_manifest(which);
    if (read_record(c, &item, &dacm__records__manifest__descriptor, (ProtobufCMessage **)&kept) !=
        RPC_OK)
        return;
    trust_sha256(rpc_bytes_str(kept->jws), sha256);
    item = dacm_key_manifest_digest(sha256);
    if (read_record(c, &item, NULL, NULL) == RPC_OK &&
        trust_manifest_verify(rpc_bytes_str(kept->jws), NULL, &manifest, NULL) == TRUST_NO_KEY &&
        !dacm_signed_as(&manifest, version))
        note(c, "the record of a version is not the one that was signed");
}

static void check_list_digest(checking *c, const Dacm__Records__Version *version)
{
    uint8_t sha256[DACM_DIGEST_BYTES];
    if (EVP_DigestFinal_ex(c->list, sha256, NULL) != 1)
        rpc_status_set(&c->status, RPC_INTERNAL, "OpenSSL could not hash");
    else if (version->sha256.len != sizeof sha256 || version->chunks_sha256.len != sizeof sha256)
        note(c, "the record of a version has no digest");
    else if (memcmp(version->chunks_sha256.data, sha256, sizeof sha256) != 0)
        note(c, "the chunk list of a version does not have the digest that was signed");
}

/* Of a version or a variant; NULL: it cannot be read. */
static Dacm__Records__Version *check_listed(checking *c, const dacm_which *which, rpc_bytes value)
{
    Dacm__Records__Version *version = NULL;
    rpc_status status = {0};
    if (host_record_unpack(&dacm__records__version__descriptor, value, c->arena,
            (ProtobufCMessage **)&version, &status) != RPC_OK) {
        note(c, "the record of a version cannot be read");
        return NULL;
    }
    c->length = 0;
    if (EVP_DigestInit_ex(c->list, EVP_sha256(), NULL) != 1)
        rpc_status_set(&c->status, RPC_INTERNAL, "OpenSSL could not hash");
    rpc_code code = dacm_walk_version(c->db, c->uid, version, check_digest, c, &status);
    if (code == RPC_DATA_LOSS)
        note(c, status.message);
    else if (code != RPC_OK)
        c->status = status;
    else if (c->length != version->size)
        note(c, "the chunks of a version do not add up to its size");
    else
        check_list_digest(c, version);
    if (version->version != which->version)
        note(c, "the record of a version is kept under another one");
    else if (version->sha256.len == DACM_DIGEST_BYTES &&
             version->chunks_sha256.len == DACM_DIGEST_BYTES)
        check_signed(c, which, version);
    return version;
}

static bool check_version(checking *c, rpc_bytes item, rpc_bytes value)
{
    const dacm_which which = {.version = dacm_version_of_item(item)};
    const Dacm__Records__Version *version = check_listed(c, &which, value);
    if (!version)
        return true;
    c->asset_versions++;
    c->versions_seen += which.version >= c->oldest && which.version <= c->newest;
    if (version->version == c->newest) {
        c->newest_seen = true;
        c->size = version->size;
        rpc_hex(rpc_bytes_of(version->sha256.data,
                    version->sha256.len == DACM_DIGEST_BYTES ? DACM_DIGEST_BYTES : 0),
            c->sha256);
    }
    return c->status.code == RPC_OK;
}

static bool check_variant(void *ctx, const store_entry *entry)
{
    checking *c = ctx;
    dacm_which which;
    rpc_arena_reset(c->arena);
    if (dacm_which_of_item(entry->item, &which))
        c->asset_variants += check_listed(c, &which, entry->value) != NULL;
    else
        note(c, "a variant is kept under a key that is none");
    return c->status.code == RPC_OK;
}

static void check_profile(checking *c, rpc_bytes value)
{
    Dacm__Records__Profile *profile = NULL;
    if (host_record_unpack(&dacm__records__profile__descriptor, value, c->arena,
            (ProtobufCMessage **)&profile, NULL) != RPC_OK ||
        profile->uid.len != STORE_UID_BYTES) {
        note(c, "the profile's record cannot be read");
        return;
    }
    c->has_profile = true;
    c->deleted = profile->deleted;
    c->oldest = profile->oldest_version;
    c->newest = profile->version;
    c->grants = profile->grant_count;
    c->gets = profile->get_count;
    c->newest_size = profile->size;
    if (profile->sha256.len == DACM_DIGEST_BYTES)
        rpc_hex(rpc_bytes_of(profile->sha256.data, DACM_DIGEST_BYTES), c->newest_sha256);
    memcpy(c->uid, profile->uid.data, STORE_UID_BYTES);
    char asset_id[2 * STORE_UID_BYTES + 1];
    dacm_asset_id_of(c->uid, asset_id);
    if (strcmp(asset_id, c->asset_id) != 0)
        note(c, "the profile does not have the asset's uid");
}

static void check_grant(checking *c, const store_entry *entry)
{
    Dacm__Records__Grant *grant = NULL;
    c->grants_seen++;
    if (host_record_unpack(&dacm__records__grant__descriptor, entry->value, c->arena,
            (ProtobufCMessage **)&grant, NULL) != RPC_OK) {
        note(c, "a grant cannot be read");
        return;
    }
    const host_key key = dacm_key_grant(grant->gpsi);
    if (!rpc_bytes_equal(host_key_bytes(&key), entry->item))
        note(c, "a grant is kept under another user's name");
    c->gets_seen += (grant->operations & dacm_operation_bit(DACM__V1__OPERATION__OPERATION_GET)) !=
                    0;
}

static bool check_item(void *ctx, const store_entry *entry)
{
    checking *c = ctx;
    rpc_arena_reset(c->arena);
    if (entry->item.size == 0)
        check_profile(c, entry->value);
    else if (!c->has_profile)
        note(c, "there are records without a profile");
    else if (entry->item.size > 2 && memcmp(entry->item.data, "g/", 2) == 0)
        check_grant(c, entry);
    else if (entry->item.size > 2 && memcmp(entry->item.data, "v/", 2) == 0)
        return check_version(c, entry->item, entry->value);
    return true;
}

static rpc_code generation_of(checking *c, const host_key *group, uint64_t *ret)
{
    store_wait wait;
    store_op *op = store_wait_begin(&wait);
    rpc_code code = store_wait_end(&wait, store_generation(c->db, host_key_bytes(group), op));
    *ret = wait.op.generation;
    if (code != RPC_OK)
        c->status = wait.op.status;
    return code;
}

static void begin_asset(checking *c)
{
    c->has_profile = c->deleted = c->newest_seen = false;
    c->oldest = c->gets = c->gets_seen = c->versions_seen = c->newest_size = 0;
    c->size = c->newest = c->grants = c->grants_seen = c->asset_versions = c->asset_variants =
        c->asset_chunks = 0;
    c->sha256[0] = c->newest_sha256[0] = c->fault[0] = '\0';
}

static void check_newest(checking *c)
{
    if (c->oldest != 0 && c->versions_seen != c->newest - c->oldest + 1)
        note(c, "a version that it keeps is missing");
    if (c->newest_sha256[0] &&
        (c->newest_size != c->size || strcmp(c->newest_sha256, c->sha256) != 0))
        note(c, "its profile says something else of the newest version than that version");
}

static void end_asset(checking *c)
{
    if (c->has_profile && !c->deleted && c->newest != 0 && !c->newest_seen)
        note(c, "its newest version is missing");
    else if (c->has_profile && !c->deleted && c->newest != 0)
        check_newest(c);
    if (c->has_profile && !c->deleted && c->grants != c->grants_seen)
        note(c, "its list has another number of entries than the profile says");
    else if (c->has_profile && !c->deleted && c->gets != c->gets_seen)
        note(c, "its list lets another number of users get it than the profile says");
    if (c->fault[0])
        tell_fault(c, c->fault);
    c->assets += !c->deleted;
    c->versions += c->asset_versions;
    c->variants += c->asset_variants;
    c->chunks += c->asset_chunks;
    if (c->json && c->has_profile && !c->deleted)
        program_print_json(json_pack("{s:s, s:I, s:I, s:s}", "asset_id", c->asset_id, "version",
            (json_int_t)c->newest, "size", (json_int_t)c->size, "sha256", c->sha256));
}

/* Beside a server an asset may change while it is looked at: then it is looked at again. */
static rpc_code check_asset(checking *c)
{
    const host_key group = dacm_key_asset(c->asset_id), variants = dacm_key_variants(c->asset_id);
    uint64_t before = 0, after = 1;
    for (int i = 0; i < TRIES_MAX && before != after; i++) {
        begin_asset(c);
        if (generation_of(c, &group, &before) != RPC_OK)
            return c->status.code;
        rpc_code code = dacm_walk_items(c->db, &group, "", check_item, c, &c->status);
        if (code == RPC_OK && c->status.code == RPC_OK && c->has_profile && !c->deleted)
            code = dacm_walk_items(c->db, &variants, "v/", check_variant, c, &c->status);
        if (code == RPC_OK)
            code = c->status.code;
        if (code == RPC_OK)
            code = generation_of(c, &group, &after);
        if (code != RPC_OK)
            return code;
    }
    if (before == after)
        end_asset(c);
    return RPC_OK;
}

static bool check_group(void *ctx, const store_entry *entry)
{
    checking *c = ctx;
    if (dacm_key_asset_id(entry->group, c->asset_id))
        c->status.code = check_asset(c);
    return c->status.code == RPC_OK;
}

/* ---- what is no asset's ---- */

static const ProtobufCMessageDescriptor *type_of(const store_entry *entry)
{
    const host_key position = dacm_key_report_position();
    switch (entry->group.data[0]) {
    case 'm':
        return entry->item.data[0] == 's' ? NULL : &dacm__records__manifest__descriptor;
    case 'r':
        return rpc_bytes_equal(entry->item, host_key_bytes(&position))
                   ? &dacm__records__report_position__descriptor
                   : &dacm__records__revocation__descriptor;
    default:
        return entry->group.data[1] == 'p' ? &dacm__records__upload__descriptor
                                           : &dacm__records__indexed__descriptor;
    }
}

/* Keys name people: the kind is told. */
static bool check_other(void *ctx, const store_entry *entry)
{
    checking *c = ctx;
    char text[160];
    ProtobufCMessage *message = NULL;
    const ProtobufCMessageDescriptor *type = entry->item.size ? type_of(entry) : NULL;
    rpc_arena_reset(c->arena);
    if (!type || host_record_unpack(type, entry->value, c->arena, &message, NULL) == RPC_OK)
        return true;
    snprintf(text, sizeof text, "a record of type %s cannot be read", type->name);
    tell_fault(c, text);
    return true;
}

static rpc_code check_others(checking *c, rpc_status *reterr)
{
    static const char *const prefixes[] = {"m/", "r/", "u/", "up/"};
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < sizeof prefixes / sizeof *prefixes; i++)
        code = dacm_walk_groups(c->db, prefixes[i], false, check_other, c, reterr);
    return code;
}

static rpc_code check_records(checking *c, const char *directory, rpc_status *reterr)
{
    const store_lmdb_options options = {.directory = directory, .read_only = true};
    rpc_code code = store_open_lmdb(&options, &c->db, reterr);
    if (code != RPC_OK)
        return code;
    c->arena = rpc_arena_new(RECORD_ARENA);
    c->list = EVP_MD_CTX_new();
    if (c->arena && c->list)
        code = dacm_walk_groups(c->db, "a/", true, check_group, c, reterr);
    else
        code = rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the check");
    if (code == RPC_OK && c->status.code != RPC_OK) {
        *reterr = c->status;
        code = c->status.code;
    }
    if (code == RPC_OK)
        code = check_others(c, reterr);
    store_close(c->db);
    EVP_MD_CTX_free(c->list);
    rpc_arena_free(c->arena);
    return code;
}

rpc_code dacm_tool_backed_up(const char *destination, rpc_status *reterr)
{
    const store_check_options options = {.chunk_is_whole = whole};
    rpc_status why = {0};
    const rpc_code code = store_check(destination, &options, &why);
    return code == RPC_OK
               ? RPC_OK
               : rpc_status_set(reterr, code,
                     "copied, but what was copied is damaged: keep the backup of before, "
                     "run --store-check, and look at the disk (%.250s)",
                     why.message);
}

int dacm_tool_check(const char *directory, bool json)
{
    checking c = {.json = json};
    rpc_status status = {0};
    const store_check_options options = {.chunk_is_whole = whole, .fault = tell_fault, .ctx = &c};
    rpc_code code = store_check(directory, &options, &status);
    if (code != RPC_OK && (code != RPC_DATA_LOSS || c.faults == 0)) /* it could not be read */
        return program_tool_failed("dacmd", json, &status);
    if (code == RPC_OK && check_records(&c, directory, &status) != RPC_OK)
        return program_tool_failed("dacmd", json, &status);
    if (json)
        program_print_json(json_pack("{s:I, s:I, s:I, s:I, s:I}", "assets", (json_int_t)c.assets,
            "versions", (json_int_t)c.versions, "variants", (json_int_t)c.variants, "listed_chunks",
            (json_int_t)c.chunks, "faults", (json_int_t)c.faults));
    else
        printf("%" PRIu64 " assets, %" PRIu64 " versions, %" PRIu64 " variants, %" PRIu64
               " listed chunks: %s\n",
            c.assets, c.versions, c.variants, c.chunks,
            c.faults ? "FAULTS were found; restore from a backup" : "clean");
    return c.faults ? 1 : 0;
}
