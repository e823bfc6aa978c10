/* SPDX-License-Identifier: Apache-2.0 */
/* SKM-Cs: made known by a token that is good once, afterwards known by a name in their
 * certificates. */
#include "state_internal.h"

#include <sodium.h>
#include <stdlib.h>
#include <strings.h>

/* ---- who calls ----------------------------------------------------------------------------------
 */

static bool named(const skm_caller *caller, const char *san)
{
    for (const char *const *name = caller->dns_names; name && *name; name++)
        if (strcasecmp(*name, san) == 0)
            return true;
    for (const char *const *name = caller->uri_names; name && *name; name++)
        if (strcmp(*name, san) == 0)
            return true;
    return caller->has && caller->has(caller->certificate, san);
}

static int by_san(const void *a, const void *b)
{
    const skm__member *left = a, *right = b;
    const int order = strcasecmp(left->san, right->san);
    return order ? order : strcmp(left->service->name, right->service->name);
}

/* The empty client is nobody's. */
static bool is_client(const skm_client *client, const skm__enrolment *enrolment)
{
    return client->client_id && strcmp(client->client_id, enrolment->client_id) == 0 &&
           strcmp(client->issuer, enrolment->client_issuer) == 0;
}

bool skm__may_use(const skm_caller *caller, const skm__enrolment *enrolment)
{
    return named(caller, enrolment->san) &&
           (!enrolment->client_id[0] || is_client(&caller->client, enrolment));
}

bool skm__members_rebuild(skm_state *state)
{
    size_t count = 0;
    for (size_t i = 0; i < state->service_count; i++)
        for (size_t j = 0; j < state->services[i]->enrolment_count; j++)
            count += state->services[i]->enrolments[j].enrolled;
    skm__member *members = malloc((count + 1) * sizeof *members);
    if (!members)
        return false;
    state->member_count = 0;
    for (size_t i = 0; i < state->service_count; i++)
        for (size_t j = 0; j < state->services[i]->enrolment_count; j++) {
            const skm__enrolment *enrolment = &state->services[i]->enrolments[j];
            if (enrolment->enrolled)
                members[state->member_count++] = (skm__member){
                    enrolment->san, state->services[i], enrolment};
        }
    qsort(members, count, sizeof *members, by_san);
    free(state->members);
    state->members = members;
    return true;
}

