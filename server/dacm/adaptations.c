/* SPDX-License-Identifier: Apache-2.0 */
/* One adaptation:
 *
 *   GATHERING (pool) ─▶ WORKING (a sandboxed process) ─▶ STORING (pool) ─▶ over
 *
 * LOCKS. adaptations.lock guards the table, the waiters, and the members that say so. It is taken
 * before those of the workers (submit, lend) and of the variants (admit); of callbacks only hold()
 * runs under it. What an adaptation is made of belongs to whoever carries out its state; its share
 * is written by gather() only, under the lock. */
#include "adaptations.h"
#include "adaptations_watch.h"
#include "dacm_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUCKETS       256u
#define JOBS_MAX      8192u /* more than media_workers ever takes */
#define FAILURES      256u
#define FAILED_FOR_US (60 * INT64_C(1000000))
#define RETRY_MS      1000u

typedef struct dacm_adaptation {
    dacm_adaptations *owner;
    dacm_wanted wanted;
    char share[DACM_GPSI_MAX + 1];
    uint8_t source_sha256[DACM_DIGEST_BYTES];
    media_made *made;
    /* Guarded by the lock: */
    dacm_adapt_waiter *waiters;
    uint64_t job;      /* of the workers; 0: none */
    int64_t made_ms;   /* when it was made; its chunks are put from then on */
    bool listed, left; /* in the table; nobody waits */
    struct dacm_adaptation *next, **link;
} adaptation;

typedef struct failure {
    uint8_t uid[STORE_UID_BYTES];
    dacm_which which;
    rpc_status status;
    int64_t until_us; /* monotonic; 0: none */
} failure;

struct dacm_adaptations {
    dacm_adaptations_links links;
    rpc_pool *pool;
    media_workers *workers;
    dacm_adaptations_counts counts;
    pthread_mutex_t lock;
    pthread_cond_t idle; /* running fell to 0 */
    bool stopping;
    unsigned running; /* jobs of the pool that may still give one to the workers */
    adaptation *buckets[BUCKETS];
    failure failures[FAILURES]; /* by a hash; a newcomer replaces */
};

/* ---- the table; under the lock ---- */

static adaptation **bucket_of(dacm_adaptations *a, const uint8_t uid[STORE_UID_BYTES])
{
    return &a->buckets[uid[0] % BUCKETS];
}

static bool is_of(const uint8_t uid[STORE_UID_BYTES], const dacm_which *which,
    const uint8_t wanted_uid[STORE_UID_BYTES], const dacm_which *wanted)
{
    return memcmp(uid, wanted_uid, STORE_UID_BYTES) == 0 && dacm_which_equal(which, wanted);
}

static adaptation *find(dacm_adaptations *a, const dacm_wanted *wanted)
{
    adaptation *one = *bucket_of(a, wanted->uid);
    while (one && !is_of(one->wanted.uid, &one->wanted.which, wanted->uid, &wanted->which))
        one = one->next;
    return one;
}

static void list(adaptation *one)
{
    adaptation **bucket = bucket_of(one->owner, one->wanted.uid);
    one->next = *bucket;
    one->link = bucket;
    if (one->next)
        one->next->link = &one->next;
    *bucket = one;
    one->listed = true;
}

static void unlist(adaptation *one)
{
    if (!one->listed)
        return;
    *one->link = one->next;
    if (one->next)
        one->next->link = one->link;
    one->listed = false;
}

static void add_waiter(adaptation *one, dacm_adapt_waiter *waiter)
{
    waiter->adaptation = one;
    waiter->next = one->waiters;
    waiter->link = &one->waiters;
    if (waiter->next)
        waiter->next->link = &waiter->next;
    one->waiters = waiter;
}

static void remove_waiter(dacm_adapt_waiter *waiter)
{
    *waiter->link = waiter->next;
    if (waiter->next)
        waiter->next->link = waiter->link;
    waiter->adaptation = NULL;
}

