/* SPDX-License-Identifier: Apache-2.0 */
/* What is believed of the SKM-S is trust/pins.h's business; here is what of it the client has at
 * hand. */
#include "skmc_internal.h"

#include "cleanup.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- the root ---------------------------------------------------------------------------------
 */

rpc_code skmc__root_judge(const char *root_jwk, const char *fingerprint,
    char ret_fingerprint[TRUST_FINGERPRINT_SIZE], rpc_status *reterr)
{
    const rpc_code code = trust_root_read(rpc_bytes_str(root_jwk), ret_fingerprint, NULL, reterr);
    if (code != RPC_OK)
        return code;
    return !fingerprint[0] || trust_fingerprint_equal(ret_fingerprint, fingerprint)
               ? RPC_OK
               : rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                     "the root has the fingerprint %s, which is not that of "
                     "'skms.root_fingerprint'; ask the operator of the SKM-S which is right",
                     ret_fingerprint);
}

static rpc_code know_root(skmc *s, const trust_pins_roots *roots, rpc_status *reterr)
{
    if (roots->count > 1)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "'skms.directory': %s/trust.json has %zu SKM-Ss; it is for the one of skms.target. "
            "Give "
            "the server a folder of its own",
            s->folder.path, roots->count);
    char *issuer = roots->count ? strdup(roots->items[0].issuer) : NULL;
    if (roots->count && !issuer)
        return skmc__no_memory(reterr);
    free(s->issuer);
    s->issuer = issuer;
    s->replaced = roots->count ? roots->items[0].sequence : 0;
    return RPC_OK;
}

rpc_code skmc__pins_open(skmc *s, rpc_status *reterr)
{
    trust_pins_roots *roots = NULL;
    rpc_status why;
    if (trust_pins_list(s->folder.path, &roots, &why) != TRUST_PINS_OK)
        return rpc_status_set(
            reterr, RPC_FAILED_PRECONDITION, "'skms.directory': %.300s", why.message);
    const rpc_code code = know_root(s, roots, reterr);
    trust_pins_roots_free(roots);
    return code;
}

rpc_code skmc__pin(skmc *s, const char *root_jwk, rpc_status *reterr)
{
    char fingerprint[TRUST_FINGERPRINT_SIZE];
    rpc_status why;
    const rpc_code code = skmc__root_judge(root_jwk, s->root_fingerprint, fingerprint, reterr);
    if (code != RPC_OK)
        return code;
    const trust_pin pin = {.root = rpc_bytes_str(root_jwk), .fingerprint = fingerprint};
    if (trust_pins_add(s->folder.path, &pin, skmc__now_s(s), &why) != TRUST_PINS_OK)
        return rpc_status_text(reterr, why.code, why.message);
    return skmc__pins_open(s, reterr);
}

/* ---- sets -------------------------------------------------------------------------------------
 */

/* Takes set. */
static void know_set(skmc *s, skmc__watch *w, const trust_pins_kept *kept, json_t *set)
{
    json_decref(w->set);
    w->set = set;
    w->version = kept->version;
    pthread_mutex_lock(&s->lock);
    w->issued_at = kept->issued_at;
    w->expires_at = kept->expires_at;
    pthread_mutex_unlock(&s->lock);
}

void skmc__pins_read(skmc *s, skmc__watch *w)
{
    trust_pins_kept kept = {.jwks = NULL};
    if (trust_pins_get(s->folder.path, w->service, w->purpose, &kept, NULL) != TRUST_PINS_OK)
        return;
    json_t *set = json_loads(kept.jwks, 0, NULL);
    if (set)
        know_set(s, w, &kept, set);
    else
        HOST_LOG(s->options.log, HOST_ERROR, "skms: no memory for a key set that is kept",
            host_text("val_service", w->service));
    free(kept.jwks);
}

/* Statements and the set, with white space between. NULL: no memory. */
static char *join(const Skms__V1__KeySet *message)
{
    size_t size = strlen(message->jws) + 1;
    for (size_t i = 0; i < message->n_root_statements; i++)
        size += strlen(message->root_statements[i]) + 1;
    char *text = malloc(size);
    char *at = text;
    for (size_t i = 0; at && i < message->n_root_statements; i++) {
        at = stpcpy(at, message->root_statements[i]);
        *at++ = '\n';
    }
    if (at)
        stpcpy(at, message->jws);
    return text;
}

/* The file may be another one than when we saw that. */
static rpc_code judge_seen(
    const skmc__watch *w, const trust_pins_kept *kept, const json_t *set, rpc_status *reterr)
{
    if (kept->version < w->version)
        return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "key set %" PRIu64 " is an old one: %" PRIu64 " was seen before", kept->version,
            w->version);
    return kept->version > w->version || json_equal(set, w->set)
               ? RPC_OK
               : rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
                     "key set %" PRIu64
                     " was seen with other keys: two histories. Somebody else may have the root "
                     "of the SKM-S, or its store went back; ask its operator",
                     kept->version);
}

static rpc_code know(skmc *s, skmc__watch *w, const trust_pins_kept *kept, rpc_status *reterr)
{
    json_t *set = json_loads(kept->jwks, 0, NULL);
    const rpc_code code = set ? judge_seen(w, kept, set, reterr) : skmc__no_memory(reterr);
    if (code == RPC_OK)
        know_set(s, w, kept, set);
    else
        json_decref(set);
    return code;
}

rpc_code skmc__pins_take(
    skmc *s, skmc__watch *w, const Skms__V1__KeySet *message, bool *ret_newer, rpc_status *reterr)
{
    const trust_pins_asked asked = {
        .issuer = s->issuer, .service = w->service, .purpose = w->purpose};
    trust_pins_change change = {0};
    trust_pins_kept kept = {.jwks = NULL};
    rpc_status why;
    RPC_AUTOFREE char *text = join(message);
    if (!text)
        return skmc__no_memory(reterr);
    const trust_pins_code taken = trust_pins_take(s->folder.path, rpc_bytes_str(text), &asked,
        skmc__now_s(s), &s->pins, &change, &kept, &why);
    rpc_code code = taken == TRUST_PINS_OK || (taken == TRUST_PINS_FILE && kept.jwks)
                        ? RPC_OK
                        : rpc_status_text(reterr, why.code, why.message);
    if (code == RPC_OK)
        code = know(s, w, &kept, reterr);
    free(kept.jwks);
    s->unsaved = s->unsaved || s->pins.json;
    if (code == RPC_OK && change.roots > 0 && !s->pins.json)
        code = skmc__pins_open(s, reterr);
    *ret_newer = code == RPC_OK && change.sets + change.roots > 0;
    return code;
}

rpc_code skmc__pins_save(skmc *s, rpc_status *reterr)
{
    rpc_status why;
    if (!s->pins.json)
        return RPC_OK;
    return trust_pins_save(s->folder.path, &s->pins, &why) == TRUST_PINS_OK
               ? skmc__pins_open(s, reterr)
               : rpc_status_text(reterr, why.code, why.message);
}
