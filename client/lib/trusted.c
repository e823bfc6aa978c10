/* SPDX-License-Identifier: Apache-2.0 */
/* What may be kept of what an SKM-S says, and what is refused. */
#include "client_internal.h"
#include "cleanup.h"
#include "trust.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

RPC_DEFINE_FREEP(ring_freep, trust_keyring *, trust_keyring_unref)

static void json_freep(json_t **json)
{
    json_decref(*json);
}

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static int64_t number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static dacm_code no_memory(dacm_error *reterr)
{
    return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for key sets");
}

static int64_t now_of(const dacm_trust *trust)
{
    return rpc_clock_wall_ms(trust->clock ? trust->clock : rpc_clock_system()) / 1000;
}

const char *dacm_keys_for_name(dacm_keys_for purpose)
{
    return purpose == DACM_KEYS_FOR_TOKENS ? "tokens" : "manifests";
}

/* ---- the file's entries ----------------------------------------------------------------------
 */

static json_t *find_issuer(const client_trusted *trusted, const char *issuer)
{
    const json_t *issuers = json_object_get(trusted->json, "issuers");
    for (size_t i = 0; i < json_array_size(issuers); i++) {
        json_t *entry = json_array_get(issuers, i);
        if (strcmp(text_of(entry, "issuer"), issuer) == 0)
            return entry;
    }
    return NULL;
}

/* ret_index may be NULL. */
static json_t *find_set(
    const json_t *entry, const char *service, const char *purpose, size_t *ret_index)
{
    const json_t *sets = json_object_get(entry, "sets");
    for (size_t i = 0; i < json_array_size(sets); i++) {
        json_t *set = json_array_get(sets, i);
        if (strcmp(text_of(set, "service"), service) == 0 &&
            strcmp(text_of(set, "purpose"), purpose) == 0) {
            if (ret_index)
                *ret_index = i;
            return set;
        }
    }
    return NULL;
}

/* What was kept was judged before: that it cannot be read now is damage. */
static dacm_code ring_of(const json_t *object, trust_purpose purpose, uint64_t version,
    trust_keyring **ret, dacm_error *reterr)
{
    rpc_status status = {.message = "a key is missing"};
    RPC_CLEANUP(ring_freep) trust_keyring *ring = NULL;
    RPC_AUTOFREE char *text = json_dumps(object, JSON_COMPACT);
    const json_t *keys = json_object_get(object, "keys");
    if (!text)
        return no_memory(reterr);
    if (trust_keyring_parse(rpc_bytes_str(text), purpose, version, &ring, &status) != RPC_OK ||
        trust_keyring_count(ring) != (keys ? json_array_size(keys) : 1))
        return client__fail(reterr, DACM_LOCAL_FILE,
            "what is kept of an SKM-S is damaged: %s; remove it and pin its root again",
            status.message);
    *ret = RPC_TAKE(ring);
    return DACM_OK;
}

static dacm_code root_ring(const json_t *jwk, trust_keyring **ret, dacm_error *reterr)
{
    return ring_of(jwk, TRUST_FOR_KEY_SETS, 1, ret, reterr);
}

/* ---- add and remove --------------------------------------------------------------------------
 */

/* The root as it is kept, its fingerprint, and whose it is. */
static dacm_code read_pin(const dacm_trust_pin *pin, json_t **ret_root, char *ret_issuer,
    char ret_fingerprint[TRUST_FINGERPRINT_SIZE], dacm_error *reterr)
{
    rpc_status status;
    RPC_AUTOFREE char *jwk = NULL;
    if (trust_root_read(pin->root, ret_fingerprint, &jwk, &status) != RPC_OK)
        return client__fail(reterr, DACM_INVALID_ARGUMENT, "that is no root: %s", status.message);
    if (!pin->fingerprint)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "the root's fingerprint is %s; ask the operator of the SKM-S on another way whether "
            "that is right, then give it (fingerprint, --fingerprint)",
            ret_fingerprint);
    if (!trust_fingerprint_equal(ret_fingerprint, pin->fingerprint))
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "the root's fingerprint is %s, not the one that was given; ask the operator of the "
            "SKM-S on another way which is right",
            ret_fingerprint);
    RPC_CLEANUP(json_freep)
    json_t *said = trust_json_parse(pin->root, pin->root.size, "the root", NULL);
    const char *issuer = pin->issuer ? pin->issuer : text_of(said, "dacm_issuer");
    if (!issuer || !issuer[0])
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "the root does not say whose it is; name the SKM-S (its issuer URI)");
    if (strlen(issuer) > TRUST_SERVICE_BYTES_MAX ||
        rpc_printable_run(rpc_bytes_str(issuer)) != strlen(issuer) || strchr(issuer, ' '))
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "an SKM-S is named by 1 to 255 printable ASCII characters without white space");
    snprintf(ret_issuer, TRUST_SERVICE_BYTES_MAX + 1, "%s", issuer);
    *ret_root = json_loads(jwk, 0, NULL);
    return *ret_root ? DACM_OK : no_memory(reterr);
}

