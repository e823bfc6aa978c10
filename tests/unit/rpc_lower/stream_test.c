/* SPDX-License-Identifier: Apache-2.0 */
#include "stream.h"
#include "test.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* One stream with its strand, and what its callbacks said; end_* are guarded by lock. */
typedef struct test_end {
    rpc__strand strand;
    rpc__stream *stream;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool opened, closed;
    unsigned reads, writes, closes;
    rpc_code open_code, read_code, write_code;
    size_t read_size;
    char address[RPC__STREAM_ADDRESS_MAX];
    uint8_t buffer[65536];
    bool echo; /* write back what was read, and read on */
    rpc__task task;
    void (*on_strand)(struct test_end *end);
    bool task_done;
} test_end;

static void note(test_end *end)
{
    pthread_cond_broadcast(&end->changed);
    pthread_mutex_unlock(&end->lock);
}

static void on_open(void *user, const rpc_status *status)
{
    test_end *end = user;
    pthread_mutex_lock(&end->lock);
    end->opened = true;
    end->open_code = status->code;
    if (status->code == RPC_OK)
        snprintf(end->address, sizeof end->address, "%s", rpc__stream_address(end->stream));
    note(end);
}

static void on_written(void *user, const rpc_status *status);

/* What was taken at once is told as what is taken later. */
static void write_pieces(test_end *end, const rpc_bytes *pieces, unsigned count)
{
    const rpc_status good = {.code = RPC_OK};
    if (rpc__stream_write(end->stream, pieces, count))
        on_written(end, &good);
}

static void on_read(void *user, size_t size, const rpc_status *status)
{
    test_end *end = user;
    pthread_mutex_lock(&end->lock);
    end->reads++;
    end->read_code = status->code;
    end->read_size = size;
    bool echo = end->echo;
    note(end);
    if (echo && status->code == RPC_OK) {
        rpc_bytes piece = rpc_bytes_of(end->buffer, size);
        write_pieces(end, &piece, 1);
    } else if (echo) {
        rpc__stream_close(end->stream);
    }
}

static void on_written(void *user, const rpc_status *status)
{
    test_end *end = user;
    pthread_mutex_lock(&end->lock);
    end->writes++;
    end->write_code = status->code;
    bool echo = end->echo;
    note(end);
    if (echo && status->code == RPC_OK)
        rpc__stream_read(end->stream, end->buffer, sizeof end->buffer);
    else if (echo)
        rpc__stream_close(end->stream);
}

static void on_closed(void *user)
{
    test_end *end = user;
    rpc__strand_done(&end->strand);
    pthread_mutex_lock(&end->lock);
    end->closed = true;
    end->closes++;
    note(end);
}

static const rpc__stream_handler handler = {on_open, on_read, on_written, on_closed};

static test_end *new_end(rpc_runtime *runtime)
{
    test_end *end = calloc(1, sizeof *end);
    assert_non_null(end);
    rpc__strand_init(&end->strand, runtime);
    pthread_mutex_init(&end->lock, NULL);
    pthread_cond_init(&end->changed, NULL);
    return end;
}

#define WAIT(end, condition)                                                                       \
    do {                                                                                           \
        pthread_mutex_lock(&(end)->lock);                                                          \
        while (!(condition))                                                                       \
            pthread_cond_wait(&(end)->changed, &(end)->lock);                                      \
        pthread_mutex_unlock(&(end)->lock);                                                        \
    } while (0)

static void run_task(void *arg)
{
    test_end *end = arg;
    end->on_strand(end);
    pthread_mutex_lock(&end->lock);
    end->task_done = true;
    note(end);
}

/* Runs fn on the end's strand and waits for it. */
static void on_strand(test_end *end, void (*fn)(test_end *end))
{
    end->on_strand = fn;
    end->task_done = false;
    rpc__task_init(&end->task, run_task, end);
    rpc__strand_post(&end->strand, &end->task);
    WAIT(end, end->task_done);
}

static void do_read(test_end *end)
{
    rpc__stream_read(end->stream, end->buffer, sizeof end->buffer);
}

static void do_close(test_end *end)
{
    rpc__stream_close(end->stream);
}

static void do_close_twice(test_end *end)
{
    rpc__stream_close(end->stream);
    rpc__stream_close(end->stream);
}

static void do_write_pieces(test_end *end)
{
    rpc_bytes pieces[3] = {rpc_bytes_str("one "), rpc_bytes_of(NULL, 0), rpc_bytes_str("two")};
    write_pieces(end, pieces, 3);
}

