/* SPDX-License-Identifier: Apache-2.0 */
/* What is read is written again, and nothing of it is lost: elements of every accessor, the counts
 * of everything, names; compressed and not, pruned and not. */
#include "files.h"

#include "gltf_edit.h"
#include "gltf_get.h"
#include "gltf_refs.h"

#include <stdlib.h>
#include <string.h>

static const char *const lists[] = {"accessors", "animations", "bufferViews", "cameras", "images",
    "materials", "meshes", "nodes", "samplers", "scenes", "skins", "textures"};
#define LISTS (sizeof lists / sizeof *lists)

typedef struct document {
    uint8_t *file;
    size_t size;
    media__gltf gltf;
} document;

static document read_bytes(uint8_t *file, size_t size, const char *name)
{
    document d = {.file = file, .size = size};
    rpc_status status = {0};
    if (media__gltf_read(rpc_bytes_of(file, size), &d.gltf, &status) != RPC_OK ||
        media__gltf_decode(&d.gltf, &status) != RPC_OK)
        fail_msg("%s: %s", name, status.message);
    return d;
}

static document read_path(const char *path)
{
    size_t size = 0;
    uint8_t *file = file_bytes(path, &size);
    return read_bytes(file, size, path);
}

static void done(document *d)
{
    media__gltf_done(&d->gltf);
    free(d->file);
}

static document again(const document *d, bool meshopt, const char *name)
{
    const media__written how = {.meshopt = meshopt};
    uint8_t *file = NULL;
    size_t size = 0;
    rpc_status status = {0};
    if (media__gltf_write(&d->gltf, &how, &file, &size, &status) != RPC_OK)
        fail_msg("%s: %s", name, status.message);
    return read_bytes(file, size, name);
}

/* Large ones with DACM_TEST_FULL=1 only. */
static bool is_tried(const document *d)
{
    const char *full = getenv("DACM_TEST_FULL");
    return d->size < (3u << 20) || (full && strcmp(full, "1") == 0);
}

/* Triangles may begin with another of their corners: the least of the three turns stands for all.
 */
static void turn(uint32_t *c)
{
    uint32_t turns[3][3] = {{c[0], c[1], c[2]}, {c[1], c[2], c[0]}, {c[2], c[0], c[1]}};
    size_t least = 0;
    for (size_t i = 1; i < 3; i++)
        for (size_t j = 0; j < 3 && turns[i][j] <= turns[least][j]; j++)
            if (turns[i][j] < turns[least][j])
                least = i;
    memcpy(c, turns[least], sizeof turns[least]);
}

static bool same_triangles(uint32_t *a, uint32_t *b, size_t count)
{
    if (count % 3 != 0)
        return false;
    for (size_t i = 0; i < count; i += 3) {
        turn(a + i);
        turn(b + i);
    }
    return memcmp(a, b, count * sizeof *a) == 0;
}

static void same_accessor(const document *a, const document *b, size_t i, const char *name)
{
    rpc_status status = {0};
    uint8_t *first = NULL, *second = NULL;
    size_t count = 0, others = 0;
    media__layout layout;
    assert_int_equal(media__accessor_bytes(&a->gltf, i, &first, &count, &status), RPC_OK);
    assert_int_equal(media__accessor_bytes(&b->gltf, i, &second, &others, &status), RPC_OK);
    media__accessor_layout(media__gltf_entry(&a->gltf, "accessors", i), &layout);
    bool same = count == others && memcmp(first, second, count * layout.bytes) == 0;
    if (!same && count == others && layout.components == 1 && !layout.normalized) {
        uint32_t *x = NULL, *y = NULL;
        assert_int_equal(media__accessor_uints(&a->gltf, i, &x, &count, &status), RPC_OK);
        assert_int_equal(media__accessor_uints(&b->gltf, i, &y, &count, &status), RPC_OK);
        same = same_triangles(x, y, count);
        free(x);
        free(y);
    }
    if (!same)
        fail_msg("%s: /accessors/%zu is another", name, i);
    free(first);
    free(second);
}

