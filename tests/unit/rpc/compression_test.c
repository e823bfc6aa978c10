/* SPDX-License-Identifier: Apache-2.0 */
#include "compression.h"
#include "raw.h"

#define UNARY "/rpctest.Echo/Unary"
#define CHAT  "/rpctest.Echo/Chat"

/* ---- zlib within bounds -----------------------------------------------------------------------
 */

static size_t deflated(rpc_encoding encoding, rpc_bytes plain, uint8_t *ret_data, size_t room)
{
    size_t size = 0;
    assert_true(rpc__deflate(encoding, plain, ret_data, room, &size));
    return size;
}

/* As gzip, whose size ret_data has room for. */
static size_t gzip_zeros(size_t count, uint8_t *ret_data, size_t room)
{
    uint8_t *zeros = calloc(1, count);
    size_t size = deflated(RPC_ENCODING_GZIP, rpc_bytes_of(zeros, count), ret_data, room);
    free(zeros);
    return size;
}

static void round_trip(rpc_encoding encoding, size_t size)
{
    uint8_t *plain = malloc(size), *packed = malloc(size + 64), *back = malloc(size + 1);
    for (size_t i = 0; i < size; i++)
        plain[i] = (uint8_t)(i / 7);
    size_t packed_size = deflated(encoding, rpc_bytes_of(plain, size), packed, size + 64);
    z_stream zlib;
    assert_int_equal(
        rpc__inflate_begin(&zlib, encoding, rpc_bytes_of(packed, packed_size)), RPC__INFLATE_FULL);
    size_t have = 0;
    rpc__inflated result = RPC__INFLATE_FULL;
    while (result == RPC__INFLATE_FULL) {
        size_t made = 0, room = size + 1 - have < 100 ? size + 1 - have : 100;
        result = rpc__inflate_step(&zlib, back + have, room, &made);
        have += made;
    }
    rpc__inflate_done(&zlib);
    assert_int_equal(result, RPC__INFLATE_DONE);
    assert_int_equal(have, size);
    assert_memory_equal(back, plain, size);
    free(plain);
    free(packed);
    free(back);
}

TEST(every_size_comes_back_from_either_encoding)
{
    static const size_t sizes[] = {1, 2, 99, 100, 101, 511, 512, 513, 40000, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        round_trip(RPC_ENCODING_GZIP, sizes[i]);
        round_trip(RPC_ENCODING_DEFLATE, sizes[i]);
    }
}

TEST(accepted_encodings_are_read_leniently_and_written_in_one_way)
{
    static const unsigned identity = RPC_ACCEPT(RPC_ENCODING_IDENTITY);
    static const unsigned gzip = RPC_ACCEPT(RPC_ENCODING_GZIP);
    static const unsigned deflate = RPC_ACCEPT(RPC_ENCODING_DEFLATE);
    assert_int_equal(rpc__accept_parse(rpc_bytes_str("")), identity);
    assert_int_equal(rpc__accept_parse(rpc_bytes_str("gzip")), identity | gzip);
    assert_int_equal(
        rpc__accept_parse(rpc_bytes_str("identity, deflate, gzip")), identity | gzip | deflate);
    assert_int_equal(
        rpc__accept_parse(rpc_bytes_str(",, snappy ,gzipped, deflate ,")), identity | deflate);
    assert_string_equal(rpc__accept_text(rpc__accept_of(0)), "identity,deflate,gzip");
    assert_string_equal(rpc__accept_text(rpc__accept_of(gzip)), "identity,gzip");
    assert_string_equal(rpc__accept_text(rpc__accept_of(deflate)), "identity,deflate");
    assert_string_equal(rpc__accept_text(rpc__accept_of(identity)), "identity");
    assert_int_equal(rpc__encoding_parse(rpc_bytes_str("snappy")), RPC_ENCODING_DEFAULT);
}

/* ---- both ways ---------------------------------------------------------------------------------
 */

static char long_text[5001];

static void make_text(void)
{
    for (size_t i = 0; i + 1 < sizeof long_text; i++)
        long_text[i] = (char)('a' + i % 23);
}

