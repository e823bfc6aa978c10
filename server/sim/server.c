/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that simsd consists of, made in order and unmade in the reverse. A member that was not
 * made yet is NULL, so one function unmakes a half-made server too. */
#include "server.h"

#include "program.h"
#include "settings.h"
#include "sim_internal.h"

#include <stdlib.h>

struct sim_server {
    host_settings *settings;
    sim_service service;
    char mtls_url[SIM_ISSUER_MAX + 1];
    host_log *log;
    host_metrics *metrics;
    host_health *health;
    store *db;
    host_https *https, *ops;
};

static const host_values *values_of(const sim_server *server)
{
    return host_settings_values(server->settings);
}

static rpc_code no_memory(rpc_status *reterr)
{
    return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "simsd: no memory to start");
}

/* ---- what it stands on ------------------------------------------------------------------------
 */

static rpc_code read_config(sim_server *server, rpc_status *reterr)
{
    const host_values *v = values_of(server);
    if (!sim_settings_mtls_url(v, server->mtls_url, sizeof server->mtls_url))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'listen.mtls.url': made of the issuer it is too long; set it");
    server->service.config = (sim_config){
        .issuer = host_string(v, "issuer"),
        .mtls_url = server->mtls_url,
        .access_life_s = host_int(v, "tokens.access_life_s"),
        .id_life_s = host_int(v, "tokens.id_life_s"),
    };
    return RPC_OK;
}

static double lines_dropped(void *ctx)
{
    const sim_server *server = ctx;
    return (double)host_log_dropped(server->log);
}

static rpc_code open_watching(sim_server *server, rpc_status *reterr)
{
    server->metrics = server->service.metrics = host_metrics_new();
    server->health = host_health_new();
    if (!server->metrics || !server->health)
        return no_memory(reterr);
    server->service.audit_refused = host_metrics_counter(server->metrics, "sim_audit_refused_total",
        "Requests refused because the audit trail would not take their record.", NULL);
    host_metrics_gauge(server->metrics, "sim_log_lines_dropped",
        "Access log lines that were dropped.", NULL, lines_dropped, server);
    return RPC_OK;
}

static rpc_code open_store(sim_server *server, rpc_status *reterr)
{
    const host_values *values = values_of(server);
    const store_lmdb_options options = {
        .directory = host_string(values, "store.directory"),
        .meta_map_bytes_max = (uint64_t)host_int(values, "store.meta_map_bytes_max"),
        .readers_max = (unsigned)host_int(values, "store.readers_max"),
        .queue_max = (unsigned)host_int(values, "store.queue_max"),
        .clock = server->service.clock,
    };
    return store_open_lmdb(&options, &server->db, reterr);
}

/* ---- HTTPS ------------------------------------------------------------------------------------
 */

static void get_jwks(void *ctx, host_reply *ret)
{
    sim_server *server = ctx;
    const sim_key_set *set = sim_keys_now(server->service.keys);
    ret->body = strdup(set->public_jwks);
    sim_key_set_unref(set);
    ret->status = ret->body ? 200 : 503;
    ret->size = ret->body ? strlen(ret->body) : 0;
    ret->content_type = "application/jwk-set+json";
    ret->cache_control = "public, max-age=300";
}

static rpc_code open_https(sim_server *server, rpc_status *reterr)
{
    const host_values *values = values_of(server);
    const host_route routes[] = {{"/.well-known/jwks.json", get_jwks, server}};
    host_https_options options = program_https_options(values, "https");
    options.routes = routes;
    options.route_count = sizeof routes / sizeof *routes;
    return host_https_start(&options, &server->https, reterr);
}

static void get_health(void *ctx, host_reply *ret)
{
    sim_server *server = ctx;
    rpc_status why = {0};
    const bool ok = trust_audit_healthy(server->service.audit, &why);
    host_health_set(server->health, "audit", ok,
        ok ? "" : "the audit trail cannot be written; see the log and the disk");
    host_health_get(server->health, ret);
}

