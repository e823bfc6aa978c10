/* SPDX-License-Identifier: Apache-2.0 */
/* dacm dev: prepares a folder, runs the servers in it, waits for their health, makes users, clients
 * and three assets, writes env.json and waits for a signal. */
#include "cleanup.h"
#include "cli.h"
#include "dev.h"

#define PORT_MAX 65535
#define PORTS    8

enum { OPTION_DIR = 512, OPTION_PORTS };

static error_t parse(int key, char *argument, struct argp_state *state)
{
    dev_run *dev = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = dev->cli;
        return 0;
    case OPTION_DIR:
        dev->folder = argument;
        return 0;
    case OPTION_PORTS: {
        char *end = NULL;
        const unsigned long port = strtoul(argument, &end, 10);
        if (argument[0] < '1' || argument[0] > '9' || *end || port > PORT_MAX - PORTS + 1)
            argp_error(state, "--ports-from takes 1 to %d", PORT_MAX - PORTS + 1);
        dev->ports_from = (unsigned)port;
        return 0;
    }
    case ARGP_KEY_END:
        if (!dev->folder)
            argp_error(state, "--dir says where everything is kept");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

RPC_DEFINE_FREEP(client_freep, dacm_client *, dacm_client_free)

/** skmsd before the others: they get their keys from it. */
static dacm_code start(dev_run *dev, const sigset_t *signals, dacm_error *reterr)
{
    dacm_code code = dev__start(dev, DEV_SKMSD, reterr);
    if (code == DACM_OK)
        code = dev__wait_keys(dev, signals, reterr);
    if (code == DACM_OK)
        code = dev__get_keys(dev, reterr);
    if (code == DACM_OK)
        code = dev__start(dev, DEV_DACMD, reterr);
    return code == DACM_OK ? dev__start(dev, DEV_SIMSD, reterr) : code;
}

/** From running servers to env.json. */
static int bring_up(dev_run *dev, const sigset_t *signals)
{
    dacm_error error;
    RPC_CLEANUP(client_freep) dacm_client *client = NULL;
    int code = cli_connect(dev->cli, false, &client);
    if (code != CLI_EXIT_OK)
        return code;
    if (dev__wait_healthy(dev, client, signals, &error) != DACM_OK ||
        dev__register(dev, &error) != DACM_OK ||
        dev__store_assets(dev, client, &error) != DACM_OK ||
        dev__write_env(dev, true, &error) != DACM_OK)
        return cli_fail(dev->cli, &error);
    return CLI_EXIT_OK;
}

static int run(dev_run *dev)
{
    sigset_t signals;
    dacm_error error;
    dev__block_signals(&signals);
    if (dev__prepare(dev, &error) != DACM_OK)
        return cli_fail(dev->cli, &error);
    int code = start(dev, &signals, &error) == DACM_OK ? bring_up(dev, &signals)
                                                       : cli_fail(dev->cli, &error);
    if (code == CLI_EXIT_OK) {
        dev__print_next(dev);
        if (dev__wait_end(dev, &signals, &error) != DACM_OK)
            code = cli_fail(dev->cli, &error);
    }
    unlink(dev->env_file); /* it says that all is healthy */
    return dev__stop(dev, &signals) || code != CLI_EXIT_OK ? code : CLI_EXIT_OTHER;
}

int cli_dev(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"dir", OPTION_DIR, "DIR", 0, "where keys, configuration and data are kept", 1},
        {"ports-from", OPTION_PORTS, "N", 0,
            "listen on N (dacmd: users), N+1 (peers), N+2 (HTTPS), N+3 (simsd: HTTPS), N+4 (with "
            "client certificates), N+5 (metrics and health), N+6 (skmsd) and N+7 (its HTTPS) "
            "instead "
            "of 7443, 7444, 7480, 7543, 7544, 7580, 7643 and 7680",
            1},
        {0}};
    static const struct argp_child children[] = {{&cli_json_argp, 0, NULL, 10}, {0}};
    static const struct argp argp = {options, parse, NULL,
        "Runs the servers on loopback with everything they need.\vFor development only: the keys "
        "it makes are known to everybody who can read DIR, and everybody knows the users' "
        "passwords. A second run on the same DIR goes on where the first stopped. DIR/env.json "
        "appears when all is healthy; other commands take it with --env or DACM_ENV.",
        children, NULL, NULL};
    dev_run dev = {.cli = cli, .lock = -1};
    int code = cli_parse(&argp, "dacm dev", argc, argv, &dev);
    if (code < 0)
        code = run(&dev);
    dev__done(&dev);
    return code;
}
