/* SPDX-License-Identifier: Apache-2.0 */
/* dacm_upload() against a DACM that refuses, breaks off or answers nonsense. */
#include "fake_dacm.h"

#include <stdlib.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define SIZE         700001u /* three pieces */

typedef struct upload_fixture {
    fake_dacm dacm;
    dacm_client *client;
    uint8_t *content, sha256[32];
    dacm_upload_options options;
    dacm_upload_result result;
    dacm_error error;
} upload_fixture;

static void start(upload_fixture *u, fake_upload_fn *answer, unsigned attempts)
{
    *u = (upload_fixture){.content = malloc(SIZE)};
    fake_start(&u->dacm, NULL, 0);
    u->dacm.upload = answer;
    u->client = fake_client(&u->dacm, attempts);
    for (uint32_t i = 0; i < SIZE; i++)
        u->content[i] = (uint8_t)(i * 2654435761u >> 17);
    trust_sha256(rpc_bytes_of(u->content, SIZE), u->sha256);
    u->options = (dacm_upload_options){.user = FAKE_USER,
        .content = rpc_bytes_of(u->content, SIZE),
        .media_type = "model/gltf-binary"};
}

static void stop(upload_fixture *u)
{
    dacm_client_free(u->client);
    fake_stop(&u->dacm);
    free(u->content);
}

static dacm_code upload(upload_fixture *u)
{
    return dacm_upload(u->client, &u->options, &u->result, &u->error);
}

static void uploaded(upload_fixture *u)
{
    if (upload(u) != DACM_OK)
        fail_msg("%s: %s", dacm_code_name(u->error.code), u->error.message);
    assert_string_equal(u->result.asset_id, FAKE_ASSET);
    assert_int_equal(u->result.version, 7);
}

static void fails(upload_fixture *u, dacm_code code, const char *word)
{
    dacm_upload_result before;
    memset(&u->result, 0x5a, sizeof u->result);
    memcpy(&before, &u->result, sizeof before);
    assert_int_equal(upload(u), code);
    if (u->error.code != code || !strstr(u->error.message, word))
        fail_msg("%s '%s', expected '%s'", dacm_code_name(u->error.code), u->error.message, word);
    assert_memory_equal(&u->result, &before, sizeof before);
}

/* What a call of that number said. */
static const fake_uploaded *said(upload_fixture *u, unsigned number)
{
    assert_true(number < fake_calls(&u->dacm)); /* and its lock makes what was written ours */
    return &u->dacm.uploaded[number];
}

/* What the call of that number brought is the whole content. */
static void arrived(upload_fixture *u, unsigned number)
{
    const fake_uploaded *got = said(u, number);
    assert_true(got->half_closed);
    assert_int_equal(got->size, SIZE);
    assert_int_equal(got->got, SIZE);
    assert_memory_equal(got->sha256, u->sha256, 32);
    assert_memory_equal(got->got_sha256, u->sha256, 32);
}

static void taking(fake_dacm *f, unsigned number, fake_reply *reply)
{
    (void)f, (void)number;
    fake_reply_uploaded(reply, FAKE_ASSET, 7);
}

/* ---- what is sent
 * -------------------------------------------------------------------------------- */

TEST(upload_brings_the_whole_content_and_its_digest_first)
{
    upload_fixture u;
    start(&u, taking, 1);
    const dacm_acl_entry allow = {"extid-ann@example.com", 1u << DACM_OPERATION_UPDATE};
    u.options.allow = &allow;
    u.options.allow_count = 1;
    uploaded(&u);
    arrived(&u, 0);
    const fake_uploaded *got = said(&u, 0);
    assert_string_equal(got->media_type, "model/gltf-binary");
    assert_string_equal(got->asset_id, "");
    assert_string_equal(got->allowed, "extid-ann@example.com");
    assert_int_equal(got->allowed_operation, DACM__V1__OPERATION__OPERATION_UPDATE);
    assert_int_equal(strlen(got->upload_id), 32); /* drawn */
    uploaded(&u);
    assert_string_not_equal(said(&u, 1)->upload_id, got->upload_id);
    stop(&u);
}

