/* SPDX-License-Identifier: Apache-2.0 */
/* Argon2id. Each hash takes memory and time on purpose, so only some are made at a time. */
#include "state_internal.h"

#include <stdlib.h>

#define WAITING_MAX         64u
#define PER_USER_MAX        4u
#define IMPORTED_KIB_MAX    65536u
#define IMPORTED_PASSES_MAX 16u

/* Right passwords are not counted as tries: without this, one account takes every turn. */
static bool too_many_of(const sim__turnstile *turnstile, const char *username)
{
    unsigned count = 0;
    for (const sim__turn *one = turnstile->turns; username && one; one = one->next)
        count += one->username && strcmp(one->username, username) == 0;
    return count >= turnstile->per_user_max;
}

static void turn_insert(sim__turnstile *turnstile, sim__turn *turn)
{
    turn->next = turnstile->turns;
    turn->link = &turnstile->turns;
    if (turn->next)
        turn->next->link = &turn->next;
    turnstile->turns = turn;
}

static rpc_code turn_begin(sim__turnstile *turnstile, sim__turn *turn, rpc_status *reterr)
{
    pthread_mutex_lock(&turnstile->lock);
    if (too_many_of(turnstile, turn->username)) {
        pthread_mutex_unlock(&turnstile->lock);
        host_counter_add(turnstile->refused, 1);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "%u password checks of one user are made or wait already; try again, or raise "
            "login.hashes_per_user",
            turnstile->per_user_max);
    }
    if (turnstile->running == turnstile->running_max &&
        turnstile->waiting == turnstile->waiting_max) {
        pthread_mutex_unlock(&turnstile->lock);
        host_counter_add(turnstile->refused, 1);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "%u password checks wait already; try again, or raise login.hashes_waiting_max",
            turnstile->waiting_max);
    }
    turn_insert(turnstile, turn);
    turnstile->waiting++;
    const uint64_t ticket = turnstile->tickets++;
    while (turnstile->running == turnstile->running_max || ticket != turnstile->entered)
        pthread_cond_wait(&turnstile->freed, &turnstile->lock);
    turnstile->waiting--;
    turnstile->running++;
    turnstile->entered++;
    pthread_cond_broadcast(&turnstile->freed); /* the next may find room as well */
    pthread_mutex_unlock(&turnstile->lock);
    return RPC_OK;
}

static void turn_end(sim__turnstile *turnstile, sim__turn *turn)
{
    pthread_mutex_lock(&turnstile->lock);
    *turn->link = turn->next;
    if (turn->next)
        turn->next->link = turn->link;
    turnstile->running--;
    pthread_cond_broadcast(&turnstile->freed); /* only they know who is next */
    pthread_mutex_unlock(&turnstile->lock);
}

static rpc_code hash(
    sim_state *state, const char *password, char ret[crypto_pwhash_STRBYTES], rpc_status *reterr)
{
    if (crypto_pwhash_str_alg(ret, password, strlen(password), state->password_passes,
            state->password_memory_bytes, crypto_pwhash_ALG_ARGON2ID13) != 0)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "no memory for a password's hash (%zu bytes); lower "
            "login.password_memory_bytes or login.hashes_at_once",
            state->password_memory_bytes);
    return RPC_OK;
}

/* Reads name, a number and end. */
static bool read_cost(const char **at, const char *name, char end, unsigned long *ret)
{
    char *rest = NULL;
    size_t size = strlen(name);
    if (strncmp(*at, name, size) != 0 || (*at)[size] < '1' || (*at)[size] > '9')
        return false;
    *ret = strtoul(*at + size, &rest, 10); /* beyond its range: ULONG_MAX */
    *at = rest + 1;
    return *rest == end;
}

/* A hash says itself what memory and time it takes to check it: both are bounded here. */
rpc_code sim__password_hash_check(const char *text, rpc_status *reterr)
{
    static const char kind[] = "$argon2id$v=19$";
    unsigned long kib = 0, passes = 0;
    const char *at = text + strlen(kind);
    if (strnlen(text, crypto_pwhash_STRBYTES) == crypto_pwhash_STRBYTES ||
        strncmp(text, kind, strlen(kind)) != 0 || !read_cost(&at, "m=", ',', &kib) ||
        !read_cost(&at, "t=", ',', &passes) || strncmp(at, "p=1$", 4) != 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "password_hash: $argon2id$v=19$m=KiB,t=passes,p=1$salt$hash, less than %u bytes",
            crypto_pwhash_STRBYTES);
    if (kib > IMPORTED_KIB_MAX || passes > IMPORTED_PASSES_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "password_hash: takes more than %u KiB or %u passes; let this user set a password",
            IMPORTED_KIB_MAX, IMPORTED_PASSES_MAX);
    if (crypto_pwhash_str_needs_rehash(
            text, crypto_pwhash_OPSLIMIT_MIN, crypto_pwhash_MEMLIMIT_MIN) < 0)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "password_hash: salt or hash is not well formed");
    return RPC_OK;
}

