/* SPDX-License-Identifier: Apache-2.0 */
/* media_adapt(), whole: the input is a recipe and the numbers of an avatar, which is drawn here as
 * a GLB file that is valid whatever they are (skin, morph targets, texture, an animation). It is
 * never refused as broken; what is made of it is read again as strictly as any upload, has no more
 * than was there and was asked for, and is the same the second time. */
#include "fuzz.h"
#include "gltf_edit.h"
#include "media.h"

#include <math.h>
#include <stdarg.h>

#define FILE_ROOM    ((size_t)1 << 18)
#define JSON_ROOM    ((size_t)1 << 14)
#define VERTICES_MAX 200
#define KEYS         3

/* A 1 × 1 picture, RGB. */
static const uint8_t png[] = {0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00,
    0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x02, 0x00,
    0x00, 0x00, 0x90, 0x77, 0x53, 0xde, 0x00, 0x00, 0x00, 0x0c, 0x49, 0x44, 0x41, 0x54, 0x78, 0xda,
    0x63, 0x38, 0xd0, 0xe0, 0x00, 0x00, 0x03, 0x84, 0x01, 0x81, 0x58, 0xa3, 0x32, 0xcd, 0x00, 0x00,
    0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};

/* ---- the input ---- */

typedef struct input {
    const uint8_t *data;
    size_t size, at;
} input;

/* Of an input at its end: from its beginning again, so that short ones draw much. */
static uint8_t next(input *in)
{
    return in->size ? in->data[in->at++ % in->size] : 0;
}

/* Mostly what avatars have; sometimes any float. */
static float next_float(input *in)
{
    const uint8_t high = next(in), low = next(in);
    float any;
    if (high != 0xf5)
        return (float)(int16_t)(high << 8 | low) / 4096;
    const uint32_t bits = (uint32_t)low << 24 | (uint32_t)next(in) << 16 | (uint32_t)next(in) << 8;
    memcpy(&any, &bits, sizeof any);
    return isfinite(any) ? any : 0;
}

/* ---- the avatar ---- */

typedef struct avatar {
    size_t vertices, triangles, targets, joints; /* joints 0: no skin */
    bool split, normals, colors, animation;      /* split: two primitives share the vertices */
    uint8_t bin[FILE_ROOM];
    size_t bin_size;
    char json[JSON_ROOM], accessors[JSON_ROOM], views[JSON_ROOM];
    size_t json_size, accessors_size, views_size, accessor_count, view_count;
    uint8_t file[FILE_ROOM];
    size_t file_size;
} avatar;

__attribute__((format(printf, 3, 4))) static void add(
    char *text, size_t *size, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    const int count = vsnprintf(text + *size, JSON_ROOM - *size, format, list);
    va_end(list);
    MUST(count >= 0 && (size_t)count < JSON_ROOM - *size);
    *size += (size_t)count;
}

static void put(avatar *a, const void *bytes, size_t size)
{
    MUST(size <= sizeof a->bin - a->bin_size);
    memcpy(a->bin + a->bin_size, bytes, size);
    a->bin_size += size;
}

static void end_view(avatar *a, size_t begin)
{
    const size_t size = a->bin_size - begin;
    while (a->bin_size % 4)
        a->bin[a->bin_size++] = 0;
    add(a->views, &a->views_size, "%s{\"buffer\":0,\"byteOffset\":%zu,\"byteLength\":%zu}",
        a->view_count++ ? "," : "", begin, size);
}

static void end_accessor(avatar *a, size_t begin, int component, size_t count, const char *type)
{
    end_view(a, begin);
    add(a->accessors, &a->accessors_size,
        "%s{\"bufferView\":%zu,\"componentType\":%d,\"count\":%zu,\"type\":\"%s\"",
        a->accessor_count++ ? "," : "", a->view_count - 1, component, count, type);
}