static void same_counts(const document *a, const document *b, const char *name)
{
    for (size_t i = 0; i < LISTS; i++)
        if (media__gltf_count(&a->gltf, lists[i]) != media__gltf_count(&b->gltf, lists[i]))
            fail_msg("%s: %zu %s were %zu", name, media__gltf_count(&b->gltf, lists[i]), lists[i],
                media__gltf_count(&a->gltf, lists[i]));
}

/* Everything but where bytes lie. */
static void same_rest(const document *a, const document *b, const char *name)
{
    static const char *const moved[] = {
        "buffers", "bufferViews", "extensionsUsed", "extensionsRequired", "images"};
    json_t *x = json_deep_copy(a->gltf.json), *y = json_deep_copy(b->gltf.json);
    for (size_t i = 0; i < sizeof moved / sizeof *moved; i++) {
        json_object_del(x, moved[i]);
        json_object_del(y, moved[i]);
    }
    if (!json_equal(x, y))
        fail_msg("%s: something else is another", name);
    json_decref(x);
    json_decref(y);
}

static void same(const document *a, const document *b, const char *name)
{
    same_counts(a, b, name);
    for (size_t i = 0; i < media__gltf_count(&a->gltf, "accessors"); i++)
        same_accessor(a, b, i, name);
    same_rest(a, b, name);
}

static void comes_back(const char *path, void *ctx)
{
    document source = read_path(path);
    for (int meshopt = 0; is_tried(&source) && meshopt < 2; meshopt++) {
        document once = again(&source, meshopt, path), twice = again(&once, meshopt, path);
        same(&source, &once, path);
        if (!meshopt && (once.size != twice.size || memcmp(once.file, twice.file, once.size) != 0))
            fail_msg("%s: written twice it is not the same", path);
        done(&once);
        done(&twice);
    }
    done(&source);
    ++*(unsigned *)ctx;
}

/* ---- laid together ---- */

/* What each user of accessors finds in them, one after the other. */
typedef struct contents {
    const media__gltf *gltf;
    uint64_t sum;
    size_t count;
} contents;

static bool add_contents(void *ctx, media__list list, json_t *slot)
{
    contents *c = ctx;
    uint8_t *bytes = NULL;
    size_t count = 0;
    rpc_status status = {0};
    media__layout layout;
    if (list != MEDIA__ACCESSORS)
        return true;
    const size_t index = (size_t)json_integer_value(slot);
    media__accessor_layout(media__gltf_entry(c->gltf, "accessors", index), &layout);
    if (media__accessor_bytes(c->gltf, index, &bytes, &count, &status) != RPC_OK)
        fail_msg("/accessors/%zu: %s", index, status.message);
    c->sum = c->sum * 31 + (uint64_t)layout.component_type * 100 + layout.components;
    for (size_t i = 0; i < count * layout.bytes; i++)
        c->sum = (c->sum ^ bytes[i]) * 0x100000001b3u;
    c->count++;
    free(bytes);
    return true;
}

static contents contents_of(const document *d)
{
    contents c = {.gltf = &d->gltf};
    media__refs_of_rest(&d->gltf, add_contents, &c);
    for (size_t i = 0; i < media__gltf_count(&d->gltf, "meshes"); i++)
        media__refs_of(&d->gltf, MEDIA__MESHES, i, add_contents, &c);
    for (size_t i = 0; i < media__gltf_count(&d->gltf, "skins"); i++)
        media__refs_of(&d->gltf, MEDIA__SKINS, i, add_contents, &c);
    return c;
}

