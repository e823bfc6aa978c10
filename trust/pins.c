/* SPDX-License-Identifier: Apache-2.0 */
/* What may be kept of what an SKM-S says, and what is refused. */
#include "pins_internal.h"
#include "trust_internal.h"

#include "cleanup.h"

#include <inttypes.h>
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

/* ---- the file's entries ----------------------------------------------------------------------
 */

static json_t *find_issuer(const trust__pins *pins, const char *issuer)
{
    const json_t *issuers = json_object_get(pins->json, "issuers");
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
static trust_pins_code ring_of(const json_t *object, trust_purpose purpose, uint64_t version,
    trust_keyring **ret, rpc_status *reterr)
{
    rpc_status status = {.message = "a key is missing"};
    RPC_CLEANUP(ring_freep) trust_keyring *ring = NULL;
    RPC_AUTOFREE char *text = json_dumps(object, JSON_COMPACT);
    const json_t *keys = json_object_get(object, "keys");
    if (!text)
        return trust__pins_no_memory(reterr);
    if (trust_keyring_parse(rpc_bytes_str(text), purpose, version, &ring, &status) != RPC_OK ||
        trust_keyring_count(ring) != (keys ? json_array_size(keys) : 1))
        return trust__pins_fail(reterr, TRUST_PINS_FILE,
            "what is kept of an SKM-S is damaged: %s; remove it and pin its root again",
            status.message);
    *ret = RPC_TAKE(ring);
    return TRUST_PINS_OK;
}

static trust_pins_code root_ring(const json_t *jwk, trust_keyring **ret, rpc_status *reterr)
{
    return ring_of(jwk, TRUST_FOR_KEY_SETS, 1, ret, reterr);
}

/* ---- add and remove --------------------------------------------------------------------------
 */

/* The root as it is kept, its fingerprint, and whose it is. */
static trust_pins_code read_pin(const trust_pin *pin, json_t **ret_root, char *ret_issuer,
    char ret_fingerprint[TRUST_FINGERPRINT_SIZE], rpc_status *reterr)
{
    rpc_status status;
    RPC_AUTOFREE char *jwk = NULL;
    if (trust_root_read(pin->root, ret_fingerprint, &jwk, &status) != RPC_OK)
        return trust__pins_fail(reterr, TRUST_PINS_INVALID, "that is no root: %s", status.message);
    if (!pin->fingerprint)
        return trust__pins_fail(reterr, TRUST_PINS_INVALID,
            "the root's fingerprint is %s; ask the operator of the SKM-S on another way whether "
            "that is right, then give it (fingerprint, --fingerprint)",
            ret_fingerprint);
    if (!trust_fingerprint_equal(ret_fingerprint, pin->fingerprint))
        return trust__pins_fail(reterr, TRUST_PINS_REFUSED,
            "the root's fingerprint is %s, not the one that was given; ask the operator of the "
            "SKM-S on another way which is right",
            ret_fingerprint);
    RPC_CLEANUP(json_freep)
    json_t *said = trust_json_parse(pin->root, pin->root.size, "the root", NULL);
    const char *issuer = pin->issuer ? pin->issuer : text_of(said, "dacm_issuer");
    if (!issuer || !issuer[0])
        return trust__pins_fail(reterr, TRUST_PINS_INVALID,
            "the root does not say whose it is; name the SKM-S (its issuer URI)");
    if (strlen(issuer) > TRUST_SERVICE_BYTES_MAX || !trust__is_printable(issuer))
        return trust__pins_fail(reterr, TRUST_PINS_INVALID,
            "an SKM-S is named by 1 to 255 printable ASCII characters without white space");
    snprintf(ret_issuer, TRUST_SERVICE_BYTES_MAX + 1, "%s", issuer);
    if (pin->address &&
        (strlen(pin->address) > TRUST_PINS_ADDRESS_BYTES_MAX || !trust__is_printable(pin->address)))
        return trust__pins_fail(reterr, TRUST_PINS_INVALID,
            "the address of an SKM-S has 1 to %u printable ASCII characters without white space",
            TRUST_PINS_ADDRESS_BYTES_MAX);
    *ret_root = json_loads(jwk, 0, NULL);
    return *ret_root ? TRUST_PINS_OK : trust__pins_no_memory(reterr);
}

static trust_pins_code read_services(const trust_pin *pin, json_t **ret, rpc_status *reterr)
{
    RPC_CLEANUP(json_freep) json_t *services = json_array();
    if (pin->service_count > TRUST_PINS_SETS_MAX)
        return trust__pins_fail(
            reterr, TRUST_PINS_FULL, "at most %u services for a root", TRUST_PINS_SETS_MAX);
    for (size_t i = 0; i < pin->service_count; i++)
        if (json_array_append_new(services, json_string(pin->services[i])) != 0)
            return trust__pins_fail(
                reterr, TRUST_PINS_INVALID, "the name of a service is not UTF-8");
    *ret = RPC_TAKE(services);
    return *ret ? TRUST_PINS_OK : trust__pins_no_memory(reterr);
}

static bool keep_address(json_t *entry, const char *address)
{
    return !address || json_object_set_new(entry, "address", json_string(address)) == 0;
}

static trust_pins_code pin_root(trust__pins *pins, const char *issuer, json_t *root,
    json_t *services, const char *address, int64_t now, rpc_status *reterr)
{
    json_t *issuers = json_object_get(pins->json, "issuers");
    json_t *entry = find_issuer(pins, issuer);
    if (entry && !json_equal(json_object_get(entry, "root"), root))
        return trust__pins_fail(reterr, TRUST_PINS_EXISTS,
            "another root of '%.200s' is pinned; if its SKM-S has replaced it, bring the statement "
            "of the old root (dacm trust update); to begin anew, remove it first",
            issuer);
    if (entry)
        return json_object_set(entry, "services", services) == 0 && keep_address(entry, address)
                   ? TRUST_PINS_OK
                   : trust__pins_no_memory(reterr);
    if (json_array_size(issuers) == TRUST_PINS_ISSUERS_MAX)
        return trust__pins_fail(reterr, TRUST_PINS_FULL,
            "%u SKM-Ss are pinned, which is the most; remove one", TRUST_PINS_ISSUERS_MAX);
    json_t *made = json_pack("{s:s, s:O, s:i, s:I, s:O, s:[], s:[]}", "issuer", issuer, "root",
        root, "sequence", 0, "pinned_at", (json_int_t)now, "services", services, "followed",
        "sets");
    return made && json_array_append_new(issuers, made) == 0 && keep_address(made, address)
               ? TRUST_PINS_OK
               : trust__pins_no_memory(reterr);
}

trust_pins_code trust_pins_add(
    const char *folder, const trust_pin *pin, int64_t now, rpc_status *reterr)
{
    char issuer[TRUST_SERVICE_BYTES_MAX + 1], fingerprint[TRUST_FINGERPRINT_SIZE];
    RPC_CLEANUP(json_freep) json_t *root = NULL;
    RPC_CLEANUP(json_freep) json_t *services = NULL;
    trust__pins pins = {.lock = -1};
    trust_pins_code code = read_pin(pin, &root, issuer, fingerprint, reterr);
    if (code == TRUST_PINS_OK)
        code = read_services(pin, &services, reterr);
    if (code == TRUST_PINS_OK)
        code = trust__pins_open(folder, true, &pins, reterr);
    if (code == TRUST_PINS_OK)
        code = pin_root(&pins, issuer, root, services, pin->address, now, reterr);
    if (code == TRUST_PINS_OK)
        code = trust__pins_save(&pins, reterr);
    trust__pins_close(&pins);
    return code;
}

static trust_pins_code forget(trust__pins *pins, const char *issuer, rpc_status *reterr)
{
    json_t *issuers = json_object_get(pins->json, "issuers");
    for (size_t i = 0; i < json_array_size(issuers); i++)
        if (strcmp(text_of(json_array_get(issuers, i), "issuer"), issuer) == 0) {
            json_array_remove(issuers, i);
            return TRUST_PINS_OK;
        }
    return trust__pins_fail(reterr, TRUST_PINS_NOT_FOUND, "no root of '%.200s' is pinned", issuer);
}

trust_pins_code trust_pins_remove(const char *folder, const char *issuer, rpc_status *reterr)
{
    trust__pins pins = {.lock = -1};
    trust_pins_code code = trust__pins_open(folder, true, &pins, reterr);
    if (code == TRUST_PINS_OK)
        code = forget(&pins, issuer, reterr);
    if (code == TRUST_PINS_OK)
        code = trust__pins_save(&pins, reterr);
    trust__pins_close(&pins);
    return code;
}

/* ---- one key, one purpose --------------------------------------------------------------------
 */

static bool has_point(const json_t *keys, const char *x)
{
    for (size_t i = 0; i < json_array_size(keys); i++)
        if (strcmp(text_of(json_array_get(keys, i), "x"), x) == 0)
            return true;
    return false;
}

/* The root of now, or one that we followed to it. */
static bool is_root(const json_t *entry, const char *x)
{
    const json_t *followed = json_object_get(entry, "followed");
    for (size_t i = 0; i < json_array_size(followed); i++)
        if (strcmp(text_of(json_object_get(json_array_get(followed, i), "before"), "x"), x) == 0)
            return true;
    return strcmp(text_of(json_object_get(entry, "root"), "x"), x) == 0;
}

/* Is the key a root, or was one, or does it sign something else? */
static bool crosses(const trust__pins *pins, const char *x, const char *purpose)
{
    const json_t *issuers = json_object_get(pins->json, "issuers");
    for (size_t i = 0; i < json_array_size(issuers); i++) {
        const json_t *entry = json_array_get(issuers, i);
        const json_t *sets = json_object_get(entry, "sets");
        if (is_root(entry, x))
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

/* ---- root statements -------------------------------------------------------------------------
 */

/* A key that signs something, or was a root before, does not become one. */
static trust_pins_code judge_new_root(
    const trust__pins *pins, const char *issuer, const json_t *new_root, rpc_status *reterr)
{
    return crosses(pins, text_of(new_root, "x"), "")
               ? trust__pins_fail(reterr, TRUST_PINS_REFUSED,
                     "the next root of '%.200s' is a key that is known already; one key has one "
                     "purpose. Somebody else may have its root; ask its operator",
                     issuer)
               : TRUST_PINS_OK;
}

/* Takes new_root. */
static trust_pins_code keep_root(
    json_t *entry, uint64_t sequence, rpc_bytes statement, json_t *new_root, rpc_status *reterr)
{
    json_t *followed = json_object_get(entry, "followed");
    json_t *kept = json_pack("{s:I, s:O, s:s%}", "sequence", (json_int_t)sequence, "before",
        json_object_get(entry, "root"), "statement", (const char *)statement.data, statement.size);
    const bool appended = kept && json_array_append_new(followed, kept) == 0;
    if (appended && json_array_size(followed) > TRUST_PINS_STATEMENTS_MAX)
        json_array_remove(followed, 0);
    const bool kept_all = json_object_set_new(entry, "root", new_root) == 0 && appended &&
                          json_object_set_new(
                              entry, "sequence", json_integer((json_int_t)sequence)) == 0;
    return kept_all ? TRUST_PINS_OK : trust__pins_no_memory(reterr);
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
static trust_pins_code judge_fork(
    const json_t *entry, const char *issuer, rpc_bytes statement, rpc_status *reterr)
{
    const json_t *followed = json_object_get(entry, "followed");
    for (size_t i = 0; i < json_array_size(followed); i++) {
        const json_t *kept = json_array_get(followed, i);
        const uint64_t sequence = (uint64_t)number_of(kept, "sequence");
        RPC_CLEANUP(ring_freep) trust_keyring *before = NULL;
        RPC_AUTOFREE char *other = NULL;
        const trust_pins_code code = root_ring(json_object_get(kept, "before"), &before, reterr);
        if (code != TRUST_PINS_OK)
            return code;
        if (trust_root_follow(statement, before, issuer, sequence, &other, NULL) == TRUST_VALID)
            return trust__pins_fail(reterr, TRUST_PINS_REFUSED,
                "a root of '%.200s' has signed two statements %" PRIu64
                ": two histories of keys. Somebody else has that root; ask the operator, and pin "
                "a new one by its fingerprint",
                issuer, sequence);
    }
    return TRUST_PINS_OK;
}

static trust_pins_code refuse_statement(const json_t *entry, const char *issuer,
    rpc_bytes statement, uint64_t sequence, trust_verdict verdict, const rpc_status *why,
    rpc_status *reterr)
{
    const uint64_t at = (uint64_t)number_of(entry, "sequence");
    const trust_pins_code code = judge_fork(entry, issuer, statement, reterr);
    if (code != TRUST_PINS_OK)
        return code;
    if (at > 0 && sequence > at + 1)
        return trust__pins_fail(reterr, TRUST_PINS_NOT_NOW,
            "root statement %" PRIu64 " of '%.200s' does not follow %" PRIu64
            "; bring those between as well",
            sequence, issuer, at);
    if (verdict != TRUST_NO_KEY || (at > 0 && sequence == at + 1))
        return trust__pins_fail(reterr, TRUST_PINS_REFUSED,
            "root statement %" PRIu64 " of '%.200s' is not valid: %s", sequence, issuer,
            why->message);
    return TRUST_PINS_OK; /* how the root that was pinned came to be: it concerns nobody here */
}

static trust_pins_code take_statement(const trust__pins *pins, json_t *entry, const char *issuer,
    rpc_bytes statement, uint64_t sequence, trust_pins_change *change, rpc_status *reterr)
{
    RPC_CLEANUP(ring_freep) trust_keyring *root = NULL;
    RPC_AUTOFREE char *new_root = NULL;
    rpc_status why;
    if (is_kept(entry, statement)) {
        change->known++;
        return TRUST_PINS_OK;
    }
    trust_pins_code code = root_ring(json_object_get(entry, "root"), &root, reterr);
    if (code != TRUST_PINS_OK)
        return code;
    /* A root that was pinned after its first replacement: its own number is not known. */
    const uint64_t at = (uint64_t)number_of(entry, "sequence");
    const uint64_t next = at == 0 ? sequence : at + 1;
    const trust_verdict verdict = trust_root_follow(statement, root, issuer, next, &new_root, &why);
    if (verdict != TRUST_VALID)
        return refuse_statement(entry, issuer, statement, sequence, verdict, &why, reterr);
    json_t *made = json_loads(new_root, 0, NULL);
    code = made ? judge_new_root(pins, issuer, made, reterr) : trust__pins_no_memory(reterr);
    if (code != TRUST_PINS_OK) {
        json_decref(made);
        return code;
    }
    change->roots++;
    return keep_root(entry, next, statement, made, reterr);
}

/* ---- key sets --------------------------------------------------------------------------------
 */

/* One call of trust_pins_update(). */
typedef struct update {
    const trust__pins *pins;
    const trust_pins_asked *asked;
    int64_t now;
    bool answered; /* the set that was asked for was there */
    trust_pins_change *change;
} update;

static bool speaks_for(const json_t *entry, const char *service)
{
    const json_t *services = json_object_get(entry, "services");
    for (size_t i = 0; i < json_array_size(services); i++)
        if (strcmp(json_string_value(json_array_get(services, i)), service) == 0)
            return true;
    return json_array_size(services) == 0;
}

/* One service, one SKM-S: else whoever runs any of them could speak for all services. */
static trust_pins_code judge_service(
    const trust__pins *pins, const json_t *entry, const trust_keyset *set, rpc_status *reterr)
{
    const json_t *issuers = json_object_get(pins->json, "issuers");
    if (!speaks_for(entry, set->service))
        return trust__pins_fail(reterr, TRUST_PINS_REFUSED,
            "'%.200s' was not pinned to speak for '%.200s'; if it shall, add its root again with "
            "that service",
            set->issuer, set->service);
    for (size_t i = 0; i < json_array_size(issuers); i++) {
        const json_t *other = json_array_get(issuers, i);
        const bool claimed = json_array_size(json_object_get(other, "services")) > 0 &&
                             speaks_for(other, set->service);
        if (other != entry && (claimed || find_set(other, set->service, "manifests", NULL) ||
                                  find_set(other, set->service, "tokens", NULL)))
            return trust__pins_fail(reterr, TRUST_PINS_REFUSED,
                "'%.200s' says whose keys '%.200s' has, but that is for '%.200s' to say",
                set->issuer, set->service, text_of(other, "issuer"));
    }
    return TRUST_PINS_OK;
}

static trust_pins_code judge_purposes(
    const trust__pins *pins, const json_t *keys, const trust_keyset *set, rpc_status *reterr)
{
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const json_t *key = json_array_get(keys, i);
        if (crosses(pins, text_of(key, "x"), trust_keyset_purpose_name(set->purpose)))
            return trust__pins_fail(reterr, TRUST_PINS_REFUSED,
                "key '%.40s' of '%.200s' is known for another purpose; one key has one purpose",
                text_of(key, "kid"), set->service);
    }
    return TRUST_PINS_OK;
}

/* OK with *ret_newer false: there is nothing to keep. */
static trust_pins_code judge_version(const json_t *kept, const json_t *keys,
    const trust_keyset *set, bool *ret_newer, rpc_status *reterr)
{
    const uint64_t seen = (uint64_t)number_of(kept, "version");
    *ret_newer = !kept || set->version > seen || set->issued_at > number_of(kept, "issued_at");
    if (!kept || set->version > seen)
        return TRUST_PINS_OK;
    if (set->version < seen)
        return trust__pins_fail(reterr, TRUST_PINS_REFUSED,
            "key set %" PRIu64 " of '%.200s' is an old one: %" PRIu64 " was seen before",
            set->version, set->service, seen);
    if (!json_equal(json_object_get(kept, "keys"), keys))
        return trust__pins_fail(reterr, TRUST_PINS_REFUSED,
            "'%.150s' has signed two different key sets %" PRIu64
            " of '%.150s': two histories of keys. Somebody else may have its root, or its store "
            "went back; ask its operator",
            set->issuer, set->version, set->service);
    return TRUST_PINS_OK;
}

static trust_pins_code keep_set(
    json_t *entry, const trust_keyset *set, json_t *keys, rpc_status *reterr)
{
    const char *purpose = trust_keyset_purpose_name(set->purpose);
    json_t *sets = json_object_get(entry, "sets");
    size_t index = 0;
    json_t *made = json_pack("{s:s, s:s, s:I, s:I, s:I, s:O}", "service", set->service, "purpose",
        purpose, "version", (json_int_t)set->version, "issued_at", (json_int_t)set->issued_at,
        "expires_at", (json_int_t)set->expires_at, "keys", keys);
    if (!made)
        return trust__pins_no_memory(reterr);
    const bool there = find_set(entry, set->service, purpose, &index) != NULL;
    if (!there && json_array_size(sets) == TRUST_PINS_SETS_MAX) {
        json_decref(made);
        return trust__pins_fail(reterr, TRUST_PINS_FULL,
            "%u key sets of '%.200s' are kept, which is the most", TRUST_PINS_SETS_MAX,
            set->issuer);
    }
    const int failed = there ? json_array_set_new(sets, index, made)
                             : json_array_append_new(sets, made);
    return failed ? trust__pins_no_memory(reterr) : TRUST_PINS_OK;
}

static trust_pins_code verify_set(const json_t *entry, const char *issuer, rpc_bytes jws,
    int64_t now, trust_keyset *ret, rpc_status *reterr)
{
    RPC_CLEANUP(ring_freep) trust_keyring *root = NULL;
    rpc_status why;
    const trust_pins_code code = root_ring(json_object_get(entry, "root"), &root, reterr);
    if (code != TRUST_PINS_OK)
        return code;
    const trust_verdict verdict = trust_keyset_verify(jws, root, now, ret, &why);
    if (verdict == TRUST_NO_KEY)
        return trust__pins_fail(reterr, TRUST_PINS_NO_KEY,
            "the key set is signed by another root of '%.200s' than the one that is pinned; if it "
            "was replaced, bring the statements of the old one (dacm trust update)",
            issuer);
    if (verdict != TRUST_VALID)
        return trust__pins_fail(reterr,
            why.code == RPC_FAILED_PRECONDITION ? TRUST_PINS_NOT_NOW : TRUST_PINS_REFUSED,
            "the key set of '%.200s' is refused: %s", issuer, why.message);
    return TRUST_PINS_OK;
}

/* A set of another service is no answer, however well it is signed. */
static trust_pins_code judge_answer(update *u, const trust_keyset *set, rpc_status *reterr)
{
    if (!u->asked)
        return TRUST_PINS_OK;
    if (strcmp(set->service, u->asked->service) != 0 || set->purpose != u->asked->purpose)
        return trust__pins_fail(reterr, TRUST_PINS_REFUSED,
            "the key set of '%.100s' (%s) was asked for, and that of '%.100s' (%s) was answered",
            u->asked->service, trust_keyset_purpose_name(u->asked->purpose), set->service,
            trust_keyset_purpose_name(set->purpose));
    if (u->answered)
        return trust__pins_fail(reterr, TRUST_PINS_REFUSED,
            "one key set of '%.200s' was asked for, and two were answered", set->service);
    u->answered = true;
    return TRUST_PINS_OK;
}

static trust_pins_code take_set(
    update *u, json_t *entry, const char *issuer, rpc_bytes jws, rpc_status *reterr)
{
    trust_keyset set = {.jwks = NULL};
    trust_pins_code code = verify_set(entry, issuer, jws, u->now, &set, reterr);
    if (code != TRUST_PINS_OK)
        return code;
    RPC_CLEANUP(json_freep) json_t *jwks = json_loads(set.jwks, 0, NULL);
    trust_keyset_done(&set);
    json_t *keys = json_object_get(jwks, "keys");
    const json_t *kept = find_set(entry, set.service, trust_keyset_purpose_name(set.purpose), NULL);
    bool newer = false;
    code = keys ? judge_answer(u, &set, reterr) : trust__pins_no_memory(reterr);
    if (code == TRUST_PINS_OK)
        code = judge_service(u->pins, entry, &set, reterr);
    if (code == TRUST_PINS_OK)
        code = judge_version(kept, keys, &set, &newer, reterr);
    if (code == TRUST_PINS_OK)
        code = judge_purposes(u->pins, keys, &set, reterr);
    if (code != TRUST_PINS_OK)
        return code;
    u->change->sets += newer;
    u->change->known += !newer;
    return newer ? keep_set(entry, &set, keys, reterr) : TRUST_PINS_OK;
}

/* ---- update ----------------------------------------------------------------------------------
 */

/* One set alone can be asked for; statements are of whoever answers for it. */
static trust_pins_code judge_asked(
    const trust_pins_asked *asked, const char *typ, const char *issuer, rpc_status *reterr)
{
    if (!asked || strcmp(issuer, asked->issuer) == 0)
        return TRUST_PINS_OK;
    return trust__pins_fail(reterr, TRUST_PINS_REFUSED,
        "'%.100s' was asked, and a %s of '%.100s' was answered", asked->issuer,
        strcmp(typ, TRUST_ROOT_TYP) == 0 ? "root statement" : "key set", issuer);
}

static trust_pins_code take(update *u, rpc_bytes jws, rpc_status *reterr)
{
    char issuer[TRUST_SERVICE_BYTES_MAX + 1];
    uint64_t sequence = 0;
    const char *typ = trust_keyset_peek(jws, issuer, &sequence);
    if (!typ)
        return trust__pins_fail(reterr, TRUST_PINS_INVALID,
            "that is neither a key set nor a root statement (JWS, with white space between)");
    const trust_pins_code code = judge_asked(u->asked, typ, issuer, reterr);
    if (code != TRUST_PINS_OK)
        return code;
    json_t *entry = find_issuer(u->pins, issuer);
    if (!entry)
        return trust__pins_fail(reterr, TRUST_PINS_NO_KEY,
            "no root of '%.200s' is pinned; add it with its fingerprint (dacm trust add)", issuer);
    return strcmp(typ, TRUST_ROOT_TYP) == 0
               ? take_statement(u->pins, entry, issuer, jws, sequence, u->change, reterr)
               : take_set(u, entry, issuer, jws, reterr);
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

static trust_pins_code take_all(update *u, rpc_bytes text, rpc_status *reterr)
{
    trust_pins_code code = TRUST_PINS_OK;
    bool any = false;
    for (rpc_bytes word; code == TRUST_PINS_OK && (word = next_word(&text)).size > 0; any = true)
        code = take(u, word, reterr);
    if (code != TRUST_PINS_OK)
        return code;
    if (!any || (u->asked && !u->answered))
        return trust__pins_fail(reterr, any ? TRUST_PINS_REFUSED : TRUST_PINS_INVALID,
            any ? "root statements came, and not the key set that was asked for"
                : "there is no key set in it");
    if (u->change->roots + u->change->sets + u->change->known == 0)
        return trust__pins_fail(reterr, TRUST_PINS_NO_KEY,
            "these statements are of other roots than the one that is pinned (dacm trust list)");
    return TRUST_PINS_OK;
}

static const json_t *set_of_service(
    const trust__pins *pins, const char *service, const char *purpose)
{
    const json_t *issuers = json_object_get(pins->json, "issuers");
    const json_t *set = NULL;
    for (size_t i = 0; !set && i < json_array_size(issuers); i++)
        set = find_set(json_array_get(issuers, i), service, purpose, NULL);
    return set;
}

static trust_pins_code copy_set(const json_t *set, trust_pins_kept *ret, rpc_status *reterr)
{
    RPC_CLEANUP(json_freep) json_t *jwks = json_pack("{s:O}", "keys", json_object_get(set, "keys"));
    char *text = jwks ? json_dumps(jwks, JSON_COMPACT) : NULL;
    if (!text)
        return trust__pins_no_memory(reterr);
    *ret = (trust_pins_kept){.version = (uint64_t)number_of(set, "version"),
        .issued_at = number_of(set, "issued_at"),
        .expires_at = number_of(set, "expires_at"),
        .jwks = text};
    return TRUST_PINS_OK;
}

/* unsaved may be NULL. */
static trust_pins_code open_newest(
    const char *folder, const trust_pins_unsaved *unsaved, trust__pins *ret, rpc_status *reterr)
{
    const trust_pins_code code = trust__pins_open(folder, true, ret, reterr);
    if (code != TRUST_PINS_OK || !unsaved || !unsaved->json)
        return code;
    json_t *newest = json_deep_copy(unsaved->json); /* what is refused leaves nothing in it */
    if (!newest)
        return trust__pins_no_memory(reterr);
    json_decref(ret->json);
    ret->json = newest;
    return TRUST_PINS_OK;
}

static trust_pins_code save_newest(
    const trust__pins *pins, trust_pins_unsaved *unsaved, rpc_status *reterr)
{
    const trust_pins_code code = trust__pins_save(pins, reterr);
    if (!unsaved || (code != TRUST_PINS_OK && code != TRUST_PINS_FILE))
        return code;
    json_t *before = unsaved->json;
    unsaved->json = code == TRUST_PINS_FILE ? json_incref(pins->json) : NULL;
    json_decref(before);
    return code;
}

/* unsaved and ret_kept may be NULL. */
static trust_pins_code change_kept(const char *folder, rpc_bytes text,
    const trust_pins_asked *asked, int64_t now, trust_pins_unsaved *unsaved, trust_pins_change *ret,
    trust_pins_kept *ret_kept, rpc_status *reterr)
{
    trust__pins pins = {.lock = -1};
    trust_pins_change change = {0};
    update u = {.pins = &pins, .asked = asked, .now = now, .change = &change};
    trust_pins_code code = open_newest(folder, unsaved, &pins, reterr);
    if (code == TRUST_PINS_OK)
        code = take_all(&u, text, reterr);
    if (code == TRUST_PINS_OK && ret_kept)
        code = copy_set(
            set_of_service(&pins, asked->service, trust_keyset_purpose_name(asked->purpose)),
            ret_kept, reterr);
    if (code == TRUST_PINS_OK)
        *ret = change;
    if (code == TRUST_PINS_OK && change.roots + change.sets > 0)
        code = save_newest(&pins, unsaved, reterr);
    trust__pins_close(&pins);
    return code;
}

trust_pins_code trust_pins_update(const char *folder, rpc_bytes text, const trust_pins_asked *asked,
    int64_t now, trust_pins_change *ret, rpc_status *reterr)
{
    trust_pins_change change = {0};
    const trust_pins_code code = change_kept(folder, text, asked, now, NULL, &change, NULL, reterr);
    if (code == TRUST_PINS_OK)
        *ret = change;
    return code;
}

trust_pins_code trust_pins_take(const char *folder, rpc_bytes text, const trust_pins_asked *asked,
    int64_t now, trust_pins_unsaved *unsaved, trust_pins_change *ret, trust_pins_kept *ret_kept,
    rpc_status *reterr)
{
    return change_kept(folder, text, asked, now, unsaved, ret, ret_kept, reterr);
}

trust_pins_code trust_pins_save(const char *folder, trust_pins_unsaved *unsaved, rpc_status *reterr)
{
    trust__pins pins = {.lock = -1};
    if (!unsaved->json)
        return TRUST_PINS_OK;
    trust_pins_code code = open_newest(folder, unsaved, &pins, reterr);
    if (code == TRUST_PINS_OK)
        code = save_newest(&pins, unsaved, reterr);
    trust__pins_close(&pins);
    return code;
}

void trust_pins_unsaved_done(trust_pins_unsaved *unsaved)
{
    json_decref(unsaved->json);
    unsaved->json = NULL;
}

/* ---- asking ----------------------------------------------------------------------------------
 */

static trust_pins_code judge_expired(const json_t *set, const char *service, bool take_expired,
    int64_t now, bool *ret, rpc_status *reterr)
{
    *ret = now - TRUST_SKEW_S > number_of(set, "expires_at");
    if (!*ret || take_expired)
        return TRUST_PINS_OK;
    return trust__pins_fail(reterr, TRUST_PINS_NOT_NOW,
        "the newest key set of '%.200s' that is here has expired, so that nobody knows which of "
        "its keys were compromised since; bring a new one (dacm trust update)",
        service);
}

static trust_pins_code no_set(const char *service, const char *purpose, rpc_status *reterr)
{
    return trust__pins_fail(reterr, TRUST_PINS_NO_KEY,
        "there is no key set of '%.200s' (%s); pin the root of its SKM-S (dacm trust add) and "
        "bring its key set (dacm trust update)",
        service, purpose);
}

trust_pins_code trust_pins_get(const char *folder, const char *service, trust_purpose purpose,
    trust_pins_kept *ret, rpc_status *reterr)
{
    trust__pins pins = {.lock = -1};
    const char *name = trust_keyset_purpose_name(purpose);
    trust_pins_code code = trust__pins_open(folder, false, &pins, reterr);
    if (code != TRUST_PINS_OK)
        return code;
    const json_t *set = name ? set_of_service(&pins, service, name) : NULL;
    code = set ? copy_set(set, ret, reterr) : no_set(service, name ? name : "none", reterr);
    trust__pins_close(&pins);
    return code;
}

trust_pins_code trust_pins_keys(const char *folder, const char *service, trust_purpose purpose,
    bool take_expired, int64_t now, trust_keyring **ret, bool *ret_expired, rpc_status *reterr)
{
    trust__pins pins = {.lock = -1};
    bool expired = false;
    const char *name = trust_keyset_purpose_name(purpose);
    if (!name)
        return trust__pins_fail(
            reterr, TRUST_PINS_INVALID, "keys of that purpose are in no key set");
    trust_pins_code code = trust__pins_open(folder, false, &pins, reterr);
    if (code != TRUST_PINS_OK)
        return code;
    const json_t *set = set_of_service(&pins, service, name);
    if (!set)
        code = no_set(service, name, reterr);
    else
        code = judge_expired(set, service, take_expired, now, &expired, reterr);
    if (code == TRUST_PINS_OK)
        code = ring_of(set, purpose, (uint64_t)number_of(set, "version"), ret, reterr);
    if (code == TRUST_PINS_OK)
        *ret_expired = expired;
    trust__pins_close(&pins);
    return code;
}