static void put_floats(avatar *a, input *in, size_t count, size_t components, const char *type)
{
    const size_t begin = a->bin_size;
    float least[4] = {0}, most[4] = {0};
    for (size_t i = 0; i < count * components; i++) {
        const float value = next_float(in);
        float *min = &least[i % components], *max = &most[i % components];
        *min = i < components || value < *min ? value : *min;
        *max = i < components || value > *max ? value : *max;
        put(a, &value, sizeof value);
    }
    end_accessor(a, begin, MEDIA__FLOAT, count, type);
    for (size_t k = 0; components == 3 && k < 2; k++) {
        const float *from = k ? most : least;
        add(a->accessors, &a->accessors_size, ",\"%s\":[%.17g,%.17g,%.17g]", k ? "max" : "min",
            (double)from[0], (double)from[1], (double)from[2]);
    }
    add(a->accessors, &a->accessors_size, "}");
}

static void put_bytes(avatar *a, input *in, size_t count, const char *type, size_t below)
{
    const size_t begin = a->bin_size;
    for (size_t i = 0; i < count * 4; i++) {
        const uint8_t value = (uint8_t)(next(in) % below);
        put(a, &value, 1);
    }
    end_accessor(a, begin, MEDIA__UBYTE, count, type);
    add(a->accessors, &a->accessors_size, "%s}", below == 256 ? ",\"normalized\":true" : "");
}

static void put_indices(avatar *a, input *in, size_t triangles)
{
    const size_t begin = a->bin_size;
    const bool strip = next(in) % 4 != 0; /* as surfaces have it: triangles that touch */
    for (size_t i = 0; i < 3 * triangles; i++) {
        const uint16_t value = (uint16_t)((strip ? i / 3 + i % 3 + next(in) % 2 : next(in)) %
                                          a->vertices);
        put(a, &value, sizeof value);
    }
    end_accessor(a, begin, MEDIA__USHORT, 3 * triangles, "SCALAR");
    add(a->accessors, &a->accessors_size, "}");
}

static void put_times(avatar *a)
{
    const size_t begin = a->bin_size;
    for (size_t i = 0; i < KEYS; i++) {
        const float time = (float)i / 2;
        put(a, &time, sizeof time);
    }
    end_accessor(a, begin, MEDIA__FLOAT, KEYS, "SCALAR");
    add(a->accessors, &a->accessors_size, ",\"min\":[0],\"max\":[1]}");
}

#define ADD(...) add(a->json, &a->json_size, __VA_ARGS__)

static void put_primitives(avatar *a, input *in, char *attributes)
{
    char targets[512] = "";
    size_t size = 0;
    for (size_t i = 0; i < a->targets; i++) {
        put_floats(a, in, a->vertices, 3, "VEC3");
        size += (size_t)snprintf(targets + size, sizeof targets - size, "%s{\"POSITION\":%zu}",
            i ? "," : ",\"targets\":[", a->accessor_count - 1);
    }
    snprintf(targets + size, sizeof targets - size, "%s", a->targets ? "]" : "");
    const size_t first = a->split ? (a->triangles + 1) / 2 : a->triangles;
    ADD("\"meshes\":[{\"primitives\":[");
    for (size_t begin = 0; begin < a->triangles; begin += first) {
        put_indices(a, in, begin + first > a->triangles ? a->triangles - begin : first);
        ADD("%s{\"indices\":%zu,\"material\":%d,\"attributes\":{%s}%s}", begin ? "," : "",
            a->accessor_count - 1, begin ? 1 : 0, attributes, targets);
    }
    ADD("]");
    for (size_t i = 0; i < a->targets; i++)
        ADD("%s\"t%zu\"", i ? "," : ",\"extras\":{\"targetNames\":[", i);
    ADD("%s}],", a->targets ? "]}" : "");
}

static void put_mesh(avatar *a, input *in)
{
    char attributes[512];
    size_t size = 0;
#define ATTRIBUTE(name)                                                                            \
    size += (size_t)snprintf(                                                                      \
        attributes + size, sizeof attributes - size, ",\"%s\":%zu", name, a->accessor_count - 1)
    put_floats(a, in, a->vertices, 3, "VEC3");
    ATTRIBUTE("POSITION");
    put_floats(a, in, a->vertices, 2, "VEC2");
    ATTRIBUTE("TEXCOORD_0");
    if (a->normals) {
        put_floats(a, in, a->vertices, 3, "VEC3");
        ATTRIBUTE("NORMAL");
    }
    if (a->colors) {
        put_bytes(a, in, a->vertices, "VEC4", 256);
        ATTRIBUTE("COLOR_0");
    }
    if (a->joints) {
        put_bytes(a, in, a->vertices, "VEC4", a->joints);
        ATTRIBUTE("JOINTS_0");
        put_bytes(a, in, a->vertices, "VEC4", 256);
        ATTRIBUTE("WEIGHTS_0");
    }
    put_primitives(a, in, attributes + 1);
}

