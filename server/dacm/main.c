/* SPDX-License-Identifier: Apache-2.0 */
/* The program dacmd: the DACM of 3GPP TR 33.721 solution #6. */
#include "host.h"
#include "server.h"
#include "settings.h"
#include "tools.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

/* argp looks it up by name, from the C library */
__attribute__((visibility("default"))) const char *argp_program_version = "dacmd " DACM_VERSION;

enum { OPTION_LITERAL = 1024, OPTION_CHECK, OPTION_BACKUP, OPTION_STAT, OPTION_JSON, OPTION_AUDIT };

typedef struct arguments {
    host_options host;
    bool allow_literal, check, stat, audit, json;
    const char *backup;
    unsigned tools; /* how many were asked for */
} arguments;

static const struct argp_option options[] = {
    {"allow-literal", OPTION_LITERAL, NULL, 0,
        "lets issuers have mode literal: any holder of a genuine token may name any listed user",
        1},
    {"store-check", OPTION_CHECK, NULL, 0,
        "reads the whole store, beside a running server too, and says whether it is consistent", 2},
    {"store-backup", OPTION_BACKUP, "DIR", 0,
        "copies the store to DIR, beside a running server too", 2},
    {"store-stat", OPTION_STAT, NULL, 0, "says how full the store is", 2},
    {"audit-verify", OPTION_AUDIT, NULL, 0,
        "follows the chain of the audit trail, beside a running server too, and prints its head; "
        "keep that elsewhere to find that newest records were removed",
        2},
    {"json", OPTION_JSON, NULL, 0, "prints lines of JSON (with the four above)", 2},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    arguments *args = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &args->host;
        return 0;
    case OPTION_LITERAL:
        args->allow_literal = true;
        return 0;
    case OPTION_CHECK:
        args->check = true;
        args->tools++;
        return 0;
    case OPTION_BACKUP:
        args->backup = argument;
        args->tools++;
        return 0;
    case OPTION_STAT:
        args->stat = true;
        args->tools++;
        return 0;
    case OPTION_AUDIT:
        args->audit = true;
        args->tools++;
        return 0;
    case OPTION_JSON:
        args->json = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "what is '%s'?", argument);
        return 0;
    case ARGP_KEY_END:
        if (args->tools > 1)
            argp_error(state, "one of --store-check, --store-backup, --store-stat and "
                              "--audit-verify at a time");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int complain(const char *what, const rpc_status *status)
{
    fprintf(stderr, "dacmd: %s%s%s\n", what, what[0] ? ": " : "", status->message);
    return EXIT_FAILURE;
}

static rpc_code load(const arguments *args, host_settings **ret, rpc_status *reterr)
{
    host_settings *settings = NULL;
    rpc_code code = host_settings_load(
        args->host.config, dacm_settings, dacm_settings_count, &settings, reterr);
    if (code != RPC_OK)
        return code;
    code = dacm_settings_check(host_settings_values(settings), args->allow_literal, reterr);
    if (code == RPC_OK)
        *ret = settings;
    else
        host_settings_free(settings);
    return code;
}

static int use_tool(const arguments *args, const host_settings *settings)
{
    const host_values *values = host_settings_values(settings);
    const char *directory = host_string(values, "store.directory");
    if (args->audit)
        return dacm_tool_audit(host_string(values, "audit.directory"), args->json);
    if (args->check)
        return dacm_tool_check(directory, args->json);
    if (args->backup)
        return dacm_tool_backup(directory, args->backup, args->json);
    return dacm_tool_stat(directory, args->json);
}

static int check_files(const arguments *args, const host_settings *settings)
{
    rpc_status status = {0};
    if (dacm_server_check(host_settings_values(settings), &status) != RPC_OK)
        return complain(args->host.config, &status);
    printf("%s: ok\n", args->host.config);
    return EXIT_SUCCESS;
}

/* ---- serving ------------------------------------------------------------------------------------
 */

static void tell_restart(void *ctx, const host_setting *setting)
{
    if (!setting->reloadable)
        HOST_LOG((host_log *)ctx, HOST_WARNING, "setting has changed: restart to use it",
            host_text("setting", setting->name));
}

static void reload(
    const arguments *args, dacm_server *server, host_log *log, const host_settings *started_with)
{
    rpc_status status = {0};
    host_settings *settings = NULL;
    rpc_code code = load(args, &settings, &status);
    if (code == RPC_OK)
        code = dacm_server_reload(server, settings, &status);
    if (code == RPC_OK)
        code = host_log_reopen(log, &status);
    if (code == RPC_OK) {
        const host_values *values = host_settings_values(settings);
        host_log_set_level(log, (host_level)host_enum(values, "log.level"));
        host_settings_diff(started_with, settings, tell_restart, log);
        HOST_LOG(log, HOST_INFO, "reloaded keys, certificates and issuers");
    } else
        HOST_LOG(log, HOST_ERROR, "reload failed: everything stays as it was",
            host_text("why", status.message));
    host_settings_free(settings);
}

static int serve(const arguments *args, host_settings *settings, host_log *log)
{
    rpc_status status = {0};
    dacm_server *server = NULL;
    if (dacm_server_start(settings, log, &server, &status) != RPC_OK) {
        HOST_LOG(log, HOST_ERROR, "cannot start", host_text("why", status.message));
        return EXIT_FAILURE;
    }
    HOST_LOG(log, HOST_INFO, "ready", host_text("version", DACM_VERSION),
        host_text("users", dacm_server_users_url(server)));
    host_notify("READY=1");
    while (host_wait_signal() == HOST_SIGNAL_RELOAD) {
        host_notify("RELOADING=1");
        reload(args, server, log, settings);
        host_notify("READY=1");
    }
    host_notify("STOPPING=1");
    HOST_LOG(log, HOST_INFO, "stopping");
    dacm_server_stop(server);
    HOST_LOG(log, HOST_INFO, "stopped");
    return EXIT_SUCCESS;
}

static int open_log_and_serve(const arguments *args, host_settings *settings)
{
    const host_values *values = host_settings_values(settings);
    rpc_status status = {0};
    host_log *log = NULL;
    if (host_log_open(host_string(values, "log.file"), (host_level)host_enum(values, "log.level"),
            "dacmd", rpc_clock_system(), &log, &status) != RPC_OK) {
        host_settings_free(settings);
        return complain("", &status);
    }
    int code = serve(args, settings, log);
    host_log_close(log);
    return code;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = {{&host_argp, 0, NULL, 0}, {0}};
    static const struct argp argp = {options, parse, NULL,
        "The DACM: signed digital assets for listed users (3GPP TR 33.721 solution #6).\v"
        "SIGHUP reads keys, certificates and issuers again; SIGTERM lets running calls end.",
        children, NULL, NULL};
    arguments args = {.check = false};
    rpc_status status = {0};
    host_settings *settings = NULL;
    host_process_prepare();
    if (argp_parse(&argp, argc, argv, 0, NULL, &args) != 0)
        return EXIT_FAILURE;
    if (args.host.help_config) {
        host_settings_help(dacm_settings, dacm_settings_count, stdout);
        return EXIT_SUCCESS;
    }
    if (load(&args, &settings, &status) != RPC_OK)
        return complain("", &status);
    if (!args.host.check_config && !args.check && !args.backup && !args.stat && !args.audit)
        return open_log_and_serve(&args, settings);
    int code = args.host.check_config ? check_files(&args, settings) : use_tool(&args, settings);
    host_settings_free(settings);
    return code;
}
