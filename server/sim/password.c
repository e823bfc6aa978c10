/* SPDX-License-Identifier: Apache-2.0 */
/* Argon2id. Each hash takes memory and time on purpose, so only some are made at a time. */
#include "state_internal.h"

#include <stdlib.h>

#define WAITING_MAX         64u
#define IMPORTED_KIB_MAX    65536u
#define IMPORTED_PASSES_MAX 16u

static rpc_code turn_begin(sim__turnstile *turnstile, rpc_status *reterr)
{
    pthread_mutex_lock(&turnstile->lock);
    if (turnstile->running == turnstile->running_max &&
        turnstile->waiting == turnstile->waiting_max) {
        pthread_mutex_unlock(&turnstile->lock);
        host_counter_add(turnstile->refused, 1);
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "%u password checks wait already; try again, or raise login.hashes_waiting_max",
            turnstile->waiting_max);
    }
    turnstile->waiting++;
    while (turnstile->running == turnstile->running_max)
        pthread_cond_wait(&turnstile->freed, &turnstile->lock);
    turnstile->waiting--;
    turnstile->running++;
    pthread_mutex_unlock(&turnstile->lock);
    return RPC_OK;
}

static void turn_end(sim__turnstile *turnstile)
{
    pthread_mutex_lock(&turnstile->lock);
    turnstile->running--;
    pthread_cond_signal(&turnstile->freed);
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
    rpc_code code = turn_begin(&state->hashes, reterr);
    if (code == RPC_OK) {
        code = hash(state, password, ret, reterr);
        turn_end(&state->hashes);
    }
    pthread_mutex_unlock(&state->operators_hash);
    return code;
}

rpc_code sim__password_check(sim_state *state, const char *password, const char *stored,
    char ret_new[crypto_pwhash_STRBYTES], rpc_status *reterr)
{
    rpc_status why;
    size_t size = strnlen(password, SIM_PASSWORD_MAX + 1);
    rpc_code code = turn_begin(&state->hashes, reterr);
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
    turn_end(&state->hashes);
    return right ? RPC_OK
                 : rpc_status_set(reterr, RPC_UNAUTHENTICATED, "user name or password is wrong");
}
