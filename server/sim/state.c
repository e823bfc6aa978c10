/* SPDX-License-Identifier: Apache-2.0 */
#include "state_internal.h"

#include <stdlib.h>

#define REVOCATIONS_MAX (1u << 20)

const rpc_bytes sim__main = {NULL, 0};

/* ---- open and close ----------------------------------------------------------------------------
 */

rpc_code sim__no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "state: no memory; try again");
}

rpc_code sim__overtaken(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_UNAVAILABLE,
        "state: other changes of the same records were faster %u times; try again", SIM__TRIES_MAX);
}

static double in_force(void *ctx)
{
    sim_state *state = ctx;
    return (double)trust_revocations_count(state->log.table, sim__now_s(state));
}

static void count_in(sim_state *state, host_metrics *metrics)
{
    state->hashes.refused = host_metrics_counter(metrics, "sim_password_checks_refused_total",
        "Password checks refused because too many waited.", NULL);
    state->log.added = host_metrics_counter(
        metrics, "sim_revocations_total", "Revocations written to the log.", NULL);
    state->log.refused = host_metrics_counter(metrics, "sim_revocations_refused_total",
        "Revocations refused because too many are in force.", NULL);
    state->reused = host_metrics_counter(metrics, "sim_grants_reused_total",
        "Codes and refresh tokens that came twice: their grants were revoked.", NULL);
    state->displaced = host_metrics_counter(metrics, "sim_grants_displaced_total",
        "Grants that ended because their user got newer ones with the same client.", NULL);
    state->too_large = host_metrics_counter(metrics, "sim_grants_too_large_total",
        "Revoked grants with more live tokens than are revoked one by one: their users were logged "
        "out everywhere.",
        NULL);
    host_metrics_gauge(metrics, "sim_revocations_in_force", "Revocations that have not expired.",
        NULL, in_force, state);
}

rpc_code sim_state_open(const sim_state_options *options, sim_state **ret, rpc_status *reterr)
{
    static const atomic_bool never;
    sim_state *state = calloc(1, sizeof *state);
    if (!state)
        return sim__no_memory(reterr);
    if (sodium_init() < 0) {
        free(state);
        return rpc_status_set(reterr, RPC_UNAVAILABLE, "state: libsodium cannot start");
    }
    state->db = options->store;
    state->clock = options->clock;
    state->code_life_s = options->code_life_s;
    state->refresh_idle_s = options->refresh_idle_s;
    state->refresh_life_s = options->refresh_life_s;
    state->session_life_s = options->session_life_s;
    state->grants_max = options->grants_max;
    state->token_life_s_max = options->token_life_s_max;
    pthread_mutex_init(&state->log.lock, NULL);
    pthread_cond_init(&state->log.written, NULL);
    state->log.last = &state->log.first;
    state->log.table = trust_revocations_new(
        options->revocations_max ? options->revocations_max : REVOCATIONS_MAX);
    rpc_code code = sim__passwords_open(state, options, reterr);
    if (code == RPC_OK && !state->log.table)
        code = sim__no_memory(reterr);
    if (code == RPC_OK)
        code = sim__keys_open(options->directory, &state->keys, reterr);
    if (code == RPC_OK)
        code = sim__log_open(state, reterr);
    if (code == RPC_OK) /* what a crash interrupted */
        code = sim__clients_sweep(state, &never, reterr);
    if (code != RPC_OK) {
        sim_state_close(state);
        return code;
    }
    if (options->metrics)
        count_in(state, options->metrics);
    *ret = state;
    return RPC_OK;
}

void sim_state_close(sim_state *state)
{
    if (!state)
        return;
    sim__log_close(state);
    sim__keys_close(state->keys);
    sim__passwords_close(state);
    free(state);
}

/* ---- keys of records
 * ----------------------------------------------------------------------------- */

host_key sim__key_user(const char *username)
{
    return host_key_of("u/", username);
}

host_key sim__key_sub(const char *sub)
{
    return host_key_of("s/", sub);
}

host_key sim__key_gpsi(const char *gpsi)
{
    return host_key_of("p/", gpsi);
}