static failure *failure_of(dacm_adaptations *a, const dacm_wanted *wanted)
{
    return &a->failures[(wanted->uid[0] ^ wanted->which.recipe_sha256[0]) % FAILURES];
}

/* ---- its end ---- */

/* The asset's fault: it would be the same if it were tried again at once. What fails on this side
 * is none of these; overload is RESOURCE_EXHAUSTED too, and has a time to try again. */
static bool lasts(const rpc_status *status, uint32_t retry_ms)
{
    return status->code == RPC_FAILED_PRECONDITION || status->code == RPC_UNIMPLEMENTED ||
           (status->code == RPC_RESOURCE_EXHAUSTED && retry_ms == 0);
}

static void free_one(adaptation *one)
{
    media_made_free(one->made);
    free(one);
}

/* Under the lock. */
static void tell(dacm_adapt_waiter *waiter, const rpc_status *status, uint32_t retry_ms)
{
    remove_waiter(waiter);
    waiter->status = *status;
    waiter->retry_ms = retry_ms;
    waiter->hold(waiter->arg);
    rpc_call_post(waiter->call, waiter->fn, waiter->arg);
}

/* Tells everybody who waits. */
static void finish(adaptation *one, const rpc_status *status, uint32_t retry_ms)
{
    dacm_adaptations *a = one->owner;
    if (status->code == RPC_UNAVAILABLE)
        retry_ms = RETRY_MS;
    host_counter_add(status->code == RPC_OK                                   ? a->counts.made
                     : status->code == RPC_CANCELLED                          ? a->counts.left
                     : status->code == RPC_RESOURCE_EXHAUSTED && retry_ms > 0 ? a->counts.refused
                                                                              : a->counts.failed,
        1);
    pthread_mutex_lock(&a->lock);
    unlist(one);
    if (lasts(status, retry_ms)) {
        failure *f = failure_of(a, &one->wanted);
        memcpy(f->uid, one->wanted.uid, sizeof f->uid);
        f->which = one->wanted.which;
        f->status = *status;
        f->until_us = rpc_clock_monotonic_us(a->links.clock) + FAILED_FOR_US;
    }
    while (one->waiters)
        tell(one->waiters, status, retry_ms);
    pthread_mutex_unlock(&a->lock);
    free_one(one);
}

/* The asset's fault, in the words of who asked for it. */
static void blame_asset(rpc_status *status)
{
    const rpc_status why = *status;
    if (why.code == RPC_INVALID_ARGUMENT)
        rpc_status_set(status, RPC_FAILED_PRECONDITION,
            "recipe: the asset cannot be adapted, ask for the original: %.300s", why.message);
    else if (why.code == RPC_INTERNAL)
        rpc_status_set(status, RPC_FAILED_PRECONDITION,
            "recipe: the asset cannot be adapted, its adaptation broke down; ask for the original");
    else if (why.code == RPC_RESOURCE_EXHAUSTED)
        rpc_status_set(status, why.code, "%.400s; ask for the original", why.message);
}

/* ---- its states ---- */

/* Pool. */
static void store_made(void *arg)
{
    adaptation *one = arg;
    dacm_adaptations *a = one->owner;
    rpc_status status = {.code = RPC_OK};
    const rpc_code code = dacm_make_variant(a->links.variants, a->links.store, &one->wanted,
        one->source_sha256, one->made, rpc_clock_wall_ms(a->links.clock) / 1000, &status);
    if (code != RPC_OK) {
        HOST_LOG(a->links.log, HOST_ERROR, "a variant could not be kept",
            host_text("asset", one->wanted.asset_id), host_text("why", status.message));
        if (code == RPC_RESOURCE_EXHAUSTED) /* which says nothing of the asset */
            status.code = RPC_UNAVAILABLE;
        else if (code != RPC_UNAVAILABLE)
            dacm_hide_store_failure(&status);
    }
    finish(one, &status, 0);
}

/* For the operator; what failed a moment ago is not told again. */
static void not_adapted(const adaptation *one, const rpc_status *why)
{
    HOST_LOG(one->owner->links.log, HOST_INFO, "an asset is not adapted",
        host_text("asset", one->wanted.asset_id), host_text("recipe", one->wanted.recipe),
        host_text("status", rpc_code_name(why->code)), host_text("why", why->message));
}

