/* SPDX-License-Identifier: Apache-2.0 */
/* Reads jobs from the pool and forks a child for each. It never looks at a source, and hears
 * nothing from a child but its end. */
#include "child_internal.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct fork_server {
    const media_child_work *work;
    media__filter filter;
    int signals; /* SIGCHLD, as a descriptor */
    struct {
        uint64_t id;
        pid_t pid; /* 0: free */
    } children[MEDIA_WORKERS_MAX];
} fork_server;

/* ---- the end of children ---- */

static void tell_exited(uint64_t id, int wait_status, const struct rusage *cost)
{
    const struct timeval *user = &cost->ru_utime, *kernel = &cost->ru_stime;
    const media__exited exited = {.kind = MEDIA__EXITED,
        .wait_status = wait_status,
        .id = id,
        .cpu_us = (int64_t)(user->tv_sec + kernel->tv_sec) * 1000000 + user->tv_usec +
                  kernel->tv_usec,
        .memory_bytes = (uint64_t)cost->ru_maxrss << 10};
    /* A pool that is gone is noticed where its next job would come from. */
    if (!media__send(MEDIA__FD_POOL, &exited, sizeof exited, NULL, 0) && errno != EPIPE)
        fprintf(stderr, "dacm-media: cannot tell of a child's end: %s\n", strerror(errno));
}

static void reap(fork_server *server, int flags)
{
    int wait_status = 0;
    struct rusage cost;
    pid_t pid = 0;
    while ((pid = wait4(-1, &wait_status, flags, &cost)) > 0 || (pid < 0 && errno == EINTR)) {
        for (size_t i = 0; pid > 0 && i < MEDIA_WORKERS_MAX; i++)
            if (server->children[i].pid == pid) {
                server->children[i].pid = 0;
                tell_exited(server->children[i].id, wait_status, &cost);
            }
    }
}

static void end_children(const fork_server *server, const uint64_t *id)
{
    for (size_t i = 0; i < MEDIA_WORKERS_MAX; i++)
        if (server->children[i].pid > 0 && (!id || server->children[i].id == *id))
            kill(server->children[i].pid, SIGKILL);
}

/* ---- what the pool says ---- */

static bool is_job(const media__job_packet *job, size_t size, const int *files)
{
    return size == sizeof *job && job->recipe_size < sizeof job->recipe &&
           job->recipe[job->recipe_size] == '\0' && files[MEDIA__FILES - 1] >= 0;
}

static void start_child(fork_server *server, const media__job_packet *job, const int *files)
{
    static const struct rusage nothing;
    const pid_t self = getpid();
    for (size_t i = 0; i < MEDIA_WORKERS_MAX; i++) {
        if (server->children[i].pid > 0)
            continue;
        const pid_t pid = fork();
        if (pid == 0)
            media__child_run(job, files, &server->filter, self, server->work);
        if (pid < 0)
            break;
        server->children[i].id = job->id;
        server->children[i].pid = pid;
        return;
    }
    fprintf(stderr, "dacm-media: cannot start a child: %s\n", strerror(errno));
    tell_exited(job->id, W_EXITCODE(MEDIA__EXIT_NOT_BEGUN, 0), &nothing);
}

/** False: the pool is gone. */
static bool hear(fork_server *server)
{
    static union {
        uint32_t kind;
        media__job_packet job;
        media__kill kill;
    } packet;
    int files[MEDIA__FILES];
    const ssize_t got = media__receive(
        MEDIA__FD_POOL, &packet, sizeof packet, files, MEDIA__FILES, MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN;
    if (got == 0)
        return false;
    if (packet.kind == MEDIA__JOB && is_job(&packet.job, (size_t)got, files))
        start_child(server, &packet.job, files);
    else if (packet.kind == MEDIA__KILL && (size_t)got == sizeof packet.kill)
        end_children(server, &packet.kill.id);
    else
        fputs("dacm-media: a packet that is none\n", stderr);
    for (int i = 0; i < MEDIA__FILES; i++)
        rpc_cleanup_closep(&files[i]);
    return true;
}

/* ---- start and end ---- */

/** Does the sandbox work here? A child tries. */
static void try_sandbox(const fork_server *server, media__hello *hello)
{
    int ends[2], wait_status = 0;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        snprintf(hello->why, sizeof hello->why, "no pipe: %s", strerror(errno));
        return;
    }
    const pid_t pid = fork();
    if (pid == 0)
        media__child_try(&server->filter, ends[1]);
    close(ends[1]);
    const ssize_t got = pid > 0 ? read(ends[0], hello->why, sizeof hello->why - 1) : 0;
    close(ends[0]);
    while (pid > 0 && waitpid(pid, &wait_status, 0) < 0 && errno == EINTR)
        ;
    hello->sandboxed = pid > 0 && WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0;
    if (!hello->sandboxed && got <= 0)
        snprintf(hello->why, sizeof hello->why,
            "its sandbox cannot be set up here: a child ended by signal %d",
            WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0);
}

static bool say_hello(fork_server *server)
{
    rpc_status status;
    media__hello hello = {.kind = MEDIA__HELLO,
        .version = MEDIA__WIRE_VERSION,
        .landlock = media__landlock_version()};
    if (media__filter_make(&server->filter, &status) == RPC_OK)
        try_sandbox(server, &hello);
    else
        rpc_text_copy(hello.why, sizeof hello.why, status.message);
    return media__send(MEDIA__FD_POOL, &hello, sizeof hello, NULL, 0) && hello.sandboxed;
}

/** When memory is short, children go before servers do. */
static void go_first(void)
{
    RPC_AUTOCLOSE int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file >= 0 && write(file, "1000", 4) != 4)
        fprintf(stderr, "dacm-media: cannot set oom_score_adj: %s\n", strerror(errno));
}

/** What a pool's end means is told by its socket; SIGTERM to a whole group is for the pool. */
static int watch_children(void)
{
    sigset_t children;
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    return signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void serve(fork_server *server)
{
    struct signalfd_siginfo news;
    struct pollfd waits[] = {
        {.fd = MEDIA__FD_POOL, .events = POLLIN}, {.fd = server->signals, .events = POLLIN}};
    for (bool there = true; there;) {
        if (poll(waits, 2, -1) < 0 && errno != EINTR)
            return;
        if (waits[1].revents && read(server->signals, &news, sizeof news) > 0)
            reap(server, WNOHANG);
        if (waits[0].revents)
            there = hear(server);
    }
}

int media_child_serve(const media_child_work *work)
{
    static fork_server server;
    int type = 0;
    socklen_t size = sizeof type;
    server.work = work;
    if (getsockopt(MEDIA__FD_POOL, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
        type != SOCK_SEQPACKET) {
        fputs("dacm-media: this program is started by dacmd and dacm, not by hand\n", stderr);
        return 2;
    }
    fcntl(MEDIA__FD_POOL, F_SETFD, FD_CLOEXEC);
    go_first();
    if (!media__renounce()) {
        fprintf(stderr, "dacm-media: cannot give up its privileges: %s\n", strerror(errno));
        return 1;
    }
    server.signals = watch_children();
    if (server.signals < 0 || !say_hello(&server))
        return 1;
    serve(&server);
    end_children(&server, NULL);
    reap(&server, 0);
    return 0;
}
