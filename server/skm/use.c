/* SPDX-License-Identifier: Apache-2.0 */
/* Private keys in use: given to their owner, sealed; or signing here. Nothing is waited for, but
 * for the lock that guards what all threads read. */
#include "state_internal.h"

#include <sodium.h>
#include <stdlib.h>

#define JWK_BYTES_MAX (SKM_SEALED_JWK_BYTES - crypto_box_SEALBYTES)

rpc_code skm_not_for_you(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_PERMISSION_DENIED,
        "there are no such keys for this certificate and token; the operator enrols SKM-Cs "
        "(skms.v1.Admin/CreateEnrolment), a VAL server's token needs scope seal.km or seal.kp, and "
        "its SKeyProv names the VAL services whose keys it may bring");
}

/* In locked memory; NULL: none is left, or the record is damaged. */
static uint8_t *unseal(const skm_state *state, const skm__set *set, const skm__key *key)
{
    char identity[SKM__IDENTITY_MAX];
    skm__identity("key", set->service->name, set->purpose, key->kid, identity);
    uint8_t *seed = key->has_seed ? skm_locked_malloc(SKM__SEED_BYTES, state->allow_unlocked)
                                  : NULL;
    if (seed && !skm_unseal(state->vault, identity,
                    rpc_bytes_of(key->sealed_seed, sizeof key->sealed_seed), seed)) {
        sodium_free(seed);
        seed = NULL;
    }
    return seed;
}

static rpc_code cannot_unseal(const skm__key *key, rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_UNAVAILABLE,
        "key '%s' cannot be unsealed: locked memory is short (LimitMEMLOCK= of skmsd), or its "
        "record is damaged; see skmsd --store-check",
        key->kid);
}

/* ---- to its owner -------------------------------------------------------------------------------
 */

/* The private JWK, in a buffer of JWK_BYTES_MAX in locked memory; its size, 0: it does not fit. */
static size_t write_jwk(
    const skm__set *set, const skm__key *key, const uint8_t *seed, char *ret, size_t room)
{
    char x[64], d[64];
    sodium_bin2base64(x, sizeof x, key->public_key, sizeof key->public_key,
        sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_bin2base64(d, sizeof d, seed, SKM__SEED_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    const int size = snprintf(ret, room,
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\",\"d\":\"%s\",\"use\":\"sig\","
        "\"alg\":\"EdDSA\",\"kid\":\"%s\",\"dacm_purpose\":\"%s\",\"nbf\":%lld,\"exp\":%lld}",
        x, d, key->kid, set->purpose == SKM_FOR_TOKENS ? "token" : "manifest",
        (long long)key->life.signs_from, (long long)key->life.signs_until);
    sodium_memzero(d, sizeof d);
    return size > 0 && (size_t)size < room ? (size_t)size : 0;
}

static rpc_code seal_to_owner(const skm_state *state, const skm__set *set, const skm__key *key,
    const skm__enrolment *owner, skm_released_key *ret, rpc_status *reterr)
{
    uint8_t *seed = unseal(state, set, key);
    char *jwk = skm_locked_malloc(JWK_BYTES_MAX, state->allow_unlocked);
    const size_t size = seed && jwk ? write_jwk(set, key, seed, jwk, JWK_BYTES_MAX) : 0;
    if (size > 0 &&
        crypto_box_seal(ret->sealed_jwk, (const uint8_t *)jwk, size, owner->sealing_key) == 0)
        ret->sealed_size = size + crypto_box_SEALBYTES;
    sodium_free(jwk);
    sodium_free(seed);
    return ret->sealed_size ? RPC_OK : cannot_unseal(key, reterr);
}

static rpc_code release_key(const skm_state *state, const skm__set *set, const skm__key *key,
    const skm__enrolment *owner, skm_release *ret, rpc_status *reterr)
{
    skm_released_key *released = &ret->keys[ret->count++];
    memcpy(released->kid, key->kid, sizeof released->kid);
    released->signs_from = key->life.signs_from;
    released->signs_until = key->life.signs_until;
    return set->service->policy.delegated ? RPC_OK
                                          : seal_to_owner(state, set, key, owner, released, reterr);
}

static rpc_code release(const skm_state *state, const skm__member *member, const skm__set *set,
    skm_release *ret, rpc_status *reterr)
{
    const int64_t now = skm__now_s(state);
    rpc_code code = RPC_OK;
    memcpy(ret->service, set->service->name, sizeof ret->service);
    memcpy(ret->san, member->enrolment->san, sizeof ret->san);
    ret->version = set->version;
    for (size_t i = 0; code == RPC_OK && i < set->count && ret->count < SKM_RELEASED_MAX; i++) {
        const skm_key_state key_state = skm_life_state(
            &set->service->policy, &set->keys[i]->life, now);
        if (key_state == SKM_ACTIVE || key_state == SKM_PRE_PUBLISHED)
            code = release_key(state, set, set->keys[i], member->enrolment, ret, reterr);
    }
    if (code == RPC_OK && ret->count == 0)
        code = rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "no key of the set signs now or next; provision one, or see the log of skmsd");
    return code;
}

/* Of the service that is named, or else of the only one, or the one that has kid. Who is enrolled
 * with none learns nothing. Under lock for reading. */
static rpc_code find_member(const skm_state *state, const skm_caller *caller, const char *service,
    skm_purpose purpose, const char *kid, const skm__member **ret, rpc_status *reterr)
{
    bool several = false;
    *ret = skm__member_find(state, caller, service);
    if (!*ret && !service[0])
        *ret = skm__member_by_kid(state, caller, purpose, kid, &several);
    if (*ret)
        return RPC_OK;
    return several ? rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                         "val_service: this certificate is enrolled with several VAL services; "
                         "name the one whose key is meant")
                   : skm_not_for_you(reterr);
}

