/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of the audit trail: opening, closing, and the way of a record into the queue. */
#include "audit_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

/* ---- opening and closing
 * --------------------------------------------------------------------------- */

static void free_entries(audit_list *list)
{
    audit_entry *next;
    for (audit_entry *entry = list->head; entry; entry = next) {
        next = entry->next;
        trust__audit_free_entry(entry);
    }
}

void trust_audit_close(trust_audit *audit)
{
    if (!audit)
        return;
    trust__audit_stop(audit);
    trust__audit_seals_stop(audit);
    free_entries(&audit->writing);
    free_entries(&audit->waiting);
    trust__audit_file_done(&audit->file);
    if (audit->lock_fd >= 0)
        close(audit->lock_fd);
    pthread_mutex_destroy(&audit->file_lock);
    pthread_mutex_destroy(&audit->lock);
    pthread_cond_destroy(&audit->work);
    pthread_cond_destroy(&audit->sync_work);
    pthread_cond_destroy(&audit->flushed);
    pthread_cond_destroy(&audit->seal_work);
    free(audit->directory);
    free(audit);
}

RPC_DEFINE_FREEP(audit_closep, trust_audit *, trust_audit_close)

/* NULL when memory is short. */
static trust_audit *new_audit(const trust_audit_options *options)
{
    trust_audit *audit = calloc(1, sizeof *audit);
    if (!audit) {
        trust_signer_free(options->signer);
        return NULL;
    }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&audit->file_lock, NULL);
    pthread_mutex_init(&audit->lock, NULL);
    pthread_cond_init(&audit->work, &monotonic);
    pthread_cond_init(&audit->sync_work, NULL);
    pthread_cond_init(&audit->flushed, NULL);
    pthread_cond_init(&audit->seal_work, &monotonic);
    pthread_condattr_destroy(&monotonic);
    audit->lock_fd = audit->seal_fd = -1;
    audit->signer = options->signer;
    audit->seal_interval_us = INT64_C(1000) * (options->seal_interval_ms
                                                      ? options->seal_interval_ms
                                                      : TRUST_AUDIT_SEAL_MS_DEFAULT);
    audit->power = options->power;
    audit->wake_us = AUDIT_NEVER_US;
    audit->waiting_bytes_max = options->waiting_bytes_max ? options->waiting_bytes_max
                                                          : TRUST_AUDIT_WAITING_BYTES_DEFAULT;
    audit->stuck_us = INT64_C(1000) *
                      (options->stuck_ms ? options->stuck_ms : TRUST_AUDIT_STUCK_MS_DEFAULT);
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
    if (options->waiting_bytes_max && options->waiting_bytes_max < TRUST_AUDIT_WAITING_BYTES_MIN)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "audit: memory of less than %u bytes for records that wait; give more, or 0 for 32 MiB",
            TRUST_AUDIT_WAITING_BYTES_MIN);
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
    if (code != RPC_OK) {
        trust_signer_free(options->signer);
        return code;
    }
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
    if (!trust__audit_start(audit) || !trust__audit_seals_start(audit))
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "audit: cannot start the audit's threads; raise the limit of threads (ulimit -u)");
    *ret = RPC_TAKE(audit);
    return RPC_OK;
}

uint64_t trust_audit_torn_bytes(const trust_audit *audit)
{
    return audit->torn;
}

/* ---- records
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

static rpc_code no_memory(rpc_status *reterr)
{
    return rpc_status_set(
        reterr, RPC_RESOURCE_EXHAUSTED, "audit: no memory for a record; free some");
}

trust_audit_common *trust_audit_common_new(rpc_bytes json, rpc_status *reterr)
{
    const char *fault = json_fault(json);
    if (!fault && json.size > TRUST_AUDIT_COMMON_BYTES_MAX)
        fault = "has more than 3,968 bytes in common with others; shorten it";
    if (!fault && json.size < sizeof "{\"\":0}" - 1)
        fault = "has nothing in common with others; write it by itself";
    trust_audit_common *common = fault ? NULL : malloc(sizeof *common + json.size);
    if (fault)
        rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "audit: the record %s", fault);
    else if (!common)
        no_memory(reterr);
    if (!common)
        return NULL;
    *common = (trust_audit_common){.references = 1, .size = json.size};
    memcpy(common->json, json.data, json.size);
    return common;
}

trust_audit_common *trust_audit_common_ref(trust_audit_common *common)
{
    atomic_fetch_add_explicit(&common->references, 1, memory_order_relaxed);
    return common;
}

void trust_audit_common_unref(trust_audit_common *common)
{
    if (common && atomic_fetch_sub(&common->references, 1) == 1)
        free(common);
}

static audit_entry *new_entry(rpc_bytes json)
{
    audit_entry *entry = malloc(sizeof *entry + json.size);
    if (!entry)
        return NULL;
    *entry = (audit_entry){.size = json.size};
    memcpy(entry->json, json.data, json.size);
    return entry;
}

/* How many of text's bytes are letters and marks of a request ID. */
static size_t request_id_run(const char *text)
{
    return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-");
}

