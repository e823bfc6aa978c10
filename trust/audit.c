/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of the audit trail.
 *
 * LOCKS, in this order, both held for short:
 *   file_lock  the segment and `writing`, the records that are next. Held during write(); during
 *              fdatasync() only with `power`, where nobody but the audit thread takes it.
 *   lock       the queue `waiting`, when the thread wakes, health.
 * Records get their place in the chain when they are written, so that one that is refused leaves
 * no gap. Callbacks run without a lock. */
#include "audit_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define SOON_US    3000    /* of the 5 ms promised: the rest is for waking up and writing */
#define SYNC_US    1000000 /* between two fdatasync, and between two attempts */
#define NEVER_US   INT64_MAX
#define MANY_BYTES (256u << 10) /* waiting: worth a write() of their own */

struct trust_audit {
    char *directory;
    int lock_fd;
    bool power;
    uint64_t torn;

    pthread_mutex_t file_lock;
    audit_file file;
    audit_list writing;

    pthread_mutex_t lock;
    pthread_cond_t work, flushed;
    audit_list waiting;
    int64_t wake_us;
    bool dirty;      /* written since the last sync … */
    int64_t sync_us; /* … which is due then */
    uint64_t flush_asked, flush_done;
    rpc_status flush_status;
    bool stopping;
    bool sync_failed;
    rpc_status failure; /* RPC_OK = healthy */

    atomic_size_t waiting_bytes; /* of `waiting` and `writing` */
    bool running;
    pthread_t thread;
};

static int64_t now_us(void)
{
    return rpc_clock_monotonic_us(rpc_clock_system());
}

/* Under lock. */
static void wake_at(trust_audit *audit, int64_t when_us)
{
    if (when_us >= audit->wake_us)
        return;
    audit->wake_us = when_us;
    pthread_cond_signal(&audit->work);
}

/* ---- records on their way ------------------------------------------------------------------- */

static size_t cost(const audit_entry *entry)
{
    return sizeof *entry + entry->size;
}

static audit_entry *new_entry(rpc_bytes json, trust_audit_fn *fn, void *arg)
{
    audit_entry *entry = malloc(sizeof *entry + json.size);
    if (!entry)
        return NULL;
    *entry = (audit_entry){.fn = fn, .arg = arg, .size = json.size};
    memcpy(entry->json, json.data, json.size);
    return entry;
}

/* Takes them all; without a lock, for callbacks may write. */
static void end_entries(trust_audit *audit, audit_list *done)
{
    audit_entry *next;
    for (audit_entry *entry = done->head; entry; entry = next) {
        next = entry->next;
        atomic_fetch_sub(&audit->waiting_bytes, cost(entry));
        if (entry->fn)
            entry->fn(entry->arg, entry->written);
        free(entry);
    }
    *done = (audit_list){NULL, NULL};
}

/* Moves those who wait for an answer to done: it is no. The others stay. */
static void refuse_waiters(audit_list *writing, audit_list *done)
{
    audit_list kept = {NULL, NULL};
    audit_entry *next;
    for (audit_entry *entry = writing->head; entry; entry = next) {
        next = entry->next;
        trust__audit_push(entry->fn ? done : &kept, entry);
    }
    *writing = kept;
}

/* The last of the list. */
static void remove_last(audit_list *list)
{
    audit_entry *before = NULL;
    for (audit_entry *entry = list->head; entry != list->tail; entry = entry->next)
        before = entry;
    if (before)
        before->next = NULL;
    else
        list->head = NULL;
    list->tail = before;
}

/* Under file_lock. */
static void take_waiting(trust_audit *audit)
{
    pthread_mutex_lock(&audit->lock);
    trust__audit_append(&audit->writing, &audit->waiting);
    pthread_mutex_unlock(&audit->lock);
}

/* What an attempt to write has come to. */
typedef struct outcome {
    rpc_status status; /* RPC_OK, or why not all was written and synced */
    bool wrote;
    bool full; /* there are full segments to sync and close */
    bool sync_failed;
} outcome;

/* Health, and when the thread is needed next. */
static void settle(trust_audit *audit, const outcome *out)
{
    pthread_mutex_lock(&audit->lock);
    if (!audit->sync_failed)
        audit->failure = out->status;
    audit->sync_failed = audit->sync_failed || out->sync_failed;
    if (out->status.code != RPC_OK)
        wake_at(audit, now_us() + SYNC_US);
    if (out->full)
        wake_at(audit, 0);
    if (out->wrote && !audit->dirty) {
        audit->dirty = true;
        audit->sync_us = now_us() + SYNC_US;
        wake_at(audit, audit->sync_us);
    }
    pthread_mutex_unlock(&audit->lock);
}

/* ---- the audit thread --------------------------------------------------------------------------
 */