static dacm_code read_services(const dacm_trust_pin *pin, json_t **ret, dacm_error *reterr)
{
    RPC_CLEANUP(json_freep) json_t *services = json_array();
    if (pin->service_count > CLIENT_TRUSTED_SETS_MAX)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED, "at most %u services for a root",
            CLIENT_TRUSTED_SETS_MAX);
    for (size_t i = 0; i < pin->service_count; i++)
        if (json_array_append_new(services, json_string(pin->services[i])) != 0)
            return client__fail(
                reterr, DACM_INVALID_ARGUMENT, "the name of a service is not UTF-8");
    *ret = RPC_TAKE(services);
    return *ret ? DACM_OK : no_memory(reterr);
}

static dacm_code pin_root(client_trusted *trusted, const char *issuer, json_t *root,
    json_t *services, int64_t now, dacm_error *reterr)
{
    json_t *issuers = json_object_get(trusted->json, "issuers");
    json_t *entry = find_issuer(trusted, issuer);
    if (entry && !json_equal(json_object_get(entry, "root"), root))
        return client__fail(reterr, DACM_ALREADY_EXISTS,
            "another root of '%.200s' is pinned; if its SKM-S has replaced it, bring the statement "
            "of the old root (dacm trust update); to begin anew, remove it first",
            issuer);
    if (entry)
        return json_object_set(entry, "services", services) == 0 ? DACM_OK : no_memory(reterr);
    if (json_array_size(issuers) == CLIENT_TRUSTED_ISSUERS_MAX)
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED,
            "%u SKM-Ss are pinned, which is the most; remove one", CLIENT_TRUSTED_ISSUERS_MAX);
    json_t *made = json_pack("{s:s, s:O, s:i, s:I, s:O, s:[], s:[]}", "issuer", issuer, "root",
        root, "sequence", 0, "pinned_at", (json_int_t)now, "services", services, "followed",
        "sets");
    return made && json_array_append_new(issuers, made) == 0 ? DACM_OK : no_memory(reterr);
}

dacm_code dacm_trust_add(const dacm_trust *trust, const dacm_trust_pin *pin, dacm_error *reterr)
{
    char issuer[TRUST_SERVICE_BYTES_MAX + 1], fingerprint[TRUST_FINGERPRINT_SIZE];
    RPC_CLEANUP(json_freep) json_t *root = NULL;
    RPC_CLEANUP(json_freep) json_t *services = NULL;
    client_trusted trusted = {.lock = -1};
    dacm_code code = read_pin(pin, &root, issuer, fingerprint, reterr);
    if (code == DACM_OK)
        code = read_services(pin, &services, reterr);
    if (code == DACM_OK)
        code = client__trusted_open(trust, true, &trusted, reterr);
    if (code == DACM_OK)
        code = pin_root(&trusted, issuer, root, services, now_of(trust), reterr);
    if (code == DACM_OK)
        code = client__trusted_save(&trusted, reterr);
    client__trusted_close(&trusted);
    return code;
}

static dacm_code forget(client_trusted *trusted, const char *issuer, dacm_error *reterr)
{
    json_t *issuers = json_object_get(trusted->json, "issuers");
    for (size_t i = 0; i < json_array_size(issuers); i++)
        if (strcmp(text_of(json_array_get(issuers, i), "issuer"), issuer) == 0) {
            json_array_remove(issuers, i);
            return DACM_OK;
        }
    return client__fail(reterr, DACM_NOT_FOUND, "no root of '%.200s' is pinned", issuer);
}

