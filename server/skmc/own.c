/* SPDX-License-Identifier: Apache-2.0 */
/* The keys that the server signs with: enrolling, getting their private halves, and the snapshot
 * of those that the verified set has. All on the client's thread, but for skmc__sign(). */
#include "skmc_internal.h"

#include "cleanup.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_AGAIN_MS 5000 /* for a token of the operator */
#define ASK_AGAIN_MS  5000 /* for private halves, because Sign was refused */
#define BACKOFF_MS    200
#define NEVER         INT64_MAX

RPC_DEFINE_FREEP(ring_freep, trust_keyring *, trust_keyring_unref)

static void json_freep(json_t **json)
{
    json_decref(*json);
}

Skms__V1__Purpose skmc__wire_purpose(trust_purpose purpose)
{
    return purpose == TRUST_FOR_TOKENS ? SKMS__V1__PURPOSE__PURPOSE_TOKENS
                                       : SKMS__V1__PURPOSE__PURPOSE_MANIFESTS;
}

/* ---- the snapshot -----------------------------------------------------------------------------
 */

typedef struct making {
    trust_signer *signers[TRUST_KEYS_MAX];
    size_t count;
    int64_t until;
    bool missing;
} making;

static void making_drop(making *m)
{
    for (size_t i = 0; i < m->count; i++)
        trust_signer_free(m->signers[i]);
}

static rpc_code add_signer(skmc *s, const trust_key *key, making *m, rpc_status *reterr)
{
    trust_signer *signer = NULL;
    const trust_purpose purpose = s->options.purpose;
    const skmc__held *held = skmc__held_find(s, trust_key_kid(key));
    rpc_code code = RPC_OK;
    if (held)
        code = trust_signer_of_key(key, held->seed, purpose, &signer, reterr);
    else if (json_is_true(json_object_get(s->kept, "delegated")))
        code = trust_signer_remote(key, purpose, skmc__sign, s, &signer, reterr);
    if (signer)
        m->signers[m->count++] = signer;
    else if (code == RPC_OK)
        m->missing = true;
    return code;
}

static rpc_code add_signers(skmc *s, const trust_keyring *ring, making *m, rpc_status *reterr)
{
    const json_t *keys = json_object_get(s->own->set, "keys");
    uint8_t point[SKMC__POINT_BYTES];
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < json_array_size(keys); i++) {
        const json_t *jwk = json_array_get(keys, i);
        const char *kid = json_string_value(json_object_get(jwk, "kid"));
        const trust_key *key = trust_keyring_find(ring, rpc_bytes_str(kid));
        const int64_t until = json_integer_value(json_object_get(jwk, "exp"));
        const size_t before = m->count;
        if (key && skmc__signs_once(s, kid, point))
            code = add_signer(s, key, m, reterr);
        if (m->count > before && until > m->until)
            m->until = until;
    }
    return code;
}

static rpc_code make_keys(skmc *s, making *m, skmc_keys **ret, rpc_status *reterr)
{
    RPC_AUTOFREE char *jwks = NULL;
    RPC_CLEANUP(ring_freep) trust_keyring *ring = NULL;
    trust_signers *signers = NULL;
    rpc_code code = skmc__ring_of(s, s->own, &jwks, &ring, reterr);
    if (code == RPC_OK && s->options.acceptable &&
        !s->options.acceptable(s->options.ctx, s->val_service, ring, reterr))
        code = RPC_INVALID_ARGUMENT;
    if (code == RPC_OK)
        code = add_signers(s, ring, m, reterr);
    if (code == RPC_OK)
        code = trust_signers_of(m->signers, m->count, &signers, reterr);
    if (code != RPC_OK) {
        making_drop(m);
        return code;
    }
    code = skmc__keys_new(signers, ring, jwks, ret, reterr);
    if (code == RPC_OK)
        ring = NULL;
    else
        trust_signers_free(signers);
    return code;
}

static void put_in_place(skmc *s, skmc_keys *keys, int64_t until)
{
    pthread_mutex_lock(&s->lock);
    skmc_keys *old = s->keys;
    s->keys = keys;
    s->signs_until = until;
    pthread_cond_broadcast(&s->settled); /* somebody waits for others */
    pthread_mutex_unlock(&s->lock);
    skmc_keys_unref(old);
    if (s->options.changed)
        s->options.changed(s->options.ctx, s->val_service);
}

void skmc__own_publish(skmc *s)
{
    skmc_keys *keys = NULL;
    making m = {.count = 0};
    rpc_status why;
    if (!s->own->set)
        return;
    skmc__held_renew(s);
    if (make_keys(s, &m, &keys, &why) == RPC_OK) {
        s->missing = m.missing;
        put_in_place(s, keys, m.until);
        if (!m.missing)
            skmc__settle(s);
        return;
    }
    host_counter_add(s->sets_refused, 1);
    HOST_LOG(s->options.log, HOST_ERROR, "skms: the key set is not used; the last one stays",
        host_text("val_service", s->val_service), host_text("why", why.message));
}

