/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include <stdatomic.h>
#include <stdlib.h>

struct rpc__memory {
    atomic_uint refs;
    size_t max;
    _Alignas(64) atomic_size_t used; /* written by all threads */
};

rpc__memory *rpc__memory_new(size_t bytes_max)
{
    rpc__memory *memory = aligned_alloc(_Alignof(rpc__memory), sizeof *memory);
    if (!memory)
        return NULL;
    atomic_init(&memory->refs, 1);
    atomic_init(&memory->used, 0);
    memory->max = bytes_max;
    return memory;
}

rpc__memory *rpc__memory_ref(rpc__memory *memory)
{
    if (memory)
        atomic_fetch_add_explicit(&memory->refs, 1, memory_order_relaxed);
    return memory;
}

void rpc__memory_unref(rpc__memory *memory)
{
    if (memory && atomic_fetch_sub_explicit(&memory->refs, 1, memory_order_acq_rel) == 1)
        free(memory);
}

bool rpc__memory_take(rpc__memory *memory, size_t bytes)
{
    if (!memory)
        return true;
    size_t before = atomic_fetch_add_explicit(&memory->used, bytes, memory_order_relaxed);
    size_t max = memory->max + memory->max / 8;
    if (bytes <= max && before <= max - bytes)
        return true;
    rpc__memory_give(memory, bytes);
    return false;
}

void rpc__memory_add(rpc__memory *memory, size_t bytes)
{
    if (memory)
        atomic_fetch_add_explicit(&memory->used, bytes, memory_order_relaxed);
}

void rpc__memory_give(rpc__memory *memory, size_t bytes)
{
    if (memory)
        atomic_fetch_sub_explicit(&memory->used, bytes, memory_order_relaxed);
}

size_t rpc__memory_used(const rpc__memory *memory)
{
    return memory ? atomic_load_explicit(&memory->used, memory_order_relaxed) : 0;
}

bool rpc__memory_over(const rpc__memory *memory, unsigned eighths_more)
{
    if (!memory)
        return false;
    return rpc__memory_used(memory) / (8 + eighths_more) >= memory->max / 8;
}

static bool meter_take(void *ctx, size_t bytes)
{
    return rpc__memory_take(ctx, bytes);
}

static void meter_give(void *ctx, size_t bytes)
{
    rpc__memory_give(ctx, bytes);
}

rpc_arena_meter rpc__memory_meter(rpc__memory *memory)
{
    return (rpc_arena_meter){meter_take, meter_give, memory};
}
