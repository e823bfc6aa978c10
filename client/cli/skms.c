/* SPDX-License-Identifier: Apache-2.0 */
#include "skms.h"

#define KEEPALIVE_MS 30000 /* a watch may hear nothing for most of an hour */

enum {
    OPTION_SERVER = 896,
    OPTION_CA,
    OPTION_SERVER_NAME,
    OPTION_CERT,
    OPTION_KEY,
    OPTION_SKMS_ENV,
    OPTION_SKMS_JSON,
};

static const struct argp_option options[] = {
    {"server", OPTION_SERVER, "URL", 0, "the SKM-S, tls+tcp://host:port (DACM_SKMS)", 10},
    {"ca", OPTION_CA, "FILE", 0, "who may sign its certificate (DACM_CA)", 10},
    {"server-name", OPTION_SERVER_NAME, "NAME", 0, "name in its certificate, if not the host", 10},
    {"cert", OPTION_CERT, "FILE", 0, "client certificate", 10},
    {"key", OPTION_KEY, "FILE", 0, "key of the client certificate", 10},
    {"env", OPTION_SKMS_ENV, "FILE", 0,
        "env.json of `dacm dev`, or its folder (DACM_ENV): fills in the rest; development only",
        10},
    {"json", OPTION_SKMS_JSON, NULL, 0, "one JSON object per line", 10},
    {0},
};

static error_t parse(int key, char *argument, struct argp_state *state)
{
    skms *s = state->input;
    switch (key) {
    case OPTION_SERVER:
        s->server = argument;
        return 0;
    case OPTION_CA:
        s->cli->ca_file = argument;
        return 0;
    case OPTION_SERVER_NAME:
        s->cli->server_name = argument;
        return 0;
    case OPTION_CERT:
        s->cli->certificate_file = argument;
        return 0;
    case OPTION_KEY:
        s->cli->key_file = argument;
        return 0;
    case OPTION_SKMS_ENV:
        s->cli->env_file = argument;
        return 0;
    case OPTION_SKMS_JSON:
        s->cli->json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp skms_argp = {.options = options, .parser = parse};

dacm_code skms_connect(skms *s, dacm_error *reterr)
{
    cli_context *cli = s->cli;
    rpc_status status = {.code = RPC_OK};
    if (cli_load_env(cli, reterr) != DACM_OK)
        return reterr->code;
    const char *variable = getenv("DACM_SKMS");
    const char *target = s->server                 ? s->server
                         : variable && variable[0] ? variable
                         : cli->env.skms_grpc      ? cli->env.skms_grpc
                                                   : s->usual;
    if (!target) {
        rpc_status_set(&status, RPC_INVALID_ARGUMENT,
            "no SKM-S was named; give --server tls+tcp://host:7643, or --env for development");
        return cli_fail_status(reterr, &status);
    }
    rpc_channel_options channel = {
        .target = target,
        .tls = {.ca_file = cli->ca_file ? cli->ca_file : cli->env.ca_file,
            .certificate_file = cli->certificate_file,
            .key_file = cli->key_file,
            .server_name = cli->server_name},
        .limits = rpc_limits_default_client(),
    };
    channel.limits.keepalive_ms = KEEPALIVE_MS;
    rpc_code code = rpc_runtime_new(NULL, &s->runtime, &status);
    if (code == RPC_OK)
        code = rpc_channel_new(s->runtime, &channel, &s->channel, &status);
    return code == RPC_OK ? DACM_OK : cli_fail_status(reterr, &status);
}

void skms_done(skms *s)
{
    rpc_channel_free(s->channel);
    rpc_runtime_free(s->runtime);
}
