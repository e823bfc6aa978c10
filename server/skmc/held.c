/* SPDX-License-Identifier: Apache-2.0 */
/* The private halves that are held, in locked memory and, sealed as they came, among what is kept.
 * Each belongs to a public key of the verified set of now; what somebody else says of them takes
 * none away and puts none in the place of another. All on the client's thread. */
#include "skmc_internal.h"

#include <string.h>

const skmc__held *skmc__held_find(const skmc *s, const char *kid)
{
    for (size_t i = 0; i < s->held_count; i++)
        if (strcmp(s->held[i].kid, kid) == 0)
            return &s->held[i];
    return NULL;
}

/* ---- what the set says of a key ----------------------------------------------------------------
 */

static bool point_of(const json_t *jwk, uint8_t ret[SKMC__POINT_BYTES])
{
    const char *x = json_string_value(json_object_get(jwk, "x"));
    size_t size = 0;
    return x &&
           sodium_base642bin(ret, SKMC__POINT_BYTES, x, strlen(x), NULL, &size, NULL,
               sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
           size == SKMC__POINT_BYTES;
}

bool skmc__signs_once(const skmc *s, const char *kid, uint8_t ret_point[SKMC__POINT_BYTES])
{
    const json_t *keys = json_object_get(s->own->set, "keys");
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const json_t *key = json_array_get(keys, i);
        if (strcmp(json_string_value(json_object_get(key, "kid")), kid) == 0)
            return strcmp(json_string_value(json_object_get(key, "dacm_state")), "active") == 0 &&
                   json_integer_value(json_object_get(key, "exp")) >= skmc__now_s(s) &&
                   point_of(key, ret_point);
    }
    return false;
}

/* ---- taking one -------------------------------------------------------------------------------
 */

static rpc_code judge(
    const skmc *s, const uint8_t *seed, const uint8_t point[SKMC__POINT_BYTES], rpc_status *reterr)
{
    trust_signer *signer = NULL;
    rpc_code code = trust_signer_from_seed(seed, s->options.purpose, &signer, reterr);
    if (code == RPC_OK && memcmp(trust_signer_ed25519(signer), point, SKMC__POINT_BYTES) != 0)
        code = rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "the private half is not that of the key that the key set has under this kid");
    trust_signer_free(signer);
    return code;
}

static rpc_code hold(skmc *s, const char *kid, const uint8_t point[SKMC__POINT_BYTES],
    rpc_bytes sealed, rpc_status *reterr)
{
    uint8_t *seed = NULL;
    rpc_code code = s->held_count < SKMC__SEALED_MAX
                        ? skmc__unseal(&s->sealing, sealed, &seed, reterr)
                        : rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
                              "%u private keys are here, which is the most", SKMC__SEALED_MAX);
    if (code == RPC_OK)
        code = judge(s, seed, point, reterr);
    if (code != RPC_OK) {
        sodium_free(seed);
        return code;
    }
    skmc__held *held = &s->held[s->held_count++];
    (void)rpc_text_copy(held->kid, sizeof held->kid, kid); /* a set has no longer ones */
    memcpy(held->point, point, sizeof held->point);
    held->seed = seed;
    return RPC_OK;
}

/* Where memory is short it is held all the same, until the next start. */
static void keep(skmc *s, const char *kid, rpc_bytes sealed)
{
    char text[sodium_base64_ENCODED_LEN(
        SKMC__SEALED_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
    sodium_bin2base64(
        text, sizeof text, sealed.data, sealed.size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    if (json_array_append_new(json_object_get(s->kept, "sealed"),
            json_pack("{s:s, s:s}", "kid", kid, "jwk", text)) == 0)
        s->unsaved = true;
    else
        HOST_LOG(s->options.log, HOST_ERROR, "skms: no memory to keep a key of the SKM-S",
            host_text("kid", kid));
}

void skmc__held_take(skmc *s, const char *kid, rpc_bytes sealed)
{
    uint8_t point[SKMC__POINT_BYTES];
    rpc_status why;
    if (skmc__held_find(s, kid) || !skmc__signs_once(s, kid, point))
        return; /* it is here; or the set that has it comes, and then it is asked for */
    if (hold(s, kid, point, sealed, &why) != RPC_OK) {
        HOST_LOG(s->options.log, HOST_ERROR, "skms: a key of the SKM-S is not taken",
            host_text("kid", kid), host_text("why", why.message));
        return;
    }
    host_counter_add(s->keys_taken, 1);
    keep(s, kid, sealed);
}

/* ---- a new set --------------------------------------------------------------------------------
 */

static void drop_ended(skmc *s)
{
    uint8_t point[SKMC__POINT_BYTES];
    for (size_t i = s->held_count; i-- > 0;)
        if (!skmc__signs_once(s, s->held[i].kid, point) ||
            memcmp(s->held[i].point, point, sizeof point) != 0) {
            sodium_free(s->held[i].seed);
            s->held[i] = s->held[--s->held_count];
        }
}

static rpc_code open_kept(skmc *s, const json_t *entry, const char *kid,
    const uint8_t point[SKMC__POINT_BYTES], rpc_status *reterr)
{
    uint8_t bytes[SKMC__SEALED_BYTES];
    size_t size = 0;
    const char *text = json_string_value(json_object_get(entry, "jwk"));
    return sodium_base642bin(bytes, sizeof bytes, text, strlen(text), NULL, &size, NULL,
               sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0
               ? hold(s, kid, point, rpc_bytes_of(bytes, size), reterr)
               : rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "it is no base64url");
}

/* Is that entry one of a key that is held, now at the latest? */
static bool holds(skmc *s, const json_t *entry)
{
    uint8_t point[SKMC__POINT_BYTES];
    rpc_status why;
    const char *kid = json_string_value(json_object_get(entry, "kid"));
    if (skmc__held_find(s, kid))
        return true;
    if (!skmc__signs_once(s, kid, point))
        return false;
    if (open_kept(s, entry, kid, point, &why) == RPC_OK)
        return true;
    HOST_LOG(s->options.log, HOST_ERROR,
        "skms: a key that is kept cannot be used; it is asked for again", host_text("kid", kid),
        host_text("why", why.message));
    return false;
}

void skmc__held_renew(skmc *s)
{
    json_t *sealed = json_object_get(s->kept, "sealed");
    drop_ended(s);
    for (size_t i = json_array_size(sealed); i-- > 0;)
        if (!holds(s, json_array_get(sealed, i))) {
            json_array_remove(sealed, i);
            s->unsaved = true;
        }
}

void skmc__held_done(skmc *s)
{
    while (s->held_count > 0)
        sodium_free(s->held[--s->held_count].seed);
}
