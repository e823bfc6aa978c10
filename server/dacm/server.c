/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that dacmd consists of, made in order and unmade in the reverse. A member that was
 * not made yet is NULL, so one function unmakes a half-made server too. */
#include "server.h"

#include "adapting.h"
#include "dacm_internal.h"
#include "peers.h"
#include "program.h"
#include "proto_descriptors.h"
#include "settings.h"
#include "skms.h"
#include "sweep.h"
#include "walk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#define RING_ENTRIES       8192u
#define CACHED_TOKENS      65536u
#define CACHED_TOKEN_BYTES (128u << 20)
#define REVOCATIONS_MAX    1000000u
#define POOL_QUEUE_MAX     65536u
#define NO_KEYS            "{\"keys\": []}"

struct dacm_server {
    host_settings *settings;
    dacm_config config;
    dacm_service service;
    dacm_trust trust;
    uid_t *admin_uids;
    host_log *log;
    host_metrics *metrics;
    host_health *health;
    host_rpc *calls;
    host_https *https;
    rpc_server *rpc;
    rpc_listener *users, *peers, *admin;
    dacm_sweep *sweep;
    bool watching;
    dacm_assets_service assets;
    dacm_consumers_service consumers;
    dacm_token_status_service token_status;
    dacm_admin_service operators;
};

static const host_values *values_of(const dacm_server *server)
{
    return host_settings_values(server->settings);
}

static rpc_code no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "dacmd: no memory to start");
}

/* ---- configuration ---- */

static rpc_code read_config(dacm_server *server, rpc_status *reterr)
{
    const host_values *v = values_of(server);
    server->config = (dacm_config){
        .resource = host_string(v, "resource"),
        .audit_directory = host_string(v, "audit.directory"),
        .create = (dacm_create_policy)host_enum(v, "policy.create"),
        .create_users = host_string_list(v, "policy.create_users"),
        .create_user_count = host_list_count(v, "policy.create_users"),
        .admin_sans = host_string_list(v, "listen.admin.sans"),
        .admin_san_count = host_list_count(v, "listen.admin.sans"),
        .manifest_life_s = host_int(v, "signing.manifest_life_s"),
        .object_bytes_max = (uint64_t)host_int(v, "limits.object_bytes"),
        .uploads_per_owner_max = (unsigned)host_int(v, "limits.uploads_per_owner"),
        .upload_idle_ms = host_int(v, "limits.upload_idle_ms"),
        .upload_window_bytes = (size_t)host_int(v, "limits.upload_window_bytes"),
        .list_memory_bytes = (uint64_t)host_int(v, "limits.list_memory_bytes"),
        .versions_max = (uint64_t)host_int(v, "store.versions_max"),
        .sweep_interval_s = host_int(v, "store.sweep_interval_s"),
        .sweep_grace_s = host_int(v, "store.sweep_grace_s"),
    };
    const rpc_code code = program_admin_uids(
        v, &server->admin_uids, &server->config.admin_uid_count, reterr);
    server->config.admin_uids = server->admin_uids;
    return code;
}

/* ---- what decisions stand on ---- */

static bool keys_acceptable(void *ctx, const trust_keyring *ring, rpc_status *reterr)
{
    dacm_server *server = ctx;
    return dacm_trust_judge_keys(&server->trust, ring, reterr) == RPC_OK;
}

/* A token that runs under a key that is gone is judged anew. */
static void keys_changed(void *ctx)
{
    dacm_server *server = ctx;
    if (!dacm_trust_renew_keys(&server->trust))
        HOST_LOG(server->log, HOST_ERROR, "no memory for an issuer's new keys; the old ones stay");
    dacm_running_recheck(server->service.running, NULL);
}