dacm_code dacm_trust_remove(const dacm_trust *trust, const char *issuer, dacm_error *reterr)
{
    client_trusted trusted = {.lock = -1};
    dacm_code code = client__trusted_open(trust, true, &trusted, reterr);
    if (code == DACM_OK)
        code = forget(&trusted, issuer, reterr);
    if (code == DACM_OK)
        code = client__trusted_save(&trusted, reterr);
    client__trusted_close(&trusted);
    return code;
}

/* ---- root statements -------------------------------------------------------------------------
 */

static dacm_code keep_root(
    json_t *entry, uint64_t sequence, rpc_bytes statement, const char *new_root, dacm_error *reterr)
{
    json_t *followed = json_object_get(entry, "followed");
    json_t *kept = json_pack("{s:I, s:O, s:s%}", "sequence", (json_int_t)sequence, "before",
        json_object_get(entry, "root"), "statement", (const char *)statement.data, statement.size);
    if (!kept || json_array_append_new(followed, kept) != 0)
        return no_memory(reterr);
    if (json_array_size(followed) > CLIENT_TRUSTED_KEPT_MAX)
        json_array_remove(followed, 0);
    const bool kept_all = json_object_set_new(entry, "root", json_loads(new_root, 0, NULL)) == 0 &&
                          json_object_set_new(
                              entry, "sequence", json_integer((json_int_t)sequence)) == 0;
    return kept_all ? DACM_OK : no_memory(reterr);
}

static bool is_kept(const json_t *entry, rpc_bytes statement)
{
    const json_t *followed = json_object_get(entry, "followed");
    for (size_t i = 0; i < json_array_size(followed); i++)
        if (rpc_bytes_equal(
                rpc_bytes_str(text_of(json_array_get(followed, i), "statement")), statement))
            return true;
    return false;
}

/* Has a root that we followed signed another follower as well? */
static dacm_code judge_fork(
    const json_t *entry, const char *issuer, rpc_bytes statement, dacm_error *reterr)
{
    const json_t *followed = json_object_get(entry, "followed");
    for (size_t i = 0; i < json_array_size(followed); i++) {
        const json_t *kept = json_array_get(followed, i);
        const uint64_t sequence = (uint64_t)number_of(kept, "sequence");
        RPC_CLEANUP(ring_freep) trust_keyring *before = NULL;
        RPC_AUTOFREE char *other = NULL;
        const dacm_code code = root_ring(json_object_get(kept, "before"), &before, reterr);
        if (code != DACM_OK)
            return code;
        if (trust_root_follow(statement, before, issuer, sequence, &other, NULL) == TRUST_VALID)
            return client__fail(reterr, DACM_BAD_SIGNATURE,
                "a root of '%.200s' has signed two statements %" PRIu64
                ": two histories of keys. Somebody else has that root; ask the operator, and pin "
                "a new one by its fingerprint",
                issuer, sequence);
    }
    return DACM_OK;
}

static dacm_code refuse_statement(const json_t *entry, const char *issuer, rpc_bytes statement,
    uint64_t sequence, trust_verdict verdict, const rpc_status *why, dacm_error *reterr)
{
    const uint64_t at = (uint64_t)number_of(entry, "sequence");
    const dacm_code code = judge_fork(entry, issuer, statement, reterr);
    if (code != DACM_OK)
        return code;
    if (at > 0 && sequence > at + 1)
        return client__fail(reterr, DACM_FAILED_PRECONDITION,
            "root statement %" PRIu64 " of '%.200s' does not follow %" PRIu64
            "; bring those between as well",
            sequence, issuer, at);
    if (verdict != TRUST_NO_KEY || (at > 0 && sequence == at + 1))
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "root statement %" PRIu64 " of '%.200s' is not valid: %s", sequence, issuer,
            why->message);
    return DACM_OK; /* how the root that was pinned came to be: it concerns nobody here */
}

static dacm_code take_statement(json_t *entry, const char *issuer, rpc_bytes statement,
    uint64_t sequence, dacm_trust_change *change, dacm_error *reterr)
{
    RPC_CLEANUP(ring_freep) trust_keyring *root = NULL;
    RPC_AUTOFREE char *new_root = NULL;
    rpc_status why;
    if (is_kept(entry, statement)) {
        change->known++;
        return DACM_OK;
    }
    const dacm_code code = root_ring(json_object_get(entry, "root"), &root, reterr);
    if (code != DACM_OK)
        return code;
    /* A root that was pinned after its first replacement: its own number is not known. */
    const uint64_t at = (uint64_t)number_of(entry, "sequence");
    const uint64_t next = at == 0 ? sequence : at + 1;
    const trust_verdict verdict = trust_root_follow(statement, root, issuer, next, &new_root, &why);
    if (verdict != TRUST_VALID)
        return refuse_statement(entry, issuer, statement, sequence, verdict, &why, reterr);
    change->roots++;
    return keep_root(entry, next, statement, new_root, reterr);
}

