/* SPDX-License-Identifier: Apache-2.0 */
/* dacm_download() against a DACM that lies, errs or breaks off. Whatever it does: no byte that
 * was not signed reaches the caller, and a file that was there stays as it was. */
#include "fake_dacm.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define OLD          "the file that was there before\n"
#define COUNT(array) (sizeof(array) / sizeof *(array))

static const uint32_t lengths[] = {3000, 1, 20000, 70000, 5000, 65536, 800, 12345};
enum { CHUNKS = COUNT(lengths) };

/* ---- what the caller sees ----------------------------------------------------------------------
 */

typedef struct seen {
    const fake_object *object;
    uint64_t next, bytes; /* one stream: where the next byte must be */
    uint8_t *got;         /* a flag for each byte */
    bool wrong, out_of_order, twice;
    unsigned calls, stop_at; /* 0 = never */
} seen;

static bool take(void *ctx, uint64_t offset, rpc_bytes data)
{
    seen *s = ctx;
    const fake_object *o = s->object;
    if (data.size == 0 || offset > o->size || data.size > o->size - offset ||
        memcmp(o->content + offset, data.data, data.size) != 0) {
        s->wrong = true;
        return false;
    }
    s->out_of_order |= s->calls > 0 && offset != s->next;
    s->next = offset + data.size;
    for (size_t i = 0; i < data.size; i++) {
        s->twice |= s->got[offset + i] != 0;
        s->got[offset + i] = 1;
    }
    s->bytes += data.size;
    return ++s->calls != s->stop_at;
}

static seen seen_new(const fake_object *object)
{
    return (seen){.object = object, .got = calloc(object->size + 1, 1)};
}

/* Whatever the outcome. */
static void judge_seen(seen *s, bool ordered)
{
    assert_false(s->wrong);
    assert_false(s->twice);
    if (ordered)
        assert_false(s->out_of_order);
    free(s->got);
    s->got = NULL;
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void file_is(const char *path, const void *data, size_t size)
{
    uint8_t *found = malloc(size + 2);
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("'%s' is missing", path);
    assert_int_equal(fread(found, 1, size + 2, file), size);
    if (size)
        assert_memory_equal(found, data, size);
    fclose(file);
    free(found);
}

static unsigned files_in(const char *dir)
{
    unsigned count = 0;
    DIR *folder = opendir(dir);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder));)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

/* ---- ways to ask
 * --------------------------------------------------------------------------------- */

static dacm_download_options to_file(const fake_dacm *f)
{
    return (dacm_download_options){.asset_id = FAKE_ASSET, .user = FAKE_USER, .file = f->file};
}

static dacm_download_options to_sink(seen *s)
{
    return (dacm_download_options){
        .asset_id = FAKE_ASSET, .user = FAKE_USER, .sink = take, .sink_ctx = s};
}

static void says(const dacm_error *error, dacm_code code, const char *word)
{
    if (error->code != code || !strstr(error->message, word))
        fail_msg("%s '%s', expected %s '%s'", dacm_code_name(error->code), error->message,
            dacm_code_name(code), word);
}

/* Fails with that code and word, to a file and to a sink, and leaves nothing behind. */
static void refused_by(
    fake_dacm *f, dacm_client *client, uint64_t version, dacm_code code, const char *word)
{
    dacm_download_result result, before;
    dacm_error error = {.code = DACM_OK};
    memset(&result, 0x5a, sizeof result);
    memcpy(&before, &result, sizeof before);
    write_file(f->file, OLD, strlen(OLD));
    dacm_download_options options = to_file(f);
    options.version = version;
    assert_int_equal(dacm_download(client, &options, &result, &error), code);
    says(&error, code, word);
    file_is(f->file, OLD, strlen(OLD));
    assert_int_equal(files_in(f->dir), 1);
    seen s = seen_new(&f->object);
    options = to_sink(&s);
    options.version = version;
    assert_int_equal(dacm_download(client, &options, &result, &error), code);
    says(&error, code, word);
    assert_true(s.bytes < f->object.size || f->object.size == 0);
    judge_seen(&s, true);
    assert_memory_equal(&result, &before, sizeof result);
}

static void refused(fake_download_fn *download, dacm_code code, const char *word)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = download;
    dacm_client *client = fake_client(&f, 1);
    refused_by(&f, client, 0, code, word);
    dacm_client_free(client);
    fake_stop(&f);
}

