/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include "program.h"
#include "skmc.h"

#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TEXT         PROGRAM_TEXT
#define RELOADED     PROGRAM_RELOADED
#define NUMBER       PROGRAM_NUMBER
#define CHOICE       PROGRAM_CHOICE

static const char *const sources[] = {"file", "skms", NULL};
static const char *const discloses[] = {"own", "full", NULL};

static const host_setting dacm_fields[] = {
    TEXT("resource", 1, NULL, "its resource URI: `aud` of tokens for it"),
    TEXT("target", 1, NULL, "its peers' listener, tls+tcp://host:port"),
    TEXT("ca", 1, NULL, "who may have signed its certificate, PEM"),
    TEXT("certificate", 1, NULL, "our certificate there, PEM; peers.sims of the DACM names it"),
    TEXT("key", 1, NULL, "PEM file of its private key"),
    TEXT("server_name", 0, "", "name in its certificate; empty: the target's host"),
    CHOICE("disclose", discloses, "own",
        "what Digital_profile says: only the users that the token acts for (own), or the whole "
        "list up to 4 KiB (full; the DACM's peers.sims must have full_list)"),
};

const host_setting sim_settings[] = {
    TEXT("issuer", 1, NULL,
        "`iss` of tokens: https URL without a slash at its end, under which clients reach this "
        "server"),
    TEXT("listen.https.address", 0, "127.0.0.1", "address for browsers and clients"),
    NUMBER("listen.https.port", NULL, 0, 65535, "7543", "its port; 0: any"),
    RELOADED("listen.https.certificate", 1, NULL, "PEM file of the certificate chain, leaf first"),
    RELOADED("listen.https.key", 1, NULL, "PEM file of its private key"),
    TEXT("listen.mtls.address", 0, "",
        "address for clients that come with a certificate (RFC 8705); empty: none"),
    NUMBER("listen.mtls.port", NULL, 0, 65535, "7544", "its port; 0: none"),
    RELOADED("listen.mtls.client_ca", 0, "", "who may have signed client certificates, PEM"),
    RELOADED("listen.mtls.client_crl", 0, "", "revocation lists of these CAs, PEM; empty: none"),
    TEXT("listen.mtls.url", 0, "",
        "base of its endpoints as clients see them; empty: the issuer with this port"),
    TEXT("listen.ops.address", 0, "127.0.0.1", "address for metrics and health"),
    NUMBER("listen.ops.port", NULL, 0, 65535, "7580", "its port; 0: any"),
    TEXT("listen.ops.certificate", 0, "", "PEM file; without: HTTP, on loopback only"),
    TEXT("listen.ops.key", 0, "", "PEM file of its private key"),
    PROGRAM_ADMIN_SETTINGS,
    {.name = "dacms",
        .kind = HOST_MAP_LIST,
        .fields = dacm_fields,
        .field_count = COUNT(dacm_fields),
        .required_list = true,
        .description = "for whom tokens are; the first where a client names none"},
    PROGRAM_TEXTS("skms.resources",
        "resource URIs of SKM-Ss, `aud` of tokens with seal.km and seal.kp for VAL servers"),
    CHOICE("keys.source", sources, "file",
        "where the keys that sign tokens come from: a file, or the SKM-S (skms.*)"),
    RELOADED("keys.file", 0, "",
        "private token keys, a JWK set of mode 0600 (0640 at most); with keys.source: file"),
    SKMC_SETTINGS,
    NUMBER("tokens.access_life_s", "s", 30, 900, "300",
        "life of an access token: how long a revocation may stay unknown to a DACM that is cut "
        "off"),
    NUMBER("tokens.id_life_s", "s", 31, 86400, "600",
        "life of an ID token, above that of access tokens (TS 33.434 6.2.2)"),
    NUMBER("grants.code_life_s", "s", 1, 600, "60", "an authorization code can be exchanged"),
    NUMBER("grants.refresh_idle_s", "s", 60, 31536000, "604800",
        "a refresh token that nobody uses is good"),
    NUMBER("grants.refresh_life_s", "s", 60, 31536000, "2592000",
        "after so long the user logs in again, whatever happens"),
    NUMBER("grants.per_user_and_client", NULL, 0, 1024, "64",
        "logins of a user with a client that can be refreshed: one more ends the oldest; 0: no "
        "limit, so that one user may fill the store"),
    NUMBER("login.session_life_s", "s", 60, 2592000, "28800",
        "a browser need not ask for the password again"),
    NUMBER("login.attempts_per_user", NULL, 1, 1000, "10", "wrong passwords of a user in a row"),
    NUMBER("login.attempt_per_user_s", "s", 1, 86400, "60", "after so long there is one more"),
    NUMBER("login.attempts_per_address", NULL, 1, 100000, "50",
        "wrong passwords from an address (of IPv6: a /64) in a row"),
    NUMBER("login.attempt_per_address_s", "s", 1, 86400, "10", "after so long there is one more"),
    NUMBER("login.client_failures", NULL, 1, 100000, "50",
        "failed authentications of a client from an address (of IPv6: a /64) in a row"),
    NUMBER("login.client_failure_s", "s", 1, 86400, "1", "after so long there is one more"),
    NUMBER("login.names_max", NULL, 64, 16777216, "65536",
        "users, addresses and clients whose failures are remembered, each"),
    NUMBER("login.password_memory_bytes", "bytes", 1048576, 4294967296, "12582912",
        "memory of one Argon2id"),
    NUMBER("login.password_passes", NULL, 1, 100, "3", "passes over it"),
    NUMBER("login.hashes_at_once", NULL, 1, 64, "2", "others wait for their turn"),
    NUMBER("login.hashes_waiting_max", NULL, 1, 255, "16",
        "logins that wait for it; more are told to come later. Below http.workers, so that tokens "
        "go on meanwhile"),
    NUMBER("login.hashes_per_user", NULL, 1, 319, "4",
        "of these and those that are made, of one user: nobody takes all the turns"),
    PROGRAM_HTTP_WORKERS,
    NUMBER("step5a.deadline_ms", "ms", 10, 60000, "2000", "a DACM may take to answer"),
    NUMBER("step5a.waiting_max", NULL, 1, 255, "32",
        "requests that wait for one DACM at a time; more are told to come later. Below "
        "http.workers, so that a DACM that hangs stops nothing else"),
    TEXT("store.directory", 1, NULL, "where users, clients and grants are kept"),
    NUMBER("store.meta_map_bytes_max", "bytes", 1048576, INT64_MAX, "17179869184",
        "limit of records on disk"),
    NUMBER("store.readers_max", NULL, 16, 65536, "1024", "reads of the store at one time"),
    NUMBER("store.queue_max", NULL, 16, 1000000, "4096", "writes that may wait"),
    NUMBER("store.sweep_interval_s", "s", 1, 86400, "60", "how often what expired is removed"),
    NUMBER(
        "store.revocations_max", NULL, 1024, 67108864, "1048576", "revocations in force at a time"),
    PROGRAM_AUDIT_SETTINGS,
    PROGRAM_STRANGERS_SETTING,
    HOST_RPC_LIMITS(HOST_RPC_LIMIT_SETTING) HOST_HTTPS_LIMITS(HOST_RPC_LIMIT_SETTING)
        NUMBER("limits.drain_ms", "ms", 0, 600000, "10000", "SIGTERM waits for running calls"),
    PROGRAM_LOG_SETTINGS,
};
const size_t sim_settings_count = COUNT(sim_settings);

