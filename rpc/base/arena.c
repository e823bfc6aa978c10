/* SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BLOCK 8192u /* a unary call of a server of ours fits into one */

typedef struct arena_block {
    struct arena_block *next;
    size_t size; /* bytes behind this header */
    size_t used;
    _Alignas(max_align_t) uint8_t data[];
} arena_block;

struct rpc_arena {
    arena_block *blocks; /* newest first; the last one is the first made */
    size_t budget;
    size_t held; /* bytes of all blocks with their headers, and of this struct */
    size_t used;
    bool exhausted;
    rpc_arena_meter meter; /* take is NULL: none */
};

rpc_arena *rpc_arena_new(size_t budget)
{
    rpc_arena *arena = calloc(1, sizeof *arena);
    if (!arena)
        return NULL;
    arena->budget = budget;
    arena->held = sizeof *arena;
    return arena;
}

void rpc_arena_set_meter(rpc_arena *arena, const rpc_arena_meter *meter)
{
    arena->meter = *meter;
}

static void free_blocks(rpc_arena *arena, arena_block *keep)
{
    while (arena->blocks != keep) {
        arena_block *block = arena->blocks;
        size_t bytes = sizeof *block + block->size;
        arena->blocks = block->next;
        arena->held -= bytes;
        free(block);
        if (arena->meter.give)
            arena->meter.give(arena->meter.ctx, bytes);
    }
}

void rpc_arena_free(rpc_arena *arena)
{
    if (!arena)
        return;
    free_blocks(arena, NULL);
    free(arena);
}

static arena_block *add_block(rpc_arena *arena, size_t need)
{
    size_t room = arena->budget > arena->held ? arena->budget - arena->held : 0;
    if (room < sizeof(arena_block) || need > room - sizeof(arena_block)) {
        arena->exhausted = true;
        return NULL;
    }
    size_t size = need > ARENA_BLOCK ? need : ARENA_BLOCK;
    if (size > room - sizeof(arena_block))
        size = room - sizeof(arena_block);
    size_t bytes = sizeof(arena_block) + size;
    if (arena->meter.take && !arena->meter.take(arena->meter.ctx, bytes)) {
        arena->exhausted = true;
        return NULL;
    }
    arena_block *block = malloc(bytes);
    if (!block) {
        if (arena->meter.give)
            arena->meter.give(arena->meter.ctx, bytes);
        return NULL;
    }
    *block = (arena_block){.next = arena->blocks, .size = size};
    arena->blocks = block;
    arena->held += bytes;
    return block;
}

void *rpc_arena_alloc(rpc_arena *arena, size_t size)
{
    const size_t align = _Alignof(max_align_t);
    if (size > SIZE_MAX - align) {
        arena->exhausted = true;
        return NULL;
    }
    size = (size + align - 1) & ~(align - 1);
    arena_block *block = arena->blocks;
    if (!block || block->size - block->used < size) {
        block = add_block(arena, size);
        if (!block)
            return NULL;
    }
    void *memory = block->data + block->used;
    block->used += size;
    arena->used += size;
    return memory;
}

char *rpc_arena_strndup(rpc_arena *arena, const char *text, size_t size)
{
    char *copy = size < SIZE_MAX ? rpc_arena_alloc(arena, size + 1) : NULL;
    if (!copy)
        return NULL;
    if (size > 0)
        memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

void rpc_arena_reset(rpc_arena *arena)
{
    arena_block *first = arena->blocks;
    while (first && first->next)
        first = first->next;
    /* An oversized first block would make every later use pay for one large request. */
    if (first && first->size > ARENA_BLOCK)
        first = NULL;
    free_blocks(arena, first);
    if (first)
        first->used = 0;
    arena->used = 0;
    arena->exhausted = false;
}

void rpc_arena_overwrite(rpc_arena *arena)
{
    for (arena_block *block = arena->blocks; block; block = block->next)
        explicit_bzero(block->data, block->used);
}

bool rpc_arena_exhausted(const rpc_arena *arena)
{
    return arena->exhausted;
}

size_t rpc_arena_used(const rpc_arena *arena)
{
    return arena->used;
}