rpc_code sim__passwords_open(sim_state *state, const sim_state_options *options, rpc_status *reterr)
{
    char nobody[SIM_PASSWORD_MIN * 2 + 1];
    uint8_t drawn[SIM_PASSWORD_MIN];
    pthread_mutex_init(&state->hashes.lock, NULL);
    pthread_cond_init(&state->hashes.freed, NULL);
    pthread_mutex_init(&state->operators_hash, NULL);
    state->hashes.running_max = options->hashes_at_once;
    state->hashes.waiting_max = options->hashes_waiting_max ? options->hashes_waiting_max
                                                            : WAITING_MAX;
    state->hashes.per_user_max = options->hashes_per_user ? options->hashes_per_user : PER_USER_MAX;
    state->password_memory_bytes = options->password_memory_bytes;
    state->password_passes = options->password_passes;
    if (!options->hashes_at_once || options->password_passes < crypto_pwhash_OPSLIMIT_MIN ||
        options->password_memory_bytes < crypto_pwhash_MEMLIMIT_MIN)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "passwords: one at a time, %u passes and %u bytes of memory are the least",
            (unsigned)crypto_pwhash_OPSLIMIT_MIN, (unsigned)crypto_pwhash_MEMLIMIT_MIN);
    rpc_random(drawn, sizeof drawn);
    rpc_hex(rpc_bytes_of(drawn, sizeof drawn), nobody);
    return hash(state, nobody, state->dummy_hash, reterr);
}

void sim__passwords_close(sim_state *state)
{
    pthread_mutex_destroy(&state->operators_hash);
    pthread_cond_destroy(&state->hashes.freed);
    pthread_mutex_destroy(&state->hashes.lock);
}

rpc_code sim__password_hash(
    sim_state *state, const char *password, char ret[crypto_pwhash_STRBYTES], rpc_status *reterr)
{
    size_t size = strnlen(password, SIM_PASSWORD_MAX + 1);
    if (size < SIM_PASSWORD_MIN || size > SIM_PASSWORD_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "password: %d to %d bytes",
            SIM_PASSWORD_MIN, SIM_PASSWORD_MAX);
    if (!rpc_utf8_valid(rpc_bytes_str(password)))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "password: is no UTF-8");
    /* One at a time, however many the operator adds: whoever logs in finds a turn. */
    pthread_mutex_lock(&state->operators_hash);
    sim__turn turn = {.username = NULL};
    rpc_code code = turn_begin(&state->hashes, &turn, reterr);
    if (code == RPC_OK) {
        code = hash(state, password, ret, reterr);
        turn_end(&state->hashes, &turn);
    }
    pthread_mutex_unlock(&state->operators_hash);
    return code;
}

rpc_code sim__password_check(sim_state *state, const char *username, const char *password,
    const char *stored, char ret_new[crypto_pwhash_STRBYTES], rpc_status *reterr)
{
    rpc_status why;
    size_t size = strnlen(password, SIM_PASSWORD_MAX + 1);
    sim__turn turn = {.username = username};
    rpc_code code = turn_begin(&state->hashes, &turn, reterr);
    if (code != RPC_OK)
        return code;
    /* Too long a one is hashed no longer than any other. */
    bool right = crypto_pwhash_str_verify(stored ? stored : state->dummy_hash, password,
                     size <= SIM_PASSWORD_MAX ? size : SIM_PASSWORD_MAX) == 0 &&
                 stored && size <= SIM_PASSWORD_MAX;
    ret_new[0] = '\0';
    if (right &&
        crypto_pwhash_str_needs_rehash(
            stored, state->password_passes, state->password_memory_bytes) != 0 &&
        hash(state, password, ret_new, &why) != RPC_OK)
        ret_new[0] = '\0'; /* the old hash is as good as it was: next time */
    turn_end(&state->hashes, &turn);
    return right ? RPC_OK
                 : rpc_status_set(reterr, RPC_UNAUTHENTICATED, "user name or password is wrong");
}
