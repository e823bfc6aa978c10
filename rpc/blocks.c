/* SPDX-License-Identifier: Apache-2.0 */
#include "blocks.h"

#include <stdlib.h>
#include <sys/mman.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SEE_A_BYTE_TOO_FAR 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SEE_A_BYTE_TOO_FAR 1
#endif

#ifdef SEE_A_BYTE_TOO_FAR
uint8_t *rpc__block_get(size_t size)
{
    return malloc(size);
}

void rpc__block_put(uint8_t *block, size_t size)
{
    (void)size;
    free(block);
}

uint8_t *rpc__spares_get(rpc__spares *spares, size_t size)
{
    (void)spares;
    return malloc(size);
}

void rpc__spares_put(rpc__spares *spares, uint8_t *block, bool keep)
{
    (void)spares;
    (void)keep;
    free(block);
}
#else
#define MAPPED_BYTES_MIN (64 * 1024)

uint8_t *rpc__block_get(size_t size)
{
    if (size < MAPPED_BYTES_MIN)
        return malloc(size);
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return map == MAP_FAILED ? NULL : map;
}

void rpc__block_put(uint8_t *block, size_t size)
{
    if (size < MAPPED_BYTES_MIN)
        free(block);
    else
        (void)munmap(block, size); /* fails for what get() did not give only */
}

uint8_t *rpc__spares_get(rpc__spares *spares, size_t size)
{
    (void)size;
    pthread_mutex_lock(&spares->lock);
    uint8_t *block = spares->count > 0 ? spares->waiting[--spares->count] : NULL;
    pthread_mutex_unlock(&spares->lock);
    return block ? block : rpc__block_get(spares->block_bytes);
}

void rpc__spares_put(rpc__spares *spares, uint8_t *block, bool keep)
{
    pthread_mutex_lock(&spares->lock);
    keep = keep && spares->count < spares->count_max;
    if (keep)
        spares->waiting[spares->count++] = block;
    pthread_mutex_unlock(&spares->lock);
    if (!keep)
        rpc__block_put(block, spares->block_bytes);
}
#endif
