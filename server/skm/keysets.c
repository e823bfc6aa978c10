/* SPDX-License-Identifier: Apache-2.0 */
/* How a set of keys changes. What is to be is made beside what is: lives, new keys, the JWK set,
 * its number, its signature; then one update of one group has it in the store, and one exchange
 * under the lock in memory. A crash leaves the one or the other. */
#include "state_internal.h"

#include "cleanup.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>

#define OVERLAP_S_MAX 3600
#define KEPT_MAX      (SKM_LIFE_KEYS_MAX - 16) /* of a set; room for keys that are revoked in a row */

static void json_freep(json_t **json)
{
    json_decref(*json);
}

/* ---- what is published --------------------------------------------------------------------------
 */

/* A key that will sign is published as one that signs: a verifier that has the set must take the
 * key from its first signature on (as trust_signers_public_jwks() has it), whenever its turn comes.
 * So `nbf` is when it was made, and its turn stands beside it, for its owner. */
static const char *state_name(skm_key_state key_state)
{
    static const char *const names[] = {[SKM_PRE_PUBLISHED] = "active",
        [SKM_ACTIVE] = "active",
        [SKM_VERIFY_ONLY] = "verify-only",
        [SKM_RETIRED] = "retired",
        [SKM_COMPROMISED] = "compromised"};
    return names[key_state];
}

/* Until when verifiers take what it signed. Its owner hears of a turn a moment after it was
 * decided, or, cut off, not at all; verifiers keep sets for an hour: what he signs meanwhile is
 * good. Who brings keys knows their times himself. */
static int64_t verified_until(const skm_policy *policy, const skm_key_life *life)
{
    const int64_t known = policy->published_before_s < OVERLAP_S_MAX ? policy->published_before_s
                                                                     : OVERLAP_S_MAX;
    return life->signs_until + (policy->provisioned ? 0 : known);
}

json_t *skm__key_jwk(
    const skm__set *set, const skm__key *key, const skm_key_life *life, skm_key_state key_state)
{
    char x[64];
    sodium_bin2base64(x, sizeof x, key->public_key, sizeof key->public_key,
        sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "kty", "OKP", "crv",
        "Ed25519", "x", x, "use", "sig", "alg", "EdDSA", "kid", key->kid, "dacm_purpose",
        set->purpose == SKM_FOR_TOKENS ? "token" : "manifest", "dacm_state", state_name(key_state),
        "nbf", (json_int_t)life->created_at, "exp",
        (json_int_t)verified_until(&set->service->policy, life), "dacm_signs_from",
        (json_int_t)life->signs_from);
}

/* May those who know nothing of dacm_state verify with it? */
static bool for_everybody(const skm__set *set, skm_key_state key_state)
{
    return key_state != SKM_COMPROMISED &&
           (key_state != SKM_RETIRED || set->purpose != SKM_FOR_TOKENS);
}

/* ---- a change -----------------------------------------------------------------------------------
 */

typedef struct change {
    skm_state *state;
    skm__set *set;
    int64_t now;
    size_t count, made_from; /* keys[made_from …] are new, ours until they are put in place */
    size_t next;             /* takes over by a rotation */
    skm__key *keys[SKM_LIFE_KEYS_MAX];
    skm_key_life lives[SKM_LIFE_KEYS_MAX];
    size_t dropped_count;
    skm__key *dropped[SKM_LIFE_KEYS_MAX];
    skm__key *revoked;
    const char *reason;
    bool restored;
    uint64_t version;
    uint8_t sha256[32];
    char *jwks, *plain_jwks;
    skm_keyset *published;
    skm__changes records;
} change;

static void change_done(change *c)
{
    for (size_t i = c->made_from; i < c->count; i++)
        skm__key_free(c->keys[i]);
    free(c->jwks);
    free(c->plain_jwks);
    skm_keyset_unref(c->published);
    skm__changes_done(&c->records);
}

static skm_key_state state_of(const change *c, size_t i)
{
    return skm_life_state(&c->set->service->policy, &c->lives[i], c->now);
}

