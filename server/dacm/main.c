/* SPDX-License-Identifier: Apache-2.0 */
/* The program dacmd: the DACM of 3GPP TR 33.721 solution #6. */
#include "program.h"
#include "server.h"
#include "settings.h"
#include "tools.h"

#include <argp.h>

/* argp looks it up by name, from the C library */
__attribute__((visibility("default"))) const char *argp_program_version = "dacmd " DACM_VERSION;

enum { OPTION_LITERAL = 2048 };

static error_t parse(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    bool *allow_literal = state->input;
    if (key != OPTION_LITERAL)
        return ARGP_ERR_UNKNOWN;
    *allow_literal = true;
    return 0;
}

static rpc_code check(void *input, const host_values *values, rpc_status *reterr)
{
    const bool *allow_literal = input;
    return dacm_settings_check(values, *allow_literal, reterr);
}

static rpc_code start(host_settings *settings, host_log *log, void **ret, rpc_status *reterr)
{
    dacm_server *server = NULL;
    const rpc_code code = dacm_server_start(settings, log, &server, reterr);
    *ret = server;
    return code;
}

static const char *url(const void *server)
{
    return dacm_server_users_url(server);
}

static rpc_code reload(void *server, const host_settings *settings, rpc_status *reterr)
{
    return dacm_server_reload(server, settings, reterr);
}

static void stop(void *server)
{
    dacm_server_stop(server);
}

int main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"allow-literal", OPTION_LITERAL, NULL, 0,
            "lets issuers have mode literal: any holder of a genuine token may name any listed "
            "user",
            1},
        {0},
    };
    static const struct argp argp = {options, parse, NULL, NULL, NULL, NULL, NULL};
    bool allow_literal = false;
    const program dacmd = {
        .name = "dacmd",
        .version = DACM_VERSION,
        .text =
            "The DACM: signed digital assets for listed users (3GPP TR 33.721 solution #6).\v"
            "SIGHUP reads keys, certificates and issuers again; SIGTERM lets running calls end.",
        .settings = dacm_settings,
        .setting_count = dacm_settings_count,
        .argp = &argp,
        .input = &allow_literal,
        .reloaded = "reloaded keys, certificates and issuers",
        .check = check,
        .check_files = dacm_server_check,
        .start = start,
        .url = url,
        .reload = reload,
        .stop = stop,
        .store_check = dacm_tool_check,
        .backed_up = dacm_tool_backed_up,
    };
    return program_main(&dacmd, argc, argv);
}
