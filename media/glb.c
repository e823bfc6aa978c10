/* SPDX-License-Identifier: Apache-2.0 */
/* The GLB container (glTF 2.0, 4.4). */
#include "gltf.h"

#include <string.h>

#define MAGIC        0x46546c67u /* "glTF" */
#define VERSION      2u
#define CHUNK_JSON   0x4e4f534au
#define CHUNK_BINARY 0x004e4942u
#define HEADER_BYTES 12u
#define CHUNK_BYTES  8u

static uint32_t u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

bool media__glb_is(rpc_bytes file)
{
    return file.size >= 4 && u32(file.data) == MAGIC;
}

static rpc_code check_header(rpc_bytes file, rpc_status *reterr)
{
    if (file.size < HEADER_BYTES || !media__glb_is(file))
        return media__gltf_bad(reterr, "GLB", "a file of %zu bytes has no header", file.size);
    if (u32(file.data + 4) != VERSION)
        return media__gltf_bad(
            reterr, "GLB", "version %u; glTF 2.0 is read", (unsigned)u32(file.data + 4));
    if (u32(file.data + 8) != file.size)
        return media__gltf_bad(reterr, "GLB", "its header says %u bytes, the file has %zu",
            (unsigned)u32(file.data + 8), file.size);
    return RPC_OK;
}

/* The chunk at *at, which is moved behind it. */
static rpc_code next_chunk(
    rpc_bytes file, size_t *at, uint32_t *ret_type, rpc_bytes *ret, rpc_status *reterr)
{
    const size_t rest = file.size - *at;
    if (rest < CHUNK_BYTES)
        return media__gltf_bad(reterr, "GLB", "byte %zu: a chunk's header is cut", *at);
    const uint32_t size = u32(file.data + *at);
    *ret_type = u32(file.data + *at + 4);
    if (size % 4 != 0)
        return media__gltf_bad(reterr, "GLB",
            "byte %zu: a chunk of %u bytes is not a multiple of 4", *at, (unsigned)size);
    if (size > rest - CHUNK_BYTES)
        return media__gltf_bad(reterr, "GLB", "byte %zu: a chunk of %u bytes, %zu are left", *at,
            (unsigned)size, rest - CHUNK_BYTES);
    *ret = rpc_bytes_of(file.data + *at + CHUNK_BYTES, size);
    *at += CHUNK_BYTES + size;
    return RPC_OK;
}

rpc_code media__glb_split(rpc_bytes file, media__glb *ret, rpc_status *reterr)
{
    size_t at = HEADER_BYTES;
    rpc_code code = check_header(file, reterr);
    *ret = (media__glb){.json = {NULL, 0}};
    for (unsigned i = 0; code == RPC_OK && at < file.size; i++) {
        uint32_t type = 0;
        rpc_bytes chunk = {NULL, 0};
        const size_t place = at;
        code = next_chunk(file, &at, &type, &chunk, reterr);
        if (code != RPC_OK)
            return code;
        if ((i == 0) != (type == CHUNK_JSON))
            return media__gltf_bad(reterr, "GLB", "byte %zu: %s", place,
                i == 0 ? "the first chunk is not JSON" : "a second chunk of JSON");
        if (i == 0)
            ret->json = chunk;
        else if (type == CHUNK_BINARY && i > 1)
            return media__gltf_bad(
                reterr, "GLB", "byte %zu: the binary chunk is not the second", place);
        else if (type == CHUNK_BINARY)
            ret->binary = chunk;
        /* other types are for readers that know them (4.4.3) */
    }
    if (code == RPC_OK && (!ret->json.data || ret->json.size == 0))
        return media__gltf_bad(reterr, "GLB", "there is no JSON in it");
    return code;
}