/* ---- key sets --------------------------------------------------------------------------------
 */

static bool speaks_for(const json_t *entry, const char *service)
{
    const json_t *services = json_object_get(entry, "services");
    for (size_t i = 0; i < json_array_size(services); i++)
        if (strcmp(json_string_value(json_array_get(services, i)), service) == 0)
            return true;
    return json_array_size(services) == 0;
}

/* One service, one SKM-S: else whoever runs any of them could speak for all services. */
static dacm_code judge_service(
    const client_trusted *trusted, const json_t *entry, const trust_keyset *set, dacm_error *reterr)
{
    const json_t *issuers = json_object_get(trusted->json, "issuers");
    if (!speaks_for(entry, set->service))
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "'%.200s' was not pinned to speak for '%.200s'; if it shall, add its root again with "
            "that service",
            set->issuer, set->service);
    for (size_t i = 0; i < json_array_size(issuers); i++) {
        const json_t *other = json_array_get(issuers, i);
        const bool claimed = json_array_size(json_object_get(other, "services")) > 0 &&
                             speaks_for(other, set->service);
        if (other != entry && (claimed || find_set(other, set->service, "manifests", NULL) ||
                                  find_set(other, set->service, "tokens", NULL)))
            return client__fail(reterr, DACM_BAD_SIGNATURE,
                "'%.200s' says whose keys '%.200s' has, but that is for '%.200s' to say",
                set->issuer, set->service, text_of(other, "issuer"));
    }
    return DACM_OK;
}

static bool has_point(const json_t *keys, const char *x)
{
    for (size_t i = 0; i < json_array_size(keys); i++)
        if (strcmp(text_of(json_array_get(keys, i), "x"), x) == 0)
            return true;
    return false;
}

/* Is the key a root, or one that signs something else? */
static bool crosses(const client_trusted *trusted, const char *x, const char *purpose)
{
    const json_t *issuers = json_object_get(trusted->json, "issuers");
    for (size_t i = 0; i < json_array_size(issuers); i++) {
        const json_t *entry = json_array_get(issuers, i);
        const json_t *sets = json_object_get(entry, "sets");
        if (strcmp(text_of(json_object_get(entry, "root"), "x"), x) == 0)
            return true;
        for (size_t j = 0; j < json_array_size(sets); j++) {
            const json_t *set = json_array_get(sets, j);
            if (strcmp(text_of(set, "purpose"), purpose) != 0 &&
                has_point(json_object_get(set, "keys"), x))
                return true;
        }
    }
    return false;
}

static dacm_code judge_purposes(
    const client_trusted *trusted, const json_t *keys, const trust_keyset *set, dacm_error *reterr)
{
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const json_t *key = json_array_get(keys, i);
        if (crosses(trusted, text_of(key, "x"), trust_keyset_purpose_name(set->purpose)))
            return client__fail(reterr, DACM_BAD_SIGNATURE,
                "key '%.40s' of '%.200s' is known for another purpose; one key has one purpose",
                text_of(key, "kid"), set->service);
    }
    return DACM_OK;
}

/* OK with *ret_newer false: there is nothing to keep. */
static dacm_code judge_version(const json_t *kept, const json_t *keys, const trust_keyset *set,
    bool *ret_newer, dacm_error *reterr)
{
    const uint64_t seen = (uint64_t)number_of(kept, "version");
    *ret_newer = !kept || set->version > seen || set->issued_at > number_of(kept, "issued_at");
    if (!kept || set->version > seen)
        return DACM_OK;
    if (set->version < seen)
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "key set %" PRIu64 " of '%.200s' is an old one: %" PRIu64 " was seen before",
            set->version, set->service, seen);
    if (!json_equal(json_object_get(kept, "keys"), keys))
        return client__fail(reterr, DACM_BAD_SIGNATURE,
            "'%.150s' has signed two different key sets %" PRIu64
            " of '%.150s': two histories of keys. Somebody else may have its root, or its store "
            "went back; ask its operator",
            set->issuer, set->version, set->service);
    return DACM_OK;
}

