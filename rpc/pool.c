/* SPDX-License-Identifier: Apache-2.0 */
/* Named pools for work that may block. pool->lock guards everything; it is not held while work
 * runs. The ring grows to what was needed, so that a large queue_max costs nothing in advance. */
#include "runtime_internal.h"

#include "cleanup.h"

#define POOL_THREADS_MAX  256
#define POOL_QUEUE_MAX    1000000
#define RING_CAPACITY_MIN 64

struct job {
    rpc_task_fn *work;
    void *arg;
};

struct rpc_pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct job *ring;
    size_t capacity, first, count;
    unsigned queue_max;
    unsigned idle;
    bool stopping;
    unsigned thread_count;
    pthread_t threads[];
};

static bool take_job(rpc_pool *pool, struct job *ret)
{
    pthread_mutex_lock(&pool->lock);
    while (!pool->count && !pool->stopping) {
        pool->idle++;
        pthread_cond_wait(&pool->work, &pool->lock);
        pool->idle--;
    }
    bool found = pool->count > 0;
    if (found) {
        *ret = pool->ring[pool->first];
        pool->first = (pool->first + 1) % pool->capacity;
        pool->count--;
    }
    pthread_mutex_unlock(&pool->lock);
    return found;
}

static void *run_jobs(void *arg)
{
    rpc_pool *pool = arg;
    struct job job;
    while (take_job(pool, &job))
        job.work(job.arg);
    return NULL;
}

static bool grow_ring(rpc_pool *pool)
{
    if (pool->count < pool->capacity)
        return true;
    size_t capacity = pool->capacity ? 2 * pool->capacity : RING_CAPACITY_MIN;
    struct job *ring = reallocarray(NULL, capacity, sizeof *ring);
    if (!ring)
        return false;
    for (size_t i = 0, at = pool->first; i < pool->count; i++) {
        ring[i] = pool->ring[at];
        at = at + 1 < pool->capacity ? at + 1 : 0;
    }
    free(pool->ring);
    pool->ring = ring;
    pool->capacity = capacity;
    pool->first = 0;
    return true;
}

rpc_code rpc_pool_submit(rpc_pool *pool, rpc_task_fn *work, void *arg)
{
    pthread_mutex_lock(&pool->lock);
    bool taken = pool->count < pool->queue_max && grow_ring(pool);
    if (taken) {
        pool->ring[(pool->first + pool->count++) % pool->capacity] = (struct job){work, arg};
        if (pool->idle)
            pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
    return taken ? RPC_OK : RPC_RESOURCE_EXHAUSTED;
}

rpc_code rpc_pool_new(rpc_runtime *runtime, const char *name, unsigned threads, unsigned queue_max,
    rpc_pool **ret, rpc_status *reterr)
{
    (void)runtime; /* pools end before it; their work reaches strands through it */
    if (threads < 1 || threads > POOL_THREADS_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: pool '%.32s' with %u threads; give 1..%d", name, threads, POOL_THREADS_MAX);
    if (queue_max < 1 || queue_max > POOL_QUEUE_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "rpc: pool '%.32s' with room for %u jobs; give 1..%d", name, queue_max, POOL_QUEUE_MAX);
    rpc_pool *pool = calloc(1, sizeof *pool + threads * sizeof(pthread_t));
    if (!pool)
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "rpc: no memory for pool '%.32s'", name);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pool->queue_max = queue_max;
    while (pool->thread_count < threads) {
        rpc_code code = rpc__thread_start(
            &pool->threads[pool->thread_count], name, run_jobs, pool, reterr);
        if (code != RPC_OK) {
            rpc_pool_free(pool);
            return code;
        }
        pool->thread_count++;
    }
    *ret = pool;
    return RPC_OK;
}

void rpc_pool_free(rpc_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool->ring);
    free(pool);
}
