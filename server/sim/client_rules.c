/* SPDX-License-Identifier: Apache-2.0 */
/* What may stand in a client's registration, and where it may be redirected to. */
#include "client_rules.h"

#include <stdlib.h>

#define JWKS_BYTES_MAX 16384u
#define SAN_MAX        255u
#define SCOPE_MAX      64u

#define DIGITS "0123456789"
#define ALNUM  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGITS

#define BAD(reterr, ...) rpc_status_set((reterr), RPC_INVALID_ARGUMENT, __VA_ARGS__)

/* ---- redirect URIs (RFC 6749 3.1.2, RFC 8252, RFC 9700 4.1) -------------------------------------
 */

/* The length of "http://127.0.0.1" or "http://[::1]" that uri begins with; 0: neither. */
static size_t loopback_prefix(const char *uri)
{
    static const char *const hosts[] = {"http://127.0.0.1", "http://[::1]"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        size_t size = strlen(hosts[i]);
        if (strncmp(uri, hosts[i], size) == 0 && (uri[size] == '\0' || strchr(":/?", uri[size])))
            return size;
    }
    return 0;
}

/* ":8080" in ":8080/path": its length; 0 when there is none; -1 when it is no port. */
static int port_length(const char *text)
{
    if (text[0] != ':')
        return 0;
    size_t digits = strspn(text + 1, DIGITS);
    if (digits < 1 || digits > 5 || (text[1 + digits] && !strchr("/?", text[1 + digits])))
        return -1;
    unsigned long port = strtoul(text + 1, NULL, 10);
    return port >= 1 && port <= 65535 ? (int)(1 + digits) : -1;
}

static bool uri_characters(const char *uri)
{
    return strspn(uri, ALNUM "-._~:/?[]@!$&'()*+,;=%") == strlen(uri);
}

static bool host_valid(const char *rest)
{
    size_t size = strcspn(rest, "/?");
    if (size == 0 || memchr(rest, '@', size))
        return false;
    size_t host = rest[0] == '[' ? strcspn(rest, "]") + 1 : strcspn(rest, ":/?");
    return host >= 1 && host <= size && rest[0] != ':' && port_length(rest + host) >= 0 &&
           (rest[host] == '\0' || strchr(":/?", rest[host])) && !memchr(rest, '*', host);
}

static bool private_scheme(const char *uri)
{
    size_t size = strspn(uri, ALNUM "+-.");
    return uri[size] == ':' && uri[size + 1] && memchr(uri, '.', size) &&
           strspn(uri, DIGITS "+-.") == 0;
}

static rpc_code check_redirect(const char *uri, rpc_status *reterr)
{
    if (strnlen(uri, SIM_REDIRECT_MAX + 1) > SIM_REDIRECT_MAX || !uri[0])
        return BAD(reterr, "redirect_uris: each of 1 to %d characters", SIM_REDIRECT_MAX);
    if (strchr(uri, '#'))
        return BAD(reterr, "redirect_uris: '%.200s' has a fragment (#), which is not allowed", uri);
    if (!uri_characters(uri))
        return BAD(reterr, "redirect_uris: one has a character that is none of a URI's");
    if (strncmp(uri, "https://", 8) == 0)
        return host_valid(uri + 8) ? RPC_OK
                                   : BAD(reterr, "redirect_uris: '%.200s' has no plain host", uri);
    if (strncmp(uri, "http:", 5) == 0) {
        size_t size = loopback_prefix(uri);
        return size && port_length(uri + size) >= 0
                   ? RPC_OK
                   : BAD(reterr,
                         "redirect_uris: '%.200s' is plain http, which is for http://127.0.0.1 and "
                         "http://[::1] only; use https",
                         uri);
    }
    return private_scheme(uri)
               ? RPC_OK
               : BAD(reterr,
                     "redirect_uris: '%.200s' is neither https nor http on a loopback address nor "
                     "a private scheme with a dot (com.example.app:/…)",
                     uri);
}

