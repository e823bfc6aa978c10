/* SPDX-License-Identifier: Apache-2.0 */
/* The program skmsd: the SKM-S of 3GPP TS 33.434 clauses 5.3 and 5.8. */
#include "server.h"
#include "settings.h"
#include "tools.h"
#include "trust.h"

/* argp looks it up by name, from the C library */
__attribute__((visibility("default"))) const char *argp_program_version = "skmsd " DACM_VERSION;

static rpc_code check(void *input, const host_values *values, rpc_status *reterr)
{
    (void)input;
    return skm_settings_check(values, reterr);
}

static rpc_code start(host_settings *settings, host_log *log, void **ret, rpc_status *reterr)
{
    skm_server *server = NULL;
    const rpc_code code = skm_server_start(settings, log, &server, reterr);
    *ret = server;
    return code;
}

static const char *url(const void *server)
{
    return skm_server_url(server);
}

static rpc_code reload(void *server, const host_settings *settings, rpc_status *reterr)
{
    return skm_server_reload(server, settings, reterr);
}

static void stop(void *server)
{
    skm_server_stop(server);
}

int main(int argc, char **argv)
{
    skm_tools tools = {.after_restore = false};
    trust_json_overwrite();
    const program skmsd = {
        .name = "skmsd",
        .version = DACM_VERSION,
        .text = "The SKM-S: makes, keeps, publishes and turns the keys that sign digital assets "
                "and tokens (3GPP TS 33.434 5.3, TR 33.721 solution #6).\v"
                "SIGHUP reads certificates and issuers again; SIGTERM lets running calls end.",
        .settings = skm_settings,
        .setting_count = skm_settings_count,
        .reloaded = "reloaded certificates and issuers",
        .check = check,
        .check_files = skm_server_check,
        .start = start,
        .url = url,
        .reload = reload,
        .stop = stop,
        .store_check = skm_tool_check,
        .backed_up = skm_tool_backed_up,
        .argp = &skm_tools_argp,
        .input = &tools,
        .tool_asked = skm_tools_asked,
        .tool = skm_tools_run,
    };
    return program_main(&skmsd, argc, argv);
}
