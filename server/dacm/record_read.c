/* SPDX-License-Identifier: Apache-2.0 */
#include "records.h"

#include "rpc.h"

rpc_code dacm_record_unpack(const ProtobufCMessageDescriptor *descriptor, rpc_bytes bytes,
    rpc_arena *arena, ProtobufCMessage **ret, rpc_status *reterr)
{
    rpc_status why = {0};
    rpc_code code = rpc_unpack(descriptor, bytes, arena, ret, &why);
    if (code == RPC_INVALID_ARGUMENT)
        return rpc_status_set(reterr, RPC_DATA_LOSS,
            "store: a record of type %s is damaged (%s); run dacmd --store-check", descriptor->name,
            why.message);
    return code == RPC_OK ? RPC_OK : rpc_status_set(reterr, code, "%s", why.message);
}