TEST(upload_of_a_version_names_the_asset_and_the_version_before)
{
    upload_fixture u;
    start(&u, taking, 1);
    u.options.asset_id = FAKE_ASSET;
    u.options.if_match = 6;
    u.options.upload_id = "mine-1";
    uploaded(&u);
    arrived(&u, 0);
    assert_string_equal(said(&u, 0)->asset_id, FAKE_ASSET);
    assert_int_equal(said(&u, 0)->if_match, 6);
    assert_string_equal(said(&u, 0)->upload_id, "mine-1");
    stop(&u);
}

TEST(upload_from_a_file_is_that_from_memory)
{
    upload_fixture u;
    start(&u, taking, 1);
    FILE *file = fopen(u.dacm.file, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(u.content, 1, SIZE, file), SIZE);
    assert_int_equal(fclose(file), 0);
    u.options.content = (rpc_bytes){NULL, 0};
    u.options.file = u.dacm.file;
    uploaded(&u);
    arrived(&u, 0);
    stop(&u);
}

TEST(upload_of_nothing_is_an_upload_too)
{
    upload_fixture u;
    start(&u, taking, 1);
    u.options.content = rpc_bytes_of(u.content, 0);
    uploaded(&u);
    const fake_uploaded *got = said(&u, 0);
    uint8_t none[32];
    trust_sha256(rpc_bytes_of(u.content, 0), none);
    assert_true(got->half_closed);
    assert_int_equal(got->size, 0);
    assert_int_equal(got->got, 0);
    assert_memory_equal(got->sha256, none, 32);
    stop(&u);
}

/* ---- broken connections
 * --------------------------------------------------------------------------- */

static void unavailable_twice(fake_dacm *f, unsigned number, fake_reply *reply)
{
    if (number == 2) {
        taking(f, number, reply);
        return;
    }
    reply->messages_first = number + 1; /* after the start; after the first piece */
    fake_reply_end(reply, RPC_UNAVAILABLE, "gone");
}

TEST(upload_whose_connection_breaks_is_repeated_under_the_same_id)
{
    upload_fixture u;
    start(&u, unavailable_twice, 3);
    uploaded(&u);
    assert_int_equal(fake_calls(&u.dacm), 3);
    arrived(&u, 2); /* the whole content, not a rest */
    assert_int_equal(strlen(said(&u, 0)->upload_id), 32);
    assert_string_equal(said(&u, 1)->upload_id, said(&u, 0)->upload_id);
    assert_string_equal(said(&u, 2)->upload_id, said(&u, 0)->upload_id);
    stop(&u);
}

/* The relay breaks the connection once the server has sent so much: that is, after it has said
 * anything at all. */
TEST(upload_is_repeated_when_the_connection_itself_breaks)
{
    upload_fixture u;
    start(&u, taking, 6);
    for (uint64_t after = 1; after < 400; after += 60) {
        unsigned before = fake_calls(&u.dacm);
        dacm_client_free(u.client);
        u.client = fake_client(&u.dacm, 6);
        fake_cut(&u.dacm, after, 1);
        uploaded(&u);
        unsigned calls = fake_calls(&u.dacm);
        assert_true(calls > before);
        arrived(&u, calls - 1);
        for (unsigned i = before + 1; i < calls; i++)
            if (said(&u, i - 1)->upload_id[0]) /* its start had come */
                assert_string_equal(said(&u, i)->upload_id, said(&u, i - 1)->upload_id);
    }
    stop(&u);
}

static void unavailable(fake_dacm *f, unsigned number, fake_reply *reply)
{
    (void)f, (void)number;
    fake_reply_end(reply, RPC_UNAVAILABLE, "gone");
}

TEST(upload_whose_connection_breaks_every_time_is_unavailable_after_its_attempts)
{
    upload_fixture u;
    start(&u, unavailable, 3);
    fails(&u, DACM_UNAVAILABLE, "gone");
    assert_int_equal(fake_calls(&u.dacm), 3);
    stop(&u);
}

/* ---- refusals
 * -------------------------------------------------------------------------------------- */