host_key sim__key_client(const char *client_id)
{
    return host_key_of("c/", client_id);
}

host_key sim__key_consent(const char *client_id)
{
    return host_key_of("k/", client_id);
}

host_key sim__key_bucket(char kind, const uint8_t id[SIM__ID_BYTES])
{
    host_key key;
    char name[8];
    int size = snprintf(name, sizeof name, "%c/%02x%x", kind, id[0], id[1] >> 4);
    memcpy(key.data, name, (size_t)size);
    key.size = (size_t)size;
    return key;
}

/* ---- reading and writing
 * --------------------------------------------------------------------------- */

rpc_code sim__read(sim_state *state, const host_key *group, rpc_bytes item,
    const ProtobufCMessageDescriptor *descriptor, rpc_arena *arena, ProtobufCMessage **ret,
    uint64_t *ret_generation, rpc_status *reterr)
{
    store_wait wait;
    rpc_code code = store_wait_get(state->db, host_key_bytes(group), item, &wait);
    *ret = NULL;
    if (ret_generation)
        *ret_generation = wait.op.generation;
    if (code == RPC_OK)
        code = host_record_unpack(descriptor, wait.op.view.bytes, arena, ret, reterr);
    else if (code == RPC_NOT_FOUND)
        code = RPC_OK;
    else if (reterr)
        *reterr = wait.op.status;
    store_view_release(&wait.op.view);
    return code;
}

rpc_bytes sim__pack(rpc_arena *arena, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *data = rpc_arena_alloc(arena, size ? size : 1);
    return data ? rpc_bytes_of(data, protobuf_c_message_pack(message, data))
                : rpc_bytes_of(NULL, 0);
}

rpc_code sim__update(sim_state *state, const host_key *group, uint64_t expected,
    const store_change *changes, size_t count, rpc_status *reterr)
{
    store_wait wait;
    for (size_t i = 0; i < count; i++)
        if (changes[i].kind == STORE_PUT && !changes[i].value.data)
            return sim__no_memory(reterr);
    rpc_code code = store_wait_update(
        state->db, host_key_bytes(group), expected, changes, count, &wait);
    if (code != RPC_OK && reterr)
        *reterr = wait.op.status;
    return code;
}

rpc_code sim__read_text(sim_state *state, const host_key *group, char *ret, size_t room,
    uint64_t *ret_generation, rpc_status *reterr)
{
    store_wait wait;
    rpc_code code = store_wait_get(state->db, host_key_bytes(group), sim__main, &wait);
    rpc_bytes text = wait.op.view.bytes;
    ret[0] = '\0';
    if (ret_generation)
        *ret_generation = wait.op.generation;
    if (code == RPC_OK && text.size >= room)
        code = rpc_status_set(
            reterr, RPC_DATA_LOSS, "state: a record is damaged; run simsd --store-check");
    else if (code == RPC_OK) {
        memcpy(ret, text.data, text.size);
        ret[text.size] = '\0';
    } else if (code == RPC_NOT_FOUND)
        code = RPC_OK;
    else if (reterr)
        *reterr = wait.op.status;
    store_view_release(&wait.op.view);
    return code;
}

rpc_code sim__write_text(sim_state *state, const host_key *group, uint64_t expected,
    const char *text, rpc_status *reterr)
{
    store_change change = {.kind = text ? STORE_PUT : STORE_DELETE};
    if (text)
        change.value = rpc_bytes_str(text);
    return sim__update(state, group, expected, &change, 1, reterr);
}

/* ---- lists
 * --------------------------------------------------------------------------------------- */

const char *const *sim__list(rpc_arena *arena, char *const *texts, size_t count)
{
    const char **list = rpc_arena_alloc(arena, (count + 1) * sizeof *list);
    if (!list)
        return NULL;
    for (size_t i = 0; i < count; i++)
        list[i] = texts[i];
    list[count] = NULL;
    return list;
}

size_t sim__count(const char *const *list)
{
    size_t count = 0;
    while (list && list[count])
        count++;
    return count;
}

bool sim__holds(const char *const *list, const char *text)
{
    for (; list && *list; list++)
        if (strcmp(*list, text) == 0)
            return true;
    return false;
}
