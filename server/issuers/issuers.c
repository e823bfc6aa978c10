/* SPDX-License-Identifier: Apache-2.0 */
#include "issuers.h"

#include "cleanup.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ARENA_BYTES (4u << 20)

/* ---- a snapshot ---------------------------------------------------------------------------------
 */

uint64_t issuers_next_version(void)
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
        rpc_bytes_of(text, size), TRUST_FOR_TOKENS, issuers_next_version(), ret, &why);
    program_file_done(text, size);
    return code == RPC_OK ? code : rpc_status_set(reterr, code, "'%s': %.300s", path, why.message);
}

trust_keyring *issuers_no_keys(void)
{
    trust_keyring *ring = NULL;
    rpc_status ignored;
    return trust_keyring_parse(rpc_bytes_str("{\"keys\":[]}"), TRUST_FOR_TOKENS,
               issuers_next_version(), &ring, &ignored) == RPC_OK
               ? ring
               : NULL;
}

/* Keys that are fetched are set later. */
static rpc_code load_or_wait(const host_values *entry, trust_keyring **ret, rpc_status *reterr)
{
    const char *path = host_string(entry, "jwks_file");
    if (path[0])
        return load_keys(path, ret, reterr);
    *ret = issuers_no_keys();
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

const char *const *issuers_copy_list(rpc_arena *arena, const host_values *values, const char *name)
{
    size_t count = host_list_count(values, name);
    const char *const *list = host_string_list(values, name);
    const char **copy = count ? rpc_arena_alloc(arena, (count + 1) * sizeof *copy) : NULL;
    for (size_t i = 0; copy && i < count; i++)
        copy[i] = rpc_arena_strndup(arena, list[i], strlen(list[i]));
    if (copy)
        copy[count] = NULL;
    return copy;
}

bool issuers_watched(const host_values *entry)
{
    return host_bool(entry, "jwks_skms");
}

/* One place its keys come from. */
static rpc_code check_place(const host_values *entry, size_t index, rpc_status *reterr)
{
    const bool discovery = host_bool(entry, "discovery");
    const bool file = host_string(entry, "jwks_file")[0] != '\0';
    rpc_status why;
    const bool watched = issuers_watched(entry);
    if (file + (host_string(entry, "jwks_url")[0] != '\0') + discovery + watched != 1)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'issuers[%zu]': needs one of jwks_file, jwks_url, discovery and jwks_skms", index);
    if (file || watched)
        return RPC_OK;
    const host_fetch fetch = {
        .url = discovery ? host_string(entry, "issuer") : host_string(entry, "jwks_url"),
        .allow_http = host_bool(entry, "jwks_allow_http")};
    const rpc_code code = host_fetch_check(&fetch, &why);
    return code == RPC_OK ? code
                          : rpc_status_set(reterr, code, "'issuers[%zu].%s': %.300s", index,
                                discovery ? "discovery" : "jwks_url", why.message);
}

static rpc_code check_once(const host_values *settings, size_t index, rpc_status *reterr)
{
    const char *name = host_string(host_map_list(settings, "issuers", index), "issuer");
    for (size_t i = 0; i < index; i++)
        if (strcmp(host_string(host_map_list(settings, "issuers", i), "issuer"), name) == 0)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "'issuers[%zu].issuer': is configured twice; keep one of the entries", index);
    return RPC_OK;
}

rpc_code issuers_check(const host_values *settings, rpc_status *reterr)
{
    unsigned algorithms = 0;
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < host_list_count(settings, "issuers"); i++) {
        const host_values *entry = host_map_list(settings, "issuers", i);
        code = read_algorithms(entry, i, &algorithms, reterr);
        if (code == RPC_OK)
            code = check_place(entry, i, reterr);
        if (code == RPC_OK)
            code = check_once(settings, i, reterr);
    }
    return code;
}

char *issuers_copy_text(rpc_arena *arena, const host_values *values, const char *name)
{
    const char *text = host_string(values, name);
    return rpc_arena_strndup(arena, text, strlen(text));
}

static rpc_code read_issuer(issuers_set *set, const host_values *settings, const char *audience,
    size_t index, issuers_read_fn *read, rpc_status *reterr)
{
    const host_values *entry = host_map_list(settings, "issuers", index);
    trust_issuer *issuer = &set->issuers[index];
    trust_keyring *keys = NULL;
    rpc_code code = read_algorithms(entry, index, &issuer->algs, reterr);
    if (code == RPC_OK)
        code = load_or_wait(entry, &keys, reterr);
    if (code != RPC_OK)
        return code;
    issuer->keys = keys;
    set->count = index + 1;
    issuer->issuer = issuers_copy_text(set->arena, entry, "issuer");
    issuer->audience = rpc_arena_strndup(set->arena, audience, strlen(audience));
    issuer->typs = issuers_copy_list(set->arena, entry, "typ");
    set->rules[index].watched = issuers_watched(entry);
    set->rules[index].fetched = host_string(entry, "jwks_file")[0] == '\0' &&
                                !set->rules[index].watched;
    if (read)
        code = read(entry, index, set->arena, issuer, &set->rules[index], reterr);
    if (code != RPC_OK)
        return code;
    return rpc_arena_exhausted(set->arena) || !issuer->issuer || !issuer->audience
               ? rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the issuers")
               : RPC_OK;
}