static rpc_code open_trust(dacm_server *server, rpc_status *reterr)
{
    dacm_trust *trust = &server->trust;
    const host_values *values = values_of(server);
    pthread_rwlock_init(&trust->lock, NULL);
    trust->log = server->log;
    trust->audience = server->config.resource;
    trust->from_skms = host_enum(values, "signing.source") == DACM_KEYS_OF_SKMS;
    trust->tokens = trust_token_cache_new(CACHED_TOKENS, CACHED_TOKEN_BYTES);
    trust->revocations = trust_revocations_new(REVOCATIONS_MAX);
    const dacm_reports_links links = {.clock = server->service.clock,
        .revocations = trust->revocations,
        .log = server->log,
        .metrics = server->metrics,
        .health = server->health};
    trust->reports = dacm_reports_new(&links);
    const issuers_fetcher_links fetching = {.clock = server->service.clock,
        .log = server->log,
        .health = server->health,
        .fetched = host_metrics_counter(server->metrics, "dacm_jwks_fetched_total",
            "Key sets of issuers that were fetched.", NULL),
        .failed = host_metrics_counter(server->metrics, "dacm_jwks_failed_total",
            "Key sets of issuers that could not be fetched or used.", NULL),
        .acceptable = keys_acceptable,
        .changed = keys_changed,
        .ctx = server};
    trust->fetcher = issuers_fetcher_new(&fetching);
    if (!trust->tokens || !trust->revocations || !trust->reports || !trust->fetcher)
        return no_memory(reterr);
    for (int i = 0; i < TRUST_REASONS; i++) {
        char labels[64];
        snprintf(labels, sizeof labels, "reason=\"%s\"", trust_reason_name((trust_reason)i));
        trust->decisions[i] = host_metrics_counter(
            server->metrics, "dacm_decisions_total", "Decisions by the step that decided.", labels);
    }
    trust->remembered = host_metrics_counter(server->metrics, "dacm_decisions_remembered_total",
        "Decisions that allowed and were answered from what their connection remembers.", NULL);
    program_strangers_init(&server->service.strangers, values,
        host_metrics_counter(server->metrics, "dacm_audit_left_out_total",
            "Requests without a genuine token that have no audit record of their own.", NULL));
    trust->records_held = host_metrics_counter(server->metrics, "dacm_audit_held_total",
        "Answers held back because the audit trail's disk is slow.", NULL);
    trust->records_refused = host_metrics_counter(server->metrics, "dacm_audit_refused_total",
        "Requests refused because the audit trail would not take their record.", NULL);
    rpc_code code = dacm_trust_load(trust, values, reterr);
    if (code == RPC_OK)
        code = program_audit_open(
            values, server->service.clock, server->log, &trust->audit, reterr);
    return code;
}

typedef struct loading {
    dacm_server *server;
    rpc_arena *arena;
    rpc_status status;
} loading;

static bool load_position(loading *l, const store_entry *entry)
{
    Dacm__Records__ReportPosition *record = NULL;
    return host_record_unpack(&dacm__records__report_position__descriptor, entry->value, l->arena,
               (ProtobufCMessage **)&record, &l->status) == RPC_OK &&
           dacm_reports_restore(l->server->trust.reports, record->issuer, record->epoch,
               record->sequence, &l->status) == RPC_OK;
}

static bool load_revocation(void *ctx, const store_entry *entry)
{
    loading *l = ctx;
    const host_key position = dacm_key_report_position();
    if (rpc_bytes_equal(entry->item, host_key_bytes(&position))) {
        rpc_arena_reset(l->arena);
        return load_position(l, entry);
    }
    Dacm__Records__Revocation *record = NULL;
    int64_t now = rpc_clock_wall_ms(l->server->service.clock) / 1000;
    rpc_arena_reset(l->arena);
    if (host_record_unpack(&dacm__records__revocation__descriptor, entry->value, l->arena,
            (ProtobufCMessage **)&record, &l->status) != RPC_OK)
        return false;
    const trust_revocation revocation = {
        .issuer = record->issuer,
        .jti = record->jti[0] ? record->jti : NULL,
        .subject = record->jti[0] ? NULL : record->subject,
        .issued_until = record->issued_until,
        .expires_at = record->expires_at,
    };
    return trust_revocations_add(l->server->trust.revocations, &revocation, now, &l->status) ==
           RPC_OK;
}

/* A server that does not know what was revoked must not serve. */
static rpc_code load_revocations(dacm_server *server, rpc_status *reterr)
{
    loading l = {.server = server, .arena = rpc_arena_new(64u << 10)};
    if (!l.arena)
        return no_memory(reterr);
    rpc_code code = dacm_walk_groups(
        server->service.store, "r/", false, load_revocation, &l, reterr);
    rpc_arena_free(l.arena);
    if (code == RPC_OK && l.status.code != RPC_OK) {
        *reterr = l.status;
        code = l.status.code;
    }
    return code;
}

/* ---- store ---- */

