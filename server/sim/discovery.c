/* SPDX-License-Identifier: Apache-2.0 */
/* What the provider says of itself (OpenID Connect Discovery 3; RFC 8414), and its keys. */
#include "oidc_internal.h"

#include <stdlib.h>

static json_t *list(const char *const *words)
{
    json_t *array = json_array();
    for (; *words; words++)
        json_array_append_new(array, json_string(*words));
    return array;
}
#define LIST(...) list((const char *const[]){__VA_ARGS__, NULL})

static void set_url(json_t *json, const char *name, const char *base, const char *path)
{
    char url[2 * SIM_PATH_MAX];
    snprintf(url, sizeof url, "%s%s", base, path);
    json_object_set_new(json, name, json_string(url));
}

static void set_endpoints(json_t *json, const char *base)
{
    set_url(json, "token_endpoint", base, "/token");
    set_url(json, "introspection_endpoint", base, "/introspect");
    set_url(json, "revocation_endpoint", base, "/revoke");
    set_url(json, "userinfo_endpoint", base, "/userinfo");
}

static void set_client_auth(json_t *json, const char *endpoint, bool with_mtls, bool with_none)
{
    char name[96];
    json_t *methods = LIST("private_key_jwt", "client_secret_basic");
    if (with_mtls)
        json_array_append_new(methods, json_string("tls_client_auth"));
    if (with_none)
        json_array_append_new(methods, json_string("none"));
    snprintf(name, sizeof name, "%s_endpoint_auth_methods_supported", endpoint);
    json_object_set_new(json, name, methods);
    snprintf(name, sizeof name, "%s_endpoint_auth_signing_alg_values_supported", endpoint);
    json_object_set_new(json, name, LIST("EdDSA", "Ed25519", "ES256", "RS256", "PS256"));
}

static void set_features(json_t *json, bool rs256)
{
    json_object_set_new(json, "scopes_supported",
        LIST("openid", "profile", "offline_access", "seal.da", "seal.km", "seal.kp"));
    json_object_set_new(json, "response_types_supported", LIST("code"));
    json_object_set_new(json, "response_modes_supported", LIST("query"));
    json_object_set_new(json, "grant_types_supported",
        LIST("authorization_code", "refresh_token", "client_credentials"));
    json_object_set_new(json, "subject_types_supported", LIST("public"));
    json_object_set_new(json, "id_token_signing_alg_values_supported",
        rs256 ? LIST("EdDSA", "RS256") : LIST("EdDSA"));
    json_object_set_new(json, "code_challenge_methods_supported", LIST("S256"));
    json_object_set_new(json, "acr_values_supported", LIST(SIM_ACR_PASSWORD));
    json_object_set_new(
        json, "prompt_values_supported", LIST("none", "login", "consent", "select_account"));
    json_object_set_new(json, "claims_supported",
        LIST("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "acr", "at_hash", "name",
            "preferred_username"));
    json_object_set_new(json, "authorization_details_types_supported", LIST(SIM_DETAILS_TYPE));
    json_object_set_new(json, "authorization_response_iss_parameter_supported", json_true());
    json_object_set_new(json, "claims_parameter_supported", json_false());
    json_object_set_new(json, "request_parameter_supported", json_false());
    json_object_set_new(json, "request_uri_parameter_supported", json_false());
}

static json_t *metadata(const sim_oidc *oidc)
{
    const sim_config *config = &oidc->service->config;
    const sim_key_set *keys = sim_keys_now(oidc->service->keys);
    bool rs256 = keys->rs256 != NULL, mtls = *config->mtls_url;
    sim_key_set_unref(keys);
    json_t *json = json_pack("{s:s}", "issuer", config->issuer);
    if (!json)
        return NULL;
    set_url(json, "authorization_endpoint", config->issuer, "/authorize");
    set_endpoints(json, config->issuer);
    set_url(json, "jwks_uri", config->issuer, "/jwks.json");
    set_url(json, "end_session_endpoint", config->issuer, "/logout");
    set_features(json, rs256);
    set_client_auth(json, "token", mtls, true);
    set_client_auth(json, "introspection", mtls, false);
    set_client_auth(json, "revocation", mtls, true);
    if (mtls) {
        json_t *aliases = json_object();
        set_endpoints(aliases, config->mtls_url);
        json_object_set_new(json, "mtls_endpoint_aliases", aliases);
        json_object_set_new(json, "tls_client_certificate_bound_access_tokens", json_true());
    }
    return json;
}

static void answer_public(host_request *request, char *body, const char *type)
{
    host_reply reply = {.status = body ? 200 : 0,
        .content_type = type,
        .cache_control = "public, max-age=300",
        .body = body,
        .size = body ? strlen(body) : 0};
    host_request_answer(request, &reply);
}

void sim_discovery_handle(void *ctx, host_request *request)
{
    json_t *json = metadata(ctx);
    char *body = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    answer_public(request, body, NULL);
}

void sim_jwks_handle(void *ctx, host_request *request)
{
    const sim_oidc *oidc = ctx;
    const sim_key_set *keys = sim_keys_now(oidc->service->keys);
    char *body = strdup(keys->public_jwks);
    sim_key_set_unref(keys);
    answer_public(request, body, "application/jwk-set+json");
}
