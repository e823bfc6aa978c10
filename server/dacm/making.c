/* SPDX-License-Identifier: Apache-2.0 */
#include "making.h"

#include "changes.h"
#include "walk.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORD_ARENA  (256u << 10)
#define IN_FLIGHT_MAX (4u << 20) /* as much as the store commits at once */

/* ---- the source ---- */

/* Of reading: memory and read slots of ours are used up, which says nothing of the asset. */
static rpc_code blameless(rpc_code code, rpc_status *reterr)
{
    if (code == RPC_RESOURCE_EXHAUSTED)
        reterr->code = RPC_UNAVAILABLE;
    return code == RPC_RESOURCE_EXHAUSTED ? RPC_UNAVAILABLE : code;
}

typedef struct gathering {
    store *db;
    const dacm_wanted *wanted;
    int source;
    EVP_MD_CTX *whole;
    rpc_status status;
} gathering;

static bool gather_chunk(void *ctx, const uint8_t *digest, uint32_t length)
{
    gathering *g = ctx;
    store_chunk_ref ref;
    store_wait wait;
    if (length == 0) /* a page of the list */
        return true;
    memcpy(ref.uid, g->wanted->uid, sizeof ref.uid);
    memcpy(ref.digest, digest, sizeof ref.digest);
    store_op *op = store_wait_begin(&wait);
    rpc_code code = store_wait_end(&wait, store_read(g->db, &ref, 0, STORE_TO_END, op));
    if (code == RPC_OK && wait.op.view.bytes.size != length)
        rpc_status_set(&g->status, RPC_DATA_LOSS, "a chunk has another length than the list says");
    else if (code == RPC_OK && EVP_DigestUpdate(g->whole, wait.op.view.bytes.data, length) != 1)
        rpc_status_set(&g->status, RPC_INTERNAL, "OpenSSL could not hash");
    else if (code == RPC_OK)
        g->status.code = media_source_write(g->source, wait.op.view.bytes, &g->status);
    else
        g->status = wait.op.status;
    store_view_release(&wait.op.view);
    return g->status.code == RPC_OK;
}

static rpc_code read_version(store *db, const dacm_wanted *wanted, rpc_arena *arena,
    Dacm__Records__Version **ret, rpc_status *reterr)
{
    const host_key group = dacm_key_asset(wanted->asset_id);
    const host_key item = dacm_key_version(wanted->which.version);
    store_wait wait;
    rpc_code code = store_wait_get(db, host_key_bytes(&group), host_key_bytes(&item), &wait);
    if (code == RPC_OK)
        code = host_record_unpack(&dacm__records__version__descriptor, wait.op.view.bytes, arena,
            (ProtobufCMessage **)ret, reterr);
    else
        *reterr = wait.op.status;
    store_view_release(&wait.op.view);
    return code;
}

static rpc_code admit(
    const Dacm__Records__Version *version, const dacm_source_rule *rule, rpc_status *reterr)
{
    if (version->size > rule->bytes_max)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "recipe: the asset has %llu bytes; media.source_bytes_max lets %llu be adapted, ask "
            "for the original",
            (unsigned long long)version->size, (unsigned long long)rule->bytes_max);
    if (version->size == 0)
        return rpc_status_set(
            reterr, RPC_FAILED_PRECONDITION, "recipe: the asset is empty; ask for the original");
    return rule->admit(rule->ctx, version->size, reterr);
}

/* A variant has a digest and a signature of its own: bytes that rotted on disk would have them too.
 */
static rpc_code check_whole(gathering *g, const Dacm__Records__Version *version, rpc_status *reterr)
{
    uint8_t sha256[DACM_DIGEST_BYTES];
    if (EVP_DigestFinal_ex(g->whole, sha256, NULL) != 1)
        return rpc_status_set(reterr, RPC_INTERNAL, "OpenSSL could not hash");
    if (version->sha256.len != sizeof sha256 ||
        memcmp(version->sha256.data, sha256, sizeof sha256) != 0)
        return rpc_status_set(reterr, RPC_DATA_LOSS,
            "the bytes of a version are not those that were stored; dacmd --store-check names the "
            "chunk");
    return RPC_OK;
}

