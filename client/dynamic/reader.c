/* SPDX-License-Identifier: Apache-2.0 */
#include "dynamic_internal.h"

#define NUMBER_MAX ((1u << 29) - 1)

bool dynamic__read_varint(rpc_bytes *in, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && in->size > 0; shift += 7) {
        const uint8_t byte = *in->data++;
        in->size--;
        if (shift == 63 && byte > 1)
            return false;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

bool dynamic__read_fixed(rpc_bytes *in, size_t size, uint64_t *ret_value)
{
    if (in->size < size)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)in->data[i] << 8 * i;
    in->data += size;
    in->size -= size;
    *ret_value = value;
    return true;
}

static bool read_bytes(rpc_bytes *in, rpc_bytes *ret)
{
    uint64_t size;
    if (!dynamic__read_varint(in, &size) || size > in->size)
        return false;
    *ret = rpc_bytes_of(in->data, (size_t)size);
    in->data += size;
    in->size -= (size_t)size;
    return true;
}

dynamic_read dynamic__next(rpc_bytes *in, dynamic_part *ret)
{
    uint64_t key;
    if (in->size == 0)
        return READ_END;
    *ret = (dynamic_part){0};
    if (!dynamic__read_varint(in, &key) || key >> 3 < 1 || key >> 3 > NUMBER_MAX)
        return READ_DAMAGED;
    ret->number = (uint32_t)(key >> 3);
    bool good = false;
    switch (key & 7) {
    case WIRE_VARINT:
        good = dynamic__read_varint(in, &ret->value);
        break;
    case WIRE_FIXED64:
        good = dynamic__read_fixed(in, 8, &ret->value);
        break;
    case WIRE_BYTES:
        good = read_bytes(in, &ret->bytes);
        break;
    case WIRE_FIXED32:
        good = dynamic__read_fixed(in, 4, &ret->value);
        break;
    default: /* groups */
        break;
    }
    ret->wire = (dynamic_wire)(key & 7);
    return good ? READ_PART : READ_DAMAGED;
}

int64_t dynamic__unzigzag(uint64_t value)
{
    return (int64_t)(value >> 1 ^ (0 - (value & 1)));
}
