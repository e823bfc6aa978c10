/* SPDX-License-Identifier: Apache-2.0 */
/* dacm dev: prepares a folder, runs dacmd in it, waits for its health, stores three assets, writes
 * env.json and waits for a signal. Signals are blocked and taken with sigtimedwait(), so nothing
 * runs in a handler and the death of the server is seen as SIGCHLD. */
#include "cli.h"
#include "cleanup.h"
#include "dev.h"
#include "pki.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define HEALTH_WAIT_MS 250
#define START_WAIT_MS  30000
#define STOP_WAIT_MS   20000
#define PORT_MAX       65535

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
        if (argument[0] < '1' || argument[0] > '9' || *end || port > PORT_MAX - 2)
            argp_error(state, "--ports-from takes 1 to %d", PORT_MAX - 2);
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

static void block_signals(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGINT);
    sigaddset(ret, SIGHUP);
    sigaddset(ret, SIGCHLD);
    sigprocmask(SIG_BLOCK, ret, NULL);
}

/** dacmd beside this program. */
static dacm_code sibling(char *ret, size_t size, dacm_error *reterr)
{
    const ssize_t got = readlink("/proc/self/exe", ret, size - sizeof "dacmd");
    char *slash = got > 0 ? memrchr(ret, '/', (size_t)got) : NULL;
    if (!slash)
        return pki_fail(reterr, DACM_LOCAL_FILE, "cannot find this program's own folder");
    memcpy(slash + 1, "dacmd", sizeof "dacmd");
    if (access(ret, X_OK) != 0)
        return pki_fail(reterr, DACM_LOCAL_FILE,
            "there is no server program '%.300s'; build the target dacmd", ret);
    return DACM_OK;
}

static dacm_code start_server(dev_run *dev, dacm_error *reterr)
{
    char path[4096];
    const dacm_code code = sibling(path, sizeof path, reterr);
    if (code != DACM_OK)
        return code;
    fflush(NULL);
    const pid_t parent = getpid();
    dev->server = fork();
    if (dev->server < 0)
        return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "cannot start a process");
    if (dev->server > 0)
        return DACM_OK;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* never outlives us, however we end */
    if (getppid() == parent)
        execl(path, path, "--config", dev->config_file, (char *)NULL);
    fprintf(stderr, "dacm: cannot run '%s': %s\n", path, strerror(errno));
    _exit(CLI_EXIT_OTHER);
}

/** True when the server is gone; it is reaped. */
static bool server_ended(dev_run *dev)
{
    int status = 0;
    if (dev->server <= 0 || waitpid(dev->server, &status, WNOHANG) != dev->server)
        return dev->server <= 0;
    dev->server = 0;
    dev->server_status = status;
    return true;
}

static int signal_within(const sigset_t *signals, int64_t wait_ms)
{
    const struct timespec wait = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000};
    const int got = sigtimedwait(signals, NULL, &wait);
    return got > 0 ? got : 0;
}

/** SIGTERM, then after a bound SIGKILL. True when it ended well. */
static bool stop_server(dev_run *dev, const sigset_t *signals)
{
    if (dev->server > 0)
        kill(dev->server, SIGTERM);
    const int64_t end = rpc_clock_monotonic_us(rpc_clock_system()) + STOP_WAIT_MS * 1000;
    while (!server_ended(dev)) {
        const int64_t left = end - rpc_clock_monotonic_us(rpc_clock_system());
        if (left <= 0) {
            fprintf(stderr, "dacm: dacmd did not stop within %d s; killed\n", STOP_WAIT_MS / 1000);
            kill(dev->server, SIGKILL);
            waitpid(dev->server, &dev->server_status, 0);
            dev->server = 0;
            return false;
        }
        signal_within(signals, left / 1000 + 1);
    }
    return WIFEXITED(dev->server_status) && WEXITSTATUS(dev->server_status) == 0;
}

static dacm_code died(const dev_run *dev, dacm_error *reterr)
{
    if (WIFSIGNALED(dev->server_status))
        return pki_fail(reterr, DACM_INTERNAL, "dacmd ended by signal %d; see its messages above",
            WTERMSIG(dev->server_status));
    return pki_fail(reterr, DACM_FAILED_PRECONDITION,
        "dacmd ended with exit code %d; its messages above say why (where a port is taken, "
        "--ports-from chooses others)",
        WEXITSTATUS(dev->server_status));
}

