/* SPDX-License-Identifier: Apache-2.0 */
#include "contract.h"

#include <sys/wait.h>
#include <unistd.h>

store *contract_open(const char *directory, const contract_limits *limits)
{
    contract_limits defaults = {.sync = STORE_SYNC_PROCESS};
    rpc_status status = {0};
    store *opened = NULL;
    rpc_code code = store_contract.open(directory, limits ? limits : &defaults, &opened, &status);
    if (code)
        fail_msg("open: %s: %s", rpc_code_name(code), status.message);
    return opened;
}

static void on_done(store_op *op)
{
    waiter *w = op->ctx;
    pthread_mutex_lock(&w->mutex);
    w->done = true;
    pthread_cond_signal(&w->ended);
    pthread_mutex_unlock(&w->mutex);
}

void waiter_init(waiter *w)
{
    *w = (waiter){.op = {.done = on_done, .ctx = w}};
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->ended, NULL);
}

void waiter_done(waiter *w)
{
    pthread_cond_destroy(&w->ended);
    pthread_mutex_destroy(&w->mutex);
}

rpc_code waiter_wait(waiter *w, store_progress progress)
{
    pthread_mutex_lock(&w->mutex);
    while (progress == STORE_PENDING && !w->done)
        pthread_cond_wait(&w->ended, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
    return w->op.status.code;
}

rpc_code do_update(store *s, rpc_bytes group, uint64_t expected, const store_change *changes,
    size_t count, uint64_t *ret_generation)
{
    waiter w;
    waiter_init(&w);
    rpc_code code = waiter_wait(&w, store_update(s, group, expected, changes, count, &w.op));
    if (ret_generation)
        *ret_generation = w.op.generation;
    waiter_done(&w);
    return code;
}

rpc_code do_put(store *s, rpc_bytes group, rpc_bytes item, rpc_bytes value)
{
    store_change change = {STORE_PUT, item, value};
    return do_update(s, group, STORE_ANY_GENERATION, &change, 1, NULL);
}

rpc_code do_get(
    store *s, rpc_bytes group, rpc_bytes item, char **ret_value, uint64_t *ret_generation)
{
    waiter w;
    waiter_init(&w);
    rpc_code code = waiter_wait(&w, store_get(s, group, item, &w.op));
    if (!code && ret_value) {
        *ret_value = calloc(1, w.op.view.bytes.size + 1);
        memcpy(*ret_value, w.op.view.bytes.data, w.op.view.bytes.size);
    }
    if (ret_generation)
        *ret_generation = w.op.generation;
    store_view_release(&w.op.view);
    waiter_done(&w);
    return code;
}

rpc_code do_scan(store *s, const store_scan_request *request, store_page **ret_page)
{
    waiter w;
    waiter_init(&w);
    rpc_code code = waiter_wait(&w, store_scan(s, request, &w.op));
    if (!code)
        *ret_page = w.op.page;
    waiter_done(&w);
    return code;
}

uint64_t do_generation(store *s, rpc_bytes group)
{
    waiter w;
    waiter_init(&w);
    assert_int_equal(waiter_wait(&w, store_generation(s, group, &w.op)), RPC_OK);
    waiter_done(&w);
    return w.op.generation;
}

rpc_code do_chunk_put(store *s, const store_chunk_ref *ref, rpc_bytes bytes)
{
    waiter w;
    waiter_init(&w);
    rpc_code code = waiter_wait(&w, store_chunk_put(s, ref, bytes, &w.op));
    waiter_done(&w);
    return code;
}

rpc_code do_chunk_has(store *s, const store_chunk_ref *ref, int64_t *ret_put_ms)
{
    waiter w;
    waiter_init(&w);
    rpc_code code = waiter_wait(&w, store_chunk_has(s, ref, &w.op));
    if (ret_put_ms)
        *ret_put_ms = w.op.put_ms;
    waiter_done(&w);
    return code;
}

rpc_code do_read(
    store *s, const store_chunk_ref *ref, uint64_t offset, uint64_t length, store_view *ret_view)
{
    waiter w;
    waiter_init(&w);
    rpc_code code = waiter_wait(&w, store_read(s, ref, offset, length, &w.op));
    if (!code)
        *ret_view = w.op.view;
    waiter_done(&w);
    return code;
}

rpc_code do_drop(store *s, const store_chunk_ref *ref, int64_t older_than_ms, size_t *ret_dropped,
    size_t *ret_kept)
{
    waiter w;
    waiter_init(&w);
    rpc_code code = waiter_wait(
        &w, store_chunk_drop(s, ref->uid, &ref->digest, 1, older_than_ms, &w.op));
    *ret_dropped = w.op.dropped;
    *ret_kept = w.op.kept;
    waiter_done(&w);
    return code;
}

store_chunk_ref chunk_ref(uint8_t uid, uint32_t number)
{
    store_chunk_ref ref;
    memset(ref.uid, uid, sizeof ref.uid);
    memset(ref.digest, 0, sizeof ref.digest);
    for (int i = 0; i < 4; i++)
        ref.digest[i] = (uint8_t)(number >> (24 - 8 * i));
    return ref;
}

void in_child(int (*fn)(void *arg), void *arg)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid)
        _exit(fn(arg));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}
