/* SPDX-License-Identifier: Apache-2.0 */
/* dacm_download() against a DACM that lies, errs or breaks off. Whatever it does: no byte that
 * was not signed reaches the caller, and a file that was there stays as it was. */
#include "download.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- an honest server
 * ---------------------------------------------------------------------------- */

static void downloads_whole(const uint32_t *sizes, uint32_t count)
{
    fake_dacm f;
    fake_start(&f, sizes, count);
    dacm_client *client = fake_client(&f, 1);
    dacm_download_result result;
    dacm_error error;
    dacm_download_options options = to_file(&f);
    if (dacm_download(client, &options, &result, &error) != DACM_OK)
        fail_msg("%s", error.message);
    whole(&f, &result);
    assert_int_equal(result.received_bytes, f.object.size);
    assert_int_equal(result.resumed, 0);
    struct stat found;
    assert_int_equal(stat(f.file, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    seen s = seen_new(&f.object);
    options = to_sink(&s);
    if (dacm_download(client, &options, &result, &error) != DACM_OK)
        fail_msg("%s", error.message);
    assert_int_equal(s.bytes, f.object.size);
    judge_seen(&s, true);
    dacm_client_free(client);
    fake_stop(&f);
}

TEST(download_of_an_honest_server_comes_whole)
{
    downloads_whole(lengths, CHUNKS);
}

TEST(download_of_an_empty_object_is_an_empty_file)
{
    downloads_whole(NULL, 0);
}

TEST(download_of_one_byte_comes_whole)
{
    downloads_whole((const uint32_t[]){1}, 1);
}

TEST(download_of_a_range_gives_the_chunks_that_overlap_it)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    dacm_client *client = fake_client(&f, 1);
    const uint64_t *at = f.object.offsets;
    const struct {
        uint64_t offset, length, first, end;
    } ranges[] = {{0, 1, 0, at[1]}, {at[2], 1, at[2], at[3]}, {at[3] - 1, 2, at[2], at[4]},
        {at[5], 0, at[5], at[8]}, {at[1], at[8], at[1], at[8]}, {at[8], 0, 0, 0}};
    for (size_t i = 0; i < COUNT(ranges); i++) {
        dacm_download_result result;
        dacm_error error;
        seen s = seen_new(&f.object);
        dacm_download_options options = to_sink(&s);
        options.offset = ranges[i].offset;
        options.length = ranges[i].length;
        if (dacm_download(client, &options, &result, &error) != DACM_OK)
            fail_msg("%zu: %s", i, error.message);
        assert_int_equal(s.bytes, ranges[i].end - ranges[i].first);
        for (uint64_t b = ranges[i].first; b < ranges[i].end; b++)
            assert_int_equal(s.got[b], 1);
        judge_seen(&s, true);
    }
    dacm_client_free(client);
    fake_stop(&f);
}

TEST(download_over_several_streams_comes_whole_and_each_byte_once)
{
    enum { BIG = 90 };
    static uint32_t sizes[BIG];
    for (unsigned i = 0; i < BIG; i++)
        sizes[i] = TRUST_CHUNK_MAX - i;
    fake_dacm f;
    fake_start(&f, sizes, BIG);
    dacm_client *client = fake_client(&f, 2);
    for (unsigned streams = 2; streams <= DACM_STREAMS_MAX; streams *= 2) {
        dacm_download_result result;
        dacm_error error;
        seen s = seen_new(&f.object);
        dacm_download_options options = to_sink(&s);
        options.streams = streams;
        unsigned before = fake_calls(&f);
        if (dacm_download(client, &options, &result, &error) != DACM_OK)
            fail_msg("%s", error.message);
        assert_int_equal(s.bytes, f.object.size);
        assert_int_equal(result.received_bytes, f.object.size);
        assert_true(fake_calls(&f) - before >= 3); /* 24 MiB in spans of 8 */
        judge_seen(&s, false);
    }
    dacm_client_free(client);
    fake_stop(&f);
}

/* ---- manifests
 * ------------------------------------------------------------------------------------ */

static void by_another_key(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    trust_manifest manifest = fake_manifest(f);
    answer_signed(f, f->other_signer, &manifest, reply);
}

TEST(download_under_a_key_that_is_not_trusted_is_no_key)
{
    refused(by_another_key, DACM_NO_KEY, "key");
}

TEST(download_under_an_unknown_key_is_marked_where_that_is_allowed)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = by_another_key;
    dacm_client_options how = fake_client_options(&f);
    how.verify = DACM_VERIFY_IF_KEY;
    dacm_client *client;
    dacm_error error;
    dacm_download_result result;
    assert_int_equal(dacm_client_new(&how, &client, &error), DACM_OK);
    dacm_download_options options = to_file(&f);
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_OK);
    assert_false(result.signature_valid);
    assert_string_equal(result.manifest.kid, "");
    file_is(f.file, f.object.content, f.object.size);
    assert_int_not_equal(access(f.state_dir, F_OK), 0); /* an unsigned version teaches nothing */
    dacm_client_free(client);
    fake_stop(&f);
}