/* RFC 8252 7.3: the port of a loopback address is the application's to choose. */
static bool any_port(const char *registered, const char *redirect)
{
    size_t size = loopback_prefix(registered);
    if (size == 0 || registered[size] == ':' || strncmp(registered, redirect, size) != 0)
        return false;
    int port = port_length(redirect + size);
    return port > 0 && strcmp(redirect + size + port, registered + size) == 0;
}

bool sim_client_redirects_to(const sim_client *client, const char *redirect)
{
    for (const char *const *uri = client->redirect_uris; uri && *uri; uri++)
        if (strcmp(*uri, redirect) == 0 || any_port(*uri, redirect))
            return true;
    return false;
}

/* ---- the other members
 * ---------------------------------------------------------------------------- */

static rpc_code check_id(const char *client_id, rpc_status *reterr)
{
    size_t size = strnlen(client_id, SIM_CLIENT_ID_MAX + 1);
    if (size < 1 || size > SIM_CLIENT_ID_MAX)
        return BAD(reterr, "client_id: 1 to %d characters", SIM_CLIENT_ID_MAX);
    if (strspn(client_id, ALNUM "._~-:/") != size)
        return BAD(reterr, "client_id: letters, digits and . _ ~ - : / of ASCII only");
    return RPC_OK;
}

static rpc_code check_jwks(const char *jwks, rpc_status *reterr)
{
    rpc_status why = {0};
    trust_keyring *ring = NULL;
    size_t size = strnlen(jwks, JWKS_BYTES_MAX + 1);
    if (size > JWKS_BYTES_MAX)
        return BAD(reterr, "jwks: at most %u bytes", JWKS_BYTES_MAX);
    if (trust_keyring_parse_published(
            rpc_bytes_of(jwks, size), TRUST_FOR_CLIENTS, TRUST_ALG_RS256, 1, &ring, &why) != RPC_OK)
        return BAD(reterr, "jwks: %.300s", why.message);
    size_t count = trust_keyring_count(ring);
    trust_keyring_unref(ring);
    return count ? RPC_OK : BAD(reterr, "jwks: has no key of a type that we know");
}

static rpc_code check_credentials(const sim_client *client, rpc_status *reterr)
{
    bool by_key = client->auth == SIM_AUTH_PRIVATE_KEY_JWT, by_tls = client->auth == SIM_AUTH_TLS;
    if (client->auth > SIM_AUTH_SECRET_BASIC)
        return BAD(reterr, "auth: unknown");
    if (by_key != (client->jwks && client->jwks[0]))
        return BAD(reterr, by_key ? "jwks: private_key_jwt needs the client's public keys"
                                  : "jwks: is for private_key_jwt only");
    if (by_tls != (client->tls_san && client->tls_san[0]))
        return BAD(reterr, by_tls ? "tls_san: tls_client_auth needs a name of the certificate"
                                  : "tls_san: is for tls_client_auth only");
    if (by_tls && (strlen(client->tls_san) > SAN_MAX ||
                      rpc_printable_run(rpc_bytes_str(client->tls_san)) != strlen(client->tls_san)))
        return BAD(reterr, "tls_san: at most %u printable characters", SAN_MAX);
    return by_key ? check_jwks(client->jwks, reterr) : RPC_OK;
}

static rpc_code check_grants(const sim_client *client, rpc_status *reterr)
{
    const unsigned all = SIM_GRANT_CODE | SIM_GRANT_REFRESH | SIM_GRANT_CLIENT_CREDENTIALS;
    bool code = client->grants & SIM_GRANT_CODE, redirects = sim__count(client->redirect_uris);
    if (!client->grants || (client->grants & ~all))
        return BAD(reterr, "grant_types: at least one of authorization_code, refresh_token and "
                           "client_credentials");
    if ((client->grants & SIM_GRANT_REFRESH) && !code)
        return BAD(reterr, "grant_types: refresh_token needs authorization_code");
    if (code != redirects)
        return BAD(reterr, code ? "redirect_uris: authorization_code needs one"
                                : "redirect_uris: are for authorization_code only");
    if ((client->grants & SIM_GRANT_CLIENT_CREDENTIALS) && client->auth == SIM_AUTH_NONE)
        return BAD(reterr, "grant_types: client_credentials needs a client that authenticates");
    if (!(client->grants & SIM_GRANT_CLIENT_CREDENTIALS) && sim__count(client->users))
        return BAD(reterr, "users: are for client_credentials only");
    return RPC_OK;
}

