/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include "issuers.h"
#include "master.h"
#include "program.h"
#include "trust.h"

#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TEXT         PROGRAM_TEXT
#define RELOADED     PROGRAM_RELOADED
#define NUMBER       PROGRAM_NUMBER
#define CHOICE       PROGRAM_CHOICE
#define YEARS_S      316224000 /* ten */

static const host_setting issuer_fields[] = {
    ISSUERS_KEY_SETTINGS,
    ISSUERS_TOKEN_SETTINGS,
    NUMBER("token_life_s_max", "s", 30, 900, "300",
        "the longest life of its tokens: no revocation reaches this server"),
};

const host_setting skm_settings[] = {
    TEXT("issuer", 1, NULL, "`iss` of key sets: the URI that verifiers know this server by"),
    TEXT("resource", 0, "", "resource URI: audience of VAL servers' tokens; needed with issuers"),
    {.name = "issuers",
        .kind = HOST_MAP_LIST,
        .fields = issuer_fields,
        .field_count = COUNT(issuer_fields),
        .reloadable = true,
        .description = "who may issue access tokens to VAL servers; none: no VAL server comes"},
    TEXT("listen.keys.url", 1, "tls+tcp://127.0.0.1:7643",
        "listener for SKM-Cs and verifiers, tls+tcp://host:port"),
    RELOADED("listen.keys.certificate", 1, NULL, "PEM file of the certificate chain, leaf first"),
    RELOADED("listen.keys.key", 1, NULL, "PEM file of its private key"),
    RELOADED("listen.keys.client_ca", 1, NULL, "who may have signed the SKM-Cs' certificates, PEM"),
    RELOADED("listen.keys.client_crl", 0, "", "revocation lists of these CAs, PEM; empty: none"),
    TEXT("listen.https.address", 0, "127.0.0.1", "address for key sets, metrics and health"),
    NUMBER("listen.https.port", NULL, 0, 65535, "7680", "its port; 0: any"),
    RELOADED("listen.https.certificate", 0, "", "PEM file; without: HTTP, on loopback only"),
    RELOADED("listen.https.key", 0, "", "PEM file of its private key"),
    PROGRAM_ADMIN_SETTINGS,
    CHOICE("master.source", skm_master_sources, "file",
        "where the secret comes from that all private keys are sealed under: a file, a descriptor "
        "that is open at the start, or a credential of systemd"),
    TEXT("master.file", 0, "", "of mode 0600 (0640 at most); 16 bytes at least, one line"),
    NUMBER("master.descriptor", NULL, 3, 1048576, "3", "it is read to its end and closed"),
    TEXT("master.credential", 0, "skmsd.master", "LoadCredential= of its unit gives it"),
    PROGRAM_FLAG("master.allow_unlocked", "false",
        "start where no memory can be locked (RLIMIT_MEMLOCK): private keys may be swapped out"),
    NUMBER("master.memory_bytes", "bytes", 8192, 17179869184, "268435456",
        "of Argon2id over the secret, of a new store"),
    NUMBER("master.passes", NULL, 1, 1000, "3", "over that memory, of a new store"),
    NUMBER(
        "keys.active_s", "s", 60, YEARS_S, "7776000", "a key signs, where a service says nothing"),
    NUMBER("keys.published_before_s", "s", 0, YEARS_S, "86400",
        "a key is published before its first signature: above the time for which verifiers keep a "
        "set, an hour"),
    NUMBER("keys.verify_only_s", "s", 0, YEARS_S, "172800",
        "after its last signature a key is there for what it signed: above the life of that (a "
        "manifest: 24 h) and an hour"),
    NUMBER("keysets.life_s", "s", 60, 3600, "3600",
        "a signed key set is good: how long a verifier that is cut off trusts a key that was "
        "revoked"),
    NUMBER("keysets.max_age_s", "s", 0, 3600, "300", "caches may keep /.well-known/jwks.json"),
    NUMBER("keysets.watchers_max", NULL, 1, 1000000, "10000",
        "calls of WatchKeys at a time of callers without a certificate, and as many of those with "
        "one; more are told to come later"),
    NUMBER("keysets.watchers_per_peer", NULL, 1, 1000000, "1000",
        "of these, of one certificate, or without one of one address (of IPv6: a /64)"),
    NUMBER("enrolments.token_life_s", "s", 60, 604800, "3600", "an enrolment's token is good"),
    NUMBER("signing.count_interval_s", "s", 1, 3600, "60",
        "how often the audit trail is told what delegated keys signed"),
    NUMBER("http.workers", NULL, 2, 256, "4", "requests that are worked on at a time"),
    NUMBER("http.polling_threads", NULL, 1, 64, "1", "threads that read, write and do the TLS"),
    TEXT("store.directory", 1, NULL, "where services, SKM-Cs and sealed keys are kept"),
    NUMBER("store.meta_map_bytes_max", "bytes", 1048576, INT64_MAX, "1073741824",
        "limit of records on disk"),
    NUMBER("store.readers_max", NULL, 16, 65536, "256", "reads of the store at one time"),
    NUMBER("store.queue_max", NULL, 16, 1000000, "4096", "writes that may wait"),
    NUMBER("store.services_max", NULL, 1, 65536, "1024", "VAL services"),
    PROGRAM_AUDIT_SETTINGS,
    PROGRAM_STRANGERS_SETTING,
    HOST_RPC_LIMITS(HOST_RPC_LIMIT_SETTING) HOST_HTTPS_LIMITS(HOST_RPC_LIMIT_SETTING)
        NUMBER("limits.drain_ms", "ms", 0, 600000, "10000", "SIGTERM waits for running calls"),
    PROGRAM_LOG_SETTINGS,
};
const size_t skm_settings_count = COUNT(skm_settings);

