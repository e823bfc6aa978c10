/* SPDX-License-Identifier: Apache-2.0 */
#include "oidc_internal.h"
#include "pages.h"

#include <stdlib.h>

#define WELL_KNOWN_OAUTH "/.well-known/oauth-authorization-server"

/* Behind scheme and host: "" or "/path". */
static const char *path_of(const char *url)
{
    const char *host = strstr(url, "://");
    return host ? host + 3 + strcspn(host + 3, "/") : "";
}

static bool write_names(sim_oidc *oidc)
{
    const sim_config *config = &oidc->service->config;
    int size = snprintf(oidc->token_url, sizeof oidc->token_url, "%s/token", config->issuer);
    int mtls_size = *config->mtls_url ? snprintf(oidc->mtls_token_url, sizeof oidc->mtls_token_url,
                                            "%s/token", config->mtls_url)
                                      : 0;
    return (size_t)size < sizeof oidc->token_url && (size_t)mtls_size < sizeof oidc->token_url &&
           rpc_text_copy(oidc->prefix, sizeof oidc->prefix, path_of(config->issuer)) &&
           rpc_text_copy(oidc->mtls_prefix, sizeof oidc->mtls_prefix, path_of(config->mtls_url));
}

static bool list_resources(sim_oidc *oidc)
{
    const sim_service *service = oidc->service;
    oidc->resources = calloc(service->dacm_count + 1, sizeof *oidc->resources);
    for (size_t i = 0; oidc->resources && i < service->dacm_count; i++)
        oidc->resources[i] = service->dacms[i].resource;
    return oidc->resources != NULL;
}

rpc_code sim_oidc_new(
    sim_service *service, const char *directory, sim_oidc **ret, rpc_status *reterr)
{
    char file[4096];
    if (snprintf(file, sizeof file, "%s/assertions", directory) >= (int)sizeof file)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "oidc: '%.200s' is too long a path", directory);
    sim_oidc *oidc = calloc(1, sizeof *oidc);
    if (!oidc)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "oidc: no memory");
    oidc->service = service;
    rpc_code code = RPC_OK;
    if (!write_names(oidc))
        code = rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "oidc: issuer '%.200s', or the URL for certificates, is too long",
            service->config.issuer);
    else if (!(oidc->client_keys = sim_client_keys_new()) || !list_resources(oidc) ||
             !sim_counters_make(&oidc->counters, service->metrics))
        code = rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "oidc: no memory");
    sim_page_style_hash(oidc->style_hash);
    if (code == RPC_OK)
        code = sim_replays_open(file, &oidc->replays, reterr);
    if (code == RPC_OK)
        *ret = oidc;
    else
        sim_oidc_free(oidc);
    return code;
}

void sim_oidc_free(sim_oidc *oidc)
{
    if (!oidc)
        return;
    sim_replays_close(oidc->replays);
    sim_client_keys_free(oidc->client_keys);
    free(oidc->resources);
    free(oidc);
}

const sim_dacm *sim_oidc_dacm(const sim_oidc *oidc, const char *resource)
{
    const sim_service *service = oidc->service;
    for (size_t i = 0; i < service->dacm_count; i++)
        if (!*resource || strcmp(service->dacms[i].resource, resource) == 0)
            return &service->dacms[i];
    return NULL;
}

bool sim_oidc_token(const sim_oidc *oidc, rpc_bytes text, trust_token **ret)
{
    rpc_status status;
    trust_token *token = NULL;
    const sim_key_set *keys = sim_keys_now(oidc->service->keys);
    const trust_issuer issuer = {.issuer = oidc->service->config.issuer,
        .any_audience = true,
        .keys = keys->ring,
        .may_delegate = true};
    rpc_code code = trust_token_verify(text, &issuer, sim_now_s(oidc), &token, &status);
    sim_key_set_unref(keys);
    if (code != RPC_OK)
        return false;
    if (sim_revoked(oidc->service->state, token)) {
        trust_token_unref(token);
        return false;
    }
    *ret = token;
    return true;
}

/* ---- routes ------------------------------------------------------------------------------------
 */

typedef struct endpoint {
    const char *path;
    sim_handler *handle;
    unsigned methods;
    bool in_place, with_certificate; /* there too */
} endpoint;

static const endpoint endpoints[] = {
    {"/.well-known/openid-configuration", sim_discovery_handle, HOST_GET, true, false},
    {"/jwks.json", sim_jwks_handle, HOST_GET, true, false},
    {"/authorize", sim_authorize_handle, HOST_GET | HOST_POST, false, false},
    {"/login", sim_login_handle, HOST_GET | HOST_POST, false, false},
    {"/consent", sim_consent_handle, HOST_GET | HOST_POST, false, false},
    {"/logout", sim_logout_handle, HOST_GET | HOST_POST, false, false},
    {"/token", sim_token_handle, HOST_POST, false, true},
    {"/introspect", sim_introspect_handle, HOST_POST, false, true},
    {"/revoke", sim_revoke_handle, HOST_POST, false, true},
    {"/userinfo", sim_userinfo_handle, HOST_GET | HOST_POST, false, true},
};
_Static_assert(sizeof endpoints / sizeof *endpoints + 1 <= SIM_OIDC_ROUTES_MAX,
    "one more is for RFC 8414's path");

static void set_route(sim_oidc *oidc, const endpoint *from, const char *before, const char *path,
    char text[SIM_ROUTE_MAX], host_route *ret)
{
    snprintf(text, SIM_ROUTE_MAX, "%s%s", before, path);
    *ret = (host_route){.path = text,
        .handle = from->handle,
        .ctx = oidc,
        .methods = from->methods,
        .in_place = from->in_place};
}

size_t sim_oidc_routes(sim_oidc *oidc, bool with_certificate, host_route ret[SIM_OIDC_ROUTES_MAX])
{
    const char *prefix = with_certificate ? oidc->mtls_prefix : oidc->prefix;
    char(*paths)[SIM_ROUTE_MAX] = oidc->paths + (with_certificate ? SIM_OIDC_ROUTES_MAX : 0);
    size_t count = 0;
    for (size_t i = 0; i < sizeof endpoints / sizeof *endpoints; i++) {
        if (with_certificate && !endpoints[i].with_certificate)
            continue;
        set_route(oidc, &endpoints[i], prefix, endpoints[i].path, paths[count], &ret[count]);
        count++;
    }
    if (!with_certificate) { /* RFC 8414 3.1: the issuer's path comes behind */
        set_route(oidc, &endpoints[0], WELL_KNOWN_OAUTH, oidc->prefix, paths[count], &ret[count]);
        count++;
    }
    return count;
}
