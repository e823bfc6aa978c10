/* SPDX-License-Identifier: Apache-2.0 */
#include "walk.h"

#include "dacm_internal.h"

#include <string.h>

rpc_code dacm_walk_groups(store *db, const char *prefix, bool one_per_group, store_walk_fn *fn,
    void *ctx, rpc_status *reterr)
{
    store_scan_request request = {
        .group = rpc_bytes_str(prefix), .group_is_prefix = true, .one_per_group = one_per_group};
    return store_walk(db, &request, fn, ctx, reterr);
}

rpc_code dacm_walk_items(store *db, const host_key *group, const char *prefix, store_walk_fn *fn,
    void *ctx, rpc_status *reterr)
{
    store_scan_request request = {
        .group = host_key_bytes(group), .item_prefix = rpc_bytes_str(prefix)};
    return store_walk(db, &request, fn, ctx, reterr);
}

/* A digest that rotted in a page would pass for another chunk: what it named before would look as
 * if nobody needed it. */
static bool page_is_whole(const store_chunk_ref *ref, rpc_bytes page)
{
    uint8_t sha256[DACM_DIGEST_BYTES];
    trust_sha256(page, sha256);
    return memcmp(sha256, ref->digest, sizeof sha256) == 0;
}

static rpc_code walk_page(store *db, const store_chunk_ref *ref, uint32_t entries,
    dacm_digest_fn *fn, void *ctx, bool *ret_go, rpc_status *reterr)
{
    store_wait wait;
    store_op *op = store_wait_begin(&wait);
    rpc_code code = store_wait_end(&wait, store_read(db, ref, 0, STORE_TO_END, op));
    if (code == RPC_NOT_FOUND ||
        (code == RPC_OK && wait.op.view.bytes.size != (size_t)entries * DACM_ENTRY_BYTES))
        code = rpc_status_set(
            reterr, RPC_DATA_LOSS, "a page of a version's chunk list is missing or cut");
    else if (code == RPC_OK && !page_is_whole(ref, wait.op.view.bytes))
        code = rpc_status_set(reterr, RPC_DATA_LOSS,
            "a page of a version's chunk list does not have the digest that it is kept under");
    else if (code != RPC_OK && reterr)
        *reterr = wait.op.status;
    for (uint32_t i = 0; code == RPC_OK && *ret_go && i < entries; i++) {
        const uint8_t *entry = wait.op.view.bytes.data + (size_t)i * DACM_ENTRY_BYTES;
        uint32_t length = (uint32_t)entry[0] << 24 | (uint32_t)entry[1] << 16 |
                          (uint32_t)entry[2] << 8 | entry[3];
        *ret_go = fn(ctx, entry + 4, length);
    }
    store_view_release(&wait.op.view);
    return code;
}

/* A page that a rotten record no longer names would leave its chunks to the sweep. */
static bool names_all_pages(const Dacm__Records__Version *version)
{
    uint64_t entries = 0;
    for (size_t i = 0; i < version->n_pages; i++) {
        const Dacm__Records__ListPage *page = version->pages[i];
        if (page->sha256.len != DACM_DIGEST_BYTES || page->entries > DACM_LIST_ENTRIES_MAX)
            return false;
        entries += page->entries;
    }
    return entries == version->chunk_count;
}

rpc_code dacm_walk_version(store *db, const uint8_t uid[STORE_UID_BYTES],
    const Dacm__Records__Version *version, dacm_digest_fn *fn, void *ctx, rpc_status *reterr)
{
    store_chunk_ref ref;
    bool go = true;
    memcpy(ref.uid, uid, sizeof ref.uid);
    if (!names_all_pages(version))
        return rpc_status_set(reterr, RPC_DATA_LOSS, "the record of a version contradicts itself");
    for (size_t i = 0; go && i < version->n_pages; i++) {
        const Dacm__Records__ListPage *page = version->pages[i];
        memcpy(ref.digest, page->sha256.data, sizeof ref.digest);
        go = fn(ctx, ref.digest, 0);
        rpc_code code = go ? walk_page(db, &ref, page->entries, fn, ctx, &go, reterr) : RPC_OK;
        if (code != RPC_OK)
            return code;
    }
    return RPC_OK;
}

static bool count_one(void *ctx, const store_entry *entry)
{
    (void)entry;
    ++*(uint64_t *)ctx;
    return true;
}

rpc_code dacm_count_assets(store *db, uint64_t *ret, rpc_status *reterr)
{
    *ret = 0;
    return dacm_walk_groups(db, "a/", true, count_one, ret, reterr);
}