static rpc_code open_ops(sim_server *server, rpc_status *reterr)
{
    const host_values *values = values_of(server);
    const host_route routes[] = {
        {"/metrics", host_metrics_get, server->metrics},
        {"/healthz", get_health, server},
    };
    host_https_options options = program_https_options(values, "ops");
    options.routes = routes;
    options.route_count = sizeof routes / sizeof *routes;
    return host_https_start(&options, &server->ops, reterr);
}

/* ---- life --------------------------------------------------------------------------------------
 */

static rpc_code open_all(sim_server *server, rpc_status *reterr)
{
    sim_service *service = &server->service;
    const host_values *values = values_of(server);
    rpc_code code = read_config(server, reterr);
    if (code == RPC_OK)
        code = open_watching(server, reterr);
    if (code == RPC_OK)
        code = rpc_runtime_new(NULL, &service->runtime, reterr);
    if (code == RPC_OK)
        code = sim_keys_open(host_string(values, "keys.file"), &service->keys, reterr);
    if (code == RPC_OK)
        code = program_audit_open(values, service->clock, server->log, &service->audit, reterr);
    if (code == RPC_OK)
        code = open_store(server, reterr);
    if (code == RPC_OK)
        code = open_ops(server, reterr);
    return code == RPC_OK ? open_https(server, reterr) : code;
}

rpc_code sim_server_start(
    host_settings *settings, host_log *log, sim_server **ret, rpc_status *reterr)
{
    sim_server *server = calloc(1, sizeof *server);
    if (!server) {
        host_settings_free(settings);
        return no_memory(reterr);
    }
    server->settings = settings;
    server->log = server->service.log = log;
    server->service.clock = rpc_clock_system();
    const rpc_code code = open_all(server, reterr);
    if (code != RPC_OK) {
        sim_server_stop(server);
        return code;
    }
    host_health_set(server->health, "store", true, "");
    *ret = server;
    return RPC_OK;
}

static rpc_code check_tls(const host_values *values, const char *listener, rpc_status *reterr)
{
    const host_https_options https = program_https_options(values, listener);
    const rpc_tls_options tls = {
        .certificate_file = https.certificate_file, .key_file = https.key_file};
    rpc_status why;
    if (!tls.certificate_file)
        return RPC_OK; /* plain text */
    const rpc_code code = rpc_tls_check_listener(&tls, &why);
    return code == RPC_OK
               ? code
               : rpc_status_set(reterr, code, "'listen.%s': %.300s", listener, why.message);
}

rpc_code sim_server_check(const host_values *values, rpc_status *reterr)
{
    sim_keys *keys = NULL;
    rpc_code code = sim_keys_open(host_string(values, "keys.file"), &keys, reterr);
    sim_keys_close(keys);
    if (code == RPC_OK)
        code = check_tls(values, "https", reterr);
    return code == RPC_OK ? check_tls(values, "ops", reterr) : code;
}

rpc_code sim_server_reload(sim_server *server, const host_settings *settings, rpc_status *reterr)
{
    rpc_code code = sim_server_check(host_settings_values(settings), reterr);
    if (code == RPC_OK)
        code = sim_keys_reload(server->service.keys, reterr);
    if (code == RPC_OK)
        code = host_https_reload(server->https, reterr);
    return code == RPC_OK ? host_https_reload(server->ops, reterr) : code;
}

const char *sim_server_url(const sim_server *server)
{
    return host_https_url(server->https);
}

void sim_server_stop(sim_server *server)
{
    if (!server)
        return;
    sim_service *service = &server->service;
    host_https_stop(server->https);
    host_https_stop(server->ops);
    store_close(server->db);
    trust_audit_close(service->audit);
    sim_keys_close(service->keys);
    rpc_runtime_free(service->runtime);
    host_health_free(server->health);
    host_metrics_free(server->metrics);
    host_settings_free(server->settings);
    free(server);
}
