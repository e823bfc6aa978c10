/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that skmsd consists of, made in order and unmade in the reverse. A member that was not
 * made yet is NULL, so one function unmakes a half-made server too. */
#include "server.h"

#include "admin.h"
#include "https.h"
#include "locked.h"
#include "master.h"
#include "restore.h"
#include "settings.h"
#include "signing_keys.h"
#include "tender.h"

#include <stdlib.h>

#define CHUNKS_MAP_BYTES (1u << 20) /* there are none */

struct skm_server {
    host_settings *settings;
    skm_service service;
    host_health *health;
    store *db;
    host_rpc *calls, *admin_calls;
    skm_signing_keys *keys;
    skm_admin *admin;
    skm_tender *tender;
    host_https *https;
};

static const host_values *values_of(const skm_server *server)
{
    return host_settings_values(server->settings);
}

static rpc_code no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "skmsd: no memory to start");
}

/* ---- what it stands on -------------------------------------------------------------------------
 */

static double lines_dropped(void *ctx)
{
    const skm_server *server = ctx;
    return (double)host_log_dropped(server->service.log);
}

static double clock_off(void *ctx)
{
    const skm_server *server = ctx;
    return (double)skm_course_off_s(&server->service.course);
}

static double tended(void *ctx)
{
    const skm_server *server = ctx;
    return skm_state_tended(server->service.state);
}

static rpc_code open_watching(skm_server *server, rpc_status *reterr)
{
    skm_service *service = &server->service;
    service->metrics = host_metrics_new();
    server->health = host_health_new();
    if (!service->metrics || !server->health)
        return no_memory(reterr);
    service->audit_refused = host_metrics_counter(service->metrics, "skm_audit_refused_total",
        "Requests refused because the audit trail would not take their record.", NULL);
    program_strangers_init(&service->strangers, values_of(server),
        host_metrics_counter(service->metrics, "skm_audit_left_out_total",
            "Refused requests of strangers that have no audit record of their own.", NULL));
    host_metrics_gauge(service->metrics, "skm_log_lines_dropped",
        "Access log lines that were dropped.", NULL, lines_dropped, server);
    host_metrics_gauge(service->metrics, "skm_keys_tended",
        "1 while all keys could be made, turned and published that had to be.", NULL, tended,
        server);
    host_metrics_gauge(service->metrics, "skm_clock_off_seconds",
        "How far the system's clock was set since the start or the last reload.", NULL, clock_off,
        server);
    return RPC_OK;
}

rpc_code skm_store_open(
    const host_values *values, const rpc_clock *clock, store **ret, rpc_status *reterr)
{
    const store_lmdb_options options = {
        .directory = host_string(values, "store.directory"),
        .meta_map_bytes_max = (uint64_t)host_int(values, "store.meta_map_bytes_max"),
        .chunks_map_bytes_max = CHUNKS_MAP_BYTES,
        .readers_max = (unsigned)host_int(values, "store.readers_max"),
        .queue_max = (unsigned)host_int(values, "store.queue_max"),
        .clock = clock,
    };
    return store_open_lmdb(&options, ret, reterr);
}

static rpc_code check_locked(const skm_server *server, rpc_status *reterr)
{
    rpc_status why;
    const rpc_code code = skm_locked_check(&why);
    if (code == RPC_FAILED_PRECONDITION && host_bool(values_of(server), "master.allow_unlocked")) {
        HOST_LOG(server->service.log, HOST_WARNING,
            "memory cannot be locked, and master.allow_unlocked is set: private keys may be "
            "written to the swap");
        return RPC_OK;
    }
    return code == RPC_OK ? code : rpc_status_text(reterr, code, why.message);
}

static rpc_code open_state(skm_server *server, rpc_status *reterr)
{
    const host_values *v = values_of(server);
    char *secret = NULL;
    size_t size = 0;
    rpc_code code = skm_master_read(v, &secret, &size, reterr);
    if (code != RPC_OK)
        return code;
    const skm_state_options options = {
        .store = server->db,
        .clock = server->service.clock,
        .metrics = server->service.metrics,
        .issuer = host_string(v, "issuer"),
        .secret = rpc_bytes_of(secret, size),
        .passes = (uint64_t)host_int(v, "master.passes"),
        .memory_bytes = (uint64_t)host_int(v, "master.memory_bytes"),
        .allow_unlocked = host_bool(v, "master.allow_unlocked"),
        .policy = {.active_s = host_int(v, "keys.active_s"),
            .published_before_s = host_int(v, "keys.published_before_s"),
            .verify_only_s = host_int(v, "keys.verify_only_s")},
        .set_life_s = host_int(v, "keysets.life_s"),
        .token_life_s = host_int(v, "enrolments.token_life_s"),
        .services_max = (size_t)host_int(v, "store.services_max"),
    };
    code = skm_state_open(&options, &server->service.state, reterr);
    skm_master_done(secret, size);
    return code;
}