/* ---- enrolling --------------------------------------------------------------------------------
 */

/* The token, without the white space around it. NULL: there is none that was not tried. */
static char *read_token(skmc *s, uint8_t ret_sha256[32], rpc_status *reterr)
{
    char *text = NULL, used[2 * 32 + 1];
    size_t size = 0;
    reterr->code = RPC_OK;
    if (!s->enrolment_file[0] || program_key_file_read("skms.enrolment_file", s->enrolment_file,
                                     SKMC__TOKEN_BYTES_MAX, &text, &size, reterr) != RPC_OK)
        return NULL;
    char *from = text + strspn(text, " \t\r\n");
    from[strcspn(from, " \t\r\n")] = '\0';
    memmove(text, from, strlen(from) + 1);
    trust_sha256(rpc_bytes_str(text), ret_sha256);
    rpc_hex(rpc_bytes_of(ret_sha256, 32), used);
    const char *before = json_string_value(json_object_get(s->kept, "token_sha256"));
    const bool again = (before && strcmp(before, used) == 0) ||
                       (s->token_refused && memcmp(s->refused_sha256, ret_sha256, 32) == 0);
    if (text[0] && !again)
        return text;
    program_file_done(text, size);
    return NULL;
}

static rpc_code judge_enrolment(
    const skmc *s, const Skms__V1__EnrolResponse *answer, rpc_status *reterr)
{
    bool fits = false;
    for (size_t i = 0; i < answer->n_purposes; i++)
        fits = fits || answer->purposes[i] == skmc__wire_purpose(s->options.purpose);
    if (strcmp(answer->val_service, s->val_service) != 0)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "the token is of VAL service '%.150s', and this server is '%.150s'; ask the operator "
            "for one of the right service",
            answer->val_service, s->val_service);
    return fits ? RPC_OK
                : rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                      "VAL service '%.200s' has no keys for %s at the SKM-S; its operator adds the "
                      "purpose",
                      s->val_service, trust_keyset_purpose_name(s->options.purpose));
}

static rpc_code keep_enrolment(skmc *s, const Skms__V1__EnrolResponse *answer,
    const uint8_t token_sha256[32], rpc_status *reterr)
{
    char used[2 * 32 + 1];
    rpc_hex(rpc_bytes_of(token_sha256, 32), used);
    RPC_CLEANUP(json_freep) json_t *next = json_deep_copy(s->kept);
    if (!next)
        return skmc__no_memory(reterr);
    const rpc_code code = s->issuer ? RPC_OK : skmc__pin(s, answer->root, reterr);
    if (code != RPC_OK)
        return code;
    if (json_object_set_new(next, "token_sha256", json_string(used)) != 0 ||
        json_object_set_new(next, "val_service", json_string(answer->val_service)) != 0 ||
        json_object_set_new(next, "delegated", json_boolean(answer->delegated)) != 0 ||
        json_object_update(s->kept, next) != 0)
        return skmc__no_memory(reterr);
    s->unsaved = true;
    skmc__save(s);
    return RPC_OK;
}

static rpc_code enrol(skmc *s, char *token, const uint8_t token_sha256[32], rpc_status *reterr)
{
    Skms__V1__EnrolRequest request = SKMS__V1__ENROL_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    rpc_message *memory = NULL;
    request.token = token;
    request.sealing_key = (ProtobufCBinaryData){
        sizeof s->sealing.public_key, s->sealing.public_key};
    rpc_code code = skmc__ask(
        s, "Enrol", &request.base, &skms__v1__enrol_response__descriptor, &answer, &memory, reterr);
    if (code == RPC_OK)
        code = judge_enrolment(s, (const Skms__V1__EnrolResponse *)answer, reterr);
    if (code == RPC_OK)
        code = keep_enrolment(s, (const Skms__V1__EnrolResponse *)answer, token_sha256, reterr);
    rpc_message_release(memory);
    return code;
}

static void complain(skmc *s, bool *told, const char *message, const rpc_status *why)
{
    if (!*told && why->code != RPC_CANCELLED)
        HOST_LOG(s->options.log, HOST_ERROR, message, host_text("val_service", s->val_service),
            host_text("code", rpc_code_name(why->code)), host_text("why", why->message));
    *told = true;
    skmc__settle(s);
}

/* What was refused before is asked again at once. */
static void set_admitted(skmc *s)
{
    pthread_mutex_lock(&s->lock);
    s->denied = false;
    s->ask_due_us = 0;
    pthread_mutex_unlock(&s->lock);
}

