/* SPDX-License-Identifier: Apache-2.0 */
/* One GPSI, one user. p/GPSI names the user that claims it, the user's record names the GPSI: both
 * together make the mapping, so that a crash between the two writes leaves none. A claim whose
 * user does not name the GPSI may be taken over. */
#include "state_internal.h"

static rpc_code put_user(sim_state *state, const char *username, uint64_t expected,
    const Sim__Records__User *record, rpc_arena *arena, rpc_status *reterr)
{
    host_key group = sim__key_user(username);
    const store_change change = {.kind = STORE_PUT, .value = sim__pack(arena, &record->base)};
    return sim__update(state, &group, expected, &change, 1, reterr);
}

static size_t place_of(const Sim__Records__User *user, const char *gpsi)
{
    size_t at = 0;
    while (at < user->n_gpsis && strcmp(user->gpsis[at], gpsi) != 0)
        at++;
    return at;
}

/* Does that other user name it? */
static rpc_code held_by_other(sim_state *state, const char *other, const char *gpsi,
    rpc_arena *arena, bool *ret, rpc_status *reterr)
{
    Sim__Records__User *user = NULL;
    rpc_code code = sim__user_read(state, other, arena, &user, NULL, reterr);
    *ret = user && place_of(user, gpsi) < user->n_gpsis;
    return code;
}

static void drop(Sim__Records__User *user, size_t at)
{
    for (user->n_gpsis--; at < user->n_gpsis; at++)
        user->gpsis[at] = user->gpsis[at + 1];
}

/* Claims p/GPSI and tells the generation of the claim. */
static rpc_code claim(sim_state *state, const char *username, const char *gpsi, rpc_arena *arena,
    uint64_t *ret_generation, rpc_status *reterr)
{
    char holder[SIM_USERNAME_MAX + 1];
    bool held = false;
    host_key group = sim__key_gpsi(gpsi);
    rpc_code code = sim__read_text(state, &group, holder, sizeof holder, ret_generation, reterr);
    if (code == RPC_OK && holder[0] && strcmp(holder, username) != 0)
        code = held_by_other(state, holder, gpsi, arena, &held, reterr);
    if (code == RPC_OK && held)
        code = rpc_status_set(
            reterr, RPC_ALREADY_EXISTS, "gpsi: is mapped to another user; unmap it there first");
    if (code == RPC_OK)
        code = sim__write_text(state, &group, *ret_generation, username, reterr);
    if (code == RPC_OK)
        ++*ret_generation;
    return code;
}

static rpc_code name_it(
    sim_state *state, const char *username, const char *gpsi, rpc_arena *arena, rpc_status *reterr)
{
    Sim__Records__User *user = NULL;
    uint64_t generation = 0;
    rpc_code code = sim__user_read(state, username, arena, &user, &generation, reterr);
    if (code != RPC_OK)
        return code;
    if (!user || user->deleted)
        return rpc_status_set(reterr, RPC_NOT_FOUND, "username: there is no such user");
    if (place_of(user, gpsi) < user->n_gpsis)
        return RPC_OK;
    if (user->n_gpsis >= SIM_GPSIS_MAX)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "gpsi: the user has %d already, which is as many as a token can hold; unmap one",
            SIM_GPSIS_MAX);
    char **gpsis = rpc_arena_alloc(arena, (user->n_gpsis + 1) * sizeof *gpsis);
    if (!gpsis)
        return sim__no_memory(reterr);
    for (size_t i = 0; i < user->n_gpsis; i++)
        gpsis[i] = user->gpsis[i];
    gpsis[user->n_gpsis++] = sim__mutable(gpsi);
    user->gpsis = gpsis;
    return put_user(state, username, generation, user, arena, reterr);
}

static rpc_code map_once(
    sim_state *state, const char *username, const char *gpsi, rpc_arena *arena, rpc_status *reterr)
{
    Sim__Records__User *user = NULL;
    uint64_t generation = 0;
    uint64_t before = 0;
    rpc_arena_reset(arena);
    rpc_code code = sim__user_read(state, username, arena, &user, &before, reterr);
    if (code == RPC_OK && (!user || user->deleted))
        code = rpc_status_set(reterr, RPC_NOT_FOUND, "username: there is no such user");
    if (code == RPC_OK)
        code = claim(state, username, gpsi, arena, &generation, reterr);
    if (code == RPC_ALREADY_EXISTS && place_of(user, gpsi) < user->n_gpsis) {
        drop(user, place_of(user, gpsi)); /* named by a mapping that came too late */
        rpc_code dropped = put_user(state, username, before, user, arena, reterr);
        return dropped == RPC_OK ? RPC_ABORTED : dropped;
    }
    if (code == RPC_OK)
        code = name_it(state, username, gpsi, arena, reterr);
    if (code != RPC_OK)
        return code;
    /* Whoever looked at the claim before the user's record named the GPSI may be taking it over:
     * written once more, the claim is either still ours or that one's attempt fails. */
    host_key group = sim__key_gpsi(gpsi);
    return sim__write_text(state, &group, generation, username, reterr);
}

static rpc_code take_back(void *ctx, rpc_arena *arena, Sim__Records__User *user,
    bool *ret_drop_consents, rpc_status *reterr)
{
    (void)arena, (void)ret_drop_consents;
    size_t at = place_of(user, ctx);
    if (at == user->n_gpsis)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION, "gpsi: is not mapped to this user");
    drop(user, at);
    return RPC_OK;
}

rpc_code sim_user_map(sim_state *state, const char *username, const char *gpsi, rpc_status *reterr)
{
    if (!trust_gpsi_valid(rpc_bytes_str(gpsi)))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "gpsi: msisdn- and 5 to 15 digits, or extid-local@domain with the domain in lower "
            "case");
    rpc_arena *arena = rpc_arena_new(SIM__RECORD_ARENA);
    rpc_code code = arena ? RPC_ABORTED : sim__no_memory(reterr);
    for (unsigned tries = 0; tries < SIM__TRIES_MAX && code == RPC_ABORTED; tries++)
        code = map_once(state, username, gpsi, arena, reterr);
    rpc_arena_free(arena);
    return code == RPC_ABORTED ? sim__overtaken(reterr) : code;
}

rpc_code sim__gpsi_release(
    sim_state *state, const char *username, const char *gpsi, rpc_status *reterr)
{
    char holder[SIM_USERNAME_MAX + 1];
    uint64_t generation = 0;
    host_key group = sim__key_gpsi(gpsi);
    rpc_code code = sim__read_text(state, &group, holder, sizeof holder, &generation, reterr);
    if (code != RPC_OK || strcmp(holder, username) != 0)
        return code;
    code = sim__write_text(state, &group, generation, NULL, reterr);
    return code == RPC_ABORTED ? RPC_OK : code; /* another has it now */
}

rpc_code sim_user_unmap(
    sim_state *state, const char *username, const char *gpsi, rpc_status *reterr)
{
    rpc_code code = sim__user_end_with(state, username, take_back, sim__mutable(gpsi), reterr);
    return code == RPC_OK ? sim__gpsi_release(state, username, gpsi, reterr) : code;
}