/* The first whose name is not before san. */
static size_t first_of(const skm_state *state, const char *san)
{
    size_t low = 0, high = state->member_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (strcasecmp(state->members[middle].san, san) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

typedef struct search {
    const skm_caller *caller;
    const char *service; /* "" = any */
    const char *kid;     /* "" = whatever keys it has */
    skm_purpose purpose; /* of kid */
    const skm__member *found;
    bool several;
} search;

static bool has_kid(const skm__set *set, const char *kid)
{
    bool has = false;
    for (size_t i = 0; set && i < set->count && !has; i++)
        has = strcmp(set->keys[i]->kid, kid) == 0;
    return has;
}

static void search_name(const skm_state *state, const char *name, search *s)
{
    for (size_t i = first_of(state, name);
         i < state->member_count && strcasecmp(state->members[i].san, name) == 0; i++) {
        const skm__member *member = &state->members[i];
        if (!skm__may_use(s->caller, member->enrolment) ||
            (s->service[0] && strcmp(member->service->name, s->service) != 0) ||
            (s->kid[0] && !has_kid(member->service->sets[s->purpose], s->kid)))
            continue;
        s->several = s->several || (s->found && s->found->service != member->service);
        s->found = member;
    }
}

/* A certificate whose names are not listed: those of one service are tried. */
static const skm__member *member_of(
    const skm_state *state, const skm_caller *caller, const char *service)
{
    for (size_t i = 0; i < state->member_count; i++)
        if (strcmp(state->members[i].service->name, service) == 0 &&
            skm__may_use(caller, state->members[i].enrolment))
            return &state->members[i];
    return NULL;
}

static const skm__member *search_names(const skm_state *state, search *s)
{
    for (const char *const *name = s->caller->dns_names; name && *name; name++)
        search_name(state, *name, s);
    for (const char *const *name = s->caller->uri_names; name && *name; name++)
        search_name(state, *name, s);
    return s->several ? NULL : s->found;
}

const skm__member *skm__member_find(
    const skm_state *state, const skm_caller *caller, const char *service)
{
    search s = {.caller = caller, .service = service, .kid = ""};
    return caller->has ? member_of(state, caller, service) : search_names(state, &s);
}

const skm__member *skm__member_by_kid(const skm_state *state, const skm_caller *caller,
    skm_purpose purpose, const char *kid, bool *ret_several)
{
    search any = {.caller = caller, .service = "", .kid = ""};
    search with = {.caller = caller, .service = "", .kid = kid, .purpose = purpose};
    (void)search_names(state, &any);
    *ret_several = any.several;
    return any.several && kid[0] ? search_names(state, &with) : NULL;
}

static bool name_known(const skm_state *state, const skm_caller *caller, const char *name)
{
    for (size_t i = first_of(state, name);
         i < state->member_count && strcasecmp(state->members[i].san, name) == 0; i++)
        if (named(caller, state->members[i].san))
            return true;
    return false;
}

bool skm_caller_known(skm_state *state, const skm_caller *caller)
{
    bool known = false;
    pthread_rwlock_rdlock(&state->lock);
    for (const char *const *name = caller->dns_names; name && *name && !known; name++)
        known = name_known(state, caller, *name);
    for (const char *const *name = caller->uri_names; name && *name && !known; name++)
        known = name_known(state, caller, *name);
    pthread_rwlock_unlock(&state->lock);
    return known;
}

/* ---- records ------------------------------------------------------------------------------------
 */

static host_key item_of(const char *san)
{
    return host_key_of("e/", san);
}

static void put_enrolment(skm__changes *changes, skm__enrolment *enrolment)
{
    const host_key item = item_of(enrolment->san);
    Skm__Records__Enrolment record = SKM__RECORDS__ENROLMENT__INIT;
    record.san = enrolment->san;
    if (enrolment->has_token)
        record.token_sha256 = (ProtobufCBinaryData){
            sizeof enrolment->token_sha256, enrolment->token_sha256};
    record.token_expires_at = enrolment->token_expires_at;
    if (enrolment->enrolled)
        record.sealing_key = (ProtobufCBinaryData){
            sizeof enrolment->sealing_key, enrolment->sealing_key};
    record.enrolled_at = enrolment->enrolled_at;
    record.client_issuer = enrolment->client_issuer;
    record.client_id = enrolment->client_id;
    skm__put(changes, &item, &record.base);
}

static rpc_code write_enrolment(
    skm_state *state, skm__service *service, skm__enrolment *enrolment, rpc_status *reterr)
{
    skm__changes changes = {0};
    put_enrolment(&changes, enrolment);
    const rpc_code code = skm__write(
        state, host_key_bytes(&service->group), &changes, &service->generation, reterr);
    skm__changes_done(&changes);
    return code;
}

static rpc_code delete_enrolment(
    skm_state *state, skm__service *service, const char *san, rpc_status *reterr)
{
    skm__changes changes = {0};
    const host_key item = item_of(san);
    skm__delete(&changes, &item);
    const rpc_code code = skm__write(
        state, host_key_bytes(&service->group), &changes, &service->generation, reterr);
    skm__changes_done(&changes);
    return code;
}

static size_t index_of(const skm__service *service, const char *san)
{
    size_t i = 0;
    while (i < service->enrolment_count && strcmp(service->enrolments[i].san, san) != 0)
        i++;
    return i;
}

/* Replaces or adds; it is in the store already. */
static rpc_code place(skm_state *state, skm__service *service, size_t index,
    const skm__enrolment *enrolment, rpc_status *reterr)
{
    pthread_rwlock_wrlock(&state->lock);
    service->enrolments[index] = *enrolment;
    if (index == service->enrolment_count)
        service->enrolment_count++;
    const bool ok = skm__members_rebuild(state);
    pthread_rwlock_unlock(&state->lock);
    return ok ? RPC_OK : skm__no_memory(reterr);
}

/* ---- tokens -------------------------------------------------------------------------------------
 */

static rpc_code find_service(
    skm_state *state, const char *name, skm__service **ret, rpc_status *reterr)
{
    *ret = skm__service_find(state, name);
    return *ret ? RPC_OK
                : rpc_status_set(reterr, RPC_NOT_FOUND,
                      "val_service: there is no '%.200s'; ListServices lists them", name);
}

static void draw_token(skm__enrolment *enrolment, char ret_token[SKM_TOKEN_CHARS + 1])
{
    uint8_t raw[32];
    rpc_random(raw, sizeof raw);
    sodium_bin2base64(
        ret_token, SKM_TOKEN_CHARS + 1, raw, sizeof raw, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(raw, sizeof raw);
    trust_sha256(rpc_bytes_str(ret_token), enrolment->token_sha256);
    enrolment->has_token = true;
}

static rpc_code check_names(const char *san, const skm_client *client, rpc_status *reterr)
{
    if (!skm__name_valid(san, SKM_SAN_MAX))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "certificate_san: the DNS or URI name in the SKM-C's certificate, 1 to %d printable "
            "ASCII characters without blanks, quotes and backslashes",
            SKM_SAN_MAX);
    if (client && (!skm__name_valid(client->issuer, SKM_CLIENT_MAX) ||
                      !skm__name_valid(client->client_id, SKM_CLIENT_MAX)))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "client_id, client_issuer: the VAL server's client and its SIM-S, each of 1 to %d "
            "printable ASCII characters without blanks, quotes and backslashes",
            SKM_CLIENT_MAX);
    return RPC_OK;
}

static void name_enrolment(skm__enrolment *enrolment, const char *san, const skm_client *client)
{
    snprintf(enrolment->san, sizeof enrolment->san, "%s", san);
    snprintf(enrolment->client_issuer, sizeof enrolment->client_issuer, "%s",
        client ? client->issuer : "");
    snprintf(
        enrolment->client_id, sizeof enrolment->client_id, "%s", client ? client->client_id : "");
}

static rpc_code add_enrolment(skm_state *state, const char *name, const char *san,
    const skm_client *client, char ret_token[SKM_TOKEN_CHARS + 1], int64_t *ret_expires_at,
    rpc_status *reterr)
{
    skm__service *service = NULL;
    skm__enrolment enrolment = {.san = ""};
    char token[SKM_TOKEN_CHARS + 1];
    rpc_code code = find_service(state, name, &service, reterr);
    if (code == RPC_OK)
        code = check_names(san, client, reterr);
    if (code != RPC_OK)
        return code;
    const size_t index = index_of(service, san);
    if (index == SKM_ENROLMENTS_MAX)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED,
            "certificate_san: a VAL service has at most %d SKM-Cs; revoke one", SKM_ENROLMENTS_MAX);
    if (index < service->enrolment_count)
        enrolment = service->enrolments[index];
    name_enrolment(&enrolment, san, client);
    draw_token(&enrolment, token);
    enrolment.token_expires_at = skm__now_s(state) + state->token_life_s;
    code = write_enrolment(state, service, &enrolment, reterr);
    if (code == RPC_OK)
        code = place(state, service, index, &enrolment, reterr);
    if (code == RPC_OK) {
        memcpy(ret_token, token, sizeof token);
        *ret_expires_at = enrolment.token_expires_at;
    }
    sodium_memzero(token, sizeof token);
    return code;
}