static bool user_pattern(const char *text)
{
    static const char any[] = "extid-*@";
    return trust_gpsi_valid(rpc_bytes_str(text)) ||
           (strncmp(text, any, sizeof any - 1) == 0 && trust_gpsi_namespace_valid(text));
}

static rpc_code check_lists(const sim_client *client, rpc_status *reterr)
{
    if (sim__count(client->redirect_uris) > SIM_REDIRECTS_MAX)
        return BAD(reterr, "redirect_uris: at most %d", SIM_REDIRECTS_MAX);
    if (sim__count(client->scopes) > SIM_SCOPES_MAX)
        return BAD(reterr, "scopes: at most %d", SIM_SCOPES_MAX);
    if (sim__count(client->users) > SIM_RIGHTS_MAX)
        return BAD(reterr, "users: at most %d; use a domain (extid-*@example.com)", SIM_RIGHTS_MAX);
    for (const char *const *uri = client->redirect_uris; uri && *uri; uri++)
        if (check_redirect(*uri, reterr) != RPC_OK)
            return RPC_INVALID_ARGUMENT;
    for (const char *const *scope = client->scopes; scope && *scope; scope++) {
        size_t size = strlen(*scope);
        if (size < 1 || size > SCOPE_MAX || rpc_printable_run(rpc_bytes_str(*scope)) != size ||
            strcspn(*scope, " \"\\") != size)
            return BAD(reterr, "scopes: each of 1 to %u printable characters but space, \" and \\",
                SCOPE_MAX);
    }
    for (const char *const *user = client->users; user && *user; user++)
        if (!user_pattern(*user))
            return BAD(reterr, "users: each a GPSI, or extid-*@domain for all of a domain");
    return RPC_OK;
}

/* One claim of the token holds them all. */
static rpc_code check_key_services(const sim_client *client, rpc_status *reterr)
{
    size_t size = 0;
    for (const char *const *id = client->key_services; id && *id; id++) {
        const size_t length = strlen(*id);
        if (length == 0 || rpc_printable_run(rpc_bytes_str(*id)) != length ||
            strcspn(*id, " \"\\") != length)
            return BAD(reterr, "key_services: each a VAL service ID of printable characters but "
                               "space, \" and \\");
        size += length + (size > 0);
    }
    if (size > SIM_SKEYPROV_MAX)
        return BAD(reterr,
            "key_services: %zu bytes together, at most %d fit into SKeyProv; "
            "register another client for the others",
            size, SIM_SKEYPROV_MAX);
    if (size > 0 && (!(client->grants & SIM_GRANT_CLIENT_CREDENTIALS) ||
                        !sim__holds(client->scopes, "seal.kp")))
        return BAD(reterr, "key_services: are for client_credentials with scope seal.kp only");
    return RPC_OK;
}

rpc_code sim__client_check(const sim_client *client, rpc_status *reterr)
{
    rpc_code code = check_id(client->client_id, reterr);
    if (code == RPC_OK)
        code = sim__check_display_name(client->name ? client->name : "", reterr);
    if (code == RPC_OK)
        code = check_credentials(client, reterr);
    if (code == RPC_OK)
        code = check_grants(client, reterr);
    if (code == RPC_OK)
        code = check_lists(client, reterr);
    if (code == RPC_OK)
        code = check_key_services(client, reterr);
    if (code == RPC_OK && client->token_alg != TRUST_ALG_EDDSA &&
        client->token_alg != TRUST_ALG_RS256)
        code = BAD(reterr, "token_alg: EdDSA or RS256");
    if (code == RPC_OK && client->consent > SIM_CONSENT_NEVER)
        code = BAD(reterr, "consent: unknown");
    return code;
}