static void whole(fake_dacm *f, const dacm_download_result *result)
{
    trust_manifest manifest = fake_manifest(f);
    char *jws = fake_sign(f->signer, &manifest), path[600], line[4096];
    assert_true(result->signature_valid);
    assert_int_equal(result->manifest.version, f->object.version);
    assert_int_equal(result->manifest.size, f->object.size);
    assert_string_equal(result->manifest.issuer, FAKE_ISSUER);
    assert_string_equal(result->manifest.kid, trust_signer_kid(f->signer));
    assert_memory_equal(result->manifest.sha256, manifest.sha256, 32);
    file_is(f->file, f->object.content, f->object.size);
    snprintf(path, sizeof path, "%s.chunks", f->file);
    file_is(path, f->object.entries, (size_t)f->object.count * FAKE_ENTRY_BYTES);
    snprintf(path, sizeof path, "%s.jws", f->file);
    snprintf(line, sizeof line, "%s\n", jws);
    file_is(path, line, strlen(line));
    assert_int_equal(files_in(f->dir), 3);
    free(jws);
}

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

/* The honest answer under a start of our own. */
static void answer_under(fake_dacm *f, const char *jws, fake_reply *reply)
{
    fake_reply_start(reply, jws, false, f->object.count);
    fake_reply_list(reply, f->object.entries, (size_t)f->object.count * FAKE_ENTRY_BYTES);
    fake_reply_object(f, reply, 0, f->object.count);
}

static void answer_signed(
    fake_dacm *f, const trust_signer *signer, const trust_manifest *manifest, fake_reply *reply)
{
    char *jws = fake_sign(signer, manifest);
    answer_under(f, jws, reply);
    free(jws);
}

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

/* ---- lists
 * ---------------------------------------------------------------------------------------- */

static void with_a_bit_of_the_list_flipped(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    size_t size = (size_t)f->object.count * FAKE_ENTRY_BYTES;
    uint8_t *entries = malloc(size);
    memcpy(entries, f->object.entries, size);
    entries[FAKE_ENTRY_BYTES + 20] ^= 1;
    fake_reply_manifest(f, reply);
    fake_reply_list(reply, entries, size);
    fake_reply_object(f, reply, 0, f->object.count);
    free(entries);
}

TEST(download_whose_list_is_not_the_one_signed_is_refused)
{
    refused(with_a_bit_of_the_list_flipped, DACM_BAD_SIGNATURE, "list");
}

static void with_a_list_too_long(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    size_t size = (size_t)f->object.count * FAKE_ENTRY_BYTES;
    uint8_t *entries = calloc(size + FAKE_ENTRY_BYTES, 1);
    memcpy(entries, f->object.entries, size);
    fake_reply_manifest(f, reply);
    fake_reply_list(reply, entries, size + FAKE_ENTRY_BYTES);
    free(entries);
}

TEST(download_whose_list_is_longer_than_said_is_refused)
{
    refused(with_a_list_too_long, DACM_BAD_SIGNATURE, "list");
}

static void with_the_list_twice(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    fake_reply_manifest(f, reply);
    for (int i = 0; i < 2; i++)
        fake_reply_list(reply, f->object.entries, (size_t)f->object.count * FAKE_ENTRY_BYTES);
    fake_reply_object(f, reply, 0, f->object.count);
}

TEST(download_whose_list_comes_twice_is_refused)
{
    refused(with_the_list_twice, DACM_BAD_SIGNATURE, "list");
}

static void with_the_list_in_pieces(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    size_t size = (size_t)f->object.count * FAKE_ENTRY_BYTES;
    fake_reply_manifest(f, reply);
    for (size_t at = 0; at < size; at += 50) /* not even at the ends of entries */
        fake_reply_list(reply, f->object.entries + at, size - at < 50 ? size - at : 50);
    fake_reply_object(f, reply, 0, f->object.count);
}

TEST(download_takes_a_list_in_pages)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = with_the_list_in_pieces;
    dacm_client *client = fake_client(&f, 1);
    dacm_download_options options = to_file(&f);
    dacm_download_result result;
    dacm_error error;
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_OK);
    whole(&f, &result);
    dacm_client_free(client);
    fake_stop(&f);
}

static void with_a_list_cut(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    fake_reply_manifest(f, reply);
    fake_reply_list(reply, f->object.entries, (size_t)(f->object.count - 1) * FAKE_ENTRY_BYTES);
    fake_reply_object(f, reply, 0, f->object.count);
}

TEST(download_with_data_before_the_list_is_whole_is_refused)
{
    refused(with_a_list_cut, DACM_BAD_SIGNATURE, "before the list");
}