static void put_animation(avatar *a, input *in)
{
    put_times(a);
    const size_t times = a->accessor_count - 1;
    put_floats(a, in, KEYS, 3, "VEC3");
    ADD("\"animations\":[{\"name\":\"a\",\"channels\":[{\"sampler\":0,\"target\":{\"node\":1,"
        "\"path\":\"translation\"}}%s],\"samplers\":[{\"input\":%zu,\"output\":%zu}",
        a->targets ? ",{\"sampler\":1,\"target\":{\"node\":0,\"path\":\"weights\"}}" : "", times,
        a->accessor_count - 1);
    if (a->targets) {
        put_floats(a, in, KEYS * a->targets, 1, "SCALAR");
        ADD(",{\"input\":%zu,\"output\":%zu}", times, a->accessor_count - 1);
    }
    ADD("]}],");
}

/* Node 0 has the mesh, node 1 the other joints. */
static void put_nodes(avatar *a)
{
    ADD("\"scene\":0,\"scenes\":[{\"nodes\":[0,1]}],\"nodes\":[{\"mesh\":0%s},{\"name\":\"j\"",
        a->joints ? ",\"skin\":0" : "");
    for (size_t i = 1; i < a->joints; i++)
        ADD("%s%zu", i > 1 ? "," : ",\"children\":[", i + 1);
    ADD("%s}", a->joints > 1 ? "]" : "");
    for (size_t i = 1; i < a->joints; i++)
        ADD(",{\"name\":\"j%zu\"}", i);
    ADD("],");
    for (size_t i = 0; i < a->joints; i++)
        ADD("%s%zu", i ? "," : "\"skins\":[{\"joints\":[", i + 1);
    ADD("%s", a->joints ? "]}]," : "");
}

static void put_word(avatar *a, uint32_t word)
{
    memcpy(a->file + a->file_size, &word, sizeof word);
    a->file_size += sizeof word;
}

static void put_file(avatar *a)
{
    while (a->json_size % 4)
        ADD(" ");
    MUST(28 + a->json_size + a->bin_size <= sizeof a->file);
    put_word(a, 0x46546c67);
    put_word(a, 2);
    put_word(a, (uint32_t)(28 + a->json_size + a->bin_size));
    put_word(a, (uint32_t)a->json_size);
    put_word(a, 0x4e4f534a);
    memcpy(a->file + a->file_size, a->json, a->json_size);
    a->file_size += a->json_size;
    put_word(a, (uint32_t)a->bin_size);
    put_word(a, 0x004e4942);
    memcpy(a->file + a->file_size, a->bin, a->bin_size);
    a->file_size += a->bin_size;
}

static void draw(avatar *a, input *in)
{
    const uint8_t has = next(in);
    a->vertices = 3 + next(in) % (VERTICES_MAX - 2);
    a->triangles = 1 + next(in);
    a->targets = (size_t)has >> 6;
    a->joints = has & 1 ? 1 + next(in) % 6 : 0;
    a->split = (has & 2) && a->triangles > 1;
    a->normals = has & 4;
    a->colors = has & 8;
    a->animation = has & 16;
    ADD("{\"asset\":{\"version\":\"2.0\"},");
    put_mesh(a, in);
    put_nodes(a);
    if (a->animation)
        put_animation(a, in);
    const size_t picture = a->bin_size;
    put(a, png, sizeof png);
    end_view(a, picture);
    ADD("\"images\":[{\"bufferView\":%zu,\"mimeType\":\"image/png\"}],"
        "\"textures\":[{\"source\":0}],\"materials\":[{\"pbrMetallicRoughness\":{"
        "\"baseColorTexture\":{\"index\":0}}},{\"emissiveTexture\":{\"index\":0}}],"
        "\"buffers\":[{\"byteLength\":%zu}],\"bufferViews\":[%s],\"accessors\":[%s]}",
        a->view_count - 1, a->bin_size, a->views, a->accessors);
    put_file(a);
}