static void on_change(void *ctx, rpc_bytes group, uint64_t generation)
{
    (void)generation;
    dacm_server *server = ctx;
    char asset_id[DACM_ASSET_ID_MAX + 1];
    if (!dacm_key_asset_id(group, asset_id))
        return;
    dacm_lists_changed(server->service.lists, asset_id);
    dacm_running_recheck(server->service.running, asset_id);
}

/* Of the map or of the disk, whichever has less. */
static uint64_t store_room(const host_values *values)
{
    struct statvfs disk;
    const uint64_t map = (uint64_t)host_int(values, "store.chunks_map_bytes_max");
    if (statvfs(host_string(values, "store.directory"), &disk) != 0)
        return map;
    const uint64_t all = (uint64_t)disk.f_blocks * disk.f_frsize;
    return all > 0 && all < map ? all : map;
}

static rpc_code open_store(dacm_server *server, rpc_status *reterr)
{
    const host_values *values = values_of(server);
    dacm_service *service = &server->service;
    const store_lmdb_options options = {
        .directory = host_string(values, "store.directory"),
        .meta_map_bytes_max = (uint64_t)host_int(values, "store.meta_map_bytes_max"),
        .chunks_map_bytes_max = (uint64_t)host_int(values, "store.chunks_map_bytes_max"),
        .readers_max = (unsigned)host_int(values, "store.readers_max"),
        .queue_max = (unsigned)host_int(values, "store.queue_max"),
        .clock = service->clock,
    };
    rpc_code code = store_open_lmdb(&options, &service->store, reterr);
    if (code != RPC_OK)
        return code;
    service->objects = dacm_objects_new(service->store, server->config.list_memory_bytes);
    service->running = dacm_running_new();
    service->uploads = dacm_uploads_new();
    service->ring = dacm_ring_new(RING_ENTRIES);
    service->lists = dacm_lists_new();
    const dacm_variants_links links = {.store = service->store,
        .objects = service->objects,
        .log = server->log,
        .metrics = server->metrics,
        .clock = service->clock,
        .running = service->running,
        .bytes_max = (uint64_t)host_int(values, "media.variants_bytes_max"),
        .room_bytes = store_room(values)};
    service->variants = service->objects ? dacm_variants_new(&links) : NULL;
    if (!service->objects || !service->variants || !service->running || !service->uploads ||
        !service->ring || !service->lists)
        return no_memory(reterr);
    code = store_watch(service->store, on_change, server, reterr);
    server->watching = code == RPC_OK;
    if (code == RPC_OK)
        code = dacm_variants_load(service->variants, reterr);
    return code == RPC_OK ? load_revocations(server, reterr) : code;
}

/* ---- the RPC server ---- */

static void fill_tables(dacm_server *server)
{
    server->assets.base = (Dacm__V1__DigitalAssets_Service){
        .base = DACM__V1__DIGITAL_ASSETS__BASE_INIT,
        .authorize = dacm_authorize,
        .list_variants = dacm_list_variants,
        .get_profile = dacm_get_profile,
        .create_profile = dacm_create_profile,
        .update_profile = dacm_update_profile,
        .delete_profile = dacm_delete_profile,
        .discover_profiles = dacm_discover_profiles,
    };
    server->consumers.base = (Dacm__V1__ConsumerLists_Service){
        .base = DACM__V1__CONSUMER_LISTS__BASE_INIT,
        .get_consumer_list = dacm_get_consumer_list,
    };
    server->token_status.base = (Dacm__V1__TokenStatus_Service){
        .base = DACM__V1__TOKEN_STATUS__BASE_INIT,
        .revoke = dacm_revoke_token,
    };
    server->operators.base = (Dacm__V1__Admin_Service){
        .base = DACM__V1__ADMIN__BASE_INIT,
        .explain = dacm_explain_request,
        .get_store_stat = dacm_get_store_stat,
    };
    server->assets.service = server->consumers.service = server->token_status.service =
        server->operators.service = &server->service;
}

