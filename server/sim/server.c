/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that simsd consists of, made in order and unmade in the reverse. A member that was not
 * made yet is NULL, so one function unmakes a half-made server too. */
#include "server.h"

#include "admin.h"
#include "oidc.h"
#include "program.h"
#include "settings.h"
#include "sweep.h"

#include <stdlib.h>

#define TOKEN_LIFE_S_MAX 900 /* also of tokens issued before the setting was changed */

/* A connection's memory holds the request's headers and those of the answer, libmicrohttpd's notes
 * on both, and has to be left with room: a redirect that does not fit is no answer at all. */
#define STATE_SHARE 8

struct sim_server {
    host_settings *settings;
    sim_service service;
    char mtls_url[SIM_ISSUER_MAX + 1];
    host_log *log;
    host_metrics *metrics;
    host_health *health;
    store *db;
    skmc *skms; /* NULL: token keys are a file's */
    host_rpc *calls;
    sim_admin *admin;
    sim_sweep *sweep;
    sim_oidc *oidc;
    host_https *https, *mtls, *ops;
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
        .skms = host_string_list(v, "skms.resources"),
        .skms_count = host_list_count(v, "skms.resources"),
        .access_life_s = host_int(v, "tokens.access_life_s"),
        .id_life_s = host_int(v, "tokens.id_life_s"),
        .state_bytes_max = (size_t)host_int(v, "limits.https.connection_bytes") / STATE_SHARE,
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
    program_strangers_init(&server->service.strangers, values_of(server),
        host_metrics_counter(server->metrics, "sim_audit_left_out_total",
            "Requests without a right password or token that have no audit record of their own.",
            NULL));
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

/* ---- what the service knows -------------------------------------------------------------------
 */

static void on_revocation(void *ctx)
{
    const sim_service *service = ctx;
    for (size_t i = 0; i < service->dacm_count; i++)
        if (service->dacms[i].reporter)
            sim_reporter_wake(service->dacms[i].reporter);
}

static rpc_code open_state(sim_server *server, rpc_status *reterr)
{
    const host_values *v = values_of(server);
    const sim_state_options options = {
        .store = server->db,
        .directory = host_string(v, "store.directory"),
        .clock = server->service.clock,
        .metrics = server->metrics,
        .code_life_s = host_int(v, "grants.code_life_s"),
        .refresh_idle_s = host_int(v, "grants.refresh_idle_s"),
        .refresh_life_s = host_int(v, "grants.refresh_life_s"),
        .grants_max = (unsigned)host_int(v, "grants.per_user_and_client"),
        .session_life_s = host_int(v, "login.session_life_s"),
        .token_life_s_max = TOKEN_LIFE_S_MAX,
        .password_memory_bytes = (size_t)host_int(v, "login.password_memory_bytes"),
        .password_passes = (unsigned)host_int(v, "login.password_passes"),
        .hashes_at_once = (unsigned)host_int(v, "login.hashes_at_once"),
        .hashes_waiting_max = (unsigned)host_int(v, "login.hashes_waiting_max"),
        .hashes_per_user = (unsigned)host_int(v, "login.hashes_per_user"),
        .revocations_max = (size_t)host_int(v, "store.revocations_max"),
    };
    return sim_state_open(&options, &server->service.state, reterr);
}

static rpc_code open_rates(sim_server *server, rpc_status *reterr)
{
    const host_values *v = values_of(server);
    sim_service *service = &server->service;
    const size_t names = (size_t)host_int(v, "login.names_max");
    service->logins_per_user = sim_rates_new((unsigned)host_int(v, "login.attempts_per_user"),
        host_int(v, "login.attempt_per_user_s") * 1000, names, service->clock);
    service->logins_per_address = sim_rates_new((unsigned)host_int(v, "login.attempts_per_address"),
        host_int(v, "login.attempt_per_address_s") * 1000, names, service->clock);
    service->client_failures = sim_rates_new((unsigned)host_int(v, "login.client_failures"),
        host_int(v, "login.client_failure_s") * 1000, names, service->clock);
    return service->logins_per_user && service->logins_per_address && service->client_failures
               ? RPC_OK
               : no_memory(reterr);
}

static sim_consumers_options consumers_options(sim_server *server, const host_values *entry)
{
    const host_values *v = values_of(server);
    return (sim_consumers_options){
        .runtime = server->service.runtime,
        .resource = host_string(entry, "resource"),
        .target = host_string(entry, "target"),
        .ca_file = host_string(entry, "ca"),
        .certificate_file = host_string(entry, "certificate"),
        .key_file = host_string(entry, "key"),
        .server_name = host_string(entry, "server_name"),
        .disclose_full = host_enum(entry, "disclose") == SIM_DISCLOSE_FULL,
        .deadline_ms = host_int(v, "step5a.deadline_ms"),
        .waiting_max = (unsigned)host_int(v, "step5a.waiting_max"),
        .log = server->log,
        .metrics = server->metrics,
    };
}

static rpc_code open_dacm(
    sim_server *server, const host_values *entry, sim_dacm *dacm, rpc_status *reterr)
{
    sim_service *service = &server->service;
    const sim_consumers_options options = consumers_options(server, entry);
    dacm->resource = options.resource;
    rpc_code code = sim_consumers_new(&options, &dacm->consumers, reterr);
    if (code == RPC_OK)
        code = sim_reporter_start(sim_consumers_channel(dacm->consumers), service->state,
            dacm->resource, server->log, server->metrics, &dacm->reporter, reterr);
    return code;
}

static rpc_code open_dacms(sim_server *server, rpc_status *reterr)
{
    const host_values *v = values_of(server);
    sim_service *service = &server->service;
    const size_t count = host_list_count(v, "dacms");
    rpc_code code = RPC_OK;
    service->dacms = calloc(count, sizeof *service->dacms);
    if (!service->dacms)
        return no_memory(reterr);
    service->dacm_count = count;
    sim_revocations_watch(service->state, on_revocation, service);
    for (size_t i = 0; code == RPC_OK && i < count; i++)
        code = open_dacm(server, host_map_list(v, "dacms", i), &service->dacms[i], reterr);
    return code;
}

static void close_service(sim_service *service)
{
    for (size_t i = 0; i < service->dacm_count; i++) {
        sim_reporter_stop(service->dacms[i].reporter);
        sim_consumers_free(service->dacms[i].consumers);
    }
    free(service->dacms);
    sim_rates_free(service->logins_per_user);
    sim_rates_free(service->logins_per_address);
    sim_rates_free(service->client_failures);
    program_strangers_done(&service->strangers);
    sim_state_close(service->state);
}

static rpc_code open_admin(sim_server *server, rpc_status *reterr)
{
    sim_service *service = &server->service;
    server->calls = host_rpc_new(server->log, server->metrics, service->clock);
    if (!server->calls)
        return no_memory(reterr);
    return sim_admin_start(service, server->calls, values_of(server), &server->admin, reterr);
}

/* ---- HTTPS ------------------------------------------------------------------------------------
 */

static rpc_code serve(sim_server *server, host_https_options *options, bool with_certificate,
    host_https **ret, rpc_status *reterr)
{
    host_route routes[SIM_OIDC_ROUTES_MAX];
    const host_values *values = values_of(server);
    options->routes = routes;
    options->route_count = sim_oidc_routes(server->oidc, with_certificate, routes);
    program_http_workers(values, options);
    options->log = server->log;
    options->metrics = server->metrics;
    return host_https_start(options, ret, reterr);
}

static rpc_code open_https(sim_server *server, rpc_status *reterr)
{
    host_https_options options = program_https_options(values_of(server), "https");
    return serve(server, &options, false, &server->https, reterr);
}

static host_https_options mtls_options(const host_values *values)
{
    host_https_options options = program_https_options(values, "https");
    options.address = host_string(values, "listen.mtls.address");
    options.port = (unsigned)host_int(values, "listen.mtls.port");
    options.client_ca_file = host_string(values, "listen.mtls.client_ca");
    options.client_crl_file = host_string(values, "listen.mtls.client_crl");
    options.client_auth = HOST_CLIENT_REQUEST;
    return options;
}

/* The endpoints for clients that prove who they are by a certificate. */
static rpc_code open_mtls(sim_server *server, rpc_status *reterr)
{
    host_https_options options = mtls_options(values_of(server));
    if (!*server->mtls_url)
        return RPC_OK;
    return serve(server, &options, true, &server->mtls, reterr);
}

/* A DACM that is away is its own business, and tokens for others are given meanwhile. */
static void warn_of_dacms(sim_server *server)
{
    const sim_service *service = &server->service;
    const uint64_t last = sim_revocations_sequence(service->state);
    bool away = false, behind = false;
    for (size_t i = 0; i < service->dacm_count; i++) {
        away = away || !sim_reporter_connected(service->dacms[i].reporter);
        behind = behind || sim_reporter_applied(service->dacms[i].reporter) < last;
    }
    host_health_warn(server->health, "dacm away",
        away ? "a DACM takes no revocations for now: see sim_report_connected and the log" : NULL);
    host_health_warn(server->health, "dacm behind",
        behind ? "a DACM does not apply all revocations yet: see sim_report_lag" : NULL);
}

static void get_health(void *ctx, host_request *request)
{
    sim_server *server = ctx;
    rpc_status why = {0};
    const bool ok = trust_audit_healthy(server->service.audit, &why);
    host_health_set(server->health, "audit", ok,
        ok ? "" : "the audit trail cannot be written; see the log and the disk");
    warn_of_dacms(server);
    if (server->skms)
        skmc_judge(server->skms);
    host_health_handle(server->health, request);
}

static rpc_code open_ops(sim_server *server, rpc_status *reterr)
{
    const host_values *values = values_of(server);
    const host_route routes[] = {
        {.path = "/metrics",
            .handle = host_metrics_handle,
            .ctx = server->metrics,
            .in_place = true},
        {.path = "/healthz", .handle = get_health, .ctx = server, .in_place = true},
    };
    host_https_options options = program_https_options(values, "ops");
    options.routes = routes;
    options.route_count = sizeof routes / sizeof *routes;
    return host_https_start(&options, &server->ops, reterr);
}

/* ---- token keys --------------------------------------------------------------------------------
 */

static bool from_skms(const host_values *values)
{
    return host_enum(values, "keys.source") == SIM_KEYS_OF_SKMS;
}

/* On the thread of the SKM-C. */
static void keys_changed(void *ctx, const char *val_service)
{
    sim_server *server = ctx;
    (void)val_service; /* no other is watched */
    if (!sim_keys_take(server->service.keys, skmc_keys_now(server->skms)))
        HOST_LOG(server->log, HOST_ERROR, "no memory for the keys that the SKM-S gave");
}

static rpc_code open_keys(sim_server *server, rpc_status *reterr)
{
    sim_service *service = &server->service;
    const host_values *values = values_of(server);
    if (!from_skms(values))
        return sim_keys_open(host_string(values, "keys.file"), &service->keys, reterr);
    const skmc_options options = {.runtime = service->runtime,
        .settings = values,
        .clock = service->clock,
        .log = server->log,
        .metrics = server->metrics,
        .health = server->health,
        .val_service = service->config.issuer,
        .purpose = TRUST_FOR_TOKENS,
        .changed = keys_changed,
        .ctx = server};
    rpc_code code = sim_keys_of_skms(&service->keys, reterr);
    if (code == RPC_OK)
        code = skmc_open(&options, &server->skms, reterr);
    service->skms = server->skms;
    return code == RPC_OK ? skmc_start(server->skms, reterr) : code;
}

static rpc_code check_key_files(const host_values *values, rpc_status *reterr)
{
    sim_keys *keys = NULL;
    if (from_skms(values))
        return skmc_files_check(values, reterr);
    const rpc_code code = sim_keys_open(host_string(values, "keys.file"), &keys, reterr);
    sim_keys_close(keys);
    return code;
}

static rpc_code reload_keys(sim_server *server, const host_values *values, rpc_status *reterr)
{
    if (server->skms) /* settings without it are for the next start */
        return skmc_configured(values) ? skmc_reload(server->skms, values, reterr) : RPC_OK;
    return sim_keys_reload(server->service.keys, reterr);
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
        code = open_keys(server, reterr);
    if (code == RPC_OK)
        code = program_audit_open(values, service->clock, server->log, &service->audit, reterr);
    if (code == RPC_OK)
        code = open_store(server, reterr);
    if (code == RPC_OK)
        code = open_state(server, reterr);
    if (code == RPC_OK)
        code = open_rates(server, reterr);
    if (code == RPC_OK)
        code = open_dacms(server, reterr);
    if (code == RPC_OK)
        code = sim_sweep_start(
            service, host_int(values, "store.sweep_interval_s"), &server->sweep, reterr);
    if (code == RPC_OK)
        code = open_admin(server, reterr);
    if (code == RPC_OK)
        code = sim_oidc_new(service, host_string(values, "store.directory"), &server->oidc, reterr);
    if (code == RPC_OK)
        code = open_ops(server, reterr);
    if (code == RPC_OK)
        code = open_mtls(server, reterr);
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

/* Of a side server. */
static rpc_code check_tls(const host_https_options *https, const char *setting, rpc_status *reterr)
{
    const char *crl = https->client_crl_file;
    const rpc_tls_options tls = {.certificate_file = https->certificate_file,
        .key_file = https->key_file,
        .ca_file = https->client_ca_file,
        .crl_file = crl && crl[0] ? crl : NULL,
        .client_auth = https->client_ca_file ? RPC_CLIENT_AUTH_REQUEST : RPC_CLIENT_AUTH_NONE};
    return tls.certificate_file ? program_check_tls(&tls, setting, reterr)
                                : RPC_OK; /* plain text */
}

/* Both ends of mutual TLS need the same: a pair, and whom to trust. */
static rpc_code check_dacm_files(const host_values *values, size_t index, rpc_status *reterr)
{
    const host_values *dacm = host_map_list(values, "dacms", index);
    char setting[32];
    const rpc_tls_options tls = {.certificate_file = host_string(dacm, "certificate"),
        .key_file = host_string(dacm, "key"),
        .ca_file = host_string(dacm, "ca"),
        .client_auth = RPC_CLIENT_AUTH_REQUIRE};
    snprintf(setting, sizeof setting, "dacms[%zu]", index);
    return program_check_tls(&tls, setting, reterr);
}

rpc_code sim_server_check(const host_values *values, rpc_status *reterr)
{
    char mtls_url[SIM_ISSUER_MAX + 1];
    const host_https_options https = program_https_options(values, "https"),
                             mtls = mtls_options(values),
                             ops = program_https_options(values, "ops");
    rpc_code code = check_key_files(values, reterr);
    if (code == RPC_OK)
        code = check_tls(&https, "listen.https", reterr);
    if (code == RPC_OK && sim_settings_mtls_url(values, mtls_url, sizeof mtls_url) && mtls_url[0])
        code = check_tls(&mtls, "listen.mtls", reterr);
    if (code == RPC_OK)
        code = check_tls(&ops, "listen.ops", reterr);
    for (size_t i = 0; code == RPC_OK && i < host_list_count(values, "dacms"); i++)
        code = check_dacm_files(values, i, reterr);
    return code;
}

/* Step 5a and the reports go on by connections with the new certificates. */
static rpc_code renew_dacms(sim_server *server, rpc_status *reterr)
{
    rpc_code code = RPC_OK;
    for (size_t i = 0; code == RPC_OK && i < server->service.dacm_count; i++) {
        const sim_consumers_options options = consumers_options(
            server, host_map_list(values_of(server), "dacms", i));
        code = sim_consumers_renew(server->service.dacms[i].consumers, &options, reterr);
    }
    return code;
}

/* Of each HTTPS listener; mtls is none where there is none. */
typedef struct https_listeners {
    host_https_options https, mtls, ops;
} https_listeners;

static https_listeners https_listeners_of(const host_values *values)
{
    return (https_listeners){.https = program_https_options(values, "https"),
        .mtls = mtls_options(values),
        .ops = program_https_options(values, "ops")};
}

/* Whatever can be refused is, before anything changes. The DACMs' files are read where they were
 * at the start. */
static rpc_code check_reload(sim_server *server, const host_values *values, rpc_status *reterr)
{
    const https_listeners to = https_listeners_of(values);
    rpc_code code = sim_server_check(values, reterr);
    for (size_t i = 0; code == RPC_OK && i < server->service.dacm_count; i++)
        code = check_dacm_files(values_of(server), i, reterr);
    if (code == RPC_OK)
        code = program_check_https_reload(server->https, &to.https, "listen.https", reterr);
    if (code == RPC_OK && server->mtls)
        code = program_check_https_reload(server->mtls, &to.mtls, "listen.mtls", reterr);
    return code == RPC_OK ? program_check_https_reload(server->ops, &to.ops, "listen.ops", reterr)
                          : code;
}

static rpc_code reload_https(sim_server *server, const host_values *values, rpc_status *reterr)
{
    const https_listeners to = https_listeners_of(values);
    rpc_code code = host_https_reload(server->https, &to.https, reterr);
    if (code == RPC_OK && server->mtls)
        code = host_https_reload(server->mtls, &to.mtls, reterr);
    return code == RPC_OK ? host_https_reload(server->ops, &to.ops, reterr) : code;
}

rpc_code sim_server_reload(sim_server *server, const host_settings *settings, rpc_status *reterr)
{
    const host_values *values = host_settings_values(settings);
    rpc_code code = check_reload(server, values, reterr);
    if (code == RPC_OK)
        code = reload_keys(server, values, reterr); /* first: it may refuse, as a whole */
    if (code == RPC_OK)
        code = renew_dacms(server, reterr);
    return code == RPC_OK ? reload_https(server, values, reterr) : code;
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
    host_https_stop(server->mtls);
    host_https_stop(server->ops); /* its gauges look at what is freed next */
    sim_admin_stop(server->admin, host_int(values_of(server), "limits.drain_ms"));
    host_rpc_free(server->calls);
    sim_sweep_stop(server->sweep);
    sim_oidc_free(server->oidc);
    close_service(service);
    store_close(server->db);
    trust_audit_close(service->audit);
    skmc_close(server->skms); /* its thread puts keys in place; nothing signs any more */
    sim_keys_close(service->keys);
    rpc_runtime_free(service->runtime);
    host_health_free(server->health);
    host_metrics_free(server->metrics);
    host_settings_free(server->settings);
    free(server);
}