/* Signed, but a list that no object can have: the signer erred. */
static void signed_list_refused(uint32_t index, uint32_t length, uint64_t size_more)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    uint8_t *entry = f.object.entries + (size_t)index * FAKE_ENTRY_BYTES;
    for (unsigned b = 0; b < 4; b++)
        entry[b] = (uint8_t)(length >> (24 - 8 * b));
    f.object.size += size_more - lengths[index] + length; /* what the manifest says */
    uint64_t content = f.object.offsets[CHUNKS];
    f.object.content = realloc(
        f.object.content, (f.object.size > content ? f.object.size : content) + 1);
    memset(f.object.content + content, 0, f.object.size > content ? f.object.size - content : 0);
    dacm_client *client = fake_client(&f, 1);
    refused_by(&f, client, 0, DACM_BAD_SIGNATURE, size_more ? "together" : "length");
    dacm_client_free(client);
    fake_stop(&f);
}

TEST(download_of_a_signed_list_with_an_impossible_length_is_refused)
{
    signed_list_refused(2, 0, 0);
    signed_list_refused(2, (512u << 10) + 1, 0); /* what one message can carry, and one more */
    signed_list_refused(2, 100u << 20, 0);
}

TEST(download_of_a_signed_list_that_does_not_add_up_is_refused)
{
    signed_list_refused(2, lengths[2], 1);
    signed_list_refused(2, lengths[2], 100000);
}

static void of_too_many_chunks(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    trust_manifest manifest = fake_manifest(f);
    char *jws = fake_sign(f->signer, &manifest);
    fake_reply_start(reply, jws, false, DACM_CHUNKS_MAX + 1);
    free(jws);
}

TEST(download_of_more_chunks_than_can_be_is_refused)
{
    refused(of_too_many_chunks, DACM_RESOURCE_EXHAUSTED, "chunks");
}

/* ---- chunks
 * --------------------------------------------------------------------------------------- */

/* Manifest and list; the chunks are the test's. */
static void reply_head(fake_dacm *f, fake_reply *reply)
{
    fake_reply_manifest(f, reply);
    fake_reply_list(reply, f->object.entries, (size_t)f->object.count * FAKE_ENTRY_BYTES);
}

static void with_a_bit_of_a_chunk_flipped(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    const fake_object *o = &f->object;
    uint8_t *data = malloc(o->lengths[3]);
    memcpy(data, o->content + o->offsets[3], o->lengths[3]);
    data[o->lengths[3] - 1] ^= 0x80;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, 3);
    fake_reply_chunks(reply, 3, data, o->lengths[3]);
    fake_reply_object(f, reply, 4, CHUNKS);
    free(data);
}

TEST(download_with_a_flipped_bit_in_a_chunk_is_refused)
{
    refused(with_a_bit_of_a_chunk_flipped, DACM_BAD_SIGNATURE, "chunk 3");
}

static void with_the_first_chunk_of_a_message_right(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    const fake_object *o = &f->object;
    size_t size = o->offsets[3];
    uint8_t *data = malloc(size);
    memcpy(data, o->content, size);
    data[size - 1] ^= 1;
    reply_head(f, reply);
    fake_reply_chunks(reply, 0, data, size);
    free(data);
}

TEST(download_judges_every_chunk_of_a_message)
{
    refused(with_the_first_chunk_of_a_message_right, DACM_BAD_SIGNATURE, "chunk 2");
}

static void with_chunks_under_each_others_number(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    const fake_object *o = &f->object;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, 2);
    fake_reply_chunks(reply, 2, o->content + o->offsets[4], o->lengths[2]);
}

TEST(download_with_the_bytes_of_another_place_is_refused)
{
    refused(with_chunks_under_each_others_number, DACM_BAD_SIGNATURE, "chunk 2");
}

static void with_chunks_swapped(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, 2);
    fake_reply_object(f, reply, 3, 4);
    fake_reply_object(f, reply, 2, 3);
    fake_reply_object(f, reply, 4, CHUNKS);
}

TEST(download_with_chunks_out_of_order_is_refused)
{
    refused(with_chunks_swapped, DACM_BAD_SIGNATURE, "chunk 3");
}

static void with_a_chunk_twice(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, 3);
    fake_reply_object(f, reply, 2, CHUNKS);
}

TEST(download_with_a_chunk_sent_twice_is_refused)
{
    refused(with_a_chunk_twice, DACM_BAD_SIGNATURE, "chunk 2");
}

