/* SPDX-License-Identifier: Apache-2.0 */
#include "program_internal.h"

#include "cleanup.h"
#include "sandbox_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define READY_WAIT_MS 10000 /* a bound for a machine that is out of breath */
#define END_WAIT_MS   5000
#define SEND_WAIT_S   5

/* ---- start ----------------------------------------------------------------------------------- */

/** Nothing of the parent's environment: it may hold secrets. */
static char **environment(void)
{
    static char *none[1];
#if MEDIA__SANITIZED
    return environ; /* options of the sanitizers */
#endif
    return none;
}

/** Descriptor 3 and standard error; no other descriptor, signal or variable crosses. */
static int describe(posix_spawn_file_actions_t *files, posix_spawnattr_t *how, int socket)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int error = posix_spawn_file_actions_adddup2(files, socket, MEDIA__FD_POOL);
    if (error == 0)
        error = posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDWR, 0);
    if (error == 0)
        error = posix_spawn_file_actions_adddup2(files, STDIN_FILENO, STDOUT_FILENO);
    if (error == 0)
        error = posix_spawn_file_actions_addclosefrom_np(files, MEDIA__FD_POOL + 1);
    if (error == 0)
        error = posix_spawnattr_setsigmask(how, &none);
    if (error == 0)
        error = posix_spawnattr_setsigdefault(how, &all);
    if (error == 0) /* a group of its own: Ctrl-C is for the parent, which may have to drain */
        error = posix_spawnattr_setflags(
            how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    return error;
}

static int spawn(const char *path, int socket, pid_t *ret)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    char name[] = "dacm-media";
    char *arguments[] = {name, NULL};
    int error = posix_spawn_file_actions_init(&files);
    if (error != 0)
        return error;
    error = posix_spawnattr_init(&how);
    if (error == 0) {
        error = describe(&files, &how, socket);
        if (error == 0)
            error = posix_spawn(ret, path, &files, &how, arguments, environment());
        posix_spawnattr_destroy(&how);
    }
    posix_spawn_file_actions_destroy(&files);
    return error;
}

static rpc_code not_ready(const char *path, const char *why, rpc_status *reterr)
{
    return rpc_status_set(
        reterr, RPC_FAILED_PRECONDITION, "media: '%.150s' does not work: %s", path, why);
}

static rpc_code hear(const char *path, media__program *program, rpc_status *reterr)
{
    media__hello hello;
    struct pollfd readable = {.fd = program->socket, .events = POLLIN};
    int ready = 0;
    do
        ready = poll(&readable, 1, READY_WAIT_MS);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0)
        return not_ready(path, "it says nothing; is it dacm-media?", reterr);
    const ssize_t got = media__receive(program->socket, &hello, sizeof hello, NULL, 0, 0);
    if (got <= 0)
        return not_ready(path, "it ended at once; standard error may tell why", reterr);
    if ((size_t)got != sizeof hello || hello.kind != MEDIA__HELLO ||
        hello.version != MEDIA__WIRE_VERSION)
        return not_ready(path, "it is of another version; install both of one", reterr);
    if (!hello.sandboxed) {
        media__foreign_text(hello.why, sizeof hello.why);
        return not_ready(path, hello.why, reterr);
    }
    program->landlock = hello.landlock;
    return RPC_OK;
}

rpc_code media__program_start(const char *path, media__program *ret, rpc_status *reterr)
{
    int pair[2];
    media__program program = {0};
    const struct timeval wait = {.tv_sec = SEND_WAIT_S};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return rpc_status_set(
            reterr, RPC_RESOURCE_EXHAUSTED, "media: cannot make a socket: %s", strerror(errno));
    setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    program.socket = pair[0];
    const int error = spawn(path, pair[1], &program.pid);
    close(pair[1]);
    if (error != 0) {
        close(pair[0]);
        const bool scarce = error == EAGAIN || error == ENOMEM || error == EMFILE;
        return rpc_status_set(reterr, scarce ? RPC_RESOURCE_EXHAUSTED : RPC_FAILED_PRECONDITION,
            "media: cannot run '%.150s': %s; it is installed beside the other programs", path,
            strerror(error));
    }
    const rpc_code code = hear(path, &program, reterr);
    if (code != RPC_OK)
        media__program_end(&program, true);
    else
        *ret = program;
    return code;
}

/* ---- the end ---- */

/** Waits a little for it to end its children by itself, which is tidier: they are reaped. */
static bool ends_itself(pid_t pid)
{
    RPC_AUTOCLOSE int process = pidfd_open(pid, 0);
    struct pollfd ended = {.fd = process, .events = POLLIN};
    int ready = 0;
    if (process < 0)
        return false;
    do
        ready = poll(&ended, 1, END_WAIT_MS);
    while (ready < 0 && errno == EINTR);
    return ready > 0;
}

void media__program_end(media__program *program, bool gently)
{
    if (program->pid <= 0)
        return;
    close(program->socket);
    if (!gently || !ends_itself(program->pid))
        kill(program->pid, SIGKILL);
    while (waitpid(program->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    *program = (media__program){.socket = -1};
}
