/* SPDX-License-Identifier: Apache-2.0 */
#include "auth_request.h"

#include <sodium.h>
#include <stdlib.h>

#define CHALLENGE_CHARS 43u
#define MAX_AGE_DIGITS  9u

static bool base64url_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
           c == '_';
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

bool sim_auth_request_target(const host_params *params, sim_auth_request *ret, sim_error *reterr)
{
    memset(ret, 0, sizeof *ret);
    if (params->malformed)
        return sim_refuse(reterr, SIM_INVALID_REQUEST,
            "The request cannot be read: it is no query in UTF-8, or has too many parameters.");
    ret->client_id = sim_param(params, "client_id");
    ret->redirect_uri = sim_param(params, "redirect_uri");
    ret->state = sim_param(params, "state");
    if (!ret->client_id)
        return sim_refuse(reterr, SIM_INVALID_REQUEST, "client_id is missing or there twice.");
    if (!ret->redirect_uri)
        return sim_refuse(reterr, SIM_INVALID_REQUEST, "redirect_uri is missing or there twice.");
    return true;
}

/* What we do not do, and where silence would mislead (OpenID Connect Core 3.1.2.6). */
static bool no_extensions(const host_params *params, sim_error *reterr)
{
    if (sim_param(params, "request"))
        return sim_refuse(reterr, "request_not_supported", "request objects are not taken");
    if (sim_param(params, "request_uri"))
        return sim_refuse(reterr, "request_uri_not_supported", "request_uri is not taken");
    if (sim_param(params, "registration"))
        return sim_refuse(reterr, "registration_not_supported", "registration is not taken");
    const char *mode = sim_param(params, "response_mode");
    if (mode && strcmp(mode, "query") != 0)
        return sim_refuse(reterr, SIM_INVALID_REQUEST, "response_mode can only be query");
    return true;
}

bool sim_scope_allowed(const char *scope, const char *const *allowed)
{
    for (rpc_bytes word = sim_words_next(&scope); word.size; word = sim_words_next(&scope)) {
        const char *const *at = allowed;
        while (*at && !rpc_bytes_equal(word, rpc_bytes_str(*at)))
            at++;
        if (!*at && !rpc_bytes_equal(word, rpc_bytes_str("openid")))
            return false;
    }
    return true;
}

static bool take_scope(
    const host_params *params, const sim_client *client, sim_auth_request *ret, sim_error *reterr)
{
    if (!sim_words_copy(or_empty(sim_param(params, "scope")), ret->scope, sizeof ret->scope))
        return sim_refuse(reterr, SIM_INVALID_SCOPE, "scope has more than 1,024 bytes");
    if (!sim_words_have(ret->scope, "openid"))
        return sim_refuse(reterr, SIM_INVALID_SCOPE, "scope must contain openid");
    if (!sim_scope_allowed(ret->scope, client->scopes))
        return sim_refuse(
            reterr, SIM_INVALID_SCOPE, "a scope is asked for that this client may not have");
    return true;
}

static bool take_challenge(const host_params *params, sim_auth_request *ret, sim_error *reterr)
{
    const char *method = sim_param(params, "code_challenge_method");
    ret->code_challenge = or_empty(sim_param(params, "code_challenge"));
    if (!*ret->code_challenge)
        return sim_refuse(reterr, SIM_INVALID_REQUEST, "code_challenge is missing: PKCE is needed");
    if (!method || strcmp(method, "S256") != 0)
        return sim_refuse(reterr, SIM_INVALID_REQUEST, "code_challenge_method must be S256");
    size_t size = 0;
    while (base64url_char(ret->code_challenge[size]))
        size++;
    if (size != CHALLENGE_CHARS || ret->code_challenge[size])
        return sim_refuse(reterr, SIM_INVALID_REQUEST,
            "code_challenge must be the SHA-256 of the verifier, 43 characters of base64url");
    return true;
}