rpc_code skm_enrolment_add(skm_state *state, const char *service, const char *san,
    const skm_client *client, char ret_token[SKM_TOKEN_CHARS + 1], int64_t *ret_expires_at,
    rpc_status *reterr)
{
    pthread_mutex_lock(&state->change);
    const rpc_code code = add_enrolment(
        state, service, san, client, ret_token, ret_expires_at, reterr);
    pthread_mutex_unlock(&state->change);
    return code;
}

static rpc_code revoke_enrolment(
    skm_state *state, const char *name, const char *san, int64_t enrolled_until, rpc_status *reterr)
{
    skm__service *service = NULL;
    rpc_code code = find_service(state, name, &service, reterr);
    if (code != RPC_OK)
        return code;
    const size_t index = index_of(service, san);
    if (index == service->enrolment_count ||
        service->enrolments[index].enrolled_at > enrolled_until)
        return rpc_status_set(reterr, RPC_NOT_FOUND,
            "certificate_san: '%.200s' has no enrolment with that VAL service", san);
    code = delete_enrolment(state, service, san, reterr);
    if (code != RPC_OK)
        return code;
    pthread_rwlock_wrlock(&state->lock);
    service->enrolment_count--;
    memmove(&service->enrolments[index], &service->enrolments[index + 1],
        (service->enrolment_count - index) * sizeof service->enrolments[0]);
    const bool ok = skm__members_rebuild(state);
    if (!ok)
        state->member_count = 0; /* rather nobody than who may not */
    pthread_rwlock_unlock(&state->lock);
    return ok ? RPC_OK : skm__no_memory(reterr);
}

rpc_code skm_enrolment_revoke(skm_state *state, const char *service, const char *san,
    int64_t enrolled_until, rpc_status *reterr)
{
    pthread_mutex_lock(&state->change);
    const rpc_code code = revoke_enrolment(state, service, san, enrolled_until, reterr);
    pthread_mutex_unlock(&state->change);
    return code;
}

static rpc_code void_token(
    skm_state *state, skm__service *service, size_t index, rpc_status *reterr)
{
    skm__enrolment enrolment = service->enrolments[index];
    enrolment.has_token = false;
    enrolment.token_expires_at = 0;
    const rpc_code code = write_enrolment(state, service, &enrolment, reterr);
    return code == RPC_OK ? place(state, service, index, &enrolment, reterr) : code;
}

