/* SPDX-License-Identifier: Apache-2.0 */
/** The login of this user at a SIM-S: kept in ${XDG_CONFIG_HOME:-~/.config}/dacm/login.json (0600),
 *  used by every command that is given neither token nor --as. One process at a time changes it
 *  (login.lock): a refresh token is good once. */
#ifndef DACM_CLI_LOGIN_H
#define DACM_CLI_LOGIN_H

#include "http.h"

/** An OpenID provider's own description of itself; strings live in json. */
typedef struct oidc_provider {
    json_t *json;
    const char *issuer, *authorization_endpoint, *token_endpoint, *revocation_endpoint,
        *userinfo_endpoint, *jwks_uri;
    bool iss_in_response; /* RFC 9207 */
} oidc_provider;

/** OpenID Connect Discovery; with mtls the endpoints for those who come with a certificate
 *  (RFC 8705, 5). INVALID_ARGUMENT: it is not the issuer's, or lacks what we need. */
dacm_code oidc_discover(
    const http_peer *peer, const char *issuer, bool mtls, oidc_provider *ret, dacm_error *reterr);
void oidc_done(oidc_provider *provider);

/** 256 random bits as text. */
#define OIDC_RANDOM_CHARS 43
void oidc_random(char ret[OIDC_RANDOM_CHARS + 1]);
/** The S256 challenge of a verifier. */
void oidc_challenge(const char *verifier, char ret[OIDC_RANDOM_CHARS + 1]);
/** POSTs form to a token endpoint; *ret is the answer as JSON. Errors of OAuth become codes:
 *  UNAUTHENTICATED (invalid_grant, invalid_client), PERMISSION_DENIED (access_denied,
 *  invalid_authorization_details, unauthorized_client …), UNAVAILABLE (temporarily_unavailable). */
dacm_code oidc_token(const http_peer *peer, const char *endpoint, const http_form *form,
    json_t **ret, dacm_error *reterr);
/** Signature against the provider's published keys, and the claims of OpenID Connect Core 3.1.3.7.
 *  *ret_claims: the claims. UNAUTHENTICATED. */
dacm_code oidc_verify_id_token(const http_peer *peer, const oidc_provider *provider,
    const char *id_token, const char *client_id, const char *nonce, json_t **ret_claims,
    dacm_error *reterr);
/** The claims of a token, unverified: for what is shown to people. NULL when it cannot be read. */
json_t *oidc_peek(const char *token);
/** `authorization_details` of one digital asset; asset_id and user NULL: none is named. actions end
 *  with NULL. malloc'd; NULL when memory is short. */
char *oidc_details(const char *asset_id, const char *const *actions, const char *user);

/* ---- the file (login_file.c) ------------------------------------------------------------------
 */

typedef struct login_file {
    json_t *json; /* what the file holds; NULL: nobody is logged in */
    char *path;
    int lock; /* -1: not held */
} login_file;

/** Reads it; with lock, waits for others that change it, until login_close(). UNAUTHENTICATED:
 *  nobody is logged in (not with create). LOCAL_FILE. */
dacm_code login_open(bool lock, bool create, login_file *ret, dacm_error *reterr);
dacm_code login_save(const login_file *login, dacm_error *reterr);
/** Removes the file; the lock must be held. */
dacm_code login_remove(const login_file *login, dacm_error *reterr);
void login_close(login_file *login);
const char *login_text(const login_file *login, const char *name);
/** Whom to trust and who we are at the SIM-S. */
http_peer login_peer(const login_file *login);

/* ---- tokens (login_token.c) -------------------------------------------------------------------
 */

/** Adds client_id and, where the client has one, its assertion to a form. */
dacm_code login_authenticate(const login_file *login, http_form *form, dacm_error *reterr);
/** Puts what a token endpoint answered into the login: refresh token, and the access token under
 *  that key. */
dacm_code login_keep(login_file *login, const char *key, const json_t *answer, dacm_error *reterr);
/** An access token for what request says, NULL: for no asset; from the file while it is fresh,
 *  else by refresh or client credentials. malloc'd. */
dacm_code login_token(const dacm_token_request *request, char **ret, dacm_error *reterr);
/** The GPSI that the login has first, malloc'd; NULL: nobody is logged in, or it has none. */
char *login_user(void);
/** Certificate and key that tokens of the login are bound to, malloc'd; false: they are not. */
bool login_certificate(char **ret_certificate, char **ret_key);

#endif
