/* SPDX-License-Identifier: Apache-2.0 */
/* The threads of the audit trail. The audit thread writes. What has been written is synced each
 * second on a thread of its own, since a sync may take the disk longer than memory can take
 * records. With `power` the audit thread does that as well: of two who sync the same file at the
 * same time the kernel tells one only that pages were lost, and it might tell the other one than
 * who answers for them. */
#include "audit_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

int64_t trust__audit_now_us(void)
{
    return rpc_clock_monotonic_us(rpc_clock_system());
}

void trust__audit_wake_at(trust_audit *audit, int64_t when_us)
{
    if (when_us >= audit->wake_us)
        return;
    audit->wake_us = when_us;
    pthread_cond_signal(&audit->work);
}

bool trust__audit_stuck(const trust_audit *audit, rpc_status *reterr)
{
    const int64_t since = audit->busy_since_us;
    if (!since || trust__audit_now_us() - since <= audit->stuck_us)
        return false;
    rpc_status_set(reterr, RPC_UNAVAILABLE,
        "audit: a write to '%.120s' has taken more than %" PRId64 " ms; see to that disk",
        audit->directory, audit->stuck_us / 1000);
    return true;
}

/* ---- records on their way ------------------------------------------------------------------- */

size_t trust__audit_cost(const audit_entry *entry)
{
    return sizeof *entry + entry->size;
}

void trust__audit_free_entry(audit_entry *entry)
{
    trust_audit_common_unref(entry->common);
    free(entry);
}

void trust__audit_end_entries(trust_audit *audit, audit_list *done)
{
    audit_entry *next;
    size_t bytes = 0;
    for (const audit_entry *entry = done->head; entry; entry = entry->next)
        bytes += trust__audit_cost(entry);
    atomic_fetch_sub(&audit->waiting_bytes, bytes);
    for (audit_entry *entry = done->head; entry; entry = next) {
        next = entry->next;
        if (entry->fn)
            entry->fn(entry->arg, entry->written);
        trust__audit_free_entry(entry);
    }
    *done = (audit_list){NULL, NULL};
}

void trust__audit_refuse_waiters(audit_list *writing, audit_list *done)
{
    audit_list kept = {NULL, NULL};
    audit_entry *next;
    for (audit_entry *entry = writing->head; entry; entry = next) {
        next = entry->next;
        trust__audit_push(entry->fn ? done : &kept, entry);
    }
    *writing = kept;
}

void trust__audit_take_waiting(trust_audit *audit)
{
    pthread_mutex_lock(&audit->lock);
    trust__audit_append(&audit->writing, &audit->waiting);
    pthread_mutex_unlock(&audit->lock);
}

void trust__audit_settle(trust_audit *audit, const audit_outcome *out)
{
    pthread_mutex_lock(&audit->lock);
    if (!audit->sync_failed)
        audit->failure = out->status;
    audit->refusing = out->status.code != RPC_OK;
    audit->sync_failed = audit->sync_failed || out->sync_failed;
    if (audit->refusing)
        trust__audit_wake_at(audit, trust__audit_now_us() + AUDIT_SYNC_US);
    if (out->full)
        trust__audit_wake_at(audit, 0);
    if (out->wrote && !audit->dirty) {
        audit->dirty = true;
        audit->sync_us = trust__audit_now_us() + AUDIT_SYNC_US;
        trust__audit_wake_at(audit, audit->sync_us);
    }
    pthread_mutex_unlock(&audit->lock);
}

/* ---- syncs ---------------------------------------------------------------------------------- */

/* Under file_lock. */
static void gather(audit_file *file, bool current, audit_sync *sync)
{
    sync->retired_count = file->retired_count;
    memcpy(sync->retired, file->retired, sizeof sync->retired);
    file->retired_count = 0;
    if (current) {
        sync->fd = file->fd;
        sync->directory_fd = file->directory_dirty ? file->directory_fd : -1;
        file->directory_dirty = false;
    }
}