/* A call to Unary with text, as a streaming call so that the answer's flag is seen. */
static void call_unary(client_call *c, fixture *f, const rpc_call_options *options, char *text)
{
    make_text();
    client_start(c, f, UNARY, options);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    item.text = text;
    assert_int_equal(client_send(c, &item), RPC_SENT_OK);
    rpc_call_half_close(c->call);
    flag_wait(&c->ended, 1);
}

static void check_unary(const char *name, rpc_encoding encoding)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    rpc_metadatum metadata = {"x-compress", rpc_bytes_str(name), false};
    rpc_call_options options = {.encoding = encoding, .metadata = &metadata, .metadata_count = 1};
    client_call c = {0};
    call_unary(&c, &f, &options, long_text);
    assert_int_equal(c.status.code, RPC_OK);
    assert_int_equal(f.compression_code, RPC_OK);
    assert_true(f.request_compressed);
    assert_true(c.compressed);
    assert_int_equal(c.bytes, 5003);
    uint64_t received = 0, sent = 0;
    rpc_call_counts(c.call, &received, &sent);
    assert_in_range(received, 20, 200);
    assert_in_range(sent, 20, 200);
    client_done(&c);
    fixture_stop(&f);
}

TEST(unary_calls_are_compressed_with_gzip_both_ways)
{
    check_unary("gzip", RPC_ENCODING_GZIP);
}

TEST(unary_calls_are_compressed_with_deflate_both_ways)
{
    check_unary("deflate", RPC_ENCODING_DEFLATE);
}

TEST(nothing_is_compressed_unless_it_is_asked_for)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    client_call c = {0};
    call_unary(&c, &f, NULL, long_text);
    assert_int_equal(c.status.code, RPC_OK);
    assert_false(f.request_compressed);
    assert_false(c.compressed);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_channel_compresses_all_its_calls_but_those_that_say_identity)
{
    fixture f;
    fixture_init(&f);
    f.client_encoding = RPC_ENCODING_GZIP;
    fixture_start(&f);
    client_call c = {0}, plain = {0};
    rpc_call_options identity = {.encoding = RPC_ENCODING_IDENTITY};
    call_unary(&c, &f, NULL, long_text);
    assert_true(f.request_compressed);
    call_unary(&plain, &f, &identity, long_text);
    assert_int_equal(plain.status.code, RPC_OK);
    assert_false(f.request_compressed);
    client_done(&c);
    client_done(&plain);
    fixture_stop(&f);
}

TEST(what_would_not_get_smaller_goes_as_it_is)
{
    fixture f;
    fixture_init(&f);
    f.client_encoding = RPC_ENCODING_GZIP;
    fixture_start(&f);
    client_call tiny = {0}, random = {0};
    char text[] = "tiny";
    call_unary(&tiny, &f, NULL, text);
    assert_int_equal(tiny.status.code, RPC_OK);
    assert_false(f.request_compressed);
    client_start(&random, &f, CHAT, NULL);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    uint8_t data[3000];
    rpc_random(data, sizeof data);
    item.data = (ProtobufCBinaryData){sizeof data, data};
    assert_int_equal(client_send(&random, &item), RPC_SENT_OK);
    flag_wait(&random.messages, 1);
    assert_false(f.request_compressed);
    rpc_call_half_close(random.call);
    flag_wait(&random.ended, 1);
    client_done(&tiny);
    client_done(&random);
    fixture_stop(&f);
}

TEST(each_message_of_a_stream_may_go_uncompressed)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    make_text();
    rpc_metadatum metadata = {"x-compress", rpc_bytes_str("gzip"), false};
    rpc_call_options options = {
        .encoding = RPC_ENCODING_GZIP, .metadata = &metadata, .metadata_count = 1};
    client_call c = {0};
    client_start(&c, &f, CHAT, &options);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    item.text = long_text;
    for (unsigned i = 1; i <= 20; i++) {
        rpc_call_compress_messages(c.call, i % 3 != 0);
        assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
        flag_wait(&c.messages, i);
        assert_int_equal(f.request_compressed, i % 3 != 0);
        assert_int_equal(c.compressed, i % 3 != 0);
    }
    rpc_call_half_close(c.call);
    flag_wait(&c.ended, 1);
    assert_int_equal(c.status.code, RPC_OK);
    assert_int_equal(c.bytes, 20 * 5003);
    client_done(&c);
    fixture_stop(&f);
}

