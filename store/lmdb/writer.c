/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that alone writes to an environment: takes requests from a queue in order, commits
 * many of them in one transaction, tells watchers, then completes them. */
#include "lmdb_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define READER_CHECK_BATCHES 1024u

store_progress lmdb_out_of_memory(store_op *op)
{
    rpc_status_set(&op->status, RPC_RESOURCE_EXHAUSTED,
        "store: out of memory; give the machine more or lower the limits");
    return STORE_READY;
}

static int apply(lmdb_writer *writer, MDB_txn *txn, lmdb_request *request)
{
    store_op *op = request->op;
    op->status.code = RPC_OK;
    op->generation = 0;
    op->dropped = 0;
    op->kept = 0;
    if (request->kind == LMDB_UPDATE)
        return lmdb_apply_update(writer->store, txn, request);
    return lmdb_apply_chunk(writer->store, txn, request);
}

/* One transaction for the requests from first up to, not including, end. */
static int try_transaction(lmdb_writer *writer, lmdb_request *first, const lmdb_request *end)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(writer->env->env, NULL, 0, &txn);
    if (rc)
        return rc;
    for (lmdb_request *request = first; request != end; request = request->next) {
        rc = apply(writer, txn, request);
        if (rc) {
            mdb_txn_abort(txn);
            return rc;
        }
    }
    return mdb_txn_commit(txn);
}

/* Nobody suffers for another's request: what cannot be committed together is tried alone. */
static void commit_batch(lmdb_writer *writer, lmdb_request *first)
{
    int stale;
    if (try_transaction(writer, first, NULL) == 0)
        return;
    mdb_reader_check(writer->env->env, &stale);
    for (lmdb_request *request = first; request; request = request->next) {
        int rc = try_transaction(writer, request, request->next);
        if (rc) {
            request->deletions_made = 0;
            request->op->generation = 0;
            request->op->dropped = 0;
            request->op->kept = 0;
            lmdb_status(&request->op->status, writer->env, rc, "cannot write to");
        }
    }
}

static void complete(lmdb_request *request)
{
    store_op *op = request->op;
    request->op = NULL;
    if (op)
        store_complete(op);
}

static void deletion_finished(lmdb_deletion *deletion)
{
    lmdb_request *request = deletion->request;
    if (!request) {
        free(deletion);
        return;
    }
    if (--request->deletions_left)
        return;
    complete(request);
    free(request);
}

/* A short transaction of a large deletion; on 0 *ret_more tells whether it goes on. */
static int deletion_slice(lmdb_writer *writer, const lmdb_deletion *deletion, bool *ret_more)
{
    MDB_txn *txn;
    MDB_val key = lmdb_val(deletion->prefix.data, deletion->prefix.size);
    bool more = false;
    int rc = mdb_txn_begin(writer->env->env, NULL, 0, &txn);
    if (rc)
        return rc;
    rc = lmdb_delete_some(txn, writer->env->records, &deletion->prefix, LMDB_DELETE_SLICE, &more);
    if (!rc && !more) {
        rc = mdb_del(txn, writer->env->deletions, &key, NULL);
        if (rc == MDB_NOTFOUND) /* the same prefix was deleted twice at once */
            rc = 0;
    }
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    rc = mdb_txn_commit(txn);
    if (!rc)
        *ret_more = more;
    return rc;
}

/* The deletion is durable already: when it cannot go on (disk full), its caller is told so much,
 * and it is resumed after the next write that succeeds, or at the next start. */
static void deletions_stall(lmdb_writer *writer)
{
    writer->deletions_stalled = true;
    for (lmdb_deletion *deletion = writer->deletions; deletion; deletion = deletion->next) {
        if (deletion->request)
            complete(deletion->request);
    }
}

static int deletion_step(lmdb_writer *writer, lmdb_deletion **at)
{
    bool more = false;
    lmdb_deletion *deletion = *at;
    int rc = deletion_slice(writer, deletion, &more);
    if (rc || more)
        return rc;
    *at = deletion->next;
    deletion_finished(deletion);
    return 0;
}

/* An update of a group whose records are still being deleted comes after that. */
static int finish_deletions_of(lmdb_writer *writer, const lmdb_request *request)
{
    lmdb_deletion **at = &writer->deletions;
    while (*at) {
        MDB_val key = lmdb_val((*at)->prefix.data, (*at)->prefix.size);
        if (!lmdb_starts_with(key, request->group_key.data, request->group_key.size)) {
            at = &(*at)->next;
            continue;
        }
        int rc = deletion_step(writer, at);
        if (rc)
            return rc;
    }
    return 0;
}

static void start_deletions(lmdb_writer *writer, lmdb_request *request)
{
    request->deletions_left = request->deletions_made;
    for (size_t i = 0; i < request->deletions_made; i++) {
        request->deletions[i].request = request;
        request->deletions[i].next = writer->deletions;
        writer->deletions = &request->deletions[i];
    }
}

static void deliver_batch(lmdb_writer *writer, lmdb_request *first)
{
    for (lmdb_request *request = first; request; request = request->next) {
        if (request->op->status.code != RPC_OK)
            continue;
        writer->deletions_stalled = false;
        if (request->kind == LMDB_UPDATE)
            store_tell_watchers(&writer->store->base, request->group, request->op->generation);
    }
    while (first) {
        lmdb_request *request = first;
        first = request->next;
        if (request->op->status.code == RPC_OK && request->deletions_made) {
            start_deletions(writer, request);
            continue;
        }
        complete(request);
        free(request);
    }
}

/* Takes what fits into one transaction; a large deletion ends it, so that what follows sees it
 * under way. */