/* What is not good now will not be later; what was not heard is said again. */
static bool is_final(rpc_code code)
{
    return code == RPC_UNAUTHENTICATED || code == RPC_FAILED_PRECONDITION ||
           code == RPC_INVALID_ARGUMENT || code == RPC_PERMISSION_DENIED;
}

static void enrolled(skmc *s)
{
    HOST_LOG(s->options.log, HOST_INFO, "skms: enrolled with the SKM-S",
        host_text("val_service", s->val_service));
    s->enrol_complained = s->token_refused = false;
    s->enrol_wait_ms = s->fetch_wait_ms = BACKOFF_MS;
    s->fetch_due_us = 0;
    s->fetch_complained = false;
    set_admitted(s);
    skmc__own_publish(s); /* it may be delegated now */
}

static void try_enrol(skmc *s)
{
    uint8_t sha256[32];
    rpc_status why = {.code = RPC_OK};
    char *token = read_token(s, sha256, &why);
    if (!token) {
        if (!s->issuer)
            complain(s, &s->enrol_complained,
                "skms: not enrolled; ask the operator of the SKM-S for a token and put it into "
                "skms.enrolment_file",
                &why);
        s->enrol_due_us = skmc__now_us(s) + LOOK_AGAIN_MS * (int64_t)1000;
        return;
    }
    const rpc_code code = enrol(s, token, sha256, &why);
    program_file_done(token, strlen(token));
    s->enrol_due_us = skmc__later(s, &s->enrol_wait_ms);
    if (code == RPC_OK) {
        enrolled(s);
        return;
    }
    if (is_final(code)) {
        memcpy(s->refused_sha256, sha256, sizeof sha256);
        s->token_refused = true;
        s->enrol_complained = false;
    }
    complain(s, &s->enrol_complained, "skms: enrolling failed", &why);
}

/* ---- getting private halves -------------------------------------------------------------------
 */

/* Do all of them stay at the SKM-S? An answer without any says nothing of it. */
static void note_delegation(skmc *s, const Skms__V1__GetSigningKeyResponse *answer)
{
    bool delegated = true;
    for (size_t i = 0; i < answer->n_keys; i++)
        delegated = delegated && answer->keys[i]->sealed_jwk.len == 0;
    json_t *flag = json_object_get(s->kept, "delegated");
    if (answer->n_keys == 0 || json_is_true(flag) == delegated)
        return;
    if (json_object_set_new(s->kept, "delegated", json_boolean(delegated)) == 0)
        s->unsaved = true;
}

rpc_code skmc__own_take(skmc *s, const Skms__V1__GetSigningKeyResponse *answer, rpc_status *reterr)
{
    if (answer->n_keys > SKMC__SEALED_MAX)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "%zu keys; none are taken", answer->n_keys);
    for (size_t i = 0; i < answer->n_keys; i++) {
        const Skms__V1__SealedKey *key = answer->keys[i];
        if (key->sealed_jwk.len > 0)
            skmc__held_take(s, key->kid, rpc_bytes_of(key->sealed_jwk.data, key->sealed_jwk.len));
    }
    note_delegation(s, answer);
    skmc__own_publish(s);
    skmc__save(s);
    return s->missing ? rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                            "the key set has keys of ours that the SKM-S did not give")
                      : RPC_OK;
}

/* Where Sign is refused it may be that our keys are ours to have by now, or that we are enrolled no
 * more. True: it is asked at this moment. Any thread. */
static bool ask_again(skmc *s)
{
    pthread_mutex_lock(&s->lock);
    const bool due = skmc__now_us(s) >= s->ask_due_us;
    s->asked = s->asked || due;
    if (due)
        pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    return due;
}

/* When GetSigningKey is due; INT64_MAX: it is not. */
static int64_t fetch_due(skmc *s)
{
    pthread_mutex_lock(&s->lock);
    const int64_t asked = s->asked ? s->ask_due_us : NEVER;
    pthread_mutex_unlock(&s->lock);
    return s->missing && s->fetch_due_us < asked ? s->fetch_due_us : asked;
}

static void note_fetched(skmc *s, rpc_code code)
{
    pthread_mutex_lock(&s->lock);
    s->denied = code == RPC_PERMISSION_DENIED;
    s->asked = s->asked && code != RPC_OK;
    s->ask_due_us = skmc__now_us(s) + ASK_AGAIN_MS * (int64_t)1000;
    pthread_mutex_unlock(&s->lock);
}

