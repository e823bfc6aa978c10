/* SPDX-License-Identifier: Apache-2.0 */
/* The log of revocations: numbered, durable, and in memory as a table. Whoever comes while another
 * writes waits for the next write, which takes all that wait: one sync for many. */
#include "state_internal.h"

#include "cleanup.h"

#include <stdlib.h>

#define ISSUER      "us" /* the table keeps our own only */
#define ADD_MAX     256u /* of one caller in one write */
#define BATCH_MAX   1024u
#define NUMBER_SIZE 8u
#define BLOCK_BITS  8u /* numbers that share the first bytes of their items */
#define BATCH_ARENA (4u << 20)
#define SWEEP_MAX   1024u

struct sim__log_waiter {
    sim__log_waiter *next;
    const sim__revoking *list;
    size_t count;
    bool done;
    rpc_code code;
    rpc_status status;
};

static const host_key group = {.size = 1, .data = "v"};

static void number_write(uint8_t item[NUMBER_SIZE], uint64_t number)
{
    for (unsigned i = 0; i < NUMBER_SIZE; i++)
        item[i] = (uint8_t)(number >> (56 - 8 * i));
}

static uint64_t number_read(rpc_bytes item)
{
    uint64_t number = 0;
    for (size_t i = 0; i < NUMBER_SIZE; i++)
        number = number << 8 | item.data[i];
    return number;
}

static rpc_code remember(sim_state *state, const sim__revoking *one, rpc_status *reterr)
{
    const trust_revocation revocation = {.issuer = ISSUER,
        .jti = one->jti,
        .subject = one->subject,
        .issued_until = one->issued_until,
        .expires_at = one->expires_at};
    return trust_revocations_add(state->log.table, &revocation, sim__now_s(state), reterr);
}

/* ---- opening
 * ------------------------------------------------------------------------------------- */

typedef struct loading {
    sim_state *state;
    rpc_arena *arena;
    rpc_status status;
} loading;

static bool load_one(void *ctx, const store_entry *entry)
{
    loading *l = ctx;
    Sim__Records__Revocation *record = NULL;
    if (entry->item.size != NUMBER_SIZE)
        return true;
    rpc_arena_reset(l->arena);
    if (host_record_unpack(&sim__records__revocation__descriptor, entry->value, l->arena,
            (ProtobufCMessage **)&record, &l->status) != RPC_OK)
        return false;
    const sim__revoking one = {record->jti[0] ? record->jti : NULL,
        record->jti[0] ? NULL : record->subject, record->issued_until, record->expires_at};
    uint64_t number = number_read(entry->item);
    if (number < l->state->log.oldest)
        l->state->log.oldest = number;
    return remember(l->state, &one, &l->status) == RPC_OK;
}

static void head_of(sim_state *state, uint64_t sequence, Sim__Records__Log *ret)
{
    ret->epoch = (ProtobufCBinaryData){.len = sizeof state->log.epoch, .data = state->log.epoch};
    ret->secret_id = (ProtobufCBinaryData){.len = SIM__ID_BYTES, .data = state->keys->id};
    ret->sequence = sequence;
}

static rpc_code load_head(sim_state *state, rpc_arena *arena, rpc_status *reterr)
{
    sim__log *log = &state->log;
    Sim__Records__Log *head = NULL, fresh = SIM__RECORDS__LOG__INIT;
    rpc_code code = sim__read(state, &group, sim__main, &sim__records__log__descriptor, arena,
        (ProtobufCMessage **)&head, NULL, reterr);
    if (code != RPC_OK)
        return code;
    if (head && head->epoch.len != sizeof log->epoch)
        return rpc_status_set(reterr, RPC_DATA_LOSS,
            "state: the head of the log of revocations is damaged; restore a backup of the store");
    if (head) {
        memcpy(log->epoch, head->epoch.data, sizeof log->epoch);
        log->sequence = head->sequence;
        if (head->secret_id.len == SIM__ID_BYTES &&
            memcmp(head->secret_id.data, state->keys->id, SIM__ID_BYTES) == 0)
            return RPC_OK;
    }
    rpc_random(log->epoch, sizeof log->epoch);
    head_of(state, log->sequence, &fresh);
    const store_change change = {.kind = STORE_PUT, .value = sim__pack(arena, &fresh.base)};
    return sim__update(state, &group, STORE_ANY_GENERATION, &change, 1, reterr);
}

