/* SPDX-License-Identifier: Apache-2.0 */
#include "known.h"

#include <stdatomic.h>

static int64_t monotonic_us(void *ctx)
{
    return atomic_load(&((known *)ctx)->wall_ms) * 1000;
}

static int64_t wall_ms(void *ctx)
{
    known *k = ctx;
    return atomic_fetch_add(&k->wall_ms, atomic_load(&k->step_ms));
}

void known_ok(rpc_code code, const rpc_status *status, const char *file, int line)
{
    if (code != RPC_OK)
        fail_msg("%s:%d: %s: %s", file, line, rpc_code_name(code), status->message);
}

rpc_code known_try(known *k, rpc_status *reterr)
{
    rpc_status status = {0};
    const store_lmdb_options db = {.directory = k->directory,
        .meta_map_bytes_max = 64 << 20,
        .chunks_map_bytes_max = 1 << 20,
        .sync = STORE_SYNC_PROCESS,
        .clock = &k->clock};
    OK(store_open_lmdb(&db, &k->db, &status));
    const skm_state_options options = {.store = k->db,
        .clock = &k->clock,
        .issuer = ISSUER,
        .secret = rpc_bytes_str(k->secret ? k->secret : SECRET),
        .passes = 1,
        .memory_bytes = 8192,
        .policy = {.active_s = 90 * DAY, .published_before_s = DAY, .verify_only_s = 2 * DAY},
        .set_life_s = 3600,
        .token_life_s = 3600,
        .services_max = k->services_max ? k->services_max : 8};
    return skm_state_open(&options, &k->state, reterr);
}

static void reopened(known *k)
{
    rpc_status status = {0};
    OK(known_try(k, &status));
}

void known_open(known *k)
{
    memset(k, 0, sizeof *k);
    snprintf(k->directory, sizeof k->directory, "%s", test_tmpdir());
    atomic_store(&k->wall_ms, (int64_t)START_S * 1000);
    k->clock = (rpc_clock){monotonic_us, wall_ms, k};
    reopened(k);
}

void known_close(known *k)
{
    skm_state_close(k->state);
    store_close(k->db);
    k->state = NULL;
    k->db = NULL;
}

void known_reopen(known *k)
{
    known_close(k);
    reopened(k);
}

void known_pass(known *k, int64_t seconds)
{
    atomic_fetch_add(&k->wall_ms, seconds * 1000);
}

int64_t known_now(known *k)
{
    return atomic_load(&k->wall_ms) / 1000;
}

int64_t known_tend(known *k)
{
    rpc_status status = {0};
    int64_t again_s = 0;
    OK(skm_state_tend(k->state, &again_s, &status));
    return again_s;
}

void known_add(known *k, const char *service, bool delegated)
{
    rpc_status status = {0};
    const skm_service_view view = {.name = service,
        .purposes = {false, true, true},
        .policy = {.active_s = 10 * DAY,
            .published_before_s = DAY,
            .verify_only_s = 2 * DAY,
            .delegated = delegated}};
    OK(skm_service_add(k->state, &view, &status));
}

skm_caller known_caller(const char *san)
{
    static const char *names[2];
    names[0] = san;
    return (skm_caller){.dns_names = names};
}

void known_enrol(known *k, const char *service, const char *san, const uint8_t sealing_key[32])
{
    rpc_status status = {0};
    char token[SKM_TOKEN_CHARS + 1];
    int64_t expires_at = 0;
    skm_enrolled enrolled;
    const skm_caller caller = known_caller(san);
    OK(skm_enrolment_add(k->state, service, san, NULL, token, &expires_at, &status));
    OK(skm_enrol(k->state, &caller, token, sealing_key, &enrolled, &status));
    assert_string_equal(enrolled.service, service);
}

static rpc_code announced(void *ctx, const skm_announce *what, uint64_t up_to, rpc_status *reterr)
{
    (void)ctx;
    (void)reterr;
    assert_true(what->needed && up_to > 0);
    return RPC_OK;
}