/* Writes 8 MiB that nobody reads. */
static uint8_t large[8 << 20];
static void do_write_large(test_end *end)
{
    rpc_bytes piece = rpc_bytes_of(large, sizeof large);
    write_pieces(end, &piece, 1);
}

/* Byte by byte, until one has to be waited for. */
#define WRITES_MAX 200
static unsigned writes_in_a_row;
static void do_write_on_and_on(test_end *end)
{
    rpc_bytes piece = rpc_bytes_str("x");
    writes_in_a_row = 0;
    while (writes_in_a_row < WRITES_MAX && rpc__stream_write(end->stream, &piece, 1))
        writes_in_a_row++;
}

/* ---- a server that echoes, or keeps what it is given ------------------------------------- */

#define ENDS_MAX 4096

typedef struct test_server {
    rpc_runtime *runtime;
    rpc__stream_listener *listener;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    test_end *ends[ENDS_MAX];
    size_t count;
    bool echo, refuse;
    unsigned refused;
    unsigned troubles;
    rpc_status trouble;
} test_server;

static void on_accept(void *user, rpc__stream *stream)
{
    test_server *server = user;
    pthread_mutex_lock(&server->lock);
    if (server->refuse) {
        server->refused++;
        rpc__stream_refuse(stream);
    } else {
        test_end *end = new_end(server->runtime);
        end->stream = stream;
        end->echo = server->echo;
        rpc__stream_start(stream, &end->strand, &handler, end);
        server->ends[server->count++] = end;
        if (server->echo) {
            end->on_strand = do_read;
            rpc__task_init(&end->task, run_task, end);
            rpc__strand_post(&end->strand, &end->task);
        }
    }
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void on_trouble(void *user, const rpc_status *why)
{
    test_server *server = user;
    pthread_mutex_lock(&server->lock);
    server->troubles++;
    server->trouble = *why;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

static void open_server(test_server *server, const char *url_text, bool echo)
{
    memset(server, 0, sizeof *server);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->changed, NULL);
    server->echo = echo;
    rpc_status status;
    rpc__url url;
    assert_int_equal(rpc__url_parse(url_text, &url, &status), RPC_OK);
    assert_int_equal(rpc_runtime_new(NULL, &server->runtime, &status), RPC_OK);
    if (rpc__stream_listen(server->runtime, &url, on_accept, on_trouble, server, &server->listener,
            &status) != RPC_OK)
        fail_msg("%s", status.message);
    rpc__stream_listener_start(server->listener);
}

static test_end *dial(test_server *server)
{
    test_end *end = new_end(server->runtime);
    rpc_status status;
    assert_int_equal(rpc__stream_dial(server->runtime, rpc__stream_listener_url(server->listener),
                         5000, &end->strand, &handler, end, &end->stream, &status),
        RPC_OK);
    WAIT(end, end->opened);
    return end;
}

static test_end *accepted(test_server *server, size_t index)
{
    WAIT(server, server->count > index);
    return server->ends[index];
}

static void close_server(test_server *server)
{
    rpc__stream_listener_close(server->listener);
    rpc_runtime_free(server->runtime);
    for (size_t i = 0; i < server->count; i++)
        free(server->ends[i]);
}

static void finish(test_end *end)
{
    on_strand(end, do_close);
    WAIT(end, end->closed);
    free(end);
}

static unsigned open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

/* nng closes a freed stream's descriptor on a thread of its own and tells nobody: looks until no
 * more than wanted are open, or the number has not changed for a while. */
static unsigned settled_descriptors(unsigned wanted)
{
    unsigned count = open_descriptors();
    for (int quiet = 0; count > wanted && quiet < 50; quiet++) {
        usleep(2000);
        unsigned now = open_descriptors();
        if (now != count)
            quiet = 0;
        count = now;
    }
    return count;
}

static const char *ipc_url(void)
{
    static char url[300];
    snprintf(url, sizeof url, "ipc://%s/socket", test_tmpdir());
    return url;
}

static void echo_over(const char *url)
{
    test_server server;
    open_server(&server, url, true);
    test_end *end = dial(&server);
    assert_int_equal(end->open_code, RPC_OK);
    on_strand(end, do_read);
    on_strand(end, do_write_pieces);
    WAIT(end, end->reads == 1 && end->writes == 1);
    assert_int_equal(end->read_code, RPC_OK);
    assert_int_equal(end->read_size, 7);
    assert_memory_equal(end->buffer, "one two", 7);
    finish(end);
    WAIT(accepted(&server, 0), server.ends[0]->closed);
    assert_int_equal(server.ends[0]->closes, 1);
    close_server(&server);
}

TEST(stream_echoes_over_tcp)
{
    echo_over("tcp://127.0.0.1:0");
}

/* Or a peer that reads fast would keep a strand, and with it a thread, to itself. */
TEST(stream_that_writes_on_and_on_comes_back_to_its_strand)
{
    test_server server;
    open_server(&server, "tcp://127.0.0.1:0", true);
    test_end *end = dial(&server);
    for (unsigned round = 1; round <= 2; round++) {
        on_strand(end, do_write_on_and_on);
        assert_true(writes_in_a_row < WRITES_MAX);
        WAIT(end, end->writes == round);
        assert_int_equal(end->write_code, RPC_OK);
    }
    finish(end);
    WAIT(accepted(&server, 0), server.ends[0]->closed);
    close_server(&server);
}

TEST(stream_echoes_over_ipv6)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool there = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    if (!there)
        skip();
    echo_over("tcp://[::1]:0");
}

