/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include "cleanup.h"

#include <argp.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define DESCRIPTORS_MAX 1048576u
#define NOTIFY_WAIT_S   5
#define KEPT_BLOCK_MAX  (1 << 20) /* larger ones are the kernel's own pages and go back to it */
#define KEPT_HEAP_MAX   (2 << 20)

/* ---- the process -------------------------------------------------------------------------------
 */

static void must(int result, const char *what)
{
    if (result == 0)
        return;
    fprintf(stderr, "cannot %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static sigset_t our_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    return set;
}

static void raise_descriptors(void)
{
    struct rlimit limit;
    must(getrlimit(RLIMIT_NOFILE, &limit), "read the limit of descriptors");
    rlim_t wanted = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
    if (limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted;
    must(setrlimit(RLIMIT_NOFILE, &limit), "raise the limit of descriptors");
}

/* Unless told, glibc takes each large block that is freed as a sign to keep more: up to 64 MiB in
 * each of its arenas, of which a process has several for each core. Then what callers once sent
 * stays, although nothing needs it and no account has it. */
static void keep_little_heap(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK_MAX);
    mallopt(M_TRIM_THRESHOLD, KEPT_HEAP_MAX);
#endif
}

void host_process_prepare(void)
{
    keep_little_heap();
    umask(077);
    struct rlimit none = {0, 0};
    must(setrlimit(RLIMIT_CORE, &none), "forbid core dumps");
    must(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "forbid core dumps");
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    must(sigaction(SIGPIPE, &ignore, NULL), "ignore SIGPIPE");
    must(
        sigaction(SIGXFSZ, &ignore, NULL), "ignore SIGXFSZ"); /* a full file is an error like any */
    sigset_t set = our_signals();
    must(sigprocmask(SIG_BLOCK, &set, NULL), "block signals");
    raise_descriptors();
}

host_signal host_wait_signal(void)
{
    sigset_t set = our_signals();
    int number = 0;
    while (sigwait(&set, &number) != 0)
        ; /* EINTR, where a system has it */
    return number == SIGHUP ? HOST_SIGNAL_RELOAD : HOST_SIGNAL_STOP;
}

/* ---- the service manager -----------------------------------------------------------------------
 */

/* A path, or an abstract name behind '@'. */
static bool notify_address(const char *path, struct sockaddr_un *ret, socklen_t *ret_size)
{
    size_t size = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || size < 2 || size >= sizeof ret->sun_path)
        return false;
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(ret->sun_path, path, size);
    if (path[0] == '@')
        ret->sun_path[0] = '\0';
    *ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + (path[0] == '/'));
    return true;
}

void host_notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address;
    socklen_t size = 0;
    if (!path || !notify_address(path, &address, &size))
        return;
    RPC_AUTOCLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct timeval wait = {.tv_sec = NOTIFY_WAIT_S}; /* a manager that hangs must not hang us */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) != 0)
        return;
    char text[1024];
    bool timed = strncmp(state, "RELOADING=1", 11) == 0 && !strstr(state, "MONOTONIC_USEC=");
    int length = timed ? snprintf(text, sizeof text, "%s\nMONOTONIC_USEC=%lld", state,
                             (long long)rpc_clock_monotonic_us(rpc_clock_system()))
                       : snprintf(text, sizeof text, "%s", state);
    if (length > 0 && (size_t)length < sizeof text)
        (void)!sendto(fd, text, (size_t)length, MSG_NOSIGNAL, (struct sockaddr *)&address, size);
}

/* ---- the command line --------------------------------------------------------------------------
 */

enum { KEY_CONFIG = 0x4801, KEY_CHECK, KEY_HELP };

static const struct argp_option options[] = {
    {"config", KEY_CONFIG, "FILE", 0, "Read settings from FILE (YAML)", 0},
    {"check-config", KEY_CHECK, NULL, 0, "Judge the settings and the files they name, and exit", 0},
    {"help-config", KEY_HELP, NULL, 0, "List all settings and exit", 0},
    {0},
};

static error_t usage(struct argp_state *state, const char *message)
{
    argp_error(state, "%s", message); /* exits, unless the caller of argp_parse() forbade it */
    return EINVAL;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
    host_options *into = state->input;
    switch (key) {
    case KEY_CONFIG:
        if (into->config)
            return usage(state, "--config is given twice");
        into->config = arg;
        return 0;
    case KEY_CHECK:
        into->check_config = true;
        return 0;
    case KEY_HELP:
        into->help_config = true;
        return 0;
    case ARGP_KEY_END:
        if (!into->config && !into->help_config)
            return usage(state, "--config FILE is missing; --help-config lists what it holds");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp host_argp = {.options = options, .parser = parse};