static bool set(const host_values *values, const char *name)
{
    return host_string(values, name)[0] != '\0';
}

/* ---- the issuer ------------------------------------------------------------------------------ */

static bool host_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == ':' ||
           c == '[' || c == ']';
}

static bool path_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("/-._~", c));
}

/* https://host[:port][/path], in the one spelling that clients compare byte for byte. */
static const char *why_no_base(const char *url)
{
    if (strlen(url) > SIM_ISSUER_MAX)
        return "is longer than 255 bytes";
    if (strncmp(url, "https://", 8) != 0)
        return "does not begin with https://";
    const char *host = url + 8, *path = host;
    while (host_char(*path))
        path++;
    if (path == host || (*path && *path != '/'))
        return "has no host of lower-case letters, digits, dots and hyphens";
    for (const char *at = path; *at; at++)
        if (!path_char(*at) || (at[0] == '/' && at[1] == '/'))
            return "has a path with other characters than letters, digits and -._~ between slashes";
    return url[strlen(url) - 1] == '/' ? "ends with a slash; leave it out" : NULL;
}

static rpc_code check_base(const host_values *values, const char *name, rpc_status *reterr)
{
    const char *why = why_no_base(host_string(values, name));
    return why ? rpc_status_set(reterr, RPC_INVALID_ARGUMENT, "'%s': '%.260s' %s", name,
                     host_string(values, name), why)
               : RPC_OK;
}

bool sim_settings_mtls_url(const host_values *values, char *ret, size_t room)
{
    if (!set(values, "listen.mtls.address") || host_int(values, "listen.mtls.port") == 0)
        return rpc_text_copy(ret, room, "");
    if (set(values, "listen.mtls.url"))
        return rpc_text_copy(ret, room, host_string(values, "listen.mtls.url"));
    const char *issuer = host_string(values, "issuer"), *host = issuer + 8;
    const char *path = host + strcspn(host, "/");
    const char *bracket = host[0] == '[' ? strchr(host, ']') : NULL;
    const char *from = bracket ? bracket : host;
    const char *colon = memchr(from, ':', (size_t)(path - from));
    const int host_size = (int)((colon ? colon : path) - issuer);
    const int size = snprintf(ret, room, "%.*s:%u%s", host_size, issuer,
        (unsigned)host_int(values, "listen.mtls.port"), path);
    return size > 0 && (size_t)size < room;
}

