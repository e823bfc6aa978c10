/* SPDX-License-Identifier: Apache-2.0 */
/* Access tokens of the login: one for each asset and action, since a token that opens everything is
 * none that this suite issues. A fresh one is taken from the file without the lock (the file is
 * replaced as a whole); for a new one the lock is held from reading the refresh token until its
 * successor is on the disk: used twice, it would end the login. */
#include "cleanup.h"
#include "login.h"
#include "pki.h"
#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#define FRESH_S     20 /* so long a token must still live to be used */
#define TOKENS_MAX  256u
#define GRANT_USERS "client_credentials"

RPC_DEFINE_FREEP(json_freep, json_t *, json_decref)

static int64_t now_s(void)
{
    return rpc_clock_wall_ms(rpc_clock_system()) / 1000;
}

static bool has_own_rights(const login_file *login)
{
    const char *grant = login_text(login, "grant");
    return grant && strcmp(grant, GRANT_USERS) == 0;
}

/* ---- who we are -------------------------------------------------------------------------------
 */

static dacm_code read_signer(const char *path, trust_signer **ret, dacm_error *reterr)
{
    rpc_status status;
    RPC_AUTOFREE char *text = malloc(TRUST_JWKS_BYTES_MAX);
    RPC_AUTOCLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = 0, got = 1;
    while (text && fd >= 0 && got > 0 && size < (ssize_t)TRUST_JWKS_BYTES_MAX) {
        got = read(fd, text + size, TRUST_JWKS_BYTES_MAX - (size_t)size);
        size += got > 0 ? got : 0;
    }
    if (!text || fd < 0 || got < 0)
        return pki_fail(reterr, DACM_LOCAL_FILE, "cannot read the client's key '%.300s': %s", path,
            strerror(errno));
    const rpc_code code = trust_signer_parse(
        rpc_bytes_of(text, (size_t)size), TRUST_FOR_CLIENTS, ret, &status);
    sodium_memzero(text, TRUST_JWKS_BYTES_MAX);
    return code == RPC_OK ? DACM_OK
                          : pki_fail(reterr, DACM_INVALID_ARGUMENT,
                                "the client's key '%.200s': %.250s; `dacm pki keys DIR NAME --for "
                                "client` makes one",
                                path, status.message);
}