static dacm_code keep_set(json_t *entry, const trust_keyset *set, json_t *keys, dacm_error *reterr)
{
    const char *purpose = trust_keyset_purpose_name(set->purpose);
    json_t *sets = json_object_get(entry, "sets");
    size_t index = 0;
    json_t *made = json_pack("{s:s, s:s, s:I, s:I, s:I, s:O}", "service", set->service, "purpose",
        purpose, "version", (json_int_t)set->version, "issued_at", (json_int_t)set->issued_at,
        "expires_at", (json_int_t)set->expires_at, "keys", keys);
    if (!made)
        return no_memory(reterr);
    const bool there = find_set(entry, set->service, purpose, &index) != NULL;
    if (!there && json_array_size(sets) == CLIENT_TRUSTED_SETS_MAX) {
        json_decref(made);
        return client__fail(reterr, DACM_RESOURCE_EXHAUSTED,
            "%u key sets of '%.200s' are kept, which is the most", CLIENT_TRUSTED_SETS_MAX,
            set->issuer);
    }
    const int failed = there ? json_array_set_new(sets, index, made)
                             : json_array_append_new(sets, made);
    return failed ? no_memory(reterr) : DACM_OK;
}

static dacm_code verify_set(const json_t *entry, const char *issuer, rpc_bytes jws, int64_t now,
    trust_keyset *ret, dacm_error *reterr)
{
    RPC_CLEANUP(ring_freep) trust_keyring *root = NULL;
    rpc_status why;
    const dacm_code code = root_ring(json_object_get(entry, "root"), &root, reterr);
    if (code != DACM_OK)
        return code;
    const trust_verdict verdict = trust_keyset_verify(jws, root, now, ret, &why);
    if (verdict == TRUST_NO_KEY)
        return client__fail(reterr, DACM_NO_KEY,
            "the key set is signed by another root of '%.200s' than the one that is pinned; if it "
            "was replaced, bring the statements of the old one (dacm trust update)",
            issuer);
    if (verdict != TRUST_VALID)
        return client__fail(reterr,
            why.code == RPC_FAILED_PRECONDITION ? DACM_FAILED_PRECONDITION : DACM_BAD_SIGNATURE,
            "the key set of '%.200s' is refused: %s", issuer, why.message);
    return DACM_OK;
}

static dacm_code take_set(const client_trusted *trusted, json_t *entry, const char *issuer,
    rpc_bytes jws, int64_t now, dacm_trust_change *change, dacm_error *reterr)
{
    trust_keyset set = {.jwks = NULL};
    dacm_code code = verify_set(entry, issuer, jws, now, &set, reterr);
    if (code != DACM_OK)
        return code;
    RPC_CLEANUP(json_freep) json_t *jwks = json_loads(set.jwks, 0, NULL);
    trust_keyset_done(&set);
    json_t *keys = json_object_get(jwks, "keys");
    const json_t *kept = find_set(entry, set.service, trust_keyset_purpose_name(set.purpose), NULL);
    bool newer = false;
    code = keys ? judge_service(trusted, entry, &set, reterr) : no_memory(reterr);
    if (code == DACM_OK)
        code = judge_version(kept, keys, &set, &newer, reterr);
    if (code == DACM_OK)
        code = judge_purposes(trusted, keys, &set, reterr);
    if (code != DACM_OK)
        return code;
    change->sets += newer;
    change->known += !newer;
    return newer ? keep_set(entry, &set, keys, reterr) : DACM_OK;
}

/* ---- update ----------------------------------------------------------------------------------
 */