TEST(a_client_that_accepts_none_is_answered_uncompressed)
{
    fixture f;
    fixture_init(&f);
    f.client_accept_encodings = RPC_ACCEPT(RPC_ENCODING_IDENTITY);
    fixture_start(&f);
    rpc_metadatum metadata = {"x-compress", rpc_bytes_str("gzip"), false};
    rpc_call_options options = {.metadata = &metadata, .metadata_count = 1};
    client_call c = {0};
    call_unary(&c, &f, &options, long_text);
    assert_int_equal(c.status.code, RPC_OK);
    assert_int_equal(f.compression_code, RPC_UNIMPLEMENTED);
    assert_false(c.compressed);
    client_done(&c);
    fixture_stop(&f);
}

TEST(compression_is_set_by_servers_and_before_the_first_message)
{
    fixture f;
    fixture_init(&f);
    fixture_start(&f);
    client_call c = {0};
    client_start(&c, &f, "/rpctest.Echo/Download", NULL);
    assert_int_equal(rpc_call_set_compression(c.call, RPC_ENCODING_GZIP), RPC_FAILED_PRECONDITION);
    Rpctest__Item item = RPCTEST__ITEM__INIT;
    uint8_t data[1000] = {0};
    item.size = 1;
    item.data = (ProtobufCBinaryData){sizeof data, data};
    assert_int_equal(client_send(&c, &item), RPC_SENT_OK);
    flag_wait(&c.messages, 1);
    assert_int_equal(rpc_call_set_compression(f.held, RPC_ENCODING_GZIP), RPC_FAILED_PRECONDITION);
    /* Its body is pulled while it is sent, so it is never compressed. */
    assert_false(c.compressed);
    rpc_call_half_close(c.call);
    flag_wait(&c.ended, 1);
    client_done(&c);
    fixture_stop(&f);
}

/* ---- refused ------------------------------------------------------------------------------------
 */

static uint8_t answer[1 << 20];

/* What a request of these headers and this message is answered with. */
static size_t expect_refusal(fixture *f, const char *encoding, uint8_t compressed,
    const void *message, size_t size, rpc_code code, const char *says)
{
    const char *const headers[] = {"grpc-encoding", encoding, NULL};
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    raw_request_with(w, 1, UNARY, "application/grpc", 0, encoding ? headers : NULL);
    raw_message(w, 1, 1, compressed, message, size);
    size_t answered = raw_call(f, w, answer, sizeof answer);
    char text[512] = "", number[8];
    snprintf(number, sizeof number, "%d", code);
    assert_true(raw_header(answer, answered, "grpc-status", text, sizeof text));
    assert_string_equal(text, number);
    assert_true(raw_header(answer, answered, "grpc-message", text, sizeof text));
    if (!strstr(text, says))
        fail_msg("'%s' does not say '%s'", text, says);
    assert_int_equal(flag_count(&f->started), 0);
    free(w);
    return answered;
}

TEST(an_unknown_encoding_is_unimplemented_and_the_answer_says_what_is_accepted)
{
    fixture f;
    raw_fixture(&f);
    size_t answered = expect_refusal(
        &f, "snappy", 1, "\n\1x", 3, RPC_UNIMPLEMENTED, "identity,deflate,gzip");
    char text[64] = "";
    assert_true(raw_header(answer, answered, "grpc-accept-encoding", text, sizeof text));
    assert_string_equal(text, "identity,deflate,gzip");
    raw_still_serves(&f);
    fixture_stop(&f);
}