rpc_code sim__log_open(sim_state *state, rpc_status *reterr)
{
    loading l = {.state = state, .arena = rpc_arena_new(SIM__RECORD_ARENA)};
    if (!l.arena)
        return sim__no_memory(reterr);
    rpc_code code = load_head(state, l.arena, reterr);
    state->log.oldest = state->log.sequence + 1;
    const store_scan_request all = {.group = host_key_bytes(&group)};
    if (code == RPC_OK)
        code = store_walk(state->db, &all, load_one, &l, reterr);
    if (code == RPC_OK && l.status.code != RPC_OK)
        code = rpc_status_text(reterr, l.status.code, l.status.message);
    rpc_arena_free(l.arena);
    return code;
}

void sim__log_close(sim_state *state)
{
    trust_revocations_free(state->log.table);
    pthread_cond_destroy(&state->log.written);
    pthread_mutex_destroy(&state->log.lock);
}

/* ---- writing
 * ------------------------------------------------------------------------------------- */

typedef struct batch {
    rpc_arena *arena;
    store_change *changes;
    uint8_t (*items)[NUMBER_SIZE];
    size_t count; /* of changes; the first is the head's */
    uint64_t sequence;
} batch;

/* A revocation that takes effect here before it is on the disk is on the safe side. */
static rpc_code batch_one(sim_state *state, batch *b, const sim__revoking *one, rpc_status *reterr)
{
    Sim__Records__Revocation record = SIM__RECORDS__REVOCATION__INIT;
    if (one->jti)
        record.jti = sim__mutable(one->jti);
    else
        record.subject = sim__mutable(one->subject);
    record.issued_until = one->issued_until;
    record.expires_at = one->expires_at;
    rpc_bytes value = sim__pack(b->arena, &record.base);
    if (!value.data)
        return sim__no_memory(reterr);
    rpc_code code = remember(state, one, reterr);
    if (code != RPC_OK)
        return code;
    number_write(b->items[b->count], ++b->sequence);
    b->changes[b->count] = (store_change){
        STORE_PUT, rpc_bytes_of(b->items[b->count], NUMBER_SIZE), value};
    b->count++;
    return RPC_OK;
}

static void batch_waiter(sim_state *state, batch *b, sim__log_waiter *waiter)
{
    size_t count = b->count;
    uint64_t sequence = b->sequence;
    for (size_t i = 0; i < waiter->count && waiter->code == RPC_OK; i++)
        waiter->code = batch_one(state, b, &waiter->list[i], &waiter->status);
    if (waiter->code == RPC_OK)
        return;
    host_counter_add(state->log.refused, 1);
    b->count = count; /* all of a caller's or nothing */
    b->sequence = sequence;
}

static rpc_code batch_write(sim_state *state, batch *b, rpc_status *reterr)
{
    Sim__Records__Log head = SIM__RECORDS__LOG__INIT;
    head_of(state, b->sequence, &head);
    b->changes[0] = (store_change){.kind = STORE_PUT, .value = sim__pack(b->arena, &head.base)};
    return sim__update(state, &group, STORE_ANY_GENERATION, b->changes, b->count, reterr);
}

/* By the one that writes: taken belongs to it alone. */
static void write_all(sim_state *state, sim__log_waiter *taken, size_t entries, batch *b)
{
    rpc_status status = {0};
    b->arena = rpc_arena_new(BATCH_ARENA);
    b->changes = calloc(entries + 1, sizeof *b->changes);
    b->items = calloc(entries + 1, sizeof *b->items);
    b->count = 1;
    rpc_code code = RPC_OK;
    if (!b->arena || !b->changes || !b->items)
        code = sim__no_memory(&status);
    for (sim__log_waiter *w = taken; w && code == RPC_OK; w = w->next)
        batch_waiter(state, b, w);
    if (code == RPC_OK && b->count > 1)
        code = batch_write(state, b, &status);
    for (sim__log_waiter *w = taken; w; w = w->next)
        if (code != RPC_OK && w->code == RPC_OK) {
            w->code = code;
            w->status = status;
        }
    if (code != RPC_OK)
        b->count = 1;
    rpc_arena_free(b->arena);
    free(b->changes);
    free(b->items);
}

static sim__log_waiter *take(sim__log *log, size_t *ret_entries)
{
    sim__log_waiter *taken = log->first, **end = &log->first;
    *ret_entries = 0;
    while (*end && *ret_entries + (*end)->count <= BATCH_MAX) {
        *ret_entries += (*end)->count;
        end = &(*end)->next;
    }
    log->first = *end;
    *end = NULL;
    if (!log->first)
        log->last = &log->first;
    return taken;
}