/* The oldest that a set can do without: retired, or compromised and nothing that it could have
 * signed matters any more. c->count: there is none. */
static size_t oldest_spare(const change *c)
{
    size_t spare = c->count;
    for (int compromised = 0; spare == c->count && compromised < 2; compromised++)
        for (size_t i = 0; i < c->count; i++) {
            const skm_key_state wanted = compromised ? SKM_COMPROMISED : SKM_RETIRED;
            const bool over = c->now - c->lives[i].signs_until >=
                              c->set->service->policy.verify_only_s;
            if (state_of(c, i) == wanted && over &&
                (spare == c->count || c->lives[i].signs_until < c->lives[spare].signs_until))
                spare = i;
        }
    return spare;
}

/* Of a set that holds no more nothing is dropped: who looks again changes nothing. */
static void drop_spare(change *c)
{
    for (size_t i; c->count > KEPT_MAX && (i = oldest_spare(c)) < c->made_from;) {
        c->dropped[c->dropped_count++] = c->keys[i];
        c->count--;
        c->made_from--;
        memmove(&c->keys[i], &c->keys[i + 1], (c->count - i) * sizeof *c->keys);
        memmove(&c->lives[i], &c->lives[i + 1], (c->count - i) * sizeof *c->lives);
    }
}

static rpc_code seal_new_key(const change *c, skm__key *key, const trust_signer *signer)
{
    char identity[SKM__IDENTITY_MAX];
    skm__identity("key", c->set->service->name, c->set->purpose, key->kid, identity);
    skm_seal(c->state->vault, identity, rpc_bytes_of(trust_signer_seed(signer), SKM__SEED_BYTES),
        key->sealed_seed);
    key->has_seed = true;
    return RPC_OK;
}

/* given: a key that was brought; NULL: a new one. */
static rpc_code make_key(change *c, size_t i, const trust_signer *given, rpc_status *reterr)
{
    trust_signer *made = NULL;
    skm__key *key = calloc(1, sizeof *key);
    if (!key)
        return skm__no_memory(reterr);
    c->keys[i] = key;
    rpc_code code = RPC_OK;
    if (!given)
        code = trust_signer_generate(skm__trust_purpose(c->set->purpose), &made, reterr);
    if (code != RPC_OK)
        return code;
    const trust_signer *signer = given ? given : made;
    snprintf(key->kid, sizeof key->kid, "%s", trust_signer_kid(signer));
    memcpy(key->public_key, trust_signer_ed25519(signer), sizeof key->public_key);
    code = seal_new_key(c, key, signer);
    trust_signer_free(made);
    return code;
}

static rpc_code no_room(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
        "the set holds %u keys, none of which may be dropped yet; no further one is made",
        SKM_LIFE_KEYS_MAX);
}

static rpc_code add_key(change *c, const skm__edit *edit, rpc_status *reterr)
{
    if (c->count == SKM_LIFE_KEYS_MAX)
        return no_room(reterr);
    c->keys[c->count] = NULL;
    c->lives[c->count] = edit->add_life;
    return make_key(c, c->count++, edit->add, reterr);
}

static bool tend(change *c)
{
    return skm_life_tend(&c->set->service->policy, c->lives, &c->count, SKM_LIFE_KEYS_MAX, c->now);
}

/* The next key may have begun a moment ago, and have no successor yet. */
static rpc_code turn(change *c, rpc_status *reterr)
{
    const skm_policy *policy = &c->set->service->policy;
    if (!tend(c))
        return no_room(reterr);
    c->next = skm_life_judge(policy, c->lives, c->count, c->now).next;
    if (!skm_life_rotate(policy, c->lives, c->count, c->now))
        return rpc_status_set(
            reterr, RPC_FAILED_PRECONDITION, "there is no key that could come next; provision one");
    return RPC_OK;
}