/* What one sync has to do; gathered under file_lock, done without it. */
typedef struct sync_job {
    int retired[AUDIT_RETIRED_MAX];
    size_t retired_count;
    int directory_fd; /* -1 = nothing new in it */
    int fd;           /* stays open: only this thread closes segments */
} sync_job;

static sync_job gather(audit_file *file, bool current)
{
    sync_job job = {.retired_count = file->retired_count, .directory_fd = -1, .fd = -1};
    memcpy(job.retired, file->retired, sizeof job.retired);
    file->retired_count = 0;
    if (current) {
        job.fd = file->fd;
        job.directory_fd = file->directory_dirty ? file->directory_fd : -1;
        file->directory_dirty = false;
    }
    return job;
}

/* False with errno of the first failure. */
static bool run_job(const sync_job *job)
{
    int why = 0;
    for (size_t i = 0; i < job->retired_count; i++) {
        if (fdatasync(job->retired[i]) != 0 && !why)
            why = errno;
        close(job->retired[i]);
    }
    if (job->directory_fd >= 0 && fsync(job->directory_fd) != 0 && !why)
        why = errno;
    if (job->fd >= 0 && fdatasync(job->fd) != 0 && !why)
        why = errno;
    errno = why;
    return why == 0;
}

/* Under file_lock. With nothing to write, a disk that refused before is asked whether it would
 * take something now: nobody may be sending records to a server that is not healthy. */
static void write_or_probe(trust_audit *audit, bool probe, audit_list *done, rpc_status *status)
{
    const rpc_code code = probe && !audit->writing.head
                              ? trust__audit_file_probe(&audit->file, status)
                              : trust__audit_file_write(
                                    &audit->file, &audit->writing, done, status);
    if (code != RPC_OK)
        refuse_waiters(&audit->writing, done);
}

/* Writes what waits, syncs if asked to. */
static rpc_status work(trust_audit *audit, bool sync, bool probe)
{
    audit_list done = {NULL, NULL};
    outcome out = {.status.code = RPC_OK};
    pthread_mutex_lock(&audit->file_lock);
    take_waiting(audit);
    write_or_probe(audit, probe, &done, &out.status);
    const sync_job job = gather(&audit->file, sync);
    out.sync_failed = audit->file.sync_failed;
    pthread_mutex_unlock(&audit->file_lock);
    if (!run_job(&job)) {
        out.sync_failed = true;
        trust__audit_not_synced(&audit->file, &out.status);
    }
    out.wrote = done.head != NULL;
    settle(audit, &out);
    end_entries(audit, &done);
    return out.status;
}

/* Under lock. */
static void wait_for_work(trust_audit *audit)
{
    while (audit->wake_us > now_us()) {
        if (audit->wake_us == NEVER_US) {
            pthread_cond_wait(&audit->work, &audit->lock);
            continue;
        }
        const struct timespec until = {
            .tv_sec = audit->wake_us / 1000000, .tv_nsec = audit->wake_us % 1000000 * 1000};
        pthread_cond_timedwait(&audit->work, &audit->lock, &until);
    }
    audit->wake_us = NEVER_US;
}