#define NUMBER_ROOM 20u

/* Decimal digits at the end of out; returns where they begin. snprintf() would be half of what a
 * short record costs the one who calls. */
static const uint8_t *decimal(int64_t number, uint8_t out[NUMBER_ROOM])
{
    uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
    uint8_t *at = out + NUMBER_ROOM;
    do
        *--at = (uint8_t)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (number < 0)
        *--at = '-';
    return at;
}

static const char TIME[] = "{\"time_ms\": ", REQUEST[] = ", \"request_id\": \"";

static uint8_t *add(uint8_t *to, const void *data, size_t size)
{
    memcpy(to, data, size);
    return to + size;
}

/* `{"time_ms": …, "request_id": "…"`: how it goes on is known when it is written. */
static audit_entry *new_common_entry(
    trust_audit_common *common, int64_t time_ms, const char *request_id, size_t id_size)
{
    uint8_t room[NUMBER_ROOM];
    const uint8_t *digits = decimal(time_ms, room);
    const size_t digits_size = (size_t)(room + sizeof room - digits);
    const size_t name_at = sizeof TIME - 1 + digits_size + sizeof REQUEST - 1;
    audit_entry *entry = malloc(sizeof *entry + name_at + id_size + 1);
    if (!entry)
        return NULL;
    *entry = (audit_entry){.common = trust_audit_common_ref(common),
        .name_at = name_at,
        .name_size = id_size,
        .size = name_at + id_size + 1};
    uint8_t *at = add(entry->json, TIME, sizeof TIME - 1);
    at = add(at, digits, digits_size);
    at = add(at, REQUEST, sizeof REQUEST - 1);
    at = add(at, request_id, id_size);
    *at = '"';
    return entry;
}

/* ---- into the queue, or onto the disk
 * --------------------------------------------------------------------- */

static rpc_code refuse_full(const trust_audit *audit, rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
        "audit: %zu bytes of records wait for the disk already; see whether it is full or too slow",
        audit->waiting_bytes_max);
}

/* Under lock: is nobody to wait for the disk as it is now? */
static rpc_code judge_disk(
    const trust_audit *audit, trust_audit_class durability, rpc_status *reterr)
{
    if (trust__audit_stuck(audit, reterr))
        return RPC_UNAVAILABLE;
    if (durability == TRUST_AUDIT_BEFORE || !audit->refusing)
        return RPC_OK; /* each record that is to be there before its answer asks the disk */
    return rpc_status_set(reterr, audit->failure.code, "%s", audit->failure.message);
}

/* For the audit thread: at once when somebody waits for it, or many records do. Takes entry; its
 * fn stays when the record is pending, and that may have ended before this returns. */