static lmdb_request *take_batch(lmdb_writer *writer)
{
    lmdb_request *first = writer->head, *last = NULL;
    size_t bytes = 0, count = 0;
    for (lmdb_request *request = first; request; request = request->next) {
        if (last && (last->deletions_max || count == LMDB_BATCH_REQUESTS ||
                        bytes + request->bytes > LMDB_BATCH_BYTES))
            break;
        bytes += request->bytes;
        count++;
        last = request;
    }
    if (!last)
        return NULL;
    writer->head = last->next;
    if (!writer->head)
        writer->tail = &writer->head;
    writer->queued -= count;
    last->next = NULL;
    return first;
}

static lmdb_request *drop_blocked(lmdb_writer *writer, lmdb_request *first)
{
    lmdb_request *kept = NULL, **tail = &kept;
    while (first) {
        lmdb_request *request = first;
        first = request->next;
        request->next = NULL;
        int rc = writer->deletions ? finish_deletions_of(writer, request) : 0;
        if (!rc) {
            *tail = request;
            tail = &request->next;
            continue;
        }
        lmdb_status(&request->op->status, writer->env, rc, "cannot write to");
        complete(request);
        free(request);
    }
    return kept;
}

static void run_batch(lmdb_writer *writer, lmdb_request *first)
{
    int stale;
    first = drop_blocked(writer, first);
    if (!first)
        return;
    commit_batch(writer, first);
    deliver_batch(writer, first);
    if (++writer->batches % READER_CHECK_BATCHES == 0)
        mdb_reader_check(writer->env->env, &stale);
}

static void *writer_main(void *arg)
{
    lmdb_writer *writer = arg;
    for (;;) {
        bool deleting = writer->deletions && !writer->deletions_stalled;
        pthread_mutex_lock(&writer->mutex);
        while (!writer->head && !deleting && !writer->stopping)
            pthread_cond_wait(&writer->wake, &writer->mutex);
        lmdb_request *batch = take_batch(writer);
        bool stopping = writer->stopping;
        pthread_mutex_unlock(&writer->mutex);
        if (batch)
            run_batch(writer, batch);
        if (writer->deletions && !writer->deletions_stalled) {
            if (deletion_step(writer, &writer->deletions) != 0)
                deletions_stall(writer);
        } else if (!batch && stopping)
            return NULL;
    }
}

store_progress lmdb_writer_submit(lmdb_writer *writer, lmdb_request *request)
{
    store_op *op = request->op;
    rpc_code refused = RPC_OK;
    pthread_mutex_lock(&writer->mutex);
    if (writer->stopping)
        refused = RPC_UNAVAILABLE;
    else if (writer->queued >= writer->queue_max)
        refused = RPC_RESOURCE_EXHAUSTED;
    else {
        request->next = NULL;
        *writer->tail = request;
        writer->tail = &request->next;
        writer->queued++;
        pthread_cond_signal(&writer->wake);
    }
    pthread_mutex_unlock(&writer->mutex);
    if (refused == RPC_OK)
        return STORE_PENDING;
    if (refused == RPC_UNAVAILABLE)
        rpc_status_set(&op->status, refused, "store: closing; repeat at another server");
    else
        rpc_status_set(&op->status, refused,
            "store: %zu writes to '%s' are waiting already; send fewer at a time, or raise "
            "store.queue_max",
            writer->queue_max, writer->env->name);
    free(request);
    return STORE_READY;
}

/* Deletions that a stop or a crash interrupted. */
static int load_deletions(lmdb_writer *writer)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    lmdb_pin *pin;
    int rc = lmdb_pin_acquire(writer->env, &pin);
    if (rc)
        return rc;
    rc = mdb_cursor_open(pin->txn, writer->env->deletions, &cursor);
    if (rc) {
        lmdb_pin_release(pin);
        return rc;
    }
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        lmdb_deletion *deletion = calloc(1, sizeof *deletion);
        if (!deletion) {
            rc = ENOMEM;
            break;
        }
        deletion->prefix.size = key.mv_size;
        memcpy(deletion->prefix.data, key.mv_data, key.mv_size);
        deletion->next = writer->deletions;
        writer->deletions = deletion;
    }
    mdb_cursor_close(cursor);
    lmdb_pin_release(pin);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

rpc_code lmdb_writer_start(
    lmdb_writer *writer, lmdb_store *self, lmdb_env *env, size_t queue_max, rpc_status *reterr)
{
    *writer = (lmdb_writer){.store = self, .env = env, .queue_max = queue_max};
    writer->tail = &writer->head;
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_cond_init(&writer->wake, NULL);
    int rc = env->deletions ? load_deletions(writer) : 0;
    if (rc)
        return lmdb_status(reterr, env, rc, "cannot read");
    rc = pthread_create(&writer->thread, NULL, writer_main, writer);
    if (rc)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "store: cannot start the writer of '%s': %s; raise the limit of threads", env->name,
            strerror(rc));
    writer->started = true;
    return RPC_OK;
}

static void free_deletions(lmdb_writer *writer)
{
    while (writer->deletions) {
        lmdb_deletion *deletion = writer->deletions;
        writer->deletions = deletion->next;
        deletion_finished(deletion);
    }
}

void lmdb_writer_stop(lmdb_writer *writer)
{
    if (!writer->env)
        return;
    if (writer->started) {
        pthread_mutex_lock(&writer->mutex);
        writer->stopping = true;
        pthread_cond_signal(&writer->wake);
        pthread_mutex_unlock(&writer->mutex);
        pthread_join(writer->thread, NULL);
    }
    free_deletions(writer);
    pthread_cond_destroy(&writer->wake);
    pthread_mutex_destroy(&writer->mutex);
    *writer = (lmdb_writer){0};
}
