/* SPDX-License-Identifier: Apache-2.0 */
#include "sweep.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct sim_sweep {
    sim_service *service;
    int64_t interval_s;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_bool stopping; /* written under the lock, read by the sweep too */
};

/* False: it is time to stop. */
static bool rest(sim_sweep *sweep)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += sweep->interval_s;
    int rc = 0;
    pthread_mutex_lock(&sweep->lock);
    while (!atomic_load(&sweep->stopping) && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&sweep->wake, &sweep->lock, &until);
    const bool go = !atomic_load(&sweep->stopping);
    pthread_mutex_unlock(&sweep->lock);
    return go;
}

static void *run(void *arg)
{
    sim_sweep *sweep = arg;
    do { /* at once: a crash may have left something to finish */
        rpc_status status;
        if (sim_state_sweep(sweep->service->state, &sweep->stopping, &status) != RPC_OK)
            HOST_LOG(sweep->service->log, HOST_ERROR,
                "sweep failed: what expired, or is being revoked, stays until the next",
                host_text("why", status.message));
    } while (rest(sweep));
    return NULL;
}

rpc_code sim_sweep_start(
    sim_service *service, int64_t interval_s, sim_sweep **ret, rpc_status *reterr)
{
    sim_sweep *sweep = calloc(1, sizeof *sweep);
    if (!sweep)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "sweep: no memory");
    sweep->service = service;
    sweep->interval_s = interval_s;
    pthread_mutex_init(&sweep->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&sweep->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&sweep->thread, NULL, run, sweep) != 0) {
        free(sweep);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "sweep: no thread");
    }
    *ret = sweep;
    return RPC_OK;
}

void sim_sweep_stop(sim_sweep *sweep)
{
    if (!sweep)
        return;
    pthread_mutex_lock(&sweep->lock);
    atomic_store(&sweep->stopping, true);
    pthread_cond_signal(&sweep->wake);
    pthread_mutex_unlock(&sweep->lock);
    pthread_join(sweep->thread, NULL);
    pthread_cond_destroy(&sweep->wake);
    pthread_mutex_destroy(&sweep->lock);
    free(sweep);
}