/* ---- what contradicts --------------------------------------------------------------------------
 */

static rpc_code check_mtls(const host_values *values, rpc_status *reterr)
{
    if (!set(values, "listen.mtls.address") || host_int(values, "listen.mtls.port") == 0)
        return RPC_OK;
    if (!set(values, "listen.mtls.client_ca"))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'listen.mtls.client_ca': clients need a certificate there; say who signs it");
    return set(values, "listen.mtls.url") ? check_base(values, "listen.mtls.url", reterr) : RPC_OK;
}

static rpc_code check_lives(const host_values *values, rpc_status *reterr)
{
    if (host_int(values, "tokens.id_life_s") <= host_int(values, "tokens.access_life_s"))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'tokens.id_life_s': an access token must not outlive the login: set it above "
            "tokens.access_life_s (TS 33.434 6.2.2)");
    if (host_int(values, "grants.refresh_idle_s") > host_int(values, "grants.refresh_life_s"))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'grants.refresh_idle_s': is above grants.refresh_life_s, which ends a grant whatever "
            "happens");
    return RPC_OK;
}

/* Logins hash for long, and a DACM may hang: neither may take every worker from the rest. */
static rpc_code check_workers(const host_values *values, rpc_status *reterr)
{
    const int64_t workers = host_int(values, "http.workers");
    if (host_int(values, "login.hashes_waiting_max") + host_int(values, "login.hashes_at_once") >=
        workers)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'http.workers': logins could take all of them: set it above login.hashes_at_once and "
            "login.hashes_waiting_max together");
    if (host_int(values, "step5a.waiting_max") >= workers)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'step5a.waiting_max': a DACM that hangs could take all http.workers: set it below");
    return RPC_OK;
}

static rpc_code check_dacm(const host_values *dacm, size_t index, rpc_status *reterr)
{
    const char *target = host_string(dacm, "target"), *resource = host_string(dacm, "resource");
    for (const char *at = resource; *at; at++) /* of a URI, and a label of metrics */
        if (*at <= ' ' || *at > '~' || *at == '"' || *at == '\\')
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "'dacms[%zu].resource': has a blank, quote, backslash or something that is not "
                "ASCII; no URI has",
                index);
    if (strncmp(target, "tls+tcp://", 10) != 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'dacms[%zu].target': '%.200s' does not begin with tls+tcp://: SEAL-E is mutual TLS",
            index, target);
    return RPC_OK;
}

static rpc_code check_dacms(const host_values *values, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < host_list_count(values, "dacms"); i++) {
        const host_values *dacm = host_map_list(values, "dacms", i);
        code = check_dacm(dacm, i, reterr);
        for (size_t j = 0; code == RPC_OK && j < i; j++)
            if (strcmp(host_string(host_map_list(values, "dacms", j), "resource"),
                    host_string(dacm, "resource")) == 0)
                code = rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                    "'dacms[%zu].resource': is configured twice; keep one of the entries", i);
    }
    return code;
}

static rpc_code check_admin(const host_values *values, rpc_status *reterr)
{
    uid_t *uids = NULL;
    size_t count = 0;
    rpc_code code = program_admin_uids(values, &uids, &count, reterr);
    free(uids);
    if (code != RPC_OK)
        return code;
    if (set(values, "listen.admin.url") &&
        strncmp(host_string(values, "listen.admin.url"), "ipc://", 6) != 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'listen.admin.url': '%.200s' is no ipc:// socket, and only there a user ID is known",
            host_string(values, "listen.admin.url"));
    return program_check_url(values, "admin", false, reterr);
}

static rpc_code check_keys(const host_values *values, rpc_status *reterr)
{
    if (host_enum(values, "keys.source") == SIM_KEYS_OF_SKMS)
        return skmc_settings_check(values, reterr);
    return set(values, "keys.file")
               ? RPC_OK
               : rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                     "'keys.file': is needed with 'keys.source: file'; `dacm pki keys` makes one");
}

rpc_code sim_settings_check(const host_values *values, rpc_status *reterr)
{
    rpc_code code = check_base(values, "issuer", reterr);
    if (code == RPC_OK)
        code = program_check_https(values, "https", reterr);
    if (code == RPC_OK)
        code = check_mtls(values, reterr);
    if (code == RPC_OK)
        code = program_check_pair(values, "listen.ops.certificate", "listen.ops.key", reterr);
    if (code == RPC_OK)
        code = program_check_https(values, "ops", reterr);
    if (code == RPC_OK)
        code = check_admin(values, reterr);
    if (code == RPC_OK)
        code = check_lives(values, reterr);
    if (code == RPC_OK)
        code = check_workers(values, reterr);
    if (code == RPC_OK)
        code = check_keys(values, reterr);
    return code == RPC_OK ? check_dacms(values, reterr) : code;
}
