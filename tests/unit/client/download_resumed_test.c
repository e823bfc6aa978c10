/* SPDX-License-Identifier: Apache-2.0 */
/* dacm_download() that goes on after a broken connection or an interrupted call. */
#include "download.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- broken connections
 * --------------------------------------------------------------------------- */

TEST(download_goes_on_at_the_next_chunk_wherever_the_connection_broke)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    uint64_t most = f.object.size + 2000;
    for (uint64_t after = 100; after < most; after += after < 3000 ? 700 : 21001) {
        dacm_client *client = fake_client(&f, 3);
        dacm_download_result result;
        dacm_error error;
        seen s = seen_new(&f.object);
        dacm_download_options options = to_sink(&s);
        fake_cut(&f, after, 1);
        if (dacm_download(client, &options, &result, &error) != DACM_OK)
            fail_msg("cut after %llu: %s", (unsigned long long)after, error.message);
        assert_int_equal(s.bytes, f.object.size);
        assert_int_equal(result.received_bytes, f.object.size); /* nothing verified came again */
        judge_seen(&s, true);
        dacm_client_free(client);
    }
    fake_stop(&f);
}

/* Ends the first call after `number` chunks as a connection that broke would. */
static unsigned chunks_first;

static void breaking_once(fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    if (number > 0) {
        fake_honest(f, number, asked, reply);
        return;
    }
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, chunks_first);
    fake_reply_end(reply, RPC_UNAVAILABLE, "gone");
}

TEST(download_that_is_resumed_asks_for_the_same_version_and_what_is_missing)
{
    for (chunks_first = 0; chunks_first < CHUNKS; chunks_first++) {
        fake_dacm f;
        fake_start(&f, lengths, CHUNKS);
        f.download = breaking_once;
        dacm_client *client = fake_client(&f, 2);
        dacm_download_options options = to_file(&f);
        dacm_download_result result;
        dacm_error error;
        if (dacm_download(client, &options, &result, &error) != DACM_OK)
            fail_msg("%s", error.message);
        assert_int_equal(result.resumed, 1);
        assert_int_equal(result.received_bytes, f.object.size);
        assert_int_equal(fake_calls(&f), 2);
        assert_int_equal(f.asked[0].version, 0);
        assert_int_equal(f.asked[1].version, f.object.version);
        assert_int_equal(f.asked[1].offset, f.object.offsets[chunks_first]);
        whole(&f, &result);
        dacm_client_free(client);
        fake_stop(&f);
    }
}

TEST(download_of_an_object_that_repeats_itself_is_resumed)
{
    static const uint32_t same[] = {5000, 5000, 5000, 5000, 5000, 5000};
    fake_dacm f;
    fake_start(&f, same, COUNT(same));
    for (unsigned i = 2; i < COUNT(same); i += 2) { /* every other chunk is the first again */
        memcpy(f.object.content + f.object.offsets[i], f.object.content, 5000);
        memcpy(f.object.entries + i * FAKE_ENTRY_BYTES, f.object.entries, FAKE_ENTRY_BYTES);
    }
    chunks_first = 3;
    f.download = breaking_once;
    dacm_client *client = fake_client(&f, 2);
    dacm_download_options options = to_file(&f);
    dacm_download_result result;
    dacm_error error;
    if (dacm_download(client, &options, &result, &error) != DACM_OK)
        fail_msg("%s", error.message);
    assert_int_equal(result.resumed, 1);
    whole(&f, &result);
    dacm_client_free(client);
    fake_stop(&f);
}

static void breaking_always(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_end(reply, RPC_UNAVAILABLE, "gone");
}

static void breaking_always_after_some(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, chunks_first);
    fake_reply_end(reply, RPC_UNAVAILABLE, "gone");
}

TEST(download_whose_connection_breaks_every_time_is_unavailable_after_its_attempts)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = breaking_always;
    dacm_client *client = fake_client(&f, 3);
    refused_by(&f, client, 0, DACM_UNAVAILABLE, "gone");
    assert_int_equal(fake_calls(&f), 6); /* three each to file and sink */
    dacm_client_free(client);
    fake_stop(&f);
}

static void giving_one_chunk_a_call(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, number, number + 1);
    if (number + 1 < CHUNKS)
        fake_reply_end(reply, RPC_UNAVAILABLE, "gone");
}

TEST(download_that_makes_progress_is_not_given_up)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = giving_one_chunk_a_call;
    dacm_client *client = fake_client(&f, 2); /* one failure in a row is allowed */
    dacm_download_options options = to_file(&f);
    dacm_download_result result;
    dacm_error error;
    if (dacm_download(client, &options, &result, &error) != DACM_OK)
        fail_msg("%s", error.message);
    assert_int_equal(result.resumed, CHUNKS - 1);
    assert_int_equal(result.received_bytes, f.object.size);
    whole(&f, &result);
    dacm_client_free(client);
    fake_stop(&f);
}

