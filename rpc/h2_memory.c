/* SPDX-License-Identifier: Apache-2.0 */
/* nghttp2's memory, a connection at a time. A connection is served by whatever thread is free, so
 * what one thread allocates another frees, which is where libc's malloc is slow; here freed
 * pieces wait for the next of their size. Only the strand comes here, so there is no lock. By way
 * of ours it is also the program's malloc(), which a test can make fail. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

#define STEP 64u
#if defined(__SANITIZE_ADDRESS__)
#define KEPT_MAX 0u /* so that a use after free is found */
#else
#define KEPT_MAX (64u << 10) /* bytes that wait */
#endif
#define SIZES   RPC__H2_SIZES
#define NO_SIZE SIZES

/* Before each piece. */
typedef union piece {
    struct {
        size_t size;         /* that it was made for */
        unsigned size_class; /* NO_SIZE: too large to be kept */
        union piece *next;   /* while it waits */
    } head;
    max_align_t align;
} piece;

static unsigned class_of(size_t size)
{
    return size > SIZES * STEP ? NO_SIZE : size == 0 ? 0 : (unsigned)((size - 1) / STEP);
}

static void *take(size_t size, void *arg)
{
    rpc__h2_memory *memory = arg;
    unsigned size_class = class_of(size);
    piece *taken = size_class < SIZES ? memory->waiting[size_class] : NULL;
    if (taken) {
        memory->waiting[size_class] = taken->head.next;
        memory->kept -= (size_class + 1) * STEP;
    } else {
        size_t room = size_class < SIZES ? (size_class + 1) * STEP : size;
        taken = room <= SIZE_MAX - sizeof *taken ? malloc(sizeof *taken + room) : NULL;
    }
    if (!taken)
        return NULL;
    taken->head.size = size;
    taken->head.size_class = size_class;
    return taken + 1;
}

static void give(void *data, void *arg)
{
    rpc__h2_memory *memory = arg;
    if (!data)
        return;
    piece *given = (piece *)data - 1;
    unsigned size_class = given->head.size_class;
    size_t room = (size_class + 1) * STEP;
    if (size_class == NO_SIZE || memory->kept + room > KEPT_MAX) {
        free(given);
        return;
    }
    given->head.next = memory->waiting[size_class];
    memory->waiting[size_class] = given;
    memory->kept += room;
}

static void *take_zeroed(size_t count, size_t size, void *arg)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    void *data = take(total, arg);
    return data ? memset(data, 0, total) : NULL;
}

static void *take_again(void *data, size_t size, void *arg)
{
    if (!data)
        return take(size, arg);
    piece *old = (piece *)data - 1;
    if (old->head.size_class < SIZES && size <= (old->head.size_class + 1) * STEP) {
        old->head.size = size;
        return data;
    }
    void *larger = take(size, arg);
    if (!larger)
        return NULL;
    memcpy(larger, data, old->head.size < size ? old->head.size : size);
    give(data, arg);
    return larger;
}

nghttp2_mem rpc__h2_memory_of(rpc__h2_memory *memory)
{
    return (nghttp2_mem){memory, take, give, take_zeroed, take_again};
}

void rpc__h2_memory_trim(rpc__h2_memory *memory)
{
    for (unsigned i = 0; i < SIZES; i++)
        while (memory->waiting[i]) {
            piece *waiting = memory->waiting[i];
            memory->waiting[i] = waiting->head.next;
            free(waiting);
        }
    memory->kept = 0;
}
