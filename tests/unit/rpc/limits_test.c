/* SPDX-License-Identifier: Apache-2.0 */
/* Every limit of a server reached through the wire: what the peer sees, that it is counted by its
 * name, and that others are served meanwhile. Those of memory are in memory_limits_test.c, floods
 * of frames in hostile_test.c. */
#include "raw.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Reads until a frame of that type (and of that stream) has come; false at the end. Its payload is
 * kept as far as there is room. */
static bool await_frame(int fd, uint8_t type, uint32_t stream, uint8_t *ret, size_t room)
{
    uint8_t head[9], payload[1 << 16];
    while (recv(fd, head, sizeof head, MSG_WAITALL) == sizeof head) {
        size_t size = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        uint32_t id = (uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 |
                      head[8];
        assert_true(size <= sizeof payload);
        if (size > 0 && recv(fd, payload, size, MSG_WAITALL) != (ssize_t)size)
            return false;
        if (head[3] != type || id != stream)
            continue;
        if (ret)
            memcpy(ret, payload, size < room ? size : room);
        return true;
    }
    return false;
}

/* ---- connections ---------------------------------------------------------------------------- */

/* Dials once more than the limit allows. */
static void one_too_many(fixture *f, rpc_limit_kind kind)
{
    fixture_start(f);
    int fds[3];
    for (size_t i = 0; i < 3; i++)
        fds[i] = raw_dial(f);
    fixture_wait_limit(f, kind, 1);
    flag_wait(&f->events[RPC_EVENT_REFUSED], 1);
    raw_await_end(fds[2]);
    close(fds[0]);
    close(fds[1]);
    fixture_wait_nobody(f);
    raw_still_serves(f);
    fixture_stop(f);
}

TEST(connections_beyond_connections_max_are_refused)
{
    fixture f;
    raw_init(&f);
    f.limits.connections_max = 2;
    one_too_many(&f, RPC_LIMIT_CONNECTIONS);
}

TEST(connections_of_one_address_are_counted)
{
    fixture f;
    raw_init(&f);
    f.limits.connections_per_address_max = 2;
    one_too_many(&f, RPC_LIMIT_CONNECTIONS_PER_ADDRESS);
}

TEST(strangers_of_one_address_are_counted)
{
    fixture f;
    raw_init(&f);
    f.limits.unauthenticated_per_address_max = 2;
    one_too_many(&f, RPC_LIMIT_UNAUTHENTICATED_PER_ADDRESS);
}

TEST(strangers_of_all_addresses_are_counted)
{
    fixture f;
    raw_init(&f);
    f.limits.unauthenticated_max = 2;
    one_too_many(&f, RPC_LIMIT_UNAUTHENTICATED);
}

TEST(a_caller_is_no_stranger_any_more)
{
    fixture f;
    raw_init(&f);
    f.limits.unauthenticated_max = 1;
    fixture_start(&f);
    raw_still_serves(&f);
    int fd = raw_dial(&f); /* in the place that the channel's connection has left */
    flag_wait(&f.events[RPC_EVENT_ACCEPTED], 2);
    rpc_server_stats stats = rpc_server_get_stats(f.server);
    assert_int_equal(stats.connections, 2);
    assert_int_equal(stats.unauthenticated, 1);
    close(fd);
    fixture_stop(&f);
}

TEST(a_server_without_descriptors_says_so_and_goes_on_when_there_are_some)
{
    fixture f;
    raw_init(&f);
    fixture_start(&f);
    raw_still_serves(&f);
    int fd = socket(AF_INET, SOCK_STREAM, 0), lowest = dup(fd);
    close(lowest);
    struct rlimit limit, tight;
    getrlimit(RLIMIT_NOFILE, &limit);
    tight = limit;
    tight.rlim_cur = (rlim_t)lowest; /* fd itself is below or in use already */
    close(fd);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    fd = raw_dial(&f); /* takes the last one */
    fixture_wait_limit(&f, RPC_LIMIT_DESCRIPTORS, 2);
    raw_still_serves(&f); /* those who are connected */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    flag_wait(&f.events[RPC_EVENT_ACCEPTED], 2);
    close(fd);
    fixture_stop(&f);
}

/* A jump in time must not meet another limit than the one that a test is about. */
static void only_streams_are_timed(fixture *f)
{
    f->limits.idle_ms = f->client_limits.idle_ms = RPC_NO_TIMEOUT;
    f->limits.write_progress_ms = f->client_limits.write_progress_ms = 3600000;
}

/* ---- time ----------------------------------------------------------------------------------- */

TEST(a_handshake_that_never_ends_is_given_up)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    int fd = raw_dial(&f);
    flag_wait(&f.events[RPC_EVENT_ACCEPTED], 1);
    fixture_skip(&f, f.limits.handshake_ms + 1);
    fixture_wait_limit(&f, RPC_LIMIT_HANDSHAKE, 1);
    raw_await_end(fd);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    raw_still_serves(&f);
    fixture_stop(&f);
}

