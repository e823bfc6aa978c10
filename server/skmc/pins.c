/* SPDX-License-Identifier: Apache-2.0 */
/* What is believed of the SKM-S is trust/pins.h's business; here is what of it the client has at
 * hand. */
#include "skmc_internal.h"

#include "cleanup.h"
#include "pins.h"

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

static rpc_code know(skmc *s, const trust_pins_roots *roots, rpc_status *reterr)
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
    const rpc_code code = know(s, roots, reterr);
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

static rpc_code know_set(skmc *s, skmc__watch *w, const trust_pins_kept *kept, rpc_status *reterr)
{
    json_t *set = json_loads(kept->jwks, 0, NULL);
    if (!set)
        return skmc__no_memory(reterr);
    json_decref(w->set);
    w->set = set;
    w->version = kept->version;
    pthread_mutex_lock(&s->lock);
    w->issued_at = kept->issued_at;
    w->expires_at = kept->expires_at;
    pthread_mutex_unlock(&s->lock);
    return RPC_OK;
}

void skmc__pins_read(skmc *s, skmc__watch *w)
{
    trust_pins_kept kept = {.jwks = NULL};
    rpc_status why;
    if (trust_pins_get(s->folder.path, w->service, w->purpose, &kept, &why) == TRUST_PINS_OK &&
        know_set(s, w, &kept, &why) != RPC_OK)
        HOST_LOG(s->options.log, HOST_ERROR, "skms: a key set that is kept is not used",
            host_text("val_service", w->service), host_text("why", why.message));
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

/* What could not be written, to be given again. */
static void keep_unsaved(skmc__watch *w, char *text)
{
    free(w->unsaved);
    w->unsaved = text;
}

static rpc_code take(skmc *s, skmc__watch *w, const char *text, bool *ret_newer, bool *ret_unsaved,
    rpc_status *reterr)
{
    const trust_pins_asked asked = {
        .issuer = s->issuer, .service = w->service, .purpose = w->purpose};
    trust_pins_change change = {0};
    trust_pins_kept kept = {.jwks = NULL};
    const uint64_t seen = w->version;
    trust_pins_code taken = trust_pins_take(
        s->folder.path, rpc_bytes_str(text), &asked, skmc__now_s(s), &change, &kept, reterr);
    *ret_unsaved = taken == TRUST_PINS_FILE && kept.jwks;
    rpc_code code = taken == TRUST_PINS_OK || *ret_unsaved ? RPC_OK : reterr->code;
    /* the file may not know what we have seen */
    if (code == RPC_OK && kept.version < seen)
        code = rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
            "key set %" PRIu64 " is an old one: %" PRIu64 " was seen before", kept.version, seen);
    if (code == RPC_OK)
        code = know_set(s, w, &kept, reterr);
    if (code == RPC_OK && change.roots > 0 && !*ret_unsaved)
        code = skmc__pins_open(s, reterr);
    free(kept.jwks);
    *ret_newer = code == RPC_OK && change.sets + change.roots > 0;
    return code;
}

rpc_code skmc__pins_take(
    skmc *s, skmc__watch *w, const Skms__V1__KeySet *message, bool *ret_newer, rpc_status *reterr)
{
    bool unsaved = false;
    rpc_status why;
    char *text = join(message);
    if (!text)
        return skmc__no_memory(reterr);
    const rpc_code code = take(s, w, text, ret_newer, &unsaved, &why);
    if (code != RPC_OK || !unsaved) {
        free(text);
        return code == RPC_OK ? code : rpc_status_text(reterr, code, why.message);
    }
    keep_unsaved(w, text);
    s->unsaved = true;
    return RPC_OK;
}

rpc_code skmc__pins_save(skmc *s, skmc__watch *w, rpc_status *reterr)
{
    const trust_pins_asked asked = {
        .issuer = s->issuer, .service = w->service, .purpose = w->purpose};
    trust_pins_change change = {0};
    if (!w->unsaved)
        return RPC_OK;
    const trust_pins_code code = trust_pins_update(
        s->folder.path, rpc_bytes_str(w->unsaved), &asked, skmc__now_s(s), &change, reterr);
    if (code == TRUST_PINS_FILE)
        return reterr->code;
    keep_unsaved(w, NULL); /* or it is too old by now: the next one comes */
    return code == TRUST_PINS_OK && change.roots > 0 ? skmc__pins_open(s, reterr) : RPC_OK;
}
