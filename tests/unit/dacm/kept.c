/* SPDX-License-Identifier: Apache-2.0 */
#include "kept.h"

static int64_t monotonic_us(void *ctx)
{
    return atomic_load(&((kept *)ctx)->wall_ms) * 1000;
}

static int64_t wall_ms(void *ctx)
{
    return atomic_load(&((kept *)ctx)->wall_ms);
}

static void open_store(kept *k)
{
    store_lmdb_options options = {.directory = k->directory,
        .meta_map_bytes_max = 64 << 20,
        .chunks_map_bytes_max = 256 << 20,
        .sync = STORE_SYNC_PROCESS,
        .clock = &k->clock};
    rpc_status status = {0};
    if (store_open_lmdb(&options, &k->db, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

void kept_open_variants(kept *k, uint64_t bytes_max)
{
    dacm_variants_free(k->service.variants);
    host_metrics_free(k->metrics);
    k->metrics = host_metrics_new();
    const dacm_variants_links links = {.store = k->db,
        .log = k->service.log,
        .objects = k->service.objects,
        .metrics = k->metrics,
        .clock = &k->clock,
        .running = k->service.running,
        .bytes_max = bytes_max,
        .room_bytes = k->room_bytes};
    k->service.variants = dacm_variants_new(&links);
    assert_non_null(k->service.variants);
    rpc_status status;
    assert_int_equal(dacm_variants_load(k->service.variants, &status), RPC_OK);
}

void kept_open(kept *k)
{
    memset(k, 0, sizeof *k);
    snprintf(k->directory, sizeof k->directory, "%s", test_tmpdir());
    atomic_store(&k->wall_ms, KEPT_START_MS);
    k->clock = (rpc_clock){monotonic_us, wall_ms, k};
    open_store(k);
    k->config = (dacm_config){.resource = "https://dacm.example/",
        .manifest_life_s = 4000,
        .sweep_interval_s = 3600,
        .sweep_grace_s = 3600};
    k->service = (dacm_service){.config = &k->config,
        .clock = &k->clock,
        .store = k->db,
        .uploads = dacm_uploads_new(),
        .running = dacm_running_new()};
    rpc_status status;
    assert_int_equal(
        host_log_open("/dev/null", HOST_INFO, "test", &k->clock, &k->service.log, &status), RPC_OK);
    assert_non_null(k->service.uploads);
    assert_non_null(k->service.running);
    k->metrics = host_metrics_new();
    k->service.objects = dacm_objects_new(k->db, 1 << 20);
    kept_open_variants(k, UINT64_MAX);
}

void kept_close_store(kept *k)
{
    store_close(k->db);
    k->db = k->service.store = NULL;
}

void kept_close(kept *k)
{
    dacm_variants_free(k->service.variants);
    dacm_objects_free(k->service.objects);
    host_metrics_free(k->metrics);
    kept_close_store(k);
    dacm_uploads_free(k->service.uploads);
    dacm_running_free(k->service.running);
    host_log_close(k->service.log);
}

void kept_pass(kept *k, int64_t ms)
{
    atomic_fetch_add(&k->wall_ms, ms);
}

/* ---- chunks -------------------------------------------------------------------------------------
 */

static void uid_of(uint8_t asset, uint8_t ret[STORE_UID_BYTES])
{
    memset(ret, 0x40, STORE_UID_BYTES);
    ret[0] = asset;
}

void kept_asset_id(uint8_t asset, char ret[2 * STORE_UID_BYTES + 1])
{
    uint8_t uid[STORE_UID_BYTES];
    uid_of(asset, uid);
    dacm_asset_id_of(uid, ret);
}

size_t kept_chunk(unsigned n, uint8_t ret_digest[32], uint8_t *ret_bytes)
{
    size_t size = 1000 + n;
    uint8_t *bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)((i + n) * 2654435761u >> 11);
    trust_sha256(rpc_bytes_of(bytes, size), ret_digest);
    if (ret_bytes)
        memcpy(ret_bytes, bytes, size);
    free(bytes);
    return size;
}

static void put_under(
    kept *k, uint8_t asset, const uint8_t digest[32], const void *bytes, size_t size)
{
    store_chunk_ref ref;
    store_wait wait;
    uid_of(asset, ref.uid);
    memcpy(ref.digest, digest, 32);
    store_op *op = store_wait_begin(&wait);
    if (store_wait_end(&wait, store_chunk_put(k->db, &ref, rpc_bytes_of(bytes, size), op)) !=
        RPC_OK)
        fail_msg("%s", wait.op.status.message);
}

void kept_put_bytes(kept *k, uint8_t asset, const void *bytes, size_t size, uint8_t ret_digest[32])
{
    trust_sha256(rpc_bytes_of(bytes, size), ret_digest);
    put_under(k, asset, ret_digest, bytes, size);
}

void kept_put_chunk(kept *k, uint8_t asset, unsigned n)
{
    uint8_t digest[32], *bytes = malloc(1000 + n);
    size_t size = kept_chunk(n, digest, bytes);
    kept_put_bytes(k, asset, bytes, size, digest);
    free(bytes);
}

void kept_rot_chunk(kept *k, uint8_t asset, unsigned n)
{
    uint8_t digest[32], bytes[2000];
    assert_true(1000 + n <= sizeof bytes);
    const size_t size = kept_chunk(n, digest, bytes);
    bytes[size / 2] ^= 1;
    kept_drop_digest(k, asset, digest);
    put_under(k, asset, digest, bytes, size);
}

void kept_rot_page(kept *k, uint8_t asset, const uint8_t digest[32])
{
    store_chunk_ref ref;
    store_wait wait;
    uid_of(asset, ref.uid);
    memcpy(ref.digest, digest, 32);
    store_op *op = store_wait_begin(&wait);
    assert_int_equal(store_wait_end(&wait, store_read(k->db, &ref, 0, STORE_TO_END, op)), RPC_OK);
    const size_t size = wait.op.view.bytes.size;
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    memcpy(bytes, wait.op.view.bytes.data, size);
    store_view_release(&wait.op.view);
    bytes[4] ^= 1;
    kept_drop_digest(k, asset, digest);
    put_under(k, asset, digest, bytes, size);
    free(bytes);
}

bool kept_has_digest(kept *k, uint8_t asset, const uint8_t digest[32])
{
    store_chunk_ref ref;
    store_wait wait;
    uid_of(asset, ref.uid);
    memcpy(ref.digest, digest, 32);
    store_op *op = store_wait_begin(&wait);
    rpc_code code = store_wait_end(&wait, store_chunk_has(k->db, &ref, op));
    assert_true(code == RPC_OK || code == RPC_NOT_FOUND);
    return code == RPC_OK;
}

bool kept_has_chunk(kept *k, uint8_t asset, unsigned n)
{
    uint8_t digest[32];
    kept_chunk(n, digest, NULL);
    return kept_has_digest(k, asset, digest);
}

void kept_drop_digest(kept *k, uint8_t asset, const uint8_t digest[32])
{
    uint8_t uid[STORE_UID_BYTES], one[1][32];
    store_wait wait;
    uid_of(asset, uid);
    memcpy(one[0], digest, 32);
    store_op *op = store_wait_begin(&wait);
    assert_int_equal(
        store_wait_end(&wait, store_chunk_drop(k->db, uid, (const void *)one, 1, INT64_MAX, op)),
        RPC_OK);
    assert_int_equal(wait.op.dropped, 1);
}

/* ---- records ------------------------------------------------------------------------------------
 */

static void change(kept *k, host_key group, const store_change *made)
{
    store_wait wait;
    store_op *op = store_wait_begin(&wait);
    if (store_wait_end(&wait, store_update(k->db, host_key_bytes(&group), STORE_ANY_GENERATION,
                                  made, 1, op)) != RPC_OK)
        fail_msg("%s", wait.op.status.message);
}

void kept_put(kept *k, host_key group, host_key item, const ProtobufCMessage *record)
{
    rpc_bytes packed = host_record_pack(record);
    assert_non_null(packed.data);
    change(k, group,
        &(store_change){.kind = STORE_PUT, .item = host_key_bytes(&item), .value = packed});
    free((void *)(uintptr_t)packed.data);
}

void kept_damage(kept *k, host_key group, host_key item)
{
    change(k, group,
        &(store_change){
            .kind = STORE_PUT, .item = host_key_bytes(&item), .value = rpc_bytes_str("\xff")});
}

void kept_delete(kept *k, host_key group, host_key item)
{
    change(k, group, &(store_change){.kind = STORE_DELETE, .item = host_key_bytes(&item)});
}

bool kept_has(kept *k, host_key group, host_key item)
{
    store_wait wait;
    rpc_code code = store_wait_get(k->db, host_key_bytes(&group), host_key_bytes(&item), &wait);
    store_view_release(&wait.op.view);
    assert_true(code == RPC_OK || code == RPC_NOT_FOUND);
    return code == RPC_OK;
}

static ProtobufCBinaryData binary(const uint8_t *data, size_t size)
{
    return (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)data};
}

/* The list of the version, whose digest is set; *ret_size is what its chunks add up to. */
static uint8_t *put_chunks(kept *k, kept_version *v, uint64_t *ret_size)
{
    uint8_t *entries = calloc(v->count + 1, DACM_ENTRY_BYTES);
    uint8_t *whole = malloc((size_t)v->count * (1000 + v->first + v->count) + 1);
    size_t filled = 0;
    assert_true(entries && whole);
    *ret_size = 0;
    for (unsigned i = 0; i < v->count; i++) {
        uint8_t digest[32];
        size_t size = kept_chunk(v->first + i, digest, whole + filled);
        filled += size;
        kept_put_chunk(k, v->asset, v->first + i);
        size = (size_t)((int64_t)size + (i == 0 ? v->wrong_length : 0));
        dacm_entry_write(entries + (size_t)i * DACM_ENTRY_BYTES, (uint32_t)size, digest);
        *ret_size += size;
    }
    trust_sha256(rpc_bytes_of(whole, filled), v->sha256);
    free(whole);
    return entries;
}

void kept_put_version(kept *k, kept_version *v)
{
    enum { PAGES_MAX = 64 };
    uint64_t size;
    uint8_t digests[PAGES_MAX][32];
    Dacm__Records__ListPage pages[PAGES_MAX], *pointers[PAGES_MAX];
    Dacm__Records__Version record = DACM__RECORDS__VERSION__INIT;
    unsigned per_page = v->per_page ? v->per_page : DACM_PAGE_ENTRIES;
    uint8_t *entries = put_chunks(k, v, &size);
    for (unsigned at = 0; at < v->count; at += per_page) {
        size_t n = record.n_pages++;
        assert_true(n < PAGES_MAX);
        unsigned count = v->count - at < per_page ? v->count - at : per_page;
        kept_put_bytes(k, v->asset, entries + (size_t)at * DACM_ENTRY_BYTES,
            (size_t)count * DACM_ENTRY_BYTES, digests[n]);
        dacm__records__list_page__init(&pages[n]);
        pages[n].sha256 = binary(digests[n], 32);
        pages[n].entries = count;
        pointers[n] = &pages[n];
        memcpy(v->page, digests[n], 32);
    }
    trust_sha256(rpc_bytes_of(entries, (size_t)v->count * DACM_ENTRY_BYTES), v->chunks_sha256);
    record.version = v->version;
    record.size = (uint64_t)((int64_t)size + v->size_more);
    record.media_type = (char *)(uintptr_t) "model/gltf-binary";
    record.chunking = (char *)(uintptr_t) "gear-64k";
    record.sha256 = binary(v->sha256, 32);
    record.chunks_sha256 = binary(v->chunks_sha256, 32);
    record.chunk_count = v->count;
    record.pages = pointers;
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(v->asset, id);
    kept_put(k, dacm_key_asset(id), dacm_key_version(v->version), &record.base);
    free(entries);
}

dacm_which kept_which(uint64_t version, const char *recipe)
{
    dacm_which which = {.version = version, .adapted = true};
    trust_sha256(rpc_bytes_str(recipe), which.recipe_sha256);
    return which;
}

void kept_put_variant(kept *k, uint8_t asset, uint64_t version, const char *recipe, unsigned n)
{
    Dacm__Records__Version record = DACM__RECORDS__VERSION__INIT;
    uint8_t uid[STORE_UID_BYTES], entry[DACM_ENTRY_BYTES], list[32], digest[32], source[32] = {7};
    char id[2 * STORE_UID_BYTES + 1];
    rpc_status status = {0};
    const size_t size = kept_chunk(n, digest, NULL);
    kept_put_chunk(k, asset, n);
    dacm_entry_write(entry, (uint32_t)size, digest);
    dacm_page page = {.entries = 1};
    kept_put_bytes(k, asset, entry, sizeof entry, page.sha256);
    trust_sha256(rpc_bytes_of(entry, sizeof entry), list);
    uid_of(asset, uid);
    kept_asset_id(asset, id);
    record.version = version;
    record.size = k->variant_bytes ? k->variant_bytes : size;
    record.created_at = atomic_load(&k->wall_ms) / 1000;
    record.media_type = (char *)(uintptr_t) "model/gltf-binary";
    record.chunking = (char *)(uintptr_t) "gear-64k";
    record.sha256 = binary(digest, 32);
    record.chunks_sha256 = binary(list, 32);
    record.chunk_count = 1;
    record.recipe = (char *)(uintptr_t)recipe;
    record.source_sha256 = binary(source, 32);
    const dacm_which which = kept_which(version, recipe);
    if (dacm_variants_put(k->service.variants, id, uid, &which, &record, &page, 1, &status) !=
        RPC_OK)
        fail_msg("%s", status.message);
}

void kept_put_profile(kept *k, uint8_t asset, uint64_t newest, uint64_t grants)
{
    Dacm__Records__Profile profile = DACM__RECORDS__PROFILE__INIT;
    uint8_t uid[STORE_UID_BYTES];
    char id[2 * STORE_UID_BYTES + 1];
    uid_of(asset, uid);
    kept_asset_id(asset, id);
    profile.uid = binary(uid, sizeof uid);
    profile.version = profile.oldest_version = newest;
    profile.grant_count = grants;
    kept_put(k, dacm_key_asset(id), dacm_key_profile(), &profile.base);
}

void kept_put_tombstone(kept *k, uint8_t asset)
{
    Dacm__Records__Profile profile = DACM__RECORDS__PROFILE__INIT;
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(asset, id);
    profile.deleted = true;
    kept_put(k, dacm_key_asset(id), dacm_key_profile(), &profile.base);
}

void kept_put_grant(kept *k, uint8_t asset, const char *gpsi)
{
    Dacm__Records__Grant grant = DACM__RECORDS__GRANT__INIT;
    char id[2 * STORE_UID_BYTES + 1];
    kept_asset_id(asset, id);
    grant.gpsi = (char *)(uintptr_t)gpsi;
    kept_put(k, dacm_key_asset(id), dacm_key_grant(gpsi), &grant.base);
}