TEST(an_encoding_that_the_server_was_told_not_to_accept_is_unimplemented)
{
    fixture f;
    fixture_init(&f);
    f.plain = true;
    f.accept_encodings = RPC_ACCEPT(RPC_ENCODING_IDENTITY);
    fixture_start(&f);
    uint8_t packed[200];
    size_t size = gzip_zeros(100, packed, sizeof packed);
    expect_refusal(&f, "gzip", 1, packed, size, RPC_UNIMPLEMENTED, "accept_encodings");
    expect_refusal(&f, "deflate", 0, "\n\1x", 3, RPC_UNIMPLEMENTED, "identity");
    raw_still_serves(&f);
    fixture_stop(&f);
}

TEST(a_compressed_flag_without_an_encoding_is_internal)
{
    fixture f;
    raw_fixture(&f);
    expect_refusal(&f, NULL, 1, "\n\1x", 3, RPC_INTERNAL, "names no encoding");
    expect_refusal(&f, "identity", 1, "\n\1x", 3, RPC_INTERNAL, "names no encoding");
    expect_refusal(&f, "gzip", 2, "\n\1x", 3, RPC_INTERNAL, "neither 0 nor 1");
    expect_refusal(&f, NULL, 255, "\n\1x", 3, RPC_INTERNAL, "neither 0 nor 1");
    raw_still_serves(&f);
    fixture_stop(&f);
}

/* A packed Item of just size bytes: its data field is zeros. */
static size_t gzip_item(size_t size, uint8_t *ret_data, size_t room)
{
    uint8_t *plain = calloc(1, size);
    size_t left = size - 5;
    plain[0] = 3 << 3 | 2;
    for (size_t i = 1; i < 5; i++, left >>= 7)
        plain[i] = (uint8_t)((left & 0x7F) | (i < 4 ? 0x80 : 0));
    size_t made = deflated(RPC_ENCODING_GZIP, rpc_bytes_of(plain, size), ret_data, room);
    free(plain);
    return made;
}

TEST(what_inflates_beyond_the_limit_on_messages_is_refused_at_the_limit)
{
    static uint8_t packed[100000];
    fixture f;
    raw_fixture(&f);
    size_t max = f.limits.message_receive_bytes_max;
    size_t size = gzip_zeros(32u << 20, packed, sizeof packed);
    expect_refusal(&f, "gzip", 1, packed, size, RPC_RESOURCE_EXHAUSTED,
        "message_receive_bytes_max of 4194304");
    size = gzip_item(max + 1, packed, sizeof packed);
    expect_refusal(
        &f, "gzip", 1, packed, size, RPC_RESOURCE_EXHAUSTED, "message_receive_bytes_max");
    raw_still_serves(&f);
    fixture_stop(&f);
}

TEST(a_message_that_inflates_to_just_the_limit_is_taken)
{
    static uint8_t packed[100000];
    fixture f;
    raw_fixture(&f);
    size_t size = gzip_item(f.limits.message_receive_bytes_max, packed, sizeof packed);
    const char *const headers[] = {"grpc-encoding", "gzip", NULL};
    raw_bytes *w = calloc(1, sizeof *w);
    raw_preface(w);
    raw_request_with(w, 1, "/rpctest.Echo/Upload", "application/grpc", 0, headers);
    raw_message(w, 1, 1, 1, packed, size);
    size_t answered = raw_call(&f, w, answer, sizeof answer);
    char text[64] = "";
    assert_true(raw_header(answer, answered, "grpc-status", text, sizeof text));
    assert_string_equal(text, "0");
    free(w);
    fixture_stop(&f);
}

TEST(what_inflates_beyond_the_memory_of_a_call_is_refused)
{
    static uint8_t packed[100000];
    fixture f;
    fixture_init(&f);
    f.plain = true;
    f.limits.call_memory_bytes_max = 100000;
    fixture_start(&f);
    size_t size = gzip_zeros(200000, packed, sizeof packed);
    expect_refusal(
        &f, "gzip", 1, packed, size, RPC_RESOURCE_EXHAUSTED, "call_memory_bytes_max of 100000");
    fixture_stop(&f);
}

TEST(inflated_bytes_count_among_those_that_wait_on_a_connection)
{
    static uint8_t packed[100000];
    fixture f;
    fixture_init(&f);
    f.plain = true;
    f.limits.connection_request_bytes_max = 1 << 20;
    fixture_start(&f);
    size_t size = gzip_zeros(2u << 20, packed, sizeof packed);
    expect_refusal(
        &f, "gzip", 1, packed, size, RPC_RESOURCE_EXHAUSTED, "connection_request_bytes_max");
    raw_still_serves(&f);
    fixture_stop(&f);
}

