/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <sodium.h>
#include <stdlib.h>

#define NAME_BYTES_MAX 200u

host_key host_key_of(const char *prefix, const char *name)
{
    host_key key;
    size_t prefix_size = strlen(prefix), size = strlen(name);
    memcpy(key.data, prefix, prefix_size);
    if (size <= NAME_BYTES_MAX && name[0] != '#') {
        memcpy(key.data + prefix_size, name, size);
        key.size = prefix_size + size;
        return key;
    }
    /* A name may begin with anything: none is kept that could be taken for a digest. */
    key.data[prefix_size] = '#';
    crypto_hash_sha256(key.data + prefix_size + 1, (const uint8_t *)name, size);
    key.size = prefix_size + 1 + crypto_hash_sha256_BYTES;
    return key;
}

rpc_bytes host_record_pack(const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *data = malloc(size ? size : 1);
    if (!data)
        return rpc_bytes_of(NULL, 0);
    return rpc_bytes_of(data, protobuf_c_message_pack(message, data));
}

rpc_code host_record_unpack(const ProtobufCMessageDescriptor *descriptor, rpc_bytes bytes,
    rpc_arena *arena, ProtobufCMessage **ret, rpc_status *reterr)
{
    rpc_status why = {0};
    rpc_code code = rpc_unpack(descriptor, bytes, arena, ret, &why);
    if (code == RPC_INVALID_ARGUMENT)
        return rpc_status_set(reterr, RPC_DATA_LOSS,
            "store: a record of type %s is damaged (%s); run the server with --store-check",
            descriptor->name, why.message);
    return code == RPC_OK ? RPC_OK : rpc_status_set(reterr, code, "%s", why.message);
}
