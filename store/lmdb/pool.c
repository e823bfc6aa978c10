/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of pages that are not in memory wait here for the disk, not on the caller's thread. */
#include "lmdb_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

struct lmdb_read {
    lmdb_read *next;
    store_op *op;
};

typedef struct page_span {
    uintptr_t start;
    size_t size, page;
} page_span;

static page_span pages_of(rpc_bytes bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = (uintptr_t)bytes.data & ~(uintptr_t)(page - 1);
    uintptr_t end = (uintptr_t)bytes.data + bytes.size;
    return (page_span){start, end - start, page};
}

static bool in_memory(rpc_bytes bytes)
{
    unsigned char resident[STORE_CHUNK_BYTES_MAX / 4096 + 2];
    page_span span = pages_of(bytes);
    size_t count = (span.size + span.page - 1) / span.page;
    if (!bytes.size)
        return true;
    if (count > sizeof resident || mincore((void *)span.start, span.size, resident) != 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!(resident[i] & 1))
            return false;
    }
    return true;
}

/* False when the disk cannot give the pages. Kernels before 5.14 cannot tell; there the pages
 * are touched, and a broken disk stops the process with SIGBUS. */
static bool bring_in(rpc_bytes bytes)
{
    page_span span = pages_of(bytes);
    if (madvise((void *)span.start, span.size, MADV_POPULATE_READ) == 0)
        return true;
    if (errno != EINVAL && errno != ENOSYS)
        return false;
    for (size_t i = 0; i < bytes.size; i += span.page)
        (void)*(const volatile uint8_t *)(bytes.data + i);
    (void)*(const volatile uint8_t *)(bytes.data + bytes.size - 1);
    return true;
}

static void serve(lmdb_read *read)
{
    store_op *op = read->op;
    free(read);
    if (!bring_in(op->view.bytes)) {
        store_view_release(&op->view);
        rpc_status_set(&op->status, RPC_UNAVAILABLE,
            "store: cannot read 'chunks': the disk does not give the data; check it");
    }
    store_complete(op);
}

static void *pool_main(void *arg)
{
    lmdb_pool *pool = arg;
    for (;;) {
        pthread_mutex_lock(&pool->mutex);
        while (!pool->head && !pool->stopping)
            pthread_cond_wait(&pool->wake, &pool->mutex);
        lmdb_read *read = pool->head;
        if (read) {
            pool->head = read->next;
            if (!pool->head)
                pool->tail = &pool->head;
        }
        pthread_mutex_unlock(&pool->mutex);
        if (!read)
            return NULL;
        serve(read);
    }
}

static bool queue_read(lmdb_pool *pool, lmdb_read *read)
{
    pthread_mutex_lock(&pool->mutex);
    bool taken = !pool->stopping;
    if (taken) {
        *pool->tail = read;
        pool->tail = &read->next;
        pthread_cond_signal(&pool->wake);
    }
    pthread_mutex_unlock(&pool->mutex);
    return taken;
}

store_progress lmdb_pool_read(lmdb_pool *pool, store_op *op)
{
    if (in_memory(op->view.bytes))
        return STORE_READY;
    lmdb_read *read = calloc(1, sizeof *read);
    if (!read) {
        store_view_release(&op->view);
        return lmdb_out_of_memory(op);
    }
    read->op = op;
    if (queue_read(pool, read))
        return STORE_PENDING;
    free(read);
    store_view_release(&op->view);
    rpc_status_set(&op->status, RPC_UNAVAILABLE, "store: closing; repeat at another server");
    return STORE_READY;
}

rpc_code lmdb_pool_start(lmdb_pool *pool, unsigned threads, rpc_status *reterr)
{
    *pool = (lmdb_pool){.threads = calloc(threads, sizeof(pthread_t))};
    if (!pool->threads)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "store: out of memory");
    pool->tail = &pool->head;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (; pool->count < threads; pool->count++) {
        int rc = pthread_create(&pool->threads[pool->count], NULL, pool_main, pool);
        if (rc)
            return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
                "store: cannot start a read thread: %s; raise the limit of threads", strerror(rc));
    }
    return RPC_OK;
}

void lmdb_pool_stop(lmdb_pool *pool)
{
    if (!pool->threads)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->mutex);
    free(pool->threads);
    *pool = (lmdb_pool){0};
}
