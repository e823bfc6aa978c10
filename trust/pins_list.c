/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept, for people to look at. The strings are those of the file's JSON. */
#include "pins_internal.h"
#include "trust_internal.h"

#include "cleanup.h"

#include <string.h>

static void roots_freep(trust_pins_roots **roots)
{
    trust_pins_roots_free(*roots);
}

void trust_pins_roots_free(trust_pins_roots *roots)
{
    if (!roots)
        return;
    for (size_t i = 0; i < roots->count; i++) {
        free((void *)(uintptr_t)roots->items[i].services);
        free((void *)(uintptr_t)roots->items[i].sets);
    }
    free(roots->items);
    json_decref(roots->memory);
    free(roots);
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static int64_t number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static bool list_services(const json_t *services, trust_pins_root *root)
{
    const size_t count = json_array_size(services);
    const char **texts = calloc(count ? count : 1, sizeof *texts);
    root->services = texts;
    for (size_t i = 0; texts && i < count; i++)
        texts[root->service_count++] = json_string_value(json_array_get(services, i));
    return texts != NULL;
}

static bool list_sets(const json_t *sets, trust_pins_root *root)
{
    const size_t count = json_array_size(sets);
    trust_pins_set *items = calloc(count ? count : 1, sizeof *items);
    root->sets = items;
    for (size_t i = 0; items && i < count; i++) {
        const json_t *set = json_array_get(sets, i);
        items[root->set_count++] = (trust_pins_set){
            .service = text_of(set, "service"),
            .purpose = strcmp(text_of(set, "purpose"), "tokens") == 0 ? TRUST_FOR_TOKENS
                                                                      : TRUST_FOR_MANIFESTS,
            .version = (uint64_t)number_of(set, "version"),
            .issued_at = number_of(set, "issued_at"),
            .expires_at = number_of(set, "expires_at"),
            .keys = json_array_size(json_object_get(set, "keys")),
        };
    }
    return items != NULL;
}

/* The fingerprint is put into the JSON, where it lives as long as the list. */
static bool list_fingerprint(json_t *entry, trust_pins_root *root)
{
    char fingerprint[TRUST_FINGERPRINT_SIZE];
    RPC_AUTOFREE char *jwk = json_dumps(json_object_get(entry, "root"), JSON_COMPACT);
    if (!jwk || trust_root_read(rpc_bytes_str(jwk), fingerprint, NULL, NULL) != RPC_OK ||
        json_object_set_new(entry, "fingerprint", json_string(fingerprint)) != 0)
        return false;
    root->fingerprint = text_of(entry, "fingerprint");
    return true;
}

trust_pins_code trust_pins_list(const char *folder, trust_pins_roots **ret, rpc_status *reterr)
{
    trust__pins pins = {.lock = -1};
    const trust_pins_code code = trust__pins_open(folder, false, &pins, reterr);
    if (code != TRUST_PINS_OK)
        return code;
    RPC_CLEANUP(roots_freep) trust_pins_roots *roots = calloc(1, sizeof *roots);
    const json_t *issuers = json_object_get(pins.json, "issuers");
    const size_t count = json_array_size(issuers);
    bool ok = roots && (roots->items = calloc(count ? count : 1, sizeof *roots->items));
    for (size_t i = 0; ok && i < count; i++) {
        json_t *entry = json_array_get(issuers, i);
        trust_pins_root *root = &roots->items[roots->count++];
        root->issuer = text_of(entry, "issuer");
        root->address = text_of(entry, "address");
        root->sequence = (uint64_t)number_of(entry, "sequence");
        root->pinned_at = number_of(entry, "pinned_at");
        ok = list_services(json_object_get(entry, "services"), root) &&
             list_sets(json_object_get(entry, "sets"), root) && list_fingerprint(entry, root);
    }
    if (ok) {
        roots->memory = json_incref(pins.json);
        *ret = RPC_TAKE(roots);
    }
    trust__pins_close(&pins);
    return ok ? TRUST_PINS_OK
              : trust__pins_fail(reterr, TRUST_PINS_FILE,
                    "no memory, or a pinned root is damaged; remove it and pin it again");
}

/* ---- who speaks for a service ----------------------------------------------------------------
 */

static bool is_named(const trust_pins_root *root, const char *service)
{
    for (size_t i = 0; i < root->service_count; i++)
        if (strcmp(root->services[i], service) == 0)
            return true;
    return false;
}

static bool has_set(const trust_pins_root *root, const char *service)
{
    for (size_t i = 0; i < root->set_count; i++)
        if (strcmp(root->sets[i].service, service) == 0)
            return true;
    return false;
}

const trust_pins_root *trust_pins_speaker(const trust_pins_roots *roots, const char *service)
{
    const trust_pins_root *any = NULL;
    bool many = false;
    for (size_t i = 0; i < roots->count; i++)
        if (is_named(&roots->items[i], service))
            return &roots->items[i];
    for (size_t i = 0; i < roots->count; i++) {
        const trust_pins_root *root = &roots->items[i];
        if (root->service_count > 0)
            continue;
        if (has_set(root, service))
            return root;
        many = any != NULL;
        any = root;
    }
    return many ? NULL : any;
}