rpc_code skm_keys_release(skm_state *state, const skm_caller *caller, const char *service,
    skm_purpose purpose, skm_release *ret, rpc_status *reterr)
{
    memset(ret, 0, sizeof *ret);
    pthread_rwlock_rdlock(&state->lock);
    const skm__member *member = NULL;
    rpc_code code = find_member(state, caller, service, purpose, "", &member, reterr);
    const skm__set *set = member ? member->service->sets[purpose] : NULL;
    if (code == RPC_OK)
        code = set ? release(state, member, set, ret, reterr) : skm_not_for_you(reterr);
    pthread_rwlock_unlock(&state->lock);
    return code;
}

void skm_release_kids(const skm_release *release, char ret[SKM_RELEASED_KIDS_BYTES])
{
    size_t size = 0;
    ret[0] = '\0';
    for (size_t i = 0; i < release->count; i++)
        size += (size_t)snprintf(
            ret + size, SKM_RELEASED_KIDS_BYTES - size, "%s%s", i ? " " : "", release->keys[i].kid);
}

/* ---- signing here -------------------------------------------------------------------------------
 */

static trust_signer *unseal_signer(const skm_state *state, const skm__set *set, const skm__key *key)
{
    trust_signer *signer = NULL;
    uint8_t *seed = unseal(state, set, key);
    if (seed &&
        trust_signer_from_seed(seed, skm__trust_purpose(set->purpose), &signer, NULL) == RPC_OK &&
        !state->allow_unlocked && !skm_locked(trust_signer_seed(signer), SKM__SEED_BYTES)) {
        trust_signer_free(signer);
        signer = NULL;
    }
    sodium_free(seed);
    return signer;
}

/* Who unseals it the same time as another throws his own away. */
static trust_signer *signer_of(const skm_state *state, const skm__set *set, skm__key *key)
{
    trust_signer *signer = atomic_load(&key->signer);
    if (signer)
        return signer;
    trust_signer *mine = unseal_signer(state, set, key);
    if (mine && !atomic_compare_exchange_strong(&key->signer, &signer, mine)) {
        trust_signer_free(mine);
        mine = signer;
    }
    return mine;
}