/* ---- what contradicts --------------------------------------------------------------------------
 */

static rpc_code check_issuer(const host_values *values, rpc_status *reterr)
{
    const char *issuer = host_string(values, "issuer");
    if (strlen(issuer) > TRUST_SERVICE_BYTES_MAX)
        return rpc_status_set(
            reterr, RPC_INVALID_ARGUMENT, "'issuer': is longer than 255 bytes; shorten it");
    for (const char *at = issuer; *at; at++)
        if (*at <= ' ' || *at > '~')
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "'issuer': has a blank or something that is not ASCII; no URI has");
    return RPC_OK;
}

static rpc_code check_master(const host_values *values, rpc_status *reterr)
{
    static const char *const needed[] = {"master.file", NULL, "master.credential"};
    const char *setting = needed[host_enum(values, "master.source")];
    return setting && !host_string(values, setting)[0]
               ? rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                     "'%s': master.source needs it; set it, or choose another source", setting)
               : RPC_OK;
}

static rpc_code check_lives(const host_values *values, rpc_status *reterr)
{
    const int64_t before = host_int(values, "keys.published_before_s");
    if (before > host_int(values, "keys.active_s"))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'keys.published_before_s': is above keys.active_s: the key after it would be late");
    return RPC_OK;
}

static rpc_code check_admin(const host_values *values, rpc_status *reterr)
{
    uid_t *uids = NULL;
    size_t count = 0;
    const char *url = host_string(values, "listen.admin.url");
    rpc_code code = program_admin_uids(values, &uids, &count, reterr);
    free(uids);
    if (code != RPC_OK)
        return code;
    if (url[0] && strncmp(url, "ipc://", 6) != 0)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'listen.admin.url': '%.200s' is no ipc:// socket, and only there a user ID is known",
            url);
    return program_check_url(values, "admin", false, reterr);
}

/* A token without an audience would be good for any server. */
static rpc_code check_tokens(const host_values *values, rpc_status *reterr)
{
    return host_list_count(values, "issuers") > 0 && !host_string(values, "resource")[0]
               ? rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                     "'resource': tokens of 'issuers' are for a resource; say what this server is "
                     "called there")
               : issuers_check(values, reterr);
}

rpc_code skm_settings_check(const host_values *values, rpc_status *reterr)
{
    rpc_code code = check_issuer(values, reterr);
    if (code == RPC_OK)
        code = check_master(values, reterr);
    if (code == RPC_OK)
        code = check_lives(values, reterr);
    if (code == RPC_OK)
        code = check_tokens(values, reterr);
    if (code == RPC_OK)
        code = program_check_url(values, "keys", false, reterr);
    if (code == RPC_OK)
        code = program_check_pair(values, "listen.https.certificate", "listen.https.key", reterr);
    if (code == RPC_OK)
        code = program_check_https(values, "https", reterr);
    return code == RPC_OK ? check_admin(values, reterr) : code;
}
