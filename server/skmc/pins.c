/* SPDX-License-Identifier: Apache-2.0 */
/* What is believed of the SKM-S: one root, its followers, and of each set the highest version
 * (docs/keys.md, decision 0019). */
#include "skmc_internal.h"

#include "cleanup.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

RPC_DEFINE_FREEP(ring_freep, trust_keyring *, trust_keyring_unref)

static void json_freep(json_t **json)
{
    json_decref(*json);
}

static int64_t number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

bool skmc__pinned(const json_t *kept)
{
    return json_object_get(kept, "root") != NULL;
}

uint64_t skmc__pins_replaced(const json_t *kept)
{
    return (uint64_t)number_of(kept, "replaced");
}

json_t *skmc__pins_set(const json_t *kept, const char *service, trust_purpose purpose)
{
    const json_t *sets = json_object_get(kept, "sets");
    for (size_t i = 0; i < json_array_size(sets); i++) {
        json_t *set = json_array_get(sets, i);
        if (strcmp(text_of(set, "service"), service) == 0 &&
            strcmp(text_of(set, "purpose"), trust_keyset_purpose_name(purpose)) == 0)
            return set;
    }
    return NULL;
}

/* ---- the root ---------------------------------------------------------------------------------
 */

rpc_code skmc__pin(json_t *kept, const char *root_jwk, const char *fingerprint, rpc_status *reterr)
{
    char found[TRUST_FINGERPRINT_SIZE];
    RPC_AUTOFREE char *jwk = NULL;
    assert(!skmc__pinned(kept));
    rpc_code code = trust_root_read(rpc_bytes_str(root_jwk), found, &jwk, reterr);
    if (code != RPC_OK)
        return code;
    if (fingerprint[0] && !trust_fingerprint_equal(found, fingerprint))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "the root has the fingerprint %s, which is not that of 'skms.root_fingerprint'; ask "
            "the operator of the SKM-S which is right",
            found);
    RPC_CLEANUP(json_freep)
    json_t *said = trust_json_parse(
        rpc_bytes_str(root_jwk), TRUST_JWKS_BYTES_MAX, "the root", NULL);
    RPC_CLEANUP(json_freep) json_t *root = json_loads(jwk, 0, NULL);
    const char *issuer = text_of(said, "dacm_issuer");
    if (!issuer || !issuer[0] || strlen(issuer) > TRUST_SERVICE_BYTES_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "the root does not say whose it is (`dacm_issuer`); take the one of skmsd");
    return root && json_object_set(kept, "root", root) == 0 &&
                   json_object_set_new(kept, "issuer", json_string(issuer)) == 0 &&
                   json_object_set_new(kept, "replaced", json_integer(0)) == 0
               ? RPC_OK
               : skmc__no_memory(reterr);
}

static rpc_code root_ring(const json_t *kept, trust_keyring **ret, rpc_status *reterr)
{
    RPC_AUTOFREE char *text = json_dumps(json_object_get(kept, "root"), JSON_COMPACT);
    return text ? trust_keyring_parse(rpc_bytes_str(text), TRUST_FOR_KEY_SETS, 1, ret, reterr)
                : skmc__no_memory(reterr);
}

/* A statement of another root than ours says how that came to be, and concerns nobody here. */
static rpc_code follow(json_t *kept, const char *statement, bool *ret_followed, rpc_status *reterr)
{
    char issuer[TRUST_SERVICE_BYTES_MAX + 1];
    uint64_t sequence = 0;
    RPC_CLEANUP(ring_freep) trust_keyring *root = NULL;
    RPC_AUTOFREE char *jwk = NULL;
    const uint64_t replaced = skmc__pins_replaced(kept);
    const char *typ = trust_keyset_peek(rpc_bytes_str(statement), issuer, &sequence);
    if (!typ || strcmp(typ, TRUST_ROOT_TYP) != 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "a root statement that is none");
    if (replaced && sequence <= replaced)
        return RPC_OK;
    rpc_code code = root_ring(kept, &root, reterr);
    if (code != RPC_OK)
        return code;
    /* a root that was pinned after its first replacement: its own number is not known */
    const trust_verdict verdict = trust_root_follow(rpc_bytes_str(statement), root,
        text_of(kept, "issuer"), replaced ? replaced + 1 : sequence, &jwk, reterr);
    if (verdict == TRUST_NO_KEY)
        return RPC_OK;
    if (verdict != TRUST_VALID)
        return reterr->code;
    *ret_followed = true;
    return json_object_set_new(kept, "root", json_loads(jwk, 0, NULL)) == 0 &&
                   json_object_set_new(kept, "replaced",
                       json_integer((json_int_t)(replaced ? replaced + 1 : sequence))) == 0
               ? RPC_OK
               : skmc__no_memory(reterr);
}

/* ---- sets -------------------------------------------------------------------------------------
 */

static rpc_code verify(const json_t *kept, const char *service, trust_purpose purpose,
    const char *jws, int64_t now, trust_keyset *ret, rpc_status *reterr)
{
    RPC_CLEANUP(ring_freep) trust_keyring *root = NULL;
    rpc_code code = root_ring(kept, &root, reterr);
    if (code != RPC_OK)
        return code;
    const trust_verdict verdict = trust_keyset_verify(rpc_bytes_str(jws), root, now, ret, reterr);
    if (verdict == TRUST_NO_KEY)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "key set: signed by another root than the one that is pinned. If the SKM-S is another "
            "now, remove kept.json and enrol again; if not, somebody stands between");
    if (verdict != TRUST_VALID)
        return reterr->code;
    const bool ours = strcmp(ret->issuer, text_of(kept, "issuer")) == 0 &&
                      strcmp(ret->service, service) == 0 && ret->purpose == purpose;
    if (!ours)
        code = rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "key set: of '%.100s' (%s) by '%.100s', which was not asked for", ret->service,
            trust_keyset_purpose_name(ret->purpose), ret->issuer);
    if (code != RPC_OK)
        trust_keyset_done(ret);
    return code;
}