static void with_a_chunk_left_out(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, 4);
    fake_reply_object(f, reply, 5, CHUNKS);
}

TEST(download_with_a_chunk_left_out_is_refused)
{
    refused(with_a_chunk_left_out, DACM_BAD_SIGNATURE, "chunk 5");
}

static void with_a_chunk_cut(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_chunks(reply, 0, f->object.content, f->object.lengths[0] - 1);
}

TEST(download_with_a_chunk_cut_is_refused)
{
    refused(with_a_chunk_cut, DACM_BAD_SIGNATURE, "chunk 0");
}

static void with_data_beyond_the_list(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, CHUNKS - 1);
    fake_reply_chunks(reply, CHUNKS, "more", 4);
}

TEST(download_with_data_beyond_the_list_is_refused)
{
    refused(with_data_beyond_the_list, DACM_BAD_SIGNATURE, "chunk");
}

static void with_the_number_run_over(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_chunks(reply, UINT32_MAX, f->object.content, f->object.lengths[0]);
}

TEST(download_with_the_highest_chunk_number_is_refused)
{
    refused(with_the_number_run_over, DACM_BAD_SIGNATURE, "chunk");
}

/* The whole object, whatever was asked for. */
static void with_everything(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, CHUNKS);
}

TEST(download_with_chunks_that_nobody_asked_for_is_refused)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = with_everything;
    dacm_client *client = fake_client(&f, 1);
    dacm_download_result result;
    dacm_error error;
    seen s = seen_new(&f.object);
    dacm_download_options options = to_sink(&s);
    options.offset = f.object.offsets[2];
    options.length = lengths[2];
    assert_int_equal(dacm_download(client, &options, &result, &error), DACM_BAD_SIGNATURE);
    says(&error, DACM_BAD_SIGNATURE, "chunk 0");
    assert_int_equal(s.bytes, 0);
    judge_seen(&s, true);
    dacm_client_free(client);
    fake_stop(&f);
}

/* ---- order and ends
 * ------------------------------------------------------------------------------- */

static void starting_twice(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, 3);
    fake_reply_manifest(f, reply);
    fake_reply_object(f, reply, 3, CHUNKS);
}

TEST(download_that_starts_twice_is_refused)
{
    refused(starting_twice, DACM_INTERNAL, "twice");
}

static void without_a_start(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    fake_reply_list(reply, f->object.entries, (size_t)f->object.count * FAKE_ENTRY_BYTES);
    fake_reply_object(f, reply, 0, CHUNKS);
}

TEST(download_without_a_start_is_refused)
{
    refused(without_a_start, DACM_BAD_SIGNATURE, "list");
}

static void with_chunks_only(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    fake_reply_object(f, reply, 0, CHUNKS);
}

TEST(download_of_chunks_alone_is_refused)
{
    refused(with_chunks_only, DACM_BAD_SIGNATURE, "before the list");
}

static void with_nothing(fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)f, (void)number, (void)asked, (void)reply;
}

TEST(download_that_ends_at_once_with_ok_is_data_loss)
{
    refused(with_nothing, DACM_DATA_LOSS, "before all chunks");
}

static void ending_after_the_start(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    fake_reply_manifest(f, reply);
}

TEST(download_that_ends_before_its_list_is_data_loss)
{
    refused(ending_after_the_start, DACM_DATA_LOSS, "before all chunks");
}

static void without_the_last_chunk(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_object(f, reply, 0, CHUNKS - 1);
}

TEST(download_that_ends_with_ok_before_the_last_chunk_is_data_loss)
{
    refused(without_the_last_chunk, DACM_DATA_LOSS, "before all chunks");
}

static void with_bytes_that_are_no_message(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)number, (void)asked;
    reply_head(f, reply);
    fake_reply_raw(reply, "\x1a\xff\xff\x03", 4);
}

TEST(download_with_a_message_that_is_none_is_refused)
{
    refused(with_bytes_that_are_no_message, DACM_INTERNAL, "malformed");
}

static void with_a_refusal(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply)
{
    (void)f, (void)number, (void)asked;
    fake_reply_end(reply, RPC_PERMISSION_DENIED, "not\nallowed");
}

TEST(download_that_is_refused_says_so_and_is_not_tried_again)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = with_a_refusal;
    dacm_client *client = fake_client(&f, 5);
    refused_by(&f, client, 0, DACM_PERMISSION_DENIED, "not?allowed");
    assert_int_equal(fake_calls(&f), 2); /* one each to file and sink */
    dacm_client_free(client);
    fake_stop(&f);
}

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