static rpc_code apply_edit(change *c, const skm__edit *edit, rpc_status *reterr)
{
    c->restored = edit->restored;
    const rpc_code code = edit->rotate ? turn(c, reterr) : RPC_OK;
    if (code != RPC_OK)
        return code;
    for (size_t i = 0; edit->revoke && i < c->count; i++)
        if (c->keys[i] == edit->revoke && !c->lives[i].revoked_at) {
            c->lives[i].revoked_at = c->now;
            c->revoked = edit->revoke;
            c->reason = edit->reason;
        }
    return RPC_OK;
}

static rpc_code plan(change *c, const skm__edit *edit, rpc_status *reterr)
{
    c->count = skm__lives(c->set, c->lives);
    memcpy(c->keys, c->set->keys, c->count * sizeof *c->keys);
    c->made_from = c->count; /* for change_done() */
    rpc_code code = edit ? apply_edit(c, edit, reterr) : RPC_OK;
    if (code != RPC_OK)
        return code;
    if (!tend(c))
        return no_room(reterr);
    for (size_t i = c->made_from; code == RPC_OK && i < c->count; i++)
        code = make_key(c, i, NULL, reterr);
    if (code == RPC_OK && edit && edit->rotate)
        snprintf(edit->rotate, TRUST_KID_MAX + 1, "%s", c->keys[c->next]->kid);
    if (code == RPC_OK && edit && edit->add)
        code = add_key(c, edit, reterr);
    if (code == RPC_OK)
        drop_spare(c);
    return code;
}

/* ---- its JWK set, by signs_from -----------------------------------------------------------------
 */

static bool before(const change *c, size_t a, size_t b)
{
    return skm__key_before(&c->lives[a], c->keys[a], &c->lives[b], c->keys[b]);
}

static size_t next_by_time(const change *c, size_t last)
{
    size_t found = SIZE_MAX;
    for (size_t i = 0; i < c->count; i++)
        if ((last == SIZE_MAX || before(c, last, i)) && (found == SIZE_MAX || before(c, i, found)))
            found = i;
    return found;
}

static rpc_code write_jwks(change *c, rpc_status *reterr)
{
    RPC_CLEANUP(json_freep) json_t *all = json_array();
    RPC_CLEANUP(json_freep) json_t *plain = json_array();
    for (size_t i = next_by_time(c, SIZE_MAX); i != SIZE_MAX; i = next_by_time(c, i)) {
        RPC_CLEANUP(json_freep)
        json_t *jwk = skm__key_jwk(c->set, c->keys[i], &c->lives[i], state_of(c, i));
        if (!jwk || json_array_append(all, jwk) != 0 ||
            (for_everybody(c->set, state_of(c, i)) && json_array_append(plain, jwk) != 0))
            return skm__no_memory(reterr);
    }
    RPC_CLEANUP(json_freep) json_t *set = json_pack("{s:O}", "keys", all);
    RPC_CLEANUP(json_freep) json_t *plain_set = json_pack("{s:O}", "keys", plain);
    c->jwks = set ? json_dumps(set, JSON_COMPACT) : NULL;
    c->plain_jwks = plain_set ? json_dumps(plain_set, JSON_COMPACT) : NULL;
    if (!c->jwks || !c->plain_jwks)
        return skm__no_memory(reterr);
    trust_sha256(rpc_bytes_str(c->jwks), c->sha256);
    const bool same = c->set->version > 0 &&
                      memcmp(c->sha256, c->set->published_sha256, sizeof c->sha256) == 0;
    c->version = c->set->version + (c->restored || !same);
    /* a change, which is one more, takes longer than a millisecond: nothing published was higher */
    const uint64_t now_ms = (uint64_t)rpc_clock_wall_ms(c->state->clock);
    if (c->restored && c->version < now_ms)
        c->version = now_ms;
    return RPC_OK;
}

/* ---- signing ------------------------------------------------------------------------------------
 */