TEST(stream_echoes_over_ipc_and_shows_the_uid)
{
    const char *url = ipc_url();
    echo_over(url);
    test_server server;
    open_server(&server, url, false);
    struct stat st;
    assert_int_equal(stat(url + 6, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    test_end *end = dial(&server);
    uid_t uid = (uid_t)-1;
    assert_true(rpc__stream_uid(accepted(&server, 0)->stream, &uid));
    assert_int_equal(uid, getuid());
    finish(accepted(&server, 0));
    server.count = 0;
    finish(end);
    close_server(&server);
}

TEST(stream_shows_the_address_of_the_peer)
{
    test_server server;
    open_server(&server, "tcp://127.0.0.1:0", true);
    test_end *end = dial(&server);
    char expected[64];
    snprintf(expected, sizeof expected, "127.0.0.1:%u",
        (unsigned)rpc__stream_listener_url(server.listener)->port);
    assert_string_equal(end->address, expected);
    finish(end);
    WAIT(accepted(&server, 0), server.ends[0]->closed);
    close_server(&server);
}

TEST(stream_tells_end_of_stream_when_the_peer_goes)
{
    test_server server;
    open_server(&server, "tcp://127.0.0.1:0", false);
    test_end *end = dial(&server);
    on_strand(end, do_read);
    finish(accepted(&server, 0));
    server.count = 0;
    WAIT(end, end->reads == 1);
    assert_int_equal(end->read_size, 0);
    assert_true(end->read_code == RPC_OUT_OF_RANGE || end->read_code == RPC_UNAVAILABLE);
    finish(end);
    close_server(&server);
}

TEST(stream_close_is_idempotent_and_the_last_word_in_every_state)
{
    test_server server;
    open_server(&server, "tcp://127.0.0.1:0", false);
    void (*states[])(test_end *) = {NULL, do_read, do_write_large};
    for (size_t i = 0; i < 3; i++) {
        test_end *end = dial(&server);
        if (states[i])
            on_strand(end, states[i]);
        on_strand(end, do_close_twice);
        WAIT(end, end->closed);
        assert_int_equal(end->closes, 1);
        assert_int_equal(end->reads, 0);
        assert_int_equal(end->writes, 0);
        free(end);
        finish(accepted(&server, i));
    }
    server.count = 0;
    close_server(&server);
}

TEST(stream_close_while_dialling_gives_no_other_callback)
{
    test_server server;
    open_server(&server, "tcp://127.0.0.1:0", false);
    for (int i = 0; i < 50; i++) {
        test_end *end = new_end(server.runtime);
        assert_int_equal(rpc__stream_dial(server.runtime, rpc__stream_listener_url(server.listener),
                             5000, &end->strand, &handler, end, &end->stream, NULL),
            RPC_OK);
        on_strand(end, do_close);
        WAIT(end, end->closed);
        assert_int_equal(end->closes, 1);
        free(end);
    }
    rpc__stream_listener_close(server.listener);
    pthread_mutex_lock(&server.lock);
    size_t count = server.count;
    pthread_mutex_unlock(&server.lock);
    for (size_t i = 0; i < count; i++)
        finish(server.ends[i]);
    server.count = 0;
    close_server(&server);
}

TEST(stream_dial_to_nobody_is_unavailable)
{
    test_server server;
    open_server(&server, "tcp://127.0.0.1:0", false);
    rpc__stream_listener_close(server.listener);
    test_end *end = dial(&server);
    assert_int_equal(end->open_code, RPC_UNAVAILABLE);
    finish(end);
    rpc__url url;
    rpc_status status;
    assert_int_equal(rpc__url_parse(ipc_url(), &url, &status), RPC_OK);
    end = new_end(server.runtime);
    assert_int_equal(rpc__stream_dial(server.runtime, &url, 5000, &end->strand, &handler, end,
                         &end->stream, &status),
        RPC_OK);
    WAIT(end, end->opened);
    assert_int_equal(end->open_code, RPC_UNAVAILABLE);
    finish(end);
    close_server(&server);
}

TEST(stream_listen_on_a_taken_address_says_so)
{
    test_server server;
    open_server(&server, "tcp://127.0.0.1:0", false);
    rpc__stream_listener *second;
    rpc_status status;
    assert_int_equal(rpc__stream_listen(server.runtime, rpc__stream_listener_url(server.listener),
                         on_accept, on_trouble, &server, &second, &status),
        RPC_UNAVAILABLE);
    assert_non_null(strstr(status.message, "taken"));
    close_server(&server);
}

TEST(stream_listen_replaces_a_dead_socket_and_nothing_else)
{
    const char *url_text = ipc_url();
    const char *path = url_text + 6;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd); /* the file stays and nobody listens */
    echo_over(url_text);

    test_server server;
    open_server(&server, url_text, false);
    rpc__stream_listener *second;
    rpc_status status;
    assert_int_equal(rpc__stream_listen(server.runtime, rpc__stream_listener_url(server.listener),
                         on_accept, on_trouble, &server, &second, &status),
        RPC_UNAVAILABLE);
    finish(accepted(&server, 0)); /* the question whether anybody listens was a connection */
    server.count = 0;
    rpc__url url = *rpc__stream_listener_url(server.listener);
    snprintf(url.path, sizeof url.path, "%.100s.file", path);
    FILE *file = fopen(url.path, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(
        rpc__stream_listen(server.runtime, &url, on_accept, on_trouble, &server, &second, &status),
        RPC_INVALID_ARGUMENT);
    assert_int_equal(access(url.path, F_OK), 0);
    close_server(&server);
}

TEST(stream_refused_connection_is_closed)
{
    test_server server;
    open_server(&server, "tcp://127.0.0.1:0", false);
    server.refuse = true;
    test_end *end = dial(&server);
    on_strand(end, do_read);
    WAIT(end, end->reads == 1);
    assert_int_equal(end->read_size, 0);
    finish(end);
    close_server(&server);
}

TEST(stream_cycles_leave_no_descriptor_behind)
{
    test_server server;
    open_server(&server, "tcp://127.0.0.1:0", true);
    finish(dial(&server));
    WAIT(accepted(&server, 0), server.ends[0]->closed);
    unsigned before = settled_descriptors(0);
    for (size_t i = 1; i < 1000; i++) {
        finish(dial(&server));
        WAIT(accepted(&server, i), server.ends[i]->closed);
    }
    assert_true(settled_descriptors(before) <= before);
    close_server(&server);
}

TEST(stream_listener_without_descriptors_says_so_and_serves_on_when_there_are_some)
{
    test_server server;
    open_server(&server, "tcp://127.0.0.1:0", true);
    finish(dial(&server));
    WAIT(accepted(&server, 0), server.ends[0]->closed);
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons(rpc__stream_listener_url(server.listener)->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct rlimit limit, tight;
    getrlimit(RLIMIT_NOFILE, &limit);
    tight = limit;
    tight.rlim_cur = 3; /* none is left for accept, not even one that is closed only now */
    setrlimit(RLIMIT_NOFILE, &tight);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    WAIT(&server, server.troubles >= 2); /* tried again, and still nothing */
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_int_equal(server.trouble.code, RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(server.trouble.message, "raise the limit on open files"));
    assert_int_equal(write(fd, "x", 1), 1);
    char back = 0;
    assert_int_equal(read(fd, &back, 1), 1);
    assert_int_equal(back, 'x');
    close(fd);
    WAIT(accepted(&server, 1), server.ends[1]->closed);
    close_server(&server);
}