/* A thread of the workers. */
static void on_made(void *ctx, const rpc_status *status, media_made *made)
{
    adaptation *one = ctx;
    dacm_adaptations *a = one->owner;
    rpc_status shown = *status;
    pthread_mutex_lock(&a->lock);
    one->made = made;
    one->made_ms = rpc_clock_wall_ms(a->links.clock);
    one->job = 0;
    const bool left = one->left;
    pthread_mutex_unlock(&a->lock);
    if (made && !left) {
        host_histogram_record(a->counts.took, made->cpu_us);
        if (rpc_pool_submit(a->pool, store_made, one) == RPC_OK)
            return;
        rpc_status_set(
            &shown, RPC_RESOURCE_EXHAUSTED, "too many variants wait to be stored; try again later");
        finish(one, &shown, RETRY_MS);
        return;
    }
    if (left)
        rpc_status_set(&shown, RPC_CANCELLED, "nobody waits for it");
    if (status->code == RPC_INTERNAL)
        HOST_LOG(a->links.log, HOST_WARNING, "an adaptation broke down in its worker",
            host_text("asset", one->wanted.asset_id), host_text("why", status->message));
    else if (!made && !left && status->code != RPC_CANCELLED)
        not_adapted(one, status);
    blame_asset(&shown);
    finish(one, &shown, 0);
}

/* False: nobody waits for it any more, or the server ends. */
static bool is_wanted(adaptation *one)
{
    dacm_adaptations *a = one->owner;
    pthread_mutex_lock(&a->lock);
    const bool wanted = !one->left && !a->stopping;
    pthread_mutex_unlock(&a->lock);
    return wanted;
}

/* What is too much for one user need not be for the next who waits: those of this share are told,
 * and it counts for another one. False: there is none. */
static bool hand_on(adaptation *one, const rpc_status *status, uint32_t retry_ms)
{
    dacm_adaptations *a = one->owner;
    bool others = false;
    pthread_mutex_lock(&a->lock);
    for (const dacm_adapt_waiter *w = one->waiters; w && !others; w = w->next)
        others = strcmp(w->share, one->share) != 0;
    for (dacm_adapt_waiter *w = one->waiters, *next = NULL; others && w; w = next) {
        next = w->next;
        if (strcmp(w->share, one->share) == 0)
            tell(w, status, retry_ms);
    }
    if (others) {
        (void)rpc_text_copy(one->share, sizeof one->share, one->waiters->share);
        host_counter_add(a->counts.refused, 1);
    }
    pthread_mutex_unlock(&a->lock);
    return others;
}

/* Under the lock: it has its turn with whoever has his soonest. */
static void lend(adaptation *one)
{
    for (const dacm_adapt_waiter *w = one->waiters; w; w = w->next)
        if (strcmp(w->share, one->share) != 0)
            media_workers_lend(one->owner->workers, one->job, w->share);
}

/* one may be over when this returns: on_made() runs on another thread. False: it is to be gathered
 * again, for another user. */
static bool submit(adaptation *one, int source)
{
    dacm_adaptations *a = one->owner;
    uint64_t id = 0;
    uint32_t retry_ms = 0;
    rpc_status status = {.code = RPC_OK};
    const media_job job = {.source = source,
        .recipe = one->wanted.recipe,
        .share = one->share,
        .done = on_made,
        .ctx = one};
    pthread_mutex_lock(&a->lock); /* leave() finds the job, on_made() waits */
    const rpc_code code = media_workers_submit(a->workers, &job, &id, &retry_ms, &status);
    const bool left = one->left;
    if (code == RPC_OK) {
        one->job = id;
        lend(one);
    }
    pthread_mutex_unlock(&a->lock);
    if (code == RPC_OK && left) /* while it was read */
        media_workers_cancel(a->workers, id);
    if (code == RPC_OK)
        return true;
    close(source);
    if (retry_ms > 0 && hand_on(one, &status, retry_ms))
        return false;
    finish(one, &status, retry_ms);
    return true;
}

