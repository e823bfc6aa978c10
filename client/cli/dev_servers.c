/* SPDX-License-Identifier: Apache-2.0 */
#include "cleanup.h"
#include "dev.h"
#include "http.h"
#include "pki.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define HEALTH_WAIT_MS 250
#define START_WAIT_MS  30000
#define STOP_WAIT_MS   20000

static int64_t now_us(void)
{
    return rpc_clock_monotonic_us(rpc_clock_system());
}

void dev__block_signals(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGINT);
    sigaddset(ret, SIGHUP);
    sigaddset(ret, SIGCHLD);
    sigprocmask(SIG_BLOCK, ret, NULL);
}

static int signal_within(const sigset_t *signals, int64_t wait_ms)
{
    const struct timespec wait = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000};
    const int got = sigtimedwait(signals, NULL, &wait);
    return got > 0 ? got : 0;
}

static bool stops(int signal)
{
    return signal == SIGTERM || signal == SIGINT || signal == SIGHUP;
}

/* ---- start ------------------------------------------------------------------------------------
 */

static dacm_code start_one(dev_server *server, dacm_error *reterr)
{
    char path[4096];
    const dacm_code code = cli_sibling(server->program, path, sizeof path, reterr);
    if (code != DACM_OK)
        return code;
    fflush(NULL);
    const pid_t parent = getpid();
    server->pid = fork();
    if (server->pid < 0) {
        server->pid = 0;
        return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "cannot start a process");
    }
    if (server->pid > 0)
        return DACM_OK;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* never outlives us, however we end */
    if (getppid() == parent)
        execl(path, path, "--config", server->config_file, (char *)NULL);
    fprintf(stderr, "dacm: cannot run '%s': %s\n", path, strerror(errno));
    _exit(CLI_EXIT_OTHER);
}

dacm_code dev__start(dev_run *dev, dev_role role, dacm_error *reterr)
{
    const dacm_code code = start_one(&dev->servers[role], reterr);
    dev->servers[role].started = code == DACM_OK;
    return code;
}

/* ---- the end ----------------------------------------------------------------------------------
 */

/** True when the server is gone; it is reaped. */
static bool ended(dev_server *server)
{
    int status = 0;
    if (server->pid <= 0 || waitpid(server->pid, &status, WNOHANG) != server->pid)
        return server->pid <= 0;
    server->pid = 0;
    server->status = status;
    return true;
}

/** One that should run and does not; NULL: all run. */
static const dev_server *dead_one(dev_run *dev)
{
    for (size_t i = 0; i < DEV_SERVERS; i++)
        if (dev->servers[i].started && ended(&dev->servers[i]))
            return &dev->servers[i];
    return NULL;
}

static dacm_code died(const dev_server *server, dacm_error *reterr)
{
    if (WIFSIGNALED(server->status))
        return pki_fail(reterr, DACM_INTERNAL, "%s ended by signal %d; see its messages above",
            server->program, WTERMSIG(server->status));
    return pki_fail(reterr, DACM_FAILED_PRECONDITION,
        "%s ended with exit code %d; its messages above say why (where a port is taken, "
        "--ports-from chooses others)",
        server->program, WEXITSTATUS(server->status));
}

static bool stop_one(dev_server *server, const sigset_t *signals)
{
    if (server->pid > 0)
        kill(server->pid, SIGTERM);
    const int64_t end = now_us() + STOP_WAIT_MS * 1000;
    while (!ended(server)) {
        const int64_t left = end - now_us();
        if (left <= 0) {
            fprintf(stderr, "dacm: %s did not stop within %d s; killed\n", server->program,
                STOP_WAIT_MS / 1000);
            kill(server->pid, SIGKILL);
            waitpid(server->pid, &server->status, 0);
            server->pid = 0;
            return false;
        }
        signal_within(signals, left / 1000 + 1);
    }
    return WIFEXITED(server->status) && WEXITSTATUS(server->status) == 0;
}

bool dev__stop(dev_run *dev, const sigset_t *signals)
{
    bool good = true;
    for (size_t i = DEV_SERVERS; i > 0; i--)
        good = stop_one(&dev->servers[i - 1], signals) && good;
    return good;
}

dacm_code dev__wait_end(dev_run *dev, const sigset_t *signals, dacm_error *reterr)
{
    for (;;) {
        const int got = sigwaitinfo(signals, NULL);
        const dev_server *dead = dead_one(dev);
        if (dead)
            return died(dead, reterr);
        if (stops(got))
            return DACM_OK;
    }
}

/* ---- health -----------------------------------------------------------------------------------
 */

/** unwanted: a word of the answer that means "not yet", too; NULL: none. */
static dacm_code https_healthy(const dev_run *dev, const char *program, const char *base,
    const char *unwanted, dacm_error *reterr)
{
    const http_peer peer = {.ca_file = dev->cli->env.ca_file};
    http_reply reply = {.status = 0};
    RPC_AUTOFREE char *url = pki_text("%s/healthz", base);
    if (!url)
        return pki_fail(reterr, DACM_RESOURCE_EXHAUSTED, "no memory to look at the servers");
    dacm_code code = http_get(&peer, url, NULL, &reply, reterr);
    if (code == DACM_OK && (reply.status != 200 || (unwanted && strstr(reply.body, unwanted))))
        code = pki_fail(reterr, DACM_UNAVAILABLE, "%s is not healthy: %.300s", program, reply.body);
    http_done(&reply);
    return code;
}

/** Some check, again and again. ctx is the check's. */
typedef dacm_code check_fn(const dev_run *dev, void *ctx, dacm_error *reterr);
static dacm_code wait_for(
    dev_run *dev, check_fn *check, void *ctx, const sigset_t *signals, dacm_error *reterr)
{
    const int64_t end = now_us() + START_WAIT_MS * 1000;
    for (;;) {
        const dacm_code code = check(dev, ctx, reterr);
        const dev_server *dead = dead_one(dev);
        if (dead)
            return died(dead, reterr);
        if (code == DACM_OK || now_us() >= end)
            return code;
        if (stops(signal_within(signals, HEALTH_WAIT_MS / 10)))
            return pki_fail(reterr, DACM_CANCELLED, "stopped before the servers were healthy");
    }
}

static dacm_code keys_serve(const dev_run *dev, void *ctx, dacm_error *reterr)
{
    (void)ctx;
    return https_healthy(dev, "skmsd", dev->skms_https, NULL, reterr);
}

dacm_code dev__wait_keys(dev_run *dev, const sigset_t *signals, dacm_error *reterr)
{
    return wait_for(dev, keys_serve, NULL, signals, reterr);
}

typedef struct all_serving {
    dacm_client *client;
    bool dacmd; /* does already */
} all_serving;

static dacm_code all_serve(const dev_run *dev, void *ctx, dacm_error *reterr)
{
    all_serving *all = ctx;
    dacm_code code = all->dacmd ? DACM_OK : dacm_health_wait(all->client, HEALTH_WAIT_MS, reterr);
    all->dacmd = code == DACM_OK;
    if (code == DACM_OK) /* and tokens are taken */
        code = https_healthy(dev, "simsd", dev->sims_ops, "\"dacm away\"", reterr);
    return code == DACM_OK ? keys_serve(dev, NULL, reterr) : code;
}

dacm_code dev__wait_healthy(
    dev_run *dev, dacm_client *client, const sigset_t *signals, dacm_error *reterr)
{
    all_serving all = {.client = client};
    return wait_for(dev, all_serve, &all, signals, reterr);
}
