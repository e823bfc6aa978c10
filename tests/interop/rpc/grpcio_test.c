/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void write_pem(char *ret_path, size_t room, const char *name, const char *pem)
{
    snprintf(ret_path, room, "%s/%s", test_tmpdir(), name);
    FILE *file = fopen(ret_path, "w");
    assert_non_null(file);
    fputs(pem, file);
    fclose(file);
}

static pid_t run_python(const char *script, const char *a, const char *b, int in, int out)
{
    char path[600];
    snprintf(path, sizeof path, "%s/tests/interop/rpc/%s", DACM_SOURCE_DIR, script);
    char *argv[] = {strdup(PYTHON), strdup("-B"), path, strdup(a), strdup(b), NULL};
    setenv("PYTHONPATH", PYTHON_STUBS, 1);
    unsetenv("LD_PRELOAD");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (in >= 0)
        posix_spawn_file_actions_adddup2(&actions, in, 0);
    if (out >= 0)
        posix_spawn_file_actions_adddup2(&actions, out, 1);
    pid_t pid = -1;
    assert_int_equal(posix_spawn(&pid, PYTHON, &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    for (size_t i = 0; i < 5; i++)
        if (i != 2)
            free(argv[i]);
    return pid;
}

TEST(grpcio_calls_every_kind_of_method_of_our_server)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    char ca[300];
    write_pem(ca, sizeof ca, "ca.pem", f.ca.cert_pem);
    const char *target = strstr(rpc_listener_url(f.listener), "://") + 3;
    pid_t pid = run_python("client.py", target, ca, -1, -1);
    int status = -1;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    fixture_stop(&f);
}

typedef struct foreign {
    fixture f;
    pid_t pid;
    int in;
} foreign;

static void foreign_start(foreign *s)
{
    char certificate[300], key[300], line[32] = "";
    int in[2], out[2];
    fixture_init(&s->f);
    write_pem(certificate, sizeof certificate, "cert.pem", s->f.server_cert.cert_pem);
    write_pem(key, sizeof key, "key.pem", s->f.server_cert.key_pem);
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    s->pid = run_python("server.py", certificate, key, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    s->in = in[1];
    FILE *lines = fdopen(out[0], "r");
    assert_non_null(fgets(line, sizeof line, lines));
    fclose(lines);
    char target[64];
    snprintf(target, sizeof target, "tls+tcp://127.0.0.1:%d", atoi(line));
    rpc_status status = {0};
    rpc_channel_options options = {.target = target,
        .limits = s->f.client_limits,
        .tls = {.ca_pem = rpc_bytes_str(s->f.ca.cert_pem)}};
    if (rpc_channel_new(s->f.runtime, &options, &s->f.channel, &status) != RPC_OK)
        fail_msg("%s", status.message);
}

static void foreign_stop(foreign *s)
{
    int status = -1;
    close(s->in);
    waitpid(s->pid, &status, 0);
    assert_int_equal(status, 0);
    fixture_stop(&s->f);
}

TEST(our_channel_makes_unary_calls_to_grpcio)
{
    foreign s;
    foreign_start(&s);
    rpc_status status = {0};
    char *text = NULL;
    if (fixture_unary(&s.f, NULL, "hello", &text, &status) != RPC_OK)
        fail_msg("%s", status.message);
    assert_string_equal(text, "hello");
    free(text);
    assert_int_equal(fixture_unary(&s.f, NULL, "fail", NULL, &status), RPC_NOT_FOUND);
    assert_string_equal(status.message, "100 % n\xc3\xb8 such\nthing");
    foreign_stop(&s);
}

TEST(our_channel_streams_both_ways_with_grpcio)
{
    foreign s;
    foreign_start(&s);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    item.size = 100;
    item.data.len = 65536;
    item.data.data = calloc(1, item.data.len);
    client_call download = {0}, upload = {0}, chat = {0};
    rpc_metadatum metadata = {"x-echo", rpc_bytes_str("there"), false};
    rpc_call_options options = {.metadata = &metadata, .metadata_count = 1, .timeout_ms = 60000};
    client_start(&download, &s.f, "/rpctest.Echo/Download", &options);
    assert_int_equal(client_send(&download, &item), RPC_SENT_OK);
    rpc_call_half_close(download.call);
    flag_wait(&download.ended, 1);
    assert_int_equal(download.status.code, RPC_OK);
    assert_int_equal(flag_count(&download.messages), 100);
    client_start(&upload, &s.f, "/rpctest.Echo/Upload", NULL);
    for (int i = 0; i < 200; i++)
        assert_int_equal(client_send(&upload, &item), RPC_SENT_OK);
    rpc_call_half_close(upload.call);
    flag_wait(&upload.ended, 1);
    assert_int_equal(upload.status.code, RPC_OK);
    client_start(&chat, &s.f, "/rpctest.Echo/Chat", NULL);
    for (unsigned i = 1; i <= 20; i++) {
        assert_int_equal(client_send(&chat, &item), RPC_SENT_OK);
        flag_wait(&chat.messages, i);
    }
    rpc_call_half_close(chat.call);
    flag_wait(&chat.ended, 1);
    assert_int_equal(chat.status.code, RPC_OK);
    free(item.data.data);
    client_done(&download);
    client_done(&upload);
    client_done(&chat);
    foreign_stop(&s);
}

/* Each message of the stream compressed or not as said; grpcio sends every second one plain. */
static void chat_compressed(foreign *s, const char *name, rpc_encoding encoding)
{
    char *text = calloc(1, 20001);
    memset(text, 'x', 20000);
    rpc_metadatum metadata = {"x-compress", rpc_bytes_str(name), false};
    rpc_call_options options = {
        .encoding = encoding, .metadata = &metadata, .metadata_count = 1, .timeout_ms = 60000};
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    item.text = text;
    client_call chat = {0};
    client_start(&chat, &s->f, "/rpctest.Echo/Chat", &options);
    for (unsigned i = 0; i < 10; i++) {
        rpc_call_compress_messages(chat.call, i % 3 != 0);
        assert_int_equal(client_send(&chat, &item), RPC_SENT_OK);
        flag_wait(&chat.messages, i + 1);
        assert_int_equal(chat.compressed, i % 2 == 0);
    }
    rpc_call_half_close(chat.call);
    flag_wait(&chat.ended, 1);
    assert_int_equal(chat.status.code, RPC_OK);
    assert_int_equal(chat.bytes, 10 * 20004);
    client_done(&chat);
    free(text);
}

TEST(our_channel_exchanges_compressed_messages_with_grpcio)
{
    foreign s;
    foreign_start(&s);
    chat_compressed(&s, "gzip", RPC_ENCODING_GZIP);
    chat_compressed(&s, "deflate", RPC_ENCODING_DEFLATE);
    foreign_stop(&s);
}

TEST(our_channel_gets_the_details_of_a_status_of_grpcio)
{
    static const uint8_t packed[] = {8, 5, 18, 4, 'f', 'a', 'i', 'l', 255, 0};
    foreign s;
    foreign_start(&s);
    rpc_status status = {0};
    rpc_bytes details = {0};
    rpc_arena *arena = rpc_arena_new(1 << 20);
    rpc_metadatum metadata = {"x-details-bin", rpc_bytes_of(packed, sizeof packed), false};
    rpc_call_options options = {
        .metadata = &metadata, .metadata_count = 1, .ret_status_details = &details};
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    char text[] = "fail";
    item.text = text;
    ProtobufCMessage *reply = NULL;
    assert_int_equal(rpc_channel_unary(s.f.channel, "/rpctest.Echo/Unary", &options, &item.base,
                         &rpctest__item__descriptor, arena, &reply, &status),
        RPC_NOT_FOUND);
    assert_int_equal(details.size, sizeof packed);
    assert_memory_equal(details.data, packed, sizeof packed);
    rpc_arena_free(arena);
    foreign_stop(&s);
}

TEST(grpcio_asks_our_servers_channelz)
{
    fixture f;
    fixture_init(&f);
    f.with_channelz = true;
    fixture_start(&f);
    char ca[300];
    write_pem(ca, sizeof ca, "ca.pem", f.ca.cert_pem);
    pid_t pid = run_python(
        "channelz.py", strstr(rpc_listener_url(f.listener), "://") + 3, ca, -1, -1);
    int status = -1;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    fixture_stop(&f);
}

static void expect_line(FILE *lines, const char *expected)
{
    char line[64] = "";
    assert_non_null(fgets(line, sizeof line, lines));
    line[strcspn(line, "\n")] = '\0';
    assert_string_equal(line, expected);
}

TEST(grpcio_watches_health_until_our_server_stops)
{
    fixture f;
    fixture_init(&f);
    f.with_health = true;
    fixture_start(&f);
    char ca[300];
    int out[2];
    write_pem(ca, sizeof ca, "ca.pem", f.ca.cert_pem);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    pid_t pid = run_python(
        "health.py", strstr(rpc_listener_url(f.listener), "://") + 3, ca, -1, out[1]);
    close(out[1]);
    FILE *lines = fdopen(out[0], "r");
    expect_line(lines, "NOT_SERVING");
    rpc_server_set_health(f.server, "rpctest.Echo", true);
    expect_line(lines, "SERVING");
    rpc_server_set_health(f.server, "rpctest.Echo", true); /* nothing new to tell */
    rpc_server_set_health(f.server, "rpctest.Echo", false);
    expect_line(lines, "NOT_SERVING");
    rpc_server_set_health(f.server, "rpctest.Echo", true);
    expect_line(lines, "SERVING");
    rpc_server_stop(f.server, 60000);
    expect_line(lines, "NOT_SERVING");
    expect_line(lines, "UNAVAILABLE");
    int status = -1;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    fclose(lines);
    fixture_stop(&f);
}