rpc_code known_sign(known *k, const skm_caller *caller, const char *kid,
    char ret_kid[TRUST_KID_MAX + 1], rpc_status *reterr)
{
    return known_sign_of(k, caller, "", kid, ret_kid, reterr);
}

rpc_code known_sign_of(known *k, const skm_caller *caller, const char *service, const char *kid,
    char ret_kid[TRUST_KID_MAX + 1], rpc_status *reterr)
{
    uint8_t signature[SKM_SIGNATURE_BYTES];
    skm_announce more;
    for (;;) {
        const rpc_code code = skm_sign(k->state, caller, service, SKM_FOR_TOKENS, kid,
            rpc_bytes_str("input"), ret_kid, signature, &more, reterr);
        if (more.needed)
            assert_int_equal(
                skm_signatures_announce(k->state, &more, announced, NULL, reterr), RPC_OK);
        if (code != RPC_ABORTED)
            return code;
        assert_true(more.needed);
    }
}

static bool take_key(void *ctx, const skm_key_view *view)
{
    known_keys *keys = ctx;
    snprintf(keys->kid[keys->count], sizeof keys->kid[0], "%s", view->kid);
    keys->life[keys->count] = view->life;
    keys->state[keys->count++] = view->state;
    return true;
}

known_keys known_list(known *k, const char *service, skm_purpose purpose)
{
    rpc_status status = {0};
    known_keys keys = {0};
    OK(skm_keys_list(k->state, service, purpose, take_key, &keys, &status));
    return keys;
}

size_t known_one(const known_keys *keys, skm_key_state wanted)
{
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < keys->count; i++)
        if (keys->state[i] == wanted) {
            assert_true(found == SIZE_MAX);
            found = i;
        }
    assert_true(found != SIZE_MAX);
    return found;
}

static void take_root(void *ctx, uint64_t sequence, const char *jwk, const char *const *statements,
    size_t statement_count)
{
    rpc_status status = {0};
    (void)statements;
    assert_int_equal(sequence, statement_count + 1);
    OK(trust_keyring_parse(rpc_bytes_str(jwk), TRUST_FOR_KEY_SETS, 1, ctx, &status));
}

/* Verified; trust_keyset_done() it. */
static trust_keyset verified(known *k, const char *service, skm_purpose purpose)
{
    rpc_status status = {0};
    skm_keyset *set = NULL;
    trust_keyset ret = {.jwks = NULL};
    trust_keyring *root = NULL;
    OK(skm_keyset_get(k->state, service, purpose, &set, &status));
    skm_root_get(k->state, take_root, &root);
    if (trust_keyset_verify(
            rpc_bytes_str(skm_keyset_jws(set)), root, known_now(k), &ret, &status) != TRUST_VALID)
        fail_msg("the key set is not valid: %s", status.message);
    assert_int_equal(ret.version, skm_keyset_version(set));
    assert_string_equal(ret.issuer, ISSUER);
    assert_string_equal(ret.service, service);
    trust_keyring_unref(root);
    skm_keyset_unref(set);
    return ret;
}

uint64_t known_version(known *k, const char *service, skm_purpose purpose)
{
    trust_keyset set = verified(k, service, purpose);
    const uint64_t version = set.version;
    trust_keyset_done(&set);
    return version;
}

trust_keyring *known_ring(known *k, const char *service, skm_purpose purpose)
{
    rpc_status status = {0};
    trust_keyring *ring = NULL;
    trust_keyset set = verified(k, service, purpose);
    OK(trust_keyring_parse(rpc_bytes_str(set.jwks),
        purpose == SKM_FOR_TOKENS ? TRUST_FOR_TOKENS : TRUST_FOR_MANIFESTS, set.version, &ring,
        &status));
    trust_keyset_done(&set);
    return ring;
}