static void with_another_object_when_resumed(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)asked;
    trust_manifest manifest = fake_manifest(f);
    if (number % 2)
        manifest.sha256[0] ^= 1;
    char *jws = fake_sign(f->signer, &manifest);
    fake_reply_start(reply, jws, false, f->object.count);
    free(jws);
    fake_reply_list(reply, f->object.entries, (size_t)f->object.count * FAKE_ENTRY_BYTES);
    if (number % 2)
        fake_reply_object(f, reply, 2, CHUNKS);
    else {
        fake_reply_object(f, reply, 0, 2);
        fake_reply_end(reply, RPC_UNAVAILABLE, "gone");
    }
}

TEST(download_that_is_another_object_when_resumed_is_refused)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = with_another_object_when_resumed;
    dacm_client *client = fake_client(&f, 3);
    refused_by(&f, client, 0, DACM_BAD_SIGNATURE, "two different objects");
    dacm_client_free(client);
    fake_stop(&f);
}

static void with_the_next_version_when_resumed(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)asked;
    trust_manifest manifest = fake_manifest(f);
    manifest.version += number % 2;
    answer_signed(f, f->signer, &manifest, reply);
    if (number % 2)
        return;
    while (reply->count > 4) /* start, list, two chunks */
        free(reply->messages[--reply->count].data);
    fake_reply_end(reply, RPC_UNAVAILABLE, "gone");
}

TEST(download_that_is_of_another_version_when_resumed_is_refused)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = with_the_next_version_when_resumed;
    dacm_client *client = fake_client(&f, 3);
    refused_by(&f, client, 0, DACM_BAD_SIGNATURE, "version 4");
    dacm_client_free(client);
    fake_stop(&f);
}

TEST(download_without_a_server_is_unavailable)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    dacm_client_options how = fake_client_options(&f);
    how.target = "ipc:///nonexistent/dacm.sock";
    dacm_client *client;
    dacm_error error;
    assert_int_equal(dacm_client_new(&how, &client, &error), DACM_OK);
    write_file(f.file, OLD, strlen(OLD));
    dacm_download_options options = to_file(&f);
    dacm_download_result result;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_UNAVAILABLE);
    file_is(f.file, OLD, strlen(OLD));
    assert_int_equal(files_in(f.dir), 1);
    dacm_client_free(client);
    fake_stop(&f);
}

/* ---- interrupted, and gone on with by another call
 * ------------------------------------------------------------------------------------------ */

/* With resumable, against a server that breaks off after chunks_first chunks. */
static void interrupted(fake_dacm *f, const char *file)
{
    dacm_client *client = fake_client(f, 1);
    dacm_download_options options = to_file(f);
    dacm_download_result result;
    dacm_error error;
    options.file = file;
    options.resumable = true;
    f->download = breaking_always_after_some;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_UNAVAILABLE);
    f->download = NULL;
    dacm_client_free(client);
}

static void goes_on(fake_dacm *f, uint64_t received)
{
    dacm_client *client = fake_client(f, 1);
    dacm_download_options options = to_file(f);
    dacm_download_result result;
    dacm_error error;
    options.resumable = true;
    if (dacm_download(client, &options, &result, &error) != DACM_OK)
        fail_msg("%s", error.message);
    assert_int_equal(result.received_bytes, received);
    assert_int_equal(result.reused_bytes, f->object.size - received);
    whole(f, &result);
    dacm_client_free(client);
}

TEST(download_goes_on_where_an_earlier_call_was_interrupted)
{
    for (chunks_first = 0; chunks_first <= CHUNKS - 1; chunks_first++) {
        fake_dacm f;
        fake_start(&f, lengths, CHUNKS);
        write_file(f.file, OLD, strlen(OLD));
        interrupted(&f, f.file);
        file_is(f.file, OLD, strlen(OLD));
        goes_on(&f, f.object.size - f.object.offsets[chunks_first]);
        fake_stop(&f);
    }
}

TEST(download_of_an_object_that_repeats_itself_goes_on)
{
    static const uint32_t same[] = {5000, 5000, 5000, 5000, 5000, 5000};
    fake_dacm f;
    fake_start(&f, same, COUNT(same));
    for (unsigned i = 2; i < COUNT(same); i += 2) { /* every other chunk is the first again */
        memcpy(f.object.content + f.object.offsets[i], f.object.content, 5000);
        memcpy(f.object.entries + i * FAKE_ENTRY_BYTES, f.object.entries, FAKE_ENTRY_BYTES);
    }
    chunks_first = 2;
    interrupted(&f, f.file);
    goes_on(&f, 2 * 5000); /* 3 and 5; 2 and 4 are 0 again */
    fake_stop(&f);
}