static rpc_code gather(gathering *g, const Dacm__Records__Version *version, rpc_status *reterr)
{
    g->source = media_source_open(reterr);
    if (g->source < 0)
        return reterr->code;
    if (EVP_DigestInit_ex(g->whole, EVP_sha256(), NULL) != 1)
        return rpc_status_set(reterr, RPC_INTERNAL, "OpenSSL could not hash");
    rpc_code code = dacm_walk_version(g->db, g->wanted->uid, version, gather_chunk, g, reterr);
    if (code == RPC_OK && g->status.code != RPC_OK) {
        *reterr = g->status;
        code = g->status.code;
    }
    if (code == RPC_OK)
        code = check_whole(g, version, reterr);
    return code == RPC_OK ? media_source_seal(g->source, reterr) : code;
}

/* A chunk is missing: because the version was deleted meanwhile, or lost. */
static rpc_code tell_missing(gathering *g, rpc_arena *arena, rpc_status *reterr)
{
    Dacm__Records__Version *version = NULL;
    const rpc_code code = read_version(g->db, g->wanted, arena, &version, reterr);
    return code != RPC_OK
               ? code
               : rpc_status_set(reterr, RPC_DATA_LOSS, "a chunk of a version is missing");
}

static rpc_code make_source(gathering *g, const dacm_source_rule *rule, rpc_arena *arena,
    uint8_t ret_sha256[DACM_DIGEST_BYTES], rpc_status *reterr)
{
    Dacm__Records__Version *version = NULL;
    rpc_code code = blameless(read_version(g->db, g->wanted, arena, &version, reterr), reterr);
    if (code == RPC_OK)
        code = admit(version, rule, reterr);
    if (code != RPC_OK)
        return code;
    code = gather(g, version, reterr);
    if (code == RPC_NOT_FOUND)
        code = tell_missing(g, arena, reterr);
    if (code == RPC_OK)
        memcpy(ret_sha256, version->sha256.data, DACM_DIGEST_BYTES);
    return blameless(code, reterr);
}

rpc_code dacm_make_source(store *db, const dacm_wanted *wanted, const dacm_source_rule *rule,
    int *ret_source, uint8_t ret_sha256[DACM_DIGEST_BYTES], rpc_status *reterr)
{
    gathering g = {.db = db, .wanted = wanted, .source = -1, .whole = EVP_MD_CTX_new()};
    rpc_arena *arena = rpc_arena_new(RECORD_ARENA);
    const rpc_code code = arena && g.whole ? make_source(&g, rule, arena, ret_sha256, reterr)
                                           : rpc_status_set(reterr, RPC_UNAVAILABLE,
                                                 "recipe: no memory to begin; try again");
    if (code == RPC_OK)
        *ret_source = g.source;
    else if (g.source >= 0)
        close(g.source);
    rpc_arena_free(arena);
    EVP_MD_CTX_free(g.whole);
    return code;
}

/* ---- the variant ---- */

/* Puts under way: the store takes them in groups. */
typedef struct putting {
    store *db;
    const uint8_t *uid;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    size_t in_flight;
    rpc_status status; /* of the first that failed */
} putting;

typedef struct put {
    store_op op;
    putting *all;
    uint8_t *data;
    size_t size;
} put;

static void put_done(store_op *op)
{
    put *p = op->ctx;
    putting *all = p->all;
    pthread_mutex_lock(&all->lock);
    if (op->status.code != RPC_OK && all->status.code == RPC_OK)
        all->status = op->status;
    all->in_flight -= p->size;
    pthread_cond_signal(&all->moved);
    pthread_mutex_unlock(&all->lock);
    free(p->data);
    free(p);
}

static void await_room(putting *all, size_t most)
{
    pthread_mutex_lock(&all->lock);
    while (all->in_flight > most)
        pthread_cond_wait(&all->moved, &all->lock);
    pthread_mutex_unlock(&all->lock);
}

static rpc_code put_chunk(void *arg, uint8_t *data, size_t size,
    const uint8_t digest[DACM_DIGEST_BYTES], rpc_status *reterr)
{
    putting *all = arg;
    put *p = calloc(1, sizeof *p);
    if (!p) {
        free(data);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "variants: no memory for a chunk");
    }
    store_chunk_ref ref;
    memcpy(ref.uid, all->uid, sizeof ref.uid);
    memcpy(ref.digest, digest, sizeof ref.digest);
    *p = (put){.all = all, .data = data, .size = size};
    p->op = (store_op){.done = put_done, .ctx = p};
    await_room(all, IN_FLIGHT_MAX);
    pthread_mutex_lock(&all->lock);
    all->in_flight += size;
    pthread_mutex_unlock(&all->lock);
    if (store_chunk_put(all->db, &ref, rpc_bytes_of(data, size), &p->op) == STORE_READY)
        put_done(&p->op);
    return RPC_OK;
}