static dacm_code take(const client_trusted *trusted, rpc_bytes jws, int64_t now,
    dacm_trust_change *change, dacm_error *reterr)
{
    char issuer[TRUST_SERVICE_BYTES_MAX + 1];
    uint64_t sequence = 0;
    const char *typ = trust_keyset_peek(jws, issuer, &sequence);
    if (!typ)
        return client__fail(reterr, DACM_INVALID_ARGUMENT,
            "that is neither a key set nor a root statement (JWS, with white space between)");
    json_t *entry = find_issuer(trusted, issuer);
    if (!entry)
        return client__fail(reterr, DACM_NO_KEY,
            "no root of '%.200s' is pinned; add it with its fingerprint (dacm trust add)", issuer);
    return strcmp(typ, TRUST_ROOT_TYP) == 0
               ? take_statement(entry, issuer, jws, sequence, change, reterr)
               : take_set(trusted, entry, issuer, jws, now, change, reterr);
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* The next word of text, which is moved behind it; empty at the end. */
static rpc_bytes next_word(rpc_bytes *text)
{
    size_t at = 0, size = 0;
    while (at < text->size && is_space(text->data[at]))
        at++;
    while (at + size < text->size && !is_space(text->data[at + size]))
        size++;
    const rpc_bytes word = rpc_bytes_of(text->data + at, size);
    *text = rpc_bytes_of(text->data + at + size, text->size - at - size);
    return word;
}

static dacm_code take_all(const client_trusted *trusted, rpc_bytes text, int64_t now,
    dacm_trust_change *change, dacm_error *reterr)
{
    dacm_code code = DACM_OK;
    bool any = false;
    for (rpc_bytes word; code == DACM_OK && (word = next_word(&text)).size > 0; any = true)
        code = take(trusted, word, now, change, reterr);
    if (code != DACM_OK)
        return code;
    if (!any)
        return client__fail(reterr, DACM_INVALID_ARGUMENT, "there is no key set in it");
    if (change->roots + change->sets + change->known == 0)
        return client__fail(reterr, DACM_NO_KEY,
            "these statements are of other roots than the one that is pinned (dacm trust list)");
    return DACM_OK;
}

dacm_code dacm_trust_update(
    const dacm_trust *trust, rpc_bytes text, dacm_trust_change *ret, dacm_error *reterr)
{
    client_trusted trusted = {.lock = -1};
    dacm_trust_change change = {0};
    dacm_code code = client__trusted_open(trust, true, &trusted, reterr);
    if (code == DACM_OK)
        code = take_all(&trusted, text, now_of(trust), &change, reterr);
    if (code == DACM_OK && change.roots + change.sets > 0)
        code = client__trusted_save(&trusted, reterr);
    client__trusted_close(&trusted);
    if (code == DACM_OK)
        *ret = change;
    return code;
}

/* ---- asking ----------------------------------------------------------------------------------
 */

static const json_t *set_of_service(
    const client_trusted *trusted, const char *service, const char *purpose)
{
    const json_t *issuers = json_object_get(trusted->json, "issuers");
    const json_t *set = NULL;
    for (size_t i = 0; !set && i < json_array_size(issuers); i++)
        set = find_set(json_array_get(issuers, i), service, purpose, NULL);
    return set;
}

static dacm_code judge_expired(const json_t *set, const char *service, bool take_expired,
    int64_t now, bool *ret, dacm_error *reterr)
{
    *ret = now - TRUST_SKEW_S > number_of(set, "expires_at");
    if (!*ret || take_expired)
        return DACM_OK;
    return client__fail(reterr, DACM_FAILED_PRECONDITION,
        "the newest key set of '%.200s' that is here has expired, so that nobody knows which of "
        "its keys were compromised since; bring a new one (dacm trust update)",
        service);
}

dacm_code dacm_trust_keys(const dacm_trust *trust, const char *service, dacm_keys_for purpose,
    bool take_expired, struct trust_keyring **ret, bool *ret_expired, dacm_error *reterr)
{
    client_trusted trusted = {.lock = -1};
    bool expired = false;
    dacm_code code = client__trusted_open(trust, false, &trusted, reterr);
    if (code != DACM_OK)
        return code;
    const json_t *set = set_of_service(&trusted, service, dacm_keys_for_name(purpose));
    if (!set)
        code = client__fail(reterr, DACM_NO_KEY,
            "there is no key set of '%.200s' (%s); pin the root of its SKM-S (dacm trust add) and "
            "bring its key set (dacm trust update)",
            service, dacm_keys_for_name(purpose));
    else
        code = judge_expired(set, service, take_expired, now_of(trust), &expired, reterr);
    if (code == DACM_OK)
        code = ring_of(set,
            purpose == DACM_KEYS_FOR_TOKENS ? TRUST_FOR_TOKENS : TRUST_FOR_MANIFESTS,
            (uint64_t)number_of(set, "version"), ret, reterr);
    if (code == DACM_OK)
        *ret_expired = expired;
    client__trusted_close(&trusted);
    return code;
}