static void is_laid_together(const char *path, void *ctx)
{
    rpc_status status = {0};
    document source = read_path(path);
    if (is_tried(&source)) {
        document other = read_path(path);
        if (media__gltf_prune(&source.gltf, &status) != RPC_OK ||
            media__gltf_gather(&other.gltf, &status) != RPC_OK)
            fail_msg("%s: %s", path, status.message);
        const contents before = contents_of(&source), after = contents_of(&other);
        if (before.count != after.count || before.sum != after.sum)
            fail_msg("%s: accessors have other contents", path);
        document plain = again(&other, false, path), small = again(&other, true, path);
        same(&other, &plain, path);
        same(&other, &small, path);
        assert_int_equal(media__gltf_gather(&other.gltf, &status), RPC_OK);
        document twice = again(&other, false, path);
        if (plain.size != twice.size || memcmp(plain.file, twice.file, plain.size) != 0)
            fail_msg("%s: laid together twice it is another", path);
        done(&plain);
        done(&small);
        done(&twice);
        done(&other);
    }
    done(&source);
    ++*(unsigned *)ctx;
}

TEST(accessors_that_are_laid_together_keep_their_values)
{
    unsigned count = 0;
    each_file(test_data("avatars"), false, is_laid_together, &count);
    assert_true(count >= 28);
}

TEST(every_real_avatar_comes_back_as_it_was)
{
    unsigned count = 0;
    each_file(test_data("avatars"), false, comes_back, &count);
    assert_true(count >= 28);
}

static void stays_when_pruned(const char *path, void *ctx)
{
    rpc_status status = {0};
    document source = read_path(path), other = read_path(path);
    assert_int_equal(media__gltf_prune(&other.gltf, &status), RPC_OK);
    /* what nothing reaches may go; what is reached is all there */
    for (size_t i = 0; i < LISTS; i++)
        if (media__gltf_count(&other.gltf, lists[i]) > media__gltf_count(&source.gltf, lists[i]))
            fail_msg("%s: more %s", path, lists[i]);
    json_t *first = json_deep_copy(other.gltf.json);
    assert_int_equal(media__gltf_prune(&other.gltf, &status), RPC_OK);
    if (!json_equal(first, other.gltf.json))
        fail_msg("%s: pruned twice it is another", path);
    json_decref(first);
    document written = again(&other, false, path);
    done(&written);
    done(&source);
    done(&other);
    ++*(unsigned *)ctx;
}

TEST(pruning_what_is_pruned_changes_nothing)
{
    unsigned count = 0;
    each_file(test_data("avatars"), false, stays_when_pruned, &count);
    assert_true(count >= 28);
}

/* ---- names survive a move ---- */

/* Each entry of the lists below gets a name by its number, so that it is known wherever it goes. */
static void name_all(document *d)
{
    for (int list = 0; list < MEDIA__LISTS; list++)
        for (size_t i = 0; i < media__gltf_count(&d->gltf, media__list_names[list]); i++)
            json_object_set_new(media__gltf_entry(&d->gltf, media__list_names[list], i), "name",
                json_sprintf("%s %zu", media__list_names[list], i));
    json_t *beside = media__refs_beside(&d->gltf, MEDIA__MATERIALS);
    for (size_t i = 0; i < json_array_size(beside); i++)
        json_object_set_new(json_array_get(beside, i), "name", json_sprintf("materials %zu", i));
}

/* What belongs to a material by its place is still that of this material. */
static void stands_beside(const document *d, const char *path)
{
    const json_t *beside = media__refs_beside(&d->gltf, MEDIA__MATERIALS);
    for (size_t i = 0; i < json_array_size(beside); i++) {
        const char *name = json_string_value(
            json_object_get(media__gltf_entry(&d->gltf, "materials", i), "name"));
        const char *other = json_string_value(json_object_get(json_array_get(beside, i), "name"));
        if (!name || strcmp(name, other) != 0)
            fail_msg("%s: beside %s stands what was beside %s", path, name, other);
    }
}

typedef struct seen {
    const media__gltf *gltf;
    char *text; /* the names that were met, one after the other */
    size_t size, room;
} seen;