static rpc_code sign_jwks(change *c, uint64_t serial, rpc_status *reterr)
{
    skm_state *state = c->state;
    skm_keyset *published = calloc(1, sizeof *published);
    if (!published)
        return skm__no_memory(reterr);
    atomic_init(&published->refs, 1);
    c->published = published;
    trust_keyset set = {.purpose = skm__trust_purpose(c->set->purpose),
        .version = c->version,
        .issued_at = c->now,
        .expires_at = c->now + state->set_life_s,
        .jwks = c->jwks};
    (void)rpc_text_copy(set.issuer, sizeof set.issuer, state->issuer);
    (void)rpc_text_copy(set.service, sizeof set.service, c->set->service->name);
    const rpc_code code = trust_keyset_sign(state->root.signer, &set, &published->jws, reterr);
    published->version = c->version;
    published->serial = serial;
    published->issued_at = set.issued_at;
    published->expires_at = set.expires_at;
    published->jwks = RPC_TAKE(c->plain_jwks);
    if (code == RPC_OK)
        host_counter_add(state->signed_sets, 1);
    return code;
}

/* ---- records ------------------------------------------------------------------------------------
 */

/* What signs nothing and never will: nobody needs its private half any more. */
static bool keeps_seed(const change *c, size_t i)
{
    return c->keys[i]->has_seed && state_of(c, i) != SKM_RETIRED &&
           state_of(c, i) != SKM_COMPROMISED;
}

static bool key_changes(const change *c, size_t i)
{
    return i >= c->made_from || c->keys[i] == c->revoked ||
           memcmp(&c->keys[i]->life, &c->lives[i], sizeof c->lives[i]) != 0 ||
           keeps_seed(c, i) != c->keys[i]->has_seed;
}

static void put_key(change *c, size_t i)
{
    skm__key *key = c->keys[i];
    const skm_key_life *life = &c->lives[i];
    const host_key item = host_key_of("", key->kid);
    Skm__Records__Key record = SKM__RECORDS__KEY__INIT;
    record.kid = key->kid;
    record.public_key = (ProtobufCBinaryData){sizeof key->public_key, key->public_key};
    if (keeps_seed(c, i))
        record.sealed_seed = (ProtobufCBinaryData){sizeof key->sealed_seed, key->sealed_seed};
    record.created_at = life->created_at;
    record.signs_from = life->signs_from;
    record.signs_until = life->signs_until;
    record.revoked_at = life->revoked_at;
    record.reason = key == c->revoked ? (char *)(uintptr_t)c->reason : key->reason;
    skm__put(&c->records, &item, &record.base);
}

static void put_set(change *c)
{
    Skm__Records__KeySet record = SKM__RECORDS__KEY_SET__INIT;
    record.service = c->set->service->name;
    record.version = c->version;
    record.published_sha256 = (ProtobufCBinaryData){sizeof c->sha256, c->sha256};
    record.changed_at = c->now;
    skm__put(&c->records, NULL, &record.base);
}

static void put_records(change *c)
{
    for (size_t i = 0; i < c->count; i++)
        if (key_changes(c, i))
            put_key(c, i);
    for (size_t i = 0; i < c->dropped_count; i++) {
        const host_key item = host_key_of("", c->dropped[i]->kid);
        skm__delete(&c->records, &item);
    }
    if (c->version != c->set->version)
        put_set(c);
}

/* ---- in place -----------------------------------------------------------------------------------
 */

static void place_key(const change *c, size_t i)
{
    skm__key *key = c->keys[i];
    key->life = c->lives[i];
    if (key == c->revoked)
        snprintf(key->reason, sizeof key->reason, "%s", c->reason);
    if (key->has_seed && !keeps_seed(c, i)) {
        key->has_seed = false;
        sodium_memzero(key->sealed_seed, sizeof key->sealed_seed);
    }
    if (state_of(c, i) != SKM_ACTIVE && state_of(c, i) != SKM_PRE_PUBLISHED)
        trust_signer_free(atomic_exchange(&key->signer, NULL));
}

