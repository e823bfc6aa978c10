/* SPDX-License-Identifier: Apache-2.0 */
#include "lmdb_store.h"

#include <string.h>

void lmdb_key_group(rpc_bytes group, bool open, lmdb_key *ret_key)
{
    size_t n = 0;
    for (size_t i = 0; i < group.size; i++) {
        ret_key->data[n++] = group.data[i];
        if (!group.data[i])
            ret_key->data[n++] = 0xff;
    }
    if (!open) {
        ret_key->data[n++] = 0x00;
        ret_key->data[n++] = 0x01;
    }
    ret_key->size = n;
}

void lmdb_key_item(rpc_bytes group, rpc_bytes item, lmdb_key *ret_key)
{
    lmdb_key_group(group, false, ret_key);
    if (item.size)
        memcpy(ret_key->data + ret_key->size, item.data, item.size);
    ret_key->size += item.size;
}

size_t lmdb_key_group_size(MDB_val key)
{
    const uint8_t *data = key.mv_data;
    for (size_t i = 0; i + 1 < key.mv_size; i++) {
        if (data[i])
            continue;
        if (data[i + 1] == 0x01)
            return i && i + 2 <= LMDB_GROUP_KEY_MAX ? i + 2 : 0;
        if (data[i + 1] != 0xff)
            return 0;
        i++;
    }
    return 0;
}

size_t lmdb_key_decode_group(const uint8_t *key, size_t group_key_size, uint8_t *ret_group)
{
    size_t n = 0;
    for (size_t i = 0; i + 2 < group_key_size; i++) {
        ret_group[n++] = key[i];
        if (!key[i])
            i++;
    }
    return n;
}

bool lmdb_comes_after(MDB_val key, const void *before, size_t size)
{
    const int order = memcmp(key.mv_data, before, key.mv_size < size ? key.mv_size : size);
    return order > 0 || (order == 0 && key.mv_size > size);
}

bool lmdb_starts_with(MDB_val key, const void *prefix, size_t size)
{
    return key.mv_size >= size && (!size || memcmp(key.mv_data, prefix, size) == 0);
}

MDB_val lmdb_val(const void *data, size_t size)
{
    /* LMDB does not write through it, but its type has no const. */
    union {
        const void *in;
        void *out;
    } pointer = {data};
    return (MDB_val){size, pointer.out};
}

void lmdb_put_u64(uint8_t *out, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

uint64_t lmdb_get_u64(const uint8_t *in)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value |= (uint64_t)in[i] << (8 * i);
    return value;
}
