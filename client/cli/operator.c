/* SPDX-License-Identifier: Apache-2.0 */
#include "operator.h"

#include <stddef.h>
#include <string.h>

#define ARENA_BYTES (16u << 20)
#define CALL_MS     30000

enum { OPTION_ADMIN = 768, OPTION_OPERATOR_ENV, OPTION_OPERATOR_JSON };

/* ---- options --------------------------------------------------------------------------------- */

static error_t parse(int key, char *argument, struct argp_state *state)
{
    operator_calls *calls = state->input;
    switch (key) {
    case OPTION_ADMIN:
        calls->admin = argument;
        return 0;
    case OPTION_OPERATOR_ENV:
        calls->cli->env_file = argument;
        return 0;
    case OPTION_OPERATOR_JSON:
        calls->cli->json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

#define OPTIONS(admin_help)                                                                        \
    {                                                                                              \
        {"admin", OPTION_ADMIN, "URL", 0, admin_help, 10},                                         \
            {"env", OPTION_OPERATOR_ENV, "FILE", 0,                                                \
                "env.json of `dacm dev`, or its folder (DACM_ENV), which names it; development "   \
                "only",                                                                            \
                10},                                                                               \
            {"json", OPTION_OPERATOR_JSON, NULL, 0, "one JSON object per line", 10}, {0},          \
    }
static const struct argp_option sims_options[] = OPTIONS(
    "simsd's admin socket, such as ipc:///run/simsd/admin.sock (DACM_SIMS_ADMIN)");
static const struct argp_option skms_options[] = OPTIONS(
    "skmsd's admin socket, such as ipc:///run/skmsd/admin.sock (DACM_SKMS_ADMIN)");

const operator_server operator_sims = {
    .service = "sim.v1.Admin",
    .what = "SIM-S",
    .variable = "DACM_SIMS_ADMIN",
    .usual = "ipc:///run/simsd/admin.sock",
    .in_env = offsetof(cli_env, sims_admin),
    .argp = {.options = sims_options, .parser = parse},
};
const operator_server operator_skms = {
    .service = "skms.v1.Admin",
    .what = "SKM-S",
    .variable = "DACM_SKMS_ADMIN",
    .usual = "ipc:///run/skmsd/admin.sock",
    .in_env = offsetof(cli_env, skms_admin),
    .argp = {.options = skms_options, .parser = parse},
};

/* ---- calls ----------------------------------------------------------------------------------- */

/** --admin, the variable, env.json; NULL: none says. */
static const char *target_of(const operator_calls *calls)
{
    const char *variable = getenv(calls->server->variable), *in_env = NULL;
    memcpy(&in_env, (const char *)&calls->cli->env + calls->server->in_env, sizeof in_env);
    if (calls->admin)
        return calls->admin;
    return variable && variable[0] ? variable : in_env;
}

static dacm_code connect(operator_calls *calls, dacm_error *reterr)
{
    rpc_status status = {0};
    if (cli_load_env(calls->cli, reterr) != DACM_OK)
        return reterr->code;
    const char *target = target_of(calls);
    if (!target) {
        rpc_status_set(&status, RPC_INVALID_ARGUMENT,
            "no %s was named; give --admin %s, or --env for development", calls->server->what,
            calls->server->usual);
        return cli_fail_status(reterr, &status);
    }
    const rpc_channel_options channel = {.target = target, .limits = rpc_limits_default_client()};
    rpc_code code = rpc_runtime_new(NULL, &calls->runtime, &status);
    if (code == RPC_OK)
        code = rpc_channel_new(calls->runtime, &channel, &calls->channel, &status);
    if (code == RPC_OK && !(calls->arena = rpc_arena_new(ARENA_BYTES)))
        code = rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "no memory");
    return code == RPC_OK ? DACM_OK : cli_fail_status(reterr, &status);
}

dacm_code operator_ask(operator_calls *calls, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *reply, void *ret, dacm_error *reterr)
{
    rpc_status status = {0};
    char path[64];
    const dacm_code code = calls->arena ? DACM_OK : connect(calls, reterr);
    if (code != DACM_OK)
        return code;
    snprintf(path, sizeof path, "/%s/%s", calls->server->service, method);
    const rpc_call_options call = {.timeout_ms = CALL_MS};
    ProtobufCMessage *message = NULL;
    if (rpc_channel_unary(
            calls->channel, path, &call, request, reply, calls->arena, &message, &status) != RPC_OK)
        return cli_fail_status(reterr, &status);
    *(ProtobufCMessage **)ret = message;
    return DACM_OK;
}

int operator_call(operator_calls *calls, const char *method, const ProtobufCMessage *request,
    const ProtobufCMessageDescriptor *reply, void *ret)
{
    dacm_error error;
    return operator_ask(calls, method, request, reply, ret, &error) == DACM_OK
               ? CLI_EXIT_OK
               : cli_fail(calls->cli, &error);
}

void operator_done(operator_calls *calls)
{
    rpc_arena_free(calls->arena);
    rpc_channel_free(calls->channel);
    rpc_runtime_free(calls->runtime);
}

/* ---- output ------------------------------------------------------------------------------------
 */

json_t *operator_strings_json(char *const *texts, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_string(texts[i]));
    return array;
}

void operator_print_line(const char *name, char *value)
{
    rpc_text_printable(value);
    operator_print_word(name, value);
}

void operator_print_word(const char *name, const char *value)
{
    if (value[0])
        printf("%-10s%s\n", name, value);
}

void operator_print_list(const char *name, char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        operator_print_line(i == 0 ? name : "", texts[i]);
}
