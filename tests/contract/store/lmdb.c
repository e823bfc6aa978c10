/* SPDX-License-Identifier: Apache-2.0 */
#include "contract.h"

static uint64_t map_bytes(uint64_t wanted)
{
    const char *text = getenv("CONTRACT_MAP_BYTES");
    if (wanted)
        return wanted;
    return text ? strtoull(text, NULL, 10) : 64u << 20;
}

static rpc_code open_lmdb(
    const char *directory, const contract_limits *limits, store **ret_store, rpc_status *reterr)
{
    store_lmdb_options options = {
        .directory = directory,
        .meta_map_bytes_max = map_bytes(limits->meta_bytes),
        .chunks_map_bytes_max = map_bytes(limits->chunks_bytes),
        .queue_max = limits->queue_max,
        .clock = limits->clock,
        .sync = limits->sync,
    };
    return store_open_lmdb(&options, ret_store, reterr);
}

const contract_implementation store_contract = {"lmdb", open_lmdb};