/* Under lock; false at the end. */
static bool run_once(trust_audit *audit)
{
    wait_for_work(audit);
    const bool stopping = audit->stopping;
    const uint64_t asked = audit->flush_asked;
    const bool sync = stopping || asked != audit->flush_done ||
                      (audit->dirty && now_us() >= audit->sync_us);
    if (sync)
        audit->dirty = false;
    const bool probe = audit->failure.code != RPC_OK;
    pthread_mutex_unlock(&audit->lock);
    const rpc_status status = work(audit, sync, probe);
    pthread_mutex_lock(&audit->lock);
    if (audit->dirty)
        wake_at(audit, audit->sync_us);
    if (asked != audit->flush_done) {
        audit->flush_done = asked;
        audit->flush_status = status;
        pthread_cond_broadcast(&audit->flushed);
    }
    if (stopping && audit->waiting.head && status.code == RPC_OK) {
        wake_at(audit, 0); /* callbacks have written */
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

/* Signals are the program's, not ours. */
static bool start_thread(trust_audit *audit)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    audit->running = pthread_create(&audit->thread, NULL, run, audit) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (audit->running)
        pthread_setname_np(audit->thread, "audit");
    return audit->running;
}

/* ---- opening and closing
 * --------------------------------------------------------------------------- */

static void stop_thread(trust_audit *audit)
{
    pthread_mutex_lock(&audit->lock);
    audit->stopping = true;
    wake_at(audit, 0);
    pthread_mutex_unlock(&audit->lock);
    pthread_join(audit->thread, NULL);
}

static void free_entries(audit_list *list)
{
    audit_entry *next;
    for (audit_entry *entry = list->head; entry; entry = next) {
        next = entry->next;
        free(entry);
    }
}

void trust_audit_close(trust_audit *audit)
{
    if (!audit)
        return;
    if (audit->running)
        stop_thread(audit);
    free_entries(&audit->writing);
    free_entries(&audit->waiting);
    trust__audit_file_done(&audit->file);
    if (audit->lock_fd >= 0)
        close(audit->lock_fd);
    pthread_mutex_destroy(&audit->file_lock);
    pthread_mutex_destroy(&audit->lock);
    pthread_cond_destroy(&audit->work);
    pthread_cond_destroy(&audit->flushed);
    free(audit->directory);
    free(audit);
}

RPC_DEFINE_FREEP(audit_closep, trust_audit *, trust_audit_close)

/* NULL when memory is short. */
static trust_audit *new_audit(const trust_audit_options *options)
{
    trust_audit *audit = calloc(1, sizeof *audit);
    if (!audit)
        return NULL;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&audit->file_lock, NULL);
    pthread_mutex_init(&audit->lock, NULL);
    pthread_cond_init(&audit->work, &monotonic);
    pthread_cond_init(&audit->flushed, NULL);
    pthread_condattr_destroy(&monotonic);
    audit->lock_fd = -1;
    audit->power = options->power;
    audit->wake_us = NEVER_US;
    audit->directory = strdup(options->directory);
    audit->file = (audit_file){
        .directory = audit->directory,
        .directory_fd = -1,
        .fd = -1,
        .power = options->power,
        .segment_bytes_max = options->segment_bytes_max ? options->segment_bytes_max
                                                        : TRUST_AUDIT_SEGMENT_BYTES_DEFAULT,
        .clock = options->clock ? options->clock : rpc_clock_system(),
        .batch = malloc(AUDIT_BATCH_BYTES),
    };
    if (audit->directory && audit->file.batch && trust__audit_hash_init(&audit->file.hash))
        return audit;
    trust_audit_close(audit);
    return NULL;
}

static rpc_code judge_options(const trust_audit_options *options, rpc_status *reterr)
{
    if (!options->directory || !options->directory[0])
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "audit: no folder was named; set audit.directory");
    if (options->segment_bytes_max && options->segment_bytes_max < TRUST_AUDIT_SEGMENT_BYTES_MIN)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "audit: segments of less than %u bytes; give more, or 0 for 64 MiB",
            TRUST_AUDIT_SEGMENT_BYTES_MIN);
    return RPC_OK;
}

static rpc_code open_folder(trust_audit *audit, rpc_status *reterr)
{
    if (mkdir(audit->directory, 0700) != 0 && errno != EEXIST)
        return rpc_status_set(reterr, RPC_UNAVAILABLE,
            "audit: cannot make the folder '%.200s': %s; make it, with this server as owner",
            audit->directory, strerror(errno));
    audit->file.directory_fd = open(audit->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (audit->file.directory_fd < 0)
        return rpc_status_set(reterr, RPC_UNAVAILABLE,
            "audit: cannot open the folder '%.200s': %s; see its owner and mode", audit->directory,
            strerror(errno));
    return RPC_OK;
}

static rpc_code lock_trail(trust_audit *audit, rpc_status *reterr)
{
    audit->lock_fd = openat(
        audit->file.directory_fd, "audit.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (audit->lock_fd < 0)
        return rpc_status_set(reterr, RPC_UNAVAILABLE,
            "audit: cannot open 'audit.lock' in '%.200s': %s; see its owner and mode",
            audit->directory, strerror(errno));
    int result;
    do
        result = flock(audit->lock_fd, LOCK_EX | LOCK_NB);
    while (result != 0 && errno == EINTR);
    if (result == 0)
        return RPC_OK;
    if (errno != EWOULDBLOCK)
        return rpc_status_set(reterr, RPC_UNAVAILABLE,
            "audit: cannot lock 'audit.lock' in '%.200s': %s; use a disk that has locks",
            audit->directory, strerror(errno));
    return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
        "audit: somebody else writes the trail in '%.200s'; stop the other server, or name "
        "another folder",
        audit->directory);
}

rpc_code trust_audit_open(const trust_audit_options *options, trust_audit **ret, rpc_status *reterr)
{
    rpc_code code = judge_options(options, reterr);
    if (code != RPC_OK)
        return code;
    RPC_CLEANUP(audit_closep) trust_audit *audit = new_audit(options);
    if (!audit)
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "audit: no memory for the trail; free some");
    code = open_folder(audit, reterr);
    if (code == RPC_OK)
        code = lock_trail(audit, reterr);
    if (code == RPC_OK)
        code = trust__audit_file_open(&audit->file, &audit->torn, reterr);
    if (code != RPC_OK)
        return code;
    if (!start_thread(audit))
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "audit: cannot start the audit thread; raise the limit of threads (ulimit -u)");
    *ret = RPC_TAKE(audit);
    return RPC_OK;
}

