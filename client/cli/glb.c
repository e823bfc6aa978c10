/* SPDX-License-Identifier: Apache-2.0 */
#include "glb.h"

#include "cleanup.h"

#include <jansson.h>
#include <string.h>

#define CUBE_CORNERS 8
#define CUBE_INDICES 36
#define BLOB_BYTES   (CUBE_INDICES * 2 + CUBE_CORNERS * 12)

static const uint16_t cube_indices[CUBE_INDICES] = {0, 2, 3, 0, 3, 1, 4, 5, 7, 4, 7, 6, 0, 1, 5, 0,
    5, 4, 2, 6, 7, 2, 7, 3, 0, 4, 6, 0, 6, 2, 1, 3, 7, 1, 7, 5};

static void put_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

/** Indices, then positions; little-endian as glTF wants it. */
static void fill_blob(uint8_t blob[BLOB_BYTES])
{
    for (size_t i = 0; i < CUBE_INDICES; i++) {
        blob[2 * i] = (uint8_t)cube_indices[i];
        blob[2 * i + 1] = 0;
    }
    uint8_t *at = blob + CUBE_INDICES * 2;
    const uint32_t half = 0x3f000000, minus_half = 0xbf000000; /* ±0.5 in IEEE 754 */
    for (unsigned corner = 0; corner < CUBE_CORNERS; corner++)
        for (unsigned axis = 0; axis < 3; axis++, at += 4)
            put_u32(at, corner >> axis & 1 ? half : minus_half);
}

static json_t *document(const char *name, const float colour[3])
{
    return json_pack("{s:{s:s, s:s}, s:i, s:[{s:[i]}], s:[{s:s, s:i}],"
                     " s:[{s:[{s:{s:i}, s:i, s:i}]}],"
                     " s:[{s:{s:[f,f,f,f], s:f}}],"
                     " s:[{s:i, s:i, s:i, s:s}, {s:i, s:i, s:i, s:s, s:[f,f,f], s:[f,f,f]}],"
                     " s:[{s:i, s:i, s:i, s:i}, {s:i, s:i, s:i, s:i}], s:[{s:i}]}",
        "asset", "version", "2.0", "generator", "dacm dev", "scene", 0, "scenes", "nodes", 0,
        "nodes", "name", name, "mesh", 0, "meshes", "primitives", "attributes", "POSITION", 1,
        "indices", 0, "material", 0, "materials", "pbrMetallicRoughness", "baseColorFactor",
        (double)colour[0], (double)colour[1], (double)colour[2], 1.0, "metallicFactor", 0.0,
        "accessors", "bufferView", 0, "componentType", 5123, "count", CUBE_INDICES, "type",
        "SCALAR", "bufferView", 1, "componentType", 5126, "count", CUBE_CORNERS, "type", "VEC3",
        "min", -0.5, -0.5, -0.5, "max", 0.5, 0.5, 0.5, "bufferViews", "buffer", 0, "byteOffset", 0,
        "byteLength", CUBE_INDICES * 2, "target", 34963, "buffer", 0, "byteOffset",
        CUBE_INDICES * 2, "byteLength", CUBE_CORNERS * 12, "target", 34962, "buffers", "byteLength",
        BLOB_BYTES);
}

bool glb_cube(const char *name, const float colour[3], uint8_t **ret, size_t *ret_size)
{
    json_t *json = document(name, colour);
    RPC_AUTOFREE char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text)
        return false;
    const size_t size = strlen(text), padded = (size + 3) / 4 * 4;
    const size_t total = 12 + 8 + padded + 8 + BLOB_BYTES;
    uint8_t *file = malloc(total);
    if (!file)
        return false;
    memcpy(file, "glTF", 4);
    put_u32(file + 4, 2);
    put_u32(file + 8, (uint32_t)total);
    put_u32(file + 12, (uint32_t)padded);
    memcpy(file + 16, "JSON", 4);
    memset(file + 20, ' ', padded);
    memcpy(file + 20, text, size);
    uint8_t *binary = file + 20 + padded;
    put_u32(binary, BLOB_BYTES);
    memcpy(binary + 4, "BIN", 4);
    fill_blob(binary + 8);
    *ret = file;
    *ret_size = total;
    return true;
}