rpc_code issuers_load(const host_values *settings, const char *audience, issuers_read_fn *read,
    issuers_set **ret, rpc_status *reterr)
{
    size_t count = host_list_count(settings, "issuers");
    issuers_set *set = calloc(1, sizeof *set);
    if (!set)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the issuers");
    atomic_init(&set->refs, 1);
    set->version = issuers_next_version();
    set->arena = rpc_arena_new(ARENA_BYTES);
    set->issuers = calloc(count + 1, sizeof *set->issuers);
    set->rules = calloc(count + 1, sizeof *set->rules);
    rpc_code code = RPC_OK;
    if (!set->arena || !set->issuers || !set->rules)
        code = rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the issuers");
    for (size_t i = 0; code == RPC_OK && i < count; i++)
        code = read_issuer(set, settings, audience, i, read, reterr);
    if (code == RPC_OK)
        *ret = set;
    else
        issuers_unref(set);
    return code;
}

issuers_set *issuers_copy(issuers_set *from)
{
    issuers_set *copy = calloc(1, sizeof *copy);
    if (!copy)
        return NULL;
    *copy = *from;
    atomic_init(&copy->refs, 1);
    copy->version = issuers_next_version();
    copy->base = issuers_ref(from->base ? from->base : from);
    copy->issuers = calloc(from->count + 1, sizeof *copy->issuers);
    copy->rules = calloc(from->count + 1, sizeof *copy->rules);
    if (!copy->issuers || !copy->rules) {
        copy->count = 0;
        issuers_unref(copy);
        return NULL;
    }
    memcpy(copy->issuers, from->issuers, from->count * sizeof *copy->issuers);
    memcpy(copy->rules, from->rules, from->count * sizeof *copy->rules);
    for (size_t i = 0; i < copy->count; i++)
        trust_keyring_ref((trust_keyring *)(uintptr_t)copy->issuers[i].keys);
    return copy;
}

void issuers_set_keys(issuers_set *set, size_t index, trust_keyring *ring)
{
    trust_keyring_unref((trust_keyring *)(uintptr_t)set->issuers[index].keys);
    set->issuers[index].keys = ring;
}

issuers_set *issuers_ref(issuers_set *set)
{
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void issuers_unref(issuers_set *set)
{
    if (!set || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < set->count; i++)
        trust_keyring_unref((trust_keyring *)(uintptr_t)set->issuers[i].keys);
    if (set->base)
        issuers_unref(set->base);
    else
        rpc_arena_free(set->arena);
    free(set->issuers);
    free(set->rules);
    free(set);
}

size_t issuers_find(const issuers_set *set, const char *issuer)
{
    size_t i = 0;
    while (i < set->count && strcmp(set->issuers[i].issuer, issuer) != 0)
        i++;
    return i;
}

/* ---- the token of a call --------------------------------------------------------------------- */

rpc_code issuers_find_token(
    const rpc_call *call, const char **ret_name, rpc_bytes *ret, rpc_status *reterr)
{
    static const char scheme[] = "Bearer ";
    unsigned standard = rpc_call_metadata_count(call, "authorization");
    unsigned own = rpc_call_metadata_count(call, "dacm-token");
    if (standard + own == 0)
        return rpc_status_set(reterr, RPC_UNAUTHENTICATED, "token: there is none");
    if (standard + own > 1)
        return rpc_status_set(reterr, RPC_UNAUTHENTICATED, "token: more than one");
    *ret_name = own ? "dacm-token" : "authorization";
    rpc_bytes value = {NULL, 0};
    rpc_call_metadata(call, *ret_name, &value);
    if (!own) {
        if (value.size < sizeof scheme - 1 ||
            strncasecmp((const char *)value.data, scheme, sizeof scheme - 1) != 0)
            return rpc_status_set(
                reterr, RPC_UNAUTHENTICATED, "token: authorization is not of scheme Bearer");
        value = rpc_bytes_of(value.data + sizeof scheme - 1, value.size - sizeof scheme + 1);
    }
    if (value.size == 0 || value.size > TRUST_TOKEN_BYTES_MAX)
        return rpc_status_set(reterr, RPC_UNAUTHENTICATED, "token: empty, or larger than 32 KiB");
    *ret = value;
    return RPC_OK;
}

rpc_code issuers_verify(const issuers_set *set, rpc_bytes token, int64_t now, size_t *ret_index,
    trust_token **ret, rpc_status *reterr)
{
    char name[1025];
    *ret_index = trust_token_peek_issuer(token, name, sizeof name) ? issuers_find(set, name)
                                                                   : set->count;
    if (*ret_index == set->count)
        return rpc_status_set(reterr, RPC_UNAUTHENTICATED,
            "token: not a token, or its `iss` is none of the configured issuers");
    return trust_token_verify(token, &set->issuers[*ret_index], now, ret, reterr);
}
