/* SPDX-License-Identifier: Apache-2.0 */
#include "document.h"
#include "test.h"

#include "gltf_get.h"
#include "image_kinds.h"

#include <stdlib.h>
#include <string.h>

static void append(document *d, const void *data, size_t size)
{
    d->file = realloc(d->file, d->size + size + 1);
    memcpy(d->file + d->size, data, size);
    d->size += size;
}

static void append_u32(document *d, size_t value)
{
    const uint8_t bytes[4] = {
        (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
    append(d, bytes, 4);
}

static void pad(document *d, char with)
{
    while (d->size % 4)
        append(d, &with, 1);
}

document glb(const char *members, const rpc_bytes *pictures, size_t count)
{
    document binary = {.file = NULL}, json = {.file = NULL}, whole = {.file = NULL};
    char text[256];
    append(&json, "{\"asset\":{\"version\":\"2.0\"},\"bufferViews\":[", 42);
    for (size_t i = 0; i < count; i++) {
        snprintf(text, sizeof text, "%s{\"buffer\":0,\"byteOffset\":%zu,\"byteLength\":%zu}",
            i ? "," : "", binary.size, pictures[i].size);
        append(&json, text, strlen(text));
        append(&binary, pictures[i].data, pictures[i].size);
        pad(&binary, '\0');
    }
    snprintf(text, sizeof text, "],\"buffers\":[{\"byteLength\":%zu}],", binary.size);
    append(&json, text, strlen(text));
    append(&json, members, strlen(members));
    append(&json, "}", 1);
    pad(&json, ' ');
    append_u32(&whole, 0x46546c67);
    append_u32(&whole, 2);
    append_u32(&whole, 28 + json.size + binary.size);
    append_u32(&whole, json.size);
    append_u32(&whole, 0x4e4f534a);
    append(&whole, json.file, json.size);
    append_u32(&whole, binary.size);
    append_u32(&whole, 0x004e4942);
    append(&whole, binary.file, binary.size);
    free(json.file);
    free(binary.file);
    return whole;
}

rpc_bytes encoded(draw_fn *draw, uint32_t size, media__image_kind kind)
{
    rpc_status status = {0};
    uint8_t *bytes = NULL;
    size_t length = 0;
    media__image image = drawn(size, size, draw);
    if (media__image_write(&image, kind, 90, MEDIA__IMAGE_COLOR, &bytes, &length, &status))
        fail_msg("%s", status.message);
    media__image_done(&image);
    return rpc_bytes_of(bytes, length);
}

void release(rpc_bytes bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

media_recipe recipe_of(const char *text)
{
    media_recipe recipe;
    rpc_status status = {0};
    if (media_recipe_read(rpc_bytes_str(text), &recipe, &status))
        fail_msg("%s: %s", text, status.message);
    return recipe;
}

rpc_code try_adapt(const document *d, const char *recipe_text, media__gltf *ret, rpc_status *reterr)
{
    media_recipe recipe = recipe_of(recipe_text);
    rpc_code code = media__gltf_read(rpc_bytes_of(d->file, d->size), ret, reterr);
    if (code == RPC_OK) {
        if (d->extensions)
            json_object_set_new(ret->json, "extensions", json_loads(d->extensions, 0, NULL));
        code = media__gltf_take_images(ret, reterr);
        if (code == RPC_OK)
            code = media__gltf_adapt_textures(ret, &recipe, reterr);
        if (code != RPC_OK)
            media__gltf_done(ret);
    }
    media_recipe_done(&recipe);
    return code;
}

media__gltf adapted(const document *d, const char *recipe)
{
    rpc_status status = {0};
    media__gltf gltf;
    if (try_adapt(d, recipe, &gltf, &status))
        fail_msg("%s: %s", recipe, status.message);
    return gltf;
}

rpc_bytes picture_of(const media__gltf *gltf, size_t image)
{
    return media__view_bytes(
        gltf, media__get_index(media__gltf_entry(gltf, "images", image), "bufferView"));
}

media__image decoded(const media__gltf *gltf, size_t image)
{
    rpc_status status = {0};
    media__image ret = {.pixels = NULL};
    if (media__image_read(picture_of(gltf, image), false, &ret, &status))
        fail_msg("image %zu: %s", image, status.message);
    return ret;
}

void assert_kind(const media__gltf *gltf, size_t image, media__image_kind kind)
{
    static const char *const types[] = {[MEDIA__IMAGE_PNG] = "image/png",
        [MEDIA__IMAGE_JPEG] = "image/jpeg",
        [MEDIA__IMAGE_WEBP] = "image/webp",
        [MEDIA__IMAGE_KTX2] = "image/ktx2"};
    rpc_status status = {0};
    media__image_info info = {.width = 0};
    assert_int_equal(media__image_probe(picture_of(gltf, image), &info, &status), RPC_OK);
    assert_int_equal(info.kind, kind);
    assert_string_equal(
        json_string_value(json_object_get(media__gltf_entry(gltf, "images", image), "mimeType")),
        types[kind]);
}

bool lists(const media__gltf *gltf, const char *list, const char *name)
{
    const json_t *names = json_object_get(gltf->json, list);
    for (size_t i = 0; i < json_array_size(names); i++)
        if (strcmp(json_string_value(json_array_get(names, i)), name) == 0)
            return true;
    return false;
}