/* False with errno of the first failure. */
static bool sync_files(const audit_sync *sync)
{
    int why = 0;
    for (size_t i = 0; i < sync->retired_count; i++) {
        if (fdatasync(sync->retired[i]) != 0 && !why)
            why = errno;
        close(sync->retired[i]);
    }
    if (sync->directory_fd >= 0 && fsync(sync->directory_fd) != 0 && !why)
        why = errno;
    if (sync->fd >= 0 && fdatasync(sync->fd) != 0 && !why)
        why = errno;
    errno = why;
    return why == 0;
}

/* Without a lock. */
static void run_sync(trust_audit *audit, audit_sync *sync)
{
    const bool synced = sync_files(sync);
    if (!synced)
        trust__audit_not_synced(&audit->file, &sync->status);
    pthread_mutex_lock(&audit->lock);
    if (!synced) {
        audit->sync_failed = true;
        audit->failure = sync->status;
    }
    audit->syncing = false;
    if (sync->fd >= 0 && sync->flush != audit->flush_done) {
        audit->flush_done = sync->flush;
        audit->flush_status = sync->status;
        pthread_cond_broadcast(&audit->flushed);
    }
    trust__audit_wake_at(audit, 0);    /* what came meanwhile may be due */
    pthread_cond_signal(&audit->work); /* who ends waits for this, whatever wake_us is */
    pthread_mutex_unlock(&audit->lock);
}

static void *run_syncs(void *arg)
{
    trust_audit *audit = arg;
    pthread_mutex_lock(&audit->lock);
    for (;;) {
        while (!audit->sync_given && !audit->syncs_end)
            pthread_cond_wait(&audit->sync_work, &audit->lock);
        if (!audit->sync_given)
            break;
        audit->sync_given = false;
        pthread_mutex_unlock(&audit->lock);
        run_sync(audit, &audit->sync);
        pthread_mutex_lock(&audit->lock);
    }
    pthread_mutex_unlock(&audit->lock);
    return NULL;
}

/* ---- the audit thread --------------------------------------------------------------------------
 */

/* What one turn has to do; decided under lock. */
typedef struct turn {
    bool probe;
    bool may_sync; /* no sync is under way */
    bool current;  /* the current segment, too */
    bool here;     /* syncs on this thread */
    uint64_t flush;
} turn;

/* Under file_lock. With nothing to write, a disk that refused before is asked whether it would
 * take something now: nobody may be sending records to a server that is not healthy. */
static void write_or_probe(trust_audit *audit, bool probe, audit_list *done, rpc_status *status)
{
    const rpc_code code = probe && !audit->writing.head
                              ? trust__audit_file_probe(&audit->file, status)
                              : trust__audit_file_write(
                                    &audit->file, &audit->writing, done, status);
    if (code != RPC_OK)
        trust__audit_refuse_waiters(&audit->writing, done);
}

/* Nobody syncs: `sync` is ours. */
static void begin_sync(trust_audit *audit, const turn *t)
{
    if (audit->sync.fd < 0 && audit->sync.retired_count == 0)
        return;
    pthread_mutex_lock(&audit->lock);
    audit->syncing = true;
    audit->sync_given = !t->here;
    if (audit->sync_given)
        pthread_cond_signal(&audit->sync_work);
    pthread_mutex_unlock(&audit->lock);
    if (t->here)
        run_sync(audit, &audit->sync);
}

