/* SPDX-License-Identifier: Apache-2.0 */
/* The program simsd: the SIM-S of 3GPP TS 33.434 clause 5.2, with step 5a of TR 33.721
 * solution #6. */
#include "program.h"
#include "server.h"
#include "settings.h"
#include "tools.h"

/* argp looks it up by name, from the C library */
__attribute__((visibility("default"))) const char *argp_program_version = "simsd " DACM_VERSION;

static rpc_code check(void *input, const host_values *values, rpc_status *reterr)
{
    (void)input;
    return sim_settings_check(values, reterr);
}

static rpc_code start(host_settings *settings, host_log *log, void **ret, rpc_status *reterr)
{
    sim_server *server = NULL;
    const rpc_code code = sim_server_start(settings, log, &server, reterr);
    *ret = server;
    return code;
}

static const char *url(const void *server)
{
    return sim_server_url(server);
}

static rpc_code reload(void *server, const host_settings *settings, rpc_status *reterr)
{
    return sim_server_reload(server, settings, reterr);
}

static void stop(void *server)
{
    sim_server_stop(server);
}

int main(int argc, char **argv)
{
    const program simsd = {
        .name = "simsd",
        .version = DACM_VERSION,
        .text = "The SIM-S: an OpenID provider that knows who may use which digital asset (3GPP "
                "TS 33.434 5.2, TR 33.721 solution #6).\v"
                "SIGHUP reads keys and certificates again; SIGTERM lets running requests end.",
        .settings = sim_settings,
        .setting_count = sim_settings_count,
        .reloaded = "reloaded keys and certificates",
        .check = check,
        .check_files = sim_server_check,
        .start = start,
        .url = url,
        .reload = reload,
        .stop = stop,
        .store_check = sim_tool_check,
    };
    return program_main(&simsd, argc, argv);
}