TEST(gzip_that_is_cut_changed_or_followed_by_more_is_internal)
{
    fixture f;
    raw_fixture(&f);
    uint8_t item[64] = {1 << 3 | 2, 62}, packed[200];
    memset(item + 2, 'x', 62);
    size_t size = deflated(
        RPC_ENCODING_GZIP, rpc_bytes_of(item, sizeof item), packed, sizeof packed);
    for (size_t cut = 0; cut < size; cut++)
        expect_refusal(&f, "gzip", 1, packed, cut, RPC_INTERNAL, "broken or cut short");
    packed[size] = 0;
    expect_refusal(&f, "gzip", 1, packed, size + 1, RPC_INTERNAL, "broken or cut short");
    packed[size - 6] ^= 1; /* its checksum */
    expect_refusal(&f, "gzip", 1, packed, size, RPC_INTERNAL, "broken or cut short");
    expect_refusal(&f, "deflate", 1, packed, size, RPC_INTERNAL, "broken or cut short");
    raw_still_serves(&f);
    fixture_stop(&f);
}

/* ---- answers ------------------------------------------------------------------------------------
 */

/* How our client takes an answer with this header and message; 4 KiB are its limit. */
static void expect_end(fixture *f, const char *encoding, unsigned accept, const void *message,
    size_t size, rpc_code code, const char *says)
{
    const char *const headers[] = {"grpc-encoding", encoding, NULL};
    raw_bytes *w = calloc(1, sizeof *w);
    raw_answer(w, 1, 0, encoding ? headers : NULL);
    raw_message(w, 1, 0, 1, message, size);
    raw_trailers(w, 1, "0", NULL);
    raw_server s;
    raw_server_start(&s, w);
    rpc_channel_options options = {.target = s.target,
        .allow_plain_text = true,
        .limits = f->client_limits,
        .accept_encodings = accept};
    options.limits.message_receive_bytes_max = 4096;
    rpc_status status = {0};
    assert_int_equal(rpc_channel_new(f->runtime, &options, &f->channel, &status), RPC_OK);
    client_call c = {0};
    client_start(&c, f, CHAT, NULL);
    flag_wait(&c.ended, 1);
    if (!strstr(c.status.message, says))
        fail_msg("'%s' does not say '%s'", c.status.message, says);
    assert_int_equal(c.status.code, code);
    client_done(&c);
    rpc_channel_free(f->channel);
    f->channel = NULL;
    raw_server_stop(&s);
    free(w);
}

TEST(an_answer_that_was_not_to_be_compressed_so_is_internal)
{
    fixture f;
    fixture_init(&f);
    uint8_t packed[200];
    size_t size = gzip_zeros(100, packed, sizeof packed);
    expect_end(&f, NULL, 0, packed, size, RPC_INTERNAL, "names no encoding");
    expect_end(&f, "snappy", 0, packed, size, RPC_INTERNAL, "not among those accepted");
    expect_end(&f, "gzip", RPC_ACCEPT(RPC_ENCODING_DEFLATE), packed, size, RPC_INTERNAL,
        "not among those accepted");
    expect_end(&f, "gzip", 0, packed, size, RPC_OK, "");
    fixture_stop(&f);
}

TEST(an_answer_that_is_a_bomb_or_broken_ends_the_call)
{
    fixture f;
    fixture_init(&f);
    static uint8_t packed[100000];
    (void)gzip_zeros(32u << 20, packed, sizeof packed); /* of which the first 4,000 bytes do */
    expect_end(
        &f, "gzip", 0, packed, 4000, RPC_RESOURCE_EXHAUSTED, "message_receive_bytes_max of 4096");
    size_t size = gzip_zeros(1000, packed, sizeof packed);
    expect_end(&f, "gzip", 0, packed, size - 1, RPC_INTERNAL, "broken or cut short");
    fixture_stop(&f);
}
