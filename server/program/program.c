/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include "program_tools.h"

#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OPTION_CHECK = 1024, OPTION_BACKUP, OPTION_STAT, OPTION_JSON, OPTION_AUDIT };

typedef struct arguments {
    const program *program;
    host_options host;
    bool check, stat, audit, json;
    const char *backup;
    unsigned tools; /* how many were asked for */
} arguments;

static const struct argp_option options[] = {
    {"store-check", OPTION_CHECK, NULL, 0,
        "reads the whole store, beside a running server too, and says whether it is consistent", 2},
    {"store-backup", OPTION_BACKUP, "DIR", 0,
        "copies the store to DIR, beside a running server too", 2},
    {"store-stat", OPTION_STAT, NULL, 0, "says how full the store is", 2},
    {"audit-verify", OPTION_AUDIT, NULL, 0,
        "follows the chain of the audit trail, beside a running server too, and prints its head; "
        "keep that elsewhere to find that newest records were removed",
        2},
    {"json", OPTION_JSON, NULL, 0, "prints lines of JSON (with --store-… and --audit-verify)", 2},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    arguments *args = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &args->host;
        if (args->program->argp)
            state->child_inputs[1] = args->program->input;
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

static int complain(const arguments *args, const char *what, const rpc_status *status)
{
    fprintf(
        stderr, "%s: %s%s%s\n", args->program->name, what, what[0] ? ": " : "", status->message);
    return EXIT_FAILURE;
}

static rpc_code load(const arguments *args, host_settings **ret, rpc_status *reterr)
{
    const program *p = args->program;
    host_settings *settings = NULL;
    rpc_code code = host_settings_load(
        args->host.config, p->settings, p->setting_count, &settings, reterr);
    if (code != RPC_OK)
        return code;
    code = p->check(p->input, host_settings_values(settings), reterr);
    if (code == RPC_OK) {
        *ret = settings;
        return RPC_OK;
    }
    host_settings_free(settings);
    /* It names a setting; where there is room, it names the file too, as all others do. */
    const rpc_status why = *reterr;
    if (strlen(args->host.config) + strlen(why.message) + 3 > sizeof why.message)
        return code;
    return rpc_status_set(reterr, code, "%s: %s", args->host.config, why.message);
}

static bool own_tool(const arguments *args)
{
    return args->program->tool_asked && args->program->tool_asked(args->program->input);
}

static int use_tool_here(const arguments *args, const host_settings *settings)
{
    const program *p = args->program;
    const host_values *values = host_settings_values(settings);
    const char *directory = host_string(values, "store.directory");
    if (own_tool(args))
        return p->tool(p->input, values, args->json);
    if (args->audit)
        return program__tool_audit(p->name, host_string(values, "audit.directory"), args->json);
    if (args->check)
        return p->store_check(directory, args->json);
    if (args->backup)
        return program__tool_backup(p, directory, args->backup, args->json);
    return program__tool_stat(p->name, directory, args->json);
}

static int tool_died(const arguments *args, int signal)
{
    rpc_status status;
    if (signal != SIGSEGV && signal != SIGBUS && signal != SIGABRT && signal != SIGFPE)
        return 128 + signal; /* somebody ended it */
    rpc_status_set(&status, RPC_DATA_LOSS,
        "the files are damaged so far that reading them ended the tool (signal %d); restore from a "
        "backup",
        signal);
    return program_tool_failed(args->program->name, args->json, &status);
}

/* In a child: pages of a store are mapped, and who reads damaged ones may die of it without a word.
 */
static int use_tool(const arguments *args, const host_settings *settings)
{
    int status = 0;
    if (own_tool(args))
        return use_tool_here(args, settings);
    fflush(NULL);
    const pid_t parent = getpid(), child = fork();
    if (child < 0)
        return use_tool_here(args, settings);
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
        const int code = getppid() == parent ? use_tool_here(args, settings) : 1;
        fflush(NULL);
        _exit(code);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFSIGNALED(status) ? tool_died(args, WTERMSIG(status)) : WEXITSTATUS(status);
}

static int check_files(const arguments *args, const host_settings *settings)
{
    rpc_status status = {0};
    if (args->program->check_files(host_settings_values(settings), &status) != RPC_OK)
        return complain(args, args->host.config, &status);
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
    const arguments *args, void *server, host_log *log, const host_settings *started_with)
{
    rpc_status status = {0};
    host_settings *settings = NULL;
    rpc_code code = load(args, &settings, &status);
    if (code == RPC_OK) /* first: of this nothing is to be taken back */
        code = host_log_reopen(log, &status);
    if (code == RPC_OK)
        code = args->program->reload(server, settings, &status);
    if (code == RPC_OK) {
        const host_values *values = host_settings_values(settings);
        host_log_set_level(log, (host_level)host_enum(values, "log.level"));
        host_settings_diff(started_with, settings, tell_restart, log);
        HOST_LOG(log, HOST_INFO, args->program->reloaded);
    } else
        HOST_LOG(log, HOST_ERROR, "reload failed: everything stays as it was",
            host_text("why", status.message));
    host_settings_free(settings);
}

static int serve(const arguments *args, host_settings *settings, host_log *log)
{
    const program *p = args->program;
    rpc_status status = {0};
    void *server = NULL;
    if (p->start(settings, log, &server, &status) != RPC_OK) {
        HOST_LOG(log, HOST_ERROR, "cannot start", host_text("why", status.message));
        return EXIT_FAILURE;
    }
    HOST_LOG(log, HOST_INFO, "ready", host_text("version", p->version),
        host_text("users", p->url(server)));
    host_notify("READY=1");
    while (host_wait_signal() == HOST_SIGNAL_RELOAD) {
        host_notify("RELOADING=1");
        reload(args, server, log, settings);
        host_notify("READY=1");
    }
    host_notify("STOPPING=1");
    HOST_LOG(log, HOST_INFO, "stopping");
    p->stop(server);
    HOST_LOG(log, HOST_INFO, "stopped");
    return EXIT_SUCCESS;
}

static int open_log_and_serve(const arguments *args, host_settings *settings)
{
    const host_values *values = host_settings_values(settings);
    rpc_status status = {0};
    host_log *log = NULL;
    if (host_log_open(host_string(values, "log.file"), (host_level)host_enum(values, "log.level"),
            args->program->name, rpc_clock_system(), &log, &status) != RPC_OK) {
        host_settings_free(settings);
        return complain(args, "", &status);
    }
    int code = serve(args, settings, log);
    host_log_close(log);
    return code;
}

int program_main(const program *p, int argc, char **argv)
{
    const struct argp_child children[] = {{&host_argp, 0, NULL, 0}, {p->argp, 0, NULL, 0}, {0}};
    const struct argp argp = {options, parse, NULL, p->text, children, NULL, NULL};
    arguments args = {.program = p};
    rpc_status status = {0};
    host_settings *settings = NULL;
    host_process_prepare();
    if (argp_parse(&argp, argc, argv, 0, NULL, &args) != 0)
        return EXIT_FAILURE;
    if (args.host.help_config) {
        host_settings_help(p->settings, p->setting_count, stdout);
        return EXIT_SUCCESS;
    }
    if (own_tool(&args) && args.tools > 0) {
        fprintf(stderr, "%s: one tool at a time\n", p->name);
        return EXIT_FAILURE;
    }
    if (load(&args, &settings, &status) != RPC_OK)
        return complain(&args, "", &status);
    args.tools += own_tool(&args);
    if (!args.host.check_config && args.tools == 0)
        return open_log_and_serve(&args, settings);
    int code = args.host.check_config ? check_files(&args, settings) : use_tool(&args, settings);
    host_settings_free(settings);
    return code;
}