/* On whichever thread replaced it. */
static void set_changed(void *ctx, const char *name, skm_purpose purpose)
{
    const skm_service *service = ctx;
    skm_tokens_set_changed(service->tokens, name, purpose);
    skm_watchers_changed(service->watchers, name, purpose);
}

static rpc_code open_service(skm_server *server, rpc_status *reterr)
{
    const host_values *values = values_of(server);
    skm_service *service = &server->service;
    const rpc_code code = skm_tokens_start(values, service->state, service->clock, service->log,
        service->metrics, server->health, &service->tokens, reterr);
    if (code != RPC_OK)
        return code;
    service->watchers = skm_watchers_new(service, (size_t)host_int(values, "keysets.watchers_max"),
        (size_t)host_int(values, "keysets.watchers_per_peer"));
    if (!service->watchers)
        return no_memory(reterr);
    skm_keysets_watch(service->state, set_changed, service);
    return skm_tender_start(
        service, host_int(values, "signing.count_interval_s"), &server->tender, reterr);
}

/* The access lines of both are one log; what librpc counts is that of SKM-Cs. */
static rpc_code open_rpc(skm_server *server, rpc_status *reterr)
{
    skm_service *service = &server->service;
    server->calls = host_rpc_new(service->log, service->metrics, service->clock);
    server->admin_calls = host_rpc_new(service->log, service->metrics, service->clock);
    if (!server->calls || !server->admin_calls)
        return no_memory(reterr);
    const rpc_code code = skm_admin_start(
        service, server->admin_calls, values_of(server), &server->admin, reterr);
    return code == RPC_OK ? skm_signing_keys_start(
                                service, server->calls, values_of(server), &server->keys, reterr)
                          : code;
}

/* ---- HTTPS -------------------------------------------------------------------------------------
 */

static void get_health(void *ctx, host_request *request)
{
    skm_server *server = ctx;
    rpc_status why = {0};
    const bool audit = trust_audit_healthy(server->service.audit, &why);
    const bool keys = skm_state_tended(server->service.state);
    host_health_set(server->health, "audit", audit,
        audit ? "" : "the audit trail cannot be written; see the log and the disk");
    host_health_set(server->health, "keys", keys,
        keys ? "" : "keys could not be made, turned or published; see the log and the disk");
    const bool clock = !skm_course_lost(&server->service.course);
    host_health_set(server->health, "clock", clock,
        clock ? "" : "the system's clock was set; correct it, or reload where it is right now");
    host_health_handle(server->health, request);
}

/* Without routes. Whom it asks for a certificate is one question with the other listener's. */
static host_https_options https_options(const host_values *values)
{
    host_https_options options = program_https_options(values, "https");
    if (options.certificate_file) {
        options.client_ca_file = host_string(values, "listen.keys.client_ca");
        options.client_crl_file = host_string(values, "listen.keys.client_crl");
        options.client_auth = HOST_CLIENT_REQUEST;
    }
    return options;
}

static rpc_code open_https(skm_server *server, rpc_status *reterr)
{
    const host_values *values = values_of(server);
    host_route routes[SKM_HTTPS_ROUTES + 2];
    host_https_options options = https_options(values);
    skm_https_routes(&server->service, routes);
    routes[SKM_HTTPS_ROUTES] = (host_route){.path = "/metrics",
        .handle = host_metrics_handle,
        .ctx = server->service.metrics,
        .in_place = true};
    routes[SKM_HTTPS_ROUTES + 1] = (host_route){
        .path = "/healthz", .handle = get_health, .ctx = server, .in_place = true};
    options.routes = routes;
    options.route_count = SKM_HTTPS_ROUTES + 2;
    program_http_workers(values, &options);
    options.log = server->service.log;
    options.metrics = server->service.metrics;
    return host_https_start(&options, &server->https, reterr);
}

/* ---- life --------------------------------------------------------------------------------------
 */

