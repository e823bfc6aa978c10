/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include "media_worker.h"
#include "program.h"
#include "skmc.h"
#include "sims.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define TEXT         PROGRAM_TEXT
#define RELOADED     PROGRAM_RELOADED
#define NUMBER       PROGRAM_NUMBER
#define FLAG         PROGRAM_FLAG
#define CHOICE       PROGRAM_CHOICE
#define TEXTS        PROGRAM_TEXTS

static const char *const modes[] = {"token+profile", "profile", "token", "literal", NULL};
static const char *const creates[] = {"any", "none", "list", NULL};
static const char *const revocations[] = {"none", "report", NULL};
static const char *const sources[] = {"file", "skms", NULL};

static const host_setting issuer_fields[] = {
    ISSUERS_KEY_SETTINGS,
    CHOICE("mode", modes, "token+profile", "which steps of the decision its tokens go through"),
    ISSUERS_TOKEN_SETTINGS,
    TEXTS("gpsi_namespaces",
        "GPSIs that it may assert: msisdn-DIGITS (a prefix), extid- or extid-*@domain; none "
        "given: all"),
    TEXT("gpsi_claim", 1, "gpsi", "the claim that says whom the holder is"),
    TEXT("profile_claim", 1, "Digital_profile", "the claim with the users allowed to use it"),
    FLAG("require_binding", "false",
        "takes only tokens that are bound to the caller's certificate (RFC 8705)"),
    FLAG("may_delegate", "false", "may issue tokens with `users`, for VAL servers"),
    CHOICE("revocations", revocations, "none",
        "report: its SIM-S must report revocations (TokenStatus.Report), and is heard, or its "
        "tokens "
        "are refused"),
    NUMBER("max_staleness_s", "s", 2, 86400, "60",
        "with revocations: report, how long its SIM-S may be silent"),
};

static const host_setting sims_fields[] = {
    TEXT("san", 1, NULL, "a DNS or URI name in the certificate of the SIM-S"),
    TEXT("issuer", 1, NULL, "the issuer that this SIM-S is bound to"),
    FLAG("full_list", "false", "may stream whole consumer lists"),
};

