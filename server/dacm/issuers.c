/* SPDX-License-Identifier: Apache-2.0 */
#include "issuers.h"

#include "cleanup.h"
#include "program.h"
#include "settings.h"

#include <string.h>

#define ARENA_BYTES (4u << 20)

/* ---- a snapshot ---------------------------------------------------------------------------------
 */

uint64_t dacm_next_version(void)
{
    static atomic_uint_fast64_t last;
    return atomic_fetch_add(&last, 1) + 1;
}

static rpc_code load_keys(const char *path, trust_keyring **ret, rpc_status *reterr)
{
    char *text = NULL;
    size_t size = 0;
    rpc_code code = program_file_read(path, TRUST_JWKS_BYTES_MAX, &text, &size, reterr);
    if (code != RPC_OK)
        return code;
    rpc_status why;
    code = trust_keyring_parse(
        rpc_bytes_of(text, size), TRUST_FOR_TOKENS, dacm_next_version(), ret, &why);
    program_file_done(text, size);
    return code == RPC_OK ? code : rpc_status_set(reterr, code, "'%s': %.300s", path, why.message);
}

trust_keyring *dacm_no_keys(void)
{
    trust_keyring *ring = NULL;
    rpc_status ignored;
    return trust_keyring_parse(rpc_bytes_str("{\"keys\":[]}"), TRUST_FOR_TOKENS,
               dacm_next_version(), &ring, &ignored) == RPC_OK
               ? ring
               : NULL;
}

/* Keys that are fetched are set later. */
static rpc_code load_or_wait(const host_values *entry, trust_keyring **ret, rpc_status *reterr)
{
    const char *path = host_string(entry, "jwks_file");
    if (path[0])
        return load_keys(path, ret, reterr);
    *ret = dacm_no_keys();
    return *ret ? RPC_OK
                : rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for a key set");
}

static rpc_code read_algorithms(
    const host_values *entry, size_t index, unsigned *ret, rpc_status *reterr)
{
    static const struct {
        const char *name;
        trust_alg alg;
    } known[] = {{"EdDSA", TRUST_ALG_EDDSA}, {"Ed25519", TRUST_ALG_EDDSA},
        {"ES256", TRUST_ALG_ES256}, {"RS256", TRUST_ALG_RS256}, {"PS256", TRUST_ALG_PS256}};
    const char *const *names = host_string_list(entry, "algorithms");
    size_t count = host_list_count(entry, "algorithms");
    *ret = count == 0 ? 1u << TRUST_ALG_EDDSA : 0;
    for (size_t i = 0; i < count; i++) {
        size_t j = 0;
        while (j < sizeof known / sizeof *known && strcmp(known[j].name, names[i]) != 0)
            j++;
        if (j == sizeof known / sizeof *known)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "'issuers[%zu].algorithms': '%.40s' is none of EdDSA, Ed25519, ES256, RS256, "
                "PS256",
                index, names[i]);
        *ret |= 1u << known[j].alg;
    }
    return RPC_OK;
}

/* A list of strings into the arena, NULL-terminated; NULL when it is empty. */
static const char *const *copy_list(rpc_arena *arena, const host_values *entry, const char *name)
{
    size_t count = host_list_count(entry, name);
    const char *const *list = host_string_list(entry, name);
    const char **copy = count ? rpc_arena_alloc(arena, (count + 1) * sizeof *copy) : NULL;
    for (size_t i = 0; copy && i < count; i++)
        copy[i] = rpc_arena_strndup(arena, list[i], strlen(list[i]));
    if (copy)
        copy[count] = NULL;
    return copy;
}

static rpc_code check_namespaces(const host_values *entry, size_t index, rpc_status *reterr)
{
    const char *const *list = host_string_list(entry, "gpsi_namespaces");
    for (size_t i = 0; i < host_list_count(entry, "gpsi_namespaces"); i++)
        if (!trust_gpsi_namespace_valid(list[i]))
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "'issuers[%zu].gpsi_namespaces': '%.64s' is no pattern; write msisdn-DIGITS, "
                "extid- or extid-*@domain",
                index, list[i]);
    return RPC_OK;
}

rpc_code dacm_issuers_check(const host_values *settings, rpc_status *reterr)
{
    unsigned algorithms = 0;
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < host_list_count(settings, "issuers"); i++) {
        const host_values *entry = host_map_list(settings, "issuers", i);
        code = read_algorithms(entry, i, &algorithms, reterr);
        if (code == RPC_OK)
            code = check_namespaces(entry, i, reterr);
    }
    return code;
}

static char *copy_text(rpc_arena *arena, const host_values *values, const char *name)
{
    const char *text = host_string(values, name);
    return rpc_arena_strndup(arena, text, strlen(text));
}

