/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *const program_levels[] = {"error", "warning", "info", "debug", NULL};

static rpc_code uid_parse(const char *text, uid_t *ret, rpc_status *reterr)
{
    char *end = NULL;
    const unsigned long uid = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || uid > UINT32_MAX - 1)
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'listen.admin.uids': '%.32s' is no user ID; write a number", text);
    *ret = (uid_t)uid;
    return RPC_OK;
}

rpc_code program_admin_uids(
    const host_values *values, uid_t **ret, size_t *ret_count, rpc_status *reterr)
{
    size_t count = host_list_count(values, "listen.admin.uids");
    const char *const *list = host_string_list(values, "listen.admin.uids");
    uid_t *uids = calloc(count + 1, sizeof *uids);
    rpc_code code = RPC_OK;
    if (!uids)
        return rpc_status_set(reterr, RPC_RESOURCE_EXHAUSTED, "no memory for the settings");
    for (size_t i = 0; code == RPC_OK && i < count; i++)
        code = uid_parse(list[i], &uids[i], reterr);
    if (code != RPC_OK) {
        free(uids);
        return code;
    }
    *ret = uids;
    *ret_count = count;
    return RPC_OK;
}

bool program_admin_caller(const rpc_call *call, const uid_t *uids, size_t count)
{
    const rpc_peer *peer = rpc_call_peer(call);
    bool ours = peer->has_uid && peer->uid == geteuid();
    for (size_t i = 0; peer->has_uid && i < count && !ours; i++)
        ours = peer->uid == uids[i];
    return ours;
}

rpc_code program_check_pair(
    const host_values *values, const char *first, const char *second, rpc_status *reterr)
{
    if ((host_string(values, first)[0] != '\0') == (host_string(values, second)[0] != '\0'))
        return RPC_OK;
    return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
        "'%s' and '%s' belong together: set both or neither", first, second);
}

rpc_code program_check_url(
    const host_values *values, const char *name, bool allow_plain_text, rpc_status *reterr)
{
    char setting[64];
    rpc_status why;
    snprintf(setting, sizeof setting, "listen.%s.url", name);
    const rpc_listener_options options = {
        .name = name, .url = host_string(values, setting), .allow_plain_text = allow_plain_text};
    if (!options.url[0])
        return RPC_OK;
    const rpc_code code = rpc_listener_check(&options, &why);
    return code == RPC_OK ? code
                          : rpc_status_set(reterr, code, "'%s': %.300s", setting, why.message);
}

/* NULL where it is empty. */
static const char *part_of(const host_values *values, const char *name, const char *part)
{
    char setting[64];
    snprintf(setting, sizeof setting, "listen.%s.%s", name, part);
    const char *text = host_string(values, setting);
    return text[0] ? text : NULL;
}

host_https_options program_https_options(const host_values *values, const char *name)
{
    char port[64];
    snprintf(port, sizeof port, "listen.%s.port", name);
    host_https_limits limits = host_https_limits_of(values);
    const int64_t drain_ms = host_int(values, "limits.drain_ms");
    limits.drain_ms = drain_ms ? (uint32_t)drain_ms : 1;
    return (host_https_options){.address = part_of(values, name, "address"),
        .port = (unsigned)host_int(values, port),
        .certificate_file = part_of(values, name, "certificate"),
        .key_file = part_of(values, name, "key"),
        .limits = limits};
}

rpc_code program_check_https(const host_values *values, const char *name, rpc_status *reterr)
{
    rpc_status why;
    if (2 * host_int(values, "limits.https.header_bytes") >
        host_int(values, "limits.https.connection_bytes"))
        return rpc_status_set(reterr, RPC_INVALID_ARGUMENT,
            "'limits.https.header_bytes': is more than half of limits.https.connection_bytes, "
            "whose other half is for the answer");
    host_https_options options = program_https_options(values, name);
    options.key_file = NULL;
    if (!options.address)
        options.address = "";
    const rpc_code code = host_https_check(&options, &why);
    return code == RPC_OK
               ? code
               : rpc_status_set(reterr, code, "'listen.%s.address': %s", name, why.message);
}

rpc_code program_check_tls(const rpc_tls_options *tls, const char *setting, rpc_status *reterr)
{
    rpc_status why;
    const rpc_code code = rpc_tls_check_listener(tls, &why);
    return code == RPC_OK ? code
                          : rpc_status_set(reterr, code, "'%s': %.300s", setting, why.message);
}

rpc_code program_check_https_reload(const host_https *https, const host_https_options *options,
    const char *setting, rpc_status *reterr)
{
    rpc_status why;
    const rpc_code code = host_https_reload_check(https, options, &why);
    return code == RPC_OK ? code
                          : rpc_status_set(reterr, code, "'%s': %.300s", setting, why.message);
}

rpc_code program_admin_serve(rpc_runtime *runtime, host_rpc *calls, const host_values *settings,
    ProtobufCService *service, rpc_bytes descriptor_set, rpc_server **ret, rpc_status *reterr)
{
    const rpc_interceptor interceptor = host_rpc_interceptor(calls);
    const rpc_server_options options = {.limits = host_rpc_limits(settings),
        .interceptors = &interceptor,
        .interceptor_count = 1,
        .on_event = host_rpc_event,
        .event_ctx = calls};
    const rpc_service_options described = {.descriptor_set = descriptor_set};
    const rpc_listener_options listener = {
        .name = "admin", .url = host_string(settings, "listen.admin.url")};
    rpc_status why = {0};
    rpc_code code = rpc_server_new(runtime, &options, ret, reterr);
    if (code == RPC_OK)
        code = rpc_server_add_service(*ret, service, &described, reterr);
    if (code == RPC_OK)
        code = rpc_server_add_health(*ret, reterr);
    if (code == RPC_OK)
        code = rpc_server_add_channelz(*ret, NULL, reterr);
    if (code == RPC_OK)
        code = rpc_server_add_reflection(*ret, reterr);
    if (code == RPC_OK && (code = rpc_server_listen(*ret, &listener, NULL, &why)) != RPC_OK)
        code = rpc_status_set(reterr, code, "'listen.admin.url': %.300s", why.message);
    return code == RPC_OK ? rpc_server_start(*ret, reterr) : code;
}

void program_http_workers(const host_values *values, host_https_options *options)
{
    options->workers = (unsigned)host_int(values, "http.workers");
    options->polling_threads = (unsigned)host_int(values, "http.polling_threads");
}