const host_setting dacm_settings[] = {
    TEXT("resource", 1, NULL, "resource URI: audience of tokens and issuer of manifests"),
    TEXT("listen.users.url", 1, NULL, "where VAL clients, SEAL clients and VAL servers call"),
    RELOADED("listen.users.certificate", 0, "", "PEM file of the certificate chain, leaf first"),
    RELOADED("listen.users.key", 0, "", "PEM file of its private key"),
    RELOADED("listen.users.client_ca", 0, "", "who may have signed client certificates"),
    RELOADED("listen.users.client_crl", 0, "", "their revocation lists, one for each CA, PEM"),
    FLAG("listen.users.allow_plain_text", "false", "allows a tcp:// url, on loopback only"),
    TEXT("listen.peers.url", 0, "", "where a SIM-S calls; empty: nowhere"),
    RELOADED("listen.peers.certificate", 0, "", "PEM file of the certificate chain, leaf first"),
    RELOADED("listen.peers.key", 0, "", "PEM file of its private key"),
    RELOADED("listen.peers.client_ca", 0, "", "who signs the certificates that are required"),
    RELOADED("listen.peers.client_crl", 0, "", "their revocation lists, one for each CA, PEM"),
    PROGRAM_ADMIN_SETTINGS,
    TEXTS("listen.admin.sans", "names in certificates that are operators"),
    TEXT("listen.https.address", 0, "127.0.0.1", "address for metrics, health and public keys"),
    NUMBER("listen.https.port", NULL, 0, 65535, "7480", "its port; 0: any"),
    TEXT("listen.https.certificate", 0, "", "PEM file; without: HTTP, on loopback only"),
    TEXT("listen.https.key", 0, "", "PEM file of its private key"),
    {.name = "issuers",
        .kind = HOST_MAP_LIST,
        .fields = issuer_fields,
        .field_count = COUNT(issuer_fields),
        .required_list = true,
        .reloadable = true,
        .description = "who may issue access tokens"},
    {.name = "peers.sims",
        .kind = HOST_MAP_LIST,
        .fields = sims_fields,
        .field_count = COUNT(sims_fields),
        .reloadable = true,
        .description = "who may ask for consumer lists and report revocations"},
    CHOICE("policy.create", creates, "any", "who may create assets"),
    TEXTS("policy.create_users", "GPSIs that may create where policy.create is list"),
    CHOICE("signing.source", sources, "file",
        "where the manifest keys come from: signing.key_file, or the SKM-S (skms.*)"),
    RELOADED(
        "signing.key_file", 0, "", "private manifest keys, a JWK set of mode 0600 (0640 at most)"),
    NUMBER("signing.manifest_life_s", "s", 60, 86400, "86400",
        "life of a manifest; it is signed again with a quarter left"),
    SKMC_SETTINGS,
    TEXT("store.directory", 1, NULL, "where assets and profiles are kept"),
    NUMBER("store.meta_map_bytes_max", "bytes", 65536, INT64_MAX, "1099511627776",
        "limit of records on disk"),
    NUMBER("store.chunks_map_bytes_max", "bytes", 65536, INT64_MAX, "1099511627776",
        "limit of content on disk"),
    NUMBER("store.readers_max", NULL, 16, 65536, "1024", "reads of the store at one time"),
    NUMBER("store.queue_max", NULL, 16, 1000000, "4096", "writes that may wait"),
    NUMBER("store.sweep_interval_s", "s", 1, 604800, "3600",
        "how often chunks that no version lists are looked for"),
    NUMBER("store.sweep_grace_s", "s", 1, 31536000, "86400", "how long such chunks are kept"),
    NUMBER("store.versions_max", NULL, 1, 1000000, "100", "versions kept per asset"),
    FLAG("media.adapt", "true", "adapts avatars to a recipe; needs the program dacm-media"),
    TEXT("media.program", 0, "", "path of dacm-media; empty: beside this program"),
    NUMBER("media.workers", NULL, 0, MEDIA_WORKERS_MAX, "0",
        "adaptations at a time; 0: half of the processors, at least 1"),
    NUMBER("media.queue", NULL, 1, MEDIA_QUEUE_MAX, "64", "adaptations that may wait"),
    NUMBER("media.jobs_per_user", NULL, 1, MEDIA_QUEUE_MAX, "16",
        "of them, and of those that run, by one user"),
    NUMBER("media.deadline_ms", "ms", 100, MEDIA_WORKERS_DEADLINE_MAX, "20000",
        "an adaptation that takes longer is ended"),
    NUMBER("media.memory_bytes", "bytes", 134217728, 68719476736, "1073741824",
        "an adaptation that wants more is ended"),
    NUMBER("media.source_bytes_max", "bytes", 1, 1073741824, "268435456",
        "larger assets are not adapted"),
    NUMBER("media.variants_bytes_max", "bytes", 0, INT64_MAX, "10737418240",
        "what variants may take, a quarter of the store at most; those used longest ago go"),
    PROGRAM_AUDIT_SETTINGS,
    PROGRAM_STRANGERS_SETTING,
    HOST_RPC_LIMITS(HOST_RPC_LIMIT_SETTING) HOST_HTTPS_LIMITS(HOST_RPC_LIMIT_SETTING)
        NUMBER("limits.object_bytes", "bytes", 1, 17179869184, "17179869184", "largest upload"),
    NUMBER("limits.uploads_per_owner", NULL, 1, 1000, "8", "running uploads of a user"),
    NUMBER("limits.list_memory_bytes", "bytes", 67108864, 1099511627776, "536870912",
        "chunk lists in memory, for all downloads"),
    NUMBER("limits.upload_idle_ms", "ms", 100, 3600000, "60000", "an upload may send nothing"),
    NUMBER("limits.upload_window_bytes", "bytes", 65535, 67108864, "1048576",
        "receive window of an authorised upload"),
    NUMBER("limits.drain_ms", "ms", 0, 600000, "10000", "SIGTERM waits for running calls"),
    NUMBER("threads.verify", NULL, 1, 64, "2", "threads that verify new tokens"),
    NUMBER("threads.sign", NULL, 1, 64, "4",
        "threads that wait for signatures of the SKM-S, of keys that do not leave it"),
    NUMBER("threads.upload", NULL, 1, 64, "2", "threads that hash uploads"),
    NUMBER("threads.media", NULL, 1, 64, "2",
        "threads that read what is to be adapted and store what was"),
    PROGRAM_LOG_SETTINGS,
};
const size_t dacm_settings_count = COUNT(dacm_settings);

static bool set(const host_values *values, const char *name)
{
    return host_string(values, name)[0] != '\0';
}

static rpc_code check_uids(const host_values *values, rpc_status *reterr)
{
    uid_t *uids = NULL;
    size_t count = 0;
    const rpc_code code = program_admin_uids(values, &uids, &count, reterr);
    free(uids);
    return code;
}

static rpc_code check_listener(const host_values *values, const char *name, rpc_status *reterr)
{
    char setting[64], certificate[64];
    snprintf(setting, sizeof setting, "listen.%s.url", name);
    snprintf(certificate, sizeof certificate, "listen.%s.certificate", name);
    const rpc_code code = program_check_url(values, name,
        strcmp(name, "users") == 0 && host_bool(values, "listen.users.allow_plain_text"), reterr);
    const char *url = host_string(values, setting);
    if (code != RPC_OK)
        return code;
    if (strcmp(name, "admin") != 0 && strncmp(url, "tls", 3) == 0 && !set(values, certificate))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'%s': '%s' needs a certificate and its key", certificate, url);
    return RPC_OK;
}