static rpc_code add_services(dacm_server *server, rpc_status *reterr)
{
    static const char *const users[] = {"users", NULL};
    static const char *const peers[] = {"peers", NULL};
    static const char *const operators[] = {"admin", "peers", NULL};
    static const char *const admin[] = {"admin", NULL};
    const struct {
        ProtobufCService *service;
        const char *const *listeners;
    } services[] = {
        {&server->assets.base.base, users},
        {&server->consumers.base.base, peers},
        {&server->token_status.base.base, operators},
        {&server->operators.base.base, operators},
    };
    rpc_service_options options = {.descriptor_set = {proto_descriptors, proto_descriptors_size}};
    rpc_code code = RPC_OK;
    fill_tables(server);
    for (size_t i = 0; code == RPC_OK && i < sizeof services / sizeof *services; i++) {
        options.listeners = services[i].listeners;
        code = rpc_server_add_service(server->rpc, services[i].service, &options, reterr);
    }
    if (code == RPC_OK)
        code = rpc_server_add_channelz(server->rpc, admin, reterr);
    if (code == RPC_OK)
        code = rpc_server_add_health(server->rpc, reterr);
    return code == RPC_OK ? rpc_server_add_reflection(server->rpc, reterr) : code;
}

static rpc_code add_handlers(dacm_server *server, rpc_status *reterr)
{
    static const struct {
        const char *path;
        const rpc_handler *handler;
    } handlers[] = {
        {"/dacm.v1.DigitalAssets/Download", &dacm_download_handler},
        {"/dacm.v1.DigitalAssets/Upload", &dacm_upload_handler},
        {"/dacm.v1.ConsumerLists/ListConsumers", &dacm_list_consumers_handler},
        {"/dacm.v1.TokenStatus/Report", &dacm_report_handler},
    };
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < sizeof handlers / sizeof *handlers; i++)
        code = rpc_server_set_handler(
            server->rpc, handlers[i].path, handlers[i].handler, &server->service, NULL, reterr);
    return code;
}

static rpc_tls_options tls_of(const host_values *values, const char *listener)
{
    char name[64];
    rpc_tls_options tls = {0};
    const char *const parts[] = {"certificate", "key", "client_ca", "client_crl"};
    const char **const into[] = {&tls.certificate_file, &tls.key_file, &tls.ca_file, &tls.crl_file};
    bool https = strcmp(listener, "https") == 0; /* knows no clients' certificates */
    for (size_t i = 0; i < (https ? 2 : 4); i++) {
        snprintf(name, sizeof name, "listen.%s.%s", listener, parts[i]);
        const char *file = host_string(values, name);
        *into[i] = file[0] ? file : NULL;
    }
    if (tls.ca_file)
        tls.client_auth = strcmp(listener, "peers") == 0 ? RPC_CLIENT_AUTH_REQUIRE
                                                         : RPC_CLIENT_AUTH_REQUEST;
    return tls;
}

static rpc_code listen_on(
    dacm_server *server, const char *name, rpc_listener **ret, rpc_status *reterr)
{
    const host_values *values = values_of(server);
    char setting[64];
    rpc_status why;
    snprintf(setting, sizeof setting, "listen.%s.url", name);
    const char *url = host_string(values, setting);
    if (!url[0])
        return RPC_OK;
    rpc_listener_options options = {.name = name, .url = url};
    if (strcmp(name, "admin") != 0)
        options.tls = tls_of(values, name);
    options.allow_plain_text = strcmp(name, "users") == 0 &&
                               host_bool(values, "listen.users.allow_plain_text");
    rpc_code code = rpc_server_listen(server->rpc, &options, ret, &why);
    if (code != RPC_OK)
        rpc_status_set(reterr, code, "'%s': %.300s", setting, why.message);
    return code;
}

static rpc_code open_rpc(dacm_server *server, rpc_status *reterr)
{
    const host_values *values = values_of(server);
    const rpc_interceptor interceptor = host_rpc_interceptor(server->calls);
    rpc_server_options options = {.limits = host_rpc_limits(values),
        .interceptors = &interceptor,
        .interceptor_count = 1,
        .on_event = host_rpc_event,
        .event_ctx = server->calls};
    rpc_code code = rpc_server_new(server->service.runtime, &options, &server->rpc, reterr);
    if (code == RPC_OK)
        code = add_services(server, reterr);
    if (code == RPC_OK)
        code = add_handlers(server, reterr);
    if (code == RPC_OK)
        code = listen_on(server, "users", &server->users, reterr);
    if (code == RPC_OK)
        code = listen_on(server, "peers", &server->peers, reterr);
    if (code == RPC_OK)
        code = listen_on(server, "admin", &server->admin, reterr);
    if (code == RPC_OK)
        code = rpc_server_start(server->rpc, reterr);
    if (code == RPC_OK)
        host_rpc_show(server->calls, server->rpc);
    return code;
}