typedef struct listed {
    uint8_t sha256[DACM_DIGEST_BYTES], chunks_sha256[DACM_DIGEST_BYTES];
    uint32_t chunk_count;
    dacm_page *pages;
    size_t page_count;
} listed;

static rpc_code put_all(putting *all, rpc_bytes bytes, listed *ret, rpc_status *reterr)
{
    dacm_assembler assembler;
    rpc_code code = dacm_assembler_init(&assembler, put_chunk, all, reterr);
    if (code != RPC_OK)
        return code;
    code = dacm_assembler_feed(&assembler, bytes, reterr);
    if (code == RPC_OK)
        code = dacm_assembler_finish(&assembler, ret->sha256, ret->chunks_sha256, reterr);
    if (code == RPC_OK)
        code = dacm_assembler_put_pages(&assembler, &ret->pages, &ret->page_count, reterr);
    ret->chunk_count = (uint32_t)assembler.count;
    dacm_assembler_done(&assembler);
    await_room(all, 0);
    if (code == RPC_OK && all->status.code != RPC_OK) {
        *reterr = all->status;
        code = all->status.code;
    }
    return code;
}

static rpc_code put_bytes(
    store *db, const uint8_t *uid, rpc_bytes bytes, listed *ret, rpc_status *reterr)
{
    putting all = {.db = db, .uid = uid};
    pthread_mutex_init(&all.lock, NULL);
    pthread_cond_init(&all.moved, NULL);
    const rpc_code code = put_all(&all, bytes, ret, reterr);
    pthread_cond_destroy(&all.moved);
    pthread_mutex_destroy(&all.lock);
    return code;
}

/* ret borrows the names. */
static void fill_figures(const media_figures *from, Dacm__Records__Figures *ret)
{
    dacm__records__figures__init(ret);
    ret->triangles = from->triangles;
    ret->vertices = from->vertices;
    ret->textures = from->textures;
    ret->texture_size = from->texture_size;
    ret->texture_pixels = from->texture_pixels;
    ret->morph_targets = from->morph_targets;
    ret->animations = from->animations;
    ret->joints = from->joints;
    ret->n_extensions_required = from->extensions_required.count;
    ret->extensions_required = from->extensions_required.list;
}

rpc_code dacm_make_variant(dacm_variants *variants, store *db, const dacm_wanted *wanted,
    const uint8_t source_sha256[DACM_DIGEST_BYTES], const media_made *made, int64_t now_s,
    rpc_status *reterr)
{
    listed list = {.chunk_count = 0};
    rpc_code code = put_bytes(db, wanted->uid, made->bytes, &list, reterr);
    if (code == RPC_OK) {
        Dacm__Records__Version record = DACM__RECORDS__VERSION__INIT;
        Dacm__Records__Figures figures;
        char chunking[] = "gear-64k";
        fill_figures(&made->figures, &figures);
        record.version = wanted->which.version;
        record.media_type = (char *)(uintptr_t)made->media_type;
        record.size = made->bytes.size;
        record.sha256 = dacm_data_of(list.sha256, DACM_DIGEST_BYTES);
        record.chunks_sha256 = dacm_data_of(list.chunks_sha256, DACM_DIGEST_BYTES);
        record.chunk_count = list.chunk_count;
        record.chunking = chunking;
        record.created_at = now_s;
        record.recipe = (char *)(uintptr_t)wanted->recipe;
        record.source_sha256 = dacm_data_of(source_sha256, DACM_DIGEST_BYTES);
        record.figures = &figures;
        record.made_in_ms = (uint32_t)(made->cpu_us / 1000);
        record.shortfall = (char *)(uintptr_t)made->why;
        record.licence = (char *)(uintptr_t)made->figures.licence;
        code = dacm_variants_put(variants, wanted->asset_id, wanted->uid, &wanted->which, &record,
            list.pages, list.page_count, reterr);
    }
    free(list.pages);
    return code;
}