static rpc_code code_of_refusal;
static unsigned messages_first;

static void refusing(fake_dacm *f, unsigned number, fake_reply *reply)
{
    (void)f, (void)number;
    reply->messages_first = messages_first;
    fake_reply_end(reply, code_of_refusal, "because");
}

TEST(upload_that_is_refused_says_so_whenever_it_is_and_is_not_tried_again)
{
    static const rpc_code codes[] = {RPC_PERMISSION_DENIED, RPC_UNAUTHENTICATED,
        RPC_INVALID_ARGUMENT, RPC_RESOURCE_EXHAUSTED, RPC_FAILED_PRECONDITION, RPC_ABORTED,
        RPC_ALREADY_EXISTS, RPC_DATA_LOSS, RPC_INTERNAL};
    static const unsigned firsts[] = {0, 1, 2, UINT32_MAX};
    upload_fixture u;
    start(&u, refusing, 5);
    for (size_t i = 0; i < COUNT(codes); i++)
        for (size_t j = 0; j < COUNT(firsts); j++) {
            unsigned before = fake_calls(&u.dacm);
            code_of_refusal = codes[i];
            messages_first = firsts[j];
            fails(&u, (dacm_code)codes[i], "because");
            assert_int_equal(fake_calls(&u.dacm), before + 1);
        }
    stop(&u);
}

TEST(upload_that_somebody_else_was_before_is_aborted)
{
    upload_fixture u;
    start(&u, refusing, 5);
    code_of_refusal = RPC_ABORTED;
    messages_first = 1;
    u.options.asset_id = FAKE_ASSET;
    u.options.if_match = 3;
    fails(&u, DACM_ABORTED, "because");
    assert_int_equal(fake_calls(&u.dacm), 1);
    assert_int_equal(said(&u, 0)->if_match, 3);
    stop(&u);
}

static void knowing_it_already(fake_dacm *f, unsigned number, fake_reply *reply)
{
    taking(f, number, reply);
    reply->messages_first = 1;
}

TEST(upload_that_was_made_before_is_answered_at_its_start)
{
    upload_fixture u;
    start(&u, knowing_it_already, 1);
    u.options.upload_id = "mine-1";
    uploaded(&u);
    stop(&u);
}

/* ---- nonsense
 * --------------------------------------------------------------------------------------- */

static const char *answered_id;

static void answering_that_id(fake_dacm *f, unsigned number, fake_reply *reply)
{
    (void)f, (void)number;
    fake_reply_uploaded(reply, answered_id, 7);
}

TEST(upload_whose_answer_names_no_asset_is_an_error)
{
    static char too_long[130];
    memset(too_long, 'a', sizeof too_long - 1);
    const char *const ids[] = {"", "../../etc/passwd", "a\x1b[2J", "a b", too_long};
    upload_fixture u;
    start(&u, answering_that_id, 3);
    for (size_t i = 0; i < COUNT(ids); i++) {
        answered_id = ids[i];
        fails(&u, DACM_INTERNAL, "names no asset");
    }
    stop(&u);
}

static void ending_without_an_answer(fake_dacm *f, unsigned number, fake_reply *reply)
{
    (void)f, (void)number, (void)reply;
}

TEST(upload_without_an_answer_is_an_error)
{
    upload_fixture u;
    start(&u, ending_without_an_answer, 3);
    fails(&u, DACM_INTERNAL, "no answer");
    assert_int_equal(fake_calls(&u.dacm), 1);
    stop(&u);
}

static void answering_no_message(fake_dacm *f, unsigned number, fake_reply *reply)
{
    (void)f, (void)number;
    fake_reply_raw(reply, "\x0a\xff\x01", 3);
}

TEST(upload_whose_answer_is_no_message_is_an_error)
{
    upload_fixture u;
    start(&u, answering_no_message, 3);
    fails(&u, DACM_INTERNAL, "malformed");
    stop(&u);
}

static void answering_and_failing(fake_dacm *f, unsigned number, fake_reply *reply)
{
    taking(f, number, reply);
    fake_reply_end(reply, RPC_DATA_LOSS, "because");
}