/* ---- HTTPS: metrics, health, public keys ---- */

static void get_health(void *ctx, host_request *request)
{
    dacm_server *server = ctx;
    rpc_status why = {0};
    bool ok = trust_audit_healthy(server->trust.audit, &why);
    host_health_set(server->health, "audit", ok,
        ok ? "" : "the audit trail cannot be written; see the log and the disk");
    dacm_skms_judge(&server->service);
    dacm_adaptations_judge(server->service.adaptations, server->health);
    host_health_handle(server->health, request);
}

static void get_jwks(void *ctx, host_request *request)
{
    dacm_server *server = ctx;
    pthread_rwlock_rdlock(&server->trust.lock);
    char *keys = strdup(server->trust.keys ? skmc_keys_jwks(server->trust.keys) : NO_KEYS);
    pthread_rwlock_unlock(&server->trust.lock);
    host_reply reply = {.status = keys ? 200 : 503,
        .content_type = "application/jwk-set+json",
        .cache_control = "public, max-age=300",
        .body = keys,
        .size = keys ? strlen(keys) : 0};
    host_request_answer(request, &reply);
}

static rpc_code open_https(dacm_server *server, rpc_status *reterr)
{
    const host_values *values = values_of(server);
    const host_route routes[] = {
        {.path = "/metrics",
            .handle = host_metrics_handle,
            .ctx = server->metrics,
            .in_place = true},
        {.path = "/healthz", .handle = get_health, .ctx = server, .in_place = true},
        {.path = "/.well-known/jwks.json", .handle = get_jwks, .ctx = server, .in_place = true},
    };
    host_https_options options = program_https_options(values, "https");
    options.routes = routes;
    options.route_count = sizeof routes / sizeof *routes;
    options.log = server->log;
    options.metrics = server->metrics;
    return host_https_start(&options, &server->https, reterr);
}

static double connections_now(void *ctx)
{
    const dacm_server *server = ctx;
    return rpc_server_get_stats(server->rpc).connections;
}

static double memory_now(void *ctx)
{
    const dacm_server *server = ctx;
    return (double)rpc_server_get_stats(server->rpc).memory_bytes;
}

static double revocations_now(void *ctx)
{
    dacm_server *server = ctx;
    return (double)trust_revocations_count(
        server->trust.revocations, rpc_clock_wall_ms(server->service.clock) / 1000);
}

static double lines_dropped(void *ctx)
{
    const dacm_server *server = ctx;
    return (double)host_log_dropped(server->log);
}

static double audit_waiting_now(void *ctx)
{
    const dacm_server *server = ctx;
    return (double)trust_audit_waiting_bytes(server->trust.audit);
}

static rpc_code open_watching(dacm_server *server, rpc_status *reterr)
{
    server->metrics = host_metrics_new();
    server->health = host_health_new();
    server->calls = server->metrics
                        ? host_rpc_new(server->log, server->metrics, server->service.clock)
                        : NULL;
    if (!server->metrics || !server->health || !server->calls)
        return no_memory(reterr);
    host_metrics_gauge(server->metrics, "dacm_revocations", "Revocations in force.", NULL,
        revocations_now, server);
    host_metrics_gauge(server->metrics, "dacm_log_lines_dropped",
        "Access log lines that were dropped.", NULL, lines_dropped, server);
    return RPC_OK;
}

/* ---- life ---- */

static rpc_code open_runtime(dacm_server *server, rpc_status *reterr)
{
    const host_values *values = values_of(server);
    dacm_service *service = &server->service;
    rpc_code code = rpc_runtime_new(NULL, &service->runtime, reterr);
    if (code == RPC_OK)
        code = rpc_pool_new(service->runtime, "verify",
            (unsigned)host_int(values, "threads.verify"), POOL_QUEUE_MAX, &service->verify_pool,
            reterr);
    if (code == RPC_OK)
        code = rpc_pool_new(service->runtime, "upload",
            (unsigned)host_int(values, "threads.upload"), POOL_QUEUE_MAX, &service->upload_pool,
            reterr);
    return code;
}