static void fetch_keys(skmc *s)
{
    Skms__V1__GetSigningKeyRequest request = SKMS__V1__GET_SIGNING_KEY_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    rpc_message *memory = NULL;
    rpc_status why;
    request.val_service = s->val_service;
    request.purpose = skmc__wire_purpose(s->options.purpose);
    rpc_code code = skmc__ask(s, "GetSigningKey", &request.base,
        &skms__v1__get_signing_key_response__descriptor, &answer, &memory, &why);
    if (code == RPC_OK)
        code = skmc__own_take(s, (const Skms__V1__GetSigningKeyResponse *)answer, &why);
    rpc_message_release(memory);
    note_fetched(s, code);
    s->fetch_due_us = skmc__later(s, &s->fetch_wait_ms);
    if (code != RPC_OK) {
        complain(s, &s->fetch_complained,
            code == RPC_PERMISSION_DENIED
                ? "skms: the SKM-S gives us no keys; was our enrolment revoked? Those that are "
                  "here sign until they end. Put a new token into skms.enrolment_file"
                : "skms: the private halves of our keys do not come",
            &why);
        return;
    }
    s->fetch_complained = false;
    s->fetch_wait_ms = BACKOFF_MS;
    HOST_LOG(s->options.log, HOST_INFO, "skms: took the keys that sign now and next",
        host_text("val_service", s->val_service));
}

/* ---- what is due ------------------------------------------------------------------------------
 */

static bool is_denied(skmc *s)
{
    pthread_mutex_lock(&s->lock);
    const bool denied = s->denied;
    pthread_mutex_unlock(&s->lock);
    return denied;
}

/* A new token is looked for as long as it would help. */
static bool wants_enrolment(skmc *s)
{
    return !json_object_get(s->kept, "val_service") || is_denied(s);
}

int64_t skmc__own_tend(skmc *s)
{
    if (wants_enrolment(s) && skmc__now_us(s) >= s->enrol_due_us)
        try_enrol(s);
    if (skmc__now_us(s) >= fetch_due(s))
        fetch_keys(s);
    const int64_t fetch = fetch_due(s);
    return wants_enrolment(s) && s->enrol_due_us < fetch ? s->enrol_due_us : fetch;
}

/* ---- keys that stay at the SKM-S --------------------------------------------------------------
 */

static rpc_code ask_signature(skmc *s, const char *kid, rpc_bytes message, rpc_arena *arena,
    uint8_t ret_signature[64], rpc_status *reterr)
{
    Skms__V1__SignRequest request = SKMS__V1__SIGN_REQUEST__INIT;
    ProtobufCMessage *answer = NULL;
    request.val_service = s->val_service;
    request.purpose = skmc__wire_purpose(s->options.purpose);
    request.kid = (char *)(uintptr_t)kid;
    request.message = (ProtobufCBinaryData){message.size, (uint8_t *)(uintptr_t)message.data};
    /* twice the same signature harms nobody */
    const rpc_call_options options = {.timeout_ms = s->timeout_ms, .idempotent = true};
    const rpc_code code = rpc_channel_unary(s->channel, SKMC__SERVICE "Sign", &options,
        &request.base, &skms__v1__sign_response__descriptor, arena, &answer, reterr);
    if (code != RPC_OK)
        return code;
    const Skms__V1__SignResponse *signature = (const Skms__V1__SignResponse *)answer;
    if (signature->signature.len != crypto_sign_BYTES || strcmp(signature->kid, kid) != 0)
        return rpc_status_set(
            reterr, RPC_INTERNAL, "the SKM-S answers with something that is no signature of it");
    memcpy(ret_signature, signature->signature.data, crypto_sign_BYTES);
    return RPC_OK;
}

rpc_code skmc__sign_refused(skmc *s, const rpc_status *why, rpc_status *reterr)
{
    /* its turn is over there already, or it does not sign there any more */
    if (why->code == RPC_FAILED_PRECONDITION ||
        (why->code == RPC_PERMISSION_DENIED && ask_again(s)))
        return rpc_status_set(reterr, RPC_ABORTED, "%.300s", why->message);
    /* the caller's call is in order, whatever the SKM-S thinks of ours */
    return rpc_status_set(reterr, RPC_UNAVAILABLE, "the SKM-S does not sign: %s: %.300s",
        rpc_code_name(why->code), why->message);
}

rpc_code skmc__sign(
    void *ctx, const char *kid, rpc_bytes message, uint8_t ret_signature[64], rpc_status *reterr)
{
    skmc *s = ctx;
    rpc_status why = {.code = RPC_OK};
    rpc_arena *arena = rpc_arena_new(64u << 10);
    rpc_code code = arena ? ask_signature(s, kid, message, arena, ret_signature, &why)
                          : skmc__no_memory(&why);
    rpc_arena_free(arena);
    host_counter_add(code == RPC_OK ? s->signed_total : s->sign_failed, 1);
    why.code = code;
    return code == RPC_OK ? RPC_OK : skmc__sign_refused(s, &why, reterr);
}
