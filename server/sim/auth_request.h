/* SPDX-License-Identifier: Apache-2.0 */
/** The authorization request (OpenID Connect Core 3.1.2.1; TS 33.434 A.4.2; RFC 7636, 8707, 9396).
 *  Pure: parameters and the client's registration in, a judged request out. */
#ifndef SIM_AUTH_REQUEST_H
#define SIM_AUTH_REQUEST_H

#include "details.h"
#include "query.h"

#define SIM_ACR_PASSWORD       "3gpp:acr:password"
#define SIM_SCOPE_ASSETS       "seal.da"
#define SIM_SCOPE_KEYS         "seal.km" /* TS 33.434 5.3 */
#define SIM_SCOPE_PROVISIONING "seal.kp" /* TS 33.434 5.8 */
#define SIM_NONCE_MAX          512u
#define SIM_SCOPE_BYTES_MAX    1024u

/** Is every word one that a client with that list may ask for? openid every client may. */
bool sim_scope_allowed(const char *scope, const char *const *allowed);

/** Strings are the parameters'. */
typedef struct sim_auth_request {
    const char *client_id, *redirect_uri;
    const char *state; /* NULL = none */
    const char *nonce; /* "" = none */
    const char *code_challenge;
    char scope[SIM_SCOPE_BYTES_MAX + 1]; /* each once, one blank between */
    const char *resource;                /* "" = the default */
    const char *login_hint;              /* "" = none */
    bool digital_asset;                  /* details are there */
    sim_details details;
    bool prompt_none, prompt_login, prompt_consent;
    int64_t max_age_s; /* -1 = none */
} sim_auth_request;

/** Who asks and where the answer goes: before the client and its redirect URI are known to fit
 *  together, nothing may be redirected. Sets client_id, redirect_uri and state; false: a page with
 *  reterr's description. */
bool sim_auth_request_target(const host_params *params, sim_auth_request *ret, sim_error *reterr);
/** The rest, once the client is known and may be redirected to. resources: NULL-terminated, those
 *  that tokens can be for. False: an error for the redirect URI. */
bool sim_auth_request_read(const host_params *params, const sim_client *client,
    const char *const *resources, sim_auth_request *ret, sim_error *reterr);

/** 43 to 128 characters of A-Z a-z 0-9 - . _ ~ whose SHA-256 is the challenge. */
bool sim_pkce_matches(const char *verifier, const char *challenge);

#endif
