/* SPDX-License-Identifier: Apache-2.0 */
#include "tender.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct skm_tender {
    skm_service *service;
    int64_t count_interval_s;
    bool lost;       /* the clock, when it was looked at last */
    int64_t told_ms; /* wall clock: up to when the trail knows the signatures */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping; /* under the lock */
};

/* False: it is time to stop. */
static bool rest(skm_tender *tender, int64_t seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += seconds;
    int rc = 0;
    pthread_mutex_lock(&tender->lock);
    while (!tender->stopping && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&tender->wake, &tender->lock, &until);
    const bool go = !tender->stopping;
    pthread_mutex_unlock(&tender->lock);
    return go;
}

static bool tell(void *ctx, const skm_signed *what)
{
    skm_tender *tender = ctx;
    char id[HOST_REQUEST_ID_CHARS + 1];
    rpc_status why;
    host_request_id(tender->service->clock, id);
    return SKM_AUDIT(tender->service, id, "signed", &why, host_text("val_service", what->service),
               host_text("purpose", skm_purpose_name(what->purpose)), host_text("kid", what->kid),
               host_number("count", (int64_t)what->count), host_number("made", (int64_t)what->made),
               host_number("since_ms", tender->told_ms)) == RPC_OK;
}

static void tell_signatures(skm_tender *tender)
{
    const int64_t now_ms = rpc_clock_wall_ms(tender->service->clock);
    skm_signatures_tell(tender->service->state, tell, tender);
    tender->told_ms = now_ms;
}

/* Said when it changes, not for as long as it lasts. */
static void look_at_clock(skm_tender *tender)
{
    const bool lost = skm_course_lost(&tender->service->course);
    if (lost && !tender->lost)
        HOST_LOG(tender->service->log, HOST_ERROR,
            "the system's clock was set: keys live by it, and verifiers refuse key sets of another "
            "time; correct it, or, where it is right now, reload (SIGHUP)",
            host_number("seconds", skm_course_off_s(&tender->service->course)));
    if (!lost && tender->lost)
        HOST_LOG(tender->service->log, HOST_INFO, "the system's clock is on its course again");
    tender->lost = lost;
}

static void *run(void *arg)
{
    skm_tender *tender = arg;
    int64_t again_s = 1, count_in_s = tender->count_interval_s;
    int64_t pause_s = again_s;
    while (rest(tender, pause_s)) {
        rpc_status status;
        again_s -= pause_s;
        count_in_s -= pause_s;
        look_at_clock(tender);
        if (again_s <= 0 && skm_state_tend(tender->service->state, &again_s, &status) != RPC_OK)
            HOST_LOG(tender->service->log, HOST_ERROR,
                "keys could not be made or turned: those of before go on until they expire",
                host_text("why", status.message));
        if (count_in_s <= 0) {
            tell_signatures(tender);
            count_in_s = tender->count_interval_s;
        }
        pause_s = again_s < count_in_s ? again_s : count_in_s;
    }
    return NULL;
}

rpc_code skm_tender_start(
    skm_service *service, int64_t count_interval_s, skm_tender **ret, rpc_status *reterr)
{
    skm_tender *tender = calloc(1, sizeof *tender);
    if (!tender)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "tending keys: no memory");
    tender->service = service;
    tender->count_interval_s = count_interval_s;
    tender->told_ms = rpc_clock_wall_ms(service->clock);
    pthread_mutex_init(&tender->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&tender->wake, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&tender->thread, NULL, run, tender) != 0) {
        free(tender);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "tending keys: no thread");
    }
    *ret = tender;
    return RPC_OK;
}

void skm_tender_stop(skm_tender *tender)
{
    if (!tender)
        return;
    pthread_mutex_lock(&tender->lock);
    tender->stopping = true;
    pthread_cond_signal(&tender->wake);
    pthread_mutex_unlock(&tender->lock);
    pthread_join(tender->thread, NULL);
    tell_signatures(tender);
    pthread_cond_destroy(&tender->wake);
    pthread_mutex_destroy(&tender->lock);
    free(tender);
}