static dacm_code wait_healthy(
    dev_run *dev, dacm_client *client, const sigset_t *signals, dacm_error *reterr)
{
    const int64_t end = rpc_clock_monotonic_us(rpc_clock_system()) + START_WAIT_MS * 1000;
    for (;;) {
        const dacm_code code = dacm_health_wait(client, HEALTH_WAIT_MS, reterr);
        if (server_ended(dev))
            return died(dev, reterr);
        if (code == DACM_OK || rpc_clock_monotonic_us(rpc_clock_system()) >= end)
            return code;
        const int got = signal_within(signals, 0);
        if (got == SIGTERM || got == SIGINT || got == SIGHUP)
            return pki_fail(reterr, DACM_CANCELLED, "stopped before dacmd was healthy");
    }
}

RPC_DEFINE_FREEP(client_freep, dacm_client *, dacm_client_free)

/** From a running server to env.json. */
static int bring_up(dev_run *dev, const sigset_t *signals)
{
    dacm_error error;
    RPC_CLEANUP(client_freep) dacm_client *client = NULL;
    int code = cli_connect(dev->cli, false, &client);
    if (code != CLI_EXIT_OK)
        return code;
    if (wait_healthy(dev, client, signals, &error) != DACM_OK ||
        dev__store_assets(dev, client, &error) != DACM_OK ||
        dev__write_env(dev, true, &error) != DACM_OK)
        return cli_fail(dev->cli, &error);
    return CLI_EXIT_OK;
}

static void print_next(const dev_run *dev)
{
    if (dev->cli->json) {
        cli_print_json(json_pack(
            "{s:s, s:s, s:s}", "env_file", dev->env_file, "grpc", dev->grpc, "https", dev->https));
        return;
    }
    printf("dacmd is ready: %s, %s\n\nIn a second terminal:\n\n"
           "    export DACM_ENV=%s\n"
           "    dacm ls --as %s\n"
           "    dacm put FILE --as %s --allow %s\n"
           "    dacm get %s --as %s -o cube.glb && dacm verify cube.glb\n"
           "    dacm get %s --as %s          # on no list: refused\n\n"
           "Ctrl-C stops it.\n",
        dev->grpc, dev->https, dev->env_file, dev_users[0].gpsi, dev_users[0].gpsi,
        dev_users[1].gpsi, dev->assets[0].id, dev_users[1].gpsi, dev->assets[0].id,
        dev_users[DEV_USERS - 1].gpsi);
    fflush(stdout);
}

/** Until somebody stops us, or the server dies. */
static int serve(dev_run *dev, const sigset_t *signals)
{
    for (;;) {
        const int got = sigwaitinfo(signals, NULL);
        if (server_ended(dev)) {
            dacm_error error;
            died(dev, &error);
            return cli_fail(dev->cli, &error);
        }
        if (got == SIGTERM || got == SIGINT || got == SIGHUP)
            return stop_server(dev, signals) ? CLI_EXIT_OK : CLI_EXIT_OTHER;
    }
}

static int run(dev_run *dev)
{
    sigset_t signals;
    dacm_error error;
    block_signals(&signals);
    if (dev__prepare(dev, &error) != DACM_OK || start_server(dev, &error) != DACM_OK)
        return cli_fail(dev->cli, &error);
    int code = bring_up(dev, &signals);
    if (code == CLI_EXIT_OK) {
        print_next(dev);
        code = serve(dev, &signals);
    }
    unlink(dev->env_file); /* it says that all is healthy */
    stop_server(dev, &signals);
    return code;
}

int cli_dev(cli_context *cli, int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"dir", OPTION_DIR, "DIR", 0, "where keys, configuration and data are kept", 1},
        {"ports-from", OPTION_PORTS, "N", 0,
            "listen on N (users), N+1 (peers) and N+2 (HTTPS) instead of 7443, 7444 and 7480", 1},
        {0}};
    static const struct argp_child children[] = {{&cli_json_argp, 0, NULL, 10}, {0}};
    static const struct argp argp = {options, parse, NULL,
        "Runs the servers on loopback with everything they need.\vFor development only: the keys "
        "it makes are known to everybody who can read DIR. A second run on the same DIR goes on "
        "where the first stopped. DIR/env.json appears when all is healthy; other commands take "
        "it with --env or DACM_ENV.",
        children, NULL, NULL};
    dev_run dev = {.cli = cli, .lock = -1};
    int code = cli_parse(&argp, "dacm dev", argc, argv, &dev);
    if (code < 0)
        code = run(&dev);
    dev__done(&dev);
    return code;
}