static void with_a_broken_signature(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    trust_manifest manifest = fake_manifest(f);
    char *jws = fake_sign(f->signer, &manifest);
    char *last = strrchr(jws, '.') + 1;
    *last = *last == 'A' ? 'B' : 'A';
    answer_under(f, jws, reply);
    free(jws);
}

TEST(download_whose_signature_does_not_hold_is_refused)
{
    refused(with_a_broken_signature, DACM_BAD_SIGNATURE, "signature");
}

static void of_another_asset(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    trust_manifest manifest = fake_manifest(f);
    snprintf(manifest.asset_id, sizeof manifest.asset_id, "avatar-2");
    answer_signed(f, f->signer, &manifest, reply);
}

TEST(download_of_another_asset_is_refused)
{
    refused(of_another_asset, DACM_BAD_SIGNATURE, "avatar-2");
}

static void of_another_issuer(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    trust_manifest manifest = fake_manifest(f);
    snprintf(manifest.issuer, sizeof manifest.issuer, "https://other.example/");
    answer_signed(f, f->signer, &manifest, reply);
}

TEST(download_of_another_issuer_is_refused)
{
    refused(of_another_issuer, DACM_BAD_SIGNATURE, "other.example");
}

static void under_another_typ(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    char *jws = NULL;
    if (trust_jws_sign(f->signer, "at+jwt", rpc_bytes_str("{}"), &jws, NULL) != RPC_OK)
        abort();
    answer_under(f, jws, reply);
    free(jws);
}

TEST(download_whose_manifest_is_of_another_typ_is_refused)
{
    refused(under_another_typ, DACM_BAD_SIGNATURE, "typ");
}

static void with_no_manifest(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    answer_under(f, "", reply);
}

TEST(download_without_a_manifest_is_refused)
{
    refused(with_no_manifest, DACM_BAD_SIGNATURE, "manifest");
}

static void expired(fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    trust_manifest manifest = fake_manifest(f);
    manifest.expires_at = f->wall_ms / 1000 - 1;
    answer_signed(f, f->signer, &manifest, reply);
}

TEST(download_under_an_expired_manifest_is_refused)
{
    refused(expired, DACM_BAD_SIGNATURE, "expired");
}

TEST(download_of_an_older_version_than_was_seen_is_refused)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    dacm_client *client = fake_client(&f, 1);
    dacm_download_options options = to_file(&f);
    dacm_download_result result;
    dacm_error error;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_OK);
    f.object.version = 2;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_BAD_SIGNATURE);
    says(&error, DACM_BAD_SIGNATURE, "version 3");
    dacm_client_free(client);
    client = fake_client(&f, 1); /* another process knows it too */
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_BAD_SIGNATURE);
    options.version = 2; /* asked for by number it is what was asked for */
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_OK);
    options.version = 0;
    f.object.version = 4;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_OK);
    f.object.version = 3;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_BAD_SIGNATURE);
    dacm_client_free(client);
    fake_stop(&f);
}

TEST(download_of_another_version_than_asked_for_is_refused)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    dacm_client *client = fake_client(&f, 1);
    refused_by(&f, client, 2, DACM_BAD_SIGNATURE, "version 3");
    assert_int_equal(f.asked[0].version, 2);
    dacm_client_free(client);
    fake_stop(&f);
}

static void not_modified(fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    trust_manifest manifest = fake_manifest(f);
    char *jws = fake_sign(f->signer, &manifest);
    fake_reply_start(reply, jws, true, 0);
    free(jws);
}

TEST(download_that_is_not_modified_though_nobody_asked_is_refused)
{
    refused(not_modified, DACM_BAD_SIGNATURE, "earlier copy");
}

TEST(download_that_is_not_modified_must_be_of_the_copy_that_is_held)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = not_modified;
    dacm_client *client = fake_client(&f, 1);
    dacm_download_options options = to_file(&f);
    dacm_download_result result;
    dacm_error error;
    write_file(f.file, OLD, strlen(OLD));
    options.have_file = f.file;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_BAD_SIGNATURE);
    assert_true(f.asked[0].if_none_match);
    file_is(f.file, OLD, strlen(OLD));
    assert_int_equal(files_in(f.dir), 1);
    dacm_client_free(client);
    fake_stop(&f);
}

