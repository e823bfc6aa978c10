/* SPDX-License-Identifier: Apache-2.0 */
/* explain, token revoke: over the server's admin socket, or with an admin certificate. */
#include "cli.h"
#include "cleanup.h"

#include <inttypes.h>
#include <string.h>

RPC_DEFINE_FREEP(client_freep, dacm_client *, dacm_client_free)

static const struct argp_child children[] = {{&cli_connection_argp, 0, NULL, 10}, {0}};

enum { OPTION_JTI = 512, OPTION_SUBJECT, OPTION_REASON, OPTION_TOKEN_ISSUER };

typedef struct operator_arguments {
    cli_context *cli;
    const char *request_id;
    const char *issuer, *jti, *subject, *reason;
} operator_arguments;

static error_t parse(int key, char *argument, struct argp_state *state)
{
    operator_arguments *arguments = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = arguments->cli;
        return 0;
    case OPTION_JTI:
        arguments->jti = argument;
        return 0;
    case OPTION_SUBJECT:
        arguments->subject = argument;
        return 0;
    case OPTION_REASON:
        arguments->reason = argument;
        return 0;
    case OPTION_TOKEN_ISSUER:
        arguments->issuer = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_explain(int key, char *argument, struct argp_state *state)
{
    operator_arguments *arguments = state->input;
    if (key == ARGP_KEY_ARG && !arguments->request_id) {
        arguments->request_id = argument;
        return 0;
    }
    if (key == ARGP_KEY_END && !arguments->request_id)
        argp_error(state, "which request? Its ID stands in the refusal");
    return parse(key, argument, state);
}

static void print_line(const char *name, const char *value)
{
    if (value[0])
        printf("%-9s%s\n", name, value);
}

static void print_explanation(const cli_context *cli, const dacm_explanation *answer)
{
    if (cli->json) {
        cli_print_json(json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "request_id",
            answer->request_id, "time_ms", (json_int_t)answer->time_ms, "method", answer->method,
            "asset_id", answer->asset_id, "outcome", answer->outcome, "reason", answer->reason,
            "detail", answer->detail, "subject", answer->subject, "user", answer->user));
        return;
    }
    char at[32];
    cli_time_text(answer->time_ms / 1000, at);
    print_line("request", answer->request_id);
    print_line("time", at);
    print_line("method", answer->method);
    print_line("asset", answer->asset_id);
    print_line("outcome", answer->outcome);
    print_line("reason", answer->reason);
    print_line("detail", answer->detail);
    print_line("subject", answer->subject);
    print_line("user", answer->user);
}

int cli_explain(cli_context *cli, int argc, char **argv)
{
    static const struct argp argp = {NULL, parse_explain, "REQUEST-ID",
        "Why a request ended as it did.\v--server is the server's admin socket, such as "
        "ipc:///run/dacmd/admin.sock.",
        children, NULL, NULL};
    operator_arguments arguments = {.cli = cli};
    int code = cli_parse(&argp, "dacm explain", argc, argv, &arguments);
    if (code >= 0)
        return code;
    RPC_CLEANUP(client_freep) dacm_client *client = NULL;
    if ((code = cli_connect(cli, true, &client)) != CLI_EXIT_OK)
        return code;
    dacm_explanation answer;
    dacm_error error;
    if (dacm_explain(client, arguments.request_id, &answer, &error) != DACM_OK)
        return cli_fail(cli, &error);
    print_explanation(cli, &answer);
    return CLI_EXIT_OK;
}

int cli_token_revoke(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {{"jti", OPTION_JTI, "ID", 0, "this token", 1},
        {"subject", OPTION_SUBJECT, "SUB", 0,
            "all tokens of this subject issued until now, and within the next 30 s (clocks differ)",
            1},
        {"token-issuer", OPTION_TOKEN_ISSUER, "URI", 0, "who issued them", 1},
        {"reason", OPTION_REASON, "TEXT", 0, "for the audit trail", 1}, {0}};
    static const struct argp argp = {options, parse, NULL,
        "Refuses a token from now on; running downloads end.\v--server is the server's admin "
        "socket, such as ipc:///run/dacmd/admin.sock.",
        children, NULL, NULL};
    operator_arguments arguments = {.cli = cli};
    dacm_error error;
    int code = cli_parse(&argp, "dacm token revoke", argc, argv, &arguments);
    if (code >= 0)
        return code;
    if (cli_load_env(cli, &error) != DACM_OK)
        return cli_fail(cli, &error);
    const char *issuer = arguments.issuer ? arguments.issuer : cli->env.issuer;
    if (!issuer)
        return cli_fail_text(cli, DACM_INVALID_ARGUMENT, "whose tokens? Give --token-issuer");
    RPC_CLEANUP(client_freep) dacm_client *client = NULL;
    if ((code = cli_connect(cli, true, &client)) != CLI_EXIT_OK)
        return code;
    uint64_t sequence = 0;
    if (dacm_revoke(client, issuer, arguments.jti, arguments.subject, 0, arguments.reason,
            &sequence, &error) != DACM_OK)
        return cli_fail(cli, &error);
    if (cli->json)
        cli_print_json(json_pack("{s:I}", "sequence", (json_int_t)sequence));
    else
        printf("revoked (sequence %" PRIu64 ")\n", sequence);
    return CLI_EXIT_OK;
}