typedef struct admission {
    adaptation *one;
    uint32_t retry_ms; /* not 0: refused for overload, which is not the asset's fault */
} admission;

static rpc_code admit(void *ctx, uint64_t size, rpc_status *reterr)
{
    admission *asked = ctx;
    return media_workers_admit(
        asked->one->owner->workers, asked->one->share, size, &asked->retry_ms, reterr);
}

/* What keeps an asset from being adapted is told to the operator; overload has metrics. */
static int open_source(adaptation *one, uint32_t *ret_retry_ms, rpc_status *reterr)
{
    dacm_adaptations *a = one->owner;
    int source = -1;
    admission asked = {.one = one};
    const dacm_source_rule rule = {
        .bytes_max = a->links.workers.source_bytes_max, .admit = admit, .ctx = &asked};
    const rpc_code code = dacm_make_source(
        a->links.store, &one->wanted, &rule, &source, one->source_sha256, reterr);
    *ret_retry_ms = asked.retry_ms;
    if (code == RPC_DATA_LOSS || code == RPC_INTERNAL) {
        HOST_LOG(a->links.log, HOST_ERROR, "an asset could not be read to be adapted",
            host_text("asset", one->wanted.asset_id), host_text("why", reterr->message));
        dacm_hide_store_failure(reterr);
    } else if (code != RPC_OK && asked.retry_ms == 0)
        not_adapted(one, reterr);
    return source;
}

/* True: it is under way, or over. False: again, for another user. */
static bool gather_once(adaptation *one)
{
    int source = -1;
    uint32_t retry_ms = 0;
    rpc_status status = {.code = RPC_OK};
    if (!is_wanted(one))
        rpc_status_set(&status, RPC_CANCELLED, "nobody waits for it");
    else
        source = open_source(one, &retry_ms, &status);
    if (source >= 0)
        return submit(one, source);
    if (retry_ms > 0 && hand_on(one, &status, retry_ms))
        return false;
    finish(one, &status, retry_ms);
    return true;
}

/* Pool. */
static void gather(void *arg)
{
    adaptation *one = arg;
    dacm_adaptations *a = one->owner; /* one may be over at the end of each try */
    while (!gather_once(one))
        continue;
    pthread_mutex_lock(&a->lock);
    if (--a->running == 0)
        pthread_cond_broadcast(&a->idle);
    pthread_mutex_unlock(&a->lock);
}

/* ---- who waits ---- */

static rpc_code failed_before(dacm_adaptations *a, const dacm_wanted *wanted, rpc_status *reterr)
{
    const failure *f = failure_of(a, wanted);
    if (f->until_us <= rpc_clock_monotonic_us(a->links.clock) ||
        !is_of(f->uid, &f->which, wanted->uid, &wanted->which))
        return RPC_OK;
    *reterr = f->status;
    return f->status.code;
}

static rpc_code busy(dacm_adaptations *a, dacm_adapt_waiter *waiter, rpc_status *reterr)
{
    host_counter_add(a->counts.refused, 1);
    waiter->retry_ms = RETRY_MS;
    return rpc_status_set(
        reterr, RPC_RESOURCE_EXHAUSTED, "too many assets wait to be adapted; try again later");
}

/* Under the lock. */
static rpc_code begin(dacm_adaptations *a, dacm_adapt_waiter *waiter, const dacm_wanted *wanted,
    const char *share, rpc_status *reterr)
{
    if (dacm_variants_admit(a->links.variants, reterr) != RPC_OK) {
        host_counter_add(a->counts.refused, 1);
        waiter->retry_ms = RETRY_MS;
        return reterr->code;
    }
    adaptation *one = calloc(1, sizeof *one);
    if (!one)
        return busy(a, waiter, reterr);
    one->owner = a;
    one->wanted = *wanted;
    (void)rpc_text_copy(one->share, sizeof one->share, share);
    if (a->stopping || rpc_pool_submit(a->pool, gather, one) != RPC_OK) {
        free(one);
        return busy(a, waiter, reterr);
    }
    a->running++; /* gather() has to take the lock before it looks */
    list(one);
    add_waiter(one, waiter);
    return RPC_OK;
}