static rpc_code open_all(skm_server *server, rpc_status *reterr)
{
    skm_service *service = &server->service;
    const host_values *values = values_of(server);
    service->issuer = host_string(values, "issuer");
    service->max_age_s = host_int(values, "keysets.max_age_s");
    rpc_code code = check_locked(server, reterr);
    if (code == RPC_OK)
        code = open_watching(server, reterr);
    if (code == RPC_OK)
        code = rpc_runtime_new(NULL, &service->runtime, reterr);
    if (code == RPC_OK)
        code = program_audit_open(values, service->clock, service->log, &service->audit, reterr);
    if (code == RPC_OK)
        code = skm_store_open(values, service->clock, &server->db, reterr);
    if (code == RPC_OK)
        code = open_state(server, reterr);
    if (code == RPC_OK)
        code = skm_restore(service, values, reterr);
    if (code == RPC_OK)
        code = open_service(server, reterr);
    if (code == RPC_OK)
        code = open_rpc(server, reterr);
    return code == RPC_OK ? open_https(server, reterr) : code;
}

rpc_code skm_server_start(
    host_settings *settings, host_log *log, skm_server **ret, rpc_status *reterr)
{
    skm_server *server = calloc(1, sizeof *server);
    if (!server) {
        host_settings_free(settings);
        return no_memory(reterr);
    }
    server->settings = settings;
    server->service.log = log;
    server->service.clock = rpc_clock_system();
    skm_course_init(&server->service.course, server->service.clock);
    const rpc_code code = open_all(server, reterr);
    if (code != RPC_OK) {
        skm_server_stop(server);
        return code;
    }
    host_health_set(server->health, "store", true, "");
    *ret = server;
    return RPC_OK;
}

rpc_code skm_server_check(const host_values *values, rpc_status *reterr)
{
    const rpc_tls_options keys = skm_signing_keys_tls(values);
    const host_https_options https = https_options(values);
    const rpc_tls_options tls = {.certificate_file = https.certificate_file,
        .key_file = https.key_file,
        .ca_file = keys.ca_file,
        .crl_file = keys.crl_file,
        .client_auth = RPC_CLIENT_AUTH_REQUEST};
    rpc_code code = skm_master_check(values, reterr);
    if (code == RPC_OK)
        code = skm_tokens_check(values, reterr);
    if (code == RPC_OK)
        code = program_check_tls(&keys, "listen.keys", reterr);
    return code == RPC_OK && tls.certificate_file ? program_check_tls(&tls, "listen.https", reterr)
                                                  : code;
}

rpc_code skm_server_reload(skm_server *server, const host_settings *settings, rpc_status *reterr)
{
    const host_values *values = host_settings_values(settings);
    const host_https_options https = https_options(values);
    rpc_code code = skm_server_check(values, reterr);
    if (code == RPC_OK) /* whatever can be refused is, before anything changes */
        code = program_check_https_reload(server->https, &https, "listen.https", reterr);
    if (code == RPC_OK)
        code = skm_tokens_reload(server->service.tokens, values, reterr);
    if (code == RPC_OK)
        code = skm_signing_keys_reload(server->keys, values, reterr);
    if (code == RPC_OK)
        code = host_https_reload(server->https, &https, reterr);
    if (code == RPC_OK)
        skm_course_confirm(&server->service.course);
    return code;
}

const char *skm_server_url(const skm_server *server)
{
    return skm_signing_keys_url(server->keys);
}

void skm_server_stop(skm_server *server)
{
    if (!server)
        return;
    skm_service *service = &server->service;
    const int64_t drain_ms = host_int(values_of(server), "limits.drain_ms");
    host_https_stop(server->https); /* its gauges look at what is freed next */
    if (service->watchers)
        skm_watchers_stop(service->watchers);
    skm_admin_stop(server->admin, drain_ms);
    skm_signing_keys_stop(server->keys, drain_ms);
    host_rpc_free(server->calls);
    host_rpc_free(server->admin_calls);
    skm_tender_stop(server->tender);
    if (service->state)
        skm_keysets_watch(service->state, NULL, NULL);
    skm_tokens_stop(service->tokens);
    skm_watchers_free(service->watchers);
    skm_state_close(service->state);
    program_strangers_done(&service->strangers);
    store_close(server->db);
    trust_audit_close(service->audit);
    rpc_runtime_free(service->runtime);
    host_health_free(server->health);
    host_metrics_free(service->metrics);
    host_settings_free(server->settings);
    free(server);
}
