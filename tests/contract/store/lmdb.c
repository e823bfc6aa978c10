/* SPDX-License-Identifier: Apache-2.0 */
#include "contract.h"

#include <fcntl.h>
#include <unistd.h>

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

TEST(read_of_pages_out_of_memory_brings_the_right_bytes)
{
    static uint8_t bytes[1 << 20];
    contract_limits limits = {0};
    const char *directory = test_tmpdir();
    char path[512];
    store_chunk_ref ref = chunk_ref(1, 1);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i >> 8 ^ i);
    store *s = contract_open(directory, &limits);
    assert_int_equal(do_chunk_put(s, &ref, rpc_bytes_of(bytes, sizeof bytes)), RPC_OK);
    snprintf(path, sizeof path, "%s/chunks/data.mdb", directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    /* The middle only: a miss in the tree would read ahead over the chunk again. */
    assert_int_equal(posix_fadvise(fd, 256 << 10, 512 << 10, POSIX_FADV_DONTNEED), 0);
    close(fd);
    waiter w;
    waiter_init(&w);
    store_progress progress = store_read(s, &ref, 0, STORE_TO_END, &w.op);
    if (progress == STORE_READY)
        print_message("the system kept the pages: nothing was waited for\n");
    assert_int_equal(waiter_wait(&w, progress), RPC_OK);
    assert_true(rpc_bytes_equal(w.op.view.bytes, rpc_bytes_of(bytes, sizeof bytes)));
    store_view_release(&w.op.view);
    waiter_done(&w);
    store_close(s);
}