static bool take_prompt(const host_params *params, sim_auth_request *ret, sim_error *reterr)
{
    const char *at = or_empty(sim_param(params, "prompt"));
    size_t count = 0;
    for (rpc_bytes word = sim_words_next(&at); word.size; word = sim_words_next(&at), count++) {
        if (rpc_bytes_equal(word, rpc_bytes_str("none")))
            ret->prompt_none = true;
        else if (rpc_bytes_equal(word, rpc_bytes_str("login")) ||
                 rpc_bytes_equal(word, rpc_bytes_str("select_account")))
            ret->prompt_login = true;
        else if (rpc_bytes_equal(word, rpc_bytes_str("consent")))
            ret->prompt_consent = true;
        else
            return sim_refuse(reterr, SIM_INVALID_REQUEST,
                "prompt can be none, login, consent and select_account");
    }
    if (ret->prompt_none && count != 1)
        return sim_refuse(reterr, SIM_INVALID_REQUEST, "prompt none excludes every other");
    return true;
}

static bool take_max_age(const host_params *params, sim_auth_request *ret, sim_error *reterr)
{
    const char *text = sim_param(params, "max_age");
    ret->max_age_s = -1;
    if (!text)
        return true;
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > MAX_AGE_DIGITS || text[digits])
        return sim_refuse(reterr, SIM_INVALID_REQUEST, "max_age must be a number of seconds");
    ret->max_age_s = strtoll(text, NULL, 10);
    return true;
}

static bool take_resource(const host_params *params, const char *const *resources,
    sim_auth_request *ret, sim_error *reterr)
{
    ret->resource = or_empty(sim_param(params, "resource"));
    while (*ret->resource && *resources && strcmp(*resources, ret->resource) != 0)
        resources++;
    if (*ret->resource && !*resources)
        return sim_refuse(reterr, SIM_INVALID_TARGET, "no tokens are issued for this resource");
    return true;
}

static bool take_details(
    const host_params *params, const sim_client *client, sim_auth_request *ret, sim_error *reterr)
{
    const char *json = sim_param(params, "authorization_details");
    if (!json)
        return true;
    if (!sim_details_parse(rpc_bytes_str(json), false, &ret->details, reterr))
        return false;
    if (!sim_scope_allowed(SIM_SCOPE_ASSETS, client->scopes))
        return sim_refuse(
            reterr, SIM_INVALID_DETAILS, "this client is not registered for scope seal.da");
    ret->digital_asset = true;
    return true;
}

bool sim_auth_request_read(const host_params *params, const sim_client *client,
    const char *const *resources, sim_auth_request *ret, sim_error *reterr)
{
    if (!sim_params_sound(params))
        return sim_refuse(
            reterr, SIM_INVALID_REQUEST, "a parameter is there twice, or is not UTF-8");
    const char *type = or_empty(sim_param(params, "response_type"));
    if (!*type)
        return sim_refuse(reterr, SIM_INVALID_REQUEST, "response_type is missing");
    if (strcmp(type, "code") != 0)
        return sim_refuse(reterr, "unsupported_response_type", "the only response_type is code");
    if (!(client->grants & SIM_GRANT_CODE))
        return sim_refuse(
            reterr, "unauthorized_client", "this client may not use authorization codes");
    ret->nonce = or_empty(sim_param(params, "nonce"));
    ret->login_hint = or_empty(sim_param(params, "login_hint"));
    if (strlen(ret->nonce) > SIM_NONCE_MAX)
        return sim_refuse(reterr, SIM_INVALID_REQUEST, "nonce has more than 512 bytes");
    return no_extensions(params, reterr) && take_scope(params, client, ret, reterr) &&
           take_challenge(params, ret, reterr) && take_prompt(params, ret, reterr) &&
           take_max_age(params, ret, reterr) && take_resource(params, resources, ret, reterr) &&
           take_details(params, client, ret, reterr);
}

bool sim_pkce_matches(const char *verifier, const char *challenge)
{
    uint8_t digest[32];
    char text[CHALLENGE_CHARS + 1];
    size_t size = 0;
    while (base64url_char(verifier[size]) || verifier[size] == '.' || verifier[size] == '~')
        size++;
    if (size < 43 || size > 128 || verifier[size])
        return false;
    trust_sha256(rpc_bytes_of(verifier, size), digest);
    sodium_bin2base64(
        text, sizeof text, digest, sizeof digest, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return strlen(challenge) == CHALLENGE_CHARS &&
           sodium_memcmp(text, challenge, CHALLENGE_CHARS) == 0;
}