/* Under lock, which is given back while writing. */
static void lead(sim_state *state)
{
    sim__log *log = &state->log;
    size_t entries;
    sim__log_waiter *taken = take(log, &entries);
    batch b = {.sequence = log->sequence};
    log->writing = true;
    pthread_mutex_unlock(&log->lock);
    write_all(state, taken, entries, &b);
    bool more = b.count > 1;
    pthread_mutex_lock(&log->lock);
    if (more) {
        host_counter_add(log->added, b.sequence - log->sequence);
        log->sequence = b.sequence;
    }
    for (sim__log_waiter *w = taken; w; w = w->next)
        w->done = true;
    log->writing = false;
    pthread_cond_broadcast(&log->written);
    if (more && log->watch) {
        pthread_mutex_unlock(&log->lock);
        log->watch(log->watch_ctx);
        pthread_mutex_lock(&log->lock);
    }
}

static rpc_code add_some(
    sim_state *state, const sim__revoking *list, size_t count, rpc_status *reterr)
{
    sim__log *log = &state->log;
    sim__log_waiter waiter = {.list = list, .count = count};
    pthread_mutex_lock(&log->lock);
    *log->last = &waiter;
    log->last = &waiter.next;
    while (!waiter.done) {
        if (log->writing)
            pthread_cond_wait(&log->written, &log->lock);
        else
            lead(state);
    }
    pthread_mutex_unlock(&log->lock);
    return waiter.code == RPC_OK ? RPC_OK
                                 : rpc_status_text(reterr, waiter.code, waiter.status.message);
}

rpc_code sim__log_add(
    sim_state *state, const sim__revoking *revoking, size_t count, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    for (size_t at = 0; at < count && code == RPC_OK; at += ADD_MAX)
        code = add_some(state, revoking + at, count - at < ADD_MAX ? count - at : ADD_MAX, reterr);
    return code;
}

rpc_code sim__log_subject(sim_state *state, const char *subject, int64_t tokens_after,
    int64_t *ret_until, rpc_status *reterr)
{
    const int64_t now = sim__now_s(state);
    const int64_t until = now > tokens_after ? now : tokens_after + 1;
    const sim__revoking one = {.subject = subject,
        .issued_until = until,
        .expires_at = until + state->token_life_s_max + 2 * TRUST_SKEW_S};
    *ret_until = until;
    return sim__log_add(state, &one, 1, reterr);
}

rpc_code sim_revoke_token(sim_state *state, const char *jti, int64_t expires_at, rpc_status *reterr)
{
    const sim__revoking one = {.jti = jti, .expires_at = expires_at + TRUST_SKEW_S};
    return sim__log_add(state, &one, 1, reterr);
}

rpc_code sim_revoke_subject(sim_state *state, const char *subject, rpc_status *reterr)
{
    int64_t until;
    return sim__log_subject(state, subject, 0, &until, reterr);
}

/* ---- reading
 * --------------------------------------------------------------------------------------- */

bool sim_revoked(sim_state *state, const trust_token *token)
{
    trust_token ours = *token;
    ours.issuer = ISSUER;
    return trust_revocations_has(state->log.table, &ours);
}

const uint8_t *sim_revocations_epoch(const sim_state *state)
{
    return state->log.epoch;
}

uint64_t sim_revocations_sequence(sim_state *state)
{
    pthread_mutex_lock(&state->log.lock);
    uint64_t sequence = state->log.sequence;
    pthread_mutex_unlock(&state->log.lock);
    return sequence;
}

void sim_revocations_watch(sim_state *state, void (*fn)(void *ctx), void *ctx)
{
    state->log.watch = fn;
    state->log.watch_ctx = ctx;
}

typedef struct telling {
    uint64_t last, head; /* last: told, or asked after */
    int64_t now;
    rpc_arena *arena;
    sim_revocation_fn *fn;
    void *ctx;
    bool stopped;
    rpc_status status;
} telling;

static bool tell(void *ctx, const store_entry *entry)
{
    telling *t = ctx;
    Sim__Records__Revocation *record = NULL;
    uint64_t number = number_read(entry->item);
    if (number <= t->last)
        return true;
    if (number > t->head) /* written since: the next call tells it */
        return false;
    rpc_arena_reset(t->arena);
    if (host_record_unpack(&sim__records__revocation__descriptor, entry->value, t->arena,
            (ProtobufCMessage **)&record, &t->status) != RPC_OK)
        return false;
    if (record->expires_at < t->now)
        return true;
    const sim_revocation revocation = {.sequence = number,
        .previous = t->last,
        .jti = record->jti[0] ? record->jti : NULL,
        .subject = record->jti[0] ? NULL : record->subject,
        .issued_until = record->issued_until,
        .expires_at = record->expires_at};
    t->last = number;
    t->stopped = !t->fn(t->ctx, &revocation);
    return !t->stopped;
}