TEST(a_connection_without_a_request_is_closed)
{
    fixture f;
    raw_init(&f);
    fixture_start(&f);
    int fd = raw_dial(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    raw_send(fd, w);
    free(w);
    assert_true(await_frame(fd, 4, 0, NULL, 0));
    fixture_skip(&f, f.limits.first_request_ms + 1);
    fixture_wait_limit(&f, RPC_LIMIT_FIRST_REQUEST, 1);
    raw_await_end(fd);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    raw_still_serves(&f);
    fixture_stop(&f);
}

TEST(headers_that_are_begun_and_do_not_end_close_the_connection)
{
    fixture f;
    raw_init(&f);
    only_streams_are_timed(&f);
    fixture_start(&f);
    int fd = raw_dial(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    static const uint8_t block[] = {0, 1, 'x', 1, 'y'};
    raw_preface(w);
    raw_request(w, 1, "/rpctest.Echo/Chat", "application/grpc", 0);
    raw_frame(w, sizeof block, 1, 0, 3, block); /* without END_HEADERS */
    raw_send(fd, w);
    free(w);
    flag_wait(&f.started, 1);
    fixture_skip_until_limit(&f, RPC_LIMIT_FIRST_REQUEST, f.limits.first_request_ms + 1);
    raw_await_end(fd);
    flag_wait(&f.server_ended, 1);
    raw_still_serves(&f);
    fixture_stop(&f);
}

TEST(a_connection_is_not_idle_before_its_first_request)
{
    fixture f;
    raw_init(&f);
    f.limits.idle_ms = f.limits.first_request_ms / 10;
    fixture_start(&f);
    int fd = raw_dial(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    raw_send(fd, w);
    assert_true(await_frame(fd, 4, 0, NULL, 0));
    raw_still_serves(&f); /* a connection that will be idle */
    fixture_skip(&f, f.limits.idle_ms + 1);
    fixture_wait_limit(&f, RPC_LIMIT_IDLE, 1);
    w->size = 0;
    raw_frame(w, 8, 6, 0, 0, "whatever"); /* PING: answered, and so not closed */
    raw_send(fd, w);
    free(w);
    assert_true(await_frame(fd, 6, 0, NULL, 0));
    fixture_skip(&f, f.limits.first_request_ms);
    fixture_wait_limit(&f, RPC_LIMIT_FIRST_REQUEST, 1);
    raw_await_end(fd);
    fixture_stop(&f);
}

TEST(an_idle_connection_is_closed)
{
    fixture f;
    raw_init(&f);
    f.client_limits.idle_ms = RPC_NO_TIMEOUT; /* its clock is the same: it could close first */
    fixture_start(&f);
    do { /* where the answer's writing has not returned yet, another limit ends the connection */
        raw_still_serves(&f);
        fixture_skip(&f, f.limits.idle_ms + 1);
    } while (!flag_wait_for(&f.limits_hit[RPC_LIMIT_IDLE], 1, 100));
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    fixture_stop(&f);
}

TEST(an_idle_connection_stays_for_ever_without_a_time_out)
{
    fixture f;
    raw_init(&f);
    only_streams_are_timed(&f);
    fixture_start(&f);
    raw_still_serves(&f);
    for (int i = 0; i < 24 * 365; i += 24) {
        fixture_skip(&f, 1000 * 3599);
        raw_still_serves(&f);
    }
    assert_int_equal(flag_count(&f.events[RPC_EVENT_ACCEPTED]), 1);
    fixture_stop(&f);
}

/* A Download of much, with windows wide open. */
static int start_download(fixture *f, uint32_t chunks, size_t chunk_bytes)
{
    int fd = raw_dial(f);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    uint8_t *data = calloc(1, chunk_bytes);
    item.size = chunks;
    item.data = (ProtobufCBinaryData){chunk_bytes, data};
    raw_bytes *w = calloc(1, sizeof *w);
    uint8_t message[40000] = {0}, wide[4] = {0x3F, 0xFF, 0, 0};
    size_t size = protobuf_c_message_get_packed_size(&item.base);
    assert_true(size + 5 < sizeof message && size < 65536);
    message[3] = (uint8_t)(size >> 8);
    message[4] = (uint8_t)size;
    protobuf_c_message_pack(&item.base, message + 5);
    raw_preface(w);
    raw_frame(w, 4, 8, 0, 0, wide);
    raw_request(w, 1, "/rpctest.Echo/Download", "application/grpc", 0);
    raw_frame(w, 4, 8, 0, 1, wide);
    for (size_t at = 0; at < size + 5; at += 16000) {
        size_t piece = size + 5 - at < 16000 ? size + 5 - at : 16000;
        raw_frame(w, piece, 0, at + piece == size + 5, 1, message + at);
    }
    raw_send(fd, w);
    free(w);
    free(data);
    return fd;
}

TEST(a_peer_that_takes_no_output_is_cut_off)
{
    fixture f;
    raw_init(&f);
    fixture_start(&f);
    int fd = start_download(&f, 100000, 30000); /* 3 GB: no socket holds that */
    flag_wait(&f.started, 1);
    fixture_skip_until_limit(&f, RPC_LIMIT_WRITE_PROGRESS, f.limits.write_progress_ms + 1);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    flag_wait(&f.server_ended, 1);
    assert_int_equal(f.server_end, RPC_CANCELLED);
    raw_still_serves(&f);
    close(fd);
    fixture_stop(&f);
}

TEST(a_call_whose_next_message_does_not_come_is_ended)
{
    fixture f;
    raw_init(&f);
    only_streams_are_timed(&f);
    fixture_start(&f);
    client_call c = {0};
    client_start(&c, &f, "/rpctest.Echo/Chat", NULL);
    flag_wait(&f.started, 1);
    fixture_skip_until_limit(&f, RPC_LIMIT_STREAM_RECEIVE, f.limits.stream_receive_ms + 1);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_DEADLINE_EXCEEDED);
    assert_non_null(strstr(c.status.message, "stream_receive_ms"));
    flag_wait(&f.server_ended, 1);
    assert_int_equal(f.server_end, RPC_DEADLINE_EXCEEDED);
    raw_still_serves(&f); /* on the same connection */
    assert_int_equal(flag_count(&f.events[RPC_EVENT_ACCEPTED]), 1);
    client_done(&c);
    fixture_stop(&f);
}

TEST(messages_now_and_then_keep_a_call)
{
    fixture f;
    raw_init(&f);
    only_streams_are_timed(&f);
    fixture_start(&f);
    client_call c = {0};
    client_start(&c, &f, "/rpctest.Echo/Chat", NULL);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    for (unsigned i = 1; i < 10; i++) {
        assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
        flag_wait(&c.messages, i);
        fixture_skip(&f, f.limits.stream_receive_ms / 2);
    }
    rpc_call_half_close(c.call);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_message_that_trickles_in_is_no_progress)
{
    fixture f;
    raw_init(&f);
    only_streams_are_timed(&f);
    fixture_start(&f);
    int fd = raw_dial(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    raw_request(w, 1, "/rpctest.Echo/Upload", "application/grpc", 0);
    static const uint8_t prefix[5] = {0, 0, 1, 0, 0};
    raw_frame(w, sizeof prefix, 0, 0, 1, prefix);
    raw_send(fd, w);
    w->size = 0;
    flag_wait(&f.started, 1);
    do { /* a byte a minute */
        raw_frame(w, 1, 0, 0, 1, "x");
        raw_send(fd, w);
        w->size = 0;
        fixture_skip(&f, 60000);
    } while (!flag_wait_for(&f.limits_hit[RPC_LIMIT_STREAM_RECEIVE], 1, 50));
    assert_true(await_frame(fd, 1, 1, NULL, 0)); /* trailers with the status */
    raw_still_serves(&f);
    close(fd);
    free(w);
    fixture_stop(&f);
}

TEST(a_method_may_wait_for_ever_for_its_peer)
{
    fixture f;
    raw_init(&f);
    f.chat_options.stream_receive_ms = RPC_NO_TIMEOUT;
    only_streams_are_timed(&f);
    fixture_start(&f);
    client_call c = {0};
    client_start(&c, &f, "/rpctest.Echo/Chat", NULL);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    for (unsigned i = 1; i < 4; i++) {
        assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
        flag_wait(&c.messages, i);
        fixture_skip(&f, f.limits.stream_receive_ms * 10); /* under an hour */
    }
    rpc_call_half_close(c.call);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_call_whose_answer_is_not_read_is_ended)
{
    fixture f;
    raw_init(&f);
    f.client_limits.stream_window_bytes = 65536;
    only_streams_are_timed(&f);
    fixture_start(&f);
    client_call c = {.hold = true}; /* gives no window back */
    client_start(&c, &f, "/rpctest.Echo/Download", NULL);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    uint8_t data[30000] = {0};
    item.size = 1000;
    item.data = (ProtobufCBinaryData){sizeof data, data};
    assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    rpc_call_half_close(c.call);
    flag_wait(&c.messages, 2);
    fixture_skip_until_limit(&f, RPC_LIMIT_STREAM_SEND, f.limits.stream_send_ms + 1);
    flag_wait(&f.server_ended, 1);
    assert_int_equal(f.server_end, RPC_DEADLINE_EXCEEDED);
    flag_wait(&c.ended, 1);
    assert_int_not_equal(c.status.code, RPC_OK);
    client_release(&c);
    raw_still_serves(&f);
    assert_int_equal(flag_count(&f.events[RPC_EVENT_ACCEPTED]), 1);
    client_done(&c);
    fixture_stop(&f);
}

/* ---- streams and headers -------------------------------------------------------------------- */

static uint8_t answer[1 << 20];

TEST(streams_beyond_streams_max_are_refused_and_the_others_go_on)
{
    fixture f;
    raw_init(&f);
    f.limits.streams_max = 2;
    fixture_start(&f);
    int fd = raw_dial(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    for (uint32_t id = 1; id <= 5; id += 2)
        raw_request(w, id, "/rpctest.Echo/Chat", "application/grpc", 0);
    raw_send(fd, w);
    uint8_t code[4] = {0};
    assert_true(await_frame(fd, 3, 5, code, sizeof code));
    assert_int_equal(code[3], 7); /* REFUSED_STREAM: safe to retry */
    fixture_wait_limit(&f, RPC_LIMIT_STREAMS, 1);
    w->size = 0;
    raw_frame(w, 0, 0, 1, 1, NULL); /* the first still ends as it should */
    raw_send(fd, w);
    assert_true(await_frame(fd, 1, 1, NULL, 0));
    raw_still_serves(&f);
    close(fd);
    free(w);
    fixture_stop(&f);
}

TEST(streams_beyond_streams_max_of_a_peer_that_knows_it_end_the_connection)
{
    fixture f;
    raw_init(&f);
    f.limits.streams_max = 2;
    fixture_start(&f);
    int fd = raw_dial(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    raw_frame(w, 0, 4, 1, 0, NULL); /* our SETTINGS acknowledged */
    for (uint32_t id = 1; id <= 5; id += 2)
        raw_request(w, id, "/rpctest.Echo/Chat", "application/grpc", 0);
    raw_send(fd, w);
    fixture_wait_limit(&f, RPC_LIMIT_STREAMS, 1);
    raw_await_end(fd);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    raw_still_serves(&f);
    free(w);
    fixture_stop(&f);
}

TEST(more_headers_than_header_count_max_are_refused)
{
    fixture f;
    fixture_init(&f);
    f.limits.header_count_max = 20;
    fixture_start(&f);
    rpc_metadatum metadata[20];
    for (size_t i = 0; i < 20; i++)
        metadata[i] = (rpc_metadatum){.name = "x-many", .value = rpc_bytes_str("1")};
    rpc_call_options options = {.metadata = metadata, .metadata_count = 20};
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, &options, "x", NULL, &status), RPC_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(status.message, "header_count_max"));
    fixture_wait_limit(&f, RPC_LIMIT_HEADER_COUNT, 1);
    assert_int_equal(flag_count(&f.started), 0);
    raw_still_serves(&f);
    fixture_stop(&f);
}

TEST(a_header_list_over_header_list_bytes_max_is_refused_and_the_connection_stays)
{
    fixture f;
    fixture_init(&f);
    f.limits.header_list_bytes_max = 4096;
    fixture_start(&f);
    char *value = calloc(1, 4097);
    memset(value, 'x', 4096);
    rpc_metadatum metadata = {.name = "x-long", .value = rpc_bytes_str(value)};
    rpc_call_options options = {.metadata = &metadata, .metadata_count = 1};
    rpc_status status = {0};
    assert_int_equal(fixture_unary(&f, &options, "x", NULL, &status), RPC_RESOURCE_EXHAUSTED);
    fixture_wait_limit(&f, RPC_LIMIT_HEADER_LIST, 1);
    raw_still_serves(&f);
    assert_int_equal(flag_count(&f.events[RPC_EVENT_ACCEPTED]), 1);
    free(value);
    fixture_stop(&f);
}

TEST(a_header_bomb_ends_the_connection)
{
    fixture f;
    raw_init(&f);
    fixture_start(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    uint8_t block[16384] = {0x40, 1, 'x', 127, 0x81, 30}; /* indexed: a value of 4,096 bytes … */
    size_t size = 6;
    memset(block + size, 'v', 3968 + 128);
    size = 6 + 127 + 0x01 + 30 * 128; /* 127 + (1 + 30 * 128): its length as HPACK has it */
    while (size < sizeof block)
        block[size++] = 0x80 | 62; /* … and again, one byte each */
    raw_frame(w, sizeof block, 1, 4, 1, block);
    (void)raw_converse(&f, w, answer, sizeof answer);
    fixture_wait_limit(&f, RPC_LIMIT_HEADER_LIST, 1);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    raw_still_serves(&f);
    free(w);
    fixture_stop(&f);
}

TEST(more_continuations_than_continuations_max_end_the_connection)
{
    fixture f;
    raw_init(&f);
    f.limits.continuations_max = 4;
    fixture_start(&f);
    raw_bytes *w = calloc(1, sizeof *w);
    static const uint8_t block[] = {0, 1, 'x', 1, 'y'};
    const size_t size = sizeof block;
    raw_preface(w);
    raw_frame(w, size, 1, 0, 1, block);
    for (unsigned i = 0; i < 6; i++)
        raw_frame(w, size, 9, 0, 1, block);
    (void)raw_converse(&f, w, answer, sizeof answer);
    fixture_wait_limit(&f, RPC_LIMIT_CONTINUATIONS, 1);
    flag_wait(&f.events[RPC_EVENT_CLOSED], 1);
    raw_still_serves(&f);
    free(w);
    fixture_stop(&f);
}

/* ---- the table ------------------------------------------------------------------------------ */

TEST(a_limit_out_of_its_range_is_refused_by_name)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_server *server;
    rpc_status status = {0};
    rpc_server_options options = {.limits = rpc_limits_default()};
    options.limits.header_count_max = 0;
    assert_int_equal(rpc_server_new(f.runtime, &options, &server, &status), RPC_INVALID_ARGUMENT);
    assert_string_equal(status.message,
        "limits: header_count_max is 0; give 8..65536, starting from rpc_limits_default()");
    options.limits = rpc_limits_default();
    options.limits.frame_bytes_max = 16777216;
    assert_int_equal(rpc_server_new(f.runtime, &options, &server, &status), RPC_INVALID_ARGUMENT);
    assert_string_equal(status.message, "limits: frame_bytes_max is 16777216; give 16384..16777215 "
                                        "bytes, starting from rpc_limits_default()");
    options.limits = rpc_limits_default();
    options.limits.stream_receive_ms = 0;
    assert_int_equal(rpc_server_new(f.runtime, &options, &server, &status), RPC_INVALID_ARGUMENT);
    assert_non_null(strstr(status.message, "stream_receive_ms is 0"));
    fixture_stop(&f);
}

TEST(the_table_in_the_manual_names_every_limit)
{
    static char text[64 << 10];
    FILE *file = fopen(DACM_SOURCE_DIR "/docs/librpc/limits.md", "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    for (int kind = RPC_LIMIT_NONE + 1; kind < RPC_LIMIT_KINDS; kind++) {
        char cell[64];
        snprintf(cell, sizeof cell, "`%s`", rpc_limit_name((rpc_limit_kind)kind));
        if (!strstr(text, cell))
            fail_msg("docs/librpc/limits.md does not name %s", cell);
    }
}