/* ---- the recipe ---- */

static void choose(media_recipe *recipe, input *in)
{
    rpc_status status = {0};
    const uint8_t mesh = next(in), more = next(in), channels = next(in);
    media_recipe_init(recipe);
    if (mesh & 1)
        recipe->max_triangles = 1u + next(in);
    else
        recipe->lod = (mesh >> 1) % 3;
    recipe->mesh_compression = (media_mesh_compression)((mesh >> 3) % 3);
    recipe->quantization = mesh & 64 ? MEDIA_QUANTIZATION_STANDARD : MEDIA_QUANTIZATION_KEEP;
    recipe->base = mesh & 128;
    recipe->some_morph_targets = more & 1;
    if ((more & 3) == 3)
        MUST(media_names_add(&recipe->morph_targets, rpc_bytes_str("t1"), &status) == RPC_OK);
    recipe->some_animations = more & 4;
    recipe->texture_format = (media_texture_format)((more >> 3) % 4);
    recipe->max_bytes = more & 32 ? 1000u + 40u * (uint64_t)next(in) : 0;
    recipe->texture_size_limit = more & 64 ? MEDIA_TEXTURE_SIZE_MIN : 0;
    recipe->texture_channels = channels & 1 ? MEDIA_CHANNELS_ALL
                                            : channels >> 1 & MEDIA_CHANNELS_ALL;
}

/* ---- what must be ---- */

static void must_be_read(const media_result *made)
{
    rpc_status status = {0};
    media__gltf again;
    MUST(media__gltf_read(rpc_bytes_of(made->bytes, made->size), &again, &status) == RPC_OK);
    MUST(media__gltf_decode(&again, &status) == RPC_OK);
    MUST(media__gltf_check_data(&again, &status) == RPC_OK);
    media__gltf_done(&again);
}

static void must_fit(const avatar *a, const media_recipe *recipe, const media_result *made)
{
    size_t targets = a->targets;
    if (recipe->some_morph_targets)
        targets = recipe->morph_targets.count && a->targets > 1 ? 1 : 0;
    const bool still = recipe->base || recipe->some_animations || !a->animation;
    const media_figures *source = &made->source, *figures = &made->figures;
    MUST(source->triangles == a->triangles);
    MUST(figures->triangles <= source->triangles && figures->vertices <= source->vertices);
    MUST(figures->morph_targets == targets);
    MUST(figures->joints == source->joints && figures->nodes == source->nodes);
    MUST(!still || figures->animations == 0);
    MUST(figures->bytes == made->size);
    MUST(!recipe->max_bytes || made->size <= recipe->max_bytes);
}

static void adapt(const avatar *a, const media_recipe *recipe)
{
    const rpc_bytes source = rpc_bytes_of(a->file, a->file_size);
    rpc_status status = {0}, second = {0};
    media_result made, again;
    const rpc_code code = media_adapt(source, recipe, &made, &status);
    MUST(media_adapt(source, recipe, &again, &second) == code);
    if (code != RPC_OK) {
        fuzz_refused(code, &status);
        if (code != RPC_FAILED_PRECONDITION)
            fprintf(stderr, "%s\n", status.message);
        MUST(code == RPC_FAILED_PRECONDITION && recipe->max_bytes);
        MUST(strcmp(status.message, second.message) == 0);
        return;
    }
    char *names = NULL;
    MUST(media_list_names(source, &names, &status) == RPC_OK && names[0] == '{');
    free(names);
    MUST(made.size == again.size && memcmp(made.bytes, again.bytes, made.size) == 0);
    must_be_read(&made);
    must_fit(a, recipe, &made);
    media_result_done(&made);
    media_result_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static avatar drawn;
    input in = {.data = data, .size = size};
    media_recipe recipe;
    rpc_status status = {0};
    memset(&drawn, 0, sizeof drawn);
    choose(&recipe, &in);
    draw(&drawn, &in);
    const rpc_code code = media_recipe_settle(&recipe, &status);
    if (code == RPC_OK)
        adapt(&drawn, &recipe);
    else
        fuzz_refused(code, &status);
    media_recipe_done(&recipe);
    return 0;
}