/* Writes what waits, and begins the sync that is due. */
static rpc_code work(trust_audit *audit, const turn *t)
{
    audit_list done = {NULL, NULL};
    audit_outcome out = {.status.code = RPC_OK};
    pthread_mutex_lock(&audit->file_lock);
    trust__audit_take_waiting(audit);
    write_or_probe(audit, t->probe, &done, &out.status);
    if (t->may_sync) {
        audit->sync = (audit_sync){
            .directory_fd = -1, .fd = -1, .flush = t->flush, .status = out.status};
        gather(&audit->file, t->current, &audit->sync);
    }
    out.sync_failed = audit->file.sync_failed;
    pthread_mutex_unlock(&audit->file_lock);
    out.wrote = done.head != NULL;
    trust__audit_settle(audit, &out);
    trust__audit_end_entries(audit, &done); /* first: who waits for a flush may count on it */
    if (t->may_sync)
        begin_sync(audit, t);
    return out.status.code;
}

/* Under lock. */
static void wait_for_work(trust_audit *audit)
{
    while (audit->wake_us > trust__audit_now_us()) {
        if (audit->wake_us == AUDIT_NEVER_US) {
            pthread_cond_wait(&audit->work, &audit->lock);
            continue;
        }
        const struct timespec until = {
            .tv_sec = audit->wake_us / 1000000, .tv_nsec = audit->wake_us % 1000000 * 1000};
        pthread_cond_timedwait(&audit->work, &audit->lock, &until);
    }
    audit->wake_us = AUDIT_NEVER_US;
}

/* Under lock. */
static turn next_turn(trust_audit *audit)
{
    const bool due = audit->stopping || audit->flush_asked != audit->flush_done ||
                     (audit->dirty && trust__audit_now_us() >= audit->sync_us);
    const turn t = {
        .probe = audit->failure.code != RPC_OK,
        .may_sync = !audit->syncing,
        .current = due && !audit->syncing,
        .here = audit->power || audit->stopping,
        .flush = audit->flush_asked,
    };
    if (t.current)
        audit->dirty = false;
    return t;
}

/* Under lock; false at the end. */
static bool run_once(trust_audit *audit)
{
    wait_for_work(audit);
    const bool stopping = audit->stopping;
    while (stopping && audit->syncing) /* the last sync comes after it */
        pthread_cond_wait(&audit->work, &audit->lock);
    const turn t = next_turn(audit);
    audit->busy_since_us = trust__audit_now_us();
    pthread_mutex_unlock(&audit->lock);
    const rpc_code code = work(audit, &t);
    pthread_mutex_lock(&audit->lock);
    audit->busy_since_us = 0;
    if (audit->dirty && !audit->syncing)
        trust__audit_wake_at(audit, audit->sync_us);
    if (stopping && audit->waiting.head && code == RPC_OK) {
        trust__audit_wake_at(audit, 0); /* callbacks have written */
        return true;
    }
    return !stopping;
}

static void *run(void *arg)
{
    trust_audit *audit = arg;
    pthread_mutex_lock(&audit->lock);
    while (run_once(audit))
        ;
    pthread_mutex_unlock(&audit->lock);
    return NULL;
}

static bool start_thread(
    trust_audit *audit, pthread_t *thread, void *(*fn)(void *), const char *name)
{
    if (pthread_create(thread, NULL, fn, audit) != 0)
        return false;
    pthread_setname_np(*thread, name);
    return true;
}

/* Signals are the program's, not ours. */
bool trust__audit_start(trust_audit *audit)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    audit->sync_running = !audit->power &&
                          start_thread(audit, &audit->sync_thread, run_syncs, "audit-sync");
    audit->running = (audit->power || audit->sync_running) &&
                     start_thread(audit, &audit->thread, run, "audit");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return audit->running;
}

void trust__audit_stop(trust_audit *audit)
{
    pthread_mutex_lock(&audit->lock);
    audit->stopping = true;
    trust__audit_wake_at(audit, 0);
    pthread_mutex_unlock(&audit->lock);
    if (audit->running)
        pthread_join(audit->thread, NULL);
    pthread_mutex_lock(&audit->lock);
    audit->syncs_end = true;
    pthread_cond_signal(&audit->sync_work);
    pthread_mutex_unlock(&audit->lock);
    if (audit->sync_running)
        pthread_join(audit->sync_thread, NULL);
}