static rpc_code check_listeners(const host_values *values, rpc_status *reterr)
{
    static const char *const names[] = {"users", "peers", "admin"};
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < COUNT(names); i++)
        code = check_listener(values, names[i], reterr);
    if (code == RPC_OK)
        code = check_uids(values, reterr);
    return code == RPC_OK ? program_check_https(values, "https", reterr) : code;
}

static rpc_code check_modes(const host_values *values, bool allow_literal, rpc_status *reterr)
{
    for (size_t i = 0; i < host_list_count(values, "issuers"); i++)
        if (host_enum(host_map_list(values, "issuers", i), "mode") == DACM_MODE_LITERAL &&
            !allow_literal)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "'issuers[%zu].mode': literal lets any token holder name any listed user; start "
                "with --allow-literal if that is wanted",
                i);
    return RPC_OK;
}

/* An issuer that must report and cannot would be refused after max_staleness_s. */
static rpc_code check_reports(const host_values *values, rpc_status *reterr)
{
    for (size_t i = 0; i < host_list_count(values, "issuers"); i++) {
        const host_values *issuer = host_map_list(values, "issuers", i);
        bool can = false;
        if (host_enum(issuer, "revocations") != DACM_REVOCATIONS_REPORT)
            continue;
        for (size_t j = 0; j < host_list_count(values, "peers.sims"); j++)
            can = can || strcmp(host_string(host_map_list(values, "peers.sims", j), "issuer"),
                             host_string(issuer, "issuer")) == 0;
        if (!can || !set(values, "listen.peers.url"))
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "'issuers[%zu].revocations': report needs an entry of peers.sims for the issuer, "
                "and 'listen.peers.url' where its SIM-S calls",
                i);
    }
    return RPC_OK;
}

static rpc_code check_sims(const host_values *values, rpc_status *reterr)
{
    for (size_t i = 0; i < host_list_count(values, "peers.sims"); i++) {
        const char *issuer = host_string(host_map_list(values, "peers.sims", i), "issuer");
        bool known = false;
        for (size_t j = 0; j < host_list_count(values, "issuers") && !known; j++)
            known = strcmp(host_string(host_map_list(values, "issuers", j), "issuer"), issuer) == 0;
        if (!known)
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "'peers.sims[%zu].issuer': is none of the configured issuers", i);
    }
    return RPC_OK;
}

static rpc_code check_signing(const host_values *values, rpc_status *reterr)
{
    if (host_enum(values, "signing.source") == DACM_KEYS_OF_SKMS)
        return skmc_settings_check(values, reterr);
    if (!set(values, "signing.key_file"))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'signing.key_file': is needed with 'signing.source: file'; `dacm pki keys` makes one");
    return skmc_configured(values) ? skmc_settings_check(values, reterr) : RPC_OK;
}

static rpc_code check_watched(const host_values *values, rpc_status *reterr)
{
    for (size_t i = 0; i < host_list_count(values, "issuers"); i++)
        if (issuers_watched(host_map_list(values, "issuers", i)) && !skmc_configured(values))
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "'issuers[%zu].jwks_skms': needs an SKM-S; set 'skms.target' and what belongs to "
                "it",
                i);
    return RPC_OK;
}

rpc_code dacm_settings_check(const host_values *values, bool allow_literal, rpc_status *reterr)
{
    static const char *const pairs[][2] = {
        {"listen.users.certificate", "listen.users.key"},
        {"listen.peers.certificate", "listen.peers.key"},
        {"listen.https.certificate", "listen.https.key"},
    };
    for (size_t i = 0; i < COUNT(pairs); i++) {
        rpc_code code = program_check_pair(values, pairs[i][0], pairs[i][1], reterr);
        if (code != RPC_OK)
            return code;
    }
    static const char *const lists[][2] = {
        {"listen.users.client_crl", "listen.users.client_ca"},
        {"listen.peers.client_crl", "listen.peers.client_ca"},
    };
    for (size_t i = 0; i < COUNT(lists); i++)
        if (set(values, lists[i][0]) && !set(values, lists[i][1]))
            return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
                "'%s': revokes certificates of '%s'; set that as well", lists[i][0], lists[i][1]);
    if (set(values, "listen.peers.url") && !set(values, "listen.peers.client_ca"))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'listen.peers.client_ca': peers need a client certificate; say who signs it");
    rpc_code code = check_signing(values, reterr);
    if (code == RPC_OK)
        code = check_listeners(values, reterr);
    if (code == RPC_OK)
        code = dacm_issuers_check(values, reterr);
    if (code == RPC_OK)
        code = check_watched(values, reterr);
    if (code == RPC_OK)
        code = check_modes(values, allow_literal, reterr);
    if (code == RPC_OK)
        code = check_reports(values, reterr);
    return code == RPC_OK ? check_sims(values, reterr) : code;
}
