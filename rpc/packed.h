/* SPDX-License-Identifier: Apache-2.0 */
/** Reads packed protobuf messages field by field: for the few of descriptor.proto that matter to
 *  servers (streaming flags) and channels (idempotency levels). Private to rpc/. */
#ifndef DACM_RPC_PACKED_H
#define DACM_RPC_PACKED_H

#include "base.h"

typedef struct rpc__packed_field {
    uint32_t number;
    uint64_t varint;
    rpc_bytes bytes; /* length-delimited */
} rpc__packed_field;

static inline bool rpc__packed_varint(rpc_bytes *in, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && in->size > 0; shift += 7) {
        uint8_t byte = *in->data++;
        in->size--;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *ret = value;
            return true;
        }
    }
    return false;
}

/** False at the end and where the bytes are no message: then *in is what could not be read. */
static inline bool rpc__packed_next(rpc_bytes *in, rpc__packed_field *ret)
{
    rpc_bytes rest = *in;
    uint64_t key, size = 0;
    if (!rpc__packed_varint(&rest, &key))
        return false;
    rpc__packed_field field = {.number = (uint32_t)(key >> 3)};
    switch (key & 7) {
    case 0:
        if (!rpc__packed_varint(&rest, &field.varint))
            return false;
        break;
    case 1:
        size = 8;
        break;
    case 2:
        if (!rpc__packed_varint(&rest, &size))
            return false;
        break;
    case 5:
        size = 4;
        break;
    default:
        return false;
    }
    if (size > rest.size)
        return false;
    field.bytes = rpc_bytes_of(rest.data, (size_t)size);
    *in = rpc_bytes_of(rest.data + size, rest.size - (size_t)size);
    *ret = field;
    return true;
}

static inline rpc_bytes rpc__packed_bytes(rpc_bytes message, uint32_t number)
{
    rpc__packed_field at;
    while (rpc__packed_next(&message, &at))
        if (at.number == number)
            return at.bytes;
    return rpc_bytes_of(NULL, 0);
}

#endif