rpc_code sim_revocations_after(
    sim_state *state, uint64_t sequence, sim_revocation_fn *fn, void *ctx, rpc_status *reterr)
{
    telling t = {.last = sequence, .now = sim__now_s(state), .fn = fn, .ctx = ctx};
    pthread_mutex_lock(&state->log.lock);
    t.head = state->log.sequence;
    uint64_t first = state->log.oldest > sequence ? state->log.oldest : sequence + 1;
    pthread_mutex_unlock(&state->log.lock);
    t.arena = rpc_arena_new(SIM__RECORD_ARENA);
    if (!t.arena)
        return sim__no_memory(reterr);
    rpc_code code = RPC_OK;
    /* Block by block of numbers, since a scan begins at a prefix, not at a number. */
    for (uint64_t block = first >> BLOCK_BITS;
         code == RPC_OK && !t.stopped && t.status.code == RPC_OK && block <= t.head >> BLOCK_BITS;
         block++) {
        uint8_t start[NUMBER_SIZE];
        number_write(start, block << BLOCK_BITS);
        const store_scan_request request = {.group = host_key_bytes(&group),
            .item_prefix = rpc_bytes_of(start, NUMBER_SIZE - BLOCK_BITS / 8)};
        code = store_walk(state->db, &request, tell, &t, reterr);
    }
    if (code == RPC_OK && t.status.code != RPC_OK)
        code = rpc_status_text(reterr, t.status.code, t.status.message);
    rpc_arena_free(t.arena);
    return code;
}

/* ---- sweep
 * ----------------------------------------------------------------------------------------- */

typedef struct sweeping {
    sim_state *state;
    const atomic_bool *stop;
    rpc_arena *arena;
    int64_t now;
    uint64_t oldest;
    uint8_t items[SWEEP_MAX][NUMBER_SIZE];
    store_change changes[SWEEP_MAX];
    size_t count;
    rpc_status status;
} sweeping;

static bool flush(sweeping *s)
{
    if (s->count && sim__update(s->state, &group, STORE_ANY_GENERATION, s->changes, s->count,
                        &s->status) != RPC_OK)
        return false;
    s->count = 0;
    return true;
}

static bool sweep_one(void *ctx, const store_entry *entry)
{
    sweeping *s = ctx;
    Sim__Records__Revocation *record = NULL;
    if (entry->item.size != NUMBER_SIZE)
        return true;
    rpc_arena_reset(s->arena);
    if (atomic_load(s->stop) ||
        host_record_unpack(&sim__records__revocation__descriptor, entry->value, s->arena,
            (ProtobufCMessage **)&record, &s->status) != RPC_OK)
        return false;
    uint64_t number = number_read(entry->item);
    if (record->expires_at >= s->now) {
        if (number < s->oldest)
            s->oldest = number;
        return true;
    }
    memcpy(s->items[s->count], entry->item.data, NUMBER_SIZE);
    s->changes[s->count] = (store_change){
        .kind = STORE_DELETE, .item = rpc_bytes_of(s->items[s->count], NUMBER_SIZE)};
    return ++s->count < SWEEP_MAX || flush(s);
}

rpc_code sim__log_sweep(sim_state *state, const atomic_bool *stop, rpc_status *reterr)
{
    RPC_AUTOFREE sweeping *s = calloc(1, sizeof *s);
    if (!s || !(s->arena = rpc_arena_new(SIM__RECORD_ARENA)))
        return sim__no_memory(reterr);
    s->state = state;
    s->stop = stop;
    s->now = sim__now_s(state);
    s->oldest = sim_revocations_sequence(state) + 1;
    const store_scan_request all = {.group = host_key_bytes(&group)};
    rpc_code code = store_walk(state->db, &all, sweep_one, s, reterr);
    if (code == RPC_OK && s->status.code == RPC_OK)
        flush(s);
    if (code == RPC_OK && s->status.code != RPC_OK)
        code = rpc_status_text(reterr, s->status.code, s->status.message);
    if (code == RPC_OK && !atomic_load(stop)) {
        pthread_mutex_lock(&state->log.lock);
        state->log.oldest = s->oldest;
        pthread_mutex_unlock(&state->log.lock);
    }
    rpc_arena_free(s->arena);
    return code;
}