static bool note(void *ctx, media__list list, json_t *slot)
{
    seen *s = ctx;
    const json_t *entry = media__gltf_entry(
        s->gltf, media__list_names[list], (size_t)json_integer_value(slot));
    const char *name = json_string_value(json_object_get(entry, "name"));
    if (!name)
        fail_msg("an index of %s leads nowhere", media__list_names[list]);
    const size_t size = strlen(name) + 1;
    while (s->size + size > s->room) {
        s->room = 2 * s->room + 4096;
        s->text = realloc(s->text, s->room);
    }
    memcpy(s->text + s->size, name, size);
    s->size += size;
    return true;
}

static void same_names(seen *a, seen *b, const char *what)
{
    if (a->size != b->size || (a->size && memcmp(a->text, b->text, a->size) != 0))
        fail_msg("%s: leads to something else", what);
    free(a->text);
    free(b->text);
}

static void leads_to_the_same(const document *before, const document *after, const char *path)
{
    seen a = {.gltf = &before->gltf}, b = {.gltf = &after->gltf};
    media__refs_of_rest(&before->gltf, note, &a);
    media__refs_of_rest(&after->gltf, note, &b);
    same_names(&a, &b, path);
    for (int list = 0; list < MEDIA__LISTS; list++)
        for (size_t i = 0; i < media__gltf_count(&after->gltf, media__list_names[list]); i++) {
            const char *name = json_string_value(json_object_get(
                media__gltf_entry(&after->gltf, media__list_names[list], i), "name"));
            a = (seen){.gltf = &before->gltf};
            b = (seen){.gltf = &after->gltf};
            media__refs_of(
                &before->gltf, (media__list)list, strtoul(strchr(name, ' '), NULL, 10), note, &a);
            media__refs_of(&after->gltf, (media__list)list, i, note, &b);
            same_names(&a, &b, name);
        }
}

static void take_meshes_away(document *d, unsigned seed)
{
    name_all(d);
    for (size_t i = 0; i < media__gltf_count(&d->gltf, "nodes"); i++)
        if (rand_r(&seed) % 2) {
            json_object_del(media__gltf_entry(&d->gltf, "nodes", i), "mesh");
            json_object_del(media__gltf_entry(&d->gltf, "nodes", i), "skin");
        }
    json_object_del(d->gltf.json, "extensions");
    json_object_del(d->gltf.json, "animations");
}

/* The document's extensions stay, and lead where they led. */
static void take_materials_away(document *d, unsigned seed)
{
    name_all(d);
    for (size_t i = 0; i < media__gltf_count(&d->gltf, "meshes"); i++) {
        const json_t *primitives = json_object_get(
            media__gltf_entry(&d->gltf, "meshes", i), "primitives");
        for (size_t j = 0; j < json_array_size(primitives); j++)
            if (rand_r(&seed) % 2) {
                json_object_del(json_array_get(primitives, j), "material");
                json_object_del(json_array_get(primitives, j), "indices");
            }
    }
    json_t *animations = json_object_get(d->gltf.json, "animations");
    for (size_t i = json_array_size(animations); i-- > 1;)
        if (rand_r(&seed) % 2)
            json_array_remove(animations, i);
}

/* Random parts lose what they name, then the document is pruned: every index that is left leads to
 * what it led to. */
static void keeps_names(const char *path, void *ctx)
{
    static void (*const take_away[])(document *, unsigned) = {
        take_meshes_away, take_materials_away};
    const unsigned seed = 33721 + *(unsigned *)ctx;
    for (size_t i = 0; i < 2; i++) {
        rpc_status status = {0};
        document before = read_path(path), after = read_path(path);
        take_away[i](&before, seed);
        take_away[i](&after, seed);
        assert_int_equal(media__gltf_prune(&after.gltf, &status), RPC_OK);
        leads_to_the_same(&before, &after, path);
        stands_beside(&after, path);
        document written = again(&after, true, path);
        leads_to_the_same(&before, &written, path);
        done(&written);
        done(&before);
        done(&after);
    }
    ++*(unsigned *)ctx;
}

TEST(indices_lead_to_the_same_after_pruning_and_writing)
{
    unsigned count = 0;
    each_file(test_data("avatars"), false, keeps_names, &count);
    assert_true(count >= 28);
}