static rpc_code read_issuer(dacm_issuers *set, const host_values *settings, const char *audience,
    size_t index, rpc_status *reterr)
{
    const host_values *entry = host_map_list(settings, "issuers", index);
    trust_issuer *issuer = &set->issuers[index];
    trust_keyring *keys = NULL;
    rpc_code code = read_algorithms(entry, index, &issuer->algs, reterr);
    if (code == RPC_OK)
        code = check_namespaces(entry, index, reterr);
    if (code == RPC_OK)
        code = load_or_wait(entry, &keys, reterr);
    if (code != RPC_OK)
        return code;
    issuer->keys = keys;
    set->count = index + 1;
    issuer->issuer = copy_text(set->arena, entry, "issuer");
    issuer->audience = rpc_arena_strndup(set->arena, audience, strlen(audience));
    issuer->gpsi_claim = copy_text(set->arena, entry, "gpsi_claim");
    issuer->profile_claim = copy_text(set->arena, entry, "profile_claim");
    issuer->typs = copy_list(set->arena, entry, "typ");
    issuer->gpsi_namespaces = copy_list(set->arena, entry, "gpsi_namespaces");
    issuer->may_delegate = host_bool(entry, "may_delegate");
    set->rules[index] = (dacm_issuer_rule){.mode = (trust_mode)host_enum(entry, "mode"),
        .require_binding = host_bool(entry, "require_binding"),
        .fetched = host_string(entry, "jwks_file")[0] == '\0',
        .max_staleness_s = host_enum(entry, "revocations") == DACM_REVOCATIONS_REPORT
                               ? host_int(entry, "max_staleness_s")
                               : 0};
    return rpc_arena_exhausted(set->arena) || !issuer->issuer || !issuer->audience
               ? rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the issuers")
               : RPC_OK;
}

static rpc_code read_sims(dacm_issuers *set, const host_values *settings, rpc_status *reterr)
{
    size_t count = host_list_count(settings, "peers.sims");
    set->sims = rpc_arena_alloc(set->arena, (count + 1) * sizeof *set->sims);
    for (size_t i = 0; set->sims && i < count; i++) {
        const host_values *entry = host_map_list(settings, "peers.sims", i);
        set->sims[i] = (dacm_sims){.san = copy_text(set->arena, entry, "san"),
            .issuer = copy_text(set->arena, entry, "issuer"),
            .full_list = host_bool(entry, "full_list")};
    }
    if (!set->sims || rpc_arena_exhausted(set->arena))
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the peers");
    set->sims_count = count;
    return RPC_OK;
}

rpc_code dacm_issuers_load(
    const host_values *settings, const char *audience, dacm_issuers **ret, rpc_status *reterr)
{
    size_t count = host_list_count(settings, "issuers");
    dacm_issuers *set = calloc(1, sizeof *set);
    if (!set)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the issuers");
    atomic_init(&set->refs, 1);
    set->version = dacm_next_version();
    set->arena = rpc_arena_new(ARENA_BYTES);
    set->issuers = calloc(count + 1, sizeof *set->issuers);
    set->rules = calloc(count + 1, sizeof *set->rules);
    rpc_code code = RPC_OK;
    if (!set->arena || !set->issuers || !set->rules)
        code = rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the issuers");
    for (size_t i = 0; code == RPC_OK && i < count; i++)
        code = read_issuer(set, settings, audience, i, reterr);
    if (code == RPC_OK)
        code = read_sims(set, settings, reterr);
    if (code == RPC_OK)
        *ret = set;
    else
        dacm_issuers_unref(set);
    return code;
}

dacm_issuers *dacm_issuers_copy(dacm_issuers *from)
{
    dacm_issuers *copy = calloc(1, sizeof *copy);
    if (!copy)
        return NULL;
    *copy = *from;
    atomic_init(&copy->refs, 1);
    copy->version = dacm_next_version();
    copy->base = dacm_issuers_ref(from->base ? from->base : from);
    copy->issuers = calloc(from->count + 1, sizeof *copy->issuers);
    copy->rules = calloc(from->count + 1, sizeof *copy->rules);
    if (!copy->issuers || !copy->rules) {
        copy->count = 0;
        dacm_issuers_unref(copy);
        return NULL;
    }
    memcpy(copy->issuers, from->issuers, from->count * sizeof *copy->issuers);
    memcpy(copy->rules, from->rules, from->count * sizeof *copy->rules);
    for (size_t i = 0; i < copy->count; i++)
        trust_keyring_ref((trust_keyring *)(uintptr_t)copy->issuers[i].keys);
    return copy;
}

void dacm_issuers_set_keys(dacm_issuers *issuers, size_t index, trust_keyring *ring)
{
    trust_keyring_unref((trust_keyring *)(uintptr_t)issuers->issuers[index].keys);
    issuers->issuers[index].keys = ring;
}

dacm_issuers *dacm_issuers_ref(dacm_issuers *issuers)
{
    atomic_fetch_add_explicit(&issuers->refs, 1, memory_order_relaxed);
    return issuers;
}

void dacm_issuers_unref(dacm_issuers *issuers)
{
    if (!issuers || atomic_fetch_sub_explicit(&issuers->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < issuers->count; i++)
        trust_keyring_unref((trust_keyring *)(uintptr_t)issuers->issuers[i].keys);
    if (issuers->base)
        dacm_issuers_unref(issuers->base);
    else
        rpc_arena_free(issuers->arena);
    free(issuers->issuers);
    free(issuers->rules);
    free(issuers);
}

size_t dacm_issuers_find(const dacm_issuers *issuers, const char *issuer)
{
    size_t i = 0;
    while (i < issuers->count && strcmp(issuers->issuers[i].issuer, issuer) != 0)
        i++;
    return i;
}
