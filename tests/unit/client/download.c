/* SPDX-License-Identifier: Apache-2.0 */
#include "download.h"

#include <dirent.h>

const uint32_t lengths[CHUNKS] = {3000, 1, 20000, 70000, 5000, 65536, 800, 12345};

/* ---- what the caller sees ----------------------------------------------------------------------
 */

bool take(void *ctx, uint64_t offset, rpc_bytes data)
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

seen seen_new(const fake_object *object)
{
    return (seen){.object = object, .got = calloc(object->size + 1, 1)};
}

/* Whatever the outcome. */
void judge_seen(seen *s, bool ordered)
{
    assert_false(s->wrong);
    assert_false(s->twice);
    if (ordered)
        assert_false(s->out_of_order);
    free(s->got);
    s->got = NULL;
}

void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void file_is(const char *path, const void *data, size_t size)
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

unsigned files_in(const char *dir)
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

dacm_download_options to_file(const fake_dacm *f)
{
    return (dacm_download_options){.asset_id = FAKE_ASSET, .user = FAKE_USER, .file = f->file};
}

dacm_download_options to_sink(seen *s)
{
    return (dacm_download_options){
        .asset_id = FAKE_ASSET, .user = FAKE_USER, .sink = take, .sink_ctx = s};
}

void says(const dacm_error *error, dacm_code code, const char *word)
{
    if (error->code != code || !strstr(error->message, word))
        fail_msg("%s '%s', expected %s '%s'", dacm_code_name(error->code), error->message,
            dacm_code_name(code), word);
}

/* Fails with that code and word, to a file and to a sink, and leaves nothing behind. */
void refused_by(
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

void refused(fake_download_fn *download, dacm_code code, const char *word)
{
    fake_dacm f;
    fake_start(&f, lengths, CHUNKS);
    f.download = download;
    dacm_client *client = fake_client(&f, 1);
    refused_by(&f, client, 0, code, word);
    dacm_client_free(client);
    fake_stop(&f);
}

void whole(fake_dacm *f, const dacm_download_result *result)
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

/* Manifest and list; the chunks are the test's. */
void reply_head(fake_dacm *f, fake_reply *reply)
{
    fake_reply_manifest(f, reply);
    fake_reply_list(reply, f->object.entries, (size_t)f->object.count * FAKE_ENTRY_BYTES);
}

/* The honest answer under a start of our own. */
void answer_under(fake_dacm *f, const char *jws, fake_reply *reply)
{
    fake_reply_start(reply, jws, false, f->object.count);
    fake_reply_list(reply, f->object.entries, (size_t)f->object.count * FAKE_ENTRY_BYTES);
    fake_reply_object(f, reply, 0, f->object.count);
}

void answer_signed(
    fake_dacm *f, const trust_signer *signer, const trust_manifest *manifest, fake_reply *reply)
{
    char *jws = fake_sign(signer, manifest);
    answer_under(f, jws, reply);
    free(jws);
}

void with_a_bit_of_the_list_flipped(
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