static dacm_code add_assertion(const char *client_id, const char *issuer, const char *path,
    http_form *form, dacm_error *reterr)
{
    trust_signer *signer = NULL;
    char *assertion = NULL;
    rpc_status status;
    dacm_code code = read_signer(path, &signer, reterr);
    if (code != DACM_OK)
        return code;
    if (trust_assertion_mint(signer, client_id, issuer, now_s(), &assertion, &status) != RPC_OK)
        code = pki_fail(reterr, (dacm_code)status.code, "%s", status.message);
    http_form_add(
        form, "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    http_form_add(form, "client_assertion", assertion);
    trust_signer_free(signer);
    if (assertion)
        sodium_memzero(assertion, strlen(assertion));
    free(assertion);
    return code;
}

dacm_code login_authenticate(const login_file *login, http_form *form, dacm_error *reterr)
{
    const char *client_id = login_text(login, "client_id"), *issuer = login_text(login, "issuer");
    const char *path = login_text(login, "client_key_file");
    if (!client_id || !issuer)
        return pki_fail(reterr, DACM_LOCAL_FILE, "the login is damaged; log in again");
    http_form_add(form, "client_id", client_id);
    return path ? add_assertion(client_id, issuer, path, form, reterr) : DACM_OK;
}

/* ---- what is kept -----------------------------------------------------------------------------
 */

static int64_t expires_at(const json_t *token)
{
    return json_integer_value(json_object_get(token, "expires_at"));
}

static void drop_old(json_t *tokens)
{
    const char *key;
    json_t *token;
    void *next;
    const bool too_many = json_object_size(tokens) >= TOKENS_MAX;
    json_object_foreach_safe(tokens, next, key, token) if (too_many || expires_at(token) <= now_s())
        json_object_del(tokens, key);
}

static void keep_gpsis(json_t *login, const char *access_token)
{
    RPC_CLEANUP(json_freep) json_t *claims = oidc_peek(access_token);
    json_t *gpsi = json_object_get(claims, "gpsi");
    if (json_is_string(gpsi))
        json_object_set_new(login, "gpsis", json_pack("[O]", gpsi));
    else if (json_is_array(gpsi))
        json_object_set(login, "gpsis", gpsi);
    else
        json_object_del(login, "gpsis");
}

dacm_code login_keep(login_file *login, const char *key, const json_t *answer, dacm_error *reterr)
{
    const char *access = json_string_value(json_object_get(answer, "access_token"));
    const json_t *life = json_object_get(answer, "expires_in");
    json_t *refresh = json_object_get(answer, "refresh_token");
    json_t *tokens = json_object_get(login->json, "tokens");
    if (!json_is_object(tokens)) {
        tokens = json_object();
        json_object_set_new(login->json, "tokens", tokens);
    }
    drop_old(tokens);
    if (json_is_string(refresh))
        json_object_set(login->json, "refresh_token", refresh);
    keep_gpsis(login->json, access);
    json_object_set_new(tokens, key,
        json_pack("{s:s, s:I}", "access_token", access, "expires_at",
            (json_int_t)(now_s() + (json_is_integer(life) ? json_integer_value(life) : 60))));
    return login_save(login, reterr);
}

/* ---- tokens -----------------------------------------------------------------------------------
 */

static char *key_of(const login_file *login, const dacm_token_request *request)
{
    if (!request)
        return strdup("");
    return pki_text("%s %s%s%s", request->action, request->asset_id ? request->asset_id : "",
        has_own_rights(login) ? " " : "", has_own_rights(login) ? request->user : "");
}

static char *fresh_token(const login_file *login, const char *key)
{
    const json_t *token = json_object_get(json_object_get(login->json, "tokens"), key);
    const char *access = json_string_value(json_object_get(token, "access_token"));
    return access && expires_at(token) > now_s() + FRESH_S ? strdup(access) : NULL;
}

/* An External ID is the GPSI that it means. */
static char *gpsi_of(const char *user)
{
    trust_gpsi gpsi;
    return trust_gpsi_parse(rpc_bytes_str(user), &gpsi, NULL) == RPC_OK ? strdup(gpsi.text) : NULL;
}

static dacm_code fill_form(
    const login_file *login, const dacm_token_request *request, http_form *form, dacm_error *reterr)
{
    const bool own = has_own_rights(login);
    RPC_AUTOFREE char *user = own && request ? gpsi_of(request->user) : NULL;
    const char *const actions[] = {request ? request->action : NULL, NULL};
    RPC_AUTOFREE char *details = request ? oidc_details(request->asset_id, actions, user) : NULL;
    if (request && (!details || (own && !user)))
        return pki_fail(
            reterr, DACM_INVALID_ARGUMENT, "'%.100s' is no GPSI and no External ID", request->user);
    http_form_add(form, "grant_type", own ? GRANT_USERS : "refresh_token");
    if (own)
        http_form_add(form, "scope", login_text(login, "scope"));
    else
        http_form_add(form, "refresh_token", login_text(login, "refresh_token"));
    http_form_add(form, "authorization_details", details);
    http_form_add(form, "resource", login_text(login, "resource"));
    return login_authenticate(login, form, reterr);
}

static dacm_code new_token(
    login_file *login, const dacm_token_request *request, const char *key, dacm_error *reterr)
{
    const http_peer peer = login_peer(login);
    const char *endpoint = login_text(login, "token_endpoint");
    http_form form = {.text = NULL};
    json_t *answer = NULL;
    if (!endpoint || (!has_own_rights(login) && !login_text(login, "refresh_token")))
        return pki_fail(
            reterr, DACM_UNAUTHENTICATED, "the login has ended and cannot be renewed: dacm login");
    dacm_code code = fill_form(login, request, &form, reterr);
    if (code == DACM_OK)
        code = oidc_token(&peer, endpoint, &form, &answer, reterr);
    http_form_done(&form);
    if (code == DACM_OK)
        code = login_keep(login, key, answer, reterr);
    json_decref(answer);
    if (code == DACM_UNAUTHENTICATED && !has_own_rights(login))
        return pki_fail(reterr, code, "the login has ended: dacm login");
    return code;
}

static dacm_code token_locked(
    const dacm_token_request *request, const char *key, char **ret, dacm_error *reterr)
{
    login_file login;
    dacm_code code = login_open(true, false, &login, reterr);
    if (code != DACM_OK)
        return code;
    char *token = fresh_token(&login, key); /* of somebody who was faster */
    if (!token)
        code = new_token(&login, request, key, reterr);
    if (!token && code == DACM_OK) {
        const json_t *kept = json_object_get(json_object_get(login.json, "tokens"), key);
        const char *access = json_string_value(json_object_get(kept, "access_token"));
        token = access ? strdup(access) : NULL;
    }
    login_close(&login);
    if (token)
        *ret = token;
    else if (code == DACM_OK)
        code = pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a token");
    return code;
}

dacm_code login_token(const dacm_token_request *request, char **ret, dacm_error *reterr)
{
    login_file login;
    dacm_code code = login_open(false, false, &login, reterr);
    if (code != DACM_OK)
        return code;
    RPC_AUTOFREE char *key = key_of(&login, request);
    char *token = key ? fresh_token(&login, key) : NULL;
    login_close(&login);
    if (token) {
        *ret = token;
        return DACM_OK;
    }
    return key ? token_locked(request, key, ret, reterr)
               : pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory for a token");
}

/* ---- who is logged in -------------------------------------------------------------------------
 */

char *login_user(void)
{
    login_file login;
    dacm_error error;
    if (login_open(false, false, &login, &error) != DACM_OK)
        return NULL;
    const char *gpsi = json_string_value(json_array_get(json_object_get(login.json, "gpsis"), 0));
    char *copy = gpsi ? strdup(gpsi) : NULL;
    login_close(&login);
    return copy;
}

bool login_certificate(char **ret_certificate, char **ret_key)
{
    login_file login;
    dacm_error error;
    if (login_open(false, false, &login, &error) != DACM_OK)
        return false;
    const char *certificate = login_text(&login, "certificate_file"),
               *key = login_text(&login, "key_file");
    const bool bound = certificate && key;
    if (bound) {
        *ret_certificate = strdup(certificate);
        *ret_key = strdup(key);
    }
    login_close(&login);
    return bound;
}
