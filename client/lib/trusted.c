/* SPDX-License-Identifier: Apache-2.0 */
/* Pinned roots in the terms of dacm.h. The rules and the file are trust/pins.c's. */
#include "client_internal.h"
#include "cleanup.h"
#include "pins.h"

static dacm_code code_of(trust_pins_code code)
{
    switch (code) {
    case TRUST_PINS_OK:
        return DACM_OK;
    case TRUST_PINS_INVALID:
        return DACM_INVALID_ARGUMENT;
    case TRUST_PINS_REFUSED:
        return DACM_BAD_SIGNATURE;
    case TRUST_PINS_NO_KEY:
        return DACM_NO_KEY;
    case TRUST_PINS_NOT_NOW:
        return DACM_FAILED_PRECONDITION;
    case TRUST_PINS_EXISTS:
        return DACM_ALREADY_EXISTS;
    case TRUST_PINS_NOT_FOUND:
        return DACM_NOT_FOUND;
    case TRUST_PINS_FULL:
        return DACM_RESOURCE_EXHAUSTED;
    case TRUST_PINS_FILE:
        return DACM_LOCAL_FILE;
    }
    return DACM_INTERNAL;
}

static dacm_code told(trust_pins_code code, const rpc_status *why, dacm_error *reterr)
{
    return code == TRUST_PINS_OK ? DACM_OK
                                 : client__fail(reterr, code_of(code), "%s", why->message);
}

static int64_t now_of(const dacm_trust *trust)
{
    return rpc_clock_wall_ms(trust->clock ? trust->clock : rpc_clock_system()) / 1000;
}

static trust_purpose purpose_of(dacm_keys_for purpose)
{
    return purpose == DACM_KEYS_FOR_TOKENS ? TRUST_FOR_TOKENS : TRUST_FOR_MANIFESTS;
}

const char *dacm_keys_for_name(dacm_keys_for purpose)
{
    return trust_keyset_purpose_name(purpose_of(purpose));
}

dacm_code dacm_trust_add(const dacm_trust *trust, const dacm_trust_pin *pin, dacm_error *reterr)
{
    rpc_status why;
    const trust_pin made = {.root = pin->root,
        .fingerprint = pin->fingerprint,
        .issuer = pin->issuer,
        .address = pin->address,
        .services = pin->services,
        .service_count = pin->service_count};
    return told(trust_pins_add(trust->folder, &made, now_of(trust), &why), &why, reterr);
}

dacm_code dacm_trust_remove(const dacm_trust *trust, const char *issuer, dacm_error *reterr)
{
    rpc_status why;
    return told(trust_pins_remove(trust->folder, issuer, &why), &why, reterr);
}

static dacm_code update(const dacm_trust *trust, rpc_bytes text, const trust_pins_asked *asked,
    dacm_trust_change *ret, dacm_error *reterr)
{
    rpc_status why;
    trust_pins_change change;
    const dacm_code code = told(
        trust_pins_update(trust->folder, text, asked, now_of(trust), &change, &why), &why, reterr);
    if (code == DACM_OK)
        *ret = (dacm_trust_change){
            .roots = change.roots, .sets = change.sets, .known = change.known};
    return code;
}

dacm_code dacm_trust_update(
    const dacm_trust *trust, rpc_bytes text, dacm_trust_change *ret, dacm_error *reterr)
{
    return update(trust, text, NULL, ret, reterr);
}

dacm_code client__trusted_answer(const dacm_trust *trust, rpc_bytes text, const char *issuer,
    const char *service, dacm_keys_for purpose, dacm_trust_change *ret, dacm_error *reterr)
{
    const trust_pins_asked asked = {issuer, service, purpose_of(purpose)};
    return update(trust, text, &asked, ret, reterr);
}

dacm_code dacm_trust_keys(const dacm_trust *trust, const char *service, dacm_keys_for purpose,
    bool take_expired, struct trust_keyring **ret, bool *ret_expired, dacm_error *reterr)
{
    rpc_status why;
    return told(trust_pins_keys(trust->folder, service, purpose_of(purpose), take_expired,
                    now_of(trust), ret, ret_expired, &why),
        &why, reterr);
}

/* ---- list ------------------------------------------------------------------------------------
 */

static void roots_freep(dacm_trust_roots **roots)
{
    dacm_trust_roots_free(*roots);
}

void dacm_trust_roots_free(dacm_trust_roots *roots)
{
    if (!roots)
        return;
    for (size_t i = 0; i < roots->count; i++)
        free((void *)(uintptr_t)roots->items[i].sets);
    free(roots->items);
    trust_pins_roots_free(roots->memory);
    free(roots);
}

static bool list_sets(const trust_pins_root *from, dacm_trust_root *root)
{
    dacm_trust_set *items = calloc(from->set_count ? from->set_count : 1, sizeof *items);
    root->sets = items;
    for (size_t i = 0; items && i < from->set_count; i++) {
        const trust_pins_set *set = &from->sets[i];
        items[root->set_count++] = (dacm_trust_set){
            .service = set->service,
            .purpose = set->purpose == TRUST_FOR_TOKENS ? DACM_KEYS_FOR_TOKENS
                                                        : DACM_KEYS_FOR_MANIFESTS,
            .version = set->version,
            .issued_at = set->issued_at,
            .expires_at = set->expires_at,
            .keys = set->keys,
        };
    }
    return items != NULL;
}

/* from becomes ret's, whose strings are its. */
static bool list_all(trust_pins_roots *from, dacm_trust_roots *ret)
{
    ret->memory = from;
    ret->items = calloc(from->count ? from->count : 1, sizeof *ret->items);
    bool ok = ret->items != NULL;
    for (size_t i = 0; ok && i < from->count; i++) {
        const trust_pins_root *root = &from->items[i];
        ret->items[ret->count++] = (dacm_trust_root){.issuer = root->issuer,
            .fingerprint = root->fingerprint,
            .address = root->address,
            .sequence = root->sequence,
            .pinned_at = root->pinned_at,
            .services = root->services,
            .service_count = root->service_count};
        ok = list_sets(root, &ret->items[i]);
    }
    return ok;
}

dacm_code dacm_trust_list(const dacm_trust *trust, dacm_trust_roots **ret, dacm_error *reterr)
{
    rpc_status why;
    trust_pins_roots *pinned = NULL;
    const dacm_code code = told(trust_pins_list(trust->folder, &pinned, &why), &why, reterr);
    if (code != DACM_OK)
        return code;
    RPC_CLEANUP(roots_freep) dacm_trust_roots *roots = calloc(1, sizeof *roots);
    if (!roots)
        trust_pins_roots_free(pinned);
    if (!roots || !list_all(pinned, roots))
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory to list roots");
    *ret = RPC_TAKE(roots);
    return DACM_OK;
}
