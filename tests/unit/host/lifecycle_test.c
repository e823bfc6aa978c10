/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"
#include "test.h"

#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs fn in a child, whose process it may change; the number it returns. */
static int in_child(int (*fn)(void))
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(fn());
    int ended = 0;
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_true(WIFEXITED(ended));
    return WEXITSTATUS(ended);
}

static int prepared(void)
{
    struct rlimit before, core, files;
    getrlimit(RLIMIT_NOFILE, &before);
    rlim_t most = before.rlim_max < 1048576 ? before.rlim_max : 1048576;
    before.rlim_cur = most / 2;
    setrlimit(RLIMIT_NOFILE, &before);
    host_process_prepare();
    getrlimit(RLIMIT_CORE, &core);
    getrlimit(RLIMIT_NOFILE, &files);
    struct sigaction pipe_action;
    sigaction(SIGPIPE, NULL, &pipe_action);
    if (umask(0) != 077)
        return 1;
    if (core.rlim_cur != 0 || core.rlim_max != 0 || prctl(PR_GET_DUMPABLE) != 0)
        return 2;
    if (pipe_action.sa_handler != SIG_IGN)
        return 3;
    return files.rlim_cur == most && files.rlim_max == before.rlim_max ? 0 : 4;
}

TEST(process_prepared_keeps_files_private_and_dumps_no_core)
{
    assert_int_equal(in_child(prepared), 0);
}

static int waits(void)
{
    host_process_prepare();
    const int signals[] = {SIGHUP, SIGTERM, SIGINT};
    const host_signal expected[] = {HOST_SIGNAL_RELOAD, HOST_SIGNAL_STOP, HOST_SIGNAL_STOP};
    for (int i = 0; i < 3; i++) {
        kill(getpid(), signals[i]); /* without the block this would end the process */
        if (host_wait_signal() != expected[i])
            return i + 1;
    }
    return 0;
}

TEST(process_signals_wait_and_say_stop_or_reload)
{
    assert_int_equal(in_child(waits), 0);
}

/* ---- the service manager -----------------------------------------------------------------------
 */

/* A socket at name ('@' = abstract), set as NOTIFY_SOCKET. */
static int manager(const char *name)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    size_t size = strlen(name);
    memcpy(at.sun_path, name, size);
    if (*name == '@')
        at.sun_path[0] = '\0';
    assert_int_equal(bind(fd, (struct sockaddr *)&at,
                         (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size)),
        0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static const char *received(int fd)
{
    static char text[200];
    ssize_t size = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    text[size > 0 ? size : 0] = '\0';
    return text;
}

TEST(notify_reaches_a_manager_at_a_path_and_at_an_abstract_name)
{
    char names[2][100];
    snprintf(names[0], sizeof names[0], "%s/notify", test_tmpdir());
    snprintf(names[1], sizeof names[1], "@dacm-test-%ld", (long)getpid());
    for (int i = 0; i < 2; i++) {
        int fd = manager(names[i]);
        host_notify("READY=1");
        assert_string_equal(received(fd), "READY=1");
        host_notify("STOPPING=1");
        assert_string_equal(received(fd), "STOPPING=1");
        close(fd);
    }
    unsetenv("NOTIFY_SOCKET");
}

TEST(notify_of_a_reload_carries_the_monotonic_time_once)
{
    char name[100];
    snprintf(name, sizeof name, "@dacm-test-%ld", (long)getpid());
    int fd = manager(name);
    host_notify("RELOADING=1");
    long long us = 0;
    assert_int_equal(sscanf(received(fd), "RELOADING=1\nMONOTONIC_USEC=%lld", &us), 1);
    assert_true(us > 0 && us <= rpc_clock_monotonic_us(rpc_clock_system()));
    host_notify("RELOADING=1\nMONOTONIC_USEC=5");
    assert_string_equal(received(fd), "RELOADING=1\nMONOTONIC_USEC=5");
    close(fd);
    unsetenv("NOTIFY_SOCKET");
}

TEST(notify_without_a_manager_does_nothing)
{
    char longest[300] = "/";
    memset(longest + 1, 'a', sizeof longest - 2);
    longest[sizeof longest - 1] = '\0';
    const char *names[] = {"", "@", "/", "relative", "/no/such/socket", "@dacm-nobody", longest};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        setenv("NOTIFY_SOCKET", names[i], 1);
        host_notify("READY=1");
    }
    unsetenv("NOTIFY_SOCKET");
    host_notify("READY=1");
}

/* ---- the command line --------------------------------------------------------------------------
 */

static error_t parse(host_options *ret, const char *first, const char *second)
{
    char program[] = "dacmd", one[50], two[50];
    snprintf(one, sizeof one, "%s", first ? first : "");
    snprintf(two, sizeof two, "%s", second ? second : "");
    char *argv[] = {program, one, two, NULL};
    int argc = 1 + (first != NULL) + (second != NULL);
    argv[argc] = NULL;
    static char config[50];
    *ret = (host_options){0};
    error_t error = argp_parse(&host_argp, argc, argv, ARGP_SILENT, NULL, ret);
    if (ret->config) {
        snprintf(config, sizeof config, "%s", ret->config);
        ret->config = config;
    }
    return error;
}

TEST(options_config_is_read)
{
    host_options got;
    assert_int_equal(parse(&got, "--config", "a.yaml"), 0);
    assert_string_equal(got.config, "a.yaml");
    assert_false(got.check_config || got.help_config);
    assert_int_equal(parse(&got, "--check-config", "--config=b.yaml"), 0);
    assert_string_equal(got.config, "b.yaml");
    assert_true(got.check_config);
}

TEST(options_without_config_are_a_usage_error_but_for_the_help)
{
    host_options got;
    assert_int_equal(parse(&got, NULL, NULL), EINVAL);
    assert_int_equal(parse(&got, "--check-config", NULL), EINVAL);
    assert_int_equal(parse(&got, "--help-config", NULL), 0);
    assert_true(got.help_config);
    assert_null(got.config);
}

TEST(options_that_are_unknown_or_twice_are_usage_errors)
{
    host_options got;
    assert_int_not_equal(parse(&got, "--config=a", "--config=b"), 0);
    assert_int_not_equal(parse(&got, "--config=a", "--frob"), 0);
    assert_int_not_equal(parse(&got, "--config=a", "word"), 0);
    assert_int_not_equal(parse(&got, "--config", NULL), 0);
}
