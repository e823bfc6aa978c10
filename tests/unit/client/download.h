/* SPDX-License-Identifier: Apache-2.0 */
/** What the tests of dacm_download() share: ways to ask, and what the caller must have seen. */
#ifndef DACM_TEST_DOWNLOAD_H
#define DACM_TEST_DOWNLOAD_H

#include "fake_dacm.h"

#define OLD          "the file that was there before\n"
#define COUNT(array) (sizeof(array) / sizeof *(array))
#define CHUNKS       8u

/** Of the object that most tests use. */
extern const uint32_t lengths[CHUNKS];

/** What a sink was given. */
typedef struct seen {
    const fake_object *object;
    uint64_t next, bytes; /* one stream: where the next byte must be */
    uint8_t *got;         /* a flag for each byte */
    bool wrong, out_of_order, twice;
    unsigned calls, stop_at; /* 0 = never */
} seen;

bool take(void *ctx, uint64_t offset, rpc_bytes data);
seen seen_new(const fake_object *object);
/** Whatever the outcome. */
void judge_seen(seen *s, bool ordered);
void write_file(const char *path, const void *data, size_t size);
void file_is(const char *path, const void *data, size_t size);
unsigned files_in(const char *dir);
dacm_download_options to_file(const fake_dacm *f);
dacm_download_options to_sink(seen *s);
void says(const dacm_error *error, dacm_code code, const char *word);
/** Fails with that code and word, to a file and to a sink, and leaves nothing behind. */
void refused_by(
    fake_dacm *f, dacm_client *client, uint64_t version, dacm_code code, const char *word);
void refused(fake_download_fn *download, dacm_code code, const char *word);
/** The file, its list and its manifest are those of the object. */
void whole(fake_dacm *f, const dacm_download_result *result);
/** Start and list of the object, as an honest server sends them. */
void reply_head(fake_dacm *f, fake_reply *reply);
/** All of the object under that manifest. */
void answer_under(fake_dacm *f, const char *jws, fake_reply *reply);
void answer_signed(
    fake_dacm *f, const trust_signer *signer, const trust_manifest *manifest, fake_reply *reply);
void with_a_bit_of_the_list_flipped(
    fake_dacm *f, unsigned number, const fake_asked *asked, fake_reply *reply);

#endif