static rpc_code find_key(const skm_state *state, const skm__set *set, const char *kid,
    skm__key **ret, rpc_status *reterr)
{
    skm_key_life lives[SKM_LIFE_KEYS_MAX];
    const int64_t now = skm__now_s(state);
    const size_t count = skm__lives(set, lives);
    if (!kid[0]) {
        const skm_life life = skm_life_judge(&set->service->policy, lives, count, now);
        if (life.signer != SKM_NOBODY) {
            *ret = set->keys[life.signer];
            return RPC_OK;
        }
        return rpc_status_set(
            reterr, RPC_FAILED_PRECONDITION, "no key of the set signs now; see the log of skmsd");
    }
    for (size_t i = 0; i < count; i++)
        if (strcmp(set->keys[i]->kid, kid) == 0) {
            *ret = set->keys[i];
            return skm_life_state(&set->service->policy, &lives[i], now) == SKM_ACTIVE
                       ? RPC_OK
                       : rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                             "kid: that key does not sign now; leave kid out for the one that "
                             "does");
        }
    return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
        "kid: the set has no such key; leave kid out for the one that signs");
}

static rpc_code sign(skm_state *state, const skm__set *set, const char *kid, rpc_bytes message,
    char ret_kid[TRUST_KID_MAX + 1], uint8_t ret_signature[SKM_SIGNATURE_BYTES],
    skm_announce *ret_more, rpc_status *reterr)
{
    skm__key *key = NULL;
    uint8_t signature[TRUST_SIGNATURE_MAX];
    size_t size = 0;
    rpc_code code = find_key(state, set, kid, &key, reterr);
    if (code != RPC_OK)
        return code;
    const trust_signer *signer = signer_of(state, set, key);
    if (!signer)
        return cannot_unseal(key, reterr);
    if (!skm__signature_claim(set, key, ret_more))
        return rpc_status_set(
            reterr, RPC_ABORTED, "the audit trail does not know yet that '%s' signs", key->kid);
    code = trust_signer_sign(signer, message, signature, &size, reterr);
    if (code != RPC_OK)
        return code;
    memcpy(ret_signature, signature, SKM_SIGNATURE_BYTES);
    memcpy(ret_kid, key->kid, sizeof key->kid);
    atomic_fetch_add(&key->signatures, 1);
    host_counter_add(state->signatures, 1);
    return RPC_OK;
}

/* Under lock for reading. */
static rpc_code find_own_set(const skm_state *state, const skm_caller *caller, const char *service,
    skm_purpose purpose, const char *kid, const skm__set **ret, rpc_status *reterr)
{
    const skm__member *member = NULL;
    const rpc_code code = find_member(state, caller, service, purpose, kid, &member, reterr);
    if (code != RPC_OK)
        return code;
    *ret = member->service->policy.delegated ? member->service->sets[purpose] : NULL;
    return *ret ? RPC_OK : skm_not_for_you(reterr);
}

rpc_code skm_sign(skm_state *state, const skm_caller *caller, const char *service,
    skm_purpose purpose, const char *kid, rpc_bytes message, char ret_kid[TRUST_KID_MAX + 1],
    uint8_t ret_signature[SKM_SIGNATURE_BYTES], skm_announce *ret_more, rpc_status *reterr)
{
    ret_more->needed = false;
    if (message.size == 0 || message.size > SKM_SIGN_BYTES_MAX)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "message: must have 1 to %u bytes; sign a digest of more", SKM_SIGN_BYTES_MAX);
    pthread_rwlock_rdlock(&state->lock);
    const skm__set *set = NULL;
    rpc_code code = find_own_set(state, caller, service, purpose, kid, &set, reterr);
    if (code == RPC_OK)
        code = sign(state, set, kid, message, ret_kid, ret_signature, ret_more, reterr);
    pthread_rwlock_unlock(&state->lock);
    return code;
}