uint64_t trust_audit_torn_bytes(const trust_audit *audit)
{
    return audit->torn;
}

/* ---- writing
 * --------------------------------------------------------------------------------------- */

static const char *json_fault(rpc_bytes json)
{
    if (json.size > TRUST_AUDIT_RECORD_BYTES_MAX)
        return "has more than 4,096 bytes; shorten it";
    if (json.size < 2 || json.data[0] != '{' || json.data[json.size - 1] != '}')
        return "is no JSON object; write one from '{' to '}'";
    for (size_t i = rpc_printable_run(json); i < json.size; i++)
        if (json.data[i] < ' ')
            return "has a newline or control character; escape it";
    return rpc_utf8_valid(json) ? NULL : "is not UTF-8; write it as such";
}

static rpc_code refuse_full(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
        "audit: 8 MiB of records wait for the disk already; see whether it is full or too slow");
}

/* For the audit thread: at once when somebody waits for it, or many records do. */
static rpc_code queue(trust_audit *audit, audit_entry *entry, rpc_status *reterr)
{
    const size_t before = atomic_fetch_add(&audit->waiting_bytes, cost(entry));
    if (before + cost(entry) > TRUST_AUDIT_WAITING_BYTES_MAX) {
        atomic_fetch_sub(&audit->waiting_bytes, cost(entry));
        free(entry);
        return refuse_full(reterr);
    }
    /* Only the one that makes it many: a disk that refuses is not asked by every record. */
    const bool many = before < MANY_BYTES && before + cost(entry) >= MANY_BYTES;
    const int64_t when_us = entry->fn || many ? 0 : now_us() + SOON_US;
    pthread_mutex_lock(&audit->lock);
    trust__audit_push(&audit->waiting, entry);
    wake_at(audit, when_us);
    pthread_mutex_unlock(&audit->lock);
    return RPC_OK;
}

/* On the calling thread: what waits, then this. */
static rpc_code write_now(trust_audit *audit, audit_entry *entry, rpc_status *reterr)
{
    audit_list done = {NULL, NULL};
    outcome out = {.status.code = RPC_OK};
    atomic_fetch_add(&audit->waiting_bytes, cost(entry));
    pthread_mutex_lock(&audit->file_lock);
    take_waiting(audit);
    trust__audit_push(&audit->writing, entry);
    const rpc_code code = trust__audit_file_write(
        &audit->file, &audit->writing, &done, &out.status);
    if (code != RPC_OK) /* it was the last, so it is among those that were not written */
        remove_last(&audit->writing);
    out.full = audit->file.retired_count > 0;
    out.wrote = done.head != NULL;
    pthread_mutex_unlock(&audit->file_lock);
    settle(audit, &out);
    end_entries(audit, &done);
    if (code == RPC_OK)
        return RPC_OK;
    atomic_fetch_sub(&audit->waiting_bytes, cost(entry));
    free(entry);
    return rpc_status_set(reterr, code, "%s", out.status.message);
}

rpc_code trust_audit_write(trust_audit *audit, rpc_bytes json, trust_audit_class durability,
    trust_audit_fn *fn, void *arg, bool *ret_pending, rpc_status *reterr)
{
    const char *fault = json_fault(json);
    if (fault)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "audit: the record %s", fault);
    const bool pending = durability == TRUST_AUDIT_BEFORE && audit->power;
    if (pending && !fn)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "audit: with `power` a record before an answer needs a callback; give one");
    audit_entry *entry = new_entry(json, pending ? fn : NULL, arg);
    if (!entry)
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "audit: no memory for a record; free some");
    const rpc_code code = durability == TRUST_AUDIT_SOON || pending
                              ? queue(audit, entry, reterr)
                              : write_now(audit, entry, reterr);
    if (code == RPC_OK)
        *ret_pending = pending;
    return code;
}

rpc_code trust_audit_flush(trust_audit *audit, rpc_status *reterr)
{
    pthread_mutex_lock(&audit->lock);
    const uint64_t mine = ++audit->flush_asked;
    wake_at(audit, 0);
    while (audit->flush_done < mine)
        pthread_cond_wait(&audit->flushed, &audit->lock);
    const rpc_status status = audit->flush_status;
    pthread_mutex_unlock(&audit->lock);
    return status.code == RPC_OK ? RPC_OK
                                 : rpc_status_set(reterr, status.code, "%s", status.message);
}

bool trust_audit_healthy(trust_audit *audit, rpc_status *reterr)
{
    pthread_mutex_lock(&audit->lock);
    const rpc_status status = audit->failure;
    pthread_mutex_unlock(&audit->lock);
    if (status.code == RPC_OK)
        return true;
    rpc_status_set(reterr, status.code, "%s", status.message);
    return false;
}