static void warn_of_literal(dacm_server *server, const host_values *values)
{
    host_health_warn(server->health, "literal", NULL);
    for (size_t i = 0; i < host_list_count(values, "issuers"); i++) {
        const host_values *issuer = host_map_list(values, "issuers", i);
        if (host_enum(issuer, "mode") != DACM_MODE_LITERAL)
            continue;
        HOST_LOG(server->log, HOST_WARNING,
            "mode literal: any holder of a genuine token may name any listed user",
            host_text("issuer", host_string(issuer, "issuer")));
        host_health_warn(server->health, "literal",
            "an issuer is in mode literal: any holder of a genuine token may name any listed "
            "user");
    }
}

static rpc_code open_all(dacm_server *server, rpc_status *reterr)
{
    rpc_code code = read_config(server, reterr);
    if (code == RPC_OK)
        code = open_watching(server, reterr);
    if (code == RPC_OK)
        code = open_runtime(server, reterr);
    if (code == RPC_OK)
        code = open_trust(server, reterr);
    if (code == RPC_OK)
        code = open_store(server, reterr);
    if (code == RPC_OK)
        code = dacm_skms_open(
            &server->service, values_of(server), server->metrics, server->health, reterr);
    if (code == RPC_OK)
        code = dacm_adapting_open(&server->service, values_of(server), server->metrics, reterr);
    if (code == RPC_OK)
        code = open_rpc(server, reterr);
    if (code == RPC_OK) {
        host_metrics_gauge(server->metrics, "dacm_connections", "Open connections.", NULL,
            connections_now, server);
        host_metrics_gauge(server->metrics, "dacm_audit_waiting_bytes",
            "Held by records that the audit trail's disk has not taken.", NULL, audit_waiting_now,
            server);
        host_metrics_gauge(server->metrics, "dacm_memory_bytes",
            "Held by connections and calls; limits.server_memory_bytes judges it.", NULL,
            memory_now, server);
        code = open_https(server, reterr);
    }
    if (code == RPC_OK)
        code = dacm_reports_start(server->trust.reports, server->service.running, reterr);
    if (code == RPC_OK)
        code = issuers_fetcher_start(server->trust.fetcher, reterr);
    if (code == RPC_OK)
        code = dacm_sweep_start(&server->service, &server->sweep, reterr);
    return code;
}

rpc_code dacm_server_start(
    host_settings *settings, host_log *log, dacm_server **ret, rpc_status *reterr)
{
    dacm_server *server = calloc(1, sizeof *server);
    if (!server) {
        host_settings_free(settings);
        return no_memory(reterr);
    }
    server->settings = settings;
    server->log = server->service.log = log;
    server->service.config = &server->config;
    server->service.trust = &server->trust;
    server->service.clock = rpc_clock_system();
    rpc_random(server->service.page_key, sizeof server->service.page_key);
    rpc_code code = open_all(server, reterr);
    if (code != RPC_OK) {
        dacm_server_stop(server);
        return code;
    }
    warn_of_literal(server, values_of(server));
    host_health_set(server->health, "store", true, "");
    rpc_server_set_health(server->rpc, "", true);
    rpc_server_set_health(server->rpc, "dacm.v1.DigitalAssets", true);
    *ret = server;
    return RPC_OK;
}

static rpc_code check_tls(const host_values *values, const char *listener, rpc_status *reterr)
{
    char setting[32];
    rpc_tls_options tls = tls_of(values, listener);
    snprintf(setting, sizeof setting, "listen.%s", listener);
    /* without a certificate: plain text, or no such listener */
    return tls.certificate_file ? program_check_tls(&tls, setting, reterr) : RPC_OK;
}

static rpc_code check_files(const host_values *values, rpc_status *reterr)
{
    static const char *const listeners[] = {"users", "peers", "https"};
    rpc_code code = dacm_trust_check(values, reterr);
    for (size_t i = 0; code == RPC_OK && i < sizeof listeners / sizeof *listeners; i++)
        code = check_tls(values, listeners[i], reterr);
    return code;
}

rpc_code dacm_server_check(const host_values *values, rpc_status *reterr)
{
    const rpc_code code = check_files(values, reterr);
    return code == RPC_OK ? dacm_adapting_check(values, reterr) : code;
}

/* A listener that is left out, or that is new, waits for a restart. */
static rpc_code check_tls_stays(
    const dacm_server *server, const char *listener, const host_values *values, rpc_status *reterr)
{
    char url[32];
    snprintf(url, sizeof url, "listen.%s.url", listener);
    if (!host_string(values_of(server), url)[0] || !host_string(values, url)[0])
        return RPC_OK;
    const bool had = tls_of(values_of(server), listener).certificate_file != NULL;
    if (had == (tls_of(values, listener).certificate_file != NULL))
        return RPC_OK;
    return rpc_status_set(reterr, RPC_FAILED_PRECONDITION,
        "'listen.%s': whether it speaks TLS is read at the start only; restart", listener);
}

