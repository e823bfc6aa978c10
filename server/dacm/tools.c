/* SPDX-License-Identifier: Apache-2.0 */
/* The store as a whole: first what the store can say of itself, then what our records promise:
 * that every version's list and chunks are there and add up. */
#include "tools.h"

#include "dacm_internal.h"
#include "program.h"
#include "walk.h"

#include <inttypes.h>
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
    uint64_t newest, grants, grants_seen, asset_versions, asset_variants, asset_chunks, length;
    char sha256[2 * DACM_DIGEST_BYTES + 1];
    uint64_t size;
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
    c->asset_chunks++;
    c->length += length;
    if (code == RPC_NOT_FOUND)
        note(c, length == 0 ? "a page of a version's chunk list is missing"
                            : "a chunk of a version is missing");
    else if (code == RPC_OK && length != 0 && wait.op.size != length)
        note(c, "a chunk has another length than the list says");
    else if (code != RPC_OK)
        c->status = wait.op.status;
    return c->status.code == RPC_OK;
}

/* Of a version or a variant; NULL: it cannot be read. */
static Dacm__Records__Version *check_listed(checking *c, rpc_bytes value)
{
    Dacm__Records__Version *version = NULL;
    rpc_status status = {0};
    if (host_record_unpack(&dacm__records__version__descriptor, value, c->arena,
            (ProtobufCMessage **)&version, &status) != RPC_OK) {
        note(c, "the record of a version cannot be read");
        return NULL;
    }
    c->length = 0;
    rpc_code code = dacm_walk_version(c->db, c->uid, version, check_digest, c, &status);
    if (code == RPC_DATA_LOSS)
        note(c, status.message);
    else if (code != RPC_OK)
        c->status = status;
    else if (c->length != version->size)
        note(c, "the chunks of a version do not add up to its size");
    return version;
}

static bool check_version(checking *c, rpc_bytes value)
{
    const Dacm__Records__Version *version = check_listed(c, value);
    if (!version)
        return true;
    c->asset_versions++;
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
    rpc_arena_reset(c->arena);
    c->asset_variants += check_listed(c, entry->value) != NULL;
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
    c->newest = profile->version;
    c->grants = profile->grant_count;
    memcpy(c->uid, profile->uid.data, STORE_UID_BYTES);
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
        c->grants_seen++;
    else if (entry->item.size > 2 && memcmp(entry->item.data, "v/", 2) == 0)
        return check_version(c, entry->value);
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
    c->size = c->newest = c->grants = c->grants_seen = c->asset_versions = c->asset_variants =
        c->asset_chunks = 0;
    c->sha256[0] = c->fault[0] = '\0';
}

static void end_asset(checking *c)
{
    if (c->has_profile && !c->deleted && c->newest != 0 && !c->newest_seen)
        note(c, "its newest version is missing");
    if (c->has_profile && !c->deleted && c->grants != c->grants_seen)
        note(c, "its list has another number of entries than the profile says");
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

static rpc_code check_records(checking *c, const char *directory, rpc_status *reterr)
{
    const store_lmdb_options options = {.directory = directory, .read_only = true};
    rpc_code code = store_open_lmdb(&options, &c->db, reterr);
    if (code != RPC_OK)
        return code;
    c->arena = rpc_arena_new(RECORD_ARENA);
    if (c->arena)
        code = dacm_walk_groups(c->db, "a/", true, check_group, c, reterr);
    else
        code = rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the check");
    if (code == RPC_OK && c->status.code != RPC_OK) {
        *reterr = c->status;
        code = c->status.code;
    }
    store_close(c->db);
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