static rpc_code queue(trust_audit *audit, audit_entry *entry, trust_audit_class durability,
    bool *ret_pending, rpc_status *reterr)
{
    const size_t cost = trust__audit_cost(entry);
    const size_t before = atomic_fetch_add(&audit->waiting_bytes, cost), after = before + cost;
    const bool pending = entry->fn &&
                         (durability == TRUST_AUDIT_BEFORE || after > audit->waiting_bytes_max / 4);
    rpc_code code = after > audit->waiting_bytes_max ? refuse_full(audit, reterr) : RPC_OK;
    pthread_mutex_lock(&audit->lock);
    if (code == RPC_OK && pending)
        code = judge_disk(audit, durability, reterr);
    if (code == RPC_OK) {
        if (!pending)
            entry->fn = NULL;
        /* Only the one that makes it many: a disk that refuses is not asked by every record. */
        if (pending || (before < AUDIT_MANY_BYTES && after >= AUDIT_MANY_BYTES))
            trust__audit_wake_at(audit, 0);
        else if (!audit->waiting.head) /* otherwise the one before has seen to it */
            trust__audit_wake_at(audit, trust__audit_now_us() + AUDIT_SOON_US);
        trust__audit_push(&audit->waiting, entry);
    }
    pthread_mutex_unlock(&audit->lock);
    if (code == RPC_OK) {
        *ret_pending = pending;
        return RPC_OK;
    }
    atomic_fetch_sub(&audit->waiting_bytes, cost);
    trust__audit_free_entry(entry);
    return code;
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

/* On the calling thread, which has file_lock: what waits, then this. Gives the lock back. */
static rpc_code write_now(trust_audit *audit, audit_entry *entry, rpc_status *reterr)
{
    audit_list done = {NULL, NULL};
    audit_outcome out = {.status.code = RPC_OK};
    const size_t cost = trust__audit_cost(entry);
    entry->fn = NULL;
    atomic_fetch_add(&audit->waiting_bytes, cost);
    trust__audit_take_waiting(audit);
    trust__audit_push(&audit->writing, entry);
    const rpc_code code = trust__audit_file_write(
        &audit->file, &audit->writing, &done, &out.status);
    if (code != RPC_OK) { /* it was the last, so it is among those that were not written */
        remove_last(&audit->writing);
        trust__audit_refuse_waiters(&audit->writing, &done);
    }
    out.full = audit->file.retired_count > 0;
    out.wrote = done.head != NULL;
    pthread_mutex_unlock(&audit->file_lock);
    trust__audit_settle(audit, &out);
    trust__audit_end_entries(audit, &done);
    if (code == RPC_OK)
        return RPC_OK;
    atomic_fetch_sub(&audit->waiting_bytes, cost);
    trust__audit_free_entry(entry);
    return rpc_status_set(reterr, code, "%s", out.status.message);
}

/* May the calling thread write itself? Then it has file_lock. Who can be called back does not wait
 * for the writes of others. */
static bool may_write(trust_audit *audit, const audit_entry *entry)
{
    if (!entry->fn) {
        pthread_mutex_lock(&audit->file_lock);
        return true;
    }
    return atomic_load(&audit->waiting_bytes) < AUDIT_MANY_BYTES &&
           pthread_mutex_trylock(&audit->file_lock) == 0;
}

/* Takes entry, which is NULL when memory was short. */
static rpc_code put(trust_audit *audit, audit_entry *entry, trust_audit_class durability,
    trust_audit_fn *fn, void *arg, bool *ret_pending, rpc_status *reterr)
{
    if (!entry)
        return no_memory(reterr);
    entry->fn = fn;
    entry->arg = arg;
    entry->durable = durability == TRUST_AUDIT_BEFORE && audit->power;
    if (entry->durable && !fn) {
        trust__audit_free_entry(entry);
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "audit: with `power` a record before an answer needs a callback; give one");
    }
    if (durability == TRUST_AUDIT_SOON || entry->durable || !may_write(audit, entry))
        return queue(audit, entry, durability, ret_pending, reterr);
    const rpc_code code = write_now(audit, entry, reterr);
    if (code == RPC_OK)
        *ret_pending = false;
    return code;
}

rpc_code trust_audit_write(trust_audit *audit, rpc_bytes json, trust_audit_class durability,
    trust_audit_fn *fn, void *arg, bool *ret_pending, rpc_status *reterr)
{
    const char *fault = json_fault(json);
    if (fault)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "audit: the record %s", fault);
    return put(audit, new_entry(json), durability, fn, arg, ret_pending, reterr);
}

rpc_code trust_audit_write_common(trust_audit *audit, trust_audit_common *common, int64_t time_ms,
    const char *request_id, trust_audit_class durability, trust_audit_fn *fn, void *arg,
    bool *ret_pending, rpc_status *reterr)
{
    const size_t size = request_id_run(request_id);
    if (size == 0 || size > TRUST_AUDIT_REQUEST_ID_MAX || request_id[size])
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "audit: the request ID of a record must be 1 to 64 of A-Z a-z 0-9 . _ ~ -");
    audit_entry *entry = new_common_entry(common, time_ms, request_id, size);
    return put(audit, entry, durability, fn, arg, ret_pending, reterr);
}

size_t trust_audit_waiting_bytes(const trust_audit *audit)
{
    return atomic_load(&audit->waiting_bytes);
}

rpc_code trust_audit_flush(trust_audit *audit, rpc_status *reterr)
{
    pthread_mutex_lock(&audit->lock);
    const uint64_t mine = ++audit->flush_asked;
    trust__audit_wake_at(audit, 0);
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
    const rpc_status status = audit->failure.code != RPC_OK ? audit->failure : audit->seal_failure;
    const bool stuck = status.code == RPC_OK && trust__audit_stuck(audit, reterr);
    pthread_mutex_unlock(&audit->lock);
    if (status.code == RPC_OK)
        return !stuck;
    rpc_status_set(reterr, status.code, "%s", status.message);
    return false;
}