rpc_code skm__tokens_void(skm_state *state, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < state->service_count; i++) {
        skm__service *service = state->services[i];
        for (size_t k = 0; code == RPC_OK && k < service->enrolment_count; k++)
            if (service->enrolments[k].has_token)
                code = void_token(state, service, k, reterr);
    }
    return code;
}

/* ---- enrolling ----------------------------------------------------------------------------------
 */

static skm__enrolment *by_token(
    const skm_state *state, const char *token, skm__service **ret_service)
{
    uint8_t digest[32];
    trust_sha256(rpc_bytes_str(token), digest);
    for (size_t i = 0; i < state->service_count; i++)
        for (size_t j = 0; j < state->services[i]->enrolment_count; j++) {
            skm__enrolment *enrolment = &state->services[i]->enrolments[j];
            if (enrolment->has_token &&
                sodium_memcmp(enrolment->token_sha256, digest, sizeof digest) == 0) {
                *ret_service = state->services[i];
                return enrolment;
            }
        }
    return NULL;
}

/* The enrolment that waits for that token, from that caller. */
static rpc_code find_enrolment(const skm_state *state, const skm_caller *caller, const char *token,
    skm__service **ret_service, const skm__enrolment **ret, rpc_status *reterr)
{
    *ret = by_token(state, token, ret_service);
    if (*ret && (*ret)->token_expires_at > skm__now_s(state) && named(caller, (*ret)->san))
        return RPC_OK;
    return rpc_status_set(reterr, RPC_UNAUTHENTICATED,
        "the token is not good (any more), or not for this certificate; ask the operator for a new "
        "one");
}

/* A point of small order seals for everybody. */
static rpc_code check_sealing_key(const uint8_t sealing_key[SKM_SEALING_BYTES], rpc_status *reterr)
{
    uint8_t sealed[crypto_box_SEALBYTES + 1];
    return crypto_box_seal(sealed, (const uint8_t *)"", 1, sealing_key) == 0
               ? RPC_OK
               : rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                     "sealing_key: is no X25519 public key that something can be sealed to");
}

rpc_code skm_enrol_check(skm_state *state, const skm_caller *caller, const char *token,
    const uint8_t sealing_key[SKM_SEALING_BYTES], rpc_status *reterr)
{
    skm__service *service = NULL;
    const skm__enrolment *found = NULL;
    if (check_sealing_key(sealing_key, reterr) != RPC_OK)
        return RPC_INVALID_ARGUMENT;
    pthread_rwlock_rdlock(&state->lock);
    const rpc_code code = find_enrolment(state, caller, token, &service, &found, reterr);
    pthread_rwlock_unlock(&state->lock);
    return code;
}

static rpc_code enrol(skm_state *state, const skm_caller *caller, const char *token,
    const uint8_t sealing_key[SKM_SEALING_BYTES], skm_enrolled *ret, rpc_status *reterr)
{
    skm__service *service = NULL;
    const skm__enrolment *found = NULL;
    rpc_code code = find_enrolment(state, caller, token, &service, &found, reterr);
    if (code != RPC_OK)
        return code;
    skm__enrolment enrolment = *found;
    const size_t index = (size_t)(found - service->enrolments);
    enrolment.has_token = false;
    enrolment.token_expires_at = 0;
    enrolment.enrolled = true;
    enrolment.enrolled_at = skm__now_s(state);
    memcpy(enrolment.sealing_key, sealing_key, sizeof enrolment.sealing_key);
    code = write_enrolment(state, service, &enrolment, reterr);
    if (code == RPC_OK)
        code = place(state, service, index, &enrolment, reterr);
    if (code != RPC_OK)
        return code;
    *ret = (skm_enrolled){.delegated = service->policy.delegated};
    memcpy(ret->service, service->name, sizeof ret->service);
    for (skm_purpose p = SKM_FOR_TOKENS; p <= SKM_FOR_MANIFESTS; p++)
        ret->purposes[p] = service->sets[p] != NULL;
    return RPC_OK;
}

rpc_code skm_enrol(skm_state *state, const skm_caller *caller, const char *token,
    const uint8_t sealing_key[SKM_SEALING_BYTES], skm_enrolled *ret, rpc_status *reterr)
{
    if (check_sealing_key(sealing_key, reterr) != RPC_OK)
        return RPC_INVALID_ARGUMENT;
    pthread_mutex_lock(&state->change);
    const rpc_code code = enrol(state, caller, token, sealing_key, ret, reterr);
    pthread_mutex_unlock(&state->change);
    return code;
}