TEST(download_goes_on_with_what_is_right_in_a_damaged_part)
{
    char path[600];
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    chunks_first = 5;
    interrupted(&f, f.file);
    snprintf(path, sizeof path, "%s.part", f.file);
    FILE *part = fopen(path, "r+");
    assert_non_null(part);
    assert_int_equal(fseek(part, (long)f.object.offsets[2] + 7, SEEK_SET), 0);
    assert_int_not_equal(fputc(f.object.content[f.object.offsets[2] + 7] ^ 1, part), EOF);
    assert_int_equal(fclose(part), 0);
    goes_on(&f, f.object.size - f.object.offsets[5] + lengths[2]);
    fake_stop(&f);
}

TEST(download_of_a_newer_version_takes_what_it_shares_with_an_interrupted_one)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    chunks_first = 4;
    interrupted(&f, f.file);
    f.object.version++;
    f.object.content[1] ^= 1; /* the first chunk is another one */
    const rpc_bytes first = rpc_bytes_of(f.object.content, lengths[0]);
    uint8_t digest[32];
    assert_int_equal(EVP_Digest(first.data, first.size, digest, NULL, EVP_sha256(), NULL), 1);
    memcpy(f.object.entries + 4, digest, sizeof digest);
    goes_on(&f, f.object.size - f.object.offsets[4] + lengths[0]);
    fake_stop(&f);
}

TEST(download_that_is_refused_leaves_no_part_of_an_interrupted_one)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    chunks_first = 4;
    interrupted(&f, f.file);
    assert_int_equal(files_in(f.dir), 2); /* file.part and its list */
    f.download = with_a_bit_of_the_list_flipped;
    dacm_client *client = fake_client(&f, 1);
    dacm_download_options options = to_file(&f);
    dacm_download_result result;
    dacm_error error;
    options.resumable = true;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_BAD_SIGNATURE);
    assert_int_equal(files_in(f.dir), 0);
    dacm_client_free(client);
    fake_stop(&f);
}

TEST(download_writes_through_no_part_that_somebody_else_can_write)
{
    char path[600], other[600];
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    dacm_client *client = fake_client(&f, 1);
    dacm_download_options options = to_file(&f);
    dacm_download_result result;
    dacm_error error;
    options.resumable = true;
    snprintf(path, sizeof path, "%s.part", f.file);
    snprintf(other, sizeof other, "%s.other", f.file);
    write_file(other, OLD, strlen(OLD));
    for (unsigned way = 0; way < 3; way++) {
        if (way == 0)
            assert_int_equal(symlink(other, path), 0);
        else if (way == 1)
            assert_int_equal(link(other, path), 0);
        else
            write_file(path, OLD, strlen(OLD));
        if (way > 0)
            assert_int_equal(chmod(path, way == 1 ? 0600 : 0622), 0);
        assert_int_equal(dacm_download(client, &options, &result, &error), DACM_LOCAL_FILE);
        assert_non_null(strstr(error.message, path));
        file_is(other, OLD, strlen(OLD));
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(fake_calls(&f), 0);
    dacm_client_free(client);
    fake_stop(&f);
}

TEST(download_beside_another_to_the_same_file_uses_a_file_of_its_own)
{
    char path[600];
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    chunks_first = 4;
    interrupted(&f, f.file);
    snprintf(path, sizeof path, "%s.part", f.file);
    const int held = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(held, LOCK_EX | LOCK_NB), 0);
    dacm_client *client = fake_client(&f, 1);
    dacm_download_options options = to_file(&f);
    dacm_download_result result;
    dacm_error error;
    options.resumable = true;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_OK);
    assert_int_equal(result.received_bytes, f.object.size);
    file_is(f.file, f.object.content, f.object.size);
    assert_int_equal(files_in(f.dir), 5); /* the other's part and list are as they were */
    close(held);
    dacm_client_free(client);
    fake_stop(&f);
}

TEST(download_to_what_is_no_regular_file_is_refused_before_it_begins)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    dacm_client *client = fake_client(&f, 1);
    dacm_download_options options = to_file(&f);
    dacm_download_result result;
    dacm_error error;
    options.file = f.dir;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_LOCAL_FILE);
    says(&error, DACM_LOCAL_FILE, "is a folder");
    options.file = "/dev/null";
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_LOCAL_FILE);
    says(&error, DACM_LOCAL_FILE, "not a regular file");
    assert_int_equal(fake_calls(&f), 0);
    dacm_client_free(client);
    fake_stop(&f);
}
