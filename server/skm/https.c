/* SPDX-License-Identifier: Apache-2.0 */
#include "https.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>

/* ---- parameters --------------------------------------------------------------------------------
 */

/* "" where it is absent. False: twice or malformed. */
static bool param(host_request *request, const char *name, const char **ret)
{
    *ret = "";
    const host_found found = host_params_find(host_request_query(request), name, ret);
    return found == HOST_FOUND || found == HOST_ABSENT;
}

static bool purpose_param(host_request *request, skm_purpose *ret)
{
    const char *text = "";
    if (!param(request, "purpose", &text))
        return false;
    for (*ret = SKM_FOR_TOKENS; *ret <= SKM_FOR_MANIFESTS; (*ret)++)
        if (strcmp(text, skm_purpose_name(*ret)) == 0)
            return true;
    return false;
}

/* ---- /.well-known/jwks.json
 * ----------------------------------------------------------------------
 */

static void answer_set(host_request *request, const skm_service *service, const skm_keyset *set)
{
    char tag[32], cache[64];
    const char *known = "";
    snprintf(tag, sizeof tag, "\"%llu\"", (unsigned long long)skm_keyset_version(set));
    snprintf(cache, sizeof cache, "public, max-age=%lld", (long long)service->max_age_s);
    const host_header headers[] = {{"ETag", tag}};
    const bool same = host_request_header(request, "If-None-Match", &known) == HOST_FOUND &&
                      strcmp(known, tag) == 0;
    char *body = same ? NULL : strdup(skm_keyset_jwks(set));
    host_reply reply = {.status = same   ? 304
                                  : body ? 200
                                         : 503,
        .content_type = "application/jwk-set+json",
        .cache_control = cache,
        .headers = headers,
        .header_count = 1,
        .body = body,
        .size = body ? strlen(body) : 0};
    host_request_answer(request, &reply);
}

static void get_jwks(void *ctx, host_request *request)
{
    skm_service *service = ctx;
    const char *name = "";
    skm_purpose purpose;
    skm_keyset *set = NULL;
    rpc_status status = {0};
    if (!param(request, "val-service-id", &name) || !name[0] || !purpose_param(request, &purpose))
        host_request_refuse(
            request, 400, "val-service-id and purpose (tokens or manifests) are needed, each once");
    else if (skm_keyset_get(service->state, name, purpose, &set, &status) != RPC_OK)
        host_request_refuse(
            request, status.code == RPC_NOT_FOUND ? 404 : 503, "there are no such keys");
    else
        answer_set(request, service, set);
    skm_keyset_unref(set);
}

/* ---- /ss-kir/v1/key-records (TS 29.549, SS_KeyInfoRetrieval)
 * -------------------------------------
 */

static bool has_name(const void *certificate, const char *san)
{
    return host_certificate_has_dns(certificate, san) || host_certificate_has_uri(certificate, san);
}

/* keyInfo: its inner structure is not defined; ours is that of GetSigningKeyResponse. */
static char *key_info(const skm_release *release)
{
    json_t *keys = json_array();
    for (size_t i = 0; i < release->count; i++) {
        const skm_released_key *key = &release->keys[i];
        char sealed[SKM_SEALED_JWK_BYTES * 2];
        sodium_bin2base64(sealed, sizeof sealed, key->sealed_jwk, key->sealed_size,
            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        json_array_append_new(keys,
            json_pack("{s:s, s:s, s:I, s:I}", "kid", key->kid, "sealed_jwk", sealed, "signs_from",
                (json_int_t)key->signs_from, "signs_until", (json_int_t)key->signs_until));
    }
    json_t *info = json_pack(
        "{s:I, s:o}", "key_set_version", (json_int_t)release->version, "keys", keys);
    char *text = info ? json_dumps(info, JSON_COMPACT) : NULL;
    json_decref(info);
    return text;
}

static char *key_record(const skm_service *service, const skm_release *release)
{
    char *info = key_info(release);
    json_t *record = info ? json_pack("[{s:s, s:s, s:s, s:s}]", "userUri", release->san, "skmsId",
                                service->issuer, "valService", release->service, "keyInfo", info)
                          : NULL;
    char *text = record ? json_dumps(record, JSON_COMPACT) : NULL;
    json_decref(record);
    free(info);
    return text;
}

static void answer_record(
    const skm_service *service, host_request *request, const skm_release *release)
{
    char *body = key_record(service, release);
    host_reply reply = {.status = body ? 200 : 503, .body = body, .size = body ? strlen(body) : 0};
    host_request_answer(request, &reply);
}

/* As GetSigningKey: the record of the trail is written before a key leaves. */
static void release_record(
    skm_service *service, host_request *request, const char *name, skm_purpose purpose)
{
    const host_certificate *certificate = host_request_certificate(request);
    const skm_caller caller = {.has = has_name, .certificate = certificate};
    char kids[SKM_RELEASED_KIDS_BYTES];
    skm_release release;
    rpc_status status = {0}, why;
    const rpc_code code = skm_keys_release(
        service->state, &caller, name, purpose, &release, &status);
    skm_release_kids(&release, kids);
    const skm_record record = {.event = "release",
        .request_id = host_request_id_of(request),
        .outcome = rpc_code_name(code),
        .client = release.san,
        .certificate_sha256 = host_certificate_sha256(certificate),
        .val_service = name,
        .purpose = skm_purpose_name(purpose),
        .kids = kids,
        .stranger = code == RPC_PERMISSION_DENIED}; /* no token can come here: nothing says more */
    if (skm_trail(service, &record, &why) != RPC_OK)
        host_request_refuse(request, 503, "the audit trail cannot be written; try again later");
    else if (code == RPC_PERMISSION_DENIED)
        host_request_refuse(request, 403, "there are no such keys for this certificate");
    else if (code != RPC_OK)
        host_request_refuse(request, 503, "the keys cannot be given now; see the log of skmsd");
    else
        answer_record(service, request, &release);
}

static void get_key_records(void *ctx, host_request *request)
{
    skm_service *service = ctx;
    const char *name = "", *target = "";
    skm_purpose purpose = SKM_FOR_MANIFESTS;
    const char *text = "";
    if (!param(request, "val-service-id", &name) || !name[0] ||
        !param(request, "val-tgt-ue", &target) || !param(request, "purpose", &text) ||
        (text[0] && !purpose_param(request, &purpose)))
        host_request_refuse(request, 400,
            "val-service-id is needed once; purpose is tokens or manifests (the default)");
    else if (target[0])
        host_request_refuse(
            request, 404, "there are keys of VAL services only, not of users or UEs");
    else if (!host_request_certificate(request))
        host_request_refuse(request, 401, "a client certificate that is enrolled is needed");
    else
        release_record(service, request, name, purpose);
}

void skm_https_routes(skm_service *service, host_route *routes)
{
    routes[0] = (host_route){
        .path = "/.well-known/jwks.json", .handle = get_jwks, .ctx = service, .in_place = true};
    routes[1] = (host_route){
        .path = "/ss-kir/v1/key-records", .handle = get_key_records, .ctx = service};
}