/* Locked for writing: nobody signs meanwhile. */
static void place(change *c)
{
    skm__set *set = c->set;
    for (size_t i = 0; i < c->count; i++)
        place_key(c, i);
    for (size_t i = 0; i < c->dropped_count; i++)
        skm__key_free(c->dropped[i]);
    memcpy(set->keys, c->keys, c->count * sizeof *c->keys);
    set->count = c->made_from = c->count;
    skm__set_sort(set);
    if (!c->published)
        return;
    skm_keyset_unref(set->published);
    set->published = RPC_TAKE(c->published);
    set->version = c->version;
    set->root = c->state->root.sequence;
    memcpy(set->published_sha256, c->sha256, sizeof c->sha256);
}

static void put_in_place(change *c)
{
    skm_state *state = c->state;
    const bool told = c->published != NULL;
    if (c->version != c->set->version)
        host_counter_add(state->changes, 1);
    pthread_rwlock_wrlock(&state->lock);
    place(c);
    pthread_rwlock_unlock(&state->lock);
    if (told && state->watch)
        state->watch(state->watch_ctx, c->set->service->name, c->set->purpose);
}

static uint64_t next_serial(const skm__set *set)
{
    return set->published ? set->published->serial + 1 : 1;
}

/* Before they are forgotten: a crash in between leaves them known twice. */
static rpc_code bar_dropped(const change *c, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < c->dropped_count; i++)
        if (c->dropped[i]->life.revoked_at)
            code = skm__bar(c->state, c->set->service, c->dropped[i]->kid,
                c->dropped[i]->life.revoked_at, reterr);
    return code;
}

static rpc_code carry_out(change *c, bool again, rpc_status *reterr)
{
    rpc_code code = write_jwks(c, reterr);
    const bool publish = again || c->version != c->set->version || !c->set->published;
    if (code == RPC_OK && publish)
        code = sign_jwks(c, next_serial(c->set), reterr);
    if (code == RPC_OK)
        code = bar_dropped(c, reterr);
    if (code != RPC_OK)
        return code;
    put_records(c);
    if (c->records.count > 0)
        code = skm__write(
            c->state, host_key_bytes(&c->set->group), &c->records, &c->set->generation, reterr);
    if (code == RPC_OK && (publish || c->records.count > 0))
        put_in_place(c);
    return code;
}

rpc_code skm__set_change(skm_state *state, skm__set *set, const skm__edit *edit, rpc_status *reterr)
{
    change c = {.state = state, .set = set, .now = skm__now_s(state)};
    rpc_code code = plan(&c, edit, reterr);
    if (code == RPC_OK)
        code = carry_out(&c, edit && edit->sign_again, reterr);
    if (code == RPC_OK)
        set->looked_at = c.now;
    change_done(&c);
    return code;
}

/* ---- for those who ask --------------------------------------------------------------------------
 */

uint64_t skm_keyset_version(const skm_keyset *set)
{
    return set->version;
}

uint64_t skm_keyset_serial(const skm_keyset *set)
{
    return set->serial;
}

const char *skm_keyset_jws(const skm_keyset *set)
{
    return set->jws;
}

const char *skm_keyset_jwks(const skm_keyset *set)
{
    return set->jwks;
}

int64_t skm_keyset_expires_at(const skm_keyset *set)
{
    return set->expires_at;
}

rpc_code skm_keyset_get(skm_state *state, const char *service, skm_purpose purpose,
    skm_keyset **ret, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    pthread_rwlock_rdlock(&state->lock);
    const skm__service *found = skm__service_find(state, service);
    skm__set *set = found ? found->sets[purpose] : NULL;
    if (!set)
        code = rpc_status_set(reterr, RPC_NOT_FOUND, "there are no such keys");
    else if (!set->published)
        code = rpc_status_set(reterr, RPC_UNAVAILABLE, "the key set is not made yet; try again");
    else {
        atomic_fetch_add(&set->published->refs, 1);
        *ret = set->published;
    }
    pthread_rwlock_unlock(&state->lock);
    return code;
}

void skm_keysets_watch(
    skm_state *state, void (*fn)(void *ctx, const char *service, skm_purpose purpose), void *ctx)
{
    state->watch = fn;
    state->watch_ctx = ctx;
}