static rpc_code judge_version(const json_t *kept, const json_t *keys, const trust_keyset *set,
    bool *ret_newer, rpc_status *reterr)
{
    const uint64_t seen = (uint64_t)number_of(kept, "version");
    *ret_newer = !kept || set->version > seen || set->issued_at > number_of(kept, "issued_at");
    if (!kept || set->version > seen)
        return RPC_OK;
    if (set->version < seen)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "key set: version %" PRIu64 " is an old one; %" PRIu64
            " was seen before. Was the SKM-S restored from a copy?",
            set->version, seen);
    return json_equal(json_object_get(kept, "keys"), keys)
               ? RPC_OK
               : rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                     "key set: version %" PRIu64
                     " was seen with other keys: two histories. Somebody else may have its root; "
                     "ask the operator of the SKM-S",
                     set->version);
}

static bool has_point(const json_t *keys, const char *x)
{
    for (size_t i = 0; i < json_array_size(keys); i++)
        if (strcmp(text_of(json_array_get(keys, i), "x"), x) == 0)
            return true;
    return false;
}

/* One key has one purpose, in whatever set. */
static rpc_code judge_purposes(
    const json_t *kept, const json_t *keys, const trust_keyset *set, rpc_status *reterr)
{
    const json_t *sets = json_object_get(kept, "sets");
    const char *purpose = trust_keyset_purpose_name(set->purpose);
    for (size_t i = 0; i < json_array_size(sets); i++) {
        const json_t *other = json_array_get(sets, i);
        if (strcmp(text_of(other, "purpose"), purpose) == 0)
            continue;
        for (size_t k = 0; k < json_array_size(keys); k++)
            if (has_point(json_object_get(other, "keys"), text_of(json_array_get(keys, k), "x")))
                return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                    "key set: key '%.40s' is known for another purpose; one key has one purpose",
                    text_of(json_array_get(keys, k), "kid"));
    }
    return RPC_OK;
}

static rpc_code keep_set(json_t *kept, const trust_keyset *set, json_t *keys, rpc_status *reterr)
{
    json_t *there = skmc__pins_set(kept, set->service, set->purpose);
    json_t *made = json_pack("{s:s, s:s, s:I, s:I, s:I, s:O}", "service", set->service, "purpose",
        trust_keyset_purpose_name(set->purpose), "version", (json_int_t)set->version, "issued_at",
        (json_int_t)set->issued_at, "expires_at", (json_int_t)set->expires_at, "keys", keys);
    if (!made)
        return skmc__no_memory(reterr);
    if (!there)
        return json_array_append_new(json_object_get(kept, "sets"), made) == 0
                   ? RPC_OK
                   : skmc__no_memory(reterr);
    const int failed = json_object_update(there, made);
    json_decref(made);
    return failed ? skmc__no_memory(reterr) : RPC_OK;
}

static rpc_code take_set(json_t *kept, const char *service, trust_purpose purpose, const char *jws,
    int64_t now, bool *ret_newer, rpc_status *reterr)
{
    trust_keyset set = {.jwks = NULL};
    rpc_code code = verify(kept, service, purpose, jws, now, &set, reterr);
    if (code != RPC_OK)
        return code;
    RPC_CLEANUP(json_freep) json_t *jwks = json_loads(set.jwks, 0, NULL);
    json_t *keys = json_object_get(jwks, "keys");
    const json_t *seen = skmc__pins_set(kept, service, purpose);
    bool newer = false;
    code = keys ? judge_version(seen, keys, &set, &newer, reterr) : skmc__no_memory(reterr);
    if (code == RPC_OK)
        code = judge_purposes(kept, keys, &set, reterr);
    if (code == RPC_OK && newer)
        code = keep_set(kept, &set, keys, reterr);
    trust_keyset_done(&set);
    if (code == RPC_OK)
        *ret_newer = *ret_newer || newer;
    return code;
}

rpc_code skmc__pins_take(json_t *kept, const char *service, trust_purpose purpose, const char *jws,
    char *const *statements, size_t statement_count, int64_t now, bool *ret_newer,
    rpc_status *reterr)
{
    RPC_CLEANUP(json_freep) json_t *next = json_deep_copy(kept);
    rpc_status why = {0};
    bool newer = false;
    rpc_code code = next ? RPC_OK : skmc__no_memory(&why);
    if (statement_count > SKMC__STATEMENTS_MAX)
        code = rpc_status_set(&why, RPC_INVALID_ARGUMENT,
            "key set: with %zu root statements, of %u", statement_count, SKMC__STATEMENTS_MAX);
    for (size_t i = 0; code == RPC_OK && i < statement_count; i++)
        code = follow(next, statements[i], &newer, &why);
    if (code == RPC_OK)
        code = take_set(next, service, purpose, jws, now, &newer, &why);
    if (code != RPC_OK)
        return rpc_status_text(reterr, code, why.message);
    *ret_newer = newer;
    return newer && json_object_update(kept, next) != 0 ? skmc__no_memory(reterr) : RPC_OK;
}