/* Whatever can be refused is, before anything changes. */
static rpc_code check_reload(
    const dacm_server *server, const host_values *values, rpc_status *reterr)
{
    const host_https_options https = program_https_options(values, "https");
    rpc_code code = check_files(values, reterr); /* what runs already is not looked for */
    if (code == RPC_OK)
        code = dacm_skms_judge_reload(&server->service, values, reterr);
    if (code == RPC_OK)
        code = check_tls_stays(server, "users", values, reterr);
    if (code == RPC_OK)
        code = check_tls_stays(server, "peers", values, reterr);
    return code == RPC_OK
               ? program_check_https_reload(server->https, &https, "listen.https", reterr)
               : code;
}

static rpc_code reload_tls(
    rpc_listener *listener, const char *name, const host_values *values, rpc_status *reterr)
{
    rpc_tls_options tls = tls_of(values, name);
    if (!listener || !tls.certificate_file)
        return RPC_OK;
    return rpc_listener_set_tls(listener, &tls, reterr);
}

rpc_code dacm_server_reload(dacm_server *server, const host_settings *settings, rpc_status *reterr)
{
    const host_values *values = host_settings_values(settings);
    const host_https_options https = program_https_options(values, "https");
    rpc_code code = check_reload(server, values, reterr);
    if (code == RPC_OK)
        code = dacm_trust_load(&server->trust, values, reterr);
    if (code == RPC_OK)
        code = dacm_skms_reload(&server->service, values, reterr);
    if (code == RPC_OK)
        warn_of_literal(server, values);
    if (code == RPC_OK)
        code = reload_tls(server->users, "users", values, reterr);
    if (code == RPC_OK)
        code = reload_tls(server->peers, "peers", values, reterr);
    if (code == RPC_OK)
        code = host_https_reload(server->https, &https, reterr);
    dacm_running_recheck(server->service.running, NULL);
    return code;
}

const char *dacm_server_users_url(const dacm_server *server)
{
    return server->users ? rpc_listener_url(server->users) : "";
}

static void close_service(dacm_server *server)
{
    dacm_service *service = &server->service;
    if (server->watching)
        store_unwatch(service->store, on_change, server);
    rpc_pool_free(service->verify_pool);
    rpc_pool_free(service->upload_pool);
    dacm_skms_close(service);
    dacm_adaptations_stop(service->adaptations);
    dacm_variants_free(service->variants);
    dacm_objects_free(service->objects);
    if (service->store)
        store_close(service->store);
    dacm_running_free(service->running);
    dacm_uploads_free(service->uploads);
    dacm_ring_free(service->ring);
    dacm_lists_free(service->lists);
    program_strangers_done(&service->strangers);
    rpc_runtime_free(service->runtime);
}

static void close_trust(dacm_trust *trust)
{
    trust_audit_close(trust->audit);
    issuers_unref(trust->issuers);
    skmc_keys_unref(trust->keys);
    trust_token_cache_free(trust->tokens);
    trust_revocations_free(trust->revocations);
    dacm_reports_free(trust->reports);
    issuers_fetcher_free(trust->fetcher);
}

void dacm_server_stop(dacm_server *server)
{
    if (!server)
        return;
    if (server->rpc) {
        rpc_server_set_health(server->rpc, "", false);
        dacm_reports_close(server->trust.reports); /* they would never end by themselves */
        rpc_server_stop(server->rpc, host_int(values_of(server), "limits.drain_ms"));
    }
    host_https_stop(server->https);
    dacm_sweep_stop(server->sweep);
    issuers_fetcher_stop(server->trust.fetcher); /* they look at the running calls */
    dacm_reports_stop(server->trust.reports);
    rpc_server_free(server->rpc);
    close_service(server);
    close_trust(&server->trust);
    host_rpc_free(server->calls);
    host_health_free(server->health);
    host_metrics_free(server->metrics);
    host_settings_free(server->settings);
    free(server->admin_uids);
    explicit_bzero(server->service.page_key, sizeof server->service.page_key);
    free(server);
}