TEST(upload_with_an_answer_and_an_error_has_failed)
{
    upload_fixture u;
    start(&u, answering_and_failing, 3);
    fails(&u, DACM_DATA_LOSS, "because");
    stop(&u);
}

/* ---- cancelling, files and options
 * -------------------------------------------------------------------- */

typedef struct counted {
    unsigned calls, stop_at;
    uint64_t done, total;
} counted;

static bool count_progress(void *ctx, const dacm_progress *progress)
{
    counted *c = ctx;
    c->done = progress->done;
    c->total = progress->total;
    return ++c->calls != c->stop_at;
}

TEST(upload_tells_its_progress_and_is_cancelled_by_it)
{
    upload_fixture u;
    start(&u, taking, 3);
    counted c = {.stop_at = 0};
    u.options.progress = count_progress;
    u.options.progress_ctx = &c;
    uploaded(&u);
    assert_int_equal(c.calls, 3);
    assert_int_equal(c.done, SIZE);
    assert_int_equal(c.total, SIZE);
    c = (counted){.stop_at = 2};
    fails(&u, DACM_CANCELLED, "cancelled");
    assert_int_equal(c.calls, 2);
    for (unsigned i = 1; i < fake_calls(&u.dacm); i++) /* it may not even have got there */
        assert_false(said(&u, i)->half_closed);        /* nothing that could be taken for whole */
    stop(&u);
}

static bool make_shorter(void *ctx, const dacm_progress *progress)
{
    const upload_fixture *u = ctx;
    (void)progress;
    return truncate(u->dacm.file, 1000) == 0;
}

TEST(upload_of_a_file_that_becomes_shorter_fails)
{
    upload_fixture u;
    start(&u, taking, 3);
    FILE *file = fopen(u.dacm.file, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(u.content, 1, SIZE, file), SIZE);
    assert_int_equal(fclose(file), 0);
    u.options.content = (rpc_bytes){NULL, 0};
    u.options.file = u.dacm.file;
    u.options.progress = make_shorter;
    u.options.progress_ctx = &u;
    fails(&u, DACM_LOCAL_FILE, "shorter");
    for (unsigned i = 0; i < fake_calls(&u.dacm); i++)
        assert_false(said(&u, i)->half_closed);
    stop(&u);
}

TEST(upload_of_what_is_no_file_sends_nothing)
{
    upload_fixture u;
    start(&u, taking, 3);
    u.options.content = (rpc_bytes){NULL, 0};
    u.options.file = "/nonexistent/avatar.glb";
    fails(&u, DACM_LOCAL_FILE, "cannot open");
    u.options.file = u.dacm.dir;
    fails(&u, DACM_LOCAL_FILE, "regular file");
    assert_int_equal(fake_calls(&u.dacm), 0);
    stop(&u);
}

TEST(upload_with_options_that_contradict_each_other_sends_nothing)
{
    upload_fixture u;
    start(&u, taking, 3);
    const dacm_acl_entry allow = {FAKE_USER, 0}, external = {"ann@example.com", 0},
                         number = {FAKE_USER, 1u << 7};
    dacm_upload_options good = u.options, bad[9];
    for (size_t i = 0; i < COUNT(bad); i++)
        bad[i] = good;
    bad[0].content = (rpc_bytes){NULL, 0};
    bad[1].file = u.dacm.file;
    bad[2].media_type = NULL;
    bad[3].media_type = "";
    bad[4].user = "4915110000001";
    bad[5].asset_id = "a/b";
    bad[6].asset_id = FAKE_ASSET;
    bad[6].allow = &allow;
    bad[6].allow_count = 1;
    bad[7].allow = &external;
    bad[7].allow_count = 1;
    bad[8].allow = &number;
    bad[8].allow_count = 1;
    for (size_t i = 0; i < COUNT(bad); i++) {
        u.options = bad[i];
        fails(&u, DACM_INVALID_ARGUMENT, "");
    }
    assert_int_equal(fake_calls(&u.dacm), 0);
    stop(&u);
}
