/* SPDX-License-Identifier: Apache-2.0 */
#include "trust.h"

void trust_chunker_init(trust_chunker *chunker, trust_chunking chunking)
{
    uint64_t state = 0;

    chunker->chunking = chunking;
    chunker->length = 0;
    chunker->hash = 0;
    for (size_t i = 0; i < 256; i++) {
        uint64_t z = (state += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        chunker->gear[i] = z ^ (z >> 31);
    }
}

/* The 16 high bits depend on the last 64 bytes: a boundary follows its content. */
static bool at_boundary(const trust_chunker *chunker)
{
    if (chunker->length == TRUST_CHUNK_MAX)
        return true;
    return chunker->chunking == TRUST_CHUNKING_GEAR_64K && chunker->length >= TRUST_CHUNK_MIN &&
           chunker->hash >> 48 == 0;
}

size_t trust_chunker_feed(trust_chunker *chunker, rpc_bytes data, bool *ret_end)
{
    for (size_t i = 0; i < data.size; i++) {
        chunker->hash = (chunker->hash << 1) + chunker->gear[data.data[i]];
        chunker->length++;
        if (at_boundary(chunker)) {
            chunker->length = 0;
            chunker->hash = 0;
            *ret_end = true;
            return i + 1;
        }
    }
    *ret_end = false;
    return data.size;
}