TEST(download_with_the_current_copy_moves_nothing)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    dacm_client *client = fake_client(&f, 1);
    dacm_download_options options = to_file(&f);
    dacm_download_result result;
    dacm_error error;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_OK);
    f.download = not_modified;
    options.have_file = f.file;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_OK);
    assert_true(result.not_modified);
    assert_int_equal(result.received_bytes, 0);
    assert_int_equal(result.reused_bytes, f.object.size);
    whole(&f, &result);
    dacm_client_free(client);
    fake_stop(&f);
}

TEST(download_takes_from_an_earlier_copy_what_is_right_in_it)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    dacm_client *client = fake_client(&f, 1);
    dacm_download_options options = to_file(&f);
    dacm_download_result result;
    dacm_error error;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_OK);
    uint8_t *damaged = malloc(f.object.size);
    memcpy(damaged, f.object.content, f.object.size);
    damaged[f.object.offsets[3] + 17] ^= 4;
    write_file(f.file, damaged, f.object.size);
    free(damaged);
    options.have_file = f.file;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_OK);
    assert_int_equal(result.received_bytes, lengths[3]);
    assert_int_equal(result.reused_bytes, f.object.size - lengths[3]);
    assert_false(result.not_modified);
    whole(&f, &result);
    dacm_client_free(client);
    fake_stop(&f);
}

/* ---- cancelling
 * ----------------------------------------------------------------------------------- */

typedef struct counted {
    unsigned calls, stop_at;
    uint64_t done, total;
    bool fell;
} counted;

static bool count_progress(void *ctx, const dacm_progress *progress)
{
    counted *c = ctx;
    c->fell |= progress->done < c->done || (c->total && progress->total != c->total);
    c->done = progress->done;
    c->total = progress->total;
    return ++c->calls != c->stop_at;
}

static void hanging(fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, 4);
    reply->hangs = true;
}

TEST(download_is_cancelled_by_progress_and_leaves_the_file_as_it_was)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = hanging;
    dacm_client *client = fake_client(&f, 3);
    counted c = {.stop_at = 4};
    dacm_download_options options = to_file(&f);
    options.progress = count_progress;
    options.progress_ctx = &c;
    dacm_download_result result;
    dacm_error error;
    write_file(f.file, OLD, strlen(OLD));
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_CANCELLED);
    assert_int_equal(c.calls, 4);
    assert_int_equal(c.done, f.object.offsets[4]);
    file_is(f.file, OLD, strlen(OLD));
    assert_int_equal(files_in(f.dir), 1);
    dacm_client_free(client);
    fake_stop(&f);
}

TEST(download_is_cancelled_by_the_sink)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = hanging;
    dacm_client *client = fake_client(&f, 3);
    seen s = seen_new(&f.object);
    s.stop_at = 2;
    dacm_download_options options = to_sink(&s);
    dacm_download_result result;
    dacm_error error;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_CANCELLED);
    assert_int_equal(s.calls, 2);
    judge_seen(&s, true);
    assert_int_equal(fake_calls(&f), 1);
    dacm_client_free(client);
    fake_stop(&f);
}

TEST(download_tells_its_progress_up_to_the_end)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    dacm_client *client = fake_client(&f, 1);
    counted c = {.stop_at = 0};
    dacm_download_options options = to_file(&f);
    options.progress = count_progress;
    options.progress_ctx = &c;
    dacm_download_result result;
    dacm_error error;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_OK);
    assert_false(c.fell);
    assert_int_equal(c.calls, CHUNKS);
    assert_int_equal(c.done, f.object.size);
    assert_int_equal(c.total, f.object.size);
    dacm_client_free(client);
    fake_stop(&f);
}

/* ---- options
 * -------------------------------------------------------------------------------------- */

TEST(download_with_options_that_contradict_each_other_sends_nothing)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    dacm_client *client = fake_client(&f, 1);
    seen s = seen_new(&f.object);
    dacm_download_options bad[9];
    for (size_t i = 0; i < COUNT(bad); i++)
        bad[i] = to_file(&f);
    bad[0].file = NULL;
    bad[1].sink = take;
    bad[2].offset = 1;
    bad[3].length = 1;
    bad[4].streams = DACM_STREAMS_MAX + 1;
    bad[5].asset_id = "a/b";
    bad[6].user = "4915110000001";
    bad[7] = to_sink(&s);
    bad[7].have_file = f.file;
    bad[8].asset_id = "";
    for (size_t i = 0; i < COUNT(bad); i++) {
        dacm_download_result result;
        dacm_error error;
        if (dacm_download(client, &bad[i], &result, &error) != DACM_INVALID_ARGUMENT)
            fail_msg("number %zu was taken", i);
    }
    assert_int_equal(fake_calls(&f), 0);
    judge_seen(&s, true);
    dacm_client_free(client);
    fake_stop(&f);
}