rpc_code dacm_adaptations_join(dacm_adaptations *a, dacm_adapt_waiter *waiter,
    const dacm_wanted *wanted, const char *share, rpc_status *reterr)
{
    waiter->retry_ms = 0;
    waiter->share = share;
    if (!a)
        return rpc_status_set(reterr, RPC_UNIMPLEMENTED,
            "recipe: this server does not adapt media; ask without a recipe for the original");
    pthread_mutex_lock(&a->lock);
    adaptation *one = find(a, wanted);
    rpc_code code = one ? RPC_OK : failed_before(a, wanted, reterr);
    if (one) {
        add_waiter(one, waiter);
        if (one->job && strcmp(share, one->share) != 0)
            media_workers_lend(a->workers, one->job, share);
        host_counter_add(a->counts.joined, 1);
    } else if (code == RPC_OK)
        code = begin(a, waiter, wanted, share, reterr);
    pthread_mutex_unlock(&a->lock);
    return code;
}

void dacm_adaptations_leave(dacm_adaptations *a, dacm_adapt_waiter *waiter)
{
    uint64_t job = 0;
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    adaptation *one = waiter->adaptation;
    if (one) {
        remove_waiter(waiter);
        if (!one->waiters && !one->made) { /* whoever asks now begins anew */
            one->left = true;
            job = one->job;
            unlist(one);
        }
    }
    pthread_mutex_unlock(&a->lock);
    if (job)
        media_workers_cancel(a->workers, job);
}

int64_t dacm_adaptations_putting_since(dacm_adaptations *a, const uint8_t uid[STORE_UID_BYTES])
{
    int64_t since = INT64_MAX;
    if (!a)
        return since;
    pthread_mutex_lock(&a->lock);
    for (const adaptation *one = *bucket_of(a, uid); one; one = one->next)
        if (one->made && one->made_ms < since && memcmp(one->wanted.uid, uid, STORE_UID_BYTES) == 0)
            since = one->made_ms;
    pthread_mutex_unlock(&a->lock);
    return since;
}

/* ---- life ---- */

static void log_line(void *ctx, bool warning, const char *line)
{
    dacm_adaptations *a = ctx;
    HOST_LOG(
        a->links.log, warning ? HOST_WARNING : HOST_INFO, "media workers", host_text("what", line));
}

void dacm_adaptations_judge(dacm_adaptations *a, host_health *health)
{
    if (a)
        dacm_adaptations_warn(a->workers, health);
}

rpc_code dacm_adaptations_start(
    const dacm_adaptations_links *links, dacm_adaptations **ret, rpc_status *reterr)
{
    dacm_adaptations *a = calloc(1, sizeof *a);
    if (!a)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "media: no memory to start");
    a->links = *links;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->idle, NULL);
    media_workers_options options = links->workers;
    options.log = log_line;
    options.ctx = a;
    rpc_code code = rpc_pool_new(
        links->runtime, "media", links->threads, JOBS_MAX, &a->pool, reterr);
    if (code == RPC_OK)
        code = media_workers_start(&options, &a->workers, reterr);
    if (code != RPC_OK) {
        dacm_adaptations_stop(a);
        return code;
    }
    dacm_adaptations_count(a->workers, links->metrics, &a->counts);
    *ret = a;
    return RPC_OK;
}

void dacm_adaptations_stop(dacm_adaptations *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->stopping = true;
    while (a->running > 0)
        pthread_cond_wait(&a->idle, &a->lock);
    pthread_mutex_unlock(&a->lock);
    media_workers_stop(a->workers);
    rpc_pool_free(a->pool);
    pthread_cond_destroy(&a->idle);
    pthread_mutex_destroy(&a->lock);
    free(a);
}
